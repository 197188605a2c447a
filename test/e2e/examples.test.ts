// The examples on a real control plane: a real API server accepts every manifest as it stands, and what they promise comes true.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  customResourceDefinitions,
  deployments,
  floatingIps,
  floatingVips,
  type Pod,
  pods,
} from "../control-plane/kinds.ts";
import { aDeployment, aNamespace } from "../control-plane/manifests.ts";
import { addressesOf, waitForEvent, waitForRecords } from "../control-plane/records.ts";
import { exampleFiles, examplesOf } from "../examples.ts";

const skip = await reasonToSkip();

describe("examples on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;
  const applied = new Set<string>();

  const apply = async (file: string): Promise<void> => {
    for (const manifest of examplesOf(file)) await api.apply(manifest);
    applied.add(file);
  };

  before(async () => {
    cluster = await startCluster({
      floatingips: false,
      nodes: [
        { name: "n1", internalIp: "10.0.0.1" },
        { name: "n3", internalIp: "10.0.1.3" },
      ],
    });
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
  });

  const podWith = async (name: string, count: number): Promise<readonly string[]> => {
    const at = { name, namespace: "default" };
    const has = (pod: Pod) => floatIpsOf(pod).length === count;
    return floatIpsOf(await api.waitForOne(`pod ${name} with addresses`, pods, at, has));
  };

  test("the configuration makes the program ready, and a reservation keeps an address out", async () => {
    await apply("floatingip-config.yaml");
    await cluster.ipam().whenReady();
    await apply("reservation.yaml");
    await waitForRecords(
      api,
      "the reservation",
      "pool__reserved-",
      ([record]) => record !== undefined,
    );
  });

  test("workloads of every policy run with addresses", async () => {
    const workloads = [
      ["deployment.yaml", "web", 2],
      ["deployment-immutable.yaml", "shop", 3],
      ["deployment-surge-ips.yaml", "checkout", 2],
      ["deployment-fix-rollout.yaml", "billing", 2],
      ["deployment-never.yaml", "mail", 2],
      ["deployment-reserve-ttl.yaml", "report", 2],
      ["statefulset-immutable.yaml", "db", 2],
      ["statefulset-never.yaml", "queue", 2],
    ] as const;
    for (const [file] of workloads) await apply(file);
    for (const [, app, count] of workloads) {
      const addresses = addressesOf(await cluster.readyPods(app, count));
      assert.equal(addresses.length, count, app);
      for (const address of addresses) assert.match(address, /^10\.0\.(?:70|80)\./);
      assert.ok(!addresses.includes("10.0.70.2"), "a reserved address was given to a pod");
    }
  });

  test("blue and green share a pool", async () => {
    await apply("pool.yaml");
    await apply("blue-green-blue.yaml");
    const blue = addressesOf(await cluster.readyPods("frontend-blue", 2));
    await apply("blue-green-green.yaml");
    await api.scale(deployments, { name: "frontend-blue", namespace: "default" }, 0);
    assert.deepEqual(addressesOf(await cluster.readyPods("frontend-green", 2)), blue);
  });

  test("a pool is filled before its first pod", async () => {
    await apply("pool-preallocated.yaml");
    await waitForRecords(
      api,
      "the pool's addresses",
      "pool__partners_",
      ({ length }) => length === 3,
    );
  });

  test("kept addresses have the time of workload or pool, and a quota keeps further pods waiting", async () => {
    await apply("pool-reserve-ttl.yaml");
    await waitForRecords(
      api,
      "the Deployment's addresses with its time",
      "dp_default_report_",
      (seen) => seen.length === 2 && seen.every(({ spec }) => spec["reserveTTL"] === "1h"),
    );
    await apply("quota.yaml");
    await api.create(aNamespace("team-a"));
    await api.create(aDeployment({ name: "many", namespace: "team-a", replicas: 4 }));
    const isWaiting = ({ spec }: Pod) => (spec.nodeName ?? "") === "";
    const seen = await api.waitFor(
      "three pods with addresses and one without",
      podsOf("team-a", "many"),
      (all) => all.length === 4 && all.filter(isWaiting).length === 1,
    );
    const about = {
      kind: "Pod",
      namespace: "team-a",
      name: seen.find(isWaiting)?.metadata.name ?? "",
    };
    await waitForEvent(api, about, /FloatingIPQuota team-a allows 3 addresses/);
  });

  test("a pod has several addresses", async () => {
    await apply("several-addresses.yaml");
    const [first = "", second] = await podWith("router", 2);
    assert.match(first, /^10\.0\.70\.10\d$/);
    assert.equal(second, "10.0.80.9");
  });

  test("two pods claim an address, and both are candidates", async () => {
    await apply("virtual-ip.yaml");
    await api.waitForOne(
      "the address with two who claim it",
      floatingVips,
      { name: "192.0.2.200" },
      ({ status }) => (status?.["candidates"] as readonly unknown[] | undefined)?.length === 2,
    );
  });

  test("the API server accepts the rest as it stands", async () => {
    await apply("job.yaml");
    await apply("custom-workload-crd.yaml");
    const crd = { name: "tapps.apps.tkestack.io" };
    await api.waitForOne("the kind to be served", customResourceDefinitions, crd, ({ status }) =>
      Boolean(status?.conditions?.some((c) => c.type === "Established" && c.status === "True")),
    );
    await waitUntil(
      "the kind to be discovered",
      () => api.call("GET", "/apis/apps.tkestack.io/v1"),
      () => true,
    );
    await apply("custom-workload.yaml");
  });

  test("a pod has an address of each family", async () => {
    await apply("floatingip-config-dual-stack.yaml");
    await apply("dual-stack-pod.yaml");
    const [first = "", second = ""] = await podWith("both", 2);
    assert.match(first, /^fd00:70::/);
    assert.match(second, /^10\.0\.70\./);
  });

  test("no example was left out, and the addresses are where they should be", async () => {
    const isForScheduler = (file: string) => file.startsWith("scheduler-config-");
    assert.deepEqual(
      exampleFiles().filter((file) => !isForScheduler(file) && !applied.has(file)),
      [],
    );
    assert.ok((await api.list({ kind: floatingIps })).length > 15);
    await waitForCleanAudit(api);
  });
});
