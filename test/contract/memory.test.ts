// Every contract, run by the in-memory adapters.

import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import { MemoryCluster } from "../../src/adapters/memory/cluster.ts";
import { describeAllocationStore } from "./allocation-store.ts";

const nothingToStop = () => Promise.resolve();

describeAllocationStore("MemoryAllocationStore", async () => {
  const cluster = new MemoryCluster();
  return {
    store: new MemoryAllocationStore(cluster),
    foreign: new MemoryAllocationStore(cluster),
    stop: nothingToStop,
  };
});
