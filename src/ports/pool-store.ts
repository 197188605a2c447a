// Pool objects: named groups of addresses that several workloads share. Their addresses are in the AllocationStore.

import type { PoolFacts } from "../core/facts.ts";

/** What the status of a Pool shows. */
export type PoolStatus = {
  /** Addresses that belong to the pool, used or not. */
  readonly allocated: number;
  /** Of these, addresses that a pod has. */
  readonly used: number;
  /** Ready is false with a reason when there are not enough addresses or another Pool of the name is in force. */
  readonly condition: {
    readonly isReady: boolean;
    readonly reason: "Ready" | "NotEnoughAddresses" | "OtherPoolInForce" | "Invalid";
    readonly message: string;
  };
};

/** Outcome of writing a Pool. */
export type PoolWriteOutcome =
  | { readonly kind: "written"; readonly pool: PoolFacts }
  | { readonly kind: "conflict" }
  | { readonly kind: "missing" };

/** Pool objects of the namespaces that count. Rejections are WorldErrors as in AllocationStore. */
export interface PoolStore {
  /** All pools as last seen, in no order. */
  all(): readonly PoolFacts[];
  /** Creates (version "") or replaces (version as read) a pool; `conflict` also when a create finds one. */
  write(pool: PoolFacts): Promise<PoolWriteOutcome>;
  /** Deletes a pool if its version still is `pool.version`. */
  remove(pool: PoolFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }>;
  /** Replaces the status; does nothing when it is already so. A pool that is gone or changed meanwhile is no error. */
  writeStatus(pool: PoolFacts, status: PoolStatus): Promise<void>;
  /** Calls `listener` with the name of every pool that was added, changed or removed. @returns a function that stops it */
  watch(listener: (poolName: string) => void): () => void;
}
