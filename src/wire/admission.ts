// AdmissionReview of admission.k8s.io/v1: what the API server asks a webhook, and the answer
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/). What is said about a workload is core's.

import type { AdmittedWorkload, RolloutFix } from "../core/decide-admission.ts";
import { fixRolloutAnnotation } from "../core/decide-admission.ts";
import {
  argsAnnotation,
  familiesAnnotation,
  policyAnnotation,
  poolAnnotation,
  reserveTtlAnnotation,
  surgeAnnotation,
} from "./established-names.ts";
import { asObject, type JsonObject, quoteValue, textAt, valueAt } from "./json-value.ts";
import { parsePod, policyWithoutResource } from "./pod.ts";
import { vipAddressesAnnotation } from "./vip-claim.ts";
import { parseDeployment } from "./workload.ts";

/** What the API server asks. */
export type AdmissionParse =
  | {
      readonly kind: "review";
      readonly uid: string;
      /** The object as it is applied; undefined when there is none (a deletion), or it is of a kind that nothing is said about. */
      readonly workload: AdmittedWorkload | undefined;
      readonly object: unknown;
    }
  | { readonly kind: "invalid"; readonly problem: string };

/** Annotations that count only on pods. Calico's is left out: on other objects it is not ours to judge. */
const podAnnotations = [
  policyAnnotation,
  poolAnnotation,
  argsAnnotation,
  familiesAnnotation,
  reserveTtlAnnotation,
  surgeAnnotation,
  vipAddressesAnnotation,
];

const workloadKinds = new Set(["Deployment", "StatefulSet", "ReplicaSet"]);

/** Reads a review. Never throws. */
export function parseAdmissionReview(json: unknown): AdmissionParse {
  const apiVersion = textAt(json, "apiVersion") ?? "";
  if (textAt(json, "kind") !== "AdmissionReview" || apiVersion !== "admission.k8s.io/v1") {
    return {
      kind: "invalid",
      problem: `kind ${quoteValue(textAt(json, "kind"))} of ${quoteValue(apiVersion)} is no AdmissionReview of admission.k8s.io/v1; name v1 in admissionReviewVersions of the webhook`,
    };
  }
  const uid = textAt(json, "request", "uid") ?? "";
  if (uid === "")
    return { kind: "invalid", problem: "request.uid is missing in the AdmissionReview" };
  const object = valueAt(json, "request", "object");
  const isDeletion = textAt(json, "request", "operation") === "DELETE";
  const namespace = textAt(json, "request", "namespace") ?? "";
  return {
    kind: "review",
    uid,
    object,
    workload: isDeletion ? undefined : parseAdmittedWorkload(object, namespace),
  };
}

/**
 * Reads a Deployment, StatefulSet or ReplicaSet as it is applied.
 * @param namespace that of the request: an object may come without one
 * @returns undefined for other kinds and shapes
 */
export function parseAdmittedWorkload(
  object: unknown,
  namespace: string,
): AdmittedWorkload | undefined {
  const kind = textAt(object, "kind") ?? "";
  const template = asObject(valueAt(object, "spec", "template"));
  if (!workloadKinds.has(kind) || template === undefined) return undefined;
  const shortName =
    textAt(object, "metadata", "name") || textAt(object, "metadata", "generateName");
  const placed = {
    ...asObject(object),
    metadata: {
      ...asObject(valueAt(object, "metadata")),
      namespace,
      name: shortName ?? "",
    },
  };
  const pod = parsePod(podOf(template, { namespace, name: shortName ?? "" }));
  const state = kind === "Deployment" ? parseDeployment(placed) : undefined;
  const idle = policyWithoutResource(podOf(template, { namespace, name: shortName ?? "" }));
  return {
    name: `${kind} ${namespace}/${shortName ?? ""}`,
    hasFixedAddresses: pod?.wantsAddress === true && pod.policy !== "pod-delete",
    pool: pod?.pool,
    rolloutDeadlock: state?.kind === "present" ? state.rolloutDeadlock : undefined,
    templateProblems: [
      ...(pod?.problems ?? []),
      ...(pod?.warnings ?? []),
      ...(idle === undefined ? [] : [idle]),
    ],
    misplaced: podAnnotations.filter(
      (key) =>
        (textAt(object, "metadata", "annotations", key) ?? "") !== "" &&
        (textAt(template, "metadata", "annotations", key) ?? "") === "",
    ),
    rolloutFix: readFix(textAt(object, "metadata", "annotations", fixRolloutAnnotation)),
  };
}

/** A pod as the template would make it: its annotations are judged by the parser that judges pods. */
function podOf(template: JsonObject, id: { readonly namespace: string; readonly name: string }) {
  return { ...template, metadata: { ...asObject(template["metadata"]), ...id } };
}

function readFix(text: string | undefined): RolloutFix {
  if (text === undefined || text === "" || text === "false") return "not wanted";
  return text === "true" ? "wanted" : { unreadable: quoteValue(text) };
}

/**
 * The answer: always allowed. Warnings go to whoever applies the object (`kubectl` prints them).
 * @param answer.patchBase64 JSON Patch in base64; undefined: the object stays as it is
 */
export function formatAdmissionReview(answer: {
  readonly uid: string;
  readonly warnings: readonly string[];
  readonly patchBase64: string | undefined;
}): JsonObject {
  const { uid, warnings, patchBase64 } = answer;
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: {
      uid,
      allowed: true,
      ...(warnings.length === 0 ? {} : { warnings: warnings.map(cutWarning) }),
      ...(patchBase64 === undefined ? {} : { patchType: "JSONPatch", patch: patchBase64 }),
    },
  };
}

/** The API server drops what is long: 4,096 characters for all warnings together, and it advises at most 120 for one; ours need more. */
function cutWarning(warning: string): string {
  return warning.length > 800 ? `${warning.slice(0, 797)}...` : warning;
}

/** The rolling update that ends, as JSON Patch (RFC 6902): `add` of a member replaces the one that is there, but its parents must exist. */
export function rolloutPatch(object: unknown): readonly JsonObject[] {
  const wanted = { maxSurge: 0, maxUnavailable: 1 };
  const strategy = asObject(valueAt(object, "spec", "strategy"));
  if (strategy === undefined) {
    const value = { type: "RollingUpdate", rollingUpdate: wanted };
    return [{ op: "add", path: "/spec/strategy", value }];
  }
  return [{ op: "add", path: "/spec/strategy/rollingUpdate", value: wanted }];
}
