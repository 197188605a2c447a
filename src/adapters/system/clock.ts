// The Clock port on the time of this machine.

import type { Clock } from "../../ports/clock.ts";

/** Wall-clock time that never goes back, and timers that do not keep the process alive. */
export class SystemClock implements Clock {
  #latestMs = 0;

  nowMs(): number {
    this.#latestMs = Math.max(this.#latestMs, Date.now());
    return this.#latestMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = setTimeout(action, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  }
}
