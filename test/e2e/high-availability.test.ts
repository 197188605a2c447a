// Two replicas of galaxy-ipam behind one address on a real control plane: the leader killed, asked to stop and frozen while pods are bound, and two
// releases beside each other.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  type ApiClient,
  floatIpsOf,
  inParallel,
  isReady,
  podsOf,
  waitUntil,
} from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { fourNodes, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { bind, post } from "../control-plane/extender-client.ts";
import {
  type FaultyApiProxy,
  isBinding,
  type ProxiedCall,
  startFaultyApiProxy,
} from "../control-plane/faulty-api-proxy.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { Galaxyctl } from "../control-plane/galaxyctl.ts";
import {
  deployments,
  floatingIps,
  leases,
  type Pod,
  pods,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  aConfigMap,
  aDeployment,
  aPod,
  aStatefulSet,
  type FloatingIpEntry,
} from "../control-plane/manifests.ts";
import { openOlderRelease } from "../control-plane/older-release.ts";
import { addressByPod } from "../control-plane/records.ts";
import { type Service, startService } from "../control-plane/service.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

const skip = await reasonToSkip();
const wide = [
  { ...(twoSubnets[0] as FloatingIpEntry), ips: ["10.49.70.2~10.49.70.181"] },
  twoSubnets[1] as FloatingIpEntry,
];
/** The last release before idle times and quotas (docs/design/older-releases.md). */
const older = openOlderRelease("140f3c2");
/** The retry period of production; a lease that is over sooner, but not before a slow machine has renewed it. */
const flags = [
  "--resync-interval=1s",
  "--leader-elect-lease-duration=7s",
  "--leader-elect-renew-deadline=5s",
  "--leader-elect-retry-period=2s",
];

describe("two replicas", { skip }, () => {
  let plane: ControlPlane;
  let api: ApiClient;
  let nodes: SimulatedNodes;
  let service: Service;
  /** Each replica reaches the API server through a proxy of its own, which sees what it writes. */
  let proxies: readonly [FaultyApiProxy, FaultyApiProxy];
  const replicas: GalaxyIpam[] = [];

  before(async () => {
    plane = await startControlPlane();
    ({ api } = plane);
    await api.create(aConfigMap({ floatingips: wide }));
    nodes = await startSimulatedNodes(api);
    await nodes.add(fourNodes);
    proxies = [await startFaultyApiProxy(), await startFaultyApiProxy()];
    for (const index of [0, 1]) await startReplica(index);
    service = await startService([]);
    lead();
    await plane.startScheduler({ extenderUrl: service.url, httpTimeoutMs: 5_000 });
    await waitUntil("a leader", leader, (found) => found !== undefined);
  });

  after(async () => {
    await nodes?.stop();
    for (const replica of replicas) await replica.stop("SIGKILL");
    await service?.stop();
    for (const proxy of proxies ?? []) await proxy.stop();
    await plane?.stop();
  });

  afterEach(async () => {
    for (const proxy of proxies) proxy.heal();
    for (const [index, replica] of replicas.entries()) {
      replica.signal("SIGCONT");
      if (!replica.isRunning()) await startReplica(index);
    }
    lead();
    await api.deleteAll({ kind: deployments, namespace: "default" });
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor(
      "no pods",
      { kind: pods, namespace: "default" },
      ({ length }) => length === 0,
    );
    await api.waitFor("no records", { kind: floatingIps }, ({ length }) => length === 0);
  });

  async function startReplica(
    index: number,
    more: readonly string[] = [],
    folder: { readonly folder?: string } = {},
  ): Promise<void> {
    const proxy = proxies[index] as FaultyApiProxy;
    proxy.forwardTo(api.address);
    replicas[index] = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: [`--master=${proxy.url}`, ...flags, ...more],
      ...folder,
    });
  }

  /** Tells the service which replicas there are. */
  function lead(): void {
    service.setEndpoints(
      replicas.map(({ port, apiUrl }) => ({ port, readyUrl: `${apiUrl}/readyz` })),
    );
  }

  async function leader(): Promise<number | undefined> {
    const answers = await Promise.all(
      replicas.map((replica) => replica.health("/readyz").catch(() => undefined)),
    );
    const index = answers.findIndex((answer) => answer?.status === 200);
    return index < 0 ? undefined : index;
  }

  async function theLeader(): Promise<number> {
    const index = await waitUntil("a leader", leader, (found) => found !== undefined);
    return index as number;
  }

  /**
   * Creates a Deployment of 100 and does something to the leader when 30 of its pods are bound; all but 40 Bindings are on their way then,
   * and reach the API server afterwards if their sender lives.
   */
  async function inTheMiddleOf100Binds(
    app: string,
    act: () => Promise<unknown> | undefined,
  ): Promise<void> {
    let bindCount = 0;
    const isLater = (call: ProxiedCall) => isBinding(call) && ++bindCount > 40;
    const held = proxies.map((proxy) => proxy.break(isLater, { kind: "hold" }));
    await api.create(aDeployment({ name: app, replicas: 100 }));
    await api.waitFor(
      "30 of 100 pods to be bound, and more on their way",
      podsOf("default", app),
      (seen) => seen.filter(({ spec }) => spec.nodeName !== undefined).length >= 30,
    );
    await act();
    for (const fault of held) fault.end();
  }

  async function allBound(app: string): Promise<void> {
    const seen = await nodes.nudgingWhile(
      api.waitFor(
        "100 ready pods",
        podsOf("default", app),
        (items) => items.length === 100 && items.every(isReady),
      ),
    );
    assert.equal(new Set(seen.flatMap(floatIpsOf)).size, 100);
    await waitForCleanAudit(api);
    await api.waitFor("100 records", { kind: floatingIps }, ({ length }) => length === 100);
  }

  test("case 130: the follower is healthy and not ready, and names the leader to the scheduler", async () => {
    const leading = await theLeader();
    const follower = replicas[1 - leading] as GalaxyIpam;
    const lease = await api.get(leases, { name: "galaxy-ipam", namespace: "kube-system" });
    const name = lease?.spec.holderIdentity ?? "";
    assert.match(name, new RegExp(`_${replicas[leading]?.pid}_`));
    assert.deepEqual(await follower.health("/healthy"), { status: 200, text: "ok" });
    assert.equal((await follower.health("/livez")).status, 200);
    const ready = await follower.health("/readyz");
    assert.equal(ready.status, 503);
    assert.ok(ready.text.includes(name), ready.text);
    for (const verb of ["filter", "priority", "bind", "preempt"]) {
      const { status, text } = await post(follower.url, `/v1/${verb}`, "{}");
      assert.equal(status, 503, verb);
      const body = JSON.parse(text) as { readonly message: string; readonly leader: string };
      assert.ok(body.message.includes(name) && body.leader === name, text);
    }
    assert.equal(await follower.metric("galaxy_leader"), 0);
    assert.equal(await replicas[leading]?.metric("galaxy_leader"), 1);
  });

  test("case 130: the leader killed in the middle of 100 binds, the other one goes on", async () => {
    const leading = await theLeader();
    await inTheMiddleOf100Binds("killed", () => replicas[leading]?.stop("SIGKILL"));
    await waitUntil("the other to lead", leader, (found) => found === 1 - leading, { everyMs: 20 });
    await allBound("killed");
  });

  test("case 130: the leader asked to stop in the middle of 100 binds, it gives the lease back and the other one goes on", async () => {
    const leading = await theLeader();
    let isGivenBack = false;
    const lease = api.follow(
      { kind: leases, namespace: "kube-system", fieldSelector: "metadata.name=galaxy-ipam" },
      {
        changed: ({ spec }) => {
          isGivenBack ||= spec.holderIdentity === "";
        },
      },
    );
    let stopping: Promise<void> | undefined;
    await inTheMiddleOf100Binds("stopped", async () => {
      // Bindings that are on their way may hold up its end, so that it is not waited for here.
      stopping = replicas[leading]?.stop("SIGTERM");
    });
    await waitUntil("the other to lead", leader, (found) => found === 1 - leading, { everyMs: 20 });
    await stopping;
    await allBound("stopped");
    lease.stop();
    assert.ok(isGivenBack, "the other one did not have to wait until the lease was over");
  });

  test("a leader that stood still past its lease writes nothing when it goes on", async () => {
    const leading = await theLeader();
    const frozen = replicas[leading] as GalaxyIpam;
    await inTheMiddleOf100Binds("frozen", async () => frozen.signal("SIGSTOP"));
    const others = 1 - leading;
    await waitUntil(
      "the other to lead",
      () => replicas[others]?.health("/readyz"),
      (answer) => answer?.status === 200,
    );
    await allBound("frozen");
    const isWriteOfAddresses = ({ method, path }: ProxiedCall) =>
      method !== "GET" && !path.includes("/leases") && !path.includes("/events");
    const proxy = proxies[leading] as FaultyApiProxy;
    const writes = (): readonly string[] => {
      const texts: string[] = [];
      proxy.callsSeen((call) => {
        const { body, method, path } = call;
        if (isWriteOfAddresses(call)) texts.push(`${method} ${path} ${body}`);
        return false;
      });
      return texts;
    };
    const before = writes().length;
    frozen.signal("SIGCONT");
    await waitUntil(
      "it to know that it follows",
      () => frozen.health("/readyz"),
      ({ status, text }) => status === 503 && text.includes(`_${replicas[others]?.pid}_`),
    );
    await api.scale(deployments, { name: "frozen", namespace: "default" }, 90);
    await waitForCleanAudit(api);
    await waitUntil(
      "records of 90 pods",
      () => api.list({ kind: floatingIps }),
      ({ length }) => length === 90,
    );
    assert.deepEqual(writes().slice(before), []);
    const lease = await api.get(leases, { name: "galaxy-ipam", namespace: "kube-system" });
    assert.match(lease?.spec.holderIdentity ?? "", new RegExp(`_${replicas[others]?.pid}_`));
  });

  test("an older release and this one lead in turn, and pods keep their addresses", {
    skip: older.kind === "missing" && older.because,
  }, async () => {
    const [current, other] = [await theLeader(), 1 - (await theLeader())];
    const startOlder = () => startReplica(other, [], older.kind === "found" ? older : {});
    const startCurrent = () => startReplica(current);
    /** Another replica leads, and the one that led is there again. */
    const handOver = async (from: number, start: () => Promise<void>) => {
      await replicas[from]?.stop("SIGTERM");
      await replicas[1 - from]?.whenReady();
      await start();
      lead();
    };
    await replicas[other]?.stop("SIGTERM");
    await startOlder();
    lead();
    const annotations = { "k8s.v1.cni.galaxy.io/reserve-ttl": "1h" };
    await api.create(aStatefulSet({ name: "both", policy: "immutable", replicas: 2, annotations }));
    await api.create(aDeployment({ name: "lone", replicas: 2 }));
    const readyPods = (app: string, unlike: readonly Pod[] = []) =>
      api.waitFor(
        `2 new ready pods of ${app}`,
        podsOf("default", app),
        (seen) =>
          seen.filter(isReady).length === 2 &&
          !seen.some(({ metadata }) => unlike.some((old) => old.metadata.uid === metadata.uid)),
      );
    let seen = await readyPods("both");
    const addresses = addressByPod(seen);
    const names = Object.values(addresses);
    assert.equal(names.length, 2);
    const recordsOf = async () =>
      (await api.list({ kind: floatingIps })).filter(({ metadata }) =>
        names.includes(metadata.name),
      );
    for (const name of names) await api.patch(floatingIps, { name }, { spec: { future: "kept" } });
    const turns = [
      { from: current, start: startCurrent },
      { from: other, start: startOlder },
    ];
    for (const { from, start } of turns) {
      await handOver(from, start);
      await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
      seen = await readyPods("both", seen);
      assert.deepEqual(addressByPod(seen), addresses);
      await readyPods("lone");
      await waitForCleanAudit(api);
    }
    // What the older one does not know outlived what it wrote.
    for (const record of await recordsOf()) {
      const spec = record.spec as unknown as Record<string, unknown>;
      assert.deepEqual([spec["future"], spec["reserveTTL"]], ["kept", "1h"], record.metadata.name);
    }
    const galaxyctl = new Galaxyctl({
      GALAXY_SERVER: replicas[current]?.apiUrl ?? "",
      GALAXY_TOKEN: plane.tokenOf("admin"),
    });
    const { stdout, stderr } = await galaxyctl.run(["check"]);
    assert.match(`${stdout}${stderr}`, /everything agrees/);
    await api.deleteAll({ kind: statefulSets, namespace: "default" });
    await replicas[other]?.stop("SIGTERM");
  });

  test("two that both believe to lead hand out no address twice", async () => {
    for (const replica of replicas) await replica.stop("SIGTERM");
    await plane.stopScheduler();
    await Promise.all([0, 1].map((index) => startReplica(index, ["--leader-elect=false"])));
    await Promise.all(replicas.map((replica) => replica.whenReady()));
    const names = Array.from({ length: 60 }, (_, index) => `both-${index}`);
    const all: Pod[] = [];
    await inParallel(names, 20, async (name) => {
      const app = { labels: { app: "both" }, schedulerName: "nobody" };
      all.push(await api.create<Pod>(aPod({ name, ...app })));
    });
    // Each pod is bound by one of them at the same time as its neighbour by the other, some of them by both.
    await inParallel(all.entries(), 20, async ([index, pod]) => {
      const urls = replicas.map(({ url }) => url);
      const first = urls[index % 2] as string;
      const both = index % 5 === 0 ? urls : [first];
      const errors = await Promise.all(both.map((url) => bind(url, pod, `a${1 + (index % 3)}`)));
      await waitUntil(
        `pod ${pod.metadata.name} to be bound`,
        () => (errors.includes("") ? "" : bind(first, pod, `a${1 + (index % 3)}`)),
        (error) => error === "" || /bound/.test(error),
      );
    });
    const seen = await api.waitFor(
      "60 ready pods",
      podsOf("default", "both"),
      (items) => items.length === 60 && items.every(isReady),
    );
    assert.equal(new Set(seen.flatMap(floatIpsOf)).size, 60);
    await waitForCleanAudit(api);
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor("no records", { kind: floatingIps }, ({ length }) => length === 0);
  });
});
