// The DaemonSet controller: one pod on each node, one node at a time when the template changes.

import type { SimPod, SimWorkload } from "../objects.ts";
import {
  createPodOfAnyName,
  deletePodOf,
  isActive,
  isAvailable,
  type Workplace,
} from "./workplace.ts";

/** Most nodes without an available pod during a roll-out (the default of Kubernetes). */
const maxUnavailableNodes = 1;

type Keyed = readonly [key: string, pod: SimPod];

/** Gives each node its pod, takes away pods of nodes that do not exist, and replaces finished and old ones. */
export function reconcileDaemonSet(place: Workplace, daemonSet: SimWorkload): void {
  const byNode = new Map<string, Keyed[]>();
  for (const node of place.api.keys("nodes")) byNode.set(node, []);
  for (const keyed of place.podsOf(daemonSet.uid)) {
    const [key, pod] = keyed;
    const ofNode = byNode.get(pod.onlyNode ?? pod.facts.nodeName);
    if (ofNode !== undefined) ofNode.push(keyed);
    else deletePodOf(place, daemonSet, key, "its node is gone");
  }
  let unavailableNodes = 0;
  const old: Keyed[] = [];
  for (const [node, pods] of byNode) {
    // The replacement waits until the old pod is gone; two on one node would be one too many.
    if (pods.length === 0) createPodOfAnyName(place, daemonSet, node);
    for (const [key, pod] of pods) {
      if (!isActive(pod)) deletePodOf(place, daemonSet, key, "it is finished");
    }
    const [kept, ...surplus] = pods.filter(([, pod]) => isActive(pod));
    for (const [key] of surplus) deletePodOf(place, daemonSet, key, "its node has another");
    if (kept === undefined || !isAvailable(kept[1])) unavailableNodes += 1;
    if (kept !== undefined && kept[1].revision !== daemonSet.template.revision) old.push(kept);
  }
  for (const [key, pod] of old) {
    if (isAvailable(pod)) {
      if (unavailableNodes >= maxUnavailableNodes) continue;
      unavailableNodes += 1;
    }
    deletePodOf(place, daemonSet, key, "it is of an old revision");
  }
}
