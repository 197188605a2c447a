// Inclusive address ranges and CIDR blocks, kept as numbers so that a /8 costs as little as a /24.
// What a range is used for (pod subnet, request of a pod) is said elsewhere.

import type { Ip, IpFamily, IpNumber } from "./ip.ts";
import {
  compareIpNumbers,
  familyOfNumber,
  ipFromNumber,
  parseIpNumber,
  predecessor,
  successor,
} from "./ip.ts";

/** All addresses from `first` to `last`, both included; both of one family, first not after last. */
export type IpRange = { readonly first: IpNumber; readonly last: IpNumber };

/** A CIDR block; `range` spans it with host bits cleared, `prefix` is its length in bits. */
export type Cidr = { readonly range: IpRange; readonly prefix: number };

/** The outcome of reading a range: the range, or the reason why the text is none. */
export type RangeParse =
  | { readonly kind: "range"; readonly range: IpRange }
  | { readonly kind: "problem"; readonly problem: string };

/**
 * Reads `A` or `A~B` (both included), as the `ips` of the configuration and `request_ip_range` spell it. Blanks, CIDR notation
 * and mixed families are refused with the reason.
 */
export function parseIpRange(text: string): RangeParse {
  const parts = text.split("~");
  if (parts.length > 2) return problem(`"${text}" has more than one "~"`);
  const first = parseIpNumber(parts[0] ?? "");
  const last = parts.length === 2 ? parseIpNumber(parts[1] ?? "") : first;
  if (first === undefined || last === undefined) {
    return problem(`"${text}" is neither one address nor a range written "first~last"`);
  }
  if (familyOfNumber(first) !== familyOfNumber(last)) {
    return problem(`"${text}" mixes IPv4 and IPv6`);
  }
  if (first > last) return problem(`"${text}" starts after its end`);
  return { kind: "range", range: { first, last } };
}

function problem(text: string): RangeParse {
  return { kind: "problem", problem: text };
}

/** `A` for one address, `A~B` otherwise. */
export function formatIpRange(range: IpRange): string {
  const first = ipFromNumber(range.first);
  return range.first === range.last ? first : `${first}~${ipFromNumber(range.last)}`;
}

/** Reads `ADDRESS/PREFIX`; host bits are cleared, as the Go system does. Undefined when the text is none. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseIpNumber(text.slice(0, slash));
  const prefixText = text.slice(slash + 1);
  if (address === undefined || !/^(0|[1-9][0-9]{0,2})$/.test(prefixText)) return undefined;
  const prefix = Number(prefixText);
  if (typeof address === "number") {
    if (prefix > 32) return undefined;
    const sizeCount = 2 ** (32 - prefix);
    const first = Math.floor(address / sizeCount) * sizeCount;
    return { range: { first, last: first + sizeCount - 1 }, prefix };
  }
  if (prefix > 128) return undefined;
  const hostBits = BigInt(128 - prefix);
  const first = (address >> hostBits) << hostBits;
  return { range: { first, last: first + (1n << hostBits) - 1n }, prefix };
}

/** `ADDRESS/PREFIX` of the block. */
export function formatCidr(cidr: Cidr): string {
  return `${ipFromNumber(cidr.range.first)}/${cidr.prefix}`;
}

/** The block that holds an address alone, for example a node that is its own subnet. */
export function singleAddressCidr(value: IpNumber): Cidr {
  return { range: { first: value, last: value }, prefix: typeof value === "number" ? 32 : 128 };
}

/** The family of a range. */
export function rangeFamily(range: IpRange): IpFamily {
  return familyOfNumber(range.first);
}

/** Whether the address lies in the range; an address of the other family never does. */
export function rangeContains(range: IpRange, value: IpNumber): boolean {
  return typeof value === typeof range.first && range.first <= value && value <= range.last;
}

/** Whether `inner` lies in `outer` entirely. */
export function rangeCovers(outer: IpRange, inner: IpRange): boolean {
  return rangeContains(outer, inner.first) && rangeContains(outer, inner.last);
}

/** The addresses in both ranges, or undefined when there are none. */
export function intersectRanges(a: IpRange, b: IpRange): IpRange | undefined {
  if (typeof a.first !== typeof b.first) return undefined;
  const first = a.first > b.first ? a.first : b.first;
  const last = a.last < b.last ? a.last : b.last;
  return first <= last ? { first, last } : undefined;
}

/** How many addresses the range has; above 2^53 the nearest number that can be said. */
export function rangeSize(range: IpRange): number {
  return typeof range.first === "number"
    ? Number(range.last) - range.first + 1
    : Number(BigInt(range.last) - range.first + 1n);
}

/** The sum of the sizes of ranges that do not overlap. */
export function totalSize(ranges: readonly IpRange[]): number {
  let total = 0;
  for (const range of ranges) total += rangeSize(range);
  return total;
}

/** Order by first address, IPv4 before IPv6. */
export function compareRanges(a: IpRange, b: IpRange): number {
  return compareIpNumbers(a.first, b.first) || compareIpNumbers(a.last, b.last);
}

/** The same addresses as sorted ranges that neither overlap nor touch. */
export function mergeRanges(ranges: readonly IpRange[]): IpRange[] {
  const merged: IpRange[] = [];
  for (const range of ranges.toSorted(compareRanges)) {
    const previous = merged.at(-1);
    const touches =
      previous !== undefined &&
      typeof previous.last === typeof range.first &&
      range.first <= successor(previous.last);
    if (!touches) merged.push(range);
    else if (range.last > previous.last) {
      merged[merged.length - 1] = { first: previous.first, last: range.last };
    }
  }
  return merged;
}

/** The addresses of `from` that are in none of `taken`, sorted. Both are sorted and free of overlaps. */
export function subtractRanges(from: readonly IpRange[], taken: readonly IpRange[]): IpRange[] {
  const left: IpRange[] = [];
  let start = 0;
  for (const range of from) {
    let first: IpNumber = range.first;
    while (start < taken.length && isBefore(taken[start] as IpRange, range)) start += 1;
    let finished = false;
    for (let index = start; index < taken.length; index += 1) {
      const hole = taken[index] as IpRange;
      if (typeof hole.first !== typeof range.first || hole.first > range.last) break;
      if (hole.first > first) left.push({ first, last: predecessor(hole.first) });
      if (hole.last >= range.last) {
        finished = true;
        break;
      }
      first = successor(hole.last);
    }
    if (!finished) left.push({ first, last: range.last });
  }
  return left;
}

function isBefore(a: IpRange, b: IpRange): boolean {
  return compareIpNumbers(a.last, b.first) < 0;
}

/**
 * The position of the range that holds the address, by binary search.
 * @param ranges sorted, without overlaps
 * @returns -1 when none holds it
 */
export function findRange(ranges: readonly IpRange[], value: IpNumber): number {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle] as IpRange;
    if (compareIpNumbers(value, range.first) < 0) high = middle - 1;
    else if (compareIpNumbers(value, range.last) > 0) low = middle + 1;
    else return middle;
  }
  return -1;
}

/** The addresses of a range in order; callers bound how many they take. */
export function* addressesOf(range: IpRange): Generator<Ip> {
  for (let value = range.first; value <= range.last; value = successor(value)) {
    yield ipFromNumber(value);
  }
}
