// What pods say about virtual addresses: annotations -> claim. Ours as a list with commas or as JSON, Calico's as JSON. A bad entry never
// costs the others anything. Whether a claim is allowed is core's to say.

import type { PodPhase } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import type { VipPorts, VipProbe, VipWishes } from "../core/vip.ts";
import { parseJsonText } from "./json-text.ts";
import { asList, asText, parseTimeMs, quoteValue, textAt, valueAt } from "./json-value.ts";

/** Annotation of a pod: the addresses that it claims. */
export const vipAddressesAnnotation = "vip.galaxy.k8s.io/addresses";
/** Annotation of a pod: 0 to 255, greater is preferred. */
export const vipPriorityAnnotation = "vip.galaxy.k8s.io/priority";
/** Annotation of a pod: whether it takes an address from a holder of lower priority (`never` or `always`). */
export const vipPreemptAnnotation = "vip.galaxy.k8s.io/preempt";
/** Annotation of a pod: `true` when new flows that it opens leave with the address. */
export const vipEgressAnnotation = "vip.galaxy.k8s.io/egress";
/** Annotation of a pod: what is reachable by the address, such as `tcp:80, udp:5000-5009`. */
export const vipPortsAnnotation = "vip.galaxy.k8s.io/ports";
/** Annotation of a pod: how its node finds out whether it serves, such as `tcp:443,500ms,3`. */
export const vipProbeAnnotation = "vip.galaxy.k8s.io/probe";
/** Condition of a pod: what its node's agent found by the probe. */
export const vipProbeCondition = "vip.galaxy.k8s.io/Probe";
/** Condition of a pod: whether it holds its addresses. */
export const vipHolderCondition = "vip.galaxy.k8s.io/Holder";
/** Calico's annotation: a JSON list of addresses in a string. */
export const calicoFloatingIpsAnnotation = "cni.projectcalico.org/floatingIPs";

/** Most addresses that one pod may claim: each one costs every agent a rule. */
export const mostClaims = 64;

/** What a pod claims; `problems` are sentences that name annotation, value and remedy. */
export type VipClaimParse = {
  readonly ips: readonly Ip[];
  /** All addresses of the annotations that can be read, by annotation: those of one go to one pod. */
  readonly groups: readonly (readonly Ip[])[];
  readonly priority: number;
  readonly preempts: boolean;
  readonly wishes: VipWishes;
  readonly problems: readonly string[];
};

/**
 * Reads the claims of an object's own annotations (a pod's, or those of a workload to warn that they have no effect there). Never throws.
 * @param options.readsCalico whether Calico's annotation counts too
 */
export function parseVipClaim(
  json: unknown,
  options: { readonly readsCalico: boolean },
): VipClaimParse {
  const problems: string[] = [];
  const annotation = (key: string) => textAt(json, "metadata", "annotations", key);
  const ips = new Set<Ip>();
  const groups: (readonly Ip[])[] = [];
  const keys = options.readsCalico
    ? [vipAddressesAnnotation, calicoFloatingIpsAnnotation]
    : [vipAddressesAnnotation];
  for (const key of keys) {
    const group = new Set<Ip>();
    for (const entry of entriesOf(key, annotation(key) ?? "", problems)) {
      const ip = parseIp(entry.trim());
      if (ip !== undefined) group.add(ip);
      else problems.push(entryProblem(key, entry));
    }
    if (group.size > 0) groups.push([...group]);
    for (const ip of group) ips.add(ip);
  }
  return {
    ips: [...ips],
    groups,
    priority: readPriority(annotation(vipPriorityAnnotation), problems),
    preempts: readPreempt(annotation(vipPreemptAnnotation), problems),
    wishes: {
      sendsFromVip: readEgress(annotation(vipEgressAnnotation), problems),
      ports: readPorts(annotation(vipPortsAnnotation), problems),
      probe: readProbe(annotation(vipProbeAnnotation), problems),
    },
    problems,
  };
}

/** The entries of a list; none when the whole cannot be used. */
function entriesOf(key: string, text: string, problems: string[]): readonly string[] {
  const trimmed = text.trim();
  if (trimmed === "") return [];
  let entries: readonly unknown[] = trimmed.split(",");
  if (trimmed.startsWith("[")) {
    const parsed = parseJsonText(trimmed);
    if (parsed.kind === "problem") {
      problems.push(
        `annotation ${key}: ${quoteValue(text)} is no JSON (${parsed.problem}); write ["192.0.2.50"] or 192.0.2.50`,
      );
      return [];
    }
    entries = asList(parsed.value);
  }
  if (entries.length > mostClaims) {
    problems.push(
      `annotation ${key}: ${entries.length} addresses are more than ${mostClaims}, none of them counts; claim fewer`,
    );
    return [];
  }
  return entries.flatMap((entry) => {
    const entryText = asText(entry);
    if (entryText === undefined) problems.push(entryProblem(key, entry));
    return entryText ?? [];
  });
}

function entryProblem(key: string, entry: unknown): string {
  const isPrefix = typeof entry === "string" && entry.includes("/");
  return `annotation ${key}: ${quoteValue(entry)} is ${isPrefix ? "a prefix and no single address" : "no address"}; write addresses like 192.0.2.50, the others of the list count`;
}

function readPriority(text: string | undefined, problems: string[]): number {
  if (text === undefined || text === "") return 0;
  const value = /^[0-9]{1,3}$/.test(text) ? Number(text) : 256;
  if (value <= 255) return value;
  problems.push(
    `annotation ${vipPriorityAnnotation}: ${quoteValue(text)} is no whole number from 0 to 255; 0 counts until it is`,
  );
  return 0;
}

function readPreempt(text: string | undefined, problems: string[]): boolean {
  if (text === undefined || text === "" || text === "never") return false;
  if (text === "always") return true;
  problems.push(
    `annotation ${vipPreemptAnnotation}: ${quoteValue(text)} is neither never nor always; never counts until it is`,
  );
  return false;
}

function readEgress(text: string | undefined, problems: string[]): boolean {
  if (text === undefined || text === "" || text === "false") return false;
  if (text === "true") return true;
  problems.push(
    `annotation ${vipEgressAnnotation}: ${quoteValue(text)} is neither true nor false; false counts until it is`,
  );
  return false;
}

/** What cannot be read exposes nothing: an entry with a slip must not open every port. */
function readPorts(text: string | undefined, problems: string[]): readonly VipPorts[] | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  return text.split(",").flatMap((entry) => {
    const match = /^(tcp|udp|sctp):([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(
      entry.trim().toLowerCase(),
    );
    const [first, last] = [Number(match?.[2]), Number(match?.[3] ?? match?.[2])];
    if (match !== null && isPort(first) && isPort(last) && first <= last) {
      return { protocol: match[1] as VipPorts["protocol"], first, last };
    }
    problems.push(
      `annotation ${vipPortsAnnotation}: ${quoteValue(entry)} is no port; write tcp:80 or udp:5000-5009, the others of the list count`,
    );
    return [];
  });
}

function readProbe(text: string | undefined, problems: string[]): VipProbe | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  const match = /^tcp:([0-9]{1,5})(?:,([0-9]{2,5})ms)?(?:,([0-9]{1,2}))?$/.exec(
    text.trim().toLowerCase().replaceAll(/\s/g, ""),
  );
  const [port, everyMs, failures] = [1, 2, 3].map((index) => match?.[index]);
  const probe: VipProbe = {
    protocol: "tcp",
    port: Number(port),
    everyMs: Number(everyMs ?? 500),
    failures: Number(failures ?? 3),
  };
  if (match !== null && isPort(probe.port) && probe.everyMs >= 50 && probe.failures >= 1) {
    return probe;
  }
  problems.push(
    `annotation ${vipProbeAnnotation}: ${quoteValue(text)} is no probe; write tcp:443,500ms,3 (port, time between attempts of at least 50ms, failures); the Ready condition counts until it is`,
  );
  return undefined;
}

function isPort(value: number): boolean {
  return value >= 1 && value <= 65_535;
}

/** A pod as far as virtual addresses are concerned. */
export type VipPodFacts = {
  readonly podIps: readonly Ip[];
  readonly phase: PodPhase;
  readonly ready: VipCondition;
  /** What the agent of its node found by a probe; undefined: it said nothing yet. */
  readonly probe: VipCondition | undefined;
  /** When its deletion was asked for; undefined: it was not. */
  readonly terminatingSinceMs: number | undefined;
  /** What its condition {@link vipHolderCondition} says; undefined: it has none. */
  readonly holder:
    | { readonly isHolder: boolean; readonly reason: string; readonly message: string }
    | undefined;
  readonly nodeName: string;
};

/** A condition: whether it is True, and when it last became what it is (milliseconds since 1970, 0 when it does not say). */
export type VipCondition = { readonly isTrue: boolean; readonly sinceMs: number };

const phases: readonly PodPhase[] = ["Pending", "Running", "Succeeded", "Failed"];

/** Reads the state of a Pod. Never throws. */
export function parseVipPod(json: unknown): VipPodFacts {
  const listed = asList(valueAt(json, "status", "podIPs")).map((each) => textAt(each, "ip") ?? "");
  const texts = listed.length > 0 ? listed : [textAt(json, "status", "podIP") ?? ""];
  return {
    podIps: texts.flatMap((text) => parseIp(text) ?? []),
    phase: phases.find((phase) => phase === textAt(json, "status", "phase")) ?? "Unknown",
    ready: conditionOf(json, "Ready") ?? { isTrue: false, sinceMs: 0 },
    probe: conditionOf(json, vipProbeCondition),
    terminatingSinceMs: deletionAskedMs(json),
    holder: readHolderCondition(json),
    nodeName: textAt(json, "spec", "nodeName") ?? "",
  };
}

function readHolderCondition(json: unknown): VipPodFacts["holder"] {
  const condition = conditionObject(json, vipHolderCondition);
  if (condition === undefined) return undefined;
  return {
    isHolder: textAt(condition, "status") === "True",
    reason: textAt(condition, "reason") ?? "",
    message: textAt(condition, "message") ?? "",
  };
}

/** The time of deletion lies in the future by the grace period. */
function deletionAskedMs(json: unknown): number | undefined {
  const text = textAt(json, "metadata", "deletionTimestamp") ?? "";
  if (text === "") return undefined;
  const graceSeconds = valueAt(json, "metadata", "deletionGracePeriodSeconds");
  const atMs = parseTimeMs(text) ?? 0;
  return atMs - (typeof graceSeconds === "number" ? graceSeconds * 1_000 : 0);
}

/** A node as far as virtual addresses are concerned. */
export type VipNodeFacts = {
  readonly name: string;
  /** False when its Ready condition is False or Unknown. */
  readonly isReady: boolean;
  readonly sinceMs: number;
  readonly ips: readonly Ip[];
  /** Blocks of pod addresses, as written. */
  readonly podCidrs: readonly string[];
};

/** Reads a Node; undefined when it has no name. */
export function parseVipNode(json: unknown): VipNodeFacts | undefined {
  const name = textAt(json, "metadata", "name") ?? "";
  if (name === "") return undefined;
  const ready = conditionOf(json, "Ready");
  const cidrs = asList(valueAt(json, "spec", "podCIDRs")).flatMap((each) => asText(each) ?? []);
  const first = textAt(json, "spec", "podCIDR") ?? "";
  return {
    name,
    isReady: ready?.isTrue ?? true,
    sinceMs: ready?.sinceMs ?? 0,
    ips: asList(valueAt(json, "status", "addresses")).flatMap(
      (each) => parseIp(textAt(each, "address") ?? "") ?? [],
    ),
    podCidrs: cidrs.length === 0 && first !== "" ? [first] : cidrs,
  };
}

function conditionOf(json: unknown, type: string): VipCondition | undefined {
  const condition = conditionObject(json, type);
  if (condition === undefined) return undefined;
  return {
    isTrue: textAt(condition, "status") === "True",
    sinceMs: parseTimeMs(valueAt(condition, "lastTransitionTime")) ?? 0,
  };
}

function conditionObject(json: unknown, type: string): unknown {
  return asList(valueAt(json, "status", "conditions")).find(
    (each) => textAt(each, "type") === type,
  );
}
