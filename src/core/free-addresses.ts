// The free addresses of one pod subnet, as ranges of never-used ones and a list of released ones, in the order in which they are
// handed out. A /8 or an IPv6 /64 costs as much as what was taken out of it.

import type { Ip, IpNumber } from "./ip.ts";
import { compareIpNumbers, ipFromNumber, ipToNumber, predecessor, successor } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import {
  findRange,
  intersectRanges,
  rangeContains,
  subtractRanges,
  totalSize,
} from "./ip-range.ts";

/** Where a free address stood in the order, so that a hold can put it back. */
export type FreeOrigin =
  | { readonly kind: "fresh" }
  | { readonly kind: "released"; readonly atMs: number };

/**
 * Free addresses in the order of use: never used before, lowest first; then the least recently released. "Used" is what this
 * process has seen since it started: a released address leaves no record behind.
 */
export class FreeAddresses {
  readonly #ranges: readonly IpRange[];
  /** Never used: sorted, without overlaps. */
  #fresh: IpRange[];
  /** Released: in the order of their release, with the time. */
  readonly #released = new Map<Ip, number>();
  #newestReleaseMs = Number.NEGATIVE_INFINITY;
  /** Counted along, because the fresh ranges of a well used subnet are many. */
  #freshCount: number;

  /**
   * @param ranges the addresses of the pod subnet: sorted, without overlaps
   * @param taken single addresses that are not free, in any order; those outside the ranges are ignored
   * @param released addresses released earlier with their time, in the order of release
   */
  constructor(
    ranges: readonly IpRange[],
    taken: Iterable<IpNumber> = [],
    released: Iterable<readonly [Ip, number]> = [],
  ) {
    this.#ranges = ranges;
    const holes = [...taken];
    for (const [ip, atMs] of released) {
      const value = ipToNumber(ip);
      if (findRange(ranges, value) < 0) continue;
      this.#released.set(ip, atMs);
      this.#newestReleaseMs = Math.max(this.#newestReleaseMs, atMs);
      holes.push(value);
    }
    holes.sort(compareIpNumbers);
    this.#fresh = subtractRanges(
      ranges,
      holes.map((value) => ({ first: value, last: value })),
    );
    this.#freshCount = totalSize(this.#fresh);
  }

  /** Released addresses with the time, oldest first. */
  released(): Iterable<readonly [Ip, number]> {
    return this.#released;
  }

  /** When a free address was released; undefined when it was never used or is not free. */
  releasedAtMs(ip: Ip): number | undefined {
    return this.#released.get(ip);
  }

  /** How many addresses are free; above 2^53 the nearest number. */
  countFree(): number {
    return this.#freshCount + this.#released.size;
  }

  /** Whether the address is free. */
  has(ip: Ip): boolean {
    return this.#released.has(ip) || findRange(this.#fresh, ipToNumber(ip)) >= 0;
  }

  /**
   * Takes an address out.
   * @returns where it stood; undefined when it was not free
   */
  remove(ip: Ip): FreeOrigin | undefined {
    const atMs = this.#released.get(ip);
    if (atMs !== undefined) {
      this.#released.delete(ip);
      return { kind: "released", atMs };
    }
    const value = ipToNumber(ip);
    const index = findRange(this.#fresh, value);
    if (index < 0) return undefined;
    const range = this.#fresh[index] as IpRange;
    const rest: IpRange[] = [];
    if (range.first < value) rest.push({ first: range.first, last: predecessor(value) });
    if (value < range.last) rest.push({ first: successor(value), last: range.last });
    this.#fresh.splice(index, 1, ...rest);
    this.#freshCount -= 1;
    return { kind: "fresh" };
  }

  /** Puts an address in; ignored when it is outside the pod subnet or free already. */
  add(ip: Ip, origin: FreeOrigin): void {
    const value = ipToNumber(ip);
    if (findRange(this.#ranges, value) < 0 || this.has(ip)) return;
    if (origin.kind === "released") this.#addReleased(ip, origin.atMs);
    else this.#addFresh(value);
  }

  /** Keeps the order by time: an address that comes back from a hold may be older than the newest. */
  #addReleased(ip: Ip, atMs: number): void {
    const isNewest = atMs >= this.#newestReleaseMs;
    const later = isNewest ? [] : [...this.#released].filter(([, time]) => time > atMs);
    this.#released.set(ip, atMs);
    for (const [laterIp, time] of later) {
      this.#released.delete(laterIp);
      this.#released.set(laterIp, time);
    }
    if (isNewest) this.#newestReleaseMs = atMs;
  }

  #addFresh(value: IpNumber): void {
    let index = 0;
    let high = this.#fresh.length;
    while (index < high) {
      const middle = (index + high) >>> 1;
      if (compareIpNumbers((this.#fresh[middle] as IpRange).first, value) < 0) index = middle + 1;
      else high = middle;
    }
    const before = this.#fresh[index - 1];
    const after = this.#fresh[index];
    const joinsBefore =
      before !== undefined &&
      typeof before.last === typeof value &&
      successor(before.last) === value;
    const joinsAfter =
      after !== undefined &&
      typeof after.first === typeof value &&
      successor(value) === after.first;
    this.#freshCount += 1;
    const first = joinsBefore ? before.first : value;
    const last = joinsAfter ? after.last : value;
    this.#fresh.splice(
      joinsBefore ? index - 1 : index,
      (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0),
      { first, last },
    );
  }

  /**
   * The first addresses in the order of use.
   * @param within only addresses in these ranges; undefined: all
   */
  *inOrder(within: readonly IpRange[] | undefined): Generator<FreeCandidate> {
    for (const range of this.#fresh) {
      for (const part of within === undefined ? [range] : overlaps(range, within)) {
        for (let value = part.first; value <= part.last; value = successor(value)) {
          yield { ip: ipFromNumber(value), releasedAtMs: undefined, value };
        }
      }
    }
    for (const [ip, releasedAtMs] of this.#released) {
      const value = ipToNumber(ip);
      if (within === undefined || within.some((range) => rangeContains(range, value))) {
        yield { ip, releasedAtMs, value };
      }
    }
  }
}

/** A free address with what its place in the order follows from. */
export type FreeCandidate = {
  readonly ip: Ip;
  /** undefined: never used. */
  readonly releasedAtMs: number | undefined;
  readonly value: IpNumber;
};

/** Order of use across pod subnets: never used before released, then by address or by time. */
export function compareFreeCandidates(a: FreeCandidate, b: FreeCandidate): number {
  if (a.releasedAtMs === undefined || b.releasedAtMs === undefined) {
    if (a.releasedAtMs !== b.releasedAtMs) return a.releasedAtMs === undefined ? -1 : 1;
    return compareIpNumbers(a.value, b.value);
  }
  return a.releasedAtMs - b.releasedAtMs || compareIpNumbers(a.value, b.value);
}

/** Parts of a range that lie in the others, in order of address. */
function overlaps(range: IpRange, within: readonly IpRange[]): IpRange[] {
  const parts: IpRange[] = [];
  for (const other of within) {
    const part = intersectRanges(range, other);
    if (part !== undefined) parts.push(part);
  }
  return parts.sort((a, b) => compareIpNumbers(a.first, b.first));
}
