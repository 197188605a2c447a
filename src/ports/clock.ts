// Time as a port, so that tests and the simulator own it. Not for measuring durations of benchmarks.

/** Time and timers. */
export interface Clock {
  /** Milliseconds since 1970, never going back. */
  nowMs(): number;
  /**
   * Calls `action` once after `delayMs` (0 or more). A timer does not keep the process alive.
   * @returns a function that cancels it; safe to call at any time
   */
  after(delayMs: number, action: () => void): () => void;
}
