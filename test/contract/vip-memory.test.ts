// The contracts of virtual addresses, run by the in-memory adapters.

import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { MemoryVersionedStore } from "../../src/adapters/memory/versioned-store.ts";
import { MemoryVipGate } from "../../src/adapters/memory/vip-gate.ts";
import type { Ip } from "../../src/core/ip.ts";
import type { NodeLease, VipRecord } from "../../src/core/vip.ts";
import { describeVipGate } from "./vip-gate.ts";
import { describeNodeLeaseStore, describeVipStore } from "./vip-store.ts";

describeVipGate("MemoryVipGate", async () => {
  const clock = new ManualClock();
  return { gate: new MemoryVipGate(clock), pass: (ms) => clock.pass(ms) };
});

describeNodeLeaseStore("MemoryVersionedStore", async () => {
  const store = new MemoryVersionedStore<string, NodeLease>(({ nodeName }) => nodeName);
  return { store, foreign: store, stop: () => Promise.resolve() };
});

describeVipStore("MemoryVersionedStore", async () => {
  const store = new MemoryVersionedStore<Ip, VipRecord>(({ ip }) => ip);
  return { store, foreign: store, stop: () => Promise.resolve() };
});
