// Preemption on a real control plane: of the nodes on which kube-scheduler would evict pods only those are kept on which the addresses
// would do. Asking takes nothing.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf, isReady } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { type KubernetesVersion, reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { floatingIps, type Pod, pods, statefulSets } from "../control-plane/kinds.ts";
import { aPod, aStatefulSet, type PodManifestWish } from "../control-plane/manifests.ts";
import { addressOf, isReservation, waitForRecords } from "../control-plane/records.ts";
import { callExtender } from "../control-plane/scheduler-calls.ts";

const skip = await reasonToSkip();

/** Kubernetes 1.20 and 1.21 forgot to, until 1.20.10 and 1.21.4. */
function asksExtendersBeforePreempting({ text, minor }: KubernetesVersion): boolean {
  const patch = Number(/\.(\d+)$/.exec(text)?.[1] ?? 0);
  return minor >= 22 || minor < 20 || (minor === 21 ? patch >= 4 : patch >= 10);
}

/** Three subnets of two addresses, each with one node of 2 CPUs. */
const letters = ["a", "b", "c"];
const floatingips = letters.map((_, index) => ({
  nodeSubnets: [`10.49.${index + 1}.0/24`],
  ips: [`10.50.${index + 1}.2~10.50.${index + 1}.3`],
  subnet: `10.50.${index + 1}.0/24`,
  gateway: `10.50.${index + 1}.1`,
}));
const simulated = letters.map((letter, index) => ({
  name: `${letter}1`,
  internalIp: `10.49.${index + 1}.1`,
  cpu: "2",
}));

describe("preemption on a real control plane", { skip }, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster({ floatingips, nodes: simulated });
    api = cluster.api;
    for (const [name, value] of [
      ["lowest", -20],
      ["low", -10],
      ["high", 1_000],
    ] as const) {
      await api.create({
        apiVersion: "scheduling.k8s.io/v1",
        kind: "PriorityClass",
        metadata: { name },
        value,
      });
    }
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "default" });
  const run = async (wish: PodManifestWish): Promise<Pod> => {
    await api.create(aPod(wish));
    return api.waitForOne(`${wish.name} to run`, pods, at(wish.name), isReady);
  };
  const on = (node: string) => ({ nodeSelector: { "kubernetes.io/hostname": node } });
  /** Makes an address of the node's subnet a reservation that no other pod may use. */
  const blockOne = async (name: string, node: string): Promise<void> => {
    await run({ name, policy: "never", ...on(node) });
    await api.delete(pods, at(name));
    await api.waitForGone(pods, at(name));
    await waitForRecords(
      api,
      "the reservation",
      `NULL_default_NULL_${name}`,
      (seen) => seen.length === 1 && seen.every(isReservation),
    );
  };
  const recordTexts = async (): Promise<readonly string[]> =>
    (await api.list({ kind: floatingIps }))
      .map((record) => `${addressOf(record)} ${record.metadata.resourceVersion}`)
      .toSorted();

  test("case 67: nodes are kept where a victim's address would be free, and asking takes nothing; a pod of high priority gets that address", async (t) => {
    // On a1 the victim's address would be free. On b1 and c1 victims are cheaper, but no address is to be had: those of b1 are all
    // reserved for others, and the victim on c1 is one of a StatefulSet that keeps its own.
    await blockOne("keep-1", "a1");
    await blockOne("keep-2", "b1");
    await blockOne("keep-3", "b1");
    await blockOne("keep-4", "c1");
    const victim = await run({ name: "victim", cpu: "2", priorityClassName: "low", ...on("a1") });
    const cheap = { cpu: "2", priorityClassName: "lowest" };
    const bystander = await run({ name: "bystander", wantsFloatIp: false, ...cheap, ...on("b1") });
    await api.create(aStatefulSet({ name: "own", policy: "immutable", ...cheap, ...on("c1") }));
    const own = await api.waitForOne("own-0 to run", pods, at("own-0"), isReady);
    await waitForCleanAudit(api);

    const victims = {
      a1: victim.metadata.uid,
      b1: bystander.metadata.uid,
      c1: own.metadata.uid,
      ghost: "nobody",
    };
    const byNode = (victimOf: (uid: string) => unknown) =>
      Object.fromEntries(
        Object.entries(victims).map(([node, uid]) => [
          node,
          { Pods: [victimOf(uid)], NumPDBViolations: node === "a1" ? 1 : 0 },
        ]),
      );
    const asking = aPod({ name: "asking", priorityClassName: "high" });
    const Pod = { ...asking, metadata: { ...asking.metadata, uid: "asking" } };
    const before = await recordTexts();
    for (const candidates of [
      { NodeNameToMetaVictims: byNode((UID) => ({ UID })) },
      { NodeNameToVictims: byNode((uid) => ({ metadata: { uid } })) },
      { nodenametometavictims: byNode((uid) => ({ uid })) },
    ]) {
      const answer = await callExtender(cluster.ipam().url, "/v1/preempt", { Pod, ...candidates });
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.json, {
        NodeNameToMetaVictims: {
          a1: { Pods: [{ UID: victim.metadata.uid }], NumPDBViolations: 1 },
        },
      });
    }
    assert.deepEqual(await recordTexts(), before);

    const calls = () => cluster.ipam().metric("galaxy_schedule_latency_count", { func: "preempt" });
    const callsBefore = (await calls()) ?? 0;
    await api.create(aPod({ name: "urgent", cpu: "1", priorityClassName: "high" }));
    const urgent = await api.waitForOne("the urgent pod to run", pods, at("urgent"), isReady);
    assert.equal(urgent.spec.nodeName, "a1");
    assert.deepEqual(floatIpsOf(urgent), floatIpsOf(victim));
    assert.equal((await api.get(pods, at("victim")))?.metadata.uid, undefined);
    if (asksExtendersBeforePreempting(cluster.plane.version)) {
      assert.ok(((await calls()) ?? 0) > callsBefore, "the scheduler asked");
      const spared = await api.get(pods, at("bystander"));
      assert.equal(spared?.metadata.deletionTimestamp, undefined);
    } else {
      t.diagnostic(
        `kube-scheduler ${cluster.plane.version.text} asks no extender before it preempts ` +
          "(https://github.com/kubernetes/kubernetes/issues/102971), so that it evicts in vain, too",
      );
    }
    await api.delete(statefulSets, at("own"));
    await api.delete(pods, at("urgent"));
    await api.waitForGone(pods, at("urgent"));
    await waitForRecords(
      api,
      "the reservations alone",
      "",
      (records) => records.length === 4 && records.every(isReservation),
    );
    await waitForCleanAudit(api);
  });

  test("case 67: a pod that has an address is only offered nodes that may use it", async () => {
    await api.create(aStatefulSet({ name: "pinned", policy: "immutable", ...on("a1") }));
    const pinned = await api.waitForOne("pinned-0 to run", pods, at("pinned-0"), isReady);
    const meta = Object.fromEntries(
      ["a1", "b1", "ghost"].map((node) => [node, { Pods: [{ UID: "v1" }], NumPDBViolations: 1 }]),
    );
    const answer = await callExtender(cluster.ipam().url, "/v1/preempt", {
      Pod: pinned,
      NodeNameToMetaVictims: meta,
    });
    assert.deepEqual(answer.json, {
      NodeNameToMetaVictims: { a1: { Pods: [{ UID: "v1" }], NumPDBViolations: 1 } },
    });
    await waitForCleanAudit(api);
  });
});
