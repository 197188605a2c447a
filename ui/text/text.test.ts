// Tests of the page's texts: both languages say the same things.

import assert from "node:assert/strict";
import { test } from "node:test";
import { en } from "./en.ts";
import { zh } from "./zh.ts";

const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).toSorted();

test("each Chinese text has the places to fill in of the English one", () => {
  assert.deepEqual(Object.keys(zh).toSorted(), Object.keys(en).toSorted());
  for (const [key, text] of Object.entries(en)) {
    assert.deepEqual(holes(zh[key as keyof typeof en]), holes(text), key);
  }
});
