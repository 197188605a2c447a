// EventRecorder on core/v1 Events: equal ones are one event with a count, and a flood is thinned out here and not at the API server.

import type { EventNote, EventRecorder } from "../../ports/event-recorder.ts";
import type { Log } from "../../ports/log.ts";
import { type ApiClient, segment } from "./api-client.ts";
import { pause } from "./backoff.ts";
import { RateLimit } from "./rate-limit.ts";

/** Equal events within this time are one. */
const sameEventMs = 600_000;

/** Most events that wait to be written; more drop the oldest. */
const mostWaiting = 1000;

/** Most events that are remembered for counting. */
const mostRemembered = 4096;

/** Longest message of an event that the API server takes (core/v1 validation). */
const longestMessage = 1024;

/** Time limit of one write; what is in flight when the program stops is waited for. */
const writeLimitMs = 3000;

/** What the recorder needs. */
export type KubernetesEventRecorderOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  /** Name of this process, shown as the event's host. */
  readonly instance: string;
  /** Called for every event that was given up because too many waited or the API server did not take it. */
  readonly onDropped?: () => void;
  /** Events per second over a longer time, and at once. Defaults 10 and 50. */
  readonly perSecond?: number;
  readonly burst?: number;
};

/** An event that was or will be written. */
type Remembered = {
  readonly note: EventNote;
  readonly name: string;
  readonly firstAtMs: number;
  lastAtMs: number;
  count: number;
  /** It stands in the API server, so that only the count is to be changed. */
  isWritten: boolean;
};

/** Writes events in the background, one after the other. */
export class KubernetesEventRecorder implements EventRecorder {
  readonly #options: KubernetesEventRecorderOptions;
  readonly #limit: RateLimit;
  readonly #known = new Map<string, Remembered>();
  /** Keys of events to write, the oldest first. */
  readonly #waiting = new Set<string>();
  readonly #stopping = new AbortController();
  #writing: Promise<void> | undefined;
  #sequence = 0;

  constructor(options: KubernetesEventRecorderOptions) {
    this.#options = options;
    this.#limit = new RateLimit({
      perSecond: options.perSecond ?? 10,
      burst: options.burst ?? 50,
    });
  }

  record(note: EventNote): void {
    if (this.#stopping.signal.aborted) return;
    const key = JSON.stringify([note.about, note.type, note.reason, note.message]);
    const nowMs = Date.now();
    let event = this.#known.get(key);
    if (event === undefined || nowMs - event.lastAtMs > sameEventMs) {
      event = {
        note,
        name: this.#newName(note, nowMs),
        firstAtMs: nowMs,
        lastAtMs: nowMs,
        count: 0,
        isWritten: false,
      };
    }
    event.count += 1;
    event.lastAtMs = nowMs;
    // The map is in the order of last use: the first one is the one to forget.
    this.#known.delete(key);
    this.#known.set(key, event);
    this.#waiting.add(key);
    if (this.#waiting.size > mostWaiting) this.#dropOldest();
    if (this.#known.size > mostRemembered) this.#forgetOldest();
    this.#writing ??= this.#write();
  }

  /** Ends writing; what waits is given up. Resolves when nothing is in flight. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#writing;
  }

  /** Resolves when everything that waits has been written or given up. */
  async whenIdle(): Promise<void> {
    await this.#writing;
  }

  #dropOldest(): void {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return;
    this.#waiting.delete(oldest);
    this.#known.delete(oldest);
    this.#options.onDropped?.();
  }

  #forgetOldest(): void {
    for (const key of this.#known.keys()) {
      if (this.#waiting.has(key)) continue;
      this.#known.delete(key);
      return;
    }
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    const { signal } = this.#stopping;
    // Lets a burst of equal events of one tick become one write.
    await pause(0, signal);
    for (;;) {
      const [key] = this.#waiting;
      if (key === undefined || signal.aborted) break;
      const waitMs = this.#limit.take(performance.now(), Number.POSITIVE_INFINITY) ?? 0;
      if (waitMs > 0) await pause(waitMs, signal);
      if (signal.aborted) break;
      // It may have been dropped, or counted up, while we waited.
      if (!this.#waiting.delete(key)) continue;
      const event = this.#known.get(key);
      if (event !== undefined) await this.#writeOne(key, event);
    }
    this.#writing = undefined;
  }

  async #writeOne(key: string, event: Remembered): Promise<void> {
    const { client, log } = this.#options;
    const namespace = event.note.about.namespace || "default";
    const path = `/api/v1/namespaces/${segment(namespace)}/events`;
    const tried = `record event ${event.note.reason} of ${event.note.about.kind} ${event.note.about.namespace}/${event.note.about.name}`;
    const { count } = event;
    try {
      if (event.isWritten) {
        const lastTimestamp = timestamp(event.lastAtMs);
        const answer = await client.write({
          method: "PATCH",
          path: `${path}/${segment(event.name)}`,
          body: { count, lastTimestamp },
          tried,
          timeLimitMs: writeLimitMs,
        });
        // Events live for an hour; one that is gone is written anew.
        if (answer.kind !== "missing") return;
      }
      event.isWritten = true;
      await client.write({
        method: "POST",
        path,
        body: this.#format(event, namespace, count),
        tried,
        timeLimitMs: writeLimitMs,
      });
    } catch (error) {
      this.#known.delete(key);
      this.#options.onDropped?.();
      log.debug("event not recorded", {
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }

  #format(event: Remembered, namespace: string, count: number): unknown {
    const { about, type, reason, message } = event.note;
    return {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: event.name, namespace },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.name,
        ...(about.namespace === "" ? {} : { namespace: about.namespace }),
        ...(about.uid === "" ? {} : { uid: about.uid }),
      },
      type,
      reason,
      message:
        message.length <= longestMessage ? message : `${message.slice(0, longestMessage - 1)}…`,
      source: { component: "galaxy-ipam", host: this.#options.instance },
      firstTimestamp: timestamp(event.firstAtMs),
      lastTimestamp: timestamp(event.lastAtMs),
      count,
    };
  }

  /** As client-go: the object's name and a number that does not repeat. */
  #newName(note: EventNote, nowMs: number): string {
    this.#sequence += 1;
    const suffix = `${nowMs.toString(16)}${this.#sequence.toString(16)}${process.pid.toString(16)}`;
    return `${note.about.name.slice(0, 200)}.${suffix}`;
  }
}

/** RFC 3339 in whole seconds, as meta/v1 Time is. */
function timestamp(atMs: number): string {
  return new Date(atMs).toISOString().replace(/\.[0-9]{3}Z$/, "Z");
}
