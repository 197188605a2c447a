// What a PodStateStore promises, asked of each adapter.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PluginRun } from "../../src/core/plugin-run.ts";
import type { PodStateStore } from "../../src/ports/pod-networks.ts";

/** A store of the suite. */
export type StateStoreUnderTest = {
  readonly store: PodStateStore;
  /** The store of a program that was started again. */
  again(): PodStateStore;
  /** Cuts everything that was written. */
  cut(): Promise<void>;
  end(): Promise<void>;
};

const full: PluginRun = {
  network: "underlay",
  ifName: "eth0",
  args: { ipinfos: '[{"ip":"10.0.0.1/24"}]' },
  conf: { type: "galaxy-k8s-vlan", device: "eth0", nested: { a: [1] } },
  netns: "/run/netns/p",
  path: ["/opt/cni/bin"],
  result: {
    interfaces: [{ name: "eth0", sandbox: "/run/netns/p" }],
    ips: [{ address: "10.0.0.1/24", interface: 0 }],
    routes: [],
    dns: {},
  },
};
const plain: PluginRun = { network: "n", ifName: "eth1", args: {}, conf: { type: "t" } };

/** Defines the suite for one adapter. */
export function describePodStateStore(
  name: string,
  open: () => Promise<StateStoreUnderTest>,
): void {
  describe(`PodStateStore: ${name}`, () => {
    it("keeps a state as it was put, also for a program that is started again, until it is removed", async () => {
      const tested = await open();
      try {
        const { store } = tested;
        assert.equal(await store.get("c1"), "absent");
        await store.put("c1", [full, plain]);
        await store.put("c2", [plain]);
        await (await store.put("c2", [])).synced;
        const [one, two] = (await tested.again().get("c1")) as readonly PluginRun[];
        assert.deepEqual(one, full);
        assert.deepEqual({ ...two }, { ...two, ...plain });
        assert.equal(two?.netns, undefined);
        assert.deepEqual(await store.get("c2"), []);
        const ids = (await store.all()).map(({ containerId }) => containerId);
        assert.deepEqual(ids.toSorted(), ["c1", "c2"]);
        for (const { writtenAtMs } of await store.all()) assert.ok(writtenAtMs > 0);
        await store.remove("c1");
        await store.remove("c1");
        assert.equal(await tested.again().get("c1"), "absent");
      } finally {
        await tested.end();
      }
    });

    it("says that a state is there and cannot be read, and still names it", async () => {
      const tested = await open();
      try {
        await tested.store.put("c1", [full]);
        await tested.cut();
        assert.equal(await tested.store.get("c1"), "unreadable");
        assert.deepEqual(
          (await tested.store.all()).map(({ containerId }) => containerId),
          ["c1"],
        );
      } finally {
        await tested.end();
      }
    });
  });
}
