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

/**
 * The time of day when the process began, and from there on the kernel's steady clock: for deadlines that must hold when somebody sets the
 * time of day. Both stop while the machine is suspended, as the kernel's own timers do.
 */
export class SteadyClock implements Clock {
  readonly #beganMs = Date.now() - performance.now();

  nowMs(): number {
    return Math.floor(this.#beganMs + performance.now());
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = setTimeout(action, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  }
}
