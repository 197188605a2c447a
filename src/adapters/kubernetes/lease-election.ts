// Leader election on a coordination.k8s.io/v1 Lease, by the rules of client-go's leaderelection package, so that both can compete.
// Says who leads; what a leader does is not known here.

import type { Leadership } from "../../ports/leadership.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { asObject, type JsonObject, textAt, valueAt } from "../../wire/json-value.ts";
import { type ApiClient, parseAnswer, segment } from "./api-client.ts";
import { pause } from "./backoff.ts";

/** What the election needs. */
export type LeaseElectionOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly namespace: string;
  readonly name: string;
  /** Name of this process; no two may have the same. */
  readonly identity: string;
  /** How long others wait for a leader that says nothing. Default 15 s. */
  readonly leaseMs?: number;
  /** A leader that could not renew for so long stops leading; shorter than the lease. Default 10 s. */
  readonly renewLimitMs?: number;
  /** Pause between attempts. Default 2 s. */
  readonly retryMs?: number;
  /** This process leads from now on. */
  readonly onStarted?: () => void;
  /** This process leads no more. */
  readonly onStopped?: () => void;
};

/** The Lease as read, and when it was first seen to be so. */
type Seen = {
  readonly holder: string;
  readonly version: string;
  /** The part that changes with every renewal. */
  readonly stamp: string;
  readonly leaseMs: number;
  readonly seenAtMs: number;
  readonly object: JsonObject;
};

/**
 * One candidate. Time is measured on this machine only (`performance.now()`): a lease is expired when it has not changed for its
 * duration since we saw it change, whatever clocks of other machines say.
 */
export class LeaseElection implements Leadership {
  readonly #options: LeaseElectionOptions;
  readonly #leaseMs: number;
  readonly #renewLimitMs: number;
  readonly #retryMs: number;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #seen: Seen | undefined;
  #problem: string | undefined;
  #leads = false;
  /** Until when we may believe that we lead: the start of the last renewal that succeeded, and the renew limit. */
  #leadsUntilMs = Number.NEGATIVE_INFINITY;
  #deadlineTimer: NodeJS.Timeout | undefined;

  constructor(options: LeaseElectionOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewLimitMs = options.renewLimitMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2_000;
    if (this.#renewLimitMs >= this.#leaseMs || this.#retryMs >= this.#renewLimitMs) {
      throw new RangeError(
        `leader election needs retry ${this.#retryMs} ms < renew limit ${this.#renewLimitMs} ms < lease ${this.#leaseMs} ms; otherwise two could lead at once`,
      );
    }
  }

  /** True only while no other may have taken over, even when this process was stopped for a while and its timers are late. */
  isLeader(): boolean {
    return this.#leads && performance.now() < this.#leadsUntilMs;
  }

  leaderName(): string {
    if (this.isLeader()) return this.#options.identity;
    const holder = this.#seen?.holder ?? "";
    // What we wrote ourselves in an earlier life of leadership says nothing about now.
    return holder === this.#options.identity ? "" : holder;
  }

  /** Why the lease could not be read or written in the last round; undefined when it could. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Begins to compete; returns at once. */
  start(): void {
    this.#running ??= this.#run();
  }

  /**
   * Ends for good. A leader stops leading first and then gives the lease back, so that another one can take it at once; resolves when
   * that was tried.
   */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const startedMs = performance.now();
      try {
        await this.#tryOnce(startedMs);
        this.#problem = undefined;
      } catch (error) {
        this.#problem = error instanceof Error ? error.message : String(error);
        this.#options.log.warn("leader election could not reach its lease", {
          lease: `${this.#options.namespace}/${this.#options.name}`,
          reason: this.#problem,
          leads: this.isLeader(),
        });
      }
      if (this.#leads && performance.now() >= this.#leadsUntilMs) this.#lose("it was not renewed");
      // Candidates that came in step would collide for ever.
      const jitter = this.#leads ? 1 : 0.8 + Math.random() * 0.4;
      await pause(Math.min(this.#retryMs * jitter, this.#untilFreeMs()), signal);
    }
    await this.#release();
  }

  /** Until the lease of another one is over, as far as we can tell; waiting for the next round after that would only prolong the gap. */
  #untilFreeMs(): number {
    const seen = this.#seen;
    if (this.#leads || seen === undefined || seen.holder === "") return Number.POSITIVE_INFINITY;
    const leftMs = seen.seenAtMs + seen.leaseMs - performance.now();
    return leftMs > 0 ? leftMs + Math.random() * 50 : Number.POSITIVE_INFINITY;
  }

  /** One round: take a free lease, renew ours, or look at the other's. Rejects with a WorldError. */
  async #tryOnce(startedMs: number): Promise<void> {
    // Renewing by the version that we wrote last saves the read; the first conflict makes us look.
    if (!this.#leads || this.#seen === undefined) await this.#look();
    const { identity } = this.#options;
    const seen = this.#seen;
    const isOurs = seen?.holder === identity;
    const isTaken =
      seen !== undefined &&
      seen.holder !== "" &&
      !isOurs &&
      performance.now() < seen.seenAtMs + seen.leaseMs;
    if (isTaken) {
      if (this.#leads) this.#lose(`${seen.holder} has it`);
      return;
    }
    if (!(await this.#write(this.#record(seen, startedMs)))) {
      // Somebody wrote it meanwhile (or our last write arrived after all): look at once, renew in this round if it is ours.
      await this.#look();
      if (this.#seen?.holder !== identity) {
        if (this.#leads) this.#lose(`${this.#seen?.holder || "nobody"} has it`);
        return;
      }
      if (!(await this.#write(this.#record(this.#seen, startedMs)))) return;
    }
    // Renewed, but so slowly that we had to stop leading meanwhile: the next round starts afresh.
    if (performance.now() >= startedMs + this.#renewLimitMs) return;
    this.#leadsUntilMs = startedMs + this.#renewLimitMs;
    this.#armDeadline();
    if (!this.#leads && !this.#stopping.signal.aborted) {
      this.#leads = true;
      this.#options.log.info("this process leads", { lease: this.#options.name, identity });
      this.#call(this.#options.onStarted);
    }
  }

  /** Reads the lease. What was seen before keeps its time if nothing changed. */
  async #look(): Promise<void> {
    const answer = await this.#options.client.readJson({
      path: this.#path(),
      tried: `read Lease ${this.#options.namespace}/${this.#options.name}`,
      timeLimitMs: this.#requestLimitMs(),
      isUrgent: true,
    });
    this.#remember(answer.kind === "found" ? answer.json : undefined);
  }

  #remember(json: unknown): void {
    const object = asObject(json);
    if (object === undefined) {
      this.#seen = undefined;
      return;
    }
    const stamp = JSON.stringify(object["spec"] ?? null);
    const seconds = valueAt(object, "spec", "leaseDurationSeconds");
    const isSame = this.#seen?.stamp === stamp;
    this.#seen = {
      holder: textAt(object, "spec", "holderIdentity") ?? "",
      version: textAt(object, "metadata", "resourceVersion") ?? "",
      stamp,
      leaseMs: typeof seconds === "number" && seconds > 0 ? seconds * 1000 : this.#leaseMs,
      seenAtMs: isSame ? (this.#seen?.seenAtMs ?? performance.now()) : performance.now(),
      object,
    };
  }

  /** The lease that says that we hold it. */
  #record(seen: Seen | undefined, nowMs: number): JsonObject {
    const now = microTime(nowMs);
    const isOurs = seen?.holder === this.#options.identity;
    const transitions = valueAt(seen?.object, "spec", "leaseTransitions");
    const before = typeof transitions === "number" ? transitions : 0;
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        ...asObject(seen?.object["metadata"]),
        namespace: this.#options.namespace,
        name: this.#options.name,
      },
      spec: {
        ...asObject(seen?.object["spec"]),
        holderIdentity: this.#options.identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1000),
        acquireTime: isOurs ? (valueAt(seen?.object, "spec", "acquireTime") ?? now) : now,
        renewTime: now,
        leaseTransitions: seen === undefined || isOurs ? before : before + 1,
      },
    };
  }

  /** @returns false when somebody else was faster. Rejects with a WorldError. */
  async #write(record: JsonObject): Promise<boolean> {
    const isNew = textAt(record, "metadata", "resourceVersion") === undefined;
    const { client, namespace, name } = this.#options;
    const answer = await client.write({
      method: isNew ? "POST" : "PUT",
      path: isNew ? this.#collectionPath() : this.#path(),
      body: record,
      tried: `${isNew ? "create" : "renew"} Lease ${namespace}/${name}`,
      timeLimitMs: this.#requestLimitMs(),
      isUrgent: true,
    });
    if (answer.kind !== "done") return false;
    this.#remember(parseAnswer(answer.text, `write Lease ${namespace}/${name}`, true));
    return true;
  }

  /** As client-go: an empty holder and a lease of one second, so that the next candidate takes it with its next attempt. */
  async #release(): Promise<void> {
    const wasLeader = this.#leads;
    if (wasLeader) this.#lose("the program is stopping");
    const seen = this.#seen;
    if (!wasLeader || seen?.holder !== this.#options.identity) return;
    const record = this.#record(seen, performance.now());
    try {
      await this.#write({
        ...record,
        spec: {
          ...asObject(record["spec"]),
          holderIdentity: "",
          leaseDurationSeconds: 1,
        },
      });
      this.#options.log.info("lease given back", { lease: this.#options.name });
    } catch (error) {
      const reason = error instanceof WorldError ? error.message : String(error);
      this.#options.log.warn("lease not given back; another one takes over when it expires", {
        lease: this.#options.name,
        reason,
      });
    }
  }

  /** Stops leading on time even while a request to renew is still on its way. */
  #armDeadline(): void {
    clearTimeout(this.#deadlineTimer);
    this.#deadlineTimer = setTimeout(
      () => {
        if (this.#leads) this.#lose("it was not renewed in time");
      },
      Math.max(0, this.#leadsUntilMs - performance.now()),
    );
    this.#deadlineTimer.unref();
  }

  #lose(because: string): void {
    clearTimeout(this.#deadlineTimer);
    this.#leads = false;
    this.#leadsUntilMs = Number.NEGATIVE_INFINITY;
    this.#options.log.info("this process leads no more", {
      lease: this.#options.name,
      because,
    });
    this.#call(this.#options.onStopped);
  }

  #call(callback: (() => void) | undefined): void {
    try {
      callback?.();
    } catch (error) {
      this.#options.log.error("a listener of leader election failed", {}, error);
    }
  }

  /** Several attempts must fit into the renew limit. */
  #requestLimitMs(): number {
    return Math.max(this.#retryMs, this.#renewLimitMs / 3);
  }

  #collectionPath(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${segment(this.#options.namespace)}/leases`;
  }

  #path(): string {
    return `${this.#collectionPath()}/${segment(this.#options.name)}`;
  }
}

/** A moment on the scale of `performance.now()` as meta/v1 MicroTime. Only people read it. */
function microTime(atMs: number): string {
  return new Date(performance.timeOrigin + atMs).toISOString().replace(/Z$/, "000Z");
}
