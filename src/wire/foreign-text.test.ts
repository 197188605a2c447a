// What objects say beside what this release knows: it survives being read, written, backed up and entered again, whatever it is.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { aDeploymentRef, anAllocation, aPool, podOwner } from "../../test/builders.ts";
import type { Allocation } from "../core/allocation.ts";
import {
  floatingIpPatch,
  formatFloatingIp,
  formatPool,
  parseFloatingIp,
  parsePool,
} from "./crd.ts";
import { alsoSaying, foreignTextOf } from "./foreign-text.ts";
import { valueAt } from "./json-value.ts";
import { formatQuota, parseQuota } from "./quota.ts";
import { formatVipPool, parseVipPool } from "./vip-objects.ts";

const record = anAllocation({
  owner: podOwner({ name: "web-x", workload: aDeploymentRef() }),
  policy: "never",
});

/** A record as a newer release, a label of an operator and the API server have made it. */
function newer(allocation: Allocation): Record<string, unknown> {
  const object = structuredClone(formatFloatingIp(allocation)) as unknown as {
    metadata: Record<string, unknown>;
    spec: Record<string, Record<string, unknown>>;
  };
  Object.assign(object.metadata, {
    labels: { ...(object.metadata["labels"] as object), team: "a", "galaxy.k8s.io/zone": "z1" },
    annotations: { note: "printer", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    ownerReferences: [{ kind: "Pod", uid: "gone" }],
    finalizers: ["other/finalizer"],
    managedFields: [{ manager: "kubectl" }],
  });
  Object.assign(object.spec, { future: { a: [1, null] } });
  Object.assign(object.spec["workload"] ?? {}, { future: 7 });
  return { ...object, extension: true, status: { seen: 3 } };
}

describe("members that this release does not know", () => {
  it("of a record come back: labels, annotations and members at any depth, without what belongs to one life of it", () => {
    const read = parseFloatingIp(newer(record));
    assert.ok(read !== undefined);
    assert.deepEqual(JSON.parse(read.foreignText ?? ""), {
      metadata: {
        labels: { team: "a", "galaxy.k8s.io/zone": "z1" },
        annotations: { note: "printer" },
      },
      extension: true,
      spec: { future: { a: [1, null] }, workload: { future: 7 } },
    });
    const again = formatFloatingIp(read);
    assert.deepEqual(parseFloatingIp(again), read);
    assert.equal(again.metadata.labels["galaxy.k8s.io/state"], "Bound");
    assert.ok(!JSON.stringify(again).includes("finalizer"));
  });

  it("are not there in what this release writes itself, so that a million records pay nothing for them", () => {
    assert.ok(!("foreignText" in (parseFloatingIp(formatFloatingIp(record)) ?? {})));
  });

  it("are not named by a change, so that a merge patch leaves them alone", () => {
    const read = parseFloatingIp(newer(record));
    assert.ok(read !== undefined);
    const patch = JSON.stringify(floatingIpPatch({ ...read, version: "7" }));
    for (const name of ["future", "team", "zone", "note", "extension"]) {
      assert.ok(!patch.includes(`"${name}`), name);
    }
  });

  it("of Pools, VIPPools and quotas come back", () => {
    const pool = { ...formatPool(aPool({ name: "blue", size: 3 })), future: { a: 1 }, status: {} };
    const parsedPool = parsePool(pool);
    assert.ok(parsedPool.kind === "pool");
    assert.deepEqual(formatPool(parsedPool.pool), {
      ...formatPool(aPool({ name: "blue", size: 3 })),
      future: { a: 1 },
    });
    const vipPool = { metadata: { name: "v" }, spec: { ranges: ["192.0.2.0/28"], future: [1] } };
    const parsedVipPool = parseVipPool(vipPool);
    assert.ok(parsedVipPool.kind === "pool");
    assert.deepEqual(valueAt(formatVipPool(parsedVipPool.pool), "spec", "future"), [1]);
    const quota = {
      metadata: { name: "team-a", labels: { tier: "gold" } },
      spec: { limit: 3, namespaces: ["a"], burst: 2 },
    };
    const parsedQuota = parseQuota(quota);
    assert.ok(parsedQuota.kind === "quota");
    assert.deepEqual(formatQuota(parsedQuota.quota), {
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "FloatingIPQuota",
      ...quota,
    });
  });

  it("never change what an object says itself, whatever their names and values are", () => {
    const schema = { properties: { spec: { properties: { known: {} } } } };
    const value = fc.jsonValue();
    const names = fc.oneof(
      fc.string(),
      fc.constantFrom("__proto__", "constructor", "spec", "known"),
    );
    fc.assert(
      fc.property(
        fc.dictionary(names, value, { noNullPrototype: true }),
        fc.dictionary(names, value, { noNullPrototype: true }),
        (beside, inSpec) => {
          const parsed = (object: object) => JSON.parse(JSON.stringify(object)) as object;
          const spec = parsed(Object.fromEntries([...Object.entries(inSpec), ["known", 1]]));
          const object = parsed(
            Object.fromEntries([...Object.entries(beside), ["spec", spec], ["status", {}]]),
          );
          const text = foreignTextOf(object, schema);
          const back = alsoSaying({ spec: { known: 2 } }, text);
          assert.equal(back.spec.known, 2);
          assert.deepEqual(
            JSON.parse(JSON.stringify(foreignTextOf(back, schema) ?? "")),
            text ?? "",
          );
        },
      ),
    );
  });
});
