// Who holds a virtual address: claims as a table, the order among claimants as a table and as properties.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ip, ipRange } from "../../test/builders.ts";
import type { VipClaimantFacts, VipPool } from "./vip-holder.ts";
import { heldDownUntil, judgeClaim, selectHolder, whyNot, withLoss } from "./vip-holder.ts";

const nowMs = 1_000_000;
const address = ip("192.0.2.50");

const pool: VipPool = {
  name: "edge",
  ranges: [ipRange("192.0.2.0~192.0.2.255"), ipRange("2001:db8::~2001:db8::ff")],
  namespaces: ["shop"],
  mode: { kind: "L2", interfaces: "eth*" },
  onControlPlaneLoss: "Fence",
  minReadyMs: 5_000,
  lastResort: "release",
};

function aClaimant(name: string, wish: Partial<VipClaimantFacts> = {}): VipClaimantFacts {
  return {
    pod: { namespace: "shop", name },
    podUid: `uid-${name}`,
    podIps: [ip("10.0.0.9")],
    nodeName: "n1",
    phase: "Running",
    isReady: true,
    readySinceMs: nowMs - 60_000,
    isTerminating: false,
    unableSinceMs: undefined,
    wishes: { sendsFromVip: false, ports: undefined, probe: undefined },
    isNodeReady: true,
    session: 1,
    priority: 0,
    preempts: false,
    holdsSibling: false,
    heldDownUntilMs: 0,
    ...wish,
  };
}

const probed: VipClaimantFacts["wishes"] = {
  sendsFromVip: false,
  ports: undefined,
  probe: { protocol: "tcp", port: 80, everyMs: 500, failures: 3 },
};

function holderAmong(claimants: readonly VipClaimantFacts[], holderUid?: string) {
  const usual = { ip: address, minReadyMs: 5_000, lastResort: "release", nowMs } as const;
  return selectHolder({ ...usual, claimants, holderUid }).wanted?.pod.name;
}

describe("a claim", () => {
  const forbidden = [{ range: ipRange("192.0.2.1"), what: "the gateway of eth0" }];
  const world = { pools: [pool, { ...pool, name: "any", namespaces: undefined }], forbidden };
  for (const [text, reason] of [
    ["192.0.2.50", undefined],
    ["2001:db8::50", undefined],
    ["192.0.2.1", "AddressForbidden"],
    ["127.0.0.1", "AddressForbidden"],
    ["169.254.1.1", "AddressForbidden"],
    ["224.0.0.5", "AddressForbidden"],
    ["255.255.255.255", "AddressForbidden"],
    ["::1", "AddressForbidden"],
    ["::ffff:192.0.2.50", "AddressForbidden"],
    ["fe80::1", "AddressForbidden"],
    ["ff02::1", "AddressForbidden"],
    ["198.51.100.1", "NoPool"],
  ] as const) {
    test(`of ${text} is ${reason ?? "accepted"}`, () => {
      const verdict = judgeClaim(ip(text), "shop", world);
      assert.equal(verdict.kind === "rejected" ? verdict.reason : undefined, reason);
    });
  }

  test("of a namespace that no pool with the address allows is rejected, and the message names both", () => {
    const verdict = judgeClaim(address, "other", { pools: [pool], forbidden });
    assert.equal(verdict.kind, "rejected");
    assert.match(verdict.message, /VIPPool edge, which namespace other may not use/);
  });
});

describe("the holder", () => {
  for (const [story, claimants, holderUid, expected] of [
    ["is nobody without claimants", [], undefined, undefined],
    [
      "stays although others are ready for longer",
      [aClaimant("old"), aClaimant("now", { readySinceMs: nowMs })],
      "uid-now",
      "now",
    ],
    [
      "stays although another has a higher priority",
      [aClaimant("now"), aClaimant("high", { priority: 9 })],
      "uid-now",
      "now",
    ],
    [
      "yields to a higher priority that preempts",
      [aClaimant("now"), aClaimant("high", { priority: 9, preempts: true })],
      "uid-now",
      "high",
    ],
    [
      "does not yield to an equal priority that preempts",
      [aClaimant("now"), aClaimant("other", { preempts: true })],
      "uid-now",
      "now",
    ],
    [
      "does not yield to a preempting pod that is ready for less than minReadySeconds",
      [
        aClaimant("now"),
        aClaimant("high", { priority: 9, preempts: true, readySinceMs: nowMs - 10 }),
      ],
      "uid-now",
      "now",
    ],
    [
      "is the one of higher priority",
      [aClaimant("a"), aClaimant("b", { priority: 1 })],
      undefined,
      "b",
    ],
    [
      "is the one that holds another address of the annotation",
      [aClaimant("a"), aClaimant("b", { holdsSibling: true })],
      undefined,
      "b",
    ],
    [
      "is the one that is ready for longer",
      [aClaimant("a"), aClaimant("b", { readySinceMs: nowMs - 90_000 })],
      undefined,
      "b",
    ],
    [
      "is the one with the smaller uid, not the smaller address",
      [aClaimant("a", { podIps: [ip("10.0.0.10")] }), aClaimant("b")],
      undefined,
      "a",
    ],
    [
      "is not one that was ready just now, while another is settled",
      [aClaimant("a", { readySinceMs: nowMs - 10, priority: 9 }), aClaimant("b")],
      undefined,
      "b",
    ],
    [
      "is one that was ready just now, when there is no other",
      [aClaimant("a", { readySinceMs: nowMs - 10 })],
      undefined,
      "a",
    ],
    [
      "is not one that is held down, while another is settled",
      [aClaimant("a", { heldDownUntilMs: nowMs + 1 }), aClaimant("b")],
      undefined,
      "b",
    ],
    [
      "is one that is held down, when there is no other",
      [aClaimant("a", { heldDownUntilMs: nowMs + 1 })],
      undefined,
      "a",
    ],
  ] as const) {
    test(story, () => {
      assert.equal(holderAmong(claimants, holderUid), expected);
      assert.equal(holderAmong(claimants.toReversed(), holderUid), expected);
    });
  }

  for (const [reason, wish] of [
    ["PodTerminating", { isTerminating: true }],
    ["PodNotRunning", { phase: "Pending" }],
    ["PodNotReady", { isReady: false }],
    ["ProbeFailing", { isReady: false, wishes: probed }],
    ["NoAddressOfFamily", { podIps: [ip("2001:db8::9")] }],
    ["NodeNotReady", { isNodeReady: false }],
    ["NoFreshAgent", { session: undefined }],
  ] as const) {
    test(`is never a claimant with ${reason}, also when it holds the address`, () => {
      const claimant = aClaimant("a", wish);
      const selection = selectHolder({
        ip: address,
        claimants: [claimant],
        holderUid: "uid-a",
        minReadyMs: 0,
        lastResort: "release",
        nowMs,
      });
      assert.equal(selection.wanted, undefined);
      assert.deepEqual(selection.candidates, [{ pod: claimant.pod, nodeName: "n1", reason }]);
    });
  }

  for (const [story, wish, other, expected] of [
    ["stays while its pod runs and no other may", { isReady: false }, { isReady: false }, "a"],
    ["stays while its node is said to be gone", { isNodeReady: false }, { isReady: false }, "a"],
    ["does not stay when another may", { isReady: false }, {}, "b"],
    ["does not stay when its pod ends", { isTerminating: true }, { isReady: false }, undefined],
    ["does not stay without an agent", { session: undefined }, { isReady: false }, undefined],
  ] as const) {
    test(`of a pool that keeps as a last resort ${story}`, () => {
      const selection = selectHolder({
        ip: address,
        claimants: [aClaimant("a", wish), aClaimant("b", other)],
        holderUid: "uid-a",
        minReadyMs: 0,
        lastResort: "keep",
        nowMs,
      });
      assert.equal(selection.wanted?.pod.name, expected);
    });
  }

  const claimants = fc.uniqueArray(
    fc.record({
      podUid: fc.constantFrom("a", "b", "c", "d", "e"),
      isReady: fc.boolean(),
      session: fc.constantFrom(undefined, 1),
      priority: fc.integer({ min: 0, max: 2 }),
      preempts: fc.boolean(),
      holdsSibling: fc.boolean(),
      readySinceMs: fc.integer({ min: nowMs - 10_000, max: nowMs }),
      heldDownUntilMs: fc.constantFrom(0, nowMs + 1_000),
    }),
    { selector: ({ podUid }) => podUid },
  );

  test("does not depend on the order of claimants, may hold, and is missing only when nobody may", () => {
    fc.assert(
      fc.property(claimants, fc.constantFrom(undefined, "a", "b"), (wishes, holderUid) => {
        const all = wishes.map((wish) => aClaimant(wish.podUid, wish));
        const usual = { minReadyMs: 5_000, lastResort: "release", nowMs } as const;
        const facts = { ip: address, holderUid, ...usual };
        const { wanted } = selectHolder({ ...facts, claimants: all });
        const backwards = selectHolder({ ...facts, claimants: all.toReversed() });
        assert.deepEqual(backwards.wanted, wanted);
        const able = all.filter((claimant) => whyNot(address, claimant) === undefined);
        assert.equal(wanted === undefined, able.length === 0);
        assert.ok(wanted === undefined || able.some(({ podUid }) => podUid === wanted.podUid));
      }),
    );
  });

  test("once chosen, is chosen again as long as nobody preempts", () => {
    fc.assert(
      fc.property(claimants, (wishes) => {
        const all = wishes.map((wish) => aClaimant(wish.podUid, { ...wish, preempts: false }));
        const first = holderAmong(all);
        assert.equal(holderAmong(all, first), first);
      }),
    );
  });
});

describe("a pod that an address left too often", () => {
  for (const [moves, seconds] of [
    [3, 0],
    [4, 5],
    [5, 10],
    [6, 20],
    [30, 300],
  ] as const) {
    test(`stands back for ${seconds} s after ${moves} moves in a minute`, () => {
      const movesMs = Array.from({ length: moves }, (_, index) => nowMs - index);
      assert.equal(heldDownUntil(movesMs), seconds === 0 ? 0 : nowMs + seconds * 1_000);
    });
  }

  test("is held down to the end, also when the minute is over", () => {
    const movesMs = Array.from({ length: 12 }, (_, index) => nowMs - 70_000 - index);
    assert.ok(heldDownUntil(movesMs) > nowMs);
  });

  test("is not held down for moves that were more than a minute apart", () => {
    assert.equal(heldDownUntil([1, 2, 3, 4, 5].map((each) => nowMs - 30_000 * each)), 0);
  });

  test("is remembered as long as it matters, and not without end", () => {
    let losses: ReturnType<typeof withLoss> = [];
    for (let atMs = 0; atMs <= 1_000_000; atMs += 1_000) losses = withLoss(losses, "a", atMs);
    assert.equal(losses.length, 32);
    assert.equal(losses.at(-1)?.atMs, 1_000_000);
    assert.deepEqual(withLoss(losses, "b", 2_000_000), [{ podUid: "b", atMs: 2_000_000 }]);
  });
});
