// Backup and restore on a real control plane: records and definitions that were lost, a restore that is killed half way, a backup that is older
// than the pods; and that fields of a newer version survive this one.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { floatIpsOf, isReady, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { removeAtExit } from "../control-plane/child-program.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { type FaultyApiProxy, startFaultyApiProxy } from "../control-plane/faulty-api-proxy.ts";
import { Galaxyctl, type Run } from "../control-plane/galaxyctl.ts";
import {
  customResourceDefinitions,
  type FloatingIp,
  floatingIps,
  type Pod,
  pods,
  pools,
  statefulSets,
} from "../control-plane/kinds.ts";
import { aDeployment, aFloatingIp, aPod, aPool, aStatefulSet } from "../control-plane/manifests.ts";
import { addressByPod } from "../control-plane/records.ts";

const skip = await reasonToSkip();

/** What a record means, without what only says when and in which version. */
function meaningOf({ metadata, spec }: FloatingIp) {
  return { name: metadata.name, key: spec.key, policy: spec.policy, attribute: spec.attribute };
}

describe("backup and restore", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-backup-e2e-"));
  removeAtExit(folder);
  const file = join(folder, "backup.jsonl");
  let cluster: Cluster;
  let proxy: FaultyApiProxy;
  let saved: readonly FloatingIp[];
  let savedPods: readonly Pod[];
  const db = { name: "db", namespace: "default" };
  const printer = { name: "10.49.70.20" };

  before(async () => {
    proxy = await startFaultyApiProxy();
    cluster = await startCluster({ proxy, flags: ["--vip=false"] });
  });
  after(async () => {
    await cluster?.stop();
    await proxy?.stop();
  });

  const galaxyctl = (...args: readonly string[]): Promise<Run> =>
    new Galaxyctl({
      GALAXY_SERVER: cluster.ipam().apiUrl,
      GALAXY_TOKEN: cluster.plane.tokenOf("admin"),
    }).run(args);
  const succeeds = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await galaxyctl(...args);
    assert.equal(code, 0, `galaxyctl ${args.join(" ")}: ${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  };
  const records = () => cluster.api.list<FloatingIp>({ kind: floatingIps });
  const recordsAre = (wanted: readonly FloatingIp[]) =>
    waitUntil("the records to be those of the backup", records, (found) => {
      const means = (all: readonly FloatingIp[]) =>
        JSON.stringify(all.map(meaningOf).toSorted((a, b) => (a.name < b.name ? -1 : 1)));
      return means(found) === means(wanted);
    });
  const podsAreUntouched = async () => {
    const seen = new Map(
      (await cluster.api.list({ kind: pods })).map((pod) => [pod.metadata.uid, pod]),
    );
    for (const pod of savedPods) {
      const now = seen.get(pod.metadata.uid);
      assert.deepEqual(now && floatIpsOf(now), floatIpsOf(pod), pod.metadata.name);
    }
  };

  test("a backup has everything, in an order that can be compared", async () => {
    const { api } = cluster;
    await api.create(aPool({ name: "blue", size: 3, preAllocateIP: true }));
    await api.create(aDeployment({ name: "web", policy: "immutable", replicas: 2 }));
    await api.create(
      aStatefulSet({
        name: "db",
        policy: "never",
        replicas: 3,
        spec: { podManagementPolicy: "Parallel" },
      }),
    );
    await cluster.readyPods("web", 2);
    await cluster.readyPods("db", 3);
    await api.scale(statefulSets, db, 1);
    savedPods = [...(await cluster.readyPods("web", 2)), ...(await cluster.readyPods("db", 1))];
    await succeeds("ip", "reserve", "10.49.70.20", "--reason", "printer");
    await succeeds("quota", "set", "gold", "--limit", "50", "--for", "default");
    // As a newer release, or somebody with a label of their own, would leave it.
    const foreign = { metadata: { labels: { team: "print" } }, spec: { future: { a: 1 } } };
    await api.patch(floatingIps, printer, foreign);
    saved = await waitUntil("two reservations of db, three of the pool", records, (all) => {
      const ofKey = (start: string) => all.filter(({ spec }) => spec.key.startsWith(start));
      const free = ofKey("sts_default_db_").filter(({ spec }) => spec.attribute?.includes('""'));
      return free.length === 2 && ofKey("pool__blue_").length === 3;
    });
    assert.match(
      await succeeds("backup", file),
      /9 records, 1 Pool, 1 FloatingIPQuota, the configuration, as of/,
    );
    const again = join(folder, "again.jsonl");
    await succeeds("backup", again);
    const objectsOf = (name: string) => readFileSync(name, "utf8").split("\n").slice(1, -2);
    assert.deepEqual(objectsOf(again), objectsOf(file));
    assert.match(await succeeds("restore", file, "--dry-run"), /0 would be restored, 11 there/);
  });

  test("all definitions and records deleted, and the restore killed half way: a second one ends it", async () => {
    const { api } = cluster;
    await cluster.plane.stopScheduler();
    await cluster.restartIpam("SIGTERM", {
      meanwhile: async () => {
        for (const plural of ["floatingips", "pools", "floatingipquotas"]) {
          const at = { name: `${plural}.galaxy.k8s.io` };
          await api.delete(customResourceDefinitions, at);
          await api.waitForGone(customResourceDefinitions, at);
        }
      },
    });
    const lost = await records();
    assert.equal(lost.length, 3, "those of living pods are made again by themselves");
    assert.match(await succeeds("restore", file, "--dry-run"), /8 would be restored, 3 there/);
    assert.equal((await records()).length, 3);
    let writes = 0;
    const held = proxy.break(
      ({ method, path }) => method === "POST" && path.includes("/floatingips") && ++writes > 3,
      { kind: "hold" },
    );
    const killed = galaxyctl("restore", file, "--yes");
    await waitUntil(
      "the restore to be half done",
      () => held.count(),
      (count) => count > 0,
    );
    await cluster.restartIpam("SIGKILL", { isReady: false });
    proxy.heal();
    const { code } = await killed;
    assert.notEqual(code, 0, "a restore that did not end says so");
    await cluster.ipam().whenReady();
    assert.match(await succeeds("restore", file, "--yes"), /, 0 refused/);
    await recordsAre(saved);
    await waitUntil(
      "the pool to be there",
      () => api.list({ kind: pools }),
      ([pool]) => pool?.metadata.name === "blue",
    );
    assert.match(await succeeds("check"), /everything agrees/);
    await podsAreUntouched();
    assert.match(await succeeds("restore", file, "--yes"), /0 restored, 11 there already/);
    const record = await api.get(floatingIps, printer);
    const spec = record?.spec as unknown as Record<string, unknown> | undefined;
    assert.deepEqual([record?.metadata.labels?.["team"], spec?.["future"]], ["print", { a: 1 }]);
    assert.match(await succeeds("quota", "list"), /default +gold +50/);
  });

  test("what was kept goes to whom it was kept for, and to nobody else", async () => {
    const { api } = cluster;
    await cluster.plane.startScheduler({ extenderUrl: cluster.ipam().url });
    await api.scale(statefulSets, db, 3);
    const back = addressByPod(await cluster.readyPods("db", 3));
    for (const { metadata, spec } of saved) {
      const [, name] = /^sts_default_db_(.+)$/.exec(spec.key) ?? [];
      if (name !== undefined) assert.equal(back[name], metadata.name);
    }
    await api.create(aDeployment({ name: "fresh", replicas: 4 }));
    const taken = new Set(saved.map(({ metadata }) => metadata.name));
    for (const pod of await cluster.readyPods("fresh", 4)) {
      assert.ok(
        floatIpsOf(pod).every((ip) => !taken.has(ip)),
        pod.metadata.name,
      );
    }
    await waitForCleanAudit(api);
  });

  test("an address that a pod got since the backup stays with the pod, and is named", async () => {
    const { api } = cluster;
    await succeeds("ip", "unreserve", "10.49.70.20");
    await api.create(aPod({ name: "taker", ranges: [["10.49.70.20"]] }));
    await api.waitForOne(
      "the taker to run",
      pods,
      { name: "taker", namespace: "default" },
      isReady,
    );
    const { code, stdout, stderr } = await galaxyctl("restore", file, "--yes", "-o", "wide");
    assert.equal(code, 1, stderr);
    assert.match(stdout, /10\.49\.70\.20 +refused +it belongs to pod default\/taker; .*release it/);
    const taker = await api.get(pods, { name: "taker", namespace: "default" });
    assert.deepEqual(taker && floatIpsOf(taker), ["10.49.70.20"]);
    const record = await api.get(floatingIps, { name: "10.49.70.20" });
    assert.equal(record?.spec.key, "NULL_default_NULL_taker");
    assert.match(await succeeds("check"), /everything agrees/);
    await waitForCleanAudit(api);
  });

  test("fields and definitions of a newer version survive what this version writes", async () => {
    const { api } = cluster;
    const at = { name: "floatingips.galaxy.k8s.io" };
    const definition = await api.get(customResourceDefinitions, at);
    const [version] = definition?.spec.versions ?? [];
    assert.ok(definition !== undefined && version !== undefined);
    const schema = structuredClone(version) as unknown as {
      schema: {
        openAPIV3Schema: { properties: { spec: { properties: Record<string, unknown> } } };
      };
    };
    schema.schema.openAPIV3Schema.properties.spec.properties["future"] = { type: "string" };
    await api.patch(customResourceDefinitions, at, { spec: { versions: [schema] } });
    const name = addressByPod(await cluster.readyPods("db", 3))["db-0"] ?? "";
    const labels = { "galaxy.k8s.io/future": "yes" };
    await api.patch(
      floatingIps,
      { name },
      {
        metadata: { labels },
        spec: { future: "kept", workload: { future: 7 } },
      },
    );
    await api.patch(pools, { name: "blue", namespace: "kube-system" }, { future: { a: 1 } });
    // This version writes the record twice, the Pool once, and looks at the definitions when it starts.
    await cluster.restartIpam("SIGTERM");
    const uid = (await api.get(pods, { name: "db-0", namespace: "default" }))?.metadata.uid;
    await api.delete(pods, { name: "db-0", namespace: "default" });
    await api.waitForOne(
      "db-0 to come back",
      pods,
      { name: "db-0", namespace: "default" },
      (pod) => pod.metadata.uid !== uid && isReady(pod),
    );
    await succeeds("pool", "create", "blue", "--size", "4");
    const record = await api.get(floatingIps, { name });
    const spec = record?.spec as unknown as Record<string, unknown> | undefined;
    assert.equal(spec?.["future"], "kept");
    const workload = spec?.["workload"] as Record<string, unknown> | undefined;
    assert.equal(workload?.["future"], 7);
    assert.equal(record?.metadata.labels?.["galaxy.k8s.io/future"], "yes");
    const pool = await api.get(pools, { name: "blue", namespace: "kube-system" });
    assert.deepEqual((pool as unknown as Record<string, unknown>)["future"], { a: 1 });
    const after = await api.get(customResourceDefinitions, at);
    assert.match(JSON.stringify(after?.spec.versions), /"future":\{"type":"string"\}/);
    // A policy of a newer version is not understood, and releases nothing.
    await api.create(aFloatingIp({ ip: "10.173.80.21", key: "quux_v2:default/x" }));
    await waitUntil(
      "it to be taken",
      () => galaxyctl("ip", "get", "10.173.80.21"),
      ({ stdout }) => stdout.includes("quux_v2"),
    );
    await api.delete(floatingIps, { name: "10.173.80.21" });
    await waitForCleanAudit(api);
  });
});
