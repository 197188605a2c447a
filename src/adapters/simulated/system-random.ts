// Chance of this machine for a simulated cluster that runs in real time. Not for secrets.

import type { RandomSource } from "./random-source.ts";

/** Numbers that nobody repeats. */
export class SystemRandom implements RandomSource {
  fork(): RandomSource {
    return this;
  }

  integer(low: number, high: number): number {
    return low + Math.floor(Math.random() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return Math.random() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("nothing to pick from");
    return items[this.integer(0, items.length - 1)] as T;
  }
}
