// ClusterView on watches of the API server: pods that concern addresses, nodes and workloads, each reduced to facts.
// Kinds that are not built in are in custom-workloads.ts.

import { CarrierIndex } from "../../core/carrier-index.ts";
import type { NodeFacts, PodFacts, PodOwnership, WorkloadState } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import {
  builtInWorkload,
  type PodId,
  parsePodIdText,
  podIdText,
  type WorkloadRef,
} from "../../core/owner.ts";
import {
  controllerOfReplicaSet,
  type ReplicaSetController,
  replicaSetNameOf,
  resolveOwnership,
} from "../../core/ownership.ts";
import type { ClusterEvent, ClusterView } from "../../ports/cluster-view.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { parseNode, parsePod, policyWithoutResource } from "../../wire/pod.ts";
import {
  parseDeployment,
  parseReplicaSet,
  parseStatefulSet,
  replicaSetOwner,
} from "../../wire/workload.ts";
import { type ApiClient, segment } from "./api-client.ts";
import { CustomWorkloads } from "./custom-workloads.ts";
import type { ListWatch, ListWatchListener, ListWatchTimes } from "./list-watch.ts";
import { nameKeyOf, namespacedKeyOf, WatchCache } from "./watch-cache.ts";

/** A ReplicaSet: whose it is, and how many pods it wants when it is nobody's. */
type ReplicaSetFacts = { readonly controller: ReplicaSetController; readonly state: WorkloadState };

type BuiltInType = "deployment" | "statefulset" | "replicaset";

/** Where built-in workloads are served and how they are read. */
const builtIns = {
  deployment: { plural: "deployments", kind: "Deployment", parse: parseDeployment },
  statefulset: { plural: "statefulsets", kind: "StatefulSet", parse: parseStatefulSet },
  replicaset: { plural: "replicasets", kind: "ReplicaSet", parse: parseReplicaSet },
} as const;

/** What the view needs. */
export type KubernetesClusterViewOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly times?: ListWatchTimes;
  /** Told of all pods and workloads as they come; for those who would need a watch of their own otherwise. */
  readonly alsoTells?: {
    readonly pods: ListWatchListener;
    readonly deployments: ListWatchListener;
    readonly statefulSets: ListWatchListener;
  };
  /** Told of a pod whose annotations ask for what only a float IP has, while it asks for none. */
  readonly policyIgnored?: (pod: PodId & { readonly uid: string }, problem: string) => void;
};

/** The cluster as its API server shows it. */
export class KubernetesClusterView implements ClusterView {
  readonly #client: ApiClient;
  readonly #log: Log;
  readonly #listeners = new Set<(event: ClusterEvent) => void>();
  readonly #pods: WatchCache<PodFacts>;
  readonly #carriers = new CarrierIndex();
  readonly #nodes: WatchCache<NodeFacts>;
  readonly #deployments: WatchCache<WorkloadState>;
  readonly #statefulSets: WatchCache<WorkloadState>;
  readonly #replicaSets: WatchCache<ReplicaSetFacts>;
  readonly #custom: CustomWorkloads;

  constructor(options: KubernetesClusterViewOptions) {
    const { client, log } = options;
    this.#client = client;
    this.#log = log;
    const common = {
      client,
      log,
      ...(options.times === undefined ? {} : { times: options.times }),
    };
    this.#pods = new WatchCache<PodFacts>({
      ...common,
      collection: { path: "/api/v1/pods", what: "pods" },
      alsoTells: options.alsoTells?.pods,
      keyOf: namespacedKeyOf,
      project: (object) => {
        const pod = parsePod(object);
        if (pod === undefined || concernsAddresses(pod)) return pod;
        const problem = pod.nodeName === "" ? policyWithoutResource(object) : undefined;
        if (problem !== undefined) options.policyIgnored?.({ ...pod.id, uid: pod.uid }, problem);
        return undefined;
      },
      changed: (key, after, before) => {
        this.#carriers.replace(before, after);
        if (after?.controller !== undefined) this.#custom.noteController(after.controller);
        this.#tell({ kind: "pod", pod: parsePodIdText(key) });
      },
    });
    this.#nodes = new WatchCache<NodeFacts>({
      ...common,
      collection: { path: "/api/v1/nodes", what: "nodes" },
      keyOf: nameKeyOf,
      project: parseNode,
      changed: () => this.#tell({ kind: "nodes" }),
    });
    const { alsoTells } = options;
    this.#deployments = this.#watchBuiltIn(common, "deployment", alsoTells?.deployments);
    this.#statefulSets = this.#watchBuiltIn(common, "statefulset", alsoTells?.statefulSets);
    this.#replicaSets = new WatchCache<ReplicaSetFacts>({
      ...common,
      collection: { path: "/apis/apps/v1/replicasets", what: "replicasets" },
      keyOf: namespacedKeyOf,
      project: parseReplicaSetFacts,
      changed: (key, after, before) => {
        // A Deployment's ReplicaSets come and go with every rollout; the Deployment itself says what matters.
        if ((after ?? before)?.controller !== "none") return;
        this.#tell({
          kind: "workload",
          workload: builtInWorkload("replicaset", parsePodIdText(key)),
        });
      },
    });
    this.#custom = new CustomWorkloads({
      ...common,
      changed: (workload) => this.#tell({ kind: "workload", workload }),
    });
  }

  /** Begins all watches; returns at once. */
  start(): void {
    for (const watch of this.watches()) watch.start();
  }

  /** Resolves when pods, nodes, built-in workloads and definitions are read; of custom kinds only those in use are, later. */
  async whenSynced(): Promise<void> {
    await Promise.all(this.watches().map((watch) => watch.whenSynced()));
  }

  /** Ends all watches: nothing is told any more. */
  stop(): void {
    for (const watch of this.watches()) watch.stop();
    this.#custom.stop();
  }

  /** The watches that health looks at: each knows its problem and when it last heard of the API server. */
  watches(): readonly ListWatch[] {
    return [
      this.#pods.watch,
      this.#nodes.watch,
      this.#deployments.watch,
      this.#statefulSets.watch,
      this.#replicaSets.watch,
      this.#custom.crds.watch,
    ];
  }

  /** Whether the pod may have changed unseen: the cache is not filled, its watch is down, or it shows another pod of that name. */
  mayBeStale(pod: PodFacts): boolean {
    const { watch } = this.#pods;
    return !watch.isSynced || !watch.isWatching || this.pod(pod.id)?.uid !== pod.uid;
  }

  pod(id: PodId): PodFacts | undefined {
    return this.#pods.get(podIdText(id));
  }

  pods(): Iterable<PodFacts> {
    return this.#pods.values();
  }

  carriersOf(ip: Ip): readonly PodFacts[] {
    return this.#carriers.of(ip);
  }

  async readPod(id: PodId): Promise<PodFacts | "gone"> {
    return this.#read(
      `/api/v1/namespaces/${segment(id.namespace)}/pods/${segment(id.name)}`,
      `read pod ${podIdText(id)}`,
      parsePod,
    );
  }

  node(name: string): NodeFacts | undefined {
    return this.#nodes.get(name);
  }

  nodes(): Iterable<NodeFacts> {
    return this.#nodes.values();
  }

  async readNode(name: string): Promise<NodeFacts | "gone"> {
    return this.#read(`/api/v1/nodes/${segment(name)}`, `read node ${name}`, parseNode);
  }

  ownershipOf(pod: PodFacts): PodOwnership {
    if (pod.controller !== undefined) this.#custom.noteController(pod.controller);
    return resolveOwnership(pod, this.#cachedReplicaSet(pod) ?? "unknown");
  }

  async readOwnershipOf(pod: PodFacts): Promise<PodOwnership> {
    const name = replicaSetNameOf(pod);
    if (name === undefined || this.#cachedReplicaSet(pod) !== undefined) {
      return this.ownershipOf(pod);
    }
    const { namespace } = pod.id;
    const live = await this.#read(
      builtInPath("replicaset", { namespace, name }),
      `read ReplicaSet ${namespace}/${name}`,
      parseReplicaSetFacts,
    );
    return resolveOwnership(pod, live === "gone" ? "unknown" : live.controller);
  }

  workload(ref: WorkloadRef): WorkloadState {
    switch (ref.type) {
      case "deployment":
        return cachedState(this.#deployments, ref, (state) => state);
      case "statefulset":
        return cachedState(this.#statefulSets, ref, (state) => state);
      case "replicaset":
        return cachedState(this.#replicaSets, ref, ({ state }) => state);
      case "custom":
        return this.#custom.state(ref);
      default:
        return ref.type satisfies never;
    }
  }

  async readWorkload(ref: WorkloadRef): Promise<WorkloadState> {
    if (ref.type === "custom") return this.#custom.read(ref);
    const { kind, parse } = builtIns[ref.type];
    const live = await this.#read(
      builtInPath(ref.type, ref),
      `read ${kind} ${ref.namespace}/${ref.name}`,
      parse,
    );
    return live === "gone" ? { kind: "gone" } : live;
  }

  watch(listener: (event: ClusterEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #watchBuiltIn(
    common: KubernetesClusterViewOptions,
    type: "deployment" | "statefulset",
    alsoTells: ListWatchListener | undefined,
  ): WatchCache<WorkloadState> {
    const { plural, parse } = builtIns[type];
    return new WatchCache<WorkloadState>({
      ...common,
      collection: { path: `/apis/apps/v1/${plural}`, what: plural },
      alsoTells,
      keyOf: namespacedKeyOf,
      project: parse,
      changed: (key) =>
        this.#tell({ kind: "workload", workload: builtInWorkload(type, parsePodIdText(key)) }),
    });
  }

  /** What the cache knows about the pod's ReplicaSet; undefined when it has not seen it. */
  #cachedReplicaSet(pod: PodFacts): ReplicaSetController | undefined {
    const name = replicaSetNameOf(pod);
    if (name === undefined) return undefined;
    return this.#replicaSets.get(`${pod.id.namespace}/${name}`)?.controller;
  }

  async #read<Facts>(
    path: string,
    tried: string,
    parse: (json: unknown) => Facts | undefined,
  ): Promise<Facts | "gone"> {
    const answer = await this.#client.readJson({ path, tried });
    if (answer.kind === "missing") return "gone";
    const facts = parse(answer.json);
    if (facts !== undefined) return facts;
    throw new WorldError("API_UNREADABLE", {
      tried,
      message: "the answer is another object; is there a proxy between us and the API server?",
    });
  }

  #tell(event: ClusterEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { event: event.kind }, error);
      }
    }
  }
}

/** Whether the cache keeps the pod: it wants an address or was given one. */
function concernsAddresses(pod: PodFacts): boolean {
  return pod.wantsAddress || pod.assignedIps.length > 0;
}

function parseReplicaSetFacts(json: unknown): ReplicaSetFacts {
  return {
    controller: controllerOfReplicaSet(replicaSetOwner(json)),
    state: parseReplicaSet(json),
  };
}

function builtInPath(type: BuiltInType, id: { namespace: string; name: string }): string {
  return `/apis/apps/v1/namespaces/${segment(id.namespace)}/${builtIns[type].plural}/${segment(id.name)}`;
}

function cachedState<Facts>(
  cache: WatchCache<Facts>,
  ref: WorkloadRef,
  stateOf: (facts: Facts) => WorkloadState,
): WorkloadState {
  const facts = cache.get(`${ref.namespace}/${ref.name}`);
  if (facts !== undefined) return stateOf(facts);
  if (cache.watch.isSynced && cache.watch.isReadable) return { kind: "gone" };
  return { kind: "unknown", reason: cache.watch.problem ?? `${ref.kind}s are not read yet` };
}
