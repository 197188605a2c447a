// Compares pods, records and workloads as the API server has them: no address twice, every address where its node may use it, as many as
// the pod asks for, no record without reason, policy kept, no pool over its size. It knows the rules of the product's documents and
// nothing of its code.

import { BlockList, isIPv6 } from "node:net";
import type { ApiClient } from "./api.ts";
import { floatIpsOf, ipInfosOf, waitUntil } from "./api.ts";
import {
  type ConfigMap,
  configMaps,
  deployments,
  type FloatingIp,
  floatingIps,
  type Node,
  nodes,
  type Pod,
  type Pool,
  pods,
  pools,
  replicaSets,
  statefulSets,
} from "./kinds.ts";
import {
  ARGS_ANNOTATION,
  FAMILIES_ANNOTATION,
  FLOAT_IP_RESOURCE,
  type FloatingIpEntry,
  POLICY_ANNOTATION,
  POOL_ANNOTATION,
  SURGE_ANNOTATION,
} from "./manifests.ts";
import { addressOf, holderOf, isReservation, usualSpelling } from "./records.ts";

/** What is wrong, a sentence each; empty when all is well. */
export async function audit(api: ApiClient): Promise<readonly string[]> {
  const config = { name: "floatingip-config", namespace: "kube-system" };
  const [
    configMap,
    allNodes,
    allPools,
    allPods,
    records,
    allDeployments,
    allStatefulSets,
    allReplicaSets,
  ] = await Promise.all([
    api.get(configMaps, config),
    api.list({ kind: nodes }),
    api.list({ kind: pools }),
    api.list({ kind: pods }),
    api.list({ kind: floatingIps }),
    api.list({ kind: deployments }),
    api.list({ kind: statefulSets }),
    api.list({ kind: replicaSets }),
  ]);
  const problems: string[] = [];
  const living = allPods.filter(isLiving);
  problems.push(...addressesInTwoPods(living), ...podsWithoutRecord(living, records));
  problems.push(...wrongAddresses(living), ...misplacedAddresses(living, allNodes, configMap));
  problems.push(...poolsOverTheirSize(allPools, records));
  const uids = new Map(living.map((pod) => [pod.metadata.uid, pod]));
  const replicasOf = new Map<string, number>();
  for (const { metadata, spec } of allDeployments) {
    const surge = Number(spec.template.metadata?.annotations?.[SURGE_ANNOTATION] ?? "0");
    const replicas = spec.replicas ?? 1;
    const most = replicas === 0 ? 0 : replicas + surge;
    replicasOf.set(`dp_${metadata.namespace}_${metadata.name}`, most);
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
    const { Uid: uid } = holderOf(record);
    const workload = workloadOf(record.spec.key);
    if (workload !== undefined) {
      const owned = `${workload} ${familyOf(addressOf(record))}`;
      ownedCount.set(owned, (ownedCount.get(owned) ?? 0) + 1);
    }
    if (uid !== "") {
      if (!uids.has(uid))
        problems.push(`${describe(record)} names uid ${uid}, which no living pod has`);
      continue;
    }
    problems.push(...reservationProblems(record, replicasOf));
  }
  for (const [owned, count] of ownedCount) {
    const [workload = "", family] = owned.split(" ");
    const replicas = replicasOf.get(workload);
    const isImmutable = records.some(
      (record) => workloadOf(record.spec.key) === workload && record.spec.policy === 1,
    );
    if (
      /^(dp|replicaset)_/.test(workload) &&
      isImmutable &&
      replicas !== undefined &&
      count > replicas
    ) {
      problems.push(`${workload} has ${count} ${family} addresses with ${replicas} replicas`);
    }
  }
  return problems;
}

/** Waits until the audit finds nothing; the message of a time-out lists what it found. */
export async function waitForCleanAudit(api: ApiClient): Promise<void> {
  await waitUntil(
    "a clean audit",
    () => audit(api),
    (problems) => problems.length === 0,
    { everyMs: 200 },
  );
}

function isLiving(pod: Pod): boolean {
  return pod.status.phase !== "Succeeded" && pod.status.phase !== "Failed";
}

function wantsAddress(pod: Pod): boolean {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return containers.some(({ resources }) =>
    [resources?.requests, resources?.limits].some(
      (amounts) => (amounts?.[FLOAT_IP_RESOURCE] ?? "0") !== "0",
    ),
  );
}

/** Pods with more or fewer addresses than they ask for, or with others. */
function wrongAddresses(living: readonly Pod[]): string[] {
  const problems: string[] = [];
  for (const pod of living) {
    if (pod.spec.nodeName === undefined || !wantsAddress(pod)) continue;
    const ips = floatIpsOf(pod);
    const name = `pod ${pod.metadata.namespace}/${pod.metadata.name} with ${ips.join(", ")}`;
    const annotations = pod.metadata.annotations ?? {};
    const { request_ip_range: ranges } = JSON.parse(annotations[ARGS_ANNOTATION] ?? "{}") as {
      readonly request_ip_range?: readonly (readonly string[])[];
    };
    if (ranges !== undefined) {
      const fits =
        ranges.length === ips.length &&
        ranges.every((list, index) => contains(list, ips[index] ?? ""));
      if (!fits) problems.push(`${name} asks for ${JSON.stringify(ranges)}`);
      continue;
    }
    const asked = annotations[FAMILIES_ANNOTATION]?.split(",").map((family) => family.trim());
    const families = ips.map(familyOf);
    const isEachOnce = new Set(families).size === families.length;
    const isAsked =
      asked === undefined || asked.length === 0
        ? ips.length === 1
        : families.every((family) => asked.includes(family));
    if (!isEachOnce || !isAsked)
      problems.push(`${name} asks for ${asked?.join() ?? "one address"}`);
  }
  return problems;
}

/**
 * Addresses of entries that do not serve the pod's node, and annotations that do not say the entry's gateway and VLAN. Addresses outside
 * all ranges are left alone: pods keep those when the configuration shrinks.
 */
function misplacedAddresses(
  living: readonly Pod[],
  allNodes: readonly Node[],
  configMap: ConfigMap | undefined,
): string[] {
  const entries = entriesOf(configMap);
  const internalIps = new Map<string, readonly string[]>();
  for (const { metadata, status } of allNodes) {
    const ips = (status.addresses ?? []).filter(({ type }) => type === "InternalIP");
    internalIps.set(
      metadata.name,
      ips.map(({ address }) => address),
    );
  }
  const problems: string[] = [];
  for (const pod of living) {
    const nodeIps = internalIps.get(pod.spec.nodeName ?? "");
    if (nodeIps === undefined) continue;
    for (const info of ipInfosOf(pod)) {
      const [ip = ""] = info.ip.split("/");
      const entry = entries.find(({ ips }) => contains(ips, ip));
      if (entry === undefined) continue;
      const name = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
      const subnets = [...(entry.nodeSubnets ?? []), ...[entry.routableSubnet ?? []].flat()];
      if (!nodeIps.some((nodeIp) => subnets.some((cidr) => contains([cidr], nodeIp)))) {
        problems.push(`${name} on ${pod.spec.nodeName} has ${ip} of subnet ${entry.subnet}`);
      }
      const prefix = entry.subnet.split("/")[1];
      const isAsConfigured =
        info.gateway === entry.gateway &&
        info.vlan === (entry.vlan ?? 0) &&
        info.ip.endsWith(`/${prefix}`);
      if (!isAsConfigured) {
        problems.push(`${name} is told ${JSON.stringify(info)}, not as subnet ${entry.subnet} is`);
      }
    }
  }
  return problems;
}

/** The entries in the ConfigMap; none when they cannot be read, as in scenarios that break them. */
function entriesOf(configMap: ConfigMap | undefined): readonly FloatingIpEntry[] {
  try {
    const entries: unknown = JSON.parse(configMap?.data?.["floatingips"] ?? "[]");
    return Array.isArray(entries) ? (entries as readonly FloatingIpEntry[]) : [];
  } catch {
    return [];
  }
}

/** Pools with more addresses than their size of which some are not even in use. */
function poolsOverTheirSize(
  allPools: readonly Pool[],
  records: readonly FloatingIp[],
): readonly string[] {
  const inForce = new Map<string, Pool>();
  for (const pool of allPools) {
    const { name, namespace } = pool.metadata;
    // Two of one name outside kube-system: which is older is not known to the second; no scenario has them.
    if (namespace === "kube-system" || !inForce.has(name)) inForce.set(name, pool);
  }
  return [...inForce.values()].flatMap(({ metadata: { name }, size }) => {
    const its = records.filter(
      ({ metadata, spec }) =>
        spec.key.startsWith(`pool__${name}_`) && metadata.labels?.["reserved"] === undefined,
    );
    const isOver = size !== undefined && its.length > size;
    const spare = its.filter(isReservation);
    return isOver && spare.length > 0
      ? [`pool ${name} of size ${size} has ${its.length} addresses, ${spare.length} of them unused`]
      : [];
  });
}

function familyOf(ip: string): "IPv4" | "IPv6" {
  return isIPv6(ip) ? "IPv6" : "IPv4";
}

/** Whether an address is in one of the items: an address, a range `A~B` or a block `A/N`. */
function contains(items: readonly string[], ip: string): boolean {
  const blocks = new BlockList();
  for (const item of items) {
    const family = item.includes(":") ? "ipv6" : "ipv4";
    const [first = "", last] = item.split("~");
    const [base = "", prefix] = item.split("/");
    if (prefix !== undefined) blocks.addSubnet(base, Number(prefix), family);
    else if (last !== undefined) blocks.addRange(first, last, family);
    else blocks.addAddress(item, family);
  }
  return blocks.check(ip, isIPv6(ip) ? "ipv6" : "ipv4");
}

function addressesInTwoPods(living: readonly Pod[]): string[] {
  const problems: string[] = [];
  const holders = new Map<string, string>();
  for (const pod of living) {
    if (pod.spec.nodeName === undefined) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    for (const ip of floatIpsOf(pod).map(usualSpelling)) {
      const other = holders.get(ip);
      if (other !== undefined) problems.push(`address ${ip} is in pods ${other} and ${name}`);
      holders.set(ip, name);
    }
  }
  return problems;
}

function podsWithoutRecord(living: readonly Pod[], records: readonly FloatingIp[]): string[] {
  const problems: string[] = [];
  const byAddress = new Map(records.map((record) => [addressOf(record), record]));
  for (const pod of living) {
    if (pod.spec.nodeName === undefined || !wantsAddress(pod)) continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const ips = floatIpsOf(pod);
    if (ips.length === 0) problems.push(`pod ${name} is bound without an address`);
    for (const ip of ips) {
      const record = byAddress.get(usualSpelling(ip));
      if (record === undefined) {
        problems.push(`pod ${name} carries ${ip}, which has no record`);
        continue;
      }
      if (record.metadata.labels?.["reserved"] !== undefined) continue;
      const { Uid: uid, NodeName: nodeName } = holderOf(record);
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
  const ordinal = workload.startsWith("sts_") ? Number(/-(\d+)$/.exec(record.spec.key)?.[1]) : 0;
  return ordinal >= replicas ? [`${describe(record)} is beyond ${replicas} replicas`] : [];
}

/** `dp_NS_NAME` of a key without a pool; undefined for pools and pods without a workload. */
function workloadOf(key: string): string | undefined {
  const parts = key.split("_");
  if (parts.length !== 4 || parts[0] === "NULL") return undefined;
  return parts.slice(0, 3).join("_");
}

function describe({ metadata, spec }: FloatingIp): string {
  return `record ${metadata.name} (key ${spec.key}, policy ${spec.policy}, ${spec.attribute ?? ""})`;
}
