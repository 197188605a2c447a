// Pools, reservations with a time limit and quotas of namespaces on a real control plane: what limits how many addresses there are, and how
// long they are kept.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, isReady, podsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  type Condition,
  customKind,
  deployments,
  type FloatingIp,
  floatingIps,
  type Manifest,
  type Pod,
  type Pool,
  pods,
  pools,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  aDeployment,
  aNamespace,
  aPod,
  aPool,
  aStatefulSet,
  type WorkloadWish,
} from "../control-plane/manifests.ts";
import {
  addressesOf,
  addressOf,
  isReservation,
  waitForEvent,
  waitForNoRecords,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();
const galaxy = "galaxy.k8s.io/v1alpha1";
const quotas = customKind(galaxy, "FloatingIPQuota", "floatingipquotas", "Cluster");

type Status = {
  readonly size?: number;
  readonly allocated?: number;
  readonly used?: number;
  readonly conditions?: readonly Condition[];
};

describe("pools, idle addresses and quotas on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster();
    api = cluster.api;
    await api.create(aNamespace("ns1"));
    await api.create(aNamespace("ns2"));
  });

  after(async () => {
    await cluster?.stop();
  });

  const ready = (namespace: string, app: string, count: number): Promise<readonly Pod[]> =>
    api.waitFor(
      `${count} ready pods of ${namespace}/${app}`,
      podsOf(namespace, app),
      (seen) => seen.filter(isReady).length === count,
    );
  const run = async (wish: WorkloadWish & { readonly namespace: string }) => {
    await api.create(aDeployment(wish));
    return ready(wish.namespace, wish.name, wish.replicas ?? 1);
  };
  const scale = async (namespace: string, name: string, replicas: number): Promise<void> => {
    await api.scale(deployments, { name, namespace }, replicas);
  };
  const noPods = (namespace: string, app: string) =>
    api.waitFor(`no pods of ${app}`, podsOf(namespace, app), (seen) => seen.length === 0);
  const recordsOf = (
    pool: string,
    what: string,
    predicate: (records: readonly FloatingIp[]) => boolean,
  ) => waitForRecords(api, what, `pool__${pool}_`, predicate);
  const counts = (all: number, reserved: number) => (records: readonly FloatingIp[]) =>
    records.length === all && records.filter(isReservation).length === reserved;
  const statusIs = (
    at: { name: string; namespace: string },
    what: string,
    accept: (status: Status, ready: Condition | undefined) => boolean,
  ): Promise<Pool> =>
    api.waitForOne(`the status of ${at.name} to say ${what}`, pools, at, ({ status = {} }) => {
      const seen = status as Status;
      return accept(
        seen,
        seen.conditions?.find(({ type }) => type === "Ready"),
      );
    });

  test("a reservation is announced to its Deployment and released when its time is over", async () => {
    const annotations = { "k8s.v1.cni.galaxy.io/reserve-ttl": "4s" };
    await api.create(aDeployment({ name: "idle", policy: "never", annotations }));
    await cluster.readyPods("idle", 1);
    await api.scale(deployments, { name: "idle", namespace: "default" }, 0);
    const [record] = await waitForRecords(
      api,
      "the address to be reserved with its time",
      "dp_default_idle_",
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
    const spec = record?.spec as Readonly<Record<string, unknown>> | undefined;
    assert.equal(spec?.["reserveTTL"], "4s");
    assert.ok(Number.isFinite(Date.parse(String(spec?.["idleSince"]))));
    await waitForNoRecords(api, "dp_default_idle_");
    const about = { kind: "Deployment", name: "idle" };
    await waitForEvent(api, about, /used by no pod and will be released at/);
    await waitForEvent(api, about, /was released: no pod used it for 4s/);
  });

  test("a time that cannot be understood is told to the pod, and the address is kept", async () => {
    const annotations = { "k8s.v1.cni.galaxy.io/reserve-ttl": "a week" };
    await api.create(aDeployment({ name: "wrong", policy: "never", annotations }));
    const [pod] = await cluster.readyPods("wrong", 1);
    await waitForEvent(
      api,
      { kind: "Pod", name: pod?.metadata.name ?? "" },
      /reserve-ttl: "a week" is no duration from 1s/,
    );
    await api.delete(deployments, { name: "wrong", namespace: "default" });
    const [record] = await waitForRecords(
      api,
      "the address to be reserved",
      "dp_default_wrong_",
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
    const spec = record?.spec as Readonly<Record<string, unknown>> | undefined;
    assert.equal(spec?.["reserveTTL"], "never");
  });

  test("the API server refuses quotas that mean nothing, and names the field", async () => {
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [{}, /spec\.limit: Required value/],
      [{ limit: -1 }, /spec\.limit: Invalid value: -1/],
      [{ limit: "2" }, /spec\.limit: Invalid value: "string"/],
      [{ limit: 2 ** 31 }, /spec\.limit/],
      [{ limit: 1, namespaces: "default" }, /spec\.namespaces: Invalid value: "string"/],
      [{ limit: 1, namespaces: ["Team_A"] }, /spec\.namespaces.*should match/],
      [{ limit: 1, namespaces: ["a", "a"] }, /spec\.namespaces\[1\]: Duplicate value: "a"/],
    ];
    for (const [spec, message] of cases) {
      const made = { apiVersion: galaxy, kind: "FloatingIPQuota", metadata: { name: "wrong" } };
      await assert.rejects(api.create({ ...made, spec }), (error: Error) => {
        assert.match(error.message, /422/);
        assert.match(error.message, message);
        return true;
      });
    }
    assert.deepEqual(await api.list({ kind: quotas }), []);
  });

  test("a quota, which counts reservations too, keeps pods waiting and says why", async () => {
    const made = { apiVersion: galaxy, kind: "FloatingIPQuota", metadata: { name: "few" } };
    // The reservation that was kept above counts.
    await api.create({ ...made, spec: { limit: 2, namespaces: ["default"] } });
    await api.create(aDeployment({ name: "many", replicas: 3 }));
    const waiting = await api.waitFor(
      "one running pod and two that wait for the quota",
      podsOf("default", "many"),
      (seen) =>
        seen.filter(({ spec }) => (spec.nodeName ?? "") !== "").length === 1 && seen.length === 3,
    );
    const pending = waiting.find(({ spec }) => (spec.nodeName ?? "") === "");
    const about = { kind: "Pod", name: pending?.metadata.name ?? "" };
    await waitForEvent(
      api,
      about,
      /namespace default reached its quota: FloatingIPQuota few allows 2/,
    );
    // Lowered below what is used it refuses with the new limit and takes nothing away; raised it lets the others in.
    const at = { name: "few" };
    await api.patch(quotas, at, { spec: { limit: 0 } });
    const lowered = waitForEvent(api, about, /FloatingIPQuota few allows 0 addresses, 2 are used/);
    await cluster.nodes.nudgingWhile(lowered);
    await waitForRecords(api, "all that was used", "dp_default_", ({ length }) => length === 2);
    await api.patch(quotas, at, { spec: { limit: 4 } });
    await cluster.nodes.nudgingWhile(cluster.readyPods("many", 3));
    await api.delete(quotas, at);
    await api.delete(deployments, { name: "many", namespace: "default" });
    await waitForNoRecords(api, "dp_default_many_");
    await waitForCleanAudit(api);
    // What was kept because of its wrong time is not needed any more.
    await api.deleteAll({ kind: floatingIps });
    await waitForNoRecords(api, "dp_default_");
  });

  test("case 91, case 92: Deployments of two namespaces share the addresses of a pool, which are never released", async () => {
    const wish = { pool: "sh", policy: "immutable" };
    const [first] = await run({ ...wish, name: "d1", namespace: "ns1" });
    const [record] = await recordsOf("sh", "one record", (seen) => seen.length === 1);
    assert.equal(record?.spec.key, `pool__sh_dp_ns1_d1_${first?.metadata.name}`);
    assert.equal(record?.spec.policy, 2);
    const [second] = await run({ ...wish, name: "d2", namespace: "ns2" });
    await recordsOf("sh", "the pool to have grown", counts(2, 0));
    await waitForCleanAudit(api);
    await api.delete(deployments, { name: "d1", namespace: "ns1" });
    const records = await recordsOf("sh", "one to be reserved", counts(2, 1));
    const reserved = records.find(isReservation);
    assert.equal(reserved?.spec.key, "pool__sh_");
    assert.deepEqual([addressOf(reserved as never)], addressesOf([first as Pod]));
    await scale("ns2", "d2", 2);
    const both = await ready("ns2", "d2", 2);
    assert.deepEqual(addressesOf(both), addressesOf([first as Pod, second as Pod]));
    await recordsOf("sh", "no third", counts(2, 0));
    await waitForCleanAudit(api);
    await api.delete(deployments, { name: "d2", namespace: "ns2" });
    await recordsOf("sh", "both to be reserved", counts(2, 2));
  });

  test("case 82, case 91: a Deployment in a pool without a size has no more addresses than replicas", async () => {
    const [pod] = await run({ name: "d3", namespace: "ns1", pool: "grow" });
    await api.restartWorkload(deployments, { name: "d3", namespace: "ns1" });
    const waiting = await api.waitFor("a waiting pod", podsOf("ns1", "d3"), (seen) =>
      seen.some(({ metadata }) => metadata.uid !== pod?.metadata.uid),
    );
    const name = waiting.find(({ metadata }) => metadata.uid !== pod?.metadata.uid)?.metadata.name;
    await waitForEvent(
      api,
      { kind: "Pod", name: name ?? "", namespace: "ns1" },
      /deployment d3 has allocated 1 ips with replicas of 1, wait for releasing/,
    );
    await api.delete(deployments, { name: "d3", namespace: "ns1" });
    await noPods("ns1", "d3");
    await recordsOf("grow", "the address to stay", counts(1, 1));
  });

  test("case 93: a pool has no more addresses than its size, also in parallel, and takes up a new size", async () => {
    const name = "lim";
    const at = { name, namespace: "kube-system" };
    await api.create(aPool({ name, size: 3 }));
    await api.create(aDeployment({ name: "many", namespace: "ns1", replicas: 4, pool: name }));
    await api.create(
      aStatefulSet({
        name: "set",
        namespace: "ns2",
        replicas: 2,
        pool: name,
        spec: { podManagementPolicy: "Parallel" },
      }),
    );
    await recordsOf(name, "three addresses in use", counts(3, 0));
    const both = { kind: pods, labelSelector: "app in (many,set)" };
    const six = await api.waitFor(
      "three pods with addresses and three that wait",
      both,
      (seen) => seen.length === 6 && seen.filter(isReady).length === 3,
    );
    const waiting = six.find((pod) => !isReady(pod)) as Pod;
    const { metadata } = waiting;
    await waitForEvent(
      api,
      { kind: "Pod", name: metadata.name, namespace: metadata.namespace ?? "" },
      /reached pool lim size limit of 3/,
    );
    await statusIs(at, "3 of 3 used", (status) => status.allocated === 3 && status.used === 3);
    await waitForCleanAudit(api);
    await api.patch(pools, at, { size: 6 });
    await cluster.nodes.nudgeScheduler();
    await api.waitFor("all six", both, (seen) => seen.filter(isReady).length === 6);
    await recordsOf(name, "six addresses in use", counts(6, 0));
    await statusIs(at, "6 of 6 used", (status) => status.size === 6 && status.used === 6);
    await waitForCleanAudit(api);

    await api.patch(pools, at, { size: 2 });
    await statusIs(at, "what it has", (status) => status.size === 2 && status.used === 6);
    await recordsOf(name, "none in use to be released", counts(6, 0));
    await scale("ns1", "many", 1);
    await recordsOf(name, "those over the size to go with their pods", counts(3, 0));
    await waitForCleanAudit(api);
    await api.delete(statefulSets, { name: "set", namespace: "ns2" });
    await recordsOf(name, "two addresses to stay", counts(2, 1));
    await api.delete(deployments, { name: "many", namespace: "ns1" });
    await recordsOf(name, "both to be kept", counts(2, 2));
    await statusIs(
      at,
      "2 of 2, none used",
      (status) => status.allocated === 2 && status.used === 0,
    );
    await api.delete(pools, at);
    await waitForCleanAudit(api);
    await recordsOf(name, "the addresses to outlive the Pool", counts(2, 2));
  });

  test("case 96: the documented Pool manifest, without a namespace, works as it stands", async () => {
    const manifest: Manifest<Pool> = {
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "Pool",
      metadata: { name: "example-pool" },
      size: 4,
    };
    const made = await api.create(manifest);
    assert.equal(made.metadata.namespace, "default");
    await api.create(
      aDeployment({ name: "doc", namespace: "ns1", replicas: 5, pool: "example-pool" }),
    );
    await ready("ns1", "doc", 4);
    await recordsOf("example-pool", "four addresses", counts(4, 0));
    const at = { name: "example-pool", namespace: "default" };
    await statusIs(at, "4 of 4 used", (status) => status.size === 4 && status.used === 4);
    await waitForCleanAudit(api);
    await api.create(aPool({ name: "example-pool", size: 5 }));
    await statusIs(
      at,
      "that another is in force",
      (_, condition) =>
        condition?.status === "False" &&
        condition.reason === "OtherPoolInForce" &&
        /Pool kube-system\/example-pool has the same name/.test(condition.message ?? ""),
    );
    await cluster.nodes.nudgeScheduler();
    await ready("ns1", "doc", 5);
    await api.delete(deployments, { name: "doc", namespace: "ns1" });
    await recordsOf("example-pool", "five to be kept", counts(5, 5));
    await waitForCleanAudit(api);
  });

  test("case 93: a blue-green release within a sized pool keeps the set of addresses", async () => {
    await api.create(aPool({ name: "bg", size: 3 }));
    const blue = addressesOf(
      await run({ name: "blue", namespace: "ns1", replicas: 3, pool: "bg" }),
    );
    await api.create(aDeployment({ name: "green", namespace: "ns1", replicas: 3, pool: "bg" }));
    await api.waitFor("green pods", podsOf("ns1", "green"), (seen) => seen.length === 3);
    for (const replicas of [2, 0]) {
      await scale("ns1", "blue", replicas);
      await ready("ns1", "green", 3 - replicas);
      await recordsOf("bg", "three in use", counts(3, 0));
    }
    assert.deepEqual(addressesOf(await ready("ns1", "green", 3)), blue);
    await waitForCleanAudit(api);
    await api.delete(deployments, { name: "green", namespace: "ns1" });
    await api.delete(deployments, { name: "blue", namespace: "ns1" });
    await noPods("ns1", "green");
    await recordsOf("bg", "three to be kept", counts(3, 3));
  });

  test("case 128: preAllocateIP fills a pool made with kubectl, its pods use what was allocated, and the size can change", async () => {
    const name = "pre";
    const at = { name, namespace: "ns1" };
    await api.create(aPool({ ...at, size: 3, preAllocateIP: true }));
    const filled = await recordsOf(name, "three reserved addresses", counts(3, 3));
    for (const { spec } of filled) {
      assert.equal(spec.key, "pool__pre_");
      assert.equal(spec.policy, 2);
    }
    await statusIs(
      at,
      "that it is ready",
      (status, condition) =>
        status.size === 3 &&
        status.allocated === 3 &&
        status.used === 0 &&
        condition?.status === "True",
    );
    const used = addressesOf(
      await run({ name: "eager", namespace: "ns2", replicas: 3, pool: name }),
    );
    assert.deepEqual(used, filled.map(addressOf).toSorted());
    await statusIs(at, "that all are used", (status) => status.used === 3);
    await api.patch(pools, at, { size: 5 });
    await recordsOf(name, "two more", counts(5, 2));
    await waitForCleanAudit(api);
    await api.patch(pools, at, { size: 4 });
    await recordsOf(name, "one less", counts(4, 1));
    await api.patch(pools, at, { size: 1 });
    const left = await recordsOf(name, "those in use to stay", counts(3, 0));
    assert.deepEqual(left.map(addressOf).toSorted(), used);
    await waitForCleanAudit(api);
    await api.delete(deployments, { name: "eager", namespace: "ns2" });
    await recordsOf(name, "only one to be kept", counts(1, 1));
    await api.delete(pools, at);
  });

  test("case 128: a pool that cannot be filled says so, and goes on filling when addresses become free", async () => {
    const name = "huge";
    const at = { name, namespace: "kube-system" };
    await run({ name: "guest", namespace: "ns1", replicas: 2 });
    await api.create(aPool({ name, size: 100, preAllocateIP: true }));
    await statusIs(
      at,
      "that addresses are missing",
      (status, condition) =>
        condition?.status === "False" &&
        condition.reason === "NotEnoughAddresses" &&
        (status.allocated ?? 0) > 0 &&
        condition.message?.includes(
          `${100 - (status.allocated ?? 0)} of 100 addresses are missing`,
        ) === true,
    );
    const before = (await recordsOf(name, "what there is", (seen) => seen.length > 0)).length;
    await api.create(aPod({ name: "late", namespace: "ns1" }));
    await waitForEvent(
      api,
      { kind: "Pod", name: "late", namespace: "ns1" },
      /FloatingIPPlugin:NoFIPLeft: no free address for this node/,
    );
    await scale("ns1", "guest", 1);
    await recordsOf(name, "the freed address", (seen) => seen.length === before + 1);
    await waitForCleanAudit(api);
    await api.patch(pools, at, { size: 2 });
    await recordsOf(name, "its size", counts(2, 2));
    await statusIs(at, "that it is ready", (_, condition) => condition?.status === "True");
    await cluster.nodes.nudgeScheduler();
    await api.waitForOne("the late pod", pods, { name: "late", namespace: "ns1" }, isReady);
    await waitForCleanAudit(api);
  });

  test("a pool name that keys cannot hold is refused on the pod", async () => {
    await api.create(aPod({ name: "wrong", namespace: "ns1", pool: "my_pool" }));
    await waitForEvent(
      api,
      { kind: "Pod", name: "wrong", namespace: "ns1" },
      /tke\.cloud\.tencent\.com\/eni-ip-pool: pool name "my_pool" has "_"/,
    );
    assert.equal(
      (await api.get(pods, { name: "wrong", namespace: "ns1" }))?.spec.nodeName,
      undefined,
    );
  });
});
