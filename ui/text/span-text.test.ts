// Tests of how times are written.

import assert from "node:assert/strict";
import { test } from "node:test";
import { en } from "./en.ts";
import { spanText } from "./span-text.ts";
import type { Translate } from "./text.ts";

const text: Translate = (key, { count } = {}) => en[key].replace("{count}", String(count));

test("a time is written in its two largest units, without those that are 0", () => {
  const cases = [
    [-5, "0 s"],
    [999, "0 s"],
    [7_000, "7 s"],
    [65_000, "1 min"],
    [3_600_000, "1 h"],
    [3_660_000, "1 h 1 min"],
    [86_400_000 + 60_000, "1 d"],
    [3 * 86_400_000 + 4 * 3_600_000 + 59_000, "3 d 4 h"],
  ] as const;
  for (const [ms, expected] of cases) assert.equal(spanText(ms, text), expected, String(ms));
});
