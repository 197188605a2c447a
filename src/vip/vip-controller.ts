// The controller of virtual addresses: gathers what is claimed and which agents live, lets core decide, and writes with compare-and-swap.
// Any number of controllers may run at once without harm to exclusivity; that only one leads keeps them from disagreeing.

import type { Ip } from "../core/ip.ts";
import { podIdText } from "../core/owner.ts";
import type {
  NodeLease,
  VipClaimant,
  VipHolder,
  VipLook,
  VipParty,
  VipRecord,
  VipTimers,
  VipTransition,
} from "../core/vip.ts";
import { newVipRecord } from "../core/vip.ts";
import type { Selection, VipClaimantFacts, VipPool } from "../core/vip-holder.ts";
import { heldDownUntil, judgeClaim, selectHolder, whyNot, withLoss } from "../core/vip-holder.ts";
import type { LeaseSight, SessionStanding, VipMove } from "../core/vip-move.ts";
import {
  afterRevocation,
  decideMove,
  isFresh,
  lookAgain,
  sameHolder,
  standingOf,
} from "../core/vip-move.ts";
import {
  afterRound,
  isOverruled,
  nothingReached,
  votersAreOutdated,
  votersFor,
} from "../core/vip-quorum.ts";
import type { Clock } from "../ports/clock.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { KeepOutcome, VipAddresses } from "../ports/vip-addresses.ts";
import type { VipClaim, VipClaims } from "../ports/vip-claims.ts";
import type { NodeLeaseStore, VipStore } from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";

/** What the controller needs. */
export type VipControllerPorts = {
  readonly vips: VipStore;
  readonly leases: NodeLeaseStore;
  readonly claims: VipClaims;
  readonly addresses: VipAddresses;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Log;
  readonly timers: VipTimers;
};

/** Claims of an address, judged. `refusal`: why claims of it were refused, the first of them. */
type Judged = {
  readonly claimants: readonly VipClaimantFacts[];
  readonly rules: Pick<VipPool, "minReadyMs" | "lastResort" | "onControlPlaneLoss">;
  readonly refusal: { readonly reason: string; readonly message: string } | undefined;
  /** Whose claims were refused. */
  readonly refused: readonly VipClaimant[];
};

/** Everything that one step is made from. */
type StepFacts = {
  readonly record: VipRecord;
  readonly judged: Judged;
  readonly selection: Selection;
  readonly standing: SessionStanding;
};

/** Before something that failed is tried again. */
const retryMs = 250;

/** Between two looks at an address at which nothing was seen to change: a moment that is past already must not make it spin. */
const shortestMs = 20;

/** How often an address is looked at although nothing is seen to change: what a watch lost is found then. */
const idleMs = 2_000;

/** After a time in which no agent renewed, so long all of them get to renew. */
const calmMs = 1_500;

/**
 * For so long a new leader believes grants of before whose reasons it never saw: what it sees of pods may be behind what it sees of records, and
 * a pod that was granted something a moment ago may not be there yet.
 */
const trustMs = 1_500;

/** So long a grant lasts before it is made once more for the sake of its voters. */
const settleMs = 10_000;

/**
 * Most addresses that are worked on at a time: enough to keep an API server busy, so that the addresses of a node that died move as fast as it
 * can write, and fewer than the client has connections, so that a revocation waits for none of them.
 */
const mostAtOnce = 48;

/** Most records of claims that were refused: whoever may make pods must not be able to fill the API server. */
const mostRefused = 1_000;

/** What made a holder wrong, and when this process saw it. `detectMs`: how long that took, where something says it. */
type Cause = {
  readonly epoch: number;
  readonly reason: string;
  readonly sinceMs: number;
  readonly detectMs: number | undefined;
};

/** Decides about virtual addresses. */
export class VipController {
  readonly #ports: VipControllerPorts;
  readonly #sights = new Map<string, LeaseSight>();
  /** Versions of leases that this process replaced: a watch that is behind may show them once more. */
  readonly #replaced = new Map<string, string>();
  readonly #revoking = new Set<string>();
  /** Which nodes reach the API server, for pools that hold. */
  #reach = nothingReached;
  #cancelRound: () => void = () => {};
  /** When any agent was last seen to renew. */
  #lastRenewalMs = Number.NEGATIVE_INFINITY;
  /** Until when agents get the time to renew after nobody could, and the silence for which that was granted. */
  #calmUntilMs = Number.NEGATIVE_INFINITY;
  #waitedFor = Number.NaN;
  /** Since when this process sees that a holder was asked to let go, by address and epoch. */
  readonly #askedSince = new Map<string, number>();
  /** Why addresses have to leave their holders. */
  readonly #causes = new Map<Ip, Cause>();
  /** Epochs for which this process saw, since it leads, that they were right. */
  readonly #seenRight = new Map<Ip, number>();
  #ledAtMs = Number.NEGATIVE_INFINITY;
  readonly #kept = new Set<Ip>();
  /** What waits for its turn, the first first. */
  readonly #waiting = new Set<Ip>();
  readonly #running = new Set<Ip>();
  readonly #again = new Set<Ip>();
  readonly #timers = new Map<Ip, () => void>();
  #isRunning = false;
  #stopWatches: readonly (() => void)[] = [];

  constructor(ports: VipControllerPorts) {
    this.#ports = ports;
  }

  /** Begins to look at every address that is claimed or has a record. */
  start(): void {
    const { claims, leases, vips } = this.#ports;
    this.#isRunning = true;
    this.#stopWatches = [
      vips.watch((ip) => this.#soon(ip)),
      claims.watch((ip) => this.#soon(ip)),
      leases.watch((nodeName) => this.#seeLease(nodeName)),
    ];
    for (const { nodeName } of leases.all()) this.#seeLease(nodeName);
    this.#lookAtVoters();
    this.lead();
  }

  /**
   * This process leads from now on: everything is looked at, and what an earlier time of leading knew is forgotten. Leases are watched all
   * the time, so that a new leader knows how long each has been silent.
   */
  lead(): void {
    const { claims, clock, vips } = this.#ports;
    this.#ledAtMs = clock.nowMs();
    this.#seenRight.clear();
    this.#kept.clear();
    this.#causes.clear();
    this.#askedSince.clear();
    for (const ip of claims.claimedIps()) this.#soon(ip);
    for (const { ip } of vips.all()) this.#soon(ip);
  }

  /** Ends; what is under way ends by itself after its present step. */
  stop(): void {
    this.#isRunning = false;
    for (const stop of this.#stopWatches) stop();
    this.#cancelRound();
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#waiting.clear();
  }

  #seeLease(nodeName: string): void {
    const { clock, leases, timers } = this.#ports;
    const lease = leases.get(nodeName);
    if (lease !== undefined && this.#replaced.get(nodeName) === lease.version) return;
    const before = this.#sights.get(nodeName);
    const nowMs = clock.nowMs();
    this.#sights.set(nodeName, lookAgain(before, lease, nowMs));
    if (lease !== undefined && !lease.isRevoked && lease.version !== before?.lease?.version) {
      if (nowMs - this.#lastRenewalMs > timers.leaseMs) this.#calmUntilMs = nowMs + calmMs;
      this.#lastRenewalMs = nowMs;
    }
    const isMereRenewal =
      before?.lease?.session === lease?.session &&
      before?.lease?.isRevoked === lease?.isRevoked &&
      before !== undefined &&
      isFresh(before, nowMs);
    if (!isMereRenewal) this.#soonOnNode(nodeName);
  }

  /** Looks at what the node holds, and at what nobody holds. */
  #soonOnNode(nodeName: string): void {
    for (const { ip, holder, look } of this.#ports.vips.all()) {
      if (holder?.nodeName === nodeName || look.state !== "Held") this.#soon(ip);
    }
  }

  #sightOf(nodeName: string): LeaseSight {
    const known = this.#sights.get(nodeName);
    if (known !== undefined) return known;
    const { clock, leases } = this.#ports;
    const sight = lookAgain(undefined, leases.get(nodeName), clock.nowMs());
    this.#sights.set(nodeName, sight);
    return sight;
  }

  /** One look at an address at a time; what changes meanwhile is looked at once more. */
  #soon(ip: Ip): void {
    if (!this.#isRunning) return;
    if (this.#running.has(ip)) {
      this.#again.add(ip);
      return;
    }
    this.#timers.get(ip)?.();
    this.#timers.delete(ip);
    this.#waiting.add(ip);
    this.#begin();
  }

  /** Begins with what waits, as far as there is room. */
  #begin(): void {
    for (const ip of this.#waiting) {
      if (this.#running.size >= mostAtOnce) return;
      this.#waiting.delete(ip);
      this.#run(ip);
    }
  }

  #run(ip: Ip): void {
    this.#running.add(ip);
    this.#workOn(ip).then(
      (untilMs) => this.#rest(ip, untilMs),
      (error: unknown) => {
        if (!(error instanceof WorldError)) throw error;
        this.#ports.log.warn("a virtual address is tried again", { ip }, error);
        this.#rest(ip, this.#ports.clock.nowMs() + retryMs);
      },
    );
  }

  #rest(ip: Ip, untilMs: number | undefined): void {
    this.#running.delete(ip);
    if (!this.#isRunning) return;
    this.#begin();
    const { claims, clock, vips } = this.#ports;
    const isAgain = this.#again.delete(ip);
    if (!isAgain && vips.get(ip) === undefined && claims.claimsOf(ip).length === 0) return;
    const waitMs = (untilMs ?? Number.POSITIVE_INFINITY) - clock.nowMs();
    const delayMs = isAgain ? 0 : Math.min(Math.max(waitMs, shortestMs), idleMs);
    this.#timers.set(
      ip,
      clock.after(delayMs, () => this.#soon(ip)),
    );
  }

  /** @returns when to look again; undefined: when something changes */
  async #workOn(ip: Ip): Promise<number | undefined> {
    const { clock, leadership, timers, vips } = this.#ports;
    if (!leadership.isLeader()) return undefined;
    const keeping = await this.#keep(ip);
    if (keeping === "not yet") return clock.nowMs() + retryMs;
    // From here to the decision in one tick.
    const nowMs = clock.nowMs();
    const record = vips.get(ip);
    const judged = this.#judge(ip, record, keeping, nowMs);
    if (record === undefined) {
      if (judged.claimants.length === 0 && !this.#mayShowRefusal(judged)) return undefined;
      await vips.create(newVipRecord(ip, nowMs));
      return undefined;
    }
    const { holder } = record;
    const { claimants, rules } = judged;
    const holderUid = holder?.podUid;
    const selection = selectHolder({ ip, claimants, holderUid, ...rules, nowMs });
    const standing: SessionStanding =
      holder === undefined
        ? { kind: "over", by: "agent" }
        : standingOf(holder.session, this.#sightOf(holder.nodeName), nowMs, timers.leaseMs);
    const wanted = record.isDeleted ? undefined : selection.wanted;
    const move = decideMove({
      record,
      wanted,
      standing,
      askedSinceMs: this.#askedSinceMs(record, nowMs),
      ackMs: timers.ackMs,
      isOverruled:
        record.voters.length === 0 ||
        isOverruled(record.voters, this.#reach, { leaseMs: timers.leaseMs, nowMs }),
      isOutdated: this.#isOutdated(record, rules, nowMs),
      nowMs,
    });
    const facts = { record, judged, selection, standing };
    const trustedUntilMs = this.#ledAtMs + trustMs;
    const isTrusted = this.#seenRight.get(ip) !== record.epoch && nowMs < trustedUntilMs;
    if (move.kind === "ask" && isTrusted && !record.isDeleted) return trustedUntilMs;
    this.#noteCause(facts, wanted, nowMs);
    await this.#carryOut(move, facts);
    if (move.kind !== "wait") return clock.nowMs() + retryMs;
    const never = Number.POSITIVE_INFINITY;
    const untilMs = Math.min(move.untilMs ?? never, selection.settlesAtMs ?? never);
    return Number.isFinite(untilMs) ? untilMs : undefined;
  }

  #mayShowRefusal({ refusal }: Judged): boolean {
    if (refusal === undefined) return false;
    const refused = this.#ports.vips.all().filter(({ look }) => look.state === "Rejected");
    return refused.length < mostRefused;
  }

  /** Remembers since when and why the holder is wrong, for the figures of the move. */
  #noteCause(facts: StepFacts, wanted: VipHolder | undefined, nowMs: number): void {
    const { ip, epoch, holder, release } = facts.record;
    const isRight =
      holder !== undefined &&
      release === "none" &&
      wanted !== undefined &&
      sameHolder(wanted, holder);
    if (isRight) this.#seenRight.set(ip, epoch);
    if (holder === undefined || isRight) {
      this.#causes.delete(ip);
      return;
    }
    if (this.#causes.get(ip)?.epoch === epoch) return;
    this.#causes.set(ip, { epoch, sinceMs: nowMs, ...this.#causeOf(facts, holder, wanted, nowMs) });
  }

  #causeOf(
    { record, judged }: StepFacts,
    holder: VipHolder,
    wanted: VipHolder | undefined,
    nowMs: number,
  ): Pick<Cause, "reason" | "detectMs"> {
    if (record.isDeleted) return { reason: "RecordDeleted", detectMs: undefined };
    const claimant = judged.claimants.find(({ podUid }) => podUid === holder.podUid);
    if (claimant === undefined) return { reason: "ClaimGone", detectMs: undefined };
    const reason = whyNot(record.ip, claimant);
    if (reason === "NoFreshAgent") {
      const { sinceMs } = this.#sightOf(holder.nodeName);
      return { reason: "AgentLost", detectMs: nowMs - sinceMs };
    }
    if (reason !== undefined) {
      const { unableSinceMs } = claimant;
      const detectMs = unableSinceMs === undefined ? undefined : Math.max(0, nowMs - unableSinceMs);
      return { reason, detectMs };
    }
    const isSamePod = wanted === undefined || wanted.podUid === holder.podUid;
    if (wanted !== undefined && sameHolder(wanted, holder)) {
      return { reason: "VotersChanged", detectMs: undefined };
    }
    return { reason: isSamePod ? "AgentRestarted" : "Preempted", detectMs: undefined };
  }

  /** The story of a move that is written now. */
  #transition({ record }: StepFacts, to: VipHolder | undefined, nowMs: number): VipTransition {
    const { ip, epoch, holder } = record;
    const cause = this.#causes.get(ip);
    const fallback = epoch === 0 ? "Claimed" : "CandidateReady";
    return {
      from: holder && partyOf(holder),
      to: to && partyOf(to),
      reason: cause?.reason ?? fallback,
      atMs: nowMs,
      detectMs: cause?.detectMs === undefined ? undefined : Math.round(cause.detectMs),
      decideMs: Math.round(nowMs - (cause?.sinceMs ?? nowMs)),
      programMs: undefined,
    };
  }

  #askedSinceMs({ ip, epoch, release }: VipRecord, nowMs: number): number | undefined {
    const key = `${ip} ${epoch}`;
    if (release !== "wanted") {
      this.#askedSince.delete(key);
      return undefined;
    }
    const sinceMs = this.#askedSince.get(key) ?? nowMs;
    this.#askedSince.set(key, sinceMs);
    return sinceMs;
  }

  async #carryOut(move: VipMove, facts: StepFacts): Promise<void> {
    const { vips } = this.#ports;
    const { record } = facts;
    const look = lookOf(move, facts);
    switch (move.kind) {
      case "wait":
        if (this.#isForgotten(facts)) await this.#forget(record);
        else if (!sameLook(look, record.look)) await vips.update({ ...record, look });
        return;
      case "ask":
        await vips.update({ ...record, release: "wanted", next: move.next, look });
        return;
      case "revoke":
        if (record.holder === undefined) return;
        if (await this.#mayRevoke(record.holder, facts.standing)) await this.#revoke(record.holder);
        return;
      case "grant":
        await this.#grant(facts, move.to, look);
        return;
      case "vacate":
        await this.#vacate(facts, look);
    }
  }

  async #grant(facts: StepFacts, to: VipHolder, look: VipLook): Promise<void> {
    const { clock, log, vips } = this.#ports;
    const { record } = facts;
    const { ip, holder, losses } = record;
    const nowMs = clock.nowMs();
    const isLoss = holder !== undefined && holder.podUid !== to.podUid;
    const epoch = record.epoch + 1;
    const outcome = await vips.update({
      ...record,
      epoch,
      holder: to,
      release: "none",
      next: undefined,
      grantedAtMs: nowMs,
      voters:
        facts.judged.rules.onControlPlaneLoss === "Hold"
          ? votersFor(ip, to.nodeName, this.#freshNodes(nowMs))
          : [],
      losses: isLoss ? withLoss(losses, holder.podUid, nowMs) : losses,
      transition: this.#transition(facts, to, nowMs),
      foreignOwner: undefined,
      unable: undefined,
      look,
    });
    if (outcome.kind !== "written") return;
    const { nodeName: node } = to;
    log.info("virtual address granted", { ip, pod: podIdText(to.pod), node, epoch });
  }

  async #vacate(facts: StepFacts, look: VipLook): Promise<void> {
    const { clock, log, vips } = this.#ports;
    const { record } = facts;
    const { ip, holder, losses } = record;
    const nowMs = clock.nowMs();
    const outcome = await vips.update({
      ...record,
      holder: undefined,
      release: "none",
      next: undefined,
      ...(holder === undefined
        ? {}
        : {
            losses: withLoss(losses, holder.podUid, nowMs),
            transition: this.#transition(facts, undefined, nowMs),
            foreignOwner: undefined,
            unable: undefined,
          }),
      look,
    });
    if (outcome.kind !== "written") return;
    log.info("virtual address has no holder", { ip, because: look.reason });
  }

  /** Nobody holds it, and nobody claims it or somebody deleted the object: if it is claimed, another one is made. */
  #isForgotten({ record }: StepFacts): boolean {
    const { holder, ip, isDeleted } = record;
    return holder === undefined && (isDeleted || this.#ports.claims.claimsOf(ip).length === 0);
  }

  async #forget(record: VipRecord): Promise<void> {
    const { addresses, vips } = this.#ports;
    const outcome = await vips.remove(record);
    if (outcome.kind !== "removed") return;
    this.#causes.delete(record.ip);
    this.#seenRight.delete(record.ip);
    if (this.#ports.claims.claimsOf(record.ip).length > 0) return;
    this.#kept.delete(record.ip);
    await addresses.giveBack(record.ip);
  }

  #isOutdated(record: VipRecord, rules: Judged["rules"], nowMs: number): boolean {
    const { grantedAtMs, holder, ip, voters } = record;
    // Agents that start together are not all there when the first is granted something.
    if (holder === undefined || nowMs - grantedAtMs < settleMs) return false;
    const holds = rules.onControlPlaneLoss === "Hold";
    if (!holds && voters.length === 0) return false;
    const fresh = this.#freshNodes(nowMs);
    return votersAreOutdated(voters, { holds, best: votersFor(ip, holder.nodeName, fresh), fresh });
  }

  #freshNodes(nowMs: number): readonly string[] {
    return [...this.#sights].flatMap(([nodeName, sight]) =>
      isFresh(sight, nowMs) ? [nodeName] : [],
    );
  }

  /**
   * Whether a lease that was silent may be taken away already. When nobody renewed for a while it was this process or the API server that was
   * away: agents that are well get the time to renew before they are taken for dead.
   */
  async #mayRevoke({ nodeName }: VipHolder, standing: SessionStanding): Promise<boolean> {
    if (standing.kind !== "silent") return true;
    const { clock, leases, timers } = this.#ports;
    const lastMs = this.#lastRenewalMs;
    if (clock.nowMs() - lastMs > timers.leaseMs && this.#waitedFor !== lastMs) {
      // Rejects while the API server is away.
      await leases.read(nodeName);
      this.#waitedFor = lastMs;
      this.#calmUntilMs = clock.nowMs() + calmMs;
    }
    return clock.nowMs() >= this.#calmUntilMs;
  }

  /** Looks at the leases of voters from the source of truth, as long as there are any. */
  #lookAtVoters(): void {
    if (!this.#isRunning) return;
    const { clock, leadership, timers, vips } = this.#ports;
    const voters = new Set(vips.all().flatMap((record) => record.voters));
    const again = () => {
      this.#cancelRound = clock.after(timers.renewMs, () => this.#lookAtVoters());
    };
    if (voters.size === 0 || !leadership.isLeader()) {
      this.#reach = nothingReached;
      again();
      return;
    }
    const sentMs = clock.nowMs();
    this.#readVersions([...voters]).then(
      (versions) => {
        const round = { sentMs, answeredMs: clock.nowMs(), versions };
        this.#reach = afterRound(this.#reach, round, timers.leaseMs);
        again();
      },
      (error: unknown) => {
        throw error;
      },
    );
  }

  async #readVersions(nodeNames: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const versions = new Map<string, string>();
    await Promise.all(
      nodeNames.map(async (nodeName) => {
        try {
          const lease = await this.#ports.leases.read(nodeName);
          if (lease !== undefined && !lease.isRevoked) versions.set(nodeName, lease.version);
        } catch (error) {
          // What was not answered proves nothing.
          if (!(error instanceof WorldError)) throw error;
        }
      }),
    );
    return versions;
  }

  /** Takes the lease of the holder's node away at the version that was seen, or marks the place of one that is gone. */
  async #revoke({ nodeName, session }: VipHolder): Promise<void> {
    const { clock, leases, log, timers } = this.#ports;
    if (this.#revoking.has(nodeName)) return;
    this.#revoking.add(nodeName);
    try {
      const sight = this.#sightOf(nodeName);
      const sentMs = clock.nowMs();
      const present = sight.lease;
      const revoked: NodeLease =
        present === undefined
          ? { nodeName, session, isRevoked: true, durationMs: timers.leaseMs, version: "" }
          : { ...present, isRevoked: true };
      const outcome =
        present === undefined ? await leases.create(revoked) : await leases.update(revoked);
      if (outcome.kind !== "written") return;
      log.info("the lease of a node for virtual addresses was taken away", { node: nodeName });
      if (present !== undefined) this.#replaced.set(nodeName, present.version);
      const now = this.#sightOf(nodeName).lease?.version;
      // The watch may have been faster than the answer, and know what came after.
      if (now === present?.version || now === outcome.value.version) {
        const nowMs = clock.nowMs();
        this.#sights.set(nodeName, afterRevocation(sight, outcome.value, { sentMs, nowMs }));
      }
    } finally {
      this.#revoking.delete(nodeName);
      this.#soonOnNode(nodeName);
    }
  }

  /** Takes the address out of allocation to pods once it is claimed. */
  async #keep(ip: Ip): Promise<Keeping | "not yet"> {
    const { addresses, claims, vips } = this.#ports;
    if (this.#kept.has(ip)) return { isKept: true, refusal: undefined };
    const world = { pools: claims.pools(), forbidden: claims.forbidden() };
    const isWanted = claims
      .claimsOf(ip)
      .some(({ pod }) => judgeClaim(ip, pod.namespace, world).kind === "accepted");
    if (!isWanted) return { isKept: false, refusal: undefined };
    const outcome = await addresses.keep(ip);
    if (outcome.kind === "kept") this.#kept.add(ip);
    // A new leader may not know the address space yet: that somebody holds it proves that it was kept.
    const isHeld = outcome.kind !== "in use" && vips.get(ip)?.holder !== undefined;
    if (outcome.kind === "kept" || isHeld) return { isKept: true, refusal: undefined };
    if (outcome.kind === "not yet") return "not yet";
    return { isKept: false, refusal: refusalOf(ip, outcome) };
  }

  /** Who claims the address and counts, with what is known of their nodes' agents. */
  #judge(ip: Ip, record: VipRecord | undefined, keeping: Keeping, nowMs: number): Judged {
    const { claims } = this.#ports;
    const world = { pools: claims.pools(), forbidden: claims.forbidden() };
    let { refusal } = keeping;
    let rules: Judged["rules"] = {
      minReadyMs: 0,
      lastResort: "release",
      onControlPlaneLoss: "Fence",
    };
    const claimants: VipClaimantFacts[] = [];
    const refused: VipClaimant[] = [];
    for (const claim of claims.claimsOf(ip)) {
      const { nodeName, pod } = claim;
      const verdict = judgeClaim(ip, pod.namespace, world);
      if (verdict.kind === "rejected") {
        refusal ??= verdict;
        refused.push({ pod, nodeName, reason: verdict.reason });
      } else if (keeping.isKept) {
        rules = verdict.pool;
        claimants.push(this.#withAgent(claim, ip, record, nowMs));
      }
    }
    return { claimants, rules, refusal, refused };
  }

  #withAgent(
    { siblings, ...claim }: VipClaim,
    ip: Ip,
    record: VipRecord | undefined,
    nowMs: number,
  ): VipClaimantFacts {
    const { timers, vips } = this.#ports;
    const sight = this.#sightOf(claim.nodeName);
    const holder = record?.holder;
    // A holder stays one until its lease is silent: an agent that renews late has not lost anything yet.
    const keepsSession =
      holder?.podUid === claim.podUid &&
      holder.nodeName === claim.nodeName &&
      standingOf(holder.session, sight, nowMs, timers.leaseMs).kind === "live";
    const fresh = isFresh(sight, nowMs) ? sight.lease?.session : undefined;
    return {
      ...claim,
      session: keepsSession ? holder.session : fresh,
      holdsSibling: siblings.some(
        (sibling) => sibling !== ip && vips.get(sibling)?.holder?.podUid === claim.podUid,
      ),
      heldDownUntilMs: heldDownUntil(
        (record?.losses ?? [])
          .filter(({ podUid }) => podUid === claim.podUid)
          .map(({ atMs }) => atMs),
      ),
    };
  }
}

/** Whether pods get the address no more; if not, why. */
type Keeping = { readonly isKept: boolean; readonly refusal: Judged["refusal"] };

function partyOf({ pod, nodeName }: VipHolder): VipParty {
  return { pod, nodeName };
}

function refusalOf(ip: Ip, outcome: KeepOutcome): Judged["refusal"] {
  if (outcome.kind !== "in use") {
    return { reason: "AddressBusy", message: `${ip} is being changed; wait` };
  }
  const message = `${ip} belongs to ${outcome.by}; claim another address, or release this one`;
  return { reason: "AddressInUse", message };
}

/** What the record is to show. */
function lookOf(move: VipMove, { record, judged, selection, standing }: StepFacts): VipLook {
  const { ip, holder } = record;
  const candidates = [...selection.candidates, ...judged.refused];
  const isHolding = move.kind === "wait" && standing.kind === "live" && record.release === "none";
  const holding = move.kind === "grant" ? move.to : isHolding ? holder : undefined;
  if (holding !== undefined && move.kind !== "grant" && record.foreignOwner !== undefined) {
    const message = `${ip} is held by ${podIdText(holding.pod)} on node ${holding.nodeName}, and ${record.foreignOwner} claims it too; take it away there, or claim another address`;
    return { state: "Conflict", reason: "ForeignOwner", message, candidates };
  }
  if (holding !== undefined && move.kind !== "grant" && record.unable !== undefined) {
    const message = `${ip} was granted to ${podIdText(holding.pod)}, and node ${holding.nodeName} does not answer for it: ${record.unable}`;
    return { state: "Unheld", reason: "NodeUnable", message, candidates };
  }
  if (holding !== undefined) {
    const message = `${ip} is held by ${podIdText(holding.pod)} on node ${holding.nodeName}`;
    return { state: "Held", reason: "Granted", message, candidates };
  }
  if (holder !== undefined && move.kind !== "vacate") {
    const message = `${ip} leaves ${podIdText(holder.pod)}; it is granted again when node ${holder.nodeName} let go or its lease is over`;
    return { state: "Moving", reason: "LettingGo", message, candidates };
  }
  if (judged.claimants.length === 0 && judged.refusal !== undefined) {
    const { reason, message } = judged.refusal;
    return { state: "Rejected", reason, message, candidates };
  }
  const reasons = candidates.map(
    ({ pod, reason }) => `${podIdText(pod)}: ${reason ?? "may hold it"}`,
  );
  const message =
    reasons.length === 0
      ? `no pod claims ${ip}`
      : `no pod may hold ${ip} (${reasons.join(", ")}); make one of them ready`;
  return { state: "Unheld", reason: "NoCandidate", message, candidates };
}

function sameLook(a: VipLook, b: VipLook): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
