// The objects of API group galaxy.k8s.io: FloatingIP <-> Allocation, Pool <-> PoolFacts, and their CustomResourceDefinitions. Hand-written:
// records of the Go system and of operators must be understood however bare they are. Never writes an empty string, because API servers
// built with some Go versions refuse those in custom resources. When to write is not said here.

import type { Allocation, IdleFields } from "../core/allocation.ts";
import { stateOf, withForeignText, withIdleFields } from "../core/allocation.ts";
import type { PoolFacts } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import type { Owner, WorkloadRef } from "../core/owner.ts";
import { recordNameOf } from "../core/record-name.ts";
import type { ReleasePolicy } from "../core/release-policy.ts";
import {
  galaxyApiVersion,
  galaxyGroup,
  ipTypeLabel,
  ipTypeValue,
  reservedLabel,
} from "./established-names.ts";
import { alsoSaying, foreignTextOf } from "./foreign-text.ts";
import {
  asList,
  asObject,
  asText,
  formatTime,
  parseTimeMs,
  quoteValue,
  textAt,
  valueAt,
} from "./json-value.ts";
import { formatOwnerKey, parseOwnerKey } from "./owner-key.ts";
import { poolNameProblem } from "./pod.ts";
import { formatReserveTtl, parseReserveTtl } from "./reserve-ttl.ts";

/** A FloatingIP as this program creates it. */
export type FloatingIpObject = {
  readonly apiVersion: string;
  readonly kind: "FloatingIP";
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: Readonly<Record<string, unknown>>;
};

/** A JSON merge patch (RFC 7386) of an object; null removes a member. */
export type MergePatch = {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string | null>>;
  };
  readonly [member: string]: unknown;
};

/** The numbers of the release policies in `spec.policy`. */
const policyNumbers: Readonly<Record<ReleasePolicy, number>> = {
  "pod-delete": 0,
  immutable: 1,
  never: 2,
};

/** The name of an address's record: the address; of IPv6 its eight groups without leading zeros, "-" for ":". */
export function floatingIpName(ip: Ip): string {
  return recordNameOf(ip);
}

/** The address of a record's name; undefined when the name is not exactly what {@link floatingIpName} writes. */
export function parseFloatingIpName(name: string): Ip | undefined {
  const ip = parseIp(name.includes("-") ? name.replaceAll("-", ":") : name);
  if (ip === undefined || floatingIpName(ip) !== name) return undefined;
  // The name itself where it is the address: a text put together from parts takes twice the memory.
  return ip === name ? (name as Ip) : ip;
}

/**
 * Reads a FloatingIP. The label `reserved`, whatever its value, makes it the administrator's. The key is authoritative; `spec.workload`
 * only adds the API group that the key cannot say, and is not believed when it contradicts the key. An unknown policy number counts
 * as `never`, so that nothing is released that we do not understand.
 * @returns undefined when the name is no address
 */
export function parseFloatingIp(json: unknown): Allocation | undefined {
  const ip = parseFloatingIpName(textAt(json, "metadata", "name") ?? "");
  if (ip === undefined) return undefined;
  const key = textAt(json, "spec", "key") ?? "";
  const isReserved = valueAt(json, "metadata", "labels", reservedLabel) !== undefined;
  const owner: Owner = isReserved
    ? { kind: "admin", key }
    : refineOwner(parseOwnerKey(key), valueAt(json, "spec", "workload"));
  const attribute = readAttribute(valueAt(json, "spec", "attribute"));
  const updatedAtMs =
    parseTimeMs(valueAt(json, "spec", "updateTime")) ??
    parseTimeMs(valueAt(json, "metadata", "creationTimestamp")) ??
    0;
  const allocation: Allocation = {
    ip,
    owner,
    policy: readPolicy(valueAt(json, "spec", "policy")),
    nodeName: attribute.nodeName,
    lastNodeName: textAt(json, "spec", "lastNode") ?? "",
    podUid: attribute.podUid,
    updatedAtMs,
    isDraining: textAt(json, "spec", "state") === "Draining",
    version: textAt(json, "metadata", "resourceVersion") ?? "",
  };
  return withForeignText(
    withIdleFields(allocation, readIdleFields(json)),
    foreignTextOf(json, floatingIpSchema, ownLabels),
  );
}

/** What the Go system does not know and does not write: it is gone once that has changed the record. */
function readIdleFields(json: unknown): IdleFields {
  const ttl = parseReserveTtl(valueAt(json, "spec", "reserveTTL"), "");
  return {
    // What somebody wrote by hand and we do not understand releases nothing.
    reserveTtl: typeof ttl === "object" ? "never" : ttl,
    idleSinceMs: parseTimeMs(valueAt(json, "spec", "idleSince")),
    idleWarnedMs: parseTimeMs(valueAt(json, "spec", "idleWarned")),
  };
}

function readPolicy(value: unknown): ReleasePolicy {
  if (value === undefined || value === null || value === 0) return "pod-delete";
  return value === 1 ? "immutable" : "never";
}

/** `spec.attribute` is JSON text; anything else means that nothing is known. */
function readAttribute(value: unknown): { readonly nodeName: string; readonly podUid: string } {
  let parsed: unknown = value;
  if (typeof value === "string") {
    try {
      parsed = JSON.parse(value);
    } catch {
      // Records with other text exist; the Go system tolerates them too.
      parsed = undefined;
    }
  }
  return { nodeName: textAt(parsed, "NodeName") ?? "", podUid: textAt(parsed, "Uid") ?? "" };
}

/** In `spec.workload.apiGroup`, the core group, whose name is empty. */
const coreGroupText = "core";

function refineOwner(owner: Owner, value: unknown): Owner {
  if (owner.kind !== "pod" && owner.kind !== "workload") return owner;
  if (owner.workload === undefined) return owner;
  const group = textAt(value, "apiGroup");
  const kind = textAt(value, "kind") ?? "";
  if (group === undefined || group === "") return owner;
  // Key words of built-in workloads; other kinds of group apps (DaemonSets) are custom like those of any group.
  if (group === "apps" && owner.workload.type !== "custom") return owner;
  const apiGroup = group === coreGroupText ? "" : group;
  const refined: WorkloadRef = { ...owner.workload, type: "custom", kind, apiGroup };
  const candidate: Owner = { ...owner, workload: refined };
  const agrees =
    textAt(value, "name") === refined.name && formatOwnerKey(candidate) === formatOwnerKey(owner);
  return agrees ? candidate : owner;
}

/** What `kubectl get fip` shows and selectors find; never read back, but for the API group of a
 * custom workload, the last node, and what is said of the time without a pod. */
function structuredFields(allocation: Allocation): Readonly<Record<string, unknown>> {
  const { owner } = allocation;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
  return {
    state: stateOf(allocation),
    releasePolicy: allocation.policy,
    namespace: pod?.namespace ?? workload?.namespace,
    workload: workload && {
      apiGroup: workload.apiGroup === "" ? coreGroupText : workload.apiGroup,
      kind: workload.kind,
      name: workload.name,
    },
    pod: pod?.name,
    pool,
    node: allocation.nodeName === "" ? undefined : allocation.nodeName,
    lastNode: allocation.lastNodeName === "" ? undefined : allocation.lastNodeName,
    reserveTTL:
      allocation.reserveTtl === undefined ? undefined : formatReserveTtl(allocation.reserveTtl),
    idleSince:
      allocation.idleSinceMs === undefined ? undefined : formatTime(allocation.idleSinceMs),
    idleWarned:
      allocation.idleWarnedMs === undefined ? undefined : formatTime(allocation.idleWarnedMs),
  };
}

function establishedFields(allocation: Allocation): Readonly<Record<string, unknown>> {
  const key = formatOwnerKey(allocation.owner);
  return {
    key: key === "" ? undefined : key,
    policy: policyNumbers[allocation.policy],
    attribute: JSON.stringify({ NodeName: allocation.nodeName, Uid: allocation.podUid }),
    updateTime: formatTime(allocation.updatedAtMs),
  };
}

/** A label value (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/). */
const labelValuePattern = /^[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;

/**
 * Labels for selectors: `galaxy.k8s.io/state`, `/policy`, `/namespace`, `/workload` (its name), `/workload-kind`, `/pool`. A value that is no label
 * value (names may be longer than 63 characters) has no label. Beside them the established ones.
 */
function selectorLabels(allocation: Allocation): Readonly<Record<string, string | undefined>> {
  const fields = structuredFields(allocation);
  const fitting = (value: unknown) =>
    typeof value === "string" && labelValuePattern.test(value) ? value : undefined;
  return {
    [`${galaxyGroup}/state`]: fitting(fields["state"]),
    [`${galaxyGroup}/policy`]: fitting(allocation.policy),
    [`${galaxyGroup}/namespace`]: fitting(fields["namespace"]),
    [`${galaxyGroup}/workload`]: fitting(textAt(fields["workload"], "name")),
    [`${galaxyGroup}/workload-kind`]: fitting(textAt(fields["workload"], "kind")),
    [`${galaxyGroup}/pool`]: fitting(fields["pool"]),
    [reservedLabel]: allocation.owner.kind === "admin" ? "true" : undefined,
    // IPv6 ones are hidden from the Go system, which would delete what is in none of its ranges.
    [ipTypeLabel]: allocation.ip.includes(":") ? undefined : ipTypeValue,
  };
}

/** Labels that this program writes and takes away. */
const ownLabels: ReadonlySet<string> = new Set([
  ...["state", "policy", "namespace", "workload", "workload-kind", "pool"].map(
    (name) => `${galaxyGroup}/${name}`,
  ),
  reservedLabel,
  ipTypeLabel,
]);

/** A new record, with what it says besides; `allocation.version` is not part of it. */
export function formatFloatingIp(allocation: Allocation): FloatingIpObject {
  const object = withoutAbsent({
    apiVersion: galaxyApiVersion,
    kind: "FloatingIP",
    metadata: { name: floatingIpName(allocation.ip), labels: selectorLabels(allocation) },
    spec: { ...establishedFields(allocation), ...structuredFields(allocation) },
  }) as FloatingIpObject;
  return alsoSaying(object, allocation.foreignText);
}

/**
 * The change that makes a record say what the allocation says: our labels and fields that no longer apply are removed, those of others
 * stay. Carries the version that it expects, so that the API server refuses it when the record changed meanwhile.
 */
export function floatingIpPatch(allocation: Allocation): MergePatch {
  return absentAsNull({
    metadata: {
      resourceVersion: allocation.version,
      labels: patchedLabels(allocation),
    },
    spec: {
      ...establishedFields(allocation),
      ...structuredFields(allocation),
    },
  }) as MergePatch;
}

/** An operator's own label `reserved` is never removed: only deleting the record gives the address back. */
function patchedLabels(allocation: Allocation): Readonly<Record<string, string | undefined>> {
  const { [reservedLabel]: reserved, ...labels } = selectorLabels(allocation);
  return reserved === undefined ? labels : { ...labels, [reservedLabel]: reserved };
}

/** Without members that are undefined, at any depth. */
function withoutAbsent(value: unknown): unknown {
  const object = asObject(value);
  if (object === undefined) return value;
  return Object.fromEntries(
    Object.entries(object)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => [name, withoutAbsent(member)]),
  );
}

/** With null, which removes a member in a merge patch, for members that are undefined, at any depth. */
function absentAsNull(value: unknown): unknown {
  if (value === undefined) return null;
  const object = asObject(value);
  if (object === undefined) return value;
  return Object.fromEntries(
    Object.entries(object).map(([name, member]) => [name, absentAsNull(member)]),
  );
}

/** A Pool that was read, or why it cannot be used. */
export type PoolParse =
  | { readonly kind: "pool"; readonly pool: PoolFacts }
  | {
      readonly kind: "problem";
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
      /** Names namespace, name, field, value and remedy. */
      readonly problem: string;
    };

/** Most addresses a pool may be told to have, the largest number that the schema lets through. */
const largestPoolSize = 2 ** 31 - 1;

/** Reads a Pool; `size` and `preAllocateIP` stand at top level, and both may be absent. */
export function parsePool(json: unknown): PoolParse {
  const name = textAt(json, "metadata", "name") ?? "";
  const namespace = textAt(json, "metadata", "namespace") ?? "";
  const uid = textAt(json, "metadata", "uid") ?? "";
  const size = valueAt(json, "size") ?? undefined;
  const preAllocate = valueAt(json, "preAllocateIP") ?? false;
  const problem = (text: string): PoolParse => ({
    kind: "problem",
    namespace,
    name,
    uid,
    problem: `Pool ${namespace}/${name}: ${text}`,
  });
  const nameProblem = poolNameProblem(name);
  if (nameProblem !== undefined) return problem(nameProblem);
  if (size !== undefined && !isPoolSize(size)) {
    return problem(
      `size ${quoteValue(size)} is no whole number from 0 to ${largestPoolSize}; write one, or leave it out for a pool that grows with its workloads`,
    );
  }
  if (typeof preAllocate !== "boolean") {
    return problem(`preAllocateIP ${quoteValue(preAllocate)} is neither true nor false; write one`);
  }
  const foreignText = foreignTextOf(json, poolSchema);
  const ttl = parseReserveTtl(valueAt(json, "reserveTTL"), `Pool ${namespace}/${name}: reserveTTL`);
  const createdAtMs = parseTimeMs(valueAt(json, "metadata", "creationTimestamp")) ?? 0;
  const version = textAt(json, "metadata", "resourceVersion") ?? "";
  return {
    kind: "pool",
    pool: {
      name,
      namespace,
      uid,
      size,
      preAllocate,
      ...(ttl === undefined ? {} : { reserveTtl: typeof ttl === "object" ? "never" : ttl }),
      ...(typeof ttl === "object" ? { reserveTtlProblem: ttl.problem } : {}),
      ...(foreignText === undefined ? {} : { foreignText }),
      createdAtMs,
      version,
    },
  };
}

function isPoolSize(value: unknown): value is number {
  return (
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= largestPoolSize
  );
}

/** A new Pool, with what it says besides. */
export function formatPool(pool: PoolFacts): Readonly<Record<string, unknown>> {
  const object = withoutAbsent({
    apiVersion: galaxyApiVersion,
    kind: "Pool",
    metadata: { name: pool.name, namespace: pool.namespace },
    size: pool.size,
    preAllocateIP: pool.preAllocate,
    ...poolTtl(pool),
  }) as Readonly<Record<string, unknown>>;
  return alsoSaying(object, pool.foreignText);
}

/** The change that makes a Pool say what the facts say, if it still has the version that they were read with. */
export function poolPatch(pool: PoolFacts): MergePatch {
  return absentAsNull({
    metadata: { resourceVersion: pool.version },
    size: pool.size,
    preAllocateIP: pool.preAllocate,
    ...poolTtl(pool),
  }) as MergePatch;
}

/** What cannot be understood stays as somebody wrote it. */
function poolTtl({ reserveTtl, reserveTtlProblem }: PoolFacts): {
  readonly reserveTTL?: string | undefined;
} {
  if (reserveTtlProblem !== undefined) return {};
  return { reserveTTL: reserveTtl === undefined ? undefined : formatReserveTtl(reserveTtl) };
}

/** What the status of a Pool is to say. */
export type PoolStatusFacts = {
  readonly size: number | undefined;
  readonly allocated: number;
  readonly used: number;
  readonly condition: {
    readonly isReady: boolean;
    readonly reason: string;
    readonly message: string;
  };
};

/**
 * The status of a Pool: size, allocated, used and the condition Ready, whose lastTransitionTime moves only when it turns.
 * @param previous the status as it stands in the object
 * @returns undefined when it says the same already
 */
export function formatPoolStatus(
  facts: PoolStatusFacts,
  previous: unknown,
  nowMs: number,
): Readonly<Record<string, unknown>> | undefined {
  const { size, allocated, used } = facts;
  const { isReady, reason, message } = facts.condition;
  const status = isReady ? "True" : "False";
  const before = asList(valueAt(previous, "conditions")).find(
    (condition) => textAt(condition, "type") === "Ready",
  );
  const hasTurned = textAt(before, "status") !== status;
  const said = message === "" ? undefined : message;
  const isSame =
    !hasTurned &&
    valueAt(previous, "size") === size &&
    valueAt(previous, "allocated") === allocated &&
    valueAt(previous, "used") === used &&
    textAt(before, "reason") === reason &&
    textAt(before, "message") === said;
  if (isSame) return undefined;
  const sinceText = hasTurned ? undefined : asText(valueAt(before, "lastTransitionTime"));
  const lastTransitionTime = sinceText ?? formatTime(nowMs);
  const condition = { type: "Ready", status, reason, message: said, lastTransitionTime };
  return {
    ...(size === undefined ? {} : { size }),
    allocated,
    used,
    conditions: [withoutAbsent(condition)],
  };
}

const text = { type: "string" } as const;

/**
 * Groups below k8s.io are protected: the annotation says that this one was not reviewed
 * (https://github.com/kubernetes/enhancements/pull/1111).
 */
const crdAnnotations = {
  "api-approved.kubernetes.io": "unapproved, established API of tkestack/galaxy",
};

function crdMetadata(plural: string): Readonly<Record<string, unknown>> {
  return { name: `${plural}.${galaxyGroup}`, annotations: crdAnnotations };
}

/**
 * The CustomResourceDefinition of FloatingIP. Nothing but the name is required, so that the documented manifest of a reserved address
 * (key and policy) and what the Go system writes are accepted; members that others added are kept.
 */
export const floatingIpCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: crdMetadata("floatingips"),
  spec: {
    group: galaxyGroup,
    scope: "Cluster",
    names: {
      plural: "floatingips",
      singular: "floatingip",
      kind: "FloatingIP",
      listKind: "FloatingIPList",
      shortNames: ["fip"],
    },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        additionalPrinterColumns: [
          { name: "State", type: "string", jsonPath: ".spec.state" },
          { name: "Namespace", type: "string", jsonPath: ".spec.namespace" },
          { name: "Workload", type: "string", jsonPath: ".spec.workload.name" },
          { name: "Pod", type: "string", jsonPath: ".spec.pod" },
          { name: "Pool", type: "string", jsonPath: ".spec.pool" },
          { name: "Policy", type: "string", jsonPath: ".spec.releasePolicy" },
          { name: "Node", type: "string", jsonPath: ".spec.node" },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
          { name: "Kind", type: "string", priority: 1, jsonPath: ".spec.workload.kind" },
          { name: "Key", type: "string", priority: 1, jsonPath: ".spec.key" },
          { name: "Updated", type: "date", priority: 1, jsonPath: ".spec.updateTime" },
          { name: "Idle", type: "date", priority: 1, jsonPath: ".spec.idleSince" },
        ],
        schema: {
          openAPIV3Schema: {
            description: "One address in use or reserved; its name is the address.",
            type: "object",
            "x-kubernetes-preserve-unknown-fields": true,
            properties: {
              spec: {
                type: "object",
                "x-kubernetes-preserve-unknown-fields": true,
                properties: {
                  key: {
                    ...text,
                    description: "Whose the address is, as one text; authoritative.",
                  },
                  policy: {
                    type: "integer",
                    minimum: 0,
                    maximum: 2,
                    description:
                      "Release policy: 0 with the pod, 1 immutable (with the workload), 2 never.",
                  },
                  attribute: {
                    ...text,
                    nullable: true,
                    description: 'Node and pod as JSON text: {"NodeName":"…","Uid":"…"}.',
                  },
                  updateTime: {
                    ...text,
                    format: "date-time",
                    nullable: true,
                    description: "When the address was last given or reserved.",
                  },
                  state: { ...text, description: "Bound, Reserved, Admin or Draining." },
                  releasePolicy: { ...text, description: "policy as a word." },
                  namespace: text,
                  workload: {
                    type: "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    description: "The workload of the pod; apiGroup core is the core group.",
                    properties: { apiGroup: text, kind: text, name: text },
                  },
                  pod: text,
                  pool: text,
                  node: text,
                  lastNode: text,
                  reserveTTL: {
                    ...text,
                    description:
                      "How long the address may be reserved without a pod, as the last pod's annotation said.",
                  },
                  idleSince: {
                    ...text,
                    format: "date-time",
                    description: "Since when no pod has the address, while it is reserved.",
                  },
                  idleWarned: {
                    ...text,
                    format: "date-time",
                    description: "When its owner was told that it will be released.",
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
} as const;

/** The CustomResourceDefinition of Pool: `size` and `preAllocateIP` at top level, both optional, and a status. */
export const poolCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: crdMetadata("pools"),
  spec: {
    group: galaxyGroup,
    scope: "Namespaced",
    names: { plural: "pools", singular: "pool", kind: "Pool", listKind: "PoolList" },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".size" },
          { name: "Preallocate", type: "boolean", jsonPath: ".preAllocateIP" },
          { name: "Allocated", type: "integer", jsonPath: ".status.allocated" },
          { name: "Used", type: "integer", jsonPath: ".status.used" },
          {
            name: "Ready",
            type: "string",
            jsonPath: '.status.conditions[?(@.type=="Ready")].status',
          },
          {
            name: "Message",
            type: "string",
            priority: 1,
            jsonPath: '.status.conditions[?(@.type=="Ready")].message',
          },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
          { name: "ReserveTTL", type: "string", priority: 1, jsonPath: ".reserveTTL" },
        ],
        schema: {
          openAPIV3Schema: {
            description: "Addresses that several workloads share; pods join by annotation.",
            type: "object",
            "x-kubernetes-preserve-unknown-fields": true,
            properties: {
              size: {
                type: "integer",
                minimum: 0,
                maximum: largestPoolSize,
                nullable: true,
                description:
                  "Most addresses of the pool; without it the pool grows with the replicas of its workloads.",
              },
              preAllocateIP: {
                type: "boolean",
                nullable: true,
                description: "Fill the pool up to size without waiting for pods.",
              },
              reserveTTL: {
                ...text,
                nullable: true,
                description:
                  'How long its addresses may be reserved without a pod, for example "168h", when the pods do not say it.',
              },
              status: {
                type: "object",
                "x-kubernetes-preserve-unknown-fields": true,
                properties: {
                  size: { type: "integer" },
                  allocated: {
                    type: "integer",
                    description: "Addresses that belong to the pool, used or not.",
                  },
                  used: { type: "integer", description: "Of these, addresses that a pod has." },
                  conditions: {
                    type: "array",
                    items: {
                      type: "object",
                      "x-kubernetes-preserve-unknown-fields": true,
                      properties: {
                        type: text,
                        status: text,
                        reason: text,
                        message: text,
                        lastTransitionTime: { ...text, format: "date-time" },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
} as const;

/** The CustomResourceDefinition of FloatingIPHistory: a part of who had which address when, kept by the program for itself. */
export const historyCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: crdMetadata("floatingiphistories"),
  spec: {
    group: galaxyGroup,
    scope: "Cluster",
    names: {
      plural: "floatingiphistories",
      singular: "floatingiphistory",
      kind: "FloatingIPHistory",
      listKind: "FloatingIPHistoryList",
      shortNames: ["fiph"],
    },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        additionalPrinterColumns: [
          { name: "From", type: "date", jsonPath: ".spec.from" },
          { name: "Until", type: "date", jsonPath: ".spec.until" },
          { name: "Changes", type: "integer", jsonPath: ".spec.count" },
        ],
        schema: {
          openAPIV3Schema: {
            description: "Changes of who has which address; ask GET /v1/history for what it says.",
            type: "object",
            properties: {
              spec: {
                type: "object",
                properties: {
                  first: { type: "integer", description: "Number of the first change." },
                  count: { type: "integer" },
                  from: { ...text, format: "date-time" },
                  until: { ...text, format: "date-time" },
                  writer: { ...text, description: "The process that wrote it last." },
                  serial: { type: "integer", description: "Number of that process's write." },
                  changes: {
                    ...text,
                    description: "Lines of JSON, compressed with gzip, in base64.",
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
} as const;

/** What this release knows of each kind is what its definition lists. */
const floatingIpSchema = floatingIpCrd.spec.versions[0].schema.openAPIV3Schema;
const poolSchema = poolCrd.spec.versions[0].schema.openAPIV3Schema;
