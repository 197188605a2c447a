// Keys: a golden table of established keys, and that reading and writing are each other's inverse.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import type { Owner, WorkloadRef } from "../core/owner.ts";
import { builtInWorkload } from "../core/owner.ts";
import { formatOwnerKey, parseOwnerKey } from "./owner-key.ts";

type GoldenOwner = {
  readonly kind: string;
  readonly pod?: string;
  readonly workload?: string;
  readonly namespace?: string;
  readonly pool?: string;
};
const golden = JSON.parse(
  readFileSync(new URL("./golden/owner-keys.golden.json", import.meta.url), "utf8"),
) as readonly { readonly key: string; readonly owner: GoldenOwner }[];

/** An owner as the golden file spells it. */
function described(owner: Owner): GoldenOwner {
  const workloadText = ({ type, kind, apiGroup, name }: WorkloadRef) =>
    `${type === "custom" ? `custom:${kind}` : kind} ${apiGroup ?? "?"} ${name}`;
  switch (owner.kind) {
    case "pod":
      return {
        kind: owner.kind,
        pod: `${owner.pod.namespace}/${owner.pod.name}`,
        ...(owner.workload && { workload: workloadText(owner.workload) }),
        ...(owner.pool !== undefined && { pool: owner.pool }),
      };
    case "workload":
      return {
        kind: owner.kind,
        workload: workloadText(owner.workload),
        namespace: owner.workload.namespace,
      };
    case "pool":
      return { kind: owner.kind, pool: owner.pool };
    case "admin":
    case "foreign":
      return { kind: owner.kind };
    default:
      return owner satisfies never;
  }
}

const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/);
const customKind = fc
  .stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/)
  .filter((kind) => !["dp", "sts", "replicaset"].includes(kind));
const poolName = fc
  .string({ minLength: 1, maxLength: 40, unit: "grapheme" })
  .filter((text) => !text.includes("_"));

/** Owners that a key can say completely. */
const owner: fc.Arbitrary<Owner> = fc
  .record({
    form: fc.constantFrom("pod", "workload", "pool"),
    type: fc.constantFrom("deployment", "statefulset", "replicaset", "custom", "none"),
    kind: customKind,
    namespace: name,
    workloadName: name,
    podName: name,
    pool: fc.option(poolName, { nil: undefined }),
  })
  .map(({ form, type, kind, namespace, workloadName, podName, pool }): Owner => {
    const id = { namespace, name: workloadName };
    if (form === "pool") return { kind: "pool", pool: pool ?? "blue" };
    if (form === "workload") {
      const interchangeable = type === "replicaset" ? "replicaset" : "deployment";
      return { kind: "workload", workload: builtInWorkload(interchangeable, id) };
    }
    const workload: WorkloadRef | undefined =
      type === "none"
        ? undefined
        : type === "custom"
          ? { type: "custom", kind, apiGroup: undefined, ...id }
          : builtInWorkload(type, id);
    return { kind: "pod", pod: { namespace, name: podName }, workload, pool };
  });

test("cases 26, 27, 28, 30, 113: keys read as the golden table says and are written as they stood", () => {
  for (const { key, owner: expected } of golden) {
    const parsed = parseOwnerKey(key);
    assert.deepEqual(described(parsed), expected, key);
    assert.equal(formatOwnerKey(parsed), key);
  }
});

test("case 28: the golden table has a Deployment name of 63 characters", () => {
  const names = golden.map(({ key }) => key.split("_")[2] ?? "");
  assert.ok(names.some((each) => each.length === 63));
});

test("an owner comes back from its key", () => {
  fc.assert(
    fc.property(owner, (each) => {
      assert.deepEqual(parseOwnerKey(formatOwnerKey(each)), each);
    }),
    { numRuns: 500 },
  );
});

test("no text is a key that reads and is written differently", () => {
  const nearlyKey = fc
    .array(fc.constantFrom("dp", "sts", "NULL", "pool", "_", "__", "ns1", "web", "web-0", ""), {
      maxLength: 10,
    })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(nearlyKey, fc.string()), (key) => {
      assert.equal(formatOwnerKey(parseOwnerKey(key)), key);
    }),
    { numRuns: 1000 },
  );
});

test("the administrator's key is written as it stood", () => {
  assert.equal(
    formatOwnerKey({ kind: "admin", key: "pool__reserved-for-node_" }),
    "pool__reserved-for-node_",
  );
});
