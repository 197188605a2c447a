// Growing pauses with jitter between attempts, and a pause that can be ended early. Not a retry policy: callers decide what to repeat.

/** Pauses that double from `firstMs` to `maxMs`, each shortened at random to 50..100 % so that clients do not come in step. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor(limits: { readonly firstMs: number; readonly maxMs: number }) {
    this.#firstMs = limits.firstMs;
    this.#maxMs = limits.maxMs;
  }

  /** How long to pause after one more failure; never shorter than what the server asked for with Retry-After. */
  nextMs(retryAfterMs: number | undefined): number {
    const full = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.max(retryAfterMs ?? 0, full * (0.5 + Math.random() / 2));
  }

  /** Something worked; the next failure starts with a short pause again. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Waits; ends early, without an error, when the signal is aborted. The timer does not keep the process alive. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener("abort", done, { once: true });
  });
}
