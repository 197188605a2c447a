// The control plane as a whole: the use cases around one allocator, and their life as follower and leader. It is the only file that
// knows all of them; programs and the simulator give it adapters.

import type { AllocationStore } from "../ports/allocation-store.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { PodBinder } from "../ports/pod-binder.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import type { QuotaStore } from "../ports/quota-store.ts";
import { Admin } from "./admin.ts";
import type { AllocationChange } from "./allocator.ts";
import { Allocator } from "./allocator.ts";
import { Backup } from "./backup.ts";
import { Check } from "./check.ts";
import { Explain } from "./explain.ts";
import { IdleAddresses } from "./idle-addresses.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { PoolAdmin } from "./pool-admin.ts";
import { Pools } from "./pools.ts";
import { QuotaAdmin } from "./quota-admin.ts";
import { Reclaim } from "./reclaim.ts";
import type { Configuration } from "./reconfigure.ts";
import { Reconfigure } from "./reconfigure.ts";
import { Restore } from "./restore.ts";
import { Scheduling } from "./scheduling.ts";

/** The world of the control plane. */
export type IpamPorts = {
  readonly store: AllocationStore;
  readonly pools: PoolStore;
  /** Left out where namespaces have no quotas. */
  readonly quotas?: QuotaStore;
  readonly cluster: ClusterView;
  readonly binder: PodBinder;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly leadership: Leadership;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Times in milliseconds. */
export type IpamSettings = {
  readonly holdMs: number;
  readonly reuseDelayMs: number;
  readonly promiseWaitMs: number;
  readonly resyncMs: number;
  /** How many pods are reclaimed in parallel. */
  readonly reclaimParallelCount: number;
  /** How many binds and reclaims may run or wait; more are refused and tried again by their caller. */
  readonly queueCapacity: number;
  /** Where the API writes Pool objects; kube-system by default. */
  readonly poolNamespace?: string | undefined;
};

/** What a door says before it lets a request in. */
export type Readiness = { readonly isReady: boolean; readonly reason: string };

/** Pause before running pods are adopted again that could not be read. */
const adoptRetryMs = 1_000;

/** The life of the control plane in one process. */
export class IpamService {
  readonly allocator: Allocator;
  readonly scheduling: Scheduling;
  readonly reclaim: Reclaim;
  readonly pools: Pools;
  readonly reconfigure: Reconfigure;
  readonly admin: Admin;
  readonly poolAdmin: PoolAdmin;
  readonly quotaAdmin: QuotaAdmin;
  readonly idle: IdleAddresses;
  readonly explain: Explain;
  readonly check: Check;
  readonly backup: Backup;
  readonly restore: Restore;
  readonly #ports: IpamPorts;
  readonly #settings: IpamSettings;
  readonly #stops: (() => void)[] = [];
  #phase: "following" | "taking over" | "leading" = "following";
  #takeOverProblem = "";
  /** Counts turns of leadership, so that a take-over that was overtaken does nothing more. */
  #term = 0;
  #cancelTimer: () => void = () => {};

  constructor(ports: IpamPorts, settings: IpamSettings) {
    this.#ports = ports;
    this.#settings = settings;
    const { cluster, clock, events, leadership, log, metrics, store } = ports;
    const podQueue = new KeyedQueue(settings.queueCapacity);
    this.allocator = new Allocator({ store, clock, leadership, log, metrics });
    const { allocator } = this;
    allocator.follow();
    this.reclaim = new Reclaim(
      { allocator, podQueue, cluster, events, clock, log, metrics },
      { parallelCount: settings.reclaimParallelCount, firstRetryMs: 100, lastRetryMs: 30_000 },
    );
    this.pools = new Pools({ allocator, pools: ports.pools, cluster, clock, log });
    this.admin = new Admin({ allocator, podQueue, cluster, clock, log });
    this.poolAdmin = new PoolAdmin(
      { allocator, pools: ports.pools, clock, log, fill: (name) => this.pools.fill(name) },
      settings.poolNamespace,
    );
    this.reconfigure = new Reconfigure({ allocator, events, log, metrics });
    this.quotaAdmin = new QuotaAdmin({ allocator, quotas: ports.quotas, clock, log });
    this.idle = new IdleAddresses({
      allocator,
      podQueue,
      cluster,
      pools: ports.pools,
      events,
      clock,
      log,
      metrics,
    });
    const quotas = () => ports.quotas?.all() ?? [];
    this.explain = new Explain(
      {
        allocator,
        cluster,
        pools: ports.pools,
        quotas,
        idleReason: (allocation) => this.idle.reasonOf(allocation),
        clock,
      },
      { reuseDelayMs: settings.reuseDelayMs },
    );
    this.check = new Check({
      allocator,
      podQueue,
      cluster,
      pools: ports.pools,
      clock,
      configurationProblems: () => this.reconfigure.status.problems,
      reclaimPod: (pod) => this.reclaim.reclaimPod(pod, { asksApi: true }),
      adoptAll: () => this.reclaim.adoptAll(),
    });
    const stores = { pools: ports.pools, quotas: ports.quotas };
    this.backup = new Backup({ allocator, ...stores, leadership, clock });
    this.restore = new Restore(
      { allocator, podQueue, cluster, ...stores, log },
      settings.poolNamespace,
    );
    this.scheduling = new Scheduling(
      {
        allocator,
        podQueue,
        cluster,
        pools: ports.pools,
        quotas,
        binder: ports.binder,
        events,
        clock,
        log,
        metrics,
        reclaimPod: (pod, options) => this.reclaim.reclaimPod(pod, options),
        reclaimLeaving: (couldHelp) => this.reclaim.reclaimLeaving(couldHelp),
      },
      {
        holdMs: settings.holdMs,
        reuseDelayMs: settings.reuseDelayMs,
        promiseWaitMs: settings.promiseWaitMs,
      },
    );
  }

  /** Begins to watch the world; memory follows the store from now on, nothing is written yet. */
  start(): void {
    const { cluster, pools, store } = this.#ports;
    this.#stops.push(
      store.watch((event) => this.allocator.observe(event)),
      cluster.watch((event) => {
        if (event.kind === "pod") {
          const pod = cluster.pod(event.pod);
          if (pod !== undefined) this.allocator.holdCarried(pod);
        }
        this.reclaim.observe(event);
        if (event.kind === "nodes") this.pools.observeCapacity();
      }),
      pools.watch((name) => this.pools.observe(name)),
      this.allocator.onChange((change) => {
        this.#holdCarriedAfter(change);
        this.reclaim.observeChange(change);
        this.pools.observeChange(change);
      }),
    );
  }

  /** Stops watching, and leading when it leads. */
  async stop(): Promise<void> {
    await this.stopLeading();
    for (const stop of this.#stops.splice(0).reverse()) stop();
  }

  /**
   * A configuration was read. A bad one changes nothing but the status.
   * @param about the object that it came from, for events; undefined for a file
   */
  configure(configuration: Configuration, about: ObjectRef | undefined): void {
    const isNew = this.reconfigure.apply(configuration, about);
    if (isNew) this.#holdCarried();
    // A take-over that is under way looks at the configuration again before it ends.
    if (!isNew || this.#phase !== "leading") return;
    // Addresses that are new to the configuration may be in pods already: no answer before those have records.
    if (this.reclaim.podsWithoutRecord().length > 0) void this.#adopt(this.#term);
    this.#alignRecords();
    this.pools.resync();
  }

  async #adopt(term: number): Promise<void> {
    this.#phase = "taking over";
    this.#takeOverProblem = "";
    while (term === this.#term) {
      try {
        await this.#adoptUnderOneTopology();
        break;
      } catch (error) {
        this.#takeOverProblem = error instanceof Error ? error.message : String(error);
        this.#ports.log.warn("running pods could not be adopted, it is tried again", {}, error);
        await new Promise<void>((resolve) => {
          this.#ports.clock.after(adoptRetryMs, resolve);
        });
      }
    }
    if (term !== this.#term) return;
    this.#phase = "leading";
    this.#alignRecords();
    this.pools.resync();
  }

  /** Pods are adopted under the configuration in force; when another came meanwhile, once more. */
  async #adoptUnderOneTopology(): Promise<void> {
    for (;;) {
      const { topology } = this.allocator.view;
      await this.reclaim.adoptAll();
      if (this.allocator.view.topology === topology) return;
    }
  }

  #alignRecords(): void {
    this.reconfigure.alignRecords().catch((error: unknown) => {
      this.#ports.log.warn("records could not be brought in line, resync tries again", {}, error);
    });
  }

  /** What pods carry without a record is nobody else's, before anything is chosen. */
  #holdCarried(): void {
    for (const pod of this.#ports.cluster.pods()) this.allocator.holdCarried(pod);
  }

  /**
   * An address that a record gives up is nobody else's as long as the pod carries it, from this moment on. A record that somebody else
   * wrote may be over the address of any pod, whatever memory knew of it: an administrator's stood there, or what this process wrote and
   * had no answer for.
   */
  #holdCarriedAfter({ before, after, origin }: AllocationChange): void {
    const { cluster } = this.#ports;
    const pod = before?.owner.kind === "pod" ? cluster.pod(before.owner.pod) : undefined;
    if (pod !== undefined) this.allocator.holdCarried(pod);
    // A follower gives nothing away, and looks at all pods when it begins to lead.
    if (origin === "own" || this.#phase === "following") return;
    // The address of one that is gone waits for reclaim, or is free and held already.
    if (after === undefined || after === before) return;
    for (const carrier of cluster.carriersOf(after.ip)) this.allocator.holdCarried(carrier);
  }

  /**
   * Reads all records as a follower, so that questions are answered.
   * @throws WorldError when they cannot be read; to be called again
   */
  async follow(): Promise<void> {
    if (this.#phase !== "following") return;
    await this.allocator.restore();
    this.#holdCarried();
  }

  /**
   * Takes over: reads all records, adopts what pods carry, and only then answers the scheduler.
   * @param clusterIsKnown resolves when the cluster view shows the whole cluster; the records are read meanwhile
   * @throws WorldError when the store or the cluster cannot be read; to be called again
   */
  async startLeading(clusterIsKnown: Promise<unknown> = Promise.resolve()): Promise<void> {
    this.#term += 1;
    const term = this.#term;
    this.#phase = "taking over";
    this.allocator.lead();
    this.#takeOverProblem = "";
    try {
      await this.allocator.restore();
      await clusterIsKnown;
      this.#holdCarried();
      this.reclaim.forgetFormersGone();
      if (term !== this.#term) return;
      await this.#adoptUnderOneTopology();
    } catch (error) {
      this.#takeOverProblem = error instanceof Error ? error.message : String(error);
      throw error;
    }
    if (term !== this.#term) return;
    this.reclaim.start();
    this.pools.start();
    this.idle.start();
    this.#phase = "leading";
    this.#ports.log.info("leading", { records: this.allocator.view.size });
    this.#resync(term);
  }

  /** Gives leadership back: what runs ends, nothing new is written. */
  async stopLeading(): Promise<void> {
    this.#term += 1;
    this.#phase = "following";
    this.allocator.follow();
    this.#cancelTimer();
    await Promise.all([this.reclaim.stop(), this.pools.stop(), this.idle.stop()]);
  }

  /** How much of the cluster is known. */
  clusterCounts(): {
    readonly nodeCount: number;
    readonly podCount: number;
    readonly poolCount: number;
  } {
    const { cluster, pools } = this.#ports;
    const count = (items: Iterable<unknown>): number => {
      let found = 0;
      for (const _ of items) found += 1;
      return found;
    };
    return {
      nodeCount: count(cluster.nodes()),
      podCount: count(cluster.pods()),
      poolCount: pools.all().length,
    };
  }

  /** Whether the scheduler's calls are answered, and if not why. */
  readiness(): Readiness {
    const { leadership } = this.#ports;
    const { isConfigured, problems } = this.reconfigure.status;
    if (!isConfigured) return { isReady: false, reason: `not configured: ${problems.join("; ")}` };
    if (!leadership.isLeader()) {
      const leader = leadership.leaderName();
      return {
        isReady: false,
        reason: `this instance follows; the leader is ${leader === "" ? "not known yet" : leader}`,
      };
    }
    if (this.#phase === "leading") return { isReady: true, reason: "ok" };
    return {
      isReady: false,
      reason:
        this.#takeOverProblem === ""
          ? "taking over: records are being read"
          : `taking over: ${this.#takeOverProblem}`,
    };
  }

  /** The full look now and once per period. */
  #resync(term: number): void {
    if (term !== this.#term) return;
    this.pools.resync();
    const again = () => {
      if (term !== this.#term) return;
      this.#cancelTimer = this.#ports.clock.after(this.#settings.resyncMs, () =>
        this.#resync(term),
      );
    };
    const warn = (error: unknown) => {
      this.#ports.log.warn("resync failed, the next one tries again", {}, error);
    };
    // A record that cannot be brought in line is no reason to leave the others without a look.
    this.reconfigure
      .alignRecords()
      .catch(warn)
      .then(() => this.reclaim.resync())
      .catch(warn)
      .then(() => this.idle.look())
      .catch(warn)
      .finally(again);
  }
}
