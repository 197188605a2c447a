// The one database file of a state folder: opened, locked and checked here, and never overwritten when it is not ours or not whole.
// What its rows mean is said by the stores.

import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  realpathSync,
  rmSync,
  type Stats,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { AllocationEvent } from "../../ports/allocation-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { ChangeFeed } from "./change-feed.ts";
import { CommitQueue, type Transaction } from "./commit-queue.ts";
import {
  applicationId,
  createSchema,
  hasSchema,
  highestRowVersion,
  isKnownVersion,
  schemaVersion,
  strangeRows,
  upgradeSchema,
  versionOf,
} from "./schema.ts";
import { isProgramError, sqliteCode, sqliteCodeOf, sqliteReason } from "./sqlite-error.ts";

/** The first 16 bytes of a database and the place of its application id (https://www.sqlite.org/fileformat.html#the_database_header). */
const magic = "SQLite format 3\0";
const headerBytes = 100;
const applicationIdOffset = 68;

/**
 * Files that this process has open, as device and inode. SQLite's locks are POSIX locks, which a process loses as soon as it closes any
 * descriptor of the file: so that a second opening must be refused before it looks into the file.
 */
const openFiles = new Set<string>();

/**
 * Opens a state file; creates folder and file when neither it nor anything that belongs to it is there. The file stays locked until it is
 * closed or the process ends, in whatever way. While it is open nothing else in this process may open the same file, not even to read.
 * @param path of the database file; SQLite keeps `-wal` beside it
 * @throws WorldError STATE_FILE_UNUSABLE when it is foreign, damaged, of a newer program or not accessible, and then nothing in it was
 * changed; STATE_FILE_IN_USE when a process has it open
 */
export function openStateFile(path: string): StateFile {
  const wanted = resolve(path);
  const tried = `open state file ${wanted}`;
  if (!existsSync(wanted)) createStateFile(wanted, tried);
  const { file, stats } = inspectFile(wanted, tried);
  const id = fileId(stats);
  if (openFiles.has(id)) throw inUse(tried, "this process");
  inspectHeader(file, stats, tried);
  inspectContent(file, tried);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    lockAndTune(database, file);
    // What was looked at above is the whole file, and with the lock held it stays that.
    upgradeSchema(database);
    const opened = new StateFile({ path: file, id, database });
    openFiles.add(id);
    return opened;
  } catch (error) {
    database?.close();
    throw openingError(tried, error);
  }
}

/** An open state file. The stores share it: one transaction holds writes of all of them. */
export class StateFile {
  readonly path: string;
  /** Changes of records, told when they are durable. */
  readonly allocationEvents = new ChangeFeed<AllocationEvent>();
  /** Names of pools that changed, told when that is durable. */
  readonly poolEvents = new ChangeFeed<string>();
  readonly #id: string;
  readonly #database: DatabaseSync;
  readonly #queue: CommitQueue;
  #poolWriteCount = 0;
  #isClosed = false;

  /** Use {@link openStateFile}. */
  constructor(options: {
    readonly path: string;
    readonly id: string;
    readonly database: DatabaseSync;
  }) {
    const { path, id, database } = options;
    this.path = path;
    this.#id = id;
    this.#database = database;
    this.#queue = new CommitQueue({ database, path, lossProblem: () => lossProblem(path, id) });
  }

  /** Why nothing can be read or written until the program starts again; undefined while all is well. For health checks. */
  get failure(): string | undefined {
    return this.#queue.failure;
  }

  /** Transactions committed so far; each may hold many writes. */
  get commitCount(): number {
    return this.#queue.commitCount;
  }

  /** How often pools were written since the file was opened: who kept a copy of them sees whether it is old. */
  get poolWriteCount(): number {
    return this.#poolWriteCount;
  }

  /** To be called when a write of a pool is durable. @param poolName undefined when that is no news for those who watch */
  poolWritten(poolName: string | undefined): void {
    this.#poolWriteCount += 1;
    if (poolName !== undefined) this.poolEvents.emit(poolName);
  }

  /** A statement for use in `apply` and `query`. */
  prepare(sql: string): StatementSync {
    return this.#database.prepare(sql);
  }

  /** As {@link CommitQueue.write}. */
  write<Answer>(tried: string, apply: (transaction: Transaction) => Answer): Promise<Answer> {
    return this.#queue.write(tried, apply);
  }

  /**
   * Runs `query` at once; it sees what is durable and nothing else.
   * @throws WorldError STATE_FILE_FAILED or STOPPED
   */
  read<Answer>(tried: string, query: () => Answer): Answer {
    this.#queue.checkReadable(tried);
    try {
      return query();
    } catch (error) {
      if (isProgramError(error)) throw error;
      throw new WorldError("STATE_FILE_FAILED", {
        tried,
        message: `state file ${this.path} cannot be read (${sqliteReason(error)}); look at the disk, and restore a copy if it is damaged`,
        cause: error,
      });
    }
  }

  /** Writes what waits and gives the file free; whatever is asked of it later rejects with STOPPED. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.close();
    this.#database.close();
    openFiles.delete(this.#id);
  }
}

/**
 * Makes a whole file under another name and gives it its name in one step, so that a crash leaves either no file or a whole one, and so
 * that of two processes one wins and none overwrites.
 */
function createStateFile(path: string, tried: string): void {
  const leftover = logsOf(path).find((log) => existsSync(log));
  if (leftover !== undefined) {
    throw unusable(
      tried,
      `it is missing, but ${leftover}, which belongs to it, is there; restore the file beside it, or move ${leftover} away to begin with nothing`,
    );
  }
  const folder = dirname(path);
  let workFolder: string | undefined;
  try {
    mkdirSync(folder, { recursive: true });
    workFolder = mkdtempSync(join(folder, ".new-state-"));
    const made = join(workFolder, basename(path));
    const database = new DatabaseSync(made);
    try {
      database.exec("PRAGMA synchronous = FULL");
      createSchema(database);
      database.exec("PRAGMA journal_mode = WAL");
    } finally {
      database.close();
    }
    linkSync(made, path);
    syncFolder(folder);
    syncFolder(dirname(folder));
  } catch (error) {
    // Somebody else made it meanwhile: whose it is will be seen when it is opened.
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) {
      throw unusable(
        tried,
        `it cannot be created (${sqliteReason(error)}); correct the path, or the space and permissions of ${folder}`,
        error,
      );
    }
  } finally {
    if (workFolder !== undefined) rmSync(workFolder, { recursive: true, force: true });
  }
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The file behind symbolic links, beside which SQLite keeps its log. */
function inspectFile(
  path: string,
  tried: string,
): { readonly file: string; readonly stats: Stats } {
  try {
    const file = realpathSync(path);
    const stats = statSync(file);
    if (!stats.isFile()) throw refused(tried, "it is no file; correct the path");
    accessSync(dirname(file), constants.W_OK | constants.X_OK);
    return { file, stats };
  } catch (error) {
    if (error instanceof WorldError) throw error;
    throw notAccessible(tried, error);
  }
}

function notAccessible(tried: string, error: unknown): WorldError {
  return refused(
    tried,
    `it cannot be read and written (${sqliteReason(error)}); correct the path or the permissions of file and folder`,
    error,
  );
}

/** Looks at the header without SQLite, which may already write (roll back, recover) where it only looks. */
function inspectHeader(file: string, stats: Stats, tried: string): void {
  if (stats.size === 0) {
    throw refused(
      tried,
      "it is empty, which a state file never is: its content may have been lost; restore a copy, or move it (and what begins with its name) away to begin with nothing",
    );
  }
  const header = Buffer.alloc(headerBytes);
  const length = readHeader(file, header, tried);
  if (length < headerBytes || header.toString("latin1", 0, magic.length) !== magic) {
    throw refused(
      tried,
      "it is no SQLite file; give another path, or move it away to begin with nothing",
    );
  }
  const found = header.readUInt32BE(applicationIdOffset);
  if (found !== applicationId) {
    throw refused(
      tried,
      `it is the SQLite file of another program (application id ${found}, not ${applicationId}); give another path, or move it away to begin with nothing`,
    );
  }
}

function readHeader(file: string, header: Buffer, tried: string): number {
  let descriptor: number | undefined;
  try {
    // To read and write, so that missing permissions show here and not when the first record is written.
    descriptor = openSync(file, "r+");
    return readSync(descriptor, header, 0, headerBytes, 0);
  } catch (error) {
    throw notAccessible(tried, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** Checks version, tables and pages through a connection that cannot write, so that a file that is refused stays as it is. */
function inspectContent(file: string, tried: string): void {
  const logsBefore = logsOf(file).filter((log) => existsSync(log));
  let database: DatabaseSync | undefined;
  let refusal: WorldError | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    // In a transaction the lock is kept, so that nobody begins to write while we look.
    database.exec("BEGIN");
    const problem = contentProblem(database);
    if (problem !== undefined) refusal = refused(tried, problem);
  } catch (error) {
    refusal = openingError(tried, error);
  }
  // While the lock keeps writers out, a log that is empty is one that this connection made.
  if (refusal !== undefined && database?.isTransaction === true) removeNewLogs(file, logsBefore);
  database?.close();
  if (refusal !== undefined) throw refusal;
}

function removeNewLogs(file: string, logsBefore: readonly string[]): void {
  for (const log of logsOf(file)) {
    const isIndex = log.endsWith("-shm");
    if (logsBefore.includes(log) || !existsSync(log)) continue;
    if (isIndex || statSync(log).size === 0) rmSync(log);
  }
}

function contentProblem(database: DatabaseSync): string | undefined {
  const version = versionOf(database);
  if (version > schemaVersion) {
    return `it was written by a newer program (schema version ${version}, this program knows ${schemaVersion}); use that program, or restore a copy from before`;
  }
  const problems = database
    .prepare("PRAGMA quick_check(3)")
    .all()
    .map((row) => String(row["quick_check"]));
  if (problems.length !== 1 || problems[0] !== "ok") return damaged(problems.join("; "));
  if (!isKnownVersion(version)) return damaged(`schema version ${version}`);
  if (!hasSchema(database, version)) {
    return damaged(`its tables are not those of schema version ${version}`);
  }
  const strange = strangeRows(database, version);
  if (strange !== undefined) return damaged(`rows that this program does not write: ${strange}`);
  const rows = database.prepare("SELECT last_version FROM state").all();
  const last = rows[0]?.["last_version"];
  if (rows.length !== 1 || Number(last) < highestRowVersion(database, version)) {
    return damaged(`its last version ${String(last)} is below that of a record`);
  }
  return undefined;
}

function damaged(what: string): string {
  return `it is damaged (${what}); restore a copy, or move it and its -wal away together to begin with nothing`;
}

/** Takes the lock that ends with the process, and sets what makes a commit durable. */
function lockAndTune(database: DatabaseSync, file: string): void {
  // Set before the first access, this keeps the lock from the first access on and the index of the log in memory
  // (https://www.sqlite.org/wal.html#use_of_wal_without_shared_memory).
  database.exec(
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA cache_size = -16000",
  );
  const mode = database.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"];
  if (mode !== "wal") throw new Error(`journal mode is ${String(mode)} and not wal`);
  database.exec("BEGIN EXCLUSIVE; COMMIT");
  // Left over from looking at the content; with the lock held nobody else uses it.
  rmSync(`${file}-shm`, { force: true });
}

/** Why what was written may be in no file of that path; undefined when file and log are there. */
function lossProblem(path: string, id: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || fileId(stats) !== id) return "the file was moved or removed";
  const log = statSync(`${path}-wal`, { throwIfNoEntry: false });
  return log === undefined ? "its -wal was moved or removed" : undefined;
}

function fileId(stats: Stats): string {
  return `${stats.dev}:${stats.ino}`;
}

/** The files that SQLite keeps beside a database. */
function logsOf(file: string): readonly string[] {
  return [`${file}-wal`, `${file}-shm`, `${file}-journal`];
}

function openingError(tried: string, error: unknown): WorldError {
  if (error instanceof WorldError) return error;
  const code = sqliteCodeOf(error);
  if (code === sqliteCode.busy) return inUse(tried, "another process", error);
  if (code === sqliteCode.corrupt || code === sqliteCode.notADatabase) {
    return refused(tried, damaged(sqliteReason(error)), error);
  }
  return refused(
    tried,
    `it cannot be opened (${sqliteReason(error)}); look at the disk, its free space and the permissions of file and folder`,
    error,
  );
}

function inUse(tried: string, byWhom: string, cause?: unknown): WorldError {
  return new WorldError("STATE_FILE_IN_USE", {
    tried,
    message: `${byWhom} has it open; stop that program first, or give each a file of its own`,
    cause,
  });
}

/** A file that is there and stays as it is. */
function refused(tried: string, problem: string, cause?: unknown): WorldError {
  return unusable(tried, `${problem} (it was left as it is)`, cause);
}

function unusable(tried: string, message: string, cause?: unknown): WorldError {
  return new WorldError("STATE_FILE_UNUSABLE", { tried, message, cause });
}
