// `node sim/defects/run.ts [--seeds N] [--ops N] [NAME …]`: plants each defect and counts after how many seeds the simulator finds it. Exits with 1 when
// one is not found.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defects } from "./defects.ts";

const program = fileURLToPath(new URL("../run.ts", import.meta.url));
const plant = new URL("./plant.ts", import.meta.url).href;

/** What was found out about one defect. */
type Finding = { readonly name: string; readonly seeds: number | undefined; readonly rule: string };

const { seeds, ops, names } = parse(process.argv.slice(2));
const wanted = names.length === 0 ? defects.map(({ name }) => name) : names;
const findings: Finding[] = [];
const queue = wanted[Symbol.iterator]();
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      const finding = await hunt(next.value);
      findings.push(finding);
      process.stderr.write(
        `${finding.name}: ${finding.seeds === undefined ? `not found in ${seeds} seeds` : `after ${finding.seeds} seeds, ${finding.rule}`}\n`,
      );
    }
  }),
);
process.stdout.write(
  "| defect | what it breaks | found after | rule |\n| --- | --- | --- | --- |\n",
);
for (const { name, breaks } of defects) {
  const finding = findings.find((each) => each.name === name);
  if (finding === undefined) continue;
  process.stdout.write(
    `| ${name} | ${breaks} | ${finding.seeds ?? "not found"} | ${finding.rule} |\n`,
  );
}
process.exitCode = findings.every((finding) => finding.seeds !== undefined) ? 0 : 1;

async function hunt(name: string): Promise<Finding> {
  const child = spawn(
    process.execPath,
    [
      "--import",
      plant,
      program,
      "--seed",
      "1",
      "--seeds",
      String(seeds),
      "--ops",
      String(ops),
      "--until-failure",
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, SIM_DEFECT: name } },
  );
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const [code] = (await once(child, "close")) as [number | null];
  const failure = /^seed (\d+) failed: ([^:\n]+)/m.exec(text);
  if (failure === null && code !== 0) {
    throw new Error(`the simulator did not run with "${name}"; its message is above`);
  }
  return {
    name,
    seeds: failure === null ? undefined : Number(failure[1]),
    rule: failure?.[2] ?? "",
  };
}

function parse(argv: readonly string[]): {
  readonly seeds: number;
  readonly ops: number;
  readonly names: readonly string[];
} {
  let seedCount = 1000;
  let operationCount = 300;
  const wantedNames: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? "";
    if (word === "--seeds") seedCount = Number(argv[(index += 1)]);
    else if (word === "--ops") operationCount = Number(argv[(index += 1)]);
    else if (defects.some(({ name }) => name === word)) wantedNames.push(word);
    else throw new Error(`"${word}" is neither --seeds, --ops nor the name of a planted defect`);
  }
  return { seeds: seedCount, ops: operationCount, names: wantedNames };
}
