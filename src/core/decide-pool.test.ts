// What a Pool object asks of the address space: which object counts, filling, shrinking. Pods that take from pools are in decide-filter.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  anAllocation,
  aPod,
  aPodSubnet,
  aPool,
  aStatefulSetRef,
  ip,
  madeAtMs,
  podOwner,
  uidOf,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { EntryPhase } from "./allocation-table.ts";
import { AllocationTable } from "./allocation-table.ts";
import { decidePool, poolInForce } from "./decide-pool.ts";
import type { Owner } from "./owner.ts";
import { countPoolAddresses } from "./pool-count.ts";
import { Topology } from "./subnets.ts";

const topology = new Topology([
  aPodSubnet({ cidr: "10.0.1.0/24", ranges: ["10.0.1.2~10.0.1.4"] }),
  aPodSubnet({ cidr: "10.0.2.0/24", ranges: ["10.0.2.2~10.0.2.6"] }),
  aPodSubnet({ cidr: "2001:db8::/64", ranges: ["2001:db8::2~2001:db8::9"] }),
]);
const bothUsable: ReadonlySet<number> = new Set([0, 1, 2]);

function aTable(...allocations: readonly Allocation[]): AllocationTable {
  const table = new AllocationTable();
  table.configure(topology);
  table.load(allocations);
  return table;
}

function unused(ipText: string, updatedAtMs = madeAtMs, pool = "pool1"): Allocation {
  return anAllocation({ ip: ipText, owner: { kind: "pool", pool }, updatedAtMs });
}

function used(ipText: string): Allocation {
  return anAllocation({ ip: ipText, owner: podOwner({ name: `pod-${ipText}`, pool: "pool1" }) });
}

function holdFor(
  table: AllocationTable,
  pool: string,
  ...ipsByZone: readonly (readonly string[])[]
) {
  const { id, uid } = aPod({ name: "waiting" });
  table.hold({
    podUid: uid,
    pod: id,
    workload: undefined,
    pool,
    byZone: new Map(ipsByZone.map((texts, zone) => [`${zone}`, texts.map(ip)])),
    expiresAtMs: madeAtMs,
  });
}

function summary(
  pool: Parameters<typeof aPool>[0],
  table: AllocationTable,
  usable: ReadonlySet<number> = bothUsable,
) {
  const { add, release, missingCount } = decidePool(aPool(pool), table, usable);
  return { add, release: release.map((allocation) => allocation.ip), missingCount };
}

const nothing = { add: [], release: [], missingCount: 0 };

test("of Pools with one name that in kube-system is in force, else the oldest, else the first by namespace", () => {
  const home = aPool({ namespace: "kube-system", createdAtMs: 9 });
  const old = aPool({ namespace: "b", createdAtMs: 1 });
  const alike = aPool({ namespace: "a", createdAtMs: 1 });
  const young = aPool({ namespace: "a2", createdAtMs: 5 });
  assert.equal(poolInForce([old, home, young]), home);
  assert.equal(poolInForce([young, old]), old);
  assert.equal(poolInForce([old, alike]), alike);
  assert.equal(poolInForce([alike, old]), alike);
  assert.equal(poolInForce([]), undefined);
});

test("a pool without a size is neither filled nor shrunk", () => {
  assert.deepEqual(summary({ preAllocate: true }, aTable(unused("10.0.1.2"))), nothing);
});

test("without pre-allocation a pool is not filled", () => {
  assert.deepEqual(summary({ size: 4 }, aTable()), nothing);
});

test("filling takes from the pod subnet with most free addresses each time, and IPv4 where there is any", () => {
  assert.deepEqual(summary({ size: 2, preAllocate: true }, aTable()).add, ["10.0.2.2", "10.0.2.3"]);
  assert.deepEqual(summary({ size: 5, preAllocate: true }, aTable()).add, [
    "10.0.2.2",
    "10.0.2.3",
    "10.0.1.2",
    "10.0.2.4",
    "10.0.1.3",
  ]);
});

test("pod subnets that no node may use are a last resort", () => {
  const onlyFirst = new Set([0]);
  assert.deepEqual(summary({ size: 4, preAllocate: true }, aTable(), onlyFirst).add, [
    "10.0.1.2",
    "10.0.1.3",
    "10.0.1.4",
    "10.0.2.2",
  ]);
});

test("a configuration of IPv6 alone is filled with IPv6", () => {
  const table = new AllocationTable();
  table.configure(new Topology([aPodSubnet({ cidr: "2001:db8::/64" })]));
  const { add, missingCount } = decidePool(
    aPool({ size: 2, preAllocate: true }),
    table,
    new Set([0]),
  );
  assert.equal(add.length, 2);
  assert.equal(missingCount, 0);
});

test("what is missing is said, and filling goes on when addresses become free", () => {
  const others = ["10.0.2.2", "10.0.2.3", "10.0.2.4", "10.0.2.5", "10.0.2.6", "10.0.1.2"].map(
    (text) => anAllocation({ ip: text, owner: podOwner({ name: text }) }),
  );
  const table = aTable(...others);
  assert.deepEqual(summary({ size: 4, preAllocate: true }, table), {
    add: ["10.0.1.3", "10.0.1.4"],
    release: [],
    missingCount: 2,
  });
  table.drop(ip("10.0.2.6"), { kind: "released", atMs: madeAtMs });
  assert.deepEqual(summary({ size: 4, preAllocate: true }, table), {
    add: ["10.0.1.3", "10.0.1.4", "10.0.2.6"],
    release: [],
    missingCount: 1,
  });
});

test("used, unused and promised addresses count as the pool's, and those that leave until they are gone; those of other pools do not", () => {
  const table = aTable(used("10.0.1.2"), unused("10.0.1.3"), unused("10.0.1.4", madeAtMs, "pool2"));
  const addCount = () => summary({ size: 4, preAllocate: true }, table).add.length;
  assert.equal(addCount(), 2);
  holdFor(table, "pool1", ["10.0.2.2"], ["10.0.2.3"]);
  assert.equal(addCount(), 1, "one of the zones will be used");
  holdFor(table, "pool1", ["10.0.1.3"]);
  assert.equal(addCount(), 2, "a promised reserved address is there already");
  holdFor(table, "pool2", ["10.0.2.2"]);
  assert.equal(addCount(), 2);
  table.setPhase(ip("10.0.1.3"), "leaving");
  assert.equal(addCount(), 2, "its release may fail");
});

test("a promise to a pod that has a part of its addresses counts, until it is being given the rest", () => {
  const owner = podOwner({ name: "waiting", pool: "pool1" });
  const table = aTable(anAllocation({ ip: "10.0.1.2", owner }));
  holdFor(table, "pool1", ["10.0.2.2"]);
  const addCount = () => summary({ size: 4, preAllocate: true }, table).add.length;
  assert.equal(addCount(), 2);
  table.put(anAllocation({ ip: "10.0.2.3", owner }), "writing");
  assert.equal(addCount(), 2, "the promise that the writing keeps is not counted beside it");
});

test("an address that an edit put into the pool costs it none while it is kept for the pod that had it", () => {
  const table = aTable(unused("10.0.1.2"), unused("10.0.1.3", madeAtMs + 1));
  assert.deepEqual(summary({ size: 1 }, table).release, ["10.0.1.2"]);
  const podUid = "uid of a pod that is being bound";
  table.keepFor(ip("10.0.1.3"), { podUid, pod: aPod().id, pool: undefined });
  assert.deepEqual(summary({ size: 1 }, table).release, []);
});

test("an address that an edit took out of the pool is its still while it is kept for the pod that had it, but not an administrator's", () => {
  const edited = anAllocation({ ip: "10.0.1.2", owner: podOwner({ name: "other" }) });
  const table = aTable(edited, used("10.0.1.3"));
  const addCount = () => summary({ size: 3, preAllocate: true }, table).add.length;
  assert.equal(addCount(), 2);
  const podUid = "uid of a pod that is being bound";
  const keepFor = (pool: string) => table.keepFor(edited.ip, { podUid, pod: aPod().id, pool });
  keepFor("pool2");
  assert.equal(addCount(), 2);
  keepFor("pool1");
  assert.equal(addCount(), 1);
  assert.equal(countPoolAddresses("pool1", table, podUid), 1, "its own pod may have it");
  table.put(used("10.0.1.2"), "idle");
  assert.equal(addCount(), 1, "it is counted once");
  table.put({ ...edited, owner: { kind: "admin", key: "by hand" }, podUid: "" }, "idle");
  assert.equal(addCount(), 2);
});

test("a smaller size releases the longest unused addresses", () => {
  const table = aTable(
    used("10.0.1.2"),
    unused("10.0.2.4", madeAtMs + 1),
    unused("10.0.2.3", madeAtMs + 2),
    unused("10.0.2.2", madeAtMs + 2),
  );
  const released = (size: number) => summary({ size, preAllocate: true }, table);
  assert.deepEqual(released(4), nothing);
  assert.deepEqual(released(3), { ...nothing, release: ["10.0.2.4"] });
  assert.deepEqual(released(2), { ...nothing, release: ["10.0.2.4", "10.0.2.2"] });
  assert.deepEqual(released(0), { ...nothing, release: ["10.0.2.4", "10.0.2.2", "10.0.2.3"] });
});

test("shrinking also gives back an unused address that is kept for a pod name", () => {
  const owner = podOwner({ name: "db-0", workload: aStatefulSetRef(), pool: "pool1" });
  const table = aTable(anAllocation({ ip: "10.0.1.2", owner, podUid: "", nodeName: "" }));
  assert.deepEqual(summary({ size: 0 }, table).release, ["10.0.1.2"]);
});

test("shrinking begins with what an edit gave another policy: reclaim may be about to release it", () => {
  const policy = "never";
  const table = aTable(
    { ...unused("10.0.1.2"), policy },
    { ...unused("10.0.1.3", madeAtMs + 1), policy },
    anAllocation({
      ip: "10.0.1.4",
      owner: podOwner({ name: "db-0", workload: aStatefulSetRef(), pool: "pool1" }),
      policy: "immutable",
      podUid: "",
      nodeName: "",
      updatedAtMs: madeAtMs + 2,
    }),
  );
  assert.deepEqual(summary({ size: 2 }, table).release, ["10.0.1.4"]);
  assert.deepEqual(summary({ size: 1 }, table).release, ["10.0.1.4", "10.0.1.2"]);
});

test("shrinking leaves alone what is promised or being changed", () => {
  const table = aTable(unused("10.0.1.2"), unused("10.0.1.3"));
  holdFor(table, "pool1", ["10.0.1.2"]);
  assert.deepEqual(summary({ size: 0 }, table).release, ["10.0.1.3"]);
  for (const phase of ["writing", "unsettled", "lost"] satisfies EntryPhase[]) {
    table.setPhase(ip("10.0.1.3"), phase);
    assert.deepEqual(summary({ size: 0 }, table).release, [], phase);
  }
});

const arbitraryIpText = fc.constantFrom(
  ...[2, 3, 4].map((last) => `10.0.1.${last}`),
  ...[2, 3, 4, 5, 6].map((last) => `10.0.2.${last}`),
);

const arbitraryOwner = fc.constantFrom<Owner>(
  { kind: "pool", pool: "pool1" },
  { kind: "pool", pool: "pool2" },
  podOwner({ pool: "pool1" }),
  podOwner(),
);

test("an address that is only being written costs a pool none that it has", () => {
  const table = aTable(unused("10.0.1.2"), used("10.0.1.3"));
  const taken = { ...used("10.0.2.2"), version: "" };
  for (const phase of ["writing", "unsettled"] as const) {
    table.put(taken, phase);
    assert.deepEqual(decidePool(aPool({ size: 2 }), table, bothUsable).release, [], phase);
  }
  table.put({ ...taken, version: "7" }, "idle");
  const { release } = decidePool(aPool({ size: 2 }), table, bothUsable);
  assert.deepEqual(
    release.map(({ ip: released }) => released),
    ["10.0.1.2"],
  );
});

test("an address whose record may be gone costs a pool none that it has", () => {
  const table = aTable(unused("10.0.1.2"), used("10.0.1.3"), used("10.0.2.2"));
  for (const phase of ["unsettled", "lost"] as const) {
    table.setPhase(ip("10.0.2.2"), phase);
    assert.deepEqual(decidePool(aPool({ size: 2 }), table, bothUsable).release, [], phase);
  }
});

test("whatever the pool looks like, nothing in use or promised is released and the size is not passed", () => {
  fc.assert(
    fc.property(
      fc.nat(9),
      fc.boolean(),
      fc.uniqueArray(
        fc.tuple(
          arbitraryIpText,
          arbitraryOwner,
          fc.nat(3),
          fc.constantFrom<EntryPhase>("idle", "idle", "writing", "leaving", "unsettled", "lost"),
        ),
        { selector: ([text]) => text, maxLength: 8 },
      ),
      fc.array(arbitraryIpText, { maxLength: 2 }),
      fc.uniqueArray(fc.nat(2)),
      (size, preAllocate, records, promised, usable) => {
        const allocations = records.map(([text, owner, atMs]) =>
          anAllocation({
            ip: text,
            owner,
            updatedAtMs: atMs,
            podUid: owner.kind === "pod" ? uidOf(owner.pod) : "",
          }),
        );
        const table = aTable(...allocations);
        for (const [text, , , phase] of records) table.setPhase(ip(text), phase);
        const holdable = promised.filter(
          (text) => table.get(ip(text)) === undefined || table.phaseOf(ip(text)) === "idle",
        );
        if (holdable.length > 0) holdFor(table, "pool1", [...new Set(holdable)]);
        const { add, release, missingCount } = decidePool(
          aPool({ size, preAllocate }),
          table,
          new Set(usable),
        );
        const hold = table.holdOf(uidOf({ namespace: "ns1", name: "waiting" }));
        const promisedNew = [...(hold?.byZone.values() ?? [])]
          .flat()
          .filter((address) => table.get(address) === undefined).length;
        const total = table.ofPool("pool1").length + promisedNew;
        assert.equal(
          new Set([...add, ...release.map((allocation) => allocation.ip)]).size,
          add.length + release.length,
        );
        for (const address of add) {
          assert.equal(table.get(address), undefined);
          assert.equal(table.heldBy(address), undefined);
        }
        for (const allocation of release) {
          assert.ok(!isBound(allocation));
          assert.equal(table.heldBy(allocation.ip), undefined);
          assert.equal(table.phaseOf(allocation.ip), "idle");
          assert.ok(table.ofPool("pool1").includes(allocation));
        }
        if (total > size) {
          assert.ok(add.length === 0 && missingCount === 0);
          assert.ok(total - release.length >= size);
        } else {
          assert.equal(release.length, 0);
          assert.equal(add.length + missingCount, preAllocate ? size - total : 0);
          const freeCount = table.usageOf(0).free + table.usageOf(1).free;
          assert.equal(
            missingCount > 0 && add.length < freeCount,
            false,
            "free ones are left over",
          );
        }
      },
    ),
    { numRuns: 800 },
  );
});
