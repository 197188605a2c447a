// The promises of src/ports/pool-store.ts as tests, for every adapter that keeps Pools.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PoolFacts } from "../../src/core/facts.ts";
import type { PoolStatus, PoolStore } from "../../src/ports/pool-store.ts";
import { aPool } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";

/** A store under test, on a place of its own that holds no Pool at first. */
export type PoolStoreBench = {
  readonly store: PoolStore;
  /** A second store on the same place: another process. */
  readonly foreign: PoolStore;
  /** The status as it stands now, read past every cache; undefined while none was written. */
  readonly readStatus: (pool: PoolFacts) => Promise<PoolStatus | undefined>;
  /** Frees what the bench uses; the Pools are gone then. */
  readonly stop: () => Promise<void>;
};

const enough: PoolStatus = {
  allocated: 4,
  used: 1,
  condition: { isReady: true, reason: "Ready", message: "4 of 4 addresses" },
};
const tooFew: PoolStatus = {
  allocated: 2,
  used: 2,
  condition: { isReady: false, reason: "NotEnoughAddresses", message: "2 of 4 addresses" },
};

/** Runs the suite. */
export function describePoolStore(name: string, makeBench: () => Promise<PoolStoreBench>): void {
  const withBench = async (use: (bench: PoolStoreBench) => Promise<void>) => {
    const bench = await makeBench();
    try {
      await use(bench);
    } finally {
      await bench.stop();
    }
  };

  describe(`${name} as PoolStore`, () => {
    it("creates a Pool with uid, time and version, and shows it with all facts", () =>
      withBench(async ({ store }) => {
        const written = await write(store, aPool({ size: 4, preAllocate: true }));
        assert.notEqual(written.version, "");
        assert.notEqual(written.uid, "");
        assert.ok(written.createdAtMs > 0);
        const { name, namespace, size, preAllocate } = written;
        assert.deepEqual(
          { name, namespace, size, preAllocate },
          { name: "pool1", namespace: "kube-system", size: 4, preAllocate: true },
        );
        await shows(store, [written]);
      }));

    it("keeps a size that is absent apart from size 0", () =>
      withBench(async ({ store }) => {
        const grows = await write(store, aPool({ name: "grows" }));
        const empty = await write(store, aPool({ name: "empty", size: 0 }));
        assert.equal(grows.size, undefined);
        assert.equal(empty.size, 0);
        await shows(store, [grows, empty]);
      }));

    it("takes a size away again", () =>
      withBench(async ({ store }) => {
        const sized = await write(store, aPool({ size: 4, preAllocate: true }));
        const bare = await write(store, { ...sized, size: undefined, preAllocate: false });
        assert.equal(bare.size, undefined);
        assert.equal(bare.preAllocate, false);
        await shows(store, [bare]);
      }));

    it("keeps how long addresses may be reserved, changes it and takes it away", () =>
      withBench(async ({ store }) => {
        const week = await write(store, aPool({ reserveTtl: 604_800_000 }));
        assert.equal(week.reserveTtl, 604_800_000);
        await shows(store, [week]);
        const never = await write(store, { ...week, reserveTtl: "never" });
        assert.equal(never.reserveTtl, "never");
        const { reserveTtl: _, ...bare } = never;
        const without = await write(store, bare);
        assert.equal(without.reserveTtl, undefined);
        await shows(store, [without]);
      }));

    it("lets exactly one of 20 simultaneous creates of one Pool win", () =>
      withBench(async ({ store, foreign }) => {
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            (index % 2 === 0 ? store : foreign).write(aPool({ size: index })),
          ),
        );
        const won = outcomes.filter((outcome) => outcome.kind === "written");
        assert.equal(won.length, 1);
        assert.equal(outcomes.filter((outcome) => outcome.kind === "conflict").length, 19);
        await shows(store, [(won[0] as (typeof won)[number]).pool]);
      }));

    it("replaces a Pool of the version read, keeps its uid and gives it a version it never had", () =>
      withBench(async ({ store }) => {
        const first = await write(store, aPool({ size: 1 }));
        const second = await write(store, { ...first, size: 2 });
        const third = await write(store, { ...second, size: 1 });
        assert.equal(new Set([first, second, third].map((pool) => pool.version)).size, 3);
        assert.deepEqual({ ...third, version: "" }, { ...first, version: "" });
        await shows(store, [third]);
      }));

    it("refuses to replace or remove a version that another process replaced, and changes nothing", () =>
      withBench(async ({ store, foreign }) => {
        const mine = await write(store, aPool({ size: 1 }));
        const theirs = await write(foreign, { ...mine, size: 2 });
        assert.deepEqual(await store.write({ ...mine, size: 3 }), { kind: "conflict" });
        assert.deepEqual(await store.remove(mine), { kind: "conflict" });
        await shows(store, [theirs]);
      }));

    it("answers missing to a replacement or removal of a Pool that is gone", () =>
      withBench(async ({ store, foreign }) => {
        const pool = await write(store, aPool());
        assert.deepEqual(await foreign.remove(pool), { kind: "removed" });
        assert.deepEqual(await store.write(pool), { kind: "missing" });
        assert.deepEqual(await store.remove(pool), { kind: "missing" });
        await shows(store, []);
      }));

    it("does not take a Pool that was deleted and created again for the old one", () =>
      withBench(async ({ store, foreign }) => {
        const old = await write(store, aPool({ size: 1 }));
        await foreign.remove(old);
        const young = await write(foreign, aPool({ size: 2 }));
        assert.notEqual(young.uid, old.uid);
        assert.deepEqual(await store.write({ ...old, size: 3 }), { kind: "conflict" });
        assert.deepEqual(await store.remove(old), { kind: "conflict" });
        await shows(store, [young]);
      }));

    it("writes a status and replaces it", () =>
      withBench(async ({ store, readStatus }) => {
        const pool = await write(store, aPool({ size: 4 }));
        await shows(store, [pool]);
        await store.writeStatus(pool, tooFew);
        assert.deepEqual(await readStatus(pool), tooFew);
        await store.writeStatus(pool, enough);
        assert.deepEqual(await readStatus(pool), enough);
      }));

    it("writes nothing when the status is already so", () =>
      withBench(async ({ store }) => {
        const pool = await write(store, aPool({ size: 4 }));
        await shows(store, [pool]);
        await store.writeStatus(pool, enough);
        const seen = await waitUntil(
          "the version of the status to be seen",
          () => store.all(),
          (pools) => pools[0] !== undefined && pools[0].version !== pool.version,
          { everyMs: 5 },
        );
        const current = seen[0] as PoolFacts;
        await store.writeStatus(current, { ...enough });
        // Only possible while nothing was written since `current`.
        assert.equal((await store.write({ ...current, size: 5 })).kind, "written");
      }));

    it("takes the status of a Pool that is gone for no error, and gives it to no other Pool of that name", () =>
      withBench(async ({ store, readStatus }) => {
        const old = await write(store, aPool());
        await store.remove(old);
        await store.writeStatus(old, enough);
        const young = await write(store, aPool());
        await store.writeStatus(old, enough);
        assert.equal(await readStatus(young), undefined);
      }));

    it("tells a watcher the name of every Pool that is added, changed or removed, whoever did it, until it is stopped", () =>
      withBench(async ({ store, foreign }) => {
        const told: string[] = [];
        const toldLast: string[] = [];
        const stop = store.watch((poolName) => told.push(poolName));
        const stopLast = store.watch((poolName) => toldLast.push(poolName));
        const isTold = async (from: number, poolName: string, list = told) =>
          waitUntil(
            `the watch to tell ${poolName}`,
            () => list.slice(from),
            (names) => names.includes(poolName),
            { everyMs: 5 },
          );
        try {
          for (const [writer, poolName] of [
            [store, "own"],
            [foreign, "theirs"],
          ] as const) {
            let from = told.length;
            const added = await write(writer, aPool({ name: poolName }));
            await isTold(from, poolName);
            from = told.length;
            const changed = await write(writer, { ...added, size: 2 });
            await isTold(from, poolName);
            from = told.length;
            await writer.remove(changed);
            await isTold(from, poolName);
          }
          stop();
          await write(store, aPool({ name: "late" }));
          await isTold(0, "late", toldLast);
          assert.ok(!told.includes("late"));
        } finally {
          stop();
          stopLast();
        }
      }));
  });
}

/** Waits until the store shows exactly these Pools; it may show them from a cache. */
async function shows(store: PoolStore, wanted: readonly PoolFacts[]): Promise<void> {
  const textOf = (pools: readonly PoolFacts[]) =>
    pools
      .map(({ namespace, name, version }) => `${namespace}/${name} at ${version}`)
      .toSorted()
      .join(", ");
  const seen = await waitUntil(
    `the store to show [${textOf(wanted)}]`,
    () => store.all(),
    (pools) => textOf(pools) === textOf(wanted),
    { everyMs: 5 },
  );
  const byName = (a: PoolFacts, b: PoolFacts) => (a.name < b.name ? -1 : 1);
  assert.deepEqual(seen.toSorted(byName), wanted.toSorted(byName));
}

async function write(store: PoolStore, pool: PoolFacts): Promise<PoolFacts> {
  const outcome = await store.write(pool);
  assert.equal(outcome.kind, "written", `write Pool ${pool.namespace}/${pool.name}`);
  return outcome.pool;
}
