// The objects of virtual addresses in API group galaxy.k8s.io: VIPPool -> VipPool, FloatingVIP <-> VipRecord, and their
// CustomResourceDefinitions. A FloatingVIP is written by the programs alone; a VIPPool by operators, and what is wrong with one is said.

import type { Ip } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import type { IpRange } from "../core/ip-range.ts";
import { formatIpRange, parseCidr, parseIpRange } from "../core/ip-range.ts";
import type {
  VipHolder,
  VipLook,
  VipLoss,
  VipParty,
  VipRecord,
  VipTransition,
} from "../core/vip.ts";
import { newVipRecord, vipStates } from "../core/vip.ts";
import type { VipPool } from "../core/vip-holder.ts";
import type { VipPoolCondition, VipPoolStatus } from "../core/vip-pool-status.ts";
import { floatingIpName, parseFloatingIpName } from "./crd.ts";
import { galaxyApiVersion, galaxyGroup } from "./established-names.ts";
import { hasForeignMembers, withForeignMembers } from "./foreign-members.ts";
import { alsoSaying, foreignTextOf } from "./foreign-text.ts";
import {
  asList,
  asObject,
  asText,
  formatTime,
  type JsonObject,
  parseTimeMs,
  quoteValue,
  textAt,
  valueAt,
} from "./json-value.ts";

/** A VIPPool that was read, or every reason why it cannot be used; each names pool, field, value and remedy. */
export type VipPoolParse =
  | { readonly kind: "pool"; readonly pool: VipPool }
  | { readonly kind: "problems"; readonly name: string; readonly problems: readonly string[] };

/** For how long a pod must be ready before it takes over, when the pool does not say, seconds. */
const usualMinReadySeconds = 5;

/** Reads a VIPPool. Never throws. */
export function parseVipPool(json: unknown): VipPoolParse {
  const name = textAt(json, "metadata", "name") ?? "";
  const problems: string[] = [];
  const field = (member: string) => valueAt(json, "spec", member) ?? undefined;
  const wrong = (member: string, value: unknown, remedy: string) =>
    problems.push(`VIPPool ${name}: spec.${member} ${quoteValue(value)} ${remedy}`);
  const ranges = asList(field("ranges")).flatMap((entry): readonly IpRange[] => {
    const range = readRange(entry);
    if (range === undefined) {
      wrong("ranges", entry, 'is no range; write "192.0.2.10~192.0.2.20" or "192.0.2.0/24"');
    }
    return range === undefined ? [] : [range];
  });
  if (asList(field("ranges")).length === 0) {
    wrong("ranges", field("ranges"), "lists no range; write at least one");
  }
  const namespaces = field("namespaces");
  const names = asList(namespaces).flatMap((entry) => asText(entry) ?? []);
  if (namespaces !== undefined && names.length !== asList(namespaces).length) {
    wrong("namespaces", namespaces, "is no list of names; write one, or leave it out for all");
  }
  const mode = field("mode") ?? "L2";
  const interfaces = field("interfaces") ?? "*";
  if (mode !== "L2" && mode !== "Route") wrong("mode", mode, "is neither L2 nor Route; write one");
  if (typeof interfaces !== "string" || interfaces === "") {
    wrong("interfaces", interfaces, "is no pattern of names; write one like eth*");
  }
  const onControlPlaneLoss = field("onControlPlaneLoss") ?? "Fence";
  if (onControlPlaneLoss !== "Fence" && onControlPlaneLoss !== "Hold") {
    wrong("onControlPlaneLoss", onControlPlaneLoss, "is neither Fence nor Hold; write one");
  }
  const lastResort = field("lastResort") ?? "release";
  if (lastResort !== "release" && lastResort !== "keep") {
    wrong("lastResort", lastResort, "is neither release nor keep; write one");
  }
  const minReadySeconds = field("minReadySeconds") ?? usualMinReadySeconds;
  const isSeconds =
    typeof minReadySeconds === "number" &&
    Number.isInteger(minReadySeconds) &&
    minReadySeconds >= 0 &&
    minReadySeconds <= 3_600;
  if (!isSeconds) wrong("minReadySeconds", minReadySeconds, "is no whole number from 0 to 3600");
  if (problems.length > 0) return { kind: "problems", name, problems };
  const foreignText = foreignTextOf(json, vipPoolSchema);
  return {
    kind: "pool",
    pool: {
      name,
      ranges,
      namespaces: namespaces === undefined ? undefined : names,
      mode:
        mode === "Route"
          ? { kind: "Route" }
          : { kind: "L2", interfaces: asText(interfaces) ?? "*" },
      onControlPlaneLoss: onControlPlaneLoss === "Hold" ? "Hold" : "Fence",
      minReadyMs: Number(minReadySeconds) * 1_000,
      lastResort: lastResort === "keep" ? "keep" : "release",
      ...(foreignText === undefined ? {} : { foreignText }),
    },
  };
}

/** A VIPPool that {@link parseVipPool} reads back as the same, with what it says besides. */
export function formatVipPool(pool: VipPool): Readonly<Record<string, unknown>> {
  const { lastResort, minReadyMs, mode, name, namespaces, onControlPlaneLoss, ranges } = pool;
  const object = {
    apiVersion: galaxyApiVersion,
    kind: "VIPPool",
    metadata: { name },
    spec: {
      ranges: ranges.map(formatIpRange),
      ...(namespaces === undefined ? {} : { namespaces }),
      mode: mode.kind,
      ...(mode.kind === "L2" ? { interfaces: mode.interfaces } : {}),
      onControlPlaneLoss,
      minReadySeconds: minReadyMs / 1_000,
      lastResort,
    },
  };
  return alsoSaying(object, pool.foreignText);
}

/** Types of a VIPPool's conditions. */
const poolConditions = { ready: "Ready", overlaps: "Overlapping" } as const;

/**
 * The status of a VIPPool. Conditions of other types stay, and a condition that did not turn keeps its time.
 * @param previous the status that it takes the place of
 */
export function formatVipPoolStatus(
  status: VipPoolStatus,
  previous: unknown,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  const { addresses, free, generation, overlaps, ready, used } = status;
  const before = asList(valueAt(previous, "conditions"));
  const types: readonly string[] = Object.values(poolConditions);
  const format = (type: string, { isTrue, message, reason }: VipPoolCondition) => {
    const word = isTrue ? "True" : "False";
    const old = before.find((each) => textAt(each, "type") === type);
    const sinceText =
      textAt(old, "status") === word ? textAt(old, "lastTransitionTime") : undefined;
    const lastTransitionTime = sinceText ?? formatTime(nowMs);
    return { type, status: word, reason, message, lastTransitionTime };
  };
  return {
    observedGeneration: generation,
    addresses,
    used,
    free,
    conditions: [
      ...before.filter((each) => !types.includes(textAt(each, "type") ?? "")),
      format(poolConditions.ready, ready),
      format(poolConditions.overlaps, overlaps),
    ],
  };
}

/** What the status of a VIPPool says; undefined when it is not there or not whole. */
export function parseVipPoolStatus(json: unknown): VipPoolStatus | undefined {
  const count = (member: string) => {
    const value = valueAt(json, "status", member);
    return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
  };
  const condition = (type: string): VipPoolCondition | undefined => {
    const found = asList(valueAt(json, "status", "conditions")).find(
      (each) => textAt(each, "type") === type,
    );
    const word = textAt(found, "status");
    const reason = textAt(found, "reason");
    if (reason === undefined || (word !== "True" && word !== "False")) return undefined;
    return { isTrue: word === "True", reason, message: textAt(found, "message") ?? "" };
  };
  const generation = count("observedGeneration");
  const addresses = count("addresses");
  const used = count("used");
  const free = count("free");
  const ready = condition(poolConditions.ready);
  const overlaps = condition(poolConditions.overlaps);
  if (generation === undefined || addresses === undefined || used === undefined) return undefined;
  if (free === undefined || ready === undefined || overlaps === undefined) return undefined;
  return { generation, addresses, used, free, ready, overlaps };
}

function readRange(entry: unknown): IpRange | undefined {
  if (typeof entry !== "string") return undefined;
  if (entry.includes("/")) return parseCidr(entry)?.range;
  const parsed = parseIpRange(entry);
  return parsed.kind === "range" ? parsed.range : undefined;
}

/**
 * A FloatingVIP that says what the record says; with its version when it has one.
 * @param replaced the status that it takes the place of, where that has members of a newer release ({@link foreignStatusOf}): they stay
 */
export function formatFloatingVip(
  record: VipRecord,
  replaced?: JsonObject,
): Readonly<Record<string, unknown>> {
  const { ip, bornMs, version } = record;
  const status = formatStatus(record);
  return {
    apiVersion: galaxyApiVersion,
    kind: "FloatingVIP",
    metadata: {
      name: floatingIpName(ip),
      finalizers: [vipFinalizer],
      ...(version === "" ? {} : { resourceVersion: version }),
    },
    spec: { address: ip, bornAt: formatTime(bornMs) },
    status: replaced === undefined ? status : withForeignMembers(status, replaced, statusSchema),
  };
}

/** The status of a FloatingVIP when it has members that this release does not know; undefined when it has none. */
export function foreignStatusOf(json: unknown): JsonObject | undefined {
  const status = asObject(valueAt(json, "status"));
  return hasForeignMembers(status, statusSchema) ? status : undefined;
}

function formatStatus(record: VipRecord): JsonObject {
  const { epoch, holder, release, next, grantedAtMs, look } = record;
  const { foreignOwner, losses, transition, unable, voters } = record;
  return {
    epoch,
    release,
    state: look.state,
    reason: look.reason,
    message: look.message,
    ...(grantedAtMs === 0 ? {} : { since: formatTime(grantedAtMs) }),
    ...(holder === undefined ? {} : { holder: formatHolder(holder) }),
    ...(next === undefined ? {} : { next: formatHolder(next) }),
    ...(voters.length === 0 ? {} : { voters }),
    candidates: look.candidates.map(({ pod, nodeName, reason }) => ({
      namespace: pod.namespace,
      pod: pod.name,
      ...(nodeName === "" ? {} : { node: nodeName }),
      ...(reason === undefined ? {} : { reason }),
    })),
    ...(foreignOwner === undefined ? {} : { foreignOwner }),
    ...(unable === undefined ? {} : { unable }),
    ...(transition === undefined ? {} : { lastTransition: formatTransition(transition) }),
    ...(losses.length === 0
      ? {}
      : { losses: losses.map(({ podUid, atMs }) => ({ uid: podUid, at: formatTime(atMs) })) }),
  };
}

function formatTransition({ from, to, reason, atMs, ...took }: VipTransition) {
  const { decideMs, detectMs, programMs } = took;
  return {
    ...(from === undefined ? {} : { from: formatParty(from) }),
    ...(to === undefined ? {} : { to: formatParty(to) }),
    reason,
    at: formatTime(atMs),
    ...(detectMs === undefined ? {} : { detectMs }),
    decideMs,
    ...(programMs === undefined ? {} : { programMs }),
  };
}

function formatParty({ pod, nodeName }: VipParty) {
  return { namespace: pod.namespace, pod: pod.name, node: nodeName };
}

function formatHolder({ pod, podUid, podIp, nodeName, session }: VipHolder) {
  const { namespace, name } = pod;
  return { namespace, pod: name, uid: podUid, podIP: podIp, node: nodeName, session };
}

/** Keeps a FloatingVIP that was deleted by hand until nobody answers for it. */
export const vipFinalizer = `vip.${galaxyGroup}/holder`;

/**
 * Reads a FloatingVIP. Undefined when the name is no address, or when what exclusivity rests on (epoch, release, holder) is there and cannot
 * be understood: then nobody may be granted it and nobody may answer for it.
 */
export function parseFloatingVip(json: unknown): VipRecord | undefined {
  const ip = parseFloatingIpName(textAt(json, "metadata", "name") ?? "");
  const status = valueAt(json, "status") ?? {};
  const epoch = valueAt(status, "epoch") ?? 0;
  const release = textAt(status, "release") ?? "none";
  const holder = readHolder(valueAt(status, "holder"));
  const next = readHolder(valueAt(status, "next"));
  if (ip === undefined || holder === "unreadable" || next === "unreadable") return undefined;
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0) return undefined;
  if (release !== "none" && release !== "wanted" && release !== "done") return undefined;
  const bornMs =
    parseTimeMs(valueAt(json, "spec", "bornAt")) ??
    parseTimeMs(valueAt(json, "metadata", "creationTimestamp")) ??
    0;
  return {
    ip,
    bornMs,
    epoch,
    holder,
    release,
    next,
    grantedAtMs: parseTimeMs(valueAt(status, "since")) ?? 0,
    voters: asList(valueAt(status, "voters")).flatMap((each) => asText(each) ?? []),
    isDeleted: (textAt(json, "metadata", "deletionTimestamp") ?? "") !== "",
    losses: asList(valueAt(status, "losses")).flatMap(readLoss),
    transition: readTransition(valueAt(status, "lastTransition")),
    foreignOwner: textAt(status, "foreignOwner"),
    unable: textAt(status, "unable"),
    // A new object has no status yet.
    look:
      asObject(status)?.["state"] === undefined ? newVipRecord(ip, bornMs).look : readLook(status),
    version: textAt(json, "metadata", "resourceVersion") ?? "",
  };
}

function readLook(status: unknown): VipLook {
  return {
    state: vipStates.find((state) => state === textAt(status, "state")) ?? "Unheld",
    reason: textAt(status, "reason") ?? "",
    message: textAt(status, "message") ?? "",
    candidates: asList(valueAt(status, "candidates")).map((each) => ({
      pod: { namespace: textAt(each, "namespace") ?? "", name: textAt(each, "pod") ?? "" },
      nodeName: textAt(each, "node") ?? "",
      reason: textAt(each, "reason"),
    })),
  };
}

function readLoss(value: unknown): readonly VipLoss[] {
  const podUid = textAt(value, "uid");
  const atMs = parseTimeMs(valueAt(value, "at"));
  return podUid === undefined || atMs === undefined ? [] : [{ podUid, atMs }];
}

function readTransition(value: unknown): VipTransition | undefined {
  if (asObject(value) === undefined) return undefined;
  const took = (member: string) => {
    const ms = valueAt(value, member);
    return typeof ms === "number" && Number.isFinite(ms) ? ms : undefined;
  };
  return {
    from: readParty(valueAt(value, "from")),
    to: readParty(valueAt(value, "to")),
    reason: textAt(value, "reason") ?? "",
    atMs: parseTimeMs(valueAt(value, "at")) ?? 0,
    detectMs: took("detectMs"),
    decideMs: took("decideMs") ?? 0,
    programMs: took("programMs"),
  };
}

function readParty(value: unknown): VipParty | undefined {
  if (asObject(value) === undefined) return undefined;
  return {
    pod: { namespace: textAt(value, "namespace") ?? "", name: textAt(value, "pod") ?? "" },
    nodeName: textAt(value, "node") ?? "",
  };
}

function readHolder(value: unknown): VipHolder | undefined | "unreadable" {
  if (value === undefined || value === null) return undefined;
  const podIp: Ip | undefined = parseIp(textAt(value, "podIP") ?? "");
  const session = valueAt(value, "session");
  const [namespace, name, podUid, nodeName] = ["namespace", "pod", "uid", "node"].map((member) =>
    textAt(value, member),
  );
  const isWhole = asObject(value) !== undefined && podIp !== undefined;
  if (!isWhole || !namespace || !name || !podUid || !nodeName) return "unreadable";
  if (typeof session !== "number" || !Number.isSafeInteger(session)) return "unreadable";
  return { pod: { namespace, name }, podUid, podIp, nodeName, session };
}

const text = { type: "string" } as const;
const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true } as const;
const holderSchema = {
  ...open,
  properties: {
    namespace: text,
    pod: text,
    uid: text,
    podIP: text,
    node: text,
    session: { type: "integer", format: "int64" },
  },
} as const;

function definition(
  names: { readonly plural: string; readonly kind: string; readonly shortName: string },
  columns: readonly Readonly<Record<string, unknown>>[],
  schema: Readonly<Record<string, unknown>>,
) {
  const { plural, kind, shortName } = names;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${galaxyGroup}`,
      annotations: {
        "api-approved.kubernetes.io": "unapproved, in the established group of tkestack/galaxy",
      },
    },
    spec: {
      group: galaxyGroup,
      scope: "Cluster",
      names: {
        plural,
        singular: kind.toLowerCase(),
        kind,
        listKind: `${kind}List`,
        shortNames: [shortName],
      },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: { type: "object", ...schema } },
        },
      ],
    },
  } as const;
}

const partySchema = { ...open, properties: { namespace: text, pod: text, node: text } } as const;
const whole = { type: "integer", format: "int64" } as const;

/** Also says which members of a status this release knows. */
const statusSchema = {
  ...open,
  properties: {
    epoch: { type: "integer", format: "int64", minimum: 0 },
    release: { type: "string", enum: ["none", "wanted", "done"] },
    state: { type: "string", enum: vipStates },
    reason: text,
    message: text,
    since: { ...text, format: "date-time" },
    holder: holderSchema,
    next: holderSchema,
    candidates: {
      type: "array",
      items: {
        ...open,
        properties: { namespace: text, pod: text, node: text, reason: text },
      },
    },
    voters: { type: "array", items: text },
    foreignOwner: { ...text, description: "Another machine that claims the address." },
    unable: { ...text, description: "Why the holder's node does not answer for it." },
    lastTransition: {
      ...open,
      properties: {
        from: partySchema,
        to: partySchema,
        reason: text,
        at: { ...text, format: "date-time" },
        detectMs: whole,
        decideMs: whole,
        programMs: whole,
      },
    },
    losses: {
      type: "array",
      items: { ...open, properties: { uid: text, at: { ...text, format: "date-time" } } },
    },
  },
} as const;

/** The CustomResourceDefinition of FloatingVIP. Holder, epoch and version change in one write, of its status. */
export const floatingVipCrd = definition(
  { plural: "floatingvips", kind: "FloatingVIP", shortName: "fvip" },
  [
    { name: "Address", type: "string", jsonPath: ".spec.address" },
    { name: "State", type: "string", jsonPath: ".status.state" },
    { name: "Holder", type: "string", jsonPath: ".status.holder.pod" },
    { name: "Node", type: "string", jsonPath: ".status.holder.node" },
    { name: "Epoch", type: "integer", jsonPath: ".status.epoch" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    { name: "Namespace", type: "string", priority: 1, jsonPath: ".status.holder.namespace" },
    { name: "Message", type: "string", priority: 1, jsonPath: ".status.message" },
  ],
  {
    description: "A virtual address that pods claim by annotation; written by the programs alone.",
    properties: {
      spec: {
        ...open,
        properties: { address: text, bornAt: { ...text, format: "date-time" } },
      },
      status: statusSchema,
    },
  },
);

/** The CustomResourceDefinition of VIPPool. */
export const vipPoolCrd = definition(
  { plural: "vippools", kind: "VIPPool", shortName: "vipp" },
  [
    { name: "Ranges", type: "string", jsonPath: ".spec.ranges" },
    { name: "Mode", type: "string", jsonPath: ".spec.mode" },
    { name: "Loss", type: "string", jsonPath: ".spec.onControlPlaneLoss" },
    { name: "Used", type: "integer", jsonPath: ".status.used" },
    { name: "Free", type: "integer", jsonPath: ".status.free" },
    {
      name: "Ready",
      type: "string",
      jsonPath: `.status.conditions[?(@.type=="${poolConditions.ready}")].status`,
    },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    {
      name: "Overlapping",
      type: "string",
      priority: 1,
      jsonPath: `.status.conditions[?(@.type=="${poolConditions.overlaps}")].status`,
    },
    {
      name: "Message",
      type: "string",
      priority: 1,
      jsonPath: `.status.conditions[?(@.type=="${poolConditions.ready}")].message`,
    },
  ],
  {
    description: "Virtual addresses that pods of some namespaces may claim.",
    required: ["spec"],
    properties: {
      spec: {
        ...open,
        required: ["ranges"],
        properties: {
          ranges: {
            type: "array",
            minItems: 1,
            items: text,
            description: "first~last, a single address, or a CIDR block.",
          },
          namespaces: { type: "array", items: text, description: "Without it: all." },
          // Written into the object, so that columns show what is in force.
          mode: { type: "string", enum: ["L2", "Route"], default: "L2" },
          interfaces: { ...text, description: "Pattern of the interfaces that answer in mode L2." },
          onControlPlaneLoss: { type: "string", enum: ["Fence", "Hold"], default: "Fence" },
          minReadySeconds: { type: "integer", minimum: 0, maximum: 3_600 },
          lastResort: {
            type: "string",
            enum: ["release", "keep"],
            description: "When no pod may hold an address: nobody answers, or its holder goes on.",
          },
        },
      },
      status: {
        ...open,
        description: "Written by galaxy-ipam.",
        properties: {
          observedGeneration: whole,
          addresses: { ...whole, description: "How many it has." },
          used: { ...whole, description: "How many pods claim, whether or not one holds them." },
          free: whole,
          conditions: {
            type: "array",
            items: {
              ...open,
              required: ["type", "status"],
              properties: {
                type: text,
                status: { type: "string", enum: ["True", "False", "Unknown"] },
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
);

/** What this release knows of a VIPPool. */
const vipPoolSchema = vipPoolCrd.spec.versions[0].schema.openAPIV3Schema;
