// What the scheduler asks: filter, prioritize, bind and preempt. Facts are gathered first; from the decision to the change of memory there
// is no await. Only bind writes; filter promises in memory; prioritize and preempt change nothing.

import type { Allocation } from "../core/allocation.ts";
import type { Hold } from "../core/allocation-table.ts";
import { decideBind } from "../core/decide-bind.ts";
import type { FilterDecision, PodContext, Refusal, ZonePlan } from "../core/decide-filter.ts";
import {
  decideFilter,
  describeWorkload,
  isKeptForName,
  ownAllocations,
  ownerOfPod,
  planForZone,
  refusalOf,
} from "../core/decide-filter.ts";
import { poolInForce } from "../core/decide-pool.ts";
import { keeperOf } from "../core/decide-reclaim.ts";
import type { NodeFacts, PodFacts, WorkloadState } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { ipToNumber } from "../core/ip.ts";
import type { Owner, PodId, WorkloadRef } from "../core/owner.ts";
import { podIdText, podsAreInterchangeable, workloadIdText } from "../core/owner.ts";
import type { QuotaFacts } from "../core/quota.ts";
import { quotaInForce } from "../core/quota.ts";
import type { IpInfo, Topology, Zone } from "../core/subnets.ts";
import { viewWithoutPods } from "../core/view-without-pods.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { PodBinder } from "../ports/pod-binder.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";

/** What scheduling needs. */
export type SchedulingPorts = {
  readonly allocator: Allocator;
  /** Orders bind against reclaim of one pod; keys are {@link podIdText}. */
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly pools: PoolStore;
  /** Quotas as last seen. */
  readonly quotas: () => readonly QuotaFacts[];
  readonly binder: PodBinder;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /**
   * Judges the addresses of pods of that name; called on the pod's queue.
   * @param options.asksApi the cache is not believed, even where it shows the pod alive; false by default
   */
  readonly reclaimPod: (pod: PodId, options?: { readonly asksApi: boolean }) => Promise<void>;
  /** Reclaims addresses and promises of interest from pods that are on their way out; whether there were any. */
  readonly reclaimLeaving: (couldHelp: {
    readonly address: (allocation: Allocation) => boolean;
    readonly hold: (hold: Hold) => boolean;
  }) => Promise<boolean>;
};

/** Times in milliseconds. */
export type SchedulingSettings = {
  /** How long filter's promise stands without a bind. */
  readonly holdMs: number;
  /** An address released less than this ago is used only when nothing else is left. */
  readonly reuseDelayMs: number;
  /**
   * How long filter waits at most for fresh promises to others when nothing else is left. A promise takes an address in each zone that the
   * pod may go to, and all but one come back when its bind begins; a pod that is refused meanwhile is not tried again for a minute.
   */
  readonly promiseWaitMs: number;
};

/** A question about nodes for one pod. */
export type FilterRequest = {
  readonly pod: PodFacts;
  readonly nodeNames: readonly string[];
  /** Internal addresses of a node that the cluster view does not know; undefined when nobody does. */
  readonly internalIpsOf: (nodeName: string) => readonly Ip[] | undefined;
};

/**
 * - `untouched`: the pod wants no address, every node passes
 * - `nodes`: positions of nodes that pass; the others by name with the reason
 * - `refused`: no node passes; the error says why and what to do
 */
export type FilterReply =
  | { readonly kind: "untouched" }
  | {
      readonly kind: "nodes";
      readonly passed: readonly number[];
      readonly failed: ReadonlyMap<string, string>;
    }
  | { readonly kind: "refused"; readonly error: string };

/** Scores from 0 to 10, higher is better, one per node asked about. */
export type PrioritizeReply = readonly { readonly nodeName: string; readonly score: number }[];

/** The scheduler's decision for one pod; `podUid` "" when the scheduler did not say it. */
export type BindRequest = {
  readonly pod: PodId;
  readonly podUid: string;
  readonly nodeName: string;
};

/** Refused: nothing is bound, the scheduler tries again. */
export type BindReply =
  | { readonly kind: "bound" }
  | { readonly kind: "refused"; readonly error: string };

/** Nodes on which the scheduler would delete pods to make room for one. */
export type PreemptRequest = {
  readonly pod: PodFacts;
  readonly candidates: readonly {
    readonly nodeName: string;
    readonly victimUids: readonly string[];
  }[];
};

/**
 * A promise that is older is one that the scheduler does not follow up soon; nobody waits for it. kube-scheduler sends the bind of one pod
 * before it filters the next one, so that this is much longer than it takes, and what a pod waits at most.
 */
const freshPromiseMs = 2_000;

/** A take that loses its address to somebody else is decided again this often. */
const bindAttempts = 5;

/** Answers the scheduler. */
export class Scheduling {
  readonly #ports: SchedulingPorts;
  readonly #settings: SchedulingSettings;
  /** Zones of node facts, valid for one topology: facts are replaced when a node changes. */
  #zones = new WeakMap<NodeFacts, Zone | NodeProblem>();
  #zonesTopology: Topology | undefined;

  constructor(ports: SchedulingPorts, settings: SchedulingSettings) {
    this.#ports = ports;
    this.#settings = settings;
  }

  /**
   * Keeps the nodes on which the pod can get all its addresses and promises them to it for a while.
   * @throws WorldError when facts that decide cannot be read
   */
  async filter(request: FilterRequest): Promise<FilterReply> {
    const { allocator, clock } = this.#ports;
    const { pod } = request;
    if (!pod.wantsAddress) return { kind: "untouched" };
    const waitUntilMs = clock.nowMs() + this.#settings.promiseWaitMs;
    let context = await this.#contextOf(pod);
    // From the decision to the promise there is no await.
    let { sorted, decision } = this.#decide(context, request);
    if (lacksAddresses(decision)) {
      const { zones } = sorted;
      const { topology } = allocator.view;
      const asked = context;
      const changed = await this.#ports.reclaimLeaving({
        address: (allocation) => couldHelp(allocation, asked, zones.values(), topology),
        hold: (hold) =>
          hold.podUid !== pod.uid &&
          (sharesLimit(hold, asked) || [...hold.byZone.keys()].some((id) => zones.has(id))),
      });
      if (changed) {
        context = await this.#contextOf(pod);
        ({ sorted, decision } = this.#decide(context, request));
      }
    }
    for (;;) {
      const freshForMs = this.#freshPromisesMs(decision, sorted.zones);
      const waitMs = Math.min(freshForMs, waitUntilMs - clock.nowMs());
      if (waitMs <= 0) break;
      await allocator.whenPromiseEnds(waitMs);
      context = await this.#contextOf(pod);
      ({ sorted, decision } = this.#decide(context, request));
    }
    if (decision.kind === "refused") {
      this.#reportRefusal(context, decision);
      return { kind: "refused", error: decision.message };
    }
    this.#hold(context, decision.plans);
    const passed: number[] = [];
    const failed = new Map<string, string>();
    const texts = new Map<string, string>();
    for (const [id, plan] of decision.plans) {
      if (plan.kind === "none") texts.set(id, `FloatingIPPlugin:NoFIPLeft: ${plan.message}`);
    }
    for (const [index, nodeName] of request.nodeNames.entries()) {
      const zone = sorted.zoneOf[index] as Zone | NodeProblem;
      if (typeof zone === "string") {
        failed.set(nodeName, nodeProblems[zone]);
        continue;
      }
      const text = texts.get(zone.id);
      if (text === undefined) passed.push(index);
      else failed.set(nodeName, text);
    }
    if (passed.length === 0) this.#ports.metrics.count("refusals", { reason: "no node" });
    return { kind: "nodes", passed, failed };
  }

  /**
   * For how long, in milliseconds, promises to pods that were filtered just now may still give something back, when no zone has an address
   * left; 0 when they will not, or need not.
   */
  #freshPromisesMs(decision: FilterDecision, zones: ReadonlyMap<string, Zone>): number {
    if (decision.kind === "refused") return 0;
    if ([...decision.plans.values()].some(({ kind }) => kind === "plan")) return 0;
    const { allocator, clock } = this.#ports;
    const { topology } = allocator.view;
    const subnets = new Set([...zones.values()].flatMap(({ subnetIndexes }) => subnetIndexes));
    const freshFromMs = clock.nowMs() + this.#settings.holdMs - freshPromiseMs;
    let longestMs = 0;
    for (const { byZone, expiresAtMs } of allocator.view.holds()) {
      // A promise in one zone is used by its pod, and so is what a pod carries without a record.
      if (byZone.size === 1 || expiresAtMs - freshFromMs <= longestMs) continue;
      const isHere = (ip: Ip) => subnets.has(topology.subnetIndexOf(ipToNumber(ip)));
      if ([...byZone.values()].flat().some(isHere)) longestMs = expiresAtMs - freshFromMs;
    }
    return longestMs;
  }

  #decide(context: PodContext, request: FilterRequest) {
    const { allocator, clock } = this.#ports;
    allocator.expireHolds();
    allocator.dropHold(context.pod.uid);
    const sorted = this.#sortIntoZones(request);
    const youngSinceMs = clock.nowMs() - this.#settings.reuseDelayMs;
    const zones = sorted.zones.values();
    return { sorted, decision: decideFilter(context, allocator.view, zones, youngSinceMs) };
  }

  /** Scores nodes: the one the pod's address was last used on first, then by the share of free addresses. Changes nothing. */
  async prioritize(request: FilterRequest): Promise<PrioritizeReply> {
    const { pod, nodeNames } = request;
    if (!pod.wantsAddress) return nodeNames.map((nodeName) => ({ nodeName, score: 0 }));
    const context = await this.#contextOf(pod);
    const { view } = this.#ports.allocator;
    const lastNodes = this.#lastNodesOf(context);
    const sorted = this.#sortIntoZones(request);
    const scores = new Map<string, number>();
    for (const zone of sorted.zones.values()) {
      let free = 0;
      let total = 0;
      for (const index of zone.subnetIndexes) {
        const usage = view.usageOf(index);
        free += usage.free;
        total += usage.total;
      }
      // 10 is kept for the node that had the address.
      scores.set(zone.id, total === 0 ? 0 : Math.floor((free / total) * 9));
    }
    return nodeNames.map((nodeName, index) => {
      const zone = sorted.zoneOf[index] as Zone | NodeProblem;
      if (typeof zone === "string") return { nodeName, score: 0 };
      return { nodeName, score: lastNodes.has(nodeName) ? 10 : (scores.get(zone.id) ?? 0) };
    });
  }

  /** Nodes on which the addresses that the pod has, or was promised, were used last. */
  #lastNodesOf(context: PodContext): ReadonlySet<string> {
    const { view } = this.#ports.allocator;
    const promised = [...(view.holdOf(context.pod.uid)?.byZone.values() ?? [])].flat();
    const allocations = [
      ...ownAllocations(context, view),
      ...promised.flatMap((ip) => view.get(ip) ?? []),
    ];
    return new Set(
      allocations.map(({ nodeName, lastNodeName }) => (nodeName === "" ? lastNodeName : nodeName)),
    );
  }

  /**
   * Keeps the candidate nodes on which the pod could get its addresses once the victims are gone. Takes and promises nothing.
   * @returns the names of those nodes in the order given
   */
  async preempt(request: PreemptRequest): Promise<readonly string[]> {
    const { pod, candidates } = request;
    if (!pod.wantsAddress) return candidates.map(({ nodeName }) => nodeName);
    const context = await this.#contextOf(pod);
    const { view } = this.#ports.allocator;
    const sorted = this.#sortIntoZones({
      pod,
      nodeNames: candidates.map(({ nodeName }) => nodeName),
      internalIpsOf: () => undefined,
    });
    const owner = ownerOfPod(context);
    const isFreed = (allocation: Allocation): boolean =>
      allocation.policy === "pod-delete" || sharesReservations(allocation.owner, owner);
    const allVictims = new Set(candidates.flatMap(({ victimUids }) => victimUids));
    const victims: Allocation[] = [];
    for (const allocation of view.all()) {
      if (allVictims.has(allocation.podUid)) victims.push(allocation);
    }
    return candidates.flatMap(({ nodeName, victimUids }, index) => {
      const zone = sorted.zoneOf[index] as Zone | NodeProblem;
      if (typeof zone === "string") return [];
      const gone = victims.filter(({ podUid }) => victimUids.includes(podUid));
      const later = viewWithoutPods(view, gone, isFreed);
      return couldHaveAddresses(context, later, zone) ? [nodeName] : [];
    });
  }

  /** Gives the pod its addresses on the node and binds it there, once per pod at a time. Twice is the same as once. */
  async bind(request: BindRequest): Promise<BindReply> {
    // Before anything is read for it: other pods may be waiting for what this one does not need any more.
    const node = this.#ports.cluster.node(request.nodeName);
    const zone = node && this.#zoneOfNode(node);
    if (typeof zone === "object") this.#ports.allocator.narrowHold(request.podUid, zone.id);
    try {
      return await this.#ports.podQueue.run(podIdText(request.pod), () => this.#bind(request));
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      this.#ports.metrics.count("refusals", { reason: "world" });
      this.#ports.log.warn(
        "bind failed, the scheduler tries again",
        { pod: podIdText(request.pod), node: request.nodeName, code: error.code },
        error,
      );
      return { kind: "refused", error: error.message };
    }
  }

  async #bind(request: BindRequest): Promise<BindReply> {
    const { allocator, binder, cluster } = this.#ports;
    const { nodeName } = request;
    const pod = await this.#podToBind(request);
    if ("error" in pod) {
      // That pod will not be bound: what was promised to it is open to others at once.
      allocator.dropHold(request.podUid);
      return this.#refuse(pod.error, pod.reason);
    }
    const name = podIdText(pod.id);
    // Bound there with its addresses: the answer to the first call was lost, or another leader was quicker.
    if (pod.nodeName === nodeName && pod.assignedIps.length > 0) return { kind: "bound" };
    if (!pod.wantsAddress && pod.requestsNone === true) {
      // kube-scheduler looks at the name of the resource only; nobody else would ever bind this pod.
      const outcome = await binder.bind({ pod, nodeName, ipInfos: [] });
      return outcome.kind === "bound"
        ? { kind: "bound" }
        : this.#refuse(`pod ${name} is gone or bound to another node already`, "gone");
    }
    if (!pod.wantsAddress) {
      return this.#refuse(
        `pod which doesn't want floatingip have been sent to plugin: ${name} requests no ` +
          "tke.cloud.tencent.com/eni-ip; bind it with the default scheduler",
        "no request",
      );
    }
    const node = cluster.node(nodeName) ?? (await cluster.readNode(nodeName));
    if (node === "gone") {
      return this.#refuse(
        `node ${nodeName} does not exist; pod ${name} is scheduled again`,
        "node",
      );
    }
    const foreign = await this.#clearForeign(pod);
    if (foreign !== undefined) return this.#refuse(foreign, "waiting for delete");
    for (let attempt = 1; attempt <= bindAttempts; attempt += 1) {
      const context = await this.#contextOf(pod);
      const zone = this.#zoneOfNode(node);
      if (typeof zone === "string")
        return this.#refuse(`${nodeProblems[zone]} (node ${nodeName})`, "node");
      // From here to the change of memory inside take there is no await.
      const decision = decideBind(context, allocator.view, zone);
      if (decision.kind === "refused") {
        this.#reportRefusal(context, decision);
        return { kind: "refused", error: decision.message };
      }
      if (decision.kind === "no address") {
        return this.#refuse(`pod ${name} on node ${nodeName}: ${decision.message}`, "no address");
      }
      const taken = await allocator.take({
        addresses: decision.addresses,
        owner: ownerOfPod(context),
        policy: pod.policy,
        reserveTtl: pod.reserveTtl,
        podUid: pod.uid,
        nodeName,
      });
      if (taken.kind === "lost") {
        await allocator.whenWritten(taken.ip);
        await allocator.settleUnknown([taken.ip]);
        const lost = allocator.view.get(taken.ip);
        if (lost !== undefined && isKeptForName(lost, allocator.view)) {
          await this.#ports.reclaimPod(pod.id);
        }
        continue;
      }
      const ipInfos = this.#ipInfosOf(taken.allocations);
      if (typeof ipInfos === "string") return this.#refuse(ipInfos, "no address");
      // A process that stood still meanwhile may lead no more, and a pod of that name may be another one.
      allocator.assertLeader(`bind pod ${name} to node ${nodeName}`);
      const outcome = await binder.bind({ pod, nodeName, ipInfos });
      if (outcome.kind === "gone") {
        await this.#ports.reclaimPod(pod.id);
        return this.#refuse(
          `pod ${name} (uid ${pod.uid}) is gone; its addresses go through reclaim`,
          "gone",
        );
      }
      if (outcome.kind === "bound-elsewhere") {
        await this.#nameWinner(taken.allocations, outcome.nodeName);
        return this.#refuse(
          `pod ${name} is bound to node ${outcome.nodeName} already`,
          "bound elsewhere",
        );
      }
      await this.#giveBack(pod.id, decision.surplus);
      this.#reportWarnings(pod);
      return { kind: "bound" };
    }
    return this.#refuse(
      `pod ${name}: its addresses are being changed by somebody else; the scheduler tries again`,
      "contention",
    );
  }

  /** The pod as far as it is certain enough to bind it: the cache's when it agrees with the scheduler, else the API server's. */
  async #podToBind(
    request: BindRequest,
  ): Promise<PodFacts | { readonly error: string; readonly reason: string }> {
    const { cluster } = this.#ports;
    const name = podIdText(request.pod);
    const cached = cluster.pod(request.pod);
    const agrees =
      cached !== undefined &&
      cached.uid === request.podUid &&
      cached.nodeName === "" &&
      !podIsFinished(cached);
    const pod = agrees ? cached : await cluster.readPod(request.pod);
    if (pod === "gone") {
      return { error: `failed to find pod ${name}: not found; nothing was taken`, reason: "gone" };
    }
    if (request.podUid !== "" && pod.uid !== request.podUid) {
      return {
        error: `pod ${name} has uid ${pod.uid}, not ${request.podUid}: it was replaced; the new one is scheduled by itself`,
        reason: "uid",
      };
    }
    if (podIsFinished(pod)) {
      return { error: `pod ${name} is ${pod.phase}; nothing was taken`, reason: "finished" };
    }
    if (pod.nodeName !== "" && pod.nodeName !== request.nodeName) {
      return {
        error: `pod ${name} is bound to node ${pod.nodeName} already, not to ${request.nodeName}`,
        reason: "bound elsewhere",
      };
    }
    return pod;
  }

  /**
   * Addresses that still carry another uid of the same pod name, or whose record is not certain, are cleared up first.
   * @returns the established words when that was not possible
   */
  async #clearForeign(pod: PodFacts): Promise<string | undefined> {
    const { allocator, log } = this.#ports;
    const foreign = () =>
      allocator.view
        .ofPod(pod.id)
        .filter(
          (allocation) =>
            (allocation.podUid !== "" && allocation.podUid !== pod.uid) ||
            allocator.view.phaseOf(allocation.ip) !== "idle",
        );
    if (foreign().length === 0) return undefined;
    for (const { ip } of foreign()) await allocator.whenWritten(ip);
    let cause: unknown;
    try {
      await allocator.settleUnknown(foreign().map(({ ip }) => ip));
      await this.#ports.reclaimPod(pod.id);
    } catch (error) {
      cause = error;
      log.warn(
        "addresses of an earlier pod could not be reclaimed",
        { pod: podIdText(pod.id) },
        error,
      );
    }
    const left = foreign()[0];
    if (left === undefined && cause === undefined) return undefined;
    const ip = left?.ip ?? "";
    return (
      `waiting for delete event of ${podIdText(pod.id)} before reuse this ip ${ip}` +
      (cause instanceof Error ? ` (${cause.message})` : "") +
      "; the scheduler tries again"
    );
  }

  /** The record names the node that the pod really is on. */
  async #nameWinner(allocations: readonly Allocation[], nodeName: string): Promise<void> {
    for (const allocation of allocations) {
      await this.#ports.allocator.change(allocation, allocation.owner, {
        podUid: allocation.podUid,
        nodeName,
        policy: allocation.policy,
        because: "bound elsewhere",
      });
    }
  }

  /**
   * What a pod that was bound does not ask for: it goes back to its pool, or is the workload's if that still wants it, or is free. Failing is no
   * reason to fail the bind that happened: resync finds them.
   */
  async #giveBack(pod: PodId, surplus: readonly Allocation[]): Promise<void> {
    const { allocator, log, reclaimPod } = this.#ports;
    const because = "pod does not ask for it any more";
    for (const allocation of surplus) {
      const { ip, policy } = allocation;
      const owner = keeperOf(allocation, allocator.view.topology.isConfigured(ip));
      try {
        if (owner === undefined) await allocator.release(allocation, because);
        else if (owner.kind === "workload") await reclaimPod(pod, { asksApi: true });
        else
          await allocator.change(allocation, owner, { podUid: "", nodeName: "", policy, because });
      } catch (error) {
        log.warn("address stays for now", { ip }, error);
      }
    }
  }

  #ipInfosOf(allocations: readonly Allocation[]): readonly IpInfo[] | string {
    const { topology } = this.#ports.allocator.view;
    const ipInfos: IpInfo[] = [];
    for (const { ip } of allocations) {
      const info = topology.ipInfoOf(ip);
      if (info === undefined) {
        return `address ${ip} lies in no configured subnet any more; extend the ConfigMap or delete the pod`;
      }
      ipInfos.push(info);
    }
    return ipInfos;
  }

  /** Promises what was chosen; addresses that the pod has need no promise. */
  #hold(context: PodContext, plans: ReadonlyMap<string, ZonePlan>): void {
    const { allocator, clock } = this.#ports;
    const byZone = new Map<string, readonly Ip[]>();
    for (const [id, plan] of plans) {
      if (plan.kind !== "plan") continue;
      const ips = plan.addresses.filter(({ from }) => from !== "own").map(({ ip }) => ip);
      if (ips.length > 0) byZone.set(id, ips);
    }
    allocator.hold({
      podUid: context.pod.uid,
      pod: context.pod.id,
      workload: context.workload,
      pool: context.pod.pool,
      byZone,
      expiresAtMs: clock.nowMs() + this.#settings.holdMs,
    });
  }

  async #contextOf(pod: PodFacts): Promise<PodContext> {
    const { cluster, pools } = this.#ports;
    const known = cluster.ownershipOf(pod);
    const { workload } = known.isCertain ? known : await cluster.readOwnershipOf(pod);
    const poolObject =
      pod.pool === undefined
        ? undefined
        : poolInForce(pools.all().filter((pool) => pool.name === pod.pool));
    const workloadState = await this.#stateOf(pod, workload);
    const quota = quotaInForce(this.#ports.quotas(), pod.id.namespace);
    return { pod, workload, workloadState, poolObject, quota };
  }

  /** Only the policies that promise something ask about the workload. */
  async #stateOf(pod: PodFacts, workload: WorkloadRef | undefined): Promise<WorkloadState> {
    if (workload === undefined || pod.policy === "pod-delete") return { kind: "gone" };
    const cached = this.#ports.cluster.workload(workload);
    if (cached.kind === "present") return cached;
    try {
      return await this.#ports.cluster.readWorkload(workload);
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return { kind: "unknown", reason: error.message };
    }
  }

  #sortIntoZones(request: FilterRequest): {
    readonly zones: ReadonlyMap<string, Zone>;
    readonly zoneOf: readonly (Zone | NodeProblem)[];
  } {
    const { cluster } = this.#ports;
    const zones = new Map<string, Zone>();
    const zoneOf = request.nodeNames.map((nodeName) => {
      const node = cluster.node(nodeName);
      const zone =
        node !== undefined
          ? this.#zoneOfNode(node)
          : this.#zoneOfIps(request.internalIpsOf(nodeName) ?? []);
      if (typeof zone !== "string") zones.set(zone.id, zone);
      return zone;
    });
    return { zones, zoneOf };
  }

  #zoneOfNode(node: NodeFacts): Zone | NodeProblem {
    const { topology } = this.#ports.allocator.view;
    if (this.#zonesTopology !== topology) {
      this.#zones = new WeakMap();
      this.#zonesTopology = topology;
    }
    const known = this.#zones.get(node);
    if (known !== undefined) return known;
    const zone = this.#zoneOfIps(node.internalIps);
    this.#zones.set(node, zone);
    return zone;
  }

  #zoneOfIps(internalIps: readonly Ip[]): Zone | NodeProblem {
    if (internalIps.length === 0) return "no internal address";
    return this.#ports.allocator.view.topology.zoneOf(internalIps) ?? "no pod subnet";
  }

  #refuse(error: string, reason: string): BindReply {
    this.#ports.metrics.count("refusals", { reason });
    return { kind: "refused", error };
  }

  /** What is wrong with the pod's annotations and no reason to refuse it. */
  #reportWarnings(pod: PodFacts): void {
    for (const warning of pod.warnings ?? []) {
      this.#ports.metrics.count("bad_input", { input: "annotation" });
      this.#ports.events.record({
        about: {
          apiVersion: "v1",
          kind: "Pod",
          namespace: pod.id.namespace,
          name: pod.id.name,
          uid: pod.uid,
        },
        type: "Warning",
        reason: "FloatingIPAnnotation",
        message: `pod ${podIdText(pod.id)}: ${warning}`,
      });
    }
  }

  /** Says a refusal where an operator looks: on the pod, and for a rollout that waits for ever on the workload too. */
  #reportRefusal(context: PodContext, refusal: Refusal): void {
    const { events, metrics } = this.#ports;
    const { pod, workload, workloadState } = context;
    metrics.count("refusals", { reason: refusal.because });
    const aboutPod: ObjectRef = {
      apiVersion: "v1",
      kind: "Pod",
      namespace: pod.id.namespace,
      name: pod.id.name,
      uid: pod.uid,
    };
    if (refusal.because === "annotation") metrics.count("bad_input", { input: "annotation" });
    if (
      refusal.because === "annotation" ||
      refusal.because === "policy unsupported" ||
      refusal.because === "quota reached" ||
      refusal.because === "ranges with policy"
    ) {
      events.record({
        about: aboutPod,
        type: "Warning",
        reason: "FloatingIPRefused",
        message: refusal.message,
      });
    }
    const deadlock =
      refusal.because === "replicas reached" && workloadState.kind === "present"
        ? workloadState.rolloutDeadlock
        : undefined;
    if (deadlock === undefined || workload === undefined || workloadState.kind !== "present")
      return;
    metrics.count("rollout_deadlocks");
    const message = `${describeWorkload(workload)}: ${deadlock}`;
    const note = { type: "Warning", reason: "RolloutDeadlock", message } as const;
    events.record({ about: aboutPod, ...note });
    if (workload.type !== "deployment") return;
    events.record({
      about: {
        apiVersion: "apps/v1",
        kind: "Deployment",
        namespace: workload.namespace,
        name: workload.name,
        uid: workloadState.uid,
      },
      ...note,
    });
  }
}

/** Whether the pod would pass if addresses of others were given back. */
function lacksAddresses(decision: FilterDecision): boolean {
  if (decision.kind === "refused") {
    return (
      decision.because === "replicas reached" ||
      decision.because === "pool size reached" ||
      decision.because === "quota reached"
    );
  }
  const plans = [...decision.plans.values()];
  return plans.length > 0 && plans.every(({ kind }) => kind === "none");
}

/** Whether the pod could pass because somebody gives this address back: it counts against its limit, or lies where its nodes are. */
function couldHelp(
  { owner, ip }: Allocation,
  context: PodContext,
  zones: Iterable<Zone>,
  topology: Topology,
): boolean {
  if (owner.kind !== "pod") return false;
  if (sharesLimit(owner, context)) return true;
  const index = topology.subnetIndexOf(ipToNumber(ip));
  for (const zone of zones) if (zone.subnetIndexes.includes(index)) return true;
  return false;
}

/** Whether addresses of the one count against the pool, the workload or the quota of the other. */
function sharesLimit(
  other: {
    readonly pod: PodId;
    readonly pool: string | undefined;
    readonly workload: WorkloadRef | undefined;
  },
  { pod, workload, quota }: PodContext,
): boolean {
  if (quota !== undefined && other.pod.namespace === pod.id.namespace) return true;
  if (pod.pool !== undefined && other.pool === pod.pool) return true;
  return (
    workload !== undefined &&
    other.workload !== undefined &&
    workloadIdText(other.workload) === workloadIdText(workload)
  );
}

type NodeProblem = "no internal address" | "no pod subnet";

/** The established token first, then the facts. */
const nodeProblems: Readonly<Record<NodeProblem, string>> = {
  "no internal address":
    "FloatingIPPlugin:UnknowNode: the node has no address of type InternalIP; wait for its kubelet or set --node-ip",
  "no pod subnet":
    'FloatingIPPlugin:NoFIPConfigNode: no entry of floatingips has a node subnet with this node\'s InternalIP; add one to "nodeSubnets"',
};

/** Whether a reserved address of the one could be used by a pod of the other. */
function sharesReservations(a: Owner, b: Owner): boolean {
  if (a.kind !== "pod" || b.kind !== "pod") return false;
  if (a.pool !== undefined || b.pool !== undefined) return a.pool === b.pool;
  return (
    a.workload !== undefined &&
    b.workload !== undefined &&
    podsAreInterchangeable(a.workload) &&
    workloadIdText(a.workload) === workloadIdText(b.workload)
  );
}

function couldHaveAddresses(
  context: PodContext,
  view: Parameters<typeof refusalOf>[1],
  zone: Zone,
): boolean {
  return refusalOf(context, view) === undefined && planForZone(context, view, zone).kind === "plan";
}
