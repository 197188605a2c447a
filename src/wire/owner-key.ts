// The established owner key (`spec.key` of a FloatingIP) <-> Owner. The only place that knows the key's text; hand-written, because
// the format is a split at "_" and not a schema.
//
//   dp_NS_DEPLOYMENT_POD   sts_NS_STATEFULSET_POD   replicaset_NS_NAME_POD   KIND_NS_NAME_POD   NULL_NS_NULL_POD
//   dp_NS_DEPLOYMENT_      replicaset_NS_NAME_      (reserved for the workload)
//   pool__POOL_            (reserved for the pool)  pool__POOL_ + a pod's key (a pod of the pool)
//
// Names in Kubernetes contain no "_", so that the split is exact.

import type { Owner, WorkloadRef } from "../core/owner.ts";
import { builtInWorkload } from "../core/owner.ts";

const poolPrefix = "pool__";
/** DNS-1035 label, which a kind is in lower case. */
const kindPattern = /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/;
/** DNS-1123 subdomain, which names of pods, workloads and namespaces are. */
const namePattern = /^[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?$/;

/** First words of the key that stand for built-in workloads of API group `apps`. */
const builtInTypes = new Map<string, "deployment" | "statefulset" | "replicaset">([
  ["dp", "deployment"],
  ["sts", "statefulset"],
  ["replicaset", "replicaset"],
]);

/**
 * Reads a key. Never fails: what is none of the forms above is `foreign`. The first words `statefulset` and `deployment` are kinds
 * of another API group, because the built-in ones are `sts` and `dp`; the API group of a custom kind is not in the key.
 */
export function parseOwnerKey(key: string): Owner {
  if (!key.startsWith(poolPrefix)) return parsePlainKey(key) ?? { kind: "foreign", key };
  const end = key.indexOf("_", poolPrefix.length);
  if (end <= poolPrefix.length) return { kind: "foreign", key };
  const pool = key.slice(poolPrefix.length, end);
  const rest = key.slice(end + 1);
  if (rest === "") return { kind: "pool", pool };
  const owner = parsePlainKey(rest);
  return owner?.kind === "pod" ? { ...owner, pool } : { kind: "foreign", key };
}

function parsePlainKey(key: string): Owner | undefined {
  const parts = key.split("_");
  if (parts.length !== 4) return undefined;
  const [word, namespace, name, podName] = parts as [string, string, string, string];
  if (!namePattern.test(namespace)) return undefined;
  if (podName !== "" && !namePattern.test(podName)) return undefined;
  const pod = { namespace, name: podName };
  if (word === "NULL") {
    const isBarePod = name === "NULL" && podName !== "";
    return isBarePod ? { kind: "pod", pod, workload: undefined, pool: undefined } : undefined;
  }
  if (!kindPattern.test(word) || !namePattern.test(name)) return undefined;
  const type = builtInTypes.get(word);
  const workload: WorkloadRef =
    type === undefined
      ? { type: "custom", kind: word, apiGroup: undefined, namespace, name }
      : builtInWorkload(type, { namespace, name });
  if (podName !== "") return { kind: "pod", pod, workload, pool: undefined };
  // Pods of other workloads keep their address by name, so that nobody writes a reserved key for them.
  const isInterchangeable = type === "deployment" || type === "replicaset";
  return isInterchangeable ? { kind: "workload", workload } : undefined;
}

/**
 * Writes a key. `parseOwnerKey` gives the owner back, but for the API group of a custom workload, and but for custom kinds called
 * ReplicaSet, Dp or Sts, whose key reads as a built-in workload: wire/crd.ts keeps the group beside the key.
 */
export function formatOwnerKey(owner: Owner): string {
  switch (owner.kind) {
    case "pod": {
      const prefix = owner.pool === undefined ? "" : `${poolPrefix}${owner.pool}_`;
      const { namespace, name } = owner.pod;
      if (owner.workload === undefined) return `${prefix}NULL_${namespace}_NULL_${name}`;
      return `${prefix}${wordOf(owner.workload)}_${namespace}_${owner.workload.name}_${name}`;
    }
    case "workload":
      return `${wordOf(owner.workload)}_${owner.workload.namespace}_${owner.workload.name}_`;
    case "pool":
      return `${poolPrefix}${owner.pool}_`;
    case "admin":
    case "foreign":
      return owner.key;
    default:
      return owner satisfies never;
  }
}

function wordOf(workload: WorkloadRef): string {
  switch (workload.type) {
    case "deployment":
      return "dp";
    case "statefulset":
      return "sts";
    case "replicaset":
      return "replicaset";
    case "custom":
      return workload.kind;
    default:
      return workload.type satisfies never;
  }
}
