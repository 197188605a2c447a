// What a first start without a cluster shows: subnets, nodes and workloads of the documentation's examples, and addresses that workloads of an
// earlier time left behind, so that the documented requests have the documented answers. Values only.

import type { Allocation } from "../../core/allocation.ts";
import type { PoolFacts } from "../../core/facts.ts";
import { type Ip, parseIp } from "../../core/ip.ts";
import { builtInWorkload, type WorkloadRef } from "../../core/owner.ts";
import type { SimulatedWorkloadWish } from "../../wire/api/simulation.ts";

/** The pod subnets: two that the first three nodes may use, and one for the other two. */
export const exampleConfiguration = `[
  {
    "routableSubnet": "10.0.0.0/16",
    "ips": ["10.0.70.2~10.0.70.241"],
    "subnet": "10.0.70.0/24",
    "gateway": "10.0.70.1",
    "vlan": 2
  },
  {
    "routableSubnet": "10.0.0.0/16",
    "ips": ["10.0.0.2~10.0.0.238"],
    "subnet": "10.0.0.0/24",
    "gateway": "10.0.0.1"
  },
  {
    "routableSubnet": "10.1.0.0/16",
    "ips": ["10.1.70.2~10.1.70.241"],
    "subnet": "10.1.70.0/24",
    "gateway": "10.1.70.1",
    "vlan": 3
  }
]
`;

/** Nodes with their internal address. */
export const exampleNodes: readonly { readonly name: string; readonly ips: readonly string[] }[] = [
  { name: "node-a1", ips: ["10.0.1.1"] },
  { name: "node-a2", ips: ["10.0.1.2"] },
  { name: "node-a3", ips: ["10.0.1.3"] },
  { name: "node-b1", ips: ["10.1.1.1"] },
  { name: "node-b2", ips: ["10.1.1.2"] },
];

/** Workloads, each for one way to have addresses. With few replicas a roll-out of kept addresses has to let a pod go first. */
export const exampleWorkloads: readonly SimulatedWorkloadWish[] = [
  {
    kind: "deployment",
    name: "nginx-deployment",
    replicas: 3,
    policy: "never",
    maxSurge: 0,
    maxUnavailable: 1,
  },
  { kind: "statefulset", name: "db", replicas: 3, policy: "immutable" },
  { kind: "deployment", name: "web", replicas: 4 },
  {
    kind: "deployment",
    name: "shop-blue",
    replicas: 2,
    pool: "example-pool",
    maxSurge: 0,
    maxUnavailable: 1,
  },
  { kind: "tapp", name: "game", replicas: 2, policy: "immutable" },
  {
    kind: "statefulset",
    name: "router",
    replicas: 1,
    policy: "never",
    requestIpRange: [["10.0.0.200~10.0.0.238"], ["10.0.0.2~10.0.0.30"], ["10.0.0.60~10.0.0.80"]],
  },
];

/** A Pool that limits what shop-blue, and later a shop-green, may have together. */
export const examplePool: PoolFacts = {
  namespace: "kube-system",
  name: "example-pool",
  uid: "",
  size: 4,
  preAllocate: false,
  createdAtMs: 0,
  version: "",
};

/** Addresses of policy never whose workloads were deleted: they wait for a workload of that name, or for an operator to release them. */
export function exampleRemains(nowMs: number): readonly Allocation[] {
  const tapp: WorkloadRef = {
    type: "custom",
    kind: "tapp",
    apiGroup: "apps.tkestack.io",
    namespace: "default",
    name: "nginx-deployment",
  };
  const sts = builtInWorkload("statefulset", { namespace: "default", name: "sts" });
  const remains: readonly (readonly [WorkloadRef, string, string])[] = [
    [tapp, "nginx-deployment-0", "10.0.70.33"],
    [tapp, "nginx-deployment-1", "10.0.70.169"],
    [tapp, "nginx-deployment-2", "10.0.70.142"],
    [sts, "sts-0", "10.0.0.112"],
    [sts, "sts-1", "10.0.0.174"],
  ];
  return remains.map(([workload, name, ip]) => ({
    ip: parseIp(ip) as Ip,
    owner: { kind: "pod", pod: { namespace: "default", name }, workload, pool: undefined },
    policy: "never",
    nodeName: "",
    lastNodeName: "",
    podUid: "",
    updatedAtMs: nowMs,
    isDraining: false,
    version: "",
  }));
}
