// What a filter call with full Node objects costs beside JSON.parse of its body: the byte scanner alone, and the whole call over
// HTTP with a use case that only picks nodes. The figures with the real use case are those of `npm run bench`.
//
//   node bench/extender-body.ts [nodes = 5000] [kilobytes a node = 10]
import { request } from "node:http";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { parseExtenderArgs } from "../src/adapters/http/extender-body.ts";
import { createExtenderServer } from "../src/adapters/http/extender-server.ts";

const nodeCount = Number(process.argv[2] ?? 5_000);
const nodeBytes = Number(process.argv[3] ?? 10) * 1_000;
const rounds = 15;

/** A Node as a kubelet keeps it: most of it is the list of images. */
function aNodeObject(index: number): unknown {
  const name = `node-${String(index).padStart(5, "0")}`;
  const condition = (type: string) => ({
    type,
    status: "False",
    lastHeartbeatTime: "2026-11-21T00:00:00Z",
    lastTransitionTime: "2026-11-01T00:00:00Z",
    reason: `KubeletHas${type}`,
    message: `kubelet has no ${type}`,
  });
  const node = {
    metadata: {
      name,
      uid: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
      labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
      annotations: { "node.alpha.kubernetes.io/ttl": "0" },
    },
    spec: { podCIDR: `10.${(index >> 8) & 255}.${index & 255}.0/24` },
    status: {
      capacity: { cpu: "64", memory: "263432812Ki", pods: "110" },
      conditions: ["MemoryPressure", "DiskPressure", "PIDPressure"].map(condition),
      addresses: [{ type: "InternalIP", address: `10.200.${(index >> 8) & 255}.${index & 255}` }],
      images: [] as unknown[],
    },
  };
  let bytes = JSON.stringify(node).length;
  for (let image = 0; bytes < nodeBytes; image += 1) {
    const digest = `${index}${image}`.padEnd(64, "0123456789abcdef");
    const entry = {
      names: [`images.example.com/team-${image}/app@sha256:${digest}`],
      sizeBytes: 1_000_000 + image,
    };
    node.status.images.push(entry);
    bytes += JSON.stringify(entry).length + 1;
  }
  return node;
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}

/** CPU of this thread: unlike the time of day it does not depend on what else the machine does. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function timesOf(work: () => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedMs = cpuMs();
    work();
    times.push(cpuMs() - startedMs);
  }
  return median(times);
}

function post(port: number, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": body.length };
    const call = request({ port, method: "POST", path: "/v1/filter", headers }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.once("end", () => resolve(bytes));
    });
    call.once("error", reject);
    call.end(body);
  });
}

/** The caller has a thread of its own, as a scheduler has: half of the work would be its. */
async function callTimes(port: number, body: Buffer): Promise<number[]> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { port, body } });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

async function runCaller(): Promise<void> {
  const { port, body } = workerData as { port: number; body: Uint8Array };
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedMs = performance.now();
    await post(port, Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    times.push(performance.now() - startedMs);
  }
  parentPort?.postMessage(times, []);
}

async function runBench(): Promise<void> {
  const body = Buffer.from(
    JSON.stringify({
      Pod: { metadata: { name: "web-0", namespace: "bench", uid: "u" }, spec: {} },
      Nodes: {
        metadata: {},
        items: Array.from({ length: nodeCount }, (_, index) => aNodeObject(index)),
      },
      NodeNames: null,
    }),
  );

  const healthy = {
    livenessProblem: () => undefined,
    healthProblem: () => undefined,
    readinessProblem: () => undefined,
  };
  const door = createExtenderServer({
    scheduling: {
      filter: ({ nodeNames }) => {
        const failed = new Map<string, string>();
        const passed = [...nodeNames.keys()].filter((position) => position % 10 !== 0);
        for (const [position, name] of nodeNames.entries()) {
          if (position % 10 === 0) failed.set(name, "FloatingIPPlugin:NoFIPLeft");
        }
        return Promise.resolve({ kind: "nodes", passed, failed });
      },
      prioritize: () => Promise.resolve([]),
      bind: () => Promise.resolve({ kind: "bound" }),
      preempt: () => Promise.resolve([]),
    },
    health: healthy,
    leadership: { isLeader: () => true, leaderName: () => "bench" },
    metrics: { count: () => {}, time: () => {} },
    log: { error: console.error, warn: console.warn, info: () => {}, debug: () => {} },
  });
  const port = await door.listen({ host: "127.0.0.1", port: 0 });

  const parseMs = timesOf(() => JSON.parse(body.toString("utf8")) as unknown);
  const scanMs = timesOf(() => parseExtenderArgs(body));
  const startedMs = cpuMs();
  const callMs = median(await callTimes(port, body));
  const serverMs = (cpuMs() - startedMs) / rounds;
  await door.close(0);
  console.log(
    [
      `body: ${nodeCount} nodes, ${(body.length / 1e6).toFixed(1)} MB, medians of ${rounds} rounds`,
      `JSON.parse of the body alone      ${parseMs.toFixed(0)} ms`,
      `byte scanner alone                ${scanMs.toFixed(0)} ms, ${(scanMs / parseMs).toFixed(2)} of JSON.parse`,
      `the server's part of a call       ${serverMs.toFixed(0)} ms, ${(serverMs / parseMs).toFixed(2)} of JSON.parse`,
      `whole call over HTTP              ${callMs.toFixed(0)} ms, by the clock`,
    ].join("\n"),
  );
}

await (isMainThread ? runBench() : runCaller());
