// What questions to the API cost over HTTP: pages of ten out of a million addresses in use with each filter and sort, keyword searches, and the
// release of a thousand addresses in one request. Memory adapters, one process, the caller in it.

import { Agent, request } from "node:http";
import type { ApiPlane } from "./measure/api-plane.ts";
import { startApiPlane } from "./measure/api-plane.ts";
import type { Figure, Findings, Mode } from "./measure/benchmark.ts";
import { benchmark } from "./measure/benchmark.ts";
import { threadCpuMs } from "./measure/cpu.ts";
import { percentile } from "./measure/statistics.ts";

type Plane = ApiPlane & { readonly client: Client };

async function startPlane(count: number): Promise<Plane> {
  const plane = await startApiPlane(count);
  return { ...plane, client: new Client(plane.port) };
}

/** By the clock, which other work on the machine moves, and in CPU time, which it does not. */
type Cost = { readonly ms: number; readonly cpuMs: number };

/** Half of the questions take no longer, and 99 of 100. */
function figuresOf(what: string, costs: readonly Cost[], limitMs: number): readonly Figure[] {
  const clock = costs.map(({ ms }) => ms);
  const cpu = costs.map(({ cpuMs }) => cpuMs);
  return [
    { what: `${what}, p50`, value: percentile(clock, 50), unit: "ms" },
    {
      what: `${what}, p99`,
      value: percentile(clock, 99),
      unit: "ms",
      target: { relation: "at most", value: limitMs },
    },
    { what: `${what}, CPU of question and answer, p99`, value: percentile(cpu, 99), unit: "ms" },
  ];
}

class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** The body and how long it took. @throws when the answer is not 200 */
  async call(path: string, body?: unknown): Promise<Cost & { readonly text: string }> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const cpuBefore = threadCpuMs();
    const startedMs = performance.now();
    return await new Promise((resolve, reject) => {
      const call = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          path,
          method: payload === undefined ? "GET" : "POST",
          agent: this.#agent,
          headers: payload === undefined ? {} : { "content-type": "application/json" },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.once("error", reject);
          response.once("end", () => {
            const text = Buffer.concat(chunks).toString("utf8");
            const ms = performance.now() - startedMs;
            const cpuMs = threadCpuMs() - cpuBefore;
            if (response.statusCode === 200) resolve({ ms, cpuMs, text });
            else
              reject(new Error(`${path} answered ${response.statusCode}: ${text.slice(0, 500)}`));
          });
        },
      );
      call.once("error", reject);
      call.end(payload);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

const sorts = ["ip", "namespace", "podname", "policy"].flatMap((field) => [field, `${field} desc`]);

/** Times of a question, asked with every sort, on its first page and on one nine tenths along. */
async function timesOf(client: Client, query: string, rounds: number): Promise<readonly Cost[]> {
  const times: Cost[] = [];
  for (const sort of sorts) {
    const path = (page: number) =>
      `/v1/ip?size=10&page=${page}&sort=${encodeURIComponent(sort)}${query === "" ? "" : `&${query}`}`;
    const first = JSON.parse((await client.call(path(0))).text) as {
      readonly totalElements: number;
    };
    if (first.totalElements === 0) throw new Error(`${path(0)} finds nothing`);
    const later = Math.min(99_999, Math.floor((first.totalElements * 0.9) / 10));
    for (let round = 0; round < rounds; round += 1) {
      for (const page of [0, later]) times.push(await client.call(path(page)));
    }
  }
  return times;
}

/** How long until a first page comes. On a starved machine the server gives an answer up meanwhile, and goes on with its list. */
async function firstPageMs(client: Client): Promise<number> {
  const startedMs = performance.now();
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.call("/v1/ip?size=10");
      return performance.now() - startedMs;
    } catch (error) {
      if (attempt === 10) throw error;
    }
  }
}

async function measure(mode: Mode): Promise<Findings> {
  const size = mode === "quick" ? 20_000 : 1_000_000;
  const keywordSize = mode === "quick" ? 5_000 : 100_000;
  const rounds = mode === "quick" ? 3 : 12;
  const figures: Figure[] = [];
  const million = await startPlane(size);
  const { client, some } = million;
  figures.push({
    what: "the first page after a start, when the list is made",
    value: await firstPageMs(client),
    unit: "ms",
  });
  const { ref } = some.workload;
  const filters: readonly (readonly [string, string])[] = [
    ["no filter", ""],
    ["namespace", `namespace=${ref.namespace}`],
    ["appName", `appName=${ref.name}`],
    ["appType", "appType=deployment"],
    ["podName", `podName=${some.podName}`],
    ["poolName", "poolName=pool-3"],
    ["state", "state=bound"],
    ["namespace, appType and state", `namespace=${ref.namespace}&appType=${ref.type}&state=bound`],
  ];
  for (const [name, query] of filters) {
    const times = await timesOf(client, query, rounds);
    figures.push(...figuresOf(`page of 10, ${name}, every sort`, times, 20));
  }
  client.close();
  await million.door.close(0);
  await million.service.stop();

  const smaller = await startPlane(keywordSize);
  await firstPageMs(smaller.client);
  const words: Cost[] = [];
  for (const word of ["payments", "-7", "worker-1", "xyz", "sts_search"]) {
    for (const sort of sorts) {
      for (let round = 0; round < rounds; round += 1) {
        const query = `/v1/ip?keyword=${word}&size=10&sort=${encodeURIComponent(sort)}`;
        words.push(await smaller.client.call(query));
      }
    }
  }
  figures.push(...figuresOf("keyword search, every sort", words, 50));
  const reserved = await smaller.client.call("/v1/ip?state=reserved&size=1000");
  const { content } = JSON.parse(reserved.text) as { readonly content: readonly unknown[] };
  const released = await smaller.client.call("/v1/ip", { ips: content });
  figures.push({
    what: `release of ${content.length} addresses in one request`,
    value: released.ms,
    unit: "ms",
  });
  smaller.client.close();
  await smaller.door.close(0);
  await smaller.service.stop();
  return {
    parameters: {
      "addresses in use": size,
      "for keywords": keywordSize,
      "questions a filter": sorts.length * rounds * 2,
    },
    figures,
    notes: [
      "Each filter is asked with eight sorts, on the first page and on one nine tenths along; the caller shares the process and its time.",
    ],
  };
}

await benchmark({ name: "list", title: "lists of the API" }, measure);
