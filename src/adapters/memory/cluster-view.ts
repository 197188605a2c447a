// The ClusterView on a MemoryCluster: quick answers from its cache, `read…` from the cluster as it is.

import type { NodeFacts, PodFacts, PodOwnership, WorkloadState } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import { type PodId, podIdText, type WorkloadRef } from "../../core/owner.ts";
import {
  type ReplicaSetController,
  replicaSetNameOf,
  resolveOwnership,
} from "../../core/ownership.ts";
import type { ClusterEvent, ClusterView } from "../../ports/cluster-view.ts";
import { concernsAddresses, type MemoryCluster, workloadIn } from "./cluster.ts";

/** Reads of a MemoryCluster. The cache has only pods that concern addresses, so that nobody relies on more. */
export class MemoryClusterView implements ClusterView {
  readonly #cluster: MemoryCluster;

  constructor(cluster: MemoryCluster) {
    this.#cluster = cluster;
  }

  pod(id: PodId): PodFacts | undefined {
    const pod = this.#cluster.cached.pods.get(podIdText(id));
    return pod !== undefined && concernsAddresses(pod) ? pod : undefined;
  }

  *pods(): Generator<PodFacts> {
    for (const pod of this.#cluster.cached.pods.values()) {
      if (concernsAddresses(pod)) yield pod;
    }
  }

  carriersOf(ip: Ip): readonly PodFacts[] {
    return [...this.pods()].filter(({ assignedIps }) => assignedIps.includes(ip));
  }

  async readPod(id: PodId): Promise<PodFacts | "gone"> {
    await Promise.resolve();
    return this.#cluster.live.pods.get(podIdText(id)) ?? "gone";
  }

  node(name: string): NodeFacts | undefined {
    return this.#cluster.cached.nodes.get(name);
  }

  nodes(): Iterable<NodeFacts> {
    return this.#cluster.cached.nodes.values();
  }

  async readNode(name: string): Promise<NodeFacts | "gone"> {
    await Promise.resolve();
    return this.#cluster.live.nodes.get(name) ?? "gone";
  }

  ownershipOf(pod: PodFacts): PodOwnership {
    return ownershipIn(this.#cluster.cached.replicaSets, pod);
  }

  async readOwnershipOf(pod: PodFacts): Promise<PodOwnership> {
    await Promise.resolve();
    return ownershipIn(this.#cluster.live.replicaSets, pod);
  }

  workload(ref: WorkloadRef): WorkloadState {
    return workloadIn(this.#cluster.cached, ref);
  }

  async readWorkload(ref: WorkloadRef): Promise<WorkloadState> {
    await Promise.resolve();
    return workloadIn(this.#cluster.live, ref);
  }

  watch(listener: (event: ClusterEvent) => void): () => void {
    return this.#cluster.clusterEvents.subscribe(listener);
  }
}

function ownershipIn(
  replicaSets: ReadonlyMap<string, ReplicaSetController>,
  pod: PodFacts,
): PodOwnership {
  const name = replicaSetNameOf(pod);
  const key = name === undefined ? "" : podIdText({ namespace: pod.id.namespace, name });
  return resolveOwnership(pod, replicaSets.get(key) ?? "unknown");
}
