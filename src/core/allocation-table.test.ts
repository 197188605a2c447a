// The address space in memory against plain lists: whatever happens in whatever order, the indexes, the counts and what is free agree.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aPodSubnet,
  aStatefulSetRef,
  ip,
  ipRange,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { EntryPhase, Hold } from "./allocation-table.ts";
import { AllocationTable } from "./allocation-table.ts";
import type { FreeOrigin } from "./free-addresses.ts";
import type { Ip, IpFamily } from "./ip.ts";
import { compareIps, familyOf, ipToNumber } from "./ip.ts";
import { addressesOf, rangeContains } from "./ip-range.ts";
import type { Owner, PodId, WorkloadRef } from "./owner.ts";
import { podIdText, workloadIdText } from "./owner.ts";
import { slotAccepts } from "./pick.ts";
import { Topology } from "./subnets.ts";

const wide = new Topology([
  aPodSubnet({ cidr: "10.0.1.0/24", ranges: ["10.0.1.2~10.0.1.5", "10.0.1.9"] }),
  aPodSubnet({ cidr: "10.0.2.0/24", ranges: ["10.0.2.2~10.0.2.4"] }),
  aPodSubnet({ cidr: "2001:db8::/64", ranges: ["2001:db8::2~2001:db8::4"] }),
]);
const narrow = new Topology([
  aPodSubnet({ cidr: "10.0.2.0/24", ranges: ["10.0.2.3~10.0.2.6"] }),
  aPodSubnet({ cidr: "10.0.1.0/24", ranges: ["10.0.1.2~10.0.1.3"] }),
]);
/** What were two pod subnets is one here. */
const merged = new Topology([
  aPodSubnet({ cidr: "10.0.0.0/16", ranges: ["10.0.1.2~10.0.1.5", "10.0.2.2~10.0.2.6"] }),
]);
const topologies = [wide, narrow, merged, new Topology([])];

const universe = [...topologies.flatMap(configuredIps), ip("10.0.1.7"), ip("10.9.9.9")].filter(
  (address, index, all) => all.indexOf(address) === index,
);

function configuredIps(topology: Topology): readonly Ip[] {
  return topology.subnets.flatMap((subnet) =>
    subnet.ranges.flatMap((range) => [...addressesOf(range)]),
  );
}

const pods: readonly PodId[] = [
  { namespace: "ns1", name: "web-0" },
  { namespace: "ns1", name: "web-1" },
  { namespace: "ns2", name: "web-0" },
];
const workloads: readonly WorkloadRef[] = [aDeploymentRef(), aStatefulSetRef()];
const poolNames = ["blue", "green"];

const arbitraryOwner: fc.Arbitrary<Owner> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...pods),
        fc.constantFrom(undefined, ...workloads),
        fc.constantFrom(undefined, ...poolNames),
      )
      .map(([pod, workload, pool]) => podOwner({ ...pod, workload, pool })),
  },
  fc.constantFrom<Owner>(
    { kind: "workload", workload: aDeploymentRef() },
    { kind: "pool", pool: "blue" },
    { kind: "admin", key: "pool__reserved_" },
    { kind: "foreign", key: "hello-xx" },
  ),
);

const arbitraryAllocation: fc.Arbitrary<Allocation> = fc
  .tuple(fc.constantFrom(...universe), arbitraryOwner, fc.boolean())
  .map(([address, owner, keepsUid]) =>
    anAllocation({
      ip: address,
      owner,
      ...(owner.kind === "pod" && !keepsUid ? { podUid: "", nodeName: "" } : {}),
    }),
  );

const arbitraryOrigin: fc.Arbitrary<FreeOrigin> = fc.oneof(
  fc.constant<FreeOrigin>({ kind: "fresh" }),
  fc.integer({ min: 0, max: 9 }).map((atMs): FreeOrigin => ({ kind: "released", atMs })),
);

type Step =
  | { readonly kind: "put"; readonly allocation: Allocation; readonly phase: EntryPhase }
  | { readonly kind: "drop"; readonly at: number; readonly origin: FreeOrigin }
  | { readonly kind: "phase"; readonly at: number; readonly phase: EntryPhase }
  | { readonly kind: "hold"; readonly uid: string; readonly picks: readonly number[] }
  | { readonly kind: "dropHold"; readonly uid: string }
  | { readonly kind: "expire" }
  | { readonly kind: "configure"; readonly topology: number }
  | { readonly kind: "load"; readonly allocations: readonly Allocation[] };

const arbitraryPhase = fc.constantFrom<EntryPhase>(
  "idle",
  "writing",
  "leaving",
  "unsettled",
  "lost",
);
const arbitraryUid = fc.constantFrom("uid-a", "uid-b", "uid-c");
const arbitraryPosition = fc.nat(universe.length - 1);

const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      allocation: arbitraryAllocation,
      phase: arbitraryPhase,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("drop" as const),
      at: arbitraryPosition,
      origin: arbitraryOrigin,
    }),
  },
  fc.record({ kind: fc.constant("phase" as const), at: arbitraryPosition, phase: arbitraryPhase }),
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("hold" as const),
      uid: arbitraryUid,
      picks: fc.uniqueArray(fc.nat(9), { maxLength: 3 }),
    }),
  },
  fc.record({ kind: fc.constant("dropHold" as const), uid: arbitraryUid }),
  fc.constant({ kind: "expire" as const }),
  fc.record({ kind: fc.constant("configure" as const), topology: fc.nat(topologies.length - 1) }),
  fc.record({
    kind: fc.constant("load" as const),
    allocations: fc.uniqueArray(arbitraryAllocation, {
      maxLength: 6,
      selector: (allocation) => allocation.ip,
    }),
  }),
);

/** What an address that is not taken, held or not, remembers of its last release. */
type Waiting = { readonly releasedAtMs: number | undefined };

/** The table's promises over single addresses and plain lists. */
class NaiveTable {
  topology = new Topology([]);
  readonly entries = new Map<Ip, { allocation: Allocation; phase: EntryPhase }>();
  /** Configured addresses without an allocation. */
  waiting = new Map<Ip, Waiting>();
  holds: Hold[] = [];
  readonly heldBy = new Map<Ip, string>();

  put(allocation: Allocation, phase: EntryPhase): void {
    this.entries.set(allocation.ip, { allocation, phase });
    this.waiting.delete(allocation.ip);
    this.heldBy.delete(allocation.ip);
  }

  drop(address: Ip, origin: FreeOrigin): void {
    if (!this.entries.delete(address)) return;
    this.heldBy.delete(address);
    if (!this.topology.isConfigured(address)) return;
    this.waiting.set(address, {
      releasedAtMs: origin.kind === "released" ? origin.atMs : undefined,
    });
  }

  hold(hold: Hold): void {
    this.dropHold(hold.podUid);
    if (hold.byZone.size === 0) return;
    this.holds.push(hold);
    for (const address of [...hold.byZone.values()].flat()) {
      if (!this.heldBy.has(address)) this.heldBy.set(address, hold.podUid);
    }
  }

  dropHold(uid: string): void {
    this.holds = this.holds.filter((hold) => hold.podUid !== uid);
    for (const [address, holder] of this.heldBy) if (holder === uid) this.heldBy.delete(address);
  }

  expire(nowMs: number): void {
    for (const hold of this.holds) if (hold.expiresAtMs <= nowMs) this.dropHold(hold.podUid);
  }

  configure(topology: Topology): void {
    for (const hold of this.holds) this.dropHold(hold.podUid);
    this.topology = topology;
    this.#rebuild(this.waiting);
  }

  load(allocations: readonly Allocation[]): void {
    for (const hold of this.holds) this.dropHold(hold.podUid);
    this.entries.clear();
    for (const allocation of allocations)
      this.entries.set(allocation.ip, { allocation, phase: "idle" });
    this.#rebuild(new Map());
  }

  #rebuild(before: ReadonlyMap<Ip, Waiting>): void {
    this.waiting = new Map();
    for (const address of configuredIps(this.topology)) {
      if (this.entries.has(address)) continue;
      this.waiting.set(address, before.get(address) ?? { releasedAtMs: undefined });
    }
  }

  free(): readonly Ip[] {
    return [...this.waiting.keys()].filter((address) => !this.heldBy.has(address));
  }

  allocations(): readonly Allocation[] {
    return Array.from(this.entries.values(), (entry) => entry.allocation);
  }
}

function sorted(allocations: Iterable<Allocation>): readonly Allocation[] {
  return [...allocations].sort((a, b) => compareIps(a.ip, b.ip));
}

function assertAgree(table: AllocationTable, model: NaiveTable): void {
  assert.equal(table.size, model.entries.size);
  assert.deepEqual(sorted(table.all()), sorted(model.allocations()));
  for (const pod of pods) {
    assert.deepEqual(
      sorted(table.ofPod(pod)),
      sorted(
        model
          .allocations()
          .filter(({ owner }) => owner.kind === "pod" && podIdText(owner.pod) === podIdText(pod)),
      ),
    );
  }
  for (const workload of workloads) {
    assert.deepEqual(
      sorted(table.ofWorkload(workload)),
      sorted(
        model
          .allocations()
          .filter(
            ({ owner }) =>
              (owner.kind === "pod" || owner.kind === "workload") &&
              owner.workload !== undefined &&
              workloadIdText(owner.workload) === workloadIdText(workload),
          ),
      ),
    );
  }
  for (const pool of poolNames) {
    assert.deepEqual(
      sorted(table.ofPool(pool)),
      sorted(
        model
          .allocations()
          .filter(
            ({ owner }) => (owner.kind === "pod" || owner.kind === "pool") && owner.pool === pool,
          ),
      ),
    );
  }
  for (const address of universe) {
    assert.equal(table.get(address), model.entries.get(address)?.allocation);
    assert.equal(table.phaseOf(address), model.entries.get(address)?.phase);
    assert.equal(table.heldBy(address), model.heldBy.get(address), `holder of ${address}`);
  }
  assert.deepEqual([...table.holds()], model.holds);
  assertFreeAgrees(table, model);
  assertUsageAgrees(table, model);
}

function assertFreeAgrees(table: AllocationTable, model: NaiveTable): void {
  const indexes = [...model.topology.subnets.keys()];
  const found: Ip[] = [];
  for (const family of ["IPv4", "IPv6"] as const satisfies readonly IpFamily[]) {
    const free = table.freeFor({ family, ranges: undefined }, indexes, 1000);
    assert.equal(new Set(free).size, free.length, "nothing is offered twice");
    const isReleased = free.map((address) => table.releasedAtMs(address) !== undefined);
    const firstReleased = isReleased.indexOf(true);
    assert.ok(
      firstReleased < 0 || !isReleased.includes(false, firstReleased),
      "never used ones come before released ones",
    );
    const fresh = free.filter((address) => table.releasedAtMs(address) === undefined);
    assert.deepEqual(fresh, [...fresh].sort(compareIps), "never used ones come lowest first");
    const times = free.slice(fresh.length).map((address) => table.releasedAtMs(address) as number);
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
      "the least recently released is first",
    );
    assert.deepEqual(table.freeFor({ family, ranges: undefined }, indexes, 2), free.slice(0, 2));
    const slot = { family, ranges: [ipRange("10.0.1.3~10.0.2.3"), ipRange("2001:db8::3")] };
    assert.deepEqual(
      table.freeFor(slot, indexes, 1000),
      free.filter((address) => slotAccepts(slot, address)),
    );
    for (const address of free) {
      assert.equal(familyOf(address), family);
      assert.equal(table.get(address), undefined, `${address} is free and allocated`);
      assert.equal(table.heldBy(address), undefined, `${address} is free and held`);
      assert.equal(table.releasedAtMs(address), model.waiting.get(address)?.releasedAtMs);
    }
    found.push(...free);
  }
  assert.deepEqual(found.sort(compareIps), [...model.free()].sort(compareIps));
}

function assertUsageAgrees(table: AllocationTable, model: NaiveTable): void {
  const usages = table.usage();
  assert.equal(usages.length, model.topology.subnets.length);
  for (const [index, usage] of usages.entries()) {
    const subnet = model.topology.subnets[index];
    const inside = configuredIps(new Topology(subnet === undefined ? [] : [subnet]));
    const taken = inside.flatMap((address) => model.entries.get(address)?.allocation ?? []);
    const bound = taken.filter(isBound).length;
    const admin = taken.filter(({ owner }) => owner.kind === "admin").length;
    const held = inside.filter(
      (address) => model.heldBy.has(address) && model.waiting.has(address),
    ).length;
    assert.deepEqual(usage, {
      subnet,
      total: inside.length,
      bound,
      admin,
      reserved: taken.length - bound - admin,
      held,
      free: inside.length - taken.length - held,
      draining: model
        .allocations()
        .filter(
          (allocation) =>
            isBound(allocation) &&
            subnet !== undefined &&
            !model.topology.isConfigured(allocation.ip) &&
            rangeContains(subnet.cidr.range, ipToNumber(allocation.ip)),
        ).length,
    });
  }
}

/** A hold of addresses that may be held: free ones, and reserved ones that nothing is being done with. */
function aHold(
  model: NaiveTable,
  uid: string,
  picks: readonly number[],
  expiresAtMs: number,
): Hold {
  const open = [
    ...model.free(),
    ...model
      .allocations()
      .filter(
        (allocation) =>
          !isBound(allocation) &&
          model.entries.get(allocation.ip)?.phase === "idle" &&
          !model.heldBy.has(allocation.ip),
      )
      .map((allocation) => allocation.ip),
  ];
  const byZone = new Map<string, readonly Ip[]>();
  for (const [zone, pick] of picks.entries()) {
    const address = open[pick];
    // The same address may be promised in two zones: a subnet may belong to both.
    if (address !== undefined)
      byZone.set(`${zone}`, [address, ...(open[0] === undefined ? [] : [open[0]])]);
  }
  return {
    podUid: uid,
    pod: { namespace: "ns1", name: uid },
    workload: undefined,
    pool: undefined,
    byZone,
    expiresAtMs,
  };
}

test("after any history the table agrees with plain lists: indexes, holds, usage, and nothing is lost from what is free", () => {
  fc.assert(
    fc.property(fc.nat(1), fc.array(arbitraryStep, { maxLength: 40 }), (start, steps) => {
      const table = new AllocationTable();
      const model = new NaiveTable();
      table.configure(topologies[start] as Topology);
      model.configure(topologies[start] as Topology);
      for (const [nowMs, step] of steps.entries()) {
        switch (step.kind) {
          case "put":
            table.put(step.allocation, step.phase);
            model.put(step.allocation, step.phase);
            break;
          case "drop": {
            const address = universe[step.at] as Ip;
            table.drop(address, step.origin);
            model.drop(address, step.origin);
            break;
          }
          case "phase": {
            const address = universe[step.at] as Ip;
            table.setPhase(address, step.phase);
            const entry = model.entries.get(address);
            if (entry !== undefined) entry.phase = step.phase;
            break;
          }
          case "hold": {
            table.dropHold(step.uid);
            model.dropHold(step.uid);
            const hold = aHold(model, step.uid, step.picks, nowMs + 8);
            table.hold(hold);
            model.hold(hold);
            break;
          }
          case "dropHold":
            table.dropHold(step.uid);
            model.dropHold(step.uid);
            break;
          case "expire":
            table.expireHolds(nowMs);
            model.expire(nowMs);
            break;
          case "configure":
            table.configure(topologies[step.topology] as Topology);
            model.configure(topologies[step.topology] as Topology);
            break;
          case "load":
            table.load(step.allocations);
            model.load(step.allocations);
            break;
          default:
            step satisfies never;
        }
        assertAgree(table, model);
      }
    }),
    { numRuns: 300 },
  );
});

function aTable(...allocations: readonly Allocation[]): AllocationTable {
  const table = new AllocationTable();
  table.configure(wide);
  table.load(allocations);
  return table;
}

const anyIpv4 = { family: "IPv4", ranges: undefined } as const;

function holdOf(uid: string, expiresAtMs: number, ...texts: readonly string[]): Hold {
  return {
    podUid: uid,
    pod: { namespace: "ns1", name: uid },
    workload: undefined,
    pool: undefined,
    byZone: new Map([["0", texts.map(ip)]]),
    expiresAtMs,
  };
}

test("holds whose time is over come back, the others stay; renewing one puts it behind the others", () => {
  const table = aTable();
  table.hold(holdOf("uid-a", 10, "10.0.1.2"));
  table.hold(holdOf("uid-b", 20, "10.0.1.3"));
  table.hold(holdOf("uid-a", 30, "10.0.1.4"));
  assert.equal(table.heldBy(ip("10.0.1.2")), undefined);
  table.expireHolds(19);
  assert.deepEqual(
    Array.from(table.holds(), (hold) => hold.podUid),
    ["uid-b", "uid-a"],
  );
  table.expireHolds(20);
  assert.deepEqual(
    Array.from(table.holds(), (hold) => hold.podUid),
    ["uid-a"],
  );
  assert.equal(table.holdOf("uid-b"), undefined);
  assert.equal(table.usageOf(0).held, 1);
  assert.deepEqual(table.freeFor(anyIpv4, [0], 2), ["10.0.1.2", "10.0.1.3"]);
});

test("a hold does not make an address look used: given up, it stands where it stood", () => {
  const table = aTable(anAllocation({ ip: "10.0.1.2" }), anAllocation({ ip: "10.0.1.3" }));
  table.drop(ip("10.0.1.2"), { kind: "released", atMs: 5 });
  table.drop(ip("10.0.1.3"), { kind: "released", atMs: 9 });
  const before = table.freeFor(anyIpv4, [0], 9);
  assert.deepEqual(before, ["10.0.1.4", "10.0.1.5", "10.0.1.9", "10.0.1.2", "10.0.1.3"]);
  table.hold(holdOf("uid-a", 10, "10.0.1.2", "10.0.1.4"));
  assert.deepEqual(table.originOf(ip("10.0.1.2")), { kind: "released", atMs: 5 });
  assert.deepEqual(table.originOf(ip("10.0.1.4")), { kind: "fresh" });
  assert.equal(table.releasedAtMs(ip("10.0.1.2")), undefined);
  table.dropHold("uid-a");
  assert.deepEqual(table.freeFor(anyIpv4, [0], 9), before);
});

test("an address that a record takes away from a hold does not come back with the hold", () => {
  const table = aTable();
  table.hold(holdOf("uid-a", 10, "10.0.1.2"));
  table.put(anAllocation({ ip: "10.0.1.2", owner: { kind: "admin", key: "k" } }), "idle");
  table.dropHold("uid-a");
  assert.equal(table.usageOf(0).held, 0);
  assert.ok(!table.freeFor(anyIpv4, [0], 9).includes(ip("10.0.1.2")));
});

test("a new hold with nothing in it only gives the earlier one up", () => {
  const table = aTable();
  table.hold(holdOf("uid-a", 10, "10.0.1.2"));
  table.hold({ ...holdOf("uid-a", 20), byZone: new Map() });
  assert.equal(table.holdOf("uid-a"), undefined);
  assert.equal(table.usageOf(0).free, 5);
});

test("a pod finds both of its addresses, and one when the other is gone", () => {
  const owner = podOwner();
  const table = aTable(
    anAllocation({ ip: "10.0.1.2", owner }),
    anAllocation({ ip: "2001:db8::2", owner }),
  );
  const ipsOf = () => table.ofPod({ namespace: "ns1", name: "pod1" }).map((found) => found.ip);
  assert.deepEqual(ipsOf(), ["10.0.1.2", "2001:db8::2"]);
  table.drop(ip("10.0.1.2"), { kind: "fresh" });
  assert.deepEqual(ipsOf(), ["2001:db8::2"]);
  table.drop(ip("2001:db8::2"), { kind: "fresh" });
  assert.deepEqual(ipsOf(), []);
});

test("released addresses keep their place through a change of configuration, those taken meanwhile do not come back", () => {
  const table = aTable(anAllocation({ ip: "10.0.1.2" }), anAllocation({ ip: "10.0.2.3" }));
  table.drop(ip("10.0.2.3"), { kind: "released", atMs: 1 });
  table.drop(ip("10.0.1.2"), { kind: "released", atMs: 2 });
  table.configure(narrow);
  assert.deepEqual(table.freeFor(anyIpv4, [0, 1], 9), [
    "10.0.1.3",
    "10.0.2.4",
    "10.0.2.5",
    "10.0.2.6",
    "10.0.2.3",
    "10.0.1.2",
  ]);
  table.configure(merged);
  assert.deepEqual(table.freeFor(anyIpv4, [0], 99).slice(-2), ["10.0.2.3", "10.0.1.2"]);
  table.configure(wide);
  assert.deepEqual(table.freeFor(anyIpv4, [0, 1], 99).slice(-2), ["10.0.2.3", "10.0.1.2"]);
  table.configure(merged);
  assert.deepEqual(table.freeFor(anyIpv4, [0], 99).slice(-2), ["10.0.2.3", "10.0.1.2"]);
});
