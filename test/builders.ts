// Facts for tests: each builder fills in what the test at hand does not care about. Texts are checked, so that a typing error fails
// where it stands. Not for random values; those are in contract/arbitraries.ts.

import type { Allocation } from "../src/core/allocation.ts";
import type { ControllerRef, NodeFacts, PodFacts, PoolFacts } from "../src/core/facts.ts";
import { familyOfNumber, type Ip, ipFromNumber, parseIp, successor } from "../src/core/ip.ts";
import {
  type Cidr,
  type IpRange,
  mergeRanges,
  parseCidr,
  parseIpRange,
} from "../src/core/ip-range.ts";
import { builtInWorkload, type Owner, type PodId, type WorkloadRef } from "../src/core/owner.ts";
import type { QuotaFacts } from "../src/core/quota.ts";
import { policyInForce } from "../src/core/release-policy.ts";
import type { PodSubnet } from "../src/core/subnets.ts";

/** The moment at which everything in a test was made unless it says otherwise: 2023-11-14T22:13:20Z. */
export const madeAtMs = 1_700_000_000_000;

/** The address of a text. */
export function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new TypeError(`"${text}" is not an address`);
  return parsed;
}

/** The block of a text `ADDRESS/PREFIX`. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new TypeError(`"${text}" is not a CIDR block`);
  return parsed;
}

/** The range of a text `A` or `A~B`. */
export function ipRange(text: string): IpRange {
  const parsed = parseIpRange(text);
  if (parsed.kind === "problem") throw new TypeError(parsed.problem);
  return parsed.range;
}

/** The uid that builders give to a pod of that name when none is asked for. */
export function uidOf(pod: PodId): string {
  return `uid-${pod.namespace}-${pod.name}`;
}

/** A controller reference: `controlledBy("apps/v1", "StatefulSet", "web")`. */
export function controlledBy(
  groupVersion: string,
  kind: string,
  name: string,
  uid = `uid-${kind.toLowerCase()}-${name}`,
): ControllerRef {
  const slash = groupVersion.indexOf("/");
  return {
    apiGroup: slash < 0 ? "" : groupVersion.slice(0, slash),
    apiVersion: groupVersion.slice(slash + 1),
    kind,
    name,
    uid,
  };
}

/** A pending pod `ns1/pod1` without controller that wants one address; membership of a pool brings its policy. */
export function aPod(
  wanted: Partial<Omit<PodFacts, "id" | "assignedIps">> & {
    readonly namespace?: string;
    readonly name?: string;
    /** Texts of addresses. */
    readonly assignedIps?: readonly string[];
  } = {},
): PodFacts {
  const { namespace = "ns1", name = "pod1", assignedIps = [], ...facts } = wanted;
  const id = { namespace, name };
  return {
    uid: uidOf(id),
    phase: "Pending",
    isTerminating: false,
    nodeName: "",
    wantsAddress: true,
    policy: policyInForce(undefined, facts.pool),
    pool: undefined,
    controller: undefined,
    request: { kind: "families", families: undefined },
    argsText: "",
    problems: [],
    createdAtMs: madeAtMs,
    ...facts,
    id,
    assignedIps: assignedIps.map(ip),
  };
}

/** A node with internal addresses: `aNode("n1", "10.49.27.3")`. */
export function aNode(name: string, ...internalIps: readonly string[]): NodeFacts {
  return { name, internalIps: internalIps.map(ip) };
}

/**
 * A pod subnet 10.0.70.0/24 for nodes of 10.0.1.0/24. With another block and nothing else the gateway is its first address after
 * the network's and the ranges are everything behind it but the last address.
 */
export function aPodSubnet(
  wanted: {
    readonly cidr?: string;
    readonly ranges?: readonly string[];
    readonly gateway?: string;
    readonly vlan?: number;
    readonly nodeSubnets?: readonly string[];
  } = {},
): PodSubnet {
  const block = cidr(wanted.cidr ?? "10.0.70.0/24");
  const first = successor(block.range.first);
  const last = block.range.last;
  return {
    cidr: block,
    ranges: wanted.ranges
      ? mergeRanges(wanted.ranges.map(ipRange))
      : [{ first: successor(first), last: typeof last === "number" ? last - 1 : last - 1n }],
    gateway: wanted.gateway === undefined ? ipFromNumber(first) : ip(wanted.gateway),
    vlan: wanted.vlan ?? 0,
    nodeSubnets: (wanted.nodeSubnets ?? ["10.0.1.0/24"]).map(cidr),
    family: familyOfNumber(block.range.first),
  };
}

/** The Deployment `ns1/web` of group apps, or another by name. */
export function aDeploymentRef(wanted: Partial<PodId> = {}): WorkloadRef {
  return builtInWorkload("deployment", { namespace: "ns1", name: "web", ...wanted });
}

/** The StatefulSet `ns1/db` of group apps, or another by name. */
export function aStatefulSetRef(wanted: Partial<PodId> = {}): WorkloadRef {
  return builtInWorkload("statefulset", { namespace: "ns1", name: "db", ...wanted });
}

/** A pod as owner: `ns1/pod1` without workload and pool unless asked for. */
export function podOwner(
  wanted: Partial<PodId> & {
    readonly workload?: WorkloadRef | undefined;
    readonly pool?: string | undefined;
  } = {},
): Owner {
  const { namespace = "ns1", name = "pod1", workload, pool } = wanted;
  return { kind: "pod", pod: { namespace, name }, workload, pool };
}

/**
 * The record of 10.0.70.2, bound to pod `ns1/pod1` on node `n1`. With another kind of owner it is reserved: no node, no pod.
 */
export function anAllocation(
  wanted: Partial<Omit<Allocation, "ip">> & { readonly ip?: string } = {},
): Allocation {
  const { ip: ipText = "10.0.70.2", owner = podOwner(), ...rest } = wanted;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  return {
    policy: policyInForce(undefined, owner.kind === "pod" ? owner.pool : undefined),
    nodeName: pod === undefined ? "" : "n1",
    lastNodeName: "",
    podUid: pod === undefined ? "" : uidOf(pod),
    updatedAtMs: madeAtMs,
    isDraining: false,
    version: "",
    ...rest,
    ip: ip(ipText),
    owner,
  };
}

/** The Pool `kube-system/pool1` without a size, not yet written. */
export function aPool(wanted: Partial<PoolFacts> = {}): PoolFacts {
  return {
    name: "pool1",
    namespace: "kube-system",
    uid: "",
    size: undefined,
    preAllocate: false,
    createdAtMs: 0,
    version: "",
    ...wanted,
  };
}

/** The FloatingIPQuota `quota1` of 10 addresses for every namespace that no other names, not yet written. */
export function aQuota(wanted: Partial<QuotaFacts> = {}): QuotaFacts {
  return { name: "quota1", uid: "", namespaces: [], limit: 10, version: "", ...wanted };
}

/** The first two entries of {@link conf7}. */
export const conf2: readonly PodSubnet[] = [
  aPodSubnet({
    nodeSubnets: ["10.49.27.0/24"],
    cidr: "10.49.27.0/24",
    ranges: ["10.49.27.205", "10.49.27.216~10.49.27.218"],
    vlan: 2,
  }),
  aPodSubnet({
    nodeSubnets: ["10.173.13.0/24"],
    cidr: "10.173.13.0/24",
    ranges: ["10.173.13.2", "10.173.13.10~10.173.13.13", "10.173.13.15"],
    vlan: 2,
  }),
];

/** The seven entries that the Go system's own tests use (pkg/ipam/utils/test_helper.go): 39 addresses. */
export const conf7: readonly PodSubnet[] = [
  ...conf2,
  aPodSubnet({
    nodeSubnets: ["10.180.1.2/32"],
    cidr: "10.180.154.0/24",
    ranges: ["10.180.154.2~10.180.154.3"],
    vlan: 3,
  }),
  aPodSubnet({
    nodeSubnets: ["10.180.1.3/32"],
    cidr: "10.180.154.0/24",
    ranges: ["10.180.154.7~10.180.154.8"],
    vlan: 3,
  }),
  aPodSubnet({
    nodeSubnets: ["10.0.1.2/24", "10.0.2.2/24"],
    cidr: "10.0.70.0/24",
    ranges: ["10.0.70.2~10.0.70.20"],
  }),
  aPodSubnet({
    nodeSubnets: ["10.49.28.0/26", "10.49.29.0/24"],
    cidr: "10.0.80.0/24",
    ranges: ["10.0.80.2~10.0.80.4"],
  }),
  aPodSubnet({
    nodeSubnets: ["10.49.28.0/26"],
    cidr: "10.0.81.0/24",
    ranges: ["10.0.81.2~10.0.81.4"],
  }),
];

/** Nodes for {@link conf7}; `n2` is in none of its node subnets, `n5` in those of two entries. */
export const conf7Nodes: readonly NodeFacts[] = [
  aNode("n1", "10.180.1.3"),
  aNode("n2", "10.48.28.2"),
  aNode("n3", "10.49.27.3"),
  aNode("n4", "10.173.13.4"),
  aNode("n5", "10.49.28.3"),
  aNode("n6", "10.49.29.3"),
];
