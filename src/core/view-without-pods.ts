// The address space as it would be if some pods were gone: for preemption, which asks and takes nothing.

import type { Allocation } from "./allocation.ts";
import type { AllocationView, Hold } from "./allocation-table.ts";
import type { Ip } from "./ip.ts";
import { ipToNumber } from "./ip.ts";
import { namespaceOf } from "./owner.ts";
import type { Slot } from "./pick.ts";
import { slotAccepts } from "./pick.ts";

/**
 * A view in which pods are gone.
 * @param victims the allocations of those pods
 * @param isFreed which of them would be free for the asking pod; the others would stay with their owner
 */
export function viewWithoutPods(
  view: AllocationView,
  victims: readonly Allocation[],
  isFreed: (allocation: Allocation) => boolean,
): AllocationView {
  const ips = new Set(victims.map(({ ip }) => ip));
  const podUids = new Set(victims.map(({ podUid }) => podUid));
  const isVictim = (allocation: Allocation): boolean => ips.has(allocation.ip);
  const keep = (allocations: readonly Allocation[]): readonly Allocation[] =>
    allocations.filter((allocation) => !isVictim(allocation));
  return {
    topology: view.topology,
    size: view.size - victims.filter(({ ip }) => view.get(ip) !== undefined).length,
    get: (ip: Ip) => {
      const allocation = view.get(ip);
      return allocation !== undefined && isVictim(allocation) ? undefined : allocation;
    },
    phaseOf: (ip: Ip) => view.phaseOf(ip),
    *all() {
      for (const allocation of view.all()) if (!isVictim(allocation)) yield allocation;
    },
    ofPod: (pod) => keep(view.ofPod(pod)),
    ofWorkload: (workload) => keep(view.ofWorkload(workload)),
    ofPool: (pool) => keep(view.ofPool(pool)),
    holdOf: (podUid) => view.holdOf(podUid),
    *holds(): Iterable<Hold> {
      for (const hold of view.holds()) if (!podUids.has(hold.podUid)) yield hold;
    },
    countIn: (namespace) =>
      view.countIn(namespace) -
      victims.filter(
        (allocation) =>
          namespaceOf(allocation.owner) === namespace &&
          isFreed(allocation) &&
          view.get(allocation.ip) !== undefined,
      ).length,
    *holdsIn(namespace): Iterable<Hold> {
      for (const hold of view.holdsIn(namespace)) if (!podUids.has(hold.podUid)) yield hold;
    },
    keptFor: (ip) => view.keptFor(ip),
    *kept() {
      for (const entry of view.kept()) if (!podUids.has(entry[1].podUid)) yield entry;
    },
    heldBy: (ip) => view.heldBy(ip),
    freeFor: (slot: Slot, subnetIndexes: readonly number[], limit: number) => {
      const free = view.freeFor(slot, subnetIndexes, limit);
      if (free.length >= limit) return free;
      const freed = victims
        .filter(
          (allocation) =>
            isFreed(allocation) &&
            slotAccepts(slot, allocation.ip) &&
            subnetIndexes.includes(view.topology.subnetIndexOf(ipToNumber(allocation.ip))),
        )
        .map(({ ip }) => ip)
        .slice(0, limit - free.length);
      return [...free, ...freed];
    },
    releasedAtMs: (ip) => view.releasedAtMs(ip),
    usage: () => view.usage(),
    usageOf: (subnetIndex) => view.usageOf(subnetIndex),
  };
}
