// HistoryStore on the table `change` of a state file.

import type { Ip } from "../../core/ip.ts";
import type { HistoryBounds, HolderChange, Tenure, TenureFilter } from "../../core/tenure.ts";
import { endedBy, enterLast } from "../../core/tenure.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HistoryStore, KeptHistory } from "../../ports/history-store.ts";
import { formatHolderChange, parseHolderChange } from "../../wire/holder-change.ts";
import type { StateFile } from "./state-file.ts";

/** History in a state file. */
export class SqliteHistoryStore implements HistoryStore {
  readonly #file: StateFile;
  readonly #clock: Clock;
  readonly #bounds: HistoryBounds;
  readonly #statements: ReturnType<typeof prepareStatements>;
  /** Changes added since the oldest were removed last. */
  #addedCount = Number.POSITIVE_INFINITY;

  constructor(options: {
    readonly file: StateFile;
    readonly clock: Clock;
    readonly bounds: HistoryBounds;
  }) {
    this.#file = options.file;
    this.#clock = options.clock;
    this.#bounds = options.bounds;
    this.#statements = prepareStatements(options.file);
  }

  async append(changes: readonly HolderChange[]): Promise<void> {
    const rows = JSON.stringify(changes.map(rowOf));
    await this.#file.write("add to the history", () => {
      this.#statements.append.run(rows);
    });
    this.#addedCount += changes.length;
    // Looking for what is too old costs a look at all.
    const { mostChanges, longestMs } = this.#bounds;
    if (this.#addedCount < mostChanges / 100) return;
    this.#addedCount = 0;
    const oldestMs = this.#clock.nowMs() - longestMs;
    await this.#file.write("forget the oldest history", () => {
      this.#statements.forget.run(mostChanges, oldestMs);
    });
  }

  async ended(
    filter: TenureFilter,
    { offset, limit }: { readonly offset: number; readonly limit: number },
  ): Promise<KeptHistory> {
    const values = {
      ip: filter.ip ?? null,
      namespace: filter.namespace ?? null,
      podName: filter.podName ?? null,
      appName: filter.appName ?? null,
      appType: filter.appType ?? null,
      fromMs: filter.fromMs ?? null,
      untilMs: filter.untilMs ?? null,
    };
    return this.#file.read("search the history", () => {
      const statements =
        filter.ip === undefined ? this.#statements.searchAll : this.#statements.searchIp;
      const rows = statements.page.all({ ...values, limit, offset });
      const count = statements.count.get(values);
      const oldest = this.#statements.oldest.get();
      const isShortened = Number(oldest?.["place"] ?? 1) > 1;
      return {
        tenures: rows.flatMap((row) => tenureOf(String(row["content"])) ?? []),
        totalCount: Number(count?.["count"]),
        keptSinceMs: isShortened ? Number(oldest?.["at_ms"]) : undefined,
      };
    });
  }

  async lastHolders(): Promise<ReadonlyMap<Ip, Pick<Tenure, "holder" | "fromMs" | "fromIsAbout">>> {
    const rows = this.#file.read("read the history", () => this.#statements.last.all());
    const holders = new Map<Ip, Pick<Tenure, "holder" | "fromMs" | "fromIsAbout">>();
    for (const row of rows) {
      const change = parseHolderChange(String(row["content"]));
      if (change !== undefined) enterLast(holders, change);
    }
    return holders;
  }
}

function tenureOf(content: string): Tenure | undefined {
  const change = parseHolderChange(content);
  return change === undefined ? undefined : endedBy(change);
}

function prepareStatements(file: StateFile) {
  const columns = "ip, at_ms, from_ms, namespace, pod_name, app_name, app_type, content";
  const values = columns
    .split(", ")
    .map((_, index) => `value ->> ${index}`)
    .join(", ");
  // Each null stands for "any". A tenure has its first moment and not its last.
  const found = (ip: string) => `FROM change WHERE from_ms IS NOT NULL AND ${ip}
    AND ($namespace IS NULL OR namespace = $namespace) AND ($podName IS NULL OR pod_name = $podName)
    AND ($appName IS NULL OR app_name = $appName) AND ($appType IS NULL OR app_type = $appType)
    AND ($fromMs IS NULL OR at_ms > $fromMs) AND ($untilMs IS NULL OR from_ms <= $untilMs)`;
  const search = (ip: string) => ({
    page: file.prepare(
      `SELECT content ${found(ip)} ORDER BY place DESC LIMIT $limit OFFSET $offset`,
    ),
    count: file.prepare(`SELECT count(*) AS count ${found(ip)}`),
  });
  return {
    append: file.prepare(
      `INSERT INTO change (${columns}) SELECT ${values} FROM json_each(?) ORDER BY key`,
    ),
    forget: file.prepare(
      "DELETE FROM change WHERE place <= (SELECT max(place) FROM change) - ? OR at_ms < ?",
    ),
    oldest: file.prepare("SELECT place, at_ms FROM change ORDER BY place LIMIT 1"),
    last: file.prepare(
      "SELECT content FROM change WHERE place IN (SELECT max(place) FROM change GROUP BY ip) ORDER BY place",
    ),
    searchAll: search("$ip IS NULL"),
    searchIp: search("ip = $ip"),
  };
}

function rowOf(change: HolderChange): readonly (string | number | null)[] {
  const { ip, atMs, before } = change;
  const owner = before?.holder.owner;
  const pod = owner?.kind === "pod" ? owner.pod : undefined;
  const workload = owner?.kind === "pod" || owner?.kind === "workload" ? owner.workload : undefined;
  return [
    ip,
    atMs,
    before?.fromMs ?? null,
    (pod ?? workload)?.namespace ?? null,
    pod?.name ?? null,
    workload?.name ?? null,
    workload?.kind ?? null,
    formatHolderChange(change),
  ];
}
