// The promises of src/ports/clock.ts as tests, for the clock that tests move and for the machine's own.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Clock } from "../../src/ports/clock.ts";

/** A clock under test. */
export type ClockBench = {
  readonly clock: Clock;
  /** Lets at least that time pass; it resolves after the timers that became due. */
  readonly pass: (ms: number) => Promise<void>;
};

/** Runs the suite; times are small, because some clocks cannot be hurried. */
export function describeClock(name: string, makeBench: () => ClockBench): void {
  describe(`${name} as Clock`, () => {
    it("moves on and never goes back", async () => {
      const { clock, pass } = makeBench();
      const times = [clock.nowMs()];
      for (let step = 0; step < 5; step += 1) {
        await pass(4);
        times.push(clock.nowMs());
      }
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
      assert.ok((times.at(-1) ?? 0) >= (times[0] ?? 0) + 10);
    });

    it("calls an action once, after its delay", async () => {
      const { clock, pass } = makeBench();
      const startMs = clock.nowMs();
      const calledAtMs: number[] = [];
      clock.after(10, () => calledAtMs.push(clock.nowMs()));
      assert.equal(calledAtMs.length, 0);
      await pass(30);
      await pass(30);
      assert.equal(calledAtMs.length, 1);
      // Timers of the machine count in another clock than the time of day, which is why they may differ by one.
      assert.ok((calledAtMs[0] ?? 0) >= startMs + 9);
    });

    it("never calls an action from inside after, not even without a delay", async () => {
      const { clock, pass } = makeBench();
      let calls = 0;
      clock.after(0, () => {
        calls += 1;
      });
      assert.equal(calls, 0);
      await pass(5);
      assert.equal(calls, 1);
    });

    it("calls actions in the order of their times, and those of one time in the order in which they were set", async () => {
      const { clock, pass } = makeBench();
      const order: string[] = [];
      clock.after(20, () => order.push("late"));
      clock.after(5, () => order.push("early 1"));
      clock.after(5, () => order.push("early 2"));
      await pass(60);
      assert.deepEqual(order, ["early 1", "early 2", "late"]);
    });

    it("calls an action that another action asked for", async () => {
      const { clock, pass } = makeBench();
      const order: string[] = [];
      clock.after(5, () => {
        order.push("first");
        clock.after(5, () => order.push("second"));
      });
      await pass(40);
      await pass(40);
      assert.deepEqual(order, ["first", "second"]);
    });

    it("does not call a cancelled action; cancelling twice or afterwards harms nothing", async () => {
      const { clock, pass } = makeBench();
      const calls: string[] = [];
      const cancel = clock.after(5, () => calls.push("cancelled"));
      const cancelLate = clock.after(5, () => calls.push("kept"));
      cancel();
      cancel();
      await pass(30);
      cancelLate();
      cancel();
      assert.deepEqual(calls, ["kept"]);
    });
  });
}
