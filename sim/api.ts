// The simulated API server: collections of versioned objects, conditional writes and a log that watches read from. Every verb happens at one
// moment; slow and failing calls are the network's (network.ts).

import type { Collection, Objects } from "./objects.ts";
import type { Timeline } from "./timeline.ts";

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
  readonly #timeline: Timeline;
  readonly #entries: { readonly [C in Collection]: Map<string, Entry<C>> } = {
    pods: new Map(),
    nodes: new Map(),
    workloads: new Map(),
    pools: new Map(),
    records: new Map(),
    config: new Map(),
  };
  /** All changes so far; watches keep their place in it. */
  readonly log: Change[] = [];
  /** Called for each change at its moment. */
  readonly listeners = new Set<(change: Change) => void>();
  #uidCount = 0;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  nowMs(): number {
    return this.#timeline.nowMs();
  }

  /** A uid that nobody had. */
  newUid(): string {
    this.#uidCount += 1;
    return `uid-${this.#uidCount}`;
  }

  get<C extends Collection>(collection: C, key: string): Objects[C] | undefined {
    return this.#map(collection).get(key)?.value;
  }

  /** The version that the next write will have. */
  nextVersion(): string {
    return String(this.log.length + 1);
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
    const version = String(this.log.length + 1);
    const before = this.#map(collection).get(key)?.value;
    this.#map(collection).set(key, { value, version });
    this.#tell({ collection, key, value, before, revision: this.log.length + 1, writer } as Change);
    return version;
  }

  /** Changes an object that is there; nothing happens when it is not. */
  change<C extends Collection>(
    collection: C,
    key: string,
    change: (value: Objects[C]) => Objects[C],
  ): void {
    const value = this.get(collection, key);
    if (value !== undefined) this.put(collection, key, change(value));
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
      revision: this.log.length + 1,
      writer,
    } as Change);
    return true;
  }

  #map<C extends Collection>(collection: C): Map<string, Entry<C>> {
    return this.#entries[collection];
  }

  #tell(change: Change): void {
    this.log.push(change);
    for (const listener of this.listeners) listener(change);
  }
}
