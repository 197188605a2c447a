// The simulator as a command: options, kept seeds, replay. What worlds do is tested by running them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseOptions, parseRegressions } from "./run-options.ts";
import { World } from "./world.ts";

test("the same seed gives the same trace, another seed another", async () => {
  const digestOf = async (seed: number) => (await new World(seed, undefined).run(40)).digest;
  const first = await digestOf(7);
  assert.equal(await digestOf(7), first);
  assert.notEqual(await digestOf(8), first);
});

test("a wrong option is named", () => {
  assert.equal(parseOptions(["--seeds", "many"]), '--seeds needs a whole number, not "many"');
  assert.equal(parseOptions(["--seed"]), '--seed needs a whole number, not ""');
  assert.equal(parseOptions(["--ops=-1"]), '--ops needs a whole number, not "-1"');
  assert.equal(parseOptions(["--seeds", "0"]), "--seeds needs at least 1, not 0");
  assert.equal(
    parseOptions(["--trace"]),
    "--trace shows one world: use it with --seed S --seeds 1, not --seeds 100",
  );
  assert.equal(parseOptions(["--speed", "3"]), '"--speed" is not an option');
  assert.equal(
    parseOptions(["--scenario", "--trace"]),
    '--scenario needs a file, not "--trace"; they are in sim/scenarios',
  );
  assert.equal(
    parseOptions(["--scenario", "a", "--seed", "3"]),
    "--seed is for worlds from seeds; a scenario has no chance in it, leave it out",
  );
});

test("scenario files are played instead of worlds", () => {
  assert.deepEqual(parseOptions(["--scenario", "a", "--scenario=b", "--trace"]), {
    scenarios: ["a", "b"],
    trace: true,
  });
});

test("a seed alone is one world, no seed is a hundred by chance", () => {
  const one = parseOptions(["--seed=5", "--ops", "20", "--trace"]);
  assert.deepEqual(one, {
    seeds: 1,
    seed: 5,
    ops: 20,
    trace: true,
    untilFailure: false,
    withRegressions: false,
  });
  const many = parseOptions([]);
  assert.ok(typeof many === "object" && "seeds" in many);
  assert.ok(many.seeds === 100 && many.seed === undefined);
});

test("kept seeds are read, and a wrong line is named", () => {
  assert.deepEqual(parseRegressions("# kept\n\n12 300 # a leak\n"), [{ seed: 12, ops: 300 }]);
  assert.throws(() => parseRegressions("12 300 # a leak\n13"), /regressions\.txt line 2: "13"/);
  const kept = readFileSync(new URL("./regressions.txt", import.meta.url), "utf8");
  assert.ok(parseRegressions(kept).length > 0);
});

test("a failing seed prints the command that replays it, and the program ends with 1", async () => {
  const child = spawn(
    process.execPath,
    [
      ...["--import", "./sim/defects/plant.ts", "sim/run.ts"],
      ...["--seed", "1", "--seeds", "20", "--ops", "300", "--until-failure"],
    ],
    {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      env: { ...process.env, SIM_DEFECT: "filter commits" },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
  assert.equal(code, 1, output);
  const seed = /^seed (\d+) failed: only bind takes/m.exec(output)?.[1];
  assert.ok(
    output.includes(`replay: npm run sim -- --seed ${seed} --seeds 1 --ops 300 --trace`),
    output,
  );
});
