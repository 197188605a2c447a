// The address configuration on a real control plane: missing, broken, grown, shrunk under living pods, and from other places than the
// ConfigMap. Each check of the text itself is in src/wire/floatingip-config.test.ts.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { floatIpsOf, ipInfosOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import {
  type Cluster,
  fourNodes,
  startCluster,
  twoSubnets,
} from "../control-plane/cluster-with-galaxy.ts";
import { filterNames, filterNodes, type OfferedNode } from "../control-plane/extender-client.ts";
import {
  configMaps,
  customResourceDefinitions,
  deployments,
  floatingIps,
  type Pod,
  pods,
} from "../control-plane/kinds.ts";
import {
  aConfigMap,
  aDeployment,
  aFloatingIp,
  aPod,
  type FloatingIpEntry,
} from "../control-plane/manifests.ts";
import { waitForEvent, waitForNoRecords, waitForRecords } from "../control-plane/records.ts";

const skip = await reasonToSkip();
const configMap = { name: "floatingip-config", namespace: "kube-system" };

/** The example of the user's own document. */
const documented: FloatingIpEntry = {
  nodeSubnets: ["10.0.0.0/16"],
  ips: ["10.0.70.2~10.0.70.241"],
  subnet: "10.0.70.0/24",
  gateway: "10.0.70.1",
};

describe("the address configuration", { skip }, () => {
  let cluster: Cluster;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "galaxy-configuration-"));
    cluster = await startCluster({
      nodes: [
        ...fourNodes,
        { name: "doc", internalIp: "10.0.3.1" },
        { name: "single-2", internalIp: "10.180.1.2" },
        { name: "single-3", internalIp: "10.180.1.3" },
      ],
    });
  });

  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    const { api } = cluster;
    await api.deleteAll({ kind: deployments, namespace: "default" });
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.deleteAll({ kind: floatingIps });
    await api.waitFor("no pods", { kind: pods, namespace: "default" }, (seen) => seen.length === 0);
    await api.waitFor("no records", { kind: floatingIps }, (seen) => seen.length === 0);
    await configureAndWait(twoSubnets);
  });

  /** Resolves when the configuration is in force, by the figures of the metrics. */
  async function configureAndWait(entries: readonly FloatingIpEntry[]): Promise<void> {
    await cluster.configure(entries);
    const total = (subnet: string, first: string) =>
      cluster.ipam().metric("galaxy_ip_counter", { type: "total", subnet, first_ip: first });
    for (const { subnet, ips } of entries) {
      const first = ips[0]?.split("~")[0] as string;
      const wanted = countOf(ips);
      await waitUntil(
        `${wanted} addresses in ${subnet} from ${first}`,
        () => total(subnet, first),
        (count) => count === wanted,
        { everyMs: 30 },
      );
    }
    await waitUntil(
      "the configuration to be in force",
      () => cluster.ipam().metric("galaxy_config_valid"),
      (valid) => valid === 1,
      { everyMs: 30 },
    );
  }

  /** A pod that no scheduler looks at, for calls of the extender. */
  async function unscheduledPod(name: string): Promise<Pod> {
    return cluster.api.create(aPod({ name, schedulerName: "nobody" }));
  }

  async function passing(
    name: string,
    offered: readonly OfferedNode[],
  ): Promise<readonly string[]> {
    const answer = await filterNodes(cluster.ipam().url, await unscheduledPod(name), offered);
    assert.equal(answer.Error, "");
    return answer.NodeNames;
  }

  const healthOfBoth = async () => {
    const { url, apiUrl } = cluster.ipam();
    const answers = await Promise.all([fetch(`${url}/healthy`), fetch(`${apiUrl}/healthy`)]);
    return Promise.all(
      answers.map(async (answer) => ({ status: answer.status, text: await answer.text() })),
    );
  };

  test("case 1: without its ConfigMap the program says so and begins when it comes", async () => {
    const { api } = cluster;
    await api.delete(configMaps, configMap);
    await cluster.restartIpam("SIGTERM", { isReady: false });
    await waitUntil("the reason in health", healthOfBoth, (answers) =>
      answers.every(
        ({ status, text }) =>
          status === 503 && /ConfigMap kube-system\/floatingip-config does not exist/.test(text),
      ),
    );
    for (const name of ["floatingips.galaxy.k8s.io", "pools.galaxy.k8s.io"]) {
      assert.ok(await api.get(customResourceDefinitions, { name }), name);
    }
    const refused = await fetch(`${cluster.ipam().url}/v1/filter`, { method: "POST", body: "{}" });
    assert.notEqual(refused.status, 200);
    await api.create(aConfigMap({ floatingips: twoSubnets }));
    await waitUntil("both ports to be well", healthOfBoth, (answers) =>
      answers.every(({ status, text }) => status === 200 && text === "ok"),
    );
    await cluster.ipam().whenReady();
  });

  test("case 2: a ConfigMap without the key is named, and adding the key heals without restart", async () => {
    const { api } = cluster;
    await api.delete(configMaps, configMap);
    await api.create(aConfigMap({ floatingips: twoSubnets, key: "floatingip" }));
    await cluster.restartIpam("SIGTERM", { isReady: false });
    await waitUntil("the reason in health", healthOfBoth, (answers) =>
      answers.every(({ status, text }) => status === 503 && /no key "floatingips"/.test(text)),
    );
    const { pid } = cluster.ipam();
    await cluster.configure(twoSubnets);
    await cluster.ipam().whenReady();
    assert.equal(cluster.ipam().pid, pid);
  });

  test("restarted without its ConfigMap, the program keeps the addresses of pods and reservations", async () => {
    const { api } = cluster;
    await api.create(aDeployment({ name: "kept", replicas: 2, policy: "never" }));
    const [pod] = await cluster.readyPods("kept", 2);
    await api.delete(pods, { name: pod?.metadata.name ?? "", namespace: "default" });
    await cluster.readyPods("kept", 2);
    await api.scale(deployments, { name: "kept", namespace: "default" }, 1);
    const isKept = (records: readonly { readonly spec: { readonly key: string } }[]) =>
      records.filter(({ spec }) => spec.key === "dp_default_kept_").length === 1;
    const before = await waitForRecords(api, "one reservation", "dp_default_kept_", isKept);
    await api.delete(configMaps, configMap);
    await cluster.restartIpam("SIGTERM", { isReady: false });
    const resyncs = () => cluster.ipam().metric("galaxy_resync_duration_seconds_count");
    await waitUntil("two resyncs", resyncs, (count) => (count ?? 0) >= 2);
    assert.deepEqual(await api.list({ kind: floatingIps }), before);
    await cluster.configure(twoSubnets);
    await cluster.ipam().whenReady();
    await waitForCleanAudit(api);
    const after = await api.list({ kind: floatingIps });
    assert.deepEqual(after, before);
  });

  test("case 3: the documented example gives 240 addresses without VLAN", async () => {
    const { api } = cluster;
    const ipam = () => cluster.ipam();
    await configureAndWait([documented]);
    const labels = { type: "total", subnet: "10.0.70.0/24", first_ip: "10.0.70.2" };
    assert.equal(await ipam().metric("galaxy_ip_counter", labels), 240);
    await api.create(aPod({ name: "minimal" }));
    const [pod] = await cluster.readyPods("minimal", 1);
    assert.ok(pod);
    assert.deepEqual(ipInfosOf(pod), [{ ip: "10.0.70.2/24", vlan: 0, gateway: "10.0.70.1" }]);
    await waitForCleanAudit(api);
  });

  test("case 4: the older spelling routableSubnet works, with its VLAN", async () => {
    const { nodeSubnets: _, ...rest } = documented;
    await configureAndWait([{ ...rest, routableSubnet: "10.0.0.0/16", vlan: 2 }]);
    await cluster.api.create(aPod({ name: "older" }));
    const [pod] = await cluster.readyPods("older", 1);
    assert.ok(pod);
    assert.equal(pod.spec.nodeName, "doc");
    assert.deepEqual(ipInfosOf(pod), [{ ip: "10.0.70.2/24", vlan: 2, gateway: "10.0.70.1" }]);
  });

  test("case 5: node subnets are masked and counted once", async () => {
    await configureAndWait([
      { ...documented, nodeSubnets: ["10.49.27.1/24", "10.49.27.2/24"] },
      {
        routableSubnet: "10.173.13.5/24",
        ips: ["10.173.80.2"],
        subnet: "10.173.80.0/24",
        gateway: "10.173.80.1",
      },
    ]);
    assert.deepEqual(
      await passing("masked", [
        { name: "in", internalIp: "10.49.27.200" },
        { name: "out", internalIp: "10.49.28.1" },
        { name: "routable", internalIp: "10.173.13.99" },
      ]),
      ["in", "routable"],
    );
  });

  test("case 7: a node belongs to a subnet up to its last address and not one further", async () => {
    await configureAndWait([
      { ...entry("10.180.154", "10.180.154.2~10.180.154.3"), nodeSubnets: ["10.180.1.2/32"] },
      { ...entry("10.180.154", "10.180.154.7~10.180.154.8"), nodeSubnets: ["10.180.1.3/32"] },
      { ...entry("10.0.70", "10.0.70.2~10.0.70.20"), nodeSubnets: ["10.0.1.2/24", "10.0.2.2/24"] },
      {
        ...entry("10.0.80", "10.0.80.2~10.0.80.4"),
        nodeSubnets: ["10.49.28.0/26", "10.49.29.0/24"],
      },
      { ...entry("10.0.81", "10.0.81.2~10.0.81.4"), nodeSubnets: ["10.49.28.0/26"] },
    ]);
    const offered = [
      "10.49.28.63",
      "10.49.28.64",
      "10.180.1.2",
      "10.180.1.3",
      "10.180.1.4",
      "10.0.2.4",
    ];
    const pod = await unscheduledPod("edges");
    const answer = await filterNodes(
      cluster.ipam().url,
      pod,
      offered.map((internalIp) => ({ name: `n-${internalIp}`, internalIp })),
    );
    const failed = ["n-10.49.28.64", "n-10.180.1.4"];
    assert.deepEqual(Object.keys(answer.FailedNodes).toSorted(), failed.toSorted());
    for (const text of Object.values(answer.FailedNodes)) {
      assert.match(text, /^FloatingIPPlugin:NoFIPConfigNode/);
    }
    const wanted = offered.map((ip) => `n-${ip}`).filter((name) => !failed.includes(name));
    assert.deepEqual(answer.NodeNames, wanted);
  });

  test("cases 8 to 11, 15 and 16: a bad configuration is refused with its reason, and the one in force stays until it is healed", async () => {
    const { api } = cluster;
    const ipam = () => cluster.ipam();
    const { nodeSubnets: _, ...withoutNodes } = documented;
    const cases: readonly (readonly [string, unknown, RegExp])[] = [
      ["8 no node subnets", [withoutNodes], /nodeSubnets is empty/],
      ["8 empty gateway", [{ ...documented, gateway: "" }], /gateway is empty/],
      ["8 empty subnet", [{ ...documented, subnet: "" }], /subnet is empty/],
      ["9 octet 256", [{ ...documented, ips: ["10.0.70.256"] }], /10\.0\.70\.256/],
      [
        "9 reversed",
        [{ ...documented, ips: ["10.0.70.9~10.0.70.3"] }],
        /10\.0\.70\.9~10\.0\.70\.3/,
      ],
      ["9 block", [{ ...documented, ips: ["10.0.70.64/26"] }], /10\.0\.70\.64\/26/],
      ["9 hyphen", [{ ...documented, ips: ["10.0.70.3 - 10.0.70.9"] }], /10\.0\.70\.3 - 10/],
      ["9 blanks", [{ ...documented, ips: ["10.0.70.3 ~ 10.0.70.9"] }], /10\.0\.70\.3 ~ 10/],
      [
        "11 outside",
        [{ ...documented, ips: ["10.0.71.5"] }],
        /10\.0\.71\.5 is not inside subnet 10\.0\.70\.0\/24/,
      ],
      [
        "15 gateway with mask",
        [{ ...documented, gateway: "10.0.70.1/24" }],
        /gateway "10\.0\.70\.1\/24".*without the prefix/,
      ],
      ["16 no ips", [{ ...documented, ips: [] }], /ips is empty/],
      ["overlap", [documented, { ...documented, vlan: 3 }], /listed by floatingips\[0\]/],
      ["vlan", [{ ...documented, vlan: 4095 }], /vlan 4095/],
      ["no JSON", "[{", /not valid JSON/],
    ];
    const refusals = () => ipam().metric("galaxy_bad_input_total", { input: "configuration" });
    for (const [what, value, message] of cases) {
      const before = (await refusals()) ?? 0;
      await cluster.configure(typeof value === "string" ? value : JSON.stringify(value));
      await waitUntil(`the refusal of ${what}`, refusals, (count) => (count ?? 0) > before, {
        everyMs: 20,
      });
      const event = await waitForEvent(api, { kind: "ConfigMap", ...configMap }, message);
      assert.equal(event.type, "Warning", what);
      assert.match(event.message, /the last good configuration stays in force/, what);
    }
    assert.equal(await ipam().metric("galaxy_config_valid"), 0);
    assert.deepEqual(
      (await healthOfBoth()).map(({ status }) => status),
      [200, 200],
    );
    assert.equal((await ipam().health("/readyz")).status, 200);
    assert.deepEqual(await passing("meanwhile", [{ name: "n", internalIp: "10.49.27.9" }]), ["n"]);
    await configureAndWait([documented]);
    assert.deepEqual(await passing("healed", [{ name: "n", internalIp: "10.0.0.9" }]), ["n"]);
  });

  test("case 10: adjacent, unordered and repeated ranges are merged", async () => {
    const ips = ["10.0.70.8", "10.0.70.2~10.0.70.4", "10.0.70.5~10.0.70.7", "10.0.70.3"];
    await cluster.configure([{ ...documented, ips }]);
    const labels = { type: "total", subnet: "10.0.70.0/24", first_ip: "10.0.70.2" };
    await waitUntil(
      "seven addresses",
      () => cluster.ipam().metric("galaxy_ip_counter", labels),
      (count) => count === 7,
    );
    assert.equal(await cluster.ipam().metric("galaxy_config_valid"), 1);
  });

  test("case 14: an IPv6 entry gives IPv6 addresses", async () => {
    await configureAndWait([
      {
        nodeSubnets: ["10.0.0.0/16"],
        ips: ["fd00::10~fd00::ffff"],
        subnet: "fd00::/64",
        gateway: "fd00::1",
        vlan: 6,
      },
    ]);
    await cluster.api.create(aPod({ name: "six" }));
    const [pod] = await cluster.readyPods("six", 1);
    assert.ok(pod);
    assert.deepEqual(ipInfosOf(pod), [{ ip: "fd00::10/64", vlan: 6, gateway: "fd00::1" }]);
    assert.deepEqual(
      (await cluster.api.list({ kind: floatingIps })).map(({ metadata }) => metadata.name),
      ["fd00-0-0-0-0-0-0-10"],
    );
    await waitForNoRecordsAfterDelete("six");
  });

  test("case 16: an empty configuration is ready at first start, and refused while addresses are in use", async () => {
    const { api } = cluster;
    for (const text of ["", "null", "[]"]) {
      await cluster.restartIpam("SIGTERM", {
        meanwhile: () => cluster.configure(text),
      });
      assert.deepEqual(
        await passing(`empty-${text.length}`, [{ name: "n", internalIp: "10.49.27.9" }]),
        [],
      );
    }
    await waitForEvent(api, { kind: "ConfigMap", ...configMap }, /no pod can get a float IP/);
    await configureAndWait(twoSubnets);
    await api.create(aPod({ name: "in-use" }));
    await cluster.readyPods("in-use", 1);
    await cluster.configure("[]");
    await waitForEvent(
      api,
      { kind: "ConfigMap", ...configMap },
      /new configuration is empty while 1 addresses are in use/,
    );
    assert.deepEqual(await passing("after", [{ name: "n", internalIp: "10.49.27.9" }]), ["n"]);
    assert.equal((await api.list({ kind: floatingIps })).length, 1);
    await waitForCleanAudit(api);
  });

  test("case 18: two entries of one pod subnet serve one node each", async () => {
    const { api } = cluster;
    await configureAndWait([
      { ...entry("10.180.154", "10.180.154.2~10.180.154.3"), nodeSubnets: ["10.180.1.2/32"] },
      { ...entry("10.180.154", "10.180.154.7~10.180.154.8"), nodeSubnets: ["10.180.1.3/32"] },
    ]);
    await api.create(aDeployment({ name: "singles", replicas: 4 }));
    for (const pod of await cluster.readyPods("singles", 4)) {
      const [ip] = floatIpsOf(pod);
      const own = pod.spec.nodeName === "single-2" ? ["2", "3"] : ["7", "8"];
      assert.ok(own.includes(ip?.split(".")[3] ?? ""), `${ip} on ${pod.spec.nodeName}`);
    }
    await waitForCleanAudit(api);
  });

  test("case 19: growing changes no record and gives the new addresses without a restart", async () => {
    const { api } = cluster;
    const [first, second] = twoSubnets as [FloatingIpEntry, FloatingIpEntry];
    const small = { ...second, ips: ["10.173.80.2~10.173.80.3"] };
    await configureAndWait([small]);
    await api.create(aDeployment({ name: "grow", replicas: 3 }));
    await waitForRecords(api, "two records", "dp_default_grow_", ({ length }) => length === 2);
    await api.waitFor(
      "two pods to run",
      { kind: pods, namespace: "default" },
      (seen) => seen.filter(({ status }) => status.phase === "Running").length === 2,
    );
    const before = await api.list({ kind: floatingIps });
    await cluster.configure([{ ...second, ips: ["10.173.80.2~10.173.80.9"] }, first]);
    const total = () =>
      cluster.ipam().metric("galaxy_ip_counter", {
        type: "total",
        subnet: "10.173.80.0/24",
        first_ip: "10.173.80.2",
      });
    await waitUntil("eight addresses", total, (count) => count === 8, { everyMs: 20 });
    await cluster.nodes.nudgeScheduler();
    await cluster.readyPods("grow", 3);
    const after = await api.list({ kind: floatingIps });
    const old = after.filter(({ metadata }) =>
      before.some((record) => record.metadata.name === metadata.name),
    );
    assert.equal(JSON.stringify(old), JSON.stringify(before));
    assert.equal(after.length, 3);
    await waitForCleanAudit(api);
  });

  test("case 20: shrinking drops addresses that no pod has, with an event, and keeps the administrator's", async () => {
    const { api } = cluster;
    const [first] = twoSubnets as [FloatingIpEntry];
    await api.create(aFloatingIp({ ip: "10.49.70.20", key: "dp_default_old_", policy: 2 }));
    await api.create(aFloatingIp({ ip: "10.49.70.19", key: "sts_default_db_db-0", policy: 2 }));
    await api.create(aFloatingIp({ ip: "10.49.70.18", key: "pool__old_", policy: 2 }));
    await api.create(aFloatingIp({ ip: "10.49.70.17", isReserved: true }));
    await api.create(aFloatingIp({ ip: "10.49.70.3", key: "dp_default_old_", policy: 2 }));
    const reserved = { type: "reserved", subnet: "10.49.70.0/24", first_ip: "10.49.70.2" };
    await waitUntil(
      "four reservations to be seen",
      () => cluster.ipam().metric("galaxy_ip_counter", reserved),
      (count) => count === 4,
      { everyMs: 30 },
    );
    await configureAndWait([{ ...first, ips: ["10.49.70.2~10.49.70.9"] }]);
    await api.waitFor(
      "the reservations outside to be dropped",
      { kind: floatingIps },
      (seen) => seen.length === 2,
    );
    const left = (await api.list({ kind: floatingIps })).map(({ metadata }) => metadata.name);
    assert.deepEqual(left.toSorted(), ["10.49.70.17", "10.49.70.3"]);
    await waitForEvent(
      api,
      { kind: "ConfigMap", ...configMap },
      /3 reserved addresses are outside the configuration now.*10\.49\.70\.18/,
    );
  });

  test("case 21: shrinking under running pods takes nothing from them; their addresses drain and go with them", async () => {
    const { api } = cluster;
    const [, second] = twoSubnets as [FloatingIpEntry, FloatingIpEntry];
    await configureAndWait([{ ...second, ips: ["10.173.80.2~10.173.80.5"] }]);
    await api.create(aDeployment({ name: "shrunk", replicas: 4, policy: "immutable" }));
    const running = await cluster.readyPods("shrunk", 4);
    const outside = running.filter((pod) =>
      ["10.173.80.4", "10.173.80.5"].includes(floatIpsOf(pod)[0] ?? ""),
    );
    assert.equal(outside.length, 2);
    await configureAndWait([{ ...second, ips: ["10.173.80.2~10.173.80.3"] }]);
    const draining = await waitForRecords(
      api,
      "two draining records",
      "dp_default_shrunk_",
      (records) => records.filter(({ spec }) => spec["state"] === "Draining").length === 2,
    );
    assert.equal(draining.length, 4);
    await waitForEvent(
      api,
      { kind: "ConfigMap", ...configMap },
      /2 addresses in pods are outside the configuration.*10\.173\.80\.4, 10\.173\.80\.5/,
    );
    assert.equal(
      await cluster.ipam().metric("galaxy_ip_counter", {
        type: "draining",
        subnet: "10.173.80.0/24",
        first_ip: "10.173.80.2",
      }),
      2,
    );
    await waitForCleanAudit(api);
    const offered = [{ name: "b1", internalIp: "10.173.13.1" }];
    assert.deepEqual(await passing("wants-one", offered), [], "a draining address is not free");
    // The range returns: they belong to their pods as before.
    await configureAndWait([{ ...second, ips: ["10.173.80.2~10.173.80.5"] }]);
    await waitForRecords(api, "no draining record", "dp_default_shrunk_", (records) =>
      records.every(({ spec }) => spec["state"] === "Bound"),
    );
    await configureAndWait([{ ...second, ips: ["10.173.80.2~10.173.80.3"] }]);
    await api.scale(deployments, { name: "shrunk", namespace: "default" }, 2);
    const [gone] = outside;
    await api.delete(pods, { name: gone?.metadata.name ?? "", namespace: "default" });
    await waitForCleanAudit(api);
    await api.scale(deployments, { name: "shrunk", namespace: "default" }, 0);
    await waitForNoRecords(api, "dp_default_shrunk_");
    await waitForCleanAudit(api);
  });

  test("case 23: deleting the ConfigMap at run time changes nothing", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "stays" }));
    await cluster.readyPods("stays", 1);
    const before = await api.list({ kind: floatingIps });
    await api.delete(configMaps, configMap);
    await waitUntil(
      "the deletion to be noticed",
      () => cluster.ipam().metric("galaxy_config_valid"),
      (valid) => valid === 0,
    );
    assert.deepEqual(await healthOfBoth(), [
      { status: 200, text: "ok" },
      { status: 200, text: "ok" },
    ]);
    await api.create(aPod({ name: "comes" }));
    await cluster.readyPods("comes", 1);
    const after = await api.list({ kind: floatingIps });
    assert.deepEqual(
      after.filter(({ metadata }) => metadata.name === before[0]?.metadata.name),
      before,
    );
    await waitForCleanAudit(api);
  });

  test("D-26: a node that gets another address belongs to another subnet at once", async () => {
    const pod = await unscheduledPod("moved");
    const isOffered = async () => {
      const { NodeNames } = await filterNames(cluster.ipam().url, pod, ["doc"]);
      return NodeNames.length === 1;
    };
    assert.equal(await isOffered(), false);
    await cluster.nodes.add([{ name: "doc", internalIp: "10.173.13.77" }]);
    await waitUntil("the node to be offered", isOffered, (is) => is);
    await cluster.nodes.add([{ name: "doc", internalIp: "10.0.3.1" }]);
    await waitUntil("it to be offered no more", isOffered, (is) => !is);
  });

  test("case 25: subnets in the JSON configuration win over the ConfigMap", async () => {
    const file = join(folder, "inline.json");
    writeFileSync(file, JSON.stringify({ schedule_plugin: { floatingips: [documented] } }));
    await cluster.restartIpam("SIGTERM", { flags: [`--config=${file}`] });
    const nodes = [
      { name: "inline", internalIp: "10.0.0.9" },
      { name: "map", internalIp: "10.49.27.9" },
    ];
    assert.deepEqual(await passing("inline", nodes), ["inline"]);
    await cluster.restartIpam("SIGTERM");
  });

  test("case 25: the names of ConfigMap, namespace and key are taken from the JSON configuration", async () => {
    const { api } = cluster;
    const names = { configMapName: "other", configMapNamespace: "default", floatingipKey: "ips" };
    const file = join(folder, "names.json");
    writeFileSync(file, JSON.stringify({ schedule_plugin: { ...names, resyncInterval: 0 } }));
    const manifest = aConfigMap({
      floatingips: [documented],
      name: names.configMapName,
      namespace: names.configMapNamespace,
      key: names.floatingipKey,
    });
    await api.create(manifest);
    await cluster.restartIpam("SIGTERM", { flags: [`--config=${file}`] });
    assert.deepEqual(await passing("named", [{ name: "n", internalIp: "10.0.0.9" }]), ["n"]);
    await api.delete(configMaps, { name: names.configMapName, namespace: "default" });
    await cluster.restartIpam("SIGTERM");
  });

  test("--floatingips takes the subnets from a file, which is watched like the ConfigMap", async () => {
    const file = join(folder, "floatingips.json");
    const flags = [`--floatingips=${file}`];
    await cluster.restartIpam("SIGTERM", { flags, isReady: false });
    await waitUntil("the reason in health", healthOfBoth, (answers) =>
      answers.every(({ status, text }) => status === 503 && text.includes(file)),
    );
    writeFileSync(file, JSON.stringify([documented]));
    await cluster.ipam().whenReady();
    assert.deepEqual(await passing("file", [{ name: "n", internalIp: "10.0.0.9" }]), ["n"]);
    writeFileSync(file, "[{");
    await waitUntil(
      "the refusal",
      () => cluster.ipam().metric("galaxy_config_valid"),
      (valid) => valid === 0,
    );
    assert.deepEqual(await passing("broken", [{ name: "n", internalIp: "10.0.0.9" }]), ["n"]);
    writeFileSync(file, JSON.stringify(twoSubnets));
    await waitUntil(
      "the new file",
      () =>
        passing(`file-${performance.now()}`.replace(".", "-"), [
          { name: "n", internalIp: "10.49.27.9" },
        ]),
      (names) => names.length === 1,
    );
    await cluster.restartIpam("SIGTERM");
  });

  async function waitForNoRecordsAfterDelete(podName: string): Promise<void> {
    await cluster.api.delete(pods, { name: podName, namespace: "default" });
    await waitForNoRecords(cluster.api, `NULL_default_NULL_${podName}`);
  }
});

/** How many addresses IPv4 ranges list, as long as they differ in the last number alone; IPv6 ones have at most 65,536 here. */
function countOf(ips: readonly string[]): number {
  let count = 0;
  for (const range of ips) {
    const [first = "", last = first] = range.split("~");
    const endOf = (ip: string) =>
      ip.includes(":") ? Number.parseInt(ip.split(":").at(-1) ?? "", 16) : Number(ip.split(".")[3]);
    count += endOf(last) - endOf(first) + 1;
  }
  return count;
}

/** An entry without node subnets: `entry("10.0.80", "10.0.80.2~10.0.80.4")`. */
function entry(network: string, range: string): FloatingIpEntry {
  return { ips: [range], subnet: `${network}.0/24`, gateway: `${network}.1`, vlan: 3 };
}
