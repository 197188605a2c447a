// Pods with several addresses on a real control plane: ranges asked for in the args annotation, and addresses of two families.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, ipInfosOf, isReady, podsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { deployments, type Pod, pods, statefulSets } from "../control-plane/kinds.ts";
import { ARGS_ANNOTATION, aDeployment, aPod, aStatefulSet } from "../control-plane/manifests.ts";
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

const floatingips = [
  {
    nodeSubnets: ["10.49.27.0/24"],
    ips: ["10.49.70.2~10.49.70.21"],
    subnet: "10.49.70.0/24",
    gateway: "10.49.70.1",
    vlan: 2,
  },
  {
    nodeSubnets: ["10.49.27.0/24", "10.180.1.0/24"],
    ips: ["fd00:70::2~fd00:70::ffff"],
    subnet: "fd00:70::/64",
    gateway: "fd00:70::1",
    vlan: 2,
  },
  {
    nodeSubnets: ["10.173.13.0/24"],
    ips: ["10.173.80.2~10.173.80.5"],
    subnet: "10.173.80.0/24",
    gateway: "10.173.80.1",
    vlan: 3,
  },
  {
    nodeSubnets: ["10.180.2.0/24"],
    ips: ["10.0.0.2~10.0.0.30", "10.0.0.60~10.0.0.80", "10.0.0.200~10.0.0.238"],
    subnet: "10.0.0.0/24",
    gateway: "10.0.0.1",
  },
];

/** a1 and a2 have both families, b1 and d1 IPv4 alone, c1 IPv6 alone; d1 serves the addresses of the documents. */
const simulated = [
  { name: "a1", internalIp: "10.49.27.1", labels: { families: "both" } },
  { name: "a2", internalIp: "10.49.27.2", labels: { families: "both" } },
  { name: "b1", internalIp: "10.173.13.1" },
  { name: "c1", internalIp: "10.180.1.1" },
  { name: "d1", internalIp: "10.180.2.1" },
];

describe("pods with several addresses on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster({ floatingips, nodes: simulated });
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "default" });
  const on = (node: string) => ({ nodeSelector: { "kubernetes.io/hostname": node } });
  const running = (name: string): Promise<Pod> =>
    api.waitForOne(`${name} to run`, pods, at(name), isReady);
  const deletePod = async (name: string): Promise<void> => {
    await api.delete(pods, at(name));
    await api.waitForGone(pods, at(name));
  };
  const recordsAre = (key: string, ips: readonly string[]) =>
    waitForRecords(
      api,
      `the addresses ${ips.join(", ")}`,
      key,
      (records) => records.map(addressOf).toSorted().join() === ips.toSorted().join(),
    );

  test("case 98: the documented annotation gets the documented answer", async () => {
    const ranges = [["10.0.0.200~10.0.0.238"], ["10.0.0.2~10.0.0.30"], ["10.0.0.60~10.0.0.80"]];
    const text = `{"request_ip_range":[["10.0.0.200~10.0.0.238"],["10.0.0.2~10.0.0.30"],["10.0.0.60~10.0.0.80"]]}`;
    await api.create(aPod({ name: "doc", annotations: { [ARGS_ANNOTATION]: text } }));
    const pod = await running("doc");
    const info = (ip: string) => ({ ip, vlan: 0, gateway: "10.0.0.1" });
    assert.deepEqual(JSON.parse(pod.metadata.annotations?.[ARGS_ANNOTATION] ?? ""), {
      request_ip_range: ranges,
      common: { ipinfos: [info("10.0.0.200/24"), info("10.0.0.2/24"), info("10.0.0.60/24")] },
    });
    assert.equal(pod.spec.nodeName, "d1");
    const records = await recordsAre("NULL_default_NULL_doc", floatIpsOf(pod));
    for (const record of records) {
      assert.equal(record.spec.key, "NULL_default_NULL_doc");
      assert.equal(holderOf(record).Uid, pod.metadata.uid);
    }
    await waitForCleanAudit(api);
    await deletePod("doc");
    await waitForNoRecords(api, "NULL_default_NULL_doc");
  });

  test("case 98: an immutable StatefulSet keeps all addresses of an ordinal together and gives them back together", async () => {
    const name = "pair";
    const ranges = [["10.49.70.20"], ["10.49.70.16~10.49.70.18"]];
    await api.create(aStatefulSet({ name, policy: "immutable", ranges }));
    const [first] = await cluster.readyPods(name, 1);
    const ips = floatIpsOf(first as Pod);
    assert.equal(ips[0], "10.49.70.20");
    assert.match(first?.spec.nodeName ?? "", /^a/);
    const key = "sts_default_pair_pair-0";
    await recordsAre(key, ips);
    await waitForCleanAudit(api);
    await cluster.plane.stopScheduler();
    try {
      await api.delete(pods, at("pair-0"));
      const kept = await waitForRecords(
        api,
        "both to be kept",
        key,
        (seen) => seen.length === 2 && seen.every(isReservation),
      );
      assert.deepEqual(kept.map(addressOf).toSorted(), ips.toSorted());
    } finally {
      await cluster.plane.startScheduler({ extenderUrl: cluster.ipam().url });
    }
    assert.deepEqual(floatIpsOf((await cluster.readyPods(name, 1))[0] as Pod), ips);
    await waitForCleanAudit(api);
    await api.scale(statefulSets, at(name), 0);
    await waitForNoRecords(api, key);
    await api.delete(statefulSets, at(name));
  });

  test("case 102: addresses are matched to the lists, not taken greedily", async () => {
    const ranges = [["10.49.70.10~10.49.70.11"], ["10.49.70.10"]];
    await api.create(aPod({ name: "match", ranges }));
    assert.deepEqual(floatIpsOf(await running("match")), ["10.49.70.11", "10.49.70.10"]);
    await waitForCleanAudit(api);
    await deletePod("match");
    await waitForNoRecords(api, "NULL_default_NULL_match");
  });

  test("case 100: all addresses or none, and the reason names the ranges", async () => {
    await api.create(aPod({ name: "taken", ranges: [["10.49.70.12"]] }));
    await running("taken");
    const cases = {
      "half-taken": [["10.49.70.13"], ["10.49.70.12"]],
      "half-unknown": [["10.49.70.13"], ["192.168.0.1"]],
      "two-subnets": [["10.49.70.13"], ["10.173.80.2"]],
      twice: [["10.49.70.13"], ["10.49.70.13"]],
    };
    for (const [name, ranges] of Object.entries(cases)) {
      await api.create(aPod({ name, ranges }));
      await waitForEvent(
        api,
        { kind: "Pod", name },
        /FloatingIPPlugin:NoFIPLeft: no 2 different free addresses in the ranges of request_ip_range/,
      );
      assert.equal((await api.get(pods, at(name)))?.spec.nodeName, undefined);
      await waitForNoRecords(api, `NULL_default_NULL_${name}`);
    }
    await waitForCleanAudit(api);
    for (const name of [...Object.keys(cases), "taken"]) await deletePod(name);
    await waitForNoRecords(api, "NULL_default_NULL_taken");
  });

  test("case 105: a Deployment's pod may ask for ranges only without a policy", async () => {
    const ranges = [["10.49.70.14~10.49.70.15"]];
    await api.create(aDeployment({ name: "bad", policy: "immutable", ranges }));
    const [pod] = await api.waitFor("its pod", podsOf("default", "bad"), (seen) => seen.length > 0);
    await waitForEvent(
      api,
      { kind: "Pod", name: pod?.metadata.name ?? "" },
      /request ip ranges for deployment pod with release policy other than ReleasePolicyPodDelete is not supported/,
    );
    await waitForNoRecords(api, "dp_default_bad_");
    await api.delete(deployments, at("bad"));
    await api.create(aDeployment({ name: "good", replicas: 2, ranges }));
    const two = addressesOf(await cluster.readyPods("good", 2));
    assert.deepEqual(two, ["10.49.70.14", "10.49.70.15"]);
    await waitForCleanAudit(api);
    await api.delete(deployments, at("good"));
    await waitForNoRecords(api, "dp_default_good_");
  });

  test("an annotation that cannot be read is said on the pod", async () => {
    const cases = {
      "no-json": "{",
      "no-range": '{"request_ip_range":[["10.49.70.300"]]}',
    };
    for (const [name, text] of Object.entries(cases)) {
      await api.create(aPod({ name, annotations: { [ARGS_ANNOTATION]: text } }));
      const event = await waitForEvent(
        api,
        { kind: "Pod", name },
        /k8s\.v1\.cni\.galaxy\.io\/args/,
      );
      assert.equal(event.type, "Warning");
      await deletePod(name);
    }
  });

  test("a pod gets one address of each family it asks for, the first is primary", async () => {
    for (const [name, families] of [
      ["dual-46", "IPv4,IPv6"],
      ["dual-64", "IPv6, IPv4"],
    ] as const) {
      await api.create(aPod({ name, families, ...on("a1") }));
      const pod = await running(name);
      const [primary, second] = floatIpsOf(pod);
      const isSixFirst = families.startsWith("IPv6");
      assert.equal(primary?.includes(":"), isSixFirst);
      assert.equal(second?.includes(":"), !isSixFirst);
      assert.equal(pod.status.podIP, primary);
      assert.equal(pod.status.podIPs?.length, 2);
      assert.ok(
        ipInfosOf(pod).some(({ ip, gateway }) => ip.endsWith("/64") && gateway === "fd00:70::1"),
      );
      await recordsAre(`NULL_default_NULL_${name}`, floatIpsOf(pod));
      await waitForCleanAudit(api);
    }
    for (const name of ["dual-46", "dual-64"]) await deletePod(name);
    await waitForNoRecords(api, "NULL_default_NULL_dual-");
  });

  test("IPv6 alone is given where it is asked for or where there is nothing else", async () => {
    await api.create(aPod({ name: "six", families: "IPv6", ...on("a1") }));
    await api.create(aPod({ name: "six-only-node", ...on("c1") }));
    await api.create(aPod({ name: "four", ...on("a1") }));
    await api.create(aPod({ name: "four-only-node", families: "IPv4,IPv6", ...on("b1") }));
    for (const name of ["six", "six-only-node"]) {
      const ips = floatIpsOf(await running(name));
      assert.equal(ips.length, 1);
      assert.match(ips[0] ?? "", /^fd00:70::/);
    }
    assert.match(floatIpsOf(await running("four")).join(), /^10\.49\.70\.\d+$/);
    assert.match(floatIpsOf(await running("four-only-node")).join(), /^10\.173\.80\.\d+$/);
    await waitForCleanAudit(api);
    await api.create(aPod({ name: "nowhere", families: "IPv6", ...on("b1") }));
    await waitForEvent(
      api,
      { kind: "Pod", name: "nowhere" },
      /has? no address of the families that pod default\/nowhere asks for|have no address of the families/,
    );
    for (const name of ["six", "six-only-node", "four", "four-only-node", "nowhere"]) {
      await deletePod(name);
    }
    await waitForNoRecords(api, "NULL_default_NULL_");
  });

  test("an immutable Deployment with two families rolls within its pairs of addresses", async () => {
    const name = "twin";
    const strategy = { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } };
    const wish = { name, replicas: 3, policy: "immutable", families: "IPv4,IPv6" };
    const nodeSelector = { families: "both" };
    await api.create(aDeployment({ ...wish, nodeSelector, spec: { strategy } }));
    const first = await cluster.readyPods(name, 3);
    const uids = first.map(({ metadata }) => metadata.uid);
    assert.ok(first.every((pod) => floatIpsOf(pod).length === 2));
    await waitForCleanAudit(api);
    const ips = addressesOf(first);
    await api.restartWorkload(deployments, at(name));
    const rolled = await api.waitFor(
      "three new pods",
      podsOf("default", name),
      (seen) =>
        seen.length === 3 && seen.every((pod) => isReady(pod) && !uids.includes(pod.metadata.uid)),
    );
    assert.deepEqual(addressesOf(rolled), ips);
    await waitForCleanAudit(api);
    await api.scale(deployments, at(name), 1);
    const [survivor] = await cluster.readyPods(name, 1);
    await recordsAre(`dp_default_${name}_`, floatIpsOf(survivor as Pod));
    await waitForCleanAudit(api);
    await api.delete(deployments, at(name));
    await waitForNoRecords(api, `dp_default_${name}_`);
  });
});
