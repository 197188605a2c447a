// What a record costs in memory: records come over HTTP as from an API server, through the client, the parser and the store into the
// table, as when the program starts. Run with --expose-gc.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { KubernetesAllocationStore } from "../src/adapters/kubernetes/allocation-store.ts";
import { ApiClient } from "../src/adapters/kubernetes/api-client.ts";
import { FixedLeadership } from "../src/adapters/memory/leadership.ts";
import { MemoryMetrics } from "../src/adapters/memory/metrics.ts";
import { SystemClock } from "../src/adapters/system/clock.ts";
import { Topology } from "../src/core/subnets.ts";
import { Allocator } from "../src/ipam/allocator.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { usedBytes } from "./measure/memory.ts";
import { quietLog } from "./measure/memory-control-plane.ts";
import { configuredSubnets } from "./measure/population.ts";
import type { RecordServerOrder } from "./measure/record-server.ts";

async function startRecordServer(): Promise<{
  readonly child: ChildProcess;
  readonly port: number;
}> {
  const program = fileURLToPath(new URL("measure/record-server.ts", import.meta.url));
  // The parent's flags (--expose-gc) are of no use to it.
  const child = fork(program, { execArgv: ["--disable-warning=ExperimentalWarning"] });
  const [port] = (await once(child, "message")) as [number];
  return { child, port };
}

async function measure(mode: Mode): Promise<Findings> {
  const sizes = mode === "quick" ? [10_000] : [100_000, 1_000_000];
  const { child, port } = await startRecordServer();
  const figures: Figure[] = [];
  try {
    const client = new ApiClient({
      access: {
        server: new URL(`http://127.0.0.1:${port}`),
        credentials: () => ({ tls: {}, authorization: undefined }),
        forget: () => {},
      },
      requestsPerSecond: 0,
    });
    const parts = { log: quietLog, metrics: new MemoryMetrics() };
    const store = new KubernetesAllocationStore({ client, ...parts });
    const ports = {
      store,
      clock: new SystemClock(),
      leadership: new FixedLeadership(),
      ...parts,
    };
    const restored = async (count: number): Promise<Allocator> => {
      const allocator = new Allocator(ports);
      allocator.configure(new Topology(configuredSubnets()));
      child.send({ count } satisfies RecordServerOrder);
      await once(child, "message");
      await allocator.restore();
      if (allocator.view.size !== count) {
        throw new Error(`${allocator.view.size} of ${count} records are in the table`);
      }
      return allocator;
    };
    for (const size of sizes) {
      // Compiled code and warm connections are no part of a record: all paths have run, and the table is empty.
      await restored(5_000);
      await restored(0);
      const before = usedBytes();
      const residentBefore = process.memoryUsage.rss();
      const startedMs = performance.now();
      const kept = await restored(size);
      const seconds = (performance.now() - startedMs) / 1000;
      const perRecord = (usedBytes() - before) / size;
      if (kept.view.size !== size) throw new Error("the table lost records");
      const resident = process.memoryUsage.rss() - residentBefore;
      const at = `${size.toLocaleString("en")} records`;
      figures.push(
        {
          what: `memory of a record, ${at}`,
          value: perRecord,
          unit: "bytes",
          target: { relation: "at most", value: 600 },
        },
        { what: `resident memory grown a record, ${at}`, value: resident / size, unit: "bytes" },
        {
          what: `reading them (the server makes them meanwhile), ${at}`,
          value: seconds,
          unit: "s",
        },
      );
    }
    client.close();
  } finally {
    child.kill();
  }
  return {
    parameters: { sizes: sizes.join(" and "), workloads: "of 1 to 20 pods" },
    figures,
    notes: [
      "Memory is heap in use and buffers after garbage collection, over the same process with an empty table. Resident memory includes " +
        "garbage that the collector has not given back to the system.",
    ],
  };
}

await benchmark({ name: "memory", title: "memory of records" }, measure);
