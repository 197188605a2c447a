// When a reserved address may go because no pod used it for too long, and when it must have gone: the judge's own reading of
// docs/idle-addresses.md from what the API server has and what owners were told. It decides nothing about policies.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import type { SimPod, SimWorkload } from "../src/adapters/simulated/objects.ts";
import type { Allocation } from "../src/core/allocation.ts";
import { isBound } from "../src/core/allocation.ts";
import { poolInForce } from "../src/core/decide-pool.ts";
import { podIsFinished } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import { podIdText, type WorkloadRef } from "../src/core/owner.ts";
import type { ReserveTtl } from "../src/core/reserve-ttl.ts";
import type { EventNote } from "../src/ports/event-recorder.ts";
import { graceMs, History } from "./violation.ts";

/** A release comes at most so long after its moment when nothing fails: the warning may come with one resync, and the release with the next. */
const lateMs = 75_000;

const dayMs = 86_400_000;

/** Follows reserved addresses and what was said about them. */
export class IdleRule {
  readonly #api: SimApi;
  /** From what the product says to what the API server sees, milliseconds. */
  readonly #toleranceMs: number;
  /** Since when no pod has a reserved address. */
  readonly #sinceMs = new Map<Ip, number>();
  /** When an operator wrote the record of a reserved address: since when it is idle is found out at the next look. */
  readonly #byHandMs = new Map<Ip, number>();
  /** When the owner of an address was told last. */
  readonly #toldMs = new Map<Ip, number>();
  /** What pods asked for, by uid: a record may name one that is gone already. */
  readonly #asked = new Map<string, ReserveTtl | undefined>();
  /** Uid of the last pod that was bound with the address. */
  readonly #lastBound = new Map<Ip, string>();
  /** Uids of the pods that a process gave the address to since then, bound or not, and of the last one before. */
  readonly #lastGiven = new Map<Ip, readonly string[]>();
  readonly #pools = new Map<string, History<ReserveTtl | undefined>>();
  /** Nothing fails any more since then. */
  #calmSinceMs = Number.NEGATIVE_INFINITY;

  constructor(api: SimApi, toleranceMs: number) {
    this.#api = api;
    this.#toleranceMs = toleranceMs;
  }

  /** Faults have ended. */
  noteCalm(): void {
    this.#calmSinceMs = this.#api.nowMs();
  }

  /** Somebody was told something. */
  noteEvent({ reason, message }: EventNote): void {
    const ip = reason === "IdleFloatingIP" ? /^address ([^ ,]+),/.exec(message)?.[1] : undefined;
    if (ip !== undefined) this.#toldMs.set(ip as Ip, this.#api.nowMs());
  }

  /** A pod was bound with its addresses. */
  noteBound({ facts }: SimPod): void {
    for (const ip of facts.assignedIps) {
      this.#lastBound.set(ip, facts.uid);
      this.#lastGiven.set(ip, this.#lastGiven.get(ip)?.slice(-1) ?? []);
    }
  }

  /** A pod is there, or changed. */
  notePod({ facts }: SimPod): void {
    this.#asked.set(facts.uid, facts.reserveTtl);
  }

  /** A Pool was written or deleted. */
  notePool(name: string): void {
    const inForce = poolInForce(this.#api.list("pools").filter((pool) => pool.name === name));
    let history = this.#pools.get(name);
    if (history === undefined) {
      history = new History();
      history.add(Number.NEGATIVE_INFINITY, undefined);
      this.#pools.set(name, history);
    }
    history.add(this.#api.nowMs(), inForce?.reserveTtl);
  }

  /** A record changed. To be called after its release was judged. */
  noteRecord(
    before: Allocation | undefined,
    after: Allocation | undefined,
    isByHand: boolean,
  ): void {
    const { ip } = (after ?? before) as Allocation;
    if (after !== undefined && isBound(after) && !isByHand) {
      this.#lastGiven.set(ip, [...(this.#lastGiven.get(ip) ?? []), after.podUid]);
    }
    if (after === undefined || !isReserved(after)) {
      this.#sinceMs.delete(ip);
      this.#byHandMs.delete(ip);
      return;
    }
    if (before === undefined || !isReserved(before)) this.#sinceMs.set(ip, this.#api.nowMs());
    if (isByHand) this.#byHandMs.set(ip, this.#api.nowMs());
  }

  /**
   * Why the address may not go for having been idle; undefined when it may. Nothing when nobody set it a time.
   * @param states of its workload, as far back as the release may rest on them; undefined for one that is not there
   */
  whyTooEarly(
    record: Allocation,
    states: readonly (SimWorkload | undefined)[],
  ): { readonly problem: string } | "no time" | undefined {
    const { ip } = record;
    const pods = [this.#lastBound.get(ip), ...(this.#lastGiven.get(ip) ?? [])].filter(
      (uid) => uid !== undefined,
    );
    const asked = pods.length === 0 ? [undefined] : pods.map((uid) => this.#asked.get(uid));
    const times = asked
      .flatMap((ttl) => this.#timesOf(record, states, ttl, graceMs))
      .filter((ttl) => typeof ttl === "number");
    if (times.length === 0) return "no time";
    const ttlMs = Math.min(...times);
    const nowMs = this.#api.nowMs();
    const sinceMs = this.#sinceMs.get(ip);
    const idleMs = sinceMs === undefined ? 0 : nowMs - sinceMs;
    if (idleMs < ttlMs - this.#toleranceMs) {
      return { problem: `no pod had it for ${idleMs} ms, and it was to be kept for ${ttlMs}` };
    }
    const toldMs = this.#toldMs.get(ip) ?? Number.NEGATIVE_INFINITY;
    if (sinceMs === undefined || toldMs < sinceMs - this.#toleranceMs) {
      return { problem: "its owner was not told" };
    }
    return nowMs - toldMs < Math.min(ttlMs / 4, dayMs) - this.#toleranceMs
      ? { problem: `its owner was told ${nowMs - toldMs} ms before, of ${ttlMs}` }
      : undefined;
  }

  /** Why a reserved address should have gone by now; undefined when it may stay, as while a pod waits that may have been promised it. */
  whyTooLate(record: Allocation, workload: SimWorkload | undefined): string | undefined {
    const { ip, owner } = record;
    const sinceMs = this.#sinceMs.get(ip);
    if (sinceMs === undefined || !isReserved(record)) return undefined;
    // A record that an operator edited says still what the pod before asked for.
    const [ttlMs] = this.#timesOf(record, [workload], record.reserveTtl, 0);
    if (typeof ttlMs !== "number") return undefined;
    const pods = this.#api.list("pods").filter(({ facts }) => !podIsFinished(facts));
    const name = poolOf(record);
    const isWanted = pods.some(({ facts }) => {
      if (owner.kind === "pod" && podIdText(owner.pod) === podIdText(facts.id)) return true;
      if (facts.nodeName !== "") return false;
      if (name !== undefined) return facts.pool === name;
      const ref = owner.kind === "workload" ? owner.workload : undefined;
      return ref?.namespace === facts.id.namespace && facts.id.name.startsWith(`${ref.name}-`);
    });
    const pool = poolInForce(this.#api.list("pools").filter((each) => each.name === name));
    if (isWanted || pool?.preAllocate === true) return undefined;
    const byHandMs = this.#byHandMs.get(ip);
    const fromMs =
      byHandMs === undefined ? sinceMs : Math.max(sinceMs, byHandMs, this.#calmSinceMs) + graceMs;
    const dueMs = Math.max(fromMs + ttlMs, this.#calmSinceMs) + Math.min(ttlMs / 4, dayMs);
    const overMs = this.#api.nowMs() - dueMs;
    return overMs <= lateMs
      ? undefined
      : `no pod had it for ${this.#api.nowMs() - sinceMs} ms, and it was to be kept for ${ttlMs}`;
  }

  /**
   * The times that may be in force.
   * @param lastPod what the last pod with the address asked for
   * @param backMs how old the knowledge of pools may be
   */
  #timesOf(
    { owner }: Allocation,
    states: readonly (SimWorkload | undefined)[],
    lastPod: ReserveTtl | undefined,
    backMs: number,
  ): readonly (ReserveTtl | undefined)[] {
    const ref = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    const name = poolOf({ owner });
    const defaults =
      name === undefined
        ? [undefined]
        : (this.#pools.get(name)?.since(this.#api.nowMs() - backMs) ?? [undefined]);
    const annotations = states.map((state) =>
      state === undefined || !isTemplateRead(ref) ? lastPod : state.template.reserveTtl,
    );
    return annotations.flatMap((asked) => (asked === undefined ? defaults : [asked]));
  }
}

function isReserved(record: Allocation): boolean {
  const { kind } = record.owner;
  return kind !== "admin" && kind !== "foreign" && !isBound(record);
}

/** Of custom workloads nobody reads the template. */
function isTemplateRead(ref: WorkloadRef | undefined): boolean {
  return ref !== undefined && ref.type !== "custom";
}

function poolOf({ owner }: Pick<Allocation, "owner">): string | undefined {
  return owner.kind === "pool" || owner.kind === "pod" ? owner.pool : undefined;
}
