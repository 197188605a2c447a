// Writes down who had which address when, beside the allocator and never in its way, and answers questions about it. What is true now is in
// the records; this is about what was.

import type { Allocation } from "../core/allocation.ts";
import type { Ip } from "../core/ip.ts";
import type { HolderChange, Tenure, TenureFilter } from "../core/tenure.ts";
import { endedBy, holderOf, sameHolder, tenureMatches } from "../core/tenure.ts";
import type { Clock } from "../ports/clock.ts";
import type { HistoryStore } from "../ports/history-store.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { AllocationChange, Allocator } from "./allocator.ts";

/** What the history needs of the world. */
export type HistoryPorts = {
  readonly allocator: Allocator;
  readonly history: HistoryStore;
  readonly clock: Clock;
  readonly leadership: Leadership;
  readonly log: Log;
};

/** How it works; times in milliseconds. */
export type HistorySettings = {
  /** Changes wait so long for others to be written with them: so much is not written when the process is killed. */
  readonly flushMs: number;
  /** Pause before a write is tried again that failed. */
  readonly retryMs: number;
  /** Changes that may wait; further ones are not written down, which is logged. */
  readonly mostWaiting: number;
};

/** What is found, those that still are first, then those that ended last. */
export type FoundHistory = {
  readonly tenures: readonly Tenure[];
  readonly totalCount: number;
  readonly keptSinceMs: number | undefined;
};

/** Changes that are written at a time. */
const largestBatch = 5_000;

/** Longest pause before a history is read again that could not be read. */
const longestRetryMs = 300_000;

/** Follows the allocator. */
export class History {
  readonly #ports: HistoryPorts;
  readonly #settings: HistorySettings;
  readonly #stop: () => void;
  /** Changes that are not written yet, the oldest first. */
  readonly #waiting: HolderChange[] = [];
  /** Since when an address is in one hand, where its record was written anew for another reason. */
  readonly #since = new Map<Ip, { readonly fromMs: number; readonly fromIsAbout: boolean }>();
  /** What the processes before this one did not write down is only known once the store was read: nothing is written before. */
  #phase: "following" | "catching up" | "writing" = "following";
  #term = 0;
  #flushing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #lostCount = 0;

  constructor(ports: HistoryPorts, settings: HistorySettings) {
    this.#ports = ports;
    this.#settings = settings;
    this.#stop = ports.allocator.onChange((change) => this.#observe(change));
  }

  /** To be called when this process leads and memory has all records; returns at once. */
  startLeading(): void {
    this.#term += 1;
    this.#phase = "catching up";
    void this.#catchUp(this.#term);
  }

  /** Another one leads: what was not written is that one's to find out. */
  stopLeading(): void {
    this.#term += 1;
    this.#phase = "following";
    this.#waiting.length = 0;
    this.#since.clear();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Writes what waits, as far as that works at once, and ends. To be called while this process still leads. */
  async stop(): Promise<void> {
    this.#stop();
    this.#cancelTimer?.();
    await this.#flush();
    this.stopLeading();
  }

  /**
   * Who had an address when.
   * @throws WorldError when the store cannot be read
   */
  async find(
    filter: TenureFilter,
    page: { readonly offset: number; readonly limit: number },
  ): Promise<FoundHistory> {
    const current = this.#current(filter);
    const { offset, limit } = page;
    const unwritten = this.#waiting
      .flatMap((change) => endedBy(change) ?? [])
      .filter((tenure) => tenureMatches(tenure, filter))
      .reverse();
    const known = [...current, ...unwritten];
    const shown = known.slice(offset, offset + limit);
    const written = await this.#ports.history.ended(filter, {
      offset: Math.max(0, offset - known.length),
      limit: limit - shown.length,
    });
    return {
      tenures: [...shown, ...written.tenures],
      totalCount: known.length + written.totalCount,
      keptSinceMs: written.keptSinceMs,
    };
  }

  /** What the records say now, the latest first. */
  #current(filter: TenureFilter): readonly Tenure[] {
    const { view } = this.#ports.allocator;
    const found: Tenure[] = [];
    const look = (allocation: Allocation | undefined) => {
      if (allocation === undefined) return;
      const since = this.#since.get(allocation.ip);
      const tenure: Tenure = {
        ip: allocation.ip,
        holder: holderOf(allocation),
        fromMs: since?.fromMs ?? allocation.updatedAtMs,
        fromIsAbout: since?.fromIsAbout ?? false,
        untilMs: undefined,
        untilIsAbout: false,
      };
      if (tenureMatches(tenure, filter)) found.push(tenure);
    };
    if (filter.ip !== undefined) look(view.get(filter.ip));
    else for (const allocation of view.all()) look(allocation);
    return found.sort((a, b) => b.fromMs - a.fromMs);
  }

  #observe({ before, after }: AllocationChange): void {
    // What a follower sees is the leader's to write down.
    if (!this.#ports.leadership.isLeader()) return;
    const ip = (after ?? before)?.ip;
    if (ip === undefined) return;
    const holder = after === undefined ? undefined : holderOf(after);
    const since = this.#since.get(ip);
    if (before !== undefined && holder !== undefined && sameHolder(holderOf(before), holder)) {
      if (since === undefined && before.updatedAtMs !== after?.updatedAtMs) {
        this.#since.set(ip, { fromMs: before.updatedAtMs, fromIsAbout: false });
      }
      return;
    }
    this.#since.delete(ip);
    this.#enter({
      ip,
      atMs: after?.updatedAtMs ?? this.#ports.clock.nowMs(),
      isAbout: false,
      before:
        before === undefined
          ? undefined
          : {
              holder: holderOf(before),
              fromMs: since?.fromMs ?? before.updatedAtMs,
              fromIsAbout: since?.fromIsAbout ?? false,
            },
      after: holder,
    });
  }

  #enter(change: HolderChange): void {
    if (this.#waiting.length >= this.#settings.mostWaiting) {
      if (this.#lostCount === 0) {
        this.#ports.log.error("history has gaps: changes cannot be written as fast as they come", {
          waiting: this.#waiting.length,
        });
      }
      this.#lostCount += 1;
      return;
    }
    this.#waiting.push(change);
    this.#flushLater(this.#settings.flushMs);
  }

  /** Compares what was written down with the records: what happened in between was seen by nobody. */
  async #catchUp(term: number, pauseMs = this.#settings.retryMs): Promise<void> {
    const { allocator, clock, history, log } = this.#ports;
    let known: Awaited<ReturnType<HistoryStore["lastHolders"]>>;
    try {
      known = await history.lastHolders();
    } catch (error) {
      if (term !== this.#term) return;
      log.warn("history could not be read, it is tried again", {}, error);
      // A right that is missing is not granted in seconds, and everything else works meanwhile.
      clock.after(pauseMs, () => {
        if (term === this.#term) {
          void this.#catchUp(term, Math.min(pauseMs * 2, longestRetryMs));
        }
      });
      return;
    }
    if (term !== this.#term) return;
    const seen = new Set(this.#waiting.map(({ ip }) => ip));
    const found: HolderChange[] = [];
    for (const [ip, before] of known) {
      // What this process saw itself says what was before.
      if (seen.has(ip)) continue;
      const record = allocator.view.get(ip);
      if (record !== undefined && sameHolder(holderOf(record), before.holder)) {
        if (before.fromMs !== record.updatedAtMs) this.#since.set(ip, before);
        continue;
      }
      const atMs = Math.max(before.fromMs, record?.updatedAtMs ?? clock.nowMs());
      const after = record === undefined ? undefined : holderOf(record);
      found.push({ ip, atMs, isAbout: true, before, after });
    }
    if (found.length > 0) {
      log.info("changes found that were not written down", { count: found.length });
    }
    this.#waiting.unshift(...found);
    this.#phase = "writing";
    if (this.#waiting.length > 0) this.#flushLater(this.#settings.flushMs);
  }

  #flushLater(delayMs: number): void {
    if (this.#cancelTimer !== undefined || this.#phase !== "writing") return;
    this.#cancelTimer = this.#ports.clock.after(delayMs, () => {
      this.#cancelTimer = undefined;
      void this.#flush();
    });
  }

  /** Never rejects. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #write(): Promise<void> {
    const { history, leadership, log } = this.#ports;
    const term = this.#term;
    while (this.#waiting.length > 0 && this.#phase === "writing" && leadership.isLeader()) {
      const batch = this.#waiting.slice(0, largestBatch);
      try {
        await history.append(batch);
      } catch (error) {
        if (term !== this.#term) return;
        log.warn("history could not be written, it is tried again", {}, error);
        this.#flushLater(this.#settings.retryMs);
        return;
      }
      if (term !== this.#term) return;
      this.#waiting.splice(0, batch.length);
      if (this.#lostCount === 0) continue;
      log.warn("history is written again; changes are missing in it", { count: this.#lostCount });
      this.#lostCount = 0;
    }
  }
}
