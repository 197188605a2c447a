// Explanations, the check with its repairs, the import, the map and the status over HTTP.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import { ApiWorld } from "../api-world.ts";
import {
  aNode,
  anAllocation,
  aPod,
  aPodSubnet,
  aStatefulSetRef,
  controlledBy,
  podOwner,
} from "../builders.ts";

let api: ApiWorld;

/** Three addresses for n1; n2 is in no node subnet. */
beforeEach(async () => {
  api = await ApiWorld.leading([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"] })]);
  api.world.cluster.putNode(aNode("n1", "10.0.1.1"));
  api.world.cluster.putNode(aNode("n2", "10.9.9.9"));
  await api.world.settle();
});
afterEach(() => api.close());

const explain = async (name: string) => (await api.call(`/v1/explain/pod/ns1/${name}`)).body;

async function put(...records: Parameters<typeof anAllocation>[0][]): Promise<void> {
  for (const record of records) {
    await new MemoryAllocationStore(api.world.cluster).create(anAllocation(record));
  }
}

const dbPod = (name: string, more: Parameters<typeof aPod>[0] = {}) =>
  aPod({
    name,
    policy: "immutable",
    controller: controlledBy("apps/v1", "StatefulSet", "db"),
    ...more,
  });

describe("GET /v1/explain/pod", () => {
  test("a pod that would get an address: from where, on which nodes", async () => {
    api.world.cluster.putPod(aPod());
    await api.world.settle();
    const body = await explain("pod1");
    assert.equal(body.decision, "would get address");
    assert.match(body.because, /1 nodes pass, with 10\.0\.70\.2/);
    assert.deepEqual(body.nodes, [
      {
        nodes: ["n1"],
        nodeCount: 1,
        subnets: ["10.0.70.0/24"],
        addresses: [{ ip: "10.0.70.2", from: "free" }],
      },
    ]);
    // Asking promises nothing.
    assert.equal((await api.call("/v1/ip/10.0.70.2")).body.state, "free");
  });

  test("a pod that has an address, with what becomes of it when the pod goes", async () => {
    api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 1 });
    await api.world.schedule(dbPod("db-0"));
    const body = await explain("db-0");
    assert.equal(body.decision, "has address");
    assert.equal(body.facts.workload, "statefulset ns1/db");
    assert.equal(body.addresses[0].ifPodGoes, "it is kept for later: ordinal below replicas");
    api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 0 });
    await api.world.settle();
    assert.equal((await explain("db-0")).addresses[0].ifPodGoes, "it is released: scaled down");
  });

  test("the reason and the remedy are those of the scheduler's own answers", async () => {
    await put(
      ...["2", "3", "4"].map((last) => ({
        ip: `10.0.70.${last}`,
        owner: { kind: "admin" as const, key: "kept" },
        policy: "never" as const,
        podUid: "",
      })),
    );
    const pod = aPod();
    api.world.cluster.putPod(pod);
    await api.world.settle();
    const body = await explain("pod1");
    assert.equal(body.decision, "no node");
    const reply = await api.world.filter(pod, ["n1"]);
    assert.equal(reply.kind, "nodes");
    const said = reply.kind === "nodes" ? (reply.failed.get("n1") ?? "") : "";
    assert.equal(said, `FloatingIPPlugin:NoFIPLeft: ${body.because}`);
    assert.match(body.remedy.join(), /extend "ips" of 10\.0\.70\.0\/24/);
  });

  test("a policy that the owner cannot have, a pod that wants nothing, one that is not there", async () => {
    api.world.cluster.putPod(aPod({ policy: "immutable" }));
    api.world.cluster.putPod(aPod({ name: "plain", wantsAddress: false }));
    await api.world.settle();
    const refused = await explain("pod1");
    assert.deepEqual([refused.decision, refused.remedy.length > 0], ["refused", true]);
    assert.match(refused.because, /release policy immutable is not supported/);
    assert.equal((await explain("plain")).decision, "not wanted");
    assert.equal((await explain("nobody")).decision, "not found");
  });
});

describe("GET /v1/check and POST /v1/check/repair", () => {
  test("a sound world has no findings", async () => {
    await api.world.schedule(aPod());
    const { body } = await api.call("/v1/check");
    assert.deepEqual(body, { findings: [], recordCount: 1, podCount: 1, isTruncated: false });
  });

  test("a record whose pod is gone is found, and repaired as proposed", async () => {
    await api.world.schedule(aPod());
    // The event is not delivered: what a lost event leaves behind.
    api.world.cluster.live.pods.delete("ns1/pod1");
    api.world.cluster.cached.pods.delete("ns1/pod1");
    const { findings } = (await api.call("/v1/check")).body;
    assert.equal(findings.length, 1);
    assert.deepEqual(
      [findings[0].kind, findings[0].pod, findings[0].repair.action],
      ["record without pod", "ns1/pod1", "release"],
    );
    const { id } = findings[0].repair;
    const repaired = await api.call("/v1/check/repair", { body: { repairs: [id, "nonsense"] } });
    assert.deepEqual(
      repaired.body.results.map(({ outcome }: { outcome: string }) => outcome),
      ["done", "unknown repair"],
    );
    assert.equal(api.world.records().length, 0);
    const again = await api.call("/v1/check/repair", { body: { repairs: [id] } });
    assert.equal(again.body.results[0].outcome, "changed");
  });

  test("one address in two pods is an error that names the younger", async () => {
    const carries = { nodeName: "n1", phase: "Running" as const, assignedIps: ["10.0.70.3"] };
    api.world.cluster.putPod(aPod({ name: "old", ...carries, createdAtMs: 1 }));
    await api.world.settle();
    api.world.cluster.putPod(aPod({ name: "young", ...carries, createdAtMs: 2 }));
    await api.world.settle();
    const { findings } = (await api.call("/v1/check")).body;
    assert.equal(findings[0].severity, "error");
    assert.equal(findings[0].kind, "double use");
    assert.ok(findings.some(({ advice = "" }) => /delete pod ns1\/young/.test(advice)));
  });

  test("a record that nobody understands is told and left alone", async () => {
    await put({ ip: "10.0.70.3", owner: { kind: "foreign", key: "hello" }, podUid: "" });
    await api.world.settle();
    const { findings } = (await api.call("/v1/check")).body;
    assert.deepEqual([findings[0].kind, findings[0].repair], ["key not understood", undefined]);
  });
});

describe("POST /v1/import", () => {
  const importLines = (lines: unknown, more: object = {}) =>
    api.call("/v1/import", { body: { lines, ...more } });

  test("each line stands for itself: entered, unchanged or refused with the reason", async () => {
    api.world.cluster.putStatefulSet({ namespace: "ns1", name: "db", replicas: 3 });
    await api.world.settle();
    const lines = [
      { ip: "10.0.70.2", namespace: "ns1", podName: "db-0", appName: "db" },
      { ip: "10.0.70.3", reserved: true, reason: "router" },
      { ip: "10.0.70.9", namespace: "ns1", podName: "db-1", appName: "db" },
      { ip: "10.0.70", reserved: true },
      { ip: "10.0.70.4", namespace: "ns1", podName: "db-9", appName: "db" },
      { ip: "10.0.70.4" },
    ];
    const dry = await importLines(lines, { dryRun: true });
    assert.deepEqual([dry.body.entered, dry.body.refused], [2, 4]);
    assert.equal(api.world.records().length, 0);
    const { body } = await importLines(lines);
    assert.deepEqual(
      body.results.map(({ outcome }: { outcome: string }) => outcome),
      ["entered", "entered", "refused", "refused", "refused", "refused"],
    );
    assert.match(body.results[2].message, /no pod subnet lists it/);
    assert.match(body.results[3].message, /is not a valid ip/);
    assert.match(body.results[4].message, /would be released at once \(scaled down\)/);
    assert.match(body.results[5].message, /says nobody/);
    assert.deepEqual(api.world.lines(), [
      "10.0.70.2 pod ns1/db-0 - - immutable",
      "10.0.70.3 admin router - - never",
    ]);
    const again = (await importLines(lines.slice(0, 2))).body;
    assert.deepEqual([again.entered, again.unchanged], [0, 2]);
    const other = (await importLines([{ ip: "10.0.70.3", poolName: "blue" }])).body;
    assert.match(other.results[0].message, /belongs to the administrator \(router\) already/);
  });

  test("a running pod's address is bound to it, with the pod's own policy", async () => {
    const pod = aPod({ nodeName: "n1", phase: "Running", policy: "pod-delete" });
    api.world.cluster.putPod(pod);
    await api.world.settle();
    const { body } = await importLines([
      { ip: "10.0.70.4", namespace: "ns1", podName: "pod1", policy: 2 },
    ]);
    assert.equal(body.entered, 1);
    assert.deepEqual(api.world.lines(), [`10.0.70.4 pod ns1/pod1 ${pod.uid} n1 pod-delete`]);
    await api.world.deletePod(pod.id);
    assert.deepEqual(api.world.lines(), []);
  });

  test("a body with unknown fields is refused as a whole", async () => {
    const { status, body } = await importLines([{ ip: "10.0.70.2", pod: "x" }]);
    assert.deepEqual([status, body.field], [400, "lines[0].pod"]);
  });
});

describe("GET /v1/subnet, /v1/address-map and /v1/status", () => {
  test("show the same figures from near and from far", async () => {
    await api.world.schedule(aPod());
    await put({
      ip: "10.0.70.3",
      owner: podOwner({ name: "db-0", workload: aStatefulSetRef() }),
      policy: "never",
      podUid: "",
      nodeName: "",
    });
    await api.world.settle();
    const [subnet] = (await api.call("/v1/subnet")).body.subnets;
    const { total, free, bound, reserved } = subnet;
    assert.deepEqual(
      { total, free, bound, reserved },
      { total: 3, free: 1, bound: 1, reserved: 1 },
    );
    assert.deepEqual([subnet.subnet, subnet.ranges], ["10.0.70.0/24", ["10.0.70.2~10.0.70.4"]]);
    const near = (await api.call("/v1/address-map?first=10.0.70.0&cells=6")).body;
    assert.equal(near.letters, "--brf-");
    const far = (await api.call("/v1/address-map?first=10.0.70.0&blockSize=2&cells=3")).body;
    assert.deepEqual(far.counts, { bound: [0, 1, 0], reserved: [0, 1, 0], free: [0, 0, 1] });
    assert.equal(far.last, "10.0.70.5");
    const status = (await api.call("/v1/status")).body;
    assert.deepEqual(
      [status.isLeader, status.isReady, status.counts.bound, status.counts.free],
      [true, true, 1, 1],
    );
    assert.equal(status.configuration.isConfigured, true);
  });

  test("a map that nobody can mean is 400 with the field", async () => {
    for (const [query, field] of [
      ["first=x", "first"],
      ["", "first"],
      ["first=10.0.0.0&cells=0", "cells"],
      ["first=10.0.0.0&cells=5000", "cells"],
      ["first=10.0.0.0&blockSize=x", "blockSize"],
      ["first=10.0.0.0&zoom=1", "zoom"],
    ] as const) {
      const { status, body } = await api.call(`/v1/address-map?${query}`);
      assert.deepEqual([status, body.field], [400, field], query);
    }
  });

  test("the end of the address space ends the map", async () => {
    const { body } = await api.call("/v1/address-map?first=255.255.255.254&cells=10");
    assert.deepEqual([body.cells, body.letters], [2, "--"]);
  });
});
