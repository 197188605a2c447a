// The promises of src/ports/quota-store.ts as tests, for every adapter that keeps quotas.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { QuotaFacts } from "../../src/core/quota.ts";
import type { QuotaStore } from "../../src/ports/quota-store.ts";
import { aQuota } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";

/** A store under test, on a place of its own that holds no quota at first. */
export type QuotaStoreBench = {
  readonly store: QuotaStore;
  /** Frees what the bench uses; the quotas are gone then. */
  readonly stop: () => Promise<void>;
};

/** Runs the suite. */
export function describeQuotaStore(name: string, makeBench: () => Promise<QuotaStoreBench>): void {
  const withBench = async (use: (store: QuotaStore) => Promise<void>) => {
    const { store, stop } = await makeBench();
    try {
      await use(store);
    } finally {
      await stop();
    }
  };

  describe(`${name} as QuotaStore`, () => {
    it("creates quotas with uid and version, and shows them with all facts", () =>
      withBench(async (store) => {
        const forAll = await write(store, aQuota({ name: "default", limit: 0 }));
        const named = await write(store, aQuota({ name: "team-a", namespaces: ["a", "a-2"] }));
        assert.notEqual(named.version, "");
        assert.notEqual(named.uid, "");
        assert.deepEqual([named.namespaces, named.limit], [["a", "a-2"], 10]);
        assert.deepEqual([forAll.namespaces, forAll.limit], [[], 0]);
        await shows(store, [forAll, named]);
      }));

    it("answers conflict to a create of a quota that is there, and changes nothing", () =>
      withBench(async (store) => {
        const first = await write(store, aQuota({ limit: 1 }));
        assert.deepEqual(await store.write(aQuota({ limit: 2 })), { kind: "conflict" });
        await shows(store, [first]);
      }));

    it("replaces a quota of the version read, keeps its uid, and refuses an older version", () =>
      withBench(async (store) => {
        const first = await write(store, aQuota({ limit: 1, namespaces: ["a", "b"] }));
        const second = await write(store, { ...first, limit: 2, namespaces: [] });
        assert.notEqual(second.version, first.version);
        assert.deepEqual(
          { ...second, version: "" },
          { ...first, limit: 2, namespaces: [], version: "" },
        );
        assert.deepEqual(await store.write({ ...first, limit: 3 }), { kind: "conflict" });
        assert.deepEqual(await store.remove(first), { kind: "conflict" });
        await shows(store, [second]);
      }));

    it("removes a quota once, and answers missing afterwards", () =>
      withBench(async (store) => {
        const quota = await write(store, aQuota());
        assert.deepEqual(await store.remove(quota), { kind: "removed" });
        assert.deepEqual(await store.remove(quota), { kind: "missing" });
        assert.deepEqual(await store.write({ ...quota, limit: 1 }), { kind: "missing" });
        await shows(store, []);
      }));
  });
}

async function write(store: QuotaStore, quota: QuotaFacts): Promise<QuotaFacts> {
  const outcome = await store.write(quota);
  assert.equal(outcome.kind, "written");
  return outcome.quota;
}

async function shows(store: QuotaStore, expected: readonly QuotaFacts[]): Promise<void> {
  const wanted = textOf(expected);
  await waitUntil(
    `the store to show ${wanted}`,
    () => textOf(store.all()),
    (seen) => seen === wanted,
    { everyMs: 5 },
  );
}

function textOf(quotas: readonly QuotaFacts[]): string {
  const lines = quotas.map(({ name, uid, namespaces, limit, version }) =>
    JSON.stringify({ name, uid, namespaces, limit, version }),
  );
  return lines.sort().join("\n");
}
