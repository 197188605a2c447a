// HistoryStore in memory: ends with the process. For tests, and the parts of other adapters that look things up.

import type { Ip } from "../../core/ip.ts";
import type { HistoryBounds, HolderChange, Tenure, TenureFilter } from "../../core/tenure.ts";
import { TenureLog } from "../../core/tenure.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HistoryStore, KeptHistory } from "../../ports/history-store.ts";

/** What two stores on one log share is what two processes share. */
export class MemoryHistoryStore implements HistoryStore {
  readonly #log: TenureLog;
  readonly #clock: Clock;

  constructor(options: {
    readonly bounds: HistoryBounds;
    readonly clock: Clock;
    readonly log?: TenureLog;
  }) {
    this.#log = options.log ?? new TenureLog(options.bounds);
    this.#clock = options.clock;
  }

  append(changes: readonly HolderChange[]): Promise<void> {
    this.#log.append(changes, this.#clock.nowMs());
    return Promise.resolve();
  }

  ended(
    filter: TenureFilter,
    page: { readonly offset: number; readonly limit: number },
  ): Promise<KeptHistory> {
    return Promise.resolve({
      ...this.#log.ended(filter, page),
      keptSinceMs: this.#log.keptSinceMs,
    });
  }

  lastHolders(): Promise<ReadonlyMap<Ip, Pick<Tenure, "holder" | "fromMs" | "fromIsAbout">>> {
    return Promise.resolve(this.#log.lastHolders());
  }
}
