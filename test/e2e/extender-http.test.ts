// The extender's verbs over HTTP against the running process, as the cases write them: the test is the scheduler, and there are no
// controllers. Pods are real objects; what comes of a call is read from the API server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type ApiClient,
  floatIpsOf,
  inParallel,
  ipInfosOf,
  isReady,
  waitUntil,
} from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import {
  type FloatingIp,
  floatingIps,
  type Node,
  nodes,
  type Pod,
  pods,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aFloatingIp,
  aNamespace,
  aPod,
  aStatefulSet,
  NETWORKS_ANNOTATION,
  ownedBy,
  type PodManifestWish,
} from "../control-plane/manifests.ts";
import { addressOf, waitForNoRecords, waitForRecords } from "../control-plane/records.ts";
import { callExtender, type SchedulerAnswer } from "../control-plane/scheduler-calls.ts";

const skip = await reasonToSkip();

/** The seven entries of the Go system's own tests (CONF7 of the cases). */
const conf7 = [
  entry(["10.49.27.0/24"], ["10.49.27.205", "10.49.27.216~10.49.27.218"], "10.49.27", 2),
  entry(
    ["10.173.13.0/24"],
    ["10.173.13.2", "10.173.13.10~10.173.13.13", "10.173.13.15"],
    "10.173.13",
    2,
  ),
  entry(["10.180.1.2/32"], ["10.180.154.2~10.180.154.3"], "10.180.154", 3),
  entry(["10.180.1.3/32"], ["10.180.154.7~10.180.154.8"], "10.180.154", 3),
  entry(["10.0.1.2/24", "10.0.2.2/24"], ["10.0.70.2~10.0.70.20"], "10.0.70", 0),
  entry(["10.49.28.0/26", "10.49.29.0/24"], ["10.0.80.2~10.0.80.4"], "10.0.80", 0),
  entry(["10.49.28.0/26"], ["10.0.81.2~10.0.81.4"], "10.0.81", 0),
];

function entry(nodeSubnets: readonly string[], ips: readonly string[], base: string, vlan: number) {
  return { nodeSubnets, ips, subnet: `${base}.0/24`, gateway: `${base}.1`, vlan };
}

const conf7Nodes = [
  { name: "n1", internalIp: "10.180.1.3" },
  { name: "n2", internalIp: "10.48.28.2" },
  { name: "n3", internalIp: "10.49.27.3" },
  { name: "n4", internalIp: "10.173.13.4" },
  { name: "n5", internalIp: "10.49.28.3" },
  { name: "n6", internalIp: "10.49.29.3" },
  { name: "n7", internalIp: "10.0.2.7" },
];

type FilterAnswer = {
  readonly nodes?: { readonly items?: readonly Node[] | null };
  readonly NodeNames?: readonly string[];
  readonly failedNodes?: Readonly<Record<string, string>>;
  readonly error?: string;
};

describe("the extender over HTTP beside a real API server", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;
  let allNodes: readonly Node[];

  before(async () => {
    cluster = await startCluster({
      plane: { hasControllers: false },
      floatingips: conf7,
      nodes: conf7Nodes,
    });
    api = cluster.api;
    await api.create(aNamespace("ns1"));
    allNodes = await api.list({ kind: nodes });
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "ns1" });
  const call = (path: string, body: unknown, headers?: Readonly<Record<string, string>>) =>
    callExtender(cluster.ipam().url, path, body, headers);
  /** A pod that the scheduler of the cluster leaves alone. */
  const make = (wish: Omit<PodManifestWish, "namespace">): Promise<Pod> =>
    api.create(aPod({ schedulerName: "the-test", namespace: "ns1", ...wish }));
  const nodesNamed = (names: readonly string[]): readonly Node[] =>
    names.map((name) => allNodes.find(({ metadata }) => metadata.name === name) as Node);
  const filter = async (pod: Pod, names: readonly string[]): Promise<FilterAnswer> => {
    const answer = await call("/v1/filter", { pod, nodes: { items: nodesNamed(names) } });
    assert.equal(answer.status, 200);
    return answer.json as FilterAnswer;
  };
  const passed = (answer: FilterAnswer): readonly string[] =>
    (answer.nodes?.items ?? []).map(({ metadata }) => metadata.name);
  const bind = async (pod: Pod, node: string): Promise<string> => {
    const { name, namespace, uid } = pod.metadata;
    const body = { PodName: name, PodNamespace: namespace, PodUID: uid, Node: node };
    const answer = await call("/v1/bind", body);
    assert.equal(answer.status, 200);
    return errorOf(answer);
  };
  const remove = async (name: string): Promise<void> => {
    await api.delete(pods, at(name));
    await api.waitForGone(pods, at(name));
  };
  const recordsNow = async (): Promise<readonly string[]> =>
    (await api.list({ kind: floatingIps })).map(addressOf).toSorted();
  /** Takes addresses out of allocation and waits until the process has seen it. */
  const reserve = async (ips: readonly string[], node: string, free: number): Promise<void> => {
    for (const ip of ips) await api.create(aFloatingIp({ ip, isReserved: true }));
    const first = conf7.find(({ ips: [range = ""] }) =>
      range.startsWith(ips[0]?.slice(0, 6) ?? ""),
    );
    assert.ok(first, node);
    const labels = { subnet: first.subnet, first_ip: first.ips[0]?.split("~")[0] ?? "" };
    await waitUntil(
      `${free} free addresses for ${node}`,
      () => cluster.ipam().metric("galaxy_ip_counter", { type: "free", ...labels }),
      (count) => count === free,
    );
  };

  test("case 35: a pod without the resource passes everywhere", async () => {
    const pod = await make({ name: "plain", wantsFloatIp: false });
    const answer = await filter(pod, ["n1", "n2", "n3"]);
    assert.deepEqual(passed(answer), ["n1", "n2", "n3"]);
    assert.equal(answer.failedNodes, undefined);
    assert.equal(answer.error, undefined);
  });

  test("case 56: a pod without the resource is not bound", async () => {
    const pod = (await api.get(pods, at("plain"))) as Pod;
    assert.match(
      await bind(pod, "n3"),
      /pod which doesn't want floatingip have been sent to plugin/,
    );
    assert.equal((await api.get(pods, at("plain")))?.spec.nodeName, undefined);
    await remove("plain");
  });

  test("case 36, case 7, case 38: each node left out has its reason, and filter writes nothing", async () => {
    const drained = ["10.180.154.7", "10.180.154.8"];
    for (const ip of drained) await api.create(aFloatingIp({ ip, isReserved: true }));
    const pod = await make({ name: "wishing" });
    const answer = await waitUntil(
      "n1 to be drained",
      () => filter(pod, ["n1", "n2", "n3", "n4"]),
      ({ failedNodes }) => failedNodes?.["n1"] !== undefined,
    );
    assert.deepEqual(passed(answer), ["n3", "n4"]);
    assert.deepEqual(Object.keys(answer.failedNodes ?? {}).toSorted(), ["n1", "n2"]);
    assert.match(answer.failedNodes?.["n1"] ?? "", /^FloatingIPPlugin:NoFIPLeft/);
    assert.match(answer.failedNodes?.["n2"] ?? "", /^FloatingIPPlugin:NoFIPConfigNode/);
    assert.equal(answer.error ?? "", "");
    for (let round = 0; round < 20; round += 1) await filter(pod, ["n3", "n4", "n5"]);
    assert.deepEqual(await recordsNow(), drained);
    for (const ip of drained) await api.delete(floatingIps, { name: ip });
    await waitUntil(
      "n1 to have addresses again",
      () => filter(pod, ["n1"]),
      (again) => passed(again).length === 1,
    );
    await remove("wishing");
    await waitForCleanAudit(api);
  });

  test("case 39: an address that a pod has pins it to the nodes of its subnet", async () => {
    const set = await api.create(
      aStatefulSet({ name: "pod1", namespace: "ns1", replicas: 2, policy: "immutable" }),
    );
    await api.create(
      aFloatingIp({ ip: "10.173.13.2", key: "sts_ns1_pod1_pod1-0", policy: 1, labels: {} }),
    );
    const ownerReferences = [ownedBy(set)];
    const mine = await make({ name: "pod1-0", policy: "immutable", ownerReferences });
    const answer = await waitUntil(
      "its address to pin it",
      () => filter(mine, ["n1", "n3", "n4"]),
      (seen) => passed(seen).length === 1,
    );
    assert.deepEqual(passed(answer), ["n4"]);
    for (const node of ["n1", "n3"]) {
      assert.match(answer.failedNodes?.[node] ?? "", /^FloatingIPPlugin:NoFIPLeft.*10\.173\.13\.2/);
    }
    const other = await make({ name: "pod1-1", policy: "immutable", ownerReferences });
    assert.deepEqual(passed(await filter(other, ["n3", "n4"])), ["n3", "n4"]);
    assert.match(await bind(mine, "n3"), /pod ns1\/pod1-0 has 10\.173\.13\.2/, "D-13");
    assert.equal(await bind(mine, "n4"), "");
    assert.deepEqual(floatIpsOf((await api.get(pods, at("pod1-0"))) as Pod), ["10.173.13.2"]);
    await waitForCleanAudit(api);
    await remove("pod1-1");
  });

  test("case 46: both spellings and both forms of nodes are understood", async () => {
    const pod = await make({ name: "speller" });
    const items = nodesNamed(["n2", "n3", "n4"]);
    const names = ["n2", "n3", "n4"];
    for (const body of [
      { Pod: pod, Nodes: { items } },
      { Pod: pod, Nodes: { items }, NodeNames: null },
      { POD: pod, nodes: { Items: items } },
    ]) {
      const { json } = await call("/v1/filter", body);
      assert.deepEqual(passed(json as FilterAnswer), ["n3", "n4"]);
      assert.deepEqual((json as FilterAnswer).nodes?.items?.[0], items[1], "nodes come back whole");
    }
    for (const body of [
      { Pod: pod, Nodes: null, NodeNames: names },
      { pod, nodenames: names },
    ]) {
      const { json } = await call("/v1/filter", body);
      assert.deepEqual((json as FilterAnswer).NodeNames, ["n3", "n4"]);
      assert.match(
        (json as FilterAnswer).failedNodes?.["n2"] ?? "",
        /^FloatingIPPlugin:NoFIPConfigNode/,
      );
    }
    await remove("speller");
  });

  test("case 47: malformed input is answered in JSON and counted, and the process goes on", async () => {
    const counted = () => cluster.ipam().metric("galaxy_bad_input_total", { input: "body" });
    const countBefore = (await counted()) ?? 0;
    const bodies = ["{", "", "null", "[]", '{"pod":1}', "{}", '{"pod":{},"nodes":{"items":3}}'];
    for (const path of ["/v1/filter", "/v1/priority", "/v1/bind", "/v1/preempt"]) {
      for (const body of bodies) {
        const answer = await call(path, body);
        assert.equal(answer.status, 400, `${path} ${body}: ${answer.text}`);
        assert.equal(typeof answer.json, "object", answer.text);
      }
    }
    const text = await call("/v1/filter", "{}", { "content-type": "text/plain" });
    assert.equal(text.status, 415);
    const got = await fetch(`${cluster.ipam().url}/v1/filter`);
    assert.equal(got.status, 405);
    assert.equal((await fetch(`${cluster.ipam().url}/v2/filter`)).status, 404);
    assert.ok(((await counted()) ?? 0) >= countBefore + 4 * bodies.length);
    assert.ok(cluster.ipam().isRunning());
  });

  test("case 51, case 52: bind writes record, annotation and Binding; mask, VLAN and gateway are the subnet's", async () => {
    const set = await api.create(
      aStatefulSet({ name: "web", namespace: "ns1", replicas: 2, policy: "immutable" }),
    );
    const ownerReferences = [ownedBy(set)];
    const args = '{"other":{"keep":true}}';
    const first = await make({
      name: "web-0",
      policy: "immutable",
      ownerReferences,
      annotations: { [ARGS_ANNOTATION]: args },
    });
    assert.equal(await bind(first, "n3"), "");
    const bound = (await api.get(pods, at("web-0"))) as Pod;
    assert.equal(bound.spec.nodeName, "n3");
    const [ip] = floatIpsOf(bound);
    assert.deepEqual(JSON.parse(bound.metadata.annotations?.[ARGS_ANNOTATION] ?? ""), {
      other: { keep: true },
      common: { ipinfos: [{ ip: `${ip}/24`, vlan: 2, gateway: "10.49.27.1" }] },
    });
    assert.equal(bound.metadata.annotations?.[NETWORKS_ANNOTATION], "galaxy-k8s-vlan");
    const record = (await api.get(floatingIps, { name: ip ?? "" })) as FloatingIp;
    assert.equal(record.spec.key, "sts_ns1_web_web-0");
    assert.equal(record.spec.policy, 1);
    assert.deepEqual(JSON.parse(record.spec.attribute ?? ""), {
      NodeName: "n3",
      Uid: first.metadata.uid,
    });
    assert.ok(Math.abs(Date.parse(record.spec.updateTime ?? "") - Date.now()) < 60_000);
    // Twice is the same as once.
    assert.equal(await bind(first, "n3"), "");
    const [after, ...more] = await waitForRecords(
      api,
      "its record",
      "sts_ns1_web_web-0",
      (seen) => seen.length > 0,
    );
    assert.deepEqual(more, []);
    assert.deepEqual({ ...after?.spec, updateTime: "" }, { ...record.spec, updateTime: "" });

    const second = await make({ name: "web-1", policy: "immutable", ownerReferences });
    assert.equal(await bind(second, "n1"), "");
    const [info] = ipInfosOf((await api.get(pods, at("web-1"))) as Pod);
    assert.match(info?.ip ?? "", /^10\.180\.154\.[78]\/24$/);
    assert.deepEqual([info?.vlan, info?.gateway], [3, "10.180.154.1"]);
    await waitForCleanAudit(api);
  });

  test("case 54: a pod that comes back with another policy gets its address with that policy", async () => {
    const key = "NULL_ns1_NULL_back-0";
    const first = await make({ name: "back-0", policy: "never" });
    assert.equal(await bind(first, "n4"), "");
    const ips = floatIpsOf((await api.get(pods, at("back-0"))) as Pod);
    await remove("back-0");
    await waitForRecords(
      api,
      "it to be kept",
      key,
      ([record]) =>
        record?.spec.policy === 2 && record.spec.attribute === '{"NodeName":"","Uid":""}',
    );
    const second = await make({ name: "back-0" });
    assert.equal(await bind(second, "n4"), "");
    assert.deepEqual(floatIpsOf((await api.get(pods, at("back-0"))) as Pod), ips);
    const [record] = await waitForRecords(api, "one record", key, (seen) => seen.length === 1);
    assert.equal(record?.spec.policy, 0);
    assert.deepEqual(JSON.parse(record?.spec.attribute ?? ""), {
      NodeName: "n4",
      Uid: second.metadata.uid,
    });
    await waitForCleanAudit(api);
    await remove("back-0");
    await waitForNoRecords(api, key);
  });

  test("case 55: a pod that does not exist, or is another one by now, is refused and takes nothing", async () => {
    const before = await recordsNow();
    const ghost = { PodName: "nope", PodNamespace: "ns1", PodUID: "u", Node: "n3" };
    const gone = errorOf(await call("/v1/bind", ghost));
    assert.match(gone, /failed to find pod ns1\/nope: not found/);
    const pod = await make({ name: "real" });
    const wrong = { PodName: "real", PodNamespace: "ns1", PodUID: "other", Node: "n3" };
    assert.match(
      errorOf(await call("/v1/bind", wrong)),
      new RegExp(`pod ns1/real has uid ${pod.metadata.uid}, not other`),
    );
    assert.match(await bind(pod, "no-node"), /node no-node does not exist/);
    assert.match(await bind(pod, "n2"), /FloatingIPPlugin:NoFIPConfigNode/);
    assert.deepEqual(await recordsNow(), before);
    // A pod made a moment ago, which no watch has shown yet, is read live.
    const fresh = await make({ name: "fresh" });
    assert.equal(await bind(fresh, "n3"), "");
    await waitForCleanAudit(api);
    await remove("real");
    await remove("fresh");
    await waitForNoRecords(api, "NULL_ns1_NULL_fresh");
  });

  test("of two binds of one pod to two nodes one wins, and the record names the winner", async () => {
    for (let round = 0; round < 5; round += 1) {
      const pod = await make({ name: `torn-${round}` });
      const errors = await Promise.all([bind(pod, "n3"), bind(pod, "n4")]);
      assert.equal(errors.filter((error) => error === "").length, 1, errors.join());
      await waitForCleanAudit(api);
      await remove(`torn-${round}`);
    }
    await waitForNoRecords(api, "NULL_ns1_NULL_torn-");
  });

  test("case 58: of 12 parallel binds for 10 free addresses exactly 10 succeed", async () => {
    const taken = Array.from({ length: 9 }, (_, index) => `10.0.70.${index + 2}`);
    await reserve(taken, "n7", 10);
    const names = Array.from({ length: 12 }, (_, index) => `rush-${index}`);
    const made: Pod[] = [];
    await inParallel(names, 12, async (name) => made.push(await make({ name })));
    const errors = await Promise.all(made.map((pod) => bind(pod, "n7")));
    const failures = errors.filter((error) => error !== "");
    assert.equal(failures.length, 2);
    for (const failure of failures) assert.match(failure, /no enough available ips left/);
    const records = await waitForRecords(
      api,
      "ten records",
      "NULL_ns1_NULL_rush-",
      (seen) => seen.length === 10,
    );
    const expected = Array.from({ length: 10 }, (_, index) => `10.0.70.${index + 11}`);
    assert.deepEqual(new Set(records.map(addressOf)), new Set(expected));
    await waitForCleanAudit(api);
    await inParallel(names, 12, remove);
    await waitForNoRecords(api, "NULL_ns1_NULL_rush-");
    await waitForCleanAudit(api);
    for (const ip of taken) await api.delete(floatingIps, { name: ip });
  });

  test("case 79, case 49: what filter promised to a pod that goes away is open to the next one", async () => {
    const first = await make({ name: "first" });
    assert.deepEqual(passed(await filter(first, ["n1"])), ["n1"]);
    assert.deepEqual(passed(await filter(first, ["n1"])), ["n1"], "asked twice");
    // web-1 has one of the two addresses of n1, and the other one is promised.
    const second = await make({ name: "second" });
    assert.deepEqual(passed(await filter(second, ["n1"])), []);
    await remove("first");
    assert.deepEqual(passed(await filter(second, ["n1"])), ["n1"]);
    assert.equal(await bind(second, "n1"), "");
    await waitForCleanAudit(api);
    await remove("second");
    await waitForNoRecords(api, "NULL_ns1_NULL_second");
  });

  test("case 66: nodes are scored by their share of free addresses, and highest where the pod's address was", async () => {
    const names = ["n1", "n2", "n3", "n4", "n6"];
    const ask = async (pod: Pod) => {
      const body = { Pod: pod, Nodes: { items: nodesNamed(names) } };
      const { json, status } = await call("/v1/priority", body);
      assert.equal(status, 200);
      const scores = json as readonly { readonly Host: string; readonly Score: number }[];
      assert.deepEqual(
        scores.map(({ Host }) => Host),
        names,
      );
      assert.ok(scores.every(({ Score }) => Number.isInteger(Score) && Score >= 0 && Score <= 10));
      return Object.fromEntries(scores.map(({ Host, Score }) => [Host, Score]));
    };
    const before = await recordsNow();
    const scores = await ask(await make({ name: "chooser" }));
    // n6 is wholly free, of n1 half is taken by web-1.
    assert.ok((scores["n6"] ?? 0) > (scores["n1"] ?? 0), JSON.stringify(scores));
    assert.equal(scores["n2"], 0);
    const plain = await ask(await make({ name: "indifferent", wantsFloatIp: false }));
    assert.equal(new Set(Object.values(plain)).size, 1);
    const owner = (await api.get(pods, at("web-0"))) as Pod;
    assert.equal((await ask(owner))["n3"], 10);
    assert.deepEqual(await recordsNow(), before);
    await remove("chooser");
    await remove("indifferent");
  });

  test("case 46: a real scheduler that sends node names only gets its pods bound", async () => {
    await cluster.plane.startScheduler({
      extenderUrl: cluster.ipam().url,
      nodeCacheCapable: true,
    });
    const names = Array.from({ length: 8 }, (_, index) => `cached-${index}`);
    for (const name of names) await api.create(aPod({ name, namespace: "ns1" }));
    for (const name of names) {
      const pod = await api.waitForOne(`${name} to run`, pods, at(name), isReady);
      assert.equal(floatIpsOf(pod).length, 1);
      assert.notEqual(pod.spec.nodeName, "n2");
    }
    await waitForCleanAudit(api);
    await inParallel(names, 8, remove);
    await waitForNoRecords(api, "NULL_ns1_NULL_cached-");
    await waitForCleanAudit(api);
  });
});

function errorOf(answer: SchedulerAnswer): string {
  return (answer.json as { readonly Error: string }).Error;
}
