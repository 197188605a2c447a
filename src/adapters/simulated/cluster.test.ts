// Tests of the simulated cluster as operators use it: verbs, what they refuse, and what is kept from one life to the next.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Random } from "../../../sim/random.ts";
import { ip } from "../../../test/builders.ts";
import type { PodId } from "../../core/owner.ts";
import { builtInWorkload } from "../../core/owner.ts";
import { WorldError } from "../../ports/world-error.ts";
import { ManualClock } from "../memory/clock.ts";
import { MemoryLog } from "../memory/log.ts";
import { SqliteObjectStore } from "../sqlite/object-store.ts";
import { openStateFile } from "../sqlite/state-file.ts";
import { SimulatedCluster } from "./cluster.ts";
import type { Extender } from "./extender.ts";
import type { ObjectStore } from "./kept-objects.ts";
import { refOf } from "./saved-objects.ts";

/** Objects in memory that can be made to fail. */
class MapStore implements ObjectStore {
  readonly objects = new Map<string, { kind: string; name: string; content: string }>();
  problem: WorldError | undefined;

  list() {
    return [...this.objects.values()];
  }

  async put(object: { kind: string; name: string; content: string }): Promise<void> {
    await Promise.resolve();
    if (this.problem !== undefined) throw this.problem;
    this.objects.set(`${object.kind} ${object.name}`, object);
  }

  async remove({ kind, name }: { kind: string; name: string }): Promise<void> {
    await Promise.resolve();
    if (this.problem !== undefined) throw this.problem;
    this.objects.delete(`${kind} ${name}`);
  }
}

/** An extender that binds each pod to the first node with the next address. */
function anExtender(cluster: () => SimulatedCluster): Extender {
  let last = 1;
  return {
    filter: async ({ nodeNames }) => ({
      kind: "nodes",
      passed: nodeNames.map((_name, index) => index),
      failed: new Map(),
    }),
    prioritize: async () => [],
    preempt: async () => [],
    bind: async ({ pod, nodeName }) => {
      const facts = await cluster().view.readPod(pod);
      if (facts === "gone") return { kind: "refused", error: "gone" };
      last += 1;
      const ipInfos = [{ ip: `10.0.0.${last}/24`, vlan: 0, gateway: "10.0.0.1" }];
      const outcome = await cluster().binder.bind({ pod: facts, nodeName, ipInfos });
      return outcome.kind === "bound" ? outcome : { kind: "refused", error: outcome.kind };
    },
  };
}

/** A refusing extender: no pod gets an address. */
const refusing: Extender = {
  filter: async () => ({ kind: "refused", error: "there is no address" }),
  prioritize: async () => [],
  preempt: async () => [],
  bind: async () => ({ kind: "refused", error: "there is no address" }),
};

function aCluster(store: ObjectStore = new MapStore(), clock = new ManualClock()) {
  const cluster = new SimulatedCluster({
    clock,
    random: new Random(1),
    store,
    log: new MemoryLog(),
  });
  cluster.load();
  return { cluster, clock };
}

test("workloads get pods, pods get nodes and addresses, and roll-outs replace them", async () => {
  const { cluster, clock } = aCluster();
  cluster.start(anExtender(() => cluster));
  await cluster.addNode({ name: "n1", ips: ["10.0.1.1", "fd00::1"] });
  await cluster.createWorkload({ kind: "deployment", name: "web", replicas: 4 });
  await cluster.createWorkload({
    kind: "statefulset",
    name: "db",
    replicas: 2,
    policy: "immutable",
    requestIpRange: [["10.0.0.2~10.0.0.9", "10.0.0.20"]],
  });
  await clock.pass(20_000);
  assert.deepEqual(cluster.workloads(), [
    {
      kind: "deployment",
      namespace: "default",
      name: "web",
      replicas: 4,
      pods: 4,
      ready: 4,
      revision: 1,
      wantsAddress: true,
      policy: "",
      maxSurge: 1,
      maxUnavailable: 1,
    },
    {
      kind: "statefulset",
      namespace: "default",
      name: "db",
      replicas: 2,
      pods: 2,
      ready: 2,
      revision: 1,
      wantsAddress: true,
      policy: "immutable",
      requestIpRange: [["10.0.0.2~10.0.0.9", "10.0.0.20"]],
    },
  ]);
  assert.deepEqual(cluster.sizes(), { workloads: 2, pods: 6, nodes: 1 });
  const [node] = cluster.nodes();
  assert.deepEqual(node, {
    name: "n1",
    ips: ["10.0.1.1", "fd00::1"],
    up: true,
    ready: true,
    pods: 6,
  });
  for (const pod of cluster.pods()) {
    assert.equal(pod.ips.length, 1);
    assert.equal(pod.workload, pod.name.startsWith("web-") ? "web" : "db");
  }
  const uids = new Set(cluster.pods().map(({ uid }) => uid));
  const rolled = await cluster.roll({ kind: "deployment", namespace: "default", name: "web" });
  assert.equal(rolled?.revision, 2);
  await cluster.scale({ kind: "statefulset", namespace: "default", name: "db" }, 1);
  await clock.pass(60_000);
  assert.deepEqual(
    cluster.workloads().map(({ name, pods, ready }) => [name, pods, ready]),
    [
      ["web", 4, 4],
      ["db", 1, 1],
    ],
  );
  const left = cluster.pods().filter(({ uid }) => uids.has(uid));
  assert.deepEqual(
    left.map(({ name }) => name),
    ["db-0"],
  );
});

test("what is there already, wrong or unknown is refused, and nothing changes", async () => {
  const { cluster } = aCluster();
  await cluster.addNode({ name: "n1", ips: ["10.0.1.1"] });
  await cluster.createWorkload({ kind: "job", name: "once" });
  assert.deepEqual(await cluster.createWorkload({ kind: "job", name: "once" }), { kind: "exists" });
  assert.deepEqual(await cluster.addNode({ name: "n1", ips: ["10.0.1.2"] }), { kind: "exists" });
  const wrongNode = await cluster.addNode({ name: "n2", ips: ["10.0.1.2", "10.0.1"] });
  assert.equal(wrongNode.kind, "invalid");
  const wishes = [
    [{ pool: "a_b" }, "pool", /has "_"/],
    [{ requestIpRange: [["10.0.0.9~10.0.0.2"]] }, "requestIpRange", /request_ip_range\[0\]\[0\]/],
    [{ requestIpRange: [["10.0.0.2"]], ipFamilies: ["IPv4" as const] }, "ipFamilies", /exclude/],
    [{ kind: "statefulset", surgeIps: 1 }, "surgeIps", /a statefulset has no addresses beside/],
    [{ reserveTtl: "a week" }, "reserveTtl", /"a week" is no duration.*write for example "168h"/],
  ] as const;
  for (const [wish, field, message] of wishes) {
    const refused = await cluster.createWorkload({
      kind: "deployment",
      name: "web",
      ...structuredClone(wish as object),
    });
    assert.equal(refused.kind === "invalid" && refused.field, field);
    assert.match(refused.kind === "invalid" ? refused.message : "", message);
  }
  const nobody = { kind: "deployment", namespace: "default", name: "web" } as const;
  assert.equal(await cluster.scale(nobody, 1), undefined);
  assert.equal(await cluster.roll(nobody), undefined);
  assert.equal(await cluster.deleteWorkload(nobody), false);
  assert.equal(await cluster.stopNode("n2"), undefined);
  assert.equal(await cluster.startNode("n2"), undefined);
  assert.equal(await cluster.removeNode("n2"), false);
  const nopod = { namespace: "default", name: "web-0" };
  assert.equal(await cluster.deletePod(nopod, { force: true }), "absent");
  assert.deepEqual(cluster.sizes(), { workloads: 1, pods: 0, nodes: 1 });
});

test("a pod that waits says why, and a Deployment that cannot roll says so", async () => {
  const { cluster, clock } = aCluster();
  cluster.start(refusing);
  await cluster.createWorkload({
    kind: "deployment",
    name: "web",
    replicas: 2,
    policy: "immutable",
  });
  await clock.pass(5_000);
  assert.equal(cluster.pods()[0]?.waitsBecause, "no node is up that it may run on");
  await cluster.addNode({ name: "n1", ips: ["10.0.1.1"] });
  await clock.pass(15_000);
  assert.deepEqual(
    cluster.pods().map(({ waitsBecause, ips, phase }) => [waitsBecause, ips, phase]),
    [
      ["there is no address", [], "Pending"],
      ["there is no address", [], "Pending"],
    ],
  );
  assert.match(cluster.workloads()[0]?.rolloutProblem ?? "", /waits for ever: maxUnavailable 0/);
});

test("addresses for roll-outs and the time of idle ones reach pods and decisions, and outlive the process", async () => {
  const store = new MapStore();
  const first = aCluster(store);
  first.cluster.start(anExtender(() => first.cluster));
  await first.cluster.addNode({ name: "n1", ips: ["10.0.1.1"] });
  await first.cluster.createWorkload({
    kind: "deployment",
    name: "web",
    replicas: 2,
    policy: "immutable",
    surgeIps: 1,
    reserveTtl: "1h30m",
  });
  await first.cluster.createWorkload({
    kind: "tapp",
    name: "game",
    policy: "never",
    reserveTtl: "never",
  });
  await first.clock.pass(10_000);
  const web = builtInWorkload("deployment", { namespace: "default", name: "web" });
  const game = refOf("tapp", { namespace: "default", name: "game" });
  const second = aCluster(store);
  for (const { cluster } of [first, second]) {
    const [deployment, tapp] = cluster.workloads();
    assert.deepEqual(
      [deployment?.surgeIps, deployment?.reserveTtl, deployment?.rolloutProblem],
      [1, "1h30m", undefined],
    );
    assert.deepEqual([tapp?.surgeIps, tapp?.reserveTtl], [undefined, "never"]);
    const state = cluster.view.workload(web);
    assert.ok(state.kind === "present");
    assert.deepEqual([state.surgeAddresses, state.reserveTtl], [1, 5_400_000]);
    // Of custom workloads nobody reads the template.
    const custom = cluster.view.workload(game);
    assert.ok(custom.kind === "present" && custom.reserveTtl === undefined);
    const ttls = [...cluster.view.pods()].map(({ id, reserveTtl }) => [
      id.name.slice(0, 3),
      reserveTtl,
    ]);
    assert.deepEqual(
      new Set(ttls.map(String)),
      new Set(
        [
          ["web", 5_400_000],
          ["gam", "never"],
        ].map(String),
      ),
    );
  }
});

test("a node that is killed is not ready after a while, its pods go when they may, and it comes back", async () => {
  const { cluster, clock } = aCluster();
  cluster.start(anExtender(() => cluster));
  await cluster.addNode({ name: "n1", ips: ["10.0.1.1"] });
  await cluster.createWorkload({ kind: "statefulset", name: "db", replicas: 1 });
  await clock.pass(10_000);
  const db: PodId = { namespace: "default", name: "db-0" };
  const killed = await cluster.stopNode("n1");
  assert.deepEqual([killed?.up, killed?.ready], [false, true]);
  await clock.pass(30_000);
  assert.deepEqual([cluster.nodes()[0]?.up, cluster.nodes()[0]?.ready], [false, false]);
  const [lost] = cluster.pods();
  assert.equal(lost?.deleting, true);
  assert.equal(await cluster.deletePod(db, { force: false }), "already terminating");
  assert.equal(await cluster.deletePod(db, { force: true }), "removed");
  const back = await cluster.startNode("n1");
  assert.deepEqual([back?.up, back?.ready], [true, true]);
  await clock.pass(30_000);
  const [pod] = cluster.pods();
  assert.notEqual(pod?.uid, lost?.uid);
  assert.equal(pod?.ready, true);
});

test("the next life has the same objects in the same order, and goes on with them", async (t) => {
  const folder = aFolder(t);
  const firstFile = openStateFile(join(folder, "state.db"));
  const first = aCluster(new SqliteObjectStore(firstFile));
  first.cluster.start(anExtender(() => first.cluster));
  for (const [name, ip] of [
    ["n1", "10.0.1.1"],
    ["n2", "fd00::2"],
  ] as const) {
    await first.cluster.addNode({ name, ips: [ip] });
  }
  await first.cluster.createWorkload({ kind: "deployment", name: "web", replicas: 3, pool: "p1" });
  await first.cluster.createWorkload({
    kind: "tapp",
    name: "game",
    replicas: 2,
    policy: "never",
    requestIpRange: [["10.0.0.2~10.0.0.9"], ["fd00::1~fd00::ffff:ffff"]],
  });
  await first.cluster.createWorkload({ kind: "job", name: "once", ipFamilies: ["IPv6", "IPv4"] });
  await passInTurns(first.clock, 10_000);
  await first.cluster.stopNode("n2");
  await first.cluster.note("seen");
  await first.cluster.stop();
  firstFile.close();

  const secondFile = openStateFile(join(folder, "state.db"));
  t.after(() => secondFile.close());
  const second = aCluster(new SqliteObjectStore(secondFile), first.clock);
  assert.equal(second.cluster.isNoted("seen"), true);
  assert.equal(second.cluster.isNoted("other"), false);
  assert.deepEqual(second.cluster.workloads(), first.cluster.workloads());
  assert.deepEqual(second.cluster.nodes(), first.cluster.nodes());
  const withoutReasons = ({ cluster }: typeof first) =>
    cluster.pods().map(({ waitsBecause: _waitsBecause, ...pod }) => pod);
  assert.deepEqual(withoutReasons(second), withoutReasons(first));
  second.cluster.start(anExtender(() => second.cluster));
  await second.cluster.scale({ kind: "deployment", namespace: "default", name: "web" }, 5);
  await passInTurns(second.clock, 20_000);
  const web = second.cluster.workloads().find(({ name }) => name === "web");
  assert.equal(web?.ready, 5);
  const old = new Set(first.cluster.pods().map(({ uid }) => uid));
  const kept = second.cluster
    .pods()
    .filter(({ uid, workload }) => workload === "web" && old.has(uid));
  assert.equal(kept.length, 3);
  await second.cluster.stop();
});

test("an object that is not understood is named, and the store is left alone", () => {
  for (const object of [
    { kind: "pods", name: "default/web-0", content: "{}" },
    { kind: "nodes", name: "n1", content: '{"name":1}' },
    { kind: "workloads", name: "w", content: '{"kind":"cronjob"}' },
    { kind: "planets", name: "earth", content: "{}" },
  ]) {
    const store = new MapStore();
    store.objects.set("x", object);
    assert.throws(
      () => aCluster(store),
      (error) =>
        error instanceof WorldError &&
        error.code === "STATE_FILE_UNUSABLE" &&
        error.message.includes(`${object.kind} ${object.name}`),
    );
    assert.deepEqual([...store.objects.values()], [object]);
  }
});

test("what cannot be written is told, kept in mind and written when the disk has room again", async () => {
  const store = new MapStore();
  const { cluster, clock } = aCluster(store);
  store.problem = new WorldError("STATE_FILE_FAILED", { tried: "write", message: "disk is full" });
  await assert.rejects(cluster.addNode({ name: "n1", ips: ["10.0.1.1"] }), /disk is full/);
  assert.equal(store.objects.size, 0);
  store.problem = undefined;
  await clock.pass(1_000);
  assert.deepEqual([...store.objects.keys()], ["nodes n1"]);
  await cluster.addNode({ name: "n2", ips: ["10.0.1.2"] });
  assert.deepEqual([...store.objects.keys()], ["nodes n1", "nodes n2"]);
});

test("a bind that cannot be kept says that it may have happened", async () => {
  const store = new MapStore();
  const { cluster, clock } = aCluster(store);
  cluster.start(refusing);
  await cluster.createWorkload({ kind: "statefulset", name: "db" });
  await clock.pass(1_000);
  const pod = await cluster.view.readPod({ namespace: "default", name: "db-0" });
  assert.notEqual(pod, "gone");
  if (pod === "gone") return;
  store.problem = new WorldError("STATE_FILE_FAILED", { tried: "write", message: "disk is full" });
  await assert.rejects(
    cluster.binder.bind({ pod, nodeName: "n1", ipInfos: [] }),
    (error) =>
      error instanceof WorldError && error.code === "STATE_FILE_FAILED" && error.mayHaveHappened,
  );
});

test("after the end nothing happens any more", async () => {
  const store = new MapStore();
  const { cluster, clock } = aCluster(store);
  cluster.start(anExtender(() => cluster));
  await cluster.addNode({ name: "n1", ips: ["10.0.1.1"] });
  await cluster.createWorkload({ kind: "deployment", name: "web", replicas: 2 });
  await cluster.stop();
  const before = [...store.objects.keys()];
  await clock.pass(60_000);
  assert.deepEqual([...store.objects.keys()], before);
});

/** Lets time pass where writes need turns of the event loop between the steps. */
async function passInTurns(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    await clock.pass(50);
  }
}

function aFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-cluster-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("virtual addresses are claimed by the pods of a workload, also in the next life, and told to those pods", async () => {
  const store = new MapStore();
  const first = aCluster(store);
  first.cluster.start(anExtender(() => first.cluster));
  await first.cluster.addNode({ name: "n1", ips: ["192.0.2.9"] });
  const virtualIps = ["192.0.2.50", "2001:db8::50"];
  const wish = { kind: "deployment", name: "web" } as const;
  const refused = await first.cluster.createWorkload({ ...wish, virtualIps: ["192.0.2.0/24"] });
  assert.ok(refused.kind === "invalid" && refused.field === "virtualIps");
  const changed: string[] = [];
  first.cluster.vipClaims.watch((changedIp) => changed.push(changedIp));
  await first.cluster.createWorkload({ ...wish, virtualIps });
  await first.clock.pass(10_000);
  assert.deepEqual([...new Set(changed)].toSorted(), virtualIps);
  for (const { cluster } of [first, aCluster(store)]) {
    const claims = cluster.vipClaims;
    assert.deepEqual(cluster.workloads()[0]?.virtualIps, virtualIps);
    assert.deepEqual([...claims.claimedIps()].toSorted(), virtualIps);
    const [claim] = claims.claimsOf(ip("192.0.2.50"));
    assert.ok(claim !== undefined);
    assert.deepEqual(claim.siblings, virtualIps);
    assert.deepEqual([claim.isReady, claim.isNodeReady, claim.isTerminating], [true, true, false]);
    assert.deepEqual(
      claims.forbidden().map(({ what }) => what),
      ["an address of node n1"],
    );
    const pod = { id: claim.pod, uid: claim.podUid };
    const condition = { isHolder: true, reason: "Holds", message: "holds it" };
    assert.equal(await claims.tell({ ...pod, uid: "other" }, condition), "gone");
    assert.equal(await claims.tell(pod, condition), "told");
    assert.deepEqual(claims.claimsOf(ip("192.0.2.50"))[0]?.told, condition);
  }
  await first.cluster.stopNode("n1");
  await first.clock.pass(12_000);
  const [claim] = first.cluster.vipClaims.claimsOf(ip("192.0.2.50"));
  assert.deepEqual([claim?.isReady, claim?.isNodeReady], [false, false]);
  await first.cluster.removeNode("n1");
  await first.cluster.deleteWorkload({ ...wish, namespace: "default" });
  await first.clock.pass(60_000);
  assert.deepEqual(first.cluster.vipClaims.claimedIps(), []);
});
