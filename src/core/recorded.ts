// Whether the store is known to have the record of an address that memory counts as taken. Not whether the address may be used.

import type { Allocation } from "./allocation.ts";
import type { AllocationView } from "./allocation-table.ts";

/**
 * What only memory has may not come about, or be gone already: it keeps others from taking the address, but it must not cost anybody
 * else one. Nor must an address that somebody put under another owner by hand, while it is kept for the pod that had it.
 */
export function isRecorded({ ip, podUid, version }: Allocation, view: AllocationView): boolean {
  const keptFor = view.keptFor(ip);
  if (keptFor !== undefined && keptFor.podUid !== podUid) return false;
  const phase = view.phaseOf(ip);
  // A record that is being made has no version yet.
  return phase === "idle" || (phase === "writing" && version !== "");
}
