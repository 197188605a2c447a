// Deployments on a real control plane: what each release policy promises through rollouts, scaling, deletion and recreation.
// StatefulSets, pools and single pods are in the files beside it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { type Deployment, deployments, type Pod, pods } from "../control-plane/kinds.ts";
import { aDeployment, type WorkloadWish } from "../control-plane/manifests.ts";
import {
  addressesOf,
  addressOf,
  holderOf,
  isReservation,
  waitForEvent,
  waitForNoRecords,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();

/** The strategy that the documents recommend for a fixed set of addresses. */
const oneAfterTheOther = {
  strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
};

describe("Deployments on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster();
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "default" });
  const create = async (wish: WorkloadWish): Promise<readonly Pod[]> => {
    await api.create(aDeployment(wish));
    return cluster.readyPods(wish.name, wish.replicas ?? 1);
  };
  const scale = async (name: string, replicas: number): Promise<readonly Pod[]> => {
    await api.scale(deployments, at(name), replicas);
    return cluster.readyPods(name, replicas);
  };
  /** Rolls all pods over and waits until none of the old ones is left. */
  const roll = async (name: string, replicas: number): Promise<readonly Pod[]> => {
    await api.restartWorkload(deployments, at(name));
    await api.waitForOne(`the rollout of ${name}`, deployments, at(name), isRolledOut);
    return cluster.readyPods(name, replicas);
  };
  const remove = async (name: string): Promise<void> => {
    await api.delete(deployments, at(name));
    await api.waitFor(`no pods of ${name}`, podsOf("default", name), (left) => left.length === 0);
  };
  /** The records of a Deployment are exactly those of these pods. */
  const recordsAreThoseOf = async (name: string, living: readonly Pod[]): Promise<void> => {
    const keys = living
      .map((pod) => `dp_default_${name}_${pod.metadata.name} ${floatIpsOf(pod).join()}`)
      .toSorted();
    await waitForRecords(
      api,
      `exactly the records of ${living.length} pods`,
      `dp_default_${name}_`,
      (records) =>
        records
          .map((record) => `${record.spec.key} ${addressOf(record)}`)
          .toSorted()
          .join() === keys.join(),
    );
  };

  test("case 90, case 70: without a policy a rollout surges freely and addresses go with their pods", async () => {
    const name = "plain";
    const surging = {
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    };
    const first = await create({ name, replicas: 2, spec: surging });
    await recordsAreThoseOf(name, first);
    const rolled = await roll(name, 2);
    assert.equal(
      rolled.some((pod) => first.some(({ metadata }) => metadata.uid === pod.metadata.uid)),
      false,
    );
    await recordsAreThoseOf(name, rolled);
    await recordsAreThoseOf(name, await scale(name, 6));
    await recordsAreThoseOf(name, await scale(name, 1));
    await waitForCleanAudit(api);
    await scale(name, 0);
    await waitForNoRecords(api, `dp_default_${name}_`);
    await scale(name, 2);
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
    await waitForCleanAudit(api);
  });

  test("case 40: a policy spelled otherwise counts as none", async () => {
    const [pod] = await create({ name: "capital", policy: "Immutable" });
    const records = await waitForRecords(
      api,
      "its record",
      "dp_default_capital_",
      (seen) => seen.length === 1,
    );
    assert.equal(records[0]?.spec.policy, 0);
    assert.equal(addressOf(records[0] as never), floatIpsOf(pod as Pod)[0]);
    await remove("capital");
    await waitForNoRecords(api, "dp_default_capital_");
  });

  test("case 81, case 84: an immutable Deployment rolls within its addresses and gives back what it does not need", async () => {
    const name = "keeper";
    const first = await create({ name, replicas: 4, policy: "immutable", spec: oneAfterTheOther });
    const four = addressesOf(first);
    assert.equal(new Set(four).size, 4);
    const rolled = await roll(name, 4);
    assert.deepEqual(addressesOf(rolled), four);
    await recordsAreThoseOf(name, rolled);
    const six = addressesOf(await scale(name, 6));
    assert.ok(four.every((ip) => six.includes(ip)));
    const three = await scale(name, 3);
    await recordsAreThoseOf(name, three);
    const one = await scale(name, 1);
    await recordsAreThoseOf(name, one);
    await waitForCleanAudit(api);
    await scale(name, 0);
    await waitForNoRecords(api, `dp_default_${name}_`);
    await scale(name, 2);
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
    await recordsAreThoseOf(name, await create({ name, replicas: 2, policy: "immutable" }));
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
    await waitForCleanAudit(api);
  });

  test("case 70, case 81: the address of a deleted immutable pod waits for its successor", async () => {
    const name = "phoenix";
    const [old] = await create({ name, policy: "immutable" });
    const [ip] = floatIpsOf(old as Pod);
    await cluster.plane.stopScheduler();
    try {
      await api.delete(pods, at(old?.metadata.name ?? ""));
      const [reserved] = await waitForRecords(
        api,
        "the address to be kept for the workload",
        `dp_default_${name}_`,
        (records) => records.length === 1 && records.every(isReservation),
      );
      assert.equal(reserved?.spec.key, `dp_default_${name}_`);
      assert.equal(reserved?.spec.policy, 1);
      assert.deepEqual(holderOf(reserved as never), { NodeName: "", Uid: "" });
      assert.equal(addressOf(reserved as never), ip);
      await waitForCleanAudit(api);
    } finally {
      await cluster.plane.startScheduler({ extenderUrl: cluster.ipam().url });
    }
    const successors = await cluster.readyPods(name, 1);
    assert.deepEqual(addressesOf(successors), [ip]);
    await recordsAreThoseOf(name, successors);
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
  });

  test("case 86: with never the addresses outlive scaling down and the Deployment, and come back to it", async () => {
    const name = "steady";
    const wish = { name, replicas: 3, policy: "never", spec: oneAfterTheOther };
    const three = addressesOf(await create(wish));
    assert.deepEqual(addressesOf(await roll(name, 3)), three);
    const areKept = async (reservedCount: number) => {
      const records = await waitForRecords(
        api,
        `${reservedCount} of 3 records to be reservations`,
        `dp_default_${name}_`,
        (seen) => seen.length === 3 && seen.filter(isReservation).length === reservedCount,
      );
      assert.deepEqual(records.map(addressOf).toSorted(), three);
      assert.ok(records.every(({ spec }) => spec.policy === 2));
      for (const { spec } of records.filter(isReservation)) {
        assert.equal(spec.key, `dp_default_${name}_`);
      }
    };
    await scale(name, 1);
    await areKept(2);
    await waitForCleanAudit(api);
    assert.deepEqual(addressesOf(await scale(name, 3)), three);
    await scale(name, 0);
    await areKept(3);
    await remove(name);
    await areKept(3);
    assert.deepEqual(addressesOf(await create(wish)), three);
    await areKept(0);
    const five = addressesOf(await scale(name, 5));
    assert.ok(three.every((ip) => five.includes(ip)));
    await waitForCleanAudit(api);
    await remove(name);
    await waitForRecords(
      api,
      "5 reservations",
      `dp_default_${name}_`,
      (seen) => seen.length === 5 && seen.every(isReservation),
    );
    await waitForCleanAudit(api);
  });

  test("case 82: a rollout that waits for ever is said on the Deployment, the pod, to the scheduler and in a metric, and can be healed", async () => {
    const name = "stuck";
    const old = await create({ name, replicas: 2, policy: "immutable" });
    const two = addressesOf(old);
    const metric = () => cluster.ipam().metric("galaxy_rollout_deadlocks_total");
    const countBefore = (await metric()) ?? 0;
    await api.restartWorkload(deployments, at(name));
    const all = await api.waitFor(
      "a third pod that waits",
      podsOf("default", name),
      (seen) => seen.length === 3,
    );
    const waiting = all.find((pod) => !isReady(pod)) as Pod;
    const said =
      /rolling update of Deployment default\/stuck waits for ever.*maxSurge: 0 and maxUnavailable: 1/;
    const onWorkload = await waitForEvent(api, { kind: "Deployment", name }, said);
    assert.equal(onWorkload.type, "Warning");
    assert.equal(onWorkload.reason, "RolloutDeadlock");
    const onPod = await waitForEvent(api, { kind: "Pod", name: waiting.metadata.name }, said);
    assert.equal(onPod.type, "Warning");
    const filterSays =
      /deployment stuck has allocated 2 ips with replicas of 2, wait for releasing.*maxSurge: 0/;
    await waitForEvent(api, { kind: "Pod", name: waiting.metadata.name }, filterSays);
    await waitUntil("the metric to count", metric, (count) => (count ?? 0) > countBefore);
    await waitForCleanAudit(api);
    await api.patch(deployments, at(name), { spec: oneAfterTheOther });
    await api.waitForOne("the healed rollout", deployments, at(name), isRolledOut);
    const rolled = await cluster.readyPods(name, 2);
    assert.deepEqual(addressesOf(rolled), two);
    assert.equal(
      rolled.some((pod) => old.some(({ metadata }) => metadata.uid === pod.metadata.uid)),
      false,
    );
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
  });

  test("four replicas roll with the default strategy, because one pod may be unavailable", async () => {
    const name = "quartet";
    const four = addressesOf(await create({ name, replicas: 4, policy: "never" }));
    assert.deepEqual(addressesOf(await roll(name, 4)), four);
    await remove(name);
  });

  test("case 28: the key of a Deployment with a name of 63 characters has the whole name", async () => {
    const name = `d${"0123456789".repeat(6)}42`;
    assert.equal(name.length, 63);
    const [pod] = await create({ name, policy: "immutable" });
    const [record] = await waitForRecords(
      api,
      "its record",
      `dp_default_${name}_`,
      (seen) => seen.length === 1,
    );
    assert.equal(record?.spec.key, `dp_default_${name}_${pod?.metadata.name}`);
    await remove(name);
    await waitForNoRecords(api, `dp_default_${name}_`);
  });
});

function isRolledOut({ metadata, spec, status }: Deployment): boolean {
  return (
    status.observedGeneration === metadata.generation &&
    status.updatedReplicas === spec.replicas &&
    status.replicas === spec.replicas &&
    status.availableReplicas === spec.replicas
  );
}
