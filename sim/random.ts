// Chance from a seed: the same seed gives the same numbers for ever. Not for secrets.

/** A stream of pseudo-random numbers (sfc32, public domain by Chris Doty-Humphrey), well mixed from the first number on. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  /** @param seed any integer; streams of neighbouring seeds have nothing in common */
  constructor(seed: number) {
    this.#a = Math.trunc(seed / 0x1_0000_0000) >>> 0;
    this.#b = seed >>> 0;
    this.#c = 0x9e3779b9;
    this.#counter = 1;
    for (let round = 0; round < 15; round += 1) this.#next();
  }

  #next(): number {
    const result = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) >>> 0;
    return result;
  }

  /** A stream of its own: what one part draws does not shift what another gets. */
  fork(): Random {
    return new Random(this.#next() * 0x20_0000 + (this.#next() >>> 11));
  }

  /** From 0 up to, and without, 1. */
  fraction(): number {
    return this.#next() / 0x1_0000_0000;
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of the items; there is at least one. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("nothing to pick from");
    return items[this.integer(0, items.length - 1)] as T;
  }

  /** One of the words, each as likely as its weight says. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let rest = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [word, weight] of entries) {
      rest -= weight;
      if (rest < 0) return word;
    }
    return (entries.at(-1) as [T, number])[0];
  }
}
