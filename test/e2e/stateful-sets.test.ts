// StatefulSets on a real control plane: each ordinal keeps its address as its policy promises, also when its node dies.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady, podsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { nodes, type Pod, pods, type StatefulSet, statefulSets } from "../control-plane/kinds.ts";
import { aNamespace, aStatefulSet, type WorkloadWish } from "../control-plane/manifests.ts";
import {
  addressByPod,
  addressOf,
  holderOf,
  isReservation,
  waitForNoRecords,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();

describe("StatefulSets on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster({
      // Nodes are made to say that they are not ready; one that is only slow to send its heartbeat must not lose its pods.
      plane: { nodeMonitorGraceMs: 12_000, tolerationSeconds: 1 },
      simulation: { heartbeatMs: 1_000 },
      nodes: [
        { name: "a1", internalIp: "10.49.27.1" },
        { name: "a2", internalIp: "10.49.27.2" },
        { name: "b1", internalIp: "10.173.13.1" },
        { name: "b2", internalIp: "10.173.13.2" },
      ],
    });
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "default" });
  const create = async (wish: WorkloadWish): Promise<readonly Pod[]> => {
    await api.create(aStatefulSet(wish));
    return cluster.readyPods(wish.name, wish.replicas ?? 1);
  };
  const scale = async (name: string, replicas: number): Promise<readonly Pod[]> => {
    await api.scale(statefulSets, at(name), replicas);
    return cluster.readyPods(name, replicas);
  };
  const remove = async (name: string): Promise<void> => {
    await api.delete(statefulSets, at(name));
    await api.waitFor(`no pods of ${name}`, podsOf("default", name), (left) => left.length === 0);
  };
  const keysAre = (name: string, keys: readonly string[]) =>
    waitForRecords(
      api,
      `the keys ${keys.join(", ")}`,
      `sts_default_${name}_`,
      (records) =>
        records
          .map(({ spec }) => spec.key)
          .toSorted()
          .join() === keys.join(),
    );

  test("case 71: without a policy an ordinal's address goes with its pod", async () => {
    const name = "loose";
    await create({ name, replicas: 2 });
    await keysAre(name, ["sts_default_loose_loose-0", "sts_default_loose_loose-1"]);
    await scale(name, 1);
    await keysAre(name, ["sts_default_loose_loose-0"]);
    await waitForCleanAudit(api);
    await remove(name);
    await waitForNoRecords(api, "sts_default_loose_");
  });

  test("case 71, case 85: an immutable StatefulSet keeps the address of each ordinal it has, and gives back those beyond", async () => {
    const name = "db";
    const first = addressByPod(await create({ name, replicas: 3, policy: "immutable" }));
    assert.equal(new Set(Object.values(first)).size, 3);
    await api.restartWorkload(statefulSets, at(name));
    await api.waitForOne("the rollout", statefulSets, at(name), isRolledOut);
    const rolled = await cluster.readyPods(name, 3);
    assert.deepEqual(addressByPod(rolled), first);
    const uids = rolled.map(({ metadata }) => metadata.uid);
    await api.deleteAll(podsOf("default", name));
    const again = await api.waitFor(
      "three other pods",
      podsOf("default", name),
      (seen) =>
        seen.length === 3 && seen.every((pod) => isReady(pod) && !uids.includes(pod.metadata.uid)),
    );
    assert.deepEqual(addressByPod(again), first);
    await waitForCleanAudit(api);
    await scale(name, 1);
    const [left] = await keysAre(name, ["sts_default_db_db-0"]);
    assert.equal(addressOf(left as never), first["db-0"]);
    assert.equal(left?.spec.policy, 1);
    assert.equal(addressByPod(await scale(name, 3))["db-0"], first["db-0"]);
    await waitForCleanAudit(api);
    await scale(name, 0);
    await waitForNoRecords(api, "sts_default_db_");
    await scale(name, 1);
    await remove(name);
    await waitForNoRecords(api, "sts_default_db_");
    await waitForCleanAudit(api);
  });

  test("case 85: an address kept for an ordinal without pod goes when the set is scaled below it", async () => {
    const name = "sleepy";
    await create({ name, replicas: 2, policy: "immutable" });
    await cluster.plane.stopScheduler();
    try {
      await api.delete(pods, at("sleepy-1"));
      await waitForRecords(
        api,
        "the address of sleepy-1 to be kept",
        "sts_default_sleepy_sleepy-1",
        (records) => records.length === 1 && records.every(isReservation),
      );
      await api.scale(statefulSets, at(name), 1);
      await keysAre(name, ["sts_default_sleepy_sleepy-0"]);
    } finally {
      await cluster.plane.startScheduler({ extenderUrl: cluster.ipam().url });
    }
    await remove(name);
    await waitForNoRecords(api, "sts_default_sleepy_");
  });

  test("case 86: with never each ordinal finds its address again after scaling down and after recreation", async () => {
    const name = "rock";
    const wish = { name, replicas: 3, policy: "never" };
    const first = addressByPod(await create(wish));
    const keys = ["rock-0", "rock-1", "rock-2"].map((pod) => `sts_default_rock_${pod}`);
    await scale(name, 1);
    await waitForRecords(
      api,
      "two reservations",
      "sts_default_rock_",
      (records) => records.length === 3 && records.filter(isReservation).length === 2,
    );
    await waitForCleanAudit(api);
    assert.deepEqual(addressByPod(await scale(name, 3)), first);
    await remove(name);
    const kept = await waitForRecords(
      api,
      "three reservations",
      "sts_default_rock_",
      (records) => records.length === 3 && records.every(isReservation),
    );
    assert.deepEqual(kept.map(({ spec }) => spec.key).toSorted(), keys);
    for (const record of kept) {
      assert.equal(record.spec.policy, 2);
      assert.deepEqual(holderOf(record), { NodeName: "", Uid: "" });
    }
    assert.deepEqual(addressByPod(await create(wish)), first);
    await waitForCleanAudit(api);
    await remove(name);
  });

  test("case 31: equal names in two namespaces are two owners", async () => {
    await api.create(aNamespace("ns1"));
    await api.create(aNamespace("ns2"));
    for (const namespace of ["ns1", "ns2"]) {
      await api.create(aStatefulSet({ name: "same", namespace, policy: "immutable" }));
    }
    const ips = [];
    for (const namespace of ["ns1", "ns2"]) {
      const pod = await api.waitForOne(
        `same-0 in ${namespace}`,
        pods,
        { name: "same-0", namespace },
        (seen) => seen.status.phase === "Running",
      );
      ips.push(...floatIpsOf(pod));
      const [record] = await waitForRecords(
        api,
        "its record",
        `sts_${namespace}_same_same-0`,
        (records) => records.length === 1,
      );
      assert.equal(addressOf(record as never), floatIpsOf(pod)[0]);
    }
    assert.equal(new Set(ips).size, 2);
    await waitForCleanAudit(api);
    await api.delete(statefulSets, { name: "same", namespace: "ns1" });
    await waitForNoRecords(api, "sts_ns1_same_");
    await waitForRecords(api, "the other to stay", "sts_ns2_same_", (seen) => seen.length === 1);
    await api.delete(statefulSets, { name: "same", namespace: "ns2" });
    await waitForNoRecords(api, "sts_ns2_same_");
  });

  for (const policy of ["immutable", "never"]) {
    test(`case 88: with ${policy} a pod whose node died floats to another node of its subnet with its address`, async () => {
      const name = `floater-${policy}`;
      const [pod] = await create({
        name,
        policy,
      });
      const [ip] = floatIpsOf(pod as Pod);
      const dead = pod?.spec.nodeName as string;
      const podName = `${name}-0`;
      const key = `sts_default_${name}_${podName}`;
      await cluster.nodes.stopNode(dead, { lastWord: "not-ready" });
      await api.waitForOne(
        "the pod to be evicted",
        pods,
        at(podName),
        (seen) => seen.metadata.deletionTimestamp !== undefined,
      );
      // Its kubelet cannot end it, and until somebody says so the pod may still run: nobody else has its address.
      const [held] = await waitForRecords(api, "its record", key, (seen) => seen.length === 1);
      assert.equal(holderOf(held as never).Uid, pod?.metadata.uid);
      await api.delete(pods, at(podName), { gracePeriodSeconds: 0, uid: pod?.metadata.uid ?? "" });
      const [moved] = await api.waitFor(
        "the pod to run elsewhere",
        podsOf("default", name),
        (seen) =>
          seen.length === 1 &&
          seen[0]?.metadata.uid !== pod?.metadata.uid &&
          seen[0]?.status.phase === "Running",
      );
      assert.deepEqual(floatIpsOf(moved as Pod), [ip]);
      assert.notEqual(moved?.spec.nodeName, dead);
      assert.equal(moved?.spec.nodeName?.[0], dead[0], "a node of the same subnet");
      const [record] = await waitForRecords(api, "its record", key, (seen) => seen.length === 1);
      assert.deepEqual(holderOf(record as never), {
        NodeName: moved?.spec.nodeName,
        Uid: moved?.metadata.uid,
      });
      await waitForCleanAudit(api);
      await cluster.nodes.startNode(dead);
      await remove(name);
      if (policy === "immutable") await waitForNoRecords(api, key);
    });
  }

  test("case 88: when no other node of the subnet is left the pod waits and is told why", async () => {
    const name = "lonely";
    const [pod] = await create({ name, policy: "immutable" });
    const [ip] = floatIpsOf(pod as Pod);
    const letter = pod?.spec.nodeName?.[0];
    const home = [`${letter}1`, `${letter}2`];
    for (const node of home) {
      await api.patch(nodes, { name: node }, { spec: { unschedulable: true } });
    }
    await api.delete(pods, at("lonely-0"));
    await api.waitForOne("the pod to be told", pods, at("lonely-0"), (seen) =>
      (seen.status.conditions ?? []).some(
        ({ type, message = "" }) =>
          type === "PodScheduled" &&
          message.includes("FloatingIPPlugin:NoFIPLeft") &&
          message.includes(`pod default/lonely-0 has ${ip}, which nodes of`),
      ),
    );
    await waitForCleanAudit(api);
    for (const node of home) {
      await api.patch(nodes, { name: node }, { spec: { unschedulable: null } });
    }
    const [back] = await cluster.readyPods(name, 1);
    assert.deepEqual(floatIpsOf(back as Pod), [ip]);
    await remove(name);
    await waitForNoRecords(api, "sts_default_lonely_");
  });
});

function isRolledOut({ metadata, spec, status }: StatefulSet): boolean {
  return (
    status.observedGeneration === metadata.generation &&
    status.updatedReplicas === spec.replicas &&
    status.readyReplicas === spec.replicas &&
    status.currentRevision === status.updateRevision
  );
}
