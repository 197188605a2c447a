// Choosing addresses for slots, against trying every combination.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ip, ipRange } from "../../test/builders.ts";
import type { Ip, IpFamily } from "./ip.ts";
import type { Picked, Slot, Tier } from "./pick.ts";
import { bestServing, pickAddresses, slotAccepts, slotsOf } from "./pick.ts";

function rangeSlot(...texts: readonly string[]): Slot {
  return { family: "IPv4", ranges: texts.map(ipRange) };
}

/** A tier that offers what the slot accepts, in the order given. */
function offering(...addresses: readonly Ip[]): Tier {
  return (slot, limit) => addresses.filter((address) => slotAccepts(slot, address)).slice(0, limit);
}

function pickTexts(slots: readonly Slot[], ...tiers: readonly Tier[]): string | undefined {
  return pickAddresses(slots, tiers)
    ?.map((picked) => picked.ip)
    .join(" ");
}

const four = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map(ip);

/** A slot by the positions of addresses that it accepts. */
function slotOf(positions: readonly number[]): Slot {
  return rangeSlot(...positions.map((position) => `10.0.0.${position + 1}`));
}

/** Every way to give the slots different addresses, those left out as undefined. */
function* assignments(
  accepted: readonly (readonly Ip[])[],
  used: readonly Ip[] = [],
): Generator<readonly (Ip | undefined)[]> {
  const [first, ...rest] = accepted;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const choice of [...first.filter((address) => !used.includes(address)), undefined]) {
    const nowUsed = choice === undefined ? used : [...used, choice];
    for (const others of assignments(rest, nowUsed)) yield [choice, ...others];
  }
}

/** How many addresses each tier gives; an address counts for the first tier that has it. */
function tierCounts(
  chosen: readonly (Ip | undefined)[],
  tiers: readonly (readonly Ip[])[],
): readonly number[] {
  return tiers.map(
    (tier, index) =>
      chosen.filter(
        (address) =>
          address !== undefined &&
          tier.includes(address) &&
          !tiers.slice(0, index).some((earlier) => earlier.includes(address)),
      ).length,
  );
}

function isBetter(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, count] of a.entries()) {
    const other = b[index] as number;
    if (count !== other) return count > other;
  }
  return false;
}

const arbitraryCase = fc.record({
  slots: fc.array(fc.uniqueArray(fc.nat(5), { maxLength: 5 }), { maxLength: 4 }),
  tiers: fc.array(fc.uniqueArray(fc.nat(5), { maxLength: 6 }), { minLength: 1, maxLength: 4 }),
});

test("picking agrees with trying every combination: possible or not, and each tier used as fully as it can be", () => {
  fc.assert(
    fc.property(arbitraryCase, (given) => {
      const slots = given.slots.map(slotOf);
      const tierIps = given.tiers.map((tier) => tier.map((at) => ip(`10.0.0.${at + 1}`)));
      const tiers = tierIps.map((addresses) => offering(...addresses));
      const offered = [...new Set(tierIps.flat())];
      let mostServed = 0;
      let best: readonly number[] | undefined;
      const accepted = slots.map((slot) => offered.filter((address) => slotAccepts(slot, address)));
      for (const chosen of assignments(accepted)) {
        const servedCount = chosen.filter((address) => address !== undefined).length;
        mostServed = Math.max(mostServed, servedCount);
        if (servedCount < slots.length) continue;
        const counts = tierCounts(chosen, tierIps);
        if (best === undefined || isBetter(counts, best)) best = counts;
      }
      const picked = pickAddresses(slots, tiers);
      assert.equal(bestServing(slots, tiers).length, mostServed);
      assert.equal(picked === undefined, mostServed < slots.length);
      if (picked === undefined) return;
      const ips = picked.map((choice) => choice.ip);
      assert.equal(new Set(ips).size, slots.length, "pairwise different");
      for (const [index, { ip: address, tier }] of picked.entries()) {
        assert.ok(slotAccepts(slots[index] as Slot, address));
        assert.ok(tierIps[tier]?.includes(address));
        assert.ok(!tierIps.slice(0, tier).some((earlier) => earlier.includes(address)));
      }
      assert.deepEqual(tierCounts(ips, tierIps), best);
      assert.deepEqual(
        pickAddresses(slots, tiers),
        picked,
        "the same question has the same answer",
      );
    }),
    { numRuns: 1000 },
  );
});

test("for [[.1~.2],[.1]] the answer is .2 and .1, which taking the first of each list would miss", () => {
  const slots = [rangeSlot("10.0.0.1~10.0.0.2"), rangeSlot("10.0.0.1")];
  assert.equal(pickTexts(slots, offering(...four)), "10.0.0.2 10.0.0.1");
});

test("identical lists give different addresses, in the order offered", () => {
  const slots = [rangeSlot("10.0.0.1~10.0.0.3"), rangeSlot("10.0.0.1~10.0.0.3")];
  assert.equal(pickTexts(slots, offering(...four)), "10.0.0.1 10.0.0.2");
  assert.equal(
    pickTexts([rangeSlot("10.0.0.1"), rangeSlot("10.0.0.1")], offering(...four)),
    undefined,
  );
});

test("a chain of slots moves over as far as it must", () => {
  const slots = [slotOf([0, 1]), slotOf([1, 2]), slotOf([2, 3]), slotOf([0])];
  assert.equal(pickTexts(slots, offering(...four)), "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.1");
});

test("an address of an earlier tier is kept when a later slot needs the place of its owner", () => {
  const [first, second] = [rangeSlot("10.0.0.1~10.0.0.2"), rangeSlot("10.0.0.1")];
  const picked = pickAddresses([first, second], [offering(ip("10.0.0.1")), offering(...four)]);
  assert.deepEqual(picked satisfies readonly Picked[] | undefined, [
    { ip: "10.0.0.2", tier: 1 },
    { ip: "10.0.0.1", tier: 0 },
  ]);
});

test("a tier is asked for no more candidates than there are slots, and not at all once all are served", () => {
  const asked: number[] = [];
  const slots: readonly Slot[] = [slotOf([0, 1, 2]), slotOf([0, 1, 2])];
  const counting: Tier = (slot, limit) => {
    asked.push(limit);
    return offering(...four)(slot, limit);
  };
  const never: Tier = () => assert.fail("every slot is served already");
  assert.equal(pickTexts(slots, counting, never), "10.0.0.1 10.0.0.2");
  assert.deepEqual(asked, [2, 2]);
});

test("which addresses a pod asks for depends on the families that the node has", () => {
  const familiesOf = (
    wanted: readonly IpFamily[] | undefined,
    ...present: readonly IpFamily[]
  ): readonly IpFamily[] =>
    slotsOf({ kind: "families", families: wanted }, new Set(present)).map((slot) => slot.family);
  assert.deepEqual(familiesOf(undefined, "IPv6", "IPv4"), ["IPv4"]);
  assert.deepEqual(familiesOf(undefined, "IPv6"), ["IPv6"]);
  assert.deepEqual(familiesOf(undefined), []);
  assert.deepEqual(familiesOf(["IPv6", "IPv4"], "IPv4", "IPv6"), ["IPv6", "IPv4"]);
  assert.deepEqual(familiesOf(["IPv4", "IPv6"], "IPv6"), ["IPv6"]);
  assert.deepEqual(familiesOf(["IPv6"], "IPv4"), []);
});

test("a request of ranges has one slot per list, of the family written there", () => {
  const ranges = [[ipRange("2001:db8::1~2001:db8::9")], [ipRange("10.0.0.1"), ipRange("10.0.0.7")]];
  assert.deepEqual(slotsOf({ kind: "ranges", ranges }, new Set<IpFamily>(["IPv4"])), [
    { family: "IPv6", ranges: ranges[0] },
    { family: "IPv4", ranges: ranges[1] },
  ]);
});

test("a slot without ranges accepts any address of its family", () => {
  assert.equal(slotAccepts({ family: "IPv4", ranges: undefined }, ip("10.9.9.9")), true);
  assert.equal(slotAccepts({ family: "IPv4", ranges: undefined }, ip("2001:db8::1")), false);
  assert.equal(slotAccepts(rangeSlot("10.0.0.1~10.0.0.2"), ip("10.0.0.2")), true);
  assert.equal(slotAccepts(rangeSlot("10.0.0.1~10.0.0.2"), ip("10.0.0.3")), false);
});
