// What is restored of a backup: cases by name, and properties over any backup and any state of the cluster.

import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aPod,
  aStatefulSetRef,
  ip,
  podOwner,
} from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import type { RestoreDecision, RestoreFacts } from "./decide-restore.ts";
import { decideRestore, describeRestore } from "./decide-restore.ts";
import type { PodFacts, WorkloadState } from "./facts.ts";
import type { Ip } from "./ip.ts";
import { podIdText } from "./owner.ts";

const gone: WorkloadState = { kind: "gone" };

function ofReplicas(replicas: number): WorkloadState {
  return { kind: "present", uid: "uid-w", replicas, firstOrdinal: 0, rolloutDeadlock: undefined };
}

function decide(recorded: Allocation, facts: Partial<RestoreFacts> = {}): RestoreDecision {
  return decideRestore({
    recorded,
    found: undefined,
    carriers: [],
    pod: undefined,
    workloadOfPod: undefined,
    workload: gone,
    ownedCount: 0,
    poolRoom: undefined,
    hasLaterAddress: false,
    promisedTo: undefined,
    isConfigured: true,
    ...facts,
  });
}

function said(recorded: Allocation, facts: Partial<RestoreFacts> = {}): string {
  const decision = decide(recorded, facts);
  return `${decision.do}: ${describeRestore(decision)}`;
}

const db0 = anAllocation({
  owner: podOwner({ name: "db-0", workload: aStatefulSetRef() }),
  policy: "never",
});
const web = anAllocation({
  owner: podOwner({ name: "web-x", workload: aDeploymentRef() }),
  policy: "immutable",
});
const admin = anAllocation({ owner: { kind: "admin", key: "printer" }, policy: "never" });
const runsDb0 = aPod({ name: "db-0", nodeName: "n1", assignedIps: ["10.0.70.2"] });
const other = aPod({ name: "other", nodeName: "n1", assignedIps: ["10.0.70.2"] });

describe("a record of a backup", () => {
  it("is entered for the living pod that carries the address, with that pod's uid, node and policy", () => {
    const pod = { ...runsDb0, uid: "uid-of-now", nodeName: "n9", policy: "immutable" as const };
    const decision = decide(db0, { carriers: [pod], pod, workloadOfPod: aStatefulSetRef() });
    assert.deepEqual(decision, {
      do: "enter",
      record: {
        owner: db0.owner,
        policy: "immutable",
        podUid: "uid-of-now",
        nodeName: "n9",
        lastNodeName: "",
      },
    });
  });

  it("is kept for later where its policy keeps it, and remembers its node", () => {
    const decision = decide(db0);
    assert.ok(decision.do === "enter");
    assert.deepEqual(decision.record.owner, db0.owner);
    assert.deepEqual([decision.record.podUid, decision.record.lastNodeName], ["", "n1"]);
    assert.match(
      said(web, { workload: ofReplicas(2), ownedCount: 1 }),
      /^enter: kept for workload/,
    );
    assert.match(said(admin), /^enter: reserved by the administrator \(printer\)$/);
  });

  it("is left out when it would be released at once", () => {
    assert.match(said({ ...db0, policy: "pod-delete" }), /^leave: its pod is gone/);
    assert.match(said(web), /^leave: its workload does not exist; create it first/);
    assert.match(said(web, { workload: ofReplicas(2), ownedCount: 2 }), /^leave: .* replicas$/);
    const ofPool = anAllocation({ owner: { kind: "pool", pool: "blue" }, policy: "never" });
    assert.match(said(ofPool, { poolRoom: 0 }), /^leave: pool blue has as many/);
    assert.match(said(ofPool, { poolRoom: 1 }), /^enter: kept for pool blue$/);
  });

  it("is nothing new when it is there, and void when its owner has gone on", () => {
    assert.match(said(db0, { found: db0 }), /^nothing/);
    assert.match(
      said(db0, { found: { ...db0, podUid: "uid-later" } }),
      /^leave: .*pod ns1\/db-0 has it now$/,
    );
    const reserved = anAllocation({ owner: { kind: "workload", workload: aDeploymentRef() } });
    assert.match(said(web, { found: reserved }), /^leave: .*workload deployment\/ns1\/web has it/);
  });

  it("never goes past a record, a promise or a pod of somebody else", () => {
    assert.match(said(db0, { found: admin }), /^refuse: it belongs to the administrator/);
    assert.match(said(db0, { carriers: [other] }), /^refuse: living pod ns1\/other carries it/);
    assert.match(said(admin, { carriers: [other] }), /^refuse: living pod ns1\/other/);
    assert.match(said(db0, { carriers: [runsDb0, other], pod: runsDb0 }), /^refuse: pods .* and /);
    assert.match(said(db0, { promisedTo: "uid-x" }), /^refuse: it is promised/);
    assert.match(said(db0, { isConfigured: false }), /^refuse: no pod subnet lists it/);
    const elsewhere = { ...runsDb0, assignedIps: [ip("10.0.70.9")] };
    assert.match(said(db0, { pod: elsewhere }), /^refuse: .*ns1\/db-0 \(10\.0\.70\.9\)/);
    const unknown: WorkloadState = { kind: "unknown", reason: "no right" };
    assert.match(said(web, { workload: unknown }), /^refuse: the state of its workload/);
  });

  it("does not give a pod's name a second address when it got another one since the backup", () => {
    assert.match(said(db0, { hasLaterAddress: true }), /^leave: the pod of that name got another/);
  });

  it("of a virtual address is left to the pods that claim it", () => {
    const vip = anAllocation({ owner: { kind: "admin", key: "vip" }, policy: "never" });
    assert.match(said(vip, { isConfigured: false }), /^leave: a virtual address/);
  });
});

/** A cluster of which only what matters here is modelled: records, and pods that run with addresses. */
type World = { readonly records: Map<Ip, Allocation>; readonly pods: readonly PodFacts[] };

const addresses = ["10.0.70.2", "10.0.70.3", "10.0.70.4", "10.0.70.5"] as const;
const podNames = ["db-0", "db-1", "web-a", "web-b", "lone"] as const;

function ownerOf(name: string) {
  const workload = name.startsWith("db")
    ? aStatefulSetRef()
    : name.startsWith("web")
      ? aDeploymentRef()
      : undefined;
  return podOwner({ name, workload });
}

const arbitraryOwner = fc.oneof(
  fc.constantFrom(...podNames).map(ownerOf),
  fc.constantFrom(
    { kind: "workload", workload: aDeploymentRef() } as const,
    { kind: "pool", pool: "blue" } as const,
    { kind: "admin", key: "printer" } as const,
    { kind: "admin", key: "vip" } as const,
    { kind: "foreign", key: "what" } as const,
  ),
);

const arbitraryRecords = fc
  .uniqueArray(
    fc
      .record({
        ip: fc.constantFrom(...addresses),
        owner: arbitraryOwner,
        policy: fc.constantFrom("pod-delete" as const, "immutable" as const, "never" as const),
        life: fc.constantFrom("uid-1", "uid-2", ""),
      })
      .map(({ life, owner, ...rest }) =>
        anAllocation({
          ...rest,
          owner,
          podUid: owner.kind === "pod" ? life : "",
          nodeName: owner.kind === "pod" && life !== "" ? "n1" : "",
        }),
      ),
    { selector: (record) => record.ip },
  )
  .map((records) => new Map(records.map((record) => [record.ip, record])));

/** Pods that run, each address in one of them, which is what the cluster is like before a restore. */
const arbitraryPods = fc
  .record({
    carriers: fc.tuple(...addresses.map(() => fc.option(fc.constantFrom(...podNames)))),
    running: fc.subarray([...podNames]),
    life: fc.constantFrom("uid-1", "uid-2"),
  })
  .map(({ carriers, life, running }) =>
    running.map((name) =>
      aPod({
        name,
        uid: life,
        nodeName: "n1",
        assignedIps: addresses.filter((_, index) => carriers[index] === name),
        policy: "never",
      }),
    ),
  );

function factsOf(recorded: Allocation, world: World): RestoreFacts {
  const { owner } = recorded;
  const carriers = world.pods.filter(({ assignedIps }) => assignedIps.includes(recorded.ip));
  const pod = world.pods.find(
    ({ id }) => owner.kind === "pod" && podIdText(id) === podIdText(owner.pod),
  );
  const asked = carriers[0] ?? pod;
  const askedOwner = asked === undefined ? undefined : ownerOf(asked.id.name);
  return {
    recorded,
    found: world.records.get(recorded.ip),
    carriers,
    pod,
    workloadOfPod: askedOwner?.kind === "pod" ? askedOwner.workload : undefined,
    workload: ofReplicas(2),
    ownedCount: [...world.records.values()].filter(
      (other) =>
        (other.owner.kind === "pod" || other.owner.kind === "workload") &&
        other.owner.workload?.type === "deployment",
    ).length,
    poolRoom: undefined,
    hasLaterAddress: false,
    promisedTo: undefined,
    isConfigured: true,
  };
}

/** Does what the decisions say, record by record; `stopAfter` plays a kill in the middle. */
function restore(backup: Iterable<Allocation>, world: World, stopAfter = Infinity): number {
  let enteredCount = 0;
  for (const recorded of backup) {
    if (enteredCount === stopAfter) break;
    const decision = decideRestore(factsOf(recorded, world));
    if (decision.do !== "enter") continue;
    assert.ok(!world.records.has(recorded.ip), "a record is never replaced");
    world.records.set(recorded.ip, { ...recorded, ...decision.record });
    enteredCount += 1;
  }
  return enteredCount;
}

const arbitraryCase = fc.record({
  backup: arbitraryRecords,
  records: arbitraryRecords,
  pods: arbitraryPods,
  stopAfter: fc.nat(4),
});

test("restoring any backup into any state gives no address a second owner, and no living pod loses one", () => {
  fc.assert(
    fc.property(arbitraryCase, ({ backup, pods, records }) => {
      const before = new Map(records);
      restore(backup.values(), { records, pods });
      for (const [address, record] of before) assert.equal(records.get(address), record);
      for (const pod of pods) {
        for (const address of pod.assignedIps) {
          const record = records.get(address);
          if (record === undefined || before.has(address)) continue;
          assert.ok(record.owner.kind === "pod", `${address} is in a pod`);
          assert.equal(podIdText(record.owner.pod), podIdText(pod.id));
          assert.equal(record.podUid, pod.uid);
        }
      }
      for (const [address, { podUid, nodeName }] of records) {
        if (before.has(address)) continue;
        // Nothing is entered as being in a pod that does not have it.
        const holder = pods.find(({ assignedIps }) => assignedIps.includes(address));
        assert.equal(podUid, holder?.uid ?? "");
        assert.equal(nodeName, holder?.nodeName ?? "");
      }
    }),
    { numRuns: 1500 },
  );
});

test("a restore that was killed anywhere and begun again ends where one that was not does", () => {
  fc.assert(
    fc.property(arbitraryCase, ({ backup, pods, records, stopAfter }) => {
      const whole = { records: new Map(records), pods };
      const broken = { records: new Map(records), pods };
      restore(backup.values(), whole);
      restore(backup.values(), broken, stopAfter);
      restore(backup.values(), broken);
      assert.deepEqual(broken.records, whole.records);
      assert.equal(restore(backup.values(), whole), 0, "a third one finds nothing to do");
    }),
    { numRuns: 800 },
  );
});

test("restoring into the state that was backed up changes nothing", () => {
  fc.assert(
    fc.property(arbitraryCase, ({ pods, records }) => {
      const world = { records: new Map(records), pods };
      for (const recorded of records.values()) {
        assert.equal(decideRestore(factsOf(recorded, world)).do, "nothing");
      }
    }),
    { numRuns: 500 },
  );
});
