// What one seed is made of: subnets, nodes, probabilities of faults and the weights of operations. Every seed draws its own mixture, so
// that some worlds are calm in one respect and wild in another.

import type { Ip, IpNumber } from "../src/core/ip.ts";
import { parseIp, successor } from "../src/core/ip.ts";
import { parseCidr } from "../src/core/ip-range.ts";
import type { PodSubnet } from "../src/core/subnets.ts";
import type { NetworkFaults } from "./network.ts";
import type { Random } from "./random.ts";
import type { WatchFaults } from "./watch.ts";

/** Operations of users, operators and fate. */
export type OperationName =
  | "create workload"
  | "scale"
  | "roll"
  | "delete workload"
  | "recreate workload"
  | "create bare pod"
  | "delete pod"
  | "force delete pod"
  | "evict pod"
  | "stop node"
  | "start node"
  | "change config"
  | "break config"
  | "write pool"
  | "delete pool"
  | "delete record"
  | "edit record"
  | "label record"
  | "unlabel record"
  | "reserve address"
  | "crash process"
  | "overstay leader"
  | "cut network"
  | "scale back"
  | "stale workloads"
  | "write quota"
  | "delete quota"
  | "wait";

/** The mixture of one seed. */
export type Swarm = {
  readonly subnets: readonly PodSubnet[];
  readonly nodes: readonly { readonly name: string; readonly ip: Ip }[];
  readonly network: NetworkFaults;
  readonly watch: WatchFaults;
  readonly operations: Readonly<Record<OperationName, number>>;
  readonly hasIpv6: boolean;
  readonly allowsOverstay: boolean;
  readonly rejectAfterFilter: number;
  /** How likely a Deployment has addresses beside those of its replicas. */
  readonly surgeShare: number;
  /** How likely a template or Pool says how long its addresses may be idle. */
  readonly ttlShare: number;
  /** Pods name one scheduler or another. */
  readonly schedulerCount: number;
};

/** Draws the mixture. */
export function drawSwarm(random: Random): Swarm {
  const hasIpv6 = random.chance(0.2);
  const subnetCount = random.integer(1, 3);
  const subnets: PodSubnet[] = [];
  for (let index = 0; index < subnetCount; index += 1) {
    const shares = index > 0 && random.chance(0.3);
    subnets.push(
      aSubnet(index, random.integer(2, 14), [`10.0.${shares ? index - 1 : index}.0/24`], "IPv4"),
    );
  }
  if (hasIpv6)
    subnets.push(aSubnet(9, random.integer(3, 20), ["10.0.0.0/24", "10.0.1.0/24"], "IPv6"));
  const nodes = Array.from({ length: random.integer(2, 6) }, (_, index) => ({
    name: `n${index}`,
    ip: parseIp(`10.0.${random.integer(0, subnetCount - 1)}.${index + 1}`) as Ip,
  }));
  const sometimes = (probability: number, value: number) =>
    random.chance(probability) ? value : 0;
  const late = sometimes(0.3, 0.02);
  const allowsOverstay = random.chance(0.15);
  const drawn: Omit<Swarm, "surgeShare" | "ttlShare"> = {
    subnets,
    nodes,
    hasIpv6,
    allowsOverstay,
    rejectAfterFilter: sometimes(0.3, 0.2),
    schedulerCount: 1 + sometimes(0.3, 1),
    network: {
      refused: sometimes(0.5, random.fraction() * 0.1),
      listRefused: 0,
      answerLost: sometimes(0.5, random.fraction() * 0.08),
      requestLost: sometimes(0.4, random.fraction() * 0.05),
      happensLate: late,
      slow: sometimes(0.5, random.fraction() * 0.2),
      slowMs: random.integer(100, 5_000),
    },
    watch: {
      lagMs: random.chance(0.5) ? 10 : random.integer(20, 2_000),
      stall: sometimes(0.4, 0.02),
      stallMs: random.integer(500, 20_000),
      interrupt: sometimes(0.4, 0.02),
      duplicate: sometimes(0.5, 0.1),
    },
    operations: {
      "create workload": 12,
      scale: 10,
      roll: 5,
      "delete workload": 5,
      "recreate workload": 3,
      "create bare pod": 3,
      "delete pod": 8,
      "force delete pod": sometimes(0.5, 3),
      "evict pod": sometimes(0.6, 4),
      "stop node": sometimes(0.6, 3),
      "start node": 3,
      "change config": sometimes(0.4, 3),
      "break config": sometimes(0.3, 1),
      "write pool": 4,
      "delete pool": 1,
      "delete record": sometimes(0.4, 3),
      "edit record": sometimes(0.3, 2),
      "label record": sometimes(0.3, 1),
      "unlabel record": sometimes(0.3, 2),
      "reserve address": sometimes(0.4, 2),
      "crash process": sometimes(0.6, 4),
      "overstay leader": allowsOverstay ? 3 : 0,
      "cut network": sometimes(0.3, 2),
      "scale back": 0,
      "stale workloads": 0,
      "write quota": 0,
      "delete quota": 0,
      wait: 6,
    },
  };
  // Drawn last, so that worlds without it stay what they were.
  const listRefused = sometimes(0.3, 0.5);
  const surgeShare = sometimes(0.3, 0.5);
  // Half of all seeds have nothing of what was thought of later.
  const later = random.chance(0.5) ? undefined : random.fork();
  const added = (probability: number, value: number) => (later?.chance(probability) ? value : 0);
  return {
    ...drawn,
    network: { ...drawn.network, listRefused },
    surgeShare,
    ttlShare: later?.chance(0.4) ? 0.6 : 0,
    operations: {
      ...drawn.operations,
      "scale back": added(0.6, 5),
      "stale workloads": added(0.6, 4),
      "write quota": added(0.4, 3),
      "delete quota": added(0.4, 1),
    },
  };
}

/** A pod subnet with so many addresses. */
export function aSubnet(
  index: number,
  count: number,
  nodeSubnets: readonly string[],
  family: "IPv4" | "IPv6",
): PodSubnet {
  const cidr = parseCidr(family === "IPv4" ? `10.${100 + index}.0.0/24` : `fd00:${index}::/64`);
  if (cidr === undefined) throw new RangeError(`no subnet ${index}`);
  const first = successor(successor(cidr.range.first));
  const last: IpNumber = typeof first === "number" ? first + count - 1 : first + BigInt(count - 1);
  return {
    cidr,
    ranges: [{ first, last }],
    gateway: parseIp(family === "IPv4" ? `10.${100 + index}.0.1` : `fd00:${index}::1`) as Ip,
    vlan: index,
    nodeSubnets: nodeSubnets.flatMap((text) => parseCidr(text) ?? []),
    family,
  };
}
