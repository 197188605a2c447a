// What lies between one process of the model and the API server, and between an agent and its kernel: delays, losses, answers that never
// come, requests that arrive long after they were given up, watches that are behind.

import type { GateEntry, GateOutcome, GatePermit, VipGate } from "../../src/ports/vip-gate.ts";
import type { VersionedStore } from "../../src/ports/vip-store.ts";
import { WorldError } from "../../src/ports/world-error.ts";
import type { Random } from "../random.ts";
import type { Timeline } from "../timeline.ts";
import type { Host } from "./host.ts";

/** Probabilities of one call, from 0 to 1. */
export type LinkFaults = {
  readonly refused: number;
  readonly requestLost: number;
  readonly answerLost: number;
  /** Given up, and happens later. */
  readonly happensLate: number;
  readonly slow: number;
  readonly slowMs: number;
  /** The request is quick, and the answer comes just before the caller gives up. */
  readonly slowAnswer: number;
};

/** A link without faults. */
export const calmLink: LinkFaults = {
  refused: 0,
  requestLost: 0,
  answerLost: 0,
  happensLate: 0,
  slow: 0,
  slowMs: 0,
  slowAnswer: 0,
};

/** When a caller gives up, milliseconds. */
const timeLimitMs = 900;

/** Before a watch that is cut tries to go on. */
const watchRetryMs = 100;

/** What a link needs. */
export type LinkEnds = {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly host: Host;
};

/** The way of one process to the API server. */
export class Link {
  faults: LinkFaults = calmLink;
  isCut = false;
  readonly ends: LinkEnds;

  constructor(ends: LinkEnds) {
    this.ends = ends;
  }

  /** Between 1 ms and what is slow at present. */
  delayMs(): number {
    const { random } = this.ends;
    return random.chance(this.faults.slow)
      ? random.integer(30, Math.max(30, this.faults.slowMs))
      : random.integer(1, 12);
  }

  /** Asks the API server; `serve` happens there at one moment. */
  call<T>(tried: string, serve: () => Promise<T>): Promise<T> {
    const { timeline, random, host } = this.ends;
    const { refused, requestLost, answerLost, happensLate } = this.faults;
    const fate = random.fraction();
    const thereMs = this.delayMs();
    const backMs = random.chance(this.faults.slowAnswer)
      ? random.integer(600, timeLimitMs - 20)
      : this.delayMs();
    return new Promise<T>((resolve, reject) => {
      let isGivenUp = false;
      const fail = (code: "API_UNAVAILABLE" | "API_TIMEOUT") =>
        host.run(() => {
          isGivenUp = true;
          const mayHaveHappened = code === "API_TIMEOUT";
          reject(new WorldError(code, { tried, message: "in the model", mayHaveHappened }));
        });
      if (this.isCut || fate < refused) {
        timeline.after(thereMs, () => fail("API_UNAVAILABLE"));
        return;
      }
      const limit = timeline.after(timeLimitMs, () => fail("API_TIMEOUT"));
      const isLost = fate < refused + requestLost;
      const losesAnswer = fate < refused + requestLost + answerLost;
      const isLate = !losesAnswer && fate < refused + requestLost + answerLost + happensLate;
      if (isLost) return;
      const arrivesMs = isLate ? timeLimitMs + random.integer(0, 9_000) : thereMs;
      timeline.after(arrivesMs, () => {
        serve().then(
          (value) => {
            if (losesAnswer || isLate) return;
            timeline.after(backMs, () => {
              if (this.isCut) return;
              host.run(() => {
                limit();
                if (!isGivenUp) resolve(value);
              });
            });
          },
          (error: unknown) =>
            host.run(() => reject(error instanceof Error ? error : new Error(String(error)))),
        );
      });
    });
  }
}

/** A store as one process sees it: calls over its link, and a watch that is behind but never goes back. */
export class LinkedStore<Key extends string, T extends { readonly version: string }>
  implements VersionedStore<Key, T>
{
  readonly #link: Link;
  readonly #server: VersionedStore<Key, T>;
  readonly #cache = new Map<Key, T>();
  readonly #listeners = new Set<(key: Key) => void>();
  readonly #feed: { readonly key: Key; readonly value: T | undefined; readonly dueMs: number }[] =
    [];
  #isPumping = false;

  /** @param keyOf the name of an object */
  constructor(link: Link, server: VersionedStore<Key, T>, keyOf: (value: T) => Key) {
    this.#link = link;
    this.#server = server;
    for (const value of server.all()) this.#cache.set(keyOf(value), value);
    server.watch((key) => {
      const { timeline, host } = link.ends;
      if (host.isDead) return;
      const dueMs = timeline.nowMs() + link.delayMs();
      this.#feed.push({ key, value: server.get(key), dueMs });
      this.#pump();
    });
  }

  all(): readonly T[] {
    return [...this.#cache.values()];
  }

  get(key: Key): T | undefined {
    return this.#cache.get(key);
  }

  read(key: Key): Promise<T | undefined> {
    return this.#link.call(`read ${key}`, () => this.#server.read(key));
  }

  create(value: T) {
    return this.#link.call("create", () => this.#server.create(value));
  }

  update(value: T) {
    return this.#link.call("update", () => this.#server.update(value));
  }

  remove(value: T) {
    return this.#link.call("remove", () => this.#server.remove(value));
  }

  watch(listener: (key: Key) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #pump(): void {
    const first = this.#feed[0];
    if (this.#isPumping || first === undefined) return;
    this.#isPumping = true;
    const { timeline, host } = this.#link.ends;
    timeline.after(Math.max(0, first.dueMs - timeline.nowMs()), () => {
      if (this.#link.isCut) {
        timeline.after(watchRetryMs, () => {
          this.#isPumping = false;
          this.#pump();
        });
        return;
      }
      host.run(() => {
        this.#isPumping = false;
        this.#feed.shift();
        if (first.value === undefined) this.#cache.delete(first.key);
        else this.#cache.set(first.key, first.value);
        for (const listener of [...this.#listeners]) listener(first.key);
        this.#pump();
      });
    });
  }
}

/** The way from an agent to its kernel: in order, quick as a rule, and sometimes as slow as a child process that stands still. */
export class SlowGate implements VipGate {
  hangs = 0;
  readonly #gate: () => VipGate;
  readonly #ends: LinkEnds;
  #lastEffectMs = 0;

  /** @param gate the node's kernel of the moment */
  constructor(gate: () => VipGate, ends: LinkEnds) {
    this.#gate = gate;
    this.#ends = ends;
  }

  arm(withinMs: number): Promise<GatePermit> {
    return this.#do((gate) => gate.arm(withinMs));
  }

  open(permit: GatePermit, entries: readonly GateEntry[], leftMs: number): Promise<GateOutcome> {
    return this.#do((gate) => gate.open(permit, entries, leftMs));
  }

  close(ips: Parameters<VipGate["close"]>[0]): Promise<void> {
    return this.#do((gate) => gate.close(ips));
  }

  clear(): Promise<void> {
    return this.#do((gate) => gate.clear());
  }

  answering(): Promise<readonly GateEntry[]> {
    return this.#do((gate) => gate.answering());
  }

  #do<T>(action: (gate: VipGate) => Promise<T>): Promise<T> {
    const { timeline, random, host } = this.#ends;
    const delayMs = random.chance(this.hangs) ? random.integer(50, 5_000) : random.integer(0, 8);
    this.#lastEffectMs = Math.max(this.#lastEffectMs, timeline.nowMs() + delayMs);
    const gate = this.#gate();
    return new Promise<T>((resolve, reject) => {
      timeline.after(this.#lastEffectMs - timeline.nowMs(), () => {
        action(gate).then(
          (value) => timeline.after(random.integer(0, 3), () => host.run(() => resolve(value))),
          reject,
        );
      });
    });
  }
}
