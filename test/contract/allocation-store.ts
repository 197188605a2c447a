// The promises of src/ports/allocation-store.ts as tests, for every adapter that keeps records.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import * as fc from "fast-check";
import type { Allocation } from "../../src/core/allocation.ts";
import { addressesOf } from "../../src/core/ip-range.ts";
import type { AllocationEvent, AllocationStore } from "../../src/ports/allocation-store.ts";
import { anAllocation, aStatefulSetRef, ip, ipRange, podOwner } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";
import { arbAllocations } from "./arbitraries.ts";

/** A store under test, on a place of its own that holds no record at first. */
export type AllocationStoreBench = {
  readonly store: AllocationStore;
  /** A second store on the same place: another process. */
  readonly foreign: AllocationStore;
  /** Writes a record of this address whose content nobody understands; absent where that cannot be. */
  readonly writeUnreadable?: (ipText: string) => Promise<void>;
  /** Frees what the bench uses; the records are gone then. */
  readonly stop: () => Promise<void>;
};

/** Runs the suite. @param options.runs how many random sets of records the round trip tries, 100 unless given */
export function describeAllocationStore(
  name: string,
  makeBench: () => Promise<AllocationStoreBench>,
  options: { readonly runs?: number } = {},
): void {
  const withBench = async (use: (bench: AllocationStoreBench) => Promise<void>) => {
    const bench = await makeBench();
    try {
      await use(bench);
    } finally {
      await bench.stop();
    }
  };

  describe(`${name} as AllocationStore`, () => {
    it("gives back a created record with a version, whether created, read or listed", () =>
      withBench(async ({ store }) => {
        const created = await create(store, anAllocation());
        assert.notEqual(created.version, "");
        assert.deepEqual({ ...created, version: "" }, anAllocation());
        assert.deepEqual(await store.read(created.ip), created);
        assert.deepEqual(await store.list(), [created]);
      }));

    it("ignores the version of what is created", () =>
      withBench(async ({ store }) => {
        const created = await create(store, anAllocation({ version: "77777777" }));
        assert.notEqual(created.version, "77777777");
      }));

    it("lets exactly one of 100 simultaneous creates of one address win, and keeps what the winner wrote", () =>
      withBench(async ({ store, foreign }) => {
        const outcomes = await Promise.all(
          Array.from({ length: 100 }, (_, index) =>
            (index % 2 === 0 ? store : foreign).create(
              anAllocation({ owner: podOwner({ name: `pod-${index}` }) }),
            ),
          ),
        );
        const won = outcomes.filter((outcome) => outcome.kind === "created");
        assert.equal(won.length, 1);
        assert.deepEqual(await store.list(), [won[0]?.allocation]);
      }));

    it("answers exists to a create of an address that another process has, and changes nothing", () =>
      withBench(async ({ store, foreign }) => {
        const theirs = await create(foreign, anAllocation({ owner: podOwner({ name: "theirs" }) }));
        assert.deepEqual(await store.create(anAllocation()), { kind: "exists" });
        assert.deepEqual(await store.read(theirs.ip), theirs);
      }));

    it("reads undefined and lists nothing where there is no record", () =>
      withBench(async ({ store }) => {
        assert.equal(await store.read(ip("10.0.70.2")), undefined);
        assert.equal(await store.read(ip("fd00::2")), undefined);
        assert.deepEqual(await store.list(), []);
      }));

    it("replaces the whole record in an update", () =>
      withBench(async ({ store }) => {
        const owner = podOwner({ name: "db-0", workload: aStatefulSetRef(), pool: "pool1" });
        const created = await create(
          store,
          anAllocation({
            owner,
            policy: "never",
            isDraining: true,
            reserveTtl: 3_600_000,
            idleSinceMs: 1_000,
            idleWarnedMs: 2_000,
          }),
        );
        const bare = anAllocation({
          owner: { kind: "pool", pool: "pool2" },
          policy: "immutable",
          updatedAtMs: created.updatedAtMs + 1,
        });
        const updated = await update(store, { ...bare, version: created.version });
        assert.deepEqual({ ...updated, version: "" }, bare);
        assert.deepEqual(await store.read(created.ip), updated);
      }));

    it("gives every write of an address a version it never had", () =>
      withBench(async ({ store }) => {
        let last = await create(store, anAllocation());
        const versions = new Set([last.version]);
        for (const policy of ["immutable", "never", "pod-delete"] as const) {
          last = await update(store, { ...last, policy });
          versions.add(last.version);
        }
        assert.deepEqual(await store.remove(last), { kind: "removed" });
        versions.add((await create(store, anAllocation())).version);
        assert.equal(versions.size, 5);
      }));

    it("refuses update and remove of a version that another process replaced, and changes nothing", () =>
      withBench(async ({ store, foreign }) => {
        const mine = await create(store, anAllocation());
        const theirs = await update(foreign, { ...mine, policy: "never" });
        assert.deepEqual(await store.update({ ...mine, policy: "immutable" }), {
          kind: "conflict",
        });
        assert.deepEqual(await store.remove(mine), { kind: "conflict" });
        assert.deepEqual(await store.read(mine.ip), theirs);
      }));

    it("refuses update and remove of a record that was deleted and created again", () =>
      withBench(async ({ store, foreign }) => {
        const first = await create(store, anAllocation());
        await foreign.remove(first);
        const second = await create(foreign, anAllocation());
        assert.deepEqual(await store.update(first), { kind: "conflict" });
        assert.deepEqual(await store.remove(first), { kind: "conflict" });
        assert.deepEqual(await store.read(first.ip), second);
      }));

    it("lets exactly one of 20 simultaneous updates of one version win", () =>
      withBench(async ({ store, foreign }) => {
        const created = await create(store, anAllocation());
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            (index % 2 === 0 ? store : foreign).update({ ...created, nodeName: `n${index}` }),
          ),
        );
        const won = outcomes.filter((outcome) => outcome.kind === "updated");
        assert.equal(won.length, 1);
        assert.equal(outcomes.filter((outcome) => outcome.kind === "conflict").length, 19);
        assert.deepEqual(await store.read(created.ip), won[0]?.allocation);
      }));

    it("answers missing to update and remove where there is no record, and creates none", () =>
      withBench(async ({ store }) => {
        const created = await create(store, anAllocation());
        assert.deepEqual(await store.remove(created), { kind: "removed" });
        assert.deepEqual(await store.update(created), { kind: "missing" });
        assert.deepEqual(await store.remove(created), { kind: "missing" });
        assert.deepEqual(await store.list(), []);
      }));

    it("reads and lists its own writes and those of others as soon as they are answered", () =>
      withBench(async ({ store, foreign }) => {
        let last = await create(foreign, anAllocation());
        for (let index = 0; index < 10; index += 1) {
          const writer = index % 2 === 0 ? store : foreign;
          last = await update(writer, { ...last, nodeName: `n${index}` });
          assert.deepEqual(await store.read(last.ip), last);
          assert.deepEqual(await store.list(), [last]);
        }
        await foreign.remove(last);
        assert.equal(await store.read(last.ip), undefined);
        assert.deepEqual(await store.list(), []);
      }));

    it("lists all of 1,500 records of both families, each once", () =>
      withBench(async ({ store }) => {
        const ips = [
          ...addressesOf(ipRange("10.0.0.1~10.0.3.232")),
          ...addressesOf(ipRange("fd00::1~fd00::1f4")),
        ];
        assert.equal(ips.length, 1500);
        const queue = ips.values();
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            for (const next of queue) await create(store, anAllocation({ ip: next }));
          }),
        );
        const listed = await store.list();
        assert.equal(listed.length, 1500);
        assert.deepEqual(new Set(listed.map((allocation) => allocation.ip)), new Set(ips));
      }));

    it("keeps every owner, policy, use and millisecond of records of both families", () =>
      withBench(async ({ store }) => {
        await fc.assert(
          fc.asyncProperty(arbAllocations, async (allocations) => {
            const created: Allocation[] = [];
            try {
              for (const allocation of allocations) {
                created.push(await create(store, allocation));
              }
              for (const [index, wanted] of allocations.entries()) {
                const read = await store.read(wanted.ip);
                assert.deepEqual(read, created[index]);
                assert.deepEqual({ ...read, version: "" }, wanted);
              }
              const byIp = (a: Allocation, b: Allocation) => (a.ip < b.ip ? -1 : 1);
              assert.deepEqual((await store.list()).toSorted(byIp), created.toSorted(byIp));
            } finally {
              for (const allocation of created) await store.remove(allocation);
            }
          }),
          { numRuns: options.runs ?? 100 },
        );
      }));

    it("keeps every owner, policy, use and millisecond through an update of any record to any other", () =>
      withBench(async ({ store }) => {
        await fc.assert(
          fc.asyncProperty(arbAllocations, async (allocations) => {
            const address = ip("10.0.70.2");
            const [first, ...others] = allocations as [Allocation, ...Allocation[]];
            let last = await create(store, { ...first, ip: address });
            try {
              for (const other of others) {
                // An operator's reservation ends with its record and not by an update.
                if (last.owner.kind === "admin" && other.owner.kind !== "admin") continue;
                const wanted = { ...other, ip: address, version: last.version };
                last = await update(store, wanted);
                assert.deepEqual({ ...last, version: "" }, { ...wanted, version: "" });
                assert.deepEqual(await store.read(address), last);
              }
            } finally {
              await store.remove(last);
            }
          }),
          { numRuns: options.runs ?? 100 },
        );
      }));

    it("tells a watcher each of its own writes and of those of others, in order", () =>
      withBench(async ({ store, foreign }) => {
        const watcher = new Watcher(store);
        try {
          for (const writer of [store, foreign]) {
            const created = await create(writer, anAllocation());
            await watcher.sees({ kind: "changed", allocation: created });
            const updated = await update(writer, { ...created, policy: "never" });
            await watcher.sees({ kind: "changed", allocation: updated });
            await writer.remove(updated);
            await watcher.sees({ kind: "removed", ip: updated.ip });
          }
        } finally {
          watcher.stop();
        }
      }));

    it("never tells an older state of an address after a newer one", () =>
      withBench(async ({ store, foreign }) => {
        const watcher = new Watcher(store);
        try {
          const created = await create(store, anAllocation());
          await watcher.sees({ kind: "changed", allocation: created });
          const told = watcher.events.length;
          const states = [textOf({ kind: "changed", allocation: created })];
          let last = created;
          for (let index = 0; index < 30; index += 1) {
            const writer = index % 2 === 0 ? store : foreign;
            last = await update(writer, { ...last, nodeName: `n${index}` });
            states.push(textOf({ kind: "changed", allocation: last }));
          }
          await foreign.remove(last);
          const removed: AllocationEvent = { kind: "removed", ip: last.ip };
          states.push(textOf(removed));
          await watcher.sees(removed);
          // What comes late comes before the word of a later write.
          const other = await create(store, anAllocation({ ip: "10.0.70.3" }));
          await watcher.sees({ kind: "changed", allocation: other });
          await nextTurn();
          const order = watcher.events
            .slice(told)
            .map((event) => states.indexOf(textOf(event)))
            .filter((position) => position >= 0);
          assert.deepEqual(
            order,
            order.toSorted((a, b) => a - b),
          );
          const wasReset = watcher.events.some((event) => event.kind === "reset");
          if (!wasReset) assert.equal(order.at(-1), states.length - 1);
        } finally {
          watcher.stop();
        }
      }));

    it("does not call a watcher inside the call of a write, and not any more once it is stopped", () =>
      withBench(async ({ store }) => {
        const stopped = new Watcher(store);
        const watcher = new Watcher(store);
        try {
          const before = await create(store, anAllocation());
          await stopped.sees({ kind: "changed", allocation: before });
          await watcher.sees({ kind: "changed", allocation: before });
          stopped.stop();
          const told = stopped.events.length;
          const toldBefore = watcher.events.length;
          const updating = update(store, { ...before, policy: "never" });
          assert.equal(watcher.events.length, toldBefore);
          await watcher.sees({ kind: "changed", allocation: await updating });
          await nextTurn();
          assert.equal(stopped.events.length, told);
        } finally {
          stopped.stop();
          watcher.stop();
        }
      }));

    it("returns a record that it cannot understand as foreign, and refuses to create over it", () =>
      withBench(async ({ store, foreign, writeUnreadable }) => {
        const address = ip("10.0.70.2");
        if (writeUnreadable === undefined) {
          await create(
            foreign,
            anAllocation({ owner: { kind: "foreign", key: "hello-xx" }, policy: "never" }),
          );
        } else {
          await writeUnreadable(address);
        }
        assert.equal((await store.read(address))?.owner.kind, "foreign");
        assert.deepEqual(
          (await store.list()).map(({ ip, owner }) => [ip, owner.kind]),
          [[address, "foreign"]],
        );
        assert.deepEqual(await store.create(anAllocation()), { kind: "exists" });
      }));
  });
}

/** Keeps what a watch told. */
class Watcher {
  readonly events: AllocationEvent[] = [];
  readonly stop: () => void;
  readonly #store: AllocationStore;
  #from = 0;

  constructor(store: AllocationStore) {
    this.#store = store;
    this.stop = store.watch((event) => this.events.push(event));
  }

  /**
   * Waits until the watch told `wanted` after the last one waited for. A `reset` stands for it, provided that the store shows that
   * state to whoever reads again, as the port asks.
   */
  async sees(wanted: AllocationEvent): Promise<void> {
    const text = textOf(wanted);
    const accepted = (event: AllocationEvent) => event.kind === "reset" || textOf(event) === text;
    const found = await waitUntil(
      `the watch to tell ${text}`,
      () => this.events.findIndex((event, index) => index >= this.#from && accepted(event)),
      (index) => index >= 0,
      { everyMs: 5 },
    );
    this.#from = found + 1;
    if (this.events[found]?.kind === "reset" && wanted.kind !== "reset") {
      const address = wanted.kind === "changed" ? wanted.allocation.ip : wanted.ip;
      const read = await this.#store.read(address);
      assert.deepEqual(read, wanted.kind === "changed" ? wanted.allocation : undefined);
    }
  }
}

function textOf(event: AllocationEvent): string {
  if (event.kind === "changed") return `${event.allocation.ip} at ${event.allocation.version}`;
  return event.kind === "removed" ? `${event.ip} removed` : "reset";
}

async function create(store: AllocationStore, allocation: Allocation): Promise<Allocation> {
  const outcome = await store.create(allocation);
  assert.equal(outcome.kind, "created", `create ${allocation.ip}`);
  return outcome.allocation;
}

async function update(store: AllocationStore, allocation: Allocation): Promise<Allocation> {
  const outcome = await store.update(allocation);
  assert.equal(outcome.kind, "updated", `update ${allocation.ip}`);
  return outcome.allocation;
}
