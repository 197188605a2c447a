// A rule that was broken, and what the judges share about time.

/** A decision may rest on what was so at most this long ago: a call that was given up may still happen so much later. */
export const graceMs = 60_000;

/** Something that must never be. */
export class Violation extends Error {
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.name = "Violation";
    this.rule = rule;
  }
}

/** A value with the times at which it became so. */
export class History<T> {
  readonly #states: { atMs: number; readonly value: T }[] = [];

  add(atMs: number, value: T): void {
    this.#states.push({ atMs, value });
  }

  /** When it became what it is. */
  get lastMs(): number {
    return this.#states.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Not everybody has noticed the last value: what was before counts beside it for good, until there is another. */
  doubtLast(): void {
    const last = this.#states.at(-1);
    if (last !== undefined) last.atMs = Number.POSITIVE_INFINITY;
  }

  /** What it was at any time since, the last first. */
  since(fromMs: number): readonly T[] {
    const values: T[] = [];
    for (let index = this.#states.length - 1; index >= 0; index -= 1) {
      const state = this.#states[index];
      if (state === undefined) break;
      values.push(state.value);
      if (state.atMs <= fromMs) break;
    }
    return values;
  }
}
