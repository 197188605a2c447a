// Calls of the scheduler extender as kube-scheduler makes them, for scenarios that need one call at a chosen moment.
// It shares no code with the product on purpose.

import type { Node, Pod } from "./kinds.ts";

/** ExtenderFilterResult of k8s.io/kube-scheduler/extender/v1; `NodeNames` is the answer to names only. */
export type FilterAnswer = {
  readonly NodeNames: readonly string[];
  readonly FailedNodes: Readonly<Record<string, string>>;
  readonly Error: string;
};

/** A node as far as filter looks at it; it need not exist. */
export type OfferedNode = { readonly name: string; readonly internalIp?: string };

/** An answer as it came. */
export type RawAnswer = { readonly status: number; readonly text: string };

/** The longest time limit that scenarios give the program is 8 s; who needs so much longer hangs. */
const ANSWER_LIMIT_MS = 60_000;

/** Posts a body as it stands; `contentType` "" leaves the header out. Rejects with a TimeoutError when there is no answer within a minute. */
export async function post(
  url: string,
  path: string,
  body: string,
  contentType = "application/json",
): Promise<RawAnswer> {
  const answer = await fetch(`${url}${path}`, {
    method: "POST",
    // fetch would add a type of its own to a text.
    body: new TextEncoder().encode(body),
    headers: contentType === "" ? {} : { "content-type": contentType },
    signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
  });
  return { status: answer.status, text: await answer.text() };
}

/** Filter with names only (nodeCacheCapable). Throws for any status but 200. */
export async function filterNames(
  url: string,
  pod: Pod,
  names: readonly string[],
): Promise<FilterAnswer> {
  return filterAnswer(
    await post(url, "/v1/filter", JSON.stringify({ Pod: pod, NodeNames: names })),
  );
}

/** Filter with Node objects, which need not exist; the answer names those that pass. */
export async function filterNodes(
  url: string,
  pod: Pod,
  offered: readonly OfferedNode[],
): Promise<FilterAnswer> {
  const items = offered.map(nodeOf);
  return filterAnswer(
    await post(url, "/v1/filter", JSON.stringify({ Pod: pod, Nodes: { items } })),
  );
}

/** Bind; "" when it worked, else the error. Throws for any status but 200. */
export async function bind(url: string, pod: Pod, nodeName: string): Promise<string> {
  const { name, namespace, uid } = pod.metadata;
  const body = { PodName: name, PodNamespace: namespace, PodUID: uid, Node: nodeName };
  const answer = await post(url, "/v1/bind", JSON.stringify(body));
  if (answer.status !== 200) throw new Error(`bind answered ${answer.status}: ${answer.text}`);
  return memberOf(JSON.parse(answer.text), "error") as string;
}

function filterAnswer({ status, text }: RawAnswer): FilterAnswer {
  if (status !== 200) throw new Error(`filter answered ${status}: ${text}`);
  const json: unknown = JSON.parse(text);
  const nodes = memberOf(json, "nodes") as { readonly items?: readonly Node[] } | null | undefined;
  const names = memberOf(json, "nodenames") as readonly string[] | null | undefined;
  return {
    NodeNames: names ?? (nodes?.items ?? []).map(({ metadata }) => metadata.name),
    FailedNodes: (memberOf(json, "failednodes") as Record<string, string> | undefined) ?? {},
    Error: (memberOf(json, "error") as string | undefined) ?? "",
  };
}

/** The scheduler reads answers with Go's decoder, which does not care about case. */
function memberOf(json: unknown, lowerCaseName: string): unknown {
  const found = Object.entries(json as Record<string, unknown>).find(
    ([name]) => name.toLowerCase() === lowerCaseName,
  );
  return found?.[1];
}

function nodeOf({ name, internalIp }: OfferedNode): unknown {
  const addresses = internalIp === undefined ? [] : [{ type: "InternalIP", address: internalIp }];
  return { metadata: { name }, status: { addresses } };
}
