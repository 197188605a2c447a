// Reservations with a time limit and quotas of namespaces on a real control plane.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, podsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { customKind, deployments } from "../control-plane/kinds.ts";
import { aDeployment } from "../control-plane/manifests.ts";
import {
  isReservation,
  waitForEvent,
  waitForNoRecords,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();
const galaxy = "galaxy.k8s.io/v1alpha1";
const quotas = customKind(galaxy, "FloatingIPQuota", "floatingipquotas", "Cluster");

describe("idle addresses and quotas on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster();
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
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
      await assert.rejects(api.create({ ...made, spec } as never), (error: Error) => {
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
  });
});
