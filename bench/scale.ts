// How the control plane's cost grows from 10,000 to 1,000,000 addresses in use: memory, the scheduler's questions, reclaim, resync and
// restore, all in one process over the in-memory adapters. Nothing here waits for an API server; what that adds, other benchmarks say.
// Run with --expose-gc.

import { MemoryCluster } from "../src/adapters/memory/cluster.ts";
import { MemoryClusterView } from "../src/adapters/memory/cluster-view.ts";
import { isBound } from "../src/core/allocation.ts";
import type { PodFacts, WorkloadState } from "../src/core/facts.ts";
import type { PodId, WorkloadRef } from "../src/core/owner.ts";
import { builtInWorkload, podIdText } from "../src/core/owner.ts";
import type { IpamService } from "../src/ipam/ipam-service.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { threadCpuMs } from "./measure/cpu.ts";
import { usedBytes } from "./measure/memory.ts";
import {
  createMemoryService,
  podFacts,
  putMember,
  putNodes,
  putWorkload,
} from "./measure/memory-control-plane.ts";
import {
  addressAt,
  addressesOfZone,
  configuredSubnets,
  memberOf,
  nodeOf,
  type PopulationWorkload,
  uidOf,
  workloadOf,
  zoneCount,
} from "./measure/population.ts";

/** One of so many workloads has its pods; the addresses of the others are kept for them. */
const livingOf = 5;

/** Numbers of uids and versions of pods that come later; those of the population are below. */
const firstLaterNumber = 20_000_000;

/** A cluster view that counts what would be calls of the API server. */
class CountingView extends MemoryClusterView {
  readCount = 0;

  override readPod(id: PodId): Promise<PodFacts | "gone"> {
    this.readCount += 1;
    return super.readPod(id);
  }

  override readWorkload(ref: WorkloadRef): Promise<WorkloadState> {
    this.readCount += 1;
    return super.readWorkload(ref);
  }
}

/** A pod of the population that lives. */
type Living = { readonly workload: PopulationWorkload; readonly pod: PodFacts };

/**
 * Puts workloads with `count` addresses in use: a fifth of the workloads run, with every policy; of the others the addresses are reserved,
 * half of them for as long as the workload wants them (`immutable`), half for ever (`never`).
 */
function fill(cluster: MemoryCluster, count: number, nodeCount: number): Living[] {
  const nextOfZone = Array.from({ length: zoneCount }, () => 0);
  const living: Living[] = [];
  let made = 0;
  for (let index = 0; made < count; index += 1) {
    const isReserved = index % livingOf !== 0;
    const plain = workloadOf(index);
    const policy = isReserved
      ? index % 2 === 0
        ? "never"
        : "immutable"
      : (["pod-delete", "immutable", "never"] as const)[(index / livingOf) % 3];
    const workload: PopulationWorkload = { ...plain, policy: policy ?? "pod-delete" };
    putWorkload(cluster, workload);
    for (let ordinal = 0; ordinal < workload.replicas && made < count; ordinal += 1, made += 1) {
      const node = made % nodeCount;
      const zone = node % zoneCount;
      // Every twentieth address stays free: holes are what makes ranges many.
      const place = nextOfZone[zone] as number;
      nextOfZone[zone] = place % 20 === 18 ? place + 2 : place + 1;
      const member = memberOf(workload, ordinal, {
        address: addressAt(zone, place),
        nodeName: nodeOf(node).name,
        number: made,
        isReserved,
      });
      putMember(cluster, member);
      const pod = cluster.live.pods.get(
        podIdText({ namespace: workload.ref.namespace, name: member.podName }),
      );
      if (!isReserved && pod !== undefined) living.push({ workload, pod });
    }
  }
  return living;
}

/** CPU of this thread for some work, and for the longest stretch of it in which nothing else had its turn; milliseconds. */
async function costOf(
  work: () => Promise<unknown>,
): Promise<{ readonly cpuMs: number; readonly longestMs: number }> {
  const done = new AbortController();
  let longestMs = 0;
  const turns = (async () => {
    while (!done.signal.aborted) {
      const beforeMs = threadCpuMs();
      await new Promise((resolve) => setImmediate(resolve));
      longestMs = Math.max(longestMs, threadCpuMs() - beforeMs);
    }
  })();
  const startedMs = threadCpuMs();
  await work();
  const cpuMs = threadCpuMs() - startedMs;
  done.abort();
  await turns;
  return { cpuMs, longestMs };
}

/**
 * The CPU of this thread for one kind of call. It is counted in steps that are longer than a call, so that only the mean of many says
 * something.
 */
class Calls {
  #cpuMs = 0;
  #count = 0;

  async time<T>(call: () => Promise<T>): Promise<T> {
    const beforeMs = threadCpuMs();
    const answer = await call();
    this.#cpuMs += threadCpuMs() - beforeMs;
    this.#count += 1;
    return answer;
  }

  /** Milliseconds of CPU a call. */
  get meanMs(): number {
    return this.#cpuMs / this.#count;
  }
}

type Questions = { readonly filter: Calls; readonly prioritize: Calls; readonly bind: Calls };

/** What schedules pods here. */
type Plane = {
  readonly cluster: MemoryCluster;
  readonly service: IpamService;
  readonly nodeNames: readonly string[];
};

/** Filter, prioritize and bind of a pod, and then it runs. */
async function schedule(
  { cluster, service, nodeNames }: Plane,
  pod: PodFacts,
  calls: Questions,
): Promise<void> {
  const { scheduling } = service;
  const request = { pod, nodeNames, internalIpsOf: () => undefined };
  const reply = await calls.filter.time(() => scheduling.filter(request));
  if (reply.kind !== "nodes" || reply.passed.length === 0) {
    throw new Error(`filter of ${podIdText(pod.id)}: ${JSON.stringify(reply).slice(0, 500)}`);
  }
  const passing = { ...request, nodeNames: reply.passed.map((at) => nodeNames[at] as string) };
  const scores = await calls.prioritize.time(() => scheduling.prioritize(passing));
  const best = Math.max(...scores.map(({ score }) => score));
  const nodeName = scores.find(({ score }) => score === best)?.nodeName ?? "";
  const bound = await calls.bind.time(() =>
    scheduling.bind({ pod: pod.id, podUid: pod.uid, nodeName }),
  );
  if (bound.kind !== "bound") throw new Error(`bind of ${podIdText(pod.id)}: ${bound.error}`);
  cluster.changePod(pod.id, { phase: "Running" });
}

/** What one size costs; times in milliseconds. */
type SizeResult = {
  readonly podCount: number;
  readonly mebibytes: number;
  readonly restore: { readonly cpuMs: number; readonly longestMs: number };
  readonly resync: { readonly cpuMs: number; readonly longestMs: number };
  readonly resyncReads: number;
  readonly calls: Questions;
  readonly reclaimMs: number;
  readonly preemptMs: number;
  readonly configureMs: number;
};

async function measureSize(
  inUse: number,
  sizes: { readonly nodeCount: number; readonly churn: number; readonly burst: number },
): Promise<SizeResult> {
  const { nodeCount, churn, burst } = sizes;
  const before = usedBytes();
  const cluster = new MemoryCluster();
  putNodes(cluster, nodeCount);
  const living = fill(cluster, inUse, nodeCount);
  const view = new CountingView(cluster);
  const { service } = createMemoryService(cluster, view);
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => nodeOf(index).name);
  const plane: Plane = { cluster, service, nodeNames };
  // Timers of the product do not keep a process alive; a program has open ports for that.
  const alive = setInterval(() => {}, 60_000);
  try {
    service.start();
    service.configure({ kind: "valid", subnets: configuredSubnets(), warnings: [] }, undefined);
    const restore = await costOf(() => service.startLeading());
    // The first full look belongs to the start of leading, and it warms what the second one is measured with.
    await service.reclaim.resync();
    const mebibytes = (usedBytes() - before) / 2 ** 20;
    if (service.allocator.view.size !== inUse) {
      throw new Error(`${service.allocator.view.size} of ${inUse} addresses are in use`);
    }
    view.readCount = 0;
    const resync = await costOf(() => service.reclaim.resync());
    const resyncReads = view.readCount;

    const calls = { filter: new Calls(), prioritize: new Calls(), bind: new Calls() };
    const warmUp = { filter: new Calls(), prioritize: new Calls(), bind: new Calls() };
    for (let index = 0; index < churn; index += 1) {
      const position = (index * 7_919) % living.length;
      const gone = living[position] as Living;
      cluster.deletePod(gone.pod.id);
      const next = successorOf(gone, firstLaterNumber + index);
      cluster.putPod(next.pod);
      await schedule(plane, next.pod, index < churn / 5 ? warmUp : calls);
      living[position] = next;
    }
    await service.reclaim.whenIdle();

    const preempt = new Calls();
    for (let index = 0; index < 50; index += 1) {
      const { workload, pod } = living[index] as Living;
      const asking = podFacts(workload, `preemptor-${index}`, `uid-preemptor-${index}`);
      const candidates = living
        .slice(0, 100)
        .map((victim) => ({ nodeName: pod.nodeName, victimUids: [victim.pod.uid] }))
        .map((candidate, at) => ({ ...candidate, nodeName: nodeNames[at] as string }));
      await preempt.time(() => service.scheduling.preempt({ pod: asking, candidates }));
    }

    const victims = living.slice(0, burst);
    const { cpuMs: burstMs } = await costOf(async () => {
      for (const { pod } of victims) cluster.deletePod(pod.id);
      await Promise.resolve();
      await service.reclaim.whenIdle();
    });
    for (const { pod } of victims) {
      if (service.allocator.view.ofPod(pod.id).some(isBound)) {
        throw new Error(`pod ${podIdText(pod.id)} is gone and its address is still bound`);
      }
    }
    const configureStartMs = threadCpuMs();
    const subnets = configuredSubnets().map((subnet) => ({ ...subnet, vlan: subnet.vlan + 1 }));
    service.configure({ kind: "valid", subnets, warnings: [] }, undefined);
    const configureMs = threadCpuMs() - configureStartMs;
    return {
      podCount: living.length,
      mebibytes,
      restore,
      resync,
      resyncReads,
      calls,
      reclaimMs: burstMs / victims.length,
      preemptMs: preempt.meanMs,
      configureMs,
    };
  } finally {
    await service.stop();
    clearInterval(alive);
  }
}

/** The pod that the controller makes instead: of the same name for a StatefulSet. */
function successorOf({ workload, pod }: Living, number: number): Living {
  const name =
    workload.ref.type === "statefulset"
      ? pod.id.name
      : `${workload.replicaSet}-x${number.toString(36)}`;
  return { workload, pod: podFacts(workload, name, uidOf(number)) };
}

/** Filter for the last pod of an immutable Deployment of so many replicas, and what it costs when all of its pods go at once. */
async function measureWide(
  replicas: number,
  nodeCount: number,
): Promise<{ readonly filterMs: number; readonly reclaimMs: number }> {
  const cluster = new MemoryCluster();
  putNodes(cluster, nodeCount);
  const ref = builtInWorkload("deployment", { namespace: "wide", name: "wide" });
  const workload: PopulationWorkload = {
    ref,
    policy: "immutable",
    replicas,
    replicaSet: "wide-7d9f8b6c5d",
  };
  putWorkload(cluster, workload);
  const ids: PodId[] = [];
  for (let index = 0; index < replicas - 1; index += 1) {
    const zone = index % zoneCount;
    const member = memberOf(workload, index, {
      address: addressAt(zone, addressesOfZone - 1 - Math.floor(index / zoneCount)),
      nodeName: nodeOf(index % nodeCount).name,
      number: firstLaterNumber + index,
      isReserved: false,
    });
    putMember(cluster, member);
    ids.push({ namespace: ref.namespace, name: member.podName });
  }
  const { service } = createMemoryService(cluster);
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => nodeOf(index).name);
  const alive = setInterval(() => {}, 60_000);
  try {
    service.start();
    service.configure({ kind: "valid", subnets: configuredSubnets(), warnings: [] }, undefined);
    await service.startLeading();
    await service.reclaim.resync();
    const filter = new Calls();
    for (let index = 0; index < 100; index += 1) {
      const pod = podFacts(workload, "wide-7d9f8b6c5d-last", "uid-last");
      const request = { pod, nodeNames, internalIpsOf: () => undefined };
      const reply = await filter.time(() => service.scheduling.filter(request));
      if (reply.kind !== "nodes") throw new Error(`filter: ${JSON.stringify(reply)}`);
    }
    const gone = ids.slice(0, 1_000);
    const { cpuMs } = await costOf(async () => {
      for (const id of gone) cluster.deletePod(id);
      await Promise.resolve();
      await service.reclaim.whenIdle();
    });
    return { filterMs: filter.meanMs, reclaimMs: cpuMs / gone.length };
  } finally {
    await service.stop();
    clearInterval(alive);
  }
}

function figuresOf(inUse: number, result: SizeResult): readonly Figure[] {
  const { calls, resync, restore } = result;
  const figure = (what: string, value: number, unit: string): Figure => ({
    what: `${what}, ${inUse.toLocaleString("en")} in use`,
    value,
    unit,
  });
  return [
    figure("pods", result.podCount, "pods"),
    figure("memory of records, pods, workloads and nodes", result.mebibytes, "MiB"),
    figure("filter", calls.filter.meanMs, "ms"),
    figure("prioritize", calls.prioritize.meanMs, "ms"),
    figure("bind", calls.bind.meanMs, "ms"),
    figure("reclaim of a pod", result.reclaimMs, "ms"),
    figure("preempt of 100 candidates", result.preemptMs, "ms"),
    figure("restore", restore.cpuMs / 1000, "s"),
    figure("longest stretch of restore", restore.longestMs, "ms"),
    figure("resync", resync.cpuMs / 1000, "s"),
    figure("longest stretch of resync", resync.longestMs, "ms"),
    figure("calls of the API server by a resync", result.resyncReads, "calls"),
    figure("a new configuration in force", result.configureMs, "ms"),
  ];
}

async function measure(mode: Mode): Promise<Findings> {
  const isQuick = mode === "quick";
  const nodeCount = isQuick ? 1_000 : 15_000;
  const churn = isQuick ? 200 : 2_000;
  const burst = isQuick ? 100 : 1_000;
  const figures: Figure[] = [];
  for (const inUse of isQuick ? [1_000, 10_000] : [10_000, 100_000, 1_000_000]) {
    figures.push(...figuresOf(inUse, await measureSize(inUse, { nodeCount, churn, burst })));
  }
  for (const replicas of isQuick ? [100, 1_000] : [100, 1_000, 10_000]) {
    const { filterMs, reclaimMs } = await measureWide(replicas, nodeCount);
    const of = `of a Deployment, ${replicas.toLocaleString("en")} replicas`;
    figures.push(
      { what: `filter of a pod ${of}`, value: filterMs, unit: "ms" },
      { what: `reclaim of a pod ${of}`, value: reclaimMs, unit: "ms" },
    );
  }
  return {
    parameters: {
      nodes: nodeCount,
      zones: zoneCount,
      "pods replaced": churn,
      "deleted at once": burst,
    },
    figures,
    notes: [
      "All times are the CPU of the one thread that does all the work, so that they do not depend on what else the machine does; those of calls " +
        "are means. In a stretch no other call is served. A fifth of the workloads have their pods; the other addresses are reserved. Node names " +
        "only.",
    ],
  };
}

await benchmark({ name: "scale", title: "growth with the addresses in use" }, measure);
