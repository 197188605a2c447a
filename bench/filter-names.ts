// How long filter takes when the scheduler sends node names only, and how that grows with the addresses in use. The use cases run over
// the in-memory adapters, so that no API server is part of the figure; the caller is a thread of its own.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { podIdText } from "../src/core/owner.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { mainThreadCpuMs, threadCpuMs } from "./measure/cpu.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import {
  type MemoryControlPlane,
  podFacts,
  putMember,
  putWorkload,
  startMemoryControlPlane,
} from "./measure/memory-control-plane.ts";
import {
  addressAt,
  addressesOfZone,
  memberOf,
  nodeOf,
  type PopulationWorkload,
  population,
  uidOf,
  zoneCount,
} from "./measure/population.ts";
import { podObject } from "./measure/scheduler-body.ts";
import { median, percentile } from "./measure/statistics.ts";

/** Kinds of pods: `plain` has no policy, `immutable` finds addresses reserved for its Deployment, `own` one for its name. */
const kinds = ["plain", "immutable", "own"] as const;
type Kind = (typeof kinds)[number];

/** A pod to be scheduled. */
type Wish = {
  readonly kind: Kind;
  readonly pod: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
};

type CallerTimes = {
  readonly filterMs: Readonly<Record<Kind, readonly number[]>>;
  readonly prioritizeMs: readonly number[];
  /** CPU of the server's thread for each filter call. */
  readonly filterCpuMs: readonly number[];
};

type CallerTask = {
  readonly port: number;
  readonly nodeNames: readonly string[];
  readonly wishes: readonly Wish[];
  /** Calls before the first that counts. */
  readonly warmUp: number;
};

/** Numbers of uids and versions of pods to be scheduled; those of the population are below. */
const firstWishNumber = 20_000_000;

/** Pods to be scheduled: a third of each kind, five of a workload, with what is reserved for them. */
function makeWishes(plane: MemoryControlPlane["cluster"], count: number): Wish[] {
  const wishes: Wish[] = [];
  for (let index = 0; index < count; index += 1) {
    const kind = kinds[index % kinds.length] as Kind;
    const group = Math.floor(index / (5 * kinds.length));
    const place = Math.floor(index / kinds.length) % 5;
    const workload = wishWorkload(kind, group);
    if (place === 0) putWorkload(plane, workload);
    const number = firstWishNumber + index;
    // Reserved addresses stand at the end of the ranges, where the population does not reach.
    const zone = index % zoneCount;
    const address = addressAt(zone, addressesOfZone - 1 - Math.floor(index / zoneCount));
    const nodeName = nodeOf(zone).name;
    const at = { address, nodeName, number, isReserved: true };
    const member = memberOf(workload, place, at);
    if (kind !== "plain") putMember(plane, member);
    const pod = podFacts(workload, member.podName, uidOf(number));
    plane.live.pods.set(podIdText(pod.id), pod);
    wishes.push({
      kind,
      pod: JSON.stringify(podObject(workload, member.podName, pod.uid)),
      ...pod.id,
      uid: pod.uid,
    });
  }
  return wishes;
}

function wishWorkload(kind: Kind, group: number): PopulationWorkload {
  const namespace = `measured-${kind}-${group % 20}`;
  const name = `measured-${kind}-${group}`;
  return {
    ref: {
      type: kind === "own" ? "statefulset" : "deployment",
      kind: kind === "own" ? "statefulset" : "deployment",
      apiGroup: "apps",
      namespace,
      name,
    },
    policy: kind === "plain" ? "pod-delete" : "immutable",
    replicas: 10,
    replicaSet: `${name}-7d9f8b6c5d`,
  };
}

/** What one size costs. */
type SizeResult = CallerTimes & {
  /** CPU of the server's thread per pod: filter, prioritize and bind. */
  readonly serverCpuMs: number;
  readonly longestDuringResyncMs: number;
};

async function measureSize(
  inUse: number,
  nodeCount: number,
  wishCount: number,
): Promise<SizeResult> {
  let wishes: Wish[] = [];
  const plane = await startMemoryControlPlane(nodeCount, (cluster) => {
    let last: PopulationWorkload | undefined;
    for (const member of population(inUse, nodeCount)) {
      if (member.workload !== last) putWorkload(cluster, member.workload);
      last = member.workload;
      putMember(cluster, member);
    }
    wishes = makeWishes(cluster, wishCount);
  });
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => nodeOf(index).name);
  const warmUp = Math.floor(wishCount / 5);
  const half = Math.floor(wishCount * 0.9);
  const { port } = plane;
  const cpuBefore = threadCpuMs();
  const times = await call({ port, nodeNames, wishes: wishes.slice(0, half), warmUp });
  const serverCpuMs = (threadCpuMs() - cpuBefore) / half;
  const during = call({ port, nodeNames, wishes: wishes.slice(half), warmUp: 0 });
  await plane.service.reclaim.resync();
  const longestDuringResyncMs = Math.max(...Object.values((await during).filterMs).flat());
  await plane.stop();
  return { ...times, serverCpuMs, longestDuringResyncMs };
}

function call(task: CallerTask): Promise<CallerTimes> {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** The caller's thread: filter, prioritize and bind of one pod after the other. */
async function runCaller(task: CallerTask): Promise<void> {
  const client = new ExtenderClient(task.port);
  const filterMs: Record<Kind, number[]> = { plain: [], immutable: [], own: [] };
  const prioritizeMs: number[] = [];
  const filterCpuMs: number[] = [];
  const nodeNames = JSON.stringify(task.nodeNames);
  for (const [index, wish] of task.wishes.entries()) {
    const args = (names: string) =>
      Buffer.from(`{"Pod":${wish.pod},"Nodes":null,"NodeNames":${names}}`);
    const cpuBefore = mainThreadCpuMs();
    const filtered = await client.post("/v1/filter", args(nodeNames));
    const cpuMs = mainThreadCpuMs() - cpuBefore;
    const verdict = JSON.parse(filtered.body.toString()) as {
      readonly NodeNames: readonly string[] | null;
      readonly Error?: string;
    };
    const passed = verdict.NodeNames ?? [];
    if (filtered.status !== 200 || (verdict.Error ?? "") !== "" || passed.length === 0) {
      throw new Error(
        `filter of ${wish.kind} pod ${wish.name}: ${filtered.body.toString().slice(0, 500)}`,
      );
    }
    const scored = await client.post("/v1/prioritize", args(JSON.stringify(passed)));
    if (index >= task.warmUp) {
      filterMs[wish.kind].push(filtered.ms);
      filterCpuMs.push(cpuMs);
      prioritizeMs.push(scored.ms);
    }
    const node = passed[index % passed.length] as string;
    const bound = await client.post(
      "/v1/bind",
      JSON.stringify({
        PodName: wish.name,
        PodNamespace: wish.namespace,
        PodUID: wish.uid,
        Node: node,
      }),
    );
    const { Error: error } = JSON.parse(bound.body.toString()) as { readonly Error?: string };
    if ((error ?? "") !== "") throw new Error(`bind of pod ${wish.name}: ${error}`);
  }
  client.close();
  parentPort?.postMessage({ filterMs, filterCpuMs, prioritizeMs } satisfies CallerTimes, []);
}

async function measure(mode: Mode): Promise<Findings> {
  const sizes = mode === "quick" ? [1_000, 10_000] : [100_000, 1_000_000];
  const nodes = mode === "quick" ? 1_000 : 5_000;
  const pods = mode === "quick" ? 300 : 3_750;
  const figures: Figure[] = [];
  const p99s: number[] = [];
  for (const inUse of sizes) {
    const { filterMs, filterCpuMs, prioritizeMs, serverCpuMs, longestDuringResyncMs } =
      await measureSize(inUse, nodes, pods);
    const all = Object.values(filterMs).flat();
    const p99 = percentile(all, 99);
    p99s.push(p99);
    const at = `${inUse.toLocaleString("en")} in use`;
    const target = inUse === sizes[0] ? { target: { relation: "at most", value: 3 } as const } : {};
    figures.push(
      { what: `filter, p50, ${at}`, value: median(all), unit: "ms" },
      { what: `filter, p99, ${at}`, value: p99, unit: "ms", ...target },
      ...kinds.map((kind) => ({
        what: `filter of ${describeKind[kind]}, p50, ${at}`,
        value: median(filterMs[kind]),
        unit: "ms",
      })),
      {
        what: `CPU of the server for a filter, p50, ${at}`,
        value: median(filterCpuMs),
        unit: "ms",
      },
      {
        what: `CPU of the server for a filter, p99, ${at}`,
        value: percentile(filterCpuMs, 99),
        unit: "ms",
      },
      { what: `prioritize, p50, ${at}`, value: median(prioritizeMs), unit: "ms" },
      {
        what: `the server's CPU for filter, prioritize and bind, ${at}`,
        value: serverCpuMs,
        unit: "ms",
      },
      {
        what: `longest filter during a resync of all records, ${at}`,
        value: longestDuringResyncMs,
        unit: "ms",
      },
    );
  }
  const [small = Number.NaN, large = Number.NaN] = p99s;
  figures.push({
    what: "p99 at ten times the addresses",
    value: large / small,
    unit: "times",
    target: { relation: "at most", value: 2 },
  });
  return {
    parameters: { nodes, zones: zoneCount, "pods a size": pods },
    figures,
    notes: [
      "Times are the caller's, by the clock. The CPU of the server does not depend on what else the machine does.",
    ],
  };
}

const describeKind: Readonly<Record<Kind, string>> = {
  plain: "a pod without policy",
  immutable: "a pod of an immutable Deployment",
  own: "a StatefulSet's pod with an address of its own",
};

await (isMainThread
  ? benchmark({ name: "filter-names", title: "filter with node names only" }, measure)
  : runCaller(workerData as CallerTask));
