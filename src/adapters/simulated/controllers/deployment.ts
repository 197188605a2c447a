// The Deployment controller: one ReplicaSet per revision of the template, rolling updates within maxSurge and maxUnavailable, proportional
// scaling in the middle of one. Follows kubernetes/pkg/controller/deployment (rolling.go, sync.go); knows neither Recreate nor pauses.

import { builtInWorkload } from "../../../core/owner.ts";
import { workloadKey } from "../keys.ts";
import type { SimWorkload } from "../objects.ts";
import { isActive, isAvailable, templateHash, type Workplace, workloadText } from "./workplace.ts";

/** How many empty old ReplicaSets stay (`revisionHistoryLimit`, 10 by default in Kubernetes). */
const keptReplicaSets = 2;

/** Annotations that the controller keeps on a ReplicaSet (`desired-replicas`, `max-replicas`). */
export type ScaleNote = { readonly desired: number; readonly most: number };

type Member = {
  readonly key: string;
  readonly set: SimWorkload;
  readonly activeCount: number;
  readonly availableCount: number;
};

/**
 * One synchronisation; what it changes leads to the next.
 * @param notes scale notes by uid of ReplicaSet, kept from one call to the next
 */
export function reconcileDeployment(
  place: Workplace,
  deployment: SimWorkload,
  notes: Map<string, ScaleNote>,
): void {
  const bounds = boundsOf(deployment);
  const resize = (member: Member, replicas: number) => {
    notes.set(member.set.uid, { desired: deployment.replicas, most: bounds.most });
    if (member.set.replicas === replicas) return;
    place.trace(
      `${workloadText(deployment)}: scales ${member.set.ref.name} from ${member.set.replicas} to ${replicas}`,
    );
    place.api.put("workloads", member.key, { ...member.set, replicas });
  };
  const members = place.replicaSetsOf(deployment.uid).flatMap((key) => memberOf(place, key));
  const isScaled = members.some(({ set }) => {
    const note = notes.get(set.uid);
    return set.replicas > 0 && note !== undefined && note.desired !== deployment.replicas;
  });
  if (isScaled) {
    scale({ deployment, members, bounds, notes, resize });
    place.again(deployment, 5);
    return;
  }
  const isCurrent = ({ set }: Member) => set.template.revision === deployment.template.revision;
  const current =
    members.find(isCurrent) ?? createReplicaSet(place, { deployment, members, bounds, notes });
  const old = members.filter((member) => !isCurrent(member));
  const wanted = wantedOfCurrent({ deployment, current, old, bounds });
  if (wanted !== current.set.replicas) {
    resize(current, wanted);
    return;
  }
  scaleDownOld({ deployment, current, old, bounds, resize });
  if (isComplete({ deployment, current, old })) removeEmpty(place, old, notes);
}

type Bounds = { readonly most: number; readonly leastAvailable: number };

/** `ResolveFenceposts`: with neither surge nor unavailability nothing could ever roll, so that one may be unavailable. */
function boundsOf({ replicas, maxSurge, maxUnavailable }: SimWorkload): Bounds {
  const unavailable = maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable;
  return { most: replicas + maxSurge, leastAvailable: replicas - Math.min(unavailable, replicas) };
}

function memberOf(place: Workplace, key: string): Member[] {
  const set = place.api.get("workloads", key);
  if (set === undefined) return [];
  const pods = [...place.podsOf(set.uid).values()];
  return [
    {
      key,
      set,
      activeCount: pods.filter(isActive).length,
      availableCount: pods.filter(isAvailable).length,
    },
  ];
}

function sumOf(members: readonly Member[], count: (member: Member) => number): number {
  return members.reduce((sum, member) => sum + count(member), 0);
}

function wantedCount({ set }: Member): number {
  return set.replicas;
}

/** `NewRSNewReplicas`: as many as wanted, within what all may have together. */
function wantedOfCurrent(state: {
  readonly deployment: SimWorkload;
  readonly current: Pick<Member, "set">;
  readonly old: readonly Member[];
  readonly bounds: Bounds;
}): number {
  const { replicas } = state.deployment;
  const has = state.current.set.replicas;
  if (has >= replicas) return replicas;
  const room = state.bounds.most - sumOf(state.old, wantedCount) - has;
  return room <= 0 ? has : has + Math.min(room, replicas - has);
}

function createReplicaSet(
  place: Workplace,
  state: {
    readonly deployment: SimWorkload;
    readonly members: readonly Member[];
    readonly bounds: Bounds;
    readonly notes: Map<string, ScaleNote>;
  },
): Member {
  const { deployment, members: old, bounds, notes } = state;
  const { namespace, name: deploymentName } = deployment.ref;
  const { revision } = deployment.template;
  const nameOf = (collisions: number) => `${deploymentName}-${templateHash(revision, collisions)}`;
  const keyOf = (setName: string) => workloadKey("replicaset", namespace, setName);
  let collisions = 0;
  while (place.api.get("workloads", keyOf(nameOf(collisions))) !== undefined) collisions += 1;
  const name = nameOf(collisions);
  const key = keyOf(name);
  const uid = place.api.newUid();
  const empty: SimWorkload = {
    ...deployment,
    kind: "replicaset",
    ref: builtInWorkload("replicaset", { namespace, name }),
    uid,
    replicas: 0,
    deployment: deploymentName,
  };
  const set = {
    ...empty,
    replicas: wantedOfCurrent({ deployment, current: { set: empty }, old, bounds }),
  };
  place.claimReplicaSet(uid, deployment.uid);
  notes.set(uid, { desired: deployment.replicas, most: bounds.most });
  place.trace(`${workloadText(deployment)}: creates ${name} with ${set.replicas}`);
  place.api.put("workloads", key, set);
  return { key, set, activeCount: 0, availableCount: 0 };
}

/** `reconcileOldReplicaSets`: first replicas that are not available anyway, then as many as may become unavailable. */
function scaleDownOld(state: {
  readonly deployment: SimWorkload;
  readonly current: Member;
  readonly old: readonly Member[];
  readonly bounds: Bounds;
  readonly resize: (member: Member, replicas: number) => void;
}): void {
  const { current, old, bounds, resize } = state;
  if (sumOf(old, wantedCount) === 0) return;
  const all = [...old, current];
  const unavailableCurrent = current.set.replicas - current.availableCount;
  let cleanable = sumOf(all, wantedCount) - bounds.leastAvailable - unavailableCurrent;
  if (cleanable <= 0) return;
  const left = new Map(old.map((member) => [member, member.set.replicas]));
  for (const member of old) {
    const unhealthy = Math.max(0, member.set.replicas - member.availableCount);
    const gone = Math.max(0, Math.min(cleanable, unhealthy));
    cleanable -= gone;
    left.set(member, member.set.replicas - gone);
  }
  let spare = sumOf(all, ({ availableCount }) => availableCount) - bounds.leastAvailable;
  for (const member of old) {
    const has = left.get(member) ?? 0;
    const gone = Math.max(0, Math.min(spare, has));
    spare -= gone;
    if (has - gone !== member.set.replicas) resize(member, has - gone);
  }
}

/** `scale`: the number of replicas changed; in the middle of a roll-out each ReplicaSet takes its share. */
function scale(state: {
  readonly deployment: SimWorkload;
  readonly members: readonly Member[];
  readonly bounds: Bounds;
  readonly notes: Map<string, ScaleNote>;
  readonly resize: (member: Member, replicas: number) => void;
}): void {
  const { deployment, members, bounds, notes, resize } = state;
  const active = members.filter(({ set }) => set.replicas > 0);
  const [only, second] = active;
  if (only === undefined) return;
  if (second === undefined) {
    resize(only, deployment.replicas);
    return;
  }
  const current = active.find(({ set }) => set.template.revision === deployment.template.revision);
  if (
    current !== undefined &&
    current.set.replicas === deployment.replicas &&
    notes.get(current.set.uid)?.desired === deployment.replicas &&
    current.availableCount === deployment.replicas
  ) {
    for (const member of active) if (member !== current) resize(member, 0);
    return;
  }
  const allowed = deployment.replicas > 0 ? bounds.most : 0;
  const toAdd = allowed - sumOf(active, wantedCount);
  // The largest first; of two of one size the newer when growing, the older when shrinking.
  const ordered = (toAdd > 0 ? active.toReversed() : active).toSorted(
    (a, b) => b.set.replicas - a.set.replicas,
  );
  let added = 0;
  const sizes = ordered.map((member) => {
    const share = shareOf(member, { deployment, bounds, notes });
    const bounded = toAdd > 0 ? Math.min(share, toAdd - added) : Math.max(share, toAdd - added);
    const change = toAdd === 0 || toAdd === added ? 0 : bounded;
    added += change;
    return member.set.replicas + change;
  });
  for (const [index, member] of ordered.entries()) {
    const leftover = index === 0 ? toAdd - added : 0;
    resize(member, Math.max(0, (sizes[index] ?? 0) + leftover));
  }
}

/** `getReplicaSetFraction`: how much a ReplicaSet would grow or shrink to keep its share. */
function shareOf(
  { set }: Member,
  state: {
    readonly deployment: SimWorkload;
    readonly bounds: Bounds;
    readonly notes: ReadonlyMap<string, ScaleNote>;
  },
): number {
  if (state.deployment.replicas === 0) return -set.replicas;
  const before = state.notes.get(set.uid)?.most ?? state.bounds.most;
  return Math.round((set.replicas * state.bounds.most) / before) - set.replicas;
}

function isComplete(state: {
  readonly deployment: SimWorkload;
  readonly current: Member;
  readonly old: readonly Member[];
}): boolean {
  const { replicas } = state.deployment;
  return (
    state.current.activeCount === replicas &&
    state.current.availableCount === replicas &&
    sumOf(state.old, ({ activeCount }) => activeCount) === 0
  );
}

/** `cleanupDeployment`: the oldest empty ReplicaSets go, also while pods of theirs are still terminating. */
function removeEmpty(
  place: Workplace,
  old: readonly Member[],
  notes: Map<string, ScaleNote>,
): void {
  const surplus = Math.max(0, old.length - keptReplicaSets);
  for (const { key, set, activeCount } of old.slice(0, surplus)) {
    if (set.replicas !== 0 || activeCount !== 0) continue;
    place.trace(`${workloadText(set)}: removed, too old`);
    notes.delete(set.uid);
    place.api.remove("workloads", key);
  }
}
