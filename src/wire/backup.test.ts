// The file of a backup: what stands in it, that it comes back as it was, and what is said of files that are none.

import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import {
  aDeploymentRef,
  anAllocation,
  aPodSubnet,
  aPool,
  aQuota,
  cidr,
  conf7,
  ip,
  ipRange,
  madeAtMs,
  podOwner,
} from "../../test/builders.ts";
import { newVipRecord } from "../core/vip.ts";
import type { VipPool } from "../core/vip-holder.ts";
import type { BackupContent, BackupLine } from "./backup.ts";
import {
  formatBackupEnd,
  formatBackupHeader,
  formatBackupObjects,
  readBackup,
  readClusterObjects,
  usualConfigurationPlace,
} from "./backup.ts";
import { parseFloatingIp } from "./crd.ts";
import { formatFloatingIpConfig, parseFloatingIpConfig } from "./floatingip-config.ts";
import { formatVipPool, parseVipPool } from "./vip-objects.ts";

const header = {
  createdAtMs: madeAtMs,
  from: { version: "1.2.3", mode: "kubernetes", instance: "self", role: "leader" as const },
};

const vipPool: VipPool = {
  name: "public",
  ranges: [ipRange("192.0.2.10~192.0.2.20")],
  namespaces: ["web"],
  mode: { kind: "L2", interfaces: "eth*" },
  onControlPlaneLoss: "Hold",
  minReadyMs: 7_000,
  lastResort: "keep",
};

const content: BackupContent = {
  configuration: {
    place: usualConfigurationPlace,
    subnets: [aPodSubnet({ ranges: ["10.0.70.2~10.0.70.9"], vlan: 3 })],
  },
  pools: [aPool({ name: "blue", size: 4, preAllocate: true, foreignText: '{"future":1}' })],
  quotas: [aQuota({ name: "team-a", limit: 4, namespaces: ["web"] })],
  vipPools: [vipPool],
  records: [
    anAllocation({
      owner: podOwner({ name: "web-x", workload: aDeploymentRef() }),
      policy: "immutable",
      foreignText: '{"metadata":{"labels":{"team":"a"}},"spec":{"future":1}}',
    }),
    anAllocation({ ip: "10.0.70.3", owner: { kind: "admin", key: "printer" }, policy: "never" }),
  ],
  vips: [newVipRecord(ip("192.0.2.10"), madeAtMs)],
};

function textOf(wanted: BackupContent): string {
  const objects = [...formatBackupObjects(wanted)];
  const end = formatBackupEnd({ objectCount: objects.length, sha256: "abc" });
  return `${formatBackupHeader(header)}${objects.join("")}${end}`;
}

function read(text: string): readonly BackupLine[] {
  return [...readBackup(text.split("\n").slice(0, -1))];
}

function problemOf(text: string): string {
  const last = read(text).at(-1);
  assert.ok(last?.kind === "problem", JSON.stringify(last));
  return last.problem;
}

describe("a backup", () => {
  it("has a line that says what it is, an object a line in a fixed order, and a line that ends it", () => {
    const lines = textOf(content).trimEnd().split("\n");
    const kinds = lines.map((line) => (JSON.parse(line) as { kind: string }).kind);
    assert.deepEqual(kinds, [
      "GalaxyBackup",
      "ConfigMap",
      "Pool",
      "FloatingIPQuota",
      "VIPPool",
      "FloatingIP",
      "FloatingIP",
      "FloatingVIP",
      "GalaxyBackupEnd",
    ]);
    assert.equal(
      lines[0],
      '{"kind":"GalaxyBackup","formatVersion":2,"createdAt":"2023-11-14T22:13:20.000Z","from":{"version":"1.2.3","mode":"kubernetes","instance":"self","role":"leader"}}',
    );
    assert.equal(lines.at(-1), '{"kind":"GalaxyBackupEnd","objectCount":7,"sha256":"abc"}');
    assert.match(lines[5] ?? "", /"key":"dp_ns1_web_web-x"/);
    assert.ok(!textOf(content).includes("resourceVersion"), "versions mean nothing elsewhere");
  });

  it("is read back as it was", () => {
    const lines = read(textOf(content));
    assert.deepEqual(lines[0], { kind: "header", header });
    assert.deepEqual(
      lines.flatMap((line) => (line.kind === "record" ? [parseFloatingIp(line.object)] : [])),
      content.records,
    );
    assert.deepEqual(lines.at(-1), { kind: "end", objectCount: 7, sha256: "abc" });
  });

  it("of the format before this one, which had no quotas, is read", () => {
    const older = textOf({ ...content, quotas: [] }).replace(
      '"formatVersion":2',
      '"formatVersion":1',
    );
    assert.deepEqual(
      read(older).map(({ kind }) => kind),
      ["header", "configuration", "pool", "vip pool", "record", "record", "vip", "end"],
    );
  });

  it("is the same from what kubectl shows of the same objects", () => {
    const objects = read(textOf(content)).flatMap((line) =>
      "object" in line ? [line.object] : [],
    );
    const again = readClusterObjects([...objects, { kind: "Pod" }], usualConfigurationPlace);
    assert.ok(again.kind === "content");
    assert.equal(again.ignoredCount, 2, "the FloatingVIP and the pod");
    assert.equal(textOf({ ...again.content, vips: content.vips }), textOf(content));
  });

  it("of a newer format, and what is none, is refused with the next step", () => {
    const newer = textOf(content).replace('"formatVersion":2', '"formatVersion":7');
    assert.match(
      problemOf(newer),
      /format 7, made by galaxy-ipam 1\.2\.3; .* use galaxyctl 1\.2\.3/,
    );
    assert.match(problemOf("ip,reserved\n"), /no backup: its first line is "ip,reserved"/);
    assert.match(problemOf('{"kind":"List"}\n'), /is no backup/);
    assert.match([...readBackup([])].map((line) => JSON.stringify(line)).join(), /it is empty/);
    const strange = textOf(content).replace('"kind":"Pool"', '"kind":"Lake"');
    assert.match(problemOf(strange), /line 3 has the kind "Lake".* use a newer one/);
    const touched = textOf(content).replace('"abc"}', '"abc" }');
    assert.match(problemOf(touched), /line 9: the last line was changed/);
    const noAddress = textOf(content).replace('"name":"10.0.70.2"', '"name":"web"');
    assert.match(problemOf(noAddress), /line 6: the name "web" is no address/);
    assert.match(problemOf(`${textOf(content)}{}\n`), /line 10 stands behind the last one/);
  });

  it("that was cut anywhere, or lost lines, is no backup any more", () => {
    const text = textOf(content);
    fc.assert(
      fc.property(fc.nat(text.length - 1), (length) => {
        const cut = text.slice(0, length);
        const lines = cut.split("\n").filter((line) => line !== "");
        const last = [...readBackup(lines)].at(-1);
        // All but the line feed at the very end is there: whoever reads bytes sees that one missing.
        if (length === text.length - 1) return;
        assert.equal(last?.kind, "problem", cut.slice(-40));
      }),
    );
    const lines = text.trimEnd().split("\n");
    for (const [index] of lines.entries()) {
      assert.equal([...readBackup(lines.toSpliced(index, 1))].at(-1)?.kind, "problem");
    }
  });
});

test("a configuration in force comes back from its text as it is", () => {
  for (const subnets of [
    conf7,
    [aPodSubnet({ cidr: "fd00:70::/64", nodeSubnets: ["10.0.1.0/24", "fd00:1::/64"], vlan: 7 })],
    [],
  ]) {
    const parsed = parseFloatingIpConfig(formatFloatingIpConfig(subnets));
    assert.ok(parsed.kind === "valid");
    assert.deepEqual(parsed.subnets, subnets);
  }
});

test("a VIPPool comes back from its object as it is", () => {
  const arbitraryPool = fc.record<VipPool>({
    name: fc.constant("public"),
    ranges: fc.constantFrom([cidr("192.0.2.0/28").range], vipPool.ranges),
    namespaces: fc.constantFrom(undefined, ["web", "db"]),
    mode: fc.constantFrom({ kind: "Route" }, { kind: "L2", interfaces: "eth*" }),
    onControlPlaneLoss: fc.constantFrom("Hold", "Fence"),
    minReadyMs: fc.integer({ min: 0, max: 3_600 }).map((seconds) => seconds * 1_000),
    lastResort: fc.constantFrom("keep", "release"),
  });
  fc.assert(
    fc.property(arbitraryPool, (pool) => {
      assert.deepEqual(parseVipPool(formatVipPool(pool)), { kind: "pool", pool: { ...pool } });
    }),
  );
});
