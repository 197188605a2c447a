// How many durable writes a second the state file of the program without a cluster takes, by the number of writes that wait at the same
// time, and how long it takes to open and to read all records. It waits for the disk of this machine.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteAllocationStore } from "../src/adapters/sqlite/allocation-store.ts";
import { openStateFile } from "../src/adapters/sqlite/state-file.ts";
import { ipFromNumber } from "../src/core/ip.ts";
import { aDeploymentRef, anAllocation, podOwner } from "../test/builders.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { quietLog } from "./measure/memory-control-plane.ts";

const firstAddress = 0x0a000000;
const workload = aDeploymentRef();

/** Record number `index`; neighbours in time are far apart in the table. */
function recordAt(index: number) {
  const ip = ipFromNumber(firstAddress + ((index * 7_919) % 8_000_000));
  return anAllocation({ ip, owner: podOwner({ name: `web-${index}`, workload }) });
}

async function measure(mode: Mode): Promise<Findings> {
  const seconds = mode === "quick" ? 0.2 : 3;
  const records = { quick: 20_000, full: 200_000, long: 1_000_000 }[mode];
  const folder = mkdtempSync(join(tmpdir(), "galaxy-bench-"));
  const path = join(folder, "state.db");
  const figures: Figure[] = [];
  let count = 0;
  try {
    const file = openStateFile(path);
    const store = new SqliteAllocationStore({ file, log: quietLog });
    const createNext = async () => {
      count += 1;
      await store.create(recordAt(count));
    };
    for (const waiting of [1, 8, 32, 256]) {
      const [startMs, before] = [performance.now(), count];
      await Promise.all(
        Array.from({ length: waiting }, async () => {
          while (performance.now() - startMs < seconds * 1000) await createNext();
        }),
      );
      figures.push({
        what: `durable creates a second, ${waiting} at a time`,
        value: ((count - before) * 1000) / (performance.now() - startMs),
        unit: "1/s",
        ...(waiting === 32 ? { target: { relation: "at least", value: 7_600 } } : {}),
      });
    }
    const missing = Math.max(0, records - count);
    for (let batch = 0; batch < missing / 1_000; batch += 1) {
      await Promise.all(Array.from({ length: 1_000 }, createNext));
    }
    file.close();
    const openMs = performance.now();
    const again = openStateFile(path);
    const listMs = performance.now();
    const listed = await new SqliteAllocationStore({ file: again, log: quietLog }).list();
    const endMs = performance.now();
    again.close();
    figures.push({ what: `open and check a file of ${count}`, value: listMs - openMs, unit: "ms" });
    figures.push({
      what: `read all of ${listed.length} records`,
      value: endMs - listMs,
      unit: "ms",
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { parameters: { seconds, records }, figures };
}

await benchmark({ name: "state-file", title: "Durable writes to the state file" }, measure);
