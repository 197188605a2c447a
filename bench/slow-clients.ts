// Whether slow callers of the API slow down the scheduler's calls: 200 that send or read by drops, or listen to events, on the API port, while
// the extender of the same process is asked. The two rounds alternate, so that both see the same machine. Callers are threads of their own.

import { connect, type Socket } from "node:net";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { eventRoutes, openEventStream } from "../src/adapters/http/api/event-routes.ts";
import { FixedLeadership } from "../src/adapters/memory/leadership.ts";
import { MemoryPoolStore } from "../src/adapters/memory/pool-store.ts";
import { podIdText } from "../src/core/owner.ts";
import { apiOver } from "./measure/api-plane.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import type { MemoryControlPlane } from "./measure/memory-control-plane.ts";
import {
  podFacts,
  putMember,
  putWorkload,
  startMemoryControlPlane,
} from "./measure/memory-control-plane.ts";
import type { PopulationWorkload } from "./measure/population.ts";
import { nodeOf, population } from "./measure/population.ts";
import { podObject } from "./measure/scheduler-body.ts";
import { median, percentile } from "./measure/statistics.ts";

/** What a slow caller does: four equal parts of all of them. */
const manners = ["sends its head by drops", "sends its body by drops", "reads by drops", "listens"];

/** Pause between two drops of a slow caller: long enough to last, short enough not to be taken for stalled. */
const dropMs = 500;

/** Commands to the two threads. */
type Task = { readonly kind: "slow" | "calls"; readonly port: number };

const podCount = 100;

function makePods(cluster: MemoryControlPlane["cluster"]): readonly string[] {
  const workload: PopulationWorkload = {
    ref: {
      type: "deployment",
      kind: "deployment",
      apiGroup: "apps",
      namespace: "measured",
      name: "measured",
    },
    policy: "pod-delete",
    replicas: podCount,
    replicaSet: "measured-7d9f8b6c5d",
  };
  putWorkload(cluster, workload);
  return Array.from({ length: podCount }, (_, index) => {
    const name = `measured-7d9f8b6c5d-${index}`;
    const pod = podFacts(workload, name, `uid-measured-${index}`);
    cluster.live.pods.set(podIdText(pod.id), pod);
    return JSON.stringify(podObject(workload, name, pod.uid));
  });
}

async function measure(mode: Mode): Promise<Findings> {
  const nodes = mode === "quick" ? 500 : 5_000;
  const records = mode === "quick" ? 2_000 : 100_000;
  const calls = mode === "quick" ? 100 : 1_500;
  const rounds = mode === "quick" ? 2 : 6;
  const slowCount = 200;
  let pods: readonly string[] = [];
  const plane = await startMemoryControlPlane(nodes, (cluster) => {
    for (const member of population(records, nodes)) {
      putWorkload(cluster, member.workload);
      putMember(cluster, member);
    }
    pods = makePods(cluster);
  });
  const { service, cluster } = plane;
  const leadership = new FixedLeadership();
  const stream = openEventStream({ service, pools: new MemoryPoolStore(cluster), leadership });
  const api = apiOver({ service, leadership, more: eventRoutes(stream) });
  const apiPort = await api.listen({ host: "127.0.0.1", port: 0 });
  const names = JSON.stringify(Array.from({ length: nodes }, (_, index) => nodeOf(index).name));
  const bodies = pods.map((pod) => `{"Pod":${pod},"Nodes":null,"NodeNames":${names}}`);
  const caller = threadFor({ kind: "calls", port: plane.port });
  const slow = threadFor({ kind: "slow", port: apiPort });
  const callMany = (count: number) =>
    caller.ask<readonly number[]>({ bodies: bodies.slice(0, podCount), count });
  await callMany(Math.min(300, calls));
  const quiet: number[][] = [];
  const crowded: number[][] = [];
  let openCount = slowCount;
  for (let round = 0; round < rounds; round += 1) {
    quiet.push([...(await callMany(calls))]);
    await slow.ask<number>({ open: slowCount });
    crowded.push([...(await callMany(calls))]);
    openCount = Math.min(openCount, await slow.ask<number>({ open: 0 }));
  }
  caller.end();
  slow.end();
  stream.stop();
  await api.close(0);
  await plane.stop();
  const p99 = (samples: readonly number[][]) => percentile(samples.flat(), 99);
  const p50 = (samples: readonly number[][]) => median(samples.flat());
  return {
    parameters: { nodes, "addresses in use": records, "slow clients": slowCount, rounds, calls },
    figures: [
      { what: "filter, p50, nobody on the API port", value: p50(quiet), unit: "ms" },
      { what: "filter, p50, slow clients on the API port", value: p50(crowded), unit: "ms" },
      { what: "filter, p99, nobody on the API port", value: p99(quiet), unit: "ms" },
      { what: "filter, p99, slow clients on the API port", value: p99(crowded), unit: "ms" },
      {
        what: "p99 with slow clients, against without",
        value: p99(crowded) / p99(quiet),
        unit: "times",
        target: { relation: "at most", value: 1.2 },
      },
      {
        what: "slow clients still open at the end of a round",
        value: openCount,
        unit: "",
        target: { relation: "at least", value: slowCount * 0.95 },
      },
    ],
    notes: [
      `A quarter each ${manners.join(", ")}. What is read by drops is a page of 9,999 addresses. p99 of all calls of all rounds together.`,
    ],
  };
}

/** A thread that answers questions one after the other. */
function threadFor(task: Task) {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  return {
    ask: <Answer>(question: object): Promise<Answer> =>
      new Promise((resolve, reject) => {
        worker.once("error", reject);
        worker.once("message", (answer: Answer) => {
          worker.removeListener("error", reject);
          resolve(answer);
        });
        worker.postMessage(question, []);
      }),
    end: () => void worker.terminate(),
  };
}

function runThread(task: Task): void {
  if (task.kind === "calls") {
    const client = new ExtenderClient(task.port);
    parentPort?.on("message", (question: { bodies: readonly string[]; count: number }) => {
      void callFilter(client, question).then((times) => parentPort?.postMessage(times, []));
    });
    return;
  }
  let sockets: Socket[] = [];
  let timers: NodeJS.Timeout[] = [];
  parentPort?.on("message", ({ open }: { readonly open: number }) => {
    if (open === 0) {
      // Those that were answered or cut off meanwhile are not slow clients any more.
      const left = sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length;
      for (const timer of timers) clearInterval(timer);
      for (const socket of sockets) socket.destroy();
      parentPort?.postMessage(left, []);
      return;
    }
    timers = [];
    sockets = Array.from({ length: open }, (_, index) => slowSocket(task.port, index % 4, timers));
    // Until those that want an answer have its beginning.
    const begun = sockets.filter((_, index) => index % 4 >= 2);
    void Promise.all(
      begun.map((socket) => new Promise((resolve) => socket.once("begun", resolve))),
    ).then(() => parentPort?.postMessage(open, []));
  });
}

function slowSocket(port: number, manner: number, timers: NodeJS.Timeout[]): Socket {
  const socket = connect(port, "127.0.0.1");
  // Being cut off is an outcome that is counted.
  socket.on("error", () => {});
  const head = "host: localhost\r\ncontent-type: application/json\r\n";
  const drop = (text: string) => {
    timers.push(setInterval(() => socket.writable && socket.write(text), dropMs));
  };
  if (manner === 0) {
    socket.write(`GET /v1/subnet HTTP/1.1\r\n${head}x-slow: `);
    drop("x");
    return socket;
  }
  if (manner === 1) {
    socket.write(`POST /v1/ip HTTP/1.1\r\n${head}content-length: 100000\r\n\r\n{"ips":[`);
    drop(" ");
    return socket;
  }
  const path = manner === 2 ? "/v1/ip?size=9999" : "/v1/events";
  socket.write(`GET ${path} HTTP/1.1\r\n${head}\r\n`);
  socket.once("data", () => {
    if (manner === 2) {
      socket.pause();
      timers.push(setInterval(() => socket.read(1), dropMs));
    }
    socket.emit("begun");
  });
  return socket;
}

async function callFilter(
  client: ExtenderClient,
  { bodies, count }: { readonly bodies: readonly string[]; readonly count: number },
): Promise<readonly number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const body = bodies[index % bodies.length] as string;
    const { ms, status, body: answer } = await client.post("/v1/filter", body);
    const { NodeNames, Error: error } = JSON.parse(answer.toString()) as {
      readonly NodeNames?: readonly string[] | null;
      readonly Error?: string;
    };
    if (status !== 200 || (error ?? "") !== "" || (NodeNames ?? []).length === 0) {
      throw new Error(`filter answered ${status} ${answer.toString().slice(0, 300)}`);
    }
    times.push(ms);
  }
  return times;
}

if (isMainThread) {
  await benchmark(
    { name: "slow-clients", title: "filter while slow clients hold the API port" },
    measure,
  );
} else {
  runThread(workerData as Task);
}
