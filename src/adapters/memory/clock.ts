// The Clock that stands still until a test moves it.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../ports/clock.ts";

type Timer = { readonly dueMs: number; readonly action: () => void };

/** A clock that a test moves. Timers fire in the order of their time, equal times in the order in which they were set. */
export class ManualClock implements Clock {
  #nowMs: number;
  /** Insertion order decides between equal times. */
  readonly #timers = new Set<Timer>();

  /** @param startMs milliseconds since 1970, 2023-11-14T22:13:20Z unless given */
  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), action };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Timers that wait. */
  get pendingCount(): number {
    return this.#timers.size;
  }

  /**
   * Moves the time and fires what becomes due, each at its own time, also timers that fired ones set. Promises do not run in
   * between; where that matters use {@link pass}.
   */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const timer = this.#nextUntil(endMs);
      if (timer === undefined) break;
      this.#fire(timer);
    }
    this.#nowMs = endMs;
  }

  /** As {@link advance}, and after each timer all promises that wait for nothing else run to their end. */
  async pass(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    await nextTurn();
    for (;;) {
      const timer = this.#nextUntil(endMs);
      if (timer === undefined) break;
      this.#fire(timer);
      await nextTurn();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  #nextUntil(endMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }

  #fire(timer: Timer): void {
    this.#timers.delete(timer);
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
    timer.action();
  }
}
