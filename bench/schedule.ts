// How fast a real kube-scheduler schedules pods with float IPs, against pods without and a scheduler without extender. Once with all
// pods there before the scheduler starts, so that it always has work, and once as a user sees it: from a Deployment to Ready pods.

import { isReady } from "../test/control-plane/api.ts";
import type { ControlPlane } from "../test/control-plane/control-plane.ts";
import { startControlPlane } from "../test/control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../test/control-plane/galaxy-ipam.ts";
import { deployments, floatingIps, type Pod, pods } from "../test/control-plane/kinds.ts";
import { aDeployment } from "../test/control-plane/manifests.ts";
import { startSimulatedNodes } from "../test/control-plane/simulated-nodes.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { processCpuMs } from "./measure/cpu.ts";
import { createPods, deletePods, namesOf, openNodes, prepareCluster } from "./measure/plane.ts";
import { median } from "./measure/statistics.ts";

const nodeCount = 100;

/** `names`, `nodes`: what the scheduler sends to the extender. */
const ways = ["without", "names", "nodes"] as const;
type Way = (typeof ways)[number];

const describeWay: Readonly<Record<Way, string>> = {
  without: "without float IPs and extender",
  names: "with float IPs, nodeCacheCapable",
  nodes: "with float IPs, full Node objects",
};

type Outcome = {
  /** From the first pod that has a node to the last one. */
  readonly seconds: number;
  /** CPU a pod, milliseconds, by program; from the first pod that has a node on. */
  readonly cpuMs: Readonly<Record<string, number>>;
};

async function scheduleAll(
  plane: ControlPlane,
  ipam: GalaxyIpam,
  way: Way,
  names: readonly string[],
): Promise<Outcome> {
  await createPods(plane.api, names, () => ({ wantsFloatIp: way !== "without", cpu: "10m" }));
  let bound = 0;
  let firstMs = 0;
  let cpuBefore: Readonly<Record<string, number>> = {};
  const cpuNow = () => {
    const pids = { ...plane.pids(), "galaxy-ipam": ipam.pid };
    return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, processCpuMs(pid)]));
  };
  const done = Promise.withResolvers<number>();
  const seen = (pod: Pod) => {
    if ((pod.spec.nodeName ?? "") === "") return;
    if (bound === 0) {
      firstMs = performance.now();
      cpuBefore = cpuNow();
    }
    bound += 1;
    if (bound === names.length) done.resolve((performance.now() - firstMs) / 1000);
  };
  const follower = plane.api.follow(
    { kind: pods, fieldSelector: "spec.nodeName!=" },
    { changed: seen },
  );
  await follower.synced;
  await plane.startScheduler(
    way === "without" ? {} : { extenderUrl: ipam.url, nodeCacheCapable: way === "names" },
  );
  const tooLate = setTimeout(
    () => done.reject(new Error(`${bound} of ${names.length} pods have a node after 5 minutes`)),
    300_000,
  );
  const seconds = await done.promise;
  const cpuMs = Object.fromEntries(
    Object.entries(cpuNow()).map(([name, ms]) => [
      name,
      (ms - (cpuBefore[name] ?? 0)) / names.length,
    ]),
  );
  clearTimeout(tooLate);
  follower.stop();
  await plane.stopScheduler();
  return { seconds, cpuMs };
}

/** Seconds from a Deployment's creation until so many of its pods are Ready on simulated nodes, as a user sees it. */
async function deployAll(
  plane: ControlPlane,
  ipam: GalaxyIpam,
  way: Way,
  replicas: number,
): Promise<number> {
  await plane.startScheduler(
    way === "without" ? {} : { extenderUrl: ipam.url, nodeCacheCapable: way === "names" },
  );
  const ready = new Set<string>();
  const done = Promise.withResolvers<number>();
  const startedMs = performance.now();
  const follower = plane.api.follow(
    { kind: pods, namespace: "default" },
    {
      changed: (pod) => {
        if (isReady(pod)) ready.add(pod.metadata.uid);
        if (ready.size === replicas) done.resolve((performance.now() - startedMs) / 1000);
      },
    },
  );
  const name = `deployed-${way}-${replicas}`;
  await plane.api.create(
    aDeployment({ name, replicas, wantsFloatIp: way !== "without", cpu: "10m" }),
  );
  const tooLate = setTimeout(
    () => done.reject(new Error(`${ready.size} of ${replicas} pods are Ready after 5 minutes`)),
    300_000,
  );
  const seconds = await done.promise;
  clearTimeout(tooLate);
  follower.stop();
  await plane.stopScheduler();
  await plane.api.delete(
    deployments,
    { name, namespace: "default" },
    { propagationPolicy: "Background" },
  );
  await deletePods(plane.api);
  await waitForNoRecords(plane);
  return seconds;
}

function longerBy(what: string, time: number, base: number): Figure {
  return {
    what: `${what}: longer by`,
    value: (time / base - 1) * 100,
    unit: "%",
    target: { relation: "at most", value: 10 },
  };
}

async function waitForNoRecords(plane: ControlPlane): Promise<void> {
  await plane.api.waitFor("no records", { kind: floatingIps }, (left) => left.length === 0, {
    timeoutMs: 120_000,
  });
}

async function measure(mode: Mode): Promise<Findings> {
  const sizes = mode === "quick" ? [200] : [1_000, 2_000];
  const rounds = mode === "quick" ? 1 : 3;
  const figures: Figure[] = [];
  const plane = await startControlPlane({ hasControllers: false });
  let ipam: GalaxyIpam | undefined;
  try {
    await prepareCluster(plane.api, nodeCount);
    ipam = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: ["--leader-elect=false"],
    });
    await ipam.whenReady();
    for (const size of sizes) {
      const outcomes: Record<Way, Outcome[]> = { without: [], names: [], nodes: [] };
      for (let round = 0; round < rounds; round += 1) {
        for (const way of ways) {
          const names = namesOf(`${way}-${size}-${round}`, size);
          outcomes[way].push(await scheduleAll(plane, ipam, way, names));
          await deletePods(plane.api);
          await waitForNoRecords(plane);
        }
      }
      const base = median(outcomes.without.map(({ seconds }) => seconds));
      for (const way of ways) {
        const time = median(outcomes[way].map(({ seconds }) => seconds));
        const what = `${size.toLocaleString("en")} waiting pods scheduled ${describeWay[way]}`;
        figures.push({ what, value: time, unit: "s" });
        for (const program of Object.keys(outcomes[way][0]?.cpuMs ?? {})) {
          // One size says enough about where the time goes.
          if (size !== sizes[0] || (way === "without" && program === "galaxy-ipam")) continue;
          const cpuMs = median(outcomes[way].map((outcome) => outcome.cpuMs[program] ?? 0));
          figures.push({ what: `${what}: CPU of ${program} a pod`, value: cpuMs, unit: "ms" });
        }
        if (way === "without") continue;
        figures.push(longerBy(what, time, base));
      }
    }
    await plane.startControllerManager();
    const kubelets = await startSimulatedNodes(plane.api);
    await kubelets.add(openNodes(nodeCount));
    for (const size of sizes) {
      const seconds: Record<Way, number[]> = { without: [], names: [], nodes: [] };
      for (let round = 0; round < rounds; round += 1) {
        for (const way of ways) seconds[way].push(await deployAll(plane, ipam, way, size));
      }
      const base = median(seconds.without);
      for (const way of ways) {
        const time = median(seconds[way]);
        const what = `Deployment of ${size.toLocaleString("en")} until all Ready ${describeWay[way]}`;
        figures.push({ what, value: time, unit: "s" });
        if (way !== "without") figures.push(longerBy(what, time, base));
      }
    }
    await kubelets.stop();
  } finally {
    await ipam?.stop();
    await plane.stop();
  }
  return {
    parameters: { nodes: nodeCount, rounds },
    versions: { Kubernetes: plane.version.text },
    figures,
    notes: [
      "Scheduler, API server, etcd, galaxy-ipam and the observer share the machine's cores. A pod with a float IP is one more write to the API server (the record), and two writes are its least possible time.",
    ],
  };
}

await benchmark({ name: "schedule", title: "pods through a real kube-scheduler" }, measure);
