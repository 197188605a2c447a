// Virtual addresses under faults: some seeds keep the promise, and every planted defect breaks it. More seeds: npm run sim:vip.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { editsOf, plantInto } from "../defects/defects.ts";
import { vipDefects } from "./defects.ts";
import { VipWorld } from "./world.ts";

const root = new URL("../../", import.meta.url);

test("in no world do two nodes answer for one address, and after the last fault whoever may hold one does", async () => {
  let grants = 0;
  let openLooks = 0;
  for (let seed = 1; seed <= 25; seed += 1) {
    const report = await new VipWorld(seed, undefined).run(60_000);
    assert.equal(report.failure, undefined, `npm run sim:vip -- --seed ${seed} --seeds 1 --trace`);
    grants += report.grants;
    openLooks += report.openLooks;
  }
  // Worlds in which nothing moves or nobody answers would pass too.
  assert.ok(grants > 100, `${grants} grants`);
  assert.ok(openLooks > 10_000, `${openLooks} looks at an open gate`);
});

test("one seed makes the same world each time", async () => {
  const lines: string[][] = [[], []];
  for (const into of lines) await new VipWorld(3, (line) => into.push(line)).run(20_000);
  assert.deepEqual(lines[0], lines[1]);
  assert.ok((lines[0]?.length ?? 0) > 20);
});

/** Where to begin looking for a defect that only few worlds find: a little before the first that does. */
const beginAt: ReadonlyMap<string, number> = new Map([
  ["vip: grant without revoke", 43],
  ["vip: opened without arming", 111],
  ["vip: said before done", 15],
  ["vip: let go and renewed", 26],
  ["vip: old grants after joining again", 14],
  ["vip: revoked by force", 279],
  ["vip: overruled without a majority", 69],
  ["vip: held on alone", 29],
  ["vip: held on although a voter reaches the API server", 87],
]);

for (const defect of vipDefects) {
  test(`the planted defect "${defect.name}" finds its places and is found`, () => {
    for (const edit of editsOf(defect)) {
      const source = readFileSync(fileURLToPath(new URL(edit.file, root)), "utf8");
      assert.notEqual(plantInto(source, defect.name, edit), source);
    }
    const plant = new URL("sim/defects/plant.ts", root).href;
    const first = beginAt.get(defect.name) ?? 1;
    const program = fileURLToPath(new URL("sim/vip/run.ts", root));
    const { status, stdout } = spawnSync(
      process.execPath,
      ["--import", plant, program, `--seed=${first}`, "--seeds=400", "--until-failure"],
      { env: { ...process.env, SIM_DEFECT: defect.name }, encoding: "utf8", timeout: 300_000 },
    );
    assert.equal(status, 1, stdout);
    assert.match(stdout, /seed \d+ failed: /);
  });
}
