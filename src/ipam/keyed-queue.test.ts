// Order of work: one task per key at a time, others in parallel, retries with back-off, and an end.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../adapters/memory/clock.ts";
import { WorldError } from "../ports/world-error.ts";
import { KeyedQueue, WorkQueue } from "./keyed-queue.ts";

/** A promise that a test settles. */
function gate() {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("KeyedQueue", () => {
  it("runs tasks of one key one after the other and of other keys meanwhile", async () => {
    const queue = new KeyedQueue(10);
    const { passed, open } = gate();
    const trace: string[] = [];
    const task = (name: string, until?: Promise<void>) => async () => {
      trace.push(`${name} begins`);
      await until;
      trace.push(`${name} ends`);
      return name;
    };
    const results = [
      queue.run("a", task("a1", passed)),
      queue.run("a", task("a2")),
      queue.run("b", task("b1")),
    ];
    await settle();
    assert.deepEqual(trace, ["a1 begins", "b1 begins", "b1 ends"]);
    assert.equal(queue.length, 2);
    open();
    assert.deepEqual(await Promise.all(results), ["a1", "a2", "b1"]);
    assert.deepEqual(trace.slice(3), ["a1 ends", "a2 begins", "a2 ends"]);
    assert.equal(queue.length, 0);
  });

  it("goes on after a task that throws, and gives its caller what it threw", async () => {
    const queue = new KeyedQueue(10);
    const failing = queue.run("a", async () => {
      throw new TypeError("broken");
    });
    const following = queue.run("a", async () => "well");
    await assert.rejects(failing, TypeError);
    assert.equal(await following, "well");
  });

  it("refuses a task beyond its capacity instead of letting it wait", async () => {
    const queue = new KeyedQueue(2);
    const { passed, open } = gate();
    const running = [queue.run("a", () => passed), queue.run("b", () => passed)];
    await assert.rejects(
      queue.run("c", async () => {}),
      (error) => error instanceof WorldError && error.code === "QUEUE_FULL",
    );
    open();
    await Promise.all(running);
    assert.equal(await queue.run("c", async () => "well"), "well");
  });
});

describe("WorkQueue", () => {
  function aQueue(handle: (key: string) => Promise<void>, parallelCount = 2) {
    const clock = new ManualClock();
    const failures: string[] = [];
    const queue = new WorkQueue(
      {
        clock,
        parallelCount,
        firstRetryMs: 100,
        lastRetryMs: 400,
        onFailure: (key) => failures.push(key),
      },
      handle,
    );
    return { clock, failures, queue };
  }

  it("works on as many keys at once as it may, each once however often it was added", async () => {
    const { passed, open } = gate();
    const begun: string[] = [];
    const { queue } = aQueue(async (key) => {
      begun.push(key);
      await passed;
    });
    for (const key of ["a", "b", "c", "c", "c"]) queue.add(key);
    assert.deepEqual(begun, ["a", "b"]);
    assert.equal(queue.length, 3);
    open();
    await queue.whenIdle();
    assert.deepEqual(begun, ["a", "b", "c"]);
  });

  it("looks again at a key that was added while it was worked on", async () => {
    const { passed, open } = gate();
    let count = 0;
    const { queue } = aQueue(async () => {
      count += 1;
      await passed;
    });
    queue.add("a");
    queue.add("a");
    queue.add("a");
    open();
    await queue.whenIdle();
    assert.equal(count, 2);
  });

  it("tries a failed key again with growing pauses, and from the start after a success", async () => {
    let isBroken = true;
    const times: number[] = [];
    const { clock, failures, queue } = aQueue(async () => {
      times.push(clock.nowMs() - startMs);
      if (isBroken) throw new Error("broken");
    });
    const startMs = clock.nowMs();
    queue.add("a");
    await clock.pass(1_500);
    assert.deepEqual(times, [0, 100, 300, 700, 1_100, 1_500]);
    assert.equal(failures.length, 6);
    isBroken = false;
    await clock.pass(400);
    isBroken = true;
    queue.add("a");
    await clock.pass(100);
    assert.deepEqual(times.slice(6), [1_900, 1_900, 2_000]);
  });

  it("a key that is added while it waits for its retry is worked on at once, and once", async () => {
    let count = 0;
    const { clock, queue } = aQueue(async () => {
      count += 1;
      if (count === 1) throw new Error("broken");
    });
    queue.add("a");
    await settle();
    queue.add("a");
    await clock.pass(1_000);
    assert.equal(count, 2);
    assert.equal(clock.pendingCount, 0);
  });

  it("stops when running work has ended, and takes nothing afterwards", async () => {
    const { passed, open } = gate();
    const begun: string[] = [];
    const { clock, queue } = aQueue(async (key) => {
      begun.push(key);
      await passed;
    }, 1);
    queue.add("a");
    queue.add("b");
    queue.addAfter("c", 100);
    let isStopped = false;
    const stopped = queue.stop().then(() => {
      isStopped = true;
    });
    await settle();
    assert.equal(isStopped, false);
    open();
    await stopped;
    queue.add("d");
    await clock.pass(1_000);
    assert.deepEqual(begun, ["a"]);
    assert.equal(queue.length, 0);
  });
});
