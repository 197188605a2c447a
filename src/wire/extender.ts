// The scheduler extender's requests and answers (Kubernetes extender/v1). Pure; the large filter body is cut by bytes in
// adapters/http/extender-body.ts, so that node objects are neither parsed nor rebuilt.
//
// Names. Kubernetes' types carry no JSON tags, so a scheduler sends Go field names and, as every Go decoder, reads any
// spelling of upper and lower case. Answers use what the Go system answers: `nodes`, `failedNodes`, `error` for filter,
// `Error` for bind, Go field names for preempt; where it had no answer (`NodeNames`, `Host`, `Score`), Kubernetes' names.
// Source: k8s.io/kube-scheduler/extender/v1/types.go.

import type { JsonObject } from "./json-value.ts";
import { asObject, textAt } from "./json-value.ts";

/** Outcome of reading a request: its arguments, or a sentence that says what is wrong with it. */
export type ArgsParse<Args> =
  | { readonly kind: "args"; readonly args: Args }
  | { readonly kind: "problem"; readonly problem: string };

/** ExtenderBindingArgs. `podUid` is "" when the caller does not say it. */
export type BindingArgs = {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  readonly nodeName: string;
};

/** One node on which pods would be evicted; the victims are known by their uid alone. */
export type PreemptionCandidate = {
  readonly nodeName: string;
  readonly victimUids: readonly string[];
  readonly pdbViolations: number;
};

/** ExtenderPreemptionArgs with both forms of victims made one. `pod` is the Pod object as it came. */
export type PreemptionArgs = {
  readonly pod: unknown;
  readonly candidates: readonly PreemptionCandidate[];
};

/** Failure of a node that no eviction can cure: it has no pod subnet, or no address to find one by. */
const unresolvableTokens = [
  "FloatingIPPlugin:NoFIPConfigNode",
  "FloatingIPPlugin:UnknowNode",
] as const;

/** Reads the body of a bind call. */
export function parseBindingArgs(json: unknown): ArgsParse<BindingArgs> {
  const object = asObject(json);
  if (object === undefined)
    return problem("the body is not an object with PodName, Node and others");
  const texts: Record<string, string> = {};
  for (const name of ["PodName", "PodNamespace", "PodUID", "Node"]) {
    const value = memberOf(object, name) ?? "";
    if (typeof value !== "string") return problem(`${name} is not a string`);
    if (value === "" && name !== "PodUID") return problem(`${name} is missing`);
    texts[name] = value;
  }
  return {
    kind: "args",
    args: {
      namespace: texts["PodNamespace"] ?? "",
      podName: texts["PodName"] ?? "",
      podUid: texts["PodUID"] ?? "",
      nodeName: texts["Node"] ?? "",
    },
  };
}

/** Reads the body of a preempt call: NodeNameToMetaVictims when it has entries, else NodeNameToVictims. */
export function parsePreemptionArgs(json: unknown): ArgsParse<PreemptionArgs> {
  const object = asObject(json);
  if (object === undefined) return problem("the body is not an object with Pod and victims");
  const pod = asObject(memberOf(object, "Pod"));
  if (pod === undefined) return problem("Pod is missing or not an object");
  const meta = parseVictims(object, "NodeNameToMetaVictims", (victim) => memberOf(victim, "UID"));
  if (meta.kind === "problem") return meta;
  if (meta.args.length > 0) return { kind: "args", args: { pod, candidates: meta.args } };
  const full = parseVictims(object, "NodeNameToVictims", (victim) =>
    textAt(victim, "metadata", "uid"),
  );
  if (full.kind === "problem") return full;
  return { kind: "args", args: { pod, candidates: full.args } };
}

function parseVictims(
  json: JsonObject,
  name: string,
  uidOf: (victim: JsonObject) => unknown,
): ArgsParse<readonly PreemptionCandidate[]> {
  const byNode = asObject(memberOf(json, name) ?? {});
  if (byNode === undefined) return problem(`${name} is not an object of node names`);
  const candidates: PreemptionCandidate[] = [];
  for (const [nodeName, victims] of Object.entries(byNode)) {
    const at = `${name}["${nodeName}"]`;
    // A null entry is Go's nil pointer: a node without victims.
    const entry = asObject(victims ?? {});
    if (entry === undefined) return problem(`${at} is not an object with Pods`);
    const pods = memberOf(entry, "Pods") ?? [];
    if (!Array.isArray(pods)) return problem(`${at}.Pods is not a list`);
    const victimUids: string[] = [];
    for (const [index, victim] of (pods as readonly unknown[]).entries()) {
      const uid = uidOf(asObject(victim) ?? {});
      if (typeof uid !== "string") return problem(`${at}.Pods[${index}] has no uid`);
      victimUids.push(uid);
    }
    const pdbViolations = memberOf(entry, "NumPDBViolations") ?? 0;
    if (typeof pdbViolations !== "number" || !Number.isSafeInteger(pdbViolations)) {
      return problem(`${at}.NumPDBViolations is not a whole number`);
    }
    candidates.push({ nodeName, victimUids, pdbViolations });
  }
  return { kind: "args", args: candidates };
}

/** The answer to preempt: always NodeNameToMetaVictims, whichever form came. */
export function formatPreemptionResult(kept: readonly PreemptionCandidate[]): string {
  const entries = kept.map(({ nodeName, victimUids, pdbViolations }) => [
    nodeName,
    { Pods: victimUids.map((uid) => ({ UID: uid })), NumPDBViolations: pdbViolations },
  ]);
  return JSON.stringify({ NodeNameToMetaVictims: Object.fromEntries(entries) as unknown });
}

/** The answer to bind; `error` is "" when the pod is bound. */
export function formatBindingResult(error: string): string {
  return JSON.stringify({ Error: error });
}

/** The answer to prioritize: whole scores from 0 to 10. */
export function formatHostPriorityList(
  scores: readonly { readonly nodeName: string; readonly score: number }[],
): string {
  const items = scores.map(
    ({ nodeName, score }) => `{"Host":${formatName(nodeName)},"Score":${score}}`,
  );
  return `[${items.join(",")}]`;
}

/** JSON of a text that nearly always is a name of Kubernetes, which has nothing to escape. */
function formatName(text: string): string {
  return /^[-.0-9a-z]*$/.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** What a filter answer says beside the nodes that passed. */
export type FilterVerdict = {
  /** Reason by node name. */
  readonly failed: ReadonlyMap<string, string>;
  /** "" when the pod can be scheduled. */
  readonly error: string;
};

/** The answer to a filter call that named its nodes. */
export function formatNodeNamesResult(names: readonly string[], verdict: FilterVerdict): string {
  return `{"NodeNames":${JSON.stringify(names)}${formatVerdict(verdict)}`;
}

/**
 * The texts around the node objects in the answer to a filter call that carried them. The caller puts the objects,
 * separated by commas and unchanged, between the two.
 */
export function formatNodesResult(verdict: FilterVerdict): {
  readonly before: string;
  readonly after: string;
} {
  return { before: `{"nodes":{"metadata":{},"items":[`, after: `]}${formatVerdict(verdict)}` };
}

/**
 * The members after the nodes and the closing brace; empty ones are left out, as Go does. Nodes that no eviction can help
 * stand in `failedAndUnresolvableNodes` as well: schedulers from 1.20 then spare them in preemption, older ones ignore it.
 */
function formatVerdict({ failed, error }: FilterVerdict): string {
  const namesByReason = new Map<string, string[]>();
  for (const [nodeName, reason] of failed) {
    const names = namesByReason.get(reason);
    if (names === undefined) namesByReason.set(reason, [nodeName]);
    else names.push(nodeName);
  }
  // Put together with `+`: V8 joins the parts once, when the answer is sent, and a join here would copy a megabyte more each time.
  let members = "";
  let unresolvable = "";
  for (const [reason, names] of namesByReason) {
    const text = formatMembers(names, JSON.stringify(reason));
    members += members === "" ? text : `,${text}`;
    if (!unresolvableTokens.some((token) => reason.startsWith(token))) continue;
    unresolvable += unresolvable === "" ? text : `,${text}`;
  }
  let verdict = "";
  if (members !== "") verdict += `,"failedNodes":{${members}}`;
  if (unresolvable !== "") verdict += `,"failedAndUnresolvableNodes":{${unresolvable}}`;
  if (error !== "") verdict += `,"error":${JSON.stringify(error)}`;
  return `${verdict}}`;
}

/**
 * Members of an object that all have one value. Thousands of nodes share a reason of a hundred characters, and one by one they would
 * take longer than everything else in a filter call. `","` stands between two names of a JSON list and never in one, where a quotation
 * mark has a backslash before it.
 */
function formatMembers(names: readonly string[], value: string): string {
  const list = JSON.stringify(names).slice(1, -1);
  return `${list.split('","').join(`":${value},"`)}:${value}`;
}

/** The member whose name is `name` in any case; of several the last, as Go decodes. Null counts as absent. */
function memberOf(json: JsonObject, name: string): unknown {
  const wanted = name.toLowerCase();
  let found: unknown;
  for (const key of Object.keys(json)) {
    if (key === name || key.toLowerCase() === wanted) found = json[key];
  }
  return found ?? undefined;
}

function problem(text: string): { readonly kind: "problem"; readonly problem: string } {
  return { kind: "problem", problem: text };
}
