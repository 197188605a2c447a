// The state of an allocation, as a table.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Allocation } from "./allocation.ts";
import { isBound, stateOf } from "./allocation.ts";
import { parseIp } from "./ip.ts";
import { builtInWorkload } from "./owner.ts";

const web = builtInWorkload("statefulset", { namespace: "ns1", name: "web" });
const bound: Allocation = {
  ip: parseIp("10.0.70.2") as Allocation["ip"],
  owner: {
    kind: "pod",
    pod: { namespace: "ns1", name: "web-0" },
    workload: web,
    pool: undefined,
  },
  policy: "immutable",
  nodeName: "n1",
  lastNodeName: "",
  podUid: "uid-1",
  updatedAtMs: 0,
  isDraining: false,
  version: "1",
};

test("an address is bound while a pod of a known uid has it, and only then it can be draining", () => {
  const cases: [name: string, allocation: Allocation, state: string][] = [
    ["a pod has it", bound, "Bound"],
    ["a pod has it outside the configuration", { ...bound, isDraining: true }, "Draining"],
    ["kept for a pod name", { ...bound, nodeName: "", podUid: "" }, "Reserved"],
    [
      "kept for a workload",
      { ...bound, owner: { kind: "workload", workload: web }, podUid: "" },
      "Reserved",
    ],
    [
      "kept for a pool",
      { ...bound, owner: { kind: "pool", pool: "blue" }, podUid: "" },
      "Reserved",
    ],
    ["kept, marked by mistake", { ...bound, podUid: "", isDraining: true }, "Reserved"],
    [
      "the administrator's",
      { ...bound, owner: { kind: "admin", key: "" }, isDraining: true },
      "Admin",
    ],
    ["not understood", { ...bound, owner: { kind: "foreign", key: "hello-xx" } }, "Reserved"],
  ];
  for (const [name, allocation, state] of cases) {
    assert.equal(stateOf(allocation), state, name);
    assert.equal(isBound(allocation), state === "Bound" || state === "Draining", name);
  }
});
