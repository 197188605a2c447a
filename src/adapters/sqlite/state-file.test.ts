// Opening state files: what is refused, that a refused file is left as it is, and what outlives a process.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it, type TestContext } from "node:test";
import { anAllocation, aPool, ip } from "../../../test/builders.ts";
import { WorldError, type WorldErrorCode } from "../../ports/world-error.ts";
import { ManualClock } from "../memory/clock.ts";
import { MemoryLog } from "../memory/log.ts";
import { SqliteAllocationStore } from "./allocation-store.ts";
import { SqliteObjectStore } from "./object-store.ts";
import { SqlitePoolStore } from "./pool-store.ts";
import { SqliteQuotaStore } from "./quota-store.ts";
import { createSchema, hasSchema, schemaVersion } from "./schema.ts";
import { openStateFile, type StateFile } from "./state-file.ts";

const log = new MemoryLog();

describe("a state file", () => {
  it("is made with its folders, and nothing else is left there", (t) => {
    const path = join(aFolder(t), "a", "b", "state.db");
    openStateFile(path).close();
    assert.deepEqual(readdirSync(dirname(path)), ["state.db"]);
  });

  it("keeps records, Pools and their status, and never gives a version twice, across openings", async (t) => {
    const path = join(aFolder(t), "state.db");
    const first = openStateFile(path);
    const { records, pools } = storesOf(first);
    const kept = await records.create(anAllocation({ ip: "fd00::2" }));
    const pool = await pools.write(aPool({ size: 3 }));
    const gone = await records.create(anAllocation());
    assert.ok(kept.kind === "created" && gone.kind === "created" && pool.kind === "written");
    const condition = { isReady: true, reason: "Ready", message: "" } as const;
    const status = { allocated: 1, used: 0, condition };
    await records.remove(gone.allocation);
    await pools.writeStatus(pool.pool, status);
    const shown = pools.all();
    first.close();

    const second = openStateFile(path);
    t.after(() => second.close());
    const again = storesOf(second);
    assert.deepEqual(await again.records.list(), [kept.allocation]);
    assert.deepEqual(again.pools.all(), shown);
    assert.deepEqual(again.pools.status(pool.pool), status);
    const created = await again.records.create(anAllocation());
    assert.ok(created.kind === "created");
    assert.ok(Number(created.allocation.version) > Number(gone.allocation.version));
    assert.ok(Number(created.allocation.version) > Number(shown[0]?.version));
  });

  it("is refused to this process while it has it open, by whatever name, and stays locked by that", async (t) => {
    const folder = aFolder(t);
    const path = join(folder, "state.db");
    const file = openStateFile(path);
    t.after(() => file.close());
    refuses(path, "STATE_FILE_IN_USE", /this process has it open/);
    refuses(
      join(folder, "..", path.split("/").at(-2) ?? "", "state.db"),
      "STATE_FILE_IN_USE",
      /open/,
    );
    // A lock of POSIX would be gone if the refused opening had looked into the file.
    assert.match(
      await answerOfOpening(t, path),
      /^STATE_FILE_IN_USE .*another process has it open/,
    );
  });

  it("is refused while another process has it open, and free as soon as that one is killed", async (t) => {
    const path = join(aFolder(t), "state.db");
    const child = startHolder(t, path);
    assert.equal(await firstLineOf(child), "open");
    refuses(path, "STATE_FILE_IN_USE", /another process has it open; stop that program first/);
    child.kill("SIGKILL");
    await once(child, "exit");
    const file = openStateFile(path);
    t.after(() => file.close());
    assert.equal((await storesOf(file).records.list()).length, 1);
  });

  it("is opened by exactly one of two processes that start at the same time on an empty folder", async (t) => {
    const path = join(aFolder(t), "state.db");
    const children = [startHolder(t, path), startHolder(t, path)];
    const answers = await Promise.all(children.map(firstLineOf));
    assert.equal(answers.filter((answer) => answer === "open").length, 1, answers.join("; "));
    assert.equal(answers.filter((answer) => answer.startsWith("STATE_FILE_IN_USE")).length, 1);
  });

  it("writes ahead to a log and waits for the disk in every commit", (t) => {
    const file = openStateFile(join(aFolder(t), "state.db"));
    t.after(() => file.close());
    const valueOf = (pragma: string) =>
      Object.values(file.prepare(`PRAGMA ${pragma}`).get() ?? {})[0];
    assert.equal(valueOf("journal_mode"), "wal");
    // https://www.sqlite.org/pragma.html#pragma_synchronous: 2 is FULL, with which each commit syncs the log.
    assert.equal(valueOf("synchronous"), 2);
    assert.equal(valueOf("locking_mode"), "exclusive");
  });

  it("is opened beside an index of its log that was left over, and removes that", (t) => {
    const path = aStateFile(t);
    writeFileSync(`${path}-shm`, "left over");
    openStateFile(path).close();
    assert.ok(!existsSync(`${path}-shm`));
  });

  it("rejects with STOPPED what is asked after it was closed, and answers what was asked before", async (t) => {
    const file = openStateFile(join(aFolder(t), "state.db"));
    const { records } = storesOf(file);
    const creating = records.create(anAllocation());
    file.close();
    file.close();
    assert.equal((await creating).kind, "created");
    for (const asked of [() => records.create(anAllocation()), () => records.list()]) {
      await assert.rejects(
        asked,
        (error) => error instanceof WorldError && error.code === "STOPPED",
      );
    }
  });
});

describe("a file that is refused as state file stays as it is byte for byte:", () => {
  const cases: readonly {
    readonly what: string;
    readonly make: (path: string) => void;
    readonly says: RegExp;
  }[] = [
    {
      what: "a file that is no SQLite file",
      make: (path) => writeFileSync(path, "subnets: 10.0.0.0/8\n".repeat(500)),
      says: /it is no SQLite file; give another path, or move it away to begin with nothing/,
    },
    {
      what: "a file that is too short for a header",
      make: (path) => writeFileSync(path, "SQLite format 3\0"),
      says: /it is no SQLite file/,
    },
    {
      what: "an empty file",
      make: (path) => writeFileSync(path, ""),
      says: /it is empty, which a state file never is.*restore a copy/,
    },
    {
      what: "an SQLite file of another program",
      make: (path) => executeOn(path, "CREATE TABLE bookmarks (url TEXT)"),
      says: /SQLite file of another program \(application id 0, not \d+\); give another path/,
    },
    {
      what: "an SQLite file of another program with records in its log",
      make: (path) =>
        snapshotWithLog(path, "PRAGMA application_id = 7; CREATE TABLE bookmarks (url TEXT)"),
      says: /application id 7/,
    },
    {
      what: "a file of a newer program",
      make: (path) => executeOn(aStateFileAt(path), "PRAGMA user_version = 3"),
      says: /written by a newer program \(schema version 3, this program knows 2\); use that program/,
    },
    {
      what: "a file of a newer program with records in its log",
      make: (path) => snapshotWithLog(aStateFileAt(path), "PRAGMA user_version = 4"),
      says: /schema version 4/,
    },
    {
      what: "a file without schema version",
      make: (path) => executeOn(aStateFileAt(path), "PRAGMA user_version = 0"),
      says: /damaged \(schema version 0\)/,
    },
    {
      what: "a file with other tables",
      make: (path) => executeOn(aStateFileAt(path), "ALTER TABLE pool ADD COLUMN colour TEXT"),
      says: /damaged \(its tables are not those of schema version 2\)/,
    },
    {
      what: "a file without the counter of versions",
      make: (path) => executeOn(aStateFileAt(path), "DELETE FROM state"),
      says: /damaged \(its last version undefined/,
    },
    {
      what: "a file whose counter of versions went back",
      make: (path) => executeOn(aStateFileAt(path), "UPDATE state SET last_version = 0"),
      says: /damaged \(its last version 0 is below that of a record\)/,
    },
    {
      what: "a file with a page of zeros",
      make: (path) => overwrite(aStateFileAt(path), 4096, Buffer.alloc(4096)),
      says: /damaged \(.*restore a copy, or move it and its -wal away together/,
    },
    {
      what: "a file with random bytes behind its header",
      make: (path) => overwrite(aStateFileAt(path), 100, Buffer.alloc(3000, 0xa7)),
      says: /damaged \(/,
    },
    {
      what: "a file that was cut off",
      make: (path) => truncateSync(aStateFileAt(path), 4096 * 2),
      says: /damaged \(/,
    },
    {
      what: "a file with a row that no store writes",
      make: (path) =>
        executeOn(
          aStateFileAt(path),
          "PRAGMA ignore_check_constraints = ON; UPDATE allocation SET policy = 'sometimes'",
        ),
      says: /damaged \(rows that this program does not write: 1 in allocation/,
    },
    {
      what: "a log whose file is missing",
      make: (path) => writeFileSync(`${path}-wal`, "records"),
      says: /it is missing, but .*state\.db-wal, which belongs to it, is there; restore the file/,
    },
    { what: "a folder", make: (path) => mkdirSync(path), says: /it is no file; correct the path/ },
  ];
  for (const { what, make, says } of cases) {
    it(what, (t) => {
      const path = join(aFolder(t), "state.db");
      make(path);
      const before = contentOf(dirname(path));
      refuses(path, "STATE_FILE_UNUSABLE", says);
      assert.deepEqual(contentOf(dirname(path)), before);
    });
  }

  it("a damaged file whose records are still in the log", async (t) => {
    const path = join(aFolder(t), "state.db");
    const child = startHolder(t, path);
    assert.equal(await firstLineOf(child), "open");
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.ok(readFileSync(`${path}-wal`).length > 0);
    // The page of the table `state`, which the log does not replace entirely.
    overwrite(path, 4096, Buffer.alloc(readFileSync(path).length - 4096, 0xa7));
    const before = contentOf(dirname(path));
    refuses(path, "STATE_FILE_UNUSABLE", /damaged/);
    assert.deepEqual(contentOf(dirname(path)), before);
  });

  it("one that may not be written, or whose folder may not", (t) => {
    const path = aStateFile(t);
    const folder = dirname(path);
    for (const [protectedPath, mode] of [
      [path, 0o444],
      [folder, 0o555],
    ] as const) {
      chmodSync(folder, 0o777);
      chmodSync(path, 0o666);
      chmodSync(protectedPath, mode);
      const before = contentOf(folder);
      asOrdinaryUser(() => {
        refuses(
          path,
          "STATE_FILE_UNUSABLE",
          /it cannot be (read and written|opened) .*permissions of file and folder/,
        );
      });
      assert.deepEqual(contentOf(folder), before);
    }
    chmodSync(folder, 0o755);
  });
});

describe("where no state file can be made", () => {
  it("a folder that may not be written is named", (t) => {
    const folder = aFolder(t);
    chmodSync(folder, 0o555);
    asOrdinaryUser(() => {
      refuses(join(folder, "sub", "state.db"), "STATE_FILE_UNUSABLE", /it cannot be created .*sub/);
    });
    chmodSync(folder, 0o755);
  });

  it("a file in the place of a folder is named", (t) => {
    const file = join(aFolder(t), "occupied");
    writeFileSync(file, "");
    refuses(
      join(file, "state.db"),
      "STATE_FILE_UNUSABLE",
      /it cannot be .*occupied.*correct the path/,
    );
  });
});

describe("a state file of schema version 1", () => {
  function aFileOfVersion1(t: TestContext): string {
    const path = join(aFolder(t), "state.db");
    const database = new DatabaseSync(path);
    createSchema(database, 1);
    database.exec(
      `INSERT INTO allocation VALUES (x'040a004602', 'pool__blue_', 0, NULL, NULL, 'never', '', 'n1', '', 1000, 0, 3);
       INSERT INTO pool VALUES ('kube-system', 'blue', 'uid-blue', 4, 1, 500, 4, 2, 1, 0, 'NotEnoughAddresses', 'two');
       INSERT INTO object (kind, name, content) VALUES ('node', 'n1', '{}');
       UPDATE state SET last_version = 4`,
    );
    database.close();
    return path;
  }

  it("is brought along with every record, Pool and object, once", async (t) => {
    const path = aFileOfVersion1(t);
    for (const _ of ["upgraded", "opened again"]) {
      const file = openStateFile(path);
      const { records, pools } = storesOf(file);
      assert.deepEqual(await records.list(), [
        anAllocation({
          ip: "10.0.70.2",
          owner: { kind: "pool", pool: "blue" },
          policy: "never",
          lastNodeName: "n1",
          updatedAtMs: 1000,
          version: "3",
        }),
      ]);
      const [pool] = pools.all();
      assert.deepEqual(
        [pool?.name, pool?.size, pool?.preAllocate, pool?.version, pool?.reserveTtl],
        ["blue", 4, true, "4", undefined],
      );
      assert.equal(pool && pools.status(pool)?.condition.message, "two");
      assert.deepEqual(new SqliteQuotaStore(file).all(), []);
      assert.deepEqual(
        new SqliteObjectStore(file).list().map(({ name }) => name),
        ["n1"],
      );
      file.close();
    }
    const database = new DatabaseSync(path, { readOnly: true });
    assert.equal(database.prepare("PRAGMA user_version").get()?.["user_version"], schemaVersion);
    assert.equal(hasSchema(database, schemaVersion), true);
    database.close();
  });

  it("takes times of reservation and quotas afterwards, and keeps them", async (t) => {
    const path = aFileOfVersion1(t);
    const first = openStateFile(path);
    const [before] = await storesOf(first).records.list();
    assert.ok(before !== undefined);
    const said = { reserveTtl: 5_000, idleSinceMs: 10, idleWarnedMs: 20 };
    const written = await storesOf(first).records.update({ ...before, ...said });
    assert.equal(written.kind, "updated");
    const quotas = new SqliteQuotaStore(first);
    const quota = { name: "team-a", uid: "", namespaces: ["a"], limit: 3, version: "" };
    assert.equal((await quotas.write(quota)).kind, "written");
    first.close();
    const second = openStateFile(path);
    t.after(() => second.close());
    const [after] = await storesOf(second).records.list();
    assert.deepEqual(after, { ...before, ...said, version: after?.version });
    assert.deepEqual(
      new SqliteQuotaStore(second)
        .all()
        .map(({ name, namespaces, limit }) => [name, namespaces, limit]),
      [["team-a", ["a"], 3]],
    );
  });

  it("is refused and left as it is when it is damaged", (t) => {
    const path = aFileOfVersion1(t);
    executeOn(path, "DROP TABLE pool");
    const before = contentOf(dirname(path));
    refuses(path, "STATE_FILE_UNUSABLE", /its tables are not those of schema version 1/);
    assert.deepEqual(contentOf(dirname(path)), before);
  });
});

describe("a state file that is taken away while it is open", () => {
  for (const [what, takeAway] of [
    ["moved", (path: string) => renameSync(path, `${path}.away`)],
    ["removed with its log", (path: string) => rmSync(dirname(path), { recursive: true })],
    ["without its log", (path: string) => rmSync(`${path}-wal`)],
    [
      "replaced by a copy",
      (path: string) => {
        copyFileSync(path, `${path}.copy`);
        renameSync(`${path}.copy`, path);
      },
    ],
  ] as const) {
    it(`${what}: a write rejects as possibly happened, and nothing is read or written after that`, async (t) => {
      const path = join(aFolder(t), "state", "state.db");
      const file = openStateFile(path);
      t.after(() => file.close());
      const { records } = storesOf(file);
      assert.equal((await records.create(anAllocation())).kind, "created");
      takeAway(path);
      await failsWith(records.create(anAllocation({ ip: "10.0.70.3" })), true);
      await failsWith(records.create(anAllocation({ ip: "10.0.70.4" })), false);
      await failsWith(records.read(ip("10.0.70.2")), false);
      assert.match(file.failure ?? "", /moved or removed.*start the program again/);
    });
  }
});

/** A folder of its own that is gone after the test. */
function aFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-state-"));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function aStateFile(t: TestContext): string {
  return aStateFileAt(join(aFolder(t), "state.db"));
}

/** A whole state file with the record of 10.0.70.2, not open. */
function aStateFileAt(path: string): string {
  openStateFile(path).close();
  executeOn(
    path,
    `INSERT INTO allocation VALUES (x'040a004602', 'pool__p_', 0, NULL, NULL, 'never', '', '', '', 1, 0, NULL, NULL, NULL, 1);
     UPDATE state SET last_version = 1`,
  );
  return path;
}

function executeOn(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

/** Changes a file in such a way that the change is only in its log, as after the end of a killed program. */
function snapshotWithLog(path: string, sql: string): void {
  const folder = mkdtempSync(join(dirname(path), "source-"));
  const source = join(folder, "source.db");
  if (existsSync(path)) renameSync(path, source);
  else executeOn(source, "PRAGMA application_id = 7");
  const database = new DatabaseSync(source);
  database.exec(`PRAGMA journal_mode = WAL; ${sql}`);
  copyFileSync(source, path);
  copyFileSync(`${source}-wal`, `${path}-wal`);
  database.close();
  rmSync(folder, { recursive: true });
}

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const content = readFileSync(path);
  bytes.copy(content, offset);
  writeFileSync(path, content);
}

/** Every file of a folder with its bytes. */
function contentOf(folder: string): ReadonlyMap<string, string> {
  const names = readdirSync(folder, { withFileTypes: true }).toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  );
  return new Map(
    names.map((entry) => [
      entry.name,
      entry.isFile() ? readFileSync(join(folder, entry.name)).toString("base64") : "no file",
    ]),
  );
}

function refuses(path: string, code: WorldErrorCode, says: RegExp): void {
  assert.throws(
    () => openStateFile(path),
    (error) => {
      assert.ok(error instanceof WorldError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, says);
      assert.match(error.message, /open state file \/.*state\.db: /);
      return true;
    },
  );
}

async function failsWith(asked: Promise<unknown>, mayHaveHappened: boolean): Promise<void> {
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof WorldError, String(error));
    assert.equal(error.code, "STATE_FILE_FAILED");
    assert.equal(error.mayHaveHappened, mayHaveHappened, error.message);
    return true;
  });
}

/** Permissions do not bind root: as root the work is done as `nobody`. It must be done when it returns. */
function asOrdinaryUser(work: () => void): void {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

function storesOf(file: StateFile) {
  return {
    records: new SqliteAllocationStore({ file, log }),
    pools: new SqlitePoolStore({ file, log, clock: new ManualClock() }),
  };
}

/** A process that opens the file, writes one record and waits; it prints "open", or why it cannot. */
function startHolder(t: TestContext, path: string): ChildProcess {
  const program = `
    import { SqliteAllocationStore } from "${import.meta.resolve("./allocation-store.ts")}";
    import { openStateFile } from "${import.meta.resolve("./state-file.ts")}";
    import { anAllocation } from "${import.meta.resolve("../../../test/builders.ts")}";
    try {
      const file = openStateFile(process.env.STATE_FILE);
      await new SqliteAllocationStore({ file, log: undefined }).create(anAllocation());
      console.log("open");
      process.stdin.on("end", () => process.exit()).resume();
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    env: { ...process.env, STATE_FILE: path },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

async function firstLineOf(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  return text.slice(0, text.indexOf("\n"));
}

async function answerOfOpening(t: TestContext, path: string): Promise<string> {
  return firstLineOf(startHolder(t, path));
}
