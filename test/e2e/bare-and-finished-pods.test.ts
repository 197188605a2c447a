// Pods without a workload, of bare ReplicaSets and of Jobs, and pods that finish or are evicted, on a real control plane.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady, podsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  customKind,
  deployments,
  type Manifest,
  type Pod,
  pods,
  replicaSets,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  aDeployment,
  aPod,
  aPodTemplate,
  aStatefulSet,
  aWorkload,
  FLOAT_IP_RESOURCE,
  POLICY_ANNOTATION,
} from "../control-plane/manifests.ts";
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

const jobs = customKind("batch/v1", "Job", "jobs");

describe("single and finished pods on a real control plane", { skip }, () => {
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
  const running = (name: string): Promise<Pod> =>
    api.waitForOne(`${name} to run`, pods, at(name), isReady);
  const deletePod = async (name: string): Promise<void> => {
    await api.delete(pods, at(name));
    await api.waitForGone(pods, at(name));
  };
  const oneRecord = (what: string, key: string) =>
    waitForRecords(api, what, key, (seen) => seen.length === 1 && seen[0]?.spec.key === key);
  const oneReservation = (key: string) =>
    waitForRecords(
      api,
      "one reservation",
      key,
      (seen) => seen.length === 1 && seen[0]?.spec.key === key && seen.every(isReservation),
    );

  test("case 26: a bare pod without policy has its address as long as it lives", async () => {
    await api.create(aPod({ name: "solo" }));
    const pod = await running("solo");
    const [record] = await oneRecord("its record", "NULL_default_NULL_solo");
    assert.equal(addressOf(record as never), floatIpsOf(pod)[0]);
    assert.deepEqual(holderOf(record as never), {
      NodeName: pod.spec.nodeName,
      Uid: pod.metadata.uid,
    });
    assert.equal(record?.spec.policy, 0);
    await waitForCleanAudit(api);
    await deletePod("solo");
    await waitForNoRecords(api, "NULL_default_NULL_solo");
  });

  test("case 42: never keeps the address of a bare pod whose name ends in a number", async () => {
    await api.create(aPod({ name: "keep-0", policy: "never" }));
    const ips = floatIpsOf(await running("keep-0"));
    await deletePod("keep-0");
    const [kept] = await oneReservation("NULL_default_NULL_keep-0");
    assert.equal(kept?.spec.policy, 2);
    await waitForCleanAudit(api);
    await api.create(aPod({ name: "keep-0", policy: "never" }));
    assert.deepEqual(floatIpsOf(await running("keep-0")), ips);
    await deletePod("keep-0");
  });

  test("case 42: policies that cannot be kept are refused with what is missing, on the pod", async () => {
    const word =
      "pod name doesn't match '\\.\\*-\\[0-9\\]\\*\\$', assume its parent is not a stateful workload";
    const cases = [
      { name: "b", policy: "immutable", text: word },
      { name: "c", policy: "never", text: word },
      { name: "b-0", policy: "immutable", text: "parent workload has no replicas" },
    ];
    for (const { name, policy, text } of cases) {
      await api.create(aPod({ name, policy }));
      const said = new RegExp(`release policy ${policy} is not supported for pod ${name}: ${text}`);
      const event = await waitForEvent(api, { kind: "Pod", name }, said);
      assert.equal(event.type, "Warning");
      assert.equal((await api.get(pods, at(name)))?.spec.nodeName, undefined);
      await deletePod(name);
      await waitForNoRecords(api, `NULL_default_NULL_${name}`);
    }
  });

  test("case 41: an init container's request counts, and a request of 0 does not", async () => {
    const resources = {
      limits: { [FLOAT_IP_RESOURCE]: "1" },
      requests: { [FLOAT_IP_RESOURCE]: "1" },
    };
    const initContainers = [{ name: "init", image: "busybox", resources }];
    await api.create(aPod({ name: "early", wantsFloatIp: false, podSpec: { initContainers } }));
    assert.equal(floatIpsOf(await running("early")).length, 1);
    const none = { limits: { [FLOAT_IP_RESOURCE]: "0" }, requests: { [FLOAT_IP_RESOURCE]: "0" } };
    const containers = [{ name: "main", image: "nginx:1.7.9", resources: none }];
    await api.create(aPod({ name: "zero", wantsFloatIp: false, podSpec: { containers } }));
    assert.deepEqual(floatIpsOf(await running("zero")), []);
    await waitForCleanAudit(api);
    await deletePod("early");
    await deletePod("zero");
    await waitForNoRecords(api, "NULL_default_NULL_early");
  });

  test("case 76: a bare ReplicaSet is a workload of its own", async () => {
    for (const policy of [undefined, "immutable", "never"]) {
      const name = `bare-${policy ?? "none"}`;
      const key = `replicaset_default_${name}_`;
      const wish = { name, replicas: 2, ...(policy === undefined ? {} : { policy }) };
      await api.create(aWorkload("apps/v1", "ReplicaSet", wish));
      const old = await cluster.readyPods(name, 2);
      const uids = old.map(({ metadata }) => metadata.uid);
      await waitForRecords(api, "2 records", key, (seen) => seen.length === 2);
      await api.deleteAll(podsOf("default", name));
      const again = await api.waitFor(
        "two other pods",
        podsOf("default", name),
        (seen) =>
          seen.length === 2 &&
          seen.every((pod) => isReady(pod) && !uids.includes(pod.metadata.uid)),
      );
      if (policy !== undefined) assert.deepEqual(addressesOf(again), addressesOf(old));
      await waitForCleanAudit(api);
      await api.scale(replicaSets, at(name), 1);
      await cluster.readyPods(name, 1);
      await waitForRecords(
        api,
        "records as the policy says",
        key,
        (seen) => seen.length === (policy === "never" ? 2 : 1),
      );
      await waitForCleanAudit(api);
      await api.delete(replicaSets, at(name));
      if (policy === "never") {
        const kept = await waitForRecords(
          api,
          "two reservations",
          key,
          (seen) => seen.length === 2 && seen.every(isReservation),
        );
        assert.ok(kept.every(({ spec }) => spec.key === key));
      } else {
        await waitForNoRecords(api, key);
      }
    }
  });

  test("case 44: a Job's pod gives its address back when it has finished, and never is refused", async () => {
    await api.create(aJob("sum"));
    const [pod] = await api.waitFor(
      "its pod",
      podsOf("default", "sum"),
      (seen) => seen.length === 1 && seen.every(isReady),
    );
    const name = pod?.metadata.name ?? "";
    await oneRecord("its record", `job_default_sum_${name}`);
    await cluster.nodes.succeedPod({ name });
    await waitForNoRecords(api, "job_default_sum_");
    assert.equal((await api.get(pods, at(name)))?.status.phase, "Succeeded");
    await waitForCleanAudit(api);
    await api.create(aJob("forever", "never"));
    const [refused] = await api.waitFor(
      "the pod that is refused",
      podsOf("default", "forever"),
      (seen) => seen.length === 1,
    );
    const about = { kind: "Pod", name: refused?.metadata.name ?? "" };
    if (/-\d*$/.test(about.name)) return;
    await waitForEvent(
      api,
      about,
      /release policy never is not supported for pod .* doesn't match/,
    );
    for (const job of ["sum", "forever"]) {
      await api.delete(jobs, at(job), { propagationPolicy: "Background" });
    }
  });

  test("case 77: an evicted pod of a Deployment without policy frees its address although its object stays", async () => {
    const name = "evicted";
    await api.create(aDeployment({ name }));
    const [first] = await cluster.readyPods(name, 1);
    const podName = first?.metadata.name ?? "";
    await cluster.nodes.failPod({ name: podName });
    await waitForNoRecords(api, `dp_default_${name}_${podName}`);
    const both = await api.waitFor(
      "the failed pod and another",
      podsOf("default", name),
      (seen) => seen.length === 2 && seen.some(isReady),
    );
    assert.ok(both.some((pod) => pod.status.phase === "Failed"));
    await waitForCleanAudit(api);
    await api.delete(deployments, at(name));
    await waitForNoRecords(api, `dp_default_${name}_`);
  });

  test("case 77: the successor of an evicted pod of an immutable Deployment gets its address", async () => {
    const name = "phoenix";
    await api.create(aDeployment({ name, policy: "immutable" }));
    const [first] = await cluster.readyPods(name, 1);
    await cluster.nodes.failPod({ name: first?.metadata.name ?? "" });
    const both = await api.waitFor(
      "the successor",
      podsOf("default", name),
      (seen) => seen.length === 2 && seen.some(isReady),
    );
    const successor = both.find(isReady) as Pod;
    assert.deepEqual(floatIpsOf(successor), floatIpsOf(first as Pod));
    const key = `dp_default_${name}_${successor.metadata.name}`;
    await waitForRecords(
      api,
      "one record, the successor's",
      `dp_default_${name}_`,
      (seen) => seen.length === 1 && seen[0]?.spec.key === key,
    );
    await waitForCleanAudit(api);
    // The evicted pod carries the address in its annotation for as long as somebody keeps it: it must not matter when it goes.
    await deletePod(first?.metadata.name ?? "");
    await waitForCleanAudit(api);
    await oneRecord("the record to stay", key);
    await api.delete(deployments, at(name));
    await waitForNoRecords(api, `dp_default_${name}_`);
  });

  test("case 77: a finished pod of a StatefulSet keeps its address for its name", async () => {
    const name = "relay";
    await api.create(aStatefulSet({ name, policy: "immutable" }));
    const [first] = await cluster.readyPods(name, 1);
    await cluster.plane.stopScheduler();
    try {
      await cluster.nodes.failPod({ name: "relay-0" });
      const [kept] = await oneReservation("sts_default_relay_relay-0");
      assert.equal(addressOf(kept as never), floatIpsOf(first as Pod)[0]);
      await waitForCleanAudit(api);
    } finally {
      await cluster.plane.startScheduler({ extenderUrl: cluster.ipam().url });
    }
    // The controller deletes the failed pod and makes another.
    const [second] = await api.waitFor("another relay-0", podsOf("default", name), (seen) =>
      seen.some((pod) => isReady(pod) && pod.metadata.uid !== first?.metadata.uid),
    );
    assert.deepEqual(floatIpsOf(second as Pod), floatIpsOf(first as Pod));
    await waitForCleanAudit(api);
    await api.delete(statefulSets, at(name));
    await waitForNoRecords(api, "sts_default_relay_");
  });

  test("case 79: a pod that is deleted before it is bound leaves nothing behind", async () => {
    for (let index = 0; index < 5; index += 1) {
      const name = `hasty-${index}`;
      await api.create(aPod({ name, terminationGracePeriodSeconds: 0 }));
      await api.delete(pods, at(name), { gracePeriodSeconds: 0 });
    }
    await api.waitFor("no hasty pods", { kind: pods, namespace: "default" }, (seen) =>
      seen.every(({ metadata }) => !metadata.name.startsWith("hasty-")),
    );
    await waitForNoRecords(api, "NULL_default_NULL_hasty-");
    await waitForCleanAudit(api);
  });

  test("a pod without the resource runs without a float IP, whatever its policy", async () => {
    await api.create(aPod({ name: "plain-pod", wantsFloatIp: false, policy: "never" }));
    assert.deepEqual(floatIpsOf(await running("plain-pod")), []);
    await waitForNoRecords(api, "NULL_default_NULL_plain-pod");
    await deletePod("plain-pod");
  });
});

function aJob(name: string, policy?: string): Manifest {
  const template = aPodTemplate({ name, podSpec: { restartPolicy: "Never" } }) as {
    readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  };
  const annotations = {
    ...template.metadata.annotations,
    ...(policy === undefined ? {} : { [POLICY_ANNOTATION]: policy }),
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "default" },
    spec: { template: { ...template, metadata: { ...template.metadata, annotations } } },
  };
}
