// Idle addresses: what becomes of a reservation that no pod uses, at any time and in any order of looks.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { aDeploymentRef, anAllocation } from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { withIdleFields } from "./allocation.ts";
import type { TtlInForce } from "./decide-idle.ts";
import { decideIdle, idleWarningMs, ttlInForce } from "./decide-idle.ts";

const hourMs = 3_600_000;
const week: TtlInForce = { kind: "ms", ttlMs: 168 * hourMs, from: "annotation" };

function reserved(fields: Partial<Allocation> = {}): Allocation {
  return anAllocation({
    owner: { kind: "workload", workload: aDeploymentRef() },
    policy: "never",
    ...fields,
  });
}

const wantedBecause = undefined;

describe("an idle address", () => {
  it("is kept without a time limit, while a pod has it, and when the administrator or nobody known owns it", () => {
    const look = (allocation: Allocation, ttl: TtlInForce = week) =>
      decideIdle({ allocation, ttl, wantedBecause, nowMs: Number.MAX_SAFE_INTEGER }).do;
    assert.equal(look(reserved({ idleSinceMs: 0, idleWarnedMs: 0 }), { kind: "none" }), "keep");
    assert.equal(look(reserved({ idleSinceMs: 0, idleWarnedMs: 0 }), { kind: "unknown" }), "keep");
    assert.equal(look(anAllocation({ idleSinceMs: 0, idleWarnedMs: 0 })), "keep");
    for (const kind of ["admin", "foreign"] as const) {
      const owner = { kind, key: "reserved" };
      assert.equal(look(reserved({ owner, idleSinceMs: 0, idleWarnedMs: 0 })), "keep");
    }
  });

  it("counts from the first look when its record does not say since when", () => {
    assert.deepEqual(decideIdle({ allocation: reserved(), ttl: week, wantedBecause, nowMs: 5 }), {
      do: "count",
      sinceMs: 5,
      warnedMs: undefined,
    });
  });

  it("is announced a day before a week ends, and released when the week is over", () => {
    const at = (hours: number, idleWarnedMs?: number) =>
      decideIdle({
        allocation: withIdleFields(reserved({ idleSinceMs: 0 }), { idleWarnedMs }),
        ttl: week,
        wantedBecause,
        nowMs: hours * hourMs,
      });
    assert.deepEqual(at(100), { do: "look", atMs: 144 * hourMs });
    assert.deepEqual(at(144), { do: "warn", sinceMs: 0, releaseAtMs: 168 * hourMs });
    assert.deepEqual(at(150, 144 * hourMs), { do: "look", atMs: 168 * hourMs });
    assert.equal(at(168, 144 * hourMs).do, "release");
  });

  it("is announced first, however late, and has the warning time from then on", () => {
    const allocation = reserved({ idleSinceMs: 0 });
    const nowMs = 1_000 * hourMs;
    assert.deepEqual(decideIdle({ allocation, ttl: week, wantedBecause, nowMs }), {
      do: "warn",
      sinceMs: 0,
      releaseAtMs: nowMs + 24 * hourMs,
    });
  });

  it("stays while somebody needs it", () => {
    const allocation = reserved({ idleSinceMs: 0, idleWarnedMs: 0 });
    const facts = { allocation, ttl: week, nowMs: 1_000 * hourMs };
    assert.deepEqual(decideIdle({ ...facts, wantedBecause: "a pod waits" }), {
      do: "keep",
      because: "a pod waits",
    });
  });

  it("is never released before its time, nor without a warning that is old enough, by any looks of any clocks", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 1_000_000_000 }),
        fc.array(fc.integer({ min: 0, max: 3_000_000_000 }), { minLength: 1, maxLength: 40 }),
        (ttlMs, looks) => {
          const ttl = { kind: "ms", ttlMs, from: "pool" } as const;
          let allocation = reserved();
          for (const nowMs of looks) {
            const decision = decideIdle({ allocation, ttl, wantedBecause, nowMs });
            if (decision.do === "count") {
              assert.ok(decision.sinceMs <= nowMs);
              allocation = withIdleFields(reserved(), {
                idleSinceMs: decision.sinceMs,
                idleWarnedMs: decision.warnedMs,
              });
            } else if (decision.do === "warn") {
              assert.ok(decision.releaseAtMs - nowMs >= idleWarningMs(ttlMs));
              allocation = withIdleFields(reserved(), {
                idleSinceMs: decision.sinceMs,
                idleWarnedMs: nowMs,
              });
            } else if (decision.do === "look") assert.ok(decision.atMs > nowMs);
            else if (decision.do === "release") {
              const { idleSinceMs, idleWarnedMs } = allocation;
              assert.ok(idleSinceMs !== undefined && nowMs - idleSinceMs >= ttlMs);
              assert.ok(idleWarnedMs !== undefined && nowMs - idleWarnedMs >= idleWarningMs(ttlMs));
              return;
            }
          }
        },
      ),
    );
  });

  it("is released in the end when nobody needs it and every due look is made", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 315_360_000_000 }), (ttlMs) => {
        const ttl = { kind: "ms", ttlMs, from: "annotation" } as const;
        let allocation = reserved();
        let nowMs = 7;
        for (let look = 0; look < 10; look += 1) {
          const decision = decideIdle({ allocation, ttl, wantedBecause, nowMs });
          if (decision.do === "release") return;
          if (decision.do === "look") nowMs = Math.ceil(decision.atMs);
          else if (decision.do === "keep") assert.fail(decision.because);
          else {
            allocation = withIdleFields(reserved(), {
              idleSinceMs: decision.sinceMs,
              idleWarnedMs: decision.do === "warn" ? nowMs : decision.warnedMs,
            });
          }
        }
        assert.fail("it was never released");
      }),
    );
  });
});

describe("the time in force", () => {
  for (const [what, facts, expected] of [
    ["the template's", { recorded: 1, template: 2, pool: 3 }, 2],
    ["the last pod's without a template", { recorded: 1, template: undefined, pool: 3 }, 1],
    ["the pool's without an annotation", { recorded: 1, template: "none", pool: 3 }, 3],
    [
      "the pool's when nothing else is said",
      { recorded: undefined, template: undefined, pool: 3 },
      3,
    ],
    ["none when the annotation says never", { recorded: 1, template: "never", pool: 3 }, "none"],
    [
      "none when nobody says anything",
      { recorded: undefined, template: "none", pool: undefined },
      "none",
    ],
    [
      "unknown while the workload cannot be read",
      { recorded: 1, template: "unknown", pool: 3 },
      "unknown",
    ],
  ] as const) {
    it(`is ${what}`, () => {
      const ttl = ttlInForce(facts);
      assert.equal(ttl.kind === "ms" ? ttl.ttlMs : ttl.kind, expected);
    });
  }
});
