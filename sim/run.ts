// `npm run sim -- --seeds N [--seed S] [--ops N] [--trace] [--until-failure] [--regressions]`: runs simulated worlds and reports the first
// failures with the command that replays each. With `--scenario FILE` it plays written stories instead.

import { globSync, readFileSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type { Options, ScenarioOptions } from "./run-options.ts";
import { parseOptions, parseRegressions, usage } from "./run-options.ts";
import { playScenario } from "./scenarios/play.ts";
import { parseScenario } from "./scenarios/scenario.ts";
import type { RunReport } from "./world.ts";
import { World } from "./world.ts";

/** Failures that are reported in full. */
const mostFailures = 20;

if (isMainThread) process.exitCode = await main(process.argv.slice(2));
else await work();

async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv);
  if (typeof options === "string") {
    process.stderr.write(`sim: ${options}\n${usage}\n`);
    return 2;
  }
  if ("scenarios" in options) return await playScenarios(options);
  const startedMs = performance.now();
  const first = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  const failures: RunReport[] = [];
  let happeningCount = 0;
  let doneCount = 0;
  const take = (report: RunReport, ops = options.ops) => {
    doneCount += 1;
    happeningCount += report.happeningCount;
    if (report.failure === undefined) return;
    failures.push(report);
    if (failures.length <= mostFailures) {
      process.stdout.write(
        `seed ${report.seed} failed: ${report.failure}\n  replay: npm run sim -- --seed ${report.seed} --seeds 1 --ops ${ops} --trace\n`,
      );
    }
  };
  if (options.withRegressions) {
    const file = new URL("./regressions.txt", import.meta.url);
    for (const { seed, ops } of parseRegressions(readFileSync(file, "utf8"))) {
      take(await new World(seed, undefined).run(ops), ops);
    }
  }
  if (options.seeds === 1) {
    const print = options.trace ? (line: string) => process.stdout.write(`${line}\n`) : undefined;
    const report = await new World(first, print).run(options.ops);
    take(report);
    process.stdout.write(`seed ${report.seed} digest ${report.digest}\n`);
  } else if (options.untilFailure) {
    for (let seed = first; seed < first + options.seeds && failures.length === 0; seed += 1) {
      take(await new World(seed, undefined).run(options.ops));
    }
  } else {
    await inWorkers(first, options, take);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  process.stdout.write(
    `${doneCount} seeds of ${options.ops} operations from ${first}: ${doneCount - failures.length} passed, ${failures.length} failed ` +
      `(${happeningCount} happenings, ${seconds.toFixed(1)} s)\n`,
  );
  return failures.length === 0 ? 0 : 1;
}

/** Plays scenario files one after the other. */
async function playScenarios({ scenarios, trace }: ScenarioOptions): Promise<number> {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  let failedCount = 0;
  for (const file of scenarios.flatMap(scenariosAt)) {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      process.stderr.write(
        `sim: --scenario ${file} cannot be read (${(error as Error).message})\n${usage}\n`,
      );
      return 2;
    }
    const parsed = parseScenario(file, text);
    if (parsed.kind === "problems") {
      process.stderr.write(`${parsed.problems.join("\n")}\n`);
      return 2;
    }
    const output = { tell: print, trace: trace ? print : () => {} };
    const { failure, seconds } = await playScenario(parsed.scenario, output);
    print(failure === undefined ? `passed (${seconds} simulated seconds)` : failure);
    if (failure !== undefined) failedCount += 1;
  }
  return failedCount === 0 ? 0 : 1;
}

/** The file itself, or the scenarios of a folder. */
function scenariosAt(path: string): readonly string[] {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
  const names = globSync("*.scenario", { cwd: path }).toSorted();
  // Of a folder without any the reading fails and says so.
  return names.length === 0 ? [path] : names.map((name) => join(path, name));
}

async function inWorkers(
  first: number,
  options: Options,
  take: (report: RunReport) => void,
): Promise<void> {
  const count = Math.min(availableParallelism(), options.seeds);
  await Promise.all(
    Array.from({ length: count }, (_, index) => {
      const seeds: number[] = [];
      for (let offset = index; offset < options.seeds; offset += count) seeds.push(first + offset);
      return new Promise<void>((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), {
          workerData: { seeds, ops: options.ops },
        });
        worker.on("message", (report: RunReport) => take(report));
        worker.once("error", reject);
        worker.once("exit", () => resolve());
      });
    }),
  );
}

async function work(): Promise<void> {
  const { seeds, ops } = workerData as { readonly seeds: readonly number[]; readonly ops: number };
  for (const seed of seeds) {
    const report = await new World(seed, undefined).run(ops);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port has no origin
    parentPort?.postMessage(report);
  }
}
