// Reserved addresses that no pod uses: counted, announced and released when their time is over. The decision is decide-idle's; here the facts are
// gathered and confirmed, and the allocator is told. Whether an address is reserved at all is reclaim.ts' affair.

import type { Allocation } from "../core/allocation.ts";
import { isBound } from "../core/allocation.ts";
import type { IdleDecision, TtlInForce } from "../core/decide-idle.ts";
import { decideIdle, idleWarningMs, releaseTimeMs, ttlInForce } from "../core/decide-idle.ts";
import { poolInForce } from "../core/decide-pool.ts";
import type { PoolFacts, WorkloadState } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import { ipToNumber } from "../core/ip.ts";
import type { WorkloadRef } from "../core/owner.ts";
import { podIdText, workloadIdText } from "../core/owner.ts";
import { recordNameOf } from "../core/record-name.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { EventNote, EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";
import { fieldsOf } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";

/** What the use case needs. */
export type IdleAddressesPorts = {
  readonly allocator: Allocator;
  /** Orders this against bind and reclaim of one pod; keys are {@link podIdText}. */
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly pools: PoolStore;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** A reserved address with what is known of its time. */
export type IdleAddress = {
  readonly allocation: Allocation;
  readonly ttl: TtlInForce;
  /** When it is released if nothing changes; undefined when it is not, or when nobody counts yet. */
  readonly releaseAtMs: number | undefined;
  /** Why it is kept although a time is set; undefined when nothing keeps it. */
  readonly keptBecause: string | undefined;
};

/** Addresses looked at in one go; the scheduler's calls have their turn in between. */
const sliceSize = 1_000;

/** Two looks are at least so far apart, and a timer is set for at most so long: there is a look at each resync as well. */
const shortestPauseMs = 500;
const longestPauseMs = 3_600_000;

/** Watches the time of reserved addresses. Works only between start and stop, when this process leads. */
export class IdleAddresses {
  readonly #ports: IdleAddressesPorts;
  /** Counts turns of leadership. */
  #turn = 0;
  #isLeading = false;
  #looking: Promise<void> | undefined;
  #cancelTimer: () => void = () => {};
  /** Problems of pools that were told in this turn. */
  readonly #told = new Set<string>();

  constructor(ports: IdleAddressesPorts) {
    this.#ports = ports;
  }

  /** Begins to work, with a look at every reserved address. */
  start(): void {
    this.#turn += 1;
    this.#isLeading = true;
    this.#told.clear();
    this.look();
  }

  /** Ends when running work has ended. */
  async stop(): Promise<void> {
    this.#isLeading = false;
    this.#cancelTimer();
    await this.#looking;
  }

  /** Resolves when no look is under way. */
  async whenIdle(): Promise<void> {
    await this.#looking;
  }

  /** Looks at every reserved address now, and again when the first of them is due. While a look is under way it does nothing. */
  look(): void {
    if (!this.#isLeading || this.#looking !== undefined) return;
    this.#cancelTimer();
    const turn = this.#turn;
    const looking = this.#lookAtAll(turn)
      .catch((error: unknown) => {
        this.#ports.log.warn("idle addresses were not looked at, it is tried again", {}, error);
        return Number.POSITIVE_INFINITY;
      })
      .then((dueMs) => {
        this.#looking = undefined;
        // Without one that is due the next resync is soon enough.
        if (!this.#isLeading || dueMs === Number.POSITIVE_INFINITY) return;
        const pauseMs = dueMs - this.#ports.clock.nowMs();
        this.#cancelTimer = this.#ports.clock.after(
          Math.min(longestPauseMs, Math.max(shortestPauseMs, pauseMs)),
          () => this.look(),
        );
      });
    this.#looking = looking;
  }

  /** @returns when the first address is due, milliseconds since 1970; infinite when none is */
  async #lookAtAll(turn: number): Promise<number> {
    const { allocator, clock } = this.#ports;
    this.#reportPools();
    let dueMs = Number.POSITIVE_INFINITY;
    for (const [index, { ip }] of [...allocator.view.reserved()].entries()) {
      if (turn !== this.#turn || !this.#isLeading) return Number.POSITIVE_INFINITY;
      const allocation = allocator.view.get(ip);
      const decision = allocation && this.#decide(allocation);
      if (allocation !== undefined && decision !== undefined && decision.do !== "keep") {
        dueMs = Math.min(
          dueMs,
          decision.do === "look" ? decision.atMs : await this.#workOn(allocation),
        );
      }
      if (index % sliceSize !== sliceSize - 1) continue;
      await new Promise<void>((resolve) => {
        clock.after(0, resolve);
      });
    }
    return dueMs;
  }

  /** @returns when it is to be looked at again; one record that cannot be read or written holds up no other */
  async #workOn(allocation: Allocation): Promise<number> {
    const { clock, log, podQueue } = this.#ports;
    const { owner } = allocation;
    try {
      if (owner.kind !== "pod") return await this.#act(allocation);
      return await podQueue.run(podIdText(owner.pod), () => this.#act(allocation));
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("an idle address could not be looked at", { ip: allocation.ip }, error);
      return clock.nowMs() + longestPauseMs;
    }
  }

  async #act(seen: Allocation): Promise<number> {
    const { allocator, clock, log, metrics } = this.#ports;
    const { ip } = seen;
    const live = await this.#readFacts(seen);
    // From the decision to the change of memory there is no await.
    const allocation = allocator.view.get(ip);
    if (allocation !== seen) return clock.nowMs();
    const decision = this.#decide(allocation, live);
    switch (decision.do) {
      case "keep":
        return Number.POSITIVE_INFINITY;
      case "look":
        return decision.atMs;
      case "count":
        await this.#note(allocation, decision);
        return clock.nowMs();
      case "warn": {
        // Told before it is noted: an answer that is lost, or an end in between, may tell an owner twice, but never not at all.
        const warnedMs = clock.nowMs();
        this.#announce(allocation, live, decision.releaseAtMs);
        const outcome = await this.#note(allocation, { sinceMs: decision.sinceMs, warnedMs });
        if (outcome === "changed") return clock.nowMs();
        metrics.count("idle_reservations", { outcome: "warned" });
        return decision.releaseAtMs;
      }
      case "release": {
        const idleForMs = clock.nowMs() - decision.sinceMs;
        const outcome = await allocator.release(allocation, "reserved without a pod for too long");
        if (outcome === "changed") return clock.nowMs();
        metrics.count("idle_reservations", { outcome: "released" });
        log.info("idle address released", { ...fieldsOf(allocation), idleForMs });
        this.#event(allocation, live, {
          type: "Normal",
          reason: "IdleFloatingIPReleased",
          message:
            `address ${ip}, ${describeReservation(allocation)}, was released: no pod used it for ` +
            `${durationText(decision.ttlMs)}; the next pod gets another address`,
        });
        return Number.POSITIVE_INFINITY;
      }
      default:
        return decision satisfies never;
    }
  }

  async #note(
    allocation: Allocation,
    idle: { readonly sinceMs: number; readonly warnedMs: number | undefined },
  ) {
    return await this.#ports.allocator.change(allocation, allocation.owner, {
      podUid: "",
      nodeName: "",
      policy: allocation.policy,
      because: "no pod uses it",
      keepsItsTime: true,
      idle,
    });
  }

  /**
   * What decides, read from the source of truth: what caches say is enough to keep an address, not to release it.
   * @throws WorldError when it cannot be read
   */
  async #readFacts(allocation: Allocation): Promise<LiveFacts> {
    const { cluster } = this.#ports;
    const { owner } = allocation;
    const pod = owner.kind === "pod" ? await cluster.readPod(owner.pod) : "gone";
    const ref = workloadOf(allocation);
    const workload = ref === undefined ? undefined : await cluster.readWorkload(ref);
    return { hasPod: pod !== "gone" && !podIsFinished(pod), workload };
  }

  #decide(allocation: Allocation, live?: LiveFacts): IdleDecision {
    const { allocator, clock } = this.#ports;
    if (allocator.view.phaseOf(allocation.ip) !== "idle") {
      return { do: "keep", because: "its record is being changed" };
    }
    return decideIdle({
      allocation,
      ttl: this.#ttlOf(allocation, live?.workload),
      wantedBecause: this.#wantedBecause(allocation, live),
      nowMs: clock.nowMs(),
    });
  }

  #ttlOf(allocation: Allocation, readNow: WorkloadState | undefined): TtlInForce {
    const ref = workloadOf(allocation);
    const state = readNow ?? (ref === undefined ? undefined : this.#ports.cluster.workload(ref));
    const knowsTemplate = ref !== undefined && ref.type !== "custom";
    return ttlInForce({
      recorded: allocation.reserveTtl,
      template:
        !knowsTemplate || state === undefined || state.kind === "gone"
          ? undefined
          : state.kind === "unknown"
            ? "unknown"
            : (state.reserveTtl ?? "none"),
      pool: this.#poolOf(allocation)?.reserveTtl,
    });
  }

  #wantedBecause(allocation: Allocation, live: LiveFacts | undefined): string | undefined {
    const { allocator, cluster } = this.#ports;
    const { view } = allocator;
    const { ip, owner } = allocation;
    if (view.heldBy(ip) !== undefined) return "it is promised to a pod that is being scheduled";
    if (owner.kind === "pod") {
      const cached = cluster.pod(owner.pod);
      const isThere = cached !== undefined && !podIsFinished(cached);
      if (live?.hasPod === true || isThere) return `a pod ${podIdText(owner.pod)} is there`;
    }
    const pool = this.#poolOf(allocation);
    // What pre-allocation would take again at once is not given back.
    if (pool?.preAllocate !== true || pool.size === undefined) return undefined;
    return view.ofPool(pool.name).length <= pool.size
      ? `Pool ${pool.name} asks for it (preAllocateIP)`
      : undefined;
  }

  #poolOf({ owner }: Allocation): PoolFacts | undefined {
    const name = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
    if (name === undefined) return undefined;
    return poolInForce(this.#ports.pools.all().filter((pool) => pool.name === name));
  }

  #announce(allocation: Allocation, live: LiveFacts, releaseAtMs: number): void {
    const { log } = this.#ports;
    log.warn("idle address will be released", { ...fieldsOf(allocation), releaseAtMs });
    const ttl = this.#ttlOf(allocation, live.workload);
    const who = ttl.kind === "ms" && ttl.from === "pool" ? "reserveTTL of its Pool" : annotation;
    const ttlText = ttl.kind === "ms" ? ` (${who}: ${durationText(ttl.ttlMs)})` : "";
    this.#event(allocation, live, {
      type: "Warning",
      reason: "IdleFloatingIP",
      message:
        `address ${allocation.ip}, ${describeReservation(allocation)}, is used by no pod and will be released at ` +
        `${isoTime(releaseAtMs)}${ttlText}; to keep it, start a pod that uses it, or set ${who} to a longer time or "never"`,
    });
  }

  /** Tells the workload or Pool, or the record itself when there is neither any more. */
  #event(
    allocation: Allocation,
    { workload }: LiveFacts,
    note: Pick<EventNote, "type" | "reason" | "message">,
  ): void {
    const ref = workloadOf(allocation);
    const pool = allocation.owner.kind === "pool" ? this.#poolOf(allocation) : undefined;
    const about =
      ref !== undefined && workload?.kind === "present" && ref.type !== "custom"
        ? aboutWorkload(ref, workload.uid)
        : pool !== undefined
          ? aboutPool(pool)
          : aboutRecord(allocation);
    this.#ports.events.record({ about, ...note });
  }

  /** A Pool whose time cannot be understood keeps its addresses; its owner hears of that once. */
  #reportPools(): void {
    for (const pool of this.#ports.pools.all()) {
      const problem = pool.reserveTtlProblem;
      if (problem === undefined || this.#told.has(`${pool.uid} ${problem}`)) continue;
      this.#told.add(`${pool.uid} ${problem}`);
      this.#ports.metrics.count("bad_input", { input: "pool" });
      this.#ports.log.warn("Pool with a reserveTTL that cannot be understood", { reason: problem });
      this.#ports.events.record({
        about: aboutPool(pool),
        type: "Warning",
        reason: "ReserveTTLRefused",
        message: problem,
      });
    }
  }

  /** Reserved addresses without a pod, those without a known beginning first, then the longest idle. */
  list(): readonly IdleAddress[] {
    const found = [...this.#ports.allocator.view.reserved()].map((allocation) =>
      this.#lookAt(allocation),
    );
    const since = ({ allocation }: IdleAddress) => allocation.idleSinceMs ?? 0;
    return found.sort(
      (a, b) => since(a) - since(b) || (a.allocation.ip < b.allocation.ip ? -1 : 1),
    );
  }

  /**
   * How many reserved addresses no pod has for at least `ms`, in the order of the pod subnets; for 0 also those of which nobody knows since
   * when.
   */
  countBySubnet(ms: number): readonly number[] {
    const { allocator, clock } = this.#ports;
    const { topology } = allocator.view;
    const counts = topology.subnets.map(() => 0);
    const untilMs = clock.nowMs() - ms;
    for (const { ip, idleSinceMs } of allocator.view.reserved()) {
      const isOld = ms === 0 || (idleSinceMs !== undefined && idleSinceMs <= untilMs);
      const index = isOld ? topology.subnetIndexOf(ipToNumber(ip)) : -1;
      if (index >= 0) counts[index] = (counts[index] ?? 0) + 1;
    }
    return counts;
  }

  /** How many reserved addresses whose owner was told are about to be released, in the order of the pod subnets. */
  countDueBySubnet(): readonly number[] {
    const { allocator, clock } = this.#ports;
    const { topology } = allocator.view;
    const counts = topology.subnets.map(() => 0);
    const nowMs = clock.nowMs();
    for (const allocation of allocator.view.reserved()) {
      // Few were told of; only for these the workload is looked up.
      if (allocation.idleWarnedMs === undefined) continue;
      const { releaseAtMs, ttl } = this.#lookAt(allocation);
      // Told of a time that is longer now: it is told again before its end.
      if (releaseAtMs === undefined || ttl.kind !== "ms") continue;
      if (releaseAtMs - nowMs > idleWarningMs(ttl.ttlMs)) continue;
      const index = topology.subnetIndexOf(ipToNumber(allocation.ip));
      if (index >= 0) counts[index] = (counts[index] ?? 0) + 1;
    }
    return counts;
  }

  /** How many addresses of each pool no pod has. */
  countByPool(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { owner } of this.#ports.allocator.view.reserved()) {
      const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
      if (pool !== undefined) counts.set(pool, (counts.get(pool) ?? 0) + 1);
    }
    return counts;
  }

  /** Why a reserved address will or will not be released; undefined for others. */
  reasonOf(allocation: Allocation): string | undefined {
    const { kind } = allocation.owner;
    if (kind === "admin" || kind === "foreign" || isBound(allocation)) return undefined;
    const { keptBecause, releaseAtMs, ttl } = this.#lookAt(allocation);
    const { idleSinceMs } = allocation;
    const since = idleSinceMs === undefined ? "" : ` since ${isoTime(idleSinceMs)}`;
    if (ttl.kind !== "ms") return `no pod uses it${since}; it has no time limit`;
    if (keptBecause !== undefined) return `no pod uses it${since}; it is kept: ${keptBecause}`;
    if (releaseAtMs === undefined) return `no pod uses it; its time begins to count with this look`;
    return `no pod uses it${since}; it is released at ${isoTime(releaseAtMs)}`;
  }

  #lookAt(allocation: Allocation): IdleAddress {
    const ttl = this.#ttlOf(allocation, undefined);
    const { idleSinceMs, idleWarnedMs } = allocation;
    const keptBecause = ttl.kind === "ms" ? this.#wantedBecause(allocation, undefined) : undefined;
    const releaseAtMs =
      ttl.kind !== "ms" || keptBecause !== undefined || idleSinceMs === undefined
        ? undefined
        : releaseTimeMs({ idleSinceMs, idleWarnedMs, ttlMs: ttl.ttlMs });
    return { allocation, ttl, releaseAtMs, keptBecause };
  }
}

type LiveFacts = {
  /** A pod of the owner's name is there. */
  readonly hasPod: boolean;
  /** State of the owner's workload; undefined when it has none. */
  readonly workload: WorkloadState | undefined;
};

const annotation = "k8s.v1.cni.galaxy.io/reserve-ttl";

const kinds: Readonly<Record<string, string>> = {
  deployment: "Deployment",
  statefulset: "StatefulSet",
  replicaset: "ReplicaSet",
};

function workloadOf({ owner }: Allocation): WorkloadRef | undefined {
  return owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
}

function aboutWorkload({ type, namespace, name }: WorkloadRef, uid: string): ObjectRef {
  return { apiVersion: "apps/v1", kind: kinds[type] ?? type, namespace, name, uid };
}

function aboutPool({ namespace, name, uid }: PoolFacts): ObjectRef {
  return { apiVersion: "galaxy.k8s.io/v1alpha1", kind: "Pool", namespace, name, uid };
}

function aboutRecord({ ip }: Allocation): ObjectRef {
  const name = recordNameOf(ip);
  return { apiVersion: "galaxy.k8s.io/v1alpha1", kind: "FloatingIP", namespace: "", name, uid: "" };
}

function describeReservation({ owner }: Allocation): string {
  if (owner.kind === "pod") return `reserved for pod ${podIdText(owner.pod)}`;
  if (owner.kind === "workload") return `reserved for ${workloadIdText(owner.workload)}`;
  return owner.kind === "pool" ? `reserved for pool ${owner.pool}` : "reserved";
}

/** Hours, minutes and seconds, as the annotation is written. */
function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  return parts.map(([count, unit]) => (count === 0 ? "" : `${count}${unit}`)).join("");
}

/** RFC 3339 in UTC. */
function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
