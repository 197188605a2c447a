// A process of the model: it may stand still, die, and has a clock that runs a little too fast or too slow. Everything that reaches the
// process, timers as well as answers, comes through here.

import type { Clock } from "../../src/ports/clock.ts";
import type { Timeline } from "../timeline.ts";

/** A clock with an offset and a rate of its own; `run` decides when what is due is done. */
export class DriftingClock implements Clock {
  readonly #timeline: Timeline;
  readonly #startMs: number;
  readonly #offsetMs: number;
  readonly #rate: number;
  readonly #run: (action: () => void) => void;

  /** @param rate its milliseconds per true millisecond, near 1 */
  constructor(
    timeline: Timeline,
    drift: { readonly offsetMs: number; readonly rate: number },
    run: (action: () => void) => void,
  ) {
    this.#timeline = timeline;
    this.#startMs = timeline.nowMs();
    this.#offsetMs = drift.offsetMs;
    this.#rate = drift.rate;
    this.#run = run;
  }

  nowMs(): number {
    const passedMs = this.#timeline.nowMs() - this.#startMs;
    return this.#startMs + this.#offsetMs + passedMs * this.#rate;
  }

  after(delayMs: number, action: () => void): () => void {
    return this.#timeline.after(delayMs / this.#rate, () => this.#run(action));
  }
}

/** One life of one process. */
export class Host {
  readonly #timeline: Timeline;
  readonly #waiting: (() => void)[] = [];
  #isPaused = false;
  #isDead = false;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Does it now; when the process stands still, as soon as it goes on; never when it is dead. */
  run(action: () => void): void {
    if (this.#isDead) return;
    if (this.#isPaused) this.#waiting.push(action);
    else action();
  }

  /** Stands still for a time, as under SIGSTOP; the kernel's clock goes on. */
  pause(forMs: number): void {
    if (this.#isPaused || this.#isDead) return;
    this.#isPaused = true;
    this.#timeline.after(forMs, () => {
      this.#isPaused = false;
      for (const action of this.#waiting.splice(0)) {
        this.#timeline.after(0, () => this.run(action));
      }
    });
  }

  /** Gone for good, whatever it was waiting for. */
  kill(): void {
    this.#isDead = true;
    this.#waiting.length = 0;
  }
}
