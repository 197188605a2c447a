// Voters of pools that hold: who is proven to reach the API server, and that a node that holds by their word and a controller that takes over
// never do so at one time, whatever is cut off when.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ip } from "../../test/builders.ts";
import type { LeaseRound, Reach } from "./vip-quorum.ts";
import {
  afterRound,
  isOverruled,
  nothingReached,
  votersAreOutdated,
  votersFor,
} from "./vip-quorum.ts";

const leaseMs = 3_000;
const voters = ["a", "b", "c"];

/** Rounds every second, with the versions that the nodes had. */
function reachOf(...versions: readonly Readonly<Record<string, string>>[]): Reach {
  return versions.reduce<Reach>((reach, each, index) => {
    const sentMs = index * 1_000;
    const round = { sentMs, answeredMs: sentMs + 50, versions: new Map(Object.entries(each)) };
    return afterRound(reach, round, leaseMs);
  }, nothingReached);
}

describe("a controller overrules those who hold on", () => {
  const renewing = Array.from({ length: 6 }, (_, index) => ({
    a: "1",
    b: `${index}`,
    c: `${index}`,
  }));

  test("when a majority has renewed for long enough", () => {
    assert.equal(isOverruled(voters, reachOf(...renewing), { leaseMs, nowMs: 5_100 }), true);
  });

  test("not before what the voters said earlier has run out", () => {
    const nowMs = 3_100;
    assert.equal(isOverruled(voters, reachOf(...renewing.slice(0, 4)), { leaseMs, nowMs }), false);
  });

  test("not when one of three renewed", () => {
    const only = renewing.map((each) => ({ ...each, b: "1" }));
    assert.equal(isOverruled(voters, reachOf(...only), { leaseMs, nowMs: 5_100 }), false);
  });

  test("not when a majority renewed and did not in the last round", () => {
    const stopped = [...renewing, { a: "1", b: "5", c: "5" }];
    assert.equal(isOverruled(voters, reachOf(...stopped), { leaseMs, nowMs: 6_100 }), false);
  });

  test("not when the last look was long ago, or there was none", () => {
    assert.equal(isOverruled(voters, reachOf(...renewing), { leaseMs, nowMs: 8_000 }), false);
    assert.equal(isOverruled(voters, nothingReached, { leaseMs, nowMs: 5_000 }), false);
  });
});

describe("voters", () => {
  const nodes = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11", "n12"];
  const address = ip("192.0.2.50");

  for (const [fresh, count] of [
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 3],
    [12, 9],
  ] as const) {
    test(`are ${count} of ${fresh} nodes, the holder's among them`, () => {
      const chosen = votersFor(address, "n1", nodes.slice(0, fresh));
      assert.equal(chosen.length, count);
      assert.ok(chosen.includes("n1"));
      assert.equal(new Set(chosen).size, count);
    });
  }

  test("do not depend on the order in which nodes are known, and differ between addresses", () => {
    assert.deepEqual(votersFor(address, "n1", nodes), votersFor(address, "n1", nodes.toReversed()));
    assert.notDeepEqual(votersFor(address, "n1", nodes), votersFor(ip("192.0.2.52"), "n1", nodes));
  });
});

test("voters are changed when too few are left, more are to be had, or the pool changed its mind", () => {
  const best = ["n1", "n2", "n3"];
  const fresh = ["n1", "n2", "n3", "n4"];
  for (const [chosen, holds, expected] of [
    [best, true, false],
    [["n1", "n2", "gone"], true, false],
    [["n1", "gone", "lost"], true, true],
    [["n1"], true, true],
    [[], true, true],
    [[], false, false],
    [best, false, true],
  ] as const) {
    assert.equal(votersAreOutdated(chosen, { holds, best, fresh }), expected, chosen.join());
  }
  assert.equal(votersAreOutdated(["n1"], { holds: true, best: ["n1"], fresh: ["n1"] }), false);
});

/** A voter's life: when it reached the API server (true time), how late answers came, how fast its clock runs. */
type Life = {
  readonly cuts: readonly { readonly fromMs: number; readonly forMs: number }[];
  readonly answerMs: number;
  readonly rate: number;
};

const endMs = 30_000;
const life = fc.record<Life>({
  cuts: fc.array(
    fc.record({
      fromMs: fc.integer({ min: 0, max: endMs }),
      forMs: fc.integer({ min: 100, max: 9_000 }),
    }),
    { maxLength: 3 },
  ),
  answerMs: fc.integer({ min: 1, max: 1_000 }),
  rate: fc.constantFrom(0.96, 1, 1.04),
});

/** Renewals of a voter, and until when each lets it say that it reaches the API server. */
function renewalsOf({ answerMs, cuts, rate }: Life) {
  const isCut = (ms: number) => cuts.some((cut) => ms >= cut.fromMs && ms < cut.fromMs + cut.forMs);
  const renewals: { readonly atMs: number; readonly untilMs: number }[] = [];
  for (let atMs = 0; atMs < endMs; atMs += Math.max(1_000, answerMs) / rate) {
    if (isCut(atMs)) continue;
    // From its answer on, or from giving it up.
    renewals.push({ atMs, untilMs: atMs + answerMs + leaseMs / rate });
  }
  return renewals;
}

test("never when a node still holds by the word of a majority", () => {
  let overruled = 0;
  let held = 0;
  fc.assert(
    fc.property(
      fc.array(life, { minLength: 3, maxLength: 5 }),
      fc.integer({ min: 0, max: 400 }),
      fc.constantFrom(0.96, 1, 1.04),
      // Seconds in which the controller looks: it may stand still in between.
      fc.array(fc.boolean(), { minLength: endMs / 1_000, maxLength: endMs / 1_000 }),
      fc.boolean(),
      (lives, lookMs, rate, looks, isSteady) => {
        const names = lives.map((_, index) => `n${index}`);
        const renewals = lives.map(renewalsOf);
        const versionAt = (index: number, atMs: number) =>
          String((renewals[index] ?? []).filter((each) => each.atMs <= atMs).length);
        const deniesAt = (index: number, atMs: number) =>
          !(renewals[index] ?? []).some((each) => each.atMs <= atMs && atMs < each.untilMs);
        let reach = nothingReached;
        let holdsUntilMs = Number.NEGATIVE_INFINITY;
        for (let trueMs = 0; trueMs < endMs; trueMs += 100) {
          // The holder asks all voters, itself included, and counts from before it asked.
          const denials = names.filter((_, index) => deniesAt(index, trueMs)).length;
          if (denials > names.length / 2) holdsUntilMs = trueMs + leaseMs;
          const nowMs = trueMs * rate;
          const isLooking = isSteady || looks[Math.floor(trueMs / 1_000)] === true;
          if (trueMs % 1_000 === 0 && trueMs > lookMs && isLooking) {
            const versions = new Map(
              names.map((name, index) => [name, versionAt(index, trueMs - lookMs / 2)]),
            );
            const round: LeaseRound = {
              sentMs: nowMs - lookMs * rate,
              answeredMs: nowMs,
              versions,
            };
            reach = afterRound(reach, round, leaseMs);
          }
          const isTaken = isOverruled(names, reach, { leaseMs, nowMs });
          const isHeld = trueMs < holdsUntilMs;
          overruled += Number(isTaken);
          held += Number(isHeld);
          assert.ok(!(isTaken && isHeld), `at ${trueMs} ms`);
        }
      },
    ),
    { numRuns: 500 },
  );
  assert.ok(overruled > 1_000 && held > 1_000, `${overruled} and ${held}`);
});
