// Compares pods, records and workloads as the API server has them: no address twice, no record without reason, policy kept. It knows
// the rules of the product's documents and nothing of its code.

import type { ApiClient } from "./api.ts";
import { floatIpsOf, waitUntil } from "./api.ts";
import {
  deployments,
  type FloatingIp,
  floatingIps,
  type Pod,
  pods,
  replicaSets,
  statefulSets,
} from "./kinds.ts";
import { FLOAT_IP_RESOURCE, POLICY_ANNOTATION, POOL_ANNOTATION } from "./manifests.ts";

/** What is wrong, a sentence each; empty when all is well. */
export async function audit(api: ApiClient): Promise<readonly string[]> {
  const [allPods, records, allDeployments, allStatefulSets, allReplicaSets] = await Promise.all([
    api.list({ kind: pods }),
    api.list({ kind: floatingIps }),
    api.list({ kind: deployments }),
    api.list({ kind: statefulSets }),
    api.list({ kind: replicaSets }),
  ]);
  const problems: string[] = [];
  const living = allPods.filter(isLiving);
  problems.push(...addressesInTwoPods(living), ...podsWithoutRecord(living, records));
  const uids = new Map(living.map((pod) => [pod.metadata.uid, pod]));
  const replicasOf = new Map<string, number>();
  for (const { metadata, spec } of allDeployments) {
    replicasOf.set(`dp_${metadata.namespace}_${metadata.name}`, spec.replicas ?? 1);
  }
  for (const { metadata, spec } of allStatefulSets) {
    replicasOf.set(`sts_${metadata.namespace}_${metadata.name}`, spec.replicas ?? 1);
  }
  for (const { metadata, spec } of allReplicaSets) {
    replicasOf.set(`replicaset_${metadata.namespace}_${metadata.name}`, spec.replicas ?? 1);
  }
  const ownedCount = new Map<string, number>();
  for (const record of records) {
    if (record.metadata.labels?.["reserved"] !== undefined) continue;
    const { uid } = attributeOf(record);
    const workload = workloadOf(record.spec.key);
    if (workload !== undefined) ownedCount.set(workload, (ownedCount.get(workload) ?? 0) + 1);
    if (uid !== "") {
      if (!uids.has(uid))
        problems.push(`${describe(record)} names uid ${uid}, which no living pod has`);
      continue;
    }
    problems.push(...reservationProblems(record, replicasOf));
  }
  for (const [workload, count] of ownedCount) {
    const replicas = replicasOf.get(workload);
    const isImmutable = records.some(
      (record) => workloadOf(record.spec.key) === workload && record.spec.policy === 1,
    );
    if (workload.startsWith("dp_") && isImmutable && replicas !== undefined && count > replicas) {
      problems.push(`${workload} has ${count} addresses with ${replicas} replicas`);
    }
  }
  return problems;
}

/** Waits until the audit finds nothing; the message of a time-out lists what it found. */
export async function waitForCleanAudit(
  api: ApiClient,
  options: { readonly timeoutMs?: number } = {},
): Promise<void> {
  await waitUntil(
    "a clean audit",
    () => audit(api),
    (problems) => problems.length === 0,
    {
      timeoutMs: options.timeoutMs ?? 30_000,
      everyMs: 200,
    },
  );
}

function isLiving(pod: Pod): boolean {
  return pod.status.phase !== "Succeeded" && pod.status.phase !== "Failed";
}

function wantsAddress(pod: Pod): boolean {
  return pod.spec.containers.some((container) => {
    const resources = container.resources as
      | { readonly requests?: Record<string, string>; readonly limits?: Record<string, string> }
      | undefined;
    return (
      resources?.requests?.[FLOAT_IP_RESOURCE] !== undefined ||
      resources?.limits?.[FLOAT_IP_RESOURCE] !== undefined
    );
  });
}

function addressesInTwoPods(living: readonly Pod[]): string[] {
  const problems: string[] = [];
  const holders = new Map<string, string>();
  for (const pod of living) {
    if (pod.spec.nodeName === undefined) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    for (const ip of floatIpsOf(pod)) {
      const other = holders.get(ip);
      if (other !== undefined) problems.push(`address ${ip} is in pods ${other} and ${name}`);
      holders.set(ip, name);
    }
  }
  return problems;
}

function podsWithoutRecord(living: readonly Pod[], records: readonly FloatingIp[]): string[] {
  const problems: string[] = [];
  const byName = new Map(records.map((record) => [record.metadata.name, record]));
  for (const pod of living) {
    if (pod.spec.nodeName === undefined || !wantsAddress(pod)) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const ips = floatIpsOf(pod);
    if (ips.length === 0) problems.push(`pod ${name} is bound without an address`);
    for (const ip of ips) {
      const record = byName.get(ip.replaceAll(":", "-"));
      if (record === undefined) {
        problems.push(`pod ${name} carries ${ip}, which has no record`);
        continue;
      }
      if (record.metadata.labels?.["reserved"] !== undefined) continue;
      const { uid, nodeName } = attributeOf(record);
      if (uid !== pod.metadata.uid) {
        problems.push(`pod ${name} (${pod.metadata.uid}) carries ${ip}, whose ${describe(record)}`);
      } else if (nodeName !== pod.spec.nodeName) {
        problems.push(`pod ${name} runs on ${pod.spec.nodeName}, but ${describe(record)}`);
      }
      const policy = policyNumber(pod);
      if (record.spec.policy !== policy) {
        problems.push(`pod ${name} has policy ${policy}, but ${describe(record)}`);
      }
    }
  }
  return problems;
}

function policyNumber(pod: Pod): number {
  const annotations = pod.metadata.annotations ?? {};
  if ((annotations[POOL_ANNOTATION] ?? "") !== "") return 2;
  const policy = annotations[POLICY_ANNOTATION];
  return policy === "never" ? 2 : policy === "immutable" ? 1 : 0;
}

function reservationProblems(
  record: FloatingIp,
  replicasOf: ReadonlyMap<string, number>,
): string[] {
  if (record.spec.policy === 2) return [];
  if (record.spec.policy === 0)
    return [`${describe(record)} is reserved without a policy that asks for it`];
  const workload = workloadOf(record.spec.key);
  if (workload === undefined) return [`${describe(record)} is reserved for nobody`];
  // Custom workloads are not listed here; their scenarios check them themselves.
  if (!/^(dp|sts|replicaset)_/.test(workload)) return [];
  const replicas = replicasOf.get(workload);
  if (replicas === undefined) return [`${describe(record)} outlives its workload`];
  const ordinal = /^sts_/.test(workload) ? Number(/-(\d+)$/.exec(record.spec.key)?.[1]) : 0;
  return ordinal >= replicas ? [`${describe(record)} is beyond ${replicas} replicas`] : [];
}

/** `dp_NS_NAME` of a key without a pool; undefined for pools and pods without a workload. */
function workloadOf(key: string): string | undefined {
  const parts = key.split("_");
  if (parts.length !== 4 || parts[0] === "NULL") return undefined;
  return parts.slice(0, 3).join("_");
}

function attributeOf(record: FloatingIp): { readonly nodeName: string; readonly uid: string } {
  const attribute = JSON.parse(record.spec.attribute ?? "{}") as {
    readonly NodeName?: string;
    readonly Uid?: string;
  };
  return { nodeName: attribute.NodeName ?? "", uid: attribute.Uid ?? "" };
}

function describe({ metadata, spec }: FloatingIp): string {
  return `record ${metadata.name} (key ${spec.key}, policy ${spec.policy}, ${spec.attribute ?? ""})`;
}
