// Tables: widths, cutting, empty columns, and text that a terminal would obey.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Column } from "./table.ts";
import { Table } from "./table.ts";

type Row = { readonly ip: string; readonly pod?: string; readonly count?: number };
const columns: readonly Column<Row>[] = [
  { title: "IP", text: ({ ip }) => ip, isWhole: true },
  { title: "POD", text: ({ pod }) => pod },
  { title: "COUNT", text: ({ count }) => count, align: "right" },
];
const plain = { columns: undefined, hasColor: false };

describe("a table", () => {
  test("is as wide as its content, numbers stand right, and nothing is a dash", () => {
    const rows = [{ ip: "10.0.0.2", pod: "web-0", count: 7 }, { ip: "10.0.0.10" }];
    assert.equal(
      new Table(columns, plain).lines(rows),
      "IP         POD    COUNT\n10.0.0.2   web-0      7\n10.0.0.10  -          -\n",
    );
  });

  test("written in parts keeps its titles and widths", () => {
    const table = new Table(columns, plain);
    table.lines([{ ip: "10.0.0.2", pod: "web-0", count: 7 }]);
    assert.equal(table.lines([{ ip: "10.0.0.3", pod: "db-0" }]), "10.0.0.3  db-0       -\n");
  });

  test("cuts the widest column until it fits, and never an address", () => {
    const rows = [{ ip: "10.100.100.100", pod: "a-very-long-name-of-a-pod", count: 7 }];
    assert.equal(
      new Table(columns, { columns: 36, hasColor: false }).lines(rows),
      "IP              POD            COUNT\n10.100.100.100  a-very-long-…      7\n",
    );
    assert.match(
      new Table(columns, { columns: 20, hasColor: false }).lines(rows),
      /^10\.100\.100\.100 {2}a-ver… /m,
    );
  });

  test("leaves a column that says nothing out before it cuts another", () => {
    const rows = [{ ip: "10.0.0.2", pod: "a-long-name-of-a-pod" }];
    assert.equal(
      new Table(columns, { columns: 30, hasColor: false }).lines(rows),
      "IP        POD\n10.0.0.2  a-long-name-of-a-pod\n",
    );
  });

  test("shows characters that a terminal obeys as their numbers", () => {
    const hostile = [{ ip: "10.0.0.2", pod: "\u001b[2Jgone\r\nnext\u202e" }];
    const text = new Table(columns, plain).lines(hostile);
    assert.match(text, /\\u001b\[2Jgone next\\u202e/);
  });

  test("fits any terminal that has room for its whole columns", () => {
    const word = fc.string({ unit: "grapheme-ascii", maxLength: 40 });
    const rows = fc.array(fc.record({ ip: fc.ipV4(), pod: word, count: fc.nat(99) }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(rows, fc.integer({ min: 35, max: 120 }), (some, width) => {
        const lines = new Table(columns, { columns: width, hasColor: false }).lines(some);
        for (const line of lines.split("\n")) assert.ok(line.length <= width, line);
      }),
    );
  });
});
