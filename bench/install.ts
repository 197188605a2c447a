// How long it takes from `kubectl apply -k` to the first pod with an address, and what galaxy-ipam then needs, idle and busy. Images are not
// pulled: processes stand for containers (test/control-plane/pod-programs.ts).

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ApiClient, floatIpsOf, podsOf } from "../test/control-plane/api.ts";
import { type ControlPlane, startControlPlane } from "../test/control-plane/control-plane.ts";
import { deployments, floatingIps } from "../test/control-plane/kinds.ts";
import { aConfigMap, aDeployment } from "../test/control-plane/manifests.ts";
import { type PodPrograms, startPodPrograms } from "../test/control-plane/pod-programs.ts";
import { startSimulatedNodes } from "../test/control-plane/simulated-nodes.ts";
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
    if (plane.version.minor < 21) {
      const component = "components:\n  - ../../components/kubernetes-1-20\n";
      writeFileSync(file, readFileSync(file, "utf8") + component);
    }
    const admin = `--kubeconfig=${plane.kubeconfigOf("admin")}`;
    execFileSync("kubectl", [admin, `--cache-dir=${folder}/cache`, "apply", "-k", overlay], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Round = {
  readonly appliedSeconds: number;
  readonly firstPodSeconds: number;
  readonly idleCpuPercent: number;
  readonly idleMiB: number;
  readonly followerMiB: number;
  readonly busyCpuMsPerPod: number;
  readonly busyMiB: number;
};

/** An empty cluster, the installation, its first pod, `idleMs` of silence, and `count` pods that come and go. */
async function once(count: number, idleMs: number): Promise<Round & { readonly version: string }> {
  const plane = await startControlPlane({
    flags: {
      "kube-apiserver": ["--allow-privileged=true"],
      "kube-controller-manager": [
        "--controllers=deployment,replicaset,daemonset,garbagecollector,endpoint,clusterrole-aggregation,nodelifecycle",
      ],
    },
  });
  const { api } = plane;
  const nodes = await startSimulatedNodes(api);
  await nodes.add([
    { name: "a1", internalIp: "10.49.27.1" },
    { name: "a2", internalIp: "10.49.27.2" },
  ]);
  const programs = await startPodPrograms(plane);
  try {
    await plane.startScheduler({ extenderUrl: programs.url, nodeCacheCapable: true });
    const startedMs = performance.now();
    apply(plane);
    const appliedSeconds = (performance.now() - startedMs) / 1000;
    await api.create(aDeployment({ name: "first", replicas: 1 }));
    await nodes.nudgingWhile(withAddresses(api, "first", 1));
    const firstPodSeconds = (performance.now() - startedMs) / 1000;

    const subnet = {
      nodeSubnets: ["10.49.27.0/24"],
      ips: ["10.49.64.2~10.49.79.254"],
      subnet: "10.49.64.0/20",
      gateway: "10.49.64.1",
      vlan: 2,
    };
    await api.apply(aConfigMap({ floatingips: [subnet] }));
    const { leader, follower } = replicasOf(programs);
    await pause(5_000);
    const idleFromMs = processCpuMs(leader);
    await pause(idleMs);
    const idleCpuPercent = ((processCpuMs(leader) - idleFromMs) / idleMs) * 100;
    const idleMiB = residentMiB(leader);
    const followerMiB = residentMiB(follower);

    const busyFromMs = processCpuMs(leader);
    await api.create(aDeployment({ name: "many", replicas: count }));
    await withAddresses(api, "many", count);
    await api.delete(deployments, { name: "many", namespace: "default" });
    await api.waitFor("one address", { kind: floatingIps }, (all) => all.length === 1, {
      timeoutMs: 600_000,
    });
    return {
      version: plane.version.text,
      appliedSeconds,
      firstPodSeconds,
      idleCpuPercent,
      idleMiB,
      followerMiB,
      busyCpuMsPerPod: (processCpuMs(leader) - busyFromMs) / count,
      busyMiB: residentMiB(leader),
    };
  } finally {
    await programs.stop();
    await nodes.stop();
    await plane.stop();
  }
}

async function withAddresses(api: ApiClient, app: string, count: number): Promise<void> {
  await api.waitFor(
    `${count} pods of ${app} with addresses`,
    podsOf("default", app),
    (pods) => pods.length === count && pods.every((pod) => floatIpsOf(pod).length === 1),
    { timeoutMs: 600_000 },
  );
}

function replicasOf(programs: PodPrograms): { readonly leader: number; readonly follower: number } {
  const [leading] = programs.served();
  const find = (leads: boolean) =>
    [...programs.processes].find(([name]) => (name === leading) === leads)?.[1].pid;
  const [leader, follower] = [find(true), find(false)];
  if (leader === undefined || follower === undefined) throw new Error("there are not two replicas");
  return { leader, follower };
}

/** Resident memory of a process (Linux). */
function residentMiB(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}

async function measure(mode: Mode): Promise<Findings> {
  const count = mode === "quick" ? 50 : 1_000;
  const idleMs = mode === "quick" ? 5_000 : 60_000;
  const rounds = mode === "quick" ? 1 : 3;
  const all: Awaited<ReturnType<typeof once>>[] = [];
  for (let round = 0; round < rounds; round += 1) all.push(await once(count, idleMs));
  const of = (figure: keyof Round) => median(all.map((round) => round[figure]));
  return {
    parameters: { "pods when busy": count, "seconds when idle": idleMs / 1000, rounds },
    versions: { Kubernetes: all[0]?.version ?? "" },
    notes: [
      "Processes stand for containers and no image is pulled; the scheduler is configured before. They run from the sources and read a kubeconfig, for which the official client is loaded; a pod's own credentials do without it. Busy: that many pods get addresses and give them back.",
    ],
    figures: [
      { what: "kubectl apply -k", value: of("appliedSeconds"), unit: "s" },
      {
        what: "from kubectl apply -k to the first pod with an address",
        value: of("firstPodSeconds"),
        unit: "s",
      },
      { what: "CPU of the leader, idle", value: of("idleCpuPercent"), unit: "%" },
      { what: "memory of the leader, idle", value: of("idleMiB"), unit: "MiB" },
      { what: "memory of the replica that waits", value: of("followerMiB"), unit: "MiB" },
      { what: "CPU of the leader for each pod, busy", value: of("busyCpuMsPerPod"), unit: "ms" },
      { what: "memory of the leader after it", value: of("busyMiB"), unit: "MiB" },
    ],
  };
}

await benchmark({ name: "install", title: "installation" }, measure);
