// How long galaxyctl takes from the start of its process to its end, built as it is installed: alone, and with a list from the HTTP API.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ApiWorld } from "../test/api-world.ts";
import { aPodSubnet } from "../test/builders.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { median } from "./measure/statistics.ts";

/** Runs a program to its end; the milliseconds that it took. */
async function timeOf(file: string, args: readonly string[], url: string): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, [file, ...args], {
    env: { HOME: tmpdir(), GALAXY_SERVER: url },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject).once("close", resolve);
  });
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${String(code)}`);
  return performance.now() - startedMs;
}

async function build(folder: string): Promise<void> {
  const script = fileURLToPath(new URL("../scripts/build.ts", import.meta.url));
  const child = spawn(process.execPath, [script, folder], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error("the build failed");
}

async function measure(mode: Mode): Promise<Findings> {
  const rounds = mode === "quick" ? 3 : 25;
  const folder = mkdtempSync(join(tmpdir(), "galaxyctl-bench-"));
  const api = await ApiWorld.leading([aPodSubnet()]);
  try {
    await build(folder);
    const program = join(folder, "bin/galaxyctl");
    const empty = join(folder, "bin/galaxyctl-empty.mjs");
    writeFileSync(empty, "");
    const commands = [
      { what: "an empty program of Node, for comparison", file: empty, args: [] },
      { what: "galaxyctl --version", file: program, args: ["--version"] },
      { what: "galaxyctl ip list, 253 addresses", file: program, args: ["ip", "list"] },
    ];
    const times = commands.map((): number[] => []);
    // In turn, so that a busy moment of the machine meets all of them.
    for (let round = 0; round <= rounds; round += 1) {
      for (const [index, { file, args }] of commands.entries()) {
        const ms = await timeOf(file, args, api.url);
        if (round > 0) times[index]?.push(ms);
      }
    }
    const figures = commands.map(({ what }, index) => ({
      what,
      value: median(times[index] as number[]),
      unit: "ms",
    }));
    const least = commands.map(({ what }, index) => ({
      what: `${what}: the fastest`,
      value: Math.min(...(times[index] as number[])),
      unit: "ms",
    }));
    return { parameters: { rounds }, figures: [...figures, ...least] };
  } finally {
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

await benchmark({ name: "cli", title: "start of galaxyctl" }, measure);
