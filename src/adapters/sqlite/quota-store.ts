// QuotaStore on the table `quota` of a state file.

import { randomUUID } from "node:crypto";
import type { QuotaFacts } from "../../core/quota.ts";
import type { QuotaStore, QuotaWriteOutcome } from "../../ports/quota-store.ts";
import type { StateFile } from "./state-file.ts";

/** The columns of {@link QuotaFacts} as STRICT and the checks of the table promise them. */
type QuotaRow = {
  readonly name: string;
  readonly uid: string;
  /** A list of names as JSON. */
  readonly namespaces: string;
  readonly most_addresses: number;
  readonly version: number;
};

/** Quotas in a state file. Of two stores on one file each sees its own writes, and those of before it was made. */
export class SqliteQuotaStore implements QuotaStore {
  readonly #file: StateFile;
  readonly #statements: ReturnType<typeof prepareStatements>;
  /** What `all` answers until a quota changes: each filter asks. */
  #quotas: readonly QuotaFacts[] | undefined;

  constructor(file: StateFile) {
    this.#file = file;
    this.#statements = prepareStatements(file);
  }

  all(): readonly QuotaFacts[] {
    this.#quotas ??= (
      this.#file.read("list FloatingIPQuotas", () => this.#statements.all.all()) as QuotaRow[]
    ).map(quotaOf);
    return this.#quotas;
  }

  write(quota: QuotaFacts): Promise<QuotaWriteOutcome> {
    const { name, limit } = quota;
    const namespaces = JSON.stringify(quota.namespaces);
    const isNew = quota.version === "";
    const tried = `${isNew ? "create" : "update"} FloatingIPQuota ${name}`;
    return this.#file.write<QuotaWriteOutcome>(tried, (transaction) => {
      const present = this.#present(name);
      if (present === undefined && !isNew) return { kind: "missing" };
      if (present !== undefined && present.version !== quota.version) return { kind: "conflict" };
      const version = transaction.nextVersion();
      const uid = present?.uid ?? randomUUID();
      if (present === undefined) {
        this.#statements.create.run(name, uid, namespaces, limit, version);
      } else {
        this.#statements.update.run(namespaces, limit, version, name);
      }
      transaction.afterCommit(() => this.#forget());
      return { kind: "written", quota: { ...quota, uid, version: String(version) } };
    });
  }

  remove(quota: QuotaFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    const { name } = quota;
    return this.#file.write(`delete FloatingIPQuota ${name}`, (transaction) => {
      const present = this.#present(name);
      if (present === undefined) return { kind: "missing" };
      if (present.version !== quota.version) return { kind: "conflict" };
      this.#statements.remove.run(name);
      transaction.afterCommit(() => this.#forget());
      return { kind: "removed" };
    });
  }

  #forget(): void {
    this.#quotas = undefined;
  }

  #present(name: string): QuotaFacts | undefined {
    const row = this.#statements.read.get(name);
    return row === undefined ? undefined : quotaOf(row as QuotaRow);
  }
}

function prepareStatements(file: StateFile) {
  const facts = "name, uid, namespaces, most_addresses, version";
  return {
    all: file.prepare(`SELECT ${facts} FROM quota ORDER BY name`),
    read: file.prepare(`SELECT ${facts} FROM quota WHERE name = ?`),
    create: file.prepare(`INSERT INTO quota (${facts}) VALUES (?, ?, ?, ?, ?)`),
    update: file.prepare(
      "UPDATE quota SET namespaces = ?, most_addresses = ?, version = ? WHERE name = ?",
    ),
    remove: file.prepare("DELETE FROM quota WHERE name = ?"),
  };
}

function quotaOf(row: QuotaRow): QuotaFacts {
  return {
    name: row.name,
    uid: row.uid,
    namespaces: JSON.parse(row.namespaces) as readonly string[],
    limit: row.most_addresses,
    version: String(row.version),
  };
}
