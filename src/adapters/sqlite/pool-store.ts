// PoolStore on the table `pool` of a state file. Which of two pools of one name is in force is not decided here.

import { randomUUID } from "node:crypto";
import type { PoolFacts } from "../../core/facts.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { PoolStatus, PoolStore, PoolWriteOutcome } from "../../ports/pool-store.ts";
import type { StateFile } from "./state-file.ts";
import { ttlColumn, ttlOfColumn } from "./ttl-column.ts";

/** The columns of {@link PoolFacts} as STRICT and the checks of the table promise them. */
type PoolRow = {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly size: number | null;
  readonly pre_allocate: number;
  readonly reserve_ttl_ms: number | null;
  readonly created_at_ms: number;
  readonly version: number;
};

/** The columns of a status that was written. */
type StatusRow = {
  readonly status_allocated: number;
  readonly status_used: number;
  readonly status_is_ready: number;
  readonly status_reason: PoolStatus["condition"]["reason"];
  readonly status_message: string;
};

/** Pools in a state file. */
export class SqlitePoolStore implements PoolStore {
  readonly #file: StateFile;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #statements: ReturnType<typeof prepareStatements>;
  /** What `all` answers until a pool changes. */
  #pools: readonly PoolFacts[] = [];
  #poolsReadAt = -1;

  constructor(options: { readonly file: StateFile; readonly log: Log; readonly clock: Clock }) {
    this.#file = options.file;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#statements = prepareStatements(options.file);
  }

  all(): readonly PoolFacts[] {
    if (this.#poolsReadAt !== this.#file.poolWriteCount) {
      const rows = this.#file.read("list Pools", () => this.#statements.all.all());
      this.#pools = (rows as PoolRow[]).map(poolOf);
      this.#poolsReadAt = this.#file.poolWriteCount;
    }
    return this.#pools;
  }

  write(pool: PoolFacts): Promise<PoolWriteOutcome> {
    const { namespace, name, size = null } = pool;
    const preAllocate = pool.preAllocate ? 1 : 0;
    const ttl = ttlColumn(pool.reserveTtl);
    const isNew = pool.version === "";
    const tried = `${isNew ? "create" : "update"} Pool ${namespace}/${name}`;
    return this.#file.write<PoolWriteOutcome>(tried, (transaction) => {
      const present = this.#present(pool);
      if (present === undefined && !isNew) return { kind: "missing" };
      if (present !== undefined && present.version !== pool.version) return { kind: "conflict" };
      const version = transaction.nextVersion();
      const { uid, createdAtMs } = present ?? {
        uid: randomUUID(),
        createdAtMs: this.#clock.nowMs(),
      };
      if (present === undefined) {
        this.#statements.create.run(
          namespace,
          name,
          uid,
          size,
          preAllocate,
          ttl,
          createdAtMs,
          version,
        );
      } else {
        this.#statements.update.run(size, preAllocate, ttl, version, namespace, name);
      }
      transaction.afterCommit(() => this.#file.poolWritten(name));
      return { kind: "written", pool: { ...pool, uid, createdAtMs, version: String(version) } };
    });
  }

  remove(pool: PoolFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    const { namespace, name } = pool;
    return this.#file.write(`delete Pool ${namespace}/${name}`, (transaction) => {
      const present = this.#present(pool);
      if (present === undefined) return { kind: "missing" };
      if (present.version !== pool.version) return { kind: "conflict" };
      this.#statements.remove.run(namespace, name);
      transaction.afterCommit(() => this.#file.poolWritten(name));
      return { kind: "removed" };
    });
  }

  /** The status as it was last written; undefined while none was, and for a pool that is gone. */
  status(pool: PoolFacts): PoolStatus | undefined {
    const { namespace, name, uid } = pool;
    const tried = `read the status of Pool ${namespace}/${name}`;
    const row = this.#file.read(tried, () => this.#statements.status.get(namespace, name, uid));
    return row === undefined ? undefined : statusOf(row as StatusRow);
  }

  writeStatus(pool: PoolFacts, status: PoolStatus): Promise<void> {
    const { namespace, name, uid } = pool;
    const { isReady, reason, message } = status.condition;
    const wanted = [status.allocated, status.used, isReady ? 1 : 0, reason, message];
    return this.#file.write(`write the status of Pool ${namespace}/${name}`, (transaction) => {
      const present = this.#present(pool);
      if (present === undefined || present.uid !== uid) return;
      const row = this.#statements.status.get(namespace, name, uid) as StatusRow | undefined;
      if (row !== undefined && sameStatus(statusOf(row), status)) return;
      this.#statements.writeStatus.run(...wanted, transaction.nextVersion(), namespace, name);
      // The version changed, but that is our own doing and no news for those who watch.
      transaction.afterCommit(() => this.#file.poolWritten(undefined));
    });
  }

  watch(listener: (poolName: string) => void): () => void {
    return this.#file.poolEvents.subscribe((poolName) => {
      try {
        listener(poolName);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { pool: poolName }, error);
      }
    });
  }

  #present({ namespace, name }: PoolFacts): PoolFacts | undefined {
    const row = this.#statements.read.get(namespace, name);
    return row === undefined ? undefined : poolOf(row as PoolRow);
  }
}

function prepareStatements(file: StateFile) {
  const facts = "namespace, name, uid, size, pre_allocate, reserve_ttl_ms, created_at_ms, version";
  const status = "status_allocated, status_used, status_is_ready, status_reason, status_message";
  const assignments = status.replaceAll(/\w+/g, "$& = ?");
  return {
    all: file.prepare(`SELECT ${facts} FROM pool ORDER BY namespace, name`),
    read: file.prepare(`SELECT ${facts} FROM pool WHERE namespace = ? AND name = ?`),
    create: file.prepare(`INSERT INTO pool (${facts}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
    update: file.prepare(
      "UPDATE pool SET size = ?, pre_allocate = ?, reserve_ttl_ms = ?, version = ? WHERE namespace = ? AND name = ?",
    ),
    remove: file.prepare("DELETE FROM pool WHERE namespace = ? AND name = ?"),
    status: file.prepare(
      `SELECT ${status} FROM pool WHERE namespace = ? AND name = ? AND uid = ? AND status_reason IS NOT NULL`,
    ),
    writeStatus: file.prepare(
      `UPDATE pool SET ${assignments}, version = ? WHERE namespace = ? AND name = ?`,
    ),
  };
}

function poolOf(row: PoolRow): PoolFacts {
  const reserveTtl = ttlOfColumn(row.reserve_ttl_ms);
  return {
    name: row.name,
    namespace: row.namespace,
    uid: row.uid,
    size: row.size ?? undefined,
    preAllocate: row.pre_allocate === 1,
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
    createdAtMs: row.created_at_ms,
    version: String(row.version),
  };
}

function statusOf(row: StatusRow): PoolStatus {
  return {
    allocated: row.status_allocated,
    used: row.status_used,
    condition: {
      isReady: row.status_is_ready === 1,
      reason: row.status_reason,
      message: row.status_message,
    },
  };
}

function sameStatus(a: PoolStatus, b: PoolStatus): boolean {
  return (
    a.allocated === b.allocated &&
    a.used === b.used &&
    a.condition.isReady === b.condition.isReady &&
    a.condition.reason === b.condition.reason &&
    a.condition.message === b.condition.message
  );
}
