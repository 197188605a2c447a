// What the controllers of this world work with: their own pods and ReplicaSets, and the verbs they have. Not their decisions.

import type { ControllerRef } from "../../../core/facts.ts";
import { podIsFinished } from "../../../core/facts.ts";
import type { SimApi } from "../api.ts";
import { podKey } from "../keys.ts";
import type { PodTemplate, SimPod, SimWorkload, WorkloadKind } from "../objects.ts";
import { deletePod } from "../pod-verbs.ts";
import type { RandomSource } from "../random-source.ts";

/** What a controller may see and do. */
export type Workplace = {
  readonly api: SimApi;
  /** For names of pods. */
  readonly random: RandomSource;
  readonly trace: (text: string) => void;
  /** Pods of a controller by key, oldest first. */
  readonly podsOf: (uid: string) => ReadonlyMap<string, SimPod>;
  /** Keys of the ReplicaSets of a Deployment, oldest first. */
  readonly replicaSetsOf: (deploymentUid: string) => readonly string[];
  /** Says whose a ReplicaSet is that is about to be created. */
  readonly claimReplicaSet: (uid: string, deploymentUid: string) => void;
  /** Reconciles the workload again when the pod that has this name now is gone. */
  readonly awaitName: (podKey: string, workload: SimWorkload) => void;
  /** Reconciles the workload again after a time. */
  readonly again: (workload: SimWorkload, delayMs: number) => void;
};

/** The alphabet of generated names: no vowels and no digits that look like them (apimachinery's `rand.SafeEncodeString`). */
const safeLetters = "bcdfghjklmnpqrstvwxz2456789";

/** A text of five characters as Kubernetes appends them to `generateName`. */
function suffix(random: RandomSource): string {
  let text = "";
  for (let count = 0; count < 5; count += 1) {
    text += safeLetters.charAt(random.integer(0, safeLetters.length - 1));
  }
  return text;
}

/**
 * The `pod-template-hash` of a revision: a 32-bit hash in decimal, in the safe alphabet, as the Deployment controller writes it.
 * @param collisions how many names were already taken by others
 */
export function templateHash(revision: number, collisions: number): string {
  let hash = 0x811c9dc5;
  for (const letter of `${revision}/${collisions}`) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  }
  return [...String(hash)]
    .map((digit) => safeLetters.charAt(digit.charCodeAt(0) % safeLetters.length))
    .join("");
}

/** How the kinds of this world are called in references. */
export const groupVersionKinds: Readonly<
  Record<WorkloadKind, Pick<ControllerRef, "apiGroup" | "apiVersion" | "kind">>
> = {
  deployment: { apiGroup: "apps", apiVersion: "v1", kind: "Deployment" },
  replicaset: { apiGroup: "apps", apiVersion: "v1", kind: "ReplicaSet" },
  statefulset: { apiGroup: "apps", apiVersion: "v1", kind: "StatefulSet" },
  daemonset: { apiGroup: "apps", apiVersion: "v1", kind: "DaemonSet" },
  job: { apiGroup: "batch", apiVersion: "v1", kind: "Job" },
  tapp: { apiGroup: "apps.tkestack.io", apiVersion: "v1", kind: "TApp" },
  plain: { apiGroup: "example.org", apiVersion: "v1", kind: "Plain" },
};

/** The controller reference that a workload puts on what it creates. */
export function controllerRefOf(workload: SimWorkload): ControllerRef {
  return { ...groupVersionKinds[workload.kind], name: workload.ref.name, uid: workload.uid };
}

/** For traces: `deployment ns1/web`. */
export function workloadText({ kind, ref }: SimWorkload): string {
  return `${kind} ${ref.namespace}/${ref.name}`;
}

/** Neither finished nor being deleted: what a controller counts. */
export function isActive(pod: SimPod): boolean {
  return pod.deletedAtMs === undefined && !podIsFinished(pod.facts);
}

/** Active and ready for traffic. */
export function isAvailable(pod: SimPod): boolean {
  return isActive(pod) && pod.isReady;
}

/** Creates a pod `${workload}-${five characters}`. */
export function createPodOfAnyName(
  place: Workplace,
  workload: SimWorkload,
  onlyNode?: string,
): void {
  const { namespace, name } = workload.ref;
  let podName = `${name}-${suffix(place.random)}`;
  while (place.api.get("pods", podKey({ namespace, name: podName })) !== undefined) {
    podName = `${name}-${suffix(place.random)}`;
  }
  createPod(place, workload, podName, onlyNode);
}

/** Creates the pod of an ordinal; when another pod still has the name, the workload waits until it is gone. */
export function createPodOfOrdinal(place: Workplace, workload: SimWorkload, ordinal: number): void {
  const podName = `${workload.ref.name}-${ordinal}`;
  const key = podKey({ namespace: workload.ref.namespace, name: podName });
  if (place.api.get("pods", key) === undefined) createPod(place, workload, podName, undefined);
  else place.awaitName(key, workload);
}

function createPod(
  place: Workplace,
  workload: SimWorkload,
  podName: string,
  onlyNode: string | undefined,
): void {
  const id = { namespace: workload.ref.namespace, name: podName };
  const { wantsAddress, policy, pool, request, reserveTtl, revision, virtualIps }: PodTemplate =
    workload.template;
  place.trace(`${workloadText(workload)}: creates pod ${podName}`);
  place.api.put("pods", podKey(id), {
    facts: {
      id,
      uid: place.api.newUid(),
      phase: "Pending",
      isTerminating: false,
      nodeName: "",
      wantsAddress,
      policy,
      ...(reserveTtl === undefined ? {} : { reserveTtl }),
      pool,
      controller: controllerRefOf(workload),
      request,
      assignedIps: [],
      argsText: "",
      problems: [],
      createdAtMs: place.api.nowMs(),
    },
    revision,
    isReady: false,
    deletedAtMs: undefined,
    onlyNode,
    priority: 0,
    ...(virtualIps === undefined ? {} : { virtualIps }),
  });
}

/** Deletes a pod of the workload gracefully, unless that was done before. */
export function deletePodOf(
  place: Workplace,
  workload: SimWorkload,
  key: string,
  because: string,
): void {
  if (place.api.get("pods", key)?.deletedAtMs !== undefined) return;
  place.trace(`${workloadText(workload)}: deletes pod ${key}, ${because}`);
  deletePod(place.api, key);
}
