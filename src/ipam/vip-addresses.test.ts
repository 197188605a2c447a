// A virtual address is never a pod's address too: both go through the one writer.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { anAllocation, aPodSubnet, ip, podOwner } from "../../test/builders.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryCluster } from "../adapters/memory/cluster.ts";
import { FixedLeadership } from "../adapters/memory/leadership.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryMetrics } from "../adapters/memory/metrics.ts";
import { Topology } from "../core/subnets.ts";
import { Allocator } from "./allocator.ts";
import { VipAddressRecords } from "./vip-addresses.ts";

const address = ip("10.0.70.2");

function anAddressSpace(store = new MemoryAllocationStore(new MemoryCluster())) {
  const allocator = new Allocator({
    store,
    clock: new ManualClock(),
    leadership: new FixedLeadership(),
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
  });
  allocator.configure(new Topology([aPodSubnet({ ranges: ["10.0.70.2~10.0.70.3"] })]));
  const free = () => allocator.view.freeFor({ family: "IPv4", ranges: undefined }, [0], 10);
  return { allocator, store, free, addresses: new VipAddressRecords(allocator) };
}

describe("keeping a virtual address", () => {
  it("takes it from what pods can get, with a durable record, until it is given back", async () => {
    const { addresses, free, store } = anAddressSpace();
    assert.deepEqual(await addresses.keep(address), { kind: "kept" });
    assert.deepEqual(await addresses.keep(address), { kind: "kept" });
    assert.deepEqual([...free()], [ip("10.0.70.3")]);
    assert.deepEqual((await store.read(address))?.owner, { kind: "admin", key: "vip" });
    await addresses.giveBack(address);
    assert.deepEqual([...free()].toSorted(), [address, ip("10.0.70.3")]);
    assert.equal(await store.read(address), undefined);
  });

  it("makes a record also of an address that no configuration lists", async () => {
    const { addresses, store } = anAddressSpace();
    const outside = ip("192.0.2.50");
    assert.deepEqual(await addresses.keep(outside), { kind: "kept" });
    assert.notEqual(await store.read(outside), undefined);
  });

  it("is refused for a pod's address, which is named, and left alone", async () => {
    const { addresses, allocator, store } = anAddressSpace();
    await store.create(
      anAllocation({ ip: address, owner: podOwner({ namespace: "ns1", name: "web-0" }) }),
    );
    await allocator.restore();
    assert.deepEqual(await addresses.keep(address), { kind: "in use", by: "pod ns1/web-0" });
    await addresses.giveBack(address);
    assert.notEqual(await store.read(address), undefined);
  });

  it("is refused for what an operator reserved for something else", async () => {
    const { addresses, allocator, store } = anAddressSpace();
    await store.create(anAllocation({ ip: address, owner: { kind: "admin", key: "router" } }));
    await allocator.restore();
    const by = "the administrator (router)";
    assert.deepEqual(await addresses.keep(address), { kind: "in use", by });
  });

  it("waits for an address that is promised to a pod", async () => {
    const { addresses, allocator } = anAddressSpace();
    allocator.hold({
      podUid: "uid-web",
      pod: { namespace: "ns1", name: "web-0" },
      workload: undefined,
      pool: undefined,
      byZone: new Map([["zone", [address]]]),
      expiresAtMs: Number.POSITIVE_INFINITY,
    });
    assert.deepEqual(await addresses.keep(address), { kind: "busy" });
    allocator.dropHold("uid-web");
    assert.deepEqual(await addresses.keep(address), { kind: "kept" });
  });
});
