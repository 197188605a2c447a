// Tells of virtual addresses what records show: events on pods and records, conditions of pods, figures. Changes no record and decides nothing;
// only the leader tells, the others look on so that they know what is old when they lead.

import type { Ip } from "../core/ip.ts";
import type { PodId } from "../core/owner.ts";
import { podIdText } from "../core/owner.ts";
import type { VipParty, VipRecord, VipTransition } from "../core/vip.ts";
import { judgeClaim } from "../core/vip-holder.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventNote, EventRecorder, ObjectRef } from "../ports/event-recorder.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { HolderCondition, PodConditions, VipClaim, VipClaims } from "../ports/vip-claims.ts";
import type { VipStore } from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";

/** What it needs. */
export type VipWitnessPorts = {
  readonly vips: VipStore;
  readonly claims: VipClaims;
  readonly conditions: PodConditions;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Log;
  /** What an event about a record refers to. */
  readonly refOf: (ip: Ip) => ObjectRef;
};

/** How often it looks for what nobody tells of: complaints, and conditions that were not written. */
const roundMs = 1_000;

/**
 * Events and conditions wait until no record changed for so long. What happens until then becomes one condition of a pod, which may hold dozens
 * of addresses that move together; and a storm of moves has the API server for itself.
 */
const gatherMs = 300;

/** Nothing waits for longer than this. */
const longestGatherMs = 3_000;

/** After a write, the watch is given so long to show it before what it shows is believed again. */
const settleMs = 2_000;

/** Conditions that are written at a time. */
const mostAtOnce = 8;

/** Most refusals that are remembered as told; more are told again. */
const mostTold = 10_000;

/** What was seen of a record last. */
type Seen = Pick<VipRecord, "transition" | "look" | "foreignOwner">;

/** A pod whose condition may be wrong. */
type PodRef = { readonly id: PodId; readonly uid: string };

/** Tells what happens. */
export class VipWitness {
  readonly #ports: VipWitnessPorts;
  readonly #seen = new Map<Ip, Seen>();
  /** Refusals and complaints that were told. */
  readonly #told = new Set<string>();
  /** What was written to pods a moment ago, by uid. */
  readonly #written = new Map<string, { readonly condition: string; readonly atMs: number }>();
  /** Pods that were told something, by uid: when they claim nothing any more they are told so. */
  readonly #claimants = new Map<string, PodRef>();
  readonly #waiting = new Map<string, PodRef>();
  /** Events that wait with the conditions. */
  #news: EventNote[] = [];
  #isGathering = false;
  #lastChangeMs = Number.NEGATIVE_INFINITY;
  /** Uids of pods that are being written to: one write of a pod at a time. */
  readonly #inFlight = new Set<string>();
  #stops: readonly (() => void)[] = [];
  #isRunning = false;

  constructor(ports: VipWitnessPorts) {
    this.#ports = ports;
  }

  /** Begins to look; what is there already is no news. */
  start(): void {
    const { claims, vips } = this.#ports;
    this.#isRunning = true;
    for (const record of vips.all()) this.#seen.set(record.ip, record);
    this.#stops = [vips.watch((ip) => this.#look(ip)), claims.watch((ip) => this.#lookAtPods(ip))];
    this.#round();
  }

  /** Ends; what is being written ends by itself. */
  stop(): void {
    this.#isRunning = false;
    for (const stop of this.#stops) stop();
    this.#waiting.clear();
    this.#news = [];
  }

  /** This process leads from now on: conditions that are wrong are written. */
  lead(): void {
    this.#written.clear();
    for (const ip of this.#ports.claims.claimedIps()) this.#lookAtPods(ip);
  }

  #round(): void {
    if (!this.#isRunning) return;
    if (this.#ports.leadership.isLeader()) {
      this.#tellComplaints();
      this.#lookAgain();
      if (!this.#isGathering) this.#begin();
    }
    this.#ports.clock.after(roundMs, () => this.#round());
  }

  /** Somebody else may have written over what was written. */
  #lookAgain(): void {
    const nowMs = this.#ports.clock.nowMs();
    for (const [uid, { atMs }] of this.#written) {
      if (nowMs - atMs < settleMs || this.#inFlight.has(uid)) continue;
      this.#written.delete(uid);
      const pod = this.#claimants.get(uid);
      if (pod !== undefined) this.#waiting.set(uid, pod);
    }
  }

  #tellComplaints(): void {
    const { claims, events, log } = this.#ports;
    const present = new Set<string>();
    for (const { about, message, reason } of claims.complaints()) {
      const key = `complaint ${about.kind} ${about.uid} ${message}`;
      present.add(key);
      if (this.#told.has(key)) continue;
      this.#told.add(key);
      log.warn("a claim of a virtual address has no effect", { reason: message });
      events.record({ about, type: "Warning", reason, message });
    }
    // What was mended is told once more when it is broken again.
    for (const key of this.#told) {
      if (key.startsWith("complaint ") && !present.has(key)) this.#told.delete(key);
    }
  }

  #look(ip: Ip): void {
    const record = this.#ports.vips.get(ip);
    const before = this.#seen.get(ip);
    if (record === undefined) this.#seen.delete(ip);
    else this.#seen.set(ip, record);
    if (!this.#ports.leadership.isLeader()) return;
    this.#lastChangeMs = this.#ports.clock.nowMs();
    if (record !== undefined) this.#tellRecord(record, before);
    this.#lookAtPods(ip);
  }

  #tellRecord(record: VipRecord, before: Seen | undefined): void {
    const { metrics } = this.#ports;
    const { foreignOwner, ip, look, transition } = record;
    const about = this.#ports.refOf(ip);
    if (transition !== undefined && transition.atMs !== before?.transition?.atMs) {
      metrics.count("vip_transitions", { reason: transition.reason });
      this.#tellTransition(record, transition);
    }
    if (transition?.programMs !== undefined && before?.transition?.programMs === undefined) {
      const { decideMs, detectMs = 0, programMs, reason } = transition;
      metrics.time("vip_gap", (detectMs + decideMs + programMs) / 1_000, { func: reason });
    }
    if (foreignOwner !== undefined && foreignOwner !== before?.foreignOwner) {
      metrics.count("vip_conflicts");
      const message = `${foreignOwner} claims ${ip} too; take it away there, or claim another address`;
      this.#news.push({ about, type: "Warning", reason: "VIPConflict", message });
      const { holder } = record;
      if (holder !== undefined) {
        this.#tellPod({ id: holder.pod, uid: holder.podUid }, "Warning", "VIPConflict", message);
      }
    }
    const isNews = look.state !== before?.look.state && look.reason !== "New";
    if (isNews && (look.state === "Unheld" || look.state === "Rejected")) {
      const reason = look.state === "Unheld" ? "VIPUnheld" : "VIPRejected";
      this.#news.push({ about, type: "Warning", reason, message: look.message });
    }
  }

  #tellTransition({ epoch, ip }: VipRecord, { from, reason, to }: VipTransition): void {
    const wasFrom = from === undefined ? "nobody" : partyText(from);
    const isTo = to === undefined ? "nobody" : partyText(to);
    const message = `${ip} went from ${wasFrom} to ${isTo} (${reason}, epoch ${epoch})`;
    if (to !== undefined) {
      const about = this.#ports.refOf(ip);
      this.#news.push({ about, type: "Normal", reason: "VIPGranted", message });
      this.#tellPod(this.#refOfPod(ip, to.pod), "Normal", "VIPGranted", message);
    }
    const isSame = from !== undefined && to !== undefined && samePod(from.pod, to.pod);
    if (from !== undefined && !isSame) {
      this.#tellPod(this.#refOfPod(ip, from.pod), "Normal", "VIPLost", message);
    }
  }

  /** With its uid where it still claims the address. */
  #refOfPod(ip: Ip, id: PodId): PodRef {
    const claim = this.#ports.claims.claimsOf(ip).find(({ pod }) => samePod(pod, id));
    return { id, uid: claim?.podUid ?? "" };
  }

  #tellPod({ id, uid }: PodRef, type: "Normal" | "Warning", reason: string, message: string): void {
    const { namespace, name } = id;
    const about = { apiVersion: "v1", kind: "Pod", namespace, name, uid };
    this.#news.push({ about, type, reason, message });
  }

  /** The pods that claim the address: refusals as events, and their conditions. */
  #lookAtPods(ip: Ip): void {
    const { claims, leadership } = this.#ports;
    if (!leadership.isLeader()) return;
    const world = { pools: claims.pools(), forbidden: claims.forbidden() };
    for (const { pod, podUid } of claims.claimsOf(ip)) {
      this.#waiting.set(podUid, { id: pod, uid: podUid });
      const verdict = judgeClaim(ip, pod.namespace, world);
      const key = `refusal ${podUid} ${ip}`;
      if (verdict.kind === "accepted") this.#told.delete(key);
      if (verdict.kind === "accepted" || this.#told.has(key)) continue;
      if (this.#told.size >= mostTold) this.#told.clear();
      this.#told.add(key);
      this.#tellPod({ id: pod, uid: podUid }, "Warning", "VIPRejected", verdict.message);
    }
    this.#gather();
  }

  /** Events and conditions come a moment later, once for all that happens until then. */
  #gather(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    const { claims, clock, events, leadership } = this.#ports;
    const sinceMs = clock.nowMs();
    const look = (): void => {
      if (!this.#isRunning) return;
      const nowMs = clock.nowMs();
      const isQuiet = nowMs - this.#lastChangeMs >= gatherMs;
      if (!isQuiet && nowMs - sinceMs < longestGatherMs) {
        clock.after(this.#lastChangeMs + gatherMs - nowMs, look);
        return;
      }
      this.#isGathering = false;
      const news = this.#news;
      this.#news = [];
      if (leadership.isLeader()) for (const note of news) events.record(note);
      for (const [uid, pod] of this.#claimants) {
        if (claims.ipsOf(pod.id).length === 0) this.#waiting.set(uid, pod);
      }
      this.#begin();
    };
    clock.after(gatherMs, look);
  }

  /** Writes the conditions of pods that wait, a few at a time. */
  #begin(): void {
    if (!this.#ports.leadership.isLeader()) return;
    for (const [uid, pod] of this.#waiting) {
      if (this.#inFlight.size >= mostAtOnce) return;
      if (this.#inFlight.has(uid)) continue;
      this.#waiting.delete(uid);
      const condition = this.#conditionOf(pod);
      if (condition !== undefined) this.#write(pod, condition);
    }
  }

  #write(pod: PodRef, condition: HolderCondition): void {
    const { clock, conditions, log } = this.#ports;
    const { uid } = pod;
    this.#inFlight.add(uid);
    this.#claimants.set(uid, pod);
    this.#written.set(uid, { condition: conditionText(condition), atMs: clock.nowMs() });
    conditions.tell(pod, condition).then(
      (outcome) => {
        this.#inFlight.delete(uid);
        if (outcome === "gone" || condition.reason === "NoClaim") {
          this.#claimants.delete(uid);
          this.#written.delete(uid);
        }
        if (this.#isRunning && this.#waiting.size > 0) this.#gather();
      },
      (error: unknown) => {
        this.#inFlight.delete(uid);
        if (!(error instanceof WorldError)) throw error;
        log.debug("the condition of a pod is written later", { pod: podIdText(pod.id) });
        this.#written.delete(uid);
        // The next round tries it again.
        if (this.#isRunning) this.#waiting.set(uid, pod);
      },
    );
  }

  /** @returns undefined when the pod's condition is right */
  #conditionOf({ id, uid }: PodRef): HolderCondition | undefined {
    const { claims, vips } = this.#ports;
    const written = this.#written.get(uid);
    const own = claims
      .ipsOf(id)
      .flatMap((ip) =>
        claims.claimsOf(ip).flatMap((claim) => (claim.podUid === uid ? [{ ip, claim }] : [])),
      );
    const [first] = own;
    if (first === undefined) {
      if (!this.#claimants.has(uid)) return undefined;
      const message = "the pod claims no virtual address";
      return { isHolder: false, reason: "NoClaim", message };
    }
    const held = own.filter(({ ip }) => {
      const record = vips.get(ip);
      const isRefused = record?.unable !== undefined;
      return record?.holder?.podUid === uid && record.release === "none" && !isRefused;
    });
    const rest = own.filter((each) => !held.includes(each));
    const condition: HolderCondition = {
      isHolder: held.length > 0,
      reason: held.length > 0 ? "Holds" : "Standby",
      message: [
        ...(held.length === 0 ? [] : [`holds ${held.map(({ ip }) => ip).join(", ")}`]),
        ...rest.map(({ claim, ip }) => `does not hold ${ip}: ${whyNotText(vips.get(ip), claim)}`),
      ].join("; "),
    };
    const { told } = first.claim;
    const known = written?.condition ?? (told === undefined ? undefined : conditionText(told));
    return known === conditionText(condition) ? undefined : condition;
  }
}

function conditionText({ isHolder, message, reason }: HolderCondition): string {
  return `${isHolder} ${reason} ${message}`;
}

/** In words that change seldom: each change is a write. */
function whyNotText(record: VipRecord | undefined, { pod }: VipClaim): string {
  if (record === undefined) return "it is not looked at yet";
  const own = record.look.candidates.find((each) => samePod(each.pod, pod));
  if (own?.reason !== undefined) return own.reason;
  if (record.look.state === "Rejected") return record.look.reason;
  if (record.unable !== undefined) return "NodeUnable";
  return record.holder === undefined
    ? record.look.state
    : `${podIdText(record.holder.pod)} holds it`;
}

function samePod(a: PodId, b: PodId): boolean {
  return a.namespace === b.namespace && a.name === b.name;
}

function partyText({ nodeName, pod }: VipParty): string {
  return `${podIdText(pod)} on node ${nodeName}`;
}
