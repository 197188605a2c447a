// One address in use or reserved. Free addresses have no object; they are what the ranges leave over.

import type { Ip } from "./ip.ts";
import type { Owner } from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";
import type { ReserveTtl } from "./reserve-ttl.ts";

/** The record of one address. Immutable: every change makes a new object, so that a reader never sees half of one. */
export type Allocation = {
  readonly ip: Ip;
  readonly owner: Owner;
  readonly policy: ReleasePolicy;
  /** Node on which the pod runs or ran when bound; "" when reserved. */
  readonly nodeName: string;
  /** Node on which a pod had it last, while it is reserved: a pod of its owner does well to go back there; "" otherwise. */
  readonly lastNodeName: string;
  /** Uid of the pod that has the address; "" when reserved. */
  readonly podUid: string;
  /** When it was last given or reserved, milliseconds since 1970. */
  readonly updatedAtMs: number;
  /** A pod has it although the configuration does not list it any more; kept in the record so that kubectl shows it. */
  readonly isDraining: boolean;
  /** How long it may be reserved without a pod, as the last pod's annotation said; absent when it said nothing. */
  readonly reserveTtl?: ReserveTtl;
  /** Since when no pod has it, milliseconds since 1970, while it is reserved; absent when that is not known, and while a pod has it. */
  readonly idleSinceMs?: number;
  /** When its owner was told that it will be released, milliseconds since 1970; absent while nobody was. */
  readonly idleWarnedMs?: number;
  /** What the record says that this release does not know, as text of the store's own; absent nearly always. It is kept and means nothing here. */
  readonly foreignText?: string;
  /** The store's version of the record (a resourceVersion); "" before it was first written. */
  readonly version: string;
};

/** What is known of the time that an address is reserved without a pod. */
export type IdleFields = {
  readonly reserveTtl?: ReserveTtl | undefined;
  readonly idleSinceMs?: number | undefined;
  readonly idleWarnedMs?: number | undefined;
};

/** The allocation with what is known of that; itself when nothing is, because nearly all of a million records have none of it. */
export function withIdleFields(allocation: Allocation, fields: IdleFields): Allocation {
  const { reserveTtl, idleSinceMs, idleWarnedMs } = fields;
  if (reserveTtl === undefined && idleSinceMs === undefined && idleWarnedMs === undefined) {
    return allocation;
  }
  return {
    ...allocation,
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
    ...(idleSinceMs === undefined ? {} : { idleSinceMs }),
    ...(idleWarnedMs === undefined ? {} : { idleWarnedMs }),
  };
}

/** The allocation with what its record says beside that; itself when that is nothing. */
export function withForeignText(allocation: Allocation, text: string | undefined): Allocation {
  return text === undefined ? allocation : { ...allocation, foreignText: text };
}

/**
 * What an operator sees.
 * - `Bound`: a pod has it; `Reserved`: kept for a pod name, workload or pool; `Admin`: taken out of allocation
 * - `Draining`: a pod has it, but the configuration does not list it any more
 */
export type AllocationState = "Bound" | "Reserved" | "Admin" | "Draining";

/** Whether a pod has the address at this moment, as opposed to its being kept for later. */
export function isBound(allocation: Allocation): boolean {
  return allocation.owner.kind === "pod" && allocation.podUid !== "";
}

/** The state of an allocation. */
export function stateOf(allocation: Allocation): AllocationState {
  if (allocation.owner.kind === "admin") return "Admin";
  if (!isBound(allocation)) return "Reserved";
  return allocation.isDraining ? "Draining" : "Bound";
}
