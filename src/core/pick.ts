// Choosing addresses for the slots of a pod: exact matching in order of preference, all or none. Says nothing about who may ask.

import type { AddressRequest } from "./facts.ts";
import type { Ip, IpFamily } from "./ip.ts";
import { familyOf, ipToNumber } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import { rangeContains, rangeFamily } from "./ip-range.ts";

/** One address that a pod needs. */
export type Slot = {
  readonly family: IpFamily;
  /** Ranges it may come from; undefined: any of the node's pod subnets. */
  readonly ranges: readonly IpRange[] | undefined;
};

/**
 * The slots of a request on nodes that have addresses of the given families.
 * - default: IPv4 where there is IPv4, else IPv6
 * - named families: one each of those the node's pod subnets have, in the order named; the first is primary
 * - ranges: one per entry, in the order written
 * @returns an empty list when the families have nothing in common
 */
export function slotsOf(request: AddressRequest, families: ReadonlySet<IpFamily>): readonly Slot[] {
  if (request.kind === "ranges") {
    return request.ranges.map((ranges) => ({
      family: ranges[0] === undefined ? "IPv4" : rangeFamily(ranges[0]),
      ranges,
    }));
  }
  const wanted: readonly IpFamily[] =
    request.families ?? (families.has("IPv4") ? ["IPv4"] : ["IPv6"]);
  return wanted
    .filter((family) => families.has(family))
    .map((family) => ({ family, ranges: undefined }));
}

/** Whether an address can serve a slot. */
export function slotAccepts(slot: Slot, ip: Ip): boolean {
  if (slot.ranges === undefined) return familyOf(ip) === slot.family;
  const value = ipToNumber(ip);
  return slot.ranges.some((range) => rangeContains(range, value));
}

/** Candidates of one level of preference for a slot, best first, at most `limit` of them; each accepted by the slot. */
export type Tier = (slot: Slot, limit: number) => readonly Ip[];

/** A chosen address and the position of the tier that offered it. */
export type Picked = { readonly ip: Ip; readonly tier: number };

/**
 * Picks one address per slot, pairwise different, all or none. As many addresses as possible come from the first tier, then as many as
 * possible of the rest from the second, and so on; within a tier the order offered counts.
 *
 * It is Kuhn's augmenting-path matching run tier by tier: an augmenting path never gives up an address that is already
 * matched, so that earlier tiers stay used as fully as they were. As many candidates as there are slots suffice per slot and
 * tier: a slot with that many can always be served last (Hall's theorem).
 * @returns in the order of `slots`; undefined when some slot cannot be served
 */
export function pickAddresses(
  slots: readonly Slot[],
  tiers: readonly Tier[],
): readonly Picked[] | undefined {
  const match = matchSlots(slots, tiers);
  return match.every((picked) => picked !== undefined) ? match : undefined;
}

/** The addresses that serve as many slots as the tiers can serve at once, the best ones first where there is a choice. */
export function bestServing(slots: readonly Slot[], tiers: readonly Tier[]): readonly Ip[] {
  return matchSlots(slots, tiers).flatMap((picked) => (picked === undefined ? [] : [picked.ip]));
}

function matchSlots(slots: readonly Slot[], tiers: readonly Tier[]): (Picked | undefined)[] {
  const candidates: Picked[][] = slots.map(() => []);
  const slotOf = new Map<Ip, number>();
  const chosen: (Picked | undefined)[] = slots.map(() => undefined);
  const assign = (slotIndex: number, picked: Picked): true => {
    chosen[slotIndex] = picked;
    slotOf.set(picked.ip, slotIndex);
    return true;
  };
  const augment = (slotIndex: number, seen: Set<Ip>): boolean => {
    const own = candidates[slotIndex] as Picked[];
    const open = own.find((picked) => !slotOf.has(picked.ip));
    if (open !== undefined) return assign(slotIndex, open);
    for (const picked of own) {
      if (seen.has(picked.ip)) continue;
      seen.add(picked.ip);
      if (augment(slotOf.get(picked.ip) as number, seen)) return assign(slotIndex, picked);
    }
    return false;
  };
  for (const [tier, offer] of tiers.entries()) {
    if (!chosen.includes(undefined)) break;
    // Slots that are served already learn of this tier too: they may have to move over for another.
    for (const [index, slot] of slots.entries()) {
      const list = candidates[index] as Picked[];
      for (const ip of offer(slot, slots.length)) {
        if (!list.some((picked) => picked.ip === ip)) list.push({ ip, tier });
      }
    }
    for (const index of slots.keys()) if (chosen[index] === undefined) augment(index, new Set());
  }
  return chosen;
}
