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
import { compareTexts, OwnerGroups, policyCount, stateNumbers } from "./owner-groups.ts";

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

/** Numbers of states as lists spell them. */
const listedStates: Readonly<Record<Exclude<ListedState, "free">, number>> = {
  bound: stateNumbers.Bound,
  reserved: stateNumbers.Reserved,
  admin: stateNumbers.Admin,
  draining: stateNumbers.Draining,
};

const stateOfNumber: Readonly<Record<number, AllocationState>> = {
  1: "Bound",
  2: "Reserved",
  3: "Admin",
  4: "Draining",
};

/** Whether entries of a group match: none, all, or those whose pod's name does. */
const noneMatch = 0;
const allMatch = 1;
const someMatch = 2;

/** Entries that the last step of a query walks through: arrays side by side, in the order of addresses or of pod names. */
type Segment = {
  readonly allocations: readonly Allocation[];
  readonly marks: readonly number[];
  /** Names of pods, where they are at hand. */
  readonly names?: readonly string[];
};

/** What a query walks through; the groups whose entries match. */
type Source = {
  readonly segments: readonly Segment[];
  /** 1 for each group that matches. */
  readonly flags: Uint8Array;
  /** How many addresses a group has, when all of them are in the segments; undefined when they are to be counted there. */
  readonly counts: readonly number[] | undefined;
};

/** Addresses that belong to an owner's workload or pool; undefined when nobody keeps that. */
export type MembersOf = (owner: Owner) => Iterable<Ip> | undefined;

/** Up to so many entries are gathered by their groups; beyond that a walk through all is quicker. */
const mostGathered = 1_000;

/** The orders beside the table. Nothing is kept until {@link AllocationListing.advance} is called first. */
export class AllocationListing {
  readonly #source: ReadonlyMap<Ip, Allocation>;
  readonly #membersOf: MembersOf;
  readonly #byIp: AllocationOrder;
  readonly #byPodName: AllocationOrder;
  #groups = new OwnerGroups();
  #pending: Iterator<Allocation> | undefined;
  #phase: "idle" | "filling" | "complete" = "idle";

  /**
   * @param source the table's allocations; the keeper of the table reports every change
   * @param membersOf the table's indexes
   */
  constructor(source: ReadonlyMap<Ip, Allocation>, membersOf: MembersOf, chunkSize?: number) {
    this.#source = source;
    this.#membersOf = membersOf;
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
        const state = stateOfNumber[this.#groups.states[marks[at] as number] as number];
        if (state !== undefined) block[state] += 1;
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
      this.#byIp.insert(name, value, allocation, mark);
      this.#byPodName.insert(name, value, allocation, mark);
      return;
    }
    const before = found.chunk.allocations[found.at] as Allocation;
    this.#groups.leave(found.chunk.marks[found.at] as number);
    found.chunk.allocations[found.at] = allocation;
    found.chunk.marks[found.at] = mark;
    found.chunk.names[found.at] = name;
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

  /** @param only 1 for each group whose records are wanted; undefined: all */
  #pageOfRecords(query: ListQuery, only?: Uint8Array): ListedPage {
    const flags = this.#matchingGroups(query);
    if (only !== undefined)
      for (let id = 0; id < flags.length; id += 1) if (only[id] === 0) flags[id] = 0;
    const sortsByName = query.sortBy === "podname" && query.podName === undefined;
    const isWhole = query.podName === undefined && query.range === undefined;
    const hasSome = flags.includes(someMatch);
    const gathered = isWhole && !hasSome ? this.#gathered(flags, sortsByName) : undefined;
    let segments = gathered ?? this.#segments(query, sortsByName);
    if (hasSome) segments = [this.#withKeyword(segments, query, flags)];
    const counts = isWhole && !hasSome && gathered === undefined ? this.#groups.counts : undefined;
    const source: Source = { segments, flags, counts };
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
    const flags = new Uint8Array(groups.size);
    // A text that nobody has has no number: nothing matches.
    const wanted: (readonly [readonly number[], number])[] = [];
    const filters = [
      [query.namespace, groups.namespaceTexts, groups.namespaces],
      [query.appName, groups.appNameTexts, groups.appNames],
      [query.appType, groups.appTypeTexts, groups.appTypes],
      [query.poolName, groups.poolNameTexts, groups.poolNames],
    ] as const;
    for (const [text, numbers, column] of filters) {
      if (text === undefined) continue;
      const id = numbers.idOf(text);
      if (id === undefined) return flags;
      wanted.push([column, id]);
    }
    if (query.state !== undefined && query.state !== "free") {
      wanted.push([groups.states, listedStates[query.state]]);
    }
    for (let id = 0; id < flags.length; id += 1) {
      if (groups.states[id] !== 0) flags[id] = allMatch;
    }
    for (const [column, number] of wanted) {
      for (let id = 0; id < flags.length; id += 1) if (column[id] !== number) flags[id] = noneMatch;
    }
    const { keyword } = query;
    if (keyword === undefined) return flags;
    for (let id = 0; id < flags.length; id += 1) {
      if (flags[id] === noneMatch) continue;
      const prefix = groups.prefixOf(id, keyword.prefixOf);
      if (prefix.includes(keyword.text)) continue;
      flags[id] =
        groups.isPods[id] === 1 && mayMatchPods(prefix, keyword.text) ? someMatch : noneMatch;
    }
    return flags;
  }

  /** The entries of few groups, found by their owners; undefined when they are many, or belong to nobody who keeps them together. */
  #gathered(flags: Uint8Array, sortsByName: boolean): readonly Segment[] | undefined {
    const groups = this.#groups;
    const matching: number[] = [];
    let count = 0;
    for (let id = 0; id < flags.length; id += 1) {
      if (flags[id] === noneMatch) continue;
      matching.push(id);
      count += groups.counts[id] as number;
      if (count > mostGathered) return undefined;
    }
    const found: { allocation: Allocation; mark: number; name: string; value: IpNumber }[] = [];
    for (const mark of matching) {
      const members = this.#membersOf(groups.ownerOf(mark));
      if (members === undefined) return undefined;
      for (const ip of members) {
        const allocation = this.#source.get(ip);
        if (allocation === undefined || groups.idOf(allocation) !== mark) continue;
        const name = sortsByName ? podNameOf(allocation.owner) : "";
        found.push({ allocation, mark, name, value: ipToNumber(ip) });
      }
    }
    found.sort((a, b) => compareTexts(a.name, b.name) || compareIpNumbers(a.value, b.value));
    return [
      {
        allocations: found.map(({ allocation }) => allocation),
        marks: found.map(({ mark }) => mark),
      },
    ];
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
  #withKeyword(segments: readonly Segment[], query: ListQuery, flags: Uint8Array): Segment {
    const text = query.keyword?.text ?? "";
    const cut = text.lastIndexOf("_") + 1;
    const start = text.slice(cut);
    const allocations: Allocation[] = [];
    const marks: number[] = [];
    for (const segment of segments) {
      for (let at = 0; at < segment.marks.length; at += 1) {
        const mark = segment.marks[at] as number;
        const kind = flags[mark];
        if (kind === noneMatch) continue;
        if (kind === someMatch) {
          const name = segment.names?.[at] ?? podNameOf(segment.allocations[at]?.owner);
          if (cut > 0 ? !name.startsWith(start) : !name.includes(text)) continue;
        }
        allocations.push(segment.allocations[at] as Allocation);
        marks.push(mark);
      }
    }
    return { allocations, marks };
  }

  #namespaceBuckets({ isDescending }: ListQuery): Buckets {
    const order = this.#groups.namespaceTexts.inOrder();
    return {
      count: this.#groups.namespaceTexts.size,
      order: isDescending ? order.toReversed() : order,
      bucketOf: this.#groups.namespaces,
    };
  }

  #policyBuckets({ isDescending }: ListQuery): Buckets {
    return {
      count: policyCount,
      order: isDescending ? [2, 1, 0] : [0, 1, 2],
      bucketOf: this.#groups.policyRanks,
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
    const left = this.#leftGroups(isOnlyFree ? "all" : sortBy);
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
      addresses.push(...this.#pageOfRecords(part, left.flags).addresses);
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

  /** Groups whose records do not stand with the free addresses: those that have what is sorted by, or all. */
  #leftGroups(by: ListQuery["sortBy"] | "all"): LeftGroups {
    const groups = this.#groups;
    const flags = new Uint8Array(groups.size);
    if (by === "ip") return { flags, count: "none" };
    if (by === "all") return { flags: flags.fill(1), count: "all" };
    const unnamed = groups.namespaceTexts.idOf("");
    for (let id = 0; id < flags.length; id += 1) {
      if (groups.states[id] === 0) continue;
      const isNamed =
        by === "policy"
          ? groups.policyRanks[id] !== 0
          : by === "namespace"
            ? groups.namespaces[id] !== unnamed
            : groups.isPods[id] === 1;
      if (isNamed) flags[id] = 1;
    }
    return { flags, count: "some" };
  }

  /** How many records are left out of the walk with free addresses, and how many of the others no range lists. */
  #countLeft(
    ranges: readonly IpRange[],
    within: IpRange | undefined,
    { flags, count }: LeftGroups,
  ): { readonly left: number; readonly leftInside: number; readonly keptOutside: number } {
    let left = 0;
    let leftInside = 0;
    let keptOutside = 0;
    if (within === undefined && count !== "none") {
      for (let id = 0; id < flags.length; id += 1) {
        if (flags[id] === 1 && this.#groups.states[id] !== 0) {
          left += this.#groups.counts[id] as number;
        }
      }
      leftInside = left;
    }
    for (const { marks, values } of this.#byIp.chunks) {
      const isInside = isInOneRange(ranges, values[0] as IpNumber, values.at(-1) as IpNumber);
      // Nothing of such a chunk is outside, and what is inside was counted by groups.
      if (isInside && (within === undefined || count === "none")) continue;
      for (let at = 0; at < marks.length; at += 1) {
        const value = values[at] as IpNumber;
        const isIn = isInside || findRange(ranges, value) >= 0;
        if (within !== undefined && !rangeContains(within, value)) continue;
        if (flags[marks[at] as number] === 0) keptOutside += isIn ? 0 : 1;
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
        if (left.count === "all") leftCount = marks.length;
        else if (left.count === "some")
          for (const mark of marks) leftCount += left.flags[mark] as number;
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
        if (left.flags[marks[at] as number] === 1) continue;
        if (!isIn && within !== undefined && !rangeContains(within, value)) continue;
        if (skip > 0) skip -= 1;
        else {
          const allocation = allocations[at] as Allocation;
          found.push({ ip: allocation.ip, allocation });
        }
      }
    }
    // Each round ends a range or the page.
    for (; cursor < ranges.length && found.length < limit; ) {
      addFree((ranges[cursor] as IpRange).last);
    }
    return found;
  }
}

/** Groups whose records are left out, by number; `count` says when none or all are. */
type LeftGroups = { readonly flags: Uint8Array; readonly count: "none" | "some" | "all" };

type UnnamedWalk = {
  readonly ranges: readonly IpRange[];
  readonly within: IpRange | undefined;
  /** Records that are left out; their addresses are not free either. */
  readonly left: LeftGroups;
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
  /** Bucket by the number of a group. */
  readonly bucketOf: readonly number[];
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

function countMatches({ marks }: Segment, flags: Uint8Array): number {
  let count = 0;
  for (const mark of marks) if (flags[mark] !== 0) count += 1;
  return count;
}

function totalOf({ segments, flags, counts }: Source): number {
  let total = 0;
  if (counts === undefined) {
    for (const segment of segments) total += countMatches(segment, flags);
    return total;
  }
  for (let group = 0; group < flags.length; group += 1) {
    if (flags[group] !== 0) total += counts[group] as number;
  }
  return total;
}

/** Entries in the order of the segments, or backwards. */
function pageInOrder(
  source: Source,
  { offset, limit, isDescending, sortBy }: ListQuery,
): RecordsPage {
  const { segments, flags } = source;
  const totalCount = totalOf(source);
  const wanted = Math.min(limit, Math.max(0, totalCount - offset));
  const isReversed = isDescending && sortBy === "ip";
  const allocations: Allocation[] = [];
  let skip = offset;
  for (let step = 0; step < segments.length && allocations.length < wanted; step += 1) {
    const segment = segments[isReversed ? segments.length - 1 - step : step] as Segment;
    const { length } = segment.marks;
    if (skip > 0) {
      const count = countMatches(segment, flags);
      if (count <= skip) {
        skip -= count;
        continue;
      }
    }
    for (let at = 0; at < length && allocations.length < wanted; at += 1) {
      const place = isReversed ? length - 1 - at : at;
      if (flags[segment.marks[place] as number] === 0) continue;
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
  const { segments, flags, counts: countOf } = source;
  const counts = new Uint32Array(count);
  const countIn = (group: number, by: number): void => {
    const bucket = bucketOf[group] as number;
    counts[bucket] = (counts[bucket] as number) + by;
  };
  if (countOf === undefined) {
    for (const { marks } of segments) {
      for (const mark of marks) if (flags[mark] !== 0) countIn(mark, 1);
    }
  } else {
    for (let group = 0; group < flags.length; group += 1) {
      if (flags[group] !== 0) countIn(group, countOf[group] as number);
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
  // Entries of other buckets are passed over like those that do not match.
  const isOnPage = new Uint8Array(flags.length);
  for (let group = 0; group < flags.length; group += 1) {
    if (flags[group] !== 0 && parts.has(bucketOf[group] as number)) isOnPage[group] = 1;
  }
  for (const { marks, allocations } of segments) {
    if (wanted === 0) break;
    for (let at = 0; at < marks.length && wanted > 0; at += 1) {
      const mark = marks[at] as number;
      if (isOnPage[mark] === 0) continue;
      const part = parts.get(bucketOf[mark] as number) as NonNullable<ReturnType<typeof parts.get>>;
      if (part.skip > 0) part.skip -= 1;
      else if (part.found.length < part.take) {
        part.found.push(allocations[at] as Allocation);
        wanted -= 1;
      }
    }
  }
  return { totalCount: before, allocations: [...parts.values()].flatMap(({ found }) => found) };
}

/** Entries by name backwards, those of one name by address forwards. The segments are in the order of names. */
function pageByNameDescending(source: Source, { offset, limit }: ListQuery): RecordsPage {
  const { segments, flags } = source;
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
    const lowest = podNameOf(entries[0]?.owner);
    const highest = podNameOf(entries.at(-1)?.owner);
    if (passed + run.length < offset && lowest !== highest) {
      const count = countMatches(segment, flags);
      if (passed + run.length + count <= offset) {
        // All of it is before the page, but for the run at its beginning: its place depends on the segment before.
        const kept: Allocation[] = [];
        for (let at = 0; podNameOf(entries[at]?.owner) === lowest; at += 1) {
          if (flags[marks[at] as number] !== 0) kept.push(entries[at] as Allocation);
        }
        endRun();
        passed += count - kept.length;
        run = kept.reverse();
        runName = lowest;
        continue;
      }
    }
    for (let at = marks.length - 1; at >= 0 && allocations.length < limit; at -= 1) {
      if (flags[marks[at] as number] === 0) continue;
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
