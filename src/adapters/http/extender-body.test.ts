// The byte scanner against JSON.parse: the same verdict on every text, the same values, and slices that are the sender's bytes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { BodyProblem, parseExtenderArgs } from "./extender-body.ts";

/** JSON as it is written: objects keep names that stand twice, scalars their spelling. */
type Written =
  | { readonly kind: "object"; readonly members: readonly (readonly [string, Written])[] }
  | { readonly kind: "list"; readonly items: readonly Written[] }
  | { readonly kind: "scalar"; readonly text: string };

const scalar = (text: string): Written => ({ kind: "scalar", text });
const text = (value: string): Written => scalar(JSON.stringify(value));
const object = (...members: readonly (readonly [string, Written])[]): Written => ({
  kind: "object",
  members,
});
const list = (...items: readonly Written[]): Written => ({ kind: "list", items });

/** Writes JSON with blanks and escapes chosen by `choose`. */
function write(value: Written, choose: (below: number) => number): string {
  const blank = () => ["", "", "", " ", "\n", "\t", "\r\n  "][choose(7)] ?? "";
  const name = (plain: string) =>
    choose(4) > 0
      ? JSON.stringify(plain)
      : `"${[...plain].map((letter) => escape(letter)).join("")}"`;
  const member = ([key, inner]: readonly [string, Written]) =>
    `${blank()}${name(key)}${blank()}:${blank()}${write(inner, choose)}${blank()}`;
  switch (value.kind) {
    case "scalar":
      return value.text;
    case "object":
      return `{${value.members.map(member).join(",") || blank()}}`;
    case "list":
      return `[${value.items.map((item) => `${blank()}${write(item, choose)}${blank()}`).join(",") || blank()}]`;
  }
}

/** Each UTF-16 unit as \uXXXX, as a sender may write any letter. */
function escape(letter: string): string {
  return letter
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}

const letters = fc.string({ unit: "grapheme", maxLength: 8 });
const scalars = fc.oneof(
  fc.constantFrom("null", "true", "false", "0", "-0", "1.5e-3", "-12E+2", "9007199254740993"),
  letters.map((value) => JSON.stringify(value)),
  letters.map((value) => `"${[...value].map(escape).join("")}"`),
  fc.constantFrom('"\\"}],{["', '"\\\\"', '"\\/\\b\\f\\n\\r\\t"', '"\u2028\u007f"'),
);
/** Names that mean something on one level, and so test that they mean nothing on another. */
const keys = fc.oneof(
  fc.constantFrom("Pod", "nodes", "Nodes", "items", "Items", "metadata", "name", "NodeNames"),
  letters,
);
const anything: fc.Arbitrary<Written> = fc.letrec<{ value: Written }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalars.map(scalar),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => list(...items)),
    fc.array(fc.tuple(keys, tie("value")), { maxLength: 4 }).map((all) => object(...all)),
  ),
})).value;

/** A node whose name is the last `name` of the last `metadata`, with other members around it. */
const nodes = fc
  .record({
    name: letters.filter((name) => name !== ""),
    before: fc.array(fc.tuple(keys, anything), { maxLength: 2 }),
    inside: fc.array(fc.tuple(keys, anything), { maxLength: 2 }),
    after: fc.array(
      fc.tuple(
        keys.filter((key) => key !== "metadata"),
        anything,
      ),
      { maxLength: 2 },
    ),
  })
  .map(({ name, before, inside, after }) => ({
    name,
    written: object(
      ...before,
      ["metadata", object(...inside, ["name", text(name)], ["name2", scalar("1")])],
      ...after,
    ),
  }));

const numbers = fc.array(fc.nat(1000), { minLength: 1, maxLength: 40 });
function chooser(choices: readonly number[]): (below: number) => number {
  let at = 0;
  return (below) => {
    at += 1;
    return (choices[at % choices.length] ?? 0) % below;
  };
}

const aPodText = `{"metadata":{"name":"p","namespace":"ns"}}`;

describe("parseExtenderArgs", () => {
  test("gives names and unchanged objects of nodes written in any valid way", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(nodes, { nil: undefined, freq: 8 }), { maxLength: 6 }),
        fc.array(fc.tuple(keys, anything), { maxLength: 2 }),
        fc.boolean(),
        numbers,
        fc.infiniteStream(fc.boolean()),
        (offered, around, podFirst, choices, picks) => {
          const choose = chooser(choices);
          const real = offered.filter((node) => node !== undefined);
          const written = new Map(real.map((node) => [node, write(node.written, choose)]));
          const items = offered.map((node) =>
            node === undefined ? "null" : (written.get(node) ?? ""),
          );
          const around1 = around
            .filter(([key]) => key.toLowerCase() !== "items")
            .map(([key, value]) => `${JSON.stringify(key)} :${write(value, choose)},`)
            .join("");
          const nodesText = `"nodes" : {${around1} "items":[${items.join(choose(2) === 0 ? "," : " ,\n")}]}`;
          const podText = `"Pod":${aPodText}`;
          const body = Buffer.from(
            `{${podFirst ? `${podText},${nodesText}` : `${nodesText},${podText}`}}`,
          );
          const args = parseExtenderArgs(body);
          assert.deepEqual(
            args.nodeNames,
            real.map(({ name }) => Buffer.from(name).toString()),
          );
          const kept = real.map((_node, position) => position).filter(() => picks.next().value);
          const pieces = Buffer.concat(args.nodes?.pieces(kept) ?? []).toString();
          const expected = kept.map((position) => {
            const node = real[position];
            return Buffer.from((node && written.get(node)) ?? "").toString();
          });
          assert.equal(pieces, expected.join(","));
          for (const [index, position] of kept.entries()) {
            assert.deepEqual(args.nodes?.parse(position), JSON.parse(expected[index] ?? ""));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("accepts a value exactly when JSON.parse does", () => {
    const almost = fc
      .tuple(anything, numbers, fc.nat(), fc.constantFrom("", "x", ",", '"', "\\", "\u0001", "]"))
      .map(([value, choices, where, insertion]) => {
        const valid = write(value, chooser(choices));
        const at = where % (valid.length + 1);
        const removed = where % 3;
        return valid.slice(0, at) + insertion + valid.slice(at + removed);
      });
    const number = fc
      .array(fc.constantFrom("0", "1", "9", "-", "+", ".", "e", "E"), { maxLength: 8 })
      .map((parts) => parts.join(""));
    const soup = fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0a1-. tfn\n'), maxLength: 12 });
    fc.assert(
      fc.property(fc.oneof(almost, number, soup), (value) => {
        const body = Buffer.from(`{"Pod":${aPodText},"NodeNames":["n"],"more":${value}}`);
        let isValid = true;
        try {
          JSON.parse(body.toString());
        } catch {
          isValid = false;
        }
        if (isValid) {
          // What follows may spell Pod or NodeNames again, in a shape of its own.
          try {
            parseExtenderArgs(body);
          } catch (error) {
            assert.match(String(error), /Pod|Nodes|NodeNames/);
          }
        } else {
          assert.throws(() => parseExtenderArgs(body), BodyProblem);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("accepts every valid value as a member that it does not know", () => {
    fc.assert(
      fc.property(anything, numbers, (value, choices) => {
        const more = write(value, chooser(choices));
        const body = Buffer.from(`{"more":${more},"Pod":${aPodText},"NodeNames":["n"]}`);
        assert.deepEqual(parseExtenderArgs(body).nodeNames, ["n"]);
      }),
      { numRuns: 500 },
    );
  });

  test("never fails otherwise than with a BodyProblem on arbitrary bytes", () => {
    const start = Buffer.from(`{"Pod":${aPodText},"Nodes":{"items":[{"metadata":{"name":"n`);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(start.length), (bytes, keep) => {
        const body = Buffer.concat([start.subarray(0, keep), bytes]);
        try {
          parseExtenderArgs(body);
        } catch (error) {
          if (!(error instanceof BodyProblem)) throw error;
        }
      }),
      { numRuns: 1_000 },
    );
  });

  const parse = (body: string) => parseExtenderArgs(Buffer.from(body));

  for (const [what, names] of [
    ["the Go field names of a scheduler", ["Pod", "Nodes", "NodeNames", "Items"]],
    ["the lower-case names of the Go system", ["pod", "nodes", "nodenames", "items"]],
    ["mixed names", ["POD", "nOdes", "nodeNames", "iTEMS"]],
  ] as const) {
    test(`understands ${what}`, () => {
      const [pod, nodes, nodeNames, items] = names;
      const full = parse(
        `{"${pod}":${aPodText},"${nodes}":{"${items}":[{"metadata":{"name":"n1"}}]},"${nodeNames}":null}`,
      );
      assert.deepEqual(full.nodeNames, ["n1"]);
      assert.deepEqual(full.pod, { metadata: { name: "p", namespace: "ns" } });
      const named = parse(`{"${pod}":${aPodText},"${nodes}":null,"${nodeNames}":["n1","n2"]}`);
      assert.deepEqual(named.nodeNames, ["n1", "n2"]);
      assert.equal(named.nodes, undefined);
    });
  }

  test("takes the last of names that stand twice, in whatever case, as Go does", () => {
    const args = parse(
      `{"pod":null,"NodeNames":["a"],"Pod":{"metadata":{"name":"x"}},"nodenames":["b"],"POD":${aPodText}}`,
    );
    assert.deepEqual(args.nodeNames, ["b"]);
    assert.deepEqual(args.pod, { metadata: { name: "p", namespace: "ns" } });
    const renamed = parse(
      `{"Pod":${aPodText},"Nodes":{"items":[{"metadata":{"name":"a"},"metadata":{"name":"b","name":"c"}}]}}`,
    );
    assert.deepEqual(renamed.nodeNames, ["c"]);
  });

  test("reads names with escapes and letters beyond ASCII", () => {
    const args = parse(
      `{"\\u0050od":${aPodText},"Nodes":{"items":[{"metadata":{"name":"a\\u002db"}},{"metadata":{"name":"gr\\u00fcn-ü"}}]}}`,
    );
    assert.deepEqual(args.nodeNames, ["a-b", "grün-ü"]);
  });

  test("takes names when the list of objects beside them is empty", () => {
    const args = parse(`{"Pod":${aPodText},"Nodes":{"items":null},"NodeNames":["n1"]}`);
    assert.equal(args.nodes, undefined);
    assert.deepEqual(args.nodeNames, ["n1"]);
  });

  test("takes a list without nodes for no nodes", () => {
    for (const nodesText of [`{}`, `{"items":null}`, `{"items":[]}`, `{"items":[null]}`]) {
      const args = parse(`{"Pod":${aPodText},"Nodes":${nodesText}}`);
      assert.deepEqual(args.nodeNames, []);
      assert.deepEqual(args.nodes?.pieces([]), []);
    }
  });

  for (const [body, message] of [
    ["", /byte 0: expected an object with Pod and Nodes, the body ends/],
    ["{", /byte 1: expected a name in quotes, the body ends/],
    ["[]", /byte 0: expected an object/],
    ["{}", /Pod is missing/],
    [`{"Pod":null,"NodeNames":[]}`, /Pod is missing/],
    [`{"Pod":[],"NodeNames":[]}`, /expected Pod to be an object, found "\["/],
    [`{"Pod":${aPodText}}`, /neither Nodes nor NodeNames/],
    [`{"Pod":${aPodText},"Nodes":[]}`, /expected Nodes to be an object with items/],
    [`{"Pod":${aPodText},"Nodes":{"items":{}}}`, /expected Nodes.items to be a list/],
    [`{"Pod":${aPodText},"Nodes":{"items":[null,1]}}`, /expected Nodes.items\[1\] to be an object/],
    [`{"Pod":${aPodText},"Nodes":{"items":[{}]}}`, /Nodes.items\[0\] has no metadata.name/],
    [
      `{"Pod":${aPodText},"Nodes":{"items":[{"metadata":{"name":""}}]}}`,
      /Nodes.items\[0\] has no metadata.name/,
    ],
    [
      `{"Pod":${aPodText},"Nodes":{"items":[{"metadata":{"name":"a"},"metadata":7}]}}`,
      /Nodes.items\[0\] has no metadata.name/,
    ],
    [`{"Pod":${aPodText},"NodeNames":{}}`, /NodeNames is not a list/],
    [`{"Pod":${aPodText},"NodeNames":["a",2]}`, /NodeNames\[1\] is not a string/],
    [`{"Pod":${aPodText},"NodeNames":[]} x`, /expected nothing after the object, found "x"/],
    [`\ufeff{}`, /byte 0: .* found byte 0xef/],
    [`{"Pod":${aPodText},"a":"\u0007"}`, /no control character in a string, found byte 0x07/],
    [`{"Pod":${aPodText},"a":tru}`, /expected true/],
  ] as const) {
    test(`refuses ${body.slice(-50) || "an empty body"}`, () => {
      assert.throws(() => parse(body), message);
    });
  }

  test("refuses nesting beyond its limit instead of exhausting the stack", () => {
    const deep = "[".repeat(200_000);
    assert.throws(
      () => parse(`{"Pod":${aPodText},"NodeNames":[],"more":${deep}`),
      /nested deeper than 10000/,
    );
  });

  test("refuses a Pod that no API server stores", () => {
    const huge = `{"metadata":{"name":"${"x".repeat(9 * 1024 * 1024)}"}}`;
    assert.throws(() => parse(`{"Pod":${huge},"NodeNames":[]}`), /Pod has \d+ bytes/);
  });
});
