// Every planned fault does to the call what its name says, and nothing else.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { anAllocation } from "../../../test/builders.ts";
import type { AllocationEvent } from "../../ports/allocation-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { MemoryAllocationStore } from "./allocation-store.ts";
import { MemoryCluster } from "./cluster.ts";
import { type FaultPlan, withFaults } from "./faults.ts";

/** Lets everything that waits for nothing but promises run. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

const worldError = (mayHaveHappened: boolean) => (error: unknown) =>
  error instanceof WorldError &&
  error.mayHaveHappened === mayHaveHappened &&
  error.tried === "create (call 1)";

function makeStores(plan: FaultPlan) {
  const store = new MemoryAllocationStore(new MemoryCluster());
  const count = async () => (await store.list()).length;
  return { store, faulty: withFaults(store, plan), count };
}

describe("withFaults", () => {
  it("passes calls and watches through when all is ok", async () => {
    const { faulty } = makeStores(() => "ok");
    const events: AllocationEvent[] = [];
    const stop = faulty.watch((event) => events.push(event));
    const outcome = await faulty.create(anAllocation());
    assert.equal(outcome.kind, "created");
    assert.equal((await faulty.list()).length, 1);
    await settle();
    assert.deepEqual(
      events.map((event) => event.kind),
      ["changed"],
    );
    stop();
  });

  it("fail: does nothing and says so", async () => {
    const { faulty, count } = makeStores(() => "fail");
    await assert.rejects(faulty.create(anAllocation()), worldError(false));
    assert.equal(await count(), 0);
  });

  it("lost: does nothing but says that it may have", async () => {
    const { faulty, count } = makeStores(() => "lost");
    await assert.rejects(faulty.create(anAllocation()), worldError(true));
    assert.equal(await count(), 0);
  });

  it("fail-after-applied: does it but only says that it may have", async () => {
    const { faulty, count } = makeStores(() => "fail-after-applied");
    await assert.rejects(faulty.create(anAllocation()), worldError(true));
    assert.equal(await count(), 1);
  });

  it("slow: does it when the promise settles, and answers then", async () => {
    const gate = Promise.withResolvers<void>();
    const { faulty, count } = makeStores(() => ({ kind: "slow", until: gate.promise }));
    const creating = faulty.create(anAllocation());
    await settle();
    assert.equal(await count(), 0);
    gate.resolve();
    assert.equal((await creating).kind, "created");
    assert.equal(await count(), 1);
  });

  it("slow-answer: does it at once, and answers when the promise settles", async () => {
    const gate = Promise.withResolvers<void>();
    const { faulty, count } = makeStores(() => ({ kind: "slow-answer", until: gate.promise }));
    let isAnswered = false;
    const creating = faulty.create(anAllocation()).then((outcome) => {
      isAnswered = true;
      return outcome;
    });
    await settle();
    assert.equal(await count(), 1);
    assert.equal(isAnswered, false);
    gate.resolve();
    assert.equal((await creating).kind, "created");
  });

  it("applied-late: says at once that it may have happened, and does it when the promise settles", async () => {
    const gate = Promise.withResolvers<void>();
    const { faulty, count } = makeStores(() => ({ kind: "applied-late", until: gate.promise }));
    await assert.rejects(faulty.create(anAllocation()), worldError(true));
    await settle();
    assert.equal(await count(), 0);
    gate.resolve();
    await settle();
    assert.equal(await count(), 1);
  });

  it("tells the plan name, count and arguments of each call, counted by name", async () => {
    const calls: unknown[] = [];
    const { faulty } = makeStores(({ name, count, args }) => {
      calls.push([name, count, args.length]);
      return "ok";
    });
    await faulty.list();
    await faulty.create(anAllocation());
    await faulty.list();
    assert.deepEqual(calls, [
      ["list", 1, 0],
      ["create", 1, 1],
      ["list", 2, 0],
    ]);
  });
});
