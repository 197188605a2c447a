// Keeps a listener informed about a collection for ever: list, watch, resume, list again. Keeps no objects; watch-cache.ts does.

import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { type ApiClient, parseAnswer } from "./api-client.ts";
import { ApiError, parseStatus } from "./api-error.ts";
import { Backoff, pause } from "./backoff.ts";
import { type Collection, listPages, queryOf } from "./list-pages.ts";

/** Who is informed. Objects are as they came; a listener that throws is logged and does not end the watch. */
export type ListWatchListener = {
  /** A list begins: everything may have changed. */
  listBegins(): void;
  /** An object that exists: part of a list, new, or changed. May come twice. */
  seen(object: unknown): void;
  /** An object was deleted; its last state. */
  deleted(object: unknown): void;
  /** All pages of a list were told with {@link seen}: what was not among them does not exist. */
  listEnds(): void;
};

/** Times and sizes; the defaults suit production, tests use short ones. */
export type ListWatchTimes = {
  /** A watch without a byte for so long is opened again from where it was. Default 60 s. */
  readonly idleLimitMs?: number;
  /** First and longest pause after failures. Defaults 200 ms and 30 s. */
  readonly firstPauseMs?: number;
  readonly maxPauseMs?: number;
  /** Objects per page of a list. Default 500. */
  readonly pageSize?: number;
};

/** What a list-watch needs. */
export type ListWatchOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly collection: Collection;
  readonly listener: ListWatchListener;
  readonly times?: ListWatchTimes;
  /**
   * Whether objects are told at (re)start. False for a listener that reads everything by itself after `listEnds`:
   * then only the version to watch from is asked for.
   */
  readonly tellsLists?: boolean;
};

/** Why a watch ended: it can be resumed from the last version, or that version is too old. */
type WatchEnd = "resume" | "list again";

/** A list-watch of one collection. {@link start} once, {@link stop} for good. */
export class ListWatch {
  readonly #options: ListWatchOptions;
  readonly #backoff: Backoff;
  readonly #idleLimitMs: number;
  readonly #stopping = new AbortController();
  readonly #firstList = Promise.withResolvers<void>();
  #isStarted = false;
  #resourceVersion: string | undefined;
  #isSynced = false;
  #isWatching = false;
  #isReadable = true;
  #problem: string | undefined;
  #lastContactMs = Number.NEGATIVE_INFINITY;

  constructor(options: ListWatchOptions) {
    this.#options = options;
    this.#backoff = new Backoff({
      firstMs: options.times?.firstPauseMs ?? 200,
      maxMs: options.times?.maxPauseMs ?? 30_000,
    });
    this.#idleLimitMs = options.times?.idleLimitMs ?? 60_000;
    options.client.stopSignal.addEventListener("abort", () => this.#stopping.abort(), {
      once: true,
      signal: this.#stopping.signal,
    });
  }

  /** What is watched, as messages and metrics name it. */
  get what(): string {
    return this.#options.collection.what;
  }

  /** Whether a whole list has been told. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Whether a watch is open now: what was told is at most a moment old. */
  get isWatching(): boolean {
    return this.#isWatching;
  }

  /** Whether the API server serves the collection and lets us read it; a lost connection does not change this. */
  get isReadable(): boolean {
    return this.#isReadable;
  }

  /** Why the collection cannot be read at present; undefined when it can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** When the API server was last heard of this collection, on the scale of `performance.now()`. */
  get lastContactMs(): number {
    return this.#lastContactMs;
  }

  /** Resolves when {@link isSynced} becomes true; never rejects, and never resolves when stopped before. */
  whenSynced(): Promise<void> {
    return this.#firstList.promise;
  }

  /** Begins; returns at once. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#run();
  }

  /** Ends for good: nothing is told any more. A list that is being read is not waited for; closing the client ends its request. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Never rejects: whatever happens is logged and tried again. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    if (this.#options.client.stopSignal.aborted) return;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#list();
        if (signal.aborted) return;
        if ((await this.#watch()) === "list again") this.#resourceVersion = undefined;
      } catch (error) {
        if (signal.aborted) return;
        await this.#recover(error);
      } finally {
        this.#isWatching = false;
      }
    }
  }

  async #recover(error: unknown): Promise<void> {
    const { collection, log } = this.#options;
    const status = error instanceof ApiError ? error.status : undefined;
    // 410: too old to go on from. 404, 403: when the kind can be read again it may be another one. Unreadable: going on from the
    // same version would bring the same text again.
    const isUnreadable = error instanceof WorldError && error.code === "API_UNREADABLE";
    if (isUnreadable || status === 410 || status === 404 || status === 403) {
      this.#resourceVersion = undefined;
    }
    if (status === 404 || status === 403) this.#isReadable = false;
    const reason = error instanceof Error ? error.message : String(error);
    const retryAfterMs = error instanceof ApiError ? error.retryAfterMs : undefined;
    const pauseMs = this.#backoff.nextMs(retryAfterMs);
    if (this.#problem === undefined || !(error instanceof WorldError)) {
      log.warn(
        "watch interrupted",
        { collection: collection.what, reason, pauseMs: Math.round(pauseMs) },
        error instanceof WorldError ? undefined : error,
      );
    }
    this.#problem = reason;
    await pause(pauseMs, this.#stopping.signal);
  }

  async #list(): Promise<void> {
    const { client, collection, listener, tellsLists, times } = this.#options;
    const tells = tellsLists !== false;
    this.#tell(() => listener.listBegins());
    let resourceVersion = "";
    for await (const page of listPages(client, collection, tells ? (times?.pageSize ?? 500) : 1)) {
      if (this.#stopping.signal.aborted) return;
      this.#heard();
      ({ resourceVersion } = page);
      if (!tells) break;
      for (const item of page.items) this.#tell(() => listener.seen(item));
    }
    if (this.#stopping.signal.aborted) return;
    this.#resourceVersion = resourceVersion;
    // Before the listener is told: what it does now may depend on it.
    this.#isSynced = true;
    this.#tell(() => listener.listEnds());
    this.#firstList.resolve();
  }

  async #watch(): Promise<WatchEnd> {
    const { client, collection } = this.#options;
    // Watches of many clients that started together should not end together.
    const timeoutSeconds = 300 + Math.floor(Math.random() * 300);
    const query = queryOf(collection, {
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: this.#resourceVersion ?? "",
      timeoutSeconds: String(timeoutSeconds),
    });
    const ending = new AbortController();
    const endNow = (): void => ending.abort();
    this.#stopping.signal.addEventListener("abort", endNow, { once: true });
    let idle: NodeJS.Timeout | undefined;
    try {
      const stream = await client.openStream({
        path: `${collection.path}?${query}`,
        tried: `watch ${collection.what}`,
        stop: ending.signal,
      });
      this.#heard();
      this.#isWatching = true;
      const startedMs = performance.now();
      // Bookmarks come about once a minute on busy collections only, so that silence is no proof of a broken connection;
      // opening the watch again from the same version costs one request and loses nothing.
      idle = setTimeout(endNow, this.#idleLimitMs);
      idle.unref();
      let events = 0;
      let rest: Buffer[] = [];
      try {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          idle.refresh();
          this.#heard();
          let from = 0;
          for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
            rest.push(chunk.subarray(from, end));
            const line = rest.length === 1 ? (rest[0] as Buffer) : Buffer.concat(rest);
            rest = [];
            from = end + 1;
            events += 1;
            if (line.length > 0 && this.#event(line) === "list again") return "list again";
          }
          if (from < chunk.length) rest.push(chunk.subarray(from));
        }
      } catch (error) {
        if (error instanceof WorldError) throw error;
        // The connection broke or we ended it; the last version that was told is where to go on.
        if (this.#stopping.signal.aborted) return "resume";
      }
      if (performance.now() - startedMs >= 1000) {
        this.#backoff.reset();
      } else if (events === 0) {
        // A watch that is cut off at once, again and again, must not become a tight loop.
        await pause(this.#backoff.nextMs(undefined), this.#stopping.signal);
      }
      return "resume";
    } finally {
      clearTimeout(idle);
      this.#stopping.signal.removeEventListener("abort", endNow);
      ending.abort();
    }
  }

  /** One line of a watch. Throws an ApiError for an ERROR event other than "too old". */
  #event(line: Buffer): WatchEnd {
    const { collection, listener } = this.#options;
    const tried = `watch ${collection.what}`;
    const event = parseAnswer(line.toString("utf8"), tried, false) as {
      readonly type?: unknown;
      readonly object?: unknown;
    } | null;
    const object = event?.object;
    switch (event?.type) {
      case "ADDED":
      case "MODIFIED":
        this.#tell(() => listener.seen(object));
        break;
      case "DELETED":
        this.#tell(() => listener.deleted(object));
        break;
      case "BOOKMARK":
        break;
      case "ERROR": {
        const code = (object as { readonly code?: unknown } | null | undefined)?.code;
        if (code === 410) return "list again";
        throw new ApiError("API_UNAVAILABLE", {
          tried,
          message: `the API server ended the watch (${String(code)} ${parseStatus(JSON.stringify(object)).message})`,
          mayHaveHappened: false,
          status: typeof code === "number" ? code : 0,
        });
      }
      default:
        // A kind of event that does not exist today; its object has the version to go on from all the same.
        break;
    }
    const version = versionOf(object);
    if (version !== undefined) {
      this.#resourceVersion = version;
      this.#backoff.reset();
    }
    return "resume";
  }

  #heard(): void {
    this.#lastContactMs = performance.now();
    this.#isReadable = true;
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#options.log.info("watch works again", { collection: this.#options.collection.what });
  }

  #tell(action: () => void): void {
    if (this.#stopping.signal.aborted) return;
    try {
      action();
    } catch (error) {
      this.#options.log.error(
        "a listener failed; the watch goes on",
        { collection: this.#options.collection.what },
        error,
      );
    }
  }
}

/** The resourceVersion of an object; undefined when it has none. */
export function versionOf(object: unknown): string | undefined {
  const version = (
    object as { readonly metadata?: { readonly resourceVersion?: unknown } } | null | undefined
  )?.metadata?.resourceVersion;
  return typeof version === "string" && version !== "" ? version : undefined;
}
