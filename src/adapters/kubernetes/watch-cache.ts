// The projected objects of one collection, kept current by a list-watch. Keeps what `project` returns and nothing of the object.

import { isDeepStrictEqual } from "node:util";
import { ListWatch, type ListWatchListener, type ListWatchOptions } from "./list-watch.ts";

/** What a cache needs; `client`, `log`, `collection` and `times` are those of the list-watch. */
export type WatchCacheOptions<Value> = Omit<ListWatchOptions, "listener" | "tellsLists"> & {
  /** The key of an object, also of one that is not kept; undefined when it is not an object of this kind. */
  readonly keyOf: (object: unknown) => string | undefined;
  /** What is kept of an object; undefined when it is of no interest (an earlier value of its key is then dropped). */
  readonly project: (object: unknown) => Value | undefined;
  /** Told after the map has changed; `after` undefined: it is gone (or of no interest any more). */
  readonly changed: (key: string, after: Value | undefined, before: Value | undefined) => void;
  /** Told after each whole list. */
  readonly listed?: () => void;
  /** Told of all that the watch shows, whole, before it is projected: one watch serves two readers. */
  readonly alsoTells?: ListWatchListener | undefined;
};

/** A map of projected objects. Changes that do not alter the projection are not told. */
export class WatchCache<Value> {
  readonly watch: ListWatch;
  readonly #values = new Map<string, Value>();
  readonly #options: WatchCacheOptions<Value>;
  /** Keys told by the list that is being read; undefined between lists. */
  #listing: Set<string> | undefined;

  constructor(options: WatchCacheOptions<Value>) {
    this.#options = options;
    const { alsoTells } = options;
    this.watch = new ListWatch({
      client: options.client,
      log: options.log,
      collection: options.collection,
      ...(options.times === undefined ? {} : { times: options.times }),
      listener: {
        listBegins: () => {
          alsoTells?.listBegins();
          this.#listing = new Set();
        },
        seen: (object) => {
          alsoTells?.seen(object);
          this.#seen(object);
        },
        deleted: (object) => {
          alsoTells?.deleted(object);
          const key = options.keyOf(object);
          if (key !== undefined) this.#put(key, undefined);
        },
        listEnds: () => {
          alsoTells?.listEnds();
          this.#listEnds();
        },
      },
    });
  }

  /** The kept value of a key. */
  get(key: string): Value | undefined {
    return this.#values.get(key);
  }

  /** All kept values. */
  values(): Iterable<Value> {
    return this.#values.values();
  }

  /** How many values are kept. */
  get size(): number {
    return this.#values.size;
  }

  #seen(object: unknown): void {
    const key = this.#options.keyOf(object);
    if (key === undefined) return;
    this.#listing?.add(key);
    this.#put(key, this.#options.project(object));
  }

  #listEnds(): void {
    const listed = this.#listing;
    this.#listing = undefined;
    if (listed !== undefined) {
      for (const key of this.#values.keys()) {
        if (!listed.has(key)) this.#put(key, undefined);
      }
    }
    this.#options.listed?.();
  }

  #put(key: string, after: Value | undefined): void {
    const before = this.#values.get(key);
    if (after === undefined) {
      if (before === undefined) return;
      this.#values.delete(key);
    } else {
      if (before !== undefined && isDeepStrictEqual(before, after)) return;
      this.#values.set(key, after);
    }
    this.#options.changed(key, after, before);
  }
}

/** The key of a namespaced object: `namespace/name`. */
export function namespacedKeyOf(object: unknown): string | undefined {
  const { namespace, name } = metadataOf(object);
  return namespace === undefined || name === undefined ? undefined : `${namespace}/${name}`;
}

/** The key of a cluster-scoped object: its name. */
export function nameKeyOf(object: unknown): string | undefined {
  return metadataOf(object).name;
}

function metadataOf(object: unknown): {
  readonly namespace: string | undefined;
  readonly name: string | undefined;
} {
  const metadata = (
    object as
      | { readonly metadata?: { readonly namespace?: unknown; readonly name?: unknown } | null }
      | null
      | undefined
  )?.metadata;
  return {
    namespace: typeof metadata?.namespace === "string" ? metadata.namespace : undefined,
    name: typeof metadata?.name === "string" ? metadata.name : undefined,
  };
}
