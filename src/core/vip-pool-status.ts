// What is shown of a pool of virtual addresses: how much of it is used, whether it could be read, and with which pools it shares addresses.
// Pure; nothing is decided from it.

import type { Ip } from "./ip.ts";
import { ipToNumber } from "./ip.ts";
import {
  formatIpRange,
  type IpRange,
  intersectRanges,
  mergeRanges,
  rangeContains,
  totalSize,
} from "./ip-range.ts";
import type { VipPool } from "./vip-holder.ts";

/** A pool as it was written: `inForce` is what claims are judged by, also when `problem` says why what is written now cannot be read. */
export type VipPoolSight = {
  readonly name: string;
  /** Counts changes of what was asked for. */
  readonly generation: number;
  /** Undefined: it could never be read, and has no addresses. */
  readonly inForce: VipPool | undefined;
  readonly problem: string | undefined;
  /** What its status says; undefined: nothing, or nothing that this release would write. */
  readonly told: VipPoolStatus | undefined;
};

/** One condition; `reason` is a CamelCase word. */
export type VipPoolCondition = {
  readonly isTrue: boolean;
  readonly reason: string;
  readonly message: string;
};

/** Counts are of addresses; of a very large pool the nearest whole number up to 2^53 - 1. */
export type VipPoolStatus = {
  /** The generation that this was made from. */
  readonly generation: number;
  readonly addresses: number;
  /** Claimed by a pod that may claim, whether or not somebody holds them. */
  readonly used: number;
  readonly free: number;
  /** What is written could be read. */
  readonly ready: VipPoolCondition;
  /** A pod may find an address of it in another pool as well. */
  readonly overlaps: VipPoolCondition;
};

/** Most overlaps that a message names. */
const mostNamed = 5;

/** @param pools all of them, by name @param usedIps addresses that are claimed and not refused */
export function vipPoolStatuses(
  pools: readonly VipPoolSight[],
  usedIps: readonly Ip[],
): ReadonlyMap<string, VipPoolStatus> {
  const values = usedIps.map(ipToNumber);
  return new Map(
    pools.map((sight) => {
      const ranges = mergeRanges(sight.inForce?.ranges ?? []);
      const addresses = Math.min(totalSize(ranges), Number.MAX_SAFE_INTEGER);
      const used = values.filter((value) =>
        ranges.some((range) => rangeContains(range, value)),
      ).length;
      const status: VipPoolStatus = {
        generation: sight.generation,
        addresses,
        used,
        free: Math.max(0, addresses - used),
        ready: readyOf(sight),
        overlaps: overlapsOf(sight, pools),
      };
      return [sight.name, status];
    }),
  );
}

function readyOf({ inForce, problem }: VipPoolSight): VipPoolCondition {
  if (problem === undefined) return { isTrue: true, reason: "Read", message: "pods may claim" };
  const meanwhile =
    inForce === undefined
      ? "none of its addresses can be claimed until then"
      : "what it said before stays in force until then";
  return { isTrue: false, reason: "Invalid", message: `${problem}; ${meanwhile}` };
}

function overlapsOf(sight: VipPoolSight, pools: readonly VipPoolSight[]): VipPoolCondition {
  const own = sight.inForce;
  const shared = pools.flatMap(({ inForce: other }): readonly string[] => {
    if (own === undefined || other === undefined || other.name === own.name) return [];
    if (!shareNamespace(own, other)) return [];
    return commonRanges(own.ranges, other.ranges).map(
      (range) => `${formatIpRange(range)} of VIPPool ${other.name}`,
    );
  });
  if (shared.length === 0) {
    return { isTrue: false, reason: "None", message: "no pod finds its addresses in another pool" };
  }
  const more = shared.length > mostNamed ? ` and ${shared.length - mostNamed} more` : "";
  const named = shared.slice(0, mostNamed).join(", ");
  return {
    isTrue: true,
    reason: "SharedAddresses",
    message: `it shares ${named}${more}; the first by name that allows a pod's namespace counts: take them out of one`,
  };
}

/** Whether pods of one namespace may claim from both. */
function shareNamespace(a: VipPool, b: VipPool): boolean {
  const { namespaces } = b;
  if (a.namespaces === undefined || namespaces === undefined) return true;
  return a.namespaces.some((name) => namespaces.includes(name));
}

function commonRanges(a: readonly IpRange[], b: readonly IpRange[]): readonly IpRange[] {
  return mergeRanges(a.flatMap((one) => b.flatMap((other) => intersectRanges(one, other) ?? [])));
}

/** Whether nothing is to be written. */
export function sameVipPoolStatus(a: VipPoolStatus | undefined, b: VipPoolStatus): boolean {
  return (
    a !== undefined &&
    a.generation === b.generation &&
    a.addresses === b.addresses &&
    a.used === b.used &&
    a.free === b.free &&
    sameCondition(a.ready, b.ready) &&
    sameCondition(a.overlaps, b.overlaps)
  );
}

function sameCondition(a: VipPoolCondition, b: VipPoolCondition): boolean {
  return a.isTrue === b.isTrue && a.reason === b.reason && a.message === b.message;
}
