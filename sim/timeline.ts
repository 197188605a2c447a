// Time of the simulated world: things happen one after the other at their moment, and between two of them everything that product code
// does without waiting is done. Nothing here reads the real clock.

import type { Clock } from "../src/ports/clock.ts";

type Happening = {
  readonly atMs: number;
  readonly sequence: number;
  readonly action: () => void;
  isCancelled: boolean;
};

/** Things to happen, in order of time and, at one moment, in the order in which they were planned. */
export class Timeline implements Clock {
  #nowMs: number;
  #sequence = 0;
  readonly #heap: Happening[] = [];

  /** @param startMs milliseconds since 1970 */
  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const happening: Happening = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      sequence: this.#sequence,
      action,
      isCancelled: false,
    };
    this.#sequence += 1;
    push(this.#heap, happening);
    return () => {
      happening.isCancelled = true;
    };
  }

  /** Resolves after a time of this world. */
  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  /**
   * Lets everything happen up to a moment, and then it is that moment.
   * @param afterEach called after each happening, when product code has nothing left to do but wait
   */
  async runUntil(untilMs: number, afterEach: () => void): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      pop(this.#heap);
      if (next.isCancelled) continue;
      this.#nowMs = next.atMs;
      next.action();
      await untilQuiet();
      afterEach();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }
}

/** All promises that can be settled without time passing have been, with everything that follows from them. */
function untilQuiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

function push(heap: Happening[], item: Happening): void {
  let index = heap.length;
  heap.push(item);
  while (index > 0) {
    const parent = (index - 1) >>> 1;
    if (!isBefore(item, heap[parent] as Happening)) break;
    heap[index] = heap[parent] as Happening;
    index = parent;
  }
  heap[index] = item;
}

function pop(heap: Happening[]): void {
  const last = heap.pop() as Happening;
  if (heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (
      child + 1 < heap.length &&
      isBefore(heap[child + 1] as Happening, heap[child] as Happening)
    ) {
      child += 1;
    }
    if (!isBefore(heap[child] as Happening, last)) break;
    heap[index] = heap[child] as Happening;
    index = child;
  }
  heap[index] = last;
}
