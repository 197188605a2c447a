// Strict IPv4 and IPv6 addresses: canonical text as identity, numbers for arithmetic.
// Ranges and CIDRs live in ip-range.ts.

/** The two address families, spelled as Kubernetes spells them. */
export type IpFamily = "IPv4" | "IPv6";

declare const ipBrand: unique symbol;

/**
 * An address in canonical text: dotted quad without leading zeros, or RFC 5952 for IPv6. Two equal addresses
 * are always the same string, so that it serves as a map key and prints as an operator writes it.
 */
export type Ip = string & { readonly [ipBrand]: "Ip" };

/** An address as a number: IPv4 is a `number` (0 to 2^32-1), IPv6 a `bigint`. The type tells the family. */
export type IpNumber = number | bigint;

const dot = 0x2e;
const digitZero = 0x30;
const groupPattern = /^[0-9a-fA-F]{1,4}$/;

/**
 * Reads an address. Leading zeros in IPv4 are refused (010.0.0.1 means 8.0.0.1 to some programs), and so are zone
 * identifiers, blanks and prefixes. IPv4-mapped IPv6 stays IPv6.
 * @returns the canonical address, or undefined when the text is not exactly one address
 */
export function parseIp(text: string): Ip | undefined {
  const number = parseIpNumber(text);
  return number === undefined ? undefined : ipFromNumber(number);
}

/** Reads an address as a number; undefined when the text is not exactly one address. */
export function parseIpNumber(text: string): IpNumber | undefined {
  return text.includes(":") ? parseIpv6Number(text) : parseIpv4Number(text);
}

/** By characters and not by a pattern: a look at all records reads every address again, which takes a third of the time so. */
function parseIpv4Number(text: string): number | undefined {
  let value = 0;
  let dotCount = 0;
  let octet: number | undefined;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === dot) {
      if (octet === undefined || dotCount === 3) return undefined;
      value = value * 256 + octet;
      octet = undefined;
      dotCount += 1;
    } else if (code >= digitZero && code <= digitZero + 9 && octet !== 0) {
      octet = (octet ?? 0) * 10 + (code - digitZero);
      if (octet > 255) return undefined;
    } else {
      return undefined;
    }
  }
  return octet === undefined || dotCount < 3 ? undefined : value * 256 + octet;
}

function parseIpv6Number(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // RFC 4291 section 2.2: "::" stands for one or more groups of zeros.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of head) value = (value << 16n) | BigInt(group);
  value <<= BigInt(16 * missing);
  for (const group of tail) value = (value << 16n) | BigInt(group);
  return value;
}

/** Groups of one side of "::"; the last side may end in a dotted quad (RFC 4291 section 2.2, form 3). */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes(".")) {
      const quad = parseIpv4Number(part);
      if (quad === undefined) return undefined;
      groups.push(Math.floor(quad / 65536), quad % 65536);
    } else if (groupPattern.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

/** The canonical text of a number: a `number` is IPv4, a `bigint` IPv6. */
export function ipFromNumber(value: IpNumber): Ip {
  return (typeof value === "number" ? formatIpv4(value) : formatIpv6(value)) as Ip;
}

function formatIpv4(value: number): string {
  return `${Math.floor(value / 16777216)}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups is shortened. */
function formatIpv6(value: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start += 1) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length += 1;
    if (length > bestLength) {
      bestStart = start;
      bestLength = length;
    }
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (bestStart < 0) return hex(groups);
  return `${hex(groups.slice(0, bestStart))}::${hex(groups.slice(bestStart + bestLength))}`;
}

/** The number of a canonical address. */
export function ipToNumber(ip: Ip): IpNumber {
  const value = parseIpNumber(ip);
  if (value === undefined) throw new TypeError(`"${ip}" is not a canonical address`);
  return value;
}

/** The family of a canonical address. */
export function familyOf(ip: Ip): IpFamily {
  return ip.includes(":") ? "IPv6" : "IPv4";
}

/** The family that a number belongs to. */
export function familyOfNumber(value: IpNumber): IpFamily {
  return typeof value === "number" ? "IPv4" : "IPv6";
}

/** The address after this one; the caller knows that there is one. */
export function successor(value: IpNumber): IpNumber {
  return typeof value === "number" ? value + 1 : value + 1n;
}

/** The address before this one; the caller knows that there is one. */
export function predecessor(value: IpNumber): IpNumber {
  return typeof value === "number" ? value - 1 : value - 1n;
}

/** Order of numbers: every IPv4 address comes before every IPv6 address, within a family numerically. */
export function compareIpNumbers(a: IpNumber, b: IpNumber): number {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Numeric order of canonical addresses, IPv4 before IPv6. */
export function compareIps(a: Ip, b: Ip): number {
  return a === b ? 0 : compareIpNumbers(ipToNumber(a), ipToNumber(b));
}
