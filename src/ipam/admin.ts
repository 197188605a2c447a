// What operators ask for: pages of addresses, releasing and reserving them, entering those that are in use already. The same checks and the
// same allocator as for events; an operator's word frees nothing that a running pod has.

import type { Allocation } from "../core/allocation.ts";
import { isBound } from "../core/allocation.ts";
import type { ListedAddress, ListedPage, ListQuery } from "../core/allocation-listing.ts";
import type { EntryPhase } from "../core/allocation-table.ts";
import { decideReclaim, needsWorkload } from "../core/decide-reclaim.ts";
import type { PodFacts, WorkloadState } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { ipToNumber } from "../core/ip.ts";
import type { IpRange } from "../core/ip-range.ts";
import { mergeRanges } from "../core/ip-range.ts";
import type { Owner, PodId } from "../core/owner.ts";
import { describeOwner, podIdText, sameOwner } from "../core/owner.ts";
import type { ReleasePolicy } from "../core/release-policy.ts";
import type { Topology } from "../core/subnets.ts";
import { describeSubnet } from "../core/subnets.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { Log } from "../ports/log.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import { eachInParallel } from "./keyed-queue.ts";

/** What the operator's use cases need. */
export type AdminPorts = {
  readonly allocator: Allocator;
  /** Orders releases against bind and reclaim of one pod; keys are {@link podIdText}. */
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly clock: Clock;
  readonly log: Log;
};

/** An address with what a list shows of it. */
export type AddressLook = {
  readonly ip: Ip;
  readonly allocation: Allocation | undefined;
  readonly phase: EntryPhase | undefined;
  readonly isHeld: boolean;
  /** Phase of the pod that the record names, `Deleted`, or undefined when it names none. */
  readonly podStatus: string | undefined;
  readonly isReleasable: boolean;
  readonly subnet: string | undefined;
};

/** Whose the caller believes an address to be, as its records say: "" where they say nothing. */
export type ExpectedOwner = {
  readonly namespace: string;
  readonly appName: string;
  /** Lower-case kind; undefined: not said. */
  readonly appType: string | undefined;
  readonly podName: string;
  readonly poolName: string;
};

/** One address to release. */
export type ReleaseEntry = { readonly ip: Ip; readonly expected: ExpectedOwner };

/** What became of one address; `key` of the owner is formatted by the caller. */
export type ReleaseOutcome =
  | { readonly kind: "released" }
  /** It was free already, and this process has seen it released: the same request once more. */
  | { readonly kind: "free again" }
  | { readonly kind: "not configured" }
  | { readonly kind: "never used" }
  | { readonly kind: "of another"; readonly owner: Owner }
  | { readonly kind: "pod runs"; readonly pod: PodId; readonly podStatus: string }
  | { readonly kind: "busy" }
  | { readonly kind: "failed"; readonly reason: string };

/** What became of a reservation. */
export type ReserveOutcome =
  | { readonly kind: "reserved" }
  | { readonly kind: "not configured" }
  | { readonly kind: "in use"; readonly owner: Owner }
  | { readonly kind: "busy" };

/** A record to enter. `pod` and `policy` undefined: as the pod or the kind of owner says. */
export type ImportEntry = {
  readonly ip: Ip;
  /** Whose it is to be when no pod of the name is there to say it. */
  readonly owner: Owner;
  readonly policy: ReleasePolicy | undefined;
};

/** What became of a line of an import. */
export type ImportOutcome =
  | { readonly kind: "entered" | "unchanged"; readonly allocation: Allocation }
  | { readonly kind: "would enter"; readonly owner: Owner; readonly podUid: string }
  | { readonly kind: "refused"; readonly reason: string };

/** Addresses worked on at once for one request. */
const parallelCount = 32;

/** The record kept changing under our hands: the caller tries later. */
const attempts = 4;

/** Entries taken into the list between two looks at other work. */
const fillSlice = 2_000;

/** The operator's use cases. */
export class Admin {
  readonly #ports: AdminPorts;
  #rangesOf: { readonly topology: Topology; readonly ranges: readonly IpRange[] } | undefined;

  constructor(ports: AdminPorts) {
    this.#ports = ports;
  }

  /** A page of addresses. The first question after a start takes longer: the list is made then, in slices. */
  async list(query: ListQuery): Promise<ListedPage> {
    await this.whenListed();
    const { listing } = this.#ports.allocator.view;
    return listing.page(query, this.#configuredRanges());
  }

  /** Resolves when the listing is complete; it may be asked in the same tick. */
  async whenListed(): Promise<void> {
    const { allocator, clock } = this.#ports;
    while (!allocator.view.listing.advance(fillSlice)) {
      await new Promise<void>((resolve) => {
        clock.after(0, resolve);
      });
    }
  }

  /** What the configuration lists, whatever pod subnet it is in. */
  #configuredRanges(): readonly IpRange[] {
    const { topology } = this.#ports.allocator.view;
    if (this.#rangesOf?.topology !== topology) {
      const ranges = mergeRanges(topology.subnets.flatMap((subnet) => subnet.ranges));
      this.#rangesOf = { topology, ranges };
    }
    return this.#rangesOf.ranges;
  }

  /** One line of a list with what is known of it now. */
  look({ ip, allocation }: ListedAddress): AddressLook {
    const { view } = this.#ports.allocator;
    const subnetIndex = view.topology.subnetIndexOf(ipToNumber(ip));
    const subnet = view.topology.subnets[subnetIndex];
    const common = {
      ip,
      allocation,
      phase: view.phaseOf(ip),
      isHeld: view.heldBy(ip) !== undefined,
      subnet: subnet === undefined ? undefined : describeSubnet(subnet),
    };
    if (allocation === undefined) return { ...common, podStatus: undefined, isReleasable: false };
    const { owner } = allocation;
    if (owner.kind === "admin" || owner.kind === "foreign") {
      return { ...common, podStatus: undefined, isReleasable: false };
    }
    if (owner.kind !== "pod") return { ...common, podStatus: undefined, isReleasable: true };
    const pod = this.#ports.cluster.pod(owner.pod);
    return {
      ...common,
      podStatus: pod?.phase ?? "Deleted",
      isReleasable: pod === undefined || podIsFinished(pod),
    };
  }

  /** One address by itself; undefined when no subnet lists it and no record names it. */
  lookAt(ip: Ip): AddressLook | undefined {
    const { view } = this.#ports.allocator;
    const allocation = view.get(ip);
    if (allocation === undefined && !view.topology.isConfigured(ip)) return undefined;
    return this.look({ ip, allocation });
  }

  /**
   * Releases addresses, each on its own: one that may not be released does not keep the others.
   * @param options.isDryRun nothing is released, the outcome is what would happen
   * @returns the outcomes in the order of the entries
   */
  async release(
    entries: readonly ReleaseEntry[],
    options: { readonly isDryRun: boolean },
  ): Promise<readonly ReleaseOutcome[]> {
    return await eachInParallel(entries, parallelCount, (entry) =>
      this.#releaseOne(entry, options),
    );
  }

  async #releaseOne(
    entry: ReleaseEntry,
    options: { readonly isDryRun: boolean },
  ): Promise<ReleaseOutcome> {
    const { allocator, log, podQueue } = this.#ports;
    try {
      for (let attempt = 1; attempt <= attempts; attempt += 1) {
        const seen = allocator.view.get(entry.ip);
        const refusal = this.#refusalOf(entry, seen);
        if (refusal !== undefined) return refusal;
        const queued = seen?.owner.kind === "pod" ? podIdText(seen.owner.pod) : undefined;
        const release = () => this.#releaseRecord(entry, queued, options);
        const outcome =
          queued === undefined ? await release() : await podQueue.run(queued, release);
        if (outcome !== "again") return outcome;
      }
      return { kind: "busy" };
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("address could not be released for an operator", { ip: entry.ip }, error);
      return { kind: "failed", reason: error.message };
    }
  }

  /** Why the address is not the caller's to release, as far as the record says. */
  #refusalOf({ ip, expected }: ReleaseEntry, found: Allocation | undefined) {
    const { view } = this.#ports.allocator;
    if (found === undefined) {
      if (!view.topology.isConfigured(ip)) return { kind: "not configured" } as const;
      const isRepeated = view.releasedAtMs(ip) !== undefined;
      return isRepeated ? ({ kind: "free again" } as const) : ({ kind: "never used" } as const);
    }
    return isOwnedBy(found.owner, expected)
      ? undefined
      : ({ kind: "of another", owner: found.owner } as const);
  }

  /** @param queued the pod on whose queue this runs; a record that became another pod's meanwhile is looked at again */
  async #releaseRecord(
    entry: ReleaseEntry,
    queued: string | undefined,
    { isDryRun }: { readonly isDryRun: boolean },
  ): Promise<ReleaseOutcome | "again"> {
    const { allocator } = this.#ports;
    const { ip } = entry;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const before = allocator.view.get(ip);
    const refusal = this.#refusalOf(entry, before);
    if (refusal !== undefined) return refusal;
    if (before === undefined) return "again";
    const { owner } = before;
    if ((owner.kind === "pod" ? podIdText(owner.pod) : undefined) !== queued) return "again";
    const pod = owner.kind === "pod" ? await this.#livingPod(owner.pod) : undefined;
    if (owner.kind === "pod" && pod !== undefined) {
      return { kind: "pod runs", pod: owner.pod, podStatus: pod.phase };
    }
    // A promise to a pod that is being scheduled: it would bind to an address that is not there.
    if (allocator.view.heldBy(ip) !== undefined) return { kind: "busy" };
    if (isDryRun) return { kind: "released" };
    if (allocator.view.get(ip) !== before) return "again";
    const outcome = await allocator.release(before, "released by an operator");
    return outcome === "done" ? { kind: "released" } : "again";
  }

  /** The pod of that name while it lives; what the cache shows alive need not be asked for, what it does not show must be. */
  async #livingPod(id: PodId): Promise<PodFacts | undefined> {
    const { cluster } = this.#ports;
    const cached = cluster.pod(id);
    if (cached !== undefined && !podIsFinished(cached) && !cached.isTerminating) return cached;
    const live = await cluster.readPod(id);
    return live === "gone" || podIsFinished(live) ? undefined : live;
  }

  /**
   * Takes a free address out of allocation.
   * @param key why, in words; it stands in the record
   * @throws WorldError when the store fails
   */
  async reserve(ip: Ip, key: string): Promise<ReserveOutcome> {
    const { allocator } = this.#ports;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const found = allocator.view.get(ip);
    if (found !== undefined) {
      return found.owner.kind === "admin"
        ? { kind: "reserved" }
        : { kind: "in use", owner: found.owner };
    }
    if (!allocator.view.topology.isConfigured(ip)) return { kind: "not configured" };
    const outcome = await allocator.take({
      addresses: [{ ip, from: "free" }],
      owner: { kind: "admin", key },
      policy: "never",
      podUid: "",
      nodeName: "",
    });
    return outcome.kind === "taken" ? { kind: "reserved" } : { kind: "busy" };
  }

  /**
   * Gives an address back to allocation that {@link reserve}, or a label on the record, took out.
   * @throws WorldError when the store fails
   */
  async unreserve(ip: Ip): Promise<"free" | "not reserved" | "busy"> {
    const { allocator } = this.#ports;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const found = allocator.view.get(ip);
    if (found?.owner.kind !== "admin") return "not reserved";
    const outcome = await allocator.release(found, "given back by an operator");
    return outcome === "done" ? "free" : "busy";
  }

  /**
   * Enters addresses that are in use already, each on its own.
   * @returns the outcomes in the order of the entries
   */
  async import(
    entries: readonly ImportEntry[],
    options: { readonly isDryRun: boolean },
  ): Promise<readonly ImportOutcome[]> {
    return await eachInParallel(entries, parallelCount, async (entry) => {
      const { owner } = entry;
      try {
        const enter = () => this.#importOne(entry, options);
        return owner.kind === "pod"
          ? await this.#ports.podQueue.run(podIdText(owner.pod), enter)
          : await enter();
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
        return { kind: "refused", reason: error.message };
      }
    });
  }

  async #importOne(
    entry: ImportEntry,
    { isDryRun }: { readonly isDryRun: boolean },
  ): Promise<ImportOutcome> {
    const { allocator, cluster } = this.#ports;
    const { ip } = entry;
    await allocator.whenWritten(ip);
    await allocator.settleUnknown([ip]);
    const pod = entry.owner.kind === "pod" ? await this.#livingPod(entry.owner.pod) : undefined;
    let { owner } = entry;
    if (pod !== undefined) {
      if (pod.assignedIps.length > 0 && !pod.assignedIps.includes(ip)) {
        return refusedLine(
          `pod ${podIdText(pod.id)} carries ${pod.assignedIps.join(", ")} and not this address`,
        );
      }
      const { workload } = await cluster.readOwnershipOf(pod);
      owner = { kind: "pod", pod: pod.id, workload, pool: pod.pool };
    }
    const isBoundToPod = pod !== undefined && pod.nodeName !== "";
    const found = allocator.view.get(ip);
    if (found !== undefined) {
      const isSame = sameOwner(found.owner, owner) && isBound(found) === isBoundToPod;
      return isSame
        ? { kind: "unchanged", allocation: found }
        : refusedLine(`it belongs to ${describeOwner(found.owner)} already`);
    }
    if (!allocator.view.topology.isConfigured(ip)) {
      return refusedLine('no pod subnet lists it; extend "ips" of the configuration first');
    }
    const policy = pod?.policy ?? entry.policy ?? (owner.kind === "pod" ? "immutable" : "never");
    const podUid = isBoundToPod ? pod.uid : "";
    const nodeName = isBoundToPod ? pod.nodeName : "";
    if (podUid === "") {
      const reason = await this.#wouldBeReleased({ ip, owner, policy });
      if (reason !== undefined) return refusedLine(reason);
    }
    if (isDryRun) return { kind: "would enter", owner, podUid };
    const outcome = await allocator.take({
      addresses: [{ ip, from: "free" }],
      owner,
      policy,
      reserveTtl: pod?.reserveTtl,
      podUid,
      nodeName,
    });
    if (outcome.kind === "taken") {
      return { kind: "entered", allocation: outcome.allocations[0] as Allocation };
    }
    return refusedLine("it is promised to a pod that is being scheduled, or was taken meanwhile");
  }

  /** Why a record without a pod would not stay: entering it would be a lie. */
  async #wouldBeReleased(record: {
    readonly ip: Ip;
    readonly owner: Owner;
    readonly policy: ReleasePolicy;
  }): Promise<string | undefined> {
    const { cluster } = this.#ports;
    const allocation: Allocation = {
      ...record,
      nodeName: "",
      lastNodeName: "",
      podUid: "",
      updatedAtMs: 0,
      isDraining: false,
      version: "",
    };
    const { owner } = record;
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    const state: WorkloadState =
      workload === undefined || !needsWorkload(allocation)
        ? { kind: "gone" }
        : await cluster.readWorkload(workload);
    const decision = decideReclaim({
      allocation,
      pod: { kind: "gone" },
      workload: state,
      ownedCount: 1,
      isConfigured: true,
    });
    return decision.do === "release"
      ? `without a running pod it would be released at once (${decision.because}); give a policy that keeps it`
      : undefined;
  }
}

function refusedLine(reason: string): ImportOutcome {
  return { kind: "refused", reason };
}

/** Whether the record is what the caller believes. An address that no workload has needs no application type. */
function isOwnedBy(owner: Owner, expected: ExpectedOwner): boolean {
  const { namespace, appName, podName, poolName } = expected;
  const appType = expected.appType ?? "statefulset";
  switch (owner.kind) {
    case "pod": {
      const isPod =
        owner.pod.namespace === namespace &&
        owner.pod.name === podName &&
        (owner.pool ?? "") === poolName;
      if (owner.workload === undefined) return isPod && (appName === "" || appName === "NULL");
      return isPod && owner.workload.name === appName && owner.workload.kind === appType;
    }
    case "workload":
      return (
        owner.workload.namespace === namespace &&
        owner.workload.name === appName &&
        owner.workload.kind === appType &&
        podName === "" &&
        poolName === ""
      );
    case "pool":
      return owner.pool === poolName && namespace === "" && appName === "" && podName === "";
    case "admin":
    case "foreign":
      return false;
    default:
      return owner satisfies never;
  }
}
