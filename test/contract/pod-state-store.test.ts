// The contract of the daemon's states, run by the store in memory and the one on the Go daemon's files.

import { mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PodStateFiles } from "../../src/adapters/linux/pod-state-files.ts";
import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { MemoryPodStateStore } from "../../src/adapters/memory/pod-state-store.ts";
import { describePodStateStore } from "./pod-state-store.ts";

describePodStateStore("MemoryPodStateStore", async () => {
  const store = new MemoryPodStateStore(new ManualClock());
  return { store, again: () => store, cut: async () => store.cut(), end: async () => {} };
});

describePodStateStore("PodStateFiles", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-pod-states-"));
  return {
    store: new PodStateFiles(folder),
    again: () => new PodStateFiles(folder),
    cut: async () => {
      for (const name of await readdir(folder)) await truncate(join(folder, name), 20);
    },
    end: () => rm(folder, { recursive: true }),
  };
});
