// What becomes of an address whose record named a pod until somebody else changed the record: a Binding with the address may still be under
// way to the pod, and then the pod has it whatever the record says. Pure.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { PodState } from "./decide-reclaim.ts";
import type { PodFacts } from "./facts.ts";
import { podIsFinished } from "./facts.ts";

/** The facts of one address and the pod that its record named. */
export type FormerFacts = {
  /** The record as it was when it named the pod. */
  readonly former: Allocation;
  /** The pod of that name now. */
  readonly pod: PodState;
  /** The record now; undefined when there is none. */
  readonly existing: Allocation | undefined;
  /** The pod that the record names now; `gone` when it names none. */
  readonly holder: PodState;
  /** So much time has passed since the change that no Binding of before can be under way any more. */
  readonly isOld: boolean;
};

/**
 * - `forget`: the pod will not get the address by that Binding any more, or the record names it again
 * - `wait`: it may still, and nobody else gets the address meanwhile; the record is left alone
 * - `give back`: the same, and the record is written back to the pod
 */
export type FormerDecision =
  | { readonly do: "forget" }
  | { readonly do: "wait" }
  | { readonly do: "give back"; readonly pod: PodFacts; readonly nodeName: string };

/**
 * Decides what to do. An edited record is treated like a deleted one: as long as its pod lives, and is bound with no other address, the address
 * is the pod's. To give it to somebody else one deletes the pod. An administrator's record is never written over, and one of a pod that runs
 * with the address itself is left to people. When the record names another pod that waits too, either may be the one with the Binding under
 * way: neither is bound with it until that is certain, and then the record is right.
 */
export function decideFormer(facts: FormerFacts): FormerDecision {
  const { former, pod, existing, holder, isOld } = facts;
  const { ip, podUid } = former;
  if (pod.kind === "unknown" || holder.kind === "unknown") return { do: "wait" };
  if (pod.kind === "gone" || pod.pod.uid !== podUid || podIsFinished(pod.pod)) {
    return { do: "forget" };
  }
  const { nodeName, assignedIps } = pod.pod;
  if (nodeName !== "" && !assignedIps.includes(ip)) return { do: "forget" };
  if (existing !== undefined) {
    const { owner } = existing;
    if (owner.kind === "admin" || owner.kind === "foreign") return { do: "wait" };
    if (isBound(existing) && existing.podUid === podUid) return { do: "forget" };
    if (isBound(existing) && isCarriedBy(existing, holder)) return { do: "forget" };
    if (nodeName === "" && isWaiting(existing, holder)) return { do: isOld ? "forget" : "wait" };
  }
  return { do: "give back", pod: pod.pod, nodeName: nodeName === "" ? former.nodeName : nodeName };
}

function isWaiting({ podUid }: Allocation, holder: PodState): boolean {
  return (
    holder.kind === "present" &&
    holder.pod.uid === podUid &&
    holder.pod.nodeName === "" &&
    !podIsFinished(holder.pod)
  );
}

function isCarriedBy({ ip, podUid }: Allocation, holder: PodState): boolean {
  return (
    holder.kind === "present" &&
    holder.pod.uid === podUid &&
    !podIsFinished(holder.pod) &&
    holder.pod.assignedIps.includes(ip)
  );
}
