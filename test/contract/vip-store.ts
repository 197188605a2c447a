// What every VersionedStore promises to virtual addresses: of two writers at one version exactly one succeeds. Run with node leases.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NodeLease } from "../../src/core/vip.ts";
import type { NodeLeaseStore } from "../../src/ports/vip-store.ts";
import { waitUntil } from "../control-plane/api.ts";

/** Two clients of one store. */
export type LeaseStoreBench = {
  readonly store: NodeLeaseStore;
  readonly foreign: NodeLeaseStore;
  readonly stop: () => Promise<void>;
};

const lease: NodeLease = {
  nodeName: "n1",
  session: 1,
  isRevoked: false,
  durationMs: 3_000,
  version: "",
};

/** Runs the suite against stores that `start` makes. */
export function describeNodeLeaseStore(name: string, start: () => Promise<LeaseStoreBench>): void {
  const withBench = async (run: (bench: LeaseStoreBench) => Promise<void>) => {
    const bench = await start();
    try {
      await run(bench);
    } finally {
      await bench.stop();
    }
  };
  describe(`${name} as a store of node leases`, () => {
    it("writes a lease once, and reads it back", () =>
      withBench(async ({ store, foreign }) => {
        const created = await store.create(lease);
        assert.equal(created.kind, "written");
        assert.notEqual(created.value.version, "");
        assert.deepEqual(await foreign.read("n1"), created.value);
        assert.deepEqual(await foreign.create(lease), { kind: "exists" });
      }));

    it("lets exactly one of a renewal and a revocation at one version succeed", () =>
      withBench(async ({ store, foreign }) => {
        const created = await store.create(lease);
        assert.equal(created.kind, "written");
        const outcomes = await Promise.all([
          store.update(created.value),
          foreign.update({ ...created.value, isRevoked: true }),
        ]);
        assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), ["conflict", "written"]);
      }));

    it("gives a renewal that changes nothing a new version", () =>
      withBench(async ({ store }) => {
        const created = await store.create(lease);
        assert.equal(created.kind, "written");
        const renewed = await store.update(created.value);
        assert.equal(renewed.kind, "written");
        assert.notEqual(renewed.value.version, created.value.version);
        assert.deepEqual(await store.update(created.value), { kind: "conflict" });
      }));

    it("never takes a version of a lease that was removed for one that was made again", () =>
      withBench(async ({ store, foreign }) => {
        const created = await store.create(lease);
        assert.equal(created.kind, "written");
        assert.deepEqual(await foreign.remove(created.value), { kind: "removed" });
        assert.deepEqual(await store.update(created.value), { kind: "missing" });
        assert.deepEqual(await store.remove(created.value), { kind: "missing" });
        assert.equal((await foreign.create(lease)).kind, "written");
        assert.deepEqual(await store.update(created.value), { kind: "conflict" });
        assert.deepEqual(await store.remove(created.value), { kind: "conflict" });
      }));

    it("shows what anybody changed, and tells it until it is stopped", () =>
      withBench(async ({ store, foreign }) => {
        const told: string[] = [];
        const stop = store.watch((nodeName) => told.push(nodeName));
        const created = await foreign.create(lease);
        assert.equal(created.kind, "written");
        const isSeen = (lease: NodeLease | undefined) =>
          waitUntil(
            "the store to show the lease",
            () => store.get("n1")?.version,
            (version) => version === lease?.version,
            { everyMs: 5 },
          );
        await isSeen(created.value);
        assert.ok(told.includes("n1"));
        assert.deepEqual(store.all(), [created.value]);
        stop();
        const count = told.length;
        await foreign.remove(created.value);
        await isSeen(undefined);
        assert.equal(told.length, count);
      }));
  });
}
