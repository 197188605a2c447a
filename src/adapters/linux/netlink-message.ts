// Messages of netlink(7) and rtnetlink(7) as bytes: headers and attributes, in this machine's byte order (little on x86-64 and arm64). Knows no
// socket.

import { endianness } from "node:os";

const isLittle = endianness() === "LE";

/** Types, flags and attributes of linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, neighbour.h and fib_rules.h. */
export const rt = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  delNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
} as const;

/** Flags of a request. */
export const flag = {
  request: 1,
  ack: 4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
} as const;

const headerBytes = 16;
const endOfDump = 3;
const errorMessage = 2;
const nestedBit = 0x8000;
/** Flags of an answer that stand in the header of an error. */
const cappedFlag = 0x100;
const attributesFlag = 0x200;

/** Numbers of this machine's byte order. */
export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  if (isLittle) bytes.writeUInt16LE(value);
  else bytes.writeUInt16BE(value);
  return bytes;
}

/** As {@link u16}, with four bytes; negative numbers too. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  if (isLittle) bytes.writeUInt32LE(value >>> 0);
  else bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** Reads what {@link u16} writes. */
export function readU16(bytes: Buffer, offset = 0): number {
  return isLittle ? bytes.readUInt16LE(offset) : bytes.readUInt16BE(offset);
}

/** Reads what {@link u32} writes. */
export function readU32(bytes: Buffer, offset = 0): number {
  return isLittle ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
}

/** A text with the zero byte that the kernel wants. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, "utf8");
}

/** Reads what {@link text} writes. */
export function readText(bytes: Buffer | undefined): string {
  if (bytes === undefined) return "";
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}

/** An attribute, filled up to four bytes. */
export function attribute(type: number, ...value: readonly Buffer[]): Buffer {
  const size = value.reduce((sum, part) => sum + part.length, 4);
  const fill = Buffer.alloc((4 - (size % 4)) % 4);
  return Buffer.concat([u16(size), u16(type), ...value, fill]);
}

/** A whole message. @param fixed the struct that comes before the attributes */
export function message(
  type: number,
  flags: number,
  fixed: Buffer,
  attributes: readonly Buffer[] = [],
): Buffer {
  const body = Buffer.concat([fixed, ...attributes]);
  const header = [u32(headerBytes + body.length), u16(type), u16(flags | flag.request)];
  return Buffer.concat([...header, u32(0), u32(0), body]);
}

/** Puts a number into a message by which its answers are known. */
export function numbered(bytes: Buffer, sequence: number): Buffer {
  u32(sequence).copy(bytes, 8);
  return bytes;
}

/** One message of an answer. */
export type Answer =
  | { readonly kind: "object"; readonly sequence: number; readonly body: Buffer }
  | { readonly kind: "end"; readonly sequence: number }
  | {
      readonly kind: "error";
      readonly sequence: number;
      /** Positive errno. */
      readonly errno: number;
      /** What the kernel says beyond the number, or "". */
      readonly reason: string;
    };

/** The messages in what one read of the socket gave. An acknowledgement is an `end`. */
export function parseAnswers(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let offset = 0; offset + headerBytes <= bytes.length; ) {
    const size = readU32(bytes, offset);
    if (size < headerBytes || offset + size > bytes.length) break;
    const [type, flags] = [readU16(bytes, offset + 4), readU16(bytes, offset + 6)];
    const sequence = readU32(bytes, offset + 8);
    const body = bytes.subarray(offset + headerBytes, offset + size);
    if (type === errorMessage || type === endOfDump) {
      const errno = body.length < 4 ? 0 : -(readU32(body) | 0);
      if (errno === 0) answers.push({ kind: "end", sequence });
      else answers.push({ kind: "error", sequence, errno, reason: reasonIn(type, flags, body) });
    } else {
      // A copy: the buffer of the socket is used again.
      answers.push({ kind: "object", sequence, body: Buffer.from(body) });
    }
    offset += (size + 3) & ~3;
  }
  return answers;
}

/** NLMSGERR_ATTR_MSG behind the error and the request that it is about. */
function reasonIn(type: number, flags: number, body: Buffer): string {
  if (type !== errorMessage || (flags & attributesFlag) === 0) return "";
  const request = (flags & cappedFlag) === 0 ? readU32(body, 4) : headerBytes;
  return readText(attributes(body, 4 + ((request + 3) & ~3)).get(1));
}

/** The attributes behind the fixed part, by type; of several of one type the last. */
export function attributes(bytes: Buffer, fixedBytes = 0): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let offset = fixedBytes; offset + 4 <= bytes.length; ) {
    const size = readU16(bytes, offset);
    if (size < 4 || offset + size > bytes.length) break;
    const type = readU16(bytes, offset + 2) & ~nestedBit & 0x7fff;
    found.set(type, bytes.subarray(offset + 4, offset + size));
    offset += (size + 3) & ~3;
  }
  return found;
}
