// The ReplicaSet controller: as many active pods as wanted, whatever becomes of those that are being deleted.

import type { SimPod, SimWorkload } from "../objects.ts";
import { createPodOfAnyName, deletePodOf, isActive, type Workplace } from "./workplace.ts";

/** Creates or deletes pods until as many are active as wanted. */
export function reconcileReplicaSet(place: Workplace, replicaSet: SimWorkload): void {
  const active = [...place.podsOf(replicaSet.uid)].filter(([, pod]) => isActive(pod));
  for (let count = active.length; count < replicaSet.replicas; count += 1) {
    createPodOfAnyName(place, replicaSet);
  }
  if (active.length <= replicaSet.replicas) return;
  // Reversed first, so that the younger of two pods of the same moment goes.
  const ranked = active.toReversed().toSorted(([, a], [, b]) => byCostOfLoss(a, b));
  for (const [key] of ranked.slice(0, active.length - replicaSet.replicas)) {
    deletePodOf(place, replicaSet, key, "too many replicas");
  }
}

/** The order of `controller.ActivePods`: unassigned, pending, not ready, youngest. */
function byCostOfLoss(a: SimPod, b: SimPod): number {
  return (
    Number(a.facts.nodeName !== "") - Number(b.facts.nodeName !== "") ||
    Number(a.facts.phase === "Running") - Number(b.facts.phase === "Running") ||
    Number(a.isReady) - Number(b.isReady) ||
    b.facts.createdAtMs - a.facts.createdAtMs
  );
}
