// The frame of a benchmark program: reads its arguments, notes the machine and its load, prints the figures and saves them.
// What is measured stands in the programs of the folder above.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";
import { rounded } from "./statistics.ts";

/** `quick`: small sizes, to see that it works; `long`: the sizes that take many minutes too. */
export type Mode = "quick" | "full" | "long";

/** What a figure is held against. */
export type Target = { readonly relation: "at most" | "at least"; readonly value: number };

/** One number with what it means. */
export type Figure = {
  readonly what: string;
  readonly value: number;
  /** `ms`, `s`, `bytes`, `1/s`, `times`, `%`. */
  readonly unit: string;
  readonly target?: Target;
};

/** What a benchmark found out. */
export type Findings = {
  /** Sizes and settings: `{ nodes: 5000 }`. */
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
  /** Sentences that a reader of the figures needs. */
  readonly notes?: readonly string[];
  /** Versions of further programs: `{ Kubernetes: "1.20.2" }`. */
  readonly versions?: Readonly<Record<string, string>>;
};

/** A saved result. */
export type SavedResult = Findings & {
  readonly name: string;
  readonly title: string;
  readonly command: string;
  readonly date: string;
  readonly seconds: number;
  readonly mode: Mode;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly system: string;
    /** Load average of the last minute before and after. Idle, it is near 0 before. */
    readonly loadBefore: number;
    readonly loadAfter: number;
  };
};

/** The folder of saved results. */
export const resultsFolder = fileURLToPath(new URL("../results/", import.meta.url));

/**
 * Runs a benchmark with the program's arguments: `--quick` and `--long` choose the sizes, `--save` writes
 * `bench/results/NAME.json` (never of a quick run, or of one part: `--only=WORD`, where a benchmark knows parts).
 */
export async function benchmark(
  about: { readonly name: string; readonly title: string },
  measure: (mode: Mode) => Promise<Findings>,
): Promise<void> {
  const mode = modeOf(process.argv.slice(2));
  const loadBefore = rounded(loadavg()[0] ?? 0);
  const startedMs = performance.now();
  console.log(`\n${about.title} (${mode}, load ${loadBefore})`);
  const findings = await measure(mode);
  const figures = findings.figures.map((figure) => ({ ...figure, value: rounded(figure.value) }));
  for (const figure of figures) console.log(`  ${lineOf(figure)}`);
  for (const note of findings.notes ?? []) console.log(`  ${note}`);
  const result: SavedResult = {
    ...about,
    command: `npm run bench -- ${about.name}${mode === "full" ? "" : ` --${mode}`}`,
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    seconds: rounded((performance.now() - startedMs) / 1000),
    mode,
    machine: {
      processor: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${type()} ${release()}`,
      loadBefore,
      loadAfter: rounded(loadavg()[0] ?? 0),
    },
    versions: { "galaxy-ipam": revision(), node: process.version, ...findings.versions },
    parameters: findings.parameters,
    figures,
    notes: findings.notes ?? [],
  };
  const isWhole = !process.argv.some((word) => word.startsWith("--only="));
  if (process.argv.includes("--save") && mode !== "quick" && isWhole) {
    writeFileSync(`${resultsFolder}${about.name}.json`, `${JSON.stringify(result, null, 2)}\n`);
  }
}

/** Whether a figure meets its target; undefined when it has none. */
export function isMet({ value, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return target.relation === "at most" ? value <= target.value : value >= target.value;
}

function lineOf(figure: Figure): string {
  const { what, value, unit, target } = figure;
  const verdict = isMet(figure) === false ? "MISSED" : "met";
  const held = target === undefined ? "" : `   ${verdict}: ${target.relation} ${target.value}`;
  return `${what.padEnd(76)} ${String(value).padStart(9)} ${unit}${held}`;
}

function modeOf(argv: readonly string[]): Mode {
  if (argv.includes("--quick")) return "quick";
  return argv.includes("--long") ? "long" : "full";
}

/** Version of the package with the commit, if this is a checkout. */
function revision(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(manifest) as { readonly version: string };
  try {
    const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: resultsFolder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return `${version} (${commit.trim()})`;
  } catch {
    // An unpacked archive has no commits.
    return version;
  }
}
