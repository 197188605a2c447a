// The promises of src/ports/attachment-store.ts as tests, for memory and files.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttachmentRecord } from "../../src/core/attachment-record.ts";
import type { AttachmentStore } from "../../src/ports/attachment-store.ts";

/** A store under test, and a way to damage it. */
export type AttachmentStoreBench = {
  readonly store: AttachmentStore;
  /** Another store on the same records, as another process has it. */
  readonly again: () => AttachmentStore;
  /** Cuts every record short. */
  readonly cut: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

function aRecord(containerId: string, network = "n1"): AttachmentRecord {
  return {
    id: { containerId, network, ifName: "eth0" },
    netns: "/run/netns/p",
    shared: [{ key: "link vlan5", steps: [], undo: [] }],
    steps: [{ do: "up", place: "pod", link: "eth0" }],
    undo: [],
    announcements: [],
    result: { interfaces: [], ips: [], routes: [], dns: {} },
    createdAtMs: 1,
    isComplete: false,
  };
}

/** Runs the suite. */
export function describeAttachmentStore(
  name: string,
  makeBench: () => Promise<AttachmentStoreBench>,
): void {
  describe(`${name} as AttachmentStore`, () => {
    const bench = (what: string, body: (bench: AttachmentStoreBench) => Promise<void>): void => {
      it(what, async () => {
        const made = await makeBench();
        try {
          await body(made);
        } finally {
          await made.stop();
        }
      });
    };

    bench(
      "gives back what was put, also to another process, and replaces it whole",
      async (made) => {
        const { store, again } = made;
        const record = aRecord("c1");
        assert.equal(await store.get(record.id), "absent");
        assert.deepEqual(await store.all(), []);
        await store.put(record);
        assert.deepEqual(await again().get(record.id), record);
        await store.put({ ...record, isComplete: true });
        assert.deepEqual(await again().all(), [{ ...record, isComplete: true }]);
      },
    );

    bench(
      "tells networks and interfaces of one container apart, whatever their names are",
      async ({ store }) => {
        const ids = [aRecord("c1", "a"), aRecord("c1", "a.b"), aRecord("c1", "A"), aRecord("c1.a")];
        for (const record of ids) await store.put(record);
        assert.equal((await store.all()).length, ids.length);
        await store.remove({ containerId: "c1", network: "a", ifName: "eth0" });
        assert.equal((await store.all()).length, ids.length - 1);
      },
    );

    bench("sees what another process put, replaced and removed meanwhile", async (made) => {
      const { store, again } = made;
      const record = aRecord("c1");
      await store.put(record);
      assert.deepEqual(await store.all(), [record]);
      await again().put({ ...record, isComplete: true });
      assert.deepEqual(await store.get(record.id), { ...record, isComplete: true });
      await again().put(aRecord("c2"));
      assert.equal((await store.all()).length, 2);
      await again().remove(record.id);
      assert.equal(await store.get(record.id), "absent");
      assert.deepEqual(await store.all(), [aRecord("c2")]);
    });

    bench("removes what is there and what is not", async ({ store }) => {
      const record = aRecord("c1");
      await store.put(record);
      await store.remove(record.id);
      await store.remove(record.id);
      assert.equal(await store.get(record.id), "absent");
    });

    bench(
      "says that a record is unreadable, goes on without it, and lets it be replaced",
      async (made) => {
        const { store, cut } = made;
        const record = aRecord("c1");
        await store.put(record);
        await cut();
        assert.equal(await store.get(record.id), "unreadable");
        assert.deepEqual(await store.all(), []);
        await store.put(record);
        assert.deepEqual(await store.get(record.id), record);
      },
    );
  });
}
