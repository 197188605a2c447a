// How long it takes from `kubectl apply -k` to the first pod with an address, and what galaxy-ipam, galaxy-webhook and a node's daemon then need, idle
// and busy. Images are not pulled: processes stand for containers (test/control-plane/pod-programs.ts), and a network namespace for the node.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ApiClient, floatIpsOf, podsOf } from "../test/control-plane/api.ts";
import { type ControlPlane, startControlPlane } from "../test/control-plane/control-plane.ts";
import { deployments, floatingIps, nodes as nodeKind, pods } from "../test/control-plane/kinds.ts";
import { aConfigMap, aDeployment, aPod } from "../test/control-plane/manifests.ts";
import { type PodPrograms, startPodPrograms } from "../test/control-plane/pod-programs.ts";
import { startServiceNetwork } from "../test/control-plane/service-network.ts";
import { startSimulatedNodes } from "../test/control-plane/simulated-nodes.ts";
import { NetworkLab, reasonToSkipLab } from "../test/node/network-lab.ts";
import { callSdn, podEnvironment, startDaemon } from "../test/node/programs.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { processCpuMs } from "./measure/cpu.ts";
import { median } from "./measure/statistics.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Applies the example of deploy/ as an administrator does. */
function apply(plane: ControlPlane): void {
  const folder = mkdtempSync(join(tmpdir(), "bench-install-"));
  try {
    cpSync(join(root, "deploy"), join(folder, "deploy"), { recursive: true });
    const overlay = join(folder, "deploy/overlays/example");
    const file = join(overlay, "kustomization.yaml");
    const components = ["webhook", ...(plane.version.minor < 21 ? ["kubernetes-1-20"] : [])];
    const lines = components.map((name) => `  - ../../components/${name}\n`).join("");
    writeFileSync(file, `${readFileSync(file, "utf8")}components:\n${lines}`);
    const admin = `--kubeconfig=${plane.kubeconfigOf("admin")}`;
    execFileSync("kubectl", [admin, `--cache-dir=${folder}/cache`, "apply", "-k", overlay], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a process needs: at rest for a while, and for each time that it is asked for something. */
type Needs = {
  readonly idleCpuPercent: number;
  readonly idleMiB: number;
  readonly busyCpuMsEach: number;
  readonly busyMiB: number;
};
type Round = {
  readonly version: string;
  readonly appliedSeconds: number;
  readonly firstPodSeconds: number;
  readonly followerMiB: number;
  readonly leader: Needs;
  readonly webhook: Needs;
  readonly daemon: Needs;
};

/** How much is done with each program. */
type Amounts = {
  readonly pods: number;
  readonly reviews: number;
  readonly attachments: number;
  readonly idleMs: number;
};

const subnets = [
  {
    nodeSubnets: ["10.49.27.0/24"],
    ips: ["10.49.64.2~10.49.79.254"],
    subnet: "10.49.64.0/20",
    gateway: "10.49.64.1",
    vlan: 2,
  },
  // The network of the lab, for the daemon.
  {
    nodeSubnets: ["10.70.0.0/24"],
    ips: ["10.70.0.100~10.70.0.120"],
    subnet: "10.70.0.0/24",
    gateway: "10.70.0.1",
    vlan: 0,
  },
];

/** An empty cluster, the installation, its first pod, silence, and then work for one program after the other. */
async function once(amounts: Amounts, built: string): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), "bench-install-"));
  const network = await startServiceNetwork();
  const egress = join(folder, "egress.json");
  writeFileSync(egress, network.egressSelector);
  const plane = await startControlPlane({
    flags: {
      "kube-apiserver": ["--allow-privileged=true", `--egress-selector-config-file=${egress}`],
      "kube-controller-manager": [
        "--controllers=deployment,replicaset,daemonset,garbagecollector,endpoint,clusterrole-aggregation,nodelifecycle",
      ],
    },
  });
  const { api } = plane;
  const nodes = await startSimulatedNodes(api);
  await nodes.add([
    // Room for all pods of the full run beside those of the installation.
    { name: "a1", internalIp: "10.49.27.1", pods: 1_000 },
    { name: "a2", internalIp: "10.49.27.2", pods: 1_000 },
    { name: "node1", internalIp: "10.70.0.11" },
  ]);
  await api.patch(nodeKind, { name: "node1" }, { metadata: { labels: { there: "yes" } } });
  const programs = await startPodPrograms(plane, built);
  network.lead(programs.leadTo);
  await using lab = await NetworkLab.open();
  try {
    await plane.startScheduler({ extenderUrl: programs.url, nodeCacheCapable: true });
    const startedMs = performance.now();
    apply(plane);
    const appliedSeconds = (performance.now() - startedMs) / 1000;
    await api.create(aDeployment({ name: "first", replicas: 1 }));
    await nodes.nudgingWhile(withAddresses(api, "first", 1));
    const firstPodSeconds = (performance.now() - startedMs) / 1000;

    await api.apply(aConfigMap({ floatingips: subnets }));
    const attach = await startedDaemon(plane, lab, built);
    const { leader, follower, webhook } = replicasOf(programs);
    const idle = await idleNeeds({ leader, webhook, daemon: attach.pid }, amounts.idleMs);
    const followerMiB = residentMiB(follower);

    const leaderBusy = await busyNeeds(leader, amounts.pods, async () => {
      await api.create(aDeployment({ name: "many", replicas: amounts.pods }));
      await withAddresses(api, "many", amounts.pods);
      await api.delete(deployments, { name: "many", namespace: "default" });
      await api.waitFor("two addresses", { kind: floatingIps }, (all) => all.length === 2, {
        timeoutMs: 600_000,
      });
    });
    // Each change of a Deployment is a review by both of its webhooks.
    const webhookBusy = await busyNeeds(webhook, amounts.reviews, async () => {
      for (let count = 0; count < amounts.reviews; count += 1) {
        const annotations = { "bench/count": String(count) };
        await api.patch(
          deployments,
          { name: "first", namespace: "default" },
          { metadata: { annotations } },
        );
      }
    });
    const daemonBusy = await busyNeeds(attach.pid, amounts.attachments, async () => {
      for (let count = 0; count < amounts.attachments; count += 1) await attach.once();
    });
    return {
      version: plane.version.text,
      appliedSeconds,
      firstPodSeconds,
      followerMiB,
      leader: { ...idle.leader, ...leaderBusy },
      webhook: { ...idle.webhook, ...webhookBusy },
      daemon: { ...idle.daemon, ...daemonBusy },
    };
  } finally {
    await programs.stop();
    await nodes.stop();
    await plane.stop();
    await network.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The daemon of a node in the lab, and what gives a pod its network and takes it away. It ends with the lab. */
async function startedDaemon(
  plane: ControlPlane,
  lab: NetworkLab,
  built: string,
): Promise<{ readonly pid: number; once(): Promise<void> }> {
  const { nodes } = await lab.outsideWithNodes(1);
  const [node] = nodes;
  if (node === undefined) throw new Error("the lab has no node");
  const daemon = await startDaemon({
    lab,
    node,
    nodeName: "node1",
    config: {
      NetworkConf: [
        { type: "galaxy-k8s-vlan", device: "eth0", switch: "pure", conflict_check: false },
      ],
      ENIIPNetwork: "galaxy-k8s-vlan",
    },
    access: `--kubeconfig=${plane.kubeconfigOf("admin")}`,
    built,
  });
  const name = "there-0";
  const pod = await plane.api.create(aPod({ name, nodeSelector: { there: "yes" } }));
  await plane.api.waitForOne(
    "the pod to run",
    pods,
    { name, namespace: "default" },
    (seen) => seen.status.phase === "Running",
  );
  const netns = (await lab.namespace("pod1")).path;
  const call = async (command: string) => {
    const environment = podEnvironment(command, { name, uid: pod.metadata.uid ?? "", netns });
    const { code, json } = await callSdn(daemon.socket, environment, { cniVersion: "1.0.0" });
    if (code !== 0) throw new Error(`${command}: ${JSON.stringify(json)}`);
  };
  return {
    pid: daemon.pid,
    once: async () => {
      await call("ADD");
      await call("DEL");
    },
  };
}

/** CPU and memory of processes while nobody asks them for anything. */
async function idleNeeds<Name extends string>(
  pids: Readonly<Record<Name, number>>,
  idleMs: number,
): Promise<Readonly<Record<Name, Pick<Needs, "idleCpuPercent" | "idleMiB">>>> {
  const entries = Object.entries(pids) as [Name, number][];
  await pause(5_000);
  const from = new Map(entries.map(([name, pid]) => [name, processCpuMs(pid)]));
  await pause(idleMs);
  return Object.fromEntries(
    entries.map(([name, pid]) => [
      name,
      {
        idleCpuPercent: ((processCpuMs(pid) - (from.get(name) ?? 0)) / idleMs) * 100,
        idleMiB: residentMiB(pid),
      },
    ]),
  ) as Record<Name, Pick<Needs, "idleCpuPercent" | "idleMiB">>;
}

async function busyNeeds(
  pid: number,
  count: number,
  work: () => Promise<void>,
): Promise<Pick<Needs, "busyCpuMsEach" | "busyMiB">> {
  const from = processCpuMs(pid);
  await work();
  return { busyCpuMsEach: (processCpuMs(pid) - from) / count, busyMiB: residentMiB(pid) };
}

async function withAddresses(api: ApiClient, app: string, count: number): Promise<void> {
  await api.waitFor(
    `${count} pods of ${app} with addresses`,
    podsOf("default", app),
    (pods) => pods.length === count && pods.every((pod) => floatIpsOf(pod).length === 1),
    { timeoutMs: 600_000 },
  );
}

/** Processes of the replica that works, of one that waits, and of the webhook that the Service leads to. */
function replicasOf(programs: PodPrograms): {
  readonly leader: number;
  readonly follower: number;
  readonly webhook: number;
} {
  const [leading = ""] = programs.served();
  const all = [...programs.processes];
  const leader = programs.processes.get(leading)?.pid;
  const follower = all.find(([name]) => name.startsWith("galaxy-ipam-") && name !== leading)?.[1]
    .pid;
  // The proxy that stands for Services leads to the first that is ready.
  const [asked] = programs.servedBy("galaxy-webhook");
  const webhook = programs.processes.get(asked ?? "")?.pid;
  if (leader === undefined || follower === undefined || webhook === undefined) {
    throw new Error("there are not two replicas and a webhook");
  }
  return { leader, follower, webhook };
}

/** Resident memory of a process (Linux). */
function residentMiB(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}

async function measure(mode: Mode): Promise<Findings> {
  const skip = await reasonToSkipLab();
  if (skip !== false) throw new Error(skip);
  const amounts: Amounts =
    mode === "quick"
      ? { pods: 50, reviews: 50, attachments: 20, idleMs: 5_000 }
      : { pods: 1_000, reviews: 500, attachments: 200, idleMs: 60_000 };
  const rounds = mode === "quick" ? 1 : 3;
  const folder = mkdtempSync(join(tmpdir(), "bench-built-"));
  const all: Round[] = [];
  try {
    const built = join(folder, "dist");
    execFileSync(process.execPath, [join(root, "scripts/build.ts"), built], { stdio: "ignore" });
    for (let round = 0; round < rounds; round += 1) all.push(await once(amounts, built));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const of = (figure: (round: Round) => number) => median(all.map(figure));
  const needs = (name: string, key: "leader" | "webhook" | "daemon", each: string) => [
    { what: `CPU of ${name}, idle`, value: of((round) => round[key].idleCpuPercent), unit: "%" },
    { what: `memory of ${name}, idle`, value: of((round) => round[key].idleMiB), unit: "MiB" },
    {
      what: `CPU of ${name}, for each ${each}`,
      value: of((round) => round[key].busyCpuMsEach),
      unit: "ms",
    },
    { what: `memory of ${name}, after it`, value: of((round) => round[key].busyMiB), unit: "MiB" },
  ];
  return {
    parameters: {
      "pods when busy": amounts.pods,
      "changes of a Deployment": amounts.reviews,
      "pods attached": amounts.attachments,
      "seconds when idle": amounts.idleMs / 1000,
      rounds,
    },
    versions: { Kubernetes: all[0]?.version ?? "" },
    notes: [
      "Processes stand for containers and no image is pulled; the scheduler is configured before. The programs are the built ones and read a kubeconfig, for which the official client is loaded; a pod's own credentials do without it. Busy: that many pods get addresses and give them back; a Deployment is changed that many times, and both webhooks are asked each time; one pod of a node is given its network and loses it that many times.",
    ],
    figures: [
      { what: "kubectl apply -k", value: of((round) => round.appliedSeconds), unit: "s" },
      {
        what: "from kubectl apply -k to the first pod with an address",
        value: of((round) => round.firstPodSeconds),
        unit: "s",
      },
      ...needs("galaxy-ipam", "leader", "pod that comes and goes"),
      {
        what: "memory of the galaxy-ipam that waits",
        value: of((round) => round.followerMiB),
        unit: "MiB",
      },
      ...needs("galaxy-webhook", "webhook", "change of a Deployment"),
      ...needs("the daemon galaxy of a node", "daemon", "pod that comes and goes"),
    ],
  };
}

await benchmark({ name: "install", title: "installation" }, measure);
