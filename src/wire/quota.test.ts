// FloatingIPQuota objects: what is read, what is refused and in which words, round trips, and what the schema lets through.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Check } from "typebox/schema";
import type { QuotaFacts } from "../core/quota.ts";
import {
  formatQuota,
  isNamespaceName,
  largestQuota,
  parseQuota,
  quotaCrd,
  quotaPatch,
} from "./quota.ts";

const aQuotaObject = (spec: unknown) => ({
  apiVersion: "galaxy.k8s.io/v1alpha1",
  kind: "FloatingIPQuota",
  metadata: { name: "team-a", uid: "uid-1", resourceVersion: "7" },
  spec,
});

const schema = quotaCrd.spec.versions[0].schema.openAPIV3Schema;

test("a quota is read with its namespaces, each once; without any it is for all", () => {
  const named = parseQuota(aQuotaObject({ limit: 20, namespaces: ["a", "a-test", "a"] }));
  assert.deepEqual(named, {
    kind: "quota",
    quota: { name: "team-a", uid: "uid-1", version: "7", limit: 20, namespaces: ["a", "a-test"] },
  });
  for (const spec of [{ limit: 0 }, { limit: 0, namespaces: [] }, { limit: 0, namespaces: null }]) {
    const read = parseQuota(aQuotaObject(spec));
    assert.ok(read.kind === "quota");
    assert.deepEqual([read.quota.limit, read.quota.namespaces], [0, []]);
  }
});

test("what cannot be understood limits nothing, and the message names object, field, value and remedy", () => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /spec\.limit is missing; write how many addresses a namespace may have/],
    [{}, /spec\.limit/],
    [{ limit: -1 }, /spec\.limit -1 is no whole number from 0 to 2147483647; write how many/],
    [{ limit: 1.5 }, /spec\.limit 1\.5 /],
    [{ limit: "20" }, /spec\.limit "20" /],
    [{ limit: largestQuota + 1 }, /spec\.limit 2147483648 /],
    [{ limit: 1, namespaces: "team-a" }, /spec\.namespaces "team-a" is no list of names/],
    [
      { limit: 1, namespaces: ["Team_A"] },
      /spec\.namespaces \["Team_A"\] .*write for example \[team-a\]/,
    ],
    [{ limit: 1, namespaces: [""] }, /spec\.namespaces/],
    [{ limit: 1, namespaces: [7] }, /spec\.namespaces/],
    [{ limit: 1, namespaces: { matchLabels: {} } }, /spec\.namespaces/],
  ];
  for (const [spec, message] of cases) {
    const read = parseQuota(aQuotaObject(spec));
    assert.ok(read.kind === "problem", JSON.stringify(spec));
    assert.deepEqual([read.name, read.uid], ["team-a", "uid-1"]);
    assert.match(read.problem, message);
    assert.match(read.problem, /^FloatingIPQuota team-a: .*; until then it limits nothing$/);
  }
});

const anyQuota: fc.Arbitrary<QuotaFacts> = fc.record<QuotaFacts>(
  {
    name: fc.constantFrom("team-a", "all"),
    uid: fc.constant(""),
    version: fc.constant(""),
    limit: fc.integer({ min: 0, max: largestQuota }),
    namespaces: fc.uniqueArray(
      fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?$/).filter(isNamespaceName),
      { maxLength: 4 },
    ),
  },
  { noNullPrototype: true },
);

test("whatever is written is read as the same, and the schema accepts it", () => {
  fc.assert(
    fc.property(anyQuota, (quota) => {
      const object = formatQuota(quota);
      assert.deepEqual(parseQuota(object), { kind: "quota", quota });
      assert.ok(Check(schema as never, object));
    }),
  );
});

test("the schema refuses what the reader would not understand", () => {
  const refused = [
    {},
    { limit: "20" },
    { limit: -1 },
    { limit: 1.5 },
    { limit: largestQuota + 1 },
    { limit: 1, namespaces: "team-a" },
    { limit: 1, namespaces: ["Team_A"] },
    { limit: 1, namespaces: [""] },
    { limit: 1, namespaces: ["a".repeat(64)] },
  ];
  for (const spec of refused) {
    assert.ok(!Check(schema as never, aQuotaObject(spec)), JSON.stringify(spec));
    assert.equal(parseQuota(aQuotaObject(spec)).kind, "problem", JSON.stringify(spec));
  }
  assert.ok(Check(schema as never, aQuotaObject({ limit: 0, namespaces: ["team-a"] })));
});

test("a change asks for the version that was read", () => {
  const quota = { name: "team-a", uid: "u", version: "7", limit: 3, namespaces: ["a"] };
  assert.deepEqual(quotaPatch(quota), {
    metadata: { resourceVersion: "7" },
    spec: { limit: 3, namespaces: ["a"] },
  });
});

test("no object at all breaks the reader", () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (limit, namespaces) => {
      assert.ok(
        ["quota", "problem"].includes(parseQuota(aQuotaObject({ limit, namespaces })).kind),
      );
      parseQuota(limit);
    }),
  );
});
