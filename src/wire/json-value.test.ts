// Narrow reads of parsed JSON.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTime, parseTimeMs, quoteValue, textAt, valueAt } from "./json-value.ts";

test("times of Go and of Kubernetes are read, to the millisecond", () => {
  const cases: [text: unknown, time: string | undefined][] = [
    ["2019-10-10T08:37:13.498446133Z", "2019-10-10T08:37:13.498Z"],
    ["2020-05-29T11:11:44Z", "2020-05-29T11:11:44.000Z"],
    ["2020-05-29T11:11:44.5+08:00", "2020-05-29T03:11:44.500Z"],
    ["2020-05-29t11:11:44Z", undefined],
    ["2020-13-29T11:11:44Z", undefined],
    ["2020-05-29", undefined],
    ["", undefined],
    [null, undefined],
    [0, undefined],
  ];
  for (const [text, time] of cases) {
    const timeMs = parseTimeMs(text);
    assert.equal(timeMs === undefined ? undefined : formatTime(timeMs), time, String(text));
  }
});

test("a written time is read back", () => {
  fc.assert(
    fc.property(fc.nat({ max: 253_402_300_799_999 }), (timeMs) => {
      assert.equal(parseTimeMs(formatTime(timeMs)), timeMs);
    }),
  );
});

test("inherited members are not seen", () => {
  assert.equal(valueAt({}, "constructor"), undefined);
  assert.equal(valueAt({ a: [] }, "a", "length"), undefined);
  assert.equal(textAt({ a: { b: "c" } }, "a", "b"), "c");
  assert.equal(textAt({ a: { b: 1 } }, "a", "b"), undefined);
});

test("a long value is quoted in short", () => {
  assert.equal(quoteValue("a"), '"a"');
  assert.equal(quoteValue(undefined), "undefined");
  assert.equal(quoteValue("x".repeat(500)).length, 120);
});
