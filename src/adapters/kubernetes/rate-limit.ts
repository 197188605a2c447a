// A token bucket that tells how long a request has to wait, so that one program cannot crowd out others at the API server.
// Not a queue: whoever asks first is told the shorter wait.

/** A token bucket; time is handed in, so that it has no timers. */
export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number | undefined;

  /** `perSecond` 0 means no limit; `burst` requests may go at once after a rest. */
  constructor(limit: { readonly perSecond: number; readonly burst: number }) {
    this.#perMs = limit.perSecond / 1000;
    this.#burst = Math.max(1, limit.burst);
    this.#tokens = this.#burst;
  }

  /**
   * Takes a token if it comes within `maxWaitMs`.
   * @returns milliseconds to wait before going on, or undefined when the wait would be longer (nothing is taken then)
   */
  take(nowMs: number, maxWaitMs: number): number | undefined {
    if (this.#perMs === 0) return 0;
    const elapsed = this.#atMs === undefined ? 0 : Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsed * this.#perMs);
    const wait = this.#tokens >= 1 ? 0 : (1 - this.#tokens) / this.#perMs;
    if (wait > maxWaitMs) return undefined;
    this.#tokens -= 1;
    return wait;
  }
}
