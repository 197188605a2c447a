// The check that looks by itself: what its counts say, and when they say nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aNode, aPod, aPodSubnet, ip } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";

test("findings are counted by kind at each look, and are nobody's while the replica does not lead", async () => {
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"] })]);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await world.schedule(aPod({ name: "fine" }));
  const { check } = world.service;
  const look = async () => {
    world.clock.advance(60_000);
    await world.settle();
    return check.counts;
  };
  let isWanted = true;
  const end = check.watch({ everyMs: 60_000, isWanted: () => isWanted });
  await world.settle();
  assert.deepEqual(check.counts, []);
  await world.service.admin.reserve(ip("10.0.70.8"), "printer");
  for (const name of ["one", "two"]) {
    world.cluster.putPod(aPod({ name, nodeName: "n1", assignedIps: [ip("10.0.70.8")] }));
  }
  const found = await look();
  assert.ok(found.length > 0);
  assert.ok(found.every(({ kind, severity }) => kind === "double use" && severity === "error"));
  isWanted = false;
  assert.deepEqual(await look(), []);
  isWanted = true;
  assert.deepEqual(await look(), found);
  end();
  assert.deepEqual(await look(), []);
});
