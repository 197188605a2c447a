// Protocol Buffers on the wire (https://protobuf.dev/programming-guides/encoding/), as much as the two calls to a container runtime need:
// fields in and out by number. Not a schema language; who reads a message knows its numbers.

/** Values of a message by field number, in the order of the wire. A number is a varint, bytes are a text, a message or packed values. */
export type Fields = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>;

/**
 * Reads a message. Fixed-width fields are passed over: none of ours is one.
 * @throws RangeError when the bytes end too early or are no message
 */
export function readFields(bytes: Uint8Array): Fields {
  const fields = new Map<number, (bigint | Uint8Array)[]>();
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) {
      throw new RangeError(`a field of ${length} bytes at byte ${at} of ${bytes.length}`);
    }
    at += length;
    return bytes.subarray(at - length, at);
  };
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const [byte = 0] = take(1);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new RangeError(`a number that does not end at byte ${at}`);
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Number(key >> 3n);
    let value: bigint | Uint8Array | undefined;
    switch (Number(key & 7n)) {
      case 0:
        value = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        value = take(Number(varint()));
        break;
      case 5:
        take(4);
        break;
      default:
        throw new RangeError(`wire type ${key & 7n} of field ${field} at byte ${at}`);
    }
    if (field === 0) throw new RangeError(`field number 0 at byte ${at}`);
    if (value === undefined) continue;
    const values = fields.get(field);
    if (values === undefined) fields.set(field, [value]);
    else values.push(value);
  }
  return fields;
}

/** The last text of a field, as Protocol Buffers have it; "" when there is none. */
export function textOf(fields: Fields, field: number): string {
  const value = fields.get(field)?.at(-1);
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : "";
}

/** All messages of a repeated field. */
export function messagesOf(fields: Fields, field: number): readonly Uint8Array[] {
  return (fields.get(field) ?? []).filter((value) => value instanceof Uint8Array);
}

/** A message from its fields in order; `undefined`, "" and 0 are left out, as proto3 has it. A nested message is its own bytes. */
export function formatMessage(
  fields: readonly (readonly [field: number, value: string | number | Uint8Array | undefined])[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [field, value] of fields) {
    if (value === undefined || value === "" || value === 0) continue;
    if (typeof value === "number") {
      parts.push(formatVarint(BigInt(field) << 3n), formatVarint(BigInt(value)));
      continue;
    }
    const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
    parts.push(formatVarint((BigInt(field) << 3n) | 2n), formatVarint(BigInt(bytes.length)), bytes);
  }
  return Buffer.concat(parts);
}

function formatVarint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
