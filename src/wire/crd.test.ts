// Records and pools: golden objects, round trips, records of the Go system and of operators, and what the schemas accept.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { Check } from "typebox/schema";
import type { Allocation } from "../core/allocation.ts";
import type { PoolFacts } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { ipFromNumber } from "../core/ip.ts";
import type { Owner, WorkloadRef } from "../core/owner.ts";
import { builtInWorkload } from "../core/owner.ts";
import {
  floatingIpCrd,
  floatingIpName,
  floatingIpPatch,
  formatFloatingIp,
  formatPool,
  formatPoolStatus,
  parseFloatingIp,
  parseFloatingIpName,
  parsePool,
  poolCrd,
  poolPatch,
} from "./crd.ts";
import type { JsonObject } from "./json-value.ts";
import { asObject, valueAt } from "./json-value.ts";

const golden = JSON.parse(
  readFileSync(new URL("./golden/floatingip.golden.json", import.meta.url), "utf8"),
) as readonly {
  readonly name: string;
  readonly allocation: GoldenAllocation;
  readonly object: JsonObject;
}[];
type GoldenAllocation = Omit<Allocation, "owner" | "version"> & { readonly owner: JsonObject };

/** The allocation of a golden entry; JSON has no undefined. */
function goldenAllocation({ owner, ...rest }: GoldenAllocation): Allocation {
  const complete =
    owner["kind"] === "pod" ? { workload: undefined, pool: undefined, ...owner } : owner;
  return { ...rest, owner: complete as unknown as Owner, version: "" };
}

const ip: fc.Arbitrary<Ip> = fc
  .oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }))
  .map(ipFromNumber);
const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,70}[a-z0-9])?$/);
const workload: fc.Arbitrary<WorkloadRef> = fc
  .record({
    type: fc.constantFrom("deployment", "statefulset", "replicaset", "custom"),
    kind: fc.constantFrom("tapp", "job", "statefulset", "replicaset", "deployment", "dp", "sts"),
    apiGroup: fc.constantFrom("apps.kruise.io", "", "batch"),
    namespace: name,
    name,
  })
  .map(({ type, kind, apiGroup, ...id }) =>
    type === "custom" ? { type, kind, apiGroup, ...id } : builtInWorkload(type, id),
  );
const owner: fc.Arbitrary<Owner> = fc.oneof(
  fc
    .record({
      workload: fc.option(workload, { nil: undefined }),
      name,
      namespace: name,
      pool: fc.option(fc.constantFrom("blue", "Grün"), { nil: undefined }),
    })
    .map(
      (pod): Owner => ({
        kind: "pod",
        pod: { namespace: pod.workload?.namespace ?? pod.namespace, name: pod.name },
        workload: pod.workload,
        pool: pod.pool,
      }),
    ),
  workload
    .filter(({ type }) => type === "deployment" || type === "replicaset")
    .map((each): Owner => ({ kind: "workload", workload: each })),
  fc.constant<Owner>({ kind: "pool", pool: "blue" }),
  fc
    .constantFrom("", "pool__reserved-for-node_", "sts_ns1_web_web-0")
    .map((key): Owner => ({ kind: "admin", key })),
  fc.constantFrom("", "hello-xx", "a_b_c_d_e").map((key): Owner => ({ kind: "foreign", key })),
);
const allocation: fc.Arbitrary<Allocation> = fc
  .record({
    ip,
    owner,
    policy: fc.constantFrom("pod-delete" as const, "immutable" as const, "never" as const),
    nodeName: fc.oneof(fc.constant(""), name),
    lastNodeName: fc.oneof(fc.constant(""), name),
    podUid: fc.oneof(fc.constant(""), fc.uuid()),
    updatedAtMs: fc.nat({ max: 4_000_000_000_000 }),
    isDraining: fc.boolean(),
    version: fc.constant(""),
  })
  .map((each) => ({
    ...each,
    isDraining: each.isDraining && each.owner.kind === "pod" && each.podUid !== "",
  }));

/** Every text in a JSON value. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return Object.values(asObject(value) ?? {}).flatMap(textsIn);
}

/** RFC 7386. */
function mergePatched(target: unknown, patch: unknown): unknown {
  const changes = asObject(patch);
  if (changes === undefined) return patch;
  const result: Record<string, unknown> = { ...asObject(target) };
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) delete result[key];
    else result[key] = mergePatched(result[key], value);
  }
  return result;
}

test("records are written as the golden file says, and read back", () => {
  for (const { name: title, allocation: expected, object } of golden) {
    const each = goldenAllocation(expected);
    assert.deepEqual(formatFloatingIp(each), object, title);
    assert.deepEqual(parseFloatingIp(object), each, title);
  }
});

test("an allocation comes back from its record, custom kinds with their API group", () => {
  fc.assert(
    fc.property(allocation, (each) => {
      assert.deepEqual(parseFloatingIp(formatFloatingIp(each)), each);
    }),
    { numRuns: 500 },
  );
});

test("no empty string is ever written, and every label is one that Kubernetes accepts", () => {
  fc.assert(
    fc.property(allocation, (each) => {
      const object = formatFloatingIp(each);
      assert.ok(!textsIn(object).includes(""));
      assert.ok(!textsIn(floatingIpPatch({ ...each, version: "7" })).includes(""));
      for (const [key, value] of Object.entries(object.metadata.labels)) {
        assert.match(key, /^(galaxy\.k8s\.io\/[a-z-]+|reserved|ipType)$/);
        assert.match(value, /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);
      }
    }),
    { numRuns: 300 },
  );
});

test("a patch turns any record into what a new one would say, keeps what is foreign and names the version it expects", () => {
  fc.assert(
    fc.property(allocation, allocation, (before, after) => {
      fc.pre(before.owner.kind !== "admin" || after.owner.kind === "admin");
      const object = formatFloatingIp(before);
      const foreign = {
        ...object,
        metadata: {
          ...object.metadata,
          resourceVersion: "7",
          labels: { ...object.metadata.labels, team: "x" },
        },
        spec: { ...object.spec, subnet: "10.0.0.0/24" },
      };
      const patch = floatingIpPatch({ ...after, ip: before.ip, version: "7" });
      assert.equal(patch.metadata.resourceVersion, "7");
      const patched = mergePatched(foreign, patch);
      const expected = formatFloatingIp({ ...after, ip: before.ip });
      assert.deepEqual(patched, {
        ...expected,
        metadata: {
          ...expected.metadata,
          resourceVersion: "7",
          labels: { ...expected.metadata.labels, team: "x" },
        },
        spec: { ...expected.spec, subnet: "10.0.0.0/24" },
      });
    }),
    { numRuns: 300 },
  );
});

test("a patch never takes away an operator's label reserved", () => {
  fc.assert(
    fc.property(allocation, (each) => {
      assert.notEqual(floatingIpPatch(each).metadata.labels?.["reserved"], null);
    }),
  );
});

test("the name of a record is the address, of IPv6 expanded without leading zeros", () => {
  const cases = {
    "10.0.70.2": "10.0.70.2",
    "fd00::5": "fd00-0-0-0-0-0-0-5",
    "::": "0-0-0-0-0-0-0-0",
    "2001:db8:a:b:c:d:e:f": "2001-db8-a-b-c-d-e-f",
  };
  for (const [address, recordName] of Object.entries(cases)) {
    assert.equal(floatingIpName(address as Ip), recordName);
    assert.equal(parseFloatingIpName(recordName), address);
  }
  fc.assert(
    fc.property(ip, (each) => {
      const recordName = floatingIpName(each);
      assert.equal(parseFloatingIpName(recordName), each);
      assert.match(recordName, /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
    }),
  );
});

test("an address has one name only, everything else is no record of an address", () => {
  const names = [
    "",
    "x",
    "10.0.0",
    "010.0.0.1",
    "10-0-0-1",
    "fd00--5",
    "fd00-0-0-0-0-0-0-05",
    "FD00-0-0-0-0-0-0-5",
    "fd00::5",
    "fd00-0-0-0-0-0-5",
    "fd00-0-0-0-0-0-10.0.0.1",
  ];
  for (const each of names) {
    assert.equal(parseFloatingIpName(each), undefined, each);
    assert.equal(
      parseFloatingIp({ metadata: { name: each }, spec: { key: "dp_a_b_c" } }),
      undefined,
    );
  }
});

test("records of the Go system are read", () => {
  const record = {
    metadata: {
      name: "10.49.27.205",
      resourceVersion: "42",
      creationTimestamp: "2020-01-01T00:00:00Z",
    },
    spec: {
      key: "tapp_ns1_tapp_tapp-1",
      policy: 2,
      attribute: '{"NodeName":"n3","Uid":"uid-1"}',
      subnet: "10.49.27.0/24",
      updateTime: "2019-10-10T08:37:13.498446133Z",
    },
  };
  assert.deepEqual(parseFloatingIp(record), {
    ip: "10.49.27.205",
    owner: {
      kind: "pod",
      pod: { namespace: "ns1", name: "tapp-1" },
      workload: {
        type: "custom",
        kind: "tapp",
        apiGroup: undefined,
        namespace: "ns1",
        name: "tapp",
      },
      pool: undefined,
    },
    policy: "never",
    nodeName: "n3",
    lastNodeName: "",
    podUid: "uid-1",
    updatedAtMs: Date.UTC(2019, 9, 10, 8, 37, 13, 498),
    isDraining: false,
    foreignText: '{"spec":{"subnet":"10.49.27.0/24"}}',
    version: "42",
  });
});

test("case 113: odd attributes, times and policies are tolerated", () => {
  const read = (spec: unknown) =>
    parseFloatingIp({
      metadata: { name: "10.0.0.1", creationTimestamp: "2020-01-01T00:00:00Z" },
      spec,
    });
  for (const attribute of ["xx", "", "{}", "null", "[]", '{"NodeName":5}', undefined, null, 7]) {
    const record = read({ key: "dp_a_b_c", policy: 0, attribute });
    assert.deepEqual([record?.nodeName, record?.podUid], ["", ""], String(attribute));
  }
  const policies: [policy: unknown, word: string][] = [
    [0, "pod-delete"],
    [1, "immutable"],
    [2, "never"],
    [undefined, "pod-delete"],
    [null, "pod-delete"],
    [3, "never"],
    [-1, "never"],
    ["1", "never"],
  ];
  for (const [policy, word] of policies)
    assert.equal(read({ policy })?.policy, word, String(policy));
  assert.equal(read({ updateTime: null })?.updatedAtMs, Date.UTC(2020, 0, 1));
  assert.deepEqual(read({ key: "hello-xx" })?.owner, { kind: "foreign", key: "hello-xx" });
  assert.deepEqual(read(undefined)?.owner, { kind: "foreign", key: "" });
  assert.deepEqual(read({ key: 5 })?.owner, { kind: "foreign", key: "" });
});

test("cases 106, 107: the label reserved makes a record the administrator's, whatever its value and key", () => {
  const documented = {
    apiVersion: "galaxy.k8s.io/v1alpha1",
    kind: "FloatingIP",
    metadata: {
      name: "10.0.0.2",
      labels: { ipType: "internalIP", reserved: "this-is-not-for-pods" },
    },
    spec: { key: "pool__reserved-for-node_", policy: 2 },
  };
  assert.deepEqual(parseFloatingIp(documented)?.owner, {
    kind: "admin",
    key: "pool__reserved-for-node_",
  });
  const cases: [labels: unknown, spec: unknown, key: string][] = [
    [{ reserved: "" }, undefined, ""],
    [{ reserved: "false" }, { key: "sts_ns1_web_web-0" }, "sts_ns1_web_web-0"],
  ];
  for (const [labels, spec, key] of cases) {
    const record = parseFloatingIp({ metadata: { name: "10.0.0.2", labels }, spec });
    assert.deepEqual(record?.owner, { kind: "admin", key });
  }
  const other = parseFloatingIp({
    metadata: { name: "10.0.0.2", labels: { ipType: "internalIP" } },
    spec: { key: "pool__p_" },
  });
  assert.equal(other?.owner.kind, "pool");
});

test("the structured workload is believed only where it agrees with the key", () => {
  const workloadOf = (key: string, structured: unknown) => {
    const record = parseFloatingIp({
      metadata: { name: "10.0.0.1" },
      spec: { key, workload: structured },
    });
    assert.ok(record?.owner.kind === "pod" && record.owner.workload !== undefined);
    return `${record.owner.workload.type} ${record.owner.workload.apiGroup ?? "?"} ${record.owner.workload.name}`;
  };
  const structured = { apiGroup: "g.io", kind: "tapp", name: "web" };
  assert.equal(workloadOf("tapp_ns_web_web-0", structured), "custom g.io web");
  assert.equal(workloadOf("tapp_ns_web_web-0", { ...structured, name: "old" }), "custom ? web");
  assert.equal(workloadOf("tapp_ns_web_web-0", { ...structured, kind: "job" }), "custom ? web");
  assert.equal(workloadOf("tapp_ns_web_web-0", "x"), "custom ? web");
  assert.equal(workloadOf("sts_ns_web_web-0", structured), "statefulset apps web");
  assert.equal(
    workloadOf("sts_ns_web_web-0", { apiGroup: "apps", kind: "statefulset", name: "web" }),
    "statefulset apps web",
  );
  const kruise = { apiGroup: "apps.kruise.io", kind: "replicaset", name: "web" };
  assert.equal(workloadOf("replicaset_ns_web_web-0", kruise), "custom apps.kruise.io web");
});

const blue: PoolFacts = {
  name: "blue",
  namespace: "kube-system",
  uid: "",
  size: 4,
  preAllocate: true,
  createdAtMs: 0,
  version: "",
};

test("case 96: a pool is read as documented, with size and preAllocateIP optional", () => {
  const documented = {
    apiVersion: "galaxy.k8s.io/v1alpha1",
    kind: "Pool",
    metadata: {
      name: "example-pool",
      namespace: "default",
      uid: "u",
      resourceVersion: "3",
      creationTimestamp: "2020-01-01T00:00:00Z",
    },
    size: 4,
  };
  assert.deepEqual(parsePool(documented), {
    kind: "pool",
    pool: {
      name: "example-pool",
      namespace: "default",
      uid: "u",
      size: 4,
      preAllocate: false,
      createdAtMs: Date.UTC(2020, 0, 1),
      version: "3",
    },
  });
  for (const size of [undefined, null, 0, 2 ** 31 - 1]) {
    const parse = parsePool({ ...documented, size });
    assert.ok(parse.kind === "pool");
    assert.equal(parse.pool.size, size ?? undefined);
  }
});

test("a pool that cannot be used is a problem that names it, the value and the remedy", () => {
  const metadata = { name: "p", namespace: "ns1", uid: "u" };
  const cases: [pool: unknown, problem: RegExp][] = [
    [
      { metadata, size: -1 },
      /^Pool ns1\/p: size -1 is no whole number from 0 .*; write one, or leave it out/,
    ],
    [{ metadata, size: 2.5 }, /size 2\.5 is no whole number/],
    [{ metadata, size: "4" }, /size "4" is no whole number/],
    [{ metadata, size: 2 ** 31 }, /size 2147483648 is no whole number/],
    [{ metadata, preAllocateIP: "yes" }, /preAllocateIP "yes" is neither true nor false/],
    [{ metadata: { ...metadata, name: "a_b" } }, /^Pool ns1\/a_b: pool name "a_b" has "_"/],
    [{}, /pool name is empty/],
    [null, /pool name is empty/],
  ];
  for (const [pool, problem] of cases) {
    const parse = parsePool(pool);
    assert.ok(parse.kind === "problem", JSON.stringify(pool));
    assert.match(parse.problem, problem);
  }
});

test("a pool is written as it is read, and patched without touching what is foreign", () => {
  for (const pool of [blue, { ...blue, size: undefined, preAllocate: false }]) {
    assert.deepEqual(parsePool(formatPool(pool)), { kind: "pool", pool });
    const before = { ...formatPool(blue), owner: "x" };
    const patched = mergePatched(before, poolPatch({ ...pool, version: "9" }));
    const foreignText = '{"owner":"x"}';
    assert.deepEqual(parsePool(patched), {
      kind: "pool",
      pool: { ...pool, foreignText, version: "9" },
    });
  }
});

test("the status of a pool keeps the time of its last turn and is not written again when it says the same", () => {
  const facts = {
    size: 4,
    allocated: 4,
    used: 1,
    condition: { isReady: true, reason: "Ready", message: "4 of 4 addresses" },
  };
  const first = formatPoolStatus(facts, undefined, 1000);
  assert.deepEqual(first, {
    size: 4,
    allocated: 4,
    used: 1,
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "Ready",
        message: "4 of 4 addresses",
        lastTransitionTime: "1970-01-01T00:00:01.000Z",
      },
    ],
  });
  assert.equal(formatPoolStatus(facts, first, 2000), undefined);
  const second = formatPoolStatus({ ...facts, used: 2 }, first, 2000);
  assert.equal(valueAt(second, "used"), 2);
  assert.deepEqual(valueAt(second, "conditions"), valueAt(first, "conditions"));
  const turned = { isReady: false, reason: "NotEnoughAddresses", message: "" };
  const third = formatPoolStatus({ ...facts, condition: turned }, second, 3000);
  assert.deepEqual(valueAt(third, "conditions"), [
    {
      type: "Ready",
      status: "False",
      reason: "NotEnoughAddresses",
      lastTransitionTime: "1970-01-01T00:00:03.000Z",
    },
  ]);
  const unlimited = formatPoolStatus({ ...facts, size: undefined }, first, 2000);
  assert.equal(Object.hasOwn(unlimited ?? {}, "size"), false);
  for (const odd of [null, "x", { conditions: "x" }, { conditions: [null] }]) {
    assert.deepEqual(formatPoolStatus(facts, odd, 1000), first);
  }
});

const floatingIpSchema = floatingIpCrd.spec.versions[0].schema.openAPIV3Schema;
const poolSchema = poolCrd.spec.versions[0].schema.openAPIV3Schema;

test("defect D-16: the schemas accept the documented manifests and the records of the Go system", () => {
  const accepted = [
    { spec: { key: "pool__reserved-for-node_", policy: 2 } },
    { metadata: { name: "10.0.0.2", labels: { reserved: "x" } } },
    {
      spec: {
        key: "k",
        policy: 0,
        attribute: "{}",
        subnet: "s",
        updateTime: "2019-10-10T08:37:13Z",
      },
    },
    ...golden.map(({ object }) => object),
  ];
  for (const object of accepted) assert.ok(Check(floatingIpSchema, object), JSON.stringify(object));
  for (const spec of [{ policy: 3 }, { policy: -1 }, { policy: "1" }, { key: 5 }]) {
    assert.equal(Check(floatingIpSchema, { spec }), false, JSON.stringify(spec));
  }
  const status = formatPoolStatus(
    { size: 4, allocated: 1, used: 0, condition: { isReady: false, reason: "X", message: "m" } },
    undefined,
    0,
  );
  for (const pool of [{ size: 4 }, {}, { size: 0, preAllocateIP: true }, { size: 4, status }]) {
    assert.ok(Check(poolSchema, pool), JSON.stringify(pool));
  }
  for (const pool of [{ size: -1 }, { size: 1.5 }, { size: "4" }, { preAllocateIP: "yes" }]) {
    assert.equal(Check(poolSchema, pool), false, JSON.stringify(pool));
  }
});

test("what Go programs write as null is accepted", () => {
  const spec = floatingIpSchema.properties.spec.properties;
  assert.deepEqual([spec.updateTime.nullable, spec.attribute.nullable], [true, true]);
  const { size, preAllocateIP } = poolSchema.properties;
  assert.deepEqual([size.nullable, preAllocateIP.nullable], [true, true]);
});

test("everything written fits the schema", () => {
  fc.assert(
    fc.property(allocation, (each) => {
      assert.ok(Check(floatingIpSchema, formatFloatingIp(each)));
    }),
  );
});

test("the CRDs are what an API server takes for a protected group, and lose no foreign member", () => {
  for (const crd of [floatingIpCrd, poolCrd]) {
    assert.equal(valueAt(crd, "metadata", "name"), `${crd.spec.names.plural}.${crd.spec.group}`);
    assert.equal(crd.spec.versions[0].served && crd.spec.versions[0].storage, true);
    const approved = valueAt(crd, "metadata", "annotations", "api-approved.kubernetes.io");
    assert.match(String(approved), /^unapproved, /);
    const schema = crd.spec.versions[0].schema.openAPIV3Schema;
    assert.ok(objectSchemasIn(schema).length > 1);
    for (const each of objectSchemasIn(schema)) {
      assert.equal(each["x-kubernetes-preserve-unknown-fields"], true, JSON.stringify(each));
    }
  }
  assert.equal(floatingIpCrd.spec.scope, "Cluster");
  assert.deepEqual(floatingIpCrd.spec.names.shortNames, ["fip"]);
  assert.equal(poolCrd.spec.scope, "Namespaced");
  assert.deepEqual(
    floatingIpCrd.spec.versions[0].additionalPrinterColumns
      .filter((column) => !("priority" in column))
      .map((column) => column.name),
    ["State", "Namespace", "Workload", "Pod", "Pool", "Policy", "Node", "Age"],
  );
});

/** The schema itself and all schemas of objects in it. */
function objectSchemasIn(schema: unknown): JsonObject[] {
  const object = asObject(schema);
  if (object === undefined) return [];
  const inner = [...Object.values(asObject(object["properties"]) ?? {}), object["items"]];
  return [...(object["type"] === "object" ? [object] : []), ...inner.flatMap(objectSchemasIn)];
}
