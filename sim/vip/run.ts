// `npm run sim:vip -- [--seeds N] [--seed S] [--seconds N] [--trace] [--until-failure]`: runs worlds of virtual addresses from their seeds and
// reports each failure with the command that replays it. Exits with 1 when there was one.

import { parseArgs } from "node:util";
import { VipWorld } from "./world.ts";

const usage =
  "usage: npm run sim:vip -- [--seeds N] [--seed S] [--seconds N] [--trace] [--until-failure]";

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const options = read(args);
  if (typeof options === "string") {
    process.stderr.write(`sim: ${options}\n${usage}\n`);
    return 2;
  }
  const { seeds, seed: first, seconds, trace, untilFailure } = options;
  const startedMs = performance.now();
  let failed = 0;
  let done = 0;
  let grants = 0;
  for (let seed = first; seed < first + seeds; seed += 1) {
    const print = trace ? (line: string) => process.stdout.write(`${line}\n`) : undefined;
    const report = await new VipWorld(seed, print).run(seconds * 1_000);
    done += 1;
    grants += report.grants;
    if (report.failure === undefined) continue;
    failed += 1;
    process.stdout.write(
      `seed ${seed} failed: ${report.failure}\n  replay: npm run sim:vip -- --seed ${seed} --seeds 1 --seconds ${seconds} --trace\n`,
    );
    if (untilFailure) break;
  }
  const tookS = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(
    `${done} seeds of ${seconds} s with faults from ${first}: ${done - failed} passed, ${failed} failed (${grants} grants, ${tookS} s)\n`,
  );
  return failed === 0 ? 0 : 1;
}

function read(args: string[]) {
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({
      args,
      options: {
        seeds: { type: "string", default: "50" },
        seed: { type: "string", default: "1" },
        seconds: { type: "string", default: "60" },
        trace: { type: "boolean", default: false },
        "until-failure": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return (error as Error).message;
  }
  const numbers = ["seeds", "seed", "seconds"].map((name) => Number(values[name]));
  const [seeds = 0, seed = 0, seconds = 0] = numbers;
  if (!numbers.every((each) => Number.isSafeInteger(each) && each > 0)) {
    return "--seeds, --seed and --seconds need whole numbers from 1 on";
  }
  const untilFailure = values["until-failure"] === true;
  return { seeds, seed, seconds, trace: values["trace"] === true, untilFailure };
}
