// Whether a pod may have addresses at all, and which ones on the nodes of a zone. Pure: the answer follows from the facts and the view.

import { addressLimitOf } from "./address-limit.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import type { AddressRequest, PodFacts, PoolFacts, WorkloadState } from "./facts.ts";
import type { Ip } from "./ip.ts";
import { familyOf, ipToNumber } from "./ip.ts";
import type { Owner, WorkloadRef } from "./owner.ts";
import { ordinalOf, podIdText, podsAreInterchangeable, sameOwner } from "./owner.ts";
import type { Picked, Slot, Tier } from "./pick.ts";
import { bestServing, pickAddresses, slotAccepts, slotsOf } from "./pick.ts";
import { countPoolAddresses } from "./pool-count.ts";
import type { QuotaFacts } from "./quota.ts";
import { namespaceUse, newCountOf } from "./quota.ts";
import type { PodSubnet, Zone } from "./subnets.ts";
import { describeSubnet } from "./subnets.ts";

/** Everything that decides about a pod's addresses besides the address space itself. */
export type PodContext = {
  readonly pod: PodFacts;
  readonly workload: WorkloadRef | undefined;
  /** State of `workload`; for a pod without one `gone`. */
  readonly workloadState: WorkloadState;
  /** The Pool object in force for the pod's pool. */
  readonly poolObject: PoolFacts | undefined;
  /** The quota in force for the pod's namespace; absent: it may have as many addresses as there are. */
  readonly quota?: QuotaFacts | undefined;
};

/** Why a pod is refused on every node. */
export type Refusal = {
  readonly kind: "refused";
  readonly because:
    | "annotation"
    | "policy unsupported"
    | "workload unknown"
    | "replicas reached"
    | "pool size reached"
    | "quota reached"
    | "ranges with policy";
  readonly message: string;
};

/** Where an address of a plan comes from. */
export type PlanSource = "own" | "held" | "reserved" | "free";

/** An address for a slot of the pod. */
export type PlannedAddress = { readonly ip: Ip; readonly from: PlanSource };

/** The addresses on nodes of one zone, or why there are none. */
export type ZonePlan =
  | { readonly kind: "plan"; readonly addresses: readonly PlannedAddress[] }
  | { readonly kind: "none"; readonly message: string; readonly because?: "quota reached" };

/** The owner that a bound address of the pod has. */
export function ownerOfPod(context: PodContext): Owner {
  return {
    kind: "pod",
    pod: context.pod.id,
    workload: context.workload,
    pool: context.pod.pool,
  };
}

/**
 * The addresses that are the pod's already: bound to its uid, or kept for its name under the same owner; of those kept the one used last
 * comes first, because a write that arrived late may have left another. One that an earlier pod of the name has still, and that goes with
 * that pod, is none of them: it is released before this pod is bound. Nor is one that is being released, or that may be in a pod of another
 * name, whatever the record says.
 */
export function ownAllocations(context: PodContext, view: AllocationView): readonly Allocation[] {
  const owner = ownerOfPod(context);
  return view
    .ofPod(context.pod.id)
    .filter(({ ip }) => view.phaseOf(ip) !== "leaving")
    .filter((allocation) =>
      allocation.podUid === context.pod.uid
        ? !isKeptForAnother(allocation, view)
        : sameOwner(allocation.owner, owner) && !goesWithItsPod(allocation),
    )
    .toSorted(
      (a, b) =>
        Number(b.podUid === context.pod.uid) - Number(a.podUid === context.pod.uid) ||
        b.updatedAtMs - a.updatedAtMs,
    );
}

/** What may be in an earlier pod of the name is the name's: bind asks whether that pod is gone, and until then the pod gets no other address. */
function isKeptForAnother(allocation: Allocation, view: AllocationView): boolean {
  const { ip, podUid } = allocation;
  if (isKeptForName(allocation, view)) return false;
  const holder = view.heldBy(ip);
  return holder !== undefined && holder !== podUid;
}

/** Whether the address may be in an earlier pod of the name that its record has. */
export function isKeptForName({ ip, owner }: Allocation, view: AllocationView): boolean {
  const pod = view.keptFor(ip)?.pod;
  return pod !== undefined && owner.kind === "pod" && podIdText(pod) === podIdText(owner.pod);
}

function goesWithItsPod(allocation: Allocation): boolean {
  return isBound(allocation) && allocation.policy === "pod-delete";
}

/**
 * Whether the pod may have addresses: annotations, policy against workload, replicas, size of the pool
 * (spec float-ip section 4, filter 2 and 3).
 * @returns undefined when it may
 */
export function refusalOf(context: PodContext, view: AllocationView): Refusal | undefined {
  const { pod } = context;
  if (pod.problems.length > 0) {
    return refused("annotation", `pod ${podIdText(pod.id)}: ${pod.problems.join("; ")}`);
  }
  return (
    rangesRefusal(context) ??
    (ownAllocations(context, view).length > 0
      ? undefined
      : (policyRefusal(context) ?? limitRefusal(context, view)))
  );
}

function refused(because: Refusal["because"], message: string): Refusal {
  return { kind: "refused", because, message };
}

function rangesRefusal({ pod, workload }: PodContext): Refusal | undefined {
  if (pod.request.kind !== "ranges" || pod.policy === "pod-delete") return undefined;
  if (!podsAreInterchangeable(workload)) return undefined;
  return refused(
    "ranges with policy",
    `pod ${podIdText(pod.id)}: request ip ranges for deployment pod with release policy other than ` +
      `ReleasePolicyPodDelete is not supported (policy ${pod.policy}); remove request_ip_range, or the ` +
      "release policy and the pool",
  );
}

function policyRefusal({ pod, workload, workloadState }: PodContext): Refusal | undefined {
  if (pod.policy === "pod-delete") return undefined;
  const isBuiltIn = workload !== undefined && workload.type !== "custom";
  if (isBuiltIn) return undefined;
  const established = `release policy ${pod.policy} is not supported for pod ${pod.id.name}`;
  if (ordinalOf(pod.id.name) === undefined && !pod.id.name.endsWith("-")) {
    return refused(
      "policy unsupported",
      `${established}: pod name doesn't match '.*-[0-9]*$', assume its parent is not a stateful workload ` +
        `(pod ${podIdText(pod.id)}); use a Deployment or StatefulSet, or remove the annotation ` +
        "k8s.v1.cni.galaxy.io/release-policy",
    );
  }
  if (pod.policy === "never") return undefined;
  if (workload === undefined || workloadState.kind === "gone") {
    return refused(
      "policy unsupported",
      `${established}: parent workload has no replicas (pod ${podIdText(pod.id)} has ` +
        `${workload === undefined ? "no controller" : `a controller ${describeWorkload(workload)} that does not exist`}); ` +
        "use policy never, or none",
    );
  }
  if (workloadState.kind === "unknown") return unknownWorkload(workload, workloadState.reason);
  if (workloadState.replicas === undefined) {
    return refused(
      "policy unsupported",
      `${established}: parent workload has no replicas (the CustomResourceDefinition of ${describeWorkload(workload)} ` +
        "has no scale subresource with specReplicasPath in a served version); add it, or use policy never",
    );
  }
  return undefined;
}

function unknownWorkload(workload: WorkloadRef, reason: string): Refusal {
  return refused(
    "workload unknown",
    `${describeWorkload(workload)} cannot be read now (${reason}); the pod is tried again`,
  );
}

function limitRefusal(context: PodContext, view: AllocationView): Refusal | undefined {
  const { pod, workload, workloadState, poolObject } = context;
  if (pod.policy === "pod-delete") return undefined;
  if (pod.pool !== undefined && poolObject?.size !== undefined) {
    const { addressCount: used } = usersOf(
      context,
      view,
      view.ofPool(pod.pool),
      (hold) => hold.pool === pod.pool,
    );
    if (used < poolObject.size) return undefined;
    return refused(
      "pool size reached",
      `reached pool ${pod.pool} size limit of ${poolObject.size} (${used} in use); enlarge the Pool ` +
        "or wait until a pod of it is gone",
    );
  }
  if (workload === undefined || !podsAreInterchangeable(workload)) return undefined;
  if (workloadState.kind === "unknown") return unknownWorkload(workload, workloadState.reason);
  if (workloadState.kind === "gone") {
    return refused(
      "workload unknown",
      `${describeWorkload(workload)} does not exist (yet), so that the number of its addresses is not known; ` +
        "the pod is tried again",
    );
  }
  const replicas = workloadState.replicas ?? 1;
  const limit = addressLimitOf(workloadState);
  const { podCount, addressCount } = usersOf(context, view, view.ofWorkload(workload), (hold) =>
    sameWorkloadRef(hold.workload, workload),
  );
  if (podCount < limit) return undefined;
  const deadlock = workloadState.rolloutDeadlock;
  return refused(
    "replicas reached",
    `${workload.type} ${workload.name} has allocated ${addressCount} ips with replicas of ${replicas}${limit > replicas ? ` and ${limit - replicas} more for rolling updates` : ""}, wait for releasing` +
      (deadlock === undefined ? "" : `; ${deadlock}`),
  );
}

/**
 * Pods other than this one that use addresses, with how many. Holds count: they are promised. What this pod is promised was counted against
 * the limit already: a pod of another policy, which asks for no limit, may have come since and takes nothing of that.
 */
function usersOf(
  { pod }: PodContext,
  view: AllocationView,
  allocations: readonly Allocation[],
  holdCounts: (hold: {
    readonly workload: WorkloadRef | undefined;
    readonly pool: string | undefined;
  }) => boolean,
): { readonly podCount: number; readonly addressCount: number } {
  const uids = new Set<string>();
  let addressCount = 0;
  const isPromised = view.holdOf(pod.uid) !== undefined;
  for (const allocation of allocations) {
    if (!isBound(allocation) || allocation.podUid === pod.uid) continue;
    if (isPromised && allocation.policy === "pod-delete") continue;
    if (allocation.owner.kind !== "pod" || allocation.owner.pool !== pod.pool) continue;
    if (view.phaseOf(allocation.ip) === "leaving") continue;
    uids.add(allocation.podUid);
    addressCount += 1;
  }
  for (const hold of view.holds()) {
    if (hold.podUid === pod.uid || hold.pool !== pod.pool || !holdCounts(hold)) continue;
    if (uids.has(hold.podUid)) continue;
    uids.add(hold.podUid);
    addressCount += mostAddressesOf(hold.byZone);
  }
  return { podCount: uids.size, addressCount };
}

function mostAddressesOf(byZone: ReadonlyMap<string, readonly Ip[]>): number {
  let most = 0;
  for (const ips of byZone.values()) most = Math.max(most, ips.length);
  return most;
}

function sameWorkloadRef(a: WorkloadRef | undefined, b: WorkloadRef): boolean {
  return (
    a !== undefined &&
    a.type === b.type &&
    a.kind === b.kind &&
    a.namespace === b.namespace &&
    a.name === b.name
  );
}

/**
 * The addresses for the pod on nodes of one zone, all or none: its own ones, then those held for it there, then reserved ones of
 * its workload or pool (most recently reserved first), then free ones in the order of use.
 */
export function planForZone(context: PodContext, view: AllocationView, zone: Zone): ZonePlan {
  const { topology } = view;
  const { pod } = context;
  const subnets = zone.subnetIndexes.map((index) => topology.subnets[index] as PodSubnet);
  // What the configuration does not list any more stays with this pod, but does not go to the next one of its name.
  const own = ownAllocations(context, view).filter(
    (allocation) => allocation.podUid === pod.uid || topology.isConfigured(allocation.ip),
  );
  const slots = slotsOnNodes(pod.request, subnets, own);
  if (slots.length === 0) {
    return none(
      `the node's pod subnets (${subnets.map(describeSubnet).join(", ")}) have no address of the families that ` +
        `pod ${podIdText(pod.id)} asks for in k8s.v1.cni.galaxy.io/ip-families`,
    );
  }
  const ownTier = offer(own.filter((allocation) => topology.zoneMayUse(zone, allocation.ip)));
  // An address that the pod has and still asks for pins it: it must not be traded for one of another subnet, nor for one that a late write
  // left to its name.
  const wanted = bestServing(slots, [offer(own)]);
  if (!wanted.every((ip) => topology.zoneMayUse(zone, ip))) {
    return none(
      `pod ${podIdText(pod.id)} has ${wanted.join(", ")}, which nodes of ` +
        `${subnets.map(describeSubnet).join(", ")} may not use`,
    );
  }
  const held = view.holdOf(pod.uid)?.byZone.get(zone.id) ?? [];
  // A record that appeared meanwhile (an operator's, an adopted pod's) takes its address out of the promise.
  const isStillHeld = (ip: Ip): boolean => view.heldBy(ip) === pod.uid && isOpen(view, ip, pod.uid);
  const heldTier: Tier = (slot, limit) =>
    held.filter((ip) => slotAccepts(slot, ip) && isStillHeld(ip)).slice(0, limit);
  const reserved = reservedFor(context, view).filter((allocation) =>
    zone.subnetIndexes.includes(topology.subnetIndexOf(ipToNumber(allocation.ip))),
  );
  const freeTier: Tier = (slot, limit) => view.freeFor(slot, zone.subnetIndexes, limit);
  const tiers = [ownTier, heldTier, offer(reserved)];
  const picked = pickAddresses(slots, [...tiers, freeTier]);
  if (picked === undefined) return none(noneLeftMessage(context, view, slots, zone));
  const newCount = picked.filter(
    (choice) => choice.tier === 3 || (choice.tier === 1 && view.get(choice.ip) === undefined),
  ).length;
  // A pool that was made smaller than what its pods have takes none of that away.
  if (newCount > 0 && newCount > roomForNew(context, view)) {
    return none(noRoomMessage(context, view));
  }
  const pickedIps = picked.map(({ ip }) => ip);
  const overQuota = quotaMessage(context, view, pickedIps);
  if (overQuota !== undefined) {
    return { kind: "none", message: overQuota, because: "quota reached" };
  }
  return { kind: "plan", addresses: picked.map((choice) => planned(choice, view)) };
}

/**
 * The slots of a pod on nodes with these pod subnets. Families of addresses that it has count as if the nodes had them, and an address of the
 * one family that it has is its default: a subnet of another family that came or went since is no reason to lose an address.
 */
function slotsOnNodes(
  request: AddressRequest,
  subnets: readonly PodSubnet[],
  own: readonly Allocation[],
): readonly Slot[] {
  const ownFamilies = new Set(own.map((allocation) => familyOf(allocation.ip)));
  const isOpen = request.kind === "families" && request.families === undefined;
  if (isOpen && ownFamilies.size > 0) return slotsOf(request, ownFamilies);
  return slotsOf(request, new Set([...subnets.map((subnet) => subnet.family), ...ownFamilies]));
}

const sources: readonly PlanSource[] = ["own", "held", "reserved", "free"];

function planned(choice: Picked, view: AllocationView): PlannedAddress {
  const from = sources[choice.tier] as PlanSource;
  if (from === "held")
    return { ip: choice.ip, from: view.get(choice.ip) === undefined ? "free" : "reserved" };
  return { ip: choice.ip, from };
}

function none(message: string): ZonePlan {
  return { kind: "none", message };
}

function offer(allocations: readonly Allocation[]): Tier {
  return (slot, limit) =>
    allocations
      .filter((allocation) => slotAccepts(slot, allocation.ip))
      .slice(0, limit)
      .map((allocation) => allocation.ip);
}

/** Not promised to another pod, and nothing is being done with it. */
function isOpen(view: AllocationView, ip: Ip, podUid: string): boolean {
  const holder = view.heldBy(ip);
  const phase = view.phaseOf(ip);
  return (holder === undefined || holder === podUid) && (phase === undefined || phase === "idle");
}

/** Reserved addresses that any pod of the workload or pool may use, most recently reserved first. */
function reservedFor(context: PodContext, view: AllocationView): readonly Allocation[] {
  const { pod, workload } = context;
  const all =
    pod.pool !== undefined
      ? view.ofPool(pod.pool)
      : pod.policy !== "pod-delete" && workload !== undefined && podsAreInterchangeable(workload)
        ? view.ofWorkload(workload)
        : [];
  return all
    .filter(
      (allocation) =>
        (allocation.owner.kind === "pool" || allocation.owner.kind === "workload") &&
        isOpen(view, allocation.ip, pod.uid),
    )
    .sort((a, b) => b.updatedAtMs - a.updatedAtMs || (a.ip < b.ip ? -1 : 1));
}

/**
 * Why the pod may not have these addresses: its namespace would have more than its quota. Addresses that the namespace has already, reserved
 * ones too, cost nothing, so that a quota that was lowered takes nothing away.
 * @returns undefined when it may
 */
function quotaMessage(
  { pod, quota }: PodContext,
  view: AllocationView,
  ips: readonly Ip[],
): string | undefined {
  if (quota === undefined) return undefined;
  const { namespace } = pod.id;
  const newCount = newCountOf(ips, namespace, view);
  if (newCount === 0) return undefined;
  const { recordedCount, promisedCount } = namespaceUse(namespace, view, pod.uid);
  if (recordedCount + promisedCount + newCount <= quota.limit) return undefined;
  const promised =
    promisedCount === 0 ? "" : ` and ${promisedCount} promised to pods being scheduled`;
  return (
    `namespace ${namespace} reached its quota: FloatingIPQuota ${quota.name} allows ${quota.limit} addresses, ` +
    `${recordedCount} are used or reserved${promised}, and pod ${podIdText(pod.id)} needs ${newCount} more; ` +
    "raise spec.limit, or release reserved addresses of the namespace that nobody needs (galaxyctl ip idle)"
  );
}

/** How many addresses may be added to the pool of the pod; without a sized pool there is no such limit. */
function roomForNew(context: PodContext, view: AllocationView): number {
  const { pod, poolObject } = context;
  if (pod.pool === undefined || poolObject?.size === undefined) return Number.POSITIVE_INFINITY;
  return poolObject.size - countPoolAddresses(pod.pool, view, pod.uid);
}

function noRoomMessage(context: PodContext, view: AllocationView): string {
  const { pod, poolObject } = context;
  const unused = reservedFor(context, view).map((allocation) => allocation.ip);
  return (
    `pool ${pod.pool} has its ${poolObject?.size} addresses` +
    (unused.length > 0
      ? `, and the unused ones (${listSome(unused)}) may not be used on this node`
      : "") +
    "; enlarge the Pool or release an address"
  );
}

function noneLeftMessage(
  context: PodContext,
  view: AllocationView,
  slots: readonly Slot[],
  zone: Zone,
): string {
  const usages = zone.subnetIndexes.map((index) => view.usageOf(index));
  const facts = usages.map(({ subnet, total, free, held }) => {
    const promised = held === 0 ? "" : `, ${held} promised to pods being scheduled`;
    return `${describeSubnet(subnet)} (${total - free - held} of ${total} in use${promised})`;
  });
  const wait = usages.some(({ held }) => held > 0) ? "wait for those pods, " : "";
  const where = `for this node in pod subnet ${facts.join(", ")}`;
  if (context.pod.request.kind !== "ranges") {
    return `no free address ${where}; ${wait}free some or extend "ips"`;
  }
  const what =
    slots.length === 1 ? "no free address" : `no ${slots.length} different free addresses`;
  return `${what} in the ranges of request_ip_range ${where}; ${wait}free some of those or widen the ranges`;
}

function listSome(ips: readonly Ip[]): string {
  return ips.length <= 3
    ? ips.join(", ")
    : `${ips.slice(0, 3).join(", ")} and ${ips.length - 3} more`;
}

/** How messages name a workload. */
export function describeWorkload(workload: WorkloadRef): string {
  return `${workload.kind} ${workload.namespace}/${workload.name}`;
}

/** What filter answers: a refusal on every node, or a plan or a reason for each zone, keyed by {@link Zone.id}. */
export type FilterDecision =
  | Refusal
  | { readonly kind: "zones"; readonly plans: ReadonlyMap<string, ZonePlan> };

/**
 * Decides on which zones the pod can get its addresses. Zones where only worse choices are left are refused with the reason: reserved
 * addresses come before free ones, the most recently reserved one first and in one zone only, and an address released after `youngSinceMs` only when no other zone has an older one.
 */
export function decideFilter(
  context: PodContext,
  view: AllocationView,
  zones: Iterable<Zone>,
  youngSinceMs: number,
): FilterDecision {
  const refusal = refusalOf(context, view);
  if (refusal !== undefined) return refusal;
  const plans = new Map<string, ZonePlan>();
  for (const zone of zones) plans.set(zone.id, planForZone(context, view, zone));
  const overQuota = quotaRefusal([...plans.values()]);
  if (overQuota !== undefined) return overQuota;
  const reserved = reservedFor(context, view);
  const reservedFirst = () =>
    `the reserved addresses ${listSome(reserved.map(({ ip }) => ip))} are used first, on other nodes`;
  preferZones(
    plans,
    (addresses) => -addresses.filter(({ from }) => from === "reserved").length,
    reservedFirst,
  );
  // A promise of one reserved address per zone would leave none for the next pod, which would get a new address.
  const first = reserved.find(({ ip }) => [...plans.values()].some((plan) => uses(plan, ip)));
  if (first !== undefined) {
    preferZones(
      plans,
      (addresses) => (addresses.some(({ ip }) => ip === first.ip) ? 0 : 1),
      reservedFirst,
    );
  }
  preferZones(
    plans,
    (addresses) =>
      addresses.filter(
        ({ ip }) => (view.releasedAtMs(ip) ?? Number.NEGATIVE_INFINITY) > youngSinceMs,
      ).length,
    () =>
      "its free addresses were released a moment ago (--reuse-delay), other nodes have older ones",
  );
  return { kind: "zones", plans };
}

/** No zone has anything for the pod, and the quota is a reason: that is what an operator has to hear. */
function quotaRefusal(plans: readonly ZonePlan[]): Refusal | undefined {
  if (plans.some(({ kind }) => kind === "plan")) return undefined;
  for (const plan of plans) {
    if (plan.kind === "none" && plan.because === "quota reached") {
      return refused("quota reached", plan.message);
    }
  }
  return undefined;
}

function uses(plan: ZonePlan, ip: Ip): boolean {
  return plan.kind === "plan" && plan.addresses.some((address) => address.ip === ip);
}

/** Turns plans whose cost is not the lowest into reasons. */
function preferZones(
  plans: Map<string, ZonePlan>,
  costOf: (addresses: readonly PlannedAddress[]) => number,
  reason: () => string,
): void {
  let lowest = Number.POSITIVE_INFINITY;
  for (const plan of plans.values()) {
    if (plan.kind === "plan") lowest = Math.min(lowest, costOf(plan.addresses));
  }
  for (const [id, plan] of plans) {
    if (plan.kind === "plan" && costOf(plan.addresses) > lowest) plans.set(id, none(reason()));
  }
}
