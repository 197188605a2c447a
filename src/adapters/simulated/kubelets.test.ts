// What becomes of pods on nodes that work, fall silent, come back or are removed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "../../../test/simulated-cluster.ts";
import { isAvailable } from "./controllers/workplace.ts";
import { nodeGraceMs, notReadyTolerationMs } from "./kubelets.ts";
import { deletePod, evictPod } from "./pod-verbs.ts";

async function aStatefulSet(): Promise<{ cluster: TestCluster; nodeName: string; uid: string }> {
  const cluster = new TestCluster();
  cluster.create("statefulset", { replicas: 1 });
  await cluster.run(2);
  const { nodeName, uid } = cluster.pod("web-0").facts;
  return { cluster, nodeName, uid };
}

test("a bound pod becomes Running and ready within half a second, an unbound one never", async () => {
  const cluster = new TestCluster();
  cluster.unschedulable = /web-1$/;
  cluster.create("tapp");
  await cluster.run(0.6);
  const states = ["web-0", "web-1", "web-2"].map((name) => {
    const { isReady, facts } = cluster.pod(name);
    return `${facts.phase} ${isReady}`;
  });
  assert.deepEqual(states, ["Running true", "Pending false", "Running true"]);
});

test("a deleted pod is terminating until its kubelet has stopped it, within two seconds", async () => {
  const { cluster, uid } = await aStatefulSet();
  assert.equal(deletePod(cluster.api, "ns1/web-0"), "terminating");
  assert.equal(deletePod(cluster.api, "ns1/web-0"), "already terminating");
  assert.equal(cluster.pod("web-0").deletedAtMs, cluster.timeline.nowMs());
  assert.equal(cluster.pod("web-0").facts.isTerminating, true);
  await cluster.run(2.1);
  assert.notEqual(cluster.pod("web-0").facts.uid, uid);
  assert.equal(deletePod(cluster.api, "ns1/web-9"), "absent");
});

test("unbound and finished pods are gone at once when they are deleted, and any pod by force", async () => {
  const cluster = new TestCluster();
  cluster.unschedulable = /web-1$/;
  cluster.create("tapp");
  await cluster.run(1);
  assert.ok(evictPod(cluster.api, "ns1/web-0"));
  assert.equal(evictPod(cluster.api, "ns1/web-0"), false);
  assert.equal(deletePod(cluster.api, "ns1/web-0"), "removed");
  assert.equal(deletePod(cluster.api, "ns1/web-1"), "removed");
  assert.equal(deletePod(cluster.api, "ns1/web-2", { force: true }), "removed");
  assert.deepEqual(cluster.names(), []);
});

test("a pod that was marked for deletion by others while unbound, or evicted while it stops, goes too", async () => {
  const cluster = new TestCluster();
  cluster.unschedulable = /web-1$/;
  const key = cluster.create("tapp", { replicas: 2 });
  await cluster.run(1);
  cluster.api.remove("workloads", key);
  deletePod(cluster.api, "ns1/web-0");
  evictPod(cluster.api, "ns1/web-0");
  const unbound = cluster.pod("web-1");
  cluster.api.put("pods", "ns1/web-1", { ...unbound, deletedAtMs: cluster.timeline.nowMs() });
  await cluster.run(0.001);
  assert.deepEqual(cluster.names(), []);
});

test("a pod on a silent node becomes unready and is marked, but floats only when the node is back", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(nodeGraceMs / 1_000 - 0.1);
  assert.ok(isAvailable(cluster.pod("web-0")));
  await cluster.run(0.2);
  assert.equal(cluster.pod("web-0").isReady, false);
  assert.equal(cluster.pod("web-0").facts.isTerminating, false);
  await cluster.run(notReadyTolerationMs / 1_000);
  assert.equal(cluster.pod("web-0").facts.isTerminating, true);
  await cluster.run(600);
  assert.equal(cluster.pod("web-0").facts.uid, uid);
  cluster.kubelets.startNode(nodeName);
  await cluster.run(4);
  assert.notEqual(cluster.pod("web-0").facts.uid, uid);
  assert.ok(isAvailable(cluster.pod("web-0")));
});

test("a pod on a silent node floats at once when it is deleted by force", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  deletePod(cluster.api, "ns1/web-0", { force: true });
  await cluster.run(2);
  assert.notEqual(cluster.pod("web-0").facts.uid, uid);
  assert.notEqual(cluster.pod("web-0").facts.nodeName, nodeName);
  // What becomes of the silent node is no longer the pod's affair.
  cluster.check = () => assert.ok(isAvailable(cluster.pod("web-0")));
  await cluster.run(60);
});

test("a pod that is being deleted when its node falls silent stays until the node is back", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  deletePod(cluster.api, "ns1/web-0");
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(60);
  assert.equal(cluster.pod("web-0").facts.uid, uid);
  cluster.kubelets.startNode(nodeName);
  await cluster.run(4);
  assert.notEqual(cluster.pod("web-0").facts.uid, uid);
});

test("a node that is back before the tolerations end keeps its pods, and they become ready again", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(12);
  cluster.kubelets.startNode(nodeName);
  await cluster.run(20);
  assert.equal(cluster.pod("web-0").facts.uid, uid);
  assert.ok(isAvailable(cluster.pod("web-0")));
});

test("a node that falls silent twice is counted from the second time", async () => {
  const { cluster, nodeName } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(6);
  cluster.kubelets.startNode(nodeName);
  await cluster.run(1);
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(9);
  assert.ok(isAvailable(cluster.pod("web-0")));
  await cluster.run(2);
  assert.equal(cluster.pod("web-0").isReady, false);
});

test("a pod that is bound to a node that is already not ready does not start and is marked later", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  await cluster.run(12);
  deletePod(cluster.api, "ns1/web-0", { force: true });
  cluster.unschedulable = /./;
  await cluster.run(1);
  const pod = cluster.pod("web-0");
  assert.notEqual(pod.facts.uid, uid);
  cluster.api.put("pods", "ns1/web-0", { ...pod, facts: { ...pod.facts, nodeName } });
  await cluster.run(4.9);
  assert.equal(cluster.pod("web-0").deletedAtMs, undefined);
  await cluster.run(0.2);
  assert.equal(cluster.pod("web-0").facts.phase, "Pending");
  assert.equal(cluster.pod("web-0").facts.isTerminating, true);
});

test("DaemonSet pods tolerate a silent node", async () => {
  const cluster = new TestCluster();
  cluster.create("daemonset");
  await cluster.run(1);
  const uids = () => cluster.pods().map(({ facts }) => facts.uid);
  const before = uids();
  cluster.kubelets.stopNode("n1");
  await cluster.run(100);
  assert.deepEqual(uids(), before);
  assert.ok(cluster.pods().every(({ deletedAtMs }) => deletedAtMs === undefined));
  assert.equal(cluster.pods().filter(isAvailable).length, 1);
});

test("the pods of a removed node fail and go, unless the node is back in time", async () => {
  const { cluster, nodeName, uid } = await aStatefulSet();
  cluster.kubelets.stopNode(nodeName);
  const node = cluster.api.get("nodes", nodeName);
  assert.ok(node);
  cluster.api.remove("nodes", nodeName);
  await cluster.run(0.5);
  cluster.api.put("nodes", nodeName, { ...node, isUp: true });
  await cluster.run(30);
  assert.equal(cluster.pod("web-0").facts.uid, uid);
  const phases: (string | undefined)[] = [];
  cluster.api.listeners.add((change) => {
    if (change.collection === "pods" && change.before?.facts.uid === uid) {
      phases.push(change.value?.facts.phase);
    }
  });
  cluster.api.remove("nodes", nodeName);
  await cluster.run(30);
  assert.deepEqual(phases, ["Failed", undefined]);
  assert.ok(isAvailable(cluster.pod("web-0")));
});
