// The planted defects fit the product's text. Whether the simulator finds them is shown by sim/defects/run.ts, which takes minutes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { defects, editsOf, plantInto } from "./defects.ts";

const root = new URL("../../", import.meta.url);

test("every planted defect finds its place in the product exactly once", () => {
  for (const defect of defects) {
    for (const edit of editsOf(defect)) {
      const source = readFileSync(fileURLToPath(new URL(edit.file, root)), "utf8");
      assert.notEqual(plantInto(source, defect.name, edit), source, defect.name);
    }
  }
});

test("names of planted defects are unique", () => {
  assert.equal(new Set(defects.map(({ name }) => name)).size, defects.length);
});

test("a defect whose place is missing or ambiguous is refused by name", () => {
  const edit = { file: "src/x.ts", find: "a", replace: "b" };
  assert.throws(
    () => plantInto("c", "twice", edit),
    /"twice" finds its place 0 times in src\/x\.ts/,
  );
  assert.throws(() => plantInto("aa", "twice", edit), /"twice" finds its place 2 times/);
});
