// Calls of the scheduler extender as a scheduler makes them (Kubernetes extender/v1), with node names only, and what it reads in the answers. The
// extender's own side is extender.ts.

import { asList, asObject, asText, valueAt } from "./json-value.ts";

/** Body of filter and prioritize. @param pod the Pod object */
export function formatExtenderArgs(pod: unknown, nodeNames: readonly string[]): string {
  return JSON.stringify({ Pod: pod, NodeNames: nodeNames });
}

/** Body of bind. */
export function formatBindingArgs(args: {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  readonly nodeName: string;
}): string {
  const { namespace, podName, podUid, nodeName } = args;
  return JSON.stringify({
    PodName: podName,
    PodNamespace: namespace,
    PodUID: podUid,
    Node: nodeName,
  });
}

/** Body of preempt. @param pod the Pod object */
export function formatPreemptionArgs(
  pod: unknown,
  candidates: readonly { readonly nodeName: string; readonly victimUids: readonly string[] }[],
): string {
  const entries = candidates.map(({ nodeName, victimUids }) => [
    nodeName,
    { Pods: victimUids.map((uid) => ({ UID: uid })) },
  ]);
  return JSON.stringify({
    Pod: pod,
    NodeNameToMetaVictims: Object.fromEntries(entries) as unknown,
  });
}

/** What filter answered: names that passed, the others with their reason; `error` is "" when the pod can be scheduled. */
export type FilterResult = {
  readonly passed: readonly string[];
  readonly failed: ReadonlyMap<string, string>;
  readonly error: string;
};

/** Reads the answer to filter; undefined when it has not that shape. */
export function parseFilterResult(json: unknown): FilterResult | undefined {
  const answer = asObject(json);
  if (answer === undefined) return undefined;
  const failed = Object.entries(asObject(memberOf(answer, "failedNodes")) ?? {});
  return {
    passed: asList(memberOf(answer, "nodeNames")).flatMap((name) => asText(name) ?? []),
    failed: new Map(failed.map(([name, reason]) => [name, asText(reason) ?? ""])),
    error: asText(memberOf(answer, "error")) ?? "",
  };
}

/** Reads the answer to prioritize; undefined when it has not that shape. */
export function parseHostPriorityList(
  json: unknown,
): readonly { readonly nodeName: string; readonly score: number }[] | undefined {
  if (!Array.isArray(json)) return undefined;
  return json.flatMap((item: unknown) => {
    const nodeName = asText(memberOf(item, "host"));
    const score = memberOf(item, "score");
    return nodeName === undefined || typeof score !== "number" ? [] : [{ nodeName, score }];
  });
}

/** Reads the answer to bind: "" when the pod is bound, else why not; undefined when it has not that shape. */
export function parseBindingResult(json: unknown): string | undefined {
  return asObject(json) === undefined ? undefined : (asText(memberOf(json, "error")) ?? "");
}

/** Reads the answer to preempt: nodes that are left; undefined when it has not that shape. */
export function parsePreemptionResult(json: unknown): readonly string[] | undefined {
  if (asObject(json) === undefined) return undefined;
  return Object.keys(asObject(memberOf(json, "nodeNameToMetaVictims")) ?? {});
}

/** The scheduler reads answers with Go's decoder, which does not care about upper and lower case. */
function memberOf(json: unknown, name: string): unknown {
  const wanted = name.toLowerCase();
  const key = Object.keys(asObject(json) ?? {}).find((each) => each.toLowerCase() === wanted);
  return key === undefined ? undefined : valueAt(json, key);
}
