// The real control plane of the tests does what a cluster does, and leaves nothing behind. Nothing of the product is
// tested here; a scenario that fails elsewhere while these pass has found something in the product.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type ApiClient, isReady, podsOf, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import {
  configMaps,
  customKind,
  customResourceDefinitions,
  deployments,
  type Node,
  nodes,
  type Pod,
  pods,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  aConfigMap,
  aDeployment,
  aPod,
  aStatefulSet,
  aWorkload,
  aWorkloadDefinition,
  ownedBy,
} from "../control-plane/manifests.ts";
import { type Endpoint, startService } from "../control-plane/service.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

/** Long enough for a slow machine to send heartbeats in time: a node that is taken for dead loses its pods. */
const GRACE_MS = 10_000;

const skip = await reasonToSkip();

describe("the control plane of the tests", { skip }, () => {
  let plane: ControlPlane;
  let api: ApiClient;
  let simulated: SimulatedNodes;

  before(async () => {
    const startedMs = performance.now();
    plane = await startControlPlane({
      nodeMonitorGraceMs: GRACE_MS,
      tolerationSeconds: 1,
      scheduler: {},
    });
    const tookMs = Math.round(performance.now() - startedMs);
    const sizes = Object.values(await plane.memoryBytes());
    const megabytes = Math.round(sizes.reduce((sum, size) => sum + size, 0) / 1e6);
    console.log(`Kubernetes ${plane.version.text} started in ${tookMs} ms, ${megabytes} MB`);
    api = plane.api;
    simulated = await startSimulatedNodes(api, { heartbeatMs: 1_000 });
    await simulated.add([
      { name: "n1", internalIp: "10.49.27.1" },
      { name: "n2", internalIp: "10.49.27.2" },
      { name: "n3", internalIp: "10.49.27.3" },
    ]);
  });

  after(async () => {
    await simulated?.stop();
    await plane?.stop();
  });

  test("a Deployment's pods are scheduled onto the simulated nodes and become Ready", async () => {
    await api.create(aDeployment({ name: "plain", replicas: 4, wantsFloatIp: false }));
    const four = await api.waitFor("4 ready pods", podsOf("default", "plain"), allReady(4));
    const ips = new Set(four.map((pod) => pod.status.podIP));
    assert.equal(ips.size, 4);
    assert.ok(four.every((pod) => ["n1", "n2", "n3"].includes(pod.spec.nodeName ?? "")));
  });

  test("deleting a Deployment ends its pods through their kubelets", async () => {
    await api.delete(deployments, { name: "plain", namespace: "default" });
    await api.waitFor("no pods", podsOf("default", "plain"), (left) => left.length === 0);
  });

  test("a StatefulSet's pods are started in order and removed from the end", async () => {
    await api.create(aStatefulSet({ name: "ordered", replicas: 3, wantsFloatIp: false }));
    const scope = podsOf("default", "ordered");
    const three = await api.waitFor("3 ready pods", scope, allReady(3));
    const madeBy = (name: string) =>
      Number(three.find((p) => p.metadata.name === name)?.metadata.resourceVersion);
    assert.ok(madeBy("ordered-0") < madeBy("ordered-1"));
    assert.ok(madeBy("ordered-1") < madeBy("ordered-2"));
    await api.scale(statefulSets, { name: "ordered", namespace: "default" }, 1);
    const [left] = await api.waitFor("1 pod", scope, allReady(1));
    assert.equal(left?.metadata.name, "ordered-0");
    await api.delete(statefulSets, { name: "ordered", namespace: "default" });
  });

  test("a custom workload can own pods and be scaled", async () => {
    const group = "apps.example.org";
    const definition = { group, kind: "TApp", plural: "tapps", hasScale: true };
    const { metadata } = await api.create(aWorkloadDefinition(definition));
    await api.waitForOne("it to be served", customResourceDefinitions, metadata, (crd) =>
      Boolean(crd.status?.conditions?.some((c) => c.type === "Established" && c.status === "True")),
    );
    const tapps = customKind(`${group}/v1`, "TApp", "tapps");
    const at = { name: "custom", namespace: "default" };
    const wish = { ...at, replicas: 2, wantsFloatIp: false };
    // Established, and yet not found for a moment.
    const owner = await waitUntil(
      "it to be found",
      () => api.apply(aWorkload(`${group}/v1`, "TApp", wish)),
      () => true,
    );
    const ownerReferences = [ownedBy(owner)];
    await api.create(aPod({ name: "custom-0", wantsFloatIp: false, ownerReferences }));
    const pod = { name: "custom-0", namespace: "default" };
    await api.waitForOne("its pod to run", pods, pod, isReady);
    await api.scale(tapps, at, 5);
    const scaled = (await api.get(tapps, at)) as { spec?: { replicas?: number } } | undefined;
    assert.equal(scaled?.spec?.replicas, 5);
    // Kubernetes' garbage collector looks for new kinds every 30 s; it is not waited for here.
    await api.delete(pods, pod);
    await api.delete(tapps, at);
    await api.waitForGone(pods, pod);
  });

  test("an evicted pod stays as Failed and its Deployment gets another one", async () => {
    await api.create(aDeployment({ name: "evicted", wantsFloatIp: false }));
    const scope = podsOf("default", "evicted");
    const [first] = await api.waitFor("a ready pod", scope, allReady(1));
    await simulated.failPod({ name: first?.metadata.name as string });
    const both = await api.waitFor(
      "a failed and a ready pod",
      scope,
      (all) => all.some((p) => p.status.phase === "Failed") && all.some(isReady),
    );
    const failed = both.find((pod) => pod.status.phase === "Failed");
    assert.equal(failed?.metadata.uid, first?.metadata.uid);
    assert.equal(failed?.status.reason, "Evicted");
    await api.delete(deployments, { name: "evicted", namespace: "default" });
  });

  test("a pod that finishes has the phase Succeeded and is not Ready", async () => {
    await api.create(aPod({ name: "finished", wantsFloatIp: false }));
    const at = { name: "finished", namespace: "default" };
    await api.waitForOne("the pod to run", pods, at, isReady);
    await simulated.succeedPod({ name: "finished" });
    const pod = await api.get(pods, at);
    assert.equal(pod?.status.phase, "Succeeded");
    assert.equal(pod !== undefined && isReady(pod), false);
  });

  test("a pod that asks for a float IP and gets none does not run", async () => {
    await api.create(aPod({ name: "without-address", nodeName: "n1" }));
    await api.create(aPod({ name: "with-overlay", nodeName: "n1", wantsFloatIp: false }));
    const at = { namespace: "default" };
    await api.waitForOne("the other", pods, { ...at, name: "with-overlay" }, isReady);
    const pod = await api.get(pods, { ...at, name: "without-address" });
    assert.equal(pod?.status.phase, "Pending");
  });

  test("a wait that fails says what was seen last", async () => {
    await api.create(aPod({ name: "last-seen", nodeName: "n1", wantsFloatIp: false }));
    const scope = podsOf("default", "last-seen");
    await api.waitFor("the pod to run", scope, allReady(1));
    await assert.rejects(
      api.waitFor("pigs to fly", scope, () => false, { timeoutMs: 3_000 }),
      /waited 3000 ms for pigs to fly; last seen of pods in namespace default:\n {2}default\/last-seen Running on n1/,
    );
  });

  test("kube-scheduler asks the extender about pods that want float IPs, and lets it bind them", async () => {
    await using extender = await startExtender(api);
    await plane.startScheduler({ extenderUrl: extender.url });
    await api.create(aPod({ name: "no-wish", wantsFloatIp: false }));
    await api.create(aPod({ name: "wish" }));
    const at = { name: "wish", namespace: "default" };
    const pod = await api.waitForOne("the pod to run", pods, at, isReady);
    assert.equal(pod.status.podIP, "10.49.27.200");
    const other = { name: "no-wish", namespace: "default" };
    await api.waitForOne("the plain pod to run", pods, other, isReady);
    // One feasible node needs no priorities; here there are three.
    assert.deepEqual(extender.calls, [
      "/v1/filter wish Nodes",
      "/v1/priority wish Nodes",
      "/v1/bind wish",
    ]);

    await plane.startScheduler({ extenderUrl: extender.url, nodeCacheCapable: true });
    extender.calls.length = 0;
    await api.create(aPod({ name: "wish-by-names" }));
    const named = { name: "wish-by-names", namespace: "default" };
    await api.waitForOne("the pod to run", pods, named, isReady);
    assert.equal(extender.calls[0], "/v1/filter wish-by-names NodeNames");
    await plane.startScheduler();
  });

  test("a pod deleted on a dead node stays until the node is back", async () => {
    await api.create(aPod({ name: "stuck", nodeName: "n2", wantsFloatIp: false }));
    const at = { name: "stuck", namespace: "default" };
    await api.waitForOne("the pod to run", pods, at, isReady);
    await simulated.stopNode("n2", { lastWord: "not-ready" });
    await api.waitForOne("n2 to be tainted", nodes, { name: "n2" }, isTainted);
    await api.waitForOne("eviction", pods, at, (pod) => isBeingDeleted(pod));
    await simulated.startNode("n2");
    await api.waitForGone(pods, at);
    await api.waitForOne("n2 to be free", nodes, { name: "n2" }, (n) => !isTainted(n));
  });

  test("a node that falls silent becomes NotReady and its pods are replaced elsewhere", async () => {
    await api.create(aDeployment({ name: "floating", replicas: 3, wantsFloatIp: false }));
    const scope = podsOf("default", "floating");
    const three = await api.waitFor("3 ready pods", scope, allReady(3));
    const dead = three[0]?.spec.nodeName as string;
    await simulated.stopNode(dead);
    await api.waitForOne(
      `${dead} to be unreachable`,
      nodes,
      { name: dead },
      (node) => readyStatus(node) === "Unknown",
    );
    await api.waitFor(
      `3 ready pods on other nodes than ${dead}`,
      scope,
      (all) => all.filter((p) => isReady(p) && p.spec.nodeName !== dead).length === 3,
    );
    await simulated.startNode(dead);
    await api.waitFor("3 pods, none on its way out", scope, allReady(3));
    const at = { name: dead };
    await api.waitForOne("it to be back", nodes, at, (n) => readyStatus(n) === "True");
  });

  test("the API server goes away and comes back on its port, and whoever follows it notices nothing more", async () => {
    await using follower = disposable(api.follow({ kind: configMaps, namespace: "default" }));
    await follower.synced;
    await plane.stopApiServer();
    await assert.rejects(api.list({ kind: pods }), /ECONNREFUSED|ECONNRESET|socket hang up/);
    await plane.startApiServer();
    await api.create(aConfigMap({ name: "after", namespace: "default", floatingips: [] }));
    await waitUntil(
      "the follower to see what was made after the outage",
      () => [...follower.items.keys()],
      (seen) => seen.includes("default/after"),
    );
  });

  test("etcd is killed and started again, and nothing is lost", async () => {
    await plane.restartEtcd();
    await waitUntil(
      "the API server to answer again",
      () => api.get(configMaps, { name: "after", namespace: "default" }),
      (found) => found !== undefined,
    );
  });

  test("a user without roles may do nothing, and its kubeconfig names the API server and its authority", async () => {
    const limited = plane.clientOf("galaxy-ipam-limited");
    await assert.rejects(limited.list({ kind: pods }), { name: "ApiError", status: 403 });
    const text = await readFile(plane.kubeconfigOf("galaxy-ipam-limited"), "utf8");
    const kubeconfig = JSON.parse(text) as {
      clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
    };
    const cluster = kubeconfig.clusters[0]?.cluster;
    assert.equal(cluster?.server, plane.url);
    const authority = Buffer.from(cluster?.["certificate-authority-data"] ?? "", "base64");
    assert.equal(authority.toString(), await readFile(plane.caFile, "utf8"));
  });

  test("after stop no program and no file is left", async () => {
    const pids = Object.values(plane.pids());
    assert.equal(pids.length, 4);
    assert.deepEqual(pids.filter(isAlive), pids);
    await simulated.stop();
    await plane.stop();
    assert.deepEqual(pids.filter(isAlive), []);
    assert.equal(existsSync(plane.folder), false);
  });
});

test("a service leads to the replica that is ready, and its connections break when that one dies", async () => {
  const replicas = await Promise.all(["a", "b"].map((name) => startReplica(name)));
  const [a, b] = replicas as [Replica, Replica];
  a.isReady = true;
  await using service = await startService(replicas.map(endpointOf), { probeMs: 20 });
  assert.equal(await textOf(service.url), "a");
  await a.stop();
  b.isReady = true;
  await waitUntil(
    "the other to answer",
    () => textOf(service.url),
    (text) => text === "b",
  );
  b.isReady = false;
  await waitUntil(
    "nobody to be ready",
    () => service.ready() === undefined,
    (isNone) => isNone,
  );
  await assert.rejects(textOf(service.url));
  await b.stop();
});

test("a program dies with the process that started it, even when that is killed", async (t) => {
  if (!existsSync("/usr/bin/setpriv")) {
    t.skip("setpriv (util-linux) is not installed, so nothing binds a child to its parent");
    return;
  }
  const module = join(import.meta.dirname, "..", "control-plane", "child-program.ts");
  const script = `
    import { startProgram } from ${JSON.stringify(module)};
    const { pid } = startProgram({ name: "sleep", file: "/bin/sleep", args: ["600"], logFile: "/dev/null" });
    console.log(pid);
    setInterval(() => undefined, 1_000);
  `;
  const parent = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = await new Promise<number>((resolve) => {
    parent.stdout.once("data", (chunk: Buffer) => resolve(Number(chunk.toString())));
  });
  await waitUntil(
    "the program to run",
    () => commandOf(pid),
    (name) => name === "sleep",
  );
  parent.kill("SIGKILL");
  await waitUntil(
    "the program to be gone",
    () => commandOf(pid),
    (name) => name !== "sleep",
  );
});

/** An extender that keeps all nodes, binds with one fixed address, and remembers its calls. */
async function startExtender(
  api: ApiClient,
): Promise<{ url: string; calls: string[]; [Symbol.asyncDispose](): Promise<void> }> {
  const calls: string[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      void answer(request.url ?? "", JSON.parse(Buffer.concat(chunks).toString())).then((body) => {
        response.setHeader("content-type", "application/json");
        return response.end(JSON.stringify(body));
      });
    });
  });
  const answer = async (path: string, args: ExtenderArgs): Promise<unknown> => {
    if (path === "/v1/bind") {
      calls.push(`${path} ${args.PodName}`);
      const ipinfos = [{ ip: "10.49.27.200/24", vlan: 2, gateway: "10.49.27.1" }];
      const annotation = JSON.stringify({ common: { ipinfos } });
      await api.call("POST", `/api/v1/namespaces/default/pods/${args.PodName}/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: {
          name: args.PodName,
          annotations: { "k8s.v1.cni.galaxy.io/args": annotation },
        },
        target: { kind: "Node", name: args.Node },
      });
      return { Error: "" };
    }
    const form = args.Nodes ? "Nodes" : "NodeNames";
    calls.push(`${path} ${args.Pod.metadata.name} ${form}`);
    return path === "/v1/filter" ? { [form]: args[form] } : [];
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type ExtenderArgs = {
  readonly Pod: Pod;
  readonly Nodes?: unknown;
  readonly NodeNames?: unknown;
  readonly PodName: string;
  readonly Node: string;
};

type Replica = { readonly port: number; isReady: boolean; stop(): Promise<void> };

/** Answers its name to everything but `/readyz`. */
async function startReplica(name: string): Promise<Replica> {
  const server = createServer((request, response) => {
    if (request.url === "/readyz") {
      response.statusCode = replica.isReady ? 200 : 503;
    }
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const replica: Replica = {
    port: (server.address() as AddressInfo).port,
    isReady: false,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return replica;
}

function endpointOf(replica: Replica): Endpoint {
  return { port: replica.port, readyUrl: `http://127.0.0.1:${replica.port}/readyz` };
}

async function textOf(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: "close" } });
  return response.text();
}

function disposable<F extends { stop(): void }>(follower: F): F & AsyncDisposable {
  return Object.assign(follower, { [Symbol.asyncDispose]: async () => follower.stop() });
}

/** Exactly `count` pods, all Ready and none on its way out. */
function allReady(count: number): (all: readonly Pod[]) => boolean {
  return (all) => all.length === count && all.every((p) => isReady(p) && !isBeingDeleted(p));
}

function isBeingDeleted(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

function isTainted(node: Node): boolean {
  return (node.spec.taints ?? []).some((taint) => taint.effect === "NoExecute");
}

function readyStatus(node: Node): string | undefined {
  return node.status.conditions?.find((condition) => condition.type === "Ready")?.status;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Name of the program that runs under a process id; empty where there is none. */
async function commandOf(pid: number): Promise<string> {
  const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
  return name.trim();
}
