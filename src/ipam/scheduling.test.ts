// Filter, prioritize, bind and preempt over the memory world: promises, parallel callers, stale caches and lost answers.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  aNode,
  anAllocation,
  aPod,
  aPodSubnet,
  conf7,
  conf7Nodes,
  controlledBy,
  ipRange,
  madeAtMs,
} from "../../test/builders.ts";
import { IpamWorld, type WorldParts } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { MemoryClusterView } from "../adapters/memory/cluster-view.ts";
import type { Fault, FaultPlan, RemoteCall } from "../adapters/memory/faults.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import { MemoryPodBinder } from "../adapters/memory/pod-binder.ts";
import type { Allocation } from "../core/allocation.ts";
import type { PodFacts } from "../core/facts.ts";
import type { BindReply } from "./scheduling.ts";

/** Plans that a test replaces while the world runs; everything goes through at first. */
function faults() {
  const plans: { store: FaultPlan; binder: FaultPlan; view: FaultPlan } = {
    store: () => "ok",
    binder: () => "ok",
    view: () => "ok",
  };
  const parts: WorldParts = {
    store: (cluster) => withFaults(new MemoryAllocationStore(cluster), (call) => plans.store(call)),
    binder: (cluster) => withFaults(new MemoryPodBinder(cluster), (call) => plans.binder(call)),
    view: (cluster) => withFaults(new MemoryClusterView(cluster), (call) => plans.view(call)),
  };
  return { plans, parts };
}

/** The next calls of that name fail so, `times` of them; everything else goes through. */
function next(name: RemoteCall, fault: Fault, times = 1): FaultPlan {
  let left = times;
  return (call) => {
    if (call.name !== name || left === 0) return "ok";
    left -= 1;
    return fault;
  };
}

/** A world of two zones: n1 and n2 with `.2` to `.4` of 10.0.70.0/24, m1 with 10.0.71.2 and .3. */
async function aWorld(parts: WorldParts = {}, ranges = ["10.0.70.2~10.0.70.4"]) {
  const world = await IpamWorld.leading(
    [
      aPodSubnet({ ranges }),
      aPodSubnet({
        cidr: "10.0.71.0/24",
        ranges: ["10.0.71.2~10.0.71.3"],
        nodeSubnets: ["10.0.2.0/24"],
      }),
    ],
    parts,
  );
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putNode(aNode("n2", "10.0.1.2"));
  world.cluster.putNode(aNode("m1", "10.0.2.1"));
  return world;
}

function put(world: IpamWorld, wanted: Parameters<typeof aPod>[0] = {}): PodFacts {
  const pod = aPod(wanted);
  world.cluster.putPod(pod);
  return pod;
}

function errorOf(reply: BindReply): string {
  return reply.kind === "refused" ? reply.error : "";
}

const stateful = controlledBy("apps/v1", "StatefulSet", "db");
const rangesOf = (...lists: readonly string[][]) =>
  ({ kind: "ranges", ranges: lists.map((list) => list.map(ipRange)) }) as const;

describe("filter", () => {
  it("passes a pod without the resource to every node (case 35)", async () => {
    const world = await aWorld();
    const pod = put(world, { wantsAddress: false });
    assert.deepEqual(await world.filter(pod), { kind: "untouched" });
  });

  it("names the reason for each node that is left out, and writes nothing (cases 36 and 38)", async () => {
    const world = await IpamWorld.leading(conf7);
    for (const node of conf7Nodes) world.cluster.putNode(node);
    world.cluster.putNode(aNode("bare"));
    await world.schedule(aPod({ name: "a", request: rangesOf(["10.180.154.7"]) }));
    await world.schedule(aPod({ name: "b", request: rangesOf(["10.180.154.8"]) }));
    const pod = put(world);
    for (let round = 0; round < 20; round += 1) {
      const reply = await world.filter(pod, ["n1", "n2", "n3", "n4", "bare", "ghost"]);
      assert.ok(reply.kind === "nodes");
      assert.deepEqual(reply.passed, [2, 3]);
      assert.match(reply.failed.get("n1") ?? "", /^FloatingIPPlugin:NoFIPLeft.*2 of 2 in use/);
      assert.match(reply.failed.get("n2") ?? "", /^FloatingIPPlugin:NoFIPConfigNode/);
      assert.match(reply.failed.get("bare") ?? "", /^FloatingIPPlugin:UnknowNode/);
      assert.match(reply.failed.get("ghost") ?? "", /^FloatingIPPlugin:UnknowNode/);
    }
    assert.equal(world.lines().length, 2);
  });

  it("an address that the pod has pins it to the nodes that may use it (case 39)", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "immutable", controller: stateful } as const;
    await world.schedule(aPod({ ...wanted, request: rangesOf(["10.0.71.2"]) }));
    await world.deletePod({ namespace: "ns1", name: "db-0" });
    const again = put(world, { ...wanted, uid: "second" });
    assert.deepEqual(await world.passing(again), ["m1"]);
  });

  it("parallel filters never promise one address twice", async () => {
    const world = await aWorld();
    const pods = Array.from({ length: 6 }, (_, index) => put(world, { name: `p${index}` }));
    const passing = await Promise.all(pods.map((pod) => world.passing(pod, ["n1"])));
    assert.equal(passing.filter((nodes) => nodes.length === 1).length, 3);
  });

  it("lets exactly two of six parallel pods into a pool of size 2, and more when it grows (case 93)", async () => {
    const world = await aWorld();
    world.cluster.putPool({ name: "lim", size: 2 });
    const pods = Array.from({ length: 6 }, (_, index) =>
      put(world, { name: `p-${index}`, pool: "lim" }),
    );
    const replies = await Promise.all(pods.map((pod) => world.passing(pod)));
    const refused = replies.filter((reply) => typeof reply === "string");
    assert.equal(refused.length, 4);
    for (const text of refused) assert.match(text, /^reached pool lim size limit of 2/);
    world.cluster.putPool({ name: "lim", size: 3 });
    const third = pods[replies.findIndex((reply) => typeof reply === "string")] as PodFacts;
    assert.deepEqual(await world.passing(third), ["n1", "n2"]);
  });

  it("counts promises against the replicas of a Deployment (case 81)", async () => {
    const world = await aWorld();
    const { controller } = world.cluster.putDeployment({ namespace: "ns1", name: "web" });
    const set = world.cluster.putReplicaSet({ namespace: "ns1", name: "web-x", owner: controller });
    const wanted = { policy: "immutable", controller: set.controller } as const;
    const [one, two] = [
      put(world, { ...wanted, name: "web-x-1" }),
      put(world, { ...wanted, name: "web-x-2" }),
    ];
    assert.deepEqual(await world.passing(one), ["n1", "n2", "m1"]);
    assert.match(
      String(await world.passing(two)),
      /deployment web has allocated 1 ips with replicas of 1, wait for releasing/,
    );
    await world.deletePod(one.id);
    assert.deepEqual(await world.passing(two), ["n1", "n2", "m1"]);
  });

  it("a promise ends with its time", async () => {
    const world = await aWorld({}, ["10.0.70.2"]);
    await world.filter(put(world, { name: "first" }), ["n1"]);
    const second = put(world, { name: "second" });
    assert.deepEqual(await world.passing(second, ["n1"]), []);
    world.clock.advance(30_000);
    assert.deepEqual(await world.passing(second, ["n1"]), ["n1"]);
  });

  it("a promise ends with its pod", async () => {
    const world = await aWorld({}, ["10.0.70.2"]);
    const first = put(world, { name: "first" });
    await world.settle();
    await world.filter(first, ["n1"]);
    await world.deletePod(first.id);
    assert.deepEqual(await world.passing(put(world, { name: "second" }), ["n1"]), ["n1"]);
  });

  it("asked again, it answers the same and promises once (case 49)", async () => {
    const world = await aWorld({}, ["10.0.70.2"]);
    const pod = put(world);
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual(await world.passing(pod, ["n1", "n2"]), ["n1", "n2"]);
    }
    assert.equal([...world.service.allocator.view.holds()].length, 1);
  });

  it("says a rollout that waits for ever on the pod and on the Deployment (case 82)", async () => {
    const world = await aWorld();
    const { controller } = world.cluster.putDeployment({
      namespace: "ns1",
      name: "web",
      rolloutDeadlock: "set maxSurge 0 and maxUnavailable 1",
    });
    const set = world.cluster.putReplicaSet({ namespace: "ns1", name: "web-x", owner: controller });
    const wanted = { policy: "immutable", controller: set.controller } as const;
    await world.schedule(aPod({ ...wanted, name: "web-x-1" }));
    const surge = put(world, { ...wanted, name: "web-x-2" });
    assert.match(String(await world.passing(surge)), /set maxSurge 0 and maxUnavailable 1/);
    const said = world.events.events().filter(({ reason }) => reason === "RolloutDeadlock");
    assert.deepEqual(
      said.map(({ about }) => [about.kind, about.name, about.uid]),
      [
        ["Pod", "web-x-2", surge.uid],
        ["Deployment", "web", controller.uid],
      ],
    );
    assert.equal(world.metrics.countOf("rollout_deadlocks"), 1);
  });

  it("a workload that cannot be read refuses the pod and takes nothing", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    plans.view = ({ name }) => (name === "readWorkload" ? "fail" : "ok");
    const pod = put(world, {
      name: "web-x-1",
      policy: "immutable",
      controller: controlledBy("apps/v1", "ReplicaSet", "web-x"),
    });
    assert.match(String(await world.passing(pod)), /cannot be read now/);
    assert.equal([...world.service.allocator.view.holds()].length, 0);
  });
});

describe("prioritize (case 66)", () => {
  it("scores the share of free addresses, and 10 where the pod's address was last used", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    await world.schedule(aPod({ name: "other" }));
    const scoresOf = async (pod: PodFacts) =>
      (
        await world.service.scheduling.prioritize({
          pod,
          nodeNames: ["n1", "n2", "m1", "ghost"],
          internalIpsOf: () => undefined,
        })
      ).map(({ nodeName, score }) => `${nodeName} ${score}`);
    assert.deepEqual(await scoresOf(put(world, { name: "new" })), [
      "n1 6",
      "n2 6",
      "m1 9",
      "ghost 0",
    ]);
    const wanted = { name: "db-0", policy: "immutable", controller: stateful } as const;
    const pod = put(world, wanted);
    await world.bind(pod, "n2");
    await world.settle();
    await world.deletePod(pod.id);
    const again = put(world, { ...wanted, uid: "second" });
    assert.deepEqual((await scoresOf(again)).slice(0, 2), ["n1 3", "n2 10"]);
    assert.deepEqual(await scoresOf(put(world, { name: "plain", wantsAddress: false })), [
      "n1 0",
      "n2 0",
      "m1 0",
      "ghost 0",
    ]);
  });
});

describe("preempt (case 67)", () => {
  it("keeps the nodes where the victims' addresses would do, and takes nothing", async () => {
    const world = await aWorld({}, ["10.0.70.2"]);
    const victim = await world.schedule(aPod({ name: "victim", request: rangesOf(["10.0.70.2"]) }));
    const pod = put(world, { name: "urgent", request: rangesOf(["10.0.70.2"]) });
    const kept = await world.service.scheduling.preempt({
      pod,
      candidates: [
        { nodeName: "n1", victimUids: [victim.uid] },
        { nodeName: "n2", victimUids: ["somebody"] },
        { nodeName: "m1", victimUids: [victim.uid] },
        { nodeName: "ghost", victimUids: [victim.uid] },
      ],
    });
    assert.deepEqual(kept, ["n1"]);
    assert.equal([...world.service.allocator.view.holds()].length, 0);
    assert.equal(world.lines().length, 1);
  });
});

describe("bind", () => {
  it("writes record and annotation, and bound twice is the same as bound once (case 51)", async () => {
    const world = await aWorld();
    const pod = put(world, { argsText: '{"other":1}' });
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    const bound = world.cluster.live.pods.get("ns1/pod1");
    assert.deepEqual(JSON.parse(bound?.argsText ?? ""), {
      other: 1,
      common: { ipinfos: [{ ip: "10.0.70.2/24", vlan: 0, gateway: "10.0.70.1" }] },
    });
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    assert.equal(world.cluster.live.pods.get("ns1/pod1"), bound);
  });

  it("gives the last address to one of two parallel binds (case 58)", async () => {
    const world = await aWorld({}, ["10.0.70.2~10.0.70.11"]);
    const pods = Array.from({ length: 12 }, (_, index) => put(world, { name: `p${index}` }));
    const replies = await Promise.all(pods.map((pod) => world.bind(pod, "n1")));
    assert.equal(replies.filter(({ kind }) => kind === "bound").length, 10);
    for (const reply of replies) {
      if (reply.kind === "refused") assert.match(reply.error, /no enough available ips left/);
    }
    assert.equal(new Set(world.records().map(({ ip }) => ip)).size, 10);
  });

  it("of two binds of one pod to two nodes one wins and the record names it", async () => {
    const world = await aWorld();
    const pod = put(world);
    const replies = await Promise.all([world.bind(pod, "n1"), world.bind(pod, "n2")]);
    assert.deepEqual(
      replies.map(({ kind }) => kind),
      ["bound", "refused"],
    );
    assert.match(errorOf(replies[1]), /is bound to node n1 already/);
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
  });

  it("names the node that won when another process bound the pod meanwhile (D-14)", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    const pod = put(world);
    await world.settle();
    plans.binder = () => {
      world.cluster.changePod(pod.id, { nodeName: "n2" });
      return "ok";
    };
    assert.match(errorOf(await world.bind(pod, "n1")), /is bound to node n2 already/);
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n2 pod-delete`]);
  });

  it("refuses a uid that is not the live pod's, also when the cache is behind (D-12)", async () => {
    const world = await aWorld();
    const pod = put(world);
    const old = { ...pod, uid: "former" };
    assert.match(errorOf(await world.bind(old, "n1")), /has uid uid-ns1-pod1, not former/);
    world.cluster.freezeCache();
    world.cluster.putPod({ ...pod, uid: "newer" });
    assert.match(errorOf(await world.bind(pod, "n1")), /is gone/);
    world.cluster.thawCache();
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });

  it("refuses a pod that does not exist and reads one that the cache has not seen (case 55)", async () => {
    const world = await aWorld();
    assert.match(errorOf(await world.bind(aPod(), "n1")), /failed to find pod ns1\/pod1/);
    world.cluster.freezeCache();
    const pod = put(world);
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
  });

  it("refuses a pod without the resource with the established words (case 56)", async () => {
    const world = await aWorld();
    const pod = put(world, { wantsAddress: false });
    assert.match(
      errorOf(await world.bind(pod, "n1")),
      /pod which doesn't want floatingip have been sent to plugin/,
    );
  });

  it("binds a pod that names the resource with quantity 0, without an address (case 41)", async () => {
    const world = await aWorld();
    const pod = put(world, { wantsAddress: false, requestsNone: true, argsText: '{"other":1}' });
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    const bound = world.cluster.live.pods.get("ns1/pod1");
    assert.deepEqual([bound?.nodeName, bound?.argsText], ["n1", '{"other":1}']);
    assert.deepEqual(world.lines(), []);
  });

  it("refuses a finished pod and a node that does not exist", async () => {
    const world = await aWorld();
    const pod = put(world);
    assert.match(errorOf(await world.bind(pod, "n9")), /node n9 does not exist/);
    world.cluster.changePod(pod.id, { phase: "Failed" });
    assert.match(errorOf(await world.bind(pod, "n1")), /is Failed; nothing was taken/);
    assert.deepEqual(world.lines(), []);
  });

  it("sends what was taken through reclaim when the pod is gone at the Binding", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    const pod = put(world);
    plans.binder = () => {
      world.cluster.deletePod(pod.id);
      return "ok";
    };
    assert.match(errorOf(await world.bind(pod, "n1")), /is gone/);
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });

  for (const fault of ["fail-after-applied", "lost", "fail"] as const) {
    it(`a Binding that ends with ${fault} is tried again with the same address`, async () => {
      const { plans, parts } = faults();
      const world = await aWorld(parts);
      const pod = put(world);
      plans.binder = next("bind", fault);
      assert.equal((await world.bind(pod, "n1")).kind, "refused");
      await world.resync();
      assert.equal(world.lines().length, 1);
      assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
      assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
      assert.deepEqual(world.cluster.live.pods.get("ns1/pod1")?.assignedIps, ["10.0.70.2"]);
    });
  }

  for (const fault of ["fail-after-applied", "lost", "fail"] as const) {
    it(`a record whose create ends with ${fault} is used or made by the next bind`, async () => {
      const { plans, parts } = faults();
      const world = await aWorld(parts);
      const pod = put(world);
      plans.store = next("create", fault);
      const reply = await world.bind(pod, "n1");
      assert.equal(reply.kind, fault === "fail-after-applied" ? "bound" : "refused");
      assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
      assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    });
  }

  for (const isApplied of [true, false]) {
    it(`a create of unknown outcome (applied: ${isApplied}) is settled by the next bind`, async () => {
      const { plans, parts } = faults();
      const world = await aWorld(parts);
      const pod = put(world);
      await world.settle();
      plans.store = ({ name }) =>
        name !== "create" ? "fail" : isApplied ? "fail-after-applied" : "lost";
      assert.equal((await world.bind(pod, "n1")).kind, "refused");
      const other = put(world, { name: "other" });
      plans.store = () => "ok";
      assert.deepEqual(await world.bind(other, "n1"), { kind: "bound" });
      assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
      await world.settle();
      assert.deepEqual(world.lines(), [
        `10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`,
        `10.0.70.3 pod ns1/other ${other.uid} n1 pod-delete`,
      ]);
      // Nobody deleted anything, so that nobody is told of it.
      assert.deepEqual(world.events.events(), []);
    });
  }

  it("waits for the end of the former pod of the name before it reuses its address (case 62)", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    world.cluster.putStatefulSet({ namespace: "ns1", name: "s" });
    const wanted = {
      name: "s-0",
      policy: "never",
      controller: controlledBy("apps/v1", "StatefulSet", "s"),
    } as const;
    const former = await world.schedule(aPod({ ...wanted, uid: "former" }));
    plans.store = ({ name }) => (name === "update" ? "fail" : "ok");
    await world.deletePod(former.id);
    const pod = put(world, { ...wanted, uid: "second" });
    assert.match(
      errorOf(await world.bind(pod, "n2")),
      /waiting for delete event of ns1\/s-0 before reuse this ip 10\.0\.70\.2/,
    );
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/s-0 former n1 never"]);
    plans.store = () => "ok";
    await world.resync();
    assert.deepEqual(await world.bind(pod, "n2"), { kind: "bound" });
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/s-0 second n2 never"]);
  });

  it("does not take the address of a former pod that the cache still shows alive", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "immutable", controller: stateful } as const;
    await world.schedule(aPod({ ...wanted, uid: "former" }));
    world.cluster.freezeCache();
    world.cluster.deletePod({ namespace: "ns1", name: "db-0" });
    const pod = put(world, { ...wanted, uid: "second" });
    assert.match(errorOf(await world.bind(pod, "n1")), /waiting for delete event of ns1\/db-0/);
    world.cluster.thawCache();
    await world.settle();
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 second n1 immutable"]);
  });

  it("gives a pod the address that another leader wrote to its name, also before it is asked whether the earlier pod is gone", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "immutable", controller: stateful } as const;
    const former = await world.schedule(aPod({ ...wanted, uid: "former" }));
    let go = () => {};
    const until = new Promise<void>((resolve) => {
      go = resolve;
    });
    plans.view = ({ name }) => (name === "readPod" ? { kind: "slow", until } : "ok");
    world.cluster.deletePod(former.id);
    const pod = put(world, { ...wanted, uid: "second" });
    const record = { ...(world.records()[0] as Allocation), podUid: "second" };
    const theirs = await new MemoryAllocationStore(world.cluster).update(record);
    assert.equal(theirs.kind, "updated");
    await world.clock.pass(0);
    assert.equal(world.service.allocator.view.keptFor(record.ip)?.podUid, "former");
    assert.deepEqual(await world.passing(pod), ["n1", "n2"]);
    const bind = world.bind(pod, "n2");
    go();
    assert.deepEqual(await bind, { kind: "bound" });
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 second n2 immutable"]);
  });

  it("refuses a node that may not use the pod's own address and leaves the address alone (D-13)", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "immutable", controller: stateful } as const;
    await world.schedule(aPod({ ...wanted, uid: "former" }));
    await world.deletePod({ namespace: "ns1", name: "db-0" });
    const pod = put(world, { ...wanted, uid: "second" });
    assert.match(
      errorOf(await world.bind(pod, "m1")),
      /has 10\.0\.70\.2, which nodes of .* may not use/,
    );
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 - - immutable"]);
  });

  it("releases addresses of ranges that the pod asks for no more", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "never", controller: stateful } as const;
    await world.schedule(
      aPod({ ...wanted, uid: "former", request: rangesOf(["10.0.70.2"], ["10.0.70.3"]) }),
    );
    assert.equal(world.lines().length, 2);
    await world.deletePod({ namespace: "ns1", name: "db-0" });
    const pod = put(world, { ...wanted, uid: "second", request: rangesOf(["10.0.70.3"]) });
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.deepEqual(world.lines(), ["10.0.70.3 pod ns1/db-0 second n1 never"]);
  });

  it("gives what a late write left to a pod back to its workload or pool", async () => {
    const webPod = { name: "web-x-1", policy: "never" } as const;
    const left = async (
      replicas: number,
      wanted: Parameters<typeof aPod>[0],
    ): Promise<string | undefined> => {
      const world = await aWorld();
      const web = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas });
      const owner = web.controller;
      const set = world.cluster.putReplicaSet({ namespace: "ns1", name: "web-x", owner });
      const pod = put(world, { ...webPod, ...wanted, controller: set.controller });
      const { id, uid: podUid, policy, pool } = pod;
      for (const [age, ip] of ["10.0.70.3", "10.0.70.4"].entries()) {
        const record = anAllocation({
          ip,
          owner: { kind: "pod", pod: id, workload: web.ref, pool },
          podUid,
          policy,
          updatedAtMs: madeAtMs - age,
          version: world.cluster.nextVersion(),
        });
        world.cluster.records.set(record.ip, record);
        world.cluster.recordEvents.emit({ kind: "changed", allocation: record });
      }
      await world.settle();
      assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
      const lines = world.lines();
      assert.match(lines[0] ?? "", /^10\.0\.70\.3 pod ns1\/web-x-1/);
      return lines[1];
    };
    assert.equal(await left(1, {}), "10.0.70.4 workload deployment/ns1/web - - never");
    assert.equal(
      await left(2, { policy: "immutable" }),
      "10.0.70.4 workload deployment/ns1/web - - immutable",
    );
    assert.equal(await left(1, { policy: "immutable" }), undefined, "more than replicas");
    assert.equal(await left(1, { policy: "pod-delete" }), undefined);
    assert.equal(await left(1, { pool: "blue" }), "10.0.70.4 pool blue - - never");
  });

  it("takes the new policy over when the pod comes back with another (case 54)", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", controller: stateful } as const;
    await world.schedule(aPod({ ...wanted, policy: "immutable", uid: "former" }));
    await world.deletePod({ namespace: "ns1", name: "db-0" });
    await world.schedule(aPod({ ...wanted, policy: "never", uid: "second" }));
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 second n1 never"]);
  });

  it("gives several addresses in the order asked for (case 98) by matching (case 102)", async () => {
    const world = await aWorld();
    const pod = put(world, { request: rangesOf(["10.0.70.2~10.0.70.3"], ["10.0.70.2"]) });
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.deepEqual(world.cluster.live.pods.get("ns1/pod1")?.assignedIps, [
      "10.0.70.3",
      "10.0.70.2",
    ]);
  });

  it("gives all addresses or none, also when the second create or taking back fails (case 100)", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    const pod = put(world, { request: rangesOf(["10.0.70.2"], ["10.0.70.3"]) });
    await world.settle();
    const failSecondCreate: FaultPlan = ({ name, args }) =>
      name === "create" && JSON.stringify(args).includes("10.0.70.3") ? "fail" : "ok";
    plans.store = failSecondCreate;
    assert.equal((await world.bind(pod, "n1")).kind, "refused");
    assert.deepEqual(world.lines(), []);
    plans.store = (call) => (call.name === "remove" ? "fail" : failSecondCreate(call));
    assert.equal((await world.bind(pod, "n1")).kind, "refused");
    assert.equal(world.lines().length, 1);
    assert.deepEqual(world.cluster.live.pods.get("ns1/pod1")?.assignedIps, []);
    plans.store = () => "ok";
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    assert.equal(world.lines().length, 2);
  });

  it("leaves nothing of a failed attempt when the pod goes away", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    const pod = put(world, { request: rangesOf(["10.0.70.2"], ["10.0.70.3"]) });
    await world.settle();
    plans.store = ({ name, args }) =>
      name === "remove" || (name === "create" && JSON.stringify(args).includes("10.0.70.3"))
        ? "fail"
        : "ok";
    await world.bind(pod, "n1");
    plans.store = () => "ok";
    await world.deletePod(pod.id);
    assert.deepEqual(world.lines(), []);
  });

  it("one pod whose call hangs delays only itself (D-27)", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    let go = () => {};
    const until = new Promise<void>((resolve) => {
      go = resolve;
    });
    plans.store = next("create", { kind: "slow", until });
    const slow = world.bind(put(world, { name: "slow" }), "n1");
    await world.clock.pass(0);
    assert.deepEqual(await world.bind(put(world, { name: "quick" }), "n1"), { kind: "bound" });
    assert.equal(world.lines().length, 1);
    go();
    assert.deepEqual(await slow, { kind: "bound" });
    assert.equal(world.lines().length, 2);
  });

  it("works on one pod at a time: its reclaim waits for its bind", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    let go = () => {};
    const until = new Promise<void>((resolve) => {
      go = resolve;
    });
    const pod = put(world);
    await world.settle();
    plans.binder = next("bind", { kind: "slow", until });
    const bind = world.bind(pod, "n1");
    await world.clock.pass(0);
    world.cluster.deletePod(pod.id);
    await world.clock.pass(0);
    // The Binding may still happen: until it is known, nobody else may have the address.
    assert.equal(world.lines().length, 1);
    go();
    assert.match(errorOf(await bind), /is gone/);
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });

  it("does not answer for a process that does not lead", async () => {
    const world = await aWorld();
    const pod = put(world);
    world.leadership.become(false, "other");
    assert.match(errorOf(await world.bind(pod, "n1")), /does not lead \(leader: other\)/);
    assert.deepEqual(world.lines(), []);
  });
});

describe("a process that stops leading in the middle of a bind", () => {
  it("writes no Binding any more", async () => {
    const { plans, parts } = faults();
    const world = await aWorld(parts);
    const pod = aPod();
    world.cluster.putPod(pod);
    // The record is written and the process stands still; meanwhile another one leads.
    const until = Promise.resolve().then(() => world.leadership.become(false, "other"));
    plans.store = next("create", { kind: "slow-answer", until });
    const bindings: unknown[] = [];
    plans.binder = (call) => {
      bindings.push(call.args);
      return "ok";
    };
    const reply = await world.bind(pod, "n1");
    assert.ok(reply.kind === "refused");
    assert.match(reply.error, /does not lead \(leader: other\)/);
    assert.deepEqual(bindings, []);
  });
});
