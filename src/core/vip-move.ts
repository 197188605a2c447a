// What a controller may do about one virtual address now: the rules that keep two nodes from answering at once (docs/design/vip.md). Pure;
// who should hold it is vip-holder.ts.

import type { NodeLease, VipHolder, VipRecord } from "./vip.ts";
import { waitOutMs } from "./vip.ts";

/** What a controller knows of a node's lease from its own observation; times are on its own clock. */
export type LeaseSight = {
  /** As seen last; undefined: there was none. */
  readonly lease: NodeLease | undefined;
  /** Since when it is seen in this version. */
  readonly sinceMs: number;
  /** Sessions up to this one are proven to be over: their node answers nothing under them. */
  readonly deadUpTo: number;
};

/**
 * Whether a node can still answer under a session.
 * - `over`: proven that not; `by` the agent, which began another session, or by `time`, for a node that holds by its lease alone
 * - `ending`: it was revoked, and is over from `overAtMs` on
 * - `silent`: not renewed for so long that a revocation that succeeds now proves that it is over
 * - `live`: none of these; `silentAtMs` is when it becomes silent
 */
export type SessionStanding =
  | { readonly kind: "over"; readonly by: "agent" | "time" }
  | { readonly kind: "ending"; readonly overAtMs: number }
  | { readonly kind: "silent" }
  | { readonly kind: "live"; readonly silentAtMs: number };

/** @param fallbackMs duration to assume for a lease that is not there */
export function standingOf(
  session: number,
  sight: LeaseSight,
  nowMs: number,
  fallbackMs: number,
): SessionStanding {
  const { lease, sinceMs } = sight;
  // An agent joins with a new session only after its kernel stopped answering for the old one.
  if (lease !== undefined && lease.session > session) return { kind: "over", by: "agent" };
  if (session <= sight.deadUpTo) return { kind: "over", by: "time" };
  // What is seen may be older than the grant; then nothing follows from it.
  if (lease !== undefined && lease.session < session) {
    return { kind: "live", silentAtMs: sinceMs + waitOutMs(lease.durationMs) };
  }
  const endMs = sinceMs + waitOutMs(lease?.durationMs ?? fallbackMs);
  if (lease?.isRevoked === true) {
    return nowMs >= endMs ? { kind: "over", by: "time" } : { kind: "ending", overAtMs: endMs };
  }
  return nowMs >= endMs ? { kind: "silent" } : { kind: "live", silentAtMs: endMs };
}

/** Whether an agent renews: a node may be granted something only then. */
export function isFresh(sight: LeaseSight, nowMs: number): boolean {
  const { lease, sinceMs } = sight;
  return lease !== undefined && !lease.isRevoked && nowMs < sinceMs + lease.durationMs;
}

/** What one address needs. */
export type VipMove =
  /** Nothing before `untilMs`; undefined: nothing until something is seen to change. */
  | { readonly kind: "wait"; readonly untilMs: number | undefined }
  /** Ask the holder's node to let go, and let the next one get ready. */
  | { readonly kind: "ask"; readonly next: VipHolder | undefined }
  /** Take the lease of the holder's node away. */
  | { readonly kind: "revoke" }
  /** Grant the next epoch. */
  | { readonly kind: "grant"; readonly to: VipHolder }
  /** The old holder answers no more and nobody else may. */
  | { readonly kind: "vacate" };

/** What {@link decideMove} is made from. */
export type MoveFacts = {
  readonly record: VipRecord;
  /** Who should hold it; undefined: nobody may. */
  readonly wanted: VipHolder | undefined;
  /** Of the holder's session; whatever, when there is no holder. */
  readonly standing: SessionStanding;
  /** Since when this controller has seen that the holder was asked to let go, on its own clock; undefined: it was not asked. */
  readonly askedSinceMs: number | undefined;
  readonly ackMs: number;
  /** Whether the node cannot hold by others' word beyond its lease: always so in pools that fence (vip-quorum.ts). */
  readonly isOverruled: boolean;
  /** The grant is right, and is to be made once more because its voters are not (vip-quorum.ts). */
  readonly isOutdated: boolean;
  readonly nowMs: number;
};

/** Before a quorum is asked for again. */
const quorumMs = 500;

/**
 * Decides the next step. A grant comes only where the record itself says that the old node let go, or where the old session is over: both
 * stay true for ever, so that a controller that was paused in between does no harm.
 */
export function decideMove(facts: MoveFacts): VipMove {
  const { isOverruled, record, wanted, standing, nowMs } = facts;
  const { holder } = record;
  const isEnded = standing.kind === "over" && (standing.by === "agent" || isOverruled);
  const isFree = holder === undefined || record.release === "done" || isEnded;
  if (isFree) {
    if (wanted !== undefined) return { kind: "grant", to: wanted };
    const isVacant = holder === undefined && record.next === undefined && record.release === "none";
    return isVacant ? { kind: "wait", untilMs: undefined } : { kind: "vacate" };
  }
  if (standing.kind === "over") return { kind: "wait", untilMs: nowMs + quorumMs };
  if (standing.kind === "silent") {
    return isOverruled ? { kind: "revoke" } : { kind: "wait", untilMs: nowMs + quorumMs };
  }
  if (standing.kind === "ending") return { kind: "wait", untilMs: standing.overAtMs };
  if (record.release === "wanted") {
    // Also when the holder would be right again: what was asked may be done at any moment.
    const giveUpMs = (facts.askedSinceMs ?? nowMs) + facts.ackMs;
    return nowMs >= giveUpMs ? { kind: "revoke" } : { kind: "wait", untilMs: giveUpMs };
  }
  if (wanted !== undefined && sameHolder(wanted, holder) && !facts.isOutdated) {
    return { kind: "wait", untilMs: standing.silentAtMs };
  }
  return { kind: "ask", next: wanted };
}

/** The same pod, in the same session of its node. */
export function sameHolder(a: VipHolder, b: VipHolder): boolean {
  return (
    a.podUid === b.podUid &&
    a.nodeName === b.nodeName &&
    a.session === b.session &&
    a.podIp === b.podIp
  );
}

/** What was seen of a lease, after one more look at it. A sight that is older than the last is for the caller to keep out. */
export function lookAgain(
  before: LeaseSight | undefined,
  lease: NodeLease | undefined,
  nowMs: number,
): LeaseSight {
  if (before === undefined) return { lease, sinceMs: nowMs, deadUpTo: 0 };
  const isSame = before.lease?.version === lease?.version;
  const ended =
    before.lease !== undefined && lease !== undefined && lease.session > before.lease.session
      ? before.lease.session
      : 0;
  return {
    lease,
    sinceMs: isSame ? before.sinceMs : nowMs,
    deadUpTo: Math.max(before.deadUpTo, ended),
  };
}

/**
 * What is known after this controller's revocation succeeded.
 * @param sight what was seen before the request was sent
 * @param sentMs when it was sent: a lease that had been silent for long enough then is over at once
 * @param nowMs when the answer came: otherwise the lease is waited out from here, because a renewal may have come just before the
 *   revocation
 */
export function afterRevocation(
  sight: LeaseSight,
  revoked: NodeLease,
  { sentMs, nowMs }: { readonly sentMs: number; readonly nowMs: number },
): LeaseSight {
  const wasSilent =
    sight.lease !== undefined && sentMs >= sight.sinceMs + waitOutMs(sight.lease.durationMs);
  return {
    lease: revoked,
    sinceMs: nowMs,
    deadUpTo: wasSilent ? Math.max(sight.deadUpTo, revoked.session) : sight.deadUpTo,
  };
}
