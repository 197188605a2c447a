// What becomes of a reserved address that no pod uses: counted, announced, released, or left alone. Pure; the life of an address with pods and
// workloads is decided in decide-reclaim.ts, and asked first.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import type { ReserveTtl } from "./reserve-ttl.ts";

/** An owner hears of it so long before the release: a quarter of the time, a day at most. */
export function idleWarningMs(ttlMs: number): number {
  return Math.min(ttlMs / 4, 86_400_000);
}

/** Which time is in force, and who said so. */
export type TtlInForce =
  | { readonly kind: "ms"; readonly ttlMs: number; readonly from: "annotation" | "pool" }
  /** Nobody asked for one, or somebody asked for none. */
  | { readonly kind: "none" }
  /** The workload, which may ask for one, cannot be read now. */
  | { readonly kind: "unknown" };

/**
 * The time in force for an address. What the workload's pod template says now counts; when it is gone, or its template is not known, what
 * the last pod's annotation said. Without an annotation it is the pool's.
 * @param template `none`: it has no annotation; undefined: no template is known; `unknown`: it cannot be read now
 * @param pool the pool's default; undefined when it has none, or there is no pool
 */
export function ttlInForce(facts: {
  readonly recorded: ReserveTtl | undefined;
  readonly template: ReserveTtl | "none" | "unknown" | undefined;
  readonly pool: ReserveTtl | undefined;
}): TtlInForce {
  const { recorded, template, pool } = facts;
  if (template === "unknown") return { kind: "unknown" };
  const annotation = template === undefined ? recorded : template === "none" ? undefined : template;
  const ttl = annotation ?? pool;
  if (ttl === undefined || ttl === "never") return { kind: "none" };
  return { kind: "ms", ttlMs: ttl, from: annotation === undefined ? "pool" : "annotation" };
}

/** The facts of one address. */
export type IdleFacts = {
  readonly allocation: Allocation;
  readonly ttl: TtlInForce;
  /** Why somebody needs it at this moment although no pod has it; undefined when nobody does. */
  readonly wantedBecause: string | undefined;
  readonly nowMs: number;
};

/**
 * The outcome with its reason. `look`: nothing changes before `atMs`. `count`: the record is to say since when nobody uses it, and that nobody was
 * told yet. `warn`: the owner is to be told now, and the record to say so; it is released at `releaseAtMs` if nothing changes.
 */
export type IdleDecision =
  | { readonly do: "keep"; readonly because: string }
  | { readonly do: "look"; readonly atMs: number }
  | { readonly do: "count"; readonly sinceMs: number; readonly warnedMs: number | undefined }
  | { readonly do: "warn"; readonly sinceMs: number; readonly releaseAtMs: number }
  | { readonly do: "release"; readonly sinceMs: number; readonly ttlMs: number };

/**
 * Decides about a reserved address. It is released only when its time is over and its owner was told at least the warning time before, by
 * whatever process and before whatever jump of the clock: both moments stand in the record. A moment that lies in the future was written by a
 * clock that was ahead, and counts from now.
 */
export function decideIdle({ allocation, ttl, wantedBecause, nowMs }: IdleFacts): IdleDecision {
  const { owner } = allocation;
  if (owner.kind === "admin") return keep("reserved by the administrator");
  if (owner.kind === "foreign") return keep("key not understood");
  if (isBound(allocation)) return keep("a pod has it");
  if (ttl.kind === "unknown") return keep("workload state unknown");
  if (ttl.kind === "none") return keep("no time limit");
  const { idleSinceMs, idleWarnedMs } = allocation;
  if (idleSinceMs === undefined || idleSinceMs > nowMs) {
    return { do: "count", sinceMs: nowMs, warnedMs: undefined };
  }
  if (idleWarnedMs !== undefined && idleWarnedMs > nowMs) {
    return { do: "count", sinceMs: idleSinceMs, warnedMs: nowMs };
  }
  if (wantedBecause !== undefined) return keep(wantedBecause);
  const { ttlMs } = ttl;
  const warningMs = idleWarningMs(ttlMs);
  const warnAtMs = idleSinceMs + ttlMs - warningMs;
  if (nowMs < warnAtMs) return { do: "look", atMs: warnAtMs };
  if (idleWarnedMs === undefined || idleWarnedMs < idleSinceMs) {
    return {
      do: "warn",
      sinceMs: idleSinceMs,
      releaseAtMs: Math.max(idleSinceMs + ttlMs, nowMs + warningMs),
    };
  }
  const releaseAtMs = releaseTimeMs({ idleSinceMs, idleWarnedMs, ttlMs });
  if (nowMs < releaseAtMs) return { do: "look", atMs: releaseAtMs };
  return { do: "release", sinceMs: idleSinceMs, ttlMs };
}

/** When the address is released if nothing changes: after its time, and not before the owner had the warning time. */
export function releaseTimeMs(facts: {
  readonly idleSinceMs: number;
  readonly idleWarnedMs: number | undefined;
  readonly ttlMs: number;
}): number {
  const { idleSinceMs, idleWarnedMs, ttlMs } = facts;
  const endMs = idleSinceMs + ttlMs;
  return idleWarnedMs === undefined ? endMs : Math.max(endMs, idleWarnedMs + idleWarningMs(ttlMs));
}

function keep(because: string): IdleDecision {
  return { do: "keep", because };
}
