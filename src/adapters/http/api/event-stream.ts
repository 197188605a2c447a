// Changes as they happen, to any number of listeners over server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
// It keeps which addresses changed and not what was said of them: whoever comes back is told how they are now.

import type { ServerResponse } from "node:http";
import type { Ip } from "../../../core/ip.ts";
import type { AddressEvent } from "../../../wire/api/events.ts";

/** Sizes and times in milliseconds. */
export type EventStreamLimits = {
  /** Listeners at a time. */
  readonly listeners: number;
  /** Changes that a listener who comes back may have missed. */
  readonly remembered: number;
  /** Bytes that may wait for a listener; one who reads more slowly is sent away. */
  readonly waitingBytes: number;
  /** Pause between signs of life. */
  readonly heartbeatMs: number;
  /** A stream ends after so long, and its listener comes back with a token that is looked at again. */
  readonly longestMs: number;
  /** Pause between two tellings of how full the subnets are. */
  readonly usageMs: number;
  /** So long a listener who was sent away may take to read why. */
  readonly farewellMs: number;
};

const usualLimits: EventStreamLimits = {
  listeners: 300,
  remembered: 10_000,
  waitingBytes: 1024 * 1024,
  heartbeatMs: 15_000,
  longestMs: 600_000,
  usageMs: 1_000,
  farewellMs: 10_000,
};

/** What the stream tells of. */
export type EventStreamParts = {
  /** How an address is now. */
  readonly describe: (ip: Ip) => Extract<AddressEvent, { kind: "address" }>["address"];
  /** How full the subnets are now. */
  readonly usage: () => Extract<AddressEvent, { kind: "usage" }>["subnets"];
  /** Why this process does not see all changes; undefined when it does. */
  readonly problem: () => string | undefined;
  readonly limits?: Partial<EventStreamLimits>;
};

/** What happened: enough to tell it later. */
type Happening =
  | { readonly kind: "address"; readonly ip: Ip; readonly namespaces: readonly string[] }
  | Extract<AddressEvent, { kind: "pool" | "configuration" }>;

type Listener = {
  readonly response: ServerResponse;
  /** Undefined: all addresses. */
  readonly namespace: string | undefined;
  readonly endTimer: NodeJS.Timeout;
};

/** The stream of one process. */
export class EventStream {
  readonly #parts: EventStreamParts;
  readonly #limits: EventStreamLimits;
  /** Tells one process from the next, whose numbers begin anew. */
  readonly #epoch = Math.random().toString(36).slice(2, 10);
  readonly #listeners = new Set<Listener>();
  /** A ring: what happened as number N stands at N modulo its size. */
  readonly #happenings: Happening[] = [];
  #lastNumber = 0;
  #usageTimer: NodeJS.Timeout | undefined;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(parts: EventStreamParts) {
    this.#parts = parts;
    this.#limits = { ...usualLimits, ...parts.limits };
    this.#heartbeat = setInterval(() => this.#beat(), this.#limits.heartbeatMs);
    this.#heartbeat.unref();
  }

  /** Listeners at this moment. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  /** @param namespaces those of its owners before and after */
  addressChanged(ip: Ip, namespaces: readonly string[]): void {
    this.#happened({ kind: "address", ip, namespaces });
    this.#tellUsageSoon();
  }

  /** A Pool was added, changed or removed. */
  poolChanged(name: string): void {
    this.#happened({ kind: "pool", name });
  }

  /** Other pod subnets are in force. */
  configurationChanged(): void {
    this.#happened({ kind: "configuration", message: "pod subnets changed: read them again" });
    this.#tellUsageSoon();
  }

  /**
   * Why nobody can be let in now; undefined when somebody can.
   * - `full`: too many listen
   * - `blind`: this process does not see all changes, with the reason
   */
  refusal():
    | { readonly kind: "full"; readonly count: number }
    | { readonly kind: "blind"; readonly reason: string }
    | undefined {
    const reason = this.#parts.problem();
    if (reason !== undefined) return { kind: "blind", reason };
    const count = this.#listeners.size;
    return count >= this.#limits.listeners ? { kind: "full", count } : undefined;
  }

  /** Answers with the stream. @param lastEventId where the listener stopped before; undefined for one who has read everything just now */
  listen(
    response: ServerResponse,
    options: {
      readonly namespace: string | undefined;
      readonly lastEventId: string | undefined;
      /** Headers that were decided before. */
      readonly headers: Readonly<Record<string, string | number | readonly string[]>>;
    },
  ): void {
    const { namespace, lastEventId, headers } = options;
    response.writeHead(200, {
      ...headers,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // A proxy that collects answers would hold events back.
      "x-accel-buffering": "no",
    });
    const endTimer = setTimeout(() => leave(true), this.#limits.longestMs);
    endTimer.unref();
    const listener: Listener = { response, namespace, endTimer };
    const leave = (isOver: boolean) => {
      clearTimeout(endTimer);
      this.#listeners.delete(listener);
      if (isOver) response.end();
    };
    response.once("close", () => leave(false));
    this.#listeners.add(listener);
    // The number of now: who loses the connection before anything happened comes back with it.
    response.write(`retry: 2000\nid: ${this.#idOf(this.#lastNumber)}\n\n`);
    if (lastEventId !== undefined) this.#tellMissed(listener, lastEventId);
  }

  /** Ends all streams. */
  stop(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#usageTimer);
    for (const { response, endTimer } of this.#listeners) {
      clearTimeout(endTimer);
      response.end();
    }
    this.#listeners.clear();
  }

  #idOf(number: number): string {
    return `${this.#epoch}-${number}`;
  }

  #happened(happening: Happening): void {
    this.#lastNumber += 1;
    this.#happenings[this.#lastNumber % this.#limits.remembered] = happening;
    let text: string | undefined;
    for (const listener of this.#listeners) {
      if (!concerns(happening, listener)) continue;
      text ??= this.#format(happening, this.#lastNumber);
      this.#send(listener, text);
    }
  }

  /** Each address once, as it is now. */
  #tellMissed(listener: Listener, lastEventId: string): void {
    const [epoch, numberText = ""] = lastEventId.split("-");
    const number = /^[0-9]{1,15}$/.test(numberText) ? Number(numberText) : Number.NaN;
    const missed = this.#lastNumber - number;
    if (epoch !== this.#epoch || !(missed >= 0 && missed <= this.#limits.remembered)) {
      this.#send(listener, this.#reset("events were missed: read everything again"));
      return;
    }
    const told = new Set<string>();
    const texts: string[] = [];
    for (let at = this.#lastNumber; at > number; at -= 1) {
      const happening = this.#happenings[at % this.#limits.remembered] as Happening;
      const key =
        happening.kind === "address"
          ? happening.ip
          : `${happening.kind} ${JSON.stringify(happening)}`;
      if (told.has(key) || !concerns(happening, listener)) continue;
      told.add(key);
      texts.push(this.#format(happening, at));
    }
    for (const text of texts.reverse()) {
      if (!this.#send(listener, text)) return;
    }
  }

  #format(happening: Happening, number: number): string {
    const event: AddressEvent =
      happening.kind === "address"
        ? { kind: "address", address: this.#parts.describe(happening.ip) }
        : happening;
    return formatEvent(event, this.#idOf(number));
  }

  #reset(message: string): string {
    return formatEvent({ kind: "reset", message }, this.#idOf(this.#lastNumber));
  }

  /** @returns false when the listener was sent away */
  #send(listener: Listener, text: string): boolean {
    const { response } = listener;
    if (!this.#listeners.has(listener)) return false;
    response.write(text);
    if (response.writableLength <= this.#limits.waitingBytes) return true;
    this.#sendAway(listener, "events came faster than they were read: read everything again");
    return false;
  }

  #sendAway(listener: Listener, because: string): void {
    const { response, endTimer } = listener;
    this.#listeners.delete(listener);
    clearTimeout(endTimer);
    response.end(this.#reset(because));
    const timer = setTimeout(() => response.destroy(), this.#limits.farewellMs);
    timer.unref();
    response.once("close", () => clearTimeout(timer));
  }

  #beat(): void {
    const problem = this.#parts.problem();
    for (const listener of this.#listeners) {
      if (problem === undefined) this.#send(listener, ":\n\n");
      else this.#sendAway(listener, `${problem}: read everything again`);
    }
  }

  #tellUsageSoon(): void {
    if (this.#usageTimer !== undefined || this.#listeners.size === 0) return;
    this.#usageTimer = setTimeout(() => {
      this.#usageTimer = undefined;
      if (this.#listeners.size === 0) return;
      const text = formatEvent({ kind: "usage", subnets: this.#parts.usage() }, undefined);
      for (const listener of this.#listeners) this.#send(listener, text);
    }, this.#limits.usageMs);
    this.#usageTimer.unref();
  }
}

function concerns(happening: Happening, { namespace }: Listener): boolean {
  if (happening.kind !== "address" || namespace === undefined) return true;
  return happening.namespaces.includes(namespace);
}

/** JSON has no line breaks, so that one data line is enough. */
function formatEvent(event: AddressEvent, id: string | undefined): string {
  const idLine = id === undefined ? "" : `id: ${id}\n`;
  return `event: ${event.kind}\n${idLine}data: ${JSON.stringify(event)}\n\n`;
}
