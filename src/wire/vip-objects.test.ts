// Objects of virtual addresses: a golden one, round trips, what is wrong with a pool, and what the schemas accept.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Check } from "typebox/schema";
import { ip, ipRange } from "../../test/builders.ts";
import type { VipHolder, VipRecord } from "../core/vip.ts";
import { newVipRecord } from "../core/vip.ts";
import {
  floatingVipCrd,
  foreignStatusOf,
  formatFloatingVip,
  formatVipPoolStatus,
  parseFloatingVip,
  parseVipPool,
  parseVipPoolStatus,
  vipPoolCrd,
} from "./vip-objects.ts";

const golden: unknown = JSON.parse(
  readFileSync(new URL("./golden/floatingvip.golden.json", import.meta.url), "utf8"),
);

const holder: VipHolder = {
  pod: { namespace: "shop", name: "web-0" },
  podUid: "uid-1",
  podIp: ip("2001:db8:1::9"),
  nodeName: "n1",
  session: 1_700_000_000_123,
};

const record: VipRecord = {
  ...newVipRecord(ip("2001:db8::50"), 1_700_000_000_000),
  epoch: 7,
  holder,
  release: "wanted",
  next: { ...holder, pod: { namespace: "shop", name: "web-1" }, podUid: "uid-2", nodeName: "n2" },
  grantedAtMs: 1_700_000_001_000,
  voters: ["n1", "n2", "n3"],
  losses: [{ podUid: "uid-0", atMs: 1_700_000_001_000 }],
  transition: {
    from: { pod: { namespace: "shop", name: "db-0" }, nodeName: "n3" },
    to: { pod: holder.pod, nodeName: "n1" },
    reason: "PodNotReady",
    atMs: 1_700_000_001_000,
    detectMs: 12,
    decideMs: 40,
    programMs: 7,
  },
  foreignOwner: "aa:bb:cc:dd:ee:ff on eth0",
  look: {
    state: "Moving",
    reason: "LettingGo",
    message: "it moves",
    candidates: [
      { pod: { namespace: "shop", name: "web-0" }, nodeName: "n1", reason: "PodNotReady" },
      { pod: { namespace: "shop", name: "web-1" }, nodeName: "n2", reason: undefined },
    ],
  },
  version: "42",
};

const floatingVipSchema = floatingVipCrd.spec.versions[0].schema.openAPIV3Schema;
const vipPoolSchema = vipPoolCrd.spec.versions[0].schema.openAPIV3Schema;

test("a FloatingVIP looks as it always did, fits its schema, and is read back whole", () => {
  assert.deepEqual(formatFloatingVip(record), golden);
  assert.ok(Check(floatingVipSchema, golden));
  assert.deepEqual(parseFloatingVip(golden), record);
});

test("every record is read back as it was written", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(ip("192.0.2.50"), ip("2001:db8::50")),
      fc.nat(),
      fc.constantFrom(undefined, holder),
      fc.constantFrom<VipRecord["release"]>("none", "wanted", "done"),
      fc.constantFrom("", "9"),
      (address, epoch, anyHolder, release, version) => {
        const each = { ...record, ip: address, epoch, holder: anyHolder, release, version };
        const object = formatFloatingVip(each);
        assert.ok(Check(floatingVipSchema, object));
        assert.deepEqual(parseFloatingVip(JSON.parse(JSON.stringify(object))), each);
      },
    ),
  );
});

describe("members of a newer release", () => {
  type Json = { readonly [member: string]: unknown };
  const seen = (status: Json): Json => ({ metadata: { name: "192.0.2.50" }, status });
  const statusOf = (each: VipRecord, before: Json) =>
    formatFloatingVip(each, foreignStatusOf(seen(before)))["status"] as Json;
  const own = formatFloatingVip(record)["status"] as Json;

  test("are none when there is nothing else", () => {
    assert.equal(foreignStatusOf(golden), undefined);
    assert.equal(foreignStatusOf({}), undefined);
  });

  test("stay in the status, and with a holder, a story and a candidate that stay", () => {
    const [candidate, ...others] = own["candidates"] as readonly Json[];
    const before = {
      ...own,
      zone: { name: "north" },
      holder: { ...(own["holder"] as Json), rack: 1 },
      lastTransition: { ...(own["lastTransition"] as Json), tries: 2 },
      candidates: [...others, { ...candidate, score: 9 }],
    };
    assert.deepEqual(statusOf(record, before), {
      ...before,
      candidates: [{ ...candidate, score: 9 }, ...others],
    });
  });

  test("go with a holder that goes, and no member of this release comes back", () => {
    const before = { ...own, unable: "no", holder: { ...(own["holder"] as Json), rack: 1 } };
    const other = { ...record, holder: { ...holder, podUid: "uid-9" } };
    assert.deepEqual(statusOf(other, before), formatFloatingVip(other)["status"]);
    const nobody = { ...record, holder: undefined };
    assert.deepEqual(statusOf(nobody, before), formatFloatingVip(nobody)["status"]);
  });

  test("never by an exception", () => {
    fc.assert(
      fc.property(fc.anything(), (json) => {
        const status = foreignStatusOf({ status: json });
        const written = JSON.parse(JSON.stringify(formatFloatingVip(record, status))) as Json;
        assert.deepEqual(parseFloatingVip(written), record);
      }),
    );
  });
});

test("a FloatingVIP without a status is one that was granted to nobody", () => {
  const bare = { metadata: { name: "192.0.2.50", creationTimestamp: "2023-11-14T22:13:20Z" } };
  const parsed = parseFloatingVip(bare);
  assert.equal(parsed?.epoch, 0);
  assert.equal(parsed.holder, undefined);
  assert.equal(parsed.bornMs, 1_700_000_000_000);
});

describe("a FloatingVIP that cannot be understood is nobody's", () => {
  const object = (status: unknown, name = "192.0.2.50") => ({ metadata: { name }, status });
  const whole = { namespace: "a", pod: "b", uid: "c", podIP: "10.0.0.1", node: "d", session: 1 };
  for (const [what, json] of [
    ["its name is no address", object({}, "web")],
    ["its epoch is text", object({ epoch: "7" })],
    ["its epoch is negative", object({ epoch: -1 })],
    ["its release is another word", object({ release: "soon" })],
    ["its holder is text", object({ holder: "web-0" })],
    ["its holder has no session", object({ holder: { ...whole, session: undefined } })],
    ["its holder has no address", object({ holder: { ...whole, podIP: "x" } })],
    ["its next holder has no node", object({ next: { ...whole, node: "" } })],
  ] as const) {
    test(`when ${what}`, () => assert.equal(parseFloatingVip(json), undefined));
  }

  test("never by an exception", () => {
    fc.assert(fc.property(fc.anything(), (json) => void parseFloatingVip(json)));
  });
});

describe("the status of a VIPPool", () => {
  const status = {
    generation: 3,
    addresses: 10,
    used: 4,
    free: 6,
    ready: { isTrue: true, reason: "Read", message: "pods may claim" },
    overlaps: { isTrue: false, reason: "None", message: "" },
  };

  test("fits its schema and is read back whole", () => {
    const written = formatVipPoolStatus(status, undefined, 1_700_000_000_000);
    const object = { metadata: { name: "edge" }, spec: { ranges: ["10.0.0.1"] }, status: written };
    assert.ok(Check(vipPoolSchema, object));
    assert.deepEqual(parseVipPoolStatus(object), status);
    assert.equal(parseVipPoolStatus({}), undefined);
    assert.equal(parseVipPoolStatus({ status: { ...written, conditions: [] } }), undefined);
  });

  test("keeps conditions of others, and the time of one that did not turn", () => {
    const others = { type: "Audited", status: "True" };
    const first = formatVipPoolStatus(status, { conditions: [others] }, 1_700_000_000_000);
    const ready = { ...status.ready, isTrue: false };
    const second = formatVipPoolStatus({ ...status, ready }, first, 1_700_000_009_000);
    assert.deepEqual(second["conditions"], [
      others,
      {
        type: "Ready",
        status: "False",
        reason: "Read",
        message: "pods may claim",
        lastTransitionTime: "2023-11-14T22:13:29.000Z",
      },
      {
        type: "Overlapping",
        status: "False",
        reason: "None",
        message: "",
        lastTransitionTime: "2023-11-14T22:13:20.000Z",
      },
    ]);
  });
});

describe("a VIPPool", () => {
  const pool = (spec: unknown) => ({ metadata: { name: "edge" }, spec });

  test("has usual values for all but its ranges", () => {
    const json = pool({ ranges: ["192.0.2.10~192.0.2.20", "2001:db8::/120"] });
    assert.ok(Check(vipPoolSchema, json));
    assert.deepEqual(parseVipPool(json), {
      kind: "pool",
      pool: {
        name: "edge",
        ranges: [ipRange("192.0.2.10~192.0.2.20"), ipRange("2001:db8::~2001:db8::ff")],
        namespaces: undefined,
        mode: { kind: "L2", interfaces: "*" },
        onControlPlaneLoss: "Fence",
        minReadyMs: 5_000,
        lastResort: "release",
      },
    });
  });

  test("says everything that it can say", () => {
    const spec = { ranges: ["192.0.2.10"], namespaces: ["shop"], mode: "Route" };
    const json = pool({
      ...spec,
      onControlPlaneLoss: "Hold",
      minReadySeconds: 0,
      lastResort: "keep",
    });
    assert.ok(Check(vipPoolSchema, json));
    const parsed = parseVipPool(json);
    assert.equal(parsed.kind, "pool");
    assert.deepEqual(parsed.pool.namespaces, ["shop"]);
    assert.deepEqual(parsed.pool.mode, { kind: "Route" });
    assert.equal(parsed.pool.onControlPlaneLoss, "Hold");
    assert.equal(parsed.pool.minReadyMs, 0);
    assert.equal(parsed.pool.lastResort, "keep");
  });

  for (const [what, spec, pattern] of [
    [
      "without ranges",
      {},
      /VIPPool edge: spec\.ranges undefined lists no range; write at least one/,
    ],
    ["with a bad range", { ranges: ["10.0.0.1-5"] }, /spec\.ranges "10\.0\.0\.1-5" is no range/],
    ["of another mode", { ranges: ["10.0.0.1"], mode: "BGP" }, /spec\.mode "BGP" is neither/],
    ["of another loss", { ranges: ["10.0.0.1"], onControlPlaneLoss: "x" }, /is neither Fence nor/],
    ["with namespaces that are no names", { ranges: ["10.0.0.1"], namespaces: [1] }, /no list/],
    ["with half seconds", { ranges: ["10.0.0.1"], minReadySeconds: 0.5 }, /no whole number/],
    [
      "of another last resort",
      { ranges: ["10.0.0.1"], lastResort: "no" },
      /is neither release nor/,
    ],
    ["with an empty pattern", { ranges: ["10.0.0.1"], interfaces: "" }, /no pattern of names/],
  ] as const) {
    test(`${what} is refused with the field and the remedy`, () => {
      const parsed = parseVipPool(pool(spec));
      assert.equal(parsed.kind, "problems");
      assert.match(parsed.problems.join("\n"), pattern);
    });
  }
});
