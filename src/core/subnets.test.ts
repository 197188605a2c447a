// Topology: which node may use which addresses. The subnets are the established test configuration CONF7, built by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Ip } from "./ip.ts";
import { ipFromNumber, parseIp } from "./ip.ts";
import type { Cidr, IpRange } from "./ip-range.ts";
import { mergeRanges, parseCidr, parseIpRange, rangeContains } from "./ip-range.ts";
import type { PodSubnet } from "./subnets.ts";
import { describeSubnet, firstAddressText, subnetSize, Topology } from "./subnets.ts";

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

function range(text: string): IpRange {
  const parsed = parseIpRange(text);
  assert.ok(parsed.kind === "range", text);
  return parsed.range;
}

function aPodSubnet(values: {
  nodes: readonly string[];
  ips: readonly string[];
  subnet: string;
  gateway: string;
  vlan?: number;
}): PodSubnet {
  return {
    cidr: cidr(values.subnet),
    ranges: mergeRanges(values.ips.map(range)),
    gateway: ip(values.gateway),
    vlan: values.vlan ?? 0,
    nodeSubnets: values.nodes.map(cidr),
    family: values.subnet.includes(":") ? "IPv6" : "IPv4",
  };
}

const conf7 = [
  aPodSubnet({
    nodes: ["10.49.27.0/24"],
    ips: ["10.49.27.205", "10.49.27.216~10.49.27.218"],
    subnet: "10.49.27.0/24",
    gateway: "10.49.27.1",
    vlan: 2,
  }),
  aPodSubnet({
    nodes: ["10.173.13.0/24"],
    ips: ["10.173.13.2", "10.173.13.10~10.173.13.13", "10.173.13.15"],
    subnet: "10.173.13.0/24",
    gateway: "10.173.13.1",
    vlan: 2,
  }),
  aPodSubnet({
    nodes: ["10.180.1.2/32"],
    ips: ["10.180.154.2~10.180.154.3"],
    subnet: "10.180.154.0/24",
    gateway: "10.180.154.1",
    vlan: 3,
  }),
  aPodSubnet({
    nodes: ["10.180.1.3/32"],
    ips: ["10.180.154.7~10.180.154.8"],
    subnet: "10.180.154.0/24",
    gateway: "10.180.154.1",
    vlan: 3,
  }),
  aPodSubnet({
    nodes: ["10.0.1.2/24", "10.0.2.2/24"],
    ips: ["10.0.70.2~10.0.70.20"],
    subnet: "10.0.70.0/24",
    gateway: "10.0.70.1",
  }),
  aPodSubnet({
    nodes: ["10.49.28.0/26", "10.49.29.0/24"],
    ips: ["10.0.80.2~10.0.80.4"],
    subnet: "10.0.80.0/24",
    gateway: "10.0.80.1",
  }),
  aPodSubnet({
    nodes: ["10.49.28.0/26"],
    ips: ["10.0.81.2~10.0.81.4"],
    subnet: "10.0.81.0/24",
    gateway: "10.0.81.1",
  }),
];
const topology = new Topology(conf7);

test("case 7: a node is in a zone when its address lies in a node subnet, edges included", () => {
  const cases: [node: string, subnets: string | undefined][] = [
    ["10.49.28.63", "5,6"],
    ["10.49.28.64", undefined],
    ["10.49.28.0", "5,6"],
    ["10.180.1.2", "2"],
    ["10.180.1.3", "3"],
    ["10.180.1.4", undefined],
    ["10.0.2.4", "4"],
    ["10.0.3.0", undefined],
    ["10.49.29.3", "5"],
    ["10.49.27.3", "0"],
    ["10.48.28.2", undefined],
  ];
  for (const [node, id] of cases) assert.equal(topology.zoneOf([ip(node)])?.id, id, node);
});

test("case 18: nodes that share a pod subnet by /32 node subnets use only their own ranges of it", () => {
  const first = topology.zoneOf([ip("10.180.1.2")]);
  const second = topology.zoneOf([ip("10.180.1.3")]);
  assert.ok(first !== undefined && second !== undefined);
  assert.equal(topology.zoneMayUse(first, ip("10.180.154.2")), true);
  assert.equal(topology.zoneMayUse(first, ip("10.180.154.7")), false);
  assert.equal(topology.zoneMayUse(second, ip("10.180.154.7")), true);
  assert.equal(topology.zoneMayUse(second, ip("10.180.154.2")), false);
});

test("two entries that share a block answer for their own ranges, the first one for what none lists", () => {
  const shared = { subnet: "10.1.0.0/24", vlan: 0 };
  const both = new Topology([
    aPodSubnet({ ...shared, nodes: ["10.2.0.0/24"], ips: ["10.1.0.9"], gateway: "10.1.0.1" }),
    aPodSubnet({ ...shared, nodes: ["10.3.0.0/24"], ips: ["10.1.0.5"], gateway: "10.1.0.2" }),
  ]);
  assert.equal(both.subnetFor(ip("10.1.0.9"))?.gateway, "10.1.0.1");
  assert.equal(both.subnetFor(ip("10.1.0.5"))?.gateway, "10.1.0.2");
  assert.equal(both.subnetFor(ip("10.1.0.7"))?.gateway, "10.1.0.1");
  const second = both.zoneOf([ip("10.3.0.9")]);
  assert.ok(second !== undefined);
  assert.equal(both.zoneMayUse(second, ip("10.1.0.9")), false);
  assert.equal(both.zoneMayUse(second, ip("10.1.0.5")), true);
});

test("every address of a node counts, and nodes of the same subnets are one zone", () => {
  const zone = topology.zoneOf([ip("192.168.0.1"), ip("10.49.28.5")]);
  assert.deepEqual(zone?.subnetIndexes, [5, 6]);
  assert.equal(topology.zoneOf([ip("10.49.28.9"), ip("10.49.29.3")]), zone);
  assert.equal(topology.zoneOf([]), undefined);
});

test("a dual-stack node is in the zone of both its families", () => {
  const dual = new Topology([
    ...conf7,
    aPodSubnet({
      nodes: ["fd00:1::/64"],
      ips: ["fd00:2::2~fd00:2::ffff"],
      subnet: "fd00:2::/64",
      gateway: "fd00:2::1",
    }),
  ]);
  assert.equal(dual.zoneOf([ip("10.0.1.9"), ip("fd00:1::9")])?.id, "4,7");
  assert.equal(dual.zoneOf([ip("fd00:1:0:1::9")]), undefined);
});

test("case 52: what an address needs on the wire comes from its pod subnet", () => {
  assert.deepEqual(topology.ipInfoOf(ip("10.180.154.7")), {
    ip: "10.180.154.7/24",
    vlan: 3,
    gateway: "10.180.154.1",
  });
  assert.equal(topology.ipInfoOf(ip("192.168.0.1")), undefined);
});

test("an address that is listed no more still has its block's prefix and gateway, and its nodes", () => {
  const draining = ip("10.0.70.99");
  assert.equal(topology.isConfigured(draining), false);
  assert.equal(topology.subnetIndexOf(0x0a004663), -1);
  assert.equal(topology.ipInfoOf(draining)?.gateway, "10.0.70.1");
  const zone = topology.zoneOf([ip("10.0.1.9")]);
  const other = topology.zoneOf([ip("10.49.27.3")]);
  assert.ok(zone !== undefined && other !== undefined);
  assert.equal(topology.zoneMayUse(zone, draining), true);
  assert.equal(topology.zoneMayUse(other, draining), false);
});

test("the subnet of an address is the one whose ranges list it", () => {
  const anyAddress = fc.oneof(
    fc.integer({ min: 0x0a0046fe, max: 0x0a005105 }),
    fc.integer({ min: 0x0a004600, max: 0x0a004620 }),
    fc.integer({ min: 0x0ab49a00, max: 0x0ab49a0a }),
    fc.integer({ min: 0x0a311bcc, max: 0x0a311bdc }),
  );
  fc.assert(
    fc.property(anyAddress, (value) => {
      const expected = conf7.findIndex((subnet) =>
        subnet.ranges.some((each) => rangeContains(each, value)),
      );
      assert.equal(topology.subnetIndexOf(value), expected);
      assert.equal(topology.isConfigured(ipFromNumber(value)), expected >= 0);
    }),
    { numRuns: 500 },
  );
});

test("CONF7 has 39 addresses, and messages and metrics name its subnets", () => {
  assert.equal(
    conf7.reduce((sum, subnet) => sum + subnetSize(subnet), 0),
    39,
  );
  assert.equal(describeSubnet(conf7[4] as PodSubnet), "10.0.70.0/24");
  assert.equal(firstAddressText(conf7[4] as PodSubnet), "10.0.70.2");
  assert.equal(firstAddressText({ ...(conf7[4] as PodSubnet), ranges: [] }), "");
});

test("a topology of a /8 and a /64 is built and asked without looking at each of their addresses", () => {
  const big = [
    aPodSubnet({
      nodes: ["10.0.0.0/8"],
      ips: ["11.0.0.2~11.255.255.254"],
      subnet: "11.0.0.0/8",
      gateway: "11.0.0.1",
    }),
    aPodSubnet({
      nodes: ["10.0.0.0/8"],
      ips: ["fd00::2~fd00::ffff:ffff:ffff:ffff"],
      subnet: "fd00::/64",
      gateway: "fd00::1",
    }),
  ];
  // Nobody would wait for 2^64 of them.
  const built = new Topology(big);
  assert.equal(built.isConfigured(ip("11.255.255.254")), true);
  assert.equal(built.isConfigured(ip("fd00::1")), false);
  assert.equal(built.zoneOf([ip("10.1.2.3")])?.id, "0,1");
});
