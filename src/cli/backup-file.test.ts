// Opening a backup's file: whatever was done to its bytes is noticed before anything of it is used. Writing one: whole or not at all.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import { anAllocation, madeAtMs } from "../../test/builders.ts";
import { formatBackupEnd, formatBackupHeader, formatBackupObjects } from "../wire/backup.ts";
import { openBackup, writeWhole } from "./backup-file.ts";
import { CommandProblem } from "./command-problem.ts";

function aBackup(): Buffer {
  const records = ["10.0.70.2", "10.0.70.3", "10.0.70.4"].map((ip) => anAllocation({ ip }));
  const body = [
    formatBackupHeader({
      createdAtMs: madeAtMs,
      from: { version: "1.2.3", mode: "embedded", instance: "self", role: "leader" },
    }),
    ...formatBackupObjects({
      configuration: undefined,
      pools: [],
      quotas: [],
      vipPools: [],
      records,
      vips: [],
    }),
  ].join("");
  const sha256 = createHash("sha256").update(body).digest("hex");
  return Buffer.from(`${body}${formatBackupEnd({ objectCount: records.length, sha256 })}`);
}

describe("a backup's file", () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-backup-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("is opened when it is whole, and gives its objects as often as they are wanted", () => {
    const file = openBackup("b", aBackup());
    assert.equal(file.counts.record, 3);
    assert.equal(file.header.createdAtMs, madeAtMs);
    for (const _ of [1, 2]) assert.equal([...file.parts()].length, 3);
  });

  test("is refused whatever byte of it was changed, added or cut off", () => {
    const whole = aBackup();
    const damages = fc.oneof(
      fc.nat(whole.length - 1).map((length) => whole.subarray(0, length)),
      fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] as number) ^ flip;
        return changed;
      }),
      fc
        .tuple(fc.nat(whole.length), fc.uint8Array({ minLength: 1, maxLength: 4 }))
        .map(([at, more]) => Buffer.concat([whole.subarray(0, at), more, whole.subarray(at)])),
    );
    fc.assert(
      fc.property(damages, (bytes) => {
        assert.throws(() => openBackup("b", bytes), CommandProblem);
      }),
      { numRuns: 400 },
    );
  });

  test("is written whole, and never over another one unasked", () => {
    const name = join(folder, "b.jsonl");
    writeWhole(name, aBackup(), { replaces: false });
    assert.ok(readFileSync(name).equals(aBackup()));
    assert.throws(
      () => writeWhole(name, Buffer.from("x"), { replaces: false }),
      /is there already; give another name, or add --overwrite/,
    );
    writeWhole(name, Buffer.from("x"), { replaces: true });
    assert.equal(readFileSync(name, "utf8"), "x");
    assert.throws(
      () => writeWhole(join(folder, "no/such/b"), aBackup(), { replaces: false }),
      CommandProblem,
    );
    assert.deepEqual(readdirSync(folder), ["b.jsonl"], "nothing half-written stays");
  });
});
