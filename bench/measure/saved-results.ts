// The benchmarks there are, and what was saved of them.

import { readdirSync, readFileSync } from "node:fs";
import { resultsFolder, type SavedResult } from "./benchmark.ts";

/** Every benchmark in the order of the table, with the flags that its process needs. */
export const benchmarks: Readonly<Record<string, readonly string[]>> = {
  "filter-names": ["--max-old-space-size=8192"],
  "filter-nodes": [],
  bind: [],
  schedule: [],
  reclaim: [],
  memory: ["--expose-gc", "--max-old-space-size=8192"],
  start: [],
  install: [],
  configuration: ["--expose-gc"],
  "state-file": [],
  "slow-clients": ["--max-old-space-size=8192"],
  history: ["--expose-gc"],
  list: ["--max-old-space-size=8192"],
  cli: [],
  cni: [],
  vip: [],
  page: [],
  scale: ["--expose-gc", "--max-old-space-size=8192"],
};

/** The saved result of every benchmark that has one, in the order of the table. */
export function savedResults(): readonly SavedResult[] {
  const saved = new Set(readdirSync(resultsFolder));
  return Object.keys(benchmarks)
    .filter((name) => saved.has(`${name}.json`))
    .map((name) => JSON.parse(readFileSync(`${resultsFolder}${name}.json`, "utf8")) as SavedResult);
}
