// Plays every scenario of this folder.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { playScenario } from "./play.ts";
import { parseScenario } from "./scenario.ts";

const folder = fileURLToPath(new URL(".", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".scenario"));

for (const file of files) {
  test(`${file} goes as it is written`, async () => {
    const parsed = parseScenario(`sim/scenarios/${file}`, readFileSync(folder + file, "utf8"));
    if (parsed.kind === "problems") assert.fail(parsed.problems.join("\n"));
    const { failure } = await playScenario(parsed.scenario);
    assert.equal(failure, undefined, failure);
  });
}

test("the scenario in the documentation goes as it is written", async () => {
  const page = readFileSync(new URL("../../docs/scenarios.md", import.meta.url), "utf8");
  const text = /^```\n(title: [^`]*)```$/m.exec(page)?.[1];
  assert.ok(text !== undefined, "docs/scenarios.md shows no scenario");
  const parsed = parseScenario("docs/scenarios.md", text);
  if (parsed.kind === "problems") assert.fail(parsed.problems.join("\n"));
  const { failure } = await playScenario(parsed.scenario);
  assert.equal(failure, undefined, failure);
});

test("scenarios have different titles", () => {
  const titles = files.map((file) => readFileSync(folder + file, "utf8").split("\n")[0]);
  assert.ok(titles.length >= 12, `only ${titles.length} scenarios are in ${folder}`);
  assert.equal(new Set(titles).size, titles.length);
});
