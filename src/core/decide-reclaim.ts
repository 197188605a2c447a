// What becomes of an address when its pod or workload changes: keep, reserve or release, with the reason. Pure.
// The table of spec float-ip section 5, one function for events, resync and start.

import { addressLimitOf } from "./address-limit.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import type { PodFacts, WorkloadState } from "./facts.ts";
import { podIsFinished } from "./facts.ts";
import type { Owner, WorkloadRef } from "./owner.ts";
import { ordinalOf, podsAreInterchangeable } from "./owner.ts";

/** What is known of the pod of that name. `gone` is confirmed with the source of truth; an error makes it `unknown`. */
export type PodState =
  | { readonly kind: "present"; readonly pod: PodFacts }
  | { readonly kind: "gone" }
  | { readonly kind: "unknown" };

/** The facts of one address. */
export type ReclaimFacts = {
  readonly allocation: Allocation;
  readonly pod: PodState;
  /** State of the owner's workload; `gone` is confirmed. For an owner without workload `gone`. */
  readonly workload: WorkloadState;
  /** Addresses of the workload of the same family that are not being released, this one included. */
  readonly ownedCount: number;
  /** The address lies in a range of the configuration in force. */
  readonly isConfigured: boolean;
  /**
   * The pod that the record names runs with other addresses, and that is certain: this one was left over, for example by a bind that
   * another one overtook.
   */
  readonly isLeftOver?: boolean;
};

/** The outcome with its reason; the reason is what events, logs and the API show. */
export type ReclaimDecision =
  | { readonly do: "keep"; readonly because: KeepReason }
  /** The record names another uid or node than the pod that really has the address. */
  | { readonly do: "adopt"; readonly because: "pod carries the address"; readonly pod: PodFacts }
  | { readonly do: "reserve"; readonly owner: Owner; readonly because: ReserveReason }
  | { readonly do: "release"; readonly because: ReleaseReason };

/** Why nothing changes. */
export type KeepReason =
  | "pod is alive"
  | "pod state unknown"
  | "workload state unknown"
  | "reserved by the administrator"
  | "key not understood"
  | "policy never"
  | "ordinal below replicas"
  | "within replicas"
  | "kept for the pool";

/** Why an address is kept for later. */
export type ReserveReason = "policy never" | "ordinal below replicas" | "within replicas";

/** Why an address becomes free. */
export type ReleaseReason =
  | "policy pod-delete"
  | "workload gone"
  | "scaled down"
  | "outside the configuration"
  | "policy not supported"
  | "pod runs with other addresses";

/** Whether deciding about the address needs the state of its workload. */
export function needsWorkload(allocation: Allocation): boolean {
  return (
    allocation.policy === "immutable" &&
    (allocation.owner.kind === "pod" || allocation.owner.kind === "workload")
  );
}

/** Decides what becomes of an address. */
export function decideReclaim(facts: ReclaimFacts): ReclaimDecision {
  const { allocation, isConfigured } = facts;
  const { owner } = allocation;
  switch (owner.kind) {
    case "admin":
      return { do: "keep", because: "reserved by the administrator" };
    case "foreign":
      return { do: "keep", because: "key not understood" };
    case "pool":
      return isConfigured
        ? { do: "keep", because: "kept for the pool" }
        : { do: "release", because: "outside the configuration" };
    case "workload":
      if (!isConfigured) return { do: "release", because: "outside the configuration" };
      return withoutPod(facts, owner.workload, undefined);
    case "pod":
      return decidePodAddress(facts, owner);
    default:
      return owner satisfies never;
  }
}

function decidePodAddress(
  facts: ReclaimFacts,
  owner: Extract<Owner, { kind: "pod" }>,
): ReclaimDecision {
  const { allocation, pod, isConfigured } = facts;
  if (pod.kind === "unknown") return { do: "keep", because: "pod state unknown" };
  if (pod.kind === "present" && !podIsFinished(pod.pod)) {
    if (allocation.podUid === pod.pod.uid) {
      if (facts.isLeftOver === true) return withoutItsPod(facts, owner);
      const runsElsewhere =
        pod.pod.nodeName !== "" &&
        pod.pod.nodeName !== allocation.nodeName &&
        pod.pod.assignedIps.includes(allocation.ip);
      return runsElsewhere
        ? { do: "adopt", because: "pod carries the address", pod: pod.pod }
        : { do: "keep", because: "pod is alive" };
    }
    if (pod.pod.assignedIps.includes(allocation.ip)) {
      return { do: "adopt", because: "pod carries the address", pod: pod.pod };
    }
    // Kept for the name of a pod that is on its way: its bind takes it.
    if (!isBound(allocation) && pod.pod.nodeName === "" && pod.pod.wantsAddress) {
      return isConfigured
        ? { do: "keep", because: "pod is alive" }
        : { do: "release", because: "outside the configuration" };
    }
  }
  if (!isConfigured) return { do: "release", because: "outside the configuration" };
  return withoutPod(facts, owner.workload, owner);
}

/**
 * Whether the name of the pod had another address later than this one. A write that arrived late left this one: reserved now, it must not pass
 * for the address that the name had last.
 */
export function isOvertaken({ ip, owner, updatedAtMs }: Allocation, view: AllocationView): boolean {
  if (owner.kind !== "pod") return false;
  return view.ofPod(owner.pod).some((other) => other.ip !== ip && other.updatedAtMs > updatedAtMs);
}

/**
 * Where an address that a living pod does not have after all goes back to, because its policy keeps addresses there: the pool, or the workload
 * whose pods are interchangeable. Undefined: nowhere, it was the pod's alone.
 */
export function keeperOf(
  { owner, policy }: Allocation,
  isConfigured: boolean,
): Extract<Owner, { kind: "pool" | "workload" }> | undefined {
  if (owner.kind !== "pod" || !isConfigured || policy === "pod-delete") return undefined;
  const { pool, workload } = owner;
  if (pool !== undefined) return { kind: "pool", pool };
  return workload !== undefined && podsAreInterchangeable(workload)
    ? { kind: "workload", workload }
    : undefined;
}

function withoutItsPod(
  facts: ReclaimFacts,
  owner: Extract<Owner, { kind: "pod" }>,
): ReclaimDecision {
  const keeper = keeperOf(facts.allocation, facts.isConfigured);
  if (keeper?.kind === "pool") return { do: "reserve", owner: keeper, because: "policy never" };
  if (keeper !== undefined) return withoutPod(facts, keeper.workload, owner);
  return { do: "release", because: "pod runs with other addresses" };
}

/** The rows of the table for an address that no pod has (any more). */
function withoutPod(
  { allocation, workload, ownedCount }: ReclaimFacts,
  ref: WorkloadRef | undefined,
  podOwner: Extract<Owner, { kind: "pod" }> | undefined,
): ReclaimDecision {
  const { policy } = allocation;
  const isReserved = !isBound(allocation);
  const keepOrReserve = (because: ReserveReason, owner: Owner): ReclaimDecision =>
    isReserved && owner === allocation.owner
      ? { do: "keep", because }
      : { do: "reserve", because, owner };
  if (policy === "pod-delete") return { do: "release", because: "policy pod-delete" };
  if (ref !== undefined && podsAreInterchangeable(ref)) {
    if (policy === "never") {
      return keepOrReserve("policy never", ownerWithoutPod(allocation.owner, ref));
    }
    if (workload.kind === "unknown") return { do: "keep", because: "workload state unknown" };
    if (workload.kind === "gone") return { do: "release", because: "workload gone" };
    const limit = addressLimitOf(workload);
    return limit === 0 || ownedCount > limit
      ? { do: "release", because: "scaled down" }
      : keepOrReserve("within replicas", ownerWithoutPod(allocation.owner, ref));
  }
  // From here on addresses belong to pod names; an address reserved for a workload as a whole cannot be of this kind.
  if (podOwner === undefined) return { do: "release", because: "policy not supported" };
  const ordinal = ordinalOf(podOwner.pod.name);
  if (ordinal === undefined) return { do: "release", because: "policy not supported" };
  if (policy === "never") return keepOrReserve("policy never", allocation.owner);
  if (ref === undefined) return { do: "release", because: "policy not supported" };
  if (workload.kind === "unknown") return { do: "keep", because: "workload state unknown" };
  if (workload.kind === "gone") return { do: "release", because: "workload gone" };
  if (workload.replicas === undefined) return { do: "release", because: "policy not supported" };
  const isWanted =
    ordinal >= workload.firstOrdinal && ordinal < workload.firstOrdinal + workload.replicas;
  return isWanted
    ? keepOrReserve("ordinal below replicas", allocation.owner)
    : { do: "release", because: "scaled down" };
}

/** A reserved address of interchangeable pods belongs to the pool when there is one, else to the workload. */
function ownerWithoutPod(owner: Owner, workload: WorkloadRef): Owner {
  if (owner.kind === "workload" || owner.kind === "pool") return owner;
  return owner.kind === "pod" && owner.pool !== undefined
    ? { kind: "pool", pool: owner.pool }
    : { kind: "workload", workload };
}
