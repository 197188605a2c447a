// The view that preemption asks: as if the victims were gone, without changing the table behind it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aPodSubnet,
  ip,
  ipRange,
  madeAtMs,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { AllocationTable } from "./allocation-table.ts";
import type { PodContext } from "./decide-filter.ts";
import { planForZone, refusalOf } from "./decide-filter.ts";
import type { Zone } from "./subnets.ts";
import { Topology } from "./subnets.ts";
import { viewWithoutPods } from "./view-without-pods.ts";

const topology = new Topology([
  aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"], nodeSubnets: ["10.0.1.0/24"] }),
  aPodSubnet({
    cidr: "10.0.80.0/24",
    ranges: ["10.0.80.2~10.0.80.4"],
    nodeSubnets: ["10.0.2.0/24"],
  }),
]);
const zone70 = topology.zoneOf([ip("10.0.1.1")]) as Zone;
const anyIpv4 = { family: "IPv4", ranges: undefined } as const;
const workload = aDeploymentRef();

function victim(ipText: string, name: string, pool?: string): Allocation {
  return anAllocation({ ip: ipText, owner: podOwner({ name, workload, pool }) });
}

function aTable(...allocations: readonly Allocation[]): AllocationTable {
  const table = new AllocationTable();
  table.configure(topology);
  table.load(allocations);
  return table;
}

const all = () => true;

test("victims are nowhere in the view, the others are everywhere", () => {
  const gone = victim("10.0.70.2", "a", "blue");
  const stays = victim("10.0.70.3", "b", "blue");
  const table = aTable(gone, stays);
  const view = viewWithoutPods(table, [gone], all);
  assert.deepEqual([...view.all()], [stays]);
  assert.equal(view.size, 1);
  assert.equal(view.get(gone.ip), undefined);
  assert.equal(view.get(stays.ip), stays);
  assert.deepEqual(view.ofPod({ namespace: "ns1", name: "a" }), []);
  assert.deepEqual(view.ofPod({ namespace: "ns1", name: "b" }), [stays]);
  assert.deepEqual(view.ofWorkload(workload), [stays]);
  assert.deepEqual(view.ofPool("blue"), [stays]);
});

test("what is kept for a victim, whatever the record says, is kept for nobody", () => {
  const gone = victim("10.0.70.2", "a", "blue");
  const table = aTable(gone);
  const keptFor = (podUid: string) => ({ podUid, pod: aPod().id, pool: "blue" });
  table.keepFor(ip("10.0.70.3"), keptFor(gone.podUid));
  table.keepFor(ip("10.0.70.4"), keptFor("another"));
  const view = viewWithoutPods(table, [gone], all);
  assert.deepEqual(
    [...view.kept()].map(([kept]) => kept),
    ["10.0.70.4"],
  );
});

test("freed addresses come behind the free ones, only of the subnets asked for and within the limit", () => {
  const gone = [victim("10.0.70.2", "a"), victim("10.0.80.3", "b"), victim("10.0.70.4", "c")];
  const view = viewWithoutPods(aTable(...gone), gone, all);
  assert.deepEqual(view.freeFor(anyIpv4, [0], 9), ["10.0.70.3", "10.0.70.2", "10.0.70.4"]);
  assert.deepEqual(view.freeFor(anyIpv4, [0], 2), ["10.0.70.3", "10.0.70.2"]);
  assert.deepEqual(view.freeFor(anyIpv4, [0], 1), ["10.0.70.3"]);
  assert.deepEqual(
    view.freeFor({ family: "IPv4", ranges: [ipRange("10.0.70.4~10.0.80.9")] }, [0], 9),
    ["10.0.70.4"],
  );
  assert.deepEqual(view.freeFor({ family: "IPv6", ranges: undefined }, [0, 1], 9), []);
});

test("an address that would stay with its owner is neither free nor in use", () => {
  const gone = victim("10.0.70.2", "a");
  const view = viewWithoutPods(aTable(gone), [gone], () => false);
  assert.deepEqual(view.freeFor(anyIpv4, [0], 9), ["10.0.70.3", "10.0.70.4"]);
  assert.equal(view.get(gone.ip), undefined);
});

test("an address outside the configuration drains with its pod and is not free for anybody", () => {
  const gone = victim("10.0.70.99", "a");
  const view = viewWithoutPods(aTable(gone), [gone], all);
  assert.deepEqual(view.freeFor(anyIpv4, [0], 9), ["10.0.70.2", "10.0.70.3", "10.0.70.4"]);
});

test("promises to victims are over, those to others stand", () => {
  const gone = victim("10.0.70.2", "a");
  const table = aTable(gone);
  for (const podUid of [gone.podUid, "uid-other"]) {
    table.hold({
      podUid,
      pod: { namespace: "ns1", name: "x" },
      workload,
      pool: undefined,
      byZone: new Map([["1", [ip(podUid === gone.podUid ? "10.0.80.2" : "10.0.80.3")]]]),
      expiresAtMs: madeAtMs,
    });
  }
  const view = viewWithoutPods(table, [gone], all);
  assert.deepEqual(
    Array.from(view.holds(), (hold) => hold.podUid),
    ["uid-other"],
  );
});

test("a pod that waits for replicas and for an address could have both once the victim is gone", () => {
  const taken = [2, 3, 4].map((last) => victim(`10.0.70.${last}`, `web-${last}`));
  const table = aTable(...taken);
  const context: PodContext = {
    pod: aPod({ name: "web-new", policy: "immutable" }),
    workload,
    workloadState: {
      kind: "present",
      uid: "w",
      replicas: 3,
      firstOrdinal: 0,
      rolloutDeadlock: undefined,
    },
    poolObject: undefined,
  };
  assert.equal(refusalOf(context, table)?.because, "replicas reached");
  assert.equal(planForZone(context, table, zone70).kind, "none");
  const view = viewWithoutPods(table, taken.slice(1, 2), all);
  assert.equal(refusalOf(context, view), undefined);
  assert.deepEqual(planForZone(context, view, zone70), {
    kind: "plan",
    addresses: [{ ip: "10.0.70.3", from: "free" }],
  });
  assert.equal(table.size, 3, "nothing was taken");
  assert.equal(table.usageOf(0).free, 0);
});
