// Runs benchmarks, each in a process of its own, and writes the tables and the plot of their saved results.
//
//   node bench/run.ts [name …] [--quick | --long | --write]
//
// --write   runs nothing, writes tables and plot of what is saved
// --quick   small sizes, nothing is saved: shows that a benchmark works
// --long    sizes that take many minutes too
// --only=WORD,WORD   parts of a benchmark that has such parts (vip); nothing is saved

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Figure, isMet, resultsFolder, type SavedResult } from "./measure/benchmark.ts";
import { performancePage } from "./measure/performance-page.ts";
import { benchmarks, savedResults } from "./measure/saved-results.ts";

async function main(argv: readonly string[]): Promise<void> {
  const names = argv.filter((word) => !word.startsWith("--"));
  const flags = argv.filter((word) => word.startsWith("--"));
  const unknown = [
    ...names.filter((name) => !Object.hasOwn(benchmarks, name)),
    ...flags.filter((flag) => !["--quick", "--long", "--write"].includes(flag) && !isPart(flag)),
  ];
  if (unknown.length > 0) {
    console.error(
      `unknown: ${unknown.join(", ")}; there are ${Object.keys(benchmarks).join(", ")}, --quick, --long, --only=WORD and --write`,
    );
    process.exitCode = 2;
    return;
  }
  if (flags.includes("--write")) {
    writeTable();
    return;
  }
  const failed: string[] = [];
  for (const [name, nodeFlags] of Object.entries(benchmarks)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const program = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
    const args = ["--disable-warning=ExperimentalWarning", ...nodeFlags, program, ...flags];
    if ((await exitCodeOf([...args, "--save"])) !== 0) failed.push(name);
    if (!flags.includes("--quick") && !flags.some(isPart)) writeTable();
  }
  if (failed.length > 0) {
    console.error(`\nfailed: ${failed.join(", ")}`);
    process.exitCode = 1;
  }
}

function isPart(flag: string): boolean {
  return flag.startsWith("--only=");
}

function exitCodeOf(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

function writeTable(): void {
  const results = savedResults();
  const text = [
    "# Results of the benchmarks",
    "Written by `npm run bench` from the JSON files beside it; do not edit. Every figure is a median of one run unless it says otherwise, " +
      "and is worth as much as the machine was quiet: the load average of the minute before each benchmark stands with it.",
    ...results.map(sectionOf),
  ].join("\n\n");
  writeFileSync(`${resultsFolder}README.md`, `${text}\n`);
  const pageFile = fileURLToPath(new URL("../docs/performance.md", import.meta.url));
  const { page, plot } = performancePage(readFileSync(pageFile, "utf8"), results);
  writeFileSync(pageFile, page);
  writeFileSync(pageFile.replace(/\.md$/, ".svg"), plot);
}

function sectionOf(result: SavedResult): string {
  const { machine } = result;
  const listed = (pairs: Readonly<Record<string, string | number>>) =>
    Object.entries(pairs)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
  return [
    `## ${result.title}`,
    `\`${result.command}\` on ${result.date} UTC, ${result.seconds} s. ${machine.processor}, ${machine.cores} cores, ` +
      `${machine.memoryGiB} GiB, ${machine.system}; load ${machine.loadBefore} before, ${machine.loadAfter} after. ` +
      `Versions: ${listed(result.versions ?? {})}. Sizes: ${listed(result.parameters)}.`,
    ["| figure | value | target |", "| --- | ---: | --- |", ...result.figures.map(rowOf)].join(
      "\n",
    ),
    ...(result.notes ?? []),
  ].join("\n\n");
}

function rowOf(figure: Figure): string {
  const { what, value, unit, target } = figure;
  const met = isMet(figure) === true ? "met" : "**missed**";
  const held = target === undefined ? "" : `${target.relation} ${target.value} ${unit}: ${met}`;
  return `| ${what} | ${value} ${unit} | ${held} |`;
}

await main(process.argv.slice(2));
