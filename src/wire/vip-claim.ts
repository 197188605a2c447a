// What pods say about virtual addresses: annotations -> claim. Ours as a list with commas or as JSON, Calico's as JSON. A bad entry never
// costs the others anything. Whether a claim is allowed is core's to say.

import type { PodPhase } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { parseIp } from "../core/ip.ts";
import { parseJsonText } from "./json-text.ts";
import { asList, asText, parseTimeMs, quoteValue, textAt, valueAt } from "./json-value.ts";

/** Annotation of a pod: the addresses that it claims. */
export const vipAddressesAnnotation = "vip.galaxy.k8s.io/addresses";
/** Annotation of a pod: 0 to 255, greater is preferred. */
export const vipPriorityAnnotation = "vip.galaxy.k8s.io/priority";
/** Annotation of a pod: whether it takes an address from a holder of lower priority (`never` or `always`). */
export const vipPreemptAnnotation = "vip.galaxy.k8s.io/preempt";
/** Calico's annotation: a JSON list of addresses in a string. */
export const calicoFloatingIpsAnnotation = "cni.projectcalico.org/floatingIPs";

/** Most addresses that one pod may claim: each one costs every agent a rule. */
export const mostClaims = 64;

/** What a pod claims; `problems` are sentences that name annotation, value and remedy. */
export type VipClaimParse = {
  readonly ips: readonly Ip[];
  readonly priority: number;
  readonly preempts: boolean;
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
  const keys = options.readsCalico
    ? [vipAddressesAnnotation, calicoFloatingIpsAnnotation]
    : [vipAddressesAnnotation];
  for (const key of keys) {
    for (const entry of entriesOf(key, annotation(key) ?? "", problems)) {
      const ip = parseIp(entry.trim());
      if (ip !== undefined) ips.add(ip);
      else problems.push(entryProblem(key, entry));
    }
  }
  return {
    ips: [...ips],
    priority: readPriority(annotation(vipPriorityAnnotation), problems),
    preempts: readPreempt(annotation(vipPreemptAnnotation), problems),
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

/** A pod as far as virtual addresses are concerned. */
export type VipPodFacts = {
  readonly podIps: readonly Ip[];
  readonly phase: PodPhase;
  readonly isReady: boolean;
  /** When the Ready condition last became what it is, milliseconds since 1970; 0 when it does not say. */
  readonly readySinceMs: number;
  readonly isTerminating: boolean;
  readonly nodeName: string;
};

const phases: readonly PodPhase[] = ["Pending", "Running", "Succeeded", "Failed"];

/** Reads the state of a Pod. Never throws. */
export function parseVipPod(json: unknown): VipPodFacts {
  const ready = conditionOf(json, "Ready");
  const listed = asList(valueAt(json, "status", "podIPs")).map((each) => textAt(each, "ip") ?? "");
  const texts = listed.length > 0 ? listed : [textAt(json, "status", "podIP") ?? ""];
  return {
    podIps: texts.flatMap((text) => parseIp(text) ?? []),
    phase: phases.find((phase) => phase === textAt(json, "status", "phase")) ?? "Unknown",
    isReady: textAt(ready, "status") === "True",
    readySinceMs: parseTimeMs(valueAt(ready, "lastTransitionTime")) ?? 0,
    isTerminating: (textAt(json, "metadata", "deletionTimestamp") ?? "") !== "",
    nodeName: textAt(json, "spec", "nodeName") ?? "",
  };
}

/** Whether a Node's Ready condition is True; False, Unknown and missing are not. */
export function nodeIsReady(json: unknown): boolean {
  return textAt(conditionOf(json, "Ready"), "status") === "True";
}

function conditionOf(json: unknown, type: string): unknown {
  return asList(valueAt(json, "status", "conditions")).find(
    (each) => textAt(each, "type") === type,
  );
}
