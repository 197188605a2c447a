// What the controllers do to the pods of a small cluster, kind by kind.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../sim/random.ts";
import { aTemplate, TestCluster } from "../../../test/simulated-cluster.ts";
import { builtInWorkload } from "../../core/owner.ts";
import { isActive, isAvailable } from "./controllers/workplace.ts";
import type { SimPod, SimWorkload } from "./objects.ts";
import { deletePod, evictPod } from "./pod-verbs.ts";

function replicaSets(cluster: TestCluster): readonly SimWorkload[] {
  return cluster.api.list("workloads").filter(({ kind }) => kind === "replicaset");
}

function revisions(pods: readonly SimPod[]): readonly number[] {
  return pods.map(({ revision }) => revision).toSorted((a, b) => a - b);
}

test("a Deployment has one ReplicaSet, whose pods are named after it, carry its reference and become ready", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("deployment", {
    template: { ...aTemplate, policy: "immutable", pool: "blue" },
  });
  await cluster.run(5);
  const [set, ...others] = replicaSets(cluster);
  assert.ok(set);
  assert.deepEqual(others, []);
  assert.match(set.ref.name, /^web-[b-z2-9]{1,10}$/);
  assert.deepEqual(set.ref, builtInWorkload("replicaset", set.ref));
  assert.equal(set.deployment, "web");
  assert.notEqual(set.uid, cluster.api.get("workloads", key)?.uid);
  assert.equal(cluster.pods().length, 3);
  for (const { facts, isReady, revision } of cluster.pods()) {
    assert.match(facts.id.name, new RegExp(`^${set.ref.name}-[b-z2-9]{5}$`));
    assert.deepEqual(facts.controller, {
      apiGroup: "apps",
      apiVersion: "v1",
      kind: "ReplicaSet",
      name: set.ref.name,
      uid: set.uid,
    });
    assert.deepEqual(
      [facts.phase, isReady, revision, facts.policy, facts.pool],
      ["Running", true, 1, "immutable", "blue"],
    );
  }
});

for (const { maxSurge, maxUnavailable } of [
  { maxSurge: 1, maxUnavailable: 0 },
  { maxSurge: 0, maxUnavailable: 1 },
  { maxSurge: 2, maxUnavailable: 2 },
  { maxSurge: 0, maxUnavailable: 0 },
]) {
  test(`a roll-out with surge ${maxSurge} and ${maxUnavailable} unavailable stays within its bounds and reaches them`, async () => {
    const cluster = new TestCluster();
    const key = cluster.create("deployment", { replicas: 4, maxSurge, maxUnavailable });
    await cluster.run(5);
    let most = 0;
    let leastAvailable = 4;
    cluster.check = () => {
      // Wanted replicas, as Kubernetes counts: a ReplicaSet may create its pod a moment before the other deletes one.
      most = Math.max(
        most,
        replicaSets(cluster).reduce((sum, { replicas }) => sum + replicas, 0),
      );
      leastAvailable = Math.min(leastAvailable, cluster.pods().filter(isAvailable).length);
    };
    cluster.roll(key, 2);
    await cluster.run(60);
    assert.deepEqual(revisions(cluster.pods()), [2, 2, 2, 2]);
    assert.equal(most, 4 + maxSurge);
    assert.equal(leastAvailable, 4 - (maxSurge + maxUnavailable === 0 ? 1 : maxUnavailable));
    assert.deepEqual(
      replicaSets(cluster).map(({ replicas }) => replicas),
      [0, 4],
    );
  });
}

test("a roll-out whose new pods never start leaves as many old ones available as it promised", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("deployment", { replicas: 4, maxSurge: 1, maxUnavailable: 1 });
  await cluster.run(5);
  cluster.unschedulable = /./;
  cluster.roll(key, 2);
  await cluster.run(60);
  assert.deepEqual(revisions(cluster.pods()), [1, 1, 1, 2, 2]);
  assert.equal(cluster.pods().filter(isAvailable).length, 3);
});

test("a roll-out takes old pods that are not available before those that are", async () => {
  const cluster = new TestCluster({ nodes: ["n1", "n2", "n3"] });
  const key = cluster.create("deployment", { replicas: 3, maxSurge: 0, maxUnavailable: 1 });
  await cluster.run(5);
  const [gone, ...others] = cluster.pods();
  assert.ok(gone);
  cluster.api.put("pods", `ns1/${gone.facts.id.name}`, { ...gone, isReady: false });
  cluster.kubelets.stopNode(gone.facts.nodeName);
  cluster.unschedulable = /./;
  cluster.roll(key, 2);
  await cluster.run(5);
  assert.equal(cluster.pod(gone.facts.id.name).facts.isTerminating, true);
  for (const { facts } of others)
    assert.equal(cluster.pod(facts.id.name).facts.isTerminating, false);
});

test("a Deployment that is rolled back uses its old ReplicaSet again, and only the last two empty ones stay", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("deployment", { replicas: 2 });
  await cluster.run(5);
  const [first] = replicaSets(cluster);
  cluster.roll(key, 2);
  await cluster.run(20);
  cluster.roll(key, 1);
  await cluster.run(20);
  assert.equal(replicaSets(cluster).length, 2);
  assert.equal(cluster.api.get("workloads", `replicaset/ns1/${first?.ref.name}`)?.replicas, 2);
  for (const revision of [3, 4, 5]) {
    cluster.roll(key, revision);
    await cluster.run(20);
  }
  assert.deepEqual(
    replicaSets(cluster).map(({ template, replicas }) => [template.revision, replicas]),
    [
      [3, 0],
      [4, 0],
      [5, 2],
    ],
  );
});

test("a Deployment that is scaled in the middle of a roll-out ends with as many pods of the new revision as wanted", async () => {
  for (const replicas of [0, 2, 9]) {
    const cluster = new TestCluster();
    const key = cluster.create("deployment", { replicas: 6, maxSurge: 2, maxUnavailable: 1 });
    await cluster.run(5);
    cluster.roll(key, 2);
    await cluster.run(0.2);
    cluster.scale(key, replicas);
    await cluster.run(60);
    assert.deepEqual(
      revisions(cluster.pods()),
      Array.from({ length: replicas }, () => 2),
    );
    assert.equal(replicaSets(cluster)[1]?.replicas, replicas);
  }
});

test("a scaled Deployment in the middle of a roll-out shares the change among its ReplicaSets", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("deployment", { replicas: 10, maxSurge: 3, maxUnavailable: 2 });
  await cluster.run(5);
  cluster.unschedulable = /./;
  cluster.roll(key, 2);
  await cluster.run(30);
  const sizes = () => replicaSets(cluster).map(({ replicas }) => replicas);
  assert.deepEqual(sizes(), [8, 5]);
  // The example of the Kubernetes documentation on proportional scaling: 8 + 5 at 10 becomes 11 + 7 at 15.
  cluster.scale(key, 15);
  await cluster.run(1);
  assert.deepEqual(sizes(), [11, 7]);
});

test("a ReplicaSet replaces pods that are being deleted and pods that failed without waiting for them to go", async () => {
  const cluster = new TestCluster();
  cluster.create("replicaset");
  await cluster.run(5);
  const [first, second] = cluster.names();
  cluster.kubelets.stopNode(cluster.pod(first ?? "").facts.nodeName);
  assert.equal(deletePod(cluster.api, `ns1/${first}`), "terminating");
  assert.ok(evictPod(cluster.api, `ns1/${second}`));
  await cluster.run(1);
  assert.equal(cluster.pods().length, 5);
  assert.equal(cluster.pods().filter(isActive).length, 3);
  assert.equal(cluster.pod(first ?? "").facts.isTerminating, true);
  assert.equal(cluster.pod(second ?? "").facts.phase, "Failed");
  await cluster.run(130);
  assert.equal(cluster.names().includes(second ?? ""), false);
});

test("a ReplicaSet that shrinks loses unscheduled pods first, then unready ones, then the youngest", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("replicaset", { replicas: 2 });
  await cluster.run(2);
  const oldest = cluster.names();
  cluster.scale(key, 3);
  await cluster.run(2);
  const [youngest] = cluster.names().filter((name) => !oldest.includes(name));
  cluster.unschedulable = /./;
  cluster.scale(key, 4);
  await cluster.run(1);
  cluster.scale(key, 3);
  await cluster.run(3);
  assert.ok(cluster.pods().every(({ facts }) => facts.nodeName !== ""));
  cluster.scale(key, 2);
  await cluster.run(3);
  assert.deepEqual(cluster.names(), oldest);
  assert.equal(oldest.includes(youngest ?? ""), false);
  const unready = cluster.pod(oldest[0] ?? "");
  cluster.kubelets.stopNode(unready.facts.nodeName);
  cluster.api.put("pods", `ns1/${oldest[0]}`, { ...unready, isReady: false });
  cluster.scale(key, 1);
  await cluster.run(1);
  assert.deepEqual(
    cluster
      .pods()
      .filter(isActive)
      .map(({ facts }) => facts.id.name),
    [oldest[1]],
  );
});

test("a StatefulSet grows from its first ordinal and shrinks from the top, one pod at a time", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("statefulset", { name: "db", firstOrdinal: 5 });
  const seen: string[] = [];
  cluster.check = () => {
    const text = cluster.names().join(" ");
    if (text !== seen.at(-1)) seen.push(text);
    assert.ok(cluster.pods().filter((pod) => !isAvailable(pod)).length <= 1);
  };
  await cluster.run(10);
  cluster.scale(key, 1);
  await cluster.run(10);
  assert.deepEqual(seen, ["db-5", "db-5 db-6", "db-5 db-6 db-7", "db-5 db-6", "db-5"]);
});

test("a StatefulSet waits for the ordinal that does not get ready", async () => {
  const cluster = new TestCluster();
  cluster.unschedulable = /web-1$/;
  const key = cluster.create("statefulset");
  await cluster.run(30);
  assert.deepEqual(cluster.names(), ["web-0", "web-1"]);
  cluster.scale(key, 4);
  await cluster.run(30);
  assert.deepEqual(cluster.names(), ["web-0", "web-1"]);
});

test("a StatefulSet that shrinks does not take its top pod while a lower one of those is unhealthy too", async () => {
  const cluster = new TestCluster({ nodes: ["n1"] });
  const key = cluster.create("statefulset", { replicas: 4 });
  await cluster.run(10);
  cluster.kubelets.stopNode("n1");
  for (const name of ["web-2", "web-3"]) {
    cluster.api.put("pods", `ns1/${name}`, { ...cluster.pod(name), isReady: false });
  }
  cluster.scale(key, 2);
  await cluster.run(5);
  assert.equal(cluster.pod("web-3").deletedAtMs, undefined);
  cluster.kubelets.startNode("n1");
  await cluster.run(10);
  assert.deepEqual(cluster.names(), ["web-0", "web-1"]);
});

test("a StatefulSet rolls from the top, each pod after the other has become ready", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("statefulset");
  await cluster.run(10);
  const order: string[] = [];
  cluster.api.listeners.add(({ collection, key: pod, value }) => {
    if (collection === "pods" && value === undefined) order.push(pod);
  });
  cluster.check = () => assert.ok(cluster.pods().filter(isAvailable).length >= 2);
  cluster.roll(key, 2);
  await cluster.run(30);
  assert.deepEqual(order, ["ns1/web-2", "ns1/web-1", "ns1/web-0"]);
  assert.deepEqual(revisions(cluster.pods()), [2, 2, 2]);
});

test("a StatefulSet's pod is recreated only when the old one is gone, also when it was evicted", async () => {
  const cluster = new TestCluster();
  cluster.create("statefulset");
  await cluster.run(10);
  for (const lose of [
    () => deletePod(cluster.api, "ns1/web-1"),
    () => evictPod(cluster.api, "ns1/web-1"),
  ]) {
    const before = cluster.pod("web-1").facts.uid;
    const gone: (string | undefined)[] = [];
    const listen = (change: { key: string; value: unknown }) => {
      if (change.key === "ns1/web-1" && change.value === undefined) {
        gone.push(cluster.api.get("pods", "ns1/web-1")?.facts.uid);
      }
    };
    cluster.api.listeners.add(listen);
    lose();
    await cluster.run(5);
    cluster.api.listeners.delete(listen);
    assert.deepEqual(gone, [undefined]);
    assert.notEqual(cluster.pod("web-1").facts.uid, before);
    assert.ok(isAvailable(cluster.pod("web-1")));
  }
});

test("a StatefulSet waits until a pod of another owner gives up a name", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("statefulset", { replicas: 1 });
  await cluster.run(5);
  const { nodeName, uid } = cluster.pod("web-0").facts;
  cluster.kubelets.stopNode(nodeName);
  cluster.api.remove("workloads", key);
  cluster.create("statefulset", { replicas: 1 });
  await cluster.run(5);
  assert.equal(cluster.pod("web-0").facts.uid, uid);
  assert.equal(cluster.pod("web-0").facts.isTerminating, true);
  cluster.kubelets.startNode(nodeName);
  await cluster.run(5);
  assert.notEqual(cluster.pod("web-0").facts.uid, uid);
  assert.ok(isAvailable(cluster.pod("web-0")));
});

test("a DaemonSet has a pod on each node, on a new one too, and loses that of a node that is removed", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("daemonset");
  const nodes = () =>
    cluster
      .pods()
      .filter(isAvailable)
      .map(({ facts }) => facts.nodeName)
      .toSorted();
  await cluster.run(2);
  assert.deepEqual(nodes(), ["n1", "n2"]);
  cluster.addNode("n3");
  await cluster.run(2);
  assert.deepEqual(nodes(), ["n1", "n2", "n3"]);
  assert.ok(cluster.pods().every(({ onlyNode, facts }) => onlyNode === facts.nodeName));
  cluster.check = () => assert.ok(nodes().length >= 2);
  cluster.roll(key, 2);
  await cluster.run(20);
  assert.deepEqual(revisions(cluster.pods()), [2, 2, 2]);
  cluster.check = () => {};
  const [doomed] = cluster.pods();
  assert.ok(doomed);
  cluster.kubelets.stopNode(doomed.facts.nodeName);
  deletePod(cluster.api, `ns1/${doomed.facts.id.name}`);
  await cluster.run(5);
  assert.equal(cluster.pods().length, 3, "no second pod beside the one that is being deleted");
  cluster.kubelets.startNode(doomed.facts.nodeName);
  await cluster.run(5);
  cluster.api.remove("nodes", "n1");
  await cluster.run(30);
  assert.equal(cluster.pods().length, 2);
  assert.deepEqual(nodes(), ["n2", "n3"]);
});

test("a Job's pods succeed and stay, and one that fails is replaced", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("job");
  await cluster.run(0.9);
  const [failed] = cluster.names();
  evictPod(cluster.api, `ns1/${failed}`);
  await cluster.run(60);
  const phases = () =>
    cluster
      .pods()
      .map(({ facts }) => facts.phase)
      .toSorted();
  assert.deepEqual(phases(), ["Failed", "Succeeded", "Succeeded", "Succeeded"]);
  deletePod(cluster.api, `ns1/${cluster.names().find((name) => name !== failed)}`);
  await cluster.run(60);
  assert.equal(cluster.pods().length, 3);
  cluster.api.remove("workloads", key);
  await cluster.run(5);
  assert.deepEqual(cluster.names(), []);
});

test("a Job waits longer after each failure", async () => {
  const cluster = new TestCluster();
  cluster.create("job", { replicas: 1 });
  await cluster.run(0.9);
  for (const { seconds, count } of [
    { seconds: 1, count: 1 },
    { seconds: 2, count: 2 },
  ]) {
    for (const name of cluster.names()) evictPod(cluster.api, `ns1/${name}`);
    await cluster.run(seconds - 0.1);
    assert.equal(cluster.pods().length, count);
    await cluster.run(0.3);
    assert.equal(cluster.pods().length, count + 1);
  }
});

test("a Job that fails too often is given up", async () => {
  const cluster = new TestCluster();
  cluster.unschedulable = /./;
  cluster.create("job", { replicas: 1 });
  for (let count = 0; count < 20; count += 1) {
    await cluster.run(35);
    for (const name of cluster.names()) {
      const pod = cluster.pod(name);
      const facts = { ...pod.facts, phase: "Failed" as const };
      cluster.api.put("pods", `ns1/${name}`, { ...pod, isReady: false, facts });
    }
  }
  assert.equal(cluster.pods().length, 7);
});

for (const kind of ["tapp", "plain"] as const) {
  test(`a ${kind} has all ordinals at once, recreates them by name and rolls one after the other`, async () => {
    const cluster = new TestCluster();
    const key = cluster.create(kind);
    await cluster.run(0.06);
    assert.deepEqual(cluster.names(), ["web-0", "web-1", "web-2"]);
    assert.equal(
      cluster.pod("web-0").facts.controller?.apiGroup,
      kind === "tapp" ? "apps.tkestack.io" : "example.org",
    );
    await cluster.run(2);
    cluster.check = () => assert.ok(cluster.pods().filter(isAvailable).length >= 2);
    cluster.roll(key, 2);
    await cluster.run(20);
    assert.deepEqual(revisions(cluster.pods()), [2, 2, 2]);
    evictPod(cluster.api, "ns1/web-1");
    await cluster.run(3);
    assert.ok(isAvailable(cluster.pod("web-1")));
    cluster.check = () => {};
    cluster.scale(key, 1);
    await cluster.run(5);
    assert.deepEqual(cluster.names(), ["web-0"]);
  });
}

test("what a deleted workload owned goes gracefully, and a new Deployment of its name takes none of it", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("deployment");
  await cluster.run(5);
  const before = cluster.names();
  const [oldSet] = replicaSets(cluster);
  cluster.api.remove("workloads", key);
  cluster.create("deployment");
  cluster.kubelets.stopNode("n1");
  await cluster.run(9);
  const [newSet, ...others] = replicaSets(cluster);
  assert.deepEqual(others, []);
  assert.notEqual(newSet?.uid, oldSet?.uid);
  assert.notEqual(newSet?.ref.name, oldSet?.ref.name);
  const left = cluster.pods().filter(({ facts }) => before.includes(facts.id.name));
  assert.ok(left.length > 0);
  assert.ok(left.every(({ facts }) => facts.nodeName === "n1" && facts.isTerminating));
  assert.equal(cluster.pods().filter(isAvailable).length, 3);
  cluster.kubelets.startNode("n1");
  await cluster.run(5);
  assert.equal(cluster.pods().length, 3);
});

test("a pod whose controller never existed is collected, one without a controller stays", async () => {
  const cluster = new TestCluster();
  const key = cluster.create("replicaset", { replicas: 1 });
  await cluster.run(2);
  const [pod] = cluster.pods();
  assert.ok(pod);
  const { facts } = pod;
  cluster.api.remove("workloads", key);
  await cluster.run(10);
  assert.deepEqual(cluster.names(), []);
  const bare = {
    ...facts,
    id: { namespace: "ns1", name: "bare" },
    uid: "a",
    controller: undefined,
  };
  const orphan = { ...facts, id: { namespace: "ns1", name: "orphan" }, uid: "b" };
  cluster.api.put("pods", "ns1/bare", { ...pod, facts: bare });
  cluster.api.put("pods", "ns1/orphan", { ...pod, facts: orphan });
  await cluster.run(10);
  assert.deepEqual(cluster.names(), ["bare"]);
});

/** All kinds at once with scaling, rolling, evictions and a node that dies. */
async function aBusyMinute(seed: number): Promise<TestCluster> {
  const cluster = new TestCluster({ seed, nodes: ["n1", "n2", "n3"] });
  const keys = [
    cluster.create("deployment", { maxUnavailable: 1 }),
    cluster.create("statefulset", { name: "db" }),
    cluster.create("daemonset", { name: "agent" }),
    cluster.create("job", { name: "once" }),
    cluster.create("tapp", { name: "app" }),
  ];
  for (let step = 0; step < 60; step += 1) {
    const key = keys[step % keys.length] ?? "";
    if (step % 7 === 0) cluster.scale(key, step % 5);
    if (step % 11 === 0) cluster.roll(key, step);
    if (step % 13 === 0) evictPod(cluster.api, `ns1/${cluster.names()[0]}`);
    if (step === 20) cluster.kubelets.stopNode("n2");
    if (step === 40) cluster.kubelets.startNode("n2");
    await cluster.run(1);
  }
  return cluster;
}

test("the same seed gives the same log and objects, another seed does not", async () => {
  const [first, again, other] = [await aBusyMinute(7), await aBusyMinute(7), await aBusyMinute(8)];
  assert.deepEqual(again.log, first.log);
  assert.deepEqual(again.changes, first.changes);
  assert.ok(first.log.length > 50);
  assert.notDeepEqual(other.log, first.log);
});

test("a cluster that is left alone falls silent", async () => {
  const cluster = await aBusyMinute(3);
  await cluster.run(200);
  const changes = cluster.api.revision;
  let happenings = 0;
  cluster.check = () => {
    happenings += 1;
  };
  await cluster.run(600);
  assert.equal(cluster.api.revision, changes);
  assert.equal(happenings, 0);
});

test("whatever was done to a cluster, once it is left alone each workload has the pods that it asks for", async () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const random = new Random(seed);
    const nodes = ["n1", "n2", "n3", "n4"];
    const cluster = new TestCluster({ seed, nodes });
    const keys = [
      cluster.create("deployment", { name: "a", maxUnavailable: 1 }),
      cluster.create("deployment", { name: "b", maxSurge: 0 }),
      cluster.create("statefulset", { name: "c" }),
      cluster.create("tapp", { name: "d" }),
      cluster.create("replicaset", { name: "e" }),
      cluster.create("daemonset", { name: "f" }),
    ];
    const aPod = () => (cluster.pods().length === 0 ? "" : random.pick(cluster.api.keys("pods")));
    for (let step = 1; step <= 100; step += 1) {
      const deed = random.integer(0, 7);
      if (deed <= 1) cluster.scale(random.pick(keys), random.integer(0, 6));
      if (deed === 2) cluster.roll(random.pick(keys), random.integer(1, 4));
      if (deed === 3) deletePod(cluster.api, aPod(), { force: random.chance(0.3) });
      if (deed === 4) evictPod(cluster.api, aPod());
      if (deed === 5) cluster.kubelets.stopNode(random.pick(nodes));
      if (deed === 6) cluster.kubelets.startNode(random.pick(nodes));
      if (deed === 7) {
        const key = random.pick(keys);
        const workload = cluster.api.get("workloads", key);
        cluster.api.remove("workloads", key);
        assert.ok(workload);
        cluster.create(workload.kind, { ...workload, name: workload.ref.name, uid: `new-${step}` });
      }
      await cluster.run(random.integer(0, 4_000) / 1_000);
    }
    for (const node of nodes) cluster.kubelets.startNode(node);
    await cluster.run(300);
    for (const key of keys) {
      const workload = cluster.api.get("workloads", key);
      assert.ok(workload);
      const sets = replicaSets(cluster).filter(
        ({ deployment }) => deployment === workload.ref.name && workload.kind === "deployment",
      );
      const owners = new Set([workload, ...sets].map(({ uid }) => uid));
      const pods = cluster.pods().filter(({ facts }) => owners.has(facts.controller?.uid ?? ""));
      const text = `seed ${seed}, ${key}`;
      assert.equal(
        pods.length,
        workload.kind === "daemonset" ? nodes.length : workload.replicas,
        text,
      );
      for (const pod of pods) {
        assert.ok(isAvailable(pod), text);
        if (workload.kind !== "replicaset") {
          assert.equal(pod.revision, workload.template.revision, text);
        }
      }
    }
    const owned = cluster.api.list("workloads").map(({ uid }) => uid);
    assert.ok(
      cluster.pods().every(({ facts }) => owned.includes(facts.controller?.uid ?? "")),
      `seed ${seed}`,
    );
  }
});
