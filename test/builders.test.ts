// The builders' fixed configuration is the one that the cases are written for, and defaults fit together.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isBound } from "../src/core/allocation.ts";
import { formatIpRange } from "../src/core/ip-range.ts";
import { subnetSize, Topology } from "../src/core/subnets.ts";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aPodSubnet,
  aPool,
  aStatefulSetRef,
  conf2,
  conf7,
  conf7Nodes,
  ip,
  podOwner,
} from "./builders.ts";

const total = (subnets: typeof conf7) =>
  subnets.reduce((sum, subnet) => sum + subnetSize(subnet), 0);

describe("builders", () => {
  it("have 39 addresses in the configuration of seven entries and 10 in that of two", () => {
    assert.equal(total(conf7), 39);
    assert.equal(total(conf2), 10);
  });

  it("put the nodes n1 to n6 where the cases expect them", () => {
    const topology = new Topology(conf7);
    assert.deepEqual(
      conf7Nodes.map(({ name, internalIps }) => [
        name,
        topology.zoneOf(internalIps)?.subnetIndexes,
      ]),
      [
        ["n1", [3]],
        ["n2", undefined],
        ["n3", [0]],
        ["n4", [1]],
        ["n5", [5, 6]],
        ["n6", [5]],
      ],
    );
  });

  it("tell VLAN, mask and gateway of an address as the cases do", () => {
    assert.deepEqual(new Topology(conf7).ipInfoOf(ip("10.180.154.7")), {
      ip: "10.180.154.7/24",
      vlan: 3,
      gateway: "10.180.154.1",
    });
  });

  it("leave network, gateway and last address out of a pod subnet without ranges, in both families", () => {
    const ranges = (block: string) => aPodSubnet({ cidr: block }).ranges.map(formatIpRange);
    assert.deepEqual(ranges("10.9.0.0/29"), ["10.9.0.2~10.9.0.6"]);
    assert.deepEqual(ranges("fd00::/125"), ["fd00::2~fd00::6"]);
  });

  it("bind an allocation of a pod to the pod that aPod makes, and no other allocation", () => {
    assert.equal(anAllocation().podUid, aPod().uid);
    assert.ok(isBound(anAllocation()));
    const owner = { kind: "workload", workload: aDeploymentRef() } as const;
    assert.equal(isBound(anAllocation({ owner })), false);
  });

  it("give members of a pool the policy never", () => {
    const pool = aPool().name;
    assert.equal(aPod({ pool }).policy, "never");
    assert.equal(
      anAllocation({ owner: podOwner({ pool, workload: aStatefulSetRef() }) }).policy,
      "never",
    );
    assert.equal(aPod().policy, "pod-delete");
  });
});
