// The tables of a state file, and the marks by which it is known as one of ours. What a row means is said by the stores.

import { DatabaseSync } from "node:sqlite";

/** `PRAGMA application_id` of a state file: "GxIP" in ASCII. */
export const applicationId = 0x47784950;

/** `PRAGMA user_version` that this program writes and reads. A change of the tables counts it up and brings older files along. */
export const schemaVersion = 1;

/** What holds in every row, by table. The rest is said by STRICT and NOT NULL. */
const rules = {
  allocation: `(length(ip) = 5 AND substr(ip, 1, 1) = x'04' OR length(ip) = 17 AND substr(ip, 1, 1) = x'06')
    AND is_admin IN (0, 1) AND is_draining IN (0, 1) AND policy IN ('pod-delete', 'immutable', 'never')`,
  pool: `size >= 0 AND pre_allocate IN (0, 1) AND status_is_ready IN (0, 1)
    AND status_reason IN ('Ready', 'NotEnoughAddresses', 'OtherPoolInForce', 'Invalid')`,
  object: "kind <> '' AND name <> '' AND json_valid(content)",
  change: "json_valid(content)",
  state: "only_row = 1",
};

/**
 * - `allocation.ip`: 4 and the four bytes of an IPv4 address, or 6 and the sixteen of an IPv6 address: numeric order, IPv4 first
 * - `workload_kind`, `api_group`: of custom workloads only, whose owner key cannot say them
 * - `object`: what a simulated cluster is made of, in its own JSON; `place` grows with each new object and is their order
 * - `change`: who had which address when, as changes in their order; the columns are those of the tenure that ended, NULL when none did
 * - `state.last_version`: the highest version ever given, so that none is given twice, whatever was removed since
 */
const tables = `
CREATE TABLE allocation (
  ip BLOB PRIMARY KEY NOT NULL,
  owner_key TEXT NOT NULL,
  is_admin INTEGER NOT NULL,
  workload_kind TEXT,
  api_group TEXT,
  policy TEXT NOT NULL,
  node TEXT NOT NULL,
  last_node TEXT NOT NULL,
  pod_uid TEXT NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  is_draining INTEGER NOT NULL,
  version INTEGER NOT NULL,
  CHECK (${rules.allocation})
) STRICT, WITHOUT ROWID;
CREATE TABLE pool (
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  uid TEXT NOT NULL,
  size INTEGER,
  pre_allocate INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status_allocated INTEGER,
  status_used INTEGER,
  status_is_ready INTEGER,
  status_reason TEXT,
  status_message TEXT,
  PRIMARY KEY (namespace, name),
  CHECK (${rules.pool})
) STRICT, WITHOUT ROWID;
CREATE TABLE object (
  place INTEGER PRIMARY KEY NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  content TEXT NOT NULL,
  UNIQUE (kind, name),
  CHECK (${rules.object})
) STRICT;
CREATE TABLE change (
  place INTEGER PRIMARY KEY NOT NULL,
  ip TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  from_ms INTEGER,
  namespace TEXT,
  pod_name TEXT,
  app_name TEXT,
  app_type TEXT,
  content TEXT NOT NULL,
  CHECK (${rules.change})
) STRICT;
CREATE INDEX change_of_ip ON change (ip, place);
CREATE TABLE state (
  only_row INTEGER PRIMARY KEY NOT NULL,
  last_version INTEGER NOT NULL,
  CHECK (${rules.state})
) STRICT, WITHOUT ROWID;
`;

/** Makes the tables and marks of a state file in an empty database. */
export function createSchema(database: DatabaseSync): void {
  database.exec(
    `BEGIN IMMEDIATE;
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${schemaVersion};
    ${tables}
    INSERT INTO state (only_row, last_version) VALUES (1, 0);
    COMMIT`,
  );
}

/** Whether a database has exactly the tables that {@link createSchema} makes. */
export function hasSchema(database: DatabaseSync): boolean {
  const model = new DatabaseSync(":memory:");
  try {
    createSchema(model);
    return tablesOf(database) === tablesOf(model);
  } finally {
    model.close();
  }
}

/**
 * How many rows no store wrote, as "2 in allocation"; undefined when there are none. SQLite's own check passes over the CHECK constraints
 * on a connection that only reads (it does not even parse them there).
 */
export function strangeRows(database: DatabaseSync): string | undefined {
  for (const [table, rule] of Object.entries(rules)) {
    const row = database.prepare(`SELECT count(*) AS rows FROM ${table} WHERE NOT (${rule})`).get();
    if (row?.["rows"] !== 0) return `${String(row?.["rows"])} in ${table}`;
  }
  return undefined;
}

function tablesOf(database: DatabaseSync): string {
  const rows = database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
  return JSON.stringify(rows);
}
