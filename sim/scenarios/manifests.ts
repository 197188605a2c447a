// Manifests of Kubernetes -> objects of the simulated cluster, through the product's own parsers, so that an example means there what it
// means to the product. It changes nothing; applying is the player's.

import { isAlias, LineCounter, parseAllDocuments, visit } from "yaml";
import type {
  PodTemplate,
  SimConfig,
  SimPod,
  SimWorkload,
} from "../../src/adapters/simulated/objects.ts";
import type { Allocation } from "../../src/core/allocation.ts";
import type { PoolFacts } from "../../src/core/facts.ts";
import type { QuotaFacts } from "../../src/core/quota.ts";
import { parseFloatingIp, parsePool } from "../../src/wire/crd.ts";
import { parseFloatingIpConfig } from "../../src/wire/floatingip-config.ts";
import { parsePod } from "../../src/wire/pod.ts";
import { parseQuota } from "../../src/wire/quota.ts";
import { parseDeployment, parseStatefulSet } from "../../src/wire/workload.ts";
import { refOf } from "../operations.ts";
import type { ScenarioWorkloadKind } from "./scenario.ts";

/** A manifest as JSON, with the line that it begins on. */
export type Manifest = { readonly line: number; readonly json: JsonObject };

/** A JSON object. */
export type JsonObject = { readonly [member: string]: unknown };

/** The manifests of a file, or what is wrong with it as `file:line: reason`. */
export type ManifestParse =
  | { readonly kind: "manifests"; readonly manifests: readonly Manifest[] }
  | { readonly kind: "problem"; readonly problem: string };

/** What the simulated cluster makes of a manifest; identities (uid, version, time) are given when it is applied. */
export type ClusterObject =
  | { readonly kind: "config"; readonly config: SimConfig }
  | { readonly kind: "workload"; readonly workload: Omit<SimWorkload, "uid"> }
  | { readonly kind: "pod"; readonly pod: Omit<SimPod, "revision"> }
  | { readonly kind: "pool"; readonly pool: PoolFacts }
  | { readonly kind: "quota"; readonly quota: QuotaFacts }
  | { readonly kind: "record"; readonly record: Allocation }
  /** Means nothing for addresses: a Service, a Namespace, a CustomResourceDefinition. */
  | { readonly kind: "passive" }
  | { readonly kind: "problem"; readonly problem: string };

/**
 * Reads a YAML file of one or more documents. Aliases are refused: manifests of Kubernetes have none.
 * @param file as messages name it
 */
export function parseManifests(file: string, text: string): ManifestParse {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true });
  const manifests: Manifest[] = [];
  if (!Array.isArray(documents)) return { kind: "manifests", manifests };
  for (const document of documents) {
    const lineOf = (offset: number | undefined) => lines.linePos(offset ?? 0).line;
    const [error] = document.errors;
    if (error !== undefined) {
      const reason = error.message.split("\n")[0] ?? "";
      return { kind: "problem", problem: `${file}:${lineOf(error.pos[0])}: ${reason}` };
    }
    const line = lineOf(document.contents?.range?.[0]);
    let alias: number | undefined;
    visit(document, (_, node) => {
      if (isAlias(node)) alias ??= lineOf(node.range?.[0]);
    });
    if (alias !== undefined) {
      return {
        kind: "problem",
        problem: `${file}:${alias}: aliases are not allowed; write it out`,
      };
    }
    const json: unknown = document.toJS();
    if (json === null || json === undefined) continue;
    if (typeof json !== "object" || Array.isArray(json)) {
      return { kind: "problem", problem: `${file}:${line}: the document is no object` };
    }
    manifests.push({ line, json: json as JsonObject });
  }
  return { kind: "manifests", manifests };
}

/** Kinds that the simulated cluster runs, by `apiVersion Kind`. */
const simulatedKinds: ReadonlyMap<string, ScenarioWorkloadKind> = new Map([
  ["apps/v1 Deployment", "deployment"],
  ["apps/v1 ReplicaSet", "replicaset"],
  ["apps/v1 StatefulSet", "statefulset"],
  ["apps/v1 DaemonSet", "daemonset"],
  ["batch/v1 Job", "job"],
  ["apps.tkestack.io/v1 TApp", "tapp"],
  ["example.org/v1 Plain", "plain"],
]);

/** The `apiVersion` and `kind` of a manifest of a kind of workload. */
export function typeOf(kind: ScenarioWorkloadKind): {
  readonly apiVersion: string;
  readonly kind: string;
} {
  for (const [type, known] of simulatedKinds) {
    const [apiVersion = "", name = ""] = type.split(" ");
    if (known === kind) return { apiVersion, kind: name };
  }
  throw new TypeError(`"${kind}" is no kind of workload`);
}

const passiveKinds = new Set(["Service", "Namespace", "CustomResourceDefinition", "PriorityClass"]);

/** What the simulated cluster makes of a manifest. */
export function clusterObjectOf(json: JsonObject): ClusterObject {
  const kind = textOf(json["kind"]);
  const metadata = objectOf(json["metadata"]);
  const named = {
    ...json,
    metadata: { ...metadata, namespace: textOf(metadata["namespace"]) || "default" },
  };
  const workloadKind = simulatedKinds.get(`${textOf(json["apiVersion"])} ${kind}`);
  if (workloadKind !== undefined) return workloadOf(workloadKind, named);
  switch (kind) {
    case "ConfigMap":
      return configOf(json);
    case "Pod":
      return podOf(named);
    case "Pool": {
      const parsed = parsePool(named);
      return parsed.kind === "pool"
        ? { kind: "pool", pool: parsed.pool }
        : { kind: "problem", problem: parsed.problem };
    }
    case "FloatingIPQuota": {
      const parsed = parseQuota(named);
      return parsed.kind === "quota"
        ? { kind: "quota", quota: parsed.quota }
        : { kind: "problem", problem: parsed.problem };
    }
    case "FloatingIP": {
      const record = parseFloatingIp(json);
      return record === undefined
        ? { kind: "problem", problem: "the name of a FloatingIP is no address" }
        : { kind: "record", record };
    }
    default:
      if (passiveKinds.has(kind)) return { kind: "passive" };
      return {
        kind: "problem",
        problem: `${textOf(json["apiVersion"])} ${kind} is not simulated; kinds are ${[...simulatedKinds.keys()].join(", ")}, Pod, Pool, FloatingIP, ConfigMap and, without effect, ${[...passiveKinds].join(", ")}`,
      };
  }
}

function configOf(json: JsonObject): ClusterObject {
  const text = objectOf(json["data"])["floatingips"];
  if (typeof text !== "string") {
    return { kind: "problem", problem: 'the ConfigMap has no key "floatingips" in data' };
  }
  const parsed = parseFloatingIpConfig(text);
  if (parsed.kind === "invalid") {
    return { kind: "config", config: { kind: "broken", problems: parsed.problems } };
  }
  return { kind: "config", config: { kind: "valid", subnets: parsed.subnets } };
}

function podOf(json: JsonObject): ClusterObject {
  const facts = parsePod(json);
  if (facts === undefined) return { kind: "problem", problem: "the Pod has no name" };
  return {
    kind: "pod",
    pod: { facts, isReady: false, deletedAtMs: undefined, onlyNode: undefined, priority: 0 },
  };
}

function workloadOf(kind: ScenarioWorkloadKind, json: JsonObject): ClusterObject {
  const { name, namespace } = objectOf(json["metadata"]);
  const id = { namespace: textOf(namespace), name: textOf(name) };
  const spec = objectOf(json["spec"]);
  if (id.name === "") return { kind: "problem", problem: `the ${kind} has no name` };
  const read = templateOf(id, objectOf(spec["template"]));
  if (typeof read === "string") return { kind: "problem", problem: read };
  const deployment = kind === "deployment" ? parseDeployment(json) : undefined;
  const surgeAddresses = deployment?.kind === "present" ? deployment.surgeAddresses : undefined;
  const template = surgeAddresses === undefined ? read : { ...read, surgeAddresses };
  const counted = kind === "job" ? spec["completions"] : spec["replicas"];
  const replicas = typeof counted === "number" ? counted : 1;
  const strategy = objectOf(spec["strategy"]);
  if (strategy["type"] !== undefined && strategy["type"] !== "RollingUpdate") {
    return { kind: "problem", problem: `strategy ${textOf(strategy["type"])} is not simulated` };
  }
  const limits = objectOf(strategy["rollingUpdate"]);
  const ordinals = kind === "statefulset" ? parseStatefulSet(json) : undefined;
  return {
    kind: "workload",
    workload: {
      kind,
      ref: refOf(kind, id.namespace, id.name),
      replicas,
      firstOrdinal: ordinals?.kind === "present" ? ordinals.firstOrdinal : 0,
      template,
      maxSurge: Math.ceil(limitOf(limits["maxSurge"], replicas)),
      maxUnavailable: Math.floor(limitOf(limits["maxUnavailable"], replicas)),
      deployment: undefined,
    },
  };
}

/** What pods of the template ask for, as the product reads it from a pod; or what is wrong with it. */
function templateOf(
  id: { readonly namespace: string; readonly name: string },
  template: JsonObject,
): PodTemplate | string {
  const facts = parsePod({
    metadata: { ...objectOf(template["metadata"]), ...id },
    spec: template["spec"],
  });
  if (facts === undefined) return "the pod template is not understood";
  if (facts.problems.length > 0) return facts.problems.join("; ");
  const { wantsAddress, policy, pool, request, reserveTtl } = facts;
  const asked = { wantsAddress, policy, pool, request, revision: 1 };
  return reserveTtl === undefined ? asked : { ...asked, reserveTtl };
}

/** An int-or-percent of a Deployment, 25 % by default; not rounded yet. */
function limitOf(value: unknown, replicas: number): number {
  if (typeof value === "number") return value;
  const percent = /^(\d+)%$/.exec(textOf(value))?.[1] ?? "25";
  return (Number(percent) * replicas) / 100;
}

function objectOf(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
