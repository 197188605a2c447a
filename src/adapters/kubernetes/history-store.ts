// HistoryStore in FloatingIPHistory objects: chunks of changes, compressed, of which the newest is written anew with each addition and the
// oldest are deleted. Every process has the whole of it in memory as soon as it was asked for.

import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { Ip } from "../../core/ip.ts";
import type { HistoryBounds, HolderChange, Tenure, TenureFilter } from "../../core/tenure.ts";
import { TenureLog } from "../../core/tenure.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HistoryStore, KeptHistory } from "../../ports/history-store.ts";
import type { Leadership } from "../../ports/leadership.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { historyCrd } from "../../wire/crd.ts";
import { galaxyApiVersion } from "../../wire/established-names.ts";
import { formatHolderChange, parseHolderChange } from "../../wire/holder-change.ts";
import { textAt, valueAt } from "../../wire/json-value.ts";
import type { ApiClient } from "./api-client.ts";
import { parseAnswer, segment } from "./api-client.ts";
import { ensureCrds } from "./crds.ts";
import { listPages } from "./list-pages.ts";

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

const collection = `/apis/${galaxyApiVersion}/floatingiphistories`;

/** Changes of a chunk: some 30 KB compressed, which is what one addition writes at most. */
const changesPerChunk = 1_000;

/** Most bytes that a chunk may have when it is unpacked; one that says more is not ours. */
const largestChunkBytes = 64 * 1024 * 1024;

/** Pages of a list carry so many chunks at most. */
const chunksPerPage = 20;

/** How old the answer of a follower may be. */
const followerAgeMs = 5_000;

/** What the store needs. */
export type KubernetesHistoryStoreOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly clock: Clock;
  readonly leadership: Leadership;
  /** Name of this process; tells whether a write whose outcome is unknown was made. */
  readonly identity: string;
  readonly bounds: HistoryBounds;
};

/** A chunk as the API server has it. */
type Chunk = {
  readonly name: string;
  readonly version: string;
  /** Number of its first change, counted over all chunks. */
  readonly first: number;
  readonly writer: string;
  readonly serial: number;
  readonly changes: readonly HolderChange[];
  /** Changes in it, also when they cannot be read. */
  readonly count: number;
  /** When the last of them happened, milliseconds since 1970. */
  readonly untilMs: number;
};

/** History in a cluster. */
export class KubernetesHistoryStore implements HistoryStore {
  readonly #options: KubernetesHistoryStoreOptions;
  /** In order; undefined while what is there is not known. */
  #chunks: Chunk[] | undefined;
  #log: TenureLog;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #isInstalled = false;
  /** Number of the addition that is under way, so that its repetition is known as one. */
  #serial = 0;
  #pending: readonly HolderChange[] | undefined;
  #pendingDone = 0;
  /** The write whose outcome is not known. */
  #tried: { readonly serial: number; readonly count: number } | undefined;
  #reading: Promise<Chunk[]> | undefined;

  constructor(options: KubernetesHistoryStoreOptions) {
    this.#options = options;
    this.#log = new TenureLog(options.bounds);
  }

  async append(changes: readonly HolderChange[]): Promise<void> {
    // The same first change means the same list, perhaps longer: a rejected addition that is tried again.
    if (this.#pending?.[0] !== changes[0]) {
      this.#pendingDone = 0;
      this.#tried = undefined;
    }
    this.#pending = changes;
    try {
      while (this.#pendingDone < changes.length) {
        const chunks = this.#chunks ?? (await this.#readAll());
        const last = chunks.at(-1);
        const wasDone = this.#doneBefore(last);
        if (wasDone > 0) {
          this.#pendingDone += wasDone;
          continue;
        }
        await this.#write(chunks, last, changes.slice(this.#pendingDone));
      }
      this.#pending = undefined;
    } catch (error) {
      this.#chunks = undefined;
      throw error;
    }
    await this.#forgetOldest();
  }

  /** How much of what was tried last stands in the newest chunk after an unknown outcome. */
  #doneBefore(last: Chunk | undefined): number {
    const tried = this.#tried;
    this.#tried = undefined;
    if (tried === undefined || last === undefined) return 0;
    const isOurs = last.writer === this.#options.identity && last.serial === tried.serial;
    return isOurs ? tried.count : 0;
  }

  async #write(
    chunks: Chunk[],
    last: Chunk | undefined,
    changes: readonly HolderChange[],
  ): Promise<void> {
    const { client, identity, leadership } = this.#options;
    const current = last !== undefined && last.count < changesPerChunk ? last : undefined;
    const first = current?.first ?? (last === undefined ? 0 : last.first + last.count);
    const room = changesPerChunk - (current?.count ?? 0);
    const added = changes.slice(0, room);
    const content = [...(current?.changes ?? []), ...added];
    const name = current?.name ?? `changes-${String(first).padStart(15, "0")}`;
    this.#serial += 1;
    const serial = this.#serial;
    const body = {
      apiVersion: galaxyApiVersion,
      kind: "FloatingIPHistory",
      metadata: { name, ...(current === undefined ? {} : { resourceVersion: current.version }) },
      spec: {
        first,
        count: content.length,
        from: timeText(content[0]),
        until: timeText(content.at(-1)),
        writer: identity,
        serial,
        changes: (await gzipAsync(content.map(formatHolderChange).join("\n"))).toString("base64"),
      },
    };
    const tried = `write FloatingIPHistory ${name}`;
    // Compressing took its time, and this process may have stood still in it.
    if (!leadership.isLeader()) {
      throw new WorldError("NOT_LEADER", {
        tried,
        message: "another replica leads since; it finds out what was not written",
      });
    }
    this.#tried = { serial, count: added.length };
    const answer = await client.write({
      method: current === undefined ? "POST" : "PUT",
      path: current === undefined ? collection : `${collection}/${segment(name)}`,
      body,
      tried,
    });
    if (answer.kind !== "done") {
      // Somebody else wrote or removed it: what is there has to be read before anything is added.
      throw new WorldError("API_REJECTED", {
        tried,
        message: `it is not what it was (${answer.message}); it is read and tried again`,
      });
    }
    this.#tried = undefined;
    const version =
      textAt(parseAnswer(answer.text, tried, true), "metadata", "resourceVersion") ?? "";
    const chunk: Chunk = {
      name,
      version,
      first,
      writer: identity,
      serial,
      changes: content,
      count: content.length,
      untilMs: content.at(-1)?.atMs ?? 0,
    };
    if (current === undefined) chunks.push(chunk);
    else chunks[chunks.length - 1] = chunk;
    this.#pendingDone += added.length;
    this.#log.append(added, this.#options.clock.nowMs());
  }

  /** Whole chunks, as soon as what is left is enough. A chunk that cannot be deleted now goes with the next addition. */
  async #forgetOldest(): Promise<void> {
    const { client, clock, log } = this.#options;
    const { mostChanges, longestMs } = this.#options.bounds;
    const chunks = this.#chunks;
    if (chunks === undefined) return;
    let count = chunks.reduce((sum, chunk) => sum + chunk.count, 0);
    for (;;) {
      const [oldest] = chunks;
      if (oldest === undefined || chunks.length === 1) return;
      const isTooMuch = count - oldest.count >= mostChanges;
      const isTooOld = oldest.untilMs < clock.nowMs() - longestMs;
      if (!isTooMuch && !isTooOld) return;
      try {
        await client.write({
          method: "DELETE",
          path: `${collection}/${segment(oldest.name)}`,
          body: undefined,
          tried: `delete FloatingIPHistory ${oldest.name}`,
        });
      } catch (error) {
        log.warn("oldest history could not be deleted, it is tried again", {}, error);
        return;
      }
      chunks.shift();
      count -= oldest.count;
    }
  }

  async ended(
    filter: TenureFilter,
    page: { readonly offset: number; readonly limit: number },
  ): Promise<KeptHistory> {
    const { leadership } = this.#options;
    const isOld = performance.now() - this.#readAtMs > followerAgeMs;
    if (this.#chunks === undefined || (!leadership.isLeader() && isOld)) await this.#readAll();
    return { ...this.#log.ended(filter, page), keptSinceMs: this.#log.keptSinceMs };
  }

  async lastHolders(): Promise<ReadonlyMap<Ip, Pick<Tenure, "holder" | "fromMs" | "fromIsAbout">>> {
    await this.#readAll();
    return this.#log.lastHolders();
  }

  /** Reads all chunks; those that are as they were are not unpacked again. Who asks at the same time shares it. */
  #readAll(): Promise<Chunk[]> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<Chunk[]> {
    const { client, clock, log, bounds } = this.#options;
    if (!this.#isInstalled) {
      await ensureCrds({ client, log, manifests: [historyCrd] });
      this.#isInstalled = true;
    }
    const known = new Map((this.#chunks ?? []).map((chunk) => [chunk.name, chunk]));
    const chunks: Chunk[] = [];
    const pages = listPages(
      client,
      { path: collection, what: "FloatingIPHistories" },
      chunksPerPage,
    );
    for await (const { items } of pages) {
      for (const item of items) chunks.push(await this.#chunkOf(item, known));
    }
    chunks.sort((a, b) => a.first - b.first);
    const tenures = new TenureLog(bounds);
    if ((chunks[0]?.first ?? 0) > 0) tenures.markShortened();
    for (const { changes } of chunks) tenures.append(changes, clock.nowMs());
    this.#log = tenures;
    this.#chunks = chunks;
    this.#readAtMs = performance.now();
    return chunks;
  }

  /** A chunk that cannot be read keeps its place, so that nothing is written over it. */
  async #chunkOf(item: unknown, known: ReadonlyMap<string, Chunk>): Promise<Chunk> {
    const name = textAt(item, "metadata", "name") ?? "";
    const version = textAt(item, "metadata", "resourceVersion") ?? "";
    const found = known.get(name);
    if (found?.version === version) return found;
    const first = Number(valueAt(item, "spec", "first")) || 0;
    let changes: HolderChange[] = [];
    // Full, so that nothing is written over what cannot be read.
    let count = changesPerChunk;
    try {
      const packed = Buffer.from(textAt(item, "spec", "changes") ?? "", "base64");
      const text = (await gunzipAsync(packed, { maxOutputLength: largestChunkBytes })).toString();
      changes = text.split("\n").flatMap((line) => parseHolderChange(line) ?? []);
      count = changes.length;
    } catch (error) {
      this.#options.log.warn("a part of the history cannot be read", { name }, error);
    }
    return {
      name,
      version,
      first,
      writer: textAt(item, "spec", "writer") ?? "",
      serial: Number(valueAt(item, "spec", "serial")) || 0,
      changes,
      count,
      // What somebody spoiled stays as long as it would have.
      untilMs:
        changes.at(-1)?.atMs ??
        (Date.parse(textAt(item, "spec", "until") ?? "") || Number.POSITIVE_INFINITY),
    };
  }
}

function timeText(change: HolderChange | undefined): string {
  return new Date(change?.atMs ?? 0).toISOString();
}
