// What bind takes for a pod and what it gives back. Which addresses a zone offers is tested with decide-filter.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aPodSubnet,
  aStatefulSetRef,
  ip,
  ipRange,
  madeAtMs,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { AllocationTable } from "./allocation-table.ts";
import type { BindDecision } from "./decide-bind.ts";
import { decideBind } from "./decide-bind.ts";
import type { PodContext } from "./decide-filter.ts";
import type { AddressRequest } from "./facts.ts";
import type { Zone } from "./subnets.ts";
import { Topology } from "./subnets.ts";

const topology = new Topology([
  aPodSubnet({ ranges: ["10.0.70.2~10.0.70.4"], nodeSubnets: ["10.0.1.0/24"] }),
  aPodSubnet({
    cidr: "10.0.80.0/24",
    ranges: ["10.0.80.2~10.0.80.4"],
    nodeSubnets: ["10.0.2.0/24"],
  }),
]);
const zone70 = topology.zoneOf([ip("10.0.1.1")]) as Zone;
const zone80 = topology.zoneOf([ip("10.0.2.1")]) as Zone;

function aTable(...allocations: readonly Allocation[]): AllocationTable {
  const table = new AllocationTable();
  table.configure(topology);
  table.load(allocations);
  return table;
}

function aContext(
  pod: Parameters<typeof aPod>[0] = {},
  rest: Partial<Omit<PodContext, "pod">> = {},
): PodContext {
  return {
    workload: undefined,
    workloadState: { kind: "gone" },
    poolObject: undefined,
    ...rest,
    pod: aPod(pod),
  };
}

function rangesOf(...lists: readonly (readonly string[])[]): AddressRequest {
  return { kind: "ranges", ranges: lists.map((list) => list.map(ipRange)) };
}

function decisionText(decision: BindDecision): string {
  if (decision.kind === "refused") return `refused: ${decision.message}`;
  if (decision.kind === "no address") return `no address: ${decision.message}`;
  const taken = decision.addresses.map(({ ip: address, from }) => `${address} ${from}`).join(", ");
  const surplus = decision.surplus.map((allocation) => allocation.ip).join(", ");
  return surplus === "" ? taken : `${taken}; surplus ${surplus}`;
}

function bindText(context: PodContext, table: AllocationTable, zone = zone70): string {
  return decisionText(decideBind(context, table, zone));
}

test("bind takes what filter promised on this node, not what it promised elsewhere", () => {
  const context = aContext();
  const table = aTable();
  table.hold({
    podUid: context.pod.uid,
    pod: context.pod.id,
    workload: undefined,
    pool: undefined,
    byZone: new Map([
      [zone70.id, [ip("10.0.70.4")]],
      [zone80.id, [ip("10.0.80.3")]],
    ]),
    expiresAtMs: madeAtMs,
  });
  assert.equal(bindText(context, table, zone70), "10.0.70.4 free");
  assert.equal(bindText(context, table, zone80), "10.0.80.3 free");
});

test("bind works without a promise: the scheduler may come late", () => {
  assert.equal(bindText(aContext(), aTable()), "10.0.70.2 free");
});

test("binding again is the same as binding once", () => {
  const context = aContext();
  const table = aTable(anAllocation({ ip: "10.0.70.3" }));
  assert.equal(bindText(context, table), "10.0.70.3 own");
});

test("a pod that comes back with its name gets its address again, though its policy changed", () => {
  const owner = podOwner({ name: "db-0", workload: aStatefulSetRef() });
  const kept = anAllocation({ ip: "10.0.70.3", owner, podUid: "", nodeName: "" });
  const context = aContext(
    { name: "db-0", policy: "immutable" },
    { workload: aStatefulSetRef(), workloadState: { kind: "unknown", reason: "timeout" } },
  );
  assert.equal(bindText(context, aTable(kept)), "10.0.70.3 own");
});

test("an own address that the target node may not use is refused and left untouched", () => {
  assert.equal(
    bindText(aContext(), aTable(anAllocation({ ip: "10.0.70.3" })), zone80),
    "no address: no enough available ips left: pod ns1/pod1 has 10.0.70.3, which nodes of 10.0.80.0/24 may not use",
  );
});

test("addresses held under ranges that the pod no longer asks for are surplus", () => {
  const table = aTable(anAllocation({ ip: "10.0.70.2" }), anAllocation({ ip: "10.0.70.3" }));
  assert.equal(
    bindText(aContext({ request: rangesOf(["10.0.70.3~10.0.70.4"]) }), table),
    "10.0.70.3 own; surplus 10.0.70.2",
  );
  assert.equal(
    bindText(aContext({ request: rangesOf(["10.0.70.4"]) }), table),
    "10.0.70.4 free; surplus 10.0.70.2, 10.0.70.3",
  );
  assert.equal(
    bindText(aContext({ request: rangesOf(["10.0.70.3"], ["10.0.70.2~10.0.70.4"]) }), table),
    "10.0.70.3 own, 10.0.70.2 own",
  );
});

test("an address kept for the name but not configured any more is surplus: it is not handed out again", () => {
  const table = aTable(anAllocation({ ip: "10.0.70.99", podUid: "", nodeName: "" }));
  assert.equal(bindText(aContext(), table), "10.0.70.2 free; surplus 10.0.70.99");
});

test("nothing of others is surplus", () => {
  const table = aTable(
    anAllocation({ ip: "10.0.70.2", owner: podOwner({ name: "pod2" }) }),
    anAllocation({ ip: "10.0.70.3", owner: { kind: "pool", pool: "p" } }),
  );
  assert.equal(bindText(aContext(), table), "10.0.70.4 free");
});

test("without enough addresses nothing is taken and the established words are said", () => {
  const table = aTable(
    ...[2, 3, 4].map((last) =>
      anAllocation({ ip: `10.0.70.${last}`, owner: podOwner({ name: `p${last}` }) }),
    ),
  );
  assert.match(
    bindText(aContext(), table),
    /^no address: no enough available ips left: no free address/,
  );
  const oneList = rangesOf(["10.0.80.2"], ["10.0.70.2"]);
  assert.match(
    bindText(aContext({ request: oneList }), aTable(), zone80),
    /^no address: no enough available ips left: no 2 different free addresses/,
  );
});

test("what filter refuses, bind refuses with the same words", () => {
  const workload = aDeploymentRef({ name: "dp" });
  const table = aTable(anAllocation({ owner: podOwner({ name: "dp-old", workload }) }));
  const context = aContext(
    { name: "dp-new", policy: "immutable" },
    {
      workload,
      workloadState: {
        kind: "present",
        uid: "w",
        replicas: 1,
        firstOrdinal: 0,
        rolloutDeadlock: undefined,
      },
    },
  );
  assert.equal(
    bindText(context, table),
    "refused: deployment dp has allocated 1 ips with replicas of 1, wait for releasing",
  );
});
