// Keeps a simulated cluster over the end of the process: every change of pods, nodes and workloads is written at once, in its order.

import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { Change, SimApi } from "./api.ts";
import {
  formatSavedNode,
  formatSavedPod,
  formatSavedWorkload,
  parseSavedNode,
  parseSavedPod,
  parseSavedWorkload,
  type SavedCollection,
} from "./saved-objects.ts";

/** Where named pieces of JSON are kept. A write that resolved is durable; writes happen in the order in which they were asked for. */
export interface ObjectStore {
  /** In the order in which they were made. */
  list(): readonly { readonly kind: string; readonly name: string; readonly content: string }[];
  put(object: {
    readonly kind: string;
    readonly name: string;
    readonly content: string;
  }): Promise<void>;
  remove(object: { readonly kind: string; readonly name: string }): Promise<void>;
}

/** Pause after a write that failed, as when the disk is full. */
const retryMs = 1_000;

/** Notes of whoever uses the cluster, beside its objects. */
const noteKind = "notes";

/** What an API server has, in a store. */
export class KeptObjects {
  readonly #api: SimApi;
  readonly #store: ObjectStore;
  readonly #clock: Pick<Clock, "after">;
  readonly #log: Log;
  readonly #underWay = new Set<Promise<void>>();
  /** Objects whose last write failed, as collection and key. */
  readonly #behind = new Map<string, readonly [SavedCollection, string]>();
  readonly #notes = new Set<string>();
  #retryIsPlanned = false;

  constructor(parts: {
    readonly api: SimApi;
    readonly store: ObjectStore;
    readonly clock: Pick<Clock, "after">;
    readonly log: Log;
  }) {
    this.#api = parts.api;
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /**
   * Puts what is kept into the API server, which is empty, and keeps it from then on. Called once.
   * @throws WorldError STATE_FILE_UNUSABLE when an object is not understood
   */
  load(): void {
    for (const { kind, name, content } of this.#store.list()) {
      if (!this.#take(kind, name, content)) {
        throw new WorldError("STATE_FILE_UNUSABLE", {
          tried: `read ${kind} ${name} of the simulated cluster`,
          message:
            "this program does not understand it; use the program that wrote it, or give another --state-dir (it was left as it is)",
        });
      }
    }
    this.#api.listeners.add((change) => this.#follow(change));
  }

  /** Whether something was noted, in this life or an earlier one. */
  isNoted(note: string): boolean {
    return this.#notes.has(note);
  }

  /** Notes something for later lives. */
  async note(note: string): Promise<void> {
    await this.#store.put({ kind: noteKind, name: note, content: "{}" });
    this.#notes.add(note);
  }

  /**
   * Resolves when everything that the API server has now is kept.
   * @throws WorldError when something cannot be written; it is tried again later
   */
  async kept(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#behind.size === 0) return;
    await Promise.all(
      [...this.#behind.values()].map(([collection, key]) => this.#write(collection, key)),
    );
  }

  #take(kind: string, name: string, content: string): boolean {
    switch (kind) {
      case "pods":
        return this.#put(kind, name, parseSavedPod(content));
      case "nodes":
        return this.#put(kind, name, parseSavedNode(content));
      case "workloads":
        return this.#put(kind, name, parseSavedWorkload(content));
      case noteKind:
        this.#notes.add(name);
        return true;
      default:
        return false;
    }
  }

  #put<C extends SavedCollection>(
    collection: C,
    key: string,
    value: Parameters<typeof SimApi.prototype.put<C>>[2] | undefined,
  ): boolean {
    if (value === undefined) return false;
    this.#api.put(collection, key, value, "state-file");
    return true;
  }

  #follow({ collection, key }: Change): void {
    if (collection !== "pods" && collection !== "nodes" && collection !== "workloads") return;
    const write = this.#write(collection, key);
    this.#underWay.add(write);
    write
      .catch((error: unknown) => this.#fellBehind(collection, key, error))
      .finally(() => this.#underWay.delete(write));
  }

  /** Writes the object as it is now. */
  async #write(collection: SavedCollection, key: string): Promise<void> {
    const content = this.#contentOf(collection, key);
    await (content === undefined
      ? this.#store.remove({ kind: collection, name: key })
      : this.#store.put({ kind: collection, name: key, content }));
    this.#behind.delete(`${collection} ${key}`);
  }

  #contentOf(collection: SavedCollection, key: string): string | undefined {
    switch (collection) {
      case "pods": {
        const pod = this.#api.get(collection, key);
        return pod === undefined ? undefined : formatSavedPod(pod);
      }
      case "nodes": {
        const node = this.#api.get(collection, key);
        return node === undefined ? undefined : formatSavedNode(node);
      }
      case "workloads": {
        const workload = this.#api.get(collection, key);
        return workload === undefined ? undefined : formatSavedWorkload(workload);
      }
      default:
        return collection satisfies never;
    }
  }

  #fellBehind(collection: SavedCollection, key: string, error: unknown): void {
    if (error instanceof WorldError && error.code === "STOPPED") return;
    if (this.#behind.size === 0) {
      this.#log.warn("the simulated cluster cannot be kept, it is tried again", {}, error);
    }
    this.#behind.set(`${collection} ${key}`, [collection, key]);
    if (this.#retryIsPlanned) return;
    this.#retryIsPlanned = true;
    this.#clock.after(retryMs, () => {
      this.#retryIsPlanned = false;
      for (const [lateCollection, lateKey] of [...this.#behind.values()]) {
        this.#write(lateCollection, lateKey).catch((again: unknown) =>
          this.#fellBehind(lateCollection, lateKey, again),
        );
      }
    });
  }
}
