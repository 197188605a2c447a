// Pool objects and their addresses over the memory world: filling up, shrinking, going on when there are addresses, and the status.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aNode, aPod, aPodSubnet, podOwner } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import type { Allocation } from "../core/allocation.ts";

const blue = { namespace: "kube-system", name: "blue" };

async function aWorld(ranges = ["10.0.70.2~10.0.70.5"]): Promise<IpamWorld> {
  const world = await IpamWorld.leading([aPodSubnet({ ranges })]);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  return world;
}

test("a pool that pre-allocates is filled up at once, also when made with kubectl (case 128)", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", size: 3, preAllocate: true });
  await world.settle();
  assert.deepEqual(world.lines(), [
    "10.0.70.2 pool blue - - never",
    "10.0.70.3 pool blue - - never",
    "10.0.70.4 pool blue - - never",
  ]);
  assert.deepEqual(world.cluster.poolStatus(blue), {
    allocated: 3,
    used: 0,
    condition: { isReady: true, reason: "Ready", message: "" },
  });
});

test("a pool without pre-allocation takes nothing by itself", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", size: 3 });
  await world.settle();
  assert.deepEqual(world.lines(), []);
});

test("what is missing is said and filled in as addresses become free", async () => {
  const world = await aWorld();
  const pod = await world.schedule(aPod());
  world.cluster.putPool({ name: "blue", size: 4, preAllocate: true });
  await world.settle();
  const status = world.cluster.poolStatus(blue);
  assert.equal(status?.allocated, 3);
  assert.equal(status.condition.reason, "NotEnoughAddresses");
  assert.match(status.condition.message, /1 of 4 addresses are missing/);
  await world.deletePod(pod.id);
  assert.equal(world.lines().length, 4);
  assert.equal(world.cluster.poolStatus(blue)?.condition.isReady, true);
});

test("a smaller pool gives unused addresses back and never one in use (case 128)", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", size: 3, preAllocate: true });
  await world.settle();
  const pod = await world.schedule(aPod({ name: "p-0", pool: "blue" }));
  world.cluster.putPool({ name: "blue", size: 1, preAllocate: true });
  await world.settle();
  assert.equal(world.lines().length, 1);
  assert.equal(world.records()[0]?.podUid, pod.uid);
  world.cluster.putPool({ name: "blue", size: 0, preAllocate: true });
  await world.settle();
  assert.equal(world.records()[0]?.podUid, pod.uid);
});

test("deleting the Pool keeps its addresses", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", size: 2, preAllocate: true });
  await world.settle();
  world.cluster.deletePool(blue);
  await world.settle();
  await world.resync();
  assert.equal(world.lines().length, 2);
});

test("pods use the pool's addresses, and members of other workloads use them afterwards (case 91)", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", size: 1, preAllocate: true });
  await world.settle();
  const pod = await world.schedule(aPod({ name: "a-0", pool: "blue" }));
  assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/a-0 in blue ${pod.uid} n1 never`]);
  assert.equal(world.cluster.poolStatus(blue)?.used, 1);
  const second = aPod({ namespace: "ns2", name: "b-0", pool: "blue" });
  world.cluster.putPod(second);
  assert.match(String(await world.passing(second)), /reached pool blue size limit of 1/);
});

test("of two Pools with one name that in kube-system is in force, and the other says so", async () => {
  const world = await aWorld();
  world.cluster.putPool({ name: "blue", namespace: "default", size: 4, preAllocate: true });
  world.cluster.putPool({ name: "blue", size: 1, preAllocate: true });
  await world.settle();
  assert.equal(world.lines().length, 1);
  const other = world.cluster.poolStatus({ namespace: "default", name: "blue" });
  assert.equal(other?.condition.reason, "OtherPoolInForce");
  assert.match(other.condition.message, /kube-system\/blue/);
});

test("a write that fails is tried again until the pool is full", async () => {
  let failures = 3;
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.5"] })], {
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name }) => {
        if (name !== "create" || failures === 0) return "ok";
        failures -= 1;
        return "fail";
      }),
  });
  world.cluster.putPool({ name: "blue", size: 2, preAllocate: true });
  await world.settle();
  await world.clock.pass(5_000);
  await world.settle();
  assert.equal(world.lines().length, 2);
});

test("a process that leads again counts what it was still writing for the pool", async () => {
  let go = () => {};
  const until = new Promise<void>((resolve) => {
    go = resolve;
  });
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.5"] })], {
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name, count }) =>
        name === "create" && count <= 2 ? { kind: "slow", until } : "ok",
      ),
  });
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putPool({ name: "blue", size: 2, preAllocate: true });
  await world.clock.pass(0);
  const stopped = world.service.stopLeading();
  await world.service.startLeading();
  await world.service.pools.whenIdle();
  assert.deepEqual(world.lines(), []);
  go();
  await stopped;
  await world.settle();
  assert.equal(world.lines().length, 2);
});

test("a pool takes no address in place of one that is about to go back to its pod", async () => {
  let createCount = 0;
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.5"] })], {
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name }) => {
        if (name === "create") createCount += 1;
        return "ok";
      }),
  });
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putPool({ name: "blue", size: 1, preAllocate: true });
  await world.settle();
  await world.schedule(aPod({ name: "a-0", pool: "blue" }));
  const before = world.lines();
  assert.equal(createCount, 1);
  // Somebody writes another pod into the record of a pod that runs with the address.
  const record = world.records()[0] as Allocation;
  const owner = podOwner({ name: "other" });
  const allocation = { ...record, owner, podUid: "edited", version: world.cluster.nextVersion() };
  world.cluster.records.set(record.ip, allocation);
  world.cluster.recordEvents.emit({ kind: "changed", allocation });
  await world.settle();
  assert.deepEqual(world.lines(), before);
  assert.equal(createCount, 1);
});
