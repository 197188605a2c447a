// What the use cases see of the cluster: pods, nodes and workloads. Cached answers are quick and may be stale; `read…` asks the source of truth.

import type { NodeFacts, PodFacts, PodOwnership, WorkloadState } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import type { PodId, WorkloadRef } from "../core/owner.ts";

/** What happened; it carries keys, and the listener reads the world again. */
export type ClusterEvent =
  /** A pod that wants an address appeared, changed in a way that matters, finished or was deleted. */
  | { readonly kind: "pod"; readonly pod: PodId }
  /** A workload was scaled, deleted, or became readable. */
  | { readonly kind: "workload"; readonly workload: WorkloadRef }
  /** Nodes changed their addresses, appeared or left. */
  | { readonly kind: "nodes" };

/** Reads of the cluster. Every `read…` rejects with a WorldError when the answer is not certain. */
export interface ClusterView {
  /** The pod as last seen; undefined means "not seen", never "gone". */
  pod(id: PodId): PodFacts | undefined;
  /** All pods last seen that want an address or have one. */
  pods(): Iterable<PodFacts>;
  /** The pods last seen that carry the address; of several, which come to be where something went wrong, in no order. */
  carriersOf(ip: Ip): readonly PodFacts[];
  /** The pod as it is now; `gone` is certain. */
  readPod(id: PodId): Promise<PodFacts | "gone">;
  /** The node as last seen. */
  node(name: string): NodeFacts | undefined;
  /** All nodes last seen. */
  nodes(): Iterable<NodeFacts>;
  /** The node as it is now; `gone` is certain. */
  readNode(name: string): Promise<NodeFacts | "gone">;
  /** The workload of a pod by its controller reference and, for a ReplicaSet, by the ReplicaSet's own. */
  ownershipOf(pod: PodFacts): PodOwnership;
  /** As {@link ownershipOf}, reading what the cache does not know. */
  readOwnershipOf(pod: PodFacts): Promise<PodOwnership>;
  /** The workload as last seen; `gone` here means "not in a filled cache" and is confirmed with {@link readWorkload} before acting on it. */
  workload(ref: WorkloadRef): WorkloadState;
  /** The workload as it is now; `gone` is certain. */
  readWorkload(ref: WorkloadRef): Promise<WorkloadState>;
  /** Calls `listener` for changes. @returns a function that stops it */
  watch(listener: (event: ClusterEvent) => void): () => void;
}
