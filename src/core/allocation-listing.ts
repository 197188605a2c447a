// Pages of addresses, filtered and sorted, out of a million without looking at each. It keeps two orders of the allocations beside the
// table, from the first question on; free addresses are counted and never made into objects. What a page looks like is wire's affair.

import type { Allocation, AllocationState } from "./allocation.ts";
import type { Chunk } from "./allocation-order.ts";
import { AllocationOrder } from "./allocation-order.ts";
import type { Ip, IpNumber } from "./ip.ts";
import { compareIpNumbers, ipFromNumber, ipToNumber, predecessor, successor } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import { findRange, intersectRanges, rangeContains, rangeSize, totalSize } from "./ip-range.ts";
import type { Owner } from "./owner.ts";
import { OwnerGroups, policyCount } from "./owner-groups.ts";

/** States that a list can be narrowed to; an address held for a pod counts as free. */
export type ListedState = "free" | "bound" | "reserved" | "admin" | "draining";

/** What is listed. Every filter narrows; without any, all configured addresses and all records are. */
export type ListQuery = {
  readonly namespace?: string | undefined;
  readonly appName?: string | undefined;
  /** Lower-case kind. */
  readonly appType?: string | undefined;
  readonly podName?: string | undefined;
  readonly poolName?: string | undefined;
  readonly state?: ListedState | undefined;
  readonly range?: IpRange | undefined;
  /** Part of the owner key; `prefixOf` gives the key of an owner without the name of its pod. */
  readonly keyword?:
    | { readonly text: string; readonly prefixOf: (owner: Owner) => string }
    | undefined;
  readonly sortBy: "ip" | "namespace" | "podname" | "policy";
  readonly isDescending: boolean;
  /** How many are left out before the first, and how many are wanted at most. */
  readonly offset: number;
  readonly limit: number;
};

/** A line of a page; without an allocation the address is free. */
export type ListedAddress = { readonly ip: Ip; readonly allocation: Allocation | undefined };

/** Records of a block by their state. */
export type BlockCounts = Readonly<Record<AllocationState, number>>;

/** A page; `totalCount` beyond 2^53 is the nearest number. */
export type ListedPage = {
  readonly totalCount: number;
  readonly addresses: readonly ListedAddress[];
};

const stateNames = {
  bound: "Bound",
  reserved: "Reserved",
  admin: "Admin",
  draining: "Draining",
} as const;

/** Whether entries of a group match: none, all, or those whose pod's name does. */
const noneMatch = 0;
const allMatch = 1;
const someMatch = 2;

/** Entries that the last step of a query walks through: arrays side by side, in the order of addresses or of pod names. */
type Segment = { readonly allocations: readonly Allocation[]; readonly marks: readonly number[] };

/** What a query walks through, and how many of it match as far as that is known without a walk. */
type Source = {
  readonly segments: readonly Segment[];
  readonly matches: MarkTest;
  /** How many addresses of a group are in the segments; undefined when the segments are only a part. */
  readonly countOf: ((group: number) => number) | undefined;
  readonly groupCount: number;
};

/** The orders beside the table. Nothing is kept until {@link AllocationListing.advance} is called first. */
export class AllocationListing {
  readonly #source: ReadonlyMap<Ip, Allocation>;
  readonly #byIp: AllocationOrder;
  readonly #byPodName: AllocationOrder;
  #groups = new OwnerGroups();
  #pending: Iterator<Allocation> | undefined;
  #phase: "idle" | "filling" | "complete" = "idle";

  /** @param source the table's allocations; the keeper of the table reports every change */
  constructor(source: ReadonlyMap<Ip, Allocation>, chunkSize?: number) {
    this.#source = source;
    this.#byIp = new AllocationOrder(false, chunkSize);
    this.#byPodName = new AllocationOrder(true, chunkSize);
  }

  /**
   * Enters up to `count` allocations that are not entered yet.
   * @returns whether all are: only then {@link page} may be asked
   */
  advance(count: number): boolean {
    if (this.#phase === "idle") {
      this.#phase = "filling";
      this.#pending = this.#source.values();
    }
    for (let done = 0; this.#phase === "filling" && done < count; done += 1) {
      const next = this.#pending?.next();
      if (next === undefined || next.done === true) {
        this.#phase = "complete";
        this.#pending = undefined;
      } else this.#enter(next.value);
    }
    return this.#phase === "complete";
  }

  /** An allocation entered the table or was replaced. */
  put(allocation: Allocation): void {
    if (this.#phase !== "idle") this.#enter(allocation);
  }

  /** An allocation left the table. */
  drop(ip: Ip): void {
    if (this.#phase === "idle") return;
    const value = ipToNumber(ip);
    const found = this.#byIp.find("", value);
    if (found === undefined) return;
    const before = found.chunk.allocations[found.at] as Allocation;
    this.#groups.leave(found.chunk.marks[found.at] as number);
    this.#byIp.remove("", value);
    this.#byPodName.remove(podNameOf(before.owner), value);
  }

  /** The table was filled anew: everything is entered again when somebody asks. */
  reset(): void {
    this.#byIp.clear();
    this.#byPodName.clear();
    this.#groups = new OwnerGroups();
    this.#pending = undefined;
    this.#phase = "idle";
  }

  /**
   * How many addresses of each state lie in each of some blocks of equal size, beside one another.
   * @param first the first address of the first block
   */
  countBlocks(first: IpNumber, blockSize: number, blockCount: number): readonly BlockCounts[] {
    const blocks = Array.from({ length: blockCount }, () => ({
      Bound: 0,
      Reserved: 0,
      Admin: 0,
      Draining: 0,
    }));
    const place = this.#byIp.placeOf("", first);
    const { chunks } = this.#byIp;
    for (let index = place.chunk; index < chunks.length; index += 1) {
      const { marks, values } = chunks[index] as Chunk;
      for (let at = index === place.chunk ? place.at : 0; at < values.length; at += 1) {
        const value = values[at] as IpNumber;
        if (typeof value !== typeof first) return blocks;
        const distance =
          typeof value === "number" ? value - Number(first) : Number(value - BigInt(first));
        const block = blocks[Math.floor(distance / blockSize)];
        if (block === undefined) return blocks;
        const group = this.#groups.at(marks[at] as number);
        if (group !== undefined) block[group.state] += 1;
      }
    }
    return blocks;
  }

  #enter(allocation: Allocation): void {
    const value = ipToNumber(allocation.ip);
    const name = podNameOf(allocation.owner);
    const mark = this.#groups.enter(allocation);
    const found = this.#byIp.find("", value);
    if (found === undefined) {
      this.#byIp.insert("", value, allocation, mark);
      this.#byPodName.insert(name, value, allocation, mark);
      return;
    }
    const before = found.chunk.allocations[found.at] as Allocation;
    this.#groups.leave(found.chunk.marks[found.at] as number);
    found.chunk.allocations[found.at] = allocation;
    found.chunk.marks[found.at] = mark;
    const nameBefore = podNameOf(before.owner);
    const named = nameBefore === name ? this.#byPodName.find(name, value) : undefined;
    if (named === undefined) {
      this.#byPodName.remove(nameBefore, value);
      this.#byPodName.insert(name, value, allocation, mark);
    } else {
      named.chunk.allocations[named.at] = allocation;
      named.chunk.marks[named.at] = mark;
    }
  }

  /**
   * One page.
   * @param ranges what the configuration lists: sorted, without overlaps
   */
  page(query: ListQuery, ranges: readonly IpRange[]): ListedPage {
    if (this.#phase !== "complete") throw new Error("the listing is asked before it is complete");
    const named =
      query.namespace ?? query.appName ?? query.appType ?? query.podName ?? query.poolName;
    const withFree =
      named === undefined &&
      query.keyword === undefined &&
      (query.state === undefined || query.state === "free");
    if (!withFree) return query.state === "free" ? emptyPage : this.#pageOfRecords(query);
    const within = query.range;
    const listed =
      within === undefined
        ? ranges
        : ranges.flatMap((range) => intersectRanges(range, within) ?? []);
    return this.#pageWithFree(query, listed);
  }

  // ---- records alone ---------------------------------------------------------------------------

  /** @param only records that pass this test alone */
  #pageOfRecords(query: ListQuery, only: MarkTest = everything): ListedPage {
    const matching = this.#matchingGroups(query);
    const sortsByName = query.sortBy === "podname" && query.podName === undefined;
    const isWhole = query.podName === undefined && query.range === undefined;
    let segments = this.#segments(query, sortsByName);
    const hasSome = matching.includes(someMatch);
    if (hasSome) segments = [this.#withKeyword(segments, query, matching)];
    // From here on an entry matches when its group does.
    const passes: MarkTest = (mark) => matching[mark] !== noneMatch;
    const source: Source = {
      segments,
      matches: only === everything ? passes : (mark) => passes(mark) && only(mark),
      countOf: isWhole && !hasSome ? (group) => this.#groups.countOf(group) : undefined,
      groupCount: matching.length,
    };
    const found =
      sortsByName && query.isDescending
        ? pageByNameDescending(source, query)
        : query.sortBy === "namespace"
          ? pageByBucket(source, query, this.#namespaceBuckets(query))
          : query.sortBy === "policy"
            ? pageByBucket(source, query, this.#policyBuckets(query))
            : pageInOrder(source, query);
    return {
      totalCount: found.totalCount,
      addresses: found.allocations.map((allocation) => ({ ip: allocation.ip, allocation })),
    };
  }

  /** For each group whether its entries match. */
  #matchingGroups(query: ListQuery): Uint8Array {
    const groups = this.#groups;
    const matching = new Uint8Array(groups.size);
    const namespaceId =
      query.namespace === undefined ? undefined : groups.namespaceId(query.namespace);
    if (query.namespace !== undefined && namespaceId === undefined) return matching;
    const state =
      query.state === undefined || query.state === "free" ? undefined : stateNames[query.state];
    for (let id = 0; id < matching.length; id += 1) {
      if (namespaceId !== undefined && groups.namespaceOf(id) !== namespaceId) continue;
      const group = groups.at(id);
      if (group === undefined) continue;
      if (query.appName !== undefined && group.appName !== query.appName) continue;
      if (query.appType !== undefined && group.appType !== query.appType) continue;
      if (query.poolName !== undefined && group.poolName !== query.poolName) continue;
      if (state !== undefined && group.state !== state) continue;
      if (query.keyword === undefined) {
        matching[id] = allMatch;
        continue;
      }
      const { text, prefixOf } = query.keyword;
      const prefix = prefixOf(group.owner);
      if (prefix.includes(text)) matching[id] = allMatch;
      else if (group.owner.kind === "pod" && mayMatchPods(prefix, text)) matching[id] = someMatch;
    }
    return matching;
  }

  /** The entries that a query has to walk through: all, those of a range, or those of one pod name. */
  #segments({ podName, range }: ListQuery, sortsByName: boolean): readonly Segment[] {
    if (podName === undefined && range === undefined) {
      return sortsByName ? this.#byPodName.chunks : this.#byIp.chunks;
    }
    const allocations: Allocation[] = [];
    const marks: number[] = [];
    const order = podName === undefined && !sortsByName ? this.#byIp : this.#byPodName;
    const walksAll = podName === undefined && sortsByName;
    const place = walksAll
      ? { chunk: 0, at: 0 }
      : order.placeOf(podName ?? "", podName === undefined ? (range as IpRange).first : 0);
    for (let index = place.chunk; index < order.chunks.length; index += 1) {
      const chunk = order.chunks[index] as Chunk;
      for (let at = index === place.chunk ? place.at : 0; at < chunk.values.length; at += 1) {
        if (podName !== undefined && chunk.names[at] !== podName) return [{ allocations, marks }];
        const isInside = range === undefined || rangeContains(range, chunk.values[at] as IpNumber);
        if (!isInside && order === this.#byIp) return [{ allocations, marks }];
        if (!isInside) continue;
        allocations.push(chunk.allocations[at] as Allocation);
        marks.push(chunk.marks[at] as number);
      }
    }
    return [{ allocations, marks }];
  }

  /** The entries whose group matches a keyword or whose pod's name completes it. */
  #withKeyword(segments: readonly Segment[], query: ListQuery, matching: Uint8Array): Segment {
    const text = query.keyword?.text ?? "";
    const cut = text.lastIndexOf("_") + 1;
    const start = text.slice(cut);
    const allocations: Allocation[] = [];
    const marks: number[] = [];
    for (const segment of segments) {
      for (let at = 0; at < segment.marks.length; at += 1) {
        const mark = segment.marks[at] as number;
        const kind = matching[mark];
        if (kind === noneMatch) continue;
        const allocation = segment.allocations[at] as Allocation;
        if (kind === someMatch) {
          const name = podNameOf(allocation.owner);
          if (cut > 0 ? !name.startsWith(start) : !name.includes(text)) continue;
        }
        allocations.push(allocation);
        marks.push(mark);
      }
    }
    return { allocations, marks };
  }

  #namespaceBuckets({ isDescending }: ListQuery): Buckets {
    const order = this.#groups.namespacesInOrder();
    return {
      count: this.#groups.namespaceCount,
      order: isDescending ? order.toReversed() : order,
      bucketOf: (group) => this.#groups.namespaceOf(group),
    };
  }

  #policyBuckets({ isDescending }: ListQuery): Buckets {
    return {
      count: policyCount,
      order: isDescending ? [2, 1, 0] : [0, 1, 2],
      bucketOf: (group) => this.#groups.policyRankOf(group),
    };
  }

  // ---- with free addresses ---------------------------------------------------------------------

  /**
   * Records and free addresses together. Free ones have no namespace, no pod and policy 0: in every sort but that by address they stand
   * with the records that have none either, by address; the records that have one come before or after them.
   */
  #pageWithFree(query: ListQuery, ranges: readonly IpRange[]): ListedPage {
    const { offset, limit, isDescending, sortBy } = query;
    const isOnlyFree = query.state === "free";
    const left = isOnlyFree ? everything : this.#namedTest(sortBy);
    const counts = this.#countLeft(ranges, query.range, left);
    const unnamedCount = totalSize(ranges) - counts.leftInside + counts.keptOutside;
    const namedCount = isOnlyFree ? 0 : counts.left;
    const walk = { ranges, within: query.range, left, count: unnamedCount };
    const isReversed = sortBy === "ip" && isDescending;
    const addresses: ListedAddress[] = [];
    const addUnnamed = (from: number): void => {
      const wanted = limit - addresses.length;
      if (wanted > 0 && from < unnamedCount) {
        addresses.push(...this.#unnamed({ ...walk, offset: from, limit: wanted, isReversed }));
      }
    };
    const addNamed = (from: number): void => {
      const wanted = limit - addresses.length;
      if (wanted <= 0 || from >= namedCount) return;
      const part = { ...query, offset: from, limit: wanted };
      addresses.push(...this.#pageOfRecords(part, left).addresses);
    };
    if (isDescending && sortBy !== "ip") {
      addNamed(offset);
      addUnnamed(Math.max(0, offset - namedCount));
    } else {
      addUnnamed(offset);
      addNamed(Math.max(0, offset - unnamedCount));
    }
    return { totalCount: unnamedCount + namedCount, addresses };
  }

  /** Whether a record has what is sorted by. */
  #namedTest(sortBy: ListQuery["sortBy"]): MarkTest {
    if (sortBy === "ip") return nothing;
    const isNamed = new Uint8Array(this.#groups.size);
    for (let id = 0; id < isNamed.length; id += 1) {
      const group = this.#groups.at(id);
      if (group === undefined) continue;
      const has =
        sortBy === "policy"
          ? group.policyRank > 0
          : sortBy === "namespace"
            ? group.namespace !== ""
            : group.owner.kind === "pod";
      isNamed[id] = has ? 1 : 0;
    }
    return (mark) => isNamed[mark] === 1;
  }

  /** How many records are left out of the walk with free addresses, and how many of the others no range lists. */
  #countLeft(
    ranges: readonly IpRange[],
    within: IpRange | undefined,
    isLeft: MarkTest,
  ): { readonly left: number; readonly leftInside: number; readonly keptOutside: number } {
    let left = 0;
    let leftInside = 0;
    let keptOutside = 0;
    if (within === undefined && isLeft !== nothing) {
      for (let id = 0; id < this.#groups.size; id += 1) {
        if (this.#groups.at(id) !== undefined && isLeft(id)) left += this.#groups.countOf(id);
      }
      leftInside = left;
    }
    for (const { marks, values } of this.#byIp.chunks) {
      const isInside = isInOneRange(ranges, values[0] as IpNumber, values.at(-1) as IpNumber);
      // Nothing of such a chunk is outside, and what is inside was counted by groups.
      if (isInside && (within === undefined || isLeft === nothing)) continue;
      for (let at = 0; at < marks.length; at += 1) {
        const value = values[at] as IpNumber;
        const isIn = isInside || findRange(ranges, value) >= 0;
        if (within !== undefined && !rangeContains(within, value)) continue;
        if (!isLeft(marks[at] as number)) keptOutside += isIn ? 0 : 1;
        else if (within === undefined) leftInside -= isIn ? 0 : 1;
        else {
          left += 1;
          leftInside += isIn ? 1 : 0;
        }
      }
    }
    return { left, leftInside, keptOutside };
  }

  /** Free addresses and the records that are not left out, by address. */
  #unnamed(walk: UnnamedWalk): readonly ListedAddress[] {
    if (!walk.isReversed) return this.#unnamedForward(walk);
    const last = walk.ranges.at(-1);
    let { ranges, count } = walk;
    if (!Number.isSafeInteger(count) && typeof last?.last === "bigint") {
      // Counting from the far end of an IPv6 block is not exact; its last part is more than any page reaches.
      const tail = { first: last.last - farEnd + 1n, last: last.last };
      ranges = [intersectRanges(tail, last) ?? last];
      const counts = this.#countLeft(ranges, ranges[0], walk.left);
      count = totalSize(ranges) - counts.leftInside;
    }
    const from = Math.max(0, count - walk.offset - walk.limit);
    const limit = count - walk.offset - from;
    const within = ranges === walk.ranges ? walk.within : ranges[0];
    return this.#unnamedForward({ ...walk, ranges, within, offset: from, limit }).toReversed();
  }

  #unnamedForward({ ranges, within, left, offset, limit }: UnnamedWalk): ListedAddress[] {
    const found: ListedAddress[] = [];
    let skip = offset;
    let cursor = 0;
    let next: IpNumber | undefined = ranges[0]?.first;
    /** Free addresses up to and including `to`. */
    const addFree = (to: IpNumber): void => {
      while (next !== undefined && cursor < ranges.length && found.length < limit) {
        const range = ranges[cursor] as IpRange;
        if (compareIpNumbers(next, to) > 0) return;
        const end = compareIpNumbers(to, range.last) < 0 ? to : range.last;
        const size = rangeSize({ first: next, last: end });
        if (size <= skip) skip -= size;
        else {
          let value = advanced(next, skip);
          skip = 0;
          for (; found.length < limit && value <= end; value = successor(value)) {
            found.push({ ip: ipFromNumber(value), allocation: undefined });
          }
        }
        if (end === range.last) {
          cursor += 1;
          next = ranges[cursor]?.first;
        } else next = successor(end);
      }
    };
    const pass = (value: IpNumber): void => {
      if (next !== value) return;
      if (value === (ranges[cursor] as IpRange).last) {
        cursor += 1;
        next = ranges[cursor]?.first;
      } else next = successor(value);
    };
    for (const { allocations, marks, values } of this.#byIp.chunks) {
      if (found.length >= limit) return found;
      const last = values.at(-1) as IpNumber;
      const range = ranges[cursor];
      const start = next;
      if (
        start !== undefined &&
        range !== undefined &&
        compareIpNumbers(start, values[0] as IpNumber) <= 0 &&
        compareIpNumbers(last, range.last) < 0
      ) {
        // The whole chunk lies before what is asked for.
        let leftCount = 0;
        if (left === everything) leftCount = marks.length;
        else if (left !== nothing) for (const mark of marks) leftCount += left(mark) ? 1 : 0;
        const count = rangeSize({ first: start, last }) - leftCount;
        if (count <= skip) {
          skip -= count;
          next = successor(last);
          continue;
        }
      }
      for (let at = 0; at < marks.length && found.length < limit; at += 1) {
        const value = values[at] as IpNumber;
        if (next !== undefined && compareIpNumbers(next, value) < 0) addFree(predecessor(value));
        if (found.length >= limit) break;
        const isIn = next === value;
        pass(value);
        if (left(marks[at] as number)) continue;
        if (!isIn && within !== undefined && !rangeContains(within, value)) continue;
        if (skip > 0) skip -= 1;
        else {
          const allocation = allocations[at] as Allocation;
          found.push({ ip: allocation.ip, allocation });
        }
      }
    }
    while (next !== undefined && found.length < limit) addFree((ranges[cursor] as IpRange).last);
    return found;
  }
}

type MarkTest = (mark: number) => boolean;
const nothing: MarkTest = () => false;
const everything: MarkTest = () => true;

type UnnamedWalk = {
  readonly ranges: readonly IpRange[];
  readonly within: IpRange | undefined;
  /** Records that are left out; their addresses are not free either. */
  readonly left: MarkTest;
  /** How many there are to list. */
  readonly count: number;
  readonly offset: number;
  readonly limit: number;
  readonly isReversed: boolean;
};

type Buckets = {
  readonly count: number;
  /** Buckets in the order of the list. */
  readonly order: readonly number[];
  readonly bucketOf: (mark: number) => number;
};

type RecordsPage = { readonly totalCount: number; readonly allocations: readonly Allocation[] };

const emptyPage: ListedPage = { totalCount: 0, addresses: [] };

/** More addresses than pages reach: 99,999 pages of 9,999. */
const farEnd = 2n ** 40n;

function advanced(value: IpNumber, by: number): IpNumber {
  return typeof value === "number" ? value + by : value + BigInt(by);
}

function isInOneRange(ranges: readonly IpRange[], first: IpNumber, last: IpNumber): boolean {
  const index = findRange(ranges, first);
  return index >= 0 && rangeContains(ranges[index] as IpRange, last);
}

/** Whether the name of a pod can complete a keyword behind its key's prefix, which ends in `_`. */
function mayMatchPods(prefix: string, text: string): boolean {
  const cut = text.lastIndexOf("_") + 1;
  return cut === 0 || prefix.endsWith(text.slice(0, cut));
}

function podNameOf(owner: Owner | undefined): string {
  return owner?.kind === "pod" ? owner.pod.name : "";
}

function countMatches({ marks }: Segment, matches: MarkTest): number {
  let count = 0;
  for (const mark of marks) if (matches(mark)) count += 1;
  return count;
}

function totalOf({ segments, matches, countOf, groupCount }: Source): number {
  let total = 0;
  if (countOf === undefined) {
    for (const segment of segments) total += countMatches(segment, matches);
    return total;
  }
  for (let group = 0; group < groupCount; group += 1) {
    if (matches(group)) total += countOf(group);
  }
  return total;
}

/** Entries in the order of the segments, or backwards. */
function pageInOrder(
  source: Source,
  { offset, limit, isDescending, sortBy }: ListQuery,
): RecordsPage {
  const { segments, matches } = source;
  const totalCount = totalOf(source);
  const wanted = Math.min(limit, Math.max(0, totalCount - offset));
  const isReversed = isDescending && sortBy === "ip";
  const allocations: Allocation[] = [];
  let skip = offset;
  for (let step = 0; step < segments.length && allocations.length < wanted; step += 1) {
    const segment = segments[isReversed ? segments.length - 1 - step : step] as Segment;
    const { length } = segment.marks;
    if (skip > 0) {
      const count = countMatches(segment, matches);
      if (count <= skip) {
        skip -= count;
        continue;
      }
    }
    for (let at = 0; at < length && allocations.length < wanted; at += 1) {
      const place = isReversed ? length - 1 - at : at;
      if (!matches(segment.marks[place] as number)) continue;
      if (skip > 0) skip -= 1;
      else allocations.push(segment.allocations[place] as Allocation);
    }
  }
  return { totalCount, allocations };
}

/** A sort by something that many entries share: counted first, then only the entries of the page are collected, by address. */
function pageByBucket(
  source: Source,
  { offset, limit }: ListQuery,
  { count, order, bucketOf }: Buckets,
): RecordsPage {
  const { segments, matches, countOf, groupCount } = source;
  const counts = new Uint32Array(count);
  const countIn = (group: number, by: number): void => {
    const bucket = bucketOf(group);
    counts[bucket] = (counts[bucket] as number) + by;
  };
  if (countOf === undefined) {
    for (const { marks } of segments) for (const mark of marks) if (matches(mark)) countIn(mark, 1);
  } else {
    for (let group = 0; group < groupCount; group += 1) {
      if (matches(group)) countIn(group, countOf(group));
    }
  }
  // Which part of which bucket is on the page.
  const parts = new Map<number, { skip: number; readonly take: number; found: Allocation[] }>();
  let before = 0;
  let wanted = 0;
  for (const bucket of order) {
    const size = counts[bucket] as number;
    const skip = Math.max(0, offset - before);
    const take = Math.min(size - skip, offset + limit - Math.max(before, offset));
    if (take > 0) {
      parts.set(bucket, { skip, take, found: [] });
      wanted += take;
    }
    before += size;
  }
  const isOnPage = new Uint8Array(count);
  for (const bucket of parts.keys()) isOnPage[bucket] = 1;
  for (const { marks, allocations } of segments) {
    if (wanted === 0) break;
    for (let at = 0; at < marks.length && wanted > 0; at += 1) {
      const mark = marks[at] as number;
      if (!matches(mark)) continue;
      const bucket = bucketOf(mark);
      if (isOnPage[bucket] === 0) continue;
      const part = parts.get(bucket) as NonNullable<ReturnType<typeof parts.get>>;
      if (part.skip > 0) part.skip -= 1;
      else {
        part.found.push(allocations[at] as Allocation);
        wanted -= 1;
        if (part.found.length === part.take) isOnPage[bucket] = 0;
      }
    }
  }
  return { totalCount: before, allocations: [...parts.values()].flatMap(({ found }) => found) };
}

/** Entries by name backwards, those of one name by address forwards. The segments are in the order of names. */
function pageByNameDescending(source: Source, { offset, limit }: ListQuery): RecordsPage {
  const { segments, matches } = source;
  const totalCount = totalOf(source);
  const allocations: Allocation[] = [];
  /** Entries of one name, met from the last address to the first. */
  let run: Allocation[] = [];
  let runName = "";
  let passed = 0;
  const endRun = (): void => {
    for (const allocation of run.reverse()) {
      if (passed >= offset && allocations.length < limit) allocations.push(allocation);
      passed += 1;
    }
    run = [];
  };
  for (let index = segments.length - 1; index >= 0 && allocations.length < limit; index -= 1) {
    const segment = segments[index] as Segment;
    const { marks, allocations: entries } = segment;
    const lowest = podNameOf((entries[0] as Allocation | undefined)?.owner);
    const highest = podNameOf(entries.at(-1)?.owner);
    if (passed + run.length < offset && lowest !== highest) {
      const count = countMatches(segment, matches);
      if (passed + run.length + count <= offset) {
        // All of it is before the page, but for the run at its beginning: its place depends on the segment before.
        const kept: Allocation[] = [];
        for (let at = 0; podNameOf(entries[at]?.owner) === lowest; at += 1) {
          if (matches(marks[at] as number)) kept.push(entries[at] as Allocation);
        }
        endRun();
        passed += count - kept.length;
        run = kept.reverse();
        runName = lowest;
        continue;
      }
    }
    for (let at = marks.length - 1; at >= 0 && allocations.length < limit; at -= 1) {
      if (!matches(marks[at] as number)) continue;
      const allocation = entries[at] as Allocation;
      const name = podNameOf(allocation.owner);
      if (name !== runName) {
        endRun();
        runName = name;
      }
      run.push(allocation);
    }
  }
  endRun();
  return { totalCount, allocations };
}
