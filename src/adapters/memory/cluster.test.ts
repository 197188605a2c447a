// What tests can do to the in-memory cluster beyond the ports: freeze caches, hold events back, lose watches.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aNode, anAllocation, aPod, aPool, ip } from "../../../test/builders.ts";
import type { AllocationEvent } from "../../ports/allocation-store.ts";
import type { ClusterEvent } from "../../ports/cluster-view.ts";
import { MemoryAllocationStore } from "./allocation-store.ts";
import { MemoryCluster } from "./cluster.ts";
import { MemoryClusterView } from "./cluster-view.ts";
import { MemoryPoolStore } from "./pool-store.ts";

/** Lets everything that waits for nothing but promises run. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("MemoryCluster with a frozen cache", () => {
  it("shows pods, nodes and workloads as they were, while reads see them as they are", async () => {
    const cluster = new MemoryCluster();
    const view = new MemoryClusterView(cluster);
    const old = aPod({ name: "old" });
    cluster.putPod(old);
    cluster.putNode(aNode("n1", "10.0.1.1"));
    const web = cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 3 });
    cluster.freezeCache();
    cluster.deletePod(old.id);
    const young = aPod({ name: "young" });
    cluster.putPod(young);
    cluster.deleteNode("n1");
    cluster.scale(web.ref, 1);

    assert.deepEqual([...view.pods()], [old]);
    assert.equal(view.pod(young.id), undefined);
    assert.deepEqual(view.node("n1"), aNode("n1", "10.0.1.1"));
    const cached = view.workload(web.ref);
    assert.equal(cached.kind === "present" && cached.replicas, 3);
    assert.equal(await view.readPod(old.id), "gone");
    assert.deepEqual(await view.readPod(young.id), young);
    assert.equal(await view.readNode("n1"), "gone");
    const live = await view.readWorkload(web.ref);
    assert.equal(live.kind === "present" && live.replicas, 1);

    cluster.thawCache();
    assert.deepEqual([...view.pods()], [young]);
    assert.equal(view.node("n1"), undefined);
    assert.deepEqual(view.workload(web.ref), live);
  });

  it("does not know a ReplicaSet made meanwhile, but reads it", async () => {
    const cluster = new MemoryCluster();
    const view = new MemoryClusterView(cluster);
    cluster.freezeCache();
    const web = cluster.putDeployment({ namespace: "ns1", name: "shop" });
    const { controller } = cluster.putReplicaSet({
      namespace: "ns1",
      name: "adopted-1",
      owner: web.controller,
    });
    const pod = aPod({ controller });
    assert.equal(view.ownershipOf(pod).workload?.name, "adopted");
    assert.equal(view.ownershipOf(pod).isCertain, false);
    assert.deepEqual(await view.readOwnershipOf(pod), { workload: web.ref, isCertain: true });
    cluster.thawCache();
    assert.deepEqual(view.ownershipOf(pod), { workload: web.ref, isCertain: true });
  });

  it("shows pools as they were, while writes meet them as they are", async () => {
    const cluster = new MemoryCluster();
    const store = new MemoryPoolStore(cluster);
    const first = cluster.putPool(aPool({ size: 1 }));
    cluster.freezeCache();
    cluster.putPool(aPool({ size: 2 }));
    assert.deepEqual(store.all(), [first]);
    assert.deepEqual(await store.write({ ...first, size: 3 }), { kind: "conflict" });
    cluster.thawCache();
    assert.deepEqual(
      store.all().map((pool) => pool.size),
      [2],
    );
  });

  it("holds events back and delivers them in order when it thaws", async () => {
    const cluster = new MemoryCluster();
    const events: ClusterEvent[] = [];
    new MemoryClusterView(cluster).watch((event) => events.push(event));
    cluster.freezeCache();
    const pod = aPod();
    cluster.putPod(pod);
    cluster.putNode(aNode("n1"));
    cluster.deletePod(pod.id);
    await settle();
    assert.equal(events.length, 0);
    cluster.thawCache();
    assert.equal(events.length, 0, "delivery comes after the call");
    await settle();
    assert.deepEqual(
      events.map((event) => event.kind),
      ["pod", "nodes", "pod"],
    );
  });
});

describe("MemoryCluster whose watches are interrupted", () => {
  it("loses what was held back and says reset instead", async () => {
    const cluster = new MemoryCluster();
    const store = new MemoryAllocationStore(cluster);
    const events: AllocationEvent[] = [];
    store.watch((event) => events.push(event));
    cluster.freezeCache();
    await store.create(anAllocation());
    cluster.interruptWatches();
    await store.create(anAllocation({ ip: "10.0.70.3" }));
    cluster.thawCache();
    await settle();
    assert.deepEqual(
      events.map((event) => (event.kind === "changed" ? event.allocation.ip : event.kind)),
      ["reset", ip("10.0.70.3")],
    );
  });
});

describe("MemoryCluster", () => {
  it("delivers events after the verb that caused them, and none to a listener stopped in between", async () => {
    const cluster = new MemoryCluster();
    const view = new MemoryClusterView(cluster);
    const told: string[] = [];
    view.watch(() => told.push("kept"));
    const stop = view.watch(() => told.push("stopped"));
    cluster.putNode(aNode("n1"));
    assert.equal(told.length, 0);
    stop();
    await settle();
    assert.deepEqual(told, ["kept"]);
  });

  it("tells nothing of pods that have nothing to do with addresses, until they do", async () => {
    const cluster = new MemoryCluster();
    const told: string[] = [];
    new MemoryClusterView(cluster).watch((event) => told.push(event.kind));
    const { id } = aPod();
    cluster.putPod(aPod({ wantsAddress: false }));
    await settle();
    assert.deepEqual(told, []);
    cluster.changePod(id, { assignedIps: [ip("10.0.70.2")] });
    await settle();
    assert.deepEqual(told, ["pod"]);
    cluster.changePod(id, { assignedIps: [] });
    await settle();
    assert.deepEqual(told, ["pod", "pod"]);
  });

  it("keeps the uid of a workload that is put again and gives a new one to one made again", () => {
    const cluster = new MemoryCluster();
    const id = { namespace: "ns1", name: "web" };
    const first = cluster.putStatefulSet({ ...id, replicas: 1 });
    const second = cluster.putStatefulSet({ ...id, replicas: 2, firstOrdinal: 5 });
    assert.equal(second.controller.uid, first.controller.uid);
    const state = new MemoryClusterView(cluster).workload(first.ref);
    assert.equal(state.kind === "present" && state.firstOrdinal, 5);
    cluster.deleteWorkload(first.ref);
    assert.notEqual(cluster.putStatefulSet(id).controller.uid, first.controller.uid);
  });

  it("does not choose between two API groups that serve a kind when a record names neither", () => {
    const cluster = new MemoryCluster();
    const view = new MemoryClusterView(cluster);
    const id = { namespace: "ns1", name: "web" };
    const { ref } = cluster.putCustom("TApp", { ...id, apiGroup: "a.example.com", replicas: 1 });
    cluster.putCustom("TApp", { ...id, apiGroup: "b.example.com", replicas: 2 });
    assert.equal(view.workload({ ...ref, apiGroup: undefined }).kind, "unknown");
    assert.equal(view.workload(ref).kind, "present");
  });

  it("says what to do about a workload or pod that is not there to change", () => {
    const cluster = new MemoryCluster();
    const { ref } = cluster.putDeployment({ namespace: "ns1", name: "web" });
    cluster.deleteWorkload(ref);
    assert.throws(() => cluster.scale(ref, 1), /there is no .*ns1\/web to scale; put it first/);
    assert.throws(
      () => cluster.changePod(aPod().id, { phase: "Failed" }),
      /there is no pod ns1\/pod1 to change; put it first/,
    );
  });
});
