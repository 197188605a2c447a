// A watch of one collection as a process sees it: late, in order, now and then twice, and after an interruption everything at once without
// what lay between.

import type { Change, SimApi } from "../src/adapters/simulated/api.ts";
import type { Collection, Objects } from "../src/adapters/simulated/objects.ts";
import type { ChangeLog } from "./change-log.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** What a watch suffers; probabilities per delivery, times in milliseconds. */
export type WatchFaults = {
  readonly lagMs: number;
  /** The watch stands still for `stallMs`. */
  readonly stall: number;
  readonly stallMs: number;
  /** The connection is lost and the collection listed again later. */
  readonly interrupt: number;
  readonly duplicate: number;
};

/** A watch that is only a little late. */
export const calmWatch: WatchFaults = {
  lagMs: 5,
  stall: 0,
  stallMs: 0,
  interrupt: 0,
  duplicate: 0,
};

/** A cache of a collection that follows the log. */
export class SimWatch<C extends Collection> {
  faults: WatchFaults = calmWatch;
  readonly items = new Map<string, Objects[C]>();
  readonly #collection: C;
  readonly #api: SimApi;
  readonly #log: ChangeLog;
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #changed: (key: string, value: Objects[C] | undefined) => void;
  readonly #onRelist: {
    readonly tells: "changes" | "reset only";
    readonly relisted: () => void;
  };
  #position: number;
  #isPlanned = false;
  #isStopped = false;
  #standsStillUntilMs = 0;

  /**
   * @param changed a value is in the cache now, or no more
   * @param onRelist the collection was listed again
   */
  constructor(
    parts: {
      readonly api: SimApi;
      readonly log: ChangeLog;
      readonly timeline: Timeline;
      readonly random: Random;
    },
    collection: C,
    changed: (key: string, value: Objects[C] | undefined) => void,
    onRelist: {
      /** Whether differences found by listing again are told one by one, as informers do, or only that there may be some. */
      readonly tells: "changes" | "reset only";
      readonly relisted: () => void;
    } = { tells: "changes", relisted: () => {} },
  ) {
    this.#collection = collection;
    this.#api = parts.api;
    this.#log = parts.log;
    this.#timeline = parts.timeline;
    this.#random = parts.random;
    this.#changed = changed;
    this.#onRelist = onRelist;
    this.#position = parts.log.changes.length;
    for (const key of parts.api.keys(collection)) {
      const value = parts.api.get(collection, key);
      if (value !== undefined) this.items.set(key, value);
    }
    parts.api.listeners.add(this.#onChange);
  }

  /** Nothing is told any more. */
  stop(): void {
    this.#isStopped = true;
    this.#api.listeners.delete(this.#onChange);
  }

  /** Tells nothing for a time, as when the API server itself is behind with this collection. One that stands still already goes on when it would. */
  standStill(ms: number): void {
    const nowMs = this.#timeline.nowMs();
    if (nowMs >= this.#standsStillUntilMs) this.#standsStillUntilMs = nowMs + ms;
  }

  readonly #onChange = (change: Change): void => {
    if (change.collection === this.#collection) this.#plan();
  };

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const { faults } = this;
    const random = this.#random;
    const fate = random.fraction();
    let delayMs = random.integer(0, faults.lagMs);
    let isInterrupted = false;
    if (fate < faults.stall) delayMs = random.integer(100, faults.stallMs);
    else if (fate < faults.stall + faults.interrupt) {
      delayMs = random.integer(100, faults.stallMs);
      isInterrupted = true;
    }
    const arrive = () => {
      const restMs = this.#isStopped ? 0 : this.#standsStillUntilMs - this.#timeline.nowMs();
      if (restMs > 0) {
        this.#timeline.after(restMs, arrive);
        return;
      }
      this.#isPlanned = false;
      if (this.#isStopped) return;
      if (isInterrupted) this.#relist();
      else this.#deliver();
    };
    this.#timeline.after(delayMs, arrive);
  }

  #deliver(): void {
    const { changes } = this.#log;
    // A slow connection carries only a part of what is there.
    let rest = this.#random.integer(1, 8);
    while (this.#position < changes.length && rest > 0) {
      const change = changes[this.#position] as Change;
      this.#position += 1;
      if (change.collection !== this.#collection) continue;
      rest -= 1;
      const value = change.value as Objects[C] | undefined;
      this.#apply(change.key, value);
      if (this.#random.chance(this.faults.duplicate)) this.#apply(change.key, value);
    }
    if (this.#position < changes.length) this.#plan();
  }

  #apply(key: string, value: Objects[C] | undefined, isTold = true): void {
    if (value === undefined) this.items.delete(key);
    else this.items.set(key, value);
    if (isTold) this.#changed(key, value);
  }

  /** What happened meanwhile is never told, only what is there now. */
  #relist(): void {
    this.#position = this.#log.changes.length;
    const isTold = this.#onRelist.tells === "changes";
    const now = new Set(this.#api.keys(this.#collection));
    for (const key of [...this.items.keys()]) {
      if (!now.has(key)) this.#apply(key, undefined, isTold);
    }
    for (const key of now) {
      const value = this.#api.get(this.#collection, key);
      if (value !== undefined && this.items.get(key) !== value) this.#apply(key, value, isTold);
    }
    this.#onRelist.relisted();
  }
}
