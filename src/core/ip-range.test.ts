// Ranges against a naive model: sets of the addresses 0 to 63, read once as IPv4 and once as IPv6.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { IpNumber } from "./ip.ts";
import { familyOfNumber, ipFromNumber } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import {
  addressesOf,
  compareRanges,
  findRange,
  formatCidr,
  formatIpRange,
  intersectRanges,
  mergeRanges,
  parseCidr,
  parseIpRange,
  rangeContains,
  rangeCovers,
  rangeFamily,
  rangeSize,
  singleAddressCidr,
  subtractRanges,
  totalSize,
} from "./ip-range.ts";

const highest = 63;
const everyAddress: readonly IpNumber[] = Array.from({ length: highest + 1 }, (_, n) => n).flatMap(
  (n) => [n, BigInt(n)],
);

const smallRange: fc.Arbitrary<IpRange> = fc
  .tuple(fc.integer({ min: 0, max: highest }), fc.nat({ max: 12 }), fc.boolean())
  .map(([first, length, isIpv6]) => {
    const last = Math.min(highest, first + length);
    return isIpv6 ? { first: BigInt(first), last: BigInt(last) } : { first, last };
  });
const smallRanges = fc.array(smallRange, { maxLength: 12 });

/** The model: which addresses the ranges have. */
function members(ranges: readonly IpRange[]): Set<IpNumber> {
  return new Set(
    everyAddress.filter((value) =>
      ranges.some(
        (range) =>
          typeof range.first === typeof value && range.first <= value && value <= range.last,
      ),
    ),
  );
}

/** Sorted, without overlaps and without neighbours that could be one. */
function assertMerged(ranges: readonly IpRange[]): void {
  for (const [index, range] of ranges.entries()) {
    assert.ok(range.first <= range.last);
    const next = ranges[index + 1];
    if (next === undefined) continue;
    assert.ok(compareRanges(range, next) < 0);
    if (typeof next.first === typeof range.last) {
      assert.ok(Number(next.first) - Number(range.last) > 1);
    }
  }
}

/** The range of a text that is one. */
function rangeOf(text: string): IpRange {
  const parse = parseIpRange(text);
  assert.equal(parse.kind, "range", text);
  return (parse as { range: IpRange }).range;
}

test("merged ranges have the same addresses, sorted and in as few ranges as possible", () => {
  fc.assert(
    fc.property(smallRanges, (ranges) => {
      const merged = mergeRanges(ranges);
      assertMerged(merged);
      assert.deepEqual(members(merged), members(ranges));
      assert.equal(totalSize(merged), members(ranges).size);
    }),
  );
});

test("merging does not change its input", () => {
  const ranges = Object.freeze([rangeOf("10.0.0.5"), rangeOf("10.0.0.1~10.0.0.4")]);
  assert.deepEqual(mergeRanges(ranges).map(formatIpRange), ["10.0.0.1~10.0.0.5"]);
  assert.equal(formatIpRange(ranges[0] as IpRange), "10.0.0.5");
});

test("subtracting leaves exactly the addresses that are in none of the taken ranges", () => {
  fc.assert(
    fc.property(smallRanges, smallRanges, (fromRanges, takenRanges) => {
      const from = mergeRanges(fromRanges);
      const taken = mergeRanges(takenRanges);
      const left = subtractRanges(from, taken);
      assertMerged(left);
      assert.deepEqual(members(left), members(from).difference(members(taken)));
    }),
    { numRuns: 500 },
  );
});

test("finding an address gives the range that holds it, or -1", () => {
  fc.assert(
    fc.property(smallRanges, fc.constantFrom(...everyAddress), (ranges, value) => {
      const merged = mergeRanges(ranges);
      const expected = merged.findIndex((range) => members([range]).has(value));
      assert.equal(findRange(merged, value), expected);
    }),
    { numRuns: 500 },
  );
});

test("intersection, containment and cover agree with the model", () => {
  fc.assert(
    fc.property(smallRange, smallRange, fc.constantFrom(...everyAddress), (a, b, value) => {
      const common = intersectRanges(a, b);
      assert.deepEqual(
        members(common === undefined ? [] : [common]),
        members([a]).intersection(members([b])),
      );
      assert.equal(rangeCovers(a, b), members([b]).isSubsetOf(members([a])));
      assert.equal(rangeContains(a, value), members([a]).has(value));
    }),
    { numRuns: 500 },
  );
});

test("the addresses of a range are listed in order, also at the end of the address space", () => {
  assert.deepEqual(
    [...addressesOf(rangeOf("10.0.0.254~10.0.1.1"))],
    ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"],
  );
  assert.deepEqual(
    [...addressesOf(rangeOf("255.255.255.254~255.255.255.255"))],
    ["255.255.255.254", "255.255.255.255"],
  );
  const last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  assert.deepEqual([...addressesOf(rangeOf(last))], [last]);
});

test("a range is written as it is read", () => {
  fc.assert(
    fc.property(smallRange, (range) => {
      assert.deepEqual(parseIpRange(formatIpRange(range)), { kind: "range", range });
      assert.equal(rangeFamily(range), familyOfNumber(range.first));
    }),
  );
  assert.equal(formatIpRange(rangeOf("192.168.0.0~192.168.1.2")), "192.168.0.0~192.168.1.2");
  assert.equal(formatIpRange(rangeOf("192.168.0.0~192.168.0.0")), "192.168.0.0");
});

test("case 9: what is neither one address nor first~last is refused and named", () => {
  const cases: [text: string, reason: RegExp][] = [
    ["10.49.27.256", /"10\.49\.27\.256" is neither one address nor a range/],
    ["10.0.0.9~10.0.0.2", /"10\.0\.0\.9~10\.0\.0\.2" starts after its end/],
    ["10.49.27.64/26", /neither/],
    ["10.0.0.1 - 10.0.0.3", /neither/],
    ["10.0.0.1-10.0.0.3", /neither/],
    ["10.0.0.1 ~ 10.0.0.3", /neither/],
    ["10.0.0.1~10.0.0.2~10.0.0.3", /more than one "~"/],
    ["10.0.0.1~", /neither/],
    ["~", /neither/],
    ["", /neither/],
    ["10.0.0.1~fd00::1", /mixes IPv4 and IPv6/],
  ];
  for (const [text, reason] of cases) {
    const parse = parseIpRange(text);
    assert.equal(parse.kind, "problem", text);
    assert.match((parse as { problem: string }).problem, reason);
  }
});

test("a block clears its host bits and spans 2^(bits - prefix) addresses", () => {
  const bits = { IPv4: 32, IPv6: 128 };
  const address = fc.oneof(
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
  );
  fc.assert(
    fc.property(address, fc.nat({ max: 128 }), (value, wanted) => {
      const family = familyOfNumber(value);
      const prefix = wanted % (bits[family] + 1);
      const cidr = parseCidr(`${ipFromNumber(value)}/${prefix}`);
      assert.ok(cidr !== undefined);
      const size = 1n << BigInt(bits[family] - prefix);
      assert.equal(BigInt(cidr.range.last) - BigInt(cidr.range.first) + 1n, size);
      assert.equal(BigInt(cidr.range.first) % size, 0n);
      assert.ok(rangeContains(cidr.range, value));
      assert.deepEqual(parseCidr(formatCidr(cidr)), cidr);
    }),
    { numRuns: 500 },
  );
});

test("case 5: blocks that differ in host bits only are the same block", () => {
  assert.equal(formatCidr(parseCidr("10.49.27.1/24") as never), "10.49.27.0/24");
  assert.deepEqual(parseCidr("10.49.27.2/24"), parseCidr("10.49.27.1/24"));
  assert.equal(formatCidr(parseCidr("fd00:0:0:0:1::1/64") as never), "fd00::/64");
});

test("texts that are no block are refused", () => {
  const texts = [
    "10.0.0.0",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0.0/",
    "/24",
    "::/129",
    "10.0.0.0/24/24",
    "10.0.0.0/ 8",
    "x/8",
  ];
  for (const text of texts) assert.equal(parseCidr(text), undefined, text);
});

test("an address alone is a block of its own", () => {
  assert.equal(formatCidr(singleAddressCidr(0x0a000001)), "10.0.0.1/32");
  assert.equal(formatCidr(singleAddressCidr(1n)), "::1/128");
});

test("a /8, an IPv6 /64 and the whole IPv6 space are a range each, not their addresses", () => {
  const big = ["10.0.0.0/8", "fd00::/64", "::/0"].flatMap((text) => parseCidr(text)?.range ?? []);
  assert.deepEqual(big.map(rangeSize), [2 ** 24, 2 ** 64, 2 ** 128]);
  // Nobody would wait for each of 2^128.
  const left = subtractRanges(mergeRanges(big), [{ first: 0x0a000005, last: 0x0a000005 }]);
  assert.equal(left.length, 3);
  assert.equal(findRange(left, 0x0affffff), 1);
});
