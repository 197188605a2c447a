// How objects of a simulated cluster are kept: as JSON of their own, pods in the words of Kubernetes. Where they are kept is the store's business.

import type { Static, TSchema } from "typebox";
import { Type } from "typebox";
import { Check } from "typebox/value";
import type { AddressRequest } from "../../core/facts.ts";
import { parseIp } from "../../core/ip.ts";
import { formatIpRange } from "../../core/ip-range.ts";
import { builtInWorkload, type WorkloadRef } from "../../core/owner.ts";
import { parseCniArgs } from "../../wire/cni-args.ts";
import { parsePod } from "../../wire/pod.ts";
import { formatPod } from "../../wire/pod-manifest.ts";
import { formatReserveTtl, parseReserveTtl } from "../../wire/reserve-ttl.ts";
import { groupVersionKinds } from "./controllers/workplace.ts";
import type { SimNode, SimPod, SimWorkload, WorkloadKind } from "./objects.ts";

/** Collections that are kept; records, Pools and the configuration are other stores' business. */
export type SavedCollection = "pods" | "nodes" | "workloads";

const savedPod = Type.Object({
  pod: Type.Unknown(),
  revision: Type.Integer(),
  isReady: Type.Boolean(),
  deletedAtMs: Type.Optional(Type.Number()),
  onlyNode: Type.Optional(Type.String()),
  priority: Type.Integer(),
  virtualIps: Type.Optional(Type.Array(Type.String())),
});

const savedNode = Type.Object({
  name: Type.String(),
  ips: Type.Array(Type.String()),
  isUp: Type.Boolean(),
  downSinceMs: Type.Number(),
});

const savedWorkload = Type.Object({
  kind: Type.Enum(Object.keys(groupVersionKinds) as WorkloadKind[]),
  namespace: Type.String(),
  name: Type.String(),
  uid: Type.String(),
  replicas: Type.Integer(),
  firstOrdinal: Type.Integer(),
  maxSurge: Type.Integer(),
  maxUnavailable: Type.Integer(),
  deployment: Type.Optional(Type.String()),
  template: Type.Object({
    revision: Type.Integer(),
    wantsAddress: Type.Boolean(),
    policy: Type.Enum(["pod-delete", "immutable", "never"]),
    pool: Type.Optional(Type.String()),
    ipFamilies: Type.Optional(Type.Array(Type.Enum(["IPv4", "IPv6"]))),
    requestIpRange: Type.Optional(Type.Array(Type.Array(Type.String()))),
    surgeAddresses: Type.Optional(Type.Integer()),
    reserveTtl: Type.Optional(Type.String()),
    virtualIps: Type.Optional(Type.Array(Type.String())),
  }),
});

/** JSON of a pod. */
export function formatSavedPod(pod: SimPod): string {
  const { facts, ...rest } = pod;
  return JSON.stringify({ pod: formatPod(facts), ...rest });
}

/** The pod of a JSON text; undefined when it is none. */
export function parseSavedPod(text: string): SimPod | undefined {
  const saved = parsed(savedPod, text);
  const facts = parsePod(saved?.pod);
  if (saved === undefined || facts === undefined) return undefined;
  const { revision, isReady, deletedAtMs, onlyNode, priority } = saved;
  const claims = virtualIpsFrom(saved.virtualIps);
  return { facts, revision, isReady, deletedAtMs, onlyNode, priority, ...claims };
}

/** JSON of a node. */
export function formatSavedNode({ facts, isUp, downSinceMs }: SimNode): string {
  const saved: Static<typeof savedNode> = {
    name: facts.name,
    ips: [...facts.internalIps],
    isUp,
    downSinceMs,
  };
  return JSON.stringify(saved);
}

/** The node of a JSON text; undefined when it is none. */
export function parseSavedNode(text: string): SimNode | undefined {
  const saved = parsed(savedNode, text);
  if (saved === undefined) return undefined;
  const { name, ips, isUp, downSinceMs } = saved;
  return {
    facts: { name, internalIps: ips.flatMap((ip) => parseIp(ip) ?? []) },
    isUp,
    downSinceMs,
  };
}

/** JSON of a workload. */
export function formatSavedWorkload(workload: SimWorkload): string {
  const { ref, template, ...rest } = workload;
  const { request, reserveTtl, ...asked } = template;
  return JSON.stringify({
    ...rest,
    namespace: ref.namespace,
    name: ref.name,
    template: {
      ...asked,
      ...(reserveTtl === undefined ? {} : { reserveTtl: formatReserveTtl(reserveTtl) }),
      ...(request.kind === "families"
        ? { ipFamilies: request.families }
        : { requestIpRange: request.ranges.map((list) => list.map(formatIpRange)) }),
    },
  });
}

/** The workload of a JSON text; undefined when it is none. */
export function parseSavedWorkload(text: string): SimWorkload | undefined {
  const saved = parsed(savedWorkload, text);
  if (saved === undefined) return undefined;
  const { namespace, name, template, deployment, ...rest } = saved;
  const { revision, wantsAddress, policy, pool, surgeAddresses } = template;
  const request = requestFrom(template);
  if ("problems" in request) return undefined;
  const reserveTtl = parseReserveTtl(template.reserveTtl, "reserveTtl");
  if (typeof reserveTtl === "object") return undefined;
  return {
    ...rest,
    ref: refOf(rest.kind, { namespace, name }),
    deployment,
    template: {
      revision,
      wantsAddress,
      policy,
      pool,
      request,
      ...(surgeAddresses === undefined ? {} : { surgeAddresses }),
      ...(reserveTtl === undefined ? {} : { reserveTtl }),
      ...virtualIpsFrom(template.virtualIps),
    },
  };
}

function virtualIpsFrom(texts: readonly string[] | undefined): Pick<SimPod, "virtualIps"> {
  return texts === undefined ? {} : { virtualIps: texts.flatMap((text) => parseIp(text) ?? []) };
}

/** The reference by which records name a workload of this cluster. */
export function refOf(
  kind: WorkloadKind,
  id: { readonly namespace: string; readonly name: string },
): WorkloadRef {
  return kind === "deployment" || kind === "replicaset" || kind === "statefulset"
    ? builtInWorkload(kind, id)
    : { type: "custom", kind, apiGroup: groupVersionKinds[kind].apiGroup, ...id };
}

/** What pods ask for, from the texts of ranges or families; `problems` name what is wrong with the ranges. */
export function requestFrom(asked: {
  readonly ipFamilies?: readonly ("IPv4" | "IPv6")[] | undefined;
  readonly requestIpRange?: readonly (readonly string[])[] | undefined;
}): AddressRequest | { readonly problems: readonly string[] } {
  if (asked.requestIpRange === undefined) return { kind: "families", families: asked.ipFamilies };
  const { ranges, problems } = parseCniArgs(
    JSON.stringify({ request_ip_range: asked.requestIpRange }),
  );
  return ranges === undefined ? { problems } : { kind: "ranges", ranges };
}

function parsed<S extends TSchema>(schema: S, text: string): Static<S> | undefined {
  const json: unknown = JSON.parse(text);
  return Check(schema, json) ? json : undefined;
}
