// Who gets an address whose record was changed by hand: row by row.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anAllocation, aPod, podOwner } from "../../test/builders.ts";
import type { Allocation } from "./allocation.ts";
import { decideFormer } from "./decide-former.ts";
import type { PodState } from "./decide-reclaim.ts";
import type { Owner } from "./owner.ts";

const former = anAllocation({ ip: "10.0.70.2", owner: podOwner(), nodeName: "n1" });
const waiting = aPod({ uid: former.podUid });
const present = (pod: ReturnType<typeof aPod>): PodState => ({ kind: "present", pod });
const gone: PodState = { kind: "gone" };
const unknown: PodState = { kind: "unknown" };
const now = (wanted: Partial<Allocation>): Allocation => ({ ...former, ...wanted });
const other = aPod({ name: "other" });
const others = now({ owner: podOwner({ name: "other" }), podUid: other.uid });
const reservedFor = (owner: Owner) => now({ owner, podUid: "", nodeName: "" });
const running = (pod: ReturnType<typeof aPod>, address: string) =>
  present(aPod({ ...pod, name: pod.id.name, nodeName: "n2", assignedIps: [address] }));

const rows: readonly {
  readonly what: string;
  readonly pod: PodState;
  readonly existing: Allocation | undefined;
  readonly holder?: PodState;
  readonly isOld?: boolean;
  readonly expected: string;
}[] = [
  { what: "pod gone", pod: gone, existing: others, expected: "forget" },
  {
    what: "another pod of the name",
    pod: present(aPod({ uid: "next" })),
    existing: others,
    expected: "forget",
  },
  {
    what: "pod finished",
    pod: present(aPod({ uid: former.podUid, phase: "Failed" })),
    existing: others,
    expected: "forget",
  },
  {
    what: "runs with another address",
    pod: running(waiting, "10.0.70.9"),
    existing: others,
    expected: "forget",
  },
  { what: "record is back", pod: present(waiting), existing: former, expected: "forget" },
  { what: "pod unknown", pod: unknown, existing: others, expected: "wait" },
  {
    what: "holder unknown",
    pod: present(waiting),
    existing: others,
    holder: unknown,
    expected: "wait",
  },
  {
    what: "administrator's",
    pod: present(waiting),
    existing: reservedFor({ kind: "admin", key: "a" }),
    expected: "wait",
  },
  {
    what: "not understood",
    pod: present(waiting),
    existing: reservedFor({ kind: "foreign", key: "a" }),
    expected: "wait",
  },
  {
    what: "both carry it",
    pod: running(waiting, "10.0.70.2"),
    existing: others,
    holder: running(other, "10.0.70.2"),
    expected: "forget",
  },
  {
    what: "the other waits too",
    pod: present(waiting),
    existing: others,
    holder: present(other),
    expected: "wait",
  },
  {
    what: "the other waits too, long after the change",
    pod: present(waiting),
    existing: others,
    holder: present(other),
    isOld: true,
    expected: "forget",
  },
  {
    what: "the other runs with another address",
    pod: present(waiting),
    existing: others,
    holder: running(other, "10.0.70.9"),
    isOld: true,
    expected: "give back n1",
  },
  {
    what: "the other is gone",
    pod: present(waiting),
    existing: others,
    expected: "give back n1",
  },
  {
    what: "of a pool",
    pod: present(waiting),
    existing: reservedFor({ kind: "pool", pool: "blue" }),
    expected: "give back n1",
  },
  { what: "no record", pod: present(waiting), existing: undefined, expected: "give back n1" },
  {
    what: "the Binding arrived",
    pod: running(waiting, "10.0.70.2"),
    existing: others,
    holder: present(other),
    expected: "give back n2",
  },
];

for (const { what, pod, existing, holder = gone, isOld = false, expected } of rows) {
  test(`${what}: ${expected}`, () => {
    const decision = decideFormer({ former, pod, existing, holder, isOld });
    const text = decision.do === "give back" ? `give back ${decision.nodeName}` : decision.do;
    assert.equal(text, expected);
  });
}
