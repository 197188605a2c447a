// What binding a pod to a node does to addresses: which it gets, which it had and does not need any more. Pure.

import type { Allocation } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import type { PlannedAddress, PodContext, Refusal } from "./decide-filter.ts";
import { ownAllocations, planForZone, refusalOf } from "./decide-filter.ts";
import type { Zone } from "./subnets.ts";

/** `no address`: the node cannot give the pod what it asks for; `message` says why. */
export type BindDecision =
  | {
      readonly kind: "take";
      readonly addresses: readonly PlannedAddress[];
      /** Addresses of the pod that it does not ask for any more; to be released once the others are taken. */
      readonly surplus: readonly Allocation[];
    }
  | Refusal
  | { readonly kind: "no address"; readonly message: string };

/** Decides what the pod gets on a node of the zone. The facts are those of filter; the pod's hold is preferred. */
export function decideBind(context: PodContext, view: AllocationView, zone: Zone): BindDecision {
  const refusal = refusalOf(context, view);
  if (refusal !== undefined) return refusal;
  const plan = planForZone(context, view, zone);
  if (plan.kind === "none" && plan.because !== undefined) {
    return { kind: "refused", because: plan.because, message: plan.message };
  }
  if (plan.kind === "none") {
    return { kind: "no address", message: `no enough available ips left: ${plan.message}` };
  }
  const taken = new Set(plan.addresses.map((address) => address.ip));
  return {
    kind: "take",
    addresses: plan.addresses,
    surplus: ownAllocations(context, view).filter((allocation) => !taken.has(allocation.ip)),
  };
}
