// What pods claim, as far as the cluster shows it now. Reading annotations is the adapter's affair; judging claims is core's.

import type { Ip } from "../core/ip.ts";
import type { PodId } from "../core/owner.ts";
import type { ForbiddenRange, VipClaimantFacts, VipPool } from "../core/vip-holder.ts";
import type { ObjectRef } from "./event-recorder.ts";

/** A pod's claim of one address: what {@link VipClaimantFacts} needs of pods and nodes. */
export type VipClaim = Omit<VipClaimantFacts, "session" | "holdsSibling" | "heldDownUntilMs"> & {
  /** All addresses of the same annotation, this one included. */
  readonly siblings: readonly Ip[];
  /** What the pod's condition says of its holding addresses; undefined: it has none. */
  readonly told: HolderCondition | undefined;
};

/** The condition `vip.galaxy.k8s.io/Holder` of a pod; `reason` is a CamelCase word. */
export type HolderCondition = {
  readonly isHolder: boolean;
  readonly reason: string;
  readonly message: string;
};

/** Something that somebody wrote and that does not count; the message names object, value and remedy. */
export type VipComplaint = {
  readonly about: ObjectRef;
  readonly reason: string;
  readonly message: string;
};

/** Tells pods whether they hold their addresses. */
export interface PodConditions {
  /** Writes the condition of this very pod; `gone`: it is not there any more. Rejections are WorldErrors. */
  tell(
    pod: { readonly id: PodId; readonly uid: string },
    condition: HolderCondition,
  ): Promise<"told" | "gone">;
}

/** Claims, pools and what may never be claimed, as last seen. */
export interface VipClaims {
  /** Every address that some pod claims. */
  claimedIps(): readonly Ip[];
  claimsOf(ip: Ip): readonly VipClaim[];
  /** The addresses that a pod claims. */
  ipsOf(pod: PodId): readonly Ip[];
  pools(): readonly VipPool[];
  forbidden(): readonly ForbiddenRange[];
  /** Annotations that cannot be read or stand where they have no effect, and pools that cannot be used. */
  complaints(): readonly VipComplaint[];
  /** Calls `listener` with every address whose claims, pools or nodes may have changed. @returns a function that stops it */
  watch(listener: (ip: Ip) => void): () => void;
}
