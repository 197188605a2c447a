// The next step of a virtual address as a truth table, and the properties that exclusivity rests on.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ip } from "../../test/builders.ts";
import type { NodeLease, VipHolder, VipRecord } from "./vip.ts";
import { newVipRecord, nextSession, waitOutMs } from "./vip.ts";
import type { LeaseSight, SessionStanding } from "./vip-move.ts";
import { afterRevocation, decideMove, isFresh, lookAgain, standingOf } from "./vip-move.ts";

const address = ip("192.0.2.50");
const nowMs = 50_000;

function aHolder(name: string, session = 1): VipHolder {
  return {
    pod: { namespace: "ns", name },
    podUid: `uid-${name}`,
    podIp: ip("10.0.0.1"),
    nodeName: `node-${name}`,
    session,
  };
}

function aRecord(wish: Partial<VipRecord> = {}): VipRecord {
  return { ...newVipRecord(address, 0), epoch: 4, holder: aHolder("a"), ...wish };
}

function aLease(wish: Partial<NodeLease> = {}): NodeLease {
  return { nodeName: "n1", session: 7, isRevoked: false, durationMs: 3_000, version: "1", ...wish };
}

const live: SessionStanding = { kind: "live", silentAtMs: nowMs + 900 };
const ending: SessionStanding = { kind: "ending", overAtMs: nowMs + 700 };
const a = aHolder("a");
const b = aHolder("b");

describe("the next step", () => {
  for (const [story, wish, wanted, standing, expected] of [
    [
      "is a grant when nobody ever held it",
      { holder: undefined },
      b,
      live,
      { kind: "grant", to: b },
    ],
    [
      "is nothing when nobody holds it and nobody may",
      { holder: undefined },
      undefined,
      live,
      { kind: "wait", untilMs: undefined },
    ],
    [
      "is to wait for silence while the right one holds it",
      {},
      a,
      live,
      { kind: "wait", untilMs: nowMs + 900 },
    ],
    ["is to ask when another should hold it", {}, b, live, { kind: "ask", next: b }],
    ["is to ask when nobody may hold it", {}, undefined, live, { kind: "ask", next: undefined }],
    [
      "is to ask when the holder is in a new session that the lease does not prove",
      {},
      aHolder("a", 2),
      live,
      { kind: "ask", next: aHolder("a", 2) },
    ],
    [
      "is to wait for the answer to a request that is young",
      { release: "wanted" },
      b,
      live,
      { kind: "wait", untilMs: nowMs + 200 },
    ],
    [
      "is to wait for the answer also when the holder would be right again",
      { release: "wanted" },
      a,
      live,
      { kind: "wait", untilMs: nowMs + 200 },
    ],
    ["is a grant when the node let go", { release: "done" }, b, live, { kind: "grant", to: b }],
    [
      "is a new epoch for the same pod when it let go and is right again",
      { release: "done" },
      a,
      live,
      { kind: "grant", to: a },
    ],
    [
      "is to note that nobody holds it when the node let go and nobody may",
      { release: "done" },
      undefined,
      live,
      { kind: "vacate" },
    ],
    [
      "is to revoke a silent lease, whoever should hold it",
      {},
      a,
      { kind: "silent" },
      { kind: "revoke" },
    ],
    [
      "is to revoke a silent lease although nobody may hold it",
      {},
      undefined,
      { kind: "silent" },
      { kind: "revoke" },
    ],
    ["is to wait a revoked lease out", {}, b, ending, { kind: "wait", untilMs: nowMs + 700 }],
    [
      "is to wait a revoked lease out also when it was asked",
      { release: "wanted" },
      b,
      ending,
      { kind: "wait", untilMs: nowMs + 700 },
    ],
    [
      "is a grant when the session is over",
      {},
      b,
      { kind: "over", by: "time" },
      { kind: "grant", to: b },
    ],
    [
      "is to note that nobody holds it when the session is over and nobody may",
      {},
      undefined,
      { kind: "over", by: "time" },
      { kind: "vacate" },
    ],
  ] as const) {
    test(story, () => {
      const record = aRecord(wish);
      const askedSinceMs = record.release === "wanted" ? nowMs - 100 : undefined;
      const move = decideMove({
        record,
        wanted,
        standing,
        askedSinceMs,
        ackMs: 300,
        isOverruled: true,
        isOutdated: false,
        nowMs,
      });
      assert.deepEqual(move, expected);
    });
  }

  test("is to revoke when a request was not answered in time", () => {
    const record = aRecord({ release: "wanted" });
    const facts = {
      record,
      wanted: b,
      standing: live,
      ackMs: 300,
      isOverruled: true,
      isOutdated: false,
      nowMs,
    };
    assert.equal(decideMove({ ...facts, askedSinceMs: nowMs - 299 }).kind, "wait");
    assert.deepEqual(decideMove({ ...facts, askedSinceMs: nowMs - 300 }), { kind: "revoke" });
  });

  test("is a grant or an end only where the old node let go or its session is over", () => {
    const standings = fc.constantFrom<SessionStanding>(
      live,
      ending,
      { kind: "silent" },
      { kind: "over", by: "time" },
    );
    fc.assert(
      fc.property(
        fc.constantFrom("none" as const, "wanted" as const, "done" as const),
        fc.constantFrom(undefined, a, b),
        fc.constantFrom(undefined, a, b),
        standings,
        fc.constantFrom(undefined, nowMs - 1_000, nowMs),
        (release, holder, wanted, standing, askedSinceMs) => {
          const record = aRecord({ release, holder });
          const { kind } = decideMove({
            record,
            wanted,
            standing,
            askedSinceMs,
            ackMs: 300,
            isOverruled: true,
            isOutdated: false,
            nowMs,
          });
          const isProven = holder === undefined || release === "done" || standing.kind === "over";
          if (!isProven) assert.ok(kind !== "grant" && kind !== "vacate", kind);
          if (isProven && wanted !== undefined) assert.equal(kind, "grant");
        },
      ),
    );
  });
});

describe("a session", () => {
  const sight = (wish: Partial<LeaseSight> = {}): LeaseSight => ({
    lease: aLease(),
    sinceMs: 10_000,
    deadUpTo: 0,
    ...wish,
  });
  for (const [story, session, seen, atMs, expected] of [
    [
      "is live until its lease was seen unchanged for 3.5 s",
      7,
      {},
      13_499,
      { kind: "live", silentAtMs: 13_500 },
    ],
    ["is silent after 3.5 s", 7, {}, 13_500, { kind: "silent" }],
    [
      "is ending when its lease was revoked",
      7,
      { lease: aLease({ isRevoked: true }) },
      13_499,
      { kind: "ending", overAtMs: 13_500 },
    ],
    [
      "is over 3.5 s after its lease was seen revoked",
      7,
      { lease: aLease({ isRevoked: true }) },
      13_500,
      { kind: "over", by: "time" },
    ],
    ["is over when its node joined again", 6, {}, 10_000, { kind: "over", by: "agent" }],
    [
      "is over when that was proven before",
      7,
      { deadUpTo: 7 },
      10_000,
      { kind: "over", by: "time" },
    ],
    [
      "is not over because an older lease was revoked",
      8,
      { lease: aLease({ isRevoked: true }) },
      99_000,
      { kind: "live", silentAtMs: 13_500 },
    ],
    [
      "is live when its lease is missing, until it can be marked",
      7,
      { lease: undefined },
      13_499,
      { kind: "live", silentAtMs: 13_500 },
    ],
    [
      "is silent when its lease is missing for long",
      7,
      { lease: undefined },
      13_500,
      { kind: "silent" },
    ],
  ] as const) {
    test(story, () => {
      assert.deepEqual(standingOf(session, sight(seen), atMs, 3_000), expected);
    });
  }

  test("counts a lease of another duration by that duration", () => {
    const seen = sight({ lease: aLease({ durationMs: 6_000 }) });
    assert.equal(standingOf(7, seen, 16_999, 3_000).kind, "live");
    assert.equal(standingOf(7, seen, 17_000, 3_000).kind, "silent");
  });

  test("gets a number above the last, and above the time when the lease is gone", () => {
    assert.equal(nextSession(undefined, 500), 500);
    assert.equal(nextSession(500, 400), 501);
    assert.equal(nextSession(500, 900), 900);
  });
});

describe("what is seen of a lease", () => {
  test("counts from the first sight of a version, and again from the next one", () => {
    const first = lookAgain(undefined, aLease(), 100);
    assert.equal(lookAgain(first, aLease(), 900).sinceMs, 100);
    assert.equal(lookAgain(first, aLease({ version: "2" }), 900).sinceMs, 900);
  });

  test("proves the sessions before a new one to be over, also after the lease is gone", () => {
    const first = lookAgain(undefined, aLease({ session: 3 }), 100);
    const second = lookAgain(first, aLease({ session: 5, version: "2" }), 200);
    assert.equal(lookAgain(second, undefined, 300).deadUpTo, 3);
  });

  test("is fresh for the duration of the lease, never when it is revoked or missing", () => {
    const sight = lookAgain(undefined, aLease(), 100);
    assert.equal(isFresh(sight, 3_099), true);
    assert.equal(isFresh(sight, 3_100), false);
    assert.equal(isFresh({ ...sight, lease: aLease({ isRevoked: true }) }, 100), false);
    assert.equal(isFresh({ ...sight, lease: undefined }, 100), false);
  });

  test("after a revocation of a lease that had been silent is the end of its session", () => {
    const sight = lookAgain(undefined, aLease(), 100);
    const revoked = aLease({ isRevoked: true, version: "2" });
    const late = afterRevocation(sight, revoked, { sentMs: 3_600, nowMs: 3_650 });
    assert.equal(standingOf(7, late, 3_650, 3_000).kind, "over");
    const early = afterRevocation(sight, revoked, { sentMs: 3_599, nowMs: 3_650 });
    assert.deepEqual(standingOf(7, early, 3_650, 3_000), { kind: "ending", overAtMs: 7_150 });
  });
});

test("a lease is waited out longer than a kernel can answer that starts late on a clock that is a tenth slower", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2_000, max: 60_000 }), (durationMs) => {
      assert.ok(waitOutMs(durationMs) > (durationMs + 100) * 1.1);
    }),
  );
});

test("a grant that is to be made once more is asked back, and granted when the node let go", () => {
  const facts = { wanted: a, standing: live, askedSinceMs: undefined, ackMs: 300, nowMs };
  const held = aRecord({});
  const outdated = { ...facts, record: held, isOverruled: true, isOutdated: true };
  assert.deepEqual(decideMove(outdated), { kind: "ask", next: a });
  const done = { ...outdated, record: { ...held, release: "done" as const } };
  assert.deepEqual(decideMove(done), { kind: "grant", to: a });
});

test("what a node holds by others' word is neither revoked nor granted before they are overruled", () => {
  const facts = { wanted: b, askedSinceMs: undefined, ackMs: 300, isOutdated: false, nowMs };
  const record = aRecord({});
  for (const [standing, isOverruled, kind] of [
    [{ kind: "silent" }, false, "wait"],
    [{ kind: "silent" }, true, "revoke"],
    [{ kind: "over", by: "time" }, false, "wait"],
    [{ kind: "over", by: "time" }, true, "grant"],
    [{ kind: "over", by: "agent" }, false, "grant"],
  ] as const) {
    assert.equal(decideMove({ ...facts, record, standing, isOverruled }).kind, kind);
  }
});
