// Waiting that ends when the daemon stops.

import type { Clock } from "../../ports/clock.ts";

/** Resolves after the time, or at once when the signal says so. */
export function until(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(ms, end);
    signal.addEventListener("abort", end);
  });
}
