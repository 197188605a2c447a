// How many addresses a pool has or has promised: one count for pods that ask and for the pool's own upkeep.

import type { AllocationView } from "./allocation-table.ts";

/**
 * The pool's addresses, and the free ones that are promised to pods of it. One that is being released counts until the store has removed
 * it: the release may fail, and the pool would have one too many. So does one whose record somebody put under another owner, as long as it is
 * kept for its pod of the pool: it is about to go back. What an administrator took for himself stays his, and does not count.
 * @param askingPodUid a pod whose own promise does not count; undefined when no pod asks
 */
export function countPoolAddresses(
  pool: string,
  view: AllocationView,
  askingPodUid: string | undefined,
): number {
  let count = 0;
  const served = new Set<string | undefined>([askingPodUid]);
  for (const allocation of view.ofPool(pool)) {
    count += 1;
    if (view.phaseOf(allocation.ip) === "writing") served.add(allocation.podUid);
  }
  for (const [ip, keptFor] of view.kept()) {
    if (keptFor.pool !== pool || keptFor.podUid === askingPodUid) continue;
    const owner = view.get(ip)?.owner;
    if (owner?.kind === "admin" || owner?.kind === "foreign") continue;
    const isCounted = (owner?.kind === "pod" || owner?.kind === "pool") && owner.pool === pool;
    if (!isCounted) count += 1;
  }
  for (const hold of view.holds()) {
    // A pod that is being given addresses gets all of them at once, and needs no more, though its hold stands until the records are written.
    // One that has some already, and was promised another, needs that.
    if (hold.pool !== pool || served.has(hold.podUid)) continue;
    // Reserved addresses in a hold are counted already; free ones will come on top.
    let newCount = 0;
    for (const ips of hold.byZone.values()) {
      newCount = Math.max(newCount, ips.filter((ip) => view.get(ip) === undefined).length);
    }
    count += newCount;
  }
  return count;
}
