// Owners: identity texts, ordinals and equality.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Owner, WorkloadRef } from "./owner.ts";
import {
  builtInWorkload,
  ordinalOf,
  parsePodIdText,
  podIdText,
  podsAreInterchangeable,
  sameOwner,
  workloadIdText,
} from "./owner.ts";

const web = { namespace: "ns1", name: "web" };
const tapp: WorkloadRef = {
  type: "custom",
  kind: "tapp",
  apiGroup: "apps.tkestack.io",
  namespace: "ns1",
  name: "web",
};

test("the identity of a pod is read back", () => {
  const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/);
  fc.assert(
    fc.property(name, name, (namespace, podName) => {
      const pod = { namespace, name: podName };
      assert.deepEqual(parsePodIdText(podIdText(pod)), pod);
    }),
  );
});

test("case 31: equal names in different namespaces are different owners", () => {
  const inNamespace = (namespace: string): Owner => ({
    kind: "pod",
    pod: { namespace, name: "same-0" },
    workload: undefined,
    pool: undefined,
  });
  assert.equal(sameOwner(inNamespace("ns1"), inNamespace("ns1")), true);
  assert.equal(sameOwner(inNamespace("ns1"), inNamespace("ns2")), false);
});

test("a StatefulSet of another API group is another workload than the built-in one", () => {
  const custom: WorkloadRef = { ...tapp, kind: "statefulset", apiGroup: "apps.kruise.io" };
  assert.equal(workloadIdText(custom), "custom.statefulset/ns1/web");
  assert.equal(workloadIdText(builtInWorkload("statefulset", web)), "statefulset/ns1/web");
});

test("the API group does not tell two records of one custom workload apart", () => {
  assert.equal(workloadIdText(tapp), workloadIdText({ ...tapp, apiGroup: undefined }));
  const owner = (workload: WorkloadRef): Owner => ({ kind: "workload", workload });
  assert.equal(sameOwner(owner(tapp), owner({ ...tapp, apiGroup: undefined })), true);
});

test("only pods of Deployments and bare ReplicaSets are interchangeable", () => {
  assert.equal(podsAreInterchangeable(builtInWorkload("deployment", web)), true);
  assert.equal(podsAreInterchangeable(builtInWorkload("replicaset", web)), true);
  assert.equal(podsAreInterchangeable(builtInWorkload("statefulset", web)), false);
  assert.equal(podsAreInterchangeable(tapp), false);
  assert.equal(podsAreInterchangeable(undefined), false);
});

test("the ordinal is the number after the last dash", () => {
  const cases: [name: string, ordinal: number | undefined][] = [
    ["web-0", 0],
    ["web-10", 10],
    ["web-1-2", 2],
    ["web-007", 7],
    ["7", undefined],
    ["web", undefined],
    ["web-", undefined],
    ["web-1a", undefined],
    ["web-1\n", undefined],
    ["x-99999999999999999999", undefined],
  ];
  for (const [name, ordinal] of cases) assert.equal(ordinalOf(name), ordinal, name);
});

test("owners are the same exactly when they say the same", () => {
  const pod = { namespace: "ns1", name: "web-0" };
  const owners: Owner[] = [
    { kind: "pod", pod, workload: undefined, pool: undefined },
    { kind: "pod", pod, workload: builtInWorkload("statefulset", web), pool: undefined },
    { kind: "pod", pod, workload: builtInWorkload("statefulset", web), pool: "blue" },
    { kind: "pod", pod: { ...pod, name: "web-1" }, workload: undefined, pool: undefined },
    { kind: "pod", pod, workload: builtInWorkload("deployment", web), pool: undefined },
    { kind: "workload", workload: builtInWorkload("deployment", web) },
    { kind: "workload", workload: builtInWorkload("replicaset", web) },
    { kind: "workload", workload: tapp },
    { kind: "pool", pool: "blue" },
    { kind: "pool", pool: "green" },
    { kind: "admin", key: "x" },
    { kind: "admin", key: "" },
    { kind: "foreign", key: "x" },
    { kind: "foreign", key: "y" },
  ];
  for (const [i, a] of owners.entries()) {
    for (const [j, b] of owners.entries()) {
      assert.equal(
        sameOwner(a, structuredClone(b)),
        i === j,
        `${JSON.stringify(a)} ${JSON.stringify(b)}`,
      );
    }
  }
});
