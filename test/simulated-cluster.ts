// A small cluster for the tests of controllers and kubelets: an API server, both of them, and a scheduler that takes the emptiest node.
// Without Float IP; the world of the simulator is elsewhere.

import { Random } from "../sim/random.ts";
import { Timeline } from "../sim/timeline.ts";
import { type Change, SimApi } from "../src/adapters/simulated/api.ts";
import { Controllers } from "../src/adapters/simulated/controllers.ts";
import { workloadKey } from "../src/adapters/simulated/keys.ts";
import { Kubelets } from "../src/adapters/simulated/kubelets.ts";
import type { SimPod, SimWorkload, WorkloadKind } from "../src/adapters/simulated/objects.ts";
import { builtInWorkload } from "../src/core/owner.ts";
import { aNode } from "./builders.ts";

/** The template of a first revision without wishes. */
export const aTemplate = {
  wantsAddress: true,
  policy: "pod-delete",
  pool: undefined,
  request: { kind: "families", families: undefined },
  revision: 1,
} as const satisfies SimWorkload["template"];

/** A cluster in a namespace `ns1`. */
export class TestCluster {
  readonly timeline = new Timeline();
  readonly api = new SimApi(this.timeline);
  readonly log: string[] = [];
  /** Everything that changed in the API server. */
  readonly changes: Change[] = [];
  readonly kubelets: Kubelets;
  /** Called after each happening. */
  check: () => void = () => {};
  /** Pods whose name fits are never bound. */
  unschedulable: RegExp | undefined;

  constructor({ nodes = ["n1", "n2"], seed = 1 }: { nodes?: string[]; seed?: number } = {}) {
    const { timeline, api } = this;
    const random = new Random(seed);
    api.listeners.add((change) => this.changes.push(change));
    const trace = (text: string) => this.log.push(`${timeline.nowMs()} ${text}`);
    const parts = { api, clock: timeline, random, trace };
    this.kubelets = new Kubelets(parts);
    const controllers = new Controllers(parts);
    for (const [index, name] of nodes.entries()) this.addNode(name, index);
    api.listeners.add(({ collection, key, before }) => {
      if (collection === "pods" && before === undefined) timeline.after(3, () => this.#bind(key));
    });
    this.kubelets.start();
    controllers.start();
  }

  /** A node that is up. */
  addNode(name: string, index = this.api.size("nodes")): void {
    const facts = aNode(name, `10.0.0.${index + 1}`);
    this.api.put("nodes", name, { facts, isUp: true, downSinceMs: 0 });
  }

  /** Creates a workload `ns1/web` with three replicas. @returns its key */
  create(
    kind: WorkloadKind,
    wanted: Partial<Omit<SimWorkload, "kind" | "ref">> & { readonly name?: string } = {},
  ): string {
    const { name = "web", ...fields } = wanted;
    const id = { namespace: "ns1", name };
    const isBuiltIn = kind === "deployment" || kind === "replicaset" || kind === "statefulset";
    const key = workloadKey(kind, id.namespace, name);
    this.api.put("workloads", key, {
      kind,
      ref: isBuiltIn
        ? builtInWorkload(kind, id)
        : { type: "custom", kind, apiGroup: undefined, ...id },
      uid: this.api.newUid(),
      replicas: 3,
      firstOrdinal: 0,
      template: aTemplate,
      maxSurge: 1,
      maxUnavailable: 0,
      deployment: undefined,
      ...fields,
    });
    return key;
  }

  /** Changes the number of replicas. */
  scale(key: string, replicas: number): void {
    this.api.change("workloads", key, (workload) => ({ ...workload, replicas }));
  }

  /** Rolls a new revision out. */
  roll(key: string, revision: number): void {
    this.api.change("workloads", key, (workload) => ({
      ...workload,
      template: { ...workload.template, revision },
    }));
  }

  /** Lets time pass. */
  async run(seconds: number): Promise<void> {
    await this.timeline.runUntil(this.timeline.nowMs() + seconds * 1_000, () => this.check());
  }

  pods(): readonly SimPod[] {
    return this.api.list("pods");
  }

  /** Names of the pods, sorted. */
  names(): readonly string[] {
    return this.pods()
      .map(({ facts }) => facts.id.name)
      .toSorted();
  }

  pod(name: string): SimPod {
    const pod = this.api.get("pods", `ns1/${name}`);
    if (pod === undefined) throw new TypeError(`no pod ${name}, only ${this.names().join(" ")}`);
    return pod;
  }

  #bind(key: string): void {
    const pod = this.api.get("pods", key);
    if (pod === undefined || pod.facts.nodeName !== "") return;
    if (this.unschedulable?.test(key) === true) return;
    const counts = new Map(
      this.api
        .list("nodes")
        .filter(({ isUp, facts }) => isUp && (pod.onlyNode ?? facts.name) === facts.name)
        .map(({ facts }) => [facts.name, 0]),
    );
    for (const { facts } of this.pods()) {
      const count = counts.get(facts.nodeName);
      if (count !== undefined) counts.set(facts.nodeName, count + 1);
    }
    const [emptiest] = [...counts].toSorted(([, a], [, b]) => a - b);
    if (emptiest === undefined) this.timeline.after(1_000, () => this.#bind(key));
    else {
      const facts = { ...pod.facts, nodeName: emptiest[0] };
      this.api.put("pods", key, { ...pod, facts }, "scheduler");
    }
  }
}
