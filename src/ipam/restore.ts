// Enters what a backup has and the cluster lost: records of addresses, Pools and quotas, each by itself, all or nothing. What is there stays as it
// is; who had an address since keeps it. Making a backup is not done here.

import type { Allocation } from "../core/allocation.ts";
import { poolInForce } from "../core/decide-pool.ts";
import { needsWorkload } from "../core/decide-reclaim.ts";
import type { RestoreDecision, RestoredRecord } from "../core/decide-restore.ts";
import { decideRestore, describeRestore } from "../core/decide-restore.ts";
import type { PodFacts, PoolFacts, WorkloadState } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import { familyOf, type Ip } from "../core/ip.ts";
import type { Owner, PodId, WorkloadRef } from "../core/owner.ts";
import { podIdText, podsAreInterchangeable, workloadIdText } from "../core/owner.ts";
import { countPoolAddresses } from "../core/pool-count.ts";
import type { QuotaFacts } from "../core/quota.ts";
import { isRecorded } from "../core/recorded.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { Log } from "../ports/log.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import type { QuotaStore } from "../ports/quota-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import { eachInParallel } from "./keyed-queue.ts";

/** What restoring needs. */
export type RestorePorts = {
  readonly allocator: Allocator;
  /** Orders entering against bind and reclaim of one pod; keys are {@link podIdText}. */
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly pools: PoolStore;
  /** Undefined where namespaces have no quotas. */
  readonly quotas: QuotaStore | undefined;
  readonly log: Log;
};

/**
 * What became of one part of a backup.
 * - `restored`: it is there again; in a dry run it would be
 * - `unchanged`: it was there
 * - `left`: what happened since makes it void
 * - `refused`: something else is in its place; the message has the next step
 * - `busy`: it is being changed at this moment; ask again
 */
export type RestoreOutcome = {
  readonly kind: "restored" | "unchanged" | "left" | "refused" | "busy";
  readonly message: string;
};

/** How a backup is restored. */
export type RestoreOptions = {
  readonly isDryRun: boolean;
  /** When the backup was made, milliseconds since 1970. */
  readonly backedUpAtMs: number;
};

/** Records worked on at once for one request. */
const parallelCount = 32;

/** What a dry run would have entered so far: it counts against replicas and sizes as if it had been. */
type Planned = Map<string, number>;

/** Restores. */
export class Restore {
  readonly #ports: RestorePorts;
  readonly #poolNamespace: string | undefined;

  /** @param poolNamespace the only namespace whose Pools count; undefined: they are restored where they were */
  constructor(ports: RestorePorts, poolNamespace: string | undefined) {
    this.#ports = ports;
    this.#poolNamespace = poolNamespace;
  }

  /**
   * Enters records, each by itself. Doing it again, also after half of it, enters what is missing.
   * @returns the outcomes in the order of the records
   */
  async records(
    recorded: readonly Allocation[],
    options: RestoreOptions,
  ): Promise<readonly RestoreOutcome[]> {
    const planned: Planned = new Map();
    return await eachInParallel(recorded, parallelCount, (record) =>
      this.#record(record, { ...options, planned }),
    );
  }

  async #record(recorded: Allocation, context: RecordContext): Promise<RestoreOutcome> {
    const { owner } = recorded;
    try {
      const restore = () => this.#restoreOne(recorded, context);
      return owner.kind === "pod"
        ? await this.#ports.podQueue.run(podIdText(owner.pod), restore)
        : await restore();
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      this.#ports.log.warn("address could not be restored", { ip: recorded.ip }, error);
      return { kind: "refused", message: `${error.message}; restore again` };
    }
  }

  async #restoreOne(recorded: Allocation, context: RecordContext): Promise<RestoreOutcome> {
    const { allocator, cluster } = this.#ports;
    const { ip, owner } = recorded;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    // Most of a backup is there: nobody has to be asked about it.
    const isThere = allocator.view.phaseOf(ip) === "idle";
    const living = !isThere && owner.kind === "pod" ? await this.#livingPod(owner.pod) : undefined;
    const workload = isThere ? gone : await this.#workloadState(recorded);
    const carriedBy = cluster.carriersOf(ip).filter((pod) => carries(pod, ip));
    const known = carriedBy.some((pod) => pod.uid === living?.uid);
    const carriers =
      living !== undefined && !known && carries(living, ip) ? [...carriedBy, living] : carriedBy;
    const asked = carriers[0] ?? living;
    const workloadOfPod =
      isThere || asked === undefined ? undefined : (await cluster.readOwnershipOf(asked)).workload;

    // From here to the change of memory there is no await: what is decided is decided about what is there now.
    const phase = allocator.view.phaseOf(ip);
    if (phase !== undefined && phase !== "idle") return busy;
    if (isThere && phase === undefined) return busy;
    const promisedTo = allocator.view.heldBy(ip);
    const decision = decideRestore({
      recorded,
      found: allocator.view.get(ip),
      carriers,
      pod: living,
      workloadOfPod,
      workload,
      ownedCount: this.#ownedCount(recorded, context.planned),
      poolRoom: this.#poolRoom(owner, context.planned),
      hasLaterAddress:
        owner.kind === "pod" &&
        allocator.view
          .ofPod(owner.pod)
          .some((other) => other.updatedAtMs > context.backedUpAtMs && other.ip !== ip),
      promisedTo: promisedTo === carriers[0]?.uid ? undefined : promisedTo,
      isConfigured: allocator.view.topology.isConfigured(ip),
    });
    const message = describeRestore(decision);
    if (decision.do !== "enter") return { kind: outcomeOf(decision), message };
    if (context.isDryRun) {
      for (const key of keysOf(decision.record.owner, recorded)) {
        context.planned.set(key, (context.planned.get(key) ?? 0) + 1);
      }
      return { kind: "restored", message };
    }
    return await this.#enter(recorded, decision.record, message);
  }

  async #enter(
    recorded: Allocation,
    record: RestoredRecord,
    message: string,
  ): Promise<RestoreOutcome> {
    const { foreignText, ip, podUid, updatedAtMs } = recorded;
    const { lastNodeName } = record;
    const { ip: _ip, owner: _owner, policy: _policy, podUid: _uid, ...rest } = recorded;
    const { nodeName: _node, isDraining: _draining, version: _version, ...said } = rest;
    // What else the record said is true of the same pod, or of the same absence of one, and of nothing else; but for what we do not understand:
    // we leave that alone when a pod goes, too.
    const isSame = podUid === record.podUid;
    const foreign = foreignText === undefined ? {} : { foreignText };
    const outcome = await this.#ports.allocator.take({
      addresses: [{ ip, from: "free" }],
      owner: record.owner,
      policy: record.policy,
      podUid: record.podUid,
      nodeName: record.nodeName,
      asRecorded: isSame ? { ...said, lastNodeName } : { updatedAtMs, lastNodeName, ...foreign },
    });
    return outcome.kind === "taken" ? { kind: "restored", message } : busy;
  }

  /** What the cache shows alive need not be asked for, what it does not show must be. */
  async #livingPod(id: PodId): Promise<PodFacts | undefined> {
    const { cluster } = this.#ports;
    const cached = cluster.pod(id);
    if (cached !== undefined && !podIsFinished(cached) && !cached.isTerminating) return cached;
    const live = await cluster.readPod(id);
    return live === "gone" || podIsFinished(live) ? undefined : live;
  }

  async #workloadState(recorded: Allocation): Promise<WorkloadState> {
    const { cluster } = this.#ports;
    const { owner } = recorded;
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload === undefined || !needsWorkload(recorded)) return gone;
    const cached = cluster.workload(workload);
    return cached.kind === "present" ? cached : await cluster.readWorkload(workload);
  }

  /** As reclaim counts: addresses of the same family, pools aside. */
  #ownedCount({ ip, owner }: Allocation, planned: Planned): number {
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    if (workload === undefined || !podsAreInterchangeable(workload)) return 0;
    const { view } = this.#ports.allocator;
    const family = familyOf(ip);
    let count = planned.get(workloadKey(workload, ip)) ?? 0;
    for (const other of view.ofWorkload(workload)) {
      const inPool = other.owner.kind === "pod" && other.owner.pool !== undefined;
      if (!inPool && familyOf(other.ip) === family && isRecorded(other, view)) count += 1;
    }
    return count;
  }

  #poolRoom(owner: Owner, planned: Planned): number | undefined {
    const name = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
    if (name === undefined) return undefined;
    const { allocator } = this.#ports;
    const size = this.#pool(name)?.size;
    if (size === undefined) return undefined;
    const count = countPoolAddresses(name, allocator.view, undefined);
    return Math.max(0, size - count - (planned.get(poolKey(name)) ?? 0));
  }

  #pool(name: string): PoolFacts | undefined {
    return poolInForce(this.#ports.pools.all().filter((pool) => pool.name === name));
  }

  /**
   * Makes Pool objects that are missing. To be asked for after the records: a Pool that fills itself would take addresses of others.
   * @returns the outcomes in the order of the pools
   */
  async pools(
    backedUp: readonly PoolFacts[],
    { isDryRun }: { readonly isDryRun: boolean },
  ): Promise<readonly RestoreOutcome[]> {
    const outcomes: RestoreOutcome[] = [];
    for (const pool of backedUp) outcomes.push(await this.#restorePool(pool, isDryRun));
    return outcomes;
  }

  async #restorePool(backedUp: PoolFacts, isDryRun: boolean): Promise<RestoreOutcome> {
    const { allocator, log, pools } = this.#ports;
    const { name } = backedUp;
    const namespace = this.#poolNamespace ?? backedUp.namespace;
    const existing = this.#pool(name);
    if (existing !== undefined) {
      const isSame =
        existing.size === backedUp.size &&
        existing.preAllocate === backedUp.preAllocate &&
        existing.reserveTtl === backedUp.reserveTtl;
      return isSame
        ? { kind: "unchanged", message: "it is there" }
        : {
            kind: "refused",
            message: `Pool ${existing.namespace}/${name} is there with ${wishOf(existing)}, the backup has ${wishOf(backedUp)}; if the backup is right, say so with galaxyctl pool create ${name}`,
          };
    }
    const message = `with ${wishOf(backedUp)} in namespace ${namespace}`;
    if (isDryRun) return { kind: "restored", message };
    try {
      allocator.assertLeader(`restore pool ${name}`);
      const wanted = { ...backedUp, namespace, uid: "", createdAtMs: 0, version: "" };
      const outcome = await pools.write(wanted);
      if (outcome.kind === "written") {
        log.info("pool restored from a backup", { pool: name, namespace });
        return { kind: "restored", message };
      }
      return busy;
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("pool could not be restored", { pool: name }, error);
      return { kind: "refused", message: `${error.message}; restore again` };
    }
  }

  /**
   * Makes FloatingIPQuotas that are missing. No restore is held up by them: records are entered whatever a namespace may have.
   * @returns the outcomes in the order of the quotas
   */
  async quotas(
    backedUp: readonly QuotaFacts[],
    { isDryRun }: { readonly isDryRun: boolean },
  ): Promise<readonly RestoreOutcome[]> {
    const outcomes: RestoreOutcome[] = [];
    for (const quota of backedUp) outcomes.push(await this.#restoreQuota(quota, isDryRun));
    return outcomes;
  }

  async #restoreQuota(backedUp: QuotaFacts, isDryRun: boolean): Promise<RestoreOutcome> {
    const { allocator, log, quotas } = this.#ports;
    const { name } = backedUp;
    if (quotas === undefined) {
      return {
        kind: "refused",
        message: "this program keeps no quotas; restore it where it came from",
      };
    }
    const existing = quotas.all().find((quota) => quota.name === name);
    if (existing !== undefined) {
      return limitOf(existing) === limitOf(backedUp)
        ? { kind: "unchanged", message: "it is there" }
        : {
            kind: "refused",
            message: `FloatingIPQuota ${name} is there with ${limitOf(existing)}, the backup has ${limitOf(backedUp)}; if the backup is right, say so with galaxyctl quota set ${name}`,
          };
    }
    const message = `with ${limitOf(backedUp)}`;
    if (isDryRun) return { kind: "restored", message };
    try {
      allocator.assertLeader(`restore quota ${name}`);
      const outcome = await quotas.write({ ...backedUp, uid: "", version: "" });
      if (outcome.kind !== "written") return busy;
      log.info("quota restored from a backup", { quota: name });
      return { kind: "restored", message };
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("quota could not be restored", { quota: name }, error);
      return { kind: "refused", message: `${error.message}; restore again` };
    }
  }
}

type RecordContext = RestoreOptions & {
  readonly planned: Planned;
};

const gone: WorkloadState = { kind: "gone" };

const busy: RestoreOutcome = {
  kind: "busy",
  message: "it is being looked at or changed at this moment; restore again",
};

function carries(pod: PodFacts, ip: Ip): boolean {
  return pod.nodeName !== "" && !podIsFinished(pod) && pod.assignedIps.includes(ip);
}

function outcomeOf(decision: RestoreDecision & { readonly do: "nothing" | "leave" | "refuse" }) {
  switch (decision.do) {
    case "nothing":
      return "unchanged";
    case "leave":
      return "left";
    case "refuse":
      return decision.because === "promised" ? "busy" : "refused";
    default:
      return decision satisfies never;
  }
}

function keysOf(owner: Owner, { ip }: Allocation): readonly string[] {
  const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
  if (pool !== undefined) return [poolKey(pool)];
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  return workload === undefined ? [] : [workloadKey(workload, ip)];
}

function poolKey(name: string): string {
  return `pool ${name}`;
}

function workloadKey(workload: WorkloadRef, ip: Ip): string {
  return `${familyOf(ip)} ${workloadIdText(workload)}`;
}

function wishOf({ preAllocate, reserveTtl, size }: PoolFacts): string {
  return [
    size === undefined ? "no size" : `size ${size}`,
    ...(preAllocate ? ["filled at once"] : []),
    ...(reserveTtl === undefined
      ? []
      : [reserveTtl === "never" ? "reserved for ever" : `reserved for ${reserveTtl / 1_000} s`]),
  ].join(", ");
}

function limitOf({ limit, namespaces }: QuotaFacts): string {
  const where = namespaces.length === 0 ? "every namespace without another" : namespaces.join(", ");
  return `limit ${limit} for ${where}`;
}
