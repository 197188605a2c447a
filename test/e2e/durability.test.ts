// galaxy-ipam killed, restarted and cut off from its API server on a real control plane: nothing lost, nothing doubled, nothing leaked.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { ApiError, floatIpsOf, inParallel, podsOf, waitUntil } from "../control-plane/api.ts";
import { audit, waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { bind, filterNames } from "../control-plane/extender-client.ts";
import {
  type FaultyApiProxy,
  isBindingOf,
  isRecordWrite,
  type ProxiedCall,
  startFaultyApiProxy,
} from "../control-plane/faulty-api-proxy.ts";
import {
  deployments,
  floatingIps,
  type KubeObject,
  type Pod,
  pods,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  aDeployment,
  aPod,
  aStatefulSet,
  type FloatingIpEntry,
} from "../control-plane/manifests.ts";
import { holderOf, waitForRecords } from "../control-plane/records.ts";

const skip = await reasonToSkip();
const wide = [
  { ...(twoSubnets[0] as FloatingIpEntry), ips: ["10.49.70.2~10.49.70.181"] },
  twoSubnets[1] as FloatingIpEntry,
];

/** Above the time limits of filter and bind. */
const SCHEDULER_LIMIT_MS = 12_000;

describe("durability", { skip }, () => {
  let cluster: Cluster;
  let proxy: FaultyApiProxy;

  before(async () => {
    proxy = await startFaultyApiProxy();
    cluster = await startCluster({
      floatingips: wide,
      proxy,
      flags: ["--reuse-delay=1s", "--filter-timeout=4s", "--bind-timeout=8s"],
      scheduler: { httpTimeoutMs: SCHEDULER_LIMIT_MS },
    });
  });

  after(async () => {
    await cluster?.stop();
    await proxy?.stop();
  });

  afterEach(async () => {
    const { api } = cluster;
    proxy.heal();
    await api.deleteAll({ kind: deployments, namespace: "default" });
    await api.deleteAll({ kind: statefulSets, namespace: "default" });
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor(
      "no pods",
      { kind: pods, namespace: "default" },
      ({ length }) => length === 0,
    );
    await waitForCleanAudit(api);
    await api.deleteAll({ kind: floatingIps });
    await api.waitFor("no records", { kind: floatingIps }, ({ length }) => length === 0);
  });

  async function resyncs(count: number): Promise<void> {
    const done = () => cluster.ipam().metric("galaxy_resync_duration_seconds_count");
    const before = (await done()) ?? 0;
    await waitUntil(`${count} resyncs`, done, (now) => (now ?? 0) >= before + count);
  }

  /** A pod that no scheduler looks at, known to galaxy-ipam. */
  async function unscheduledPod(name: string, policy?: string): Promise<Pod> {
    const pod = await cluster.api.create<Pod>(
      aPod({ name, schedulerName: "nobody", ...(policy === undefined ? {} : { policy }) }),
    );
    return pod;
  }

  /** Holds for every moment, also when records and pods are being written. */
  async function assertNoAddressTwice(): Promise<void> {
    const problems = (await audit(cluster.api)).filter((text) => text.includes("is in pods"));
    assert.deepEqual(problems, []);
  }

  test("case 129: killed again and again under load, nothing is lost, doubled or leaked", async () => {
    const { api } = cluster;
    const loading = new AbortController();
    const isLoaded = () => !loading.signal.aborted;
    const load = async (app: string, policy: string | undefined): Promise<void> => {
      const at = { name: app, namespace: "default" };
      await api.create(
        aDeployment({ name: app, replicas: 10, ...(policy === undefined ? {} : { policy }) }),
      );
      for (let round = 1; isLoaded(); round += 1) {
        await api.scale(deployments, at, round % 2 === 0 ? 30 : 12);
        await delay(150 + Math.random() * 400);
      }
      await api.scale(deployments, at, 20);
    };
    const burst = async (): Promise<void> => {
      for (let round = 0; isLoaded(); round += 1) {
        const names = Array.from({ length: 20 }, (_, index) => `burst-${round}-${index}`);
        await inParallel(names, 5, (name) => api.create(aPod({ name, labels: { app: "burst" } })));
        await delay(300 + Math.random() * 500);
        await api.deleteAll({ kind: pods, namespace: "default", labelSelector: "app=burst" });
      }
    };
    const loads = [
      load("churn", undefined),
      load("fixed", "immutable"),
      load("kept", "never"),
      burst(),
    ];
    for (let kill = 1; kill <= 4; kill += 1) {
      await delay(300 + Math.random() * 1_200);
      await assertNoAddressTwice();
      await cluster.restartIpam("SIGKILL");
      await assertNoAddressTwice();
    }
    loading.abort();
    await Promise.all(loads);
    await api.deleteAll({ kind: pods, namespace: "default", labelSelector: "app=burst" });
    for (const app of ["churn", "kept", "fixed"]) {
      await cluster.nodes.nudgingWhile(cluster.readyPods(app, 20));
    }
    await resyncs(2);
    await waitForCleanAudit(api);
    const owned = (await api.list({ kind: floatingIps })).map(({ spec }) => spec.key);
    assert.equal(owned.filter((key) => key.startsWith("dp_default_churn_")).length, 20);
    assert.equal(owned.filter((key) => key.startsWith("dp_default_fixed_")).length, 20);
    assert.equal(owned.filter((key) => key.startsWith("NULL_")).length, 0);
  });

  test("case 129: pods deleted while the program is down are found by the first resync, and the others keep their addresses", async () => {
    const { api } = cluster;
    await api.create(aDeployment({ name: "plain", replicas: 6 }));
    await api.create(
      aStatefulSet({
        name: "db",
        replicas: 3,
        policy: "immutable",
        spec: { podManagementPolicy: "Parallel" },
      }),
    );
    const plain = await cluster.readyPods("plain", 6);
    const db = await cluster.readyPods("db", 3);
    const before = new Map([...plain, ...db].map((pod) => [pod.metadata.uid, floatIpsOf(pod)]));
    await cluster.plane.stopScheduler();
    await cluster.restartIpam("SIGKILL", {
      meanwhile: async () => {
        await api.scale(deployments, { name: "plain", namespace: "default" }, 4);
        await api.scale(statefulSets, { name: "db", namespace: "default" }, 2);
        await api.delete(pods, { name: "db-0", namespace: "default" });
        await api.waitFor("four pods", podsOf("default", "plain"), ({ length }) => length === 4);
        await api.waitForGone(pods, { name: "db-2", namespace: "default" });
        await api.waitForGone(pods, {
          name: "db-0",
          namespace: "default",
          uid: db.find(({ metadata }) => metadata.name === "db-0")?.metadata.uid ?? "",
        });
      },
    });
    await waitForRecords(api, "four records", "dp_default_plain_", ({ length }) => length === 4);
    const left = await waitForRecords(
      api,
      "db-1 and the reservation of db-0",
      "sts_default_db_",
      (records) => records.length === 2 && records.some((record) => holderOf(record).Uid === ""),
    );
    assert.equal(left.length, 2);
    await cluster.plane.startScheduler({
      extenderUrl: cluster.ipam().url,
      httpTimeoutMs: SCHEDULER_LIMIT_MS,
    });
    const again = await cluster.readyPods("db", 2);
    const ipOf = (list: readonly Pod[], name: string) =>
      list.filter(({ metadata }) => metadata.name === name).flatMap(floatIpsOf);
    assert.deepEqual(ipOf(again, "db-0"), ipOf(db, "db-0"));
    for (const pod of await cluster.readyPods("plain", 4)) {
      assert.deepEqual(floatIpsOf(pod), before.get(pod.metadata.uid));
    }
    await waitForCleanAudit(api);
  });

  test("answers that get lost leave no record behind and no pod without its address", async () => {
    const { api } = cluster;
    const { url } = cluster.ipam();
    const create = proxy.break(isRecordWrite("POST"), { kind: "lose answer" }, { times: 1 });
    const first = await unscheduledPod("lost-create");
    await filterNames(url, first, ["a1"]);
    const outcome = await bind(url, first, "a1");
    assert.equal(create.count(), 1);
    // Either it was found out that the record is there, or the error is said and the scheduler's next attempt uses that record.
    if (outcome !== "") assert.equal(await bind(url, first, "a1"), "");
    const second = await unscheduledPod("lost-binding");
    const binding = proxy.break(isBindingOf("lost-binding"), { kind: "lose answer" }, { times: 1 });
    const lost = await bind(url, second, "a1");
    assert.equal(binding.count(), 1);
    if (lost !== "") assert.equal(await bind(url, second, "a1"), "");
    await cluster.readyPods("lost-create", 1);
    await cluster.readyPods("lost-binding", 1);
    await waitForRecords(api, "two records", "", ({ length }) => length === 2);
    await waitForCleanAudit(api);
    const remove = proxy.break(isRecordWrite("DELETE"), { kind: "lose answer" }, { times: 2 });
    await api.delete(pods, { name: "lost-create", namespace: "default" });
    await api.delete(pods, { name: "lost-binding", namespace: "default" });
    await api.waitFor("no records", { kind: floatingIps }, ({ length }) => length === 0);
    assert.equal(remove.count(), 2);
    await waitUntil(
      "both addresses to count as free",
      () =>
        cluster.ipam().metric("galaxy_ip_counter", {
          type: "allocated",
          subnet: "10.49.70.0/24",
          first_ip: "10.49.70.2",
        }),
      (count) => count === 0,
    );
  });

  test("an API server that fails, is busy or breaks connections at random delays pods and loses nothing", async () => {
    const { api } = cluster;
    const everySixth = (offset: number) => (call: ProxiedCall) =>
      !call.isWatch && !call.path.includes("/leases/") && call.index % 6 === offset;
    const faults = [
      proxy.break(everySixth(0), { kind: "status", code: 500 }),
      proxy.break(everySixth(1), { kind: "lose answer" }),
      proxy.break(everySixth(2), { kind: "status", code: 429, retryAfterSeconds: 1 }),
      proxy.break(everySixth(3), { kind: "refuse" }),
    ];
    await api.create(aDeployment({ name: "rough", replicas: 20 }));
    await api.create(aDeployment({ name: "firm", replicas: 10, policy: "immutable" }));
    const areHit = (times: number) =>
      waitUntil(
        `each fault to hit ${times} calls`,
        () => faults.map((fault) => fault.count()),
        (counts) => counts.every((count) => count >= times),
      );
    await areHit(10);
    await api.deleteAll({ kind: pods, namespace: "default", labelSelector: "app=rough" });
    await areHit(20);
    await assertNoAddressTwice();
    proxy.heal();
    await cluster.nodes.nudgingWhile(cluster.readyPods("rough", 20));
    await cluster.nodes.nudgingWhile(cluster.readyPods("firm", 10));
    await resyncs(2);
    await waitForCleanAudit(api);
    await waitForRecords(api, "the records of 30 pods", "", ({ length }) => length === 30);
  });

  test("watches that are cut or too old miss nothing", async () => {
    const { api } = cluster;
    await api.create(aDeployment({ name: "watched", replicas: 5, policy: "immutable" }));
    const running = await cluster.readyPods("watched", 5);
    const [victim] = running as [Pod];
    const [lostIp] = floatIpsOf(running[1] as Pod);
    const held = proxy.break(({ isWatch }) => isWatch, { kind: "refuse" });
    const old = proxy.break(({ isWatch }) => isWatch, { kind: "too old" }, { times: 40 });
    assert.ok(proxy.cutWatches() > 5);
    await api.delete(floatingIps, { name: lostIp ?? "" });
    await api.delete(pods, { name: victim.metadata.name, namespace: "default" });
    await api.scale(deployments, { name: "watched", namespace: "default" }, 4);
    await waitUntil(
      "watches to be tried again",
      () => held.count(),
      (count) => count > 5,
    );
    held.end();
    await waitUntil(
      "versions to be too old",
      () => old.count(),
      (count) => count > 5,
    );
    old.end();
    await waitForRecords(api, "four records", "dp_default_watched_", ({ length }) => length === 4);
    await waitForCleanAudit(api);
  });

  test("one slow call delays only the pod that it belongs to", async () => {
    const { url } = cluster.ipam();
    const slow = await unscheduledPod("slow");
    const held = proxy.break(isBindingOf("slow"), { kind: "hold" });
    const slowBind = bind(url, slow, "a1");
    await waitUntil(
      "the slow call",
      () => held.count(),
      (count) => count === 1,
      { everyMs: 10 },
    );
    const names = Array.from({ length: 20 }, (_, index) => `quick-${index}`);
    await inParallel(names, 20, async (name) => {
      const pod = await unscheduledPod(name);
      assert.deepEqual((await filterNames(url, pod, ["a1", "a2"])).NodeNames, ["a1", "a2"]);
      assert.equal(await bind(url, pod, "a2"), "");
    });
    // The call is still held: who had to wait for it would have got the error of a bind that takes too long.
    held.end();
    await slowBind;
    await waitUntil(
      "the slow pod to be bound",
      () => bind(url, slow, "a1"),
      (error) => error === "",
    );
    await waitForCleanAudit(cluster.api);
  });

  test("case 62: an address of a pod whose going cannot be written is not handed to its successor until it can", async () => {
    const { api } = cluster;
    await api.create(aStatefulSet({ name: "s", replicas: 1, policy: "never" }));
    const [first] = (await cluster.readyPods("s", 1)) as [Pod];
    const [ip] = floatIpsOf(first) as [string];
    const broken = proxy.break(isRecordWrite("PATCH", ip), { kind: "status", code: 500 });
    const alsoPut = proxy.break(isRecordWrite("PUT", ip), { kind: "status", code: 500 });
    await api.delete(pods, { name: "s-0", namespace: "default" });
    const second = await api.waitForOne(
      "the successor",
      pods,
      { name: "s-0", namespace: "default" },
      ({ metadata }) => metadata.uid !== first.metadata.uid,
    );
    const error = await bind(cluster.ipam().url, second, first.spec.nodeName ?? "");
    assert.match(error, /waiting for delete event of .*s-0 before reuse this ip/);
    assert.ok(broken.count() + alsoPut.count() > 0);
    const record = await api.get(floatingIps, { name: ip });
    assert.equal(record && holderOf(record).Uid, first.metadata.uid);
    proxy.heal();
    const [again] = (await cluster.nodes.nudgingWhile(cluster.readyPods("s", 1))) as [Pod];
    assert.equal(again.metadata.uid, second.metadata.uid);
    assert.deepEqual(floatIpsOf(again), [ip]);
    await waitForCleanAudit(api);
  });

  test("the API server stopped: reads go on, filter and bind answer errors in time, and work resumes by itself", async () => {
    const { api, plane } = cluster;
    await api.create(aDeployment({ name: "before", replicas: 4, policy: "immutable" }));
    await cluster.readyPods("before", 4);
    const pod = await unscheduledPod("during");
    const { url, pid } = { url: cluster.ipam().url, pid: cluster.ipam().pid };
    await plane.stopApiServer();
    try {
      await answersInTime(url, pod);
      assert.equal((await cluster.ipam().health("/healthy")).status, 200);
      const bound = await cluster.ipam().metric("galaxy_ip_counter", {
        type: "bound",
        subnet: "10.49.70.0/24",
        first_ip: "10.49.70.2",
      });
      assert.ok(bound !== undefined, "metrics go on");
    } finally {
      await plane.startApiServer();
    }
    await cluster.ipam().whenReady();
    assert.equal(cluster.ipam().pid, pid);
    await workResumes();
  });

  test("the API server paused: what hangs is answered with an error in time, and work resumes by itself", async () => {
    const { plane } = cluster;
    const pod = await unscheduledPod("hangs");
    plane.pauseApiServer();
    try {
      await answersInTime(cluster.ipam().url, pod);
      // Past the lease, so that it has stopped leading.
      await waitUntil(
        "the leader to give up",
        () => cluster.ipam().health("/readyz"),
        ({ status }) => status === 503,
      );
    } finally {
      plane.resumeApiServer();
    }
    await cluster.ipam().whenReady();
    await workResumes();
  });

  test("etcd killed and started again: nothing is lost, and work resumes by itself", async () => {
    const { api, plane } = cluster;
    await api.create(aDeployment({ name: "old", replicas: 4, policy: "never" }));
    await cluster.readyPods("old", 4);
    const before = (await api.list({ kind: floatingIps })).map(({ metadata }) => metadata.uid);
    await plane.restartEtcd(500);
    await waitUntil(
      "the API server to work again",
      () => api.list({ kind: floatingIps }),
      (records) => {
        assert.deepEqual(
          records.map(({ metadata }) => metadata.uid),
          before,
        );
        return true;
      },
    );
    await workResumes();
  });

  /** While the API server does not answer: filter and bind do, by the time limits in the flags of this file. */
  async function answersInTime(url: string, pod: Pod): Promise<void> {
    const answerOf = async (call: Promise<unknown>): Promise<unknown> => {
      const answer = await call.catch((error: unknown) => String(error));
      assert.doesNotMatch(String(answer), /TimeoutError/, "it answers at all");
      return answer;
    };
    await answerOf(filterNames(url, pod, ["a1"]));
    assert.notEqual(await answerOf(bind(url, pod, "a1")), "", "nothing was bound");
  }

  async function workResumes(): Promise<void> {
    const { api } = cluster;
    await retried(() => api.create(aDeployment({ name: "resumed", replicas: 5 })));
    await cluster.nodes.nudgingWhile(cluster.readyPods("resumed", 5));
    await waitForCleanAudit(api);
  }
});

/** An API server that has just come back refuses some calls for a moment. */
async function retried(call: () => Promise<KubeObject>): Promise<void> {
  await waitUntil(
    "the API server to take writes",
    async () => {
      try {
        await call();
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 409)) throw error;
      }
      return true;
    },
    (isDone) => isDone,
  );
}
