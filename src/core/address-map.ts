// What each address, or each block of addresses, is used for: the figures of a map that zooms. Pure; drawing is the page's affair.

import { stateOf } from "./allocation.ts";
import type { BlockCounts } from "./allocation-listing.ts";
import type { ListedView } from "./allocation-table.ts";
import type { Ip, IpNumber } from "./ip.ts";
import { ipFromNumber, ipToNumber } from "./ip.ts";
import { intersectRanges, rangeContains, rangeSize } from "./ip-range.ts";

/** One state of an address, or `none` when no range lists it and no record names it. */
export type MapState =
  | "free"
  | "held"
  | "bound"
  | "reserved"
  | "admin"
  | "draining"
  | "unknown"
  | "none";

/** What a block has. */
export type MapBlock = {
  readonly free: number;
  readonly held: number;
  readonly bound: number;
  readonly reserved: number;
  readonly admin: number;
  readonly draining: number;
};

/** The state of each of some addresses beside one another. */
export function mapAddresses(
  view: ListedView,
  first: IpNumber,
  count: number,
): readonly MapState[] {
  return Array.from({ length: count }, (_, index): MapState => {
    const value = advanced(first, index);
    const ip = ipFromNumber(value);
    const allocation = view.get(ip);
    if (allocation === undefined) {
      if (view.topology.subnetIndexOf(value) < 0) return "none";
      return view.heldBy(ip) === undefined ? "free" : "held";
    }
    const phase = view.phaseOf(ip);
    if (phase === "unsettled" || phase === "lost") return "unknown";
    return stateOf(allocation).toLowerCase() as MapState;
  });
}

/** The figures of blocks beside one another; the view's listing is complete. */
export function mapBlocks(
  view: ListedView,
  first: IpNumber,
  blockSize: number,
  blockCount: number,
): readonly MapBlock[] {
  const counts = view.listing.countBlocks(first, blockSize, blockCount);
  const held = new Map<number, number>();
  for (const ip of heldFreeIps(view)) {
    const block = blockOf(ipToNumber(ip), first, blockSize);
    if (block !== undefined) held.set(block, (held.get(block) ?? 0) + 1);
  }
  return counts.map((block, index): MapBlock => {
    const start = advanced(first, index * blockSize);
    const range = { first: start, last: advanced(start, blockSize - 1) };
    let configured = 0;
    for (const subnet of view.topology.subnets) {
      for (const listed of subnet.ranges) {
        const part = intersectRanges(range, listed);
        if (part !== undefined) configured += rangeSize(part);
      }
    }
    return {
      ...wordsOf(block),
      held: held.get(index) ?? 0,
      // Records that no range lists would otherwise count against what is free.
      free: Math.max(0, configured - insideOf(view, block, range) - (held.get(index) ?? 0)),
    };
  });
}

function wordsOf({ Bound, Reserved, Admin, Draining }: BlockCounts) {
  return { bound: Bound, reserved: Reserved, admin: Admin, draining: Draining };
}

/** How many records of a block take something from its ranges: all but those that drain, where nothing else is outside. */
function insideOf(
  view: ListedView,
  { Bound, Reserved, Admin, Draining }: BlockCounts,
  range: { readonly first: IpNumber; readonly last: IpNumber },
): number {
  const isWhole = view.topology.subnets.some((subnet) =>
    subnet.ranges.some(
      (listed) => rangeContains(listed, range.first) && rangeContains(listed, range.last),
    ),
  );
  return Bound + Reserved + Admin + (isWhole ? Draining : 0);
}

function* heldFreeIps(view: ListedView): Generator<Ip> {
  for (const hold of view.holds()) {
    for (const ips of hold.byZone.values()) {
      for (const ip of ips) if (view.get(ip) === undefined) yield ip;
    }
  }
}

function blockOf(value: IpNumber, first: IpNumber, blockSize: number): number | undefined {
  if (typeof value !== typeof first || value < first) return undefined;
  const distance =
    typeof value === "number" ? value - Number(first) : Number(value - BigInt(first));
  return Math.floor(distance / blockSize);
}

function advanced(value: IpNumber, by: number): IpNumber {
  return typeof value === "number" ? value + by : value + BigInt(by);
}
