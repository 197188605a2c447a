// Protocol Buffers on the wire: examples of the specification, what we write is read back, and no bytes do harm.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatMessage, messagesOf, readFields, textOf } from "./protobuf.ts";

test("the examples of the specification are written and read", () => {
  // https://protobuf.dev/programming-guides/encoding/: a number, a text, a message in a message.
  assert.deepEqual([...formatMessage([[1, 150]])], [0x08, 0x96, 0x01]);
  assert.deepEqual(
    [...formatMessage([[2, "testing"]])],
    [0x12, 0x07, ...Buffer.from("testing", "utf8")],
  );
  const nested = formatMessage([[3, formatMessage([[1, 150]])]]);
  assert.deepEqual([...nested], [0x1a, 0x03, 0x08, 0x96, 0x01]);
  assert.deepEqual(readFields(nested).get(3)?.length, 1);
  assert.deepEqual(readFields(Uint8Array.of(0x08, 0x96, 0x01)).get(1), [150n]);
});

test("fields of fixed width and unknown numbers are passed over, and the last of several texts counts", () => {
  const fixed = Uint8Array.of(0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4);
  const bytes = Buffer.concat([
    fixed,
    formatMessage([
      [4, "first"],
      [4, "last"],
      [1000, 7],
    ]),
  ]);
  const fields = readFields(bytes);
  assert.equal(textOf(fields, 4), "last");
  assert.equal(textOf(fields, 5), "");
  assert.deepEqual(fields.get(1000), [7n]);
});

test("what is written is read back, and a message that was cut is told from a whole one", () => {
  const value = fc.oneof(fc.string({ minLength: 1 }), fc.integer({ min: 1 }));
  const written = fc.array(fc.tuple(fc.integer({ min: 1, max: 536_870_911 }), value), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(written, (fields) => {
      const bytes = formatMessage(fields);
      const read = readFields(bytes);
      const expected = new Map<number, unknown[]>();
      for (const [field, one] of fields) {
        expected.set(field, [...(expected.get(field) ?? []), one]);
      }
      for (const [field, values] of expected) {
        const seen = (read.get(field) ?? []).map((one, index) =>
          typeof values[index] === "string"
            ? Buffer.from(one as Uint8Array).toString("utf8")
            : Number(one),
        );
        assert.deepEqual(seen, values);
      }
      if (bytes.length > 0) {
        // The last byte belongs to a field: without it that field ends too early.
        assert.throws(() => readFields(bytes.subarray(0, -1)), RangeError);
      }
    }),
  );
});

test("any bytes are read or refused with a RangeError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        const fields = readFields(bytes);
        for (const field of fields.keys()) messagesOf(fields, field);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),
  );
});
