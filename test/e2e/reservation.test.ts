// Addresses that the administrator takes out of allocation, on a real control plane.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { floatIpsOf, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { deployments, type FloatingIp, floatingIps, pods } from "../control-plane/kinds.ts";
import {
  aDeployment,
  aFloatingIp,
  aPod,
  type FloatingIpEntry,
} from "../control-plane/manifests.ts";
import { addressesOf, waitForRecords } from "../control-plane/records.ts";

const skip = await reasonToSkip();
const threeAddresses = [
  { ...(twoSubnets[1] as FloatingIpEntry), ips: ["10.173.80.2~10.173.80.4"] },
];
const all = ["10.173.80.2", "10.173.80.3", "10.173.80.4"];

describe("addresses reserved by the administrator", { skip }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({ floatingips: threeAddresses });
  });

  after(async () => {
    await cluster?.stop();
  });

  const adminCount = () =>
    cluster.ipam().metric("galaxy_ip_counter", {
      type: "admin",
      subnet: "10.173.80.0/24",
      first_ip: "10.173.80.2",
    });

  async function untilSeen(count: number): Promise<void> {
    await waitUntil("the reservation to be seen", adminCount, (seen) => seen === count, {
      everyMs: 20,
    });
  }

  async function readyCount(app: string, count: number): Promise<readonly string[]> {
    const seen = await cluster.api.waitFor(
      `${count} ready pods of ${app}`,
      podsOf("default", app),
      (items) => items.filter(isReady).length === count,
    );
    return addressesOf(seen.filter(isReady));
  }

  async function removeAll(app: string): Promise<void> {
    const { api } = cluster;
    await api.delete(deployments, { name: app, namespace: "default" });
    await api.waitFor("its pods to be gone", podsOf("default", app), ({ length }) => length === 0);
  }

  async function resyncs(count: number): Promise<void> {
    const done = () => cluster.ipam().metric("galaxy_resync_duration_seconds_count");
    const before = (await done()) ?? 0;
    await waitUntil(`${count} resyncs`, done, (now) => (now ?? 0) >= before + count);
  }

  test("case 106: a record with the label takes its address out of allocation until it is deleted, also over a restart", async () => {
    const { api } = cluster;
    await api.create(
      aFloatingIp({ ip: "10.173.80.3", isReserved: true, labels: { reserved: "" } }),
    );
    await untilSeen(1);
    await api.create(aDeployment({ name: "around", replicas: 3 }));
    assert.deepEqual(await readyCount("around", 2), ["10.173.80.2", "10.173.80.4"]);
    const before = await api.get(floatingIps, { name: "10.173.80.3" });
    assert.ok(before);
    assert.equal(before.spec.key, "pool__reserved-for-node_");
    await cluster.restartIpam("SIGKILL");
    await resyncs(2);
    assert.deepEqual(await api.get(floatingIps, { name: "10.173.80.3" }), before);
    assert.equal((await api.list(podsOf("default", "around"))).filter(isReady).length, 2);
    await api.delete(floatingIps, { name: "10.173.80.3" });
    await untilSeen(0);
    await cluster.nodes.nudgeScheduler();
    assert.deepEqual(await readyCount("around", 3), all);
    await waitForCleanAudit(api);
    await removeAll("around");
    await waitForCleanAudit(api);
  });

  test("case 107: the documented manifest works as it stands", async () => {
    const { api } = cluster;
    await api.create<FloatingIp>({
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "FloatingIP",
      metadata: {
        name: "10.173.80.2",
        labels: { ipType: "internalIP", reserved: "this-is-not-for-pods" },
      },
      spec: { key: "pool__reserved-for-node_", policy: 2 },
    });
    await untilSeen(1);
    await api.create(aDeployment({ name: "documented", replicas: 3 }));
    assert.deepEqual(await readyCount("documented", 2), ["10.173.80.3", "10.173.80.4"]);
    await removeAll("documented");
    await api.delete(floatingIps, { name: "10.173.80.2" });
    await untilSeen(0);
  });

  test("a label put on the record of a running pod leaves the pod alone, and keeps the address when the pod goes", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "labelled" }));
    const [pod] = await cluster.readyPods("labelled", 1);
    assert.ok(pod);
    const [name] = floatIpsOf(pod) as [string];
    await api.patch(floatingIps, { name }, { metadata: { labels: { reserved: "yes" } } });
    await untilSeen(1);
    assert.deepEqual(
      floatIpsOf((await cluster.readyPods("labelled", 1))[0] ?? pod),
      [name],
      "the pod keeps it",
    );
    await api.delete(pods, { name: "labelled", namespace: "default" });
    await api.waitForGone(pods, { name: "labelled", namespace: "default" });
    await resyncs(2);
    assert.ok(await api.get(floatingIps, { name }), "the reservation stays");
    await api.create(aDeployment({ name: "others", replicas: 3 }));
    const others = await readyCount("others", 2);
    assert.ok(!others.includes(name), `${name} is among ${others.join(", ")}`);
    // The label goes: what is left is a record of a pod that is gone, so that its address is free again.
    await api.patch(floatingIps, { name }, { metadata: { labels: { reserved: null } } });
    await untilSeen(0);
    await cluster.nodes.nudgeScheduler();
    assert.deepEqual(await readyCount("others", 3), all);
    await waitForCleanAudit(api);
    await removeAll("others");
  });

  test("a label taken off while the pod runs gives the record back to the pod", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "relabelled" }));
    const [pod] = await cluster.readyPods("relabelled", 1);
    assert.ok(pod);
    const [name] = floatIpsOf(pod) as [string];
    await api.patch(floatingIps, { name }, { metadata: { labels: { reserved: "yes" } } });
    await untilSeen(1);
    await api.patch(floatingIps, { name }, { metadata: { labels: { reserved: null } } });
    await untilSeen(0);
    await waitForCleanAudit(api);
    await api.delete(pods, { name: "relabelled", namespace: "default" });
    await waitForRecords(api, "the address to be released", "", ({ length }) => length === 0);
  });

  test("case 108, D-5: resync releases no reservation, even when its key looks like that of a dead pod", async () => {
    const { api } = cluster;
    const keys = {
      "10.173.80.2": "dp_default_dead_dead-6f5d9-abcde",
      "10.173.80.3": "sts_default_dead_dead-0",
      "10.173.80.4": "NULL_default_NULL_dead",
    };
    for (const [ip, key] of Object.entries(keys)) {
      await api.create(
        aFloatingIp({ ip, key, policy: 0, podUid: "dead", nodeName: "b1", isReserved: true }),
      );
    }
    await untilSeen(3);
    const before = await api.list({ kind: floatingIps });
    await resyncs(2);
    await cluster.restartIpam("SIGTERM");
    await resyncs(1);
    assert.deepEqual(await api.list({ kind: floatingIps }), before);
    await api.deleteAll({ kind: floatingIps });
    await untilSeen(0);
  });
});
