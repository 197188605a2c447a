// What filter answers: who may have addresses at all, which ones on the nodes of a zone, and which zones are preferred.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aPodSubnet,
  aPool,
  aStatefulSetRef,
  ip,
  ipRange,
  madeAtMs,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import type { EntryPhase, Hold } from "./allocation-table.ts";
import { AllocationTable } from "./allocation-table.ts";
import type { PlannedAddress, PodContext, ZonePlan } from "./decide-filter.ts";
import {
  decideFilter,
  describeWorkload,
  ownAllocations,
  planForZone,
  refusalOf,
} from "./decide-filter.ts";
import type { AddressRequest, PodFacts, WorkloadState } from "./facts.ts";
import { builtInWorkload, type Owner, type WorkloadRef } from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";
import type { Zone } from "./subnets.ts";
import { Topology } from "./subnets.ts";

/** Two IPv4 pod subnets on nodes of their own, and a third group of nodes with IPv4 and IPv6. */
const topology = new Topology([
  aPodSubnet({
    cidr: "10.0.70.0/24",
    ranges: ["10.0.70.2~10.0.70.5"],
    nodeSubnets: ["10.0.1.0/24"],
  }),
  aPodSubnet({
    cidr: "10.0.80.0/24",
    ranges: ["10.0.80.2~10.0.80.5"],
    nodeSubnets: ["10.0.2.0/24", "10.0.3.0/24"],
  }),
  aPodSubnet({
    cidr: "2001:db8::/64",
    ranges: ["2001:db8::2~2001:db8::5"],
    nodeSubnets: ["10.0.3.0/24", "10.0.4.0/24"],
  }),
]);
const [zone70, zone80, zoneDual, zoneV6] = ["10.0.1.1", "10.0.2.1", "10.0.3.1", "10.0.4.1"].map(
  (text) => topology.zoneOf([ip(text)]) as Zone,
) as [Zone, Zone, Zone, Zone];

function aTable(...allocations: readonly Allocation[]): AllocationTable {
  const table = new AllocationTable();
  table.configure(topology);
  table.load(allocations);
  return table;
}

function present(replicas: number | undefined, rolloutDeadlock?: string): WorkloadState {
  return { kind: "present", uid: "w", replicas, firstOrdinal: 0, rolloutDeadlock };
}

const noWorkload: WorkloadState = { kind: "gone" };
const deployment = aDeploymentRef({ name: "dp" });
const statefulSet = aStatefulSetRef();
const tapp: WorkloadRef = {
  type: "custom",
  kind: "tapp",
  apiGroup: "tkestack.io",
  namespace: "ns1",
  name: "app",
};

function aContext(
  wanted: Partial<Omit<PodContext, "pod">> & { readonly pod?: Parameters<typeof aPod>[0] } = {},
): PodContext {
  const { pod = {}, ...rest } = wanted;
  return {
    workload: undefined,
    workloadState: { kind: "gone" },
    poolObject: undefined,
    ...rest,
    pod: aPod(pod),
  };
}

/** A pod of Deployment ns1/dp. */
function dpContext(
  policy: ReleasePolicy,
  state: WorkloadState,
  pod: Parameters<typeof aPod>[0] = {},
): PodContext {
  return aContext({
    workload: deployment,
    workloadState: state,
    pod: { name: "dp-new", policy, ...pod },
  });
}

/** The address of a pod of Deployment ns1/dp. */
function dpAddress(ipText: string, name: string, pool?: string): Allocation {
  return anAllocation({ ip: ipText, owner: podOwner({ name, workload: deployment, pool }) });
}

function reservedForDp(ipText: string, updatedAtMs = madeAtMs): Allocation {
  return anAllocation({
    ip: ipText,
    owner: { kind: "workload", workload: deployment },
    updatedAtMs,
  });
}

function reservedForPool(ipText: string, updatedAtMs = madeAtMs, pool = "lim"): Allocation {
  return anAllocation({ ip: ipText, owner: { kind: "pool", pool }, updatedAtMs });
}

function aHold(
  wanted: Partial<Hold> & { readonly zones?: Record<string, readonly string[]> } = {},
): Hold {
  const { zones = { [zone70.id]: ["10.0.70.5"] }, ...rest } = wanted;
  return {
    podUid: "uid-other",
    pod: { namespace: "ns1", name: "other" },
    workload: undefined,
    pool: undefined,
    byZone: new Map(Object.entries(zones).map(([id, texts]) => [id, texts.map(ip)])),
    expiresAtMs: madeAtMs,
    ...rest,
  };
}

function rangesOf(...lists: readonly (readonly string[])[]): AddressRequest {
  return { kind: "ranges", ranges: lists.map((list) => list.map(ipRange)) };
}

function because(context: PodContext, table = aTable()): string | undefined {
  return refusalOf(context, table)?.because;
}

function messageOf(context: PodContext, table = aTable()): string {
  const refusal = refusalOf(context, table);
  assert.ok(refusal !== undefined, "the pod is not refused");
  return refusal.message;
}

/** A plan as text, `ip from` for each address. */
function planText(plan: ZonePlan | undefined): string {
  if (plan === undefined) return "not asked";
  if (plan.kind === "none") return `none: ${plan.message}`;
  return plan.addresses.map((address) => `${address.ip} ${address.from}`).join(", ");
}

function addressesOf(plan: ZonePlan): readonly PlannedAddress[] {
  assert.equal(plan.kind, "plan", planText(plan));
  return plan.kind === "plan" ? plan.addresses : [];
}

// --- Who may have addresses at all ---

test("a pod with a problem in its annotations is refused with pod and problem, before anything else", () => {
  const context = aContext({ pod: { problems: ["annotation a: b is c; write d", "and e"] } });
  assert.equal(because(context), "annotation");
  assert.equal(messageOf(context), "pod ns1/pod1: annotation a: b is c; write d; and e");
});

test("which policies are possible for which pods", () => {
  const rows: readonly {
    readonly name: string;
    readonly workload?: WorkloadRef;
    readonly state?: WorkloadState;
    readonly expected: Record<ReleasePolicy, string | undefined>;
  }[] = [
    {
      name: "b",
      expected: {
        "pod-delete": undefined,
        immutable: "policy unsupported",
        never: "policy unsupported",
      },
    },
    {
      name: "b-0",
      expected: { "pod-delete": undefined, immutable: "policy unsupported", never: undefined },
    },
    {
      name: "job-x7k2p",
      workload: { ...tapp, kind: "job", apiGroup: "batch" },
      state: present(undefined),
      expected: {
        "pod-delete": undefined,
        immutable: "policy unsupported",
        never: "policy unsupported",
      },
    },
    {
      name: "app-0",
      workload: tapp,
      state: present(3),
      expected: { "pod-delete": undefined, immutable: undefined, never: undefined },
    },
    {
      name: "app-0",
      workload: tapp,
      state: present(undefined),
      expected: { "pod-delete": undefined, immutable: "policy unsupported", never: undefined },
    },
    {
      name: "app-0",
      workload: tapp,
      state: { kind: "gone" },
      expected: { "pod-delete": undefined, immutable: "policy unsupported", never: undefined },
    },
    {
      name: "app-0",
      workload: tapp,
      state: { kind: "unknown", reason: "timeout" },
      expected: { "pod-delete": undefined, immutable: "workload unknown", never: undefined },
    },
    {
      name: "db-0",
      workload: statefulSet,
      state: { kind: "unknown", reason: "timeout" },
      expected: { "pod-delete": undefined, immutable: undefined, never: undefined },
    },
    {
      name: "dp-x7k2p",
      workload: deployment,
      state: present(1),
      expected: { "pod-delete": undefined, immutable: undefined, never: undefined },
    },
    {
      name: "rs-x7k2p",
      workload: builtInWorkload("replicaset", { namespace: "ns1", name: "rs" }),
      state: present(1),
      expected: { "pod-delete": undefined, immutable: undefined, never: undefined },
    },
    {
      name: "dp-x7k2p",
      workload: deployment,
      state: { kind: "unknown", reason: "timeout" },
      expected: {
        "pod-delete": undefined,
        immutable: "workload unknown",
        never: "workload unknown",
      },
    },
    {
      name: "dp-x7k2p",
      workload: deployment,
      state: { kind: "gone" },
      expected: {
        "pod-delete": undefined,
        immutable: "workload unknown",
        never: "workload unknown",
      },
    },
  ];
  for (const row of rows) {
    const { name, workload, expected } = row;
    const state: WorkloadState = row.state ?? noWorkload;
    for (const policy of ["pod-delete", "immutable", "never"] as const) {
      const context = aContext({ workload, workloadState: state, pod: { name, policy } });
      assert.equal(
        because(context),
        expected[policy],
        `${name} of ${workload?.kind ?? "nothing"} (${state.kind}) with ${policy}`,
      );
    }
  }
});

test("a kind called StatefulSet in another group needs a scale subresource like any custom workload", () => {
  const kruise = { ...tapp, kind: "statefulset", apiGroup: "apps.kruise.io" };
  const context = aContext({
    workload: kruise,
    workloadState: present(undefined),
    pod: { name: "app-0", policy: "immutable" },
  });
  assert.equal(because(context), "policy unsupported");
  assert.match(messageOf(context), /statefulset ns1\/app has no scale subresource/);
});

test("the refusals of a policy say the established words, the pod and a remedy", () => {
  assert.match(
    messageOf(aContext({ pod: { name: "b", policy: "immutable" } })),
    /^release policy immutable is not supported for pod b: pod name doesn't match '\.\*-\[0-9\]\*\$', assume its parent is not a stateful workload \(pod ns1\/b\); use a Deployment/,
  );
  assert.match(
    messageOf(aContext({ pod: { name: "b", policy: "never" } })),
    /^release policy never is not supported for pod b: pod name doesn't match/,
  );
  assert.match(
    messageOf(aContext({ pod: { name: "b-0", policy: "immutable" } })),
    /^release policy immutable is not supported for pod b-0: parent workload has no replicas \(pod ns1\/b-0 has no controller\)/,
  );
  assert.match(
    messageOf(aContext({ workload: tapp, pod: { name: "app-0", policy: "immutable" } })),
    /parent workload has no replicas .*a controller tapp ns1\/app that does not exist/,
  );
  assert.equal(
    messageOf(dpContext("immutable", { kind: "unknown", reason: "GET timed out" })),
    "deployment ns1/dp cannot be read now (GET timed out); the pod is tried again",
  );
  assert.match(
    messageOf(dpContext("never", { kind: "gone" })),
    /^deployment ns1\/dp does not exist \(yet\)/,
  );
  assert.equal(describeWorkload(tapp), "tapp ns1/app");
});

test("ranges with a policy are refused for interchangeable pods only", () => {
  const request = rangesOf(["10.0.70.2"]);
  const bareReplicaSet = builtInWorkload("replicaset", { namespace: "ns1", name: "rs" });
  for (const policy of ["immutable", "never"] as const) {
    assert.equal(because(dpContext(policy, present(1), { request })), "ranges with policy");
    assert.equal(
      because(
        aContext({
          workload: bareReplicaSet,
          workloadState: present(1),
          pod: { policy, request },
        }),
      ),
      "ranges with policy",
    );
    assert.equal(
      because(
        aContext({
          workload: statefulSet,
          workloadState: present(1),
          pod: { name: "db-0", policy, request },
        }),
      ),
      undefined,
    );
  }
  assert.equal(because(dpContext("pod-delete", present(1), { request })), undefined);
  const pooled = dpContext("never", present(1), { request, pool: "lim" });
  assert.equal(because(pooled), "ranges with policy");
  assert.ok(
    messageOf(pooled).includes(
      "request ip ranges for deployment pod with release policy other than ReleasePolicyPodDelete is not supported",
    ),
  );
  const owned = aTable(dpAddress("10.0.70.2", "dp-new"));
  assert.equal(because(pooled, owned), "ranges with policy", "owning addresses changes nothing");
});

test("what a pod of a Deployment was promised stands when a pod without a policy took an address since", () => {
  const old = dpAddress("10.0.70.2", "dp-old");
  const context = dpContext("immutable", present(1));
  const byZone = new Map([[zone70.id, [ip("10.0.70.3")]]]);
  const { id, uid } = context.pod;
  for (const policy of ["pod-delete", "immutable"] as const) {
    const table = aTable({ ...old, policy });
    assert.equal(because(context, table), "replicas reached", "nothing was promised yet");
    table.hold({
      podUid: uid,
      pod: id,
      workload: context.workload,
      pool: undefined,
      byZone,
      expiresAtMs: 1,
    });
    assert.equal(
      because(context, table),
      policy === "pod-delete" ? undefined : "replicas reached",
      policy,
    );
  }
});

test("a Deployment has the addresses for rolling updates beside those of its replicas", () => {
  const one = aTable(dpAddress("10.0.70.2", "dp-old"));
  const state = { ...present(1), surgeAddresses: 1 };
  assert.equal(because(dpContext("immutable", state), one), undefined);
  const two = aTable(dpAddress("10.0.70.2", "dp-old"), dpAddress("10.0.70.3", "dp-older"));
  assert.equal(
    messageOf(dpContext("immutable", state), two),
    "deployment dp has allocated 2 ips with replicas of 1 and 1 more for rolling updates, wait for releasing",
  );
  const none = { ...present(0), surgeAddresses: 1 };
  assert.equal(because(dpContext("immutable", none), aTable()), "replicas reached");
});

test("a Deployment with a policy may use as many addresses as it has replicas, not more", () => {
  const one = aTable(dpAddress("10.0.70.2", "dp-old"));
  for (const policy of ["immutable", "never"] as const) {
    assert.equal(because(dpContext(policy, present(1)), one), "replicas reached");
    assert.equal(
      messageOf(dpContext(policy, present(1)), one),
      "deployment dp has allocated 1 ips with replicas of 1, wait for releasing",
    );
    assert.equal(because(dpContext(policy, present(2)), one), undefined);
    assert.equal(because(dpContext(policy, present(0)), aTable()), "replicas reached");
  }
  assert.equal(because(dpContext("pod-delete", present(1)), one), undefined, "surges freely");
  assert.ok(
    messageOf(dpContext("immutable", present(1, "set maxSurge 0")), one).endsWith(
      "; set maxSurge 0",
    ),
  );
});

test("what counts against the replicas of a Deployment", () => {
  const used = (table: AllocationTable) => because(dpContext("immutable", present(1)), table);
  assert.equal(used(aTable(reservedForDp("10.0.70.2"))), undefined, "reserved ones do not");
  assert.equal(
    used(aTable(dpAddress("10.0.70.2", "dp-old", "lim"))),
    undefined,
    "those in a pool do not",
  );
  assert.equal(
    used(
      aTable(
        anAllocation({
          ip: "10.0.70.2",
          owner: podOwner({ name: "x", workload: aDeploymentRef({ name: "dp2" }) }),
        }),
      ),
    ),
    undefined,
    "another Deployment's do not",
  );
  const leaving = aTable(dpAddress("10.0.70.2", "dp-old"));
  leaving.setPhase(ip("10.0.70.2"), "leaving");
  assert.equal(used(leaving), undefined, "one that is being released does not");
  for (const phase of ["writing", "unsettled", "lost"] satisfies EntryPhase[]) {
    const table = aTable(dpAddress("10.0.70.2", "dp-old"));
    table.setPhase(ip("10.0.70.2"), phase);
    assert.equal(used(table), "replicas reached", `one in phase ${phase} does`);
  }
  const held = aTable();
  held.hold(aHold({ workload: deployment }));
  assert.equal(used(held), "replicas reached", "a promise to another pod does");
  const ownHold = aTable();
  ownHold.hold(aHold({ workload: deployment, podUid: "uid-ns1-dp-new" }));
  assert.equal(used(ownHold), undefined, "the pod's own promise does not");
  const otherHold = aTable();
  otherHold.hold(aHold({ workload: { ...deployment, namespace: "ns2" } }));
  assert.equal(used(otherHold), undefined, "a promise to another Deployment's pod does not");
  const poolHold = aTable();
  poolHold.hold(aHold({ workload: deployment, pool: "lim" }));
  assert.equal(used(poolHold), undefined, "a promise in a pool does not");
});

test("a pod with two addresses, or with an address and a promise, counts once against the replicas", () => {
  const twoFamilies = aTable(dpAddress("10.0.80.2", "dp-old"), dpAddress("2001:db8::2", "dp-old"));
  assert.equal(because(dpContext("immutable", present(2)), twoFamilies), undefined);
  assert.match(
    messageOf(dpContext("immutable", present(1)), twoFamilies),
    /^deployment dp has allocated 2 ips with replicas of 1,/,
  );
  const boundAndHeld = aTable(dpAddress("10.0.70.2", "dp-old"));
  boundAndHeld.hold(aHold({ podUid: "uid-ns1-dp-old", workload: deployment }));
  assert.equal(because(dpContext("immutable", present(2)), boundAndHeld), undefined);
  assert.match(
    messageOf(dpContext("immutable", present(1)), boundAndHeld),
    /^deployment dp has allocated 1 ips with replicas of 1,/,
  );
});

test("a pod that has its addresses already is not counted again", () => {
  const table = aTable(dpAddress("10.0.70.2", "dp-new"));
  assert.equal(because(dpContext("immutable", present(1)), table), undefined);
  assert.equal(because(dpContext("immutable", { kind: "gone" }), table), undefined);
});

test("a pool without a size lets each Deployment use as many as it has replicas", () => {
  const context = dpContext("never", present(1), { pool: "lim" });
  assert.equal(
    because(context, aTable(dpAddress("10.0.70.2", "dp-old", "lim"))),
    "replicas reached",
  );
  assert.equal(because(context, aTable(dpAddress("10.0.70.2", "dp-old"))), undefined);
  const otherDp = aTable(
    anAllocation({
      ip: "10.0.70.2",
      owner: podOwner({
        namespace: "ns2",
        workload: aDeploymentRef({ namespace: "ns2" }),
        pool: "lim",
      }),
    }),
  );
  assert.equal(because(context, otherDp), undefined);
  assert.equal(because({ ...context, poolObject: aPool({ name: "lim" }) }, otherDp), undefined);
});

test("a pool of a given size is full when pods use that many addresses, whichever pods they are", () => {
  const context = (size: number): PodContext => ({
    ...dpContext("never", present(1), { pool: "lim" }),
    poolObject: aPool({ name: "lim", size }),
  });
  const one = aTable(dpAddress("10.0.70.2", "dp-old", "lim"));
  assert.equal(because(context(1), one), "pool size reached");
  assert.match(messageOf(context(1), one), /^reached pool lim size limit of 1\b/);
  assert.equal(because(context(2), one), undefined, "the size replaces the replicas");
  assert.equal(because(context(0), aTable()), "pool size reached");
  assert.equal(because(context(1), aTable(reservedForPool("10.0.70.2"))), undefined);
  const stsPod = aTable(
    anAllocation({
      ip: "10.0.70.2",
      owner: podOwner({ name: "db-0", workload: statefulSet, pool: "lim" }),
    }),
  );
  assert.equal(because(context(1), stsPod), "pool size reached", "StatefulSet pods count");
  const held = aTable();
  held.hold(aHold({ pool: "lim", workload: statefulSet }));
  assert.equal(because(context(1), held), "pool size reached", "promises count");
  const heldElsewhere = aTable();
  heldElsewhere.hold(aHold({ pool: "other" }));
  assert.equal(because(context(1), heldElsewhere), undefined);
  const dual = aTable();
  dual.hold(
    aHold({
      pool: "lim",
      zones: { [zone80.id]: ["10.0.80.2"], [zoneDual.id]: ["10.0.80.3", "2001:db8::2"] },
    }),
  );
  assert.equal(because(context(2), dual), "pool size reached", "the largest of its zones counts");
  assert.equal(because(context(3), dual), undefined);
});

test("a StatefulSet pod in a full pool is refused too, and needs no known replicas otherwise", () => {
  const context: PodContext = aContext({
    workload: statefulSet,
    workloadState: { kind: "gone" },
    poolObject: aPool({ name: "lim", size: 1 }),
    pod: { name: "db-1", pool: "lim" },
  });
  assert.equal(
    because(context, aTable(dpAddress("10.0.70.2", "dp-old", "lim"))),
    "pool size reached",
  );
  assert.equal(because(context), undefined);
});

// --- Which addresses on the nodes of a zone ---

test("a new pod gets the lowest address that was never used, of the default family", () => {
  assert.equal(planText(planForZone(aContext(), aTable(), zone70)), "10.0.70.2 free");
  assert.equal(planText(planForZone(aContext(), aTable(), zoneDual)), "10.0.80.2 free");
  assert.equal(planText(planForZone(aContext(), aTable(), zoneV6)), "2001:db8::2 free");
});

test("named families give one address each, the first is primary; what the nodes do not have is left out", () => {
  const dual = aContext({
    pod: { request: { kind: "families", families: ["IPv6", "IPv4"] } },
  });
  assert.equal(planText(planForZone(dual, aTable(), zoneDual)), "2001:db8::2 free, 10.0.80.2 free");
  assert.equal(planText(planForZone(dual, aTable(), zone70)), "10.0.70.2 free");
  const v6 = aContext({ pod: { request: { kind: "families", families: ["IPv6"] } } });
  assert.match(
    planText(planForZone(v6, aTable(), zone70)),
    /^none: .*10\.0\.70\.0\/24.* pod ns1\/pod1 .*ip-families/,
  );
});

test("own addresses pin the pod to nodes that may use them", () => {
  const own = anAllocation({
    ip: "10.0.80.4",
    owner: podOwner({ name: "db-0", workload: statefulSet }),
    policy: "immutable",
    podUid: "",
    nodeName: "",
  });
  const context = aContext({
    workload: statefulSet,
    workloadState: present(1),
    pod: { name: "db-0", policy: "immutable" },
  });
  const table = aTable(own);
  assert.equal(planText(planForZone(context, table, zone80)), "10.0.80.4 own");
  assert.equal(planText(planForZone(context, table, zoneDual)), "10.0.80.4 own");
  assert.equal(
    planText(planForZone(context, table, zone70)),
    "none: pod ns1/db-0 has 10.0.80.4, which nodes of 10.0.70.0/24 may not use",
  );
  const other = aContext({ pod: { name: "other" } });
  assert.equal(planText(planForZone(other, table, zone70)), "10.0.70.2 free");
  assert.equal(planText(planForZone(other, table, zone80)), "10.0.80.2 free");
});

test("of two addresses of a name that used last pins the pod, whatever a late write left in another subnet", () => {
  const kept = {
    owner: podOwner({ name: "db-0", workload: statefulSet }),
    policy: "immutable",
    podUid: "",
    nodeName: "",
  } as const;
  const context = aContext({
    workload: statefulSet,
    workloadState: present(1),
    pod: { name: "db-0", policy: "immutable" },
  });
  const table = aTable(
    anAllocation({ ...kept, ip: "10.0.70.4", updatedAtMs: 1_000 }),
    anAllocation({ ...kept, ip: "10.0.80.4", updatedAtMs: 2_000 }),
  );
  assert.equal(planText(planForZone(context, table, zone80)), "10.0.80.4 own");
  assert.equal(
    planText(planForZone(context, table, zone70)),
    "none: pod ns1/db-0 has 10.0.80.4, which nodes of 10.0.70.0/24 may not use",
  );
});

test("a pod keeps its own address in a pool that has more than its size", () => {
  const inPool = (name: string, ipText: string) =>
    anAllocation({ ip: ipText, owner: podOwner({ name, pool: "lim" }), policy: "never" });
  const context = aContext({
    pod: { pool: "lim" },
    poolObject: aPool({ name: "lim", size: 1 }),
  });
  const table = aTable(inPool("pod1", "10.0.70.4"), inPool("pod2", "10.0.70.5"));
  assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.4 own");
});

test("own are addresses of this uid, or kept for the name under the same owner", () => {
  const inPool = podOwner({ pool: "lim" });
  const rows: readonly (readonly [Partial<Allocation>, boolean])[] = [
    [{ owner: podOwner() }, true],
    [{ owner: podOwner(), podUid: "" }, true],
    [{ owner: podOwner(), podUid: "uid-of-an-earlier-life", policy: "never" }, true],
    [{ owner: podOwner(), podUid: "uid-of-an-earlier-life", policy: "pod-delete" }, false],
    [{ owner: inPool }, true],
    [{ owner: inPool, podUid: "" }, false],
    [{ owner: podOwner({ workload: statefulSet }), podUid: "" }, false],
    [{ owner: podOwner({ name: "pod2" }), podUid: "" }, false],
    [{ owner: { kind: "workload", workload: deployment } }, false],
  ];
  for (const [wanted, isOwn] of rows) {
    const { ip: _ip, ...rest } = wanted;
    const table = aTable(anAllocation(rest));
    assert.equal(ownAllocations(aContext(), table).length, isOwn ? 1 : 0, JSON.stringify(wanted));
  }
});

test("what may be in an earlier pod of the name is the name's, what may be in a pod of another name is nobody's yet", () => {
  for (const [name, isOwn] of [
    ["pod1", true],
    ["other", false],
  ] as const) {
    const table = aTable(anAllocation());
    const pod = aPod({ name }).id;
    table.keepFor(ip("10.0.70.2"), { podUid: "earlier", pod, pool: undefined });
    assert.equal(ownAllocations(aContext(), table).length, isOwn ? 1 : 0, name);
    const plan = planForZone(aContext(), table, zone80);
    assert.equal(plan.kind, isOwn ? "none" : "plan", "its own address pins it");
  }
});

test("a pod that asks for other ranges than its address is in is not pinned by it", () => {
  const context = aContext({ pod: { request: rangesOf(["10.0.70.3~10.0.70.4"]) } });
  const table = aTable(anAllocation({ ip: "10.0.80.2" }));
  assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.3 free");
  assert.match(
    planText(planForZone(context, table, zone80)),
    /^none: no free address in the ranges of request_ip_range/,
  );
});

test("own addresses are used as fully as the ranges allow, the rest is new", () => {
  const context = aContext({
    pod: { request: rangesOf(["10.0.70.2~10.0.70.5"], ["10.0.70.3"]) },
  });
  const table = aTable(anAllocation({ ip: "10.0.70.3" }));
  assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.2 free, 10.0.70.3 own");
});

test("a draining address stays with its pod, and is not handed out to the next pod of that name", () => {
  const draining = (podUid: string) =>
    aTable(anAllocation({ ip: "10.0.70.99", podUid, isDraining: true }));
  const context = aContext();
  assert.equal(planText(planForZone(context, draining(context.pod.uid), zone70)), "10.0.70.99 own");
  assert.match(planText(planForZone(context, draining(context.pod.uid), zone80)), /may not use$/);
  for (const podUid of ["", "uid-of-an-earlier-life"]) {
    assert.equal(planText(planForZone(context, draining(podUid), zone70)), "10.0.70.2 free");
    assert.equal(planText(planForZone(context, draining(podUid), zone80)), "10.0.80.2 free");
  }
});

test("what was promised to the pod on these nodes is preferred, also to a reserved address that came later", () => {
  const context = dpContext("immutable", present(2));
  const table = aTable(reservedForDp("10.0.70.5"));
  table.hold(
    aHold({
      podUid: context.pod.uid,
      zones: { [zone70.id]: ["10.0.70.4"], [zone80.id]: ["10.0.80.3"] },
    }),
  );
  assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.4 free");
  assert.equal(planText(planForZone(context, table, zone80)), "10.0.80.3 free");
  const promisedReserved = aTable(reservedForDp("10.0.70.5"), reservedForDp("10.0.70.4"));
  promisedReserved.hold(aHold({ podUid: context.pod.uid, zones: { [zone70.id]: ["10.0.70.5"] } }));
  assert.equal(planText(planForZone(context, promisedReserved, zone70)), "10.0.70.5 reserved");
});

test("a promise does not outlive the address: taken by a record meanwhile, it goes to nobody else", () => {
  const takers: readonly Owner[] = [
    { kind: "admin", key: "pool__reserved-for-node_" },
    { kind: "foreign", key: "hello-xx" },
    podOwner({ name: "adopted" }),
    { kind: "pool", pool: "lim" },
    { kind: "workload", workload: deployment },
  ];
  for (const owner of takers) {
    const context = aContext();
    const table = aTable();
    table.hold(aHold({ podUid: context.pod.uid, zones: { [zone70.id]: ["10.0.70.4"] } }));
    assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.4 free");
    table.put(anAllocation({ ip: "10.0.70.4", owner }), "idle");
    assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.2 free", owner.kind);
  }
});

test("a promise to another pod and an address that is being written are left alone", () => {
  const context = dpContext("immutable", present(2));
  const table = aTable(reservedForDp("10.0.70.4"), reservedForDp("10.0.70.5"));
  table.hold(aHold({ zones: { [zone70.id]: ["10.0.70.5", "10.0.70.2"] } }));
  assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.4 reserved");
  for (const phase of ["writing", "leaving", "unsettled", "lost"] satisfies EntryPhase[]) {
    table.setPhase(ip("10.0.70.4"), phase);
    assert.equal(planText(planForZone(context, table, zone70)), "10.0.70.3 free", phase);
  }
});

test("reserved addresses of the workload or pool come before free ones, the most recently reserved first", () => {
  const table = aTable(
    reservedForDp("10.0.70.4", madeAtMs),
    reservedForDp("10.0.70.5", madeAtMs + 5),
    reservedForDp("10.0.70.3", madeAtMs + 5),
    reservedForPool("10.0.70.2"),
  );
  const inDp = dpContext("immutable", present(9));
  assert.equal(planText(planForZone(inDp, table, zone70)), "10.0.70.3 reserved");
  const inPool = dpContext("never", present(9), { pool: "lim" });
  assert.equal(planText(planForZone(inPool, table, zone70)), "10.0.70.2 reserved");
  assert.match(
    planText(planForZone(dpContext("pod-delete", present(9)), table, zone70)),
    /^none: /,
    "a pod without policy does not take what is kept",
  );
  assert.match(planText(planForZone(aContext(), table, zone70)), /^none: /);
});

test("addresses kept for a pod name are nobody else's, not even in the same pool", () => {
  const kept = (pool?: string) =>
    anAllocation({
      ip: "10.0.70.5",
      owner: podOwner({ name: "db-0", workload: statefulSet, pool }),
      podUid: "",
      nodeName: "",
    });
  const other = (pool: string | undefined) =>
    aContext({
      workload: statefulSet,
      workloadState: present(2),
      pod: { name: "db-1", policy: "never", pool },
    });
  assert.equal(planText(planForZone(other("lim"), aTable(kept("lim")), zone70)), "10.0.70.2 free");
  assert.equal(planText(planForZone(other(undefined), aTable(kept()), zone70)), "10.0.70.2 free");
});

test("a reserved address outside the configuration is not handed out again", () => {
  const table = aTable(reservedForDp("10.0.70.99"));
  assert.equal(
    planText(planForZone(dpContext("immutable", present(1)), table, zone70)),
    "10.0.70.2 free",
  );
});

test("a pool that has all its addresses gives what it has where it may be used, and says so elsewhere", () => {
  const context: PodContext = {
    ...dpContext("never", present(9), { pool: "lim" }),
    poolObject: aPool({ name: "lim", size: 2 }),
  };
  const full = aTable(reservedForPool("10.0.70.4"), reservedForPool("10.0.70.5", madeAtMs - 1));
  assert.equal(planText(planForZone(context, full, zone70)), "10.0.70.4 reserved");
  assert.match(
    planText(planForZone(context, full, zone80)),
    /^none: pool lim has its 2 addresses, and the unused ones \(10\.0\.70\.4, 10\.0\.70\.5\) may not be used on this node;/,
  );
  const room = aTable(reservedForPool("10.0.70.4"));
  assert.equal(planText(planForZone(context, room, zone80)), "10.0.80.2 free");
  room.hold(aHold({ pool: "lim", zones: { [zone70.id]: ["10.0.70.5"] } }));
  assert.match(planText(planForZone(context, room, zone80)), /^none: pool lim has its 2/);
  const reservedPromised = aTable(reservedForPool("10.0.70.4"));
  reservedPromised.hold(aHold({ pool: "lim", zones: { [zone70.id]: ["10.0.70.4"] } }));
  assert.equal(
    planText(planForZone(context, reservedPromised, zone80)),
    "10.0.80.2 free",
    "a promised reserved address is not counted twice",
  );
  const ownPromise = aTable(reservedForPool("10.0.70.4"));
  ownPromise.hold(
    aHold({ pool: "lim", podUid: context.pod.uid, zones: { [zone80.id]: ["10.0.80.3"] } }),
  );
  assert.equal(planText(planForZone(context, ownPromise, zone80)), "10.0.80.3 free");
});

test("when nothing is left the reason names subnet and figures", () => {
  const table = aTable(
    ...[2, 3, 4, 5].map((last) =>
      anAllocation({ ip: `10.0.70.${last}`, owner: podOwner({ name: `p${last}` }) }),
    ),
  );
  const context = aContext({ pod: { name: "new" } });
  assert.equal(
    planText(planForZone(context, table, zone70)),
    'none: no free address for this node in pod subnet 10.0.70.0/24 (4 of 4 in use); free some or extend "ips"',
  );
});

test("ranges are all or none, matched and not greedy, and identical lists give different addresses", () => {
  const plan = (...lists: readonly (readonly string[])[]) =>
    planText(planForZone(aContext({ pod: { request: rangesOf(...lists) } }), aTable(), zone70));
  assert.equal(plan(["10.0.70.2~10.0.70.3"], ["10.0.70.2"]), "10.0.70.3 free, 10.0.70.2 free");
  assert.equal(
    plan(["10.0.70.2", "10.0.80.2~10.0.80.4"], ["10.0.70.2~10.0.70.3"]),
    "10.0.70.2 free, 10.0.70.3 free",
  );
  assert.match(
    plan(["10.0.70.2", "10.0.80.2~10.0.80.4"], ["10.0.70.2", "10.0.80.2~10.0.80.4"]),
    /^none: no 2 different free addresses in the ranges of request_ip_range/,
  );
  assert.match(plan(["10.0.70.2"], ["10.9.9.9"]), /^none: no 2 different/);
});

// --- Which zones are preferred ---

const zones = [zone70, zone80];

function plansOf(
  context: PodContext,
  table: AllocationTable,
  youngSinceMs = Number.POSITIVE_INFINITY,
): readonly string[] {
  const decision = decideFilter(context, table, zones, youngSinceMs);
  assert.equal(decision.kind, "zones");
  if (decision.kind !== "zones") return [];
  return zones.map((zone) => planText(decision.plans.get(zone.id)));
}

test("filter offers every zone that can serve the pod", () => {
  assert.deepEqual(plansOf(aContext(), aTable()), ["10.0.70.2 free", "10.0.80.2 free"]);
});

test("a refusal stands for every zone", () => {
  const decision = decideFilter(dpContext("immutable", present(0)), aTable(), zones, 0);
  assert.equal(decision.kind, "refused");
});

test("filter only looks at the zones of the nodes offered", () => {
  const table = aTable(reservedForDp("10.0.70.4"));
  const context = dpContext("immutable", present(1));
  const decision = decideFilter(context, table, [zone80], 0);
  assert.equal(decision.kind, "zones");
  if (decision.kind !== "zones") return;
  assert.deepEqual([...decision.plans.keys()], [zone80.id]);
  assert.equal(planText(decision.plans.get(zone80.id)), "10.0.80.2 free");
});

test("nodes where the workload has a reserved address are used first, and the others say which it is", () => {
  const table = aTable(reservedForDp("10.0.80.4"));
  assert.deepEqual(plansOf(dpContext("immutable", present(1)), table), [
    "none: the reserved addresses 10.0.80.4 are used first, on other nodes",
    "10.0.80.4 reserved",
  ]);
  const many = aTable(...[2, 3, 4, 5].map((last) => reservedForDp(`10.0.80.${last}`)));
  assert.match(
    plansOf(dpContext("immutable", present(1)), many)[0] as string,
    /10\.0\.80\.2, 10\.0\.80\.3, 10\.0\.80\.4 and 1 more are used first/,
  );
});

test("of reserved addresses on both sides the most recently reserved one is used, so that the other is left for the next pod", () => {
  const context = dpContext("immutable", present(2));
  const equallyOld = aTable(reservedForDp("10.0.70.4"), reservedForDp("10.0.80.4"));
  const said = "none: the reserved addresses 10.0.70.4, 10.0.80.4 are used first, on other nodes";
  assert.deepEqual(plansOf(context, equallyOld), ["10.0.70.4 reserved", said]);
  const younger = aTable(reservedForDp("10.0.70.4"), reservedForDp("10.0.80.4", madeAtMs + 1));
  assert.match(plansOf(context, younger).join(), /^none: the reserved .*,10\.0\.80\.4 reserved$/);
});

/** A table in which 10.0.70.0/24 has only one free address, released at a moment. */
function withReleased(atMs: number, ...others: readonly Allocation[]): AllocationTable {
  const full = [2, 3, 4, 5].map((last) =>
    anAllocation({ ip: `10.0.70.${last}`, owner: podOwner({ name: `p${last}` }) }),
  );
  const table = aTable(...full, ...others);
  table.drop(ip("10.0.70.5"), { kind: "released", atMs });
  return table;
}

test("an address released a moment ago is used only when nothing else is left on any node", () => {
  const context = aContext({ pod: { name: "new" } });
  assert.deepEqual(plansOf(context, withReleased(100), 99), [
    "none: its free addresses were released a moment ago (--reuse-delay), other nodes have older ones",
    "10.0.80.2 free",
  ]);
  assert.deepEqual(plansOf(context, withReleased(100), 100), ["10.0.70.5 free", "10.0.80.2 free"]);
  const taken80 = [2, 3, 4, 5].map((last) =>
    anAllocation({ ip: `10.0.80.${last}`, owner: podOwner({ name: `q${last}` }) }),
  );
  const [only70, none80] = plansOf(context, withReleased(100, ...taken80), 99);
  assert.equal(only70, "10.0.70.5 free");
  assert.match(none80 as string, /^none: no free address/);
});

test("reserved addresses win over the age of free ones", () => {
  const table = withReleased(100, reservedForDp("10.0.80.2"));
  assert.match(plansOf(dpContext("immutable", present(1)), table, 99)[0] as string, /used first/);
});

// --- Whatever the facts ---

const arbitraryRequest: fc.Arbitrary<AddressRequest> = fc.oneof(
  fc.constantFrom<AddressRequest>(
    { kind: "families", families: undefined },
    { kind: "families", families: ["IPv6"] },
    { kind: "families", families: ["IPv4", "IPv6"] },
  ),
  fc
    .array(
      fc.constantFrom(
        "10.0.70.2~10.0.70.3",
        "10.0.70.3~10.0.80.3",
        "10.0.80.2",
        "2001:db8::2~2001:db8::3",
      ),
      { minLength: 1, maxLength: 3 },
    )
    .map((texts) => rangesOf(...texts.map((text) => [text]))),
);

const arbitraryOwner = fc.constantFrom<Owner>(
  podOwner(),
  podOwner({ name: "other" }),
  podOwner({ pool: "lim" }),
  podOwner({ name: "other", workload: deployment }),
  podOwner({ name: "other", workload: statefulSet, pool: "lim" }),
  { kind: "workload", workload: deployment },
  { kind: "pool", pool: "lim" },
  { kind: "admin", key: "k" },
  { kind: "foreign", key: "k" },
);

const arbitraryIpText = fc.constantFrom(
  ...[2, 3, 4, 5].flatMap((last) => [`10.0.70.${last}`, `10.0.80.${last}`, `2001:db8::${last}`]),
  "10.0.70.99",
);

const arbitraryFacts = fc.record({
  request: arbitraryRequest,
  policy: fc.constantFrom<ReleasePolicy>("pod-delete", "immutable", "never"),
  pool: fc.constantFrom(undefined, "lim"),
  size: fc.constantFrom(undefined, 0, 1, 3, 9),
  workload: fc.constantFrom(undefined, deployment, statefulSet),
  replicas: fc.nat(4),
  allocations: fc.uniqueArray(
    fc
      .tuple(arbitraryIpText, arbitraryOwner, fc.boolean())
      .map(([ipText, owner, isKept]) =>
        anAllocation({ ip: ipText, owner, ...(isKept ? { podUid: "", nodeName: "" } : {}) }),
      ),
    { selector: (allocation) => allocation.ip, maxLength: 8 },
  ),
  holds: fc.array(
    fc.record({
      uid: fc.constantFrom("uid-ns1-pod1", "uid-x"),
      zone: fc.constantFrom(zone70, zone80),
    }),
    { maxLength: 2 },
  ),
  late: fc.array(fc.tuple(arbitraryIpText, arbitraryOwner), { maxLength: 3 }),
});

test("no plan has an address that is somebody else's, promised to somebody else, or there twice", () => {
  fc.assert(
    fc.property(arbitraryFacts, (facts) => {
      const { request, policy, pool, workload } = facts;
      const pod: Partial<PodFacts> = {
        request,
        policy: pool === undefined ? policy : "never",
        pool,
      };
      const context = aContext({
        pod,
        workload,
        workloadState: present(facts.replicas),
        poolObject: pool === undefined ? undefined : aPool({ name: "lim", size: facts.size }),
      });
      const table = aTable(...facts.allocations);
      for (const { uid, zone } of facts.holds) {
        const ips = table.freeFor({ family: "IPv4", ranges: undefined }, zone.subnetIndexes, 2);
        if (ips.length > 0) table.hold(aHold({ podUid: uid, zones: { [zone.id]: ips }, pool }));
      }
      for (const [ipText, owner] of facts.late) {
        table.put(anAllocation({ ip: ipText, owner }), "idle");
      }
      for (const zone of [zone70, zone80, zoneDual, zoneV6]) {
        const plan = planForZone(context, table, zone);
        assert.deepEqual(planForZone(context, table, zone), plan, "the choice is deterministic");
        if (plan.kind === "none") continue;
        const addresses = addressesOf(plan);
        assert.equal(new Set(addresses.map((address) => address.ip)).size, addresses.length);
        const ranges = request.kind === "ranges" ? request.ranges : undefined;
        assert.ok(ranges === undefined || ranges.length === addresses.length);
        for (const { ip: address, from } of addresses) {
          assert.ok(topology.zoneMayUse(zone, address));
          const allocation = table.get(address);
          if (from === "own") {
            assert.ok(allocation !== undefined);
            assert.ok(ownAllocations(context, table).includes(allocation));
            continue;
          }
          assert.ok(topology.isConfigured(address), `${address} is new and not configured`);
          const holder = table.heldBy(address);
          assert.ok(holder === undefined || holder === context.pod.uid, `${address} is promised`);
          if (allocation === undefined) {
            assert.equal(from, "free");
            continue;
          }
          assert.equal(from, "reserved");
          const { owner } = allocation;
          assert.ok(
            owner.kind === "pool"
              ? owner.pool === pool
              : owner.kind === "workload" && workload === deployment && pool === undefined,
            `${address} belongs to ${JSON.stringify(owner)}`,
          );
        }
        const size = context.poolObject?.size;
        const newCount = addresses.filter(({ from }) => from === "free").length;
        if (size !== undefined && newCount > 0) {
          assert.ok(table.ofPool("lim").length + newCount <= size, "the pool outgrows its size");
        }
      }
    }),
    { numRuns: 1500 },
  );
});
