// The ClusterView on a simulated API server inside the process: its cache is the server itself, so that nothing is ever stale. The simulator,
// whose caches lag, has its own (sim/process.ts).

import type { NodeFacts, PodFacts, PodOwnership, WorkloadState } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import { type PodId, parsePodIdText, podIdText, type WorkloadRef } from "../../core/owner.ts";
import type { ClusterEvent, ClusterView } from "../../ports/cluster-view.ts";
import type { Change, SimApi } from "./api.ts";
import { groupVersionKinds } from "./controllers/workplace.ts";
import { keyOfRef, ownershipOfPod, replicaSetKeyOf, stateOfWorkload } from "./workload-facts.ts";

/** Reads of a simulated cluster. Events come in the turn after the change. */
export class SimulatedClusterView implements ClusterView {
  readonly #api: SimApi;
  readonly #listeners = new Set<(event: ClusterEvent) => void>();

  constructor(api: SimApi) {
    this.#api = api;
    api.listeners.add((change) => {
      const event = eventOf(change);
      if (event === undefined) return;
      for (const listener of this.#listeners) {
        queueMicrotask(() => {
          if (this.#listeners.has(listener)) listener(event);
        });
      }
    });
  }

  pod(id: PodId): PodFacts | undefined {
    const facts = this.#api.get("pods", podIdText(id))?.facts;
    return facts !== undefined && concernsAddresses(facts) ? facts : undefined;
  }

  *pods(): Generator<PodFacts> {
    for (const { facts } of this.#api.list("pods")) if (concernsAddresses(facts)) yield facts;
  }

  carriersOf(ip: Ip): readonly PodFacts[] {
    return [...this.pods()].filter(({ assignedIps }) => assignedIps.includes(ip));
  }

  async readPod(id: PodId): Promise<PodFacts | "gone"> {
    await Promise.resolve();
    return this.#api.get("pods", podIdText(id))?.facts ?? "gone";
  }

  node(name: string): NodeFacts | undefined {
    return this.#api.get("nodes", name)?.facts;
  }

  nodes(): Iterable<NodeFacts> {
    return this.#api.list("nodes").map(({ facts }) => facts);
  }

  async readNode(name: string): Promise<NodeFacts | "gone"> {
    await Promise.resolve();
    return this.node(name) ?? "gone";
  }

  ownershipOf(pod: PodFacts): PodOwnership {
    const key = replicaSetKeyOf(pod);
    return ownershipOfPod(pod, key === undefined ? undefined : this.#api.get("workloads", key));
  }

  async readOwnershipOf(pod: PodFacts): Promise<PodOwnership> {
    await Promise.resolve();
    return this.ownershipOf(pod);
  }

  workload(ref: WorkloadRef): WorkloadState {
    const problem = unservedKind(ref);
    if (problem !== undefined) return { kind: "unknown", reason: problem };
    return stateOfWorkload(this.#api.get("workloads", keyOfRef(ref)), ref);
  }

  async readWorkload(ref: WorkloadRef): Promise<WorkloadState> {
    await Promise.resolve();
    return this.workload(ref);
  }

  watch(listener: (event: ClusterEvent) => void): () => void {
    const own = (event: ClusterEvent) => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }
}

/** Whether a cache of the pods that matter holds this one: it wants an address or was given one. */
function concernsAddresses(pod: PodFacts): boolean {
  return pod.wantsAddress || pod.assignedIps.length > 0;
}

function eventOf(change: Change): ClusterEvent | undefined {
  if (change.collection === "pods") {
    const matters = [change.before, change.value].some(
      (pod) => pod !== undefined && concernsAddresses(pod.facts),
    );
    return matters ? { kind: "pod", pod: parsePodIdText(change.key) } : undefined;
  }
  if (change.collection === "nodes") return { kind: "nodes" };
  if (change.collection !== "workloads") return undefined;
  const workload = change.value ?? change.before;
  return workload === undefined ? undefined : { kind: "workload", workload: workload.ref };
}

/** Why nobody can say anything about workloads of that kind; undefined when the cluster serves it. */
function unservedKind({ kind, apiGroup }: WorkloadRef): string | undefined {
  const served = Object.entries(groupVersionKinds).find(([name]) => name === kind)?.[1];
  if (served !== undefined && (apiGroup === undefined || apiGroup === served.apiGroup)) {
    return undefined;
  }
  const where = apiGroup === undefined ? "any API group" : `API group "${apiGroup}"`;
  return `no kind "${kind}" is served in ${where}`;
}
