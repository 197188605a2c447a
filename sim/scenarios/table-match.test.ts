// Expected tables against actual ones: names, stars, order, and an end of every search.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Bindings } from "./table-match.ts";
import { fillIn, matchCell, matchTable } from "./table-match.ts";

const none: Bindings = new Map();

function bindingsOf(expected: readonly string[][], actual: readonly string[][]) {
  const match = matchTable(expected, actual, none);
  return match.kind === "equal" ? Object.fromEntries(match.bindings) : match.kind;
}

test("a cell is literal but for * and $names", () => {
  assert.equal(matchCell("10.0.0.1", "10.0.0.1", none), none);
  assert.equal(matchCell("10.0.0.1", "10x0x0x1", none), undefined);
  assert.equal(matchCell("a (2 of 2)*", "a (2 of 2); b", none), none);
  assert.equal(matchCell("pod a/*", "pod b/c", none), undefined);
  assert.deepEqual(matchCell("pod a/$x", "pod a/web-1", none), new Map([["x", "web-1"]]));
});

test("a name stands for one value, and two names for two", () => {
  const known: Bindings = new Map([["x", "10.0.0.1"]]);
  assert.equal(matchCell("$x", "10.0.0.1", known), known);
  assert.equal(matchCell("$x", "10.0.0.2", known), undefined);
  assert.equal(matchCell("$y", "10.0.0.1", known), undefined);
  assert.equal(matchCell("$a,$a", "1,2", none), undefined);
  assert.deepEqual(
    matchCell("$a,$b", "1,2", none),
    new Map([
      ["a", "1"],
      ["b", "2"],
    ]),
  );
});

test("rows are compared in any order, each once", () => {
  assert.deepEqual(
    bindingsOf(
      [
        ["web-*", "$a"],
        ["db-0", "1"],
      ],
      [
        ["db-0", "1"],
        ["web-x", "2"],
      ],
    ),
    { a: "2" },
  );
  assert.equal(bindingsOf([["web-*"]], [["web-1"], ["web-2"]]), "different");
  assert.equal(bindingsOf([["web-*"], ["web-*"]], [["web-1"]]), "different");
  assert.equal(bindingsOf([], [["web-1"]]), "different");
  assert.deepEqual(bindingsOf([], []), {});
});

test("a name that fits several rows takes the one with which the rest fits", () => {
  const expected = [
    ["$p", "*"],
    ["$p-copy", "2"],
    ["$q", "3"],
  ];
  const actual = [
    ["a", "1"],
    ["b", "1"],
    ["b-copy", "2"],
    ["a", "3"],
  ];
  assert.equal(bindingsOf(expected, actual), "different");
  assert.deepEqual(
    bindingsOf(expected, [
      ["b", "1"],
      ["b-copy", "2"],
      ["a", "3"],
    ]),
    { p: "b", q: "a" },
  );
});

test("rows that nothing fits are named", () => {
  assert.deepEqual(matchTable([["a"], ["b"], ["c"]], [["a"], ["c"]], none), {
    kind: "different",
    closest: [1],
  });
});

test("of what is said again and again one row is enough", () => {
  const said = [
    ["Waits", "web-1"],
    ["Waits", "web-2"],
  ];
  const repeatable = { isRepeatable: true };
  assert.equal(matchTable([["Waits", "*"]], said, none, repeatable).kind, "equal");
  assert.equal(matchTable([["Waits", "web-1"]], said, none, repeatable).kind, "different");
  assert.equal(
    matchTable(
      [
        ["Waits", "*"],
        ["Fails", "*"],
      ],
      said,
      none,
      repeatable,
    ).kind,
    "different",
  );
});

test("tables in which everything fits everything come to an end", () => {
  const rows = Array.from({ length: 14 }, (_, index) => [`web-${index}`, String(index % 2)]);
  const expected = [...Array.from({ length: 13 }, () => ["web-*", "*"]), ["web-*", "1"]];
  assert.equal(matchTable(expected, rows, none).kind, "equal");
  const wrong = Array.from({ length: 14 }, (_, index) => [`web-*`, index < 6 ? "0" : "1"]);
  assert.equal(matchTable(wrong, rows, none).kind, "different");
});

test("a table equals itself in any order, and no more when a cell changes", () => {
  const cell = fc.stringMatching(/^[a-z0-9./-]{1,8}$/);
  const table = fc
    .integer({ min: 1, max: 3 })
    .chain((width) =>
      fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 6 }),
    );
  fc.assert(
    fc.property(table, fc.nat(), (rows, turn) => {
      const at = rows.length === 0 ? 0 : turn % rows.length;
      const turned = [...rows.slice(at), ...rows.slice(0, at)];
      assert.equal(matchTable(rows, turned, none).kind, "equal");
      const [first] = turned;
      if (first === undefined) return;
      const changed = [[`${first[0]}!`, ...first.slice(1)], ...turned.slice(1)];
      assert.equal(matchTable(rows, changed, none).kind, "different");
    }),
  );
});

test("names are filled in where they have values", () => {
  const known: Bindings = new Map([["p", "web-1"]]);
  assert.equal(fillIn("shop/$p", known), "shop/web-1");
  assert.equal(fillIn("shop/$q", known), undefined);
  assert.equal(fillIn("shop/web", none), "shop/web");
});
