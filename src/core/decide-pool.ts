// Which Pool object is in force and what its size asks for: fill up, shrink or nothing. Pure.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";
import type { PoolFacts } from "./facts.ts";
import type { Ip } from "./ip.ts";
import { countPoolAddresses } from "./pool-count.ts";
import { isRecorded } from "./recorded.ts";

/** The namespace in which the API writes pools; a Pool there wins over one of the same name elsewhere. */
export const poolHomeNamespace = "kube-system";

/**
 * Of several Pools with one name the one in force: that in kube-system, else the oldest, else the first by namespace (spec float-ip section 7).
 */
export function poolInForce(candidates: readonly PoolFacts[]): PoolFacts | undefined {
  return [...candidates].sort(
    (a, b) =>
      Number(b.namespace === poolHomeNamespace) - Number(a.namespace === poolHomeNamespace) ||
      a.createdAtMs - b.createdAtMs ||
      (a.namespace < b.namespace ? -1 : a.namespace > b.namespace ? 1 : 0),
  )[0];
}

/** What a pool needs. */
export type PoolDecision = {
  /** Free addresses to reserve for the pool, chosen in pod subnets with most free addresses. */
  readonly add: readonly Ip[];
  /** Reserved addresses without a pod to give back. */
  readonly release: readonly Allocation[];
  /** How many more addresses it should have than can be had. */
  readonly missingCount: number;
};

/**
 * Decides what to do with a pool's addresses. Only pre-allocation adds; a smaller size releases the longest reserved ones, those kept for a pod
 * name last, and never one in use. What an operator gave a policy that a pool does not have goes first: reclaim may be about to release it, and
 * the pool would lose another beside it. Addresses promised by a hold count as the pool's.
 * @param usableSubnets positions of pod subnets that some node may use; the others are a last resort
 */
export function decidePool(
  pool: PoolFacts,
  view: AllocationView,
  usableSubnets: ReadonlySet<number>,
): PoolDecision {
  if (pool.size === undefined) return { add: [], release: [], missingCount: 0 };
  const allocations = view
    .ofPool(pool.name)
    .filter((allocation) => view.phaseOf(allocation.ip) !== "leaving");
  // An address that is being added may not come about: only what the store knows costs the pool another one.
  const surplusCount =
    allocations.filter((allocation) => isRecorded(allocation, view)).length - pool.size;
  if (surplusCount > 0) {
    const spare = allocations
      .filter(
        (allocation) =>
          !isBound(allocation) &&
          view.heldBy(allocation.ip) === undefined &&
          view.phaseOf(allocation.ip) === "idle",
      )
      .sort(
        (a, b) =>
          Number(a.policy === "never") - Number(b.policy === "never") ||
          Number(a.owner.kind === "pod") - Number(b.owner.kind === "pod") ||
          a.updatedAtMs - b.updatedAtMs ||
          (a.ip < b.ip ? -1 : 1),
      );
    return { add: [], release: spare.slice(0, surplusCount), missingCount: 0 };
  }
  // Promises count for adding, not for releasing: one that is not kept must not have cost the pool an address.
  const total = countPoolAddresses(pool.name, view, undefined);
  if (!pool.preAllocate || total >= pool.size) return { add: [], release: [], missingCount: 0 };
  const wantedCount = pool.size - total;
  const add = spreadOverSubnets(view, usableSubnets, wantedCount);
  return { add, release: [], missingCount: wantedCount - add.length };
}

/** Takes from the subnet with most free addresses each time; IPv4 subnets first where there are any. */
function spreadOverSubnets(
  view: AllocationView,
  usable: ReadonlySet<number>,
  wantedCount: number,
): Ip[] {
  const hasIpv4 = view.topology.subnets.some((subnet) => subnet.family === "IPv4");
  const queues = view.topology.subnets
    .map((subnet, index) => ({ subnet, index, freeCount: view.usageOf(index).free }))
    .filter(({ subnet }) => !hasIpv4 || subnet.family === "IPv4")
    .map(({ subnet, index, freeCount }) => ({
      isUsable: usable.has(index),
      freeCount,
      ips: view.freeFor({ family: subnet.family, ranges: undefined }, [index], wantedCount),
      takenCount: 0,
    }));
  const chosen: Ip[] = [];
  while (chosen.length < wantedCount) {
    const best = queues
      .filter((queue) => queue.takenCount < queue.ips.length)
      .sort(
        (a, b) =>
          Number(b.isUsable) - Number(a.isUsable) ||
          b.freeCount - b.takenCount - (a.freeCount - a.takenCount),
      )[0];
    if (best === undefined) break;
    chosen.push(best.ips[best.takenCount] as Ip);
    best.takenCount += 1;
  }
  return chosen;
}
