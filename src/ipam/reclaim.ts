// What happens to addresses when pods and workloads change: one entry for events, resync and start. The decision is decide-reclaim's;
// here the facts are gathered and confirmed, and the allocator is told.

import type { Allocation } from "../core/allocation.ts";
import { isBound } from "../core/allocation.ts";
import type { Hold } from "../core/allocation-table.ts";
import { decideFormer } from "../core/decide-former.ts";
import type { PodState, ReclaimDecision, ReclaimFacts } from "../core/decide-reclaim.ts";
import { decideReclaim, isOvertaken, needsWorkload } from "../core/decide-reclaim.ts";
import type { PodFacts, WorkloadState } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { familyOf } from "../core/ip.ts";
import type { PodId, WorkloadRef } from "../core/owner.ts";
import {
  parsePodIdText,
  podIdText,
  podsAreInterchangeable,
  workloadIdText,
} from "../core/owner.ts";
import { isRecorded } from "../core/recorded.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterEvent, ClusterView } from "../ports/cluster-view.ts";
import type { EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import { WorldError } from "../ports/world-error.ts";
import type { AllocationChange, Allocator } from "./allocator.ts";
import { fieldsOf } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import { WorkQueue } from "./keyed-queue.ts";

/** What reclaim needs. */
export type ReclaimPorts = {
  readonly allocator: Allocator;
  /** Orders reclaim against bind of one pod; keys are {@link podIdText}. */
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Settings; times in milliseconds. */
export type ReclaimSettings = {
  /** How many pods or workloads are looked at in parallel. */
  readonly parallelCount: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
};

/** A pod whose addresses are looked at, with its state as read after the records in `judged` were seen. */
type KnownPod = {
  readonly pod: PodId;
  readonly state: PodState;
  readonly judged: readonly Allocation[];
};

/** The decision changed under our hands again and again: the queue tries later. */
const attempts = 5;

/** A slice of a full look takes a few milliseconds; a million records in one go take seconds. */
const sliceSize = 1_000;

/** Pods looked at for one scheduling decision that lacks addresses; the others have their turn with the next. */
const mostLeavingAtOnce = 16;

/** Takes addresses back. Works only between {@link Reclaim.start} and {@link Reclaim.stop}, when this process leads. */
export class Reclaim {
  readonly #ports: ReclaimPorts;
  readonly #settings: ReclaimSettings;
  readonly #workloads = new Map<string, WorkloadRef>();
  /** Pods that have addresses and are on their way out or gone, the latest news last. */
  readonly #leaving = new Set<string>();
  #queue: WorkQueue | undefined;
  /** Reads of one workload that several pods wait for are one read. */
  readonly #workloadReads = new Map<string, Promise<WorkloadState>>();

  constructor(ports: ReclaimPorts, settings: ReclaimSettings) {
    this.#ports = ports;
    this.#settings = settings;
  }

  /** How many pods and workloads wait for a look. */
  get queueLength(): number {
    return this.#queue?.length ?? 0;
  }

  /** Begins to work on what events ask for. */
  start(): void {
    const { clock, log } = this.#ports;
    this.#queue = new WorkQueue(
      {
        clock,
        parallelCount: this.#settings.parallelCount,
        firstRetryMs: this.#settings.firstRetryMs,
        lastRetryMs: this.#settings.lastRetryMs,
        onFailure: (key, error) => log.warn("reclaim failed, it is tried again", { key }, error),
      },
      (key) => this.#work(key),
    );
  }

  /** Ends when running work has ended. */
  async stop(): Promise<void> {
    // Another turn may begin before running work has ended: its queue must stay.
    const queue = this.#queue;
    this.#queue = undefined;
    await queue?.stop();
  }

  /** Resolves when nothing waits for a look, retries aside. */
  async whenIdle(): Promise<void> {
    await this.#queue?.whenIdle();
  }

  /** Something happened in the cluster. */
  observe(event: ClusterEvent): void {
    if (event.kind === "pod") {
      this.#noteLeaving(event.pod);
      this.#queue?.add(`pod ${podIdText(event.pod)}`);
    }
    if (event.kind === "workload") this.#addWorkload(event.workload);
  }

  /** Something happened to a record that this process did not do: it goes through reclaim like any other. */
  observeChange(change: AllocationChange): void {
    if (change.origin !== "store") return;
    const now = change.after ?? change.before;
    this.#look(now);
    if (now === undefined) return;
    const { allocator } = this.#ports;
    for (const former of allocator.formersOf(now.ip)) this.#look(former);
    // A pod that carries it has it held.
    const hold = allocator.view.holdOf(allocator.view.heldBy(now.ip) ?? "");
    if (hold !== undefined) this.#queue?.add(`pod ${podIdText(hold.pod)}`);
  }

  #look(allocation: Allocation | undefined): void {
    const owner = allocation?.owner;
    if (owner?.kind === "pod") this.#queue?.add(`pod ${podIdText(owner.pod)}`);
    if (owner?.kind === "workload") this.#addWorkload(owner.workload);
    if (owner?.kind === "admin" || owner?.kind === "foreign" || owner?.kind === "pool") {
      const { ip } = allocation as Allocation;
      const phase = this.#ports.allocator.view.phaseOf(ip);
      const isLost = phase === "lost" && owner.kind !== "pool";
      if (isLost || phase === "unsettled") this.#queue?.add(`address ${ip}`);
    }
  }

  #addWorkload(workload: WorkloadRef): void {
    const id = workloadIdText(workload);
    this.#workloads.set(id, workload);
    this.#queue?.add(`workload ${id}`);
  }

  /** A full look: whatever an event missed is found here. Resolves when all of it has been looked at once. */
  async resync(): Promise<void> {
    const { allocator, clock, metrics } = this.#ports;
    const startedMs = clock.nowMs();
    allocator.expireHolds();
    for (const ip of allocator.unsettled()) {
      // One record that cannot be read must not keep all others from their look.
      await allocator.settleUnknown([ip]).catch((error: unknown) => {
        this.#ports.log.warn("record cannot be read, address counts as taken", { ip }, error);
      });
    }
    await this.#inSlices([...allocator.view.all()], (allocation) => {
      if (!this.#isPlainlyAlive(allocation) && !this.#isPlainlyKept(allocation)) {
        this.#look(allocation);
      }
    });
    for (const former of allocator.formers()) this.#look(former);
    await this.#inSlices([...this.#ports.cluster.pods()], (pod) => {
      if (!this.#lacksRecord(pod)) return;
      allocator.holdCarried(pod);
      this.#queue?.add(`pod ${podIdText(pod.id)}`);
    });
    this.#reportDoubles();
    await this.whenIdle();
    metrics.time("resync_duration", (clock.nowMs() - startedMs) / 1000);
  }

  /** Visits many things; the scheduler's calls have their turn in between. What was visited may be old then: it only asks for a look. */
  async #inSlices<Item>(items: readonly Item[], visit: (item: Item) => void): Promise<void> {
    for (const [index, item] of items.entries()) {
      visit(item);
      if (index % sliceSize !== sliceSize - 1) continue;
      await new Promise<void>((resolve) => {
        this.#ports.clock.after(0, resolve);
      });
    }
  }

  /** Pods that carry an address without a record, so that it could be given to another. */
  podsWithoutRecord(): readonly PodFacts[] {
    return [...this.#ports.cluster.pods()].filter((pod) => this.#lacksRecord(pod));
  }

  /**
   * A follower sees the changes of the leader, who knew that the pods were gone, like anybody's: what the cache shows gone needs no question.
   * To be called when this process begins to lead, with a cache that shows the whole cluster.
   */
  forgetFormersGone(): void {
    const { allocator, cluster } = this.#ports;
    for (const former of allocator.formers()) {
      const pod = former.owner.kind === "pod" ? cluster.pod(former.owner.pod) : undefined;
      if (pod === undefined || pod.uid !== former.podUid) allocator.forgetFormer(former);
    }
  }

  /**
   * Enters the addresses of pods that carry them but have no record, and gives back the records of pods that may still get theirs. To be
   * awaited before the first filter or bind.
   */
  async adoptAll(): Promise<void> {
    for (const { owner } of this.#ports.allocator.formers()) {
      if (owner.kind !== "pod") continue;
      const { pod } = owner;
      await this.#ports.podQueue.run(podIdText(pod), () => this.#settleFormers(pod));
    }
    for (const pod of this.podsWithoutRecord()) {
      await this.#ports.podQueue.run(podIdText(pod.id), () => this.#adopt(pod));
    }
  }

  /** The cheap question that spares most addresses a look: the cache shows the very pod alive on that node. */
  #isPlainlyAlive(allocation: Allocation): boolean {
    if (this.#ports.allocator.view.phaseOf(allocation.ip) !== "idle") return false;
    if (allocation.owner.kind === "admin" || allocation.owner.kind === "foreign") return true;
    if (allocation.owner.kind !== "pod" || !isBound(allocation)) return false;
    const pod = this.#ports.cluster.pod(allocation.owner.pod);
    return (
      pod !== undefined &&
      pod.uid === allocation.podUid &&
      !podIsFinished(pod) &&
      pod.nodeName === allocation.nodeName &&
      !this.#isLeftOver(allocation, pod)
    );
  }

  /**
   * The same for an address that is kept for a pod name: when it stays even though no such pod is there, nobody has to be asked whether
   * one is. A pod that comes is an event.
   */
  #isPlainlyKept(allocation: Allocation): boolean {
    const { allocator, cluster } = this.#ports;
    const { owner } = allocation;
    if (owner.kind !== "pod" || isBound(allocation)) return false;
    if (allocator.view.phaseOf(allocation.ip) !== "idle") return false;
    if (cluster.pod(owner.pod) !== undefined) return false;
    const workload: WorkloadState =
      owner.workload !== undefined && needsWorkload(allocation)
        ? cluster.workload(owner.workload)
        : { kind: "gone" };
    if (workload.kind === "unknown") return false;
    return decideReclaim(this.#factsOf(allocation, { kind: "gone" }, workload)).do === "keep";
  }

  async #work(key: string): Promise<void> {
    const { clock, metrics, podQueue } = this.#ports;
    const startedMs = clock.nowMs();
    const [kind, id] = splitKey(key);
    if (kind === "pod") {
      const pod = parsePodIdText(id);
      await podQueue.run(id, async () => {
        await this.#dropHoldsOfGone(pod);
        await this.reclaimPod(pod);
        this.#noteLeaving(pod);
        const cached = this.#ports.cluster.pod(pod);
        if (cached !== undefined && this.#lacksRecord(cached)) await this.#adopt(cached);
      });
    } else if (kind === "workload") {
      const workload = this.#workloads.get(id);
      if (workload !== undefined) await this.#reviewWorkload(workload);
    } else {
      await this.#ports.allocator.settleUnknown([id as Ip]);
      await this.#reviewLostAddress(id as Ip);
    }
    metrics.time("reclaim_latency", (clock.nowMs() - startedMs) / 1000);
  }

  #noteLeaving(pod: PodId): void {
    const id = podIdText(pod);
    const cached = this.#ports.cluster.pod(pod);
    const isAlive = cached !== undefined && !cached.isTerminating && !podIsFinished(cached);
    const leaves = this.#ports.allocator.view
      .ofPod(pod)
      .some((allocation) => isBound(allocation) && !(isAlive && allocation.podUid === cached.uid));
    this.#leaving.delete(id);
    if (leaves) this.#leaving.add(id);
  }

  /**
   * Looks now at pods on their way out, for a scheduling decision that lacks addresses. A scheduler hears of a deletion when we do and asks
   * at once; told no, kube-scheduler leaves the pod alone for a minute, because nothing it watches changes when an address becomes free.
   * Promises to pods that will not be bound any more are void then, too.
   * @param couldHelp whether the address, or what was promised to a pod, could help
   * @returns whether a pod lost an address or a promise
   */
  async reclaimLeaving(couldHelp: {
    readonly address: (allocation: Allocation) => boolean;
    readonly hold: (hold: Hold) => boolean;
  }): Promise<boolean> {
    const { allocator, log, podQueue } = this.#ports;
    const boundTo = (pod: PodId) => allocator.view.ofPod(pod).filter(isBound);
    const pods: PodId[] = [];
    for (const id of [...this.#leaving].reverse()) {
      const pod = parsePodIdText(id);
      if (boundTo(pod).some(couldHelp.address)) pods.push(pod);
      if (pods.length === mostLeavingAtOnce) break;
    }
    const outcomes = await Promise.all(
      pods.map(async (pod) => {
        const before = boundTo(pod).length;
        try {
          await podQueue.run(podIdText(pod), () => this.reclaimPod(pod, { asksApi: true }));
        } catch (error) {
          log.warn("a leaving pod could not be looked at", { pod: podIdText(pod) }, error);
        }
        return boundTo(pod).length < before;
      }),
    );
    const promises = [...allocator.view.holds()].filter(couldHelp.hold);
    const voids = await Promise.all(
      promises.slice(0, mostLeavingAtOnce).map((hold) => this.#dropIfVoid(hold)),
    );
    return outcomes.includes(true) || voids.includes(true);
  }

  /** Drops what was promised to a pod that the API server has no more, or is deleting. @returns whether it was dropped */
  async #dropIfVoid(hold: Hold): Promise<boolean> {
    const { allocator, log } = this.#ports;
    try {
      if (!(await this.#isVoid(hold))) return false;
    } catch (error) {
      log.warn("a pod with a promise could not be read", { pod: podIdText(hold.pod) }, error);
      return false;
    }
    allocator.dropHold(hold.podUid);
    return true;
  }

  async #isVoid({ pod, podUid, expiresAtMs }: Hold): Promise<boolean> {
    const live = await this.#ports.cluster.readPod(pod);
    if (live === "gone" || live.uid !== podUid || podIsFinished(live)) return true;
    // What a pod carries it has until it is gone.
    return live.isTerminating && expiresAtMs !== Number.POSITIVE_INFINITY;
  }

  /**
   * A promise to a pod that is gone or finished is void. The pod may also be newer than the cache: the API server is asked.
   * @throws WorldError when it cannot be asked: what a pod carried is held without end, so that it must be asked again
   */
  async #dropHoldsOfGone(pod: PodId): Promise<void> {
    const { allocator, cluster } = this.#ports;
    const cached = cluster.pod(pod);
    for (const hold of [...allocator.view.holds()]) {
      if (podIdText(hold.pod) !== podIdText(pod)) continue;
      const mayBeGone = cached === undefined || cached.uid !== hold.podUid || podIsFinished(cached);
      if (mayBeGone && (await this.#isVoid(hold))) allocator.dropHold(hold.podUid);
    }
  }

  /**
   * Looks at all addresses of pods of that name. To be called on the pod's queue.
   * @param options.asksApi the cache is not believed, even where it shows the pod alive; false by default
   * @throws WorldError when the world cannot be asked or written; what is not certain stays as it is
   */
  async reclaimPod(pod: PodId, options: { readonly asksApi?: boolean } = {}): Promise<void> {
    const { allocator } = this.#ports;
    await this.#settleFormers(pod);
    const allocations = () => allocator.view.ofPod(pod);
    if (allocations().length === 0) return;
    await allocator.settleUnknown(allocations().map(({ ip }) => ip));
    // Of several that go to the pod's name the one taken last is kept last, so that it is the next pod's: an earlier one is a late write's.
    const judged = allocations().toSorted((a, b) => a.updatedAtMs - b.updatedAtMs);
    const state = await this.#podState(pod, judged, options.asksApi ?? false);
    for (const { ip } of judged) await this.#reclaimAddress(ip, { pod, state, judged });
  }

  /**
   * Addresses whose records named pods of that name until somebody else changed them. To be called on the pod's queue.
   * @throws WorldError when the world cannot be asked or written
   */
  async #settleFormers(pod: PodId): Promise<void> {
    const { allocator } = this.#ports;
    for (const former of allocator.formers()) {
      const { owner } = former;
      if (owner.kind !== "pod" || podIdText(owner.pod) !== podIdText(pod)) continue;
      for (let attempt = 1; attempt <= attempts; attempt += 1) {
        if ((await this.#settleFormer(former, pod)) === "done") break;
      }
    }
  }

  async #settleFormer(former: Allocation, pod: PodId): Promise<"done" | "changed"> {
    const { allocator, log, metrics } = this.#ports;
    const { ip, owner, policy, podUid } = former;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const existing = allocator.view.get(ip);
    const state = await this.#readState(pod);
    const holder: PodState =
      existing?.owner.kind === "pod" && isBound(existing)
        ? await this.#readState(existing.owner.pod)
        : { kind: "gone" };
    if (allocator.view.get(ip) !== existing) return "changed";
    // From the decision to the change of memory there is no await.
    const isLost = allocator.view.phaseOf(ip) === "lost";
    const decision = decideFormer({
      former,
      pod: state,
      existing: isLost ? undefined : existing,
      holder,
      isOld: allocator.isOldFormer(former),
    });
    if (decision.do === "forget") allocator.forgetFormer(former);
    if (decision.do !== "give back") return "done";
    const { nodeName } = decision;
    const because = "changed by hand while the pod may be bound with it";
    metrics.count("repairs", { kind: "record of a pod being bound" });
    log.warn("record goes back to the pod that may be bound with it", {
      ...fieldsOf(former),
      because,
    });
    if (existing !== undefined) {
      const to = { podUid, nodeName, policy, because, pod: former };
      return await allocator.change(existing, owner, to);
    }
    const addresses = [{ ip, from: "free" as const }];
    const { reserveTtl } = former;
    const outcome = await allocator.take({
      addresses,
      owner,
      policy,
      reserveTtl,
      podUid,
      nodeName,
    });
    return outcome.kind === "taken" ? "done" : "changed";
  }

  async #readState(pod: PodId): Promise<PodState> {
    const live = await this.#ports.cluster.readPod(pod);
    return live === "gone" ? { kind: "gone" } : { kind: "present", pod: live };
  }

  /** The cached pod when it settles the question; else what the API server says. */
  async #podState(
    pod: PodId,
    allocations: readonly Allocation[],
    asksApi: boolean,
  ): Promise<PodState> {
    const { cluster } = this.#ports;
    const cached = cluster.pod(pod);
    const settles =
      !asksApi &&
      cached !== undefined &&
      !podIsFinished(cached) &&
      allocations.every((allocation) => allocation.podUid === cached.uid);
    if (settles && cached !== undefined) return { kind: "present", pod: cached };
    return await this.#readState(pod);
  }

  /**
   * @param known the pod whose address it is; undefined for an address that no pod has. A record that is not among those judged may be
   *   of another pod of that name: its state is read again.
   */
  async #reclaimAddress(ip: Ip, known: KnownPod | undefined): Promise<void> {
    const { allocator } = this.#ports;
    const { view } = allocator;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await allocator.whenWritten(ip);
      await allocator.settleUnknown([ip]);
      const before = view.get(ip);
      if (before === undefined) return;
      // What is known of the pod is known of no other owner: a reservation may have been taken by a pod meanwhile.
      const ownerPod = before.owner.kind === "pod" ? podIdText(before.owner.pod) : undefined;
      if (ownerPod !== (known === undefined ? undefined : podIdText(known.pod))) return;
      const state = await this.#stateFor(before, known);
      const workload = await this.#workloadStateFor(before, state);
      // From the decision to the change of memory there is no await.
      const allocation = view.get(ip);
      if (allocation !== before) continue;
      const decision = decideReclaim(this.#factsOf(allocation, state, workload));
      if ((await this.#apply(allocation, decision)) === "done") return;
    }
    throw new WorldError("API_UNAVAILABLE", {
      tried: `reclaim ${ip}`,
      message: "its record kept changing meanwhile; it is tried again",
    });
  }

  async #stateFor(allocation: Allocation, known: KnownPod | undefined): Promise<PodState> {
    if (known === undefined) return { kind: "gone" };
    if (known.judged.includes(allocation)) return known.state;
    return await this.#podState(known.pod, [allocation], true);
  }

  #factsOf(allocation: Allocation, pod: PodState, workload: WorkloadState): ReclaimFacts {
    const { view } = this.#ports.allocator;
    return {
      allocation,
      pod,
      workload,
      ownedCount: this.#ownedCount(allocation),
      // Without any subnet nothing is known about what is configured, and nobody's address is taken for that.
      isConfigured: view.topology.subnets.length === 0 || view.topology.isConfigured(allocation.ip),
      isLeftOver: pod.kind === "present" && this.#isLeftOver(allocation, pod.pod),
    };
  }

  /**
   * What a pod carries is settled once it is bound. Another address is left over when records prove that the pod has all that it
   * carries, or when its own record is gone: who makes that again works against who removed it. A pod that asks for none was bound without
   * any, and only an edit can have given it one; of one that asks, and does not say what it carries, nothing is certain.
   */
  #isLeftOver({ ip, podUid }: Allocation, pod: PodFacts): boolean {
    if (podUid !== pod.uid || pod.nodeName === "" || pod.assignedIps.includes(ip)) return false;
    if (pod.assignedIps.length === 0) return !pod.wantsAddress;
    const { view } = this.#ports.allocator;
    if (view.phaseOf(ip) === "lost") return true;
    return pod.assignedIps.every(
      (carried) => view.get(carried)?.podUid === pod.uid && view.phaseOf(carried) === "idle",
    );
  }

  /**
   * Addresses of one family that the workload has, used or reserved, pools aside; 1 for a workload whose addresses belong to pod names,
   * where the number decides nothing and counting would make each of many ordinals cost as much as all of them.
   */
  #ownedCount(allocation: Allocation): number {
    const { owner } = allocation;
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload === undefined || !podsAreInterchangeable(workload)) return 1;
    const { view } = this.#ports.allocator;
    const family = familyOf(allocation.ip);
    let count = 0;
    for (const other of view.ofWorkload(workload)) {
      const inPool = other.owner.kind === "pod" && other.owner.pool !== undefined;
      // One that is only being taken may not come about: it must not cost the workload another.
      if (!inPool && familyOf(other.ip) === family && isRecorded(other, view)) count += 1;
    }
    return count;
  }

  /**
   * The state of the workload as far as the decision needs it. What the cache says is enough to keep an address; to release one the
   * API server is asked.
   */
  async #workloadStateFor(allocation: Allocation, pod: PodState): Promise<WorkloadState> {
    const { owner } = allocation;
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload === undefined || !needsWorkload(allocation)) return { kind: "gone" };
    const cached = this.#ports.cluster.workload(workload);
    if (cached.kind === "present") {
      const decision = decideReclaim(this.#factsOf(allocation, pod, cached));
      if (decision.do !== "release") return cached;
    }
    const id = workloadIdText(workload);
    let reading = this.#workloadReads.get(id);
    if (reading === undefined) {
      reading = this.#ports.cluster.readWorkload(workload);
      this.#workloadReads.set(id, reading);
      const forget = () => this.#workloadReads.delete(id);
      reading.then(forget, forget);
    }
    return await reading;
  }

  async #apply(allocation: Allocation, decision: ReclaimDecision): Promise<"done" | "changed"> {
    const { allocator, log, metrics } = this.#ports;
    const { owner, policy } = allocation;
    const isLost = allocator.view.phaseOf(allocation.ip) === "lost";
    switch (decision.do) {
      case "keep":
        if (!isLost) return "done";
        // The record of a living pod was deleted by hand, or, without a version, a write of it never arrived.
        metrics.count("repairs", { kind: "record recreated" });
        if (allocation.version !== "") this.#reportLost(allocation);
        return await allocator.change(allocation, owner, {
          podUid: allocation.podUid,
          nodeName: allocation.nodeName,
          policy,
          because: "record deleted while the pod lives",
        });
      case "adopt":
        log.info("record follows the pod that carries the address", { ip: allocation.ip });
        return await allocator.change(allocation, owner, {
          podUid: decision.pod.uid,
          nodeName: decision.pod.nodeName,
          policy,
          because: decision.because,
          pod: decision.pod,
        });
      case "reserve":
        if (isLost) return await allocator.release(allocation, "record deleted by an operator");
        // The record will follow that pod; kept for a name it would be left to people.
        if (isBound(allocation) && this.#isHeldForCarrier(allocation.ip)) return "done";
        return await allocator.change(allocation, decision.owner, {
          podUid: "",
          nodeName: "",
          policy,
          because: decision.because,
          keepsItsTime: isOvertaken(allocation, allocator.view),
        });
      case "release":
        // Reservations that left the configuration are dropped together, so that one event names them all (reconfigure).
        if (decision.because === "outside the configuration" && !isBound(allocation) && !isLost) {
          return "done";
        }
        return await allocator.release(allocation, decision.because);
      default:
        return decision satisfies never;
    }
  }

  /** A pod carries the address, and no record keeps it for that pod. */
  #isHeldForCarrier(ip: Ip): boolean {
    const { view } = this.#ports.allocator;
    return view.holdOf(view.heldBy(ip) ?? "")?.expiresAtMs === Number.POSITIVE_INFINITY;
  }

  /** Reservations of a workload that changed: each is judged again, the longest reserved first. */
  async #reviewWorkload(workload: WorkloadRef): Promise<void> {
    const { allocator } = this.#ports;
    const reserved = allocator.view
      .ofWorkload(workload)
      .filter((allocation) => !isBound(allocation))
      .sort((a, b) => a.updatedAtMs - b.updatedAtMs || (a.ip < b.ip ? -1 : 1));
    for (const { ip, owner } of reserved) {
      if (owner.kind === "pod") this.#queue?.add(`pod ${podIdText(owner.pod)}`);
      else await this.#reclaimAddress(ip, undefined);
    }
    if (allocator.view.ofWorkload(workload).length === 0)
      this.#workloads.delete(workloadIdText(workload));
  }

  /** An operator's record was deleted: the address is free, unless a pod carries it behind that record. */
  async #reviewLostAddress(ip: Ip): Promise<void> {
    const { allocator, cluster, metrics } = this.#ports;
    if (allocator.view.phaseOf(ip) !== "lost") return;
    for (const cached of cluster.carriersOf(ip)) {
      if (cached.nodeName === "" || podIsFinished(cached)) continue;
      const pod = await cluster.readPod(cached.id);
      if (pod === "gone" || podIsFinished(pod) || !pod.assignedIps.includes(ip)) continue;
      const { workload } = await cluster.readOwnershipOf(pod);
      const allocation = allocator.view.get(ip);
      if (allocation === undefined || allocator.view.phaseOf(ip) !== "lost") return;
      metrics.count("repairs", { kind: "record recreated" });
      await allocator.change(
        allocation,
        { kind: "pod", pod: pod.id, workload, pool: pod.pool },
        {
          podUid: pod.uid,
          nodeName: pod.nodeName,
          policy: pod.policy,
          because: "record deleted while the pod lives",
          pod,
        },
      );
      const after = allocator.view.get(ip);
      if (after !== undefined) this.#reportLost(after);
      return;
    }
    const allocation = allocator.view.get(ip);
    if (allocation === undefined || allocator.view.phaseOf(ip) !== "lost") return;
    await allocator.release(allocation, "record deleted by an operator");
  }

  /** A pod on a node that carries addresses of which some have no record. */
  #lacksRecord(pod: PodFacts): boolean {
    if (pod.nodeName === "" || podIsFinished(pod) || !pod.wantsAddress) return false;
    const { view } = this.#ports.allocator;
    return pod.assignedIps.some((ip) => {
      const allocation = view.get(ip);
      return allocation === undefined || isOfSomebodyElse(allocation, pod);
    });
  }

  /** Makes records for addresses that a living pod carries; an address that somebody else has is reported and left alone. */
  async #adopt(cached: PodFacts): Promise<void> {
    const { allocator, cluster, log, metrics } = this.#ports;
    const pod = await cluster.readPod(cached.id);
    if (pod === "gone" || pod.uid !== cached.uid || !this.#lacksRecord(pod)) return;
    const { workload } = await cluster.readOwnershipOf(pod);
    for (const ip of pod.assignedIps) {
      const { view } = allocator;
      const existing = view.get(ip);
      if (existing !== undefined) {
        if (isOfSomebodyElse(existing, pod)) await this.#followCarrier(existing, pod, workload);
        continue;
      }
      if (!view.topology.isConfigured(ip)) {
        log.warn("a pod carries an address outside the configuration, it gets no record", {
          ip,
          pod: podIdText(pod.id),
        });
        metrics.count("conflicts", { kind: "outside configuration" });
        continue;
      }
      const outcome = await allocator.take({
        addresses: [{ ip, from: "free" }],
        owner: { kind: "pod", pod: pod.id, workload, pool: pod.pool },
        policy: pod.policy,
        reserveTtl: pod.reserveTtl,
        podUid: pod.uid,
        nodeName: pod.nodeName,
      });
      if (outcome.kind === "lost") {
        const holder = view.get(ip);
        if (holder !== undefined && isOfSomebodyElse(holder, pod))
          this.#reportConflict(ip, holder, pod);
        continue;
      }
      metrics.count("changes", { change: "adopted" });
      log.info("address adopted from the pod that carries it", { ip, pod: podIdText(pod.id) });
    }
  }

  /**
   * A living pod carries an address whose record names another, or none. When the other does not have it, or it is kept for no pod in
   * particular, the record follows the pod that has it: its Binding came late, after somebody had deleted or edited the record. Otherwise it
   * is reported.
   */
  async #followCarrier(
    existing: Allocation,
    pod: PodFacts,
    workload: WorkloadRef | undefined,
  ): Promise<void> {
    const { allocator, cluster, log, metrics } = this.#ports;
    const { ip, owner } = existing;
    // What is kept for a workload or a pool is kept for no pod in particular.
    let isTheirs = owner.kind !== "workload" && owner.kind !== "pool";
    if (owner.kind === "pod" && isBound(existing)) {
      const other = await cluster.readPod(owner.pod);
      isTheirs = other !== "gone" && !podIsFinished(other) && other.assignedIps.includes(ip);
    }
    if (isTheirs) {
      this.#reportConflict(ip, existing, pod);
      return;
    }
    metrics.count("repairs", { kind: "record of somebody else" });
    log.warn("record goes to the pod that carries the address", {
      ...fieldsOf(existing),
      carrier: podIdText(pod.id),
    });
    await allocator.change(
      existing,
      { kind: "pod", pod: pod.id, workload, pool: pod.pool },
      {
        podUid: pod.uid,
        nodeName: pod.nodeName,
        policy: pod.policy,
        because: "pod carries the address",
        pod,
      },
    );
  }

  /** Two living pods that carry one address: the younger one is named, because the older one was there first. */
  #reportDoubles(): void {
    const carriers = new Map<Ip, PodFacts>();
    for (const pod of this.#ports.cluster.pods()) {
      if (pod.nodeName === "" || podIsFinished(pod)) continue;
      for (const ip of pod.assignedIps) {
        const other = carriers.get(ip);
        if (other === undefined) carriers.set(ip, pod);
        else this.#reportDouble(ip, other, pod);
      }
    }
  }

  #reportDouble(ip: Ip, a: PodFacts, b: PodFacts): void {
    const [older, younger] = a.createdAtMs <= b.createdAtMs ? [a, b] : [b, a];
    this.#ports.metrics.count("conflicts", { kind: "address in two pods" });
    this.#ports.log.error("one address in two pods", {
      ip,
      older: podIdText(older.id),
      younger: podIdText(younger.id),
    });
    this.#ports.events.record({
      about: aboutPod(younger),
      type: "Warning",
      reason: "FloatingIPConflict",
      message:
        `address ${ip} is also in the older pod ${podIdText(older.id)} on node ${older.nodeName}; ` +
        `delete pod ${podIdText(younger.id)} so that it gets another one`,
    });
  }

  #reportConflict(ip: Ip, existing: Allocation, pod: PodFacts): void {
    const holder =
      existing.owner.kind === "pod" ? podIdText(existing.owner.pod) : existing.owner.kind;
    this.#ports.metrics.count("conflicts", { kind: "record of another owner" });
    this.#ports.log.warn("a pod carries an address that belongs to somebody else", {
      ip,
      pod: podIdText(pod.id),
      holder,
    });
    this.#ports.events.record({
      about: aboutPod(pod),
      type: "Warning",
      reason: "FloatingIPConflict",
      message:
        `pod ${podIdText(pod.id)} carries address ${ip}, whose record belongs to ${holder}; ` +
        "nothing was changed: delete the pod that should not have it",
    });
  }

  #reportLost(allocation: Allocation): void {
    if (allocation.owner.kind !== "pod") return;
    const { pod } = allocation.owner;
    this.#ports.events.record({
      about: {
        apiVersion: "v1",
        kind: "Pod",
        namespace: pod.namespace,
        name: pod.name,
        uid: allocation.podUid,
      },
      type: "Warning",
      reason: "FloatingIPRecreated",
      message:
        `the FloatingIP ${allocation.ip} was deleted while pod ${podIdText(pod)} uses it; it was made again. ` +
        "Delete the pod to give the address back",
    });
  }
}

/**
 * Whether a record of an address that the pod carries says that it is another's, be it in use or reserved. One of an earlier pod of the
 * same name is not: reclaim lets it follow the pod.
 */
function isOfSomebodyElse({ owner, podUid }: Allocation, pod: PodFacts): boolean {
  if (podUid === pod.uid) return false;
  return owner.kind !== "pod" || podIdText(owner.pod) !== podIdText(pod.id);
}

function aboutPod(pod: PodFacts): ObjectRef {
  return {
    apiVersion: "v1",
    kind: "Pod",
    namespace: pod.id.namespace,
    name: pod.id.name,
    uid: pod.uid,
  };
}

function splitKey(key: string): readonly [string, string] {
  const space = key.indexOf(" ");
  return [key.slice(0, space), key.slice(space + 1)];
}
