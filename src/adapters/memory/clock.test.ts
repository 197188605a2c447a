// What the clock that tests move promises beyond the port: exact times, and promises that run between timers.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "./clock.ts";

describe("ManualClock", () => {
  it("stands still, fires each timer at its own time and ends where it was told to", () => {
    const clock = new ManualClock(1000);
    const firedAtMs: number[] = [];
    for (const delayMs of [30, 10, 20, 41]) {
      clock.after(delayMs, () => firedAtMs.push(clock.nowMs()));
    }
    assert.equal(clock.nowMs(), 1000);
    clock.advance(40);
    assert.deepEqual(firedAtMs, [1010, 1020, 1030]);
    assert.equal(clock.nowMs(), 1040);
    assert.equal(clock.pendingCount, 1);
    clock.advance(1);
    assert.deepEqual(firedAtMs.at(-1), 1041);
    assert.equal(clock.pendingCount, 0);
  });

  it("fires a timer that repeats itself as often as it fits into the time", () => {
    const clock = new ManualClock();
    let count = 0;
    const repeat = () => {
      count += 1;
      clock.after(10, repeat);
    };
    clock.after(10, repeat);
    clock.advance(55);
    assert.equal(count, 5);
  });

  it("lets promises run between timers when time passes, so that what they set still fires", async () => {
    const clock = new ManualClock(0);
    const order: string[] = [];
    clock.after(10, () => {
      void Promise.resolve().then(() => {
        clock.after(10, () => order.push(`set by a promise, at ${clock.nowMs()}`));
      });
    });
    clock.after(25, () => order.push("set before, at 25"));
    await clock.pass(30);
    assert.deepEqual(order, ["set by a promise, at 20", "set before, at 25"]);
    assert.equal(clock.nowMs(), 30);
  });
});
