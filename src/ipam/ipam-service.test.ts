// The life of the control plane: take-over, adoption, following. What each use case decides is tested beside it.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { aNode, aPod, aPodSubnet, controlledBy, ip } from "../../test/builders.ts";
import { IpamWorld, type WorldParts } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import type { FaultPlan } from "../adapters/memory/faults.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import { MemoryPodBinder } from "../adapters/memory/pod-binder.ts";
import { podIsFinished } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { compareIps } from "../core/ip.ts";
import { podIdText } from "../core/owner.ts";
import { WorldError } from "../ports/world-error.ts";

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

test("a leader that was gone for a while starts from the store, and binds of its former turn harm nothing", async () => {
  let go = () => {};
  const until = new Promise<void>((resolve) => {
    go = resolve;
  });
  let isSlow = false;
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })], {
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name }) =>
        isSlow && name === "create" ? { kind: "slow", until } : "ok",
      ),
  });
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  const slow = aPod({ name: "slow" });
  world.cluster.putPod(slow);
  isSlow = true;
  const bind = world.bind(slow, "n1");
  await world.clock.pass(0);
  isSlow = false;
  // It ends only with the bind, whose reclaim waits behind it: the next turn begins before.
  const stopped = world.service.stopLeading();
  world.leadership.become(false, "other");
  assert.equal(world.service.readiness().isReady, false);
  const other = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })], {
    cluster: world.cluster,
    clock: world.clock,
  });
  const quick = await other.schedule(aPod({ name: "quick" }));
  await other.service.stop();
  world.leadership.become(true, "self");
  await world.service.startLeading();
  go();
  await Promise.all([bind, stopped]);
  await world.settle();
  assert.deepEqual(world.cluster.live.pods.get("ns1/quick")?.assignedIps, ["10.0.70.2"]);
  assert.equal(world.records()[0]?.podUid, quick.uid);
  assert.deepEqual(
    [...world.service.allocator.view.all()].map(({ ip }) => ip).sort(),
    world.records().map(({ ip }) => ip),
  );
  await world.deletePod(quick.id);
  assert.equal(world.cluster.records.get(ip("10.0.70.2"))?.podUid === quick.uid, false);
});

test("a take-over that cannot read the records says so and can be repeated", async () => {
  let isDown = true;
  const world = new IpamWorld({
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name }) =>
        isDown && name === "list" ? "fail" : "ok",
      ),
  });
  world.service.start();
  world.configure([aPodSubnet()]);
  await assert.rejects(world.service.startLeading(), /planned failure/);
  assert.match(world.service.readiness().reason, /taking over: .*planned failure/);
  isDown = false;
  await world.service.startLeading();
  assert.deepEqual(world.service.readiness(), { isReady: true, reason: "ok" });
});

test("what happens while the records are read for the take-over is not lost", async () => {
  let go = () => {};
  const until = new Promise<void>((resolve) => {
    go = resolve;
  });
  const first = await smallWorld();
  const early = await first.schedule(aPod({ name: "early" }));
  const world = new IpamWorld({
    cluster: first.cluster,
    clock: first.clock,
    store: (cluster) =>
      withFaults(new MemoryAllocationStore(cluster), ({ name, count }) =>
        name === "list" && count === 1 ? { kind: "slow-answer", until } : "ok",
      ),
  });
  world.service.start();
  world.configure([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })]);
  const takeOver = world.service.startLeading();
  await world.clock.pass(0);
  const late = await first.schedule(aPod({ name: "late" }));
  await first.deletePod(early.id);
  await first.service.stop();
  go();
  await takeOver;
  await world.settle();
  assert.deepEqual(world.lines(), [`10.0.70.3 pod ns1/late ${late.uid} n1 pod-delete`]);
  assert.deepEqual(
    [...world.service.allocator.view.all()].map(({ podUid }) => podUid),
    [late.uid],
  );
});

test("an address left over by a bind that another leader overtook is found by the resync", async () => {
  const world = await smallWorld();
  const pod = await world.schedule(aPod());
  const store = new MemoryAllocationStore(world.cluster);
  const [record] = world.records();
  assert.ok(record);
  await store.create({ ...record, ip: ip("10.0.70.3") });
  await world.settle();
  await world.resync();
  assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
});

const arbStep = fc.record({
  who: fc.nat(1),
  what: fc.constantFrom(
    "schedule",
    "schedule",
    "schedule",
    "delete",
    "delete",
    "finish",
    "scale",
    "resync",
    "freeze",
    "thaw",
    "interrupt",
    "time",
  ),
  pod: fc.nat(7),
  count: fc.nat(3),
  waits: fc.boolean(),
});

const arbFaults = fc.array(
  fc.constantFrom<"ok" | "fail" | "lost" | "fail-after-applied" | "late" | "slow">(
    ...([
      "ok",
      "ok",
      "ok",
      "ok",
      "ok",
      "fail",
      "lost",
      "fail-after-applied",
      "late",
      "slow",
    ] as const),
  ),
  { minLength: 20, maxLength: 60 },
);

test("two processes that both lead never give one address to two pods, and end with what the store has", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbStep, { minLength: 5, maxLength: 40 }),
      arbFaults,
      async (steps, faults) => {
        let isCalm = false;
        let index = 0;
        const arrivals: (() => void)[] = [];
        let callCount = 0;
        const plan: FaultPlan = ({ name }) => {
          callCount += 1;
          // Two that undo each other's work for ever would never let this test go on.
          assert.ok(callCount < 20_000, "a storm of calls");
          if (isCalm || name === "list") return "ok";
          const fault = faults[index++ % faults.length] ?? "ok";
          if (fault !== "late" && fault !== "slow") return fault;
          const until = new Promise<void>((resolve) => arrivals.push(resolve));
          const isWrite = !name.startsWith("read");
          return { kind: fault === "late" && isWrite ? "applied-late" : "slow", until };
        };
        const parts: WorldParts = {
          store: (cluster) => withFaults(new MemoryAllocationStore(cluster), plan),
          binder: (cluster) => withFaults(new MemoryPodBinder(cluster), plan),
        };
        const subnets = [aPodSubnet({ ranges: ["10.0.70.2~10.0.70.6"] })];
        const one = await IpamWorld.leading(subnets, parts);
        const { cluster, clock } = one;
        const two = await IpamWorld.leading(subnets, { ...parts, cluster, clock });
        const worlds = [one, two] as const;
        cluster.putNode(aNode("n1", "10.0.1.1"));
        cluster.putNode(aNode("n2", "10.0.1.2"));
        const web = cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 3 });
        const set = cluster.putReplicaSet({
          namespace: "ns1",
          name: "web-x",
          owner: web.controller,
        });
        const db = cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
        cluster.putPool({ name: "blue", size: 2 });
        const kinds = [
          { policy: "immutable", controller: set.controller },
          { policy: "immutable", controller: db.controller },
          { policy: "pod-delete" },
          { pool: "blue" },
        ] as const;
        /** No address is in two pods that live, at any time. */
        const check = () => {
          const carriers = new Map<Ip, string>();
          for (const pod of cluster.live.pods.values()) {
            if (podIsFinished(pod)) continue;
            for (const address of pod.assignedIps) {
              assert.equal(carriers.get(address), undefined, `${address} is in two pods`);
              carriers.set(address, pod.uid);
            }
          }
          return carriers;
        };
        const work: Promise<unknown>[] = [];
        let lives = 0;
        for (const { who, what, pod, count, waits } of steps) {
          const world = worlds[who as 0 | 1];
          const id = { namespace: "ns1", name: `p-${pod}` };
          const live = cluster.live.pods.get(`ns1/p-${pod}`);
          if (what === "schedule") {
            lives += 1;
            const wanted = live ?? aPod({ ...kinds[pod % 4], name: id.name, uid: `life-${lives}` });
            if (live === undefined) cluster.putPod(wanted);
            const nodes = count % 2 === 0 ? "n1" : "n2";
            const attempt = world
              .filter(wanted)
              .then(() => world.bind(wanted, nodes))
              .catch(onlyWorldErrors);
            work.push(attempt);
          } else if (what === "delete") cluster.deletePod(id);
          else if (what === "finish" && live !== undefined)
            cluster.changePod(id, { phase: "Failed" });
          else if (what === "scale") cluster.scale(count % 2 === 0 ? web.ref : db.ref, count);
          else if (what === "resync") work.push(world.service.reclaim.resync());
          else if (what === "freeze") cluster.freezeCache();
          else if (what === "thaw") cluster.thawCache();
          else if (what === "interrupt") cluster.interruptWatches();
          else if (what === "time") await clock.pass(count * 1_000);
          if (waits) await clock.pass(0);
          if (arrivals.length > 2) arrivals.shift()?.();
          check();
        }
        isCalm = true;
        cluster.thawCache();
        do {
          arrivals.shift()?.();
          await clock.pass(0);
          check();
        } while (arrivals.length > 0);
        await Promise.all(work);
        for (let round = 0; round < 3; round += 1) {
          await clock.pass(61_000);
          for (const world of worlds) await world.resync();
          check();
        }
        for (const [address, podUid] of check()) {
          assert.equal(cluster.records.get(address)?.podUid, podUid, `${address} has no record`);
        }
        for (const record of cluster.records.values()) {
          if (record.podUid === "" || record.owner.kind !== "pod") continue;
          const holder = cluster.live.pods.get(podIdText(record.owner.pod));
          assert.equal(holder?.uid, record.podUid, `${record.ip} leaked`);
        }
        assert.ok(callCount < 20_000, "a storm of calls");
        for (const world of worlds) {
          const memory = [...world.service.allocator.view.all()];
          memory.sort((a, b) => compareIps(a.ip, b.ip));
          assert.deepEqual(memory, world.records());
          await world.service.stop();
        }
      },
    ),
    { numRuns: 60, endOnFailure: true },
  );
});

function onlyWorldErrors(error: unknown): void {
  if (!(error instanceof WorldError)) throw error;
}
