// Versioned objects on a map: the store of virtual addresses and of node leases in tests and in the simulator.

import type { VersionedStore, VipCreateOutcome, VipUpdateOutcome } from "../../ports/vip-store.ts";

/** Objects by key; every write gives a new version, also after a removal. What was last seen is what is there. */
export class MemoryVersionedStore<Key extends string, T extends { readonly version: string }>
  implements VersionedStore<Key, T>
{
  readonly #keyOf: (value: T) => Key;
  readonly #values = new Map<Key, T>();
  readonly #listeners = new Set<(key: Key) => void>();
  #lastVersion = 0;

  /** @param keyOf the name of an object */
  constructor(keyOf: (value: T) => Key) {
    this.#keyOf = keyOf;
  }

  all(): readonly T[] {
    return [...this.#values.values()];
  }

  get(key: Key): T | undefined {
    return this.#values.get(key);
  }

  async read(key: Key): Promise<T | undefined> {
    return this.#values.get(key);
  }

  async create(value: T): Promise<VipCreateOutcome<T>> {
    if (this.#values.has(this.#keyOf(value))) return { kind: "exists" };
    return { kind: "written", value: this.#put(value) };
  }

  async update(value: T): Promise<VipUpdateOutcome<T>> {
    const present = this.#values.get(this.#keyOf(value));
    if (present === undefined) return { kind: "missing" };
    if (present.version !== value.version) return { kind: "conflict" };
    return { kind: "written", value: this.#put(value) };
  }

  async remove(
    value: T,
  ): Promise<{ readonly kind: "removed" } | { readonly kind: "conflict" | "missing" }> {
    const key = this.#keyOf(value);
    const present = this.#values.get(key);
    if (present === undefined) return { kind: "missing" };
    if (present.version !== value.version) return { kind: "conflict" };
    this.#values.delete(key);
    this.#tell(key);
    return { kind: "removed" };
  }

  watch(listener: (key: Key) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #put(value: T): T {
    this.#lastVersion += 1;
    const written = { ...value, version: String(this.#lastVersion) };
    const key = this.#keyOf(value);
    this.#values.set(key, written);
    this.#tell(key);
    return written;
  }

  #tell(key: Key): void {
    for (const listener of [...this.#listeners]) listener(key);
  }
}
