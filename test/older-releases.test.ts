// What older releases of this program wrote is read by this one, and what this one writes says still all that they read. The files in
// older-releases were written by their code, at the commit that stands in each name; they are never made anew (docs/design/older-releases.md).

import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MemoryLog } from "../src/adapters/memory/log.ts";
import { SqliteAllocationStore } from "../src/adapters/sqlite/allocation-store.ts";
import { SqliteQuotaStore } from "../src/adapters/sqlite/quota-store.ts";
import { openStateFile } from "../src/adapters/sqlite/state-file.ts";
import { openBackup } from "../src/cli/backup-file.ts";
import type { Allocation } from "../src/core/allocation.ts";
import type { AttachmentRecord } from "../src/core/attachment-record.ts";
import type { PoolFacts } from "../src/core/facts.ts";
import type { IpInfo } from "../src/core/subnets.ts";
import type { NodeLease, VipRecord } from "../src/core/vip.ts";
import { formatAttachmentRecord, parseAttachmentRecord } from "../src/wire/attachment-record.ts";
import { formatCniArgs, parseCniArgs } from "../src/wire/cni-args.ts";
import { formatFloatingIp, formatPool, parseFloatingIp, parsePool } from "../src/wire/crd.ts";
import { valueAt } from "../src/wire/json-value.ts";
import { parseIpInfos } from "../src/wire/network-config.ts";
import { formatNodeLease, parseNodeLease } from "../src/wire/vip-lease.ts";
import { formatFloatingVip, parseFloatingVip } from "../src/wire/vip-objects.ts";
import { aQuota } from "./builders.ts";

const folder = fileURLToPath(new URL("older-releases", import.meta.url));

/** What one release wrote, beside what it understood itself of that. Members that hold nothing are not there. */
type Written<Facts, Form = { readonly object: object }> = { readonly facts: Facts } & Form;
type Release = {
  readonly records: readonly Written<Allocation>[];
  readonly pools: readonly Written<PoolFacts>[];
  /** The annotation as a pod had it, and as it was after an address was given. */
  readonly annotation: {
    readonly existing: string;
    readonly infos: readonly IpInfo[];
    readonly text: string;
  };
  readonly vip?: Written<VipRecord>;
  readonly lease?: Written<NodeLease>;
  readonly attachment?: Written<AttachmentRecord, { readonly text: string }>;
};

function textOf(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}

/** As it is in JSON: without members that hold nothing. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** That each member of `older` stands in `newer`, at any depth, with the same value; lists item by item. */
function assertSays(newer: unknown, older: unknown, where: string): void {
  if (typeof older !== "object" || older === null) {
    assert.deepEqual(newer, older, where);
    return;
  }
  assert.ok(typeof newer === "object" && newer !== null, where);
  for (const [name, value] of Object.entries(older)) {
    assertSays((newer as Record<string, unknown>)[name], value, `${where}.${name}`);
  }
}

for (const name of globSync("objects-*.json", { cwd: folder }).toSorted()) {
  describe(`objects of the release of ${name}`, () => {
    const release = JSON.parse(textOf(name)) as Release;

    it("mean to this release what they meant to that one, and to that one what they mean to this", () => {
      assert.ok(release.records.length > 5 && release.pools.length > 1);
      for (const { facts, object } of release.records) {
        const read = parseFloatingIp(object);
        assert.ok(read !== undefined);
        assertSays(read, facts, facts.ip);
        assertSays(formatFloatingIp(read), object, facts.ip);
      }
      for (const { facts, object } of release.pools) {
        const read = parsePool(object);
        assert.ok(read.kind === "pool");
        assertSays(read.pool, facts, facts.name);
        assertSays(formatPool(read.pool), object, facts.name);
      }
    });

    it("and its annotation of a pod, which daemon and galaxy-ipam share, are the same text", () => {
      const { existing, infos, text } = release.annotation;
      assert.equal(formatCniArgs(existing, infos), text);
      // The one as it was, and one of a release to come.
      for (const seen of [text, text.replace('"vlan":2', '"vlan":2,"future":{"a":1}')]) {
        assert.deepEqual(parseCniArgs(seen).assignedIps, ["10.0.70.2"]);
        const source = parseIpInfos(valueAt(JSON.parse(seen), "common", "ipinfos"), "ipinfos");
        assert.deepEqual(source, {
          kind: "grants",
          grants: [{ ip: "10.0.70.2", prefix: 24, vlan: 2, gateway: "10.0.70.1" }],
        });
      }
    });

    const { attachment, lease, vip } = release;
    // The first release had none of them.
    if (attachment === undefined || lease === undefined || vip === undefined) return;

    it("of virtual addresses and of nodes are understood both ways", () => {
      const record = parseFloatingVip(vip.object);
      assert.deepEqual(plain(record), vip.facts);
      assert.ok(record !== undefined);
      assertSays(formatFloatingVip(record), vip.object, "FloatingVIP");
      const held = parseNodeLease(lease.object);
      assert.deepEqual(plain(held), lease.facts);
      assert.ok(held !== undefined);
      const renewedAt = "2026-11-01T08:30:00.000000Z";
      const renewed = formatNodeLease(held, { namespace: "galaxy-vip", renewedAt });
      assertSays(renewed, lease.object, "Lease");
      const made = parseAttachmentRecord(attachment.text);
      assert.deepEqual(made, attachment.facts);
      assert.ok(made !== undefined);
      assert.equal(formatAttachmentRecord(made), attachment.text);
    });
  });
}

test("a backup of format 1 is whole, and its records and Pools are read", () => {
  const name = "backup-c712e9a.jsonl";
  const backup = openBackup(name, Buffer.from(textOf(name)));
  const { counts, header } = backup;
  assert.equal(header.from.instance, "galaxy-ipam-0");
  assert.deepEqual([counts.record, counts.pool, counts.quota], [7, 2, 0]);
  for (const part of backup.parts()) {
    if (part.kind === "record") assert.ok(parseFloatingIp(part.object) !== undefined);
  }
});

test("a state file of form 1 is taken over with all its records, and written on", async () => {
  const place = mkdtempSync(join(tmpdir(), "galaxy-older-"));
  const path = join(place, "state.db");
  try {
    const older = new DatabaseSync(path);
    older.exec(`PRAGMA synchronous = OFF; BEGIN; ${textOf("state-file-140f3c2.sql")} COMMIT`);
    older.close();
    const facts = textOf("state-file-140f3c2.jsonl")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Allocation);
    const log = new MemoryLog();
    // Twice: the second time it is a file of this release.
    for (const isOlder of [true, false]) {
      const file = openStateFile(path);
      const store = new SqliteAllocationStore({ file, log });
      const quotas = new SqliteQuotaStore(file);
      assert.deepEqual(plain(await store.list()), facts);
      if (isOlder) {
        assert.deepEqual(quotas.all(), []);
        await quotas.write(aQuota({ name: "gold" }));
        const [first] = facts;
        assert.ok(first !== undefined);
        const updated = await store.update({ ...first, nodeName: "node-x" });
        assert.ok(updated.kind === "updated");
        assert.ok(
          Number(updated.allocation.version) >
            Math.max(...facts.map(({ version }) => Number(version))),
        );
        facts[0] = updated.allocation;
      } else {
        assert.deepEqual(
          quotas.all().map(({ name }) => name),
          ["gold"],
        );
      }
      file.close();
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
