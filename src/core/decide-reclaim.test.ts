// What becomes of an address: the table of the release policies row by row, and what must hold whatever the facts are.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aStatefulSetRef,
  madeAtMs,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { PodState, ReclaimDecision, ReclaimFacts } from "./decide-reclaim.ts";
import { decideReclaim, needsWorkload } from "./decide-reclaim.ts";
import type { PodFacts, PodPhase, WorkloadState } from "./facts.ts";
import type { Owner, WorkloadRef } from "./owner.ts";
import { builtInWorkload, sameOwner } from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";

const deployment = aDeploymentRef();
const replicaSet = builtInWorkload("replicaset", { namespace: "ns1", name: "rs" });
const statefulSet = aStatefulSetRef();
const tapp: WorkloadRef = {
  type: "custom",
  kind: "tapp",
  apiGroup: "tkestack.io",
  namespace: "ns1",
  name: "app",
};
const kruiseStatefulSet: WorkloadRef = { ...tapp, kind: "statefulset", apiGroup: "apps.kruise.io" };

const policies: readonly ReleasePolicy[] = ["pod-delete", "immutable", "never"];
const gone = { kind: "gone" } as const;
const unknownWorkload: WorkloadState = { kind: "unknown", reason: "timeout" };

function present(replicas: number | undefined, firstOrdinal = 0) {
  return {
    kind: "present",
    uid: "w",
    replicas,
    firstOrdinal,
    rolloutDeadlock: undefined,
  } as const;
}

/** An address of a pod that is gone, in the configuration, the only one of its workload. */
function reclaim(
  wanted: Partial<Omit<ReclaimFacts, "allocation">> & {
    readonly owner?: Owner;
    readonly policy?: ReleasePolicy;
    readonly allocation?: Allocation;
  },
): ReclaimDecision {
  const {
    owner = podOwner(),
    policy = "pod-delete",
    allocation = anAllocation({ owner, policy }),
    ...facts
  } = wanted;
  return decideReclaim({
    pod: gone,
    workload: gone,
    ownedCount: 1,
    isConfigured: true,
    ...facts,
    allocation,
  });
}

function ownerText(owner: Owner): string {
  switch (owner.kind) {
    case "pod":
      return owner.pool === undefined ? owner.pod.name : `${owner.pool}+${owner.pod.name}`;
    case "workload":
      return `${owner.workload.kind} ${owner.workload.name}`;
    case "pool":
      return `pool ${owner.pool}`;
    case "admin":
    case "foreign":
      return owner.kind;
    default:
      return owner satisfies never;
  }
}

/** `what: reason`, with the new owner for a reservation. */
function text(decision: ReclaimDecision): string {
  return decision.do === "reserve"
    ? `reserve for ${ownerText(decision.owner)}: ${decision.because}`
    : `${decision.do}: ${decision.because}`;
}

const states: Readonly<Record<string, WorkloadState>> = {
  gone,
  unknown: unknownWorkload,
  "replicas 0": present(0),
  "replicas 1": present(1),
  "replicas 5": present(5),
  "replicas unknown": present(undefined),
};

/** What the workload's state makes of an address, the same for all states or by state. */
type Row = string | Readonly<Record<string, string>>;

const released = "release: policy pod-delete";
const unsupported = "release: policy not supported";

function byOrdinal3(podName: string): Row {
  return {
    gone: "release: workload gone",
    unknown: "keep: workload state unknown",
    "replicas 0": "release: scaled down",
    "replicas 1": "release: scaled down",
    "replicas 5": `reserve for ${podName}: ordinal below replicas`,
    "replicas unknown": unsupported,
  };
}

function byReplicas(reservedFor: string): Row {
  return {
    gone: "release: workload gone",
    unknown: "keep: workload state unknown",
    "replicas 0": "release: scaled down",
    "replicas 1": `reserve for ${reservedFor}: within replicas`,
    "replicas 5": `reserve for ${reservedFor}: within replicas`,
    // A Deployment without `replicas` has one.
    "replicas unknown": `reserve for ${reservedFor}: within replicas`,
  };
}

/** The table for a pod that is confirmed gone: its workload and name, and the row of each policy. */
const table: readonly {
  readonly workload: WorkloadRef | undefined;
  readonly name: string;
  readonly rows: Record<ReleasePolicy, Row>;
}[] = [
  {
    workload: deployment,
    name: "web-x7k2p",
    rows: {
      "pod-delete": released,
      immutable: byReplicas("deployment web"),
      never: "reserve for deployment web: policy never",
    },
  },
  {
    workload: deployment,
    name: "web-12345",
    rows: {
      "pod-delete": released,
      immutable: byReplicas("deployment web"),
      never: "reserve for deployment web: policy never",
    },
  },
  {
    workload: replicaSet,
    name: "rs-x7k2p",
    rows: {
      "pod-delete": released,
      immutable: byReplicas("replicaset rs"),
      never: "reserve for replicaset rs: policy never",
    },
  },
  {
    workload: statefulSet,
    name: "db-3",
    rows: {
      "pod-delete": released,
      immutable: byOrdinal3("db-3"),
      never: "reserve for db-3: policy never",
    },
  },
  {
    workload: tapp,
    name: "app-3",
    rows: {
      "pod-delete": released,
      immutable: byOrdinal3("app-3"),
      never: "reserve for app-3: policy never",
    },
  },
  {
    workload: kruiseStatefulSet,
    name: "app-3",
    rows: {
      "pod-delete": released,
      immutable: byOrdinal3("app-3"),
      never: "reserve for app-3: policy never",
    },
  },
  {
    workload: { ...tapp, kind: "job", apiGroup: "batch" },
    name: "app-x7k2p",
    rows: { "pod-delete": released, immutable: unsupported, never: unsupported },
  },
  {
    workload: undefined,
    name: "bare-3",
    rows: {
      "pod-delete": released,
      immutable: unsupported,
      never: "reserve for bare-3: policy never",
    },
  },
  {
    workload: undefined,
    name: "bare",
    rows: { "pod-delete": released, immutable: unsupported, never: unsupported },
  },
];

for (const { workload, name, rows } of table) {
  for (const policy of policies) {
    test(`${name} of ${workload?.kind ?? "nothing"} gone, policy ${policy}`, () => {
      for (const [stateName, state] of Object.entries(states)) {
        const row = rows[policy];
        const expected = typeof row === "string" ? row : row[stateName];
        const owner = podOwner({ name, workload });
        assert.equal(
          text(reclaim({ owner, policy, workload: state })),
          expected,
          `bound, workload ${stateName}`,
        );
        // Taken, but without a pod's uid: nobody has it. A name's own reservation stays as it is.
        const kept = anAllocation({ owner, policy, podUid: "", nodeName: "" });
        assert.equal(
          text(reclaim({ allocation: kept, workload: state })),
          expected?.replace(`reserve for ${name}: `, "keep: "),
          `reserved, workload ${stateName}`,
        );
        // Without a place in the configuration nothing can be kept.
        assert.equal(
          text(reclaim({ owner, policy, workload: state, isConfigured: false })),
          "release: outside the configuration",
        );
      }
    });
  }
}

test("in a pool the addresses of interchangeable pods go to the pool, those of ordinals stay with the name", () => {
  const rows: readonly (readonly [WorkloadRef | undefined, string, string])[] = [
    [deployment, "web-x7k2p", "reserve for pool blue: policy never"],
    [replicaSet, "rs-x7k2p", "reserve for pool blue: policy never"],
    [statefulSet, "db-0", "reserve for blue+db-0: policy never"],
    [tapp, "app-0", "reserve for blue+app-0: policy never"],
    [undefined, "bare-0", "reserve for blue+bare-0: policy never"],
    [undefined, "bare", unsupported],
  ];
  for (const [workload, name, expected] of rows) {
    const owner = podOwner({ name, workload, pool: "blue" });
    for (const state of Object.values(states)) {
      assert.equal(text(reclaim({ owner, policy: "never", workload: state })), expected, name);
    }
  }
});

test("what a Deployment has more than its replicas is released, its last addresses are kept", () => {
  const owner = podOwner({ name: "web-x7k2p", workload: deployment });
  const outcome = (ownedCount: number, replicas: number) =>
    reclaim({ owner, policy: "immutable", workload: present(replicas), ownedCount }).do;
  assert.equal(outcome(3, 3), "reserve");
  assert.equal(outcome(4, 3), "release");
  assert.equal(outcome(1, 0), "release");
  assert.equal(outcome(0, 0), "release");
  assert.equal(outcome(2, 1), "release");
});

test("a Deployment keeps the addresses that it has for rolling updates, until it is scaled to nothing", () => {
  const owner = podOwner({ name: "web-x7k2p", workload: deployment });
  const outcome = (ownedCount: number, replicas: number) =>
    reclaim({
      owner,
      policy: "immutable",
      workload: { ...present(replicas), surgeAddresses: 2 },
      ownedCount,
    }).do;
  assert.equal(outcome(5, 3), "reserve");
  assert.equal(outcome(6, 3), "release");
  assert.equal(outcome(1, 0), "release");
});

test("a reservation of a Deployment is judged again when the workload changes, under never it stays", () => {
  const owner: Owner = { kind: "workload", workload: deployment };
  const judged = (policy: ReleasePolicy, workload: WorkloadState, ownedCount = 1) =>
    text(reclaim({ owner, policy, workload, ownedCount }));
  assert.equal(judged("immutable", present(1)), "keep: within replicas");
  assert.equal(judged("immutable", present(1), 2), "release: scaled down");
  assert.equal(judged("immutable", present(0)), "release: scaled down");
  assert.equal(judged("immutable", gone), "release: workload gone");
  assert.equal(judged("immutable", unknownWorkload), "keep: workload state unknown");
  for (const state of Object.values(states)) {
    assert.equal(judged("never", state, 9), "keep: policy never");
    assert.equal(judged("pod-delete", state), released);
  }
});

test("an address reserved for a workload whose pods have names of their own is released", () => {
  for (const policy of ["immutable", "never"] as const) {
    const owner: Owner = { kind: "workload", workload: statefulSet };
    assert.equal(text(reclaim({ owner, policy, workload: present(5) })), unsupported);
  }
});

test("ordinals are counted from spec.ordinals.start", () => {
  const outcome = (ordinal: number, replicas: number, start: number) =>
    reclaim({
      owner: podOwner({ name: `db-${ordinal}`, workload: statefulSet }),
      policy: "immutable",
      workload: present(replicas, start),
    }).do;
  assert.equal(outcome(0, 1, 0), "reserve");
  assert.equal(outcome(1, 1, 0), "release");
  assert.equal(outcome(4, 3, 5), "release");
  assert.equal(outcome(5, 3, 5), "reserve");
  assert.equal(outcome(7, 3, 5), "reserve");
  assert.equal(outcome(8, 3, 5), "release");
});

test("a pool's address without a pod is kept while the configuration has it", () => {
  const owner: Owner = { kind: "pool", pool: "blue" };
  assert.equal(text(reclaim({ owner, policy: "never" })), "keep: kept for the pool");
  assert.equal(
    text(reclaim({ owner, policy: "never", isConfigured: false })),
    "release: outside the configuration",
  );
});

test("a reservation of a workload outside the configuration is dropped", () => {
  const owner: Owner = { kind: "workload", workload: deployment };
  assert.equal(
    text(reclaim({ owner, policy: "never", isConfigured: false })),
    "release: outside the configuration",
  );
});

// --- What the pod of that name is ---

const podUid = "uid-of-this-life";

function podState(wanted: Parameters<typeof aPod>[0]): PodState {
  return { kind: "present", pod: aPod({ uid: podUid, ...wanted }) };
}

/** The address 10.0.70.2 of ns1/db-0, bound to `podUid` on n1 unless asked for. */
function ofDb0(wanted: Partial<Omit<Allocation, "ip">> = {}): Allocation {
  return anAllocation({
    owner: podOwner({ name: "db-0", workload: statefulSet }),
    policy: "immutable",
    podUid,
    ...wanted,
  });
}

test("what the pod of that name is decides between keeping, adopting and the policy", () => {
  const running: Parameters<typeof aPod>[0] = {
    name: "db-0",
    phase: "Running",
    nodeName: "n1",
    assignedIps: ["10.0.70.2"],
  };
  const other = { ...running, uid: "uid-of-another-life" };
  const kept = ofDb0({ podUid: "", nodeName: "" });
  const alive = "keep: pod is alive";
  const byPolicy = "reserve for db-0: ordinal below replicas";
  const adopt = "adopt: pod carries the address";
  const rows: readonly (readonly [string, Allocation, PodState, string])[] = [
    ["not known", ofDb0(), { kind: "unknown" }, "keep: pod state unknown"],
    ["not known, kept for the name", kept, { kind: "unknown" }, "keep: pod state unknown"],
    ["running", ofDb0(), podState(running), alive],
    ["running, terminating", ofDb0(), podState({ ...running, isTerminating: true }), alive],
    ["on a node that does not answer", ofDb0(), podState({ ...running, phase: "Unknown" }), alive],
    ["not bound yet", ofDb0(), podState({ name: "db-0" }), alive],
    ["bound, without the annotation", ofDb0(), podState({ ...running, assignedIps: [] }), alive],
    ["succeeded", ofDb0(), podState({ ...running, phase: "Succeeded" }), byPolicy],
    ["failed or evicted", ofDb0(), podState({ ...running, phase: "Failed" }), byPolicy],
    ["on another node with the address", ofDb0(), podState({ ...running, nodeName: "n2" }), adopt],
    [
      "on another node without the address",
      ofDb0(),
      podState({ ...running, nodeName: "n2", assignedIps: ["10.0.70.3"] }),
      alive,
    ],
    ["replaced, the new one waits", ofDb0(), podState({ name: "db-0", uid: "new" }), byPolicy],
    [
      "replaced, the new one has another",
      ofDb0(),
      podState({ ...other, assignedIps: [] }),
      byPolicy,
    ],
    ["replaced, the new one carries it", ofDb0(), podState(other), adopt],
    [
      "replaced, the new one carried it and is finished",
      ofDb0(),
      podState({ ...other, phase: "Failed" }),
      byPolicy,
    ],
    ["kept for the name, a new one waits", kept, podState({ name: "db-0" }), alive],
    [
      "kept for the name, a new one wants none",
      kept,
      podState({ name: "db-0", wantsAddress: false }),
      "keep: ordinal below replicas",
    ],
    [
      "kept for the name, a new one runs with another",
      kept,
      podState({ ...running, assignedIps: ["10.0.70.3"] }),
      "keep: ordinal below replicas",
    ],
    ["kept for the name, one runs with it", kept, podState(running), adopt],
    [
      "kept for the name, finished",
      kept,
      podState({ ...running, phase: "Failed" }),
      "keep: ordinal below replicas",
    ],
  ];
  for (const [situation, allocation, pod, expected] of rows) {
    const decision = reclaim({ allocation, pod, workload: present(1) });
    assert.equal(text(decision), expected, `pod ${situation}`);
    if (decision.do === "adopt") {
      assert.ok(pod.kind === "present");
      assert.equal(decision.pod, pod.pod);
    }
  }
});

test("a finished pod without policy gives its address back though its object stays", () => {
  for (const phase of ["Succeeded", "Failed"] satisfies PodPhase[]) {
    const pod = podState({ phase, nodeName: "n1" });
    assert.equal(text(reclaim({ allocation: anAllocation({ podUid }), pod })), released);
  }
});

test("an address outside the configuration drains: it stays with its pod and goes when the pod goes", () => {
  const allocation = ofDb0();
  const outcome = (pod: PodState, of = allocation) =>
    text(reclaim({ allocation: of, pod, workload: present(1), isConfigured: false }));
  assert.equal(outcome(podState({ name: "db-0", nodeName: "n1" })), "keep: pod is alive");
  assert.equal(outcome({ kind: "unknown" }), "keep: pod state unknown");
  assert.equal(outcome(gone), "release: outside the configuration");
  assert.equal(
    outcome(podState({ name: "db-0" }), ofDb0({ podUid: "", nodeName: "" })),
    "release: outside the configuration",
    "the next pod of the name does not get it",
  );
});

test("the workload is asked about only when the outcome can follow from it", () => {
  const owners: readonly (readonly [Owner, boolean])[] = [
    [podOwner(), true],
    [{ kind: "workload", workload: deployment }, true],
    [{ kind: "pool", pool: "blue" }, false],
    [{ kind: "admin", key: "k" }, false],
    [{ kind: "foreign", key: "k" }, false],
  ];
  for (const [owner, needed] of owners) {
    for (const policy of policies) {
      assert.equal(
        needsWorkload(anAllocation({ owner, policy })),
        needed && policy === "immutable",
        `${owner.kind} ${policy}`,
      );
    }
  }
});

// --- Whatever the facts ---

const arbitraryWorkload = fc.constantFrom(
  undefined,
  deployment,
  replicaSet,
  statefulSet,
  tapp,
  kruiseStatefulSet,
);

const arbitraryOwner: fc.Arbitrary<Owner> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .record({
        name: fc.constantFrom("db-0", "db-3", "db", "db-x7k2p"),
        workload: arbitraryWorkload,
        pool: fc.constantFrom(undefined, "blue"),
      })
      .map(podOwner),
  },
  arbitraryWorkload.map(
    (workload): Owner => ({ kind: "workload", workload: workload ?? deployment }),
  ),
  fc.constantFrom<Owner>(
    { kind: "pool", pool: "blue" },
    { kind: "admin", key: "pool__reserved_" },
    { kind: "foreign", key: "hello-xx" },
  ),
);

const arbitraryPod: fc.Arbitrary<PodFacts> = fc
  .record({
    uid: fc.constantFrom(podUid, "uid-of-another-life"),
    phase: fc.constantFrom<PodPhase>("Pending", "Running", "Succeeded", "Failed", "Unknown"),
    isTerminating: fc.boolean(),
    nodeName: fc.constantFrom("", "n1", "n2"),
    wantsAddress: fc.boolean(),
    policy: fc.constantFrom(...policies),
    assignedIps: fc.subarray(["10.0.70.2", "10.0.70.3"]),
  })
  .map((wanted) => aPod(wanted));

const arbitraryFacts: fc.Arbitrary<ReclaimFacts> = fc.record({
  allocation: fc
    .record({
      owner: arbitraryOwner,
      policy: fc.constantFrom(...policies),
      podUid: fc.constantFrom("", podUid),
      nodeName: fc.constantFrom("", "n1"),
      isDraining: fc.boolean(),
      updatedAtMs: fc.constant(madeAtMs),
    })
    .map((wanted) => anAllocation(wanted)),
  pod: fc.oneof(
    fc.constantFrom<PodState>({ kind: "gone" }, { kind: "unknown" }),
    arbitraryPod.map((pod): PodState => ({ kind: "present", pod })),
  ),
  workload: fc.oneof(
    fc.constantFrom<WorkloadState>(gone, unknownWorkload, present(undefined)),
    fc
      .tuple(fc.nat(4), fc.nat(2))
      .map(([replicas, firstOrdinal]) => present(replicas, firstOrdinal)),
  ),
  ownedCount: fc.nat(5),
  isConfigured: fc.boolean(),
});

function holdsFor(check: (facts: ReclaimFacts, decision: ReclaimDecision) => void): void {
  fc.assert(
    fc.property(arbitraryFacts, (facts) => {
      check(facts, decideReclaim(facts));
    }),
    { numRuns: 4000 },
  );
}

function isPodOwned(facts: ReclaimFacts): boolean {
  return facts.allocation.owner.kind === "pod";
}

test("nothing is taken from a pod that lives under the record's uid", () => {
  holdsFor(({ allocation, pod }, decision) => {
    if (allocation.owner.kind !== "pod" || pod.kind !== "present") return;
    const { phase, uid } = pod.pod;
    if (phase === "Succeeded" || phase === "Failed" || uid !== allocation.podUid) return;
    assert.ok(decision.do === "keep" || decision.do === "adopt", text(decision));
  });
});

test("nothing is taken from a living pod that carries the address", () => {
  holdsFor(({ allocation, pod }, decision) => {
    if (allocation.owner.kind !== "pod" || pod.kind !== "present") return;
    const { phase, assignedIps } = pod.pod;
    if (phase === "Succeeded" || phase === "Failed" || !assignedIps.includes(allocation.ip)) return;
    assert.ok(decision.do === "keep" || decision.do === "adopt", text(decision));
  });
});

test("what is not known is never taken for gone", () => {
  holdsFor((facts, decision) => {
    if (isPodOwned(facts) && facts.pod.kind === "unknown") {
      assert.equal(text(decision), "keep: pod state unknown");
    }
    if (facts.workload.kind === "unknown") {
      // Whatever happens then would happen with any state of the workload.
      if (decision.do === "keep") return;
      for (const workload of Object.values(states)) {
        assert.deepEqual(decideReclaim({ ...facts, workload }), decision);
      }
    }
  });
});

test("reservations of the administrator and records not understood are never touched", () => {
  holdsFor((facts, decision) => {
    const { kind } = facts.allocation.owner;
    if (kind === "admin" || kind === "foreign") assert.equal(decision.do, "keep");
  });
});

test("under never an address is released only when it is not configured or its owner cannot keep one", () => {
  holdsFor((facts, decision) => {
    if (facts.allocation.policy !== "never" || decision.do !== "release") return;
    assert.ok(
      decision.because === "outside the configuration" ||
        decision.because === "policy not supported",
      decision.because,
    );
    if (decision.because === "outside the configuration") assert.equal(facts.isConfigured, false);
  });
});

test("under pod-delete nothing is ever reserved", () => {
  holdsFor((facts, decision) => {
    if (facts.allocation.policy === "pod-delete") assert.notEqual(decision.do, "reserve");
  });
});

test("the state of the workload changes nothing where it is said not to be needed", () => {
  holdsFor((facts, decision) => {
    if (needsWorkload(facts.allocation)) return;
    for (const workload of Object.values(states)) {
      assert.deepEqual(decideReclaim({ ...facts, workload }), decision);
    }
  });
});

test("deciding again after the decision was carried out changes nothing more", () => {
  holdsFor((facts, decision) => {
    if (decision.do !== "reserve") return;
    const allocation = { ...facts.allocation, owner: decision.owner, podUid: "", nodeName: "" };
    assert.ok(!isBound(allocation));
    const again = decideReclaim({ ...facts, allocation });
    assert.ok(again.do === "keep" || (again.do === "release" && !facts.isConfigured), text(again));
  });
});

test("a reservation goes to the pod's name, its workload or its pool and to nobody else", () => {
  holdsFor(({ allocation: { owner } }, decision) => {
    if (decision.do !== "reserve") return;
    assert.ok(owner.kind === "pod");
    const { pool, workload } = owner;
    const mayHave: readonly Owner[] = [
      owner,
      ...(pool === undefined ? [] : [{ kind: "pool", pool } as const]),
      ...(pool !== undefined || workload === undefined
        ? []
        : [{ kind: "workload", workload } as const]),
    ];
    assert.ok(mayHave.some((candidate) => sameOwner(candidate, decision.owner)));
  });
});

test("an address that a living pod does not have after all goes back to its workload or pool, or is released", () => {
  const pod = aPod({ nodeName: "n1", phase: "Running", assignedIps: ["10.0.70.9"] });
  const leftOver = (owner: Owner, policy: ReleasePolicy, isConfigured = true) =>
    text(
      reclaim({
        owner,
        policy,
        isConfigured,
        isLeftOver: true,
        pod: { kind: "present", pod },
        workload: present(1),
      }),
    );
  const ofDeployment = podOwner({ workload: deployment });
  assert.equal(leftOver(ofDeployment, "never"), "reserve for deployment web: policy never");
  assert.equal(leftOver(ofDeployment, "immutable"), "reserve for deployment web: within replicas");
  assert.equal(leftOver(ofDeployment, "pod-delete"), "release: pod runs with other addresses");
  assert.equal(leftOver(ofDeployment, "never", false), "release: pod runs with other addresses");
  const inPool = podOwner({ workload: statefulSet, pool: "blue" });
  assert.equal(leftOver(inPool, "never"), "reserve for pool blue: policy never");
  const ofName = podOwner({ workload: statefulSet });
  assert.equal(leftOver(ofName, "never"), "release: pod runs with other addresses");
});
