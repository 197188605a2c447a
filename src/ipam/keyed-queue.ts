// Order of work: one task per key at a time, different keys in parallel. KeyedQueue orders callers that wait for a result;
// WorkQueue works off keys that need another look, collapses duplicates and retries with back-off.

import type { Clock } from "../ports/clock.ts";
import { WorldError } from "../ports/world-error.ts";

/** Runs tasks of one key one after the other, in the order of arrival. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();
  readonly #capacity: number;
  #waitingCount = 0;

  /** @param capacity how many tasks may run or wait over all keys; more are refused with QUEUE_FULL */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** How many tasks run or wait. */
  get length(): number {
    return this.#waitingCount;
  }

  /**
   * Runs the task when all earlier tasks of the key have ended.
   * @throws WorldError QUEUE_FULL when too many tasks wait; otherwise what the task throws
   */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    if (this.#waitingCount >= this.#capacity) {
      throw new WorldError("QUEUE_FULL", {
        tried: `queue work on ${key}`,
        message: `${this.#waitingCount} tasks wait already; it is tried again later`,
      });
    }
    this.#waitingCount += 1;
    const before = this.#tails.get(key);
    let done: () => void = () => {};
    const tail = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#tails.set(key, tail);
    try {
      await before;
      return await task();
    } finally {
      this.#waitingCount -= 1;
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
      done();
    }
  }
}

/** Settings of a {@link WorkQueue}; times in milliseconds. */
export type WorkQueueSettings = {
  readonly clock: Clock;
  /** How many keys are worked on at once. */
  readonly parallelCount: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** Called with what the handler threw; the key is tried again after the back-off. */
  readonly onFailure: (key: string, error: unknown) => void;
};

/**
 * Keys that need another look. A key that is added while it waits is one; added while it is worked on, it is worked on again
 * afterwards. It has no bound of its own: there is at most one entry per key, and keys are objects of the cluster.
 */
export class WorkQueue {
  readonly #settings: WorkQueueSettings;
  readonly #handle: (key: string) => Promise<void>;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failureCount = new Map<string, number>();
  readonly #timers = new Map<string, () => void>();
  readonly #idleWaiters: (() => void)[] = [];
  #isStopped = false;

  constructor(settings: WorkQueueSettings, handle: (key: string) => Promise<void>) {
    this.#settings = settings;
    this.#handle = handle;
  }

  /** How many keys wait, run or are to be retried. */
  get length(): number {
    return this.#waiting.size + this.#running.size + this.#timers.size;
  }

  /** Asks for a look at the key, now or as soon as a place is free. */
  add(key: string): void {
    if (this.#isStopped) return;
    this.#timers.get(key)?.();
    this.#timers.delete(key);
    if (this.#running.has(key)) this.#again.add(key);
    else this.#waiting.add(key);
    this.#next();
  }

  /** Asks for a look at the key after a time; an earlier request stands. */
  addAfter(key: string, delayMs: number): void {
    if (this.#isStopped || this.#waiting.has(key) || this.#timers.has(key)) return;
    const cancel = this.#settings.clock.after(delayMs, () => {
      this.#timers.delete(key);
      this.add(key);
    });
    this.#timers.set(key, cancel);
  }

  /** Resolves when nothing waits or runs (retries that wait for their time do not count). */
  async whenIdle(): Promise<void> {
    if (this.#waiting.size + this.#running.size === 0) return;
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Takes no more keys, forgets waiting ones and resolves when running ones have ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#waiting.clear();
    this.#again.clear();
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    await this.whenIdle();
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#settings.parallelCount) return;
      this.#waiting.delete(key);
      this.#running.add(key);
      void this.#work(key);
    }
    if (this.#waiting.size + this.#running.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  async #work(key: string): Promise<void> {
    try {
      await this.#handle(key);
      this.#failureCount.delete(key);
    } catch (error) {
      const failures = (this.#failureCount.get(key) ?? 0) + 1;
      this.#failureCount.set(key, failures);
      this.#settings.onFailure(key, error);
      const { firstRetryMs, lastRetryMs } = this.#settings;
      this.addAfter(key, Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(failures - 1, 30)));
    } finally {
      this.#running.delete(key);
      if (this.#again.delete(key)) this.add(key);
      this.#next();
    }
  }
}

/** Works on all items, so many at once, and returns the results in the order of the items. Throws what the first failed one threw. */
export async function eachInParallel<Item, Result>(
  items: readonly Item[],
  parallelCount: number,
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next;
      next += 1;
      results[index] = await work(items[index] as Item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallelCount, items.length) }, worker));
  return results;
}
