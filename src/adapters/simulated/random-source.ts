// Chance for the simulated cluster: delays, names, choices. The simulator gives a stream that its seed decides (sim/random.ts), a program that runs
// in real time the chance of this machine. Not for secrets.

/** Random numbers. */
export interface RandomSource {
  /** A source of its own: what one part draws does not shift what another gets. */
  fork(): RandomSource;
  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  /** One of the items; there is at least one. */
  pick<T>(items: readonly T[]): T;
}
