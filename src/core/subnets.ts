// Pod subnets, the nodes that may use them, and which node belongs where. Built from a checked configuration; never parses.

import type { Ip, IpFamily, IpNumber } from "./ip.ts";
import { compareIpNumbers, ipToNumber } from "./ip.ts";
import type { Cidr, IpRange } from "./ip-range.ts";
import { findRange, formatCidr, formatIpRange, rangeContains, totalSize } from "./ip-range.ts";

/** A checked entry of the configuration: addresses for pods with gateway and VLAN, and the nodes that may use them. */
export type PodSubnet = {
  /** The block, for example 10.0.70.0/24. */
  readonly cidr: Cidr;
  /** Addresses that may be handed out: sorted, merged, inside `cidr`, not empty. */
  readonly ranges: readonly IpRange[];
  readonly gateway: Ip;
  /** 802.1Q VLAN identifier, 0 (untagged) to 4094. */
  readonly vlan: number;
  /** Kubelet node networks; a node belongs here when one of its internal addresses is in one of them. */
  readonly nodeSubnets: readonly Cidr[];
  readonly family: IpFamily;
};

/** A set of pod subnets that some nodes share; nodes of one zone are interchangeable for addresses. */
export type Zone = {
  /** Positions in {@link Topology.subnets}, ascending; never empty. */
  readonly subnetIndexes: readonly number[];
  /** Stable text of the positions, a key for maps. */
  readonly id: string;
};

/** What an address needs on the wire. */
export type IpInfo = {
  /** `ADDRESS/PREFIX` with the prefix of the pod subnet. */
  readonly ip: string;
  readonly vlan: number;
  readonly gateway: string;
};

/** The configuration in force with its indexes. Read-only; a new configuration makes a new one. */
export class Topology {
  readonly subnets: readonly PodSubnet[];
  readonly #ranges: IpRange[] = [];
  readonly #subnetOfRange: number[] = [];
  readonly #zones = new Map<string, Zone>();

  constructor(subnets: readonly PodSubnet[]) {
    this.subnets = subnets;
    const pairs = subnets.flatMap((subnet, index) =>
      subnet.ranges.map((range) => ({ range, index })),
    );
    pairs.sort((a, b) => compareIpNumbers(a.range.first, b.range.first));
    for (const { range, index } of pairs) {
      this.#ranges.push(range);
      this.#subnetOfRange.push(index);
    }
  }

  /** Position of the pod subnet whose ranges hold the address; -1 when the configuration does not list it. */
  subnetIndexOf(value: IpNumber): number {
    const range = findRange(this.#ranges, value);
    return range < 0 ? -1 : (this.#subnetOfRange[range] as number);
  }

  /** Whether the address may be handed out under this configuration. */
  isConfigured(ip: Ip): boolean {
    return this.subnetIndexOf(ipToNumber(ip)) >= 0;
  }

  /** The pod subnet that lists the address, else one whose block holds it (a draining address), else undefined. */
  subnetFor(ip: Ip): PodSubnet | undefined {
    const value = ipToNumber(ip);
    const index = this.subnetIndexOf(value);
    if (index >= 0) return this.subnets[index];
    return this.subnets.find((subnet) => rangeContains(subnet.cidr.range, value));
  }

  /**
   * The zone of a node: all pod subnets one of whose node subnets holds one of the node's internal addresses.
   * @returns undefined when no pod subnet is for this node
   */
  zoneOf(internalIps: readonly Ip[]): Zone | undefined {
    const values = internalIps.map(ipToNumber);
    const indexes: number[] = [];
    for (const [index, subnet] of this.subnets.entries()) {
      const serves = subnet.nodeSubnets.some((cidr) =>
        values.some((value) => rangeContains(cidr.range, value)),
      );
      if (serves) indexes.push(index);
    }
    if (indexes.length === 0) return undefined;
    const id = indexes.join(",");
    let zone = this.#zones.get(id);
    if (zone === undefined) {
      zone = { subnetIndexes: indexes, id };
      this.#zones.set(id, zone);
    }
    return zone;
  }

  /** Whether nodes of the zone may use the address; also for a draining address whose block is still configured. */
  zoneMayUse(zone: Zone, ip: Ip): boolean {
    const value = ipToNumber(ip);
    const index = this.subnetIndexOf(value);
    if (index >= 0) return zone.subnetIndexes.includes(index);
    return zone.subnetIndexes.some((position) =>
      rangeContains((this.subnets[position] as PodSubnet).cidr.range, value),
    );
  }

  /** What the node side needs to set up the address; undefined when no configured block holds it. */
  ipInfoOf(ip: Ip): IpInfo | undefined {
    const subnet = this.subnetFor(ip);
    if (subnet === undefined) return undefined;
    return { ip: `${ip}/${subnet.cidr.prefix}`, vlan: subnet.vlan, gateway: subnet.gateway };
  }
}

/** How messages name a pod subnet. */
export function describeSubnet(subnet: PodSubnet): string {
  return formatCidr(subnet.cidr);
}

/** How many addresses a pod subnet can hand out. */
export function subnetSize(subnet: PodSubnet): number {
  return totalSize(subnet.ranges);
}

/** The first address of a pod subnet's ranges, a label of the established metric. */
export function firstAddressText(subnet: PodSubnet): string {
  const first = subnet.ranges[0];
  return first === undefined ? "" : formatIpRange({ first: first.first, last: first.first });
}
