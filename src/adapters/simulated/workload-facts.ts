// What the simulated cluster says about workloads, in the facts that decisions are made from. Reads nothing itself.

import type { PodFacts, PodOwnership, WorkloadState } from "../../core/facts.ts";
import type { WorkloadRef } from "../../core/owner.ts";
import {
  type ReplicaSetController,
  replicaSetNameOf,
  resolveOwnership,
} from "../../core/ownership.ts";
import { surgeAnnotation } from "../../wire/established-names.ts";
import { parseDeployment } from "../../wire/workload.ts";
import { workloadKey } from "./keys.ts";
import type { SimWorkload, WorkloadKind } from "./objects.ts";

/** Where the cluster keeps the workload that a record or a pod names. */
export function keyOfRef(ref: WorkloadRef): string {
  return workloadKey(ref.kind as WorkloadKind, ref.namespace, ref.name);
}

/** Kinds with a scale subresource. */
const scalableKinds: ReadonlySet<string> = new Set([
  "deployment",
  "replicaset",
  "statefulset",
  "tapp",
]);

/** The state of a workload that is there, or of one that is not. */
export function stateOfWorkload(
  workload: SimWorkload | undefined,
  ref: WorkloadRef,
): WorkloadState {
  if (workload === undefined) return { kind: "gone" };
  const { surgeAddresses = 0, reserveTtl } = workload.template;
  return {
    kind: "present",
    uid: workload.uid,
    replicas: scalableKinds.has(ref.kind) ? workload.replicas : undefined,
    ...(workload.kind === "deployment" && surgeAddresses > 0 ? { surgeAddresses } : {}),
    // Of custom workloads nobody reads the template.
    ...(ref.type === "custom" || reserveTtl === undefined ? {} : { reserveTtl }),
    firstOrdinal: workload.firstOrdinal,
    rolloutDeadlock: rolloutDeadlockOf(workload),
  };
}

/** Why a rolling update of a workload waits for ever, as it is said of real Deployments; undefined when it does not. */
export function rolloutDeadlockOf(workload: SimWorkload): string | undefined {
  if (workload.kind !== "deployment") return undefined;
  const { maxSurge, maxUnavailable, replicas, ref, template } = workload;
  const annotations = { [surgeAnnotation]: `${template.surgeAddresses ?? 0}` };
  const state = parseDeployment({
    metadata: { namespace: ref.namespace, name: ref.name },
    spec: {
      replicas,
      strategy: { rollingUpdate: { maxSurge, maxUnavailable } },
      template: { metadata: { annotations } },
    },
  });
  return state.kind === "present" ? state.rolloutDeadlock : undefined;
}

/** Key of the ReplicaSet that controls a pod; undefined when none does. */
export function replicaSetKeyOf(pod: PodFacts): string | undefined {
  const name = replicaSetNameOf(pod);
  return name === undefined ? undefined : workloadKey("replicaset", pod.id.namespace, name);
}

/** Whose a pod is. @param replicaSet that of {@link replicaSetKeyOf}; undefined when it is not known */
export function ownershipOfPod(pod: PodFacts, replicaSet: SimWorkload | undefined): PodOwnership {
  const controller: ReplicaSetController =
    replicaSet === undefined
      ? "unknown"
      : replicaSet.deployment === undefined
        ? "none"
        : { deployment: replicaSet.deployment };
  return resolveOwnership(pod, controller);
}
