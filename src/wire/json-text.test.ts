// JSON text: JSON.parse is the oracle.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseJsonText } from "./json-text.ts";

/** Text that is nearly JSON. */
const nearlyJson = fc
  .array(
    fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      '"b"',
      "1",
      "-0.5e3",
      "01",
      "true",
      "nul",
      " ",
      "\n",
      '"',
      "\\",
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

function oracle(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

test("exactly the texts that JSON.parse takes are read, with the same value", () => {
  fc.assert(
    fc.property(fc.oneof(nearlyJson, fc.json(), fc.string()), (text) => {
      const expected = oracle(text);
      const parse = parseJsonText(text);
      assert.equal(parse.kind === "value", expected !== undefined, text);
      if (parse.kind === "value") assert.deepEqual(parse.value, expected?.value);
    }),
    { numRuns: 3000 },
  );
});

test("the members of the outermost object are kept as text, put together they are the object", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), (object) => {
      const parse = parseJsonText(JSON.stringify(object, null, 1));
      assert.ok(parse.kind === "value" && parse.members !== undefined);
      const text = parse.members
        .map((member) => `${JSON.stringify(member.name)}:${member.valueText}`)
        .join(",");
      assert.deepEqual(JSON.parse(`{${text}}`), JSON.parse(JSON.stringify(object)));
    }),
  );
});

test("the place of a mistake is said by line and column", () => {
  const cases: [text: string, problem: RegExp][] = [
    ['[{"a":1,\n  "b" 2}]', /^line 2, column 7 near "2}]": expected ":" after "b"$/],
    ['{"a":1,}', /^line 1, column 8 near "}": expected a member name in double quotes$/],
    ["[1 2]", /^line 1, column 4 near "2]": expected "," or "]"$/],
    ["[1,", /^line 1, column 4: the text ends too early$/],
    ["", /^line 1, column 1: the text ends too early$/],
    ["{'a':1}", /expected a member name/],
    ["[01]", /expected a value/],
    ['["a\nb"]', /^line 1, column 4: a string has a line break or control character/],
    ['["a', /a string is not closed/],
    ['["\\x"]', /a string has an unknown escape/],
    ["[] []", /unexpected text after the end/],
  ];
  for (const [text, problem] of cases) {
    const parse = parseJsonText(text);
    assert.ok(parse.kind === "problem", text);
    assert.match(parse.problem, problem);
  }
});

test("names that stand twice are listed by path, and the last one counts", () => {
  const parse = parseJsonText('{"a":1,"b":[{"c":1,"c":2}],"a":3}');
  assert.ok(parse.kind === "value");
  assert.deepEqual(parse.duplicates, ["b[0].c", "a"]);
  assert.deepEqual(parse.value, { a: 3, b: [{ c: 2 }] });
});

test("hostile nesting is refused instead of exhausting the stack", () => {
  const parse = parseJsonText("[".repeat(1_000_000));
  assert.ok(parse.kind === "problem");
  assert.match(parse.problem, /nested deeper than 64 levels/);
});

test("64 levels of objects and lists are read, 65 are not", () => {
  const nested = (levels: number) => `${'[{"a":'.repeat(levels / 2)}1${"}]".repeat(levels / 2)}`;
  assert.equal(parseJsonText(nested(64)).kind, "value");
  assert.equal(parseJsonText(`[${nested(64)}]`).kind, "problem");
});

test("a member called __proto__ is a member like others", () => {
  const parse = parseJsonText('{"__proto__":{"polluted":true}}');
  assert.ok(parse.kind === "value");
  assert.deepEqual(Object.keys(parse.value as object), ["__proto__"]);
  assert.equal("polluted" in {}, false);
});
