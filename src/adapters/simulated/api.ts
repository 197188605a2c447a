// The simulated API server: collections of versioned objects and who listens to their changes. Every verb happens at one moment; slow and
// failing calls are the simulator's (sim/network.ts).

import type { Clock } from "../../ports/clock.ts";
import type { Collection, Objects } from "./objects.ts";

/** One change; `value` undefined: deleted. */
export type Change = {
  readonly [C in Collection]: {
    readonly collection: C;
    readonly key: string;
    readonly value: Objects[C] | undefined;
    readonly before: Objects[C] | undefined;
    readonly revision: number;
    /** Who wrote: the name of a process, or a word for others. */
    readonly writer: string;
  };
}[Collection];

type Entry<C extends Collection> = { readonly value: Objects[C]; readonly version: string };

/** Versioned objects. */
export class SimApi {
  readonly #clock: Clock;
  readonly #entries: { readonly [C in Collection]: Map<string, Entry<C>> } = {
    pods: new Map(),
    nodes: new Map(),
    workloads: new Map(),
    pools: new Map(),
    records: new Map(),
    config: new Map(),
    quotas: new Map(),
  };
  /** Called for each change at its moment. */
  readonly listeners = new Set<(change: Change) => void>();
  readonly #newUid: () => string;
  #revision: number;

  /**
   * @param options `revision`: that of the last change of an earlier run, 0 for a new world; `newUid`: gives a uid that nobody had,
   * numbers unless given
   */
  constructor(clock: Clock, options: { revision?: number; newUid?: () => string } = {}) {
    this.#clock = clock;
    this.#revision = options.revision ?? 0;
    let uidCount = 0;
    this.#newUid = options.newUid ?? (() => `uid-${(uidCount += 1)}`);
  }

  /** How many changes there were. */
  get revision(): number {
    return this.#revision;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** A uid that nobody had. */
  newUid(): string {
    return this.#newUid();
  }

  get<C extends Collection>(collection: C, key: string): Objects[C] | undefined {
    return this.#map(collection).get(key)?.value;
  }

  /** The version that the next write will have. */
  nextVersion(): string {
    return String(this.#revision + 1);
  }

  version(collection: Collection, key: string): string | undefined {
    return this.#entries[collection].get(key)?.version;
  }

  keys(collection: Collection): readonly string[] {
    return [...this.#entries[collection].keys()];
  }

  list<C extends Collection>(collection: C): readonly Objects[C][] {
    return [...this.#map(collection).values()].map(({ value }) => value);
  }

  size(collection: Collection): number {
    return this.#entries[collection].size;
  }

  /** Creates or replaces. @returns the new version */
  put<C extends Collection>(
    collection: C,
    key: string,
    value: Objects[C],
    writer = "controller",
  ): string {
    const version = this.nextVersion();
    const before = this.#map(collection).get(key)?.value;
    this.#map(collection).set(key, { value, version });
    this.#tell({ collection, key, value, before, revision: this.#revision + 1, writer } as Change);
    return version;
  }

  /** Changes an object that is there; nothing happens when it is not. */
  change<C extends Collection>(
    collection: C,
    key: string,
    change: (value: Objects[C]) => Objects[C],
    writer = "controller",
  ): void {
    const value = this.get(collection, key);
    if (value !== undefined) this.put(collection, key, change(value), writer);
  }

  /** Deletes. @returns whether it was there */
  remove(collection: Collection, key: string, writer = "controller"): boolean {
    const before = this.#entries[collection].get(key)?.value;
    if (before === undefined) return false;
    this.#entries[collection].delete(key);
    this.#tell({
      collection,
      key,
      value: undefined,
      before,
      revision: this.#revision + 1,
      writer,
    } as Change);
    return true;
  }

  #map<C extends Collection>(collection: C): Map<string, Entry<C>> {
    return this.#entries[collection];
  }

  #tell(change: Change): void {
    this.#revision = change.revision;
    for (const listener of this.listeners) listener(change);
  }
}
