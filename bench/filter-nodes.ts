// What a filter call with full Node objects costs beside JSON.parse of its body alone: the byte scanner, the server's part of a call
// with the real use cases over the in-memory adapters, and the whole call. The caller is a thread of its own.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { parseExtenderArgs } from "../src/adapters/http/extender-body.ts";
import { podIdText } from "../src/core/owner.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { threadCpuMs } from "./measure/cpu.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import {
  podFacts,
  putMember,
  putWorkload,
  startMemoryControlPlane,
} from "./measure/memory-control-plane.ts";
import { nodeOf, population, workloadOf } from "./measure/population.ts";
import { nodeObject, podObject } from "./measure/scheduler-body.ts";
import { median } from "./measure/statistics.ts";

const nodeBytes = 10_000;
const warmUp = 3;

type CallerTask = { readonly port: number; readonly body: Uint8Array; readonly rounds: number };

/** The body of a scheduler; member names as Go writes them without tags, or as tags spell them. */
function bodyOf(nodeCount: number, isCapitalised: boolean): Buffer {
  const items = Array.from({ length: nodeCount }, (_, index) =>
    nodeObject(nodeOf(index), nodeBytes),
  );
  const pod = podObject(workloadOf(0), "measured-1", "uid-measured-1");
  const body = isCapitalised
    ? { Pod: pod, Nodes: { metadata: {}, items }, NodeNames: null }
    : { pod, nodes: { metadata: {}, items }, nodenames: null };
  return Buffer.from(JSON.stringify(body));
}

/** Times by the clock and CPU of this thread, which does not depend on what else the machine does; medians in milliseconds. */
type Cost = { readonly clockMs: number; readonly cpuMs: number };

function costOf(rounds: number, work: () => unknown): Cost {
  const clock: number[] = [];
  const cpu: number[] = [];
  for (let round = -warmUp; round < rounds; round += 1) {
    const startedMs = performance.now();
    const cpuBefore = threadCpuMs();
    work();
    if (round < 0) continue;
    cpu.push(threadCpuMs() - cpuBefore);
    clock.push(performance.now() - startedMs);
  }
  return { clockMs: median(clock), cpuMs: median(cpu) };
}

/** Calls filter from another thread; the server's part is what this thread did meanwhile. */
async function callCost(task: CallerTask): Promise<Cost> {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  const cpu: number[] = [];
  let before = threadCpuMs();
  const clock = await new Promise<readonly number[]>((resolve, reject) => {
    worker.on("message", (message: "answered" | readonly number[]) => {
      if (message !== "answered") {
        resolve(message);
        return;
      }
      const now = threadCpuMs();
      cpu.push(now - before);
      before = now;
    });
    worker.once("error", reject);
  });
  return { clockMs: median(clock.slice(warmUp)), cpuMs: median(cpu.slice(warmUp)) };
}

async function runCaller(task: CallerTask): Promise<void> {
  const client = new ExtenderClient(task.port);
  const body = Buffer.from(task.body.buffer, task.body.byteOffset, task.body.byteLength);
  const times: number[] = [];
  for (let round = 0; round < task.rounds + warmUp; round += 1) {
    const answer = await client.post("/v1/filter", body);
    // Node objects make the answer nearly as long as the question; a short one is an error.
    if (answer.status !== 200 || answer.body.length < task.body.length / 2) {
      throw new Error(`filter answered ${answer.status}: ${answer.body.toString("utf8", 0, 500)}`);
    }
    times.push(answer.ms);
    parentPort?.postMessage("answered", []);
  }
  client.close();
  parentPort?.postMessage(times, []);
}

async function measure(mode: Mode): Promise<Findings> {
  const nodes = mode === "quick" ? 500 : 5_000;
  const rounds = mode === "quick" ? 5 : 15;
  const plane = await startMemoryControlPlane(nodes, (cluster) => {
    for (const member of population(10_000, nodes)) {
      putWorkload(cluster, member.workload);
      putMember(cluster, member);
    }
    const pod = podFacts(workloadOf(0), "measured-1", "uid-measured-1");
    cluster.live.pods.set(podIdText(pod.id), pod);
  });
  const figures: Figure[] = [];
  let megabytes = 0;
  for (const isCapitalised of [true, false]) {
    const spelling = isCapitalised ? "capitalised" : "lower case";
    const body = bodyOf(nodes, isCapitalised);
    megabytes = body.length / 1e6;
    const parse = costOf(rounds, () => JSON.parse(body.toString("utf8")) as unknown);
    const scan = costOf(rounds, () => parseExtenderArgs(body));
    const call = await callCost({ port: plane.port, body, rounds });
    const ofParse = (what: string, value: number, isHeld: boolean): Figure => ({
      what: `${what}, ${spelling}`,
      value,
      unit: "times",
      ...(isHeld ? { target: { relation: "at most", value: 1.2 } } : {}),
    });
    figures.push(
      { what: `JSON.parse of the body alone, ${spelling}`, value: parse.cpuMs, unit: "ms" },
      { what: `the server's part of a call, CPU, ${spelling}`, value: call.cpuMs, unit: "ms" },
      { what: `a whole call by the clock, ${spelling}`, value: call.clockMs, unit: "ms" },
      ofParse("byte scanner alone against JSON.parse", scan.cpuMs / parse.cpuMs, false),
      ofParse("the server's part against JSON.parse, CPU", call.cpuMs / parse.cpuMs, true),
      ofParse("a whole call against JSON.parse, by the clock", call.clockMs / parse.clockMs, true),
    );
  }
  await plane.stop();
  return {
    parameters: { nodes, "bytes a node": nodeBytes, "MB a body": Math.round(megabytes), rounds },
    figures,
  };
}

await (isMainThread
  ? benchmark({ name: "filter-nodes", title: "filter with full Node objects" }, measure)
  : runCaller(workerData as CallerTask));
