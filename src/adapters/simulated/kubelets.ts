// The kubelets of all nodes, and what the control plane does about nodes that are silent or gone: readiness, taints, pod GC.
// Not the scheduler and not the node side of Float IP.

import { podIsFinished } from "../../core/facts.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Change, SimApi } from "./api.ts";
import type { SimNode, SimPod } from "./objects.ts";
import { PodIndex } from "./pod-index.ts";
import { deletePod } from "./pod-verbs.ts";
import type { RandomSource } from "./random-source.ts";

/** How long a silent node's pods stay ready. Kubernetes waits 40 s; a shorter time makes more of a simulated hour. */
export const nodeGraceMs = 10_000;

/** How long pods tolerate a node that is not ready (`tolerationSeconds`, 300 s by default in Kubernetes). */
export const notReadyTolerationMs = 5_000;

type Plan = "start" | "stop" | "discard" | "succeed" | "taint" | "orphan";

/** Runs bound pods, stops deleted ones, and watches the nodes. */
export class Kubelets {
  readonly #api: SimApi;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #trace: (text: string) => void;
  readonly #index: PodIndex;
  /** What is going to happen to a pod, by uid, so that no pod has the same future twice. */
  readonly #plans = new Set<string>();
  /** Nodes whose pods have been called not ready. */
  readonly #tainted = new Set<string>();

  constructor(parts: {
    readonly api: SimApi;
    readonly clock: Clock;
    readonly random: RandomSource;
    readonly trace: (text: string) => void;
  }) {
    this.#api = parts.api;
    this.#clock = parts.clock;
    this.#random = parts.random.fork();
    this.#trace = parts.trace;
    this.#index = new PodIndex(parts.api);
  }

  /** Takes over the pods that are there, and follows what changes. Called once. */
  start(): void {
    this.#api.listeners.add((change) => this.#follow(change));
    for (const node of this.#api.list("nodes")) if (!node.isUp) this.#awaitReturn(node);
    for (const key of this.#api.keys("pods")) this.#look(key, this.#api.get("pods", key));
  }

  /** The node falls silent: nothing starts and nothing stops on it until it is back. */
  stopNode(name: string): void {
    const node = this.#api.get("nodes", name);
    if (node === undefined || !node.isUp) return;
    this.#trace(`node ${name}: down`);
    const downSinceMs = this.#clock.nowMs();
    this.#api.put("nodes", name, { ...node, isUp: false, downSinceMs }, "kubelet");
  }

  /** The node is back. */
  startNode(name: string): void {
    const node = this.#api.get("nodes", name);
    if (node === undefined || node.isUp) return;
    this.#trace(`node ${name}: up`);
    this.#api.put("nodes", name, { ...node, isUp: true }, "kubelet");
  }

  #follow(change: Change): void {
    if (change.collection === "pods") this.#look(change.key, change.value);
    if (change.collection === "nodes") this.#followNode(change.key, change.before, change.value);
  }

  #followNode(name: string, before: SimNode | undefined, node: SimNode | undefined): void {
    if (node !== undefined && !node.isUp) {
      if (before?.isUp !== false) this.#awaitReturn(node);
      return;
    }
    if (node !== undefined && before?.isUp === true) return;
    this.#tainted.delete(name);
    for (const [key, pod] of this.#index.ofNode(name)) this.#look(key, pod);
  }

  /** The node lifecycle controller: not ready after a time, and later the taint manager deletes what does not tolerate it. */
  #awaitReturn({ facts: { name }, downSinceMs }: SimNode): void {
    const isStillDown = () => {
      const node = this.#api.get("nodes", name);
      return node !== undefined && !node.isUp && node.downSinceMs === downSinceMs;
    };
    this.#clock.after(nodeGraceMs, () => {
      if (!isStillDown()) return;
      this.#trace(`node ${name}: not ready`);
      this.#tainted.add(name);
      for (const [key, pod] of this.#index.ofNode(name)) {
        if (pod.isReady) this.#api.put("pods", key, { ...pod, isReady: false }, "node-lifecycle");
        this.#look(key, this.#api.get("pods", key));
      }
    });
  }

  /** Plans what the pod's state asks for. */
  #look(key: string, pod: SimPod | undefined): void {
    if (pod === undefined) return;
    const { nodeName } = pod.facts;
    const isFinished = podIsFinished(pod.facts);
    if (nodeName === "") {
      if (pod.deletedAtMs !== undefined) this.#plan("stop", key, pod, 0, () => this.#stop(key));
      return;
    }
    const node = this.#api.get("nodes", nodeName);
    if (node === undefined) {
      this.#planOrphan(key, pod);
      return;
    }
    if (!node.isUp) {
      if (this.#tainted.has(nodeName)) this.#planTaint(key, pod);
      return;
    }
    if (pod.deletedAtMs !== undefined) {
      // A pod that is evicted while it stops has nothing left to stop: it goes at once, and the plan to stop it finds it gone.
      const delayMs = isFinished ? 0 : this.#random.integer(0, 2_000);
      this.#plan(isFinished ? "discard" : "stop", key, pod, delayMs, () => {
        if (this.#isUp(nodeName)) this.#stop(key);
      });
    } else if (!isFinished && !(pod.isReady && pod.facts.phase === "Running")) {
      this.#plan("start", key, pod, this.#random.integer(10, 500), (now) => {
        if (now.deletedAtMs !== undefined || podIsFinished(now.facts) || !this.#isUp(nodeName)) {
          return;
        }
        const facts = { ...now.facts, phase: "Running" as const };
        this.#api.put("pods", key, { ...now, isReady: true, facts }, "kubelet");
      });
    } else if (!isFinished && isControlledBy(pod, "batch", "Job")) {
      this.#planSuccess(key, pod);
    }
  }

  #planSuccess(key: string, pod: SimPod): void {
    this.#plan("succeed", key, pod, this.#random.integer(1_000, 20_000), (now) => {
      if (podIsFinished(now.facts) || !this.#isUp(now.facts.nodeName)) return;
      this.#trace(`pod ${key}: succeeded`);
      const facts = { ...now.facts, phase: "Succeeded" as const };
      this.#api.put("pods", key, { ...now, isReady: false, facts }, "kubelet");
    });
  }

  /** The taint manager, for pods on a node that is not ready. */
  #planTaint(key: string, pod: SimPod): void {
    if (pod.deletedAtMs !== undefined || isControlledBy(pod, "apps", "DaemonSet")) return;
    this.#plan("taint", key, pod, notReadyTolerationMs, (now) => {
      if (!this.#tainted.has(now.facts.nodeName)) return;
      this.#trace(`pod ${key}: deleted, its node ${now.facts.nodeName} is not ready`);
      deletePod(this.#api, key, { writer: "taint-manager" });
    });
  }

  /** The pod GC, for pods of a node that does not exist: Failed first, as kube-controller-manager does it, then gone. */
  #planOrphan(key: string, pod: SimPod): void {
    this.#plan("orphan", key, pod, this.#random.integer(1_000, 20_000), (now) => {
      if (this.#api.get("nodes", now.facts.nodeName) !== undefined) return;
      this.#trace(`pod ${key}: removed, its node ${now.facts.nodeName} is gone`);
      if (!podIsFinished(now.facts)) {
        const facts = { ...now.facts, phase: "Failed" as const };
        this.#api.put("pods", key, { ...now, isReady: false, facts }, "pod-gc");
      }
      this.#api.remove("pods", key, "pod-gc");
    });
  }

  #plan(
    what: Plan,
    key: string,
    { facts: { uid } }: SimPod,
    delayMs: number,
    action: (pod: SimPod) => void,
  ): void {
    const name = `${what} ${uid}`;
    if (this.#plans.has(name)) return;
    this.#plans.add(name);
    this.#clock.after(delayMs, () => {
      this.#plans.delete(name);
      const pod = this.#api.get("pods", key);
      if (pod?.facts.uid === uid) action(pod);
    });
  }

  #stop(key: string): void {
    this.#trace(`pod ${key}: stopped`);
    this.#api.remove("pods", key, "kubelet");
  }

  #isUp(nodeName: string): boolean {
    return this.#api.get("nodes", nodeName)?.isUp === true;
  }
}

function isControlledBy(pod: SimPod, apiGroup: string, kind: string): boolean {
  const { controller } = pod.facts;
  return controller?.apiGroup === apiGroup && controller.kind === kind;
}
