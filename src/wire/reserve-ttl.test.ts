// Times of reservation as text: what is read, what is refused and in which words, and the way back.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { shortestReserveTtlMs } from "../core/reserve-ttl.ts";
import { quoteValue } from "./json-value.ts";
import { formatReserveTtl, parseReserveTtl } from "./reserve-ttl.ts";

const hourMs = 3_600_000;

test("durations are read as Go writes them, and never is a word", () => {
  const cases: readonly (readonly [unknown, number | "never" | undefined])[] = [
    ["168h", 168 * hourMs],
    ["1h30m", 1.5 * hourMs],
    ["1.5h", 1.5 * hourMs],
    [".5h", hourMs / 2],
    ["1h0m0s", hourMs],
    ["1s", 1_000],
    ["1000ms", 1_000],
    ["999ms1000us", 1_000],
    ["1000000µs", 1_000],
    ["90m10s5ms", 5_410_005],
    ["87600h", 87_600 * hourMs],
    ["never", "never"],
    ["", undefined],
    [undefined, undefined],
    [null, undefined],
  ];
  for (const [text, expected] of cases) {
    assert.equal(parseReserveTtl(text, "x"), expected, String(text));
  }
});

test("what is no such duration is refused with place, value, bounds and an example", () => {
  const refused = [
    "0s",
    "999ms",
    "87601h",
    "-1h",
    "+1h",
    "1d",
    "7 days",
    "168",
    "h",
    "1h ",
    " 1h",
    "1,5h",
    "1e3h",
    "1..5h",
    "Never",
    "9999999999999h",
    168,
    true,
    {},
    ["1h"],
  ]; // prettier-ignore
  for (const value of refused) {
    const read = parseReserveTtl(value, "Pool kube-system/blue: reserveTTL");
    assert.ok(typeof read === "object", JSON.stringify(value));
    assert.match(
      read.problem,
      /^Pool kube-system\/blue: reserveTTL: .* is no duration from 1s to 87600h; the address is kept for now: write for example "168h" \(a week\) or "never"$/,
    );
    assert.ok(read.problem.includes(quoteValue(value)), read.problem);
  }
  const unchanged = parseReserveTtl("soon", "--reserve-ttl", "");
  assert.ok(typeof unchanged === "object");
  assert.match(unchanged.problem, /^--reserve-ttl: "soon" is no duration .* to 87600h: write/);
});

test("every time that may be said is written so that it is read as the same", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.constant("never" as const),
        fc.integer({ min: shortestReserveTtlMs, max: 87_600 * hourMs }),
      ),
      (ttl) => {
        assert.equal(parseReserveTtl(formatReserveTtl(ttl), "x"), ttl);
      },
    ),
  );
  assert.equal(formatReserveTtl(168 * hourMs), "168h");
  assert.equal(formatReserveTtl(5_410_005), "1h30m10.005s");
});

test("no text at all breaks the reader", () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      const read = parseReserveTtl(value, "x");
      assert.ok(
        read === undefined || read === "never" || typeof read === "object" || Number.isFinite(read),
      );
    }),
  );
});
