// Workloads of custom kinds on a real control plane. The tests stand in for their controllers: they make and delete the pods. All kinds
// are defined after galaxy-ipam has started.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  type CustomResourceDefinition,
  customKind,
  customResourceDefinitions,
  type KubeObject,
  type Manifest,
  type Pod,
  pods,
} from "../control-plane/kinds.ts";
import {
  aPod,
  aWorkload,
  aWorkloadDefinition,
  ownedBy,
  type PodWish,
} from "../control-plane/manifests.ts";
import {
  addressByPod,
  addressOf,
  isReservation,
  waitForEvent,
  waitForNoRecords,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();

describe("custom workloads on a real control plane", { skip }, () => {
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
  const define = async (definition: Manifest): Promise<void> => {
    const { metadata } = await api.create(definition);
    await api.waitForOne("it to be served", customResourceDefinitions, metadata, (crd) =>
      Boolean(crd.status?.conditions?.some((c) => c.type === "Established" && c.status === "True")),
    );
    const { group, versions } = (definition as unknown as CustomResourceDefinition).spec;
    for (const { name } of versions) {
      await waitUntil(
        `${group}/${name} to be discovered`,
        () => api.call("GET", `/apis/${group}/${name}`),
        () => true,
      );
    }
  };
  const runPods = async (owner: KubeObject, names: readonly string[], wish: PodWish) => {
    const app = owner.metadata.name;
    for (const name of names) {
      const ownerReferences = [ownedBy(owner)];
      await api.create(aPod({ ...wish, name, ownerReferences, labels: { app } }));
    }
  };
  const runningPods = (app: string, count: number): Promise<readonly Pod[]> =>
    api.waitFor(
      `${count} ready pods of ${app}`,
      podsOf("default", app),
      (seen) => seen.length === count && seen.every(isReady),
    );
  const deletePod = async (name: string): Promise<void> => {
    await api.delete(pods, at(name));
    await api.waitForGone(pods, at(name));
  };

  test("case 26, case 72: a scalable kind keeps addresses by ordinal as long as its replicas say", async () => {
    const group = "apps.tkestack.io";
    await define(aWorkloadDefinition({ group, kind: "TApp", plural: "tapps", hasScale: true }));
    const tapps = customKind(`${group}/v1`, "TApp", "tapps");
    const name = "game";
    const owner = await api.create(aWorkload(`${group}/v1`, "TApp", { name, replicas: 3 }));
    const policy = "immutable";
    await runPods(owner, ["game-0", "game-1", "game-2"], { policy });
    const first = addressByPod(await runningPods(name, 3));
    const records = await waitForRecords(api, "3 records", "tapp_default_game_", hasCount(3));
    assert.deepEqual(records.map(({ spec }) => spec.key).toSorted(), [
      "tapp_default_game_game-0",
      "tapp_default_game_game-1",
      "tapp_default_game_game-2",
    ]);
    for (const pod of ["game-1", "game-2"]) {
      await deletePod(pod);
      const [kept] = await waitForRecords(
        api,
        "it to be kept",
        `tapp_default_game_${pod}`,
        (seen) => seen.length === 1 && seen.every(isReservation),
      );
      assert.equal(addressOf(kept as never), first[pod]);
    }
    await waitForCleanAudit(api);
    await runPods(owner, ["game-1"], { policy });
    assert.equal(addressByPod(await runningPods(name, 2))["game-1"], first["game-1"]);
    await api.scale(tapps, at(name), 1);
    await waitForNoRecords(api, "tapp_default_game_game-2");
    await deletePod("game-1");
    await waitForNoRecords(api, "tapp_default_game_game-1");
    await deletePod("game-0");
    await waitForRecords(api, "game-0 to be kept", "tapp_default_game_game-0", hasCount(1));
    await api.delete(tapps, at(name));
    await waitForNoRecords(api, "tapp_default_game_");
    await waitForCleanAudit(api);
  });

  test("case 74, case 42: a kind without scale may keep addresses for ever or not at all, and immutable is refused in words", async () => {
    const group = "crates.example.org";
    await define(aWorkloadDefinition({ group, kind: "Crate", plural: "crates", hasScale: false }));
    const name = "box";
    const owner = await api.create(aWorkload(`${group}/v1`, "Crate", { name, replicas: 2 }));
    await runPods(owner, ["box-7"], { policy: "immutable" });
    const refused =
      /release policy immutable is not supported for pod box-7: parent workload has no replicas \(the CustomResourceDefinition of crate default\/box has no scale subresource/;
    await waitForEvent(api, { kind: "Pod", name: "box-7" }, refused);
    await runPods(owner, ["box-abc"], { policy: "never" });
    const badName =
      /release policy never is not supported for pod box-abc: pod name doesn't match '\.\*-\[0-9\]\*\$'/;
    await waitForEvent(api, { kind: "Pod", name: "box-abc" }, badName);
    await deletePod("box-7");
    await deletePod("box-abc");
    await waitForNoRecords(api, "crate_default_box_");
    await runPods(owner, ["box-0"], { policy: "never" });
    await runPods(owner, ["box-1", "box-xyz"], {});
    const first = addressByPod(await runningPods(name, 3));
    for (const pod of ["box-0", "box-1", "box-xyz"]) await deletePod(pod);
    const [kept] = await waitForRecords(
      api,
      "the address of box-0 alone to be kept",
      "crate_default_box_",
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
    assert.equal(kept?.spec.key, "crate_default_box_box-0");
    await runPods(owner, ["box-0"], { policy: "never" });
    assert.equal(addressByPod(await runningPods(name, 1))["box-0"], first["box-0"]);
    await waitForCleanAudit(api);
    await deletePod("box-0");
  });

  test("a kind called StatefulSet in another group is not the built-in one", async () => {
    const group = "apps.kruise.io";
    await define(
      aWorkloadDefinition({ group, kind: "StatefulSet", plural: "statefulsets", hasScale: true }),
    );
    const kruise = customKind(`${group}/v1`, "StatefulSet", "statefulsets");
    const name = "panda";
    const owner = await api.create(aWorkload(`${group}/v1`, "StatefulSet", { name, replicas: 2 }));
    await runPods(owner, ["panda-0", "panda-1"], { policy: "immutable" });
    const first = addressByPod(await runningPods(name, 2));
    await deletePod("panda-1");
    // There is no built-in StatefulSet of that name: taken for one, the address would be released.
    const [kept] = await waitForRecords(
      api,
      "it to be kept",
      "statefulset_default_panda_panda-1",
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
    assert.equal(addressOf(kept as never), first["panda-1"]);
    await cluster.restartIpam("SIGTERM");
    await runPods(owner, ["panda-1"], { policy: "immutable" });
    assert.deepEqual(addressByPod(await runningPods(name, 2)), first);
    await waitForCleanAudit(api);
    await api.scale(kruise, at(name), 1);
    await deletePod("panda-1");
    await waitForNoRecords(api, "statefulset_default_panda_panda-1");
    await api.delete(kruise, at(name));
    await deletePod("panda-0");
    await waitForNoRecords(api, "statefulset_default_panda_");
  });

  test("the replicas are read from the version that can be scaled, at the path it names", async () => {
    const group = "fleet.example.org";
    await define(fleetDefinition(group));
    const fleets = customKind(`${group}/v2`, "Fleet", "fleets");
    const name = "ships";
    const manifest = aWorkload(`${group}/v1`, "Fleet", { name });
    const owner = await api.create({ ...manifest, spec: { crew: { size: 2 } } });
    assert.equal(
      owner.apiVersion,
      `${group}/v1`,
      "the owner reference names the version without scale",
    );
    await runPods(owner, ["ships-0", "ships-1"], { policy: "immutable" });
    const first = addressByPod(await runningPods(name, 2));
    await deletePod("ships-1");
    await waitForRecords(
      api,
      "it to be kept",
      "fleet_default_ships_ships-1",
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
    await runPods(owner, ["ships-1"], { policy: "immutable" });
    assert.deepEqual(addressByPod(await runningPods(name, 2)), first);
    await deletePod("ships-1");
    await api.scale(fleets, at(name), 1);
    await waitForNoRecords(api, "fleet_default_ships_ships-1");
    await deletePod("ships-0");
    await waitForRecords(api, "ships-0 to be kept", "fleet_default_ships_", hasCount(1));
    await api.delete(fleets, at(name));
    await waitForNoRecords(api, "fleet_default_ships_");
    await waitForCleanAudit(api);
  });

  test("a kind whose definition changes while it is used is read anew", async () => {
    const group = "late.example.org";
    await define(aWorkloadDefinition({ group, kind: "Late", plural: "lates", hasScale: false }));
    const name = "slow";
    const owner = await api.create(aWorkload(`${group}/v1`, "Late", { name, replicas: 1 }));
    await runPods(owner, ["slow-0"], { policy: "immutable" });
    await waitForEvent(api, { kind: "Pod", name: "slow-0" }, /has no scale subresource/);
    await api.apply(aWorkloadDefinition({ group, kind: "Late", plural: "lates", hasScale: true }));
    await cluster.nodes.nudgeScheduler();
    const [pod] = await runningPods(name, 1);
    assert.equal(floatIpsOf(pod as Pod).length, 1);
    await api.delete(customKind(`${group}/v1`, "Late", "lates"), at(name));
    await deletePod("slow-0");
    await waitForNoRecords(api, "late_default_slow_");
    await waitForCleanAudit(api);
  });
});

function hasCount(count: number) {
  return (records: readonly unknown[]): boolean => records.length === count;
}

/** A kind with two served versions, of which only the second has a scale subresource, with replicas at an unusual place. */
function fleetDefinition(group: string): Manifest {
  const schema = {
    openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  };
  const scale = { specReplicasPath: ".spec.crew.size", statusReplicasPath: ".status.replicas" };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `fleets.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind: "Fleet", plural: "fleets", singular: "fleet" },
      versions: [
        { name: "v1", served: true, storage: true, schema },
        { name: "v2", served: true, storage: false, schema, subresources: { scale } },
      ],
    },
  };
}
