// The life of the control plane: take-over, adoption, following. What each use case decides is tested beside it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aNode, aPod, aPodSubnet, controlledBy } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";

async function smallWorld(): Promise<IpamWorld> {
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })]);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putNode(aNode("n2", "10.0.1.2"));
  return world;
}

const dbPod = (name: string, uid: string) =>
  aPod({
    name,
    uid,
    policy: "immutable",
    controller: controlledBy("apps/v1", "StatefulSet", "db"),
  });

test("a pod of a StatefulSet floats to another node with its address", async () => {
  const world = await smallWorld();
  world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 1 });
  await world.schedule(dbPod("db-0", "first"));
  assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 first n1 immutable"]);
  await world.deletePod({ namespace: "ns1", name: "db-0" });
  assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 - - immutable"]);
  const second = dbPod("db-0", "second");
  world.cluster.putPod(second);
  assert.deepEqual(await world.passing(second), ["n1", "n2"]);
  assert.deepEqual(await world.bind(second, "n2"), { kind: "bound" });
  assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 second n2 immutable"]);
});

test("scaling a StatefulSet down releases addresses beyond its replicas, also reserved ones", async () => {
  const world = await smallWorld();
  const { ref } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
  await world.schedule(dbPod("db-0", "a"));
  await world.schedule(dbPod("db-1", "b"));
  await world.deletePod({ namespace: "ns1", name: "db-1" });
  assert.equal(world.lines().length, 2);
  world.cluster.scale(ref, 1);
  await world.settle();
  assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 a n1 immutable"]);
});

test("a pod without policy gives its address back when it is deleted", async () => {
  const world = await smallWorld();
  const pod = await world.schedule(aPod());
  assert.equal(world.lines().length, 1);
  await world.deletePod(pod.id);
  assert.deepEqual(world.lines(), []);
});

test("a follower says who leads and a leader takes over what is there", async () => {
  const world = await smallWorld();
  await world.schedule(aPod());
  const other = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })], {
    cluster: world.cluster,
    clock: world.clock,
  });
  assert.equal(other.service.allocator.view.size, 1);
  assert.deepEqual(other.service.readiness(), { isReady: true, reason: "ok" });
});

test("a pod that carries an address which is reserved for somebody else is reported, and nothing is changed", async () => {
  const world = await smallWorld();
  world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 1 });
  await world.schedule(dbPod("db-0", "first"));
  await world.deletePod({ namespace: "ns1", name: "db-0" });
  const before = world.lines();
  world.cluster.putPod(
    aPod({ name: "stray", nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"] }),
  );
  await world.settle();
  await world.resync();
  assert.deepEqual(world.lines(), before);
  const told = world.events.events().filter(({ reason }) => reason === "FloatingIPConflict");
  assert.match(
    told[0]?.message ?? "",
    /pod ns1\/stray carries address 10\.0\.70\.2, whose record belongs to ns1\/db-0/,
  );
});

test("a record that was edited by hand follows its pod without a conflict", async () => {
  const world = await smallWorld();
  world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 1 });
  await world.schedule(dbPod("db-0", "first"));
  const lines = world.lines();
  const [record] = world.records();
  assert.ok(record);
  const byHand = new MemoryAllocationStore(world.cluster);
  await byHand.update({ ...record, podUid: "nobody", nodeName: "elsewhere" });
  await world.settle();
  await world.resync();
  assert.deepEqual(world.lines(), lines);
  assert.deepEqual(
    world.events.events().filter(({ reason }) => reason === "FloatingIPConflict"),
    [],
  );
});
