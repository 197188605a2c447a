// Another configuration while pods run, over the memory world: what drains, what is dropped, what is refused, and who is adopted first.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aNode, anAllocation, aPod, aPodSubnet } from "../../test/builders.ts";
import { configurationObject, IpamWorld } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { MemoryClusterView } from "../adapters/memory/cluster-view.ts";
import { withFaults } from "../adapters/memory/faults.ts";

const wide = aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"] });
const narrow = aPodSubnet({ ranges: ["10.0.70.5~10.0.70.9"] });

async function aWorld(subnets = [wide]): Promise<IpamWorld> {
  const world = await IpamWorld.leading(subnets);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  return world;
}

const reasons = (world: IpamWorld) => world.events.events().map(({ reason }) => reason);

test("shrinking drains the address of a living pod and frees nothing until it goes (case 21, D-3)", async () => {
  const world = await aWorld();
  const pod = await world.schedule(aPod());
  world.configure([narrow]);
  await world.settle();
  assert.equal(world.records()[0]?.isDraining, true);
  assert.deepEqual(reasons(world), ["AddressesDraining"]);
  assert.match(world.events.events()[0]?.message ?? "", /10\.0\.70\.2/);
  const other = await world.schedule(aPod({ name: "other" }));
  assert.deepEqual(world.lines(), [
    `10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`,
    `10.0.70.5 pod ns1/other ${other.uid} n1 pod-delete`,
  ]);
  await world.resync();
  assert.equal(world.lines().length, 2);
  await world.deletePod(pod.id);
  assert.equal(world.lines().length, 1);
  assert.equal(world.service.allocator.view.usageOf(0).free, 4);
});

test("a pod whose policy keeps addresses gives a draining one back all the same", async () => {
  const world = await aWorld();
  const { controller } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
  const pod = await world.schedule(aPod({ name: "db-0", policy: "never", controller }));
  world.configure([narrow]);
  await world.settle();
  await world.deletePod(pod.id);
  assert.deepEqual(world.lines(), []);
});

test("shrinking drops unused reservations, with an event, and keeps the administrator's (case 20)", async () => {
  const world = await aWorld();
  const { controller } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
  const pod = await world.schedule(aPod({ name: "db-0", policy: "never", controller }));
  await world.deletePod(pod.id);
  const store = new MemoryAllocationStore(world.cluster);
  await store.create(anAllocation({ ip: "10.0.70.3", owner: { kind: "admin", key: "mine" } }));
  await world.settle();
  assert.equal(world.lines().length, 2);
  world.configure([narrow]);
  await world.settle();
  assert.deepEqual(world.lines(), ["10.0.70.3 admin mine - - pod-delete"]);
  assert.deepEqual(reasons(world), ["ReservationsDropped"]);
});

test("an address that comes back into the configuration drains no more", async () => {
  const world = await aWorld();
  const pod = await world.schedule(aPod());
  world.configure([narrow]);
  await world.settle();
  world.configure([wide]);
  await world.settle();
  assert.equal(world.records()[0]?.isDraining, false);
  assert.equal(world.records()[0]?.podUid, pod.uid);
});

test("growing makes addresses available and writes no record (case 19)", async () => {
  const world = await aWorld([narrow]);
  await world.schedule(aPod());
  const before = world.records();
  world.configure([wide]);
  await world.settle();
  assert.deepEqual(world.records(), before);
  assert.equal(world.service.allocator.view.usageOf(0).free, 7);
});

test("an empty configuration is refused while addresses are in use, and the last one stays (case 16)", async () => {
  const world = await aWorld();
  const pod = await world.schedule(aPod());
  world.configure([]);
  await world.settle();
  assert.match(world.service.reconfigure.status.problems[0] ?? "", /empty while 1 addresses/);
  assert.deepEqual(reasons(world), ["ConfigurationRefused"]);
  assert.equal(world.service.readiness().isReady, true);
  await world.schedule(aPod({ name: "other" }));
  world.cluster.deletePod({ namespace: "ns1", name: "other" });
  await world.deletePod(pod.id);
  world.configure([]);
  assert.deepEqual(world.service.reconfigure.status.problems, []);
  assert.equal(world.service.allocator.view.topology.subnets.length, 0);
});

test("an invalid or missing configuration changes nothing but the status (case 23)", async () => {
  const world = await aWorld();
  const pod = await world.schedule(aPod());
  for (const configuration of [
    { kind: "invalid", problems: ["entry 1: ips: 10.0.70.300 is not an address"] },
    { kind: "missing", problem: "ConfigMap kube-system/floatingip-config does not exist" },
  ] as const) {
    world.service.configure(configuration, configurationObject);
    await world.settle();
    assert.equal(world.service.reconfigure.status.problems.length, 1);
    assert.equal(world.service.reconfigure.status.isConfigured, true);
  }
  assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
  assert.equal(world.metrics.countOf("bad_input", { input: "configuration" }), 2);
});

test("an unconfigured start releases nothing and is not ready", async () => {
  const world = new IpamWorld();
  const store = new MemoryAllocationStore(world.cluster);
  await store.create(anAllocation());
  await store.create(anAllocation({ ip: "10.0.70.3", owner: { kind: "pool", pool: "blue" } }));
  world.cluster.putPod(
    aPod({ nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"], uid: "uid-ns1-pod1" }),
  );
  world.service.start();
  await world.service.startLeading();
  await world.settle();
  await world.resync();
  assert.equal(world.lines().length, 2);
  assert.match(world.service.readiness().reason, /not configured/);
});

test("a first configuration that is empty is ready and touches nothing (case 16)", async () => {
  const world = new IpamWorld();
  await new MemoryAllocationStore(world.cluster).create(anAllocation());
  world.cluster.putPod(aPod({ nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"] }));
  world.service.start();
  world.configure([]);
  await world.service.startLeading();
  await world.settle();
  await world.resync();
  assert.equal(world.lines().length, 1);
  assert.equal(world.service.readiness().isReady, true);
});

test("a configuration that comes late adopts running pods before the first answer (D-46)", async () => {
  const world = new IpamWorld();
  world.cluster.putPod(aPod({ nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"] }));
  world.service.start();
  await world.service.startLeading();
  await world.settle();
  assert.deepEqual(world.lines(), []);
  world.configure([wide]);
  assert.equal(world.service.readiness().isReady, false);
  await world.settle();
  assert.equal(world.service.readiness().isReady, true);
  assert.equal(world.lines().length, 1);
});

test("a configuration that comes during the take-over does too (D-46)", async () => {
  let go = () => {};
  const until = new Promise<void>((resolve) => {
    go = resolve;
  });
  const world = new IpamWorld({
    view: (cluster) =>
      withFaults(new MemoryClusterView(cluster), ({ name, count }) =>
        name === "readPod" && count === 2 ? { kind: "slow", until } : "ok",
      ),
  });
  const running = { nodeName: "n1", phase: "Running" } as const;
  // The first is looked at before the configuration comes, the second while it does.
  world.cluster.putPod(aPod({ ...running, name: "b", assignedIps: ["10.0.70.2"] }));
  world.cluster.putPod(aPod({ ...running, name: "a", assignedIps: ["10.0.80.2"] }));
  world.service.start();
  const takeOver = world.service.startLeading();
  await world.clock.pass(0);
  world.configure([wide]);
  go();
  await takeOver;
  assert.equal(world.service.readiness().isReady, true);
  assert.deepEqual(
    world.records().map(({ ip }) => ip),
    ["10.0.70.2"],
  );
});

test("one record that cannot be written holds up neither the others nor the resync", async () => {
  let isBroken = false;
  const world = await IpamWorld.leading([wide], {
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name, args }) =>
        isBroken && name === "update" && JSON.stringify(args).includes("10.0.70.2") ? "fail" : "ok",
      ),
  });
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  for (let count = 0; count < 3; count += 1) await world.schedule(aPod({ name: `p${count}` }));
  isBroken = true;
  world.configure([narrow]);
  await world.settle();
  assert.deepEqual(
    world.records().map(({ isDraining }) => isDraining),
    [false, true, true],
  );
  // An event that nobody heard: only the resync of the next period finds it.
  world.cluster.freezeCache();
  world.cluster.deletePod({ namespace: "ns1", name: "p2" });
  world.cluster.interruptWatches();
  world.cluster.clusterEvents.loseHeld();
  world.cluster.thawCache();
  await world.clock.pass(60_000);
  await world.settle();
  assert.equal(world.lines().length, 2);
});

test("warnings of a configuration are events and stay in the status", async () => {
  const world = await aWorld();
  world.service.configure(
    { kind: "valid", subnets: [wide], warnings: ['entry 1: unknown field "vlna"'] },
    configurationObject,
  );
  assert.deepEqual(reasons(world), ["ConfigurationWarning"]);
  assert.equal(world.events.events()[0]?.about.name, "floatingip-config");
  assert.equal(world.service.reconfigure.status.warnings.length, 1);
});
