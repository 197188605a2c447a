// One copy of each text that repeats in many records (namespaces, nodes, workloads). Not a cache of objects.

/**
 * Gives equal texts one string. Bounded: when it is full it starts anew, which costs memory but never changes a text.
 */
export class StringPool {
  readonly #known = new Map<string, string>();
  readonly #limit: number;

  /** `limit`: most different texts that are remembered. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The remembered string that equals `text`. */
  intern(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#limit) this.#known.clear();
    const copy = ownCopy(text);
    this.#known.set(copy, copy);
    return copy;
  }
}

/** The text without the longer one that it was cut out of, which V8 keeps in memory as long as a slice of it is used. */
export function ownCopy(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
