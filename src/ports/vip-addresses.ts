// The address space as virtual addresses see it: one of them must never be a pod's own address too.

import type { Ip } from "../core/ip.ts";

/**
 * - `in use`: it belongs to somebody else; `by` says to whom in words
 * - `busy`: it is being changed, ask again
 * - `not yet`: nothing is known of the address space yet, ask again
 */
export type KeepOutcome =
  | { readonly kind: "kept" }
  | { readonly kind: "in use"; readonly by: string }
  | { readonly kind: "busy" | "not yet" };

/** Takes addresses out of allocation to pods, durably, and gives them back. Rejections are WorldErrors of the store. */
export interface VipAddresses {
  /** Keeps the address for virtual use; `kept` also when it is already. */
  keep(ip: Ip): Promise<KeepOutcome>;
  /** Gives it back; nothing happens to an address that is not kept for virtual use. */
  giveBack(ip: Ip): Promise<void>;
}
