// What resync, start and adoption find by themselves on a real control plane: records of pods that are gone, pods without records, records
// edited by hand. The decision behind it is tested in src/core.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { floatIpsOf, ipInfosOf, waitUntil } from "../control-plane/api.ts";
import { audit, waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  deployments,
  type FloatingIp,
  floatingIps,
  type Pod,
  pods,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aDeployment,
  aFloatingIp,
  aPod,
  aStatefulSet,
  POLICY_ANNOTATION,
} from "../control-plane/manifests.ts";
import { logLinesOf } from "../control-plane/program-log.ts";
import { holderOf, waitForEvent, waitForRecords } from "../control-plane/records.ts";

const skip = await reasonToSkip();

describe("resync and adoption", { skip }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
  });

  after(async () => {
    await cluster?.stop();
  });

  async function resyncs(count: number): Promise<void> {
    const done = () => cluster.ipam().metric("galaxy_resync_duration_seconds_count");
    const before = (await done()) ?? 0;
    await waitUntil(`${count} resyncs`, done, (now) => (now ?? 0) >= before + count);
  }

  afterEach(async () => {
    const { api } = cluster;
    await api.deleteAll({ kind: deployments, namespace: "default" });
    await api.deleteAll({ kind: statefulSets, namespace: "default" });
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor(
      "no pods",
      { kind: pods, namespace: "default" },
      ({ length }) => length === 0,
    );
    await api.deleteAll({ kind: floatingIps });
    await api.waitFor("no records", { kind: floatingIps }, ({ length }) => length === 0);
  });

  /** `10.49.70.2 dp_default_web_ -` for a record without pod, else with the node at the end. */
  const lineOf = (record: FloatingIp): string =>
    `${record.metadata.name} ${record.spec.key} ${holderOf(record).NodeName || "-"}`;

  test("case 110: records of pods that went while the program was down are released or kept, row by row", async () => {
    const { api } = cluster;
    const down = async (): Promise<void> => {
      await api.create(
        aDeployment({ name: "two", replicas: 2, policy: "immutable", schedulerName: "nobody" }),
      );
      await api.create(aDeployment({ name: "none", replicas: 2, schedulerName: "nobody" }));
      await api.create(
        aStatefulSet({ name: "db", replicas: 2, policy: "immutable", schedulerName: "nobody" }),
      );
      const seeds: readonly (readonly [number, string, 0 | 1 | 2])[] = [
        // (1) the pod is gone and so is its workload
        [2, "dp_default_gone_gone-5f7-a", 1],
        [3, "dp_default_gone_gone-5f7-b", 0],
        [4, "sts_default_gone_gone-0", 1],
        [5, "sts_default_gone_gone-1", 0],
        [6, "pool__p_dp_default_gone_gone-5f7-c", 2],
        // (2) the pod is gone, the workload has no policy
        [7, "dp_default_none_none-5f7-a", 0],
        // (3) a Deployment of two has three records
        [8, "dp_default_two_two-5f7-a", 1],
        [9, "dp_default_two_two-5f7-b", 1],
        [10, "dp_default_two_two-5f7-c", 1],
        // (4) ordinals inside and outside the replicas
        [11, "sts_default_db_db-1", 1],
        [12, "sts_default_db_db-2", 1],
        // never is kept whatever happens
        [13, "dp_default_gone_gone-5f7-d", 2],
        [14, "sts_default_gone_gone-7", 2],
        [15, "pool__p_", 2],
        // others are released
        [16, "NULL_default_NULL_bare", 0],
        [17, "job_default_once_once-x7k2p", 0],
        [18, "NULL_default_NULL_bare-0", 2],
      ];
      for (const [last, key, policy] of seeds) {
        const holder = key.endsWith("_") ? {} : { nodeName: "a1", podUid: `dead-${last}` };
        await api.create(aFloatingIp({ ip: `10.49.70.${last}`, key, policy, ...holder }));
      }
      // (5) a finished pod whose record names it
      const { metadata } = await api.create(
        aPod({ name: "over", nodeName: "b1", annotations: assigned("10.49.70.19") }),
      );
      await api.create(
        aFloatingIp({
          ip: "10.49.70.19",
          key: "NULL_default_NULL_over",
          nodeName: "b1",
          podUid: metadata.uid,
        }),
      );
      await cluster.readyPods("over", 1);
      await cluster.nodes.succeedPod({ name: "over" });
    };
    await cluster.restartIpam("SIGTERM", { meanwhile: down });
    const wanted = [
      "10.49.70.11 sts_default_db_db-1 -",
      "10.49.70.13 dp_default_gone_ -",
      "10.49.70.14 sts_default_gone_gone-7 -",
      "10.49.70.15 pool__p_ -",
      "10.49.70.18 NULL_default_NULL_bare-0 -",
      "10.49.70.6 pool__p_ -",
    ];
    // Which two of the three records of the Deployment of two stay is open.
    const isOfTwo = ({ spec }: FloatingIp) => spec.key === "dp_default_two_";
    const isDone = (records: readonly FloatingIp[]) => {
      const others = records.filter((record) => !isOfTwo(record)).map(lineOf);
      return isDeepStrictEqual(others.toSorted(), wanted) && records.filter(isOfTwo).length === 2;
    };
    const left = await waitForRecords(
      api,
      `what a resync leaves: ${wanted.join("; ")}`,
      "",
      isDone,
    );
    await resyncs(2);
    assert.deepEqual(await api.list({ kind: floatingIps }), left, "a second resync writes nothing");
  });

  test("case 113: records that cannot be understood are kept, said, and taken out of allocation", async () => {
    const { api } = cluster;
    await cluster.restartIpam("SIGTERM", {
      meanwhile: async () => {
        await api.create(aFloatingIp({ ip: "10.49.70.2", key: "hello-xx" }));
        await api.create(aFloatingIp({ ip: "10.49.70.3", key: "a_b_c_d_e" }));
        const odd = aFloatingIp({ ip: "10.49.70.4", key: "sts_default_db_db-0", policy: 2 });
        const spec = { ...(odd["spec"] as object), attribute: "xx" };
        await api.create({ ...odd, spec });
        await api.create(aFloatingIp({ ip: "10.49.70.5", key: "sts_default_x_x-0" }));
        await api.create(
          aFloatingIp({ ip: "10.200.0.1", key: "dp_default_gone_gone-1-a", podUid: "dead" }),
        );
        await api.create({
          apiVersion: "galaxy.k8s.io/v1alpha1",
          kind: "FloatingIP",
          metadata: { name: "not-an-address" },
          spec: { key: "sts_default_db_db-1", policy: 0 },
        });
      },
    });
    const left = ["10.49.70.2", "10.49.70.3", "10.49.70.4", "not-an-address"];
    const namesOf = (records: readonly FloatingIp[]) =>
      records.map(({ metadata }) => metadata.name).toSorted();
    await waitForRecords(api, `only ${left.join(", ")}`, "", (records) =>
      isDeepStrictEqual(namesOf(records), left),
    );
    await resyncs(2);
    assert.deepEqual(namesOf(await api.list({ kind: floatingIps })), left, "the odd ones stay");
    assert.ok((await cluster.ipam().metric("galaxy_bad_input_total", { input: "record" })) ?? 0);
    await api.create(
      aDeployment({
        name: "around",
        replicas: 3,
        nodeSelector: { "kubernetes.io/hostname": "a1" },
      }),
    );
    const taken = (await cluster.readyPods("around", 3)).flatMap(floatIpsOf).toSorted();
    assert.ok(!taken.some((ip) => left.includes(ip)), taken.join(", "));
  });

  test("case 114: running pods that carry addresses without records are adopted before the first answer", async () => {
    const { api } = cluster;
    const owned: Pod[] = [];
    await cluster.restartIpam("SIGTERM", {
      isReady: false,
      meanwhile: async () => {
        const running = async (name: string, ips: readonly string[], policy?: string) => {
          const pod = await api.create(
            aPod({
              name,
              nodeName: "a1",
              annotations: {
                ...assigned(...ips),
                ...(policy === undefined ? {} : { [POLICY_ANNOTATION]: policy }),
              },
            }),
          );
          await cluster.readyPods(name, 1);
          owned.push(pod);
        };
        await running("one", ["10.49.70.2"]);
        await running("several-0", ["10.49.70.3", "10.49.70.4"], "never");
        await running("held", ["10.49.70.5"]);
        await running("outside", ["10.99.0.1"]);
        await api.create(aFloatingIp({ ip: "10.49.70.5", key: "sts_default_x_x-0", policy: 2 }));
        // Pending and on no node: whatever its annotation says, it has no address.
        await api.create(
          aPod({ name: "pending", schedulerName: "nobody", annotations: assigned("10.49.70.6") }),
        );
      },
    });
    // The first answers are asked for as early as they are given, by as many pods as there are free addresses.
    await api.create(
      aDeployment({
        name: "early",
        replicas: 17,
        nodeSelector: { "kubernetes.io/hostname": "a2" },
      }),
    );
    await cluster.ipam().whenReady();
    const adopted = await api.list({ kind: floatingIps });
    const line = (name: string) => {
      const record = adopted.find(({ metadata }) => metadata.name === name);
      return record && [record.spec.key, record.spec.policy, holderOf(record)];
    };
    const holder = (index: number) => ({ NodeName: "a1", Uid: owned[index]?.metadata.uid });
    assert.deepEqual(line("10.49.70.2"), ["NULL_default_NULL_one", 0, holder(0)]);
    assert.deepEqual(line("10.49.70.3"), ["NULL_default_NULL_several-0", 2, holder(1)]);
    assert.deepEqual(line("10.49.70.4"), ["NULL_default_NULL_several-0", 2, holder(1)]);
    assert.deepEqual(line("10.49.70.5")?.slice(0, 2), ["sts_default_x_x-0", 2]);
    assert.equal(line("10.99.0.1"), undefined);
    await cluster.nodes.nudgeScheduler();
    await api.waitFor(
      "16 early pods with an address, and one that gets none",
      { kind: pods, namespace: "default", labelSelector: "app=early" },
      (seen) => seen.filter((pod) => floatIpsOf(pod).length > 0).length === 16,
    );
    const early = await api.list({ kind: pods, namespace: "default", labelSelector: "app=early" });
    const given = early.flatMap(floatIpsOf);
    assert.equal(new Set(given).size, 16);
    for (const ip of ["10.49.70.2", "10.49.70.3", "10.49.70.4", "10.49.70.5"]) {
      assert.ok(!given.includes(ip), `${ip} was given away`);
    }
    const log = logLinesOf(cluster.ipam().logFile).map((entry) => JSON.stringify(entry));
    const isSaid = (text: RegExp, ip: string) =>
      log.some((entry) => text.test(entry) && entry.includes(ip));
    assert.ok(isSaid(/belongs to somebody else/, "10.49.70.5"), "the conflict is logged");
    assert.ok(isSaid(/outside the configuration/, "10.99.0.1"), "the stranger is logged");
    await waitForEvent(
      api,
      { kind: "Pod", name: "held" },
      /10\.49\.70\.5.*belongs to default\/x-0/,
    );
  });

  test("D-10: the record of a living pod that is deleted by hand is made again, with an event", async () => {
    const { api } = cluster;
    await api.create(aDeployment({ name: "wiped", replicas: 3, policy: "immutable" }));
    const running = await cluster.readyPods("wiped", 3);
    await api.deleteAll({ kind: floatingIps });
    const again = await waitForRecords(
      api,
      "three records",
      "dp_default_wiped_",
      ({ length }) => length === 3,
    );
    assert.deepEqual(
      again.map(({ metadata }) => metadata.name).toSorted(),
      running.flatMap(floatIpsOf).toSorted(),
    );
    for (const { metadata } of running) {
      await waitForEvent(
        api,
        { kind: "Pod", name: metadata.name },
        /was deleted while pod .* uses it/,
      );
    }
    await waitForCleanAudit(api);
  });

  test("D-10: a record edited by hand is put right when it contradicts its pod", async () => {
    const { api } = cluster;
    await api.create(aStatefulSet({ name: "edited", replicas: 2, policy: "immutable" }));
    const [first, second] = (await cluster.readyPods("edited", 2)) as [Pod, Pod];
    const nameOf = (pod: Pod) => floatIpsOf(pod)[0] as string;
    const attribute = JSON.stringify({ NodeName: "elsewhere", Uid: "nobody" });
    await api.patch(floatingIps, { name: nameOf(first) }, { spec: { attribute } });
    await api.patch(
      floatingIps,
      { name: nameOf(second) },
      { spec: { key: "dp_default_other_other-1-a", policy: 0 } },
    );
    await waitForCleanAudit(api);
    const record = await api.get(floatingIps, { name: nameOf(second) });
    assert.equal(record?.spec.key, `sts_default_edited_${second.metadata.name}`);
  });

  test("a record made by hand for a free address goes through reclaim like any other", async () => {
    const { api } = cluster;
    await api.create(
      aFloatingIp({ ip: "10.49.70.9", key: "dp_default_nobody_nobody-1-a", podUid: "dead" }),
    );
    await api.create(aFloatingIp({ ip: "10.49.70.8", key: "pool__kept_", policy: 2 }));
    await waitForRecords(
      api,
      "the other record alone",
      "",
      (records) => records.length === 1 && records[0]?.metadata.name === "10.49.70.8",
    );
  });

  test("two living pods with one address are an event about the younger one and a metric", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "older", nodeSelector: { "kubernetes.io/hostname": "b1" } }));
    const [older] = (await cluster.readyPods("older", 1)) as [Pod];
    // Creation times have seconds.
    await waitUntil(
      "a second to pass on the API server's clock",
      () => Date.now() - Date.parse(older.metadata.creationTimestamp),
      (ms) => ms > 1_100,
    );
    const [info] = ipInfosOf(older);
    await api.create(
      aPod({
        name: "younger",
        nodeName: "b1",
        annotations: { [ARGS_ANNOTATION]: JSON.stringify({ common: { ipinfos: [info] } }) },
      }),
    );
    const event = await waitForEvent(
      api,
      { kind: "Pod", name: "younger" },
      /is also in the older pod default\/older/,
    );
    assert.equal(event.type, "Warning");
    const conflicts = await cluster
      .ipam()
      .metric("galaxy_conflicts_total", { kind: "address in two pods" });
    assert.ok((conflicts ?? 0) > 0);
    assert.equal((await audit(api)).length > 0, true, "the audit sees it, too");
    await api.delete(pods, { name: "younger", namespace: "default" });
    await waitForCleanAudit(api);
  });
});

function assigned(...ips: readonly string[]): Record<string, string> {
  const ipinfos = ips.map((ip) => ({ ip: `${ip}/24`, vlan: 2, gateway: "10.49.70.1" }));
  return { [ARGS_ANNOTATION]: JSON.stringify({ common: { ipinfos } }) };
}
