// What lies between a process and the API server: calls take time, fail, are lost after they happened, or happen after they were given up.
// All from the seed.

import type { WorldErrorCode } from "../src/ports/world-error.ts";
import { WorldError } from "../src/ports/world-error.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** Probabilities of one call, and how slow slow is. */
export type NetworkFaults = {
  /** Refused before anything happened. */
  readonly refused: number;
  /** The same for lists on top: they are long, and what an API server refuses first. */
  readonly listRefused: number;
  /** Happened, but the answer is lost. */
  readonly answerLost: number;
  /** Given up without having happened. */
  readonly requestLost: number;
  /** Given up, and happens later. */
  readonly happensLate: number;
  readonly slow: number;
  readonly slowMs: number;
};

/** A network without faults. */
export const calmNetwork: NetworkFaults = {
  refused: 0,
  listRefused: 0,
  answerLost: 0,
  requestLost: 0,
  happensLate: 0,
  slow: 0,
  slowMs: 0,
};

/** How long a caller waits before it gives up, milliseconds. */
export const callTimeLimitMs = 8_000;

/** The network of one process; dead processes hear nothing any more. */
export class Network {
  faults: NetworkFaults = calmNetwork;
  /** Nothing gets through until it is false again. */
  isCut = false;
  /** Goes up when a call begins to fail and when its caller learns of it. */
  failureCount = 0;
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #trace: (text: string) => void;
  readonly #failedMs = new Map<string, number>();
  #isDead = false;

  constructor(timeline: Timeline, random: Random, trace: (text: string) => void) {
    this.#timeline = timeline;
    this.#random = random;
    this.#trace = trace;
  }

  /** The process is gone: what it sent may still happen, but no answer reaches it. */
  kill(): void {
    this.#isDead = true;
  }

  /** When a call about an object failed last; its name is the last word of what was tried. */
  failedMs(name: string): number {
    return this.#failedMs.get(name) ?? Number.NEGATIVE_INFINITY;
  }

  /**
   * Asks the API server: `serve` runs there at one moment.
   * @param tried for messages
   * @param writes whether a lost answer leaves the outcome unknown
   */
  call<T>(tried: string, writes: boolean, serve: () => T): Promise<T> {
    const { faults } = this;
    const random = this.#random;
    const fate = random.fraction();
    let bound = faults.refused + (tried.startsWith("list ") ? faults.listRefused : 0);
    const thereMs = this.#delayMs();
    const backMs = this.#delayMs();
    return new Promise<T>((resolve, reject) => {
      const answer = (action: () => void, delayMs: number) => {
        this.#timeline.after(delayMs, () => {
          if (!this.#isDead) action();
        });
      };
      const fail = (
        code: WorldErrorCode,
        mayHaveHappened: boolean,
        delayMs: number,
        what: string,
      ) => {
        this.#trace(`${tried}: ${what}`);
        this.failureCount += 1;
        this.#failedMs.set(tried.slice(tried.lastIndexOf(" ") + 1), this.#timeline.nowMs());
        answer(() => {
          this.failureCount += 1;
          reject(new WorldError(code, { tried, message: what, mayHaveHappened }));
        }, delayMs);
      };
      const serveAndAnswer = () => {
        let value: T;
        try {
          value = serve();
        } catch (error) {
          answer(() => reject(error instanceof Error ? error : new Error(String(error))), backMs);
          return;
        }
        answer(() => resolve(value), backMs);
      };
      if (this.isCut || fate < bound) {
        fail("API_UNAVAILABLE", false, thereMs, "refused");
        return;
      }
      bound += faults.answerLost;
      if (fate < bound) {
        this.#timeline.after(thereMs, serve);
        fail("API_TIMEOUT", writes, callTimeLimitMs, "answer lost");
        return;
      }
      bound += faults.requestLost;
      if (fate < bound) {
        fail("API_TIMEOUT", writes, callTimeLimitMs, "request lost");
        return;
      }
      bound += faults.happensLate;
      if (fate < bound) {
        this.#timeline.after(callTimeLimitMs + random.integer(0, 20_000), serve);
        fail("API_TIMEOUT", writes, callTimeLimitMs, "happens late");
        return;
      }
      this.#timeline.after(thereMs, serveAndAnswer);
    });
  }

  #delayMs(): number {
    const random = this.#random;
    return random.chance(this.faults.slow)
      ? random.integer(50, this.faults.slowMs)
      : random.integer(1, 15);
  }
}
