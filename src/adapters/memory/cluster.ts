// A cluster on plain maps: what an API server would hold, with verbs for tests and the simulator. The other files of this folder
// show it through the ports. It runs no controllers: deleting a Deployment deletes the Deployment and nothing else.

import type { Allocation } from "../../core/allocation.ts";
import type {
  ControllerRef,
  NodeFacts,
  PodFacts,
  PoolFacts,
  WorkloadState,
} from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import {
  builtInWorkload,
  type PodId,
  podIdText,
  type WorkloadRef,
  type WorkloadType,
} from "../../core/owner.ts";
import { controllerOfReplicaSet, type ReplicaSetController } from "../../core/ownership.ts";
import type { AllocationEvent } from "../../ports/allocation-store.ts";
import type { ClusterEvent } from "../../ports/cluster-view.ts";
import type { PoolStatus } from "../../ports/pool-store.ts";
import { Feed } from "./feed.ts";

/** A workload that was put: how records name it and how its pods do. */
export type PutWorkload = { readonly ref: WorkloadRef; readonly controller: ControllerRef };

/** What a workload is made from. A workload that is put again keeps its uid. */
export type WorkloadWish = {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
};

type PresentWorkload = Extract<WorkloadState, { readonly kind: "present" }>;

/** Everything that caches show; the maps' keys are made by this file's functions. */
type ClusterState = {
  readonly pods: Map<string, PodFacts>;
  readonly nodes: Map<string, NodeFacts>;
  readonly workloads: Map<string, PresentWorkload>;
  /** Who controls each ReplicaSet, by `namespace/name`. */
  readonly replicaSets: Map<string, ReplicaSetController>;
  /** API groups that serve a custom kind, by lower-case kind. */
  readonly customKinds: Map<string, ReadonlySet<string>>;
  readonly pools: Map<string, PoolFacts>;
};

/** An in-memory cluster; any number of stores and views may share one, as processes share an API server. */
export class MemoryCluster {
  /** Records of addresses; written through MemoryAllocationStore. */
  readonly records = new Map<Ip, Allocation>();
  readonly recordEvents = new Feed<AllocationEvent>();
  readonly clusterEvents = new Feed<ClusterEvent>();
  readonly poolEvents = new Feed<string>();
  readonly #nowMs: () => number;
  readonly #live: ClusterState = {
    pods: new Map(),
    nodes: new Map(),
    workloads: new Map(),
    replicaSets: new Map(),
    customKinds: new Map(),
    pools: new Map(),
  };
  readonly #poolStatuses = new Map<string, PoolStatus>();
  #frozen: ClusterState | undefined;
  #revision = 0;

  /** @param options.nowMs time of creation of pools, milliseconds since 1970; stands still by default */
  constructor(options: { readonly nowMs?: () => number } = {}) {
    this.#nowMs = options.nowMs ?? (() => 1_700_000_000_000);
  }

  /** The cluster as it is. */
  get live(): ClusterState {
    return this.#live;
  }

  /** The cluster as caches show it. */
  get cached(): ClusterState {
    return this.#frozen ?? this.#live;
  }

  /** The version of the next write; versions only grow and no two writes share one. */
  nextVersion(): string {
    this.#revision += 1;
    return String(this.#revision);
  }

  /** From now on caches stay as they are and no watch delivers, until {@link thawCache}. Reads from the source see every change. */
  freezeCache(): void {
    if (this.#frozen !== undefined) return;
    const { pods, nodes, workloads, replicaSets, customKinds, pools } = this.#live;
    this.#frozen = {
      pods: new Map(pods),
      nodes: new Map(nodes),
      workloads: new Map(workloads),
      replicaSets: new Map(replicaSets),
      customKinds: new Map(customKinds),
      pools: new Map(pools),
    };
    for (const feed of [this.recordEvents, this.clusterEvents, this.poolEvents]) feed.holdBack();
  }

  /** Caches show the cluster again, and watches deliver what happened meanwhile, in order. */
  thawCache(): void {
    this.#frozen = undefined;
    for (const feed of [this.recordEvents, this.clusterEvents, this.poolEvents]) feed.letGo();
  }

  /** Watches of records lose what they have not delivered (while the cache is frozen: everything since then) and say `reset`. */
  interruptWatches(): void {
    this.recordEvents.loseHeld();
    this.recordEvents.emit({ kind: "reset" });
  }

  putNode(node: NodeFacts): void {
    this.#live.nodes.set(node.name, node);
    this.clusterEvents.emit({ kind: "nodes" });
  }

  deleteNode(name: string): void {
    if (this.#live.nodes.delete(name)) this.clusterEvents.emit({ kind: "nodes" });
  }

  /** Creates the pod or replaces the one of its name, whatever its uid. */
  putPod(pod: PodFacts): void {
    const key = podIdText(pod.id);
    const previous = this.#live.pods.get(key);
    this.#live.pods.set(key, pod);
    if (concernsAddresses(pod) || (previous !== undefined && concernsAddresses(previous))) {
      this.clusterEvents.emit({ kind: "pod", pod: pod.id });
    }
  }

  /** Replaces some facts of a pod: `changePod(id, { phase: "Succeeded" })`. @returns the pod as it is then */
  changePod(id: PodId, change: Partial<Omit<PodFacts, "id">>): PodFacts {
    const pod = this.#live.pods.get(podIdText(id));
    if (pod === undefined) {
      throw new TypeError(`there is no pod ${podIdText(id)} to change; put it first`);
    }
    const changed = { ...pod, ...change };
    this.putPod(changed);
    return changed;
  }

  /** Removes the pod at once, as a deletion without grace period does. */
  deletePod(id: PodId): void {
    const key = podIdText(id);
    const pod = this.#live.pods.get(key);
    this.#live.pods.delete(key);
    if (pod !== undefined && concernsAddresses(pod)) {
      this.clusterEvents.emit({ kind: "pod", pod: id });
    }
  }

  /** @param wish.replicas 1 unless given */
  putDeployment(
    wish: WorkloadWish & {
      readonly replicas?: number;
      readonly rolloutDeadlock?: string | undefined;
    },
  ): PutWorkload {
    return this.#putBuiltIn("deployment", "Deployment", wish, {
      rolloutDeadlock: wish.rolloutDeadlock,
    });
  }

  /** @param wish.owner the ReplicaSet's controller reference, `putDeployment(…).controller`; without one it is bare */
  putReplicaSet(
    wish: WorkloadWish & {
      readonly replicas?: number;
      readonly owner?: ControllerRef | undefined;
    },
  ): PutWorkload {
    this.#live.replicaSets.set(podIdText(wish), controllerOfReplicaSet(wish.owner));
    return this.#putBuiltIn("replicaset", "ReplicaSet", wish, {});
  }

  /** @param wish.firstOrdinal `spec.ordinals.start`, 0 unless given */
  putStatefulSet(
    wish: WorkloadWish & { readonly replicas?: number; readonly firstOrdinal?: number },
  ): PutWorkload {
    return this.#putBuiltIn("statefulset", "StatefulSet", wish, {
      firstOrdinal: wish.firstOrdinal ?? 0,
    });
  }

  /**
   * Puts a workload of any other kind, and makes the kind readable from then on.
   * @param kind as written, for example `TApp`
   * @param wish.replicas undefined: the kind has no scale subresource
   */
  putCustom(
    kind: string,
    wish: WorkloadWish & { readonly apiGroup: string; readonly replicas?: number | undefined },
  ): PutWorkload {
    const { namespace, name, apiGroup } = wish;
    const lowerKind = kind.toLowerCase();
    const groups = this.#live.customKinds.get(lowerKind) ?? new Set<string>();
    this.#live.customKinds.set(lowerKind, new Set([...groups, apiGroup]));
    const ref = { type: "custom", kind: lowerKind, apiGroup, namespace, name } as const;
    const uid = this.#putWorkload(ref, wish.uid, { replicas: wish.replicas });
    return { ref, controller: { apiGroup, apiVersion: "v1", kind, name, uid } };
  }

  #putBuiltIn(
    type: Exclude<WorkloadType, "custom">,
    kind: string,
    wish: WorkloadWish & { readonly replicas?: number },
    more: Partial<PresentWorkload>,
  ): PutWorkload {
    const { namespace, name } = wish;
    const ref = builtInWorkload(type, { namespace, name });
    const uid = this.#putWorkload(ref, wish.uid, { replicas: wish.replicas ?? 1, ...more });
    return { ref, controller: { apiGroup: "apps", apiVersion: "v1", kind, name, uid } };
  }

  #putWorkload(
    ref: WorkloadRef,
    wantedUid: string | undefined,
    facts: Partial<PresentWorkload>,
  ): string {
    const key = workloadKey(ref, ref.apiGroup ?? "");
    const uid =
      wantedUid ?? this.#live.workloads.get(key)?.uid ?? `uid-workload-${this.nextVersion()}`;
    this.#live.workloads.set(key, {
      kind: "present",
      replicas: undefined,
      firstOrdinal: 0,
      rolloutDeadlock: undefined,
      ...facts,
      uid,
    });
    this.clusterEvents.emit({ kind: "workload", workload: ref });
    return uid;
  }

  /** Changes the wanted replicas of a workload that is there. */
  scale(ref: WorkloadRef, replicas: number): void {
    const key = workloadKey(ref, ref.apiGroup ?? "");
    const workload = this.#live.workloads.get(key);
    if (workload === undefined) {
      throw new TypeError(`there is no ${key} to scale; put it first`);
    }
    this.#live.workloads.set(key, { ...workload, replicas });
    this.clusterEvents.emit({ kind: "workload", workload: ref });
  }

  deleteWorkload(ref: WorkloadRef): void {
    if (ref.type === "replicaset") this.#live.replicaSets.delete(podIdText(ref));
    if (this.#live.workloads.delete(workloadKey(ref, ref.apiGroup ?? ""))) {
      this.clusterEvents.emit({ kind: "workload", workload: ref });
    }
  }

  /** Creates or replaces a Pool without asking for its version, as an operator with kubectl. @returns it with its version */
  putPool(wish: Partial<PoolFacts> & { readonly name: string }): PoolFacts {
    const namespace = wish.namespace ?? "kube-system";
    const key = podIdText({ namespace, name: wish.name });
    const previous = this.#live.pools.get(key);
    const version = this.nextVersion();
    const pool: PoolFacts = {
      size: undefined,
      preAllocate: false,
      ...wish,
      namespace,
      // What an API server gives to a new object and keeps afterwards; "" and 0 stand for "not yet given".
      uid: previous?.uid ?? (wish.uid || `uid-pool-${version}`),
      createdAtMs: previous?.createdAtMs ?? (wish.createdAtMs || this.#nowMs()),
      version,
    };
    this.#live.pools.set(key, pool);
    this.poolEvents.emit(pool.name);
    return pool;
  }

  deletePool(pool: PodId): void {
    const key = podIdText(pool);
    this.#poolStatuses.delete(key);
    if (this.#live.pools.delete(key)) this.poolEvents.emit(pool.name);
  }

  /** The status that was last written to a Pool. */
  poolStatus(pool: PodId): PoolStatus | undefined {
    return this.#poolStatuses.get(podIdText(pool));
  }

  /** Writes the status of a Pool; like every write it gives the Pool a new version, but nobody is told of it. */
  putPoolStatus(pool: PodId, status: PoolStatus): void {
    const key = podIdText(pool);
    const present = this.#live.pools.get(key);
    if (present === undefined) throw new TypeError(`there is no Pool ${key}; put it first`);
    this.#poolStatuses.set(key, status);
    this.#live.pools.set(key, { ...present, version: this.nextVersion() });
  }
}

/** Whether a cache of the pods that matter holds this one: it wants an address or was given one. */
export function concernsAddresses(pod: PodFacts): boolean {
  return pod.wantsAddress || pod.assignedIps.length > 0;
}

function workloadKey(ref: WorkloadRef, group: string): string {
  return `${group}/${ref.kind}/${ref.namespace}/${ref.name}`;
}

/**
 * The workload as this state of the cluster has it. A reference of the Go system that does not name an API group is understood
 * while exactly one group serves the kind.
 */
export function workloadIn(state: ClusterState, ref: WorkloadRef): WorkloadState {
  if (ref.type !== "custom") {
    return state.workloads.get(workloadKey(ref, "apps")) ?? { kind: "gone" };
  }
  const served = [...(state.customKinds.get(ref.kind) ?? [])];
  const groups =
    ref.apiGroup === undefined ? served : served.filter((group) => group === ref.apiGroup);
  const [group, ...more] = groups;
  if (group === undefined) {
    const where = ref.apiGroup === undefined ? "any API group" : `API group "${ref.apiGroup}"`;
    return { kind: "unknown", reason: `no kind "${ref.kind}" is served in ${where}` };
  }
  if (more.length > 0) {
    const reason = `kind "${ref.kind}" is served in several API groups (${groups.join(", ")})`;
    return { kind: "unknown", reason };
  }
  return state.workloads.get(workloadKey(ref, group)) ?? { kind: "gone" };
}
