// What a pool's status says of use, errors and overlaps.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ip, ipRange } from "../../test/builders.ts";
import type { VipPool } from "./vip-holder.ts";
import { sameVipPoolStatus, type VipPoolSight, vipPoolStatuses } from "./vip-pool-status.ts";

function aSight(
  name: string,
  ranges: readonly string[],
  wish: Partial<VipPoolSight> & { readonly namespaces?: readonly string[] } = {},
): VipPoolSight {
  const { namespaces, ...rest } = wish;
  const inForce: VipPool = {
    name,
    ranges: ranges.map(ipRange),
    namespaces,
    mode: { kind: "L2", interfaces: "*" },
    onControlPlaneLoss: "Fence",
    minReadyMs: 0,
    lastResort: "release",
  };
  return { name, generation: 1, inForce, problem: undefined, told: undefined, ...rest };
}

function statusOf(name: string, pools: readonly VipPoolSight[], used: readonly string[] = []) {
  return vipPoolStatuses(pools, used.map(ip)).get(name) ?? assert.fail("it has a status");
}

describe("the status of a pool of virtual addresses", () => {
  test("counts addresses of both families once, and those that are used", () => {
    const ranges = ["192.0.2.1~192.0.2.4", "192.0.2.3~192.0.2.6", "2001:db8::~2001:db8::f"];
    const used = ["192.0.2.3", "2001:db8::1", "198.51.100.1"];
    const { addresses, free, used: count } = statusOf("edge", [aSight("edge", ranges)], used);
    assert.deepEqual([addresses, count, free], [22, 2, 20]);
  });

  test("says a number that is whole of a pool that has more than can be counted", () => {
    const { addresses } = statusOf("edge", [aSight("edge", ["2001:db8::~2001:db8:ffff::"])]);
    assert.equal(addresses, Number.MAX_SAFE_INTEGER);
  });

  test("says why it cannot be read, and what is in force meanwhile", () => {
    const problem = "VIPPool edge: spec.ranges lists no range; write at least one";
    const broken = statusOf("edge", [aSight("edge", ["192.0.2.1"], { problem })]);
    assert.deepEqual(broken.ready, {
      isTrue: false,
      reason: "Invalid",
      message: `${problem}; what it said before stays in force until then`,
    });
    assert.equal(broken.addresses, 1);
    const never = statusOf("edge", [{ ...aSight("edge", []), inForce: undefined, problem }]);
    assert.match(never.ready.message, /none of its addresses can be claimed until then$/);
    assert.equal(never.addresses, 0);
  });

  test("names addresses that a pod finds in two pools, in both", () => {
    const pools = [aSight("a", ["192.0.2.1~192.0.2.9"]), aSight("b", ["192.0.2.8~192.0.2.20"])];
    assert.equal(statusOf("a", pools).overlaps.isTrue, true);
    assert.match(
      statusOf("a", pools).overlaps.message,
      /^it shares 192\.0\.2\.8~192\.0\.2\.9 of VIPPool b; the first by name/,
    );
    assert.match(statusOf("b", pools).overlaps.message, /of VIPPool a;/);
  });

  test("finds nothing wrong with pools of one range that no namespace may both use", () => {
    const range = ["192.0.2.1~192.0.2.9"];
    const apart = [
      aSight("a", range, { namespaces: ["shop"] }),
      aSight("b", range, { namespaces: ["bank"] }),
    ];
    assert.equal(statusOf("a", apart).overlaps.isTrue, false);
    const [first] = apart;
    assert.ok(first !== undefined);
    const together = [first, aSight("b", range, { namespaces: ["bank", "shop"] })];
    assert.equal(statusOf("a", together).overlaps.isTrue, true);
  });

  test("is the same as another only when nothing of it differs", () => {
    const status = statusOf("edge", [aSight("edge", ["192.0.2.1"])]);
    assert.ok(sameVipPoolStatus(structuredClone(status), status));
    assert.equal(sameVipPoolStatus(undefined, status), false);
    for (const other of [
      { ...status, generation: 2 },
      { ...status, used: 1 },
      { ...status, overlaps: { ...status.overlaps, isTrue: true } },
      { ...status, ready: { ...status.ready, message: "x" } },
    ]) {
      assert.equal(sameVipPoolStatus(other, status), false);
    }
  });
});
