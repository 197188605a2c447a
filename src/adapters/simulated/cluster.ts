// A simulated cluster in real time: API server, controllers, kubelets and scheduler put together, kept over restarts, with the verbs that operators
// have. What the verbs look like over HTTP is adapters/http's business.

import { randomUUID } from "node:crypto";
import { parseIp } from "../../core/ip.ts";
import { formatIpRange } from "../../core/ip-range.ts";
import { podIdText } from "../../core/owner.ts";
import { policyInForce } from "../../core/release-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type {
  SimulatedEvent,
  SimulatedNode,
  SimulatedPod,
  SimulatedWorkload,
  SimulatedWorkloadWish,
} from "../../wire/api/simulation.ts";
import { formatTime } from "../../wire/json-value.ts";
import { poolNameProblem } from "../../wire/pod.ts";
import { formatReserveTtl, parseReserveTtl } from "../../wire/reserve-ttl.ts";
import type { Change } from "./api.ts";
import { SimApi } from "./api.ts";
import { SimulatedClusterView } from "./cluster-view.ts";
import { Controllers } from "./controllers.ts";
import { SimulatedEventRecorder } from "./event-recorder.ts";
import type { Extender } from "./extender.ts";
import { KeptObjects, type ObjectStore } from "./kept-objects.ts";
import { workloadKey } from "./keys.ts";
import { Kubelets, nodeGraceMs } from "./kubelets.ts";
import type { SimNode, SimPod, SimWorkload, WorkloadKind } from "./objects.ts";
import { SimulatedPodBinder } from "./pod-binder.ts";
import { deletePod } from "./pod-verbs.ts";
import type { RandomSource } from "./random-source.ts";
import { refOf, requestFrom } from "./saved-objects.ts";
import { Scheduler } from "./scheduler.ts";
import { SimulatedVipClaims } from "./vip-claims.ts";
import { rolloutDeadlockOf } from "./workload-facts.ts";

/** A workload by the names that operators use. */
export type WorkloadName = {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
};

/** `invalid` names the field of the wish that is wrong. */
export type Refusal =
  | { readonly kind: "exists" }
  | { readonly kind: "invalid"; readonly field: string; readonly message: string };

/** A cluster in this process. Verbs resolve when what they did outlives the process. */
export class SimulatedCluster {
  readonly view: SimulatedClusterView;
  readonly binder: SimulatedPodBinder;
  readonly recorder: SimulatedEventRecorder;
  readonly vipClaims: SimulatedVipClaims;
  readonly #api: SimApi;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #kept: KeptObjects;
  readonly #kubelets: Kubelets;
  readonly #controllers: Controllers;
  readonly #random: RandomSource;
  #scheduler: Scheduler | undefined;
  #isStopped = false;

  constructor(parts: {
    readonly clock: Clock;
    readonly random: RandomSource;
    readonly store: ObjectStore;
    readonly log: Log;
  }) {
    const { random, store, log } = parts;
    // After the end nothing happens any more, whatever was planned.
    const clock: Clock = {
      nowMs: () => parts.clock.nowMs(),
      after: (delayMs, action) =>
        parts.clock.after(delayMs, () => {
          if (!this.#isStopped) action();
        }),
    };
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    const api = new SimApi(clock, { newUid: randomUUID });
    this.#api = api;
    this.#kept = new KeptObjects({ api, store, clock, log });
    this.view = new SimulatedClusterView(api);
    this.binder = new SimulatedPodBinder(api, () => this.#kept.kept());
    this.recorder = new SimulatedEventRecorder(clock);
    this.vipClaims = new SimulatedVipClaims(api, clock);
    const trace = (text: string) => this.#trace(text);
    this.#kubelets = new Kubelets({ api, clock, random, trace });
    this.#controllers = new Controllers({ api, clock, random, trace });
  }

  /** Takes up the cluster as an earlier life left it. Called once. @throws WorldError STATE_FILE_UNUSABLE */
  load(): void {
    this.#kept.load();
    this.vipClaims.start();
  }

  /** Calls `listener` after nodes came, went, fell silent or came back. @returns a function that stops it */
  watchNodes(listener: () => void): () => void {
    const own = ({ collection }: Change) => {
      if (collection === "nodes") listener();
    };
    this.#api.listeners.add(own);
    return () => this.#api.listeners.delete(own);
  }

  /** Whether something was noted about this cluster, in whatever life. */
  isNoted(note: string): boolean {
    return this.#kept.isNoted(note);
  }

  /** Notes something for later lives. */
  async note(note: string): Promise<void> {
    await this.#kept.kept();
    await this.#kept.note(note);
  }

  /** Brings the cluster to life. @param extender who is asked about pods that want an address */
  start(extender: Extender): void {
    this.#kubelets.start();
    this.#controllers.start();
    this.#scheduler = new Scheduler({
      api: this.#api,
      clock: this.#clock,
      random: this.#random,
      extender: () => extender,
      trace: (text) => this.#trace(text),
    });
    this.#scheduler.start();
  }

  /** Everything stands still; resolves when it is kept. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#kept.kept();
  }

  sizes(): { readonly workloads: number; readonly pods: number; readonly nodes: number } {
    return {
      workloads: this.workloads().length,
      pods: this.#api.size("pods"),
      nodes: this.#api.size("nodes"),
    };
  }

  /** Workloads, oldest first, without the ReplicaSets of Deployments. */
  workloads(): SimulatedWorkload[] {
    const counts = this.#countPods();
    return this.#api
      .list("workloads")
      .filter(({ deployment }) => deployment === undefined)
      .map((workload) => this.#describe(workload, counts));
  }

  async createWorkload(
    wish: SimulatedWorkloadWish,
  ): Promise<{ readonly kind: "done"; readonly workload: SimulatedWorkload } | Refusal> {
    const { kind, name, namespace = "default", replicas = 1, pool } = wish;
    const key = workloadKey(kind, namespace, name);
    if (this.#api.get("workloads", key) !== undefined) return { kind: "exists" };
    const poolProblem = pool === undefined ? undefined : poolNameProblem(pool);
    if (poolProblem !== undefined) return { kind: "invalid", field: "pool", message: poolProblem };
    const request = requestFrom(wish);
    if ("problems" in request) {
      return { kind: "invalid", field: "requestIpRange", message: request.problems.join("; ") };
    }
    if (wish.requestIpRange !== undefined && wish.ipFamilies !== undefined) {
      const message = "requestIpRange and ipFamilies exclude each other; leave one out";
      return { kind: "invalid", field: "ipFamilies", message };
    }
    const { surgeIps, maxUnavailable, virtualIps } = wish;
    const claimed = virtualIps?.flatMap((text) => parseIp(text) ?? []);
    if (claimed?.length !== virtualIps?.length) {
      const message = `${virtualIps?.join(", ")}: each must be an IPv4 or IPv6 address`;
      return { kind: "invalid", field: "virtualIps", message };
    }
    if (surgeIps !== undefined && kind !== "deployment") {
      const message = `a ${kind} has no addresses beside those of its replicas; leave it out`;
      return { kind: "invalid", field: "surgeIps", message };
    }
    const reserveTtl = parseReserveTtl(wish.reserveTtl, "reserveTtl");
    if (typeof reserveTtl === "object") {
      return { kind: "invalid", field: "reserveTtl", message: reserveTtl.problem };
    }
    const workload: SimWorkload = {
      kind,
      ref: refOf(kind, { namespace, name }),
      uid: this.#api.newUid(),
      replicas,
      firstOrdinal: 0,
      template: {
        wantsAddress: wish.wantsAddress ?? true,
        policy: policyInForce(wish.policy, pool),
        pool,
        request,
        revision: 1,
        ...(surgeIps === undefined ? {} : { surgeAddresses: surgeIps }),
        ...(claimed === undefined ? {} : { virtualIps: claimed }),
        ...(reserveTtl === undefined ? {} : { reserveTtl }),
      },
      // The defaults of Kubernetes: 25 %, rounded up and down.
      maxSurge: wish.maxSurge ?? Math.ceil(replicas / 4),
      maxUnavailable: maxUnavailable ?? Math.floor(replicas / 4),
      deployment: undefined,
    };
    this.#api.put("workloads", key, workload, "operator");
    await this.#kept.kept();
    return { kind: "done", workload: this.#describe(workload, this.#countPods()) };
  }

  /** @returns undefined when there is no such workload */
  scale(name: WorkloadName, replicas: number): Promise<SimulatedWorkload | undefined> {
    return this.#changeWorkload(name, (workload) => ({ ...workload, replicas }));
  }

  /** Rolls a new revision out. @returns undefined when there is no such workload */
  roll(name: WorkloadName): Promise<SimulatedWorkload | undefined> {
    return this.#changeWorkload(name, (workload) => ({
      ...workload,
      template: { ...workload.template, revision: workload.template.revision + 1 },
    }));
  }

  /** @returns whether it was there */
  async deleteWorkload({ kind, namespace, name }: WorkloadName): Promise<boolean> {
    const isThere = this.#api.remove("workloads", workloadKey(kind, namespace, name), "operator");
    await this.#kept.kept();
    return isThere;
  }

  /** Pods, oldest first. */
  pods(): SimulatedPod[] {
    return this.#api.list("pods").map((pod) => this.#describePod(pod));
  }

  async deletePod(
    id: { readonly namespace: string; readonly name: string },
    options: { readonly force: boolean },
  ): Promise<ReturnType<typeof deletePod>> {
    const outcome = deletePod(this.#api, podIdText(id), { ...options, writer: "operator" });
    await this.#kept.kept();
    return outcome;
  }

  nodes(): SimulatedNode[] {
    const counts = new Map<string, number>();
    for (const { facts } of this.#api.list("pods")) {
      counts.set(facts.nodeName, (counts.get(facts.nodeName) ?? 0) + 1);
    }
    return this.#api.list("nodes").map((node) => this.#describeNode(node, counts));
  }

  async addNode(wish: {
    readonly name: string;
    readonly ips: readonly string[];
  }): Promise<{ readonly kind: "done"; readonly node: SimulatedNode } | Refusal> {
    const { name } = wish;
    if (this.#api.get("nodes", name) !== undefined) return { kind: "exists" };
    const internalIps = wish.ips.flatMap((text) => parseIp(text) ?? []);
    if (internalIps.length < wish.ips.length) {
      const message = `${wish.ips.join(", ")}: each must be an IPv4 or IPv6 address`;
      return { kind: "invalid", field: "ips", message };
    }
    const node: SimNode = { facts: { name, internalIps }, isUp: true, downSinceMs: 0 };
    this.#api.put("nodes", name, node, "operator");
    await this.#kept.kept();
    return { kind: "done", node: this.#describeNode(node, new Map()) };
  }

  /** The node falls silent. @returns undefined when there is no such node */
  stopNode(name: string): Promise<SimulatedNode | undefined> {
    return this.#changeNode(name, () => this.#kubelets.stopNode(name));
  }

  /** The node is back. @returns undefined when there is no such node */
  startNode(name: string): Promise<SimulatedNode | undefined> {
    return this.#changeNode(name, () => this.#kubelets.startNode(name));
  }

  /** @returns whether it was there */
  async removeNode(name: string): Promise<boolean> {
    const isThere = this.#api.remove("nodes", name, "operator");
    await this.#kept.kept();
    return isThere;
  }

  /** What galaxy-ipam reported, newest first. */
  events(): SimulatedEvent[] {
    return this.recorder.events().map(({ about, type, reason, message, count, atMs }) => ({
      time: formatTime(atMs),
      type,
      kind: about.kind,
      namespace: about.namespace,
      name: about.name,
      reason,
      message,
      count,
    }));
  }

  async #changeWorkload(
    { kind, namespace, name }: WorkloadName,
    change: (workload: SimWorkload) => SimWorkload,
  ): Promise<SimulatedWorkload | undefined> {
    const key = workloadKey(kind, namespace, name);
    this.#api.change("workloads", key, change, "operator");
    await this.#kept.kept();
    const workload = this.#api.get("workloads", key);
    return workload === undefined ? undefined : this.#describe(workload, this.#countPods());
  }

  async #changeNode(name: string, change: () => void): Promise<SimulatedNode | undefined> {
    change();
    await this.#kept.kept();
    return this.nodes().find((node) => node.name === name);
  }

  /** Pods and ready pods by uid of the controller; those of a ReplicaSet count for its Deployment as well. */
  #countPods(): ReadonlyMap<string, { pods: number; ready: number }> {
    const deploymentOf = new Map<string, string>();
    for (const { uid, ref, deployment } of this.#api.list("workloads")) {
      if (deployment === undefined) continue;
      const key = workloadKey("deployment", ref.namespace, deployment);
      deploymentOf.set(uid, this.#api.get("workloads", key)?.uid ?? "");
    }
    const counts = new Map<string, { pods: number; ready: number }>();
    for (const { facts, isReady } of this.#api.list("pods")) {
      const uid = facts.controller?.uid ?? "";
      for (const each of [uid, deploymentOf.get(uid)]) {
        if (each === undefined) continue;
        const count = counts.get(each) ?? { pods: 0, ready: 0 };
        counts.set(each, count);
        count.pods += 1;
        if (isReady) count.ready += 1;
      }
    }
    return counts;
  }

  #describe(
    workload: SimWorkload,
    counts: ReadonlyMap<string, { pods: number; ready: number }>,
  ): SimulatedWorkload {
    const { kind, ref, uid, replicas, template, maxSurge, maxUnavailable } = workload;
    const { pods, ready } = counts.get(uid) ?? { pods: 0, ready: 0 };
    const { wantsAddress, policy, pool, request, revision, surgeAddresses, reserveTtl } = template;
    const keepsAddresses = policy !== "pod-delete";
    const rolloutProblem = keepsAddresses ? rolloutDeadlockOf(workload) : undefined;
    return {
      kind,
      namespace: ref.namespace,
      name: ref.name,
      replicas: kind === "daemonset" ? this.#api.size("nodes") : replicas,
      pods,
      ready,
      revision,
      wantsAddress,
      policy: policy === "pod-delete" ? "" : policy,
      ...(pool === undefined ? {} : { pool }),
      ...(request.kind === "ranges"
        ? { requestIpRange: request.ranges.map((list) => list.map(formatIpRange)) }
        : request.families === undefined
          ? {}
          : { ipFamilies: [...request.families] }),
      ...(surgeAddresses === undefined ? {} : { surgeIps: surgeAddresses }),
      ...(template.virtualIps === undefined ? {} : { virtualIps: [...template.virtualIps] }),
      ...(reserveTtl === undefined ? {} : { reserveTtl: formatReserveTtl(reserveTtl) }),
      ...(kind === "deployment" ? { maxSurge, maxUnavailable } : {}),
      ...(rolloutProblem === undefined ? {} : { rolloutProblem }),
    };
  }

  #describePod(pod: SimPod): SimulatedPod {
    const { facts, revision, isReady, deletedAtMs } = pod;
    const { id, controller, nodeName } = facts;
    const waitsBecause = nodeName === "" ? this.#scheduler?.waitsBecause(podIdText(id)) : undefined;
    const owner = this.view.ownershipOf(facts).workload;
    return {
      ...id,
      uid: facts.uid,
      phase: facts.phase,
      ready: isReady,
      deleting: deletedAtMs !== undefined,
      ...(nodeName === "" ? {} : { nodeName }),
      ips: [...facts.assignedIps],
      ...(controller === undefined || owner === undefined
        ? {}
        : { kind: owner.kind, workload: owner.name }),
      revision,
      created: formatTime(facts.createdAtMs),
      ...(waitsBecause === undefined ? {} : { waitsBecause }),
    };
  }

  #describeNode(node: SimNode, podCounts: ReadonlyMap<string, number>): SimulatedNode {
    const { facts, isUp, downSinceMs } = node;
    return {
      name: facts.name,
      ips: [...facts.internalIps],
      up: isUp,
      ready: isUp || this.#clock.nowMs() - downSinceMs < nodeGraceMs,
      pods: podCounts.get(facts.name) ?? 0,
    };
  }

  #trace(text: string): void {
    this.#log.debug("simulated cluster", { what: text });
  }
}
