// Pods and Nodes of the Kubernetes API -> facts. Hand-written: a pod has hundreds of fields of which a dozen matter, and what is wrong
// with an annotation must be said in words. Decides nothing; whose pod it is beyond its controller reference is the cluster view's to say.

import type {
  AddressRequest,
  ControllerRef,
  NodeFacts,
  PodFacts,
  PodPhase,
} from "../core/facts.ts";
import type { IpFamily } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import { policyInForce } from "../core/release-policy.ts";
import type { ReserveTtl } from "../core/reserve-ttl.ts";
import { parseCniArgs } from "./cni-args.ts";
import {
  addressResource,
  argsAnnotation,
  familiesAnnotation,
  policyAnnotation,
  poolAnnotation,
  reserveTtlAnnotation,
  surgeAnnotation,
} from "./established-names.ts";
import { asList, asText, parseTimeMs, quoteValue, textAt, valueAt } from "./json-value.ts";
import { parseReserveTtl } from "./reserve-ttl.ts";

/**
 * Reads a Pod. Problems are collected only from pods that want an address; of others nobody reads the annotations.
 * @returns undefined when it has no name or namespace
 */
export function parsePod(json: unknown): PodFacts | undefined {
  const name = textAt(json, "metadata", "name") ?? "";
  const namespace = textAt(json, "metadata", "namespace") ?? "";
  if (name === "" || namespace === "") return undefined;
  const problems: string[] = [];
  const annotation = (key: string) => textAt(json, "metadata", "annotations", key);
  const asked = requestOf(json, problems);
  const wantsAddress = asked === "some";
  const pool = readPool(annotation(poolAnnotation), problems);
  const families = readFamilies(annotation(familiesAnnotation), problems);
  const surge = parseSurge(annotation(surgeAnnotation));
  if (typeof surge === "object") problems.push(surge.problem);
  const policy = policyInForce(annotation(policyAnnotation), pool);
  const ttl = readReserveTtl(annotation(reserveTtlAnnotation));
  const ttlWarning =
    ttl.problem ??
    (ttl.reserveTtl !== undefined && policy === "pod-delete"
      ? `annotation ${reserveTtlAnnotation} has no effect: the address is released with the pod; add ${policyAnnotation}: immutable or never, or remove it`
      : undefined);
  const argsText = annotation(argsAnnotation) ?? "";
  const args = parseCniArgs(argsText);
  const request: AddressRequest =
    args.ranges === undefined
      ? { kind: "families", families }
      : { kind: "ranges", ranges: args.ranges };
  return {
    id: { namespace, name },
    uid: textAt(json, "metadata", "uid") ?? "",
    phase: readPhase(textAt(json, "status", "phase")),
    isTerminating: (textAt(json, "metadata", "deletionTimestamp") ?? "") !== "",
    nodeName: textAt(json, "spec", "nodeName") ?? "",
    wantsAddress,
    ...(asked === "none" ? { requestsNone: true } : {}),
    policy,
    ...(ttl.reserveTtl === undefined ? {} : { reserveTtl: ttl.reserveTtl }),
    pool,
    controller: parseControllerRef(json),
    request,
    assignedIps: args.assignedIps,
    argsText,
    problems: wantsAddress ? [...problems, ...args.problems] : [],
    ...(wantsAddress && ttlWarning !== undefined ? { warnings: [ttlWarning] } : {}),
    createdAtMs: parseTimeMs(valueAt(json, "metadata", "creationTimestamp")) ?? 0,
  };
}

/**
 * Why annotations of a pod have no effect: they ask for a policy, pool or ranges, but no container asks for an address. Undefined
 * when the pod wants an address or has no such annotation. For a warning, never a reason to refuse the pod.
 */
export function policyWithoutResource(json: unknown): string | undefined {
  if (requestOf(json, []) === "some") return undefined;
  const args = parseCniArgs(textAt(json, "metadata", "annotations", argsAnnotation) ?? "");
  const present = [policyAnnotation, poolAnnotation, familiesAnnotation].filter(
    (key) => (textAt(json, "metadata", "annotations", key) ?? "") !== "",
  );
  if (args.ranges !== undefined) present.push(argsAnnotation);
  if (present.length === 0) return undefined;
  const pod = `${textAt(json, "metadata", "namespace") ?? ""}/${textAt(json, "metadata", "name") ?? ""}`;
  const [subject, pronoun] = present.length === 1 ? ["annotation", "has"] : ["annotations", "have"];
  return `pod ${pod}: ${subject} ${present.join(", ")} ${pronoun} no effect because no container requests ${addressResource}; add ${addressResource}: "1" to the requests and limits of one container, or remove the ${subject}`;
}

/**
 * The controller of an object: the owner reference with `controller: true`; without one, a single owner reference to a workload (the
 * Go system takes the first reference, whatever it is).
 */
export function parseControllerRef(json: unknown): ControllerRef | undefined {
  const references = asList(valueAt(json, "metadata", "ownerReferences"));
  const controller = references.find((reference) => valueAt(reference, "controller") === true);
  if (controller !== undefined) return readOwnerReference(controller);
  if (references.length !== 1) return undefined;
  const single = readOwnerReference(references[0]);
  // The core group has one workload; its other kinds (Node, ConfigMap, …) own pods without controlling them.
  const isWorkload = single?.apiGroup !== "" || single.kind === "ReplicationController";
  return isWorkload ? single : undefined;
}

/** Kinds that hand-made requests name without an API version. */
const kindsOfApps = new Set(["Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"]);

function readOwnerReference(reference: unknown): ControllerRef | undefined {
  const kind = textAt(reference, "kind") ?? "";
  const name = textAt(reference, "name") ?? "";
  if (kind === "" || name === "") return undefined;
  const written = textAt(reference, "apiVersion") ?? "";
  const apiVersion = written === "" && kindsOfApps.has(kind) ? "apps/v1" : written;
  const slash = apiVersion.indexOf("/");
  return {
    apiGroup: slash < 0 ? "" : apiVersion.slice(0, slash),
    apiVersion: apiVersion.slice(slash + 1),
    kind,
    name,
    uid: textAt(reference, "uid") ?? "",
  };
}

/**
 * Whether a container or init container requests, or is limited to, more than none of the resource (`some`), the resource stands there
 * with quantity 0 only (`none`), or not at all.
 */
function requestOf(json: unknown, problems: string[]): "some" | "none" | "absent" {
  const containers = [
    ...asList(valueAt(json, "spec", "containers")),
    ...asList(valueAt(json, "spec", "initContainers")),
  ];
  let asked: "some" | "none" | "absent" = "absent";
  for (const container of containers) {
    for (const side of ["requests", "limits"]) {
      const quantity = valueAt(container, "resources", side, addressResource);
      if (quantity === undefined || quantity === null) continue;
      const isPositive = quantityIsPositive(quantity);
      if (isPositive === undefined) {
        problems.push(
          `container ${textAt(container, "name") ?? ""}: ${side} ${addressResource} ${quoteValue(quantity)} is no quantity; write "1"`,
        );
      }
      if (isPositive ?? true) asked = "some";
      else if (asked === "absent") asked = "none";
    }
  }
  return asked;
}

/** A Kubernetes quantity (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/); undefined: it is none. */
function quantityIsPositive(value: unknown): boolean | undefined {
  if (typeof value === "number") return value > 0;
  const match = quantityPattern.exec(asText(value) ?? "");
  if (match === null) return undefined;
  return match[1] !== "-" && /[1-9]/.test(match[2] ?? "");
}

const quantityPattern =
  /^([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$/;

/**
 * The pool's name. Any name is allowed (the seeds say so), but it stands in a key between two "_" and in the path of a URL, so that
 * "_", "/", blanks and control characters are not.
 */
function readPool(name: string | undefined, problems: string[]): string | undefined {
  if (name === undefined || name === "") return undefined;
  const problem = poolNameProblem(name);
  if (problem === undefined) return name;
  problems.push(`annotation ${poolAnnotation}: ${problem}`);
  return undefined;
}

/** What is wrong with the name of a pool, with the remedy; undefined when nothing is. */
export function poolNameProblem(name: string): string | undefined {
  if (name === "") return "pool name is empty; give the pool a name";
  if (name.length > 253) {
    return `pool name ${quoteValue(name)} is longer than 253 characters; shorten it`;
  }
  if (/[_/\s\p{Cc}]/u.test(name)) {
    return `pool name ${quoteValue(name)} has "_", "/" or blanks in it; rename the pool, for example to ${quoteValue(name.replaceAll(/[_/\s\p{Cc}]+/gu, "-"))}`;
  }
  return undefined;
}

/** Most addresses that a Deployment may have for rolling updates: a typing error must not empty a subnet. */
export const mostSurgeAddresses = 256;

/** Reads the annotation {@link surgeAnnotation} of a pod template. */
export function parseSurge(text: string | undefined): number | { readonly problem: string } {
  if (text === undefined || text === "") return 0;
  const count = /^[0-9]{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (count <= mostSurgeAddresses) return count;
  return {
    problem: `annotation ${surgeAnnotation}: ${quoteValue(text)} is no whole number from 0 to ${mostSurgeAddresses}; write how many pods a rolling update may make beside the old ones, for example "1"`,
  };
}

/** Reads the annotation {@link reserveTtlAnnotation}; one that cannot be understood keeps the address, whatever its pool says. */
export function readReserveTtl(text: string | undefined): {
  readonly reserveTtl: ReserveTtl | undefined;
  readonly problem: string | undefined;
} {
  const ttl = parseReserveTtl(text, `annotation ${reserveTtlAnnotation}`);
  return typeof ttl === "object"
    ? { reserveTtl: "never", problem: ttl.problem }
    : { reserveTtl: ttl, problem: undefined };
}

function readFamilies(
  text: string | undefined,
  problems: string[],
): readonly IpFamily[] | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  const families: IpFamily[] = [];
  for (const word of text.split(",")) {
    const family = familyNames.get(word.trim().toLowerCase());
    if (family === undefined || families.includes(family)) {
      problems.push(
        `annotation ${familiesAnnotation}: ${quoteValue(text)} is no list of different families; write "IPv4", "IPv6", "IPv4,IPv6" or "IPv6,IPv4"`,
      );
      return undefined;
    }
    families.push(family);
  }
  return families;
}

const familyNames = new Map<string, IpFamily>([
  ["ipv4", "IPv4"],
  ["ipv6", "IPv6"],
]);

function readPhase(text: string | undefined): PodPhase {
  switch (text) {
    case "Pending":
    case "Running":
    case "Succeeded":
    case "Failed":
      return text;
    case undefined:
    case "":
      return "Pending";
    default:
      return "Unknown";
  }
}

/**
 * Reads a Node.
 * @returns undefined when it has no name
 */
export function parseNode(json: unknown): NodeFacts | undefined {
  const name = textAt(json, "metadata", "name") ?? "";
  if (name === "") return undefined;
  const internalIps = asList(valueAt(json, "status", "addresses"))
    .filter((entry) => textAt(entry, "type") === "InternalIP")
    .flatMap((entry) => parseIp(textAt(entry, "address") ?? "") ?? []);
  return { name, internalIps: [...new Set(internalIps)] };
}
