// Filter when addresses are short: those of pods on their way out count as soon as they are free, and reserved ones are shared out.
// What the verbs answer otherwise is in scheduling.test.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { aNode, aPod, aPodSubnet } from "../../test/builders.ts";
import { IpamWorld, type WorldParts } from "../../test/ipam-world.ts";
import { MemoryClusterView } from "../adapters/memory/cluster-view.ts";
import type { PodFacts } from "../core/facts.ts";

/** Two subnets with two addresses each; nodes n1 and n2. */
async function twoSubnets(promiseWaitMs = 0, parts: WorldParts = {}): Promise<IpamWorld> {
  const subnets = [
    aPodSubnet({ ranges: ["10.0.70.2~10.0.70.3"] }),
    aPodSubnet({
      cidr: "10.0.80.0/24",
      ranges: ["10.0.80.2~10.0.80.3"],
      nodeSubnets: ["10.0.2.0/24"],
    }),
  ];
  const world = await IpamWorld.leading(subnets, { ...parts, settings: { promiseWaitMs } });
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  world.cluster.putNode(aNode("n2", "10.0.2.1"));
  return world;
}

/** A Deployment `ns1/web` with its ReplicaSet, and its pods. */
function webOf(world: IpamWorld, replicas: number): (name: string) => PodFacts {
  const { controller } = world.cluster.putDeployment({ namespace: "ns1", name: "web", replicas });
  const made = world.cluster.putReplicaSet({ namespace: "ns1", name: "web-1", owner: controller });
  return (name) => aPod({ name, policy: "never", controller: made.controller });
}

test("a pod waits no longer than the one whose address it is to have, even when its deletion was not seen yet", async () => {
  const world = await twoSubnets();
  const web = webOf(world, 1);
  const old = await world.schedule(web("web-old"));
  world.cluster.changePod(old.id, { isTerminating: true });
  await world.settle();
  const young = web("web-young");
  world.cluster.putPod(young);
  await world.settle();
  assert.match(String(await world.passing(young)), /web has allocated 1 ips with replicas of 1/);
  world.cluster.freezeCache();
  world.cluster.deletePod(old.id);
  assert.deepEqual(await world.passing(young), ["n1"]);
  world.cluster.thawCache();
  await world.settle();
  assert.deepEqual(await world.bind(young, "n1"), { kind: "bound" });
  assert.deepEqual(world.lines(), ["10.0.70.2 pod ns1/web-young uid-ns1-web-young n1 never"]);
});

test("a full subnet has room as soon as a pod in it is gone", async () => {
  const world = await twoSubnets();
  const first = await world.schedule(aPod({ name: "a", policy: "pod-delete" }));
  await world.schedule(aPod({ name: "b", policy: "pod-delete" }));
  const late = aPod({ name: "c" });
  world.cluster.putPod(late);
  world.cluster.changePod(first.id, { isTerminating: true });
  await world.settle();
  assert.deepEqual(await world.passing(late, ["n1"]), []);
  world.cluster.freezeCache();
  world.cluster.deletePod(first.id);
  assert.deepEqual(await world.passing(late, ["n1"]), ["n1"]);
});

test("a pod on its way out keeps its address while it runs", async () => {
  const world = await twoSubnets();
  const first = await world.schedule(aPod({ name: "a" }));
  await world.schedule(aPod({ name: "b" }));
  world.cluster.changePod(first.id, { isTerminating: true });
  await world.settle();
  const before = world.lines();
  const late = aPod({ name: "c" });
  world.cluster.putPod(late);
  assert.deepEqual(await world.passing(late, ["n1"]), []);
  assert.deepEqual(world.lines(), before);
});

test("two pods that ask at once get the two addresses reserved for their Deployment, not a new one", async () => {
  const world = await twoSubnets();
  const web = webOf(world, 2);
  const [one, two] = [await world.schedule(web("web-1")), web("web-2")];
  world.cluster.putPod(two);
  assert.deepEqual(await world.passing(two, ["n2"]), ["n2"]);
  assert.deepEqual(await world.bind(two, "n2"), { kind: "bound" });
  await world.deletePod(one.id);
  await world.deletePod(two.id);
  const pods = [web("web-3"), web("web-4")];
  for (const pod of pods) world.cluster.putPod(pod);
  await world.settle();
  const nodes = [];
  for (const pod of pods) nodes.push(await world.passing(pod));
  assert.deepEqual(nodes.map(String).toSorted(), ["n1", "n2"]);
  for (const [index, pod] of pods.entries()) {
    assert.deepEqual(await world.bind(pod, String(nodes[index])), { kind: "bound" });
  }
  assert.deepEqual(
    world.records().map(({ ip }) => ip),
    ["10.0.70.2", "10.0.80.2"],
  );
});

test("what was promised to a pod that was deleted before its bind is open to the next one at once", async () => {
  const world = await twoSubnets();
  const web = webOf(world, 1);
  const hasty = web("web-hasty");
  world.cluster.putPod(hasty);
  assert.deepEqual(await world.passing(hasty), ["n1", "n2"]);
  const young = web("web-young");
  world.cluster.putPod(young);
  await world.settle();
  assert.match(String(await world.passing(young)), /web has allocated 1 ips with replicas of 1/);
  world.cluster.freezeCache();
  world.cluster.deletePod(hasty.id);
  assert.deepEqual(await world.passing(young), ["n1", "n2"]);
});

test("a bind that finds its pod gone leaves no promise behind", async () => {
  const world = await twoSubnets();
  const hasty = aPod({ name: "hasty" });
  world.cluster.putPod(hasty);
  assert.deepEqual(await world.passing(hasty), ["n1", "n2"]);
  world.cluster.freezeCache();
  world.cluster.deletePod(hasty.id);
  assert.equal([...world.service.allocator.view.holds()].length, 1);
  assert.equal((await world.bind(hasty, "n1")).kind, "refused");
  assert.deepEqual([...world.service.allocator.view.holds()], []);
});

test("case 18: four pods for four addresses in two subnets all get one, although each is promised one in both", async () => {
  const world = await twoSubnets(3_500);
  const pods = ["p1", "p2", "p3", "p4"].map((name) => aPod({ name }));
  for (const pod of pods) world.cluster.putPod(pod);
  const [p1, p2, p3, p4] = pods as [PodFacts, PodFacts, PodFacts, PodFacts];
  assert.deepEqual(await world.passing(p1), ["n1", "n2"]);
  assert.deepEqual(await world.passing(p2), ["n1", "n2"]);
  const third = world.passing(p3);
  assert.deepEqual(await world.bind(p1, "n1"), { kind: "bound" });
  assert.deepEqual(await third, ["n2"]);
  const fourth = world.passing(p4);
  assert.deepEqual(await world.bind(p2, "n1"), { kind: "bound" });
  assert.deepEqual(await fourth, ["n2"]);
});

test("a bind that is under way gives back at once what its pod was promised elsewhere, however slow the API server is", async () => {
  let isSlow = false;
  const answer = Promise.withResolvers<void>();
  const world = await twoSubnets(3_500, {
    view: (cluster) => {
      const view = new MemoryClusterView(cluster);
      const readPod = view.readPod.bind(view);
      view.readPod = async (pod) => {
        if (isSlow) await answer.promise;
        return readPod(pod);
      };
      return view;
    },
  });
  const pods = ["p1", "p2", "p3", "p4"].map((name) => aPod({ name }));
  const [p1, p2, p3, p4] = pods as [PodFacts, PodFacts, PodFacts, PodFacts];
  // The cache knows none of them yet, so that each bind reads its pod first.
  world.cluster.freezeCache();
  for (const pod of pods) world.cluster.putPod(pod);
  assert.deepEqual(await world.passing(p1), ["n1", "n2"]);
  assert.deepEqual(await world.passing(p2), ["n1", "n2"]);
  const third = world.passing(p3);
  await world.settle();
  isSlow = true;
  const binds = [world.bind(p1, "n1"), world.bind(p2, "n2")];
  assert.deepEqual(await third, ["n1", "n2"]);
  const fourth = world.passing(p4);
  binds.push(world.bind(p3, "n1"));
  assert.deepEqual(await fourth, ["n2"]);
  binds.push(world.bind(p4, "n2"));
  answer.resolve();
  assert.deepEqual(
    (await Promise.all(binds)).map(({ kind }) => kind),
    ["bound", "bound", "bound", "bound"],
  );
  assert.equal(world.records().length, 4);
});

test("a pod that goes to a full subnet is told how many addresses are only promised, and what to wait for", async () => {
  const world = await twoSubnets();
  await world.schedule(aPod({ name: "p1" }));
  for (const name of ["p2", "p3"]) {
    world.cluster.putPod(aPod({ name }));
    await world.passing(aPod({ name }));
  }
  const late = aPod({ name: "late" });
  world.cluster.putPod(late);
  const reply = await world.filter(late, ["n1"]);
  assert.equal(
    reply.kind === "nodes" ? reply.failed.get("n1") : reply.kind,
    "FloatingIPPlugin:NoFIPLeft: no free address for this node in pod subnet 10.0.70.0/24 (1 of 2 in use, 1 promised to pods being " +
      'scheduled); wait for those pods, free some or extend "ips"',
  );
});

test("filter waits two seconds at most for a promise that nobody follows up, not at all for an old one or for one of which nothing is left over", async () => {
  const world = await twoSubnets(3_500);
  for (const name of ["p1", "p2"]) {
    world.cluster.putPod(aPod({ name }));
    await world.passing(aPod({ name }));
  }
  const late = aPod({ name: "late" });
  world.cluster.putPod(late);
  const waiting = world.passing(late);
  await world.clock.pass(2_000);
  assert.deepEqual(await waiting, []);
  assert.deepEqual(await world.passing(late), []);
  for (const name of ["p1", "p2"]) await world.bind(aPod({ name }), "n1");
  for (const name of ["p3", "p4"]) {
    world.cluster.putPod(aPod({ name }));
    assert.deepEqual(await world.passing(aPod({ name })), ["n2"]);
  }
  assert.deepEqual(await world.passing(late), []);
});
