// The HTTP API of the real program on a real control plane: what it lists, releases and reserves is what the API server has. Who may ask is in
// api-security.test.ts.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ApiClient } from "../control-plane/api.ts";
import { podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import type { Cluster } from "../control-plane/cluster-with-galaxy.ts";
import { startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { floatingIps, pools, statefulSets } from "../control-plane/kinds.ts";
import { aStatefulSet } from "../control-plane/manifests.ts";
import { addressOf, waitForRecords } from "../control-plane/records.ts";

const skip = await reasonToSkip();

// oxlint-disable-next-line typescript/no-explicit-any -- a client of the API knows no types
type Body = any;

describe("the HTTP API on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster({ flags: ["--insecure-api"] });
    api = cluster.api;
  });
  after(async () => {
    await cluster?.stop();
  });

  const ask = async (
    path: string,
    method = "GET",
    body?: unknown,
  ): Promise<{ readonly status: number; readonly body: Body }> => {
    const response = await fetch(`${cluster.ipam().apiUrl}${path}`, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };

  test("case 115, case 121, case 122: lists, refuses to rob a running pod, releases what is left behind", async () => {
    const name = "db";
    await api.create(aStatefulSet({ name, replicas: 2, policy: "never" }));
    const pods = await cluster.readyPods(name, 2);
    const list = (query: string) => ask(`/v1/ip?appName=${name}&namespace=default&${query}`);
    const running = await waitUntil(
      "both pods to be listed as running",
      () => list("appType=statefulsets&sort=podname"),
      ({ body }) =>
        body.content.length === 2 && body.content.every((line: Body) => line.status === "Running"),
    );
    assert.deepEqual(
      running.body.content.map((line: Body) => [line.podName, line.releasable]),
      [
        ["db-0", undefined],
        ["db-1", undefined],
      ],
    );
    const robbed = await ask("/v1/ip", "POST", { ips: running.body.content });
    assert.equal(robbed.status, 202);
    assert.equal(robbed.body.unreleased.length, 2);
    assert.match(robbed.body.reasons[0], /releasable is false, pod status Running/);
    assert.equal((await api.list({ kind: floatingIps })).length, 2);
    const explained = (await ask(`/v1/explain/pod/default/${pods[0]?.metadata.name}`)).body;
    assert.equal(explained.decision, "has address");
    assert.equal(explained.addresses[0].ifPodGoes, "it is kept for later: policy never");

    await api.delete(statefulSets, { name, namespace: "default" });
    await api.waitFor("no pods", podsOf("default", name), (seen) => seen.length === 0);
    const kept = await waitUntil(
      "both addresses to be releasable",
      () => list("state=reserved"),
      ({ body }) =>
        body.content.length === 2 && body.content.every((line: Body) => line.releasable === true),
    );
    const entries = kept.body.content;
    for (let time = 1; time <= 2; time += 1) {
      const released = await ask("/v1/ip", "POST", { ips: entries });
      assert.deepEqual([released.status, released.body], [200, { code: 200, message: "" }]);
    }
    assert.equal((await api.list({ kind: floatingIps })).length, 0);
    await waitForCleanAudit(api);
  });

  test("case 127, case 128: a pool of the API is a Pool object, pre-allocated at once", async () => {
    const wanted = { name: "blue", size: 3, preAllocateIP: true };
    const created = await ask("/v1/pool", "POST", wanted);
    assert.deepEqual(
      [created.status, created.body],
      [200, { code: 200, message: "", realPoolSize: 3 }],
    );
    const records = await waitForRecords(
      api,
      "three records",
      "pool__blue_",
      (all) => all.length === 3,
    );
    assert.ok(records.every(({ spec }) => spec.key === "pool__blue_" && spec.policy === 2));
    const object = (await api.list({ kind: pools })).find(
      ({ metadata }) => metadata.name === "blue",
    );
    assert.equal(object?.metadata.namespace, "kube-system");
    assert.deepEqual((await ask("/v1/pool/blue")).body.pool, wanted);
    const more = await ask("/v1/pool", "POST", { ...wanted, size: 1_000 });
    assert.deepEqual(
      [more.status, more.body.message, more.body.realPoolSize],
      [202, "No enough IPs", 40],
    );
    const less = await ask("/v1/pool", "POST", { ...wanted, size: 2 });
    assert.deepEqual([less.status, less.body.realPoolSize], [200, 2]);
    assert.equal((await ask("/v1/pool/blue?release=true", "DELETE")).status, 200);
    await waitForRecords(api, "no records", "pool__blue_", (all) => all.length === 0);
    assert.equal((await ask("/v1/pool/blue", "DELETE")).status, 404);
  });

  test("a reservation is a FloatingIP with the label, which the API server has before the answer", async () => {
    const ip = "10.49.70.9";
    assert.equal((await ask(`/v1/reservation/${ip}`, "PUT", { reason: "router" })).status, 200);
    const [record] = await api.list({ kind: floatingIps });
    assert.equal(addressOf(record as never), ip);
    assert.ok(Object.hasOwn(record?.metadata.labels ?? {}, "reserved"));
    const { body } = await ask(`/v1/ip/${ip}`);
    assert.deepEqual([body.state, body.key], ["admin", "router"]);
    assert.equal((await ask("/v1/ip", "POST", { ips: [{ ip }] })).status, 202);
    assert.equal((await ask(`/v1/reservation/${ip}`, "DELETE")).status, 200);
    assert.equal((await api.list({ kind: floatingIps })).length, 0);
  });

  test("status, subnets, check and documents tell what is there", async () => {
    const status = (await ask("/v1/status")).body;
    assert.deepEqual(
      [status.mode, status.isLeader, status.isReady, status.counts.nodes],
      ["kubernetes", true, true, 4],
    );
    assert.equal(status.leader, status.instance);
    assert.match(status.configuration.source, /ConfigMap kube-system\/floatingip-config/);
    assert.equal((await ask("/v1/subnet")).body.subnets.length, 2);
    const check = await waitUntil(
      "a check without findings",
      () => ask("/v1/check"),
      ({ body }) => body.findings.length === 0,
    );
    assert.equal(check.status, 200);
    assert.equal((await ask("/apidocs.json/v1")).body.swaggerVersion, "1.2");
    assert.equal((await ask("/openapi.json")).body.openapi, "3.1.0");
  });
});
