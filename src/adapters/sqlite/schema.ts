// The tables of a state file, and the marks by which it is known as one of ours. What a row means is said by the stores.

import { DatabaseSync } from "node:sqlite";

/** `PRAGMA application_id` of a state file: "GxIP" in ASCII. */
export const applicationId = 0x47784950;

/**
 * `PRAGMA user_version` that this program writes and reads. A change of the tables counts it up, and {@link upgradeSchema} brings older files along.
 * 1: the tables without times of reservation and without quotas.
 */
export const schemaVersion = 2;

/** Versions that a file may have. */
export type SchemaVersion = 1 | 2;

/** What holds in every row of version 1, by table. The rest is said by STRICT and NOT NULL. */
const rulesOf1 = {
  allocation: `(length(ip) = 5 AND substr(ip, 1, 1) = x'04' OR length(ip) = 17 AND substr(ip, 1, 1) = x'06')
    AND is_admin IN (0, 1) AND is_draining IN (0, 1) AND policy IN ('pod-delete', 'immutable', 'never')`,
  pool: `size >= 0 AND pre_allocate IN (0, 1) AND status_is_ready IN (0, 1)
    AND status_reason IN ('Ready', 'NotEnoughAddresses', 'OtherPoolInForce', 'Invalid')`,
  object: "kind <> '' AND name <> '' AND json_valid(content)",
  change: "json_valid(content)",
  state: "only_row = 1",
};

/** The same of version 2. */
const rulesOf2 = {
  ...rulesOf1,
  allocation: `${rulesOf1.allocation}
    AND reserve_ttl_ms >= 0 AND idle_since_ms >= 0 AND idle_warned_ms >= 0`,
  pool: `${rulesOf1.pool} AND reserve_ttl_ms >= 0`,
  quota: "name <> '' AND most_addresses >= 0 AND json_type(namespaces) = 'array'",
};

const rules: Readonly<Record<SchemaVersion, Readonly<Record<string, string>>>> = {
  1: rulesOf1,
  2: rulesOf2,
};

/**
 * - `allocation.ip`: 4 and the four bytes of an IPv4 address, or 6 and the sixteen of an IPv6 address: numeric order, IPv4 first
 * - `workload_kind`, `api_group`: of custom workloads only, whose owner key cannot say them
 * - `object`: what a simulated cluster is made of, in its own JSON; `place` grows with each new object and is their order
 * - `change`: who had which address when, as changes in their order; the columns are those of the tenure that ended, NULL when none did
 * - `reserve_ttl_ms`: how long an address may be reserved without a pod; 0 for ever, NULL when nothing is said
 * - `idle_since_ms`, `idle_warned_ms`: since when no pod has a reserved address, and when its owner was told; NULL when that is not known
 * - `quota.namespaces`: a list of names as JSON
 * - `state.last_version`: the highest version ever given, so that none is given twice, whatever was removed since
 */
const tablesOfVersion = (version: SchemaVersion): string => `
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
  is_draining INTEGER NOT NULL,${
    version === 1
      ? ""
      : `
  reserve_ttl_ms INTEGER,
  idle_since_ms INTEGER,
  idle_warned_ms INTEGER,`
  }
  version INTEGER NOT NULL,
  CHECK (${rules[version]["allocation"]})
) STRICT, WITHOUT ROWID;
CREATE TABLE pool (
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  uid TEXT NOT NULL,
  size INTEGER,
  pre_allocate INTEGER NOT NULL,${
    version === 1
      ? ""
      : `
  reserve_ttl_ms INTEGER,`
  }
  created_at_ms INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status_allocated INTEGER,
  status_used INTEGER,
  status_is_ready INTEGER,
  status_reason TEXT,
  status_message TEXT,
  PRIMARY KEY (namespace, name),
  CHECK (${rules[version]["pool"]})
) STRICT, WITHOUT ROWID;
${
  version === 1
    ? ""
    : `CREATE TABLE quota (
  name TEXT PRIMARY KEY NOT NULL,
  uid TEXT NOT NULL,
  namespaces TEXT NOT NULL,
  most_addresses INTEGER NOT NULL,
  version INTEGER NOT NULL,
  CHECK (${rulesOf2.quota})
) STRICT, WITHOUT ROWID;
`
}CREATE TABLE object (
  place INTEGER PRIMARY KEY NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  content TEXT NOT NULL,
  UNIQUE (kind, name),
  CHECK (${rules[version]["object"]})
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
  CHECK (${rules[version]["change"]})
) STRICT;
CREATE INDEX change_of_ip ON change (ip, place);
CREATE TABLE state (
  only_row INTEGER PRIMARY KEY NOT NULL,
  last_version INTEGER NOT NULL,
  CHECK (${rules[version]["state"]})
) STRICT, WITHOUT ROWID;
`;

/** Makes the tables and marks of a state file in an empty database. @param version the one of this program, but in tests */
export function createSchema(database: DatabaseSync, version: SchemaVersion = schemaVersion): void {
  database.exec(
    `BEGIN IMMEDIATE;
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${version};
    ${tablesOfVersion(version)}
    INSERT INTO state (only_row, last_version) VALUES (1, 0);
    COMMIT`,
  );
}

/** Columns that version 1 has, in the tables that changed since. */
const columnsOf1 = {
  allocation:
    "ip, owner_key, is_admin, workload_kind, api_group, policy, node, last_node, pod_uid, updated_at_ms, is_draining, version",
  pool: "namespace, name, uid, size, pre_allocate, created_at_ms, version, status_allocated, status_used, status_is_ready, status_reason, status_message",
};

/**
 * Brings a whole file of an older version to this program's, all or nothing. What older programs did not know is not known of their rows
 * either.
 */
export function upgradeSchema(database: DatabaseSync): void {
  if (versionOf(database) !== 1) return;
  const moved = Object.entries(columnsOf1);
  const statements = [
    ...moved.map(([table]) => `ALTER TABLE ${table} RENAME TO old_${table}`),
    ...tableTexts().map(([, text]) => text),
    ...moved.map(
      ([table, columns]) => `INSERT INTO ${table} (${columns}) SELECT ${columns} FROM old_${table}`,
    ),
    ...moved.map(([table]) => `DROP TABLE old_${table}`),
    `PRAGMA user_version = ${schemaVersion}`,
  ];
  database.exec(`BEGIN IMMEDIATE; ${statements.join("; ")}; COMMIT`);
}

/** Tables of this version that version 1 has not, or has otherwise, with the statement that makes each. */
function tableTexts(): readonly (readonly [string, string])[] {
  const model = new DatabaseSync(":memory:");
  try {
    createSchema(model);
    return ["allocation", "pool", "quota"].map((table) => {
      const row = model.prepare("SELECT sql FROM sqlite_schema WHERE name = ?").get(table);
      return [table, String(row?.["sql"])] as const;
    });
  } finally {
    model.close();
  }
}

/** The version that a file says it has. */
export function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
}

/** Whether a number is a version that this program can read. */
export function isKnownVersion(version: number): version is SchemaVersion {
  return version === 1 || version === schemaVersion;
}

/** Whether a database has exactly the tables that {@link createSchema} makes. */
export function hasSchema(database: DatabaseSync, version: SchemaVersion): boolean {
  const model = new DatabaseSync(":memory:");
  try {
    createSchema(model, version);
    return tablesOf(database) === tablesOf(model);
  } finally {
    model.close();
  }
}

/** The highest version of a row that has one. */
export function highestRowVersion(database: DatabaseSync, version: SchemaVersion): number {
  const tables = version === 1 ? ["allocation", "pool"] : ["allocation", "pool", "quota"];
  return Math.max(
    ...tables.map((table) =>
      Number(database.prepare(`SELECT max(version) AS version FROM ${table}`).get()?.["version"]),
    ),
  );
}

/**
 * How many rows no store wrote, as "2 in allocation"; undefined when there are none. SQLite's own check passes over the CHECK constraints
 * on a connection that only reads (it does not even parse them there).
 */
export function strangeRows(database: DatabaseSync, version: SchemaVersion): string | undefined {
  for (const [table, rule] of Object.entries(rules[version])) {
    const row = database.prepare(`SELECT count(*) AS rows FROM ${table} WHERE NOT (${rule})`).get();
    if (row?.["rows"] !== 0) return `${String(row?.["rows"])} in ${table}`;
  }
  return undefined;
}

function tablesOf(database: DatabaseSync): string {
  const rows = database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
  return JSON.stringify(rows);
}
