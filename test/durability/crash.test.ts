// A writer of the state file is killed with SIGKILL at random points; what it was told to be durable must be there, and nothing half.
// Power failures are not tried: what SIGKILL leaves in the memory of the kernel is there afterwards, synced or not.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { it } from "node:test";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { SqliteAllocationStore } from "../../src/adapters/sqlite/allocation-store.ts";
import { SqlitePoolStore } from "../../src/adapters/sqlite/pool-store.ts";
import { openStateFile } from "../../src/adapters/sqlite/state-file.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import { waitUntil } from "../control-plane/api.ts";
import {
  crashWriterFile,
  type JournalLine,
  laneCount,
  objectOfPool,
  stateOfPool,
  stateOfRecord,
} from "./crash-writer.ts";

const crashCount = 20;

/** What an object said when it was last looked at. */
type Written = { readonly state: string; readonly version: string };

it(`keeps every acknowledged write, and nothing half, through ${crashCount} kills under load`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-crash-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "state", "state.db");
  const journalPath = join(folder, "journal");
  let before: ReadonlyMap<string, Written> = new Map();
  let highest = 0;
  let acknowledged = 0;
  let inFlight = 0;
  for (let crash = 0; crash < crashCount; crash += 1) {
    writeFileSync(journalPath, "");
    // The first ones come while the file is being made or opened, the others somewhere in the first 2,000 writes or so.
    const killAtBytes = crash < 3 ? 0 : Math.floor(Math.random() * 300_000) + 1;
    await writeAndKill(path, journalPath, killAtBytes);
    const lines = journalOf(journalPath);
    checkPages(path, folder);
    const after = await contentOf(path);
    const promises = promisesOf(before, lines);
    for (const [object, { last, possible }] of promises) {
      const found = after.get(object);
      const accepted = [last?.state, ...possible];
      assert.ok(
        accepted.includes(found?.state),
        `crash ${crash}: ${object} says ${found?.state}, acknowledged was ${last?.state}, in flight ${possible.join(", ")}`,
      );
      if (last !== undefined && found?.state === last.state) {
        assert.equal(found.version, last.version, `crash ${crash}: version of ${object}`);
      }
    }
    for (const object of after.keys()) assert.ok(promises.has(object), `${object} from nowhere`);
    const given = lines.flatMap(({ version }) => (version === undefined ? [] : [Number(version)]));
    assert.ok(
      given.every((version) => version > highest),
      `crash ${crash}: a version was given that is not above ${highest}`,
    );
    highest = Math.max(highest, ...given, ...[...after.values()].map((one) => Number(one.version)));
    acknowledged += lines.filter(({ step }) => step === "done").length;
    inFlight += [...promises.values()].filter(({ possible }) => possible.length > 0).length;
    before = after;
  }
  // Without load the kills would prove nothing.
  assert.ok(acknowledged > 1_000, `${acknowledged} writes were acknowledged`);
  assert.ok(inFlight > laneCount, `${inFlight} writes were in flight when the writer was killed`);
  t.diagnostic(`${acknowledged} acknowledged, ${inFlight} in flight at the kills`);
});

/** Starts the writer and kills it as soon as its journal has that many bytes. */
async function writeAndKill(path: string, journal: string, killAtBytes: number): Promise<void> {
  const args = ["--disable-warning=ExperimentalWarning", crashWriterFile, path, journal];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += String(chunk);
  });
  const exited = once(child, "exit");
  try {
    if (killAtBytes === 0) {
      await waitUntil(
        "the writer to touch its folder",
        () => existsSync(join(path, "..")),
        (isThere) => isThere,
        { everyMs: 1 },
      );
    } else {
      await waitUntil(
        `the writer to note ${killAtBytes} bytes (${complaint})`,
        () => statSync(journal).size,
        (size) => size >= killAtBytes || child.exitCode !== null,
        { everyMs: 1 },
      );
    }
  } finally {
    child.kill("SIGKILL");
  }
  const [, signal] = (await exited) as [number | null, string | null];
  assert.equal(signal, "SIGKILL", `the writer ended by itself: ${complaint}`);
}

/** Whole lines; the last one may have been cut. */
function journalOf(path: string): readonly JournalLine[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.slice(0, -1).map((line) => JSON.parse(line) as JournalLine);
}

/** What must be there by object: the state acknowledged last, or one that was in flight after it. */
function promisesOf(before: ReadonlyMap<string, Written>, lines: readonly JournalLine[]) {
  const promises = new Map<
    string,
    { last: Written | undefined; possible: (string | undefined)[] }
  >();
  for (const [object, last] of before) promises.set(object, { last, possible: [] });
  for (const { step, object, state, version } of lines) {
    const promise = promises.get(object) ?? { last: undefined, possible: [] };
    promises.set(object, promise);
    if (step === "will") {
      promise.possible.push(state);
    } else {
      promise.last = state === undefined || version === undefined ? undefined : { state, version };
      promise.possible = [];
    }
  }
  return promises;
}

/** Lets SQLite recover a copy and check every page and row of it, so that what the product does on opening has no part in it. */
function checkPages(path: string, folder: string): void {
  if (!existsSync(path)) return;
  const copy = join(folder, "copy.db");
  for (const end of ["", "-wal"]) {
    rmSync(`${copy}${end}`, { force: true });
    if (existsSync(`${path}${end}`)) copyFileSync(`${path}${end}`, `${copy}${end}`);
  }
  const database = new DatabaseSync(copy);
  try {
    const result = database.prepare("PRAGMA integrity_check").all();
    assert.deepEqual(
      result.map((row) => row["integrity_check"]),
      ["ok"],
    );
  } finally {
    database.close();
  }
}

async function contentOf(path: string): Promise<ReadonlyMap<string, Written>> {
  const file = openStateFile(path);
  try {
    const log = new MemoryLog();
    const records = await new SqliteAllocationStore({ file, log }).list();
    const pools = new SqlitePoolStore({ file, log, clock: new SystemClock() }).all();
    return new Map([
      ...records.map(
        (one) => [one.ip, { state: stateOfRecord(one), version: one.version }] as const,
      ),
      ...pools.map(
        (one) =>
          [objectOfPool(one.name), { state: stateOfPool(one), version: one.version }] as const,
      ),
    ]);
  } finally {
    file.close();
  }
}
