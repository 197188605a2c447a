// Deployments, StatefulSets, ReplicaSets, CustomResourceDefinitions and scalable custom workloads of the Kubernetes API -> facts.
// Hand-written: each needs a handful of fields with the API's defaults. Whether an object is gone is not said here.

import { fixRolloutAnnotation } from "../core/decide-admission.ts";
import type { ControllerRef, WorkloadState } from "../core/facts.ts";
import { reserveTtlAnnotation, surgeAnnotation } from "./established-names.ts";
import { asList, textAt, valueAt } from "./json-value.ts";
import { parseControllerRef, parseSurge, readReserveTtl } from "./pod.ts";

/** A CustomResourceDefinition, as far as scaling is concerned. */
export type CrdFacts = {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
  readonly scope: "Namespaced" | "Cluster";
  readonly versions: readonly CrdVersion[];
};

/** A version of a custom resource. */
export type CrdVersion = {
  readonly name: string;
  readonly served: boolean;
  readonly storage: boolean;
  /** Where the scale subresource reads the replicas, for example `.spec.replicas`; undefined without scale subresource. */
  readonly specReplicasPath: string | undefined;
};

/** Reads a Deployment of `apps/v1`; `unknown` when it has not that shape. */
export function parseDeployment(json: unknown): WorkloadState {
  const surge = parseSurge(
    textAt(json, "spec", "template", "metadata", "annotations", surgeAnnotation),
  );
  // With a value that cannot be read its pods are refused, and say so.
  const surgeAddresses = typeof surge === "number" ? surge : 0;
  return readWorkload(json, "Deployment", (replicas, name) => ({
    firstOrdinal: 0,
    ...(surgeAddresses === 0 ? {} : { surgeAddresses }),
    rolloutDeadlock: surgeAddresses > 0 ? undefined : rolloutDeadlockOf(json, replicas, name),
  }));
}

/** Reads a StatefulSet of `apps/v1`; `unknown` when it has not that shape. */
export function parseStatefulSet(json: unknown): WorkloadState {
  const start = countAt(json, "spec", "ordinals", "start") ?? 0;
  return readWorkload(json, "StatefulSet", () => ({
    firstOrdinal: start,
    rolloutDeadlock: undefined,
  }));
}

/** Reads a ReplicaSet of `apps/v1`; `unknown` when it has not that shape. It never rolls. */
export function parseReplicaSet(json: unknown): WorkloadState {
  return readWorkload(json, "ReplicaSet", () => ({
    firstOrdinal: 0,
    rolloutDeadlock: undefined,
  }));
}

/** The Deployment (or another controller) that owns a ReplicaSet; undefined for a bare one. */
export function replicaSetOwner(json: unknown): ControllerRef | undefined {
  return parseControllerRef(json);
}

function readWorkload(
  json: unknown,
  kind: string,
  details: (
    replicas: number,
    name: string,
  ) => {
    readonly firstOrdinal: number;
    readonly surgeAddresses?: number;
    readonly rolloutDeadlock: string | undefined;
  },
): WorkloadState {
  const name = textAt(json, "metadata", "name") ?? "";
  const uid = textAt(json, "metadata", "uid") ?? "";
  const replicas = countAt(json, "spec", "replicas") ?? 1;
  if (name === "") {
    return { kind: "unknown", reason: `the API answered a ${kind} without a name` };
  }
  const path = `${textAt(json, "metadata", "namespace") ?? ""}/${name}`;
  const { reserveTtl } = readReserveTtl(
    textAt(json, "spec", "template", "metadata", "annotations", reserveTtlAnnotation),
  );
  return {
    kind: "present",
    uid,
    replicas,
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
    ...details(replicas, path),
  };
}

/** A whole number, 0 or more, at a path; undefined when there is none. */
function countAt(json: unknown, ...path: readonly string[]): number | undefined {
  const value = valueAt(json, ...path);
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/**
 * Why a rolling update waits for ever when the Deployment may have no more addresses than replicas: no old pod may go before a new one
 * is ready, and the new one waits for the address of an old one. maxSurge is rounded up and maxUnavailable down, 25% each by default,
 * and when both come to 0 Kubernetes takes maxUnavailable 1
 * (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment).
 */
function rolloutDeadlockOf(json: unknown, replicas: number, name: string): string | undefined {
  const strategy = valueAt(json, "spec", "strategy");
  const type = textAt(strategy, "type") ?? "";
  if (replicas === 0 || (type !== "" && type !== "RollingUpdate")) return undefined;
  const unavailable = readLimit(valueAt(strategy, "rollingUpdate", "maxUnavailable"), replicas);
  const surge = readLimit(valueAt(strategy, "rollingUpdate", "maxSurge"), replicas);
  const maxUnavailable = Math.floor(unavailable.value);
  const maxSurge = Math.ceil(surge.value);
  if (maxUnavailable > 0 || maxSurge === 0) return undefined;
  const rounding = unavailable.text.endsWith("%")
    ? ` of ${replicas} replicas rounds down to 0`
    : "";
  // API servers go on without a webhook that they do not reach, and say nothing: here it shows.
  const unmended =
    textAt(json, "metadata", "annotations", fixRolloutAnnotation) === "true"
      ? `; its annotation ${fixRolloutAnnotation} asks galaxy-webhook for that, which did not hear of the last change: see whether it runs (kubectl -n kube-system get deployment galaxy-webhook), then apply the Deployment again`
      : "";
  return `a rolling update of Deployment ${name} waits for ever: maxUnavailable ${unavailable.text}${rounding}, so no old pod goes before a new one is ready, while the new one (maxSurge ${surge.text}) waits for the address of an old one; set spec.strategy.rollingUpdate to maxSurge: 0 and maxUnavailable: 1, or give its pod template the annotation ${surgeAnnotation}: "1"${unmended}`;
}

/** An int-or-percent with the API's default of 25%; `value` is not rounded yet. */
function readLimit(
  value: unknown,
  replicas: number,
): { readonly value: number; readonly text: string } {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) {
    return { value, text: String(value) };
  }
  const percent = /^([0-9]{1,9})%$/.exec(typeof value === "string" ? value : "25%");
  const share = percent === null ? 25 : Number(percent[1]);
  return { value: (share * replicas) / 100, text: `${share}%` };
}

/** Reads a CustomResourceDefinition of `apiextensions.k8s.io/v1`; undefined when it has not that shape. */
export function parseCustomResourceDefinition(json: unknown): CrdFacts | undefined {
  const group = textAt(json, "spec", "group") ?? "";
  const plural = textAt(json, "spec", "names", "plural") ?? "";
  const kind = textAt(json, "spec", "names", "kind") ?? "";
  if (group === "" || plural === "" || kind === "") return undefined;
  const versions = asList(valueAt(json, "spec", "versions")).flatMap((version): CrdVersion[] => {
    const name = textAt(version, "name") ?? "";
    if (name === "") return [];
    const path = textAt(version, "subresources", "scale", "specReplicasPath") ?? "";
    return [
      {
        name,
        served: valueAt(version, "served") === true,
        storage: valueAt(version, "storage") === true,
        specReplicasPath: path === "" ? undefined : path,
      },
    ];
  });
  const scope = textAt(json, "spec", "scope") === "Cluster" ? "Cluster" : "Namespaced";
  return { group, plural, kind, scope, versions };
}

/**
 * The replicas of a custom workload at its `specReplicasPath`: member names, each after a dot, without the array notation, as the API
 * server demands. Undefined when there is no whole number, 0 or more, at that place.
 */
export function replicasAt(json: unknown, specReplicasPath: string): number | undefined {
  if (!/^(?:\.[^.[\]]+)+$/.test(specReplicasPath)) return undefined;
  return countAt(json, ...specReplicasPath.slice(1).split("."));
}
