// What large address blocks cost: reading the configuration and putting it in force, in a process that has done neither before.
// Run with --expose-gc.

import { AllocationTable } from "../src/core/allocation-table.ts";
import { Topology } from "../src/core/subnets.ts";
import { parseFloatingIpConfig } from "../src/wire/floatingip-config.ts";
import { benchmark, type Figure, type Findings } from "./measure/benchmark.ts";
import { usedBytes } from "./measure/memory.ts";

const blocks = [
  {
    name: "a /8",
    entry: {
      nodeSubnets: ["192.168.0.0/16"],
      ips: ["10.0.0.2~10.255.255.254"],
      subnet: "10.0.0.0/8",
      gateway: "10.0.0.1",
    },
  },
  {
    name: "an IPv6 /64",
    entry: {
      nodeSubnets: ["192.168.0.0/16"],
      ips: ["fd00:10:20:30::2~fd00:10:20:30:ffff:ffff:ffff:ffff"],
      subnet: "fd00:10:20:30::/64",
      gateway: "fd00:10:20:30::1",
    },
  },
];

function putInForce(text: string): AllocationTable {
  const parsed = parseFloatingIpConfig(text);
  if (parsed.kind === "invalid") throw new TypeError(parsed.problems.join("; "));
  const table = new AllocationTable();
  table.configure(new Topology(parsed.subnets));
  return table;
}

function measure(): Promise<Findings> {
  const figures: Figure[] = [];
  const kept: AllocationTable[] = [];
  for (const { name, entry } of blocks) {
    const text = JSON.stringify([entry]);
    const before = usedBytes();
    const startedMs = performance.now();
    const table = putInForce(text);
    const ms = performance.now() - startedMs;
    kept.push(table);
    const bytes = usedBytes() - before;
    const total = table.usageOf(0).total;
    if (total < 2 ** 23) throw new Error(`${name} has ${total} addresses only`);
    figures.push(
      { what: `${name}: time`, value: ms, unit: "ms", target: { relation: "at most", value: 20 } },
      {
        what: `${name}: memory`,
        value: bytes / 2 ** 20,
        unit: "MiB",
        target: { relation: "at most", value: 1 },
      },
    );
  }
  // Both tables are alive until here, so that the second figure does not profit from the first one's end.
  return Promise.resolve({ parameters: { tables: kept.length }, figures });
}

await benchmark({ name: "configuration", title: "configuration of large blocks" }, measure);
