// What events, resync and the take-over do with addresses, over the memory world: every row of the policies, doubt, and what others did.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  aNode,
  anAllocation,
  aPod,
  aPodSubnet,
  controlledBy,
  ip,
  ipRange,
} from "../../test/builders.ts";
import { IpamWorld, type WorldParts } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryClusterView } from "../adapters/memory/cluster-view.ts";
import type { FaultPlan } from "../adapters/memory/faults.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import { MemoryPodBinder } from "../adapters/memory/pod-binder.ts";
import type { Allocation } from "../core/allocation.ts";
import type { ControllerRef, PodFacts } from "../core/facts.ts";
import type { Owner, WorkloadRef } from "../core/owner.ts";
import { WorldError } from "../ports/world-error.ts";

async function aWorld(parts: WorldParts = {}): Promise<IpamWorld> {
  const world = await IpamWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"] })], parts);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putNode(aNode("n2", "10.0.1.2"));
  return world;
}

/** A world whose cluster reads or store calls fail as the plans say. */
async function aFaultyWorld() {
  const plans: { store: FaultPlan; view: FaultPlan } = { store: () => "ok", view: () => "ok" };
  const world = await aWorld({
    store: (cluster) => withFaults(new MemoryAllocationStore(cluster), (call) => plans.store(call)),
    view: (cluster) => withFaults(new MemoryClusterView(cluster), (call) => plans.view(call)),
  });
  return { plans, world };
}

/** A record as another process or an operator writes it. */
function putRecord(world: IpamWorld, wanted: Parameters<typeof anAllocation>[0]): Allocation {
  const record = { ...anAllocation(wanted), version: world.cluster.nextVersion() };
  world.cluster.records.set(record.ip, record);
  world.cluster.recordEvents.emit({ kind: "changed", allocation: record });
  return record;
}

function deleteRecord(world: IpamWorld, text: string): void {
  world.cluster.records.delete(ip(text));
  world.cluster.recordEvents.emit({ kind: "removed", ip: ip(text) });
}

type Policy = PodFacts["policy"];
type Workload = { readonly ref?: WorkloadRef; readonly controller: ControllerRef | undefined };

const workloads: Readonly<Record<string, (world: IpamWorld, replicas: number) => Workload>> = {
  Deployment: (world, replicas) => {
    const web = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas });
    const set = world.cluster.putReplicaSet({
      namespace: "ns1",
      name: "web-x",
      owner: web.controller,
    });
    return { ref: web.ref, controller: set.controller };
  },
  "bare ReplicaSet": (world, replicas) =>
    world.cluster.putReplicaSet({ namespace: "ns1", name: "rs1", replicas }),
  StatefulSet: (world, replicas) =>
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas }),
  TApp: (world, replicas) =>
    world.cluster.putCustom("TApp", {
      apiGroup: "tkestack.io",
      namespace: "ns1",
      name: "app",
      replicas,
    }),
  "no controller": () => ({ controller: undefined }),
};

const reserved = {
  Deployment: "workload deployment/ns1/web - -",
  "bare ReplicaSet": "workload replicaset/ns1/rs1 - -",
  name: "pod ns1/x-1 - -",
};

/** Case, workload, policy, replicas when the pod is deleted (`gone`: the workload is deleted too), what is left. */
const rows: readonly (readonly [
  number,
  string,
  Policy,
  number | "gone",
  (typeof reserved)[keyof typeof reserved] | undefined,
])[] = [
  [70, "Deployment", "pod-delete", 2, undefined],
  [70, "Deployment", "immutable", 2, reserved.Deployment],
  [70, "Deployment", "immutable", 0, undefined],
  [70, "Deployment", "immutable", "gone", undefined],
  [70, "Deployment", "never", 2, reserved.Deployment],
  [70, "Deployment", "never", 0, reserved.Deployment],
  [70, "Deployment", "never", "gone", reserved.Deployment],
  [76, "bare ReplicaSet", "pod-delete", 2, undefined],
  [76, "bare ReplicaSet", "immutable", 2, reserved["bare ReplicaSet"]],
  [76, "bare ReplicaSet", "immutable", "gone", undefined],
  [76, "bare ReplicaSet", "never", "gone", reserved["bare ReplicaSet"]],
  [71, "StatefulSet", "pod-delete", 2, undefined],
  [71, "StatefulSet", "immutable", 2, reserved.name],
  [71, "StatefulSet", "immutable", 1, undefined],
  [71, "StatefulSet", "immutable", "gone", undefined],
  [71, "StatefulSet", "never", 1, reserved.name],
  [71, "StatefulSet", "never", "gone", reserved.name],
  [72, "TApp", "pod-delete", 2, undefined],
  [72, "TApp", "immutable", 2, reserved.name],
  [72, "TApp", "immutable", 1, undefined],
  [72, "TApp", "immutable", "gone", undefined],
  [72, "TApp", "never", "gone", reserved.name],
  [74, "no controller", "pod-delete", 0, undefined],
  [74, "no controller", "never", 0, reserved.name],
];

describe("policies", () => {
  for (const [number, kind, policy, replicas, left] of rows) {
    const after = left === undefined ? "free" : `kept as ${left}`;
    const state = replicas === "gone" ? "deleted" : `of ${replicas} replicas`;
    const make = workloads[kind] as (world: IpamWorld, replicas: number) => Workload;
    const lines = left === undefined ? [] : [`10.0.70.2 ${left} ${policy}`];

    it(`${kind} ${state}, ${policy}: the address of a deleted pod is ${after} (case ${number})`, async () => {
      const world = await aWorld();
      const { ref, controller } = make(world, 2);
      const pod = await world.schedule(aPod({ name: "x-1", policy, controller }));
      if (ref !== undefined && replicas === "gone") world.cluster.deleteWorkload(ref);
      else if (ref !== undefined) world.cluster.scale(ref, replicas as number);
      await world.settle();
      assert.equal(world.records()[0]?.podUid, pod.uid);
      await world.deletePod(pod.id);
      assert.deepEqual(world.lines(), lines);
    });

    it(`${kind} ${state}, ${policy}: and of a finished one too (case 77)`, async () => {
      const world = await aWorld();
      const { ref, controller } = make(world, 2);
      const pod = await world.schedule(aPod({ name: "x-1", policy, controller }));
      if (ref !== undefined && replicas === "gone") world.cluster.deleteWorkload(ref);
      else if (ref !== undefined) world.cluster.scale(ref, replicas as number);
      world.cluster.changePod(pod.id, { phase: "Failed" });
      await world.settle();
      assert.deepEqual(world.lines(), lines);
    });
  }

  it("a pool keeps the address, whatever happens to the workload (cases 70, 91 and 92)", async () => {
    const world = await aWorld();
    const { ref, controller } = (workloads["Deployment"] as (typeof workloads)[string])(world, 1);
    const pod = await world.schedule(aPod({ name: "x-1", pool: "blue", controller }));
    world.cluster.deleteWorkload(ref as WorkloadRef);
    await world.deletePod(pod.id);
    assert.deepEqual(world.lines(), ["10.0.70.2 pool blue - - never"]);
  });

  it("a Deployment scaled from 3 to 1 ends with the survivor's address alone (case 84)", async () => {
    const world = await aWorld();
    const { ref, controller } = (workloads["Deployment"] as (typeof workloads)[string])(world, 3);
    const pods: PodFacts[] = [];
    for (const name of ["x-1", "x-2", "x-3"]) {
      pods.push(await world.schedule(aPod({ name, policy: "immutable", controller })));
    }
    world.cluster.deletePod((pods[0] as PodFacts).id);
    await world.settle();
    assert.equal(world.lines().length, 3);
    world.cluster.scale(ref as WorkloadRef, 1);
    await world.settle();
    world.cluster.deletePod((pods[1] as PodFacts).id);
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.4 pod ns1/x-3 uid-ns1-x-3 n1 immutable"]);
    world.cluster.scale(ref as WorkloadRef, 0);
    await world.deletePod((pods[2] as PodFacts).id);
    assert.deepEqual(world.lines(), []);
  });

  it("an address that is only being taken costs a workload none that it has", async () => {
    const { plans, world } = await aFaultyWorld();
    const { ref, controller } = (workloads["Deployment"] as (typeof workloads)[string])(world, 2);
    const gone = await world.schedule(aPod({ name: "x-1", policy: "immutable", controller }));
    await world.schedule(aPod({ name: "x-2", policy: "immutable", controller }));
    await world.deletePod(gone.id);
    const before = world.lines();
    plans.store = ({ name }) =>
      name === "create" ? { kind: "slow", until: new Promise(() => {}) } : "ok";
    const third = aPod({ name: "x-3", policy: "immutable", controller });
    world.cluster.putPod(third);
    await world.settle();
    void world.service.allocator
      .take({
        addresses: [{ ip: ip("10.0.70.9"), from: "free" }],
        owner: { kind: "pod", pod: third.id, workload: ref, pool: undefined },
        policy: "immutable",
        podUid: third.uid,
        nodeName: "n1",
      })
      .catch(() => {});
    world.cluster.scale(ref as WorkloadRef, 2);
    await world.settle();
    assert.deepEqual(world.lines(), before);
  });

  it("deleting a workload releases what no pod holds any more, under immutable (D-34)", async () => {
    const world = await aWorld();
    for (const policy of ["immutable", "never"] as const) {
      const { ref, controller } = world.cluster.putStatefulSet({ namespace: policy, name: "db" });
      const pod = await world.schedule(
        aPod({ namespace: policy, name: "db-0", policy, controller }),
      );
      await world.deletePod(pod.id);
      world.cluster.deleteWorkload(ref);
    }
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.3 pod never/db-0 - - never"]);
  });
});

describe("doubt never releases", () => {
  it("a pod that cannot be read keeps its address until it can", async () => {
    const { plans, world } = await aFaultyWorld();
    const pod = await world.schedule(aPod());
    plans.view = ({ name }) => (name === "readPod" ? "fail" : "ok");
    await world.deletePod(pod.id);
    await world.resync();
    assert.equal(world.lines().length, 1);
    plans.view = () => "ok";
    // The retry comes by itself.
    await world.clock.pass(5_000);
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });

  it("a workload that cannot be read keeps its addresses", async () => {
    const { plans, world } = await aFaultyWorld();
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const pod = await world.schedule(
      aPod({ name: "db-0", policy: "immutable", controller: db.controller }),
    );
    plans.view = ({ name }) => (name === "readWorkload" ? "fail" : "ok");
    world.cluster.deleteWorkload(db.ref);
    await world.deletePod(pod.id);
    await world.resync();
    assert.equal(world.records()[0]?.podUid, pod.uid);
    plans.view = () => "ok";
    await world.resync();
    assert.deepEqual(world.lines(), []);
  });

  it("a workload that was scaled up behind the cache keeps its addresses", async () => {
    const world = await aWorld();
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
    const wanted = { policy: "immutable", controller: db.controller } as const;
    await world.schedule(aPod({ ...wanted, name: "db-1" }));
    await world.deletePod({ namespace: "ns1", name: "db-1" });
    world.cluster.scale(db.ref, 1);
    world.cluster.freezeCache();
    world.cluster.scale(db.ref, 2);
    await world.resync();
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-1 - - immutable"]);
  });

  it("a pod that the cache does not show is asked for", async () => {
    const world = await aWorld();
    world.cluster.freezeCache();
    const pod = aPod();
    world.cluster.putPod(pod);
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    await world.resync();
    assert.equal(world.lines().length, 1);
  });

  it("a reservation that a pod takes while its workload is being read is the pod's", async () => {
    const { plans, world } = await aFaultyWorld();
    const web = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 1 });
    const set = world.cluster.putReplicaSet({
      namespace: "ns1",
      name: "web-x",
      owner: web.controller,
    });
    const wanted = { policy: "immutable", controller: set.controller } as const;
    const former = await world.schedule(aPod({ ...wanted, name: "web-x-1" }));
    await world.deletePod(former.id);
    assert.equal(world.lines().length, 1);
    let go = () => {};
    const until = new Promise<void>((resolve) => {
      go = resolve;
    });
    plans.view = ({ name }) => (name === "readWorkload" ? { kind: "slow-answer", until } : "ok");
    world.cluster.scale(web.ref, 0);
    await world.clock.pass(0);
    // The review of the workload waits for its state; meanwhile it is scaled up, and a pod binds.
    plans.view = () => "ok";
    world.cluster.scale(web.ref, 1);
    const pod = aPod({ ...wanted, name: "web-x-2" });
    world.cluster.putPod(pod);
    assert.deepEqual(await world.bind(pod, "n1"), { kind: "bound" });
    go();
    await world.settle();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/web-x-2 ${pod.uid} n1 immutable`]);
  });

  it("a record that another leader gave to the next pod of the name meanwhile is judged by that pod", async () => {
    const { plans, world } = await aFaultyWorld();
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const wanted = { name: "db-0", policy: "immutable", controller: db.controller } as const;
    const former = await world.schedule(aPod({ ...wanted, uid: "former" }));
    plans.store = ({ name }) => {
      if (name !== "update") return "ok";
      plans.store = () => "ok";
      const record = world.records()[0] as Allocation;
      putRecord(world, { ...record, podUid: "second", nodeName: "n2" });
      const next = { nodeName: "n2", phase: "Running", assignedIps: ["10.0.70.2"] } as const;
      world.cluster.putPod(aPod({ ...wanted, ...next, uid: "second" }));
      return "ok";
    };
    world.cluster.deletePod(former.id);
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 second n2 immutable"]);
    assert.equal(world.metrics.countOf("changes", { change: "reserved" }), 0);
  });

  it("releases what a store error kept as soon as the store answers again", async () => {
    const { plans, world } = await aFaultyWorld();
    const pod = await world.schedule(aPod());
    plans.store = ({ name }) => (name === "remove" ? "fail" : "ok");
    await world.deletePod(pod.id);
    assert.equal(world.lines().length, 1);
    plans.store = () => "ok";
    await world.clock.pass(5_000);
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });
});

describe("resync", () => {
  it("does its duties on what events missed (case 110)", async () => {
    const world = await aWorld();
    const web = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 2 });
    const set = world.cluster.putReplicaSet({
      namespace: "ns1",
      name: "web-x",
      owner: web.controller,
    });
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
    const old = world.cluster.putStatefulSet({ namespace: "ns1", name: "old" });
    const imm = (name: string, controller: ControllerRef) =>
      aPod({ name, policy: "immutable", controller });
    const pods = [
      await world.schedule(imm("web-x-1", set.controller)),
      await world.schedule(imm("web-x-2", set.controller)),
      await world.schedule(imm("db-0", db.controller)),
      await world.schedule(imm("db-1", db.controller)),
      await world.schedule(imm("old-0", old.controller)),
      await world.schedule(aPod({ name: "plain" })),
      await world.schedule(aPod({ name: "evicted" })),
    ];
    // Everything happens while nobody listens.
    await world.service.stop();
    for (const { id } of pods.slice(0, 6)) world.cluster.deletePod(id);
    world.cluster.changePod({ namespace: "ns1", name: "evicted" }, { phase: "Failed" });
    world.cluster.deleteWorkload(old.ref);
    world.cluster.scale(web.ref, 1);
    world.cluster.scale(db.ref, 1);
    await world.settle();
    assert.equal(world.lines().length, 7);
    world.service.start();
    await world.service.startLeading();
    await world.settle();
    const lines = world.lines();
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? "", /^10\.0\.70\.[23] workload deployment\/ns1\/web - - immutable$/);
    assert.equal(lines[1], "10.0.70.4 pod ns1/db-0 - - immutable");
  });

  it("asks the API server about no address that is kept for a pod name anyway, but about one that is not", async () => {
    const { plans, world } = await aFaultyWorld();
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 2 });
    const queue = world.cluster.putStatefulSet({ namespace: "ns1", name: "queue", replicas: 1 });
    const pods = [
      await world.schedule(aPod({ name: "db-0", policy: "immutable", controller: db.controller })),
      await world.schedule(aPod({ name: "db-1", policy: "immutable", controller: db.controller })),
      await world.schedule(
        aPod({ name: "queue-0", policy: "never", controller: queue.controller }),
      ),
    ];
    for (const { id } of pods) world.cluster.deletePod(id);
    world.cluster.deleteWorkload(queue.ref);
    await world.settle();
    const kept = [
      "10.0.70.2 pod ns1/db-0 - - immutable",
      "10.0.70.3 pod ns1/db-1 - - immutable",
      "10.0.70.4 pod ns1/queue-0 - - never",
    ];
    assert.deepEqual(world.lines(), kept);
    const asked: string[] = [];
    plans.view = ({ name, args }) => {
      if (name.startsWith("read")) asked.push(`${name} ${JSON.stringify(args)}`);
      return "ok";
    };
    await world.resync();
    assert.equal(asked.join(), "");
    assert.deepEqual(world.lines(), kept);
    // The scaling is missed; the resync finds it and asks before it releases.
    await world.service.stop();
    world.cluster.scale(db.ref, 1);
    await world.settle();
    world.service.start();
    await world.service.startLeading();
    await world.settle();
    assert.deepEqual(world.lines(), [kept[0], kept[2]]);
    assert.ok(
      asked.some((call) => call.startsWith("readPod") && call.includes("db-1")),
      asked.join(),
    );
    assert.ok(!asked.some((call) => call.includes("db-0")), asked.join());
  });

  it("never touches the administrator's or an unknown record (cases 106, 108 and 113, D-5)", async () => {
    const world = await aWorld();
    putRecord(world, { ip: "10.0.70.2", owner: { kind: "admin", key: "sts_ns1_db_db-0" } });
    putRecord(world, { ip: "10.0.70.3", owner: { kind: "foreign", key: "hello-xx" } });
    await world.settle();
    await world.resync();
    assert.equal(world.lines().length, 2);
    const pod = await world.schedule(aPod());
    assert.equal(world.lines()[2], `10.0.70.4 pod ns1/pod1 ${pod.uid} n1 pod-delete`);
    deleteRecord(world, "10.0.70.2");
    await world.settle();
    const request = { kind: "ranges", ranges: [[ipRange("10.0.70.2")]] } as const;
    await world.schedule(aPod({ name: "second", request }));
    assert.match(world.lines()[0] ?? "", /^10\.0\.70\.2 pod ns1\/second/);
  });

  it("one record that cannot be read or released holds up no other", async () => {
    const { plans, world } = await aFaultyWorld();
    const stuck = await world.schedule(aPod({ name: "stuck" }));
    const plain = await world.schedule(aPod({ name: "plain" }));
    await world.service.reclaim.stop();
    plans.store = ({ name, args }) => {
      const isStuck = JSON.stringify(args).includes("10.0.70.2");
      return isStuck && name !== "list" ? (name === "remove" ? "lost" : "fail") : "ok";
    };
    world.cluster.deletePod(stuck.id);
    world.cluster.deletePod(plain.id);
    await world.settle();
    world.service.reclaim.start();
    await world.resync();
    await world.resync();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/stuck ${stuck.uid} n1 pod-delete`]);
    plans.store = () => "ok";
    await world.resync();
    assert.deepEqual(world.lines(), []);
  });

  it("comes by itself once per period", async () => {
    const world = await aWorld();
    const pod = await world.schedule(aPod());
    world.cluster.freezeCache();
    world.cluster.deletePod(pod.id);
    // The watch says nothing and the cache shows the pod: nothing can be known.
    await world.clock.pass(61_000);
    assert.equal(world.lines().length, 1);
    world.cluster.thawCache();
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });
});

describe("records and pods that do not agree", () => {
  it("a record that names another uid or node follows the pod that carries the address", async () => {
    const world = await aWorld();
    const pod = await world.schedule(aPod());
    const record = world.records()[0] as Allocation;
    putRecord(world, { ...record, podUid: "another", nodeName: "n9" });
    await world.settle();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
  });

  it("a running pod that carries an address without a record gets one (case 114)", async () => {
    const world = await aWorld();
    const carried = { nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.7"] } as const;
    world.cluster.putPod(aPod({ ...carried, name: "adopted" }));
    world.cluster.putPod(aPod({ ...carried, name: "pending", nodeName: "", phase: "Pending" }));
    world.cluster.putPod(aPod({ ...carried, name: "outside", assignedIps: ["10.9.9.9"] }));
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.7 pod ns1/adopted uid-ns1-adopted n1 pod-delete"]);
    assert.equal(world.metrics.countOf("conflicts", { kind: "outside configuration" }), 1);
  });

  it("what a pod carries is nobody else's while its record cannot be made, though the pod changes meanwhile", async () => {
    let isRefused = true;
    let isChanged = false;
    const world = await aWorld({
      store: (cluster) => {
        const store = new MemoryAllocationStore(cluster);
        const create = store.create.bind(store);
        store.create = async (allocation) => {
          if (!isRefused || allocation.ip !== "10.0.70.2") return await create(allocation);
          if (!isChanged)
            cluster.changePod({ namespace: "ns1", name: "pod1" }, { phase: "Running" });
          isChanged = true;
          await new Promise((resolve) => {
            setImmediate(resolve);
          });
          throw new WorldError("API_UNAVAILABLE", { tried: "create", message: "refused" });
        };
        return store;
      },
    });
    const carrier = aPod({ nodeName: "n1", assignedIps: ["10.0.70.2"] });
    world.cluster.putPod(carrier);
    await world.settle();
    assert.deepEqual(world.lines(), []);
    const other = await world.schedule(aPod({ name: "other" }));
    assert.deepEqual(other.assignedIps, ["10.0.70.3"]);
    isRefused = false;
    await world.resync();
    assert.equal(world.lines()[0], `10.0.70.2 pod ns1/pod1 ${carrier.uid} n1 pod-delete`);
  });

  it("recreates the record of a living pod that was deleted by hand, and says so (D-10)", async () => {
    const world = await aWorld();
    const pod = await world.schedule(aPod());
    deleteRecord(world, "10.0.70.2");
    await world.settle();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    const [event] = world.events.events();
    assert.equal(event?.reason, "FloatingIPRecreated");
    assert.equal(event?.about.name, "pod1");
  });

  it("what happened to records that could not be read is found out when they can, long before the next resync", async () => {
    const { plans, world } = await aFaultyWorld();
    const pod = await world.schedule(aPod());
    const web = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas: 2 });
    world.cluster.putPool({ name: "blue", size: 1 });
    const owners: readonly Owner[] = [
      { kind: "workload", workload: web.ref },
      { kind: "pool", pool: "blue" },
      { kind: "admin", key: "pool__node_" },
      { kind: "foreign", key: "hello-xx" },
    ];
    for (const [index, owner] of owners.entries()) {
      putRecord(world, { ip: `10.0.70.${3 + index}`, owner, policy: "never" });
    }
    await world.settle();
    assert.equal(world.service.allocator.view.size, 5);
    plans.store = () => "fail";
    for (const last of [2, 3, 4, 5, 6]) deleteRecord(world, `10.0.70.${last}`);
    await world.settle();
    assert.equal(world.service.allocator.view.size, 5);
    plans.store = () => "ok";
    await world.clock.pass(5_000);
    await world.settle();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    assert.equal(world.service.allocator.view.size, 1);
  });

  it("does not make a record again for a pod that runs with another address", async () => {
    const world = await aWorld();
    world.cluster.putPod(aPod({ nodeName: "n1", phase: "Running", assignedIps: ["10.9.9.9"] }));
    putRecord(world, { ip: "10.0.70.3" });
    await world.settle();
    // Nothing proves that the pod has what it carries: the record stays until somebody deletes it.
    assert.equal(world.lines().length, 1);
    deleteRecord(world, "10.0.70.3");
    await world.settle();
    assert.deepEqual(world.lines(), []);
    assert.equal(world.service.allocator.view.size, 0);
  });

  it("frees an address whose record an operator gave to a pod that asks for none", async () => {
    const world = await aWorld();
    const put = (name: string, wantsAddress: boolean) => {
      const running = { name, wantsAddress, nodeName: "n1", phase: "Running" } as const;
      const { id, uid: podUid } = aPod(running);
      world.cluster.putPod(aPod(running));
      const owner = { kind: "pod", pod: id, workload: undefined, pool: undefined } as const;
      putRecord(world, { ip: wantsAddress ? "10.0.70.3" : "10.0.70.4", owner, podUid });
    };
    put("asks", true);
    put("asks-not", false);
    await world.settle();
    // What a pod has that asks, and whose annotation does not say it, is not certain.
    assert.deepEqual(world.lines(), ["10.0.70.3 pod ns1/asks uid-ns1-asks n1 pod-delete"]);
  });

  it("frees a reservation whose record was deleted by hand", async () => {
    const world = await aWorld();
    const db = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const pod = await world.schedule(
      aPod({ name: "db-0", policy: "never", controller: db.controller }),
    );
    await world.deletePod(pod.id);
    deleteRecord(world, "10.0.70.2");
    await world.settle();
    assert.deepEqual(world.events.events(), []);
    assert.equal(world.service.allocator.view.size, 0);
    assert.equal(world.service.allocator.view.usageOf(0).free, 8);
  });

  it("does not free the address of a living pod when an administrator's record over it goes (D-10)", async () => {
    const world = await aWorld();
    const pod = await world.schedule(aPod());
    putRecord(world, { ip: "10.0.70.2", owner: { kind: "admin", key: "pool__node_" } });
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.2 admin pool__node_ - - pod-delete"]);
    deleteRecord(world, "10.0.70.2");
    // In the same moment somebody asks for addresses: the pod's must not be among them.
    const other = aPod({ name: "other" });
    world.cluster.putPod(other);
    assert.deepEqual(await world.bind(other, "n1"), { kind: "bound" });
    await world.settle();
    assert.deepEqual(world.lines(), [
      `10.0.70.2 pod ns1/pod1 ${pod.uid} n1 pod-delete`,
      `10.0.70.3 pod ns1/other ${other.uid} n1 pod-delete`,
    ]);
    assert.equal(world.events.events().at(-1)?.reason, "FloatingIPRecreated");
  });

  it("names the younger of two pods with one address", async () => {
    const world = await aWorld();
    const older = await world.schedule(aPod({ name: "older" }));
    const carried = { nodeName: "n2", phase: "Running", assignedIps: ["10.0.70.2"] } as const;
    world.cluster.putPod(
      aPod({ ...carried, name: "younger", createdAtMs: older.createdAtMs + 1_000 }),
    );
    await world.resync();
    assert.deepEqual(world.lines(), [`10.0.70.2 pod ns1/older ${older.uid} n1 pod-delete`]);
    const conflicts = world.events
      .events()
      .filter(({ message }) => message.includes("also in the older pod"));
    assert.deepEqual(
      conflicts.map(({ about }) => about.name),
      ["younger"],
    );
    assert.match(conflicts[0]?.message ?? "", /delete pod ns1\/younger/);
    assert.ok(world.metrics.countOf("conflicts", { kind: "address in two pods" }) > 0);
  });

  it("a record of a pod that does not have the address follows the pod that carries it, and no bind takes it before", async () => {
    const { plans, world } = await aFaultyWorld();
    const runs = await world.schedule(aPod({ name: "runs" }));
    const waits = aPod({ name: "waits" });
    world.cluster.putPod(waits);
    await world.settle();
    // The record was deleted by hand, and then another pod's, given up long ago, arrives.
    plans.view = ({ name }) => (name === "readPod" ? "fail" : "ok");
    const owner = { kind: "pod", pod: waits.id, workload: undefined, pool: undefined } as const;
    putRecord(world, { ip: "10.0.70.2", owner, podUid: waits.uid, nodeName: "n2" });
    await world.settle();
    await world.service.reclaim.resync();
    assert.deepEqual(await world.bind(waits, "n2"), { kind: "bound" });
    assert.deepEqual(world.cluster.live.pods.get("ns1/waits")?.assignedIps, ["10.0.70.3"]);
    plans.view = () => "ok";
    await world.resync();
    assert.deepEqual(world.lines(), [
      `10.0.70.2 pod ns1/runs ${runs.uid} n1 pod-delete`,
      `10.0.70.3 pod ns1/waits ${waits.uid} n2 pod-delete`,
    ]);
  });

  /** A pod that carries an address under an administrator's record, one that waits, and a record of the address for that one. */
  async function aHiddenCarrier() {
    const { plans, world } = await aFaultyWorld();
    putRecord(world, { ip: "10.0.70.2", owner: { kind: "admin", key: "by hand" } });
    await world.settle();
    // As a process sees it that began to lead after the administrator had written.
    const carried = { nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"] } as const;
    const runs = aPod({ ...carried, name: "runs" });
    world.cluster.putPod(runs);
    const waits = aPod({ name: "waits-1" });
    world.cluster.putPod(waits);
    await world.settle();
    const owner: Owner = { kind: "pod", pod: waits.id, workload: undefined, pool: undefined };
    const edit = { ip: "10.0.70.2", owner, podUid: waits.uid, nodeName: "n2" };
    const assertKept = async () => {
      assert.deepEqual(await world.bind(waits, "n2"), { kind: "bound" });
      assert.deepEqual(world.cluster.live.pods.get("ns1/waits-1")?.assignedIps, ["10.0.70.3"]);
      plans.view = () => "ok";
      plans.store = () => "ok";
      await world.resync();
      assert.deepEqual(world.lines(), [
        `10.0.70.2 pod ns1/runs ${runs.uid} n1 pod-delete`,
        `10.0.70.3 pod ns1/waits-1 ${waits.uid} n2 pod-delete`,
      ]);
    };
    return { plans, world, runs, waits, edit, assertKept };
  }

  it("an administrator's record that is edited for another pod leaves the address to the pod that carries it", async () => {
    const { assertKept, edit, plans, world } = await aHiddenCarrier();
    plans.view = ({ name }) => (name === "readPod" ? "fail" : "ok");
    putRecord(world, edit);
    await world.settle();
    await assertKept();
  });

  it("a record made again without an answer, and edited for another pod since, leaves it to the pod that carries it", async () => {
    const { assertKept, edit, plans, world } = await aHiddenCarrier();
    let isMade = false;
    plans.store = ({ name }) => {
      if (name === "create") isMade = true;
      else if (name === "read" && isMade) {
        isMade = false;
        plans.view = ({ name: call }) => (call === "readPod" ? "fail" : "ok");
        world.cluster.records.set(ip(edit.ip), {
          ...anAllocation(edit),
          version: world.cluster.nextVersion(),
        });
      }
      return name === "create" ? "fail-after-applied" : "ok";
    };
    deleteRecord(world, "10.0.70.2");
    await world.settle();
    plans.store = () => "ok";
    await assertKept();
  });

  it("what a pod carries stays its own while the record of another over it cannot be given to it", async () => {
    const { assertKept, edit, plans, world } = await aHiddenCarrier();
    plans.store = ({ name, args }) =>
      name === "update" && (args[0] as Allocation).ip === "10.0.70.2" ? "lost" : "ok";
    putRecord(world, edit);
    await world.settle();
    await assertKept();
  });

  it("what a pod carries stays its own when the other pod that its record names goes, and is kept for no name", async () => {
    const { edit, plans, runs, waits, world } = await aHiddenCarrier();
    plans.view = ({ name, args }) =>
      name === "readPod" && (args[0] as PodFacts["id"]).name === "runs" ? "fail" : "ok";
    putRecord(world, { ...edit, policy: "never" });
    await world.settle();
    world.cluster.deletePod(waits.id);
    await world.settle();
    const again = aPod({ name: "waits-1", uid: "second", policy: "never" });
    world.cluster.putPod(again);
    await world.settle();
    assert.equal((await world.bind(again, "n2")).kind, "refused");
    plans.view = () => "ok";
    await world.resync();
    assert.deepEqual(await world.bind(again, "n2"), { kind: "bound" });
    assert.deepEqual(world.lines(), [
      `10.0.70.2 pod ns1/runs ${runs.uid} n1 pod-delete`,
      "10.0.70.3 pod ns1/waits-1 second n2 never",
    ]);
  });

  it("of two addresses of a name the next pod gets the one that was taken last, not that of a late write", async () => {
    const clock = new ManualClock();
    const world = await aWorld({
      clock,
      store: (cluster) => {
        const store = new MemoryAllocationStore(cluster);
        const update = store.update.bind(store);
        store.update = async (allocation) => {
          await clock.pass(1);
          return update(allocation);
        };
        return store;
      },
    });
    const { ref, controller } = (workloads["StatefulSet"] as (typeof workloads)[string])(world, 2);
    const policy = "immutable";
    const pod = await world.schedule(aPod({ name: "db-0", policy, controller }));
    const owner = { kind: "pod", pod: pod.id, workload: ref, pool: undefined } as const;
    const takenAtMs = world.records()[0]?.updatedAtMs ?? 0;
    world.cluster.freezeCache();
    // Given up before the pod got its address, and written now.
    const late = { owner, policy, podUid: pod.uid, updatedAtMs: takenAtMs - 5_000 } as const;
    putRecord(world, { ip: "10.0.70.9", ...late });
    world.cluster.deletePod(pod.id);
    world.cluster.thawCache();
    await world.settle();
    assert.deepEqual(world.lines(), [
      "10.0.70.2 pod ns1/db-0 - - immutable",
      "10.0.70.9 pod ns1/db-0 - - immutable",
    ]);
    const next = aPod({ name: "db-0", uid: "next", policy, controller });
    assert.deepEqual((await world.schedule(next)).assignedIps, ["10.0.70.2"]);
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 next n1 immutable"]);
  });

  it("a late write that arrives when the name has another address, or had one since, is not taken for the last", async () => {
    for (const isAlive of [true, false]) {
      const clock = new ManualClock();
      const world = await aWorld({ clock });
      const { ref, controller } = (workloads["StatefulSet"] as (typeof workloads)[string])(
        world,
        2,
      );
      const policy = "immutable";
      const pod = await world.schedule(aPod({ name: "db-0", policy, controller }));
      const takenAtMs = world.records()[0]?.updatedAtMs ?? 0;
      await clock.pass(1_000);
      if (!isAlive) await world.deletePod(pod.id);
      await clock.pass(1_000);
      const owner = { kind: "pod", pod: pod.id, workload: ref, pool: undefined } as const;
      putRecord(world, {
        ip: "10.0.70.9",
        owner,
        policy,
        podUid: "an earlier pod",
        updatedAtMs: takenAtMs - 5_000,
      });
      await world.settle();
      await clock.pass(1_000);
      if (isAlive) await world.deletePod(pod.id);
      assert.equal(world.lines().length, 2);
      const next = aPod({ name: "db-0", uid: "next", policy, controller });
      assert.deepEqual((await world.schedule(next)).assignedIps, ["10.0.70.2"], String(isAlive));
    }
  });

  it("what a pod carried is free when it is gone, also when that cannot be asked at first", async () => {
    const { plans, world } = await aFaultyWorld();
    world.configure([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.8"] })]);
    // Outside the configuration it gets no record, and is kept from others all the same.
    const stray = aPod({
      name: "stray",
      nodeName: "n1",
      phase: "Running",
      assignedIps: ["10.0.70.9"],
    });
    world.cluster.putPod(stray);
    await world.settle();
    const { view } = world.service.allocator;
    assert.equal(view.heldBy(ip("10.0.70.9")), stray.uid);
    plans.view = ({ name }) => (name === "readPod" ? "fail" : "ok");
    world.cluster.deletePod(stray.id);
    await world.settle();
    assert.equal(view.heldBy(ip("10.0.70.9")), stray.uid);
    plans.view = () => "ok";
    await world.clock.pass(1_000);
    await world.settle();
    assert.equal(view.heldBy(ip("10.0.70.9")), undefined);
  });

  it("puts the record of an old leader's late write through reclaim", async () => {
    const world = await aWorld();
    putRecord(world, { ip: "10.0.70.5" });
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });
});

describe("a record that somebody else changed while a Binding with its address was under way", () => {
  /** A pod whose Binding was given up and arrives when `arrive` is called; its record is 10.0.70.2. */
  async function aGivenUpBinding(world: IpamWorld, plans: { binder: FaultPlan }) {
    let arrive = () => {};
    const until = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    plans.binder = () => ({ kind: "applied-late", until });
    const pod = aPod({ name: "late", policy: "pod-delete", reserveTtl: 60_000 });
    world.cluster.putPod(pod);
    await world.settle();
    await world.filter(pod);
    assert.equal((await world.bind(pod, "n1")).kind, "refused");
    plans.binder = () => "ok";
    return { pod, arrive, record: world.records()[0] as Allocation };
  }

  async function aWorldWithBinder() {
    const plans: { binder: FaultPlan } = { binder: () => "ok" };
    const world = await aWorld({
      binder: (cluster) => withFaults(new MemoryPodBinder(cluster), (call) => plans.binder(call)),
    });
    return { plans, world };
  }

  function carriersOf(world: IpamWorld, text: string): readonly string[] {
    return [...world.cluster.live.pods.values()]
      .filter(({ assignedIps }) => assignedIps.includes(ip(text)))
      .map(({ id }) => id.name);
  }

  /** Schedules pods until there is no address left for one. */
  async function takeTheRest(world: IpamWorld): Promise<void> {
    await world.clock.pass(20_000);
    for (let count = 0; ; count += 1) {
      const pod = aPod({ name: `more-${count}`, pool: "blue", policy: "never" });
      world.cluster.putPod(pod);
      await world.settle();
      const [node] = await world.passing(pod);
      if (node === undefined) return;
      assert.ok(count < 8);
      assert.equal((await world.bind(pod, node)).kind, "bound");
    }
  }

  const pool: Owner = { kind: "pool", pool: "blue" };
  const edits: Readonly<Record<string, (other: PodFacts) => Partial<Allocation>>> = {
    "another uid": () => ({ podUid: "edited by hand" }),
    "no uid": () => ({ podUid: "", nodeName: "" }),
    "another pod": ({ id, uid }) => ({
      owner: { kind: "pod", pod: id, workload: undefined, pool: undefined },
      podUid: uid,
    }),
    "a pool": () => ({ owner: pool, podUid: "", nodeName: "" }),
  };

  for (const [what, edit] of Object.entries(edits)) {
    it(`${what}: the address is the pod's, and no other pod is bound with it, before the Binding arrives and after`, async () => {
      const { plans, world } = await aWorldWithBinder();
      const other = aPod({ name: "other" });
      world.cluster.putPod(other);
      const { arrive, pod, record } = await aGivenUpBinding(world, plans);
      putRecord(world, { ...record, reserveTtl: "never", ...edit(other) });
      // At once, while the change is being looked at, and afterwards.
      await world.bind(other, "n1");
      await world.settle();
      assert.equal((await world.bind(other, "n1")).kind, "bound");
      await takeTheRest(world);
      arrive();
      await world.settle();
      assert.deepEqual(carriersOf(world, "10.0.70.2"), ["late"]);
      assert.equal(world.records()[0]?.podUid, pod.uid);
      assert.equal(world.records()[0]?.reserveTtl, pod.reserveTtl);
      assert.deepEqual(world.service.allocator.formers(), []);
    });

    it(`${what}: another process that saw the change gives the address to nobody else either`, async () => {
      const { plans, world } = await aWorldWithBinder();
      const other = aPod({ name: "other" });
      world.cluster.putPod(other);
      const next = new IpamWorld({ cluster: world.cluster, clock: world.clock });
      next.service.start();
      next.configure([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"] })]);
      await next.service.follow();
      const { arrive, pod, record } = await aGivenUpBinding(world, plans);
      await next.settle();
      await world.service.stop();
      putRecord(world, { ...record, ...edit(other) });
      await next.settle();
      await next.service.startLeading();
      await next.settle();
      assert.equal((await next.bind(other, "n1")).kind, "bound");
      await takeTheRest(next);
      arrive();
      await next.settle();
      assert.deepEqual(carriersOf(next, "10.0.70.2"), ["late"]);
      assert.equal(next.records()[0]?.podUid, pod.uid);
    });
  }

  it("is free for others as soon as the pod is gone", async () => {
    const { plans, world } = await aWorldWithBinder();
    const { arrive, pod, record } = await aGivenUpBinding(world, plans);
    putRecord(world, { ...record, podUid: "edited by hand" });
    world.cluster.deletePod(pod.id);
    await world.settle();
    arrive();
    await world.settle();
    assert.deepEqual(world.lines(), []);
    const next = await world.schedule(aPod({ name: "next" }));
    assert.equal(next.assignedIps.length, 1);
    assert.deepEqual(world.service.allocator.formers(), []);
  });

  it("an administrator's record over it stays, and the address goes back to the pod that carries it when that record goes", async () => {
    const { plans, world } = await aWorldWithBinder();
    const { arrive, pod, record } = await aGivenUpBinding(world, plans);
    putRecord(world, { ...record, owner: { kind: "admin", key: "by hand" }, podUid: "" });
    await world.settle();
    await world.resync();
    assert.equal(world.records()[0]?.owner.kind, "admin");
    deleteRecord(world, "10.0.70.2");
    await world.settle();
    await world.resync();
    assert.equal(world.records()[0]?.podUid, pod.uid);
    arrive();
    await world.settle();
    assert.deepEqual(carriersOf(world, "10.0.70.2"), ["late"]);
  });

  it("a pod that carries an address of a workload's or pool's reservation keeps it, and the record follows", async () => {
    const world = await aWorld();
    const reserved = { owner: pool, podUid: "", nodeName: "", policy: "never" } as const;
    putRecord(world, { ip: "10.0.70.2", ...reserved });
    await world.settle();
    world.cluster.putPod(
      aPod({ name: "runs", nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.2"] }),
    );
    await world.settle();
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/runs uid-ns1-runs n1 pod-delete"]);
  });
});

describe("only between start and stop", () => {
  it("events do nothing while the process follows, and are made up for", async () => {
    const world = await aWorld();
    const pod = await world.schedule(aPod());
    await world.service.stopLeading();
    world.leadership.become(false, "other");
    await world.deletePod(pod.id);
    await world.clock.pass(120_000);
    assert.equal(world.lines().length, 1);
    world.leadership.become(true, "self");
    await world.service.startLeading();
    await world.settle();
    assert.deepEqual(world.lines(), []);
  });

  it("a pod of another kind of the same name as a StatefulSet is judged by its own workload (D-43)", async () => {
    const world = await aWorld();
    world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 0 });
    world.cluster.putCustom("StatefulSet", {
      apiGroup: "apps.kruise.io",
      namespace: "ns1",
      name: "db",
      replicas: 1,
    });
    const controller = controlledBy("apps.kruise.io/v1", "StatefulSet", "db");
    const pod = await world.schedule(aPod({ name: "db-0", policy: "immutable", controller }));
    await world.deletePod(pod.id);
    assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/db-0 - - immutable"]);
  });
});
