// The manifest that `create` of a scenario stands for: the short form of what an operator would write in YAML.

import {
  addressResource,
  argsAnnotation,
  familiesAnnotation,
  galaxyApiVersion,
  policyAnnotation,
  poolAnnotation,
  reserveTtlAnnotation,
  surgeAnnotation,
} from "../../src/wire/established-names.ts";
import type { JsonObject } from "./manifests.ts";
import { typeOf } from "./manifests.ts";
import type { ObjectName, ScenarioWorkloadKind } from "./scenario.ts";

/** @param fields as the scenario writes them, already checked */
export function createdManifest(
  what: ScenarioWorkloadKind | "pod" | "pool",
  { namespace, name }: ObjectName,
  fields: ReadonlyMap<string, string>,
): JsonObject {
  const metadata = { namespace, name };
  if (what === "pool") {
    const size = fields.get("size");
    return {
      apiVersion: galaxyApiVersion,
      kind: "Pool",
      metadata,
      ...(size === undefined ? {} : { size: Number(size) }),
      preAllocateIP: fields.has("pre-allocate"),
      ...(fields.has("reserve-ttl") ? { reserveTTL: fields.get("reserve-ttl") } : {}),
    };
  }
  const resources = fields.has("float") ? {} : { requests: { [addressResource]: "1" } };
  const annotations = annotationsOf(fields);
  const podSpec = { containers: [{ name: "main", resources }] };
  if (what === "pod") {
    return { apiVersion: "v1", kind: "Pod", metadata: { ...metadata, annotations }, spec: podSpec };
  }
  const rollingUpdate = {
    maxSurge: limitOf(fields, "surge"),
    maxUnavailable: limitOf(fields, "unavailable"),
  };
  const firstOrdinal = fields.get("first-ordinal");
  return {
    ...typeOf(what),
    metadata,
    spec: {
      [what === "job" ? "completions" : "replicas"]: Number(fields.get("replicas") ?? "1"),
      ...(what === "deployment" ? { strategy: { rollingUpdate } } : {}),
      ...(firstOrdinal === undefined ? {} : { ordinals: { start: Number(firstOrdinal) } }),
      template: { metadata: { annotations }, spec: podSpec },
    },
  };
}

function annotationsOf(fields: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  const annotations: Record<string, string> = {};
  const put = (key: string, field: string) => {
    const value = fields.get(field);
    if (value !== undefined) annotations[key] = value;
  };
  put(policyAnnotation, "policy");
  put(poolAnnotation, "pool");
  put(familiesAnnotation, "families");
  put(surgeAnnotation, "surge-ips");
  put(reserveTtlAnnotation, "reserve-ttl");
  const ranges = fields.get("ranges");
  if (ranges !== undefined) {
    // Lists are separated by ";", the ranges of a list by ",".
    const lists = ranges.split(";").map((list) => list.split(","));
    annotations[argsAnnotation] = JSON.stringify({ request_ip_range: lists });
  }
  return annotations;
}

function limitOf(fields: ReadonlyMap<string, string>, name: string): number | string | undefined {
  const text = fields.get(name);
  return text === undefined || text.endsWith("%") ? text : Number(text);
}
