// AllocationStore on the table `allocation` of a state file. Keeps no copy of the records.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { Allocation } from "../../core/allocation.ts";
import { withIdleFields } from "../../core/allocation.ts";
import { type Ip, ipFromNumber, ipToNumber } from "../../core/ip.ts";
import type { Owner } from "../../core/owner.ts";
import type {
  AllocationEvent,
  AllocationStore,
  CreateOutcome,
  RemoveOutcome,
  UpdateOutcome,
} from "../../ports/allocation-store.ts";
import type { Log } from "../../ports/log.ts";
import { formatOwnerKey, parseOwnerKey } from "../../wire/owner-key.ts";
import type { StateFile } from "./state-file.ts";
import { ttlColumn, ttlOfColumn } from "./ttl-column.ts";

/** Records that are read at a time, so that reading all of them does not hold up the event loop. */
const pageSize = 1_000;

/** A row as STRICT and the checks of the table promise it. */
type AllocationRow = {
  readonly ip: Uint8Array;
  readonly owner_key: string;
  readonly is_admin: number;
  readonly workload_kind: string | null;
  readonly api_group: string | null;
  readonly policy: Allocation["policy"];
  readonly node: string;
  readonly last_node: string;
  readonly pod_uid: string;
  readonly updated_at_ms: number;
  readonly is_draining: number;
  readonly reserve_ttl_ms: number | null;
  readonly idle_since_ms: number | null;
  readonly idle_warned_ms: number | null;
  readonly version: number;
};

/** Records in a state file. Two stores on one file are two programs on one API server. */
export class SqliteAllocationStore implements AllocationStore {
  readonly #file: StateFile;
  readonly #log: Log;
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(options: { readonly file: StateFile; readonly log: Log }) {
    this.#file = options.file;
    this.#log = options.log;
    this.#statements = prepareStatements(options.file);
  }

  async list(): Promise<readonly Allocation[]> {
    const found = new Map<Ip, Allocation>();
    // What changes behind the place where we read is followed, so that the list is one state and not a mixture.
    const stop = this.#file.allocationEvents.subscribe((event) => {
      if (event.kind === "changed") found.set(event.allocation.ip, event.allocation);
      if (event.kind === "removed") found.delete(event.ip);
    });
    try {
      let last: Uint8Array = new Uint8Array();
      for (;;) {
        const after = last;
        const rows = this.#file.read("list records", () =>
          this.#statements.page.all(after, pageSize),
        );
        for (const row of rows as AllocationRow[]) {
          const allocation = allocationOf(row);
          found.set(allocation.ip, allocation);
          last = row.ip;
        }
        if (rows.length < pageSize) return [...found.values()];
        await nextTurn();
      }
    } finally {
      stop();
    }
  }

  async read(ip: Ip): Promise<Allocation | undefined> {
    const row = this.#file.read(`read record ${ip}`, () => this.#statements.read.get(ipKey(ip)));
    return row === undefined ? undefined : allocationOf(row as AllocationRow);
  }

  create(allocation: Allocation): Promise<CreateOutcome> {
    return this.#file.write<CreateOutcome>(`create record ${allocation.ip}`, (transaction) => {
      const key = ipKey(allocation.ip);
      if (this.#statements.version.get(key) !== undefined) return { kind: "exists" };
      const version = transaction.nextVersion();
      this.#statements.create.run(...columnsOf(allocation, version), key);
      const created = asKept(allocation, version);
      transaction.afterCommit(() => this.#told({ kind: "changed", allocation: created }));
      return { kind: "created", allocation: created };
    });
  }

  update(allocation: Allocation): Promise<UpdateOutcome> {
    return this.#file.write<UpdateOutcome>(`update record ${allocation.ip}`, (transaction) => {
      const key = ipKey(allocation.ip);
      const obstacle = this.#obstacle(key, allocation.version);
      if (obstacle !== undefined) return { kind: obstacle };
      const version = transaction.nextVersion();
      this.#statements.update.run(...columnsOf(allocation, version), key);
      const updated = asKept(allocation, version);
      transaction.afterCommit(() => this.#told({ kind: "changed", allocation: updated }));
      return { kind: "updated", allocation: updated };
    });
  }

  remove(allocation: Allocation): Promise<RemoveOutcome> {
    const { ip } = allocation;
    return this.#file.write<RemoveOutcome>(`remove record ${ip}`, (transaction) => {
      const key = ipKey(ip);
      const obstacle = this.#obstacle(key, allocation.version);
      if (obstacle !== undefined) return { kind: obstacle };
      this.#statements.remove.run(key);
      transaction.afterCommit(() => this.#told({ kind: "removed", ip }));
      return { kind: "removed" };
    });
  }

  watch(listener: (event: AllocationEvent) => void): () => void {
    return this.#file.allocationEvents.subscribe((event) => {
      try {
        listener(event);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { event: event.kind }, error);
      }
    });
  }

  #obstacle(key: Uint8Array, version: string): "missing" | "conflict" | undefined {
    const row = this.#statements.version.get(key);
    if (row === undefined) return "missing";
    return String(row["version"]) === version ? undefined : "conflict";
  }

  #told(event: AllocationEvent): void {
    this.#file.allocationEvents.emit(event);
  }
}

/** What a row can say of the allocation: the tables have no place for what this release does not know, and those of a newer one are not read. */
function asKept(allocation: Allocation, version: number): Allocation {
  const { foreignText: _, ...kept } = allocation;
  return { ...kept, version: String(version) };
}

/** Columns in the order of {@link columnsOf}; the address comes last, so that the same values fit an update. */
const columns = [
  "owner_key",
  "is_admin",
  "workload_kind",
  "api_group",
  "policy",
  "node",
  "last_node",
  "pod_uid",
  "updated_at_ms",
  "is_draining",
  "reserve_ttl_ms",
  "idle_since_ms",
  "idle_warned_ms",
  "version",
];

function prepareStatements(file: StateFile) {
  const names = columns.join(", ");
  const placeholders = columns.map(() => "?").join(", ");
  const assignments = columns.map((column) => `${column} = ?`).join(", ");
  return {
    page: file.prepare(`SELECT ip, ${names} FROM allocation WHERE ip > ? ORDER BY ip LIMIT ?`),
    read: file.prepare(`SELECT ip, ${names} FROM allocation WHERE ip = ?`),
    version: file.prepare("SELECT version FROM allocation WHERE ip = ?"),
    create: file.prepare(`INSERT INTO allocation (${names}, ip) VALUES (${placeholders}, ?)`),
    update: file.prepare(`UPDATE allocation SET ${assignments} WHERE ip = ?`),
    remove: file.prepare("DELETE FROM allocation WHERE ip = ?"),
  };
}

function columnsOf(allocation: Allocation, version: number): (string | number | null)[] {
  const { owner } = allocation;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  const custom = workload?.type === "custom" ? workload : undefined;
  return [
    formatOwnerKey(owner),
    owner.kind === "admin" ? 1 : 0,
    custom?.kind ?? null,
    custom?.apiGroup ?? null,
    allocation.policy,
    allocation.nodeName,
    allocation.lastNodeName,
    allocation.podUid,
    allocation.updatedAtMs,
    allocation.isDraining ? 1 : 0,
    ttlColumn(allocation.reserveTtl),
    allocation.idleSinceMs ?? null,
    allocation.idleWarnedMs ?? null,
    version,
  ];
}

function allocationOf(row: AllocationRow): Allocation {
  const allocation: Allocation = {
    ip: ipOfKey(row.ip),
    owner: ownerOf(row),
    policy: row.policy,
    nodeName: row.node,
    lastNodeName: row.last_node,
    podUid: row.pod_uid,
    updatedAtMs: row.updated_at_ms,
    isDraining: row.is_draining === 1,
    version: String(row.version),
  };
  return withIdleFields(allocation, {
    reserveTtl: ttlOfColumn(row.reserve_ttl_ms),
    idleSinceMs: row.idle_since_ms ?? undefined,
    idleWarnedMs: row.idle_warned_ms ?? undefined,
  });
}

/** The key says whose the address is; kind and group only say which custom workload, where the key leaves that open. */
function ownerOf(row: AllocationRow): Owner {
  if (row.is_admin === 1) return { kind: "admin", key: row.owner_key };
  const owner = parseOwnerKey(row.owner_key);
  if (row.workload_kind === null) return owner;
  if (owner.kind !== "pod" && owner.kind !== "workload") return owner;
  if (owner.workload === undefined) return owner;
  return {
    ...owner,
    workload: {
      ...owner.workload,
      type: "custom",
      kind: row.workload_kind,
      apiGroup: row.api_group ?? undefined,
    },
  };
}

/** An address as bytes whose order is the numeric order, IPv4 before IPv6. */
function ipKey(ip: Ip): Uint8Array {
  const value = ipToNumber(ip);
  if (typeof value === "number") {
    const key = new Uint8Array(5);
    const view = new DataView(key.buffer);
    view.setUint8(0, 4);
    view.setUint32(1, value);
    return key;
  }
  const key = new Uint8Array(17);
  const view = new DataView(key.buffer);
  view.setUint8(0, 6);
  view.setBigUint64(1, value >> 64n);
  view.setBigUint64(9, value & 0xffff_ffff_ffff_ffffn);
  return key;
}

function ipOfKey(key: Uint8Array): Ip {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  if (view.getUint8(0) === 4) return ipFromNumber(view.getUint32(1));
  return ipFromNumber((view.getBigUint64(1) << 64n) | view.getBigUint64(9));
}
