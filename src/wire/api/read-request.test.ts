// Parameters and bodies by their schemas: what is read, and what is said of the rest.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Type } from "typebox";
import { readBody, readParameters, withoutNulls } from "./read-request.ts";

const schema = Type.Object({
  name: Type.String(),
  count: Type.Optional(Type.Integer({ minimum: 1, default: 5 })),
  isNew: Type.Optional(Type.Boolean()),
  kind: Type.Optional(Type.Enum(["a", "b"])),
});

describe("parameters", () => {
  test("are read from their texts, with defaults, and of a repeated one the first counts", () => {
    const cases: readonly (readonly [Parameters<typeof readParameters>[1], unknown])[] = [
      [{ name: "x" }, { name: "x", count: 5 }],
      [
        { name: "7", count: "7", isNew: "1", kind: "a" },
        { name: "7", count: 7, isNew: true, kind: "a" },
      ],
      [
        { name: ["x", "y"], count: "", isNew: "false" },
        { name: "x", count: 5, isNew: false },
      ],
    ];
    for (const [raw, value] of cases) {
      assert.deepEqual(readParameters(schema, raw), { kind: "value", value });
    }
  });

  test("that cannot be read are named with what they may be", () => {
    const cases: readonly (readonly [Parameters<typeof readParameters>[1], string, RegExp])[] = [
      [{}, "name", /name is missing/],
      [{ name: "" }, "name", /name is missing/],
      [{ name: "x", count: "1.5" }, "count", /count must be integer, and is "1.5"/],
      [{ name: "x", count: "0" }, "count", /count must be >= 1, and is 0/],
      [{ name: "x", isNew: "yes" }, "isNew", /must be boolean, and is "yes"/],
      [{ name: "x", kind: "c" }, "kind", /must be one of "a", "b", and is "c"/],
      [
        { name: "x", nmae: "y" },
        "nmae",
        /no parameter "nmae"; there are: name, count, isNew, kind/,
      ],
      [{ name: "x", constructor: "y" }, "constructor", /no parameter "constructor"/],
    ];
    for (const [raw, field, message] of cases) {
      const reading = readParameters(schema, raw);
      assert.ok(reading.kind === "invalid");
      assert.equal(reading.field, field);
      assert.match(reading.message, message);
    }
  });
});

describe("bodies", () => {
  const body = Type.Object(
    { lines: Type.Array(Type.Object({ ip: Type.String() }, { additionalProperties: false })) },
    { additionalProperties: false },
  );

  test("name the place of what is wrong as a person writes it", () => {
    const cases: readonly (readonly [unknown, string, RegExp])[] = [
      [undefined, "lines", /lines is missing/],
      [null, "lines", /lines is missing/],
      [[], "", /the body must be object, and is \[\]/],
      [
        { lines: [{ ip: "x" }, { ip: 1 }] },
        "lines[1].ip",
        /lines\[1\]\.ip must be string, and is 1/,
      ],
      [{ lines: [{ ip: "x", pod: 1 }] }, "lines[0].pod", /there is no field lines\[0\]\.pod/],
      [{ lines: [{}] }, "lines[0].ip", /lines\[0\]\.ip is missing/],
    ];
    for (const [value, field, message] of cases) {
      const reading = readBody(body, value);
      assert.ok(reading.kind === "invalid");
      assert.equal(reading.field, field);
      assert.match(reading.message, message);
    }
  });

  test("an absent one stands for one without fields", () => {
    const optional = Type.Object({ reason: Type.Optional(Type.String()) });
    assert.deepEqual(readBody(optional, undefined), { kind: "value", value: {} });
  });

  test("members that are null are as if they were not there, but not too deep", () => {
    const value = { a: null, b: [{ c: null, d: 1 }], e: [null] };
    assert.deepEqual(withoutNulls(value), { b: [{ d: 1 }], e: [null] });
    assert.deepEqual(withoutNulls({ a: { b: { c: { d: { e: null } } } } }, 2), {
      a: { b: { c: { d: { e: null } } } },
    });
  });
});
