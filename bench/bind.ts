// How many binds a second galaxy-ipam makes on a real API server, against the same two writes (record and Binding) made directly with
// the same client: what is lost between the two is our part.

import { KubernetesAllocationStore } from "../src/adapters/kubernetes/allocation-store.ts";
import { ApiClient } from "../src/adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../src/adapters/kubernetes/credentials.ts";
import { MemoryMetrics } from "../src/adapters/memory/metrics.ts";
import { parseIp } from "../src/core/ip.ts";
import { formatCniArgs } from "../src/wire/cni-args.ts";
import { inParallel } from "../test/control-plane/api.ts";
import { type ControlPlane, startControlPlane } from "../test/control-plane/control-plane.ts";
import { startGalaxyIpam } from "../test/control-plane/galaxy-ipam.ts";
import { floatingIps, type Pod } from "../test/control-plane/kinds.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { processCpuMs } from "./measure/cpu.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import { quietLog } from "./measure/memory-control-plane.ts";
import { createPods, deletePods, namesOf, prepareCluster } from "./measure/plane.ts";
import { addressAt, nodeOf, zoneCount } from "./measure/population.ts";
import { median, percentile } from "./measure/statistics.ts";

const inFlight = 50;
const nodeCount = 100;
/** Above what any API server does: that is what limits, not our own rate limit. */
const requestsPerSecond = 100_000;
const clientFlags = [
  `--kube-api-qps=${requestsPerSecond}`,
  `--kube-api-burst=${requestsPerSecond}`,
  "--leader-elect=false",
  "--resync-interval=1h",
];

type Round = {
  readonly perSecond: number;
  readonly times: readonly number[];
  /** CPU of API server and etcd a bind, milliseconds. */
  readonly serverCpuMs: number;
};

/** Runs `work` for each pod with {@link inFlight} at a time; only those after `warmUp` count. */
async function round(
  plane: ControlPlane,
  pods: readonly Pod[],
  warmUp: number,
  work: (pod: Pod, index: number) => Promise<void>,
): Promise<Round> {
  await inParallel(pods.slice(0, warmUp).entries(), inFlight, ([index, pod]) => work(pod, index));
  const times: number[] = [];
  const servers = Object.values(plane.pids());
  const serverCpu = () => servers.reduce((sum, pid) => sum + processCpuMs(pid), 0);
  const cpuBefore = serverCpu();
  const startedMs = performance.now();
  await inParallel(pods.slice(warmUp).entries(), inFlight, async ([index, pod]) => {
    const beganMs = performance.now();
    await work(pod, warmUp + index);
    times.push(performance.now() - beganMs);
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const serverCpuMs = (serverCpu() - cpuBefore) / times.length;
  return { perSecond: times.length / seconds, times, serverCpuMs };
}

async function throughGalaxy(
  plane: ControlPlane,
  pods: readonly Pod[],
  warmUp: number,
): Promise<Round & { readonly cpuMs: number }> {
  const ipam = await startGalaxyIpam({
    kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
    flags: clientFlags,
  });
  await ipam.whenReady();
  const client = new ExtenderClient(ipam.port, inFlight);
  const cpuBefore = processCpuMs(ipam.pid);
  const result = await round(plane, pods, warmUp, async (pod, index) => {
    const answer = await client.post(
      "/v1/bind",
      JSON.stringify({
        PodName: pod.metadata.name,
        PodNamespace: "default",
        PodUID: pod.metadata.uid,
        Node: nodeOf(index % nodeCount).name,
      }),
    );
    const { Error: error } = JSON.parse(answer.body.toString()) as { readonly Error?: string };
    if ((error ?? "") !== "") throw new Error(error);
  });
  const cpuMs = (processCpuMs(ipam.pid) - cpuBefore) / pods.length;
  client.close();
  await ipam.stop();
  return { ...result, cpuMs };
}

async function directly(plane: ControlPlane, pods: readonly Pod[], warmUp: number): Promise<Round> {
  const kubeconfig = plane.kubeconfigOf("galaxy-ipam");
  const access = await openApiAccess({ kubeconfig, master: "" });
  const client = new ApiClient({ access, requestsPerSecond, burst: requestsPerSecond });
  const store = new KubernetesAllocationStore({
    client,
    log: quietLog,
    metrics: new MemoryMetrics(),
  });
  const result = await round(plane, pods, warmUp, async ({ metadata: { name, uid } }, index) => {
    const nodeName = nodeOf(index % nodeCount).name;
    const zone = index % zoneCount;
    const ip = parseIp(addressAt(zone, Math.floor(index / zoneCount)));
    if (ip === undefined) throw new TypeError(`no address for pod ${name}`);
    const outcome = await store.create({
      ip,
      owner: {
        kind: "pod",
        pod: { namespace: "default", name },
        workload: undefined,
        pool: undefined,
      },
      policy: "pod-delete",
      nodeName,
      lastNodeName: "",
      podUid: uid,
      updatedAtMs: Date.now(),
      isDraining: false,
      version: "",
    });
    if (outcome.kind !== "created") throw new Error(`record ${ip} ${outcome.kind}`);
    const gateway = `10.${64 + zone}.0.1`;
    const ipInfos = [{ ip: `${ip}/16`, vlan: 100 + zone, gateway }];
    const answer = await client.write({
      method: "POST",
      path: `/api/v1/namespaces/default/pods/${name}/binding`,
      body: {
        apiVersion: "v1",
        kind: "Binding",
        metadata: {
          name,
          namespace: "default",
          uid,
          annotations: { "k8s.v1.cni.galaxy.io/args": formatCniArgs("", ipInfos) },
        },
        target: { apiVersion: "v1", kind: "Node", name: nodeName },
      },
      tried: `bind ${name}`,
    });
    if (answer.kind !== "done") throw new Error(`binding of ${name}: ${answer.message}`);
  });
  client.close();
  return result;
}

async function measure(mode: Mode): Promise<Findings> {
  const rounds = mode === "quick" ? 1 : 7;
  const [warmUp, count] = mode === "quick" ? [100, 300] : [400, 1_400];
  const ours: number[] = [];
  const direct: number[] = [];
  const ratios: number[] = [];
  const times: number[] = [];
  const directTimes: number[] = [];
  const cpu: number[] = [];
  const serverCpu: number[] = [];
  const directServerCpu: number[] = [];
  const plane = await startControlPlane({ hasControllers: false });
  try {
    await prepareCluster(plane.api, nodeCount);
    // The first start installs the CustomResourceDefinitions.
    const first = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: clientFlags,
    });
    await first.whenReady();
    await first.stop();
    for (let index = 0; index < rounds; index += 1) {
      const results = new Map<string, Round>();
      // Who goes first changes from round to round, because the database grows and the machine warms up.
      for (const way of index % 2 === 0 ? ["direct", "ours"] : ["ours", "direct"]) {
        const pods = await createPods(plane.api, namesOf(`${way}-${index}`, count), () => ({
          schedulerName: "nobody",
        }));
        if (way === "direct") {
          results.set(way, await directly(plane, pods, warmUp));
        } else {
          const result = await throughGalaxy(plane, pods, warmUp);
          cpu.push(result.cpuMs);
          results.set(way, result);
        }
        await deletePods(plane.api);
        await plane.api.deleteAll({ kind: floatingIps });
      }
      const ourRate = results.get("ours")?.perSecond ?? Number.NaN;
      const directRate = results.get("direct")?.perSecond ?? Number.NaN;
      ours.push(ourRate);
      direct.push(directRate);
      ratios.push((ourRate / directRate) * 100);
      times.push(...(results.get("ours")?.times ?? []));
      serverCpu.push(results.get("ours")?.serverCpuMs ?? Number.NaN);
      directServerCpu.push(results.get("direct")?.serverCpuMs ?? Number.NaN);
      directTimes.push(...(results.get("direct")?.times ?? []));
    }
  } finally {
    await plane.stop();
  }
  return {
    parameters: {
      "in flight": inFlight,
      "binds a round": count - warmUp,
      rounds,
      nodes: nodeCount,
    },
    versions: { Kubernetes: plane.version.text },
    figures: [
      { what: "binds through galaxy-ipam, median of the rounds", value: median(ours), unit: "1/s" },
      {
        what: "the same two writes directly, median of the rounds",
        value: median(direct),
        unit: "1/s",
      },
      {
        what: "binds against direct writes, median of the rounds' ratios",
        value: median(ratios),
        unit: "%",
        target: { relation: "at least", value: 85 },
      },
      { what: "one bind with 50 in flight, p50", value: median(times), unit: "ms" },
      { what: "one bind with 50 in flight, p99", value: percentile(times, 99), unit: "ms" },
      {
        what: "the two writes directly with 50 in flight, p50",
        value: median(directTimes),
        unit: "ms",
      },
      { what: "CPU of galaxy-ipam for a bind", value: median(cpu), unit: "ms" },
      { what: "CPU of API server and etcd for a bind", value: median(serverCpu), unit: "ms" },
      {
        what: "CPU of API server and etcd for the two writes directly",
        value: median(directServerCpu),
        unit: "ms",
      },
    ],
    notes: [
      "API server, etcd, galaxy-ipam and the caller share the machine's cores, so that CPU of ours is taken from the API server. Rounds alternate.",
    ],
  };
}

await benchmark({ name: "bind", title: "bind on a real API server" }, measure);
