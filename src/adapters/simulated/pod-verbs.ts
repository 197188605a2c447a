// What anybody may do to a pod of the simulated API server: delete it and evict it. What follows from it is up to kubelets.ts.

import { podIsFinished } from "../../core/facts.ts";
import type { SimApi } from "./api.ts";

/**
 * Asks for the deletion of a pod, as the API server handles it: the object of an unbound or finished pod is gone at once, any other
 * stays until the kubelet has stopped it.
 * @param options `force`: the object is gone at once (grace period 0), whatever its node does; `writer`: as in {@link SimApi.put}
 * @returns what became of it; `already terminating` changes nothing
 */
export function deletePod(
  api: SimApi,
  key: string,
  { force = false, writer = "controller" }: { force?: boolean; writer?: string } = {},
): "absent" | "removed" | "terminating" | "already terminating" {
  const pod = api.get("pods", key);
  if (pod === undefined) return "absent";
  if (force || pod.facts.nodeName === "" || podIsFinished(pod.facts)) {
    api.remove("pods", key, writer);
    return "removed";
  }
  if (pod.deletedAtMs !== undefined) return "already terminating";
  api.put(
    "pods",
    key,
    { ...pod, deletedAtMs: api.nowMs(), facts: { ...pod.facts, isTerminating: true } },
    writer,
  );
  return "terminating";
}

/**
 * Evicts a pod as a kubelet short of memory or disk does: it is Failed, and its object stays.
 * @returns whether there was an unfinished pod to evict
 */
export function evictPod(
  api: SimApi,
  key: string,
  { writer = "kubelet" }: { writer?: string } = {},
): boolean {
  const pod = api.get("pods", key);
  if (pod === undefined || podIsFinished(pod.facts)) return false;
  api.put(
    "pods",
    key,
    { ...pod, isReady: false, facts: { ...pod.facts, phase: "Failed" } },
    writer,
  );
  return true;
}
