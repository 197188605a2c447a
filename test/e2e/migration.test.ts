// Taking over what the Go system leaves behind, on a real control plane, and giving it back. The Go program is played by this file: it writes
// and reads what the established documents say, field by field, and shares no code with the product.

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { removeAtExit } from "../control-plane/child-program.ts";
import { fourNodes, quickFlags } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { Galaxyctl } from "../control-plane/galaxyctl.ts";
import {
  customResourceDefinitions,
  deployments,
  type FloatingIp,
  floatingIps,
  type Manifest,
  type Pod,
  pods,
  pools,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aConfigMap,
  aDeployment,
  aPod,
  aPool,
  aStatefulSet,
  aWorkload,
  aWorkloadDefinition,
  ownedBy,
} from "../control-plane/manifests.ts";
import { addressesOf, holderOf, waitForRecords } from "../control-plane/records.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

const skip = await reasonToSkip();

/** The ConfigMap as it is found in old installations: `routableSubnet` beside `nodeSubnets`, line breaks, no VLAN where there is none. */
const goConfiguration = `[{
  "routableSubnet": "10.49.27.0/24",
  "ips": ["10.49.70.2~10.49.70.30"],
  "subnet": "10.49.70.0/24",
  "gateway": "10.49.70.1",
  "vlan": 2
},{
  "nodeSubnets": ["10.173.13.0/24"],
  "ips": ["10.173.80.2~10.173.80.21"],
  "subnet": "10.173.80.0/24",
  "gateway": "10.173.80.1"
}]`;

/** How the Go program is started by its manifest; ports are the harness's. */
function goFlags(): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-go-config-"));
  removeAtExit(folder);
  const file = join(folder, "galaxy-ipam.json");
  writeFileSync(
    file,
    JSON.stringify({
      schedule_plugin: { configMapName: "floatingip-config", configMapNamespace: "kube-system" },
    }),
  );
  return ["--logtostderr=true", "--profiling", "--v=3", `--config=${file}`, "--leader-elect"];
}

/** A record as the Go program writes it, with the label by which it finds its records again. */
function goRecord(
  ip: string,
  key: string,
  policy: 0 | 1 | 2,
  attribute: string,
  spec: Readonly<Record<string, unknown>> = {},
): Manifest<FloatingIp> {
  return {
    apiVersion: "galaxy.k8s.io/v1alpha1",
    kind: "FloatingIP",
    metadata: { name: ip, labels: { ipType: "internalIP" } },
    spec: { key, policy, attribute, updateTime: "2024-03-01T10:20:30Z", ...spec },
  };
}

/** The Go program's `Attr`. */
function attributeOf(nodeName: string, uid: string): string {
  return JSON.stringify({ NodeName: nodeName, Uid: uid });
}

/** What the Go structs read of a record, or what they could not have read. Fields: pkg/ipam/apis/galaxy/v1alpha1. */
function readAsGo({ metadata, spec }: FloatingIp) {
  const { key, policy, attribute = "", updateTime = "" } = spec;
  assert.equal(metadata.labels?.["ipType"], "internalIP", `${metadata.name} is not listed`);
  assert.match(metadata.name, /^\d+(\.\d+){3}$/);
  assert.equal(typeof key, "string");
  assert.match(key, /^(pool__[^_]+_)?((dp|sts|tapp)_[^_]+_[^_]+_[^_]*|NULL_[^_]+_NULL_[^_]+)?$/);
  assert.ok(policy === 0 || policy === 1 || policy === 2, String(policy));
  // metav1.Time: RFC 3339, with or without a fraction.
  assert.match(updateTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  const attr = JSON.parse(attribute) as Record<string, unknown>;
  assert.deepEqual(Object.keys(attr).toSorted(), ["NodeName", "Uid"]);
  assert.ok(typeof attr["NodeName"] === "string" && typeof attr["Uid"] === "string");
  return { ip: metadata.name, key, policy, node: attr["NodeName"], uid: attr["Uid"] };
}

/** The established members of a record, as they are stored. */
function establishedOf({ metadata, spec }: FloatingIp) {
  const { key, policy, attribute, updateTime } = spec;
  return { uid: metadata.uid, name: metadata.name, key, policy, attribute, updateTime };
}

/** What must not change of a pod that nobody may touch. */
function wholeOf(all: readonly Pod[]) {
  const rows = all.map(({ metadata, spec }) => ({
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    annotations: metadata.annotations,
    nodeName: spec.nodeName,
  }));
  return rows.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

describe("from the Go system and back", { skip }, () => {
  let plane: ControlPlane;
  let api: ApiClient;
  let simulated: SimulatedNodes;
  let ipam: GalaxyIpam | undefined;
  let flags: readonly string[];
  let goPods: readonly Pod[];
  let goRecords: readonly FloatingIp[];
  const kept = { name: "10.49.70.20" };

  before(async () => {
    flags = [...goFlags(), "--vip=false", ...quickFlags];
    plane = await startControlPlane();
    api = plane.api;
    simulated = await startSimulatedNodes(api);
    await simulated.add(fourNodes);
    await api.create(aConfigMap({ floatingips: goConfiguration }));
    for (const definition of goDefinitions) await api.create(definition);
    await api.create(
      aWorkloadDefinition({
        group: "apps.tkestack.io",
        kind: "TApp",
        plural: "tapps",
        hasScale: true,
      }),
    );
    await waitUntil(
      "the Go system's kinds to be served",
      async () => {
        await api.list({ kind: floatingIps });
        await api.list({ kind: pools });
        await api.call("GET", "/apis/apps.tkestack.io/v1/tapps");
        return true;
      },
      (served) => served,
    );
  });

  after(async () => {
    await ipam?.stop();
    await simulated?.stop();
    await plane?.stop();
  });

  async function startOurs(): Promise<GalaxyIpam> {
    const started = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), flags });
    ipam = started;
    await started.whenReady();
    const resyncs = () => started.metric("galaxy_resync_duration_seconds_count");
    const seen = (await resyncs()) ?? 0;
    await waitUntil("a resync", resyncs, (count) => (count ?? 0) > seen);
    return started;
  }

  /** Binds as the Go program does: record first, then a Binding whose annotations the API server merges into the pod's. */
  async function goBind(
    pod: Pod,
    node: string,
    ip: string,
    key: string,
    policy: 0 | 1 | 2,
    attribute = attributeOf(node, pod.metadata.uid),
  ): Promise<void> {
    await api.create(goRecord(ip, key, policy, attribute));
    const { name, namespace = "default", uid } = pod.metadata;
    const [vlan, gateway] = ip.startsWith("10.49.") ? [2, "10.49.70.1"] : [0, "10.173.80.1"];
    const args = { common: { ipinfos: [{ ip: `${ip}/24`, vlan, gateway }] } };
    await api.call("POST", `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
      apiVersion: "v1",
      kind: "Binding",
      metadata: {
        name,
        namespace,
        uid,
        annotations: { [ARGS_ANNOTATION]: JSON.stringify(args) },
      },
      target: { kind: "Node", name: node },
    });
  }

  const podsNamed = (app: string, count: number) =>
    api.waitFor(
      `${count} pods of ${app}`,
      podsOf("default", app),
      ({ length }) => length === count,
    );
  const readyPods = (app: string, count: number) =>
    api.waitFor(
      `${count} ready pods of ${app}`,
      podsOf("default", app),
      (seen) => seen.length === count && seen.every(isReady),
    );
  const at = (name: string) => ({ name, namespace: "default" });

  test("the Go system's records, of every kind and form, pods and pool are there", async () => {
    await api.create(aPool({ name: "blue", size: 4, preAllocateIP: false }));
    await api.create(aDeployment({ name: "web", policy: "immutable", replicas: 2 }));
    await api.create(aDeployment({ name: "plain" }));
    await api.create(aDeployment({ name: "shared", pool: "blue" }));
    await api.create(
      aStatefulSet({
        name: "db",
        policy: "never",
        replicas: 2,
        spec: { podManagementPolicy: "Parallel" },
      }),
    );
    const game = await api.create(
      aWorkload("apps.tkestack.io/v1", "TApp", { name: "game", replicas: 1 }),
    );
    const gamePod = await api.create<Pod>({
      ...aPod({ name: "game-0", policy: "immutable", ownerReferences: [ownedBy(game)] }),
    });
    const lone = await api.create<Pod>(aPod({ name: "lone" }));
    const [web0, web1] = (await podsNamed("web", 2)) as [Pod, Pod];
    const [plain] = (await podsNamed("plain", 1)) as [Pod];
    const [shared] = (await podsNamed("shared", 1)) as [Pod];
    const db = (await podsNamed("db", 2)).toSorted((a, b) =>
      a.metadata.name < b.metadata.name ? -1 : 1,
    ) as [Pod, Pod];

    await goBind(web0, "a1", "10.49.70.2", `dp_default_web_${web0.metadata.name}`, 1);
    await goBind(web1, "b1", "10.173.80.2", `dp_default_web_${web1.metadata.name}`, 1);
    await goBind(plain, "a2", "10.49.70.4", `dp_default_plain_${plain.metadata.name}`, 0);
    const sharedKey = `pool__blue_dp_default_shared_${shared.metadata.name}`;
    await goBind(shared, "a3", "10.49.70.5", sharedKey, 2);
    await goBind(db[0], "a1", "10.49.70.6", "sts_default_db_db-0", 2);
    // Before uids were recorded, and before attributes were JSON.
    await goBind(db[1], "a2", "10.49.70.7", "sts_default_db_db-1", 2, '{"NodeName":"a2"}');
    await goBind(lone, "a3", "10.49.70.8", "NULL_default_NULL_lone", 0, "10.49.27.3");
    await goBind(gamePod, "b1", "10.173.80.3", "tapp_default_game_game-0", 1);
    const empty = attributeOf("", "");
    await api.create(goRecord("10.49.70.15", "dp_default_former_", 2, empty));
    await api.create(goRecord("10.49.70.16", "pool__blue_", 2, empty));
    await api.create(goRecord("10.49.70.17", "sts_default_former_former-3", 2, empty));
    const reserved = goRecord(kept.name, "pool__reserved-for-node_", 2, empty);
    await api.create({
      ...reserved,
      metadata: { ...reserved.metadata, labels: { ipType: "internalIP", reserved: "printer" } },
    });
    goPods = await api.waitFor(
      "all pods to run",
      { kind: pods, namespace: "default" },
      (seen) => seen.length === 8 && seen.every(isReady),
    );
    goRecords = await api.list({ kind: floatingIps });
    assert.equal(goRecords.length, 12);
  });

  test("with the Go program's flags no pod is touched and every address stays with its owner", async () => {
    const { url } = await startOurs();
    await plane.startScheduler({ extenderUrl: url });
    await waitForCleanAudit(api);
    assert.deepEqual(
      wholeOf(await api.list({ kind: pods, namespace: "default" })),
      wholeOf(goPods),
    );
    const records = new Map(
      (await api.list({ kind: floatingIps })).map((record) => [record.metadata.name, record]),
    );
    assert.equal(records.size, goRecords.length);
    for (const old of goRecords) {
      const record = records.get(old.metadata.name);
      assert.ok(record !== undefined, old.metadata.name);
      assert.equal(record.metadata.uid, old.metadata.uid);
      if (["10.49.70.7", "10.49.70.8"].includes(old.metadata.name)) {
        // Completed from the running pod, as the documents say.
        const pod = goPods.find((one) => floatIpsOf(one).includes(old.metadata.name));
        assert.deepEqual(holderOf(record), {
          NodeName: pod?.spec.nodeName,
          Uid: pod?.metadata.uid,
        });
        assert.deepEqual([record.spec.key, record.spec.policy], [old.spec.key, old.spec.policy]);
      } else {
        assert.deepEqual(establishedOf(record), establishedOf(old));
      }
      assert.deepEqual(
        { ...record.metadata.labels, ...old.metadata.labels },
        record.metadata.labels,
        "no label is lost",
      );
    }
  });

  test("the definitions are upgraded in place, and the check finds nothing", async () => {
    const definition = await api.get(customResourceDefinitions, {
      name: "floatingips.galaxy.k8s.io",
    });
    const columns = definition?.spec.versions[0]?.["additionalPrinterColumns"];
    assert.ok(Array.isArray(columns) && columns.length > 0);
    const names = definition?.spec.names as { readonly shortNames?: readonly string[] } | undefined;
    assert.deepEqual(names?.shortNames, ["fip"]);
    const ctl = new Galaxyctl({
      GALAXY_SERVER: ipam?.apiUrl ?? "",
      GALAXY_TOKEN: plane.tokenOf("admin"),
    });
    const { code, stdout, stderr } = await ctl.run(["check"]);
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(`${stdout}${stderr}`, /everything agrees/);
  });

  test("policies go on working, and new pods get other addresses", async () => {
    const taken = new Set(goRecords.map(({ metadata }) => metadata.name));
    await api.scale(deployments, at("web"), 3);
    const three = await readyPods("web", 3);
    const [fresh] = addressesOf(three).filter((ip) => !taken.has(ip));
    assert.ok(fresh !== undefined && fresh !== kept.name, "the third has one of its own");
    // Immutable: the successor of a pod gets the address of its workload.
    const goWeb = three.find((pod) => floatIpsOf(pod).includes("10.49.70.2")) as Pod;
    await api.delete(pods, at(goWeb.metadata.name));
    await api.waitForGone(pods, at(goWeb.metadata.name));
    assert.deepEqual(addressesOf(await readyPods("web", 3)), addressesOf(three));
    // Never: the pod of the same name gets the same address; of the one of an old form too.
    for (const [name, ip, pod] of [
      ["db-0", "10.49.70.6", goPods.find(({ metadata }) => metadata.name === "db-0")],
      ["db-1", "10.49.70.7", goPods.find(({ metadata }) => metadata.name === "db-1")],
    ] as const) {
      await api.delete(pods, at(name));
      const again = await api.waitForOne(
        `${name} to come back`,
        pods,
        at(name),
        (seen) => seen.metadata.uid !== pod?.metadata.uid && isReady(seen),
      );
      assert.deepEqual(floatIpsOf(again), [ip]);
    }
    // A pool keeps the address of a workload that goes; without a policy it goes along.
    await Promise.all([
      api.delete(deployments, at("shared")),
      api.delete(deployments, at("plain")),
      api.delete(pods, at("lone")),
    ]);
    await waitForRecords(
      api,
      "both addresses of the pool free",
      "pool__blue_",
      (seen) => seen.length === 2 && seen.every(({ spec }) => spec.key === "pool__blue_"),
    );
    await waitForRecords(api, "no record", "dp_default_plain_", ({ length }) => length === 0);
    await waitForRecords(api, "no record", "NULL_default_", ({ length }) => length === 0);
    await waitForCleanAudit(api);
    const reserved = await api.get(floatingIps, kept);
    const old = goRecords.find(({ metadata }) => metadata.name === kept.name) as FloatingIp;
    assert.deepEqual(establishedOf(reserved as FloatingIp), establishedOf(old));
    assert.equal(reserved?.metadata.labels?.["reserved"], "printer");
  });

  test("back: the Go program finds every record, can read it, and its node side the annotations", async () => {
    await ipam?.stop("SIGTERM");
    await plane.stopScheduler();
    const all = await api.list({ kind: floatingIps });
    const listed = await api.list({ kind: floatingIps, labelSelector: "ipType=internalIP" });
    assert.equal(listed.length, all.length, "those that it lists at its start are all");
    const read = new Map(listed.map((record) => [record.metadata.name, readAsGo(record)]));
    const living = await api.list({ kind: pods, namespace: "default" });
    assert.equal(living.length, 6);
    for (const { metadata, spec } of living) {
      const args = JSON.parse(metadata.annotations?.[ARGS_ANNOTATION] ?? "") as {
        readonly common: { readonly ipinfos: readonly Record<string, unknown>[] };
      };
      assert.deepEqual(Object.keys(args), ["common"]);
      assert.equal(args.common.ipinfos.length, 1);
      for (const info of args.common.ipinfos) {
        assert.deepEqual(Object.keys(info).toSorted(), ["gateway", "ip", "vlan"]);
        assert.match(String(info["ip"]), /^[\d.]+\/24$/);
        assert.ok(Number.isInteger(info["vlan"]));
        assert.match(String(info["gateway"]), /^[\d.]+\.1$/);
        const its = read.get(String(info["ip"]).split("/")[0] ?? "");
        assert.deepEqual([its?.node, its?.uid], [spec.nodeName, metadata.uid]);
        assert.ok(its?.key.endsWith(`_${metadata.name}`), its?.key);
      }
    }
    for (const { key, node, uid } of read.values()) {
      // What nobody uses has its key without a pod, or is kept for a pod of that name.
      if (uid === "") assert.ok(node === "" && /_$|_former-3$/.test(key), key);
    }
  });

  test("the Go program writes whole objects of its own struct, and all is well when ours starts again", async () => {
    const before = await api.list({ kind: pods, namespace: "default" });
    const records = await api.list({ kind: floatingIps });
    for (const { apiVersion, kind, metadata, spec } of records) {
      const { key, policy, attribute = "", updateTime = "" } = spec;
      await api.replace<FloatingIp>({
        apiVersion,
        kind,
        metadata,
        spec: { key, policy, attribute, updateTime },
      });
    }
    // A pod that it binds meanwhile, with the definitions as they are now.
    const late = await api.create<Pod>(aPod({ name: "late" }));
    await goBind(late, "a1", "10.49.70.21", "NULL_default_NULL_late", 0);
    await api.waitForOne("it to run", pods, at("late"), isReady);
    await startOurs();
    await waitForCleanAudit(api);
    const now = await api.list({ kind: pods, namespace: "default" });
    assert.deepEqual(
      wholeOf(now.filter(({ metadata }) => metadata.name !== "late")),
      wholeOf(before),
    );
    const after = await api.list({ kind: floatingIps });
    const row = (record: FloatingIp) => [
      record.metadata.name,
      record.spec.key,
      record.spec.policy,
      record.spec.attribute,
    ];
    assert.deepEqual(
      after.filter(({ metadata }) => metadata.name !== "10.49.70.21").map(row),
      records.map(row),
    );
  });

  test("definitions of v1beta1 without a schema are upgraded, and their records lose no field", async () => {
    await ipam?.stop("SIGTERM");
    await api.delete(customResourceDefinitions, { name: "floatingips.galaxy.k8s.io" });
    await api.waitForGone(customResourceDefinitions, { name: "floatingips.galaxy.k8s.io" });
    await api.call("POST", "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions", {
      apiVersion: "apiextensions.k8s.io/v1beta1",
      kind: "CustomResourceDefinition",
      metadata: {
        name: "floatingips.galaxy.k8s.io",
        annotations: { "api-approved.kubernetes.io": "unapproved" },
      },
      spec: {
        group: "galaxy.k8s.io",
        version: "v1alpha1",
        scope: "Cluster",
        names: { kind: "FloatingIP", plural: "floatingips", shortNames: ["fip"] },
      },
    });
    const subnet = { subnet: "10.49.27.0/24" };
    const record = goRecord("10.49.70.17", "dp_default_old_", 2, attributeOf("", ""), subnet);
    await waitUntil(
      "the old kind to be served",
      async () => Boolean(await api.apply(record)),
      (served) => served,
    );
    const old = await api.get(floatingIps, record.metadata as { readonly name: string });
    await startOurs();
    const upgraded = await api.get(customResourceDefinitions, {
      name: "floatingips.galaxy.k8s.io",
    });
    assert.ok(Array.isArray(upgraded?.spec.versions[0]?.["additionalPrinterColumns"]));
    const now = await api.get(floatingIps, record.metadata as { readonly name: string });
    assert.deepEqual(establishedOf(now as FloatingIp), establishedOf(old as FloatingIp));
    assert.equal(now?.spec["subnet"], subnet.subnet);
  });
});

/** The definitions as the last version of the Go program makes them: no columns, no status, every field required. */
const goDefinitions: readonly Manifest[] = [
  goDefinition("floatingips", { kind: "FloatingIP", shortNames: ["fip"] }, "Cluster", ["spec"], {
    spec: {
      type: "object",
      required: ["attribute", "key", "policy", "updateTime"],
      properties: {
        attribute: { type: "string" },
        key: { type: "string" },
        policy: { type: "integer" },
        updateTime: { type: "string", format: "date-time" },
      },
    },
  }),
  goDefinition("pools", { kind: "Pool" }, "Namespaced", ["preAllocateIP", "size"], {
    preAllocateIP: { type: "boolean" },
    size: { type: "integer" },
  }),
];

function goDefinition(
  plural: string,
  names: { readonly kind: string; readonly shortNames?: readonly string[] },
  scope: "Cluster" | "Namespaced",
  required: readonly string[],
  properties: Readonly<Record<string, unknown>>,
): Manifest {
  const { kind } = names;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.galaxy.k8s.io`,
      annotations: {
        "api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/78458",
      },
    },
    spec: {
      group: "galaxy.k8s.io",
      scope,
      names: { ...names, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: "object",
              required,
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                ...properties,
              },
            },
          },
        },
      ],
    },
  };
}
