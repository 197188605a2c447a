// Workloads whose pods have ordinals. The StatefulSet controller with OrderedReady and RollingUpdate follows
// kubernetes/pkg/controller/statefulset/stateful_set_control.go; TApp and Plain do the same with all ordinals at once.

import { podIsFinished } from "../../../core/facts.ts";
import { ordinalOf } from "../../../core/owner.ts";
import type { SimPod, SimWorkload } from "../objects.ts";
import {
  createPodOfOrdinal,
  deletePodOf,
  isActive,
  isAvailable,
  type Workplace,
} from "./workplace.ts";

type Numbered = { readonly ordinal: number; readonly key: string; readonly pod: SimPod };

/** Makes the one step that the order of a StatefulSet allows now. */
export function reconcileStatefulSet(place: Workplace, set: SimWorkload): void {
  const pods = numberedPods(place, set);
  const byOrdinal = new Map(pods.map((numbered) => [numbered.ordinal, numbered]));
  const end = set.firstOrdinal + set.replicas;
  for (let ordinal = set.firstOrdinal; ordinal < end; ordinal += 1) {
    const numbered = byOrdinal.get(ordinal);
    if (numbered === undefined) {
      createPodOfOrdinal(place, set, ordinal);
      return;
    }
    if (podIsFinished(numbered.pod.facts)) {
      deletePodOf(place, set, numbered.key, "it is finished");
      return;
    }
    if (!isAvailable(numbered.pod)) return;
  }
  const condemned = pods.filter(({ ordinal }) => isOut(set, ordinal));
  if (condemned.length > 0) {
    condemn(place, set, condemned);
    return;
  }
  // All are available here: a roll-out does not get past a pod that is not, not even past one of the old revision.
  const [old] = pods
    .filter(({ pod }) => pod.revision !== set.template.revision)
    .toSorted((a, b) => b.ordinal - a.ordinal);
  if (old !== undefined) deletePodOf(place, set, old.key, "it is of an old revision");
}

/** From the top, one at a time; an unhealthy pod holds up those below it, unless it is the lowest unhealthy one. */
function condemn(place: Workplace, set: SimWorkload, condemned: readonly Numbered[]): void {
  const fromTop = condemned.toSorted((a, b) => b.ordinal - a.ordinal);
  const lowestUnhealthy = fromTop.findLast(({ pod }) => !isAvailable(pod));
  const top = fromTop[0];
  if (top === undefined || (!isAvailable(top.pod) && top !== lowestUnhealthy)) return;
  deletePodOf(place, set, top.key, "its ordinal is out of range");
}

/** All ordinals at once; one pod of an old revision after the other. */
export function reconcileOrdinalsInParallel(place: Workplace, workload: SimWorkload): void {
  const pods = numberedPods(place, workload);
  const byOrdinal = new Map(pods.map((numbered) => [numbered.ordinal, numbered]));
  let isWhole = true;
  let outdated: Numbered | undefined;
  for (let step = 0; step < workload.replicas; step += 1) {
    const ordinal = workload.firstOrdinal + step;
    const numbered = byOrdinal.get(ordinal);
    if (numbered === undefined) createPodOfOrdinal(place, workload, ordinal);
    else if (podIsFinished(numbered.pod.facts)) {
      deletePodOf(place, workload, numbered.key, "it is finished");
    }
    // An outdated pod that is not available is replaced at once: it has nothing to lose.
    const isHealthy = numbered !== undefined && isAvailable(numbered.pod);
    const isOld = numbered !== undefined && numbered.pod.revision !== workload.template.revision;
    if (isOld && !isHealthy && isActive(numbered.pod)) {
      deletePodOf(place, workload, numbered.key, "it is of an old revision");
    }
    isWhole &&= isHealthy;
    if (isOld) outdated ??= numbered;
  }
  for (const { ordinal, key } of pods) {
    if (isOut(workload, ordinal)) {
      deletePodOf(place, workload, key, "its ordinal is out of range");
    }
  }
  if (isWhole && outdated !== undefined) {
    deletePodOf(place, workload, outdated.key, "it is of an old revision");
  }
}

function isOut({ firstOrdinal, replicas }: SimWorkload, ordinal: number): boolean {
  return ordinal < firstOrdinal || ordinal >= firstOrdinal + replicas;
}

function numberedPods(place: Workplace, workload: SimWorkload): readonly Numbered[] {
  return [...place.podsOf(workload.uid)].flatMap(([key, pod]) => {
    const ordinal = ordinalOf(pod.facts.id.name);
    return ordinal === undefined ? [] : [{ ordinal, key, pod }];
  });
}
