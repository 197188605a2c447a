// Free addresses against a list that is walked naively. Time is not measured: sparse structures show in what they hold, not in a clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ip, ipRange } from "../../test/builders.ts";
import type { FreeOrigin } from "./free-addresses.ts";
import { compareFreeCandidates, FreeAddresses } from "./free-addresses.ts";
import type { Ip, IpNumber } from "./ip.ts";
import { compareIps, ipFromNumber, ipToNumber, parseIpNumber } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import { addressesOf, mergeRanges } from "./ip-range.ts";

/** What {@link FreeAddresses} promises, over every single address. */
class NaiveFree {
  readonly fresh = new Set<Ip>();
  /** Oldest first; of one time in the order of coming. */
  readonly released: { readonly ip: Ip; readonly atMs: number }[] = [];
  readonly all: readonly Ip[];

  constructor(
    all: readonly Ip[],
    taken: readonly Ip[],
    released: readonly (readonly [Ip, number])[],
  ) {
    this.all = all;
    for (const [address, atMs] of released) {
      if (all.includes(address)) this.released.push({ ip: address, atMs });
    }
    for (const address of all) {
      if (!taken.includes(address) && !this.#isReleased(address)) this.fresh.add(address);
    }
  }

  #isReleased(address: Ip): boolean {
    return this.released.some((entry) => entry.ip === address);
  }

  has(address: Ip): boolean {
    return this.fresh.has(address) || this.#isReleased(address);
  }

  remove(address: Ip): FreeOrigin | undefined {
    if (this.fresh.delete(address)) return { kind: "fresh" };
    const index = this.released.findIndex((entry) => entry.ip === address);
    const [entry] = index < 0 ? [] : this.released.splice(index, 1);
    return entry === undefined ? undefined : { kind: "released", atMs: entry.atMs };
  }

  add(address: Ip, origin: FreeOrigin): void {
    if (!this.all.includes(address) || this.has(address)) return;
    if (origin.kind === "fresh") this.fresh.add(address);
    else {
      this.released.push({ ip: address, atMs: origin.atMs });
      this.released.sort((a, b) => a.atMs - b.atMs);
    }
  }

  inOrder(): readonly Ip[] {
    return [...[...this.fresh].sort(compareIps), ...this.released.map((entry) => entry.ip)];
  }
}

type Step =
  | { readonly kind: "remove"; readonly at: number }
  | { readonly kind: "add"; readonly at: number; readonly origin: FreeOrigin };

const windowSize = 24;

/** Addresses near 10.0.0.0 or 2001:db8::, far enough apart from the window's edge to be outside the ranges sometimes. */
function addressAt(base: IpNumber, offset: number): Ip {
  return ipFromNumber(typeof base === "number" ? base + offset : base + BigInt(offset));
}

const bases = ["10.0.0.0", "2001:db8::", "255.255.255.220"].map(
  (text) => parseIpNumber(text) as IpNumber,
);

const arbitraryOrigin: fc.Arbitrary<FreeOrigin> = fc.oneof(
  fc.constant<FreeOrigin>({ kind: "fresh" }),
  fc.integer({ min: 0, max: 6 }).map((atMs): FreeOrigin => ({ kind: "released", atMs })),
);

const arbitraryOffset = fc.integer({ min: 0, max: windowSize - 1 });

const arbitrarySteps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("remove" as const), at: arbitraryOffset }),
    fc.record({ kind: fc.constant("add" as const), at: arbitraryOffset, origin: arbitraryOrigin }),
  ),
  { maxLength: 60 },
);

function rangesOf(base: IpNumber, offsets: readonly (readonly [number, number])[]): IpRange[] {
  return mergeRanges(
    offsets.map(([a, b]) => ({
      first: ipToNumber(addressAt(base, Math.min(a, b))),
      last: ipToNumber(addressAt(base, Math.max(a, b))),
    })),
  );
}

test("after any sequence of taking and giving back, free addresses are those of a naive list, in its order", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...bases),
      fc.array(fc.tuple(arbitraryOffset, arbitraryOffset), { minLength: 1, maxLength: 4 }),
      fc.uniqueArray(arbitraryOffset, { maxLength: 6 }),
      fc.uniqueArray(fc.tuple(arbitraryOffset, fc.integer({ min: 0, max: 6 })), {
        maxLength: 4,
        selector: ([offset]) => offset,
      }),
      arbitrarySteps,
      fc.array(fc.tuple(arbitraryOffset, arbitraryOffset), { maxLength: 3 }),
      (base, rangeOffsets, takenOffsets, releasedOffsets, steps, withinOffsets) => {
        const ranges = rangesOf(base, rangeOffsets);
        const taken = takenOffsets.map((offset) => addressAt(base, offset));
        const released = releasedOffsets
          .map(([offset, atMs]) => [addressAt(base, offset), atMs] as const)
          .filter(([address]) => !taken.includes(address))
          .sort((a, b) => a[1] - b[1]);
        const model = new NaiveFree(
          ranges.flatMap((range) => [...addressesOf(range)]),
          taken,
          released,
        );
        const free = new FreeAddresses(ranges, taken.map(ipToNumber), released);
        const agree = (): void => {
          assert.deepEqual(
            Array.from(free.inOrder(undefined), (candidate) => candidate.ip),
            model.inOrder(),
          );
          assert.equal(free.countFree(), model.inOrder().length);
          assert.deepEqual(
            [...free.released()],
            model.released.map((entry) => [entry.ip, entry.atMs]),
          );
        };
        agree();
        for (const step of steps) {
          const address = addressAt(base, step.at);
          if (step.kind === "remove") {
            assert.deepEqual(free.remove(address), model.remove(address));
          } else {
            free.add(address, step.origin);
            model.add(address, step.origin);
          }
          assert.equal(free.has(address), model.has(address));
          assert.equal(
            free.releasedAtMs(address),
            model.released.find((entry) => entry.ip === address)?.atMs,
          );
          agree();
        }
        const within = rangesOf(base, withinOffsets);
        const inside = new Set(within.flatMap((range) => [...addressesOf(range)]));
        assert.deepEqual(
          Array.from(free.inOrder(within), (candidate) => candidate.ip),
          model.inOrder().filter((address) => inside.has(address)),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("what was taken out goes back to the place it stood at", () => {
  const free = new FreeAddresses([ipRange("10.0.0.1~10.0.0.4")]);
  for (const [text, atMs] of [
    ["10.0.0.3", 10],
    ["10.0.0.1", 20],
    ["10.0.0.4", 30],
  ] as const) {
    free.remove(ip(text));
    free.add(ip(text), { kind: "released", atMs });
  }
  const before = Array.from(free.inOrder(undefined), (candidate) => candidate.ip);
  assert.deepEqual(before, ["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.4"]);
  for (const address of before) {
    const origin = free.remove(address);
    assert.ok(origin !== undefined);
    assert.equal(free.has(address), false);
    free.add(address, origin);
    assert.deepEqual(
      Array.from(free.inOrder(undefined), (candidate) => candidate.ip),
      before,
    );
  }
});

test("a never used address comes before every released one, across pod subnets too", () => {
  const candidates = [
    { ip: ip("10.0.0.1"), releasedAtMs: 5, value: ipToNumber(ip("10.0.0.1")) },
    { ip: ip("10.0.9.1"), releasedAtMs: undefined, value: ipToNumber(ip("10.0.9.1")) },
    { ip: ip("10.0.0.2"), releasedAtMs: 3, value: ipToNumber(ip("10.0.0.2")) },
    { ip: ip("10.0.8.1"), releasedAtMs: undefined, value: ipToNumber(ip("10.0.8.1")) },
    { ip: ip("10.0.0.0"), releasedAtMs: 5, value: ipToNumber(ip("10.0.0.0")) },
  ];
  assert.deepEqual(
    candidates.sort(compareFreeCandidates).map((candidate) => candidate.ip),
    ["10.0.8.1", "10.0.9.1", "10.0.0.2", "10.0.0.0", "10.0.0.1"],
  );
});

test("addresses outside the pod subnet are neither free nor ever become so", () => {
  const free = new FreeAddresses(
    [ipRange("10.0.0.2~10.0.0.3")],
    [ipToNumber(ip("10.0.0.9")), ipToNumber(ip("2001:db8::1"))],
    [[ip("10.0.0.8"), 1]],
  );
  assert.equal(free.countFree(), 2);
  assert.equal(free.remove(ip("10.0.0.9")), undefined);
  free.add(ip("10.0.0.1"), { kind: "fresh" });
  free.add(ip("10.0.0.4"), { kind: "released", atMs: 1 });
  free.add(ip("2001:db8::1"), { kind: "fresh" });
  assert.equal(free.countFree(), 2);
});

for (const { block, first, size } of [
  { block: "10.0.0.0~10.255.255.255", first: "10.0.0.0", size: 2 ** 24 },
  { block: "2001:db8::~2001:db8::ffff:ffff:ffff:ffff", first: "2001:db8::", size: 2 ** 64 },
]) {
  test(`a pod subnet of ${size} addresses is walked only as far as it is asked`, () => {
    // The range counts how often it is looked at: a walk over its addresses could not stay below a hundred.
    let reads = 0;
    const { first: firstValue, last: lastValue } = ipRange(block);
    const counted: IpRange = {
      get first() {
        reads += 1;
        return firstValue;
      },
      get last() {
        reads += 1;
        return lastValue;
      },
    };
    const free = new FreeAddresses([counted]);
    assert.equal(free.countFree(), size);
    const firstFew: Ip[] = [];
    for (const candidate of free.inOrder(undefined)) {
      firstFew.push(candidate.ip);
      if (firstFew.length === 3) break;
    }
    assert.equal(firstFew[0], first);
    assert.equal(firstFew.length, 3);
    const last = ipFromNumber(lastValue);
    assert.deepEqual(free.remove(last), { kind: "fresh" });
    assert.equal(free.has(last), false);
    free.add(last, { kind: "released", atMs: 7 });
    assert.equal(free.releasedAtMs(last), 7);
    assert.deepEqual(
      Array.from(
        free.inOrder([{ first: lastValue, last: lastValue }]),
        (candidate) => candidate.ip,
      ),
      [last],
    );
    assert.ok(reads < 100, `the range was read ${reads} times`);
  });
}
