// The kernel's gate of one node: for which virtual addresses it answers, each with a timer that runs out without anybody's help. What
// answering means (ARP, NAT, established flows) is the adapter's affair.

import type { Ip } from "../core/ip.ts";

/** An address to answer for. */
export type GateEntry = { readonly ip: Ip; readonly epoch: number; readonly podIp: Ip };

/** `late`: the time from arming was over, or somebody armed again; nothing was changed. */
export type GateOutcome = { readonly kind: "open" } | { readonly kind: "late" };

/**
 * The gate. Calls take effect in the order in which they were made. Rejections are WorldErrors NETWORK_CHANGE_FAILED; whether the call took
 * effect is unknown then, but a timer never gets longer than what was asked.
 */
export interface VipGate {
  /**
   * Permits one {@link open} that takes effect within `withinMs`, on the kernel's clock: a process that is stopped between looking at its
   * clock and opening must not open later. Read the clock after this resolved.
   */
  arm(withinMs: number): Promise<GatePermit>;
  /**
   * Answers for these addresses from now on and for `leftMs`, if the permit is still good at the moment when it takes effect. Entries that
   * are open already get the new time; those that are not named keep theirs.
   */
  open(permit: GatePermit, entries: readonly GateEntry[], leftMs: number): Promise<GateOutcome>;
  /** Answers for these no more, established flows included. */
  close(ips: readonly Ip[]): Promise<void>;
  /** Answers for nothing, also what another process left open. */
  clear(): Promise<void>;
  /** For what the kernel answers now. */
  answering(): Promise<readonly GateEntry[]>;
}

/** Good for one call of {@link VipGate.open}. */
export type GatePermit = { readonly serial: number };
