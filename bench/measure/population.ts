// A large cluster to measure with: zones of nodes, workloads with the names that people give them, their pods and the addresses that
// these have. Everything follows from numbers, so that each run has the same; no I/O.

import type { Allocation } from "../../src/core/allocation.ts";
import { parseIp } from "../../src/core/ip.ts";
import type { Owner, WorkloadRef } from "../../src/core/owner.ts";
import { builtInWorkload } from "../../src/core/owner.ts";
import type { ReleasePolicy } from "../../src/core/release-policy.ts";
import type { PodSubnet } from "../../src/core/subnets.ts";
import { parseFloatingIpConfig } from "../../src/wire/floatingip-config.ts";

/**
 * Zones have nodes 10.200.ZONE.0/24 (the first 250, then 10.201.ZONE.0/24 and so on) and pods 10.(64+ZONE).0.0/16; nodes of every fifth
 * one may use a common subnet too.
 */
export const zoneCount = 20;

/** Nodes of a zone that have one block of node addresses. */
const nodesOfBlock = 250;

/** Blocks of node addresses that the configuration lists for a zone: room for 15,000 nodes. */
const nodeBlocks = [200, 201, 202];

/** Addresses in the ranges of one zone. */
export const addressesOfZone = 65_265;

/** A node by its number: its zone is the number modulo {@link zoneCount}. */
export function nodeOf(index: number): { readonly name: string; readonly internalIp: string } {
  const zone = index % zoneCount;
  const place = Math.floor(index / zoneCount);
  const block = nodeBlocks[Math.floor(place / nodesOfBlock)];
  if (block === undefined) throw new RangeError(`there is no address for node ${index}`);
  return {
    name: `worker-${two(zone)}-${String(place + 1).padStart(3, "0")}.dc1.example.com`,
    internalIp: `10.${block}.${zone}.${(place % nodesOfBlock) + 1}`,
  };
}

/** Text of the address configuration: 1.3 million addresses in {@link zoneCount} zones and 16,000 common ones. */
export function configurationText(): string {
  const zones = Array.from({ length: zoneCount }, (_, zone) => ({
    nodeSubnets: nodeBlocks.map((block) => `10.${block}.${zone}.0/24`),
    ips: [`10.${64 + zone}.0.10~10.${64 + zone}.254.250`],
    subnet: `10.${64 + zone}.0.0/16`,
    gateway: `10.${64 + zone}.0.1`,
    vlan: 100 + zone,
  }));
  const shared = {
    nodeSubnets: [0, 5, 10, 15].flatMap((zone) =>
      nodeBlocks.map((block) => `10.${block}.${zone}.0/24`),
    ),
    ips: ["10.90.0.10~10.90.63.250"],
    subnet: "10.90.0.0/18",
    gateway: "10.90.0.1",
    vlan: 200,
  };
  return JSON.stringify([...zones, shared]);
}

/** The configuration, checked. */
export function configuredSubnets(): readonly PodSubnet[] {
  const parsed = parseFloatingIpConfig(configurationText());
  if (parsed.kind === "invalid") throw new TypeError(parsed.problems.join("; "));
  return parsed.subnets;
}

/** A workload of the population. */
export type PopulationWorkload = {
  readonly ref: WorkloadRef;
  readonly policy: ReleasePolicy;
  readonly replicas: number;
  /** Name of the ReplicaSet of a Deployment. */
  readonly replicaSet: string;
};

/** A pod of the population with its address; without uid the address is reserved and there is no pod. */
export type Member = {
  readonly workload: PopulationWorkload;
  readonly ordinal: number;
  readonly podName: string;
  readonly allocation: Allocation;
};

const teams = ["payments", "search", "checkout", "identity", "logistics", "media", "pricing"];
const parts = ["frontend", "backend", "worker", "gateway", "cache", "scheduler", "exporter"];
const sizes = [3, 2, 10, 5, 1, 20, 4, 3];
/** The letters of Kubernetes' random suffixes, which spell no words. */
const letters = "bcdfghjklmnpqrstvwxz2456789";

/** A workload by its number: three of four are Deployments, each third of any kind keeps its addresses. */
export function workloadOf(index: number): PopulationWorkload {
  const team = teams[index % teams.length] as string;
  const part = parts[Math.floor(index / teams.length) % parts.length] as string;
  const namespace = `${team}-${["prod", "staging", "test"][index % 3]}-${two(Math.floor(index / 100) % 50)}`;
  const name = `${team}-${part}-${index}`;
  const isDeployment = index % 4 !== 3;
  return {
    ref: builtInWorkload(isDeployment ? "deployment" : "statefulset", { namespace, name }),
    policy: index % 3 === 2 ? "immutable" : "pod-delete",
    replicas: sizes[index % sizes.length] as number,
    replicaSet: `${name}-${suffix(index * 7919 + 13, 10)}`,
  };
}

/**
 * Addresses in use, `count` of them; every tenth of those that outlive their pod is reserved.
 * @param nodeCount pods are spread over so many nodes
 */
export function* population(count: number, nodeCount: number): Generator<Member> {
  const nextOfZone = Array.from({ length: zoneCount }, () => 0);
  let made = 0;
  for (let workloadIndex = 0; made < count; workloadIndex += 1) {
    const workload = workloadOf(workloadIndex);
    for (let ordinal = 0; ordinal < workload.replicas && made < count; ordinal += 1, made += 1) {
      const node = made % nodeCount;
      const zone = node % zoneCount;
      // Every twentieth address stays free: pods come and go, and holes are what makes ranges many.
      const place = nextOfZone[zone] as number;
      nextOfZone[zone] = place % 20 === 18 ? place + 2 : place + 1;
      const isReserved = workload.policy === "immutable" && made % 10 === 9;
      yield memberOf(workload, ordinal, {
        address: addressAt(zone, place),
        nodeName: nodeOf(node).name,
        number: made,
        isReserved,
      });
    }
  }
}

/** One address of a workload; `number` makes uid and version. */
export function memberOf(
  workload: PopulationWorkload,
  ordinal: number,
  at: {
    readonly address: string;
    readonly nodeName: string;
    readonly number: number;
    readonly isReserved: boolean;
  },
): Member {
  const { ref, policy } = workload;
  const isDeployment = ref.type === "deployment";
  const podName = isDeployment
    ? `${workload.replicaSet}-${suffix(at.number * 104_729 + 7, 5)}`
    : `${ref.name}-${ordinal}`;
  const pod = { namespace: ref.namespace, name: podName };
  const ip = parseIp(at.address);
  if (ip === undefined) throw new TypeError(`"${at.address}" is not an address`);
  const owner: Owner =
    at.isReserved && isDeployment
      ? { kind: "workload", workload: ref }
      : { kind: "pod", pod, workload: ref, pool: undefined };
  return {
    workload,
    ordinal,
    podName,
    allocation: {
      ip,
      owner,
      policy,
      nodeName: at.isReserved ? "" : at.nodeName,
      lastNodeName: at.isReserved ? at.nodeName : "",
      podUid: at.isReserved ? "" : uidOf(at.number),
      updatedAtMs: 1_790_000_000_000 + at.number * 1000,
      isDraining: false,
      version: String(10_000_000 + at.number),
    },
  };
}

/** The address at a place in the ranges of a zone. */
export function addressAt(zone: number, place: number): string {
  const value = place + 10;
  return `10.${64 + zone}.${value >> 8}.${value & 255}`;
}

/** A uid as Kubernetes makes them. */
export function uidOf(number: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return `${hex((number * 2_654_435_761) % 2 ** 32, 8)}-${hex(number % 65_536, 4)}-4${hex(number % 4096, 3)}-9abc-${hex(number, 12)}`;
}

function suffix(seed: number, length: number): string {
  let text = "";
  let rest = seed;
  for (let index = 0; index < length; index += 1) {
    text += letters[rest % letters.length];
    rest = (Math.floor(rest / letters.length) * 31 + seed + index) % 2_147_483_647;
  }
  return text;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
