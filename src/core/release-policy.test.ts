// The policy in force, as a table of annotation and pool.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyInForce } from "./release-policy.ts";

test("case 40: only the two exact names are policies, everything else releases with the pod", () => {
  const cases: [annotation: string | undefined, policy: string][] = [
    ["immutable", "immutable"],
    ["never", "never"],
    [undefined, "pod-delete"],
    ["", "pod-delete"],
    ["Immutable", "pod-delete"],
    ["NEVER", "pod-delete"],
    [" never", "pod-delete"],
    ["foo", "pod-delete"],
  ];
  for (const [annotation, policy] of cases) {
    assert.equal(policyInForce(annotation, undefined), policy, String(annotation));
  }
});

test("case 92: membership of a pool means never, whatever the annotation says", () => {
  for (const annotation of [undefined, "", "immutable", "never", "foo"]) {
    assert.equal(policyInForce(annotation, "blue"), "never");
  }
});
