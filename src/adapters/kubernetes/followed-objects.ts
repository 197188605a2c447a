// The base of stores whose every write says the version that it replaces: what was last seen of one collection, from its watch and from the
// answers to this process's own writes. Writes nothing itself.

import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { textAt } from "../../wire/json-value.ts";
import { type ApiClient, parseAnswer } from "./api-client.ts";
import type { Collection } from "./list-pages.ts";
import { ListWatch, type ListWatchTimes } from "./list-watch.ts";

/** What a store needs. */
export type FollowedObjectsOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly times?: ListWatchTimes;
};

/** Objects of one collection as last seen. Never goes back: of an object, no version is shown after a later one. */
export abstract class FollowedObjects<Key extends string, T extends { readonly version: string }> {
  readonly #watch: ListWatch;
  readonly #log: Log;
  readonly #values = new Map<Key, T>();
  /** The version at which an object was last seen, also of one that is gone. */
  readonly #versions = new Map<Key, bigint>();
  readonly #listeners = new Set<(key: Key) => void>();
  /** Keys of the list that is being read, and those that were written meanwhile; undefined between lists. */
  #listing: Set<Key> | undefined;

  constructor({ client, log, times }: FollowedObjectsOptions, collection: Collection) {
    this.#log = log;
    this.#watch = new ListWatch({
      client,
      log,
      collection,
      ...(times === undefined ? {} : { times }),
      listener: {
        listBegins: () => {
          this.#listing = new Set();
        },
        seen: (object) => this.#seen(object, false),
        deleted: (object) => this.#seen(object, true),
        listEnds: () => this.#listEnds(),
      },
    });
  }

  /** The key of a value. */
  protected abstract keyOf(value: T): Key;

  /** The key of an object, also of one that cannot be understood; undefined: it is none of these. */
  protected abstract keyOfObject(object: unknown): Key | undefined;

  /** Undefined when the object cannot be understood: it is shown as if there were none. */
  protected abstract parse(object: unknown): T | undefined;

  /** What a value is called in messages. */
  protected abstract readonly what: string;

  /** Begins to watch; returns at once. */
  start(): void {
    this.#watch.start();
  }

  /** Resolves when all are read. */
  whenSynced(): Promise<void> {
    return this.#watch.whenSynced();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.#watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#watch;
  }

  all(): readonly T[] {
    return [...this.#values.values()];
  }

  get(key: Key): T | undefined {
    return this.#values.get(key);
  }

  watch(listener: (key: Key) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the answer to a write showed. Throws API_UNREADABLE. */
  protected keep(text: string, tried: string): T {
    const value = this.parse(parseAnswer(text, tried, true));
    if (value === undefined || value.version === "") throw unreadable(tried, this.what, true);
    const key = this.keyOf(value);
    this.#listing?.add(key);
    this.#put(key, value, value.version);
    return value;
  }

  /** What a read showed. Throws API_UNREADABLE: what is somebody else's must be neither renewed nor replaced. */
  protected understood(json: unknown, tried: string): T {
    const value = this.parse(json);
    if (value === undefined) throw unreadable(tried, this.what, false);
    return value;
  }

  #seen(object: unknown, isGone: boolean): void {
    const key = this.keyOfObject(object);
    if (key === undefined) return;
    if (!isGone) this.#listing?.add(key);
    const value = isGone ? undefined : this.parse(object);
    this.#put(key, value, textAt(object, "metadata", "resourceVersion") ?? "");
  }

  #listEnds(): void {
    const listed = this.#listing;
    this.#listing = undefined;
    if (listed === undefined) return;
    for (const key of [...this.#values.keys()]) {
      if (listed.has(key)) continue;
      this.#values.delete(key);
      this.#tell(key);
    }
  }

  #put(key: Key, value: T | undefined, versionText: string): void {
    const version = /^[0-9]+$/.test(versionText) ? BigInt(versionText) : 0n;
    const before = this.#versions.get(key);
    if (before !== undefined && version < before) return;
    if (before === version && value?.version === this.#values.get(key)?.version) return;
    this.#versions.set(key, version);
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    this.#tell(key);
  }

  #tell(key: Key): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(key);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { key }, error);
      }
    }
  }
}

/** Throws for a value that has no version: an empty one would switch the API server's check off and overwrite whatever is there. */
export function requireVersion(version: string, what: string): void {
  if (version === "") throw new TypeError(`the ${what} was never read or written`);
}

function unreadable(tried: string, what: string, isWrite: boolean): WorldError {
  return new WorldError("API_UNREADABLE", {
    tried,
    message: `the answer is not a ${what}; is there a proxy between us and the API server?`,
    mayHaveHappened: isWrite,
  });
}
