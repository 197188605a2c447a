// Records of virtual addresses and the leases of nodes that answer for them. Versions decide who of two writers was first; that is all
// that the promise of one holder rests on.

import type { Ip } from "../core/ip.ts";
import type { NodeLease, VipRecord } from "../core/vip.ts";

/** `exists`: there is one of that name already. */
export type VipCreateOutcome<T> =
  | { readonly kind: "written"; readonly value: T }
  | { readonly kind: "exists" };

/** `conflict`: it has another version than expected; `missing`: there is none. */
export type VipUpdateOutcome<T> =
  | { readonly kind: "written"; readonly value: T }
  | { readonly kind: "conflict" }
  | { readonly kind: "missing" };

/**
 * Objects of one kind by name. A write that rejects with a WorldError whose `mayHaveHappened` is true has an unknown outcome and may
 * even happen later; any other rejection means that it did not happen.
 */
export interface VersionedStore<Key extends string, T extends { readonly version: string }> {
  /** All as last seen: behind, but never going back. */
  all(): readonly T[];
  /** One as last seen. */
  get(key: Key): T | undefined;
  /** One as it is now, from the source of truth. */
  read(key: Key): Promise<T | undefined>;
  /** Writes a new one; `version` is ignored. */
  create(value: T): Promise<VipCreateOutcome<T>>;
  /** Replaces it if it still has the version of `value`. Of two such writes exactly one succeeds. */
  update(value: T): Promise<VipUpdateOutcome<T>>;
  /** Deletes it if it still has the version of `value`. */
  remove(
    value: T,
  ): Promise<{ readonly kind: "removed" } | { readonly kind: "conflict" | "missing" }>;
  /** Calls `listener` with the key of whatever is seen to change, whoever changed it. @returns a function that stops it */
  watch(listener: (key: Key) => void): () => void;
}

/** FloatingVIP objects. */
export type VipStore = VersionedStore<Ip, VipRecord>;

/** One lease per node, by the node's name. */
export type NodeLeaseStore = VersionedStore<string, NodeLease>;
