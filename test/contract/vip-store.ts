// What every VersionedStore promises to virtual addresses: of two writers at one version exactly one succeeds. Run with node leases and with
// records.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NodeLease, VipRecord } from "../../src/core/vip.ts";
import { newVipRecord } from "../../src/core/vip.ts";
import type { NodeLeaseStore, VipStore } from "../../src/ports/vip-store.ts";
import { ip } from "../builders.ts";
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

/** Two clients of one store of records. */
export type VipStoreBench = {
  readonly store: VipStore;
  readonly foreign: VipStore;
  readonly stop: () => Promise<void>;
};

/** Runs the suite against stores of records that `start` makes. */
export function describeVipStore(name: string, start: () => Promise<VipStoreBench>): void {
  const withBench = async (run: (bench: VipStoreBench) => Promise<void>) => {
    const bench = await start();
    try {
      await run(bench);
    } finally {
      await bench.stop();
    }
  };
  const fresh = newVipRecord(ip("2001:db8::50"), 1_700_000_000_123);
  const holder = {
    pod: { namespace: "shop", name: "web-0" },
    podUid: "uid-0",
    podIp: ip("2001:db8:1::1"),
    nodeName: "n1",
    session: 1_700_000_000_456,
  };
  const create = async (store: VipStore) => {
    const created = await store.create(fresh);
    assert.equal(created.kind, "written");
    return created.value;
  };
  describe(`${name} as a store of virtual addresses`, () => {
    it("writes a record once, and reads it back whole", () =>
      withBench(async ({ store, foreign }) => {
        const created = await create(store);
        assert.deepEqual(created, { ...fresh, version: created.version });
        assert.notEqual(created.version, "");
        assert.deepEqual(await foreign.create(fresh), { kind: "exists" });
        const granted: VipRecord = {
          ...created,
          epoch: 1,
          holder,
          next: { ...holder, podUid: "uid-1" },
          release: "wanted",
          grantedAtMs: 1_700_000_001_000,
          losses: [{ podUid: "uid-9", atMs: 1_700_000_000_900 }],
          transition: {
            from: undefined,
            to: { pod: holder.pod, nodeName: "n1" },
            reason: "Claimed",
            atMs: 1_700_000_001_000,
            detectMs: undefined,
            decideMs: 3,
            programMs: 7,
          },
          foreignOwner: "aa:bb:cc:dd:ee:ff on eth0",
          unable: "it is the gateway of eth0",
          look: {
            state: "Moving",
            reason: "LettingGo",
            message: "it moves",
            candidates: [{ pod: holder.pod, nodeName: "n1", reason: "PodNotReady" }],
          },
        };
        const written = await store.update(granted);
        assert.equal(written.kind, "written");
        assert.deepEqual(written.value, { ...granted, version: written.value.version });
        assert.deepEqual(await foreign.read(fresh.ip), written.value);
        const vacated = await foreign.update({ ...created, version: written.value.version });
        assert.equal(vacated.kind, "written");
        assert.deepEqual(await store.read(fresh.ip), {
          ...created,
          version: vacated.value.version,
        });
      }));

    it("lets exactly one of two grants at one version succeed", () =>
      withBench(async ({ store, foreign }) => {
        const created = await create(store);
        const grant = (podUid: string) => ({ ...created, epoch: 1, holder: { ...holder, podUid } });
        const outcomes = await Promise.all([store.update(grant("a")), foreign.update(grant("b"))]);
        assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), ["conflict", "written"]);
      }));

    it("removes a record at its version only, and writes nothing to one that is gone", () =>
      withBench(async ({ store, foreign }) => {
        const created = await create(store);
        const updated = await foreign.update({ ...created, epoch: 1, holder });
        assert.equal(updated.kind, "written");
        assert.deepEqual(await store.remove(created), { kind: "conflict" });
        assert.deepEqual(await store.remove(updated.value), { kind: "removed" });
        assert.equal(await foreign.read(fresh.ip), undefined);
        assert.deepEqual(await foreign.update(updated.value), { kind: "missing" });
        assert.deepEqual(await store.remove(updated.value), { kind: "missing" });
      }));

    it("shows one after the other what anybody writes, never an older one after a newer", () =>
      withBench(async ({ store, foreign }) => {
        const created = await create(store);
        const shown: number[] = [];
        const stop = store.watch((address) => shown.push(store.get(address)?.epoch ?? -1));
        let record = created;
        for (let epoch = 1; epoch <= 6; epoch += 1) {
          const writer = epoch % 2 === 0 ? store : foreign;
          const outcome = await writer.update({ ...record, epoch, holder });
          assert.equal(outcome.kind, "written");
          record = outcome.value;
        }
        await waitUntil(
          "the store to show the last record",
          () => store.get(fresh.ip)?.epoch,
          (epoch) => epoch === 6,
          { everyMs: 5 },
        );
        assert.deepEqual(
          shown,
          shown.toSorted((a, b) => a - b),
        );
        stop();
      }));
  });
}
