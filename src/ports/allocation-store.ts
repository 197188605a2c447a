// Durable records, one per address in use or reserved. Creating a record by the name of its address is the last guard of
// "never one address in two pods": of any number of writers exactly one create succeeds.

import type { Allocation } from "../core/allocation.ts";
import type { Ip } from "../core/ip.ts";

/** `exists`: a record of that address is there already, whoever wrote it. */
export type CreateOutcome =
  | { readonly kind: "created"; readonly allocation: Allocation }
  | { readonly kind: "exists" };

/** `conflict`: the record has another version than expected; `missing`: there is none. */
export type UpdateOutcome =
  | { readonly kind: "updated"; readonly allocation: Allocation }
  | { readonly kind: "conflict" }
  | { readonly kind: "missing" };

/** As {@link UpdateOutcome}. */
export type RemoveOutcome =
  | { readonly kind: "removed" }
  | { readonly kind: "conflict" }
  | { readonly kind: "missing" };

/** What a watcher is told. It may come late, twice or not at all after a disconnect; then `reset` follows. */
export type AllocationEvent =
  | { readonly kind: "changed"; readonly allocation: Allocation }
  | { readonly kind: "removed"; readonly ip: Ip }
  /** The watch was interrupted; everything may have changed. */
  | { readonly kind: "reset" };

/**
 * Promises: a resolved write is durable; a write that rejects with a WorldError whose `mayHaveHappened` is true has an unknown outcome;
 * any other rejection means that it did not happen. Nothing is retried behind the caller's back in a way that hides an unknown outcome.
 * A record that cannot be understood is returned with owner kind `foreign`, never dropped.
 */
export interface AllocationStore {
  /** All records, read from the source of truth (not from a cache). */
  list(): Promise<readonly Allocation[]>;
  /** The record of one address, read from the source of truth. */
  read(ip: Ip): Promise<Allocation | undefined>;
  /** Writes a new record; `allocation.version` is ignored. */
  create(allocation: Allocation): Promise<CreateOutcome>;
  /** Replaces the record if its version still is `allocation.version`. */
  update(allocation: Allocation): Promise<UpdateOutcome>;
  /** Deletes the record if its version still is `allocation.version`. */
  remove(allocation: Allocation): Promise<RemoveOutcome>;
  /** Calls `listener` for changes, also those made by this process. @returns a function that stops it */
  watch(listener: (event: AllocationEvent) => void): () => void;
}
