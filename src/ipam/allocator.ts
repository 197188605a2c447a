// The one writer of the address space: memory and store change here and nowhere else. It decides nothing about policies; it makes sure
// that memory says "taken" before the store does, and "free" only after it (docs/design/allocation.md, eight rules).

import type { Allocation, IdleFields } from "../core/allocation.ts";
import { isBound, withForeignText, withIdleFields } from "../core/allocation.ts";
import type { EntryPhase, Hold, ListedView } from "../core/allocation-table.ts";
import { AllocationTable } from "../core/allocation-table.ts";
import type { PlannedAddress } from "../core/decide-filter.ts";
import type { PodFacts } from "../core/facts.ts";
import { podIsFinished } from "../core/facts.ts";
import type { FreeOrigin } from "../core/free-addresses.ts";
import type { Ip } from "../core/ip.ts";
import type { Owner } from "../core/owner.ts";
import { podIdText, sameOwner, workloadIdText } from "../core/owner.ts";
import type { ReleasePolicy } from "../core/release-policy.ts";
import type { ReserveTtl } from "../core/reserve-ttl.ts";
import type { Topology } from "../core/subnets.ts";
import type { AllocationEvent, AllocationStore } from "../ports/allocation-store.ts";
import type { Clock } from "../ports/clock.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import { WorldError } from "../ports/world-error.ts";

/** What the allocator needs of the world. */
export type AllocatorPorts = {
  readonly store: AllocationStore;
  readonly clock: Clock;
  readonly leadership: Leadership;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Addresses to give to one owner, all or none. They were chosen in the same tick as {@link Allocator.take} is called. */
export type TakeRequest = {
  readonly addresses: readonly PlannedAddress[];
  readonly owner: Owner;
  readonly policy: ReleasePolicy;
  /** What the pod says of it; absent when it says nothing. */
  readonly reserveTtl?: ReserveTtl | undefined;
  readonly podUid: string;
  readonly nodeName: string;
  /** What a record that was lost said besides, and says again: when it was given, for example. */
  readonly asRecorded?: Partial<Omit<Allocation, TakenField>>;
};

/** Fields of a record that follow from what is asked for and from what is there. */
type TakenField = "ip" | "owner" | "policy" | "podUid" | "nodeName" | "isDraining" | "version";

/** `lost`: an address turned out to be somebody else's, or is being changed; nothing was taken, decide again. */
export type TakeOutcome =
  | { readonly kind: "taken"; readonly allocations: readonly Allocation[] }
  | { readonly kind: "lost"; readonly ip: Ip };

/** `changed`: the record is not what it was when the decision was made, or is being changed; decide again. */
export type ChangeOutcome = "done" | "changed";

/** What others are told after memory changed. `after` undefined: the address is free. */
export type AllocationChange = {
  readonly before: Allocation | undefined;
  readonly after: Allocation | undefined;
  /** `store`: it was seen in the store and not made by this process. */
  readonly origin: "own" | "store";
};

type Step = {
  readonly next: Allocation;
  readonly before: Allocation | undefined;
  readonly origin: FreeOrigin;
};
type StepOutcome =
  | { readonly kind: "ok"; readonly allocation: Allocation }
  | { readonly kind: "lost" }
  | { readonly kind: "failed"; readonly error: unknown };

/** Stands in for the version of a record that could not be read; equal to none. */
const unreadVersion = "unread";

/** In the place of a zone: addresses that a pod carries already. */
const carriedZone = "carried";

/** How long a follower knows an address whose record is gone: longer than a watch of pods stands still unnoticed. */
const followerMemoryMs = 120_000;

/** How long it is remembered that a pod gave up an address: longer than a watch of pods may show it alive after that. */
const givenUpMemoryMs = 120_000;

/** How long it is remembered which record was removed or replaced: longer than an unbroken watch of records is behind. */
const replacedMemoryMs = 30_000;

/** Pause before records are compared again that could not be read. */
const reconcileRetryMs = 1_000;

/** Owns the table. Reads go through {@link Allocator.view}. */
export class Allocator {
  readonly #table = new AllocationTable();
  readonly #ports: AllocatorPorts;
  readonly #listeners = new Set<(change: AllocationChange) => void>();
  #isFollower = false;
  /** Versions that the watch showed while a write of the address was under way; undefined stands for "removed". */
  readonly #seenWhileWriting = new Map<Ip, (string | undefined)[]>();
  /** For each read of a record that is under way, the versions that the watch showed since it began; undefined stands for "removed". */
  readonly #seenWhileReading = new Map<Ip, Set<(string | undefined)[]>>();
  /** Who waits for a write of an address to end. */
  readonly #writeWaiters = new Map<Ip, (() => void)[]>();
  /** Addresses that are free in memory although a change of their record was seen that could not be read. */
  readonly #unread = new Set<Ip>();
  /** When pods, known to be gone or without the address, gave it up; by uid and address, the oldest first. */
  readonly #givenUpMs = new Map<string, number>();
  /** When this process removed or replaced records, confirmed by the store; by address and version, the oldest first. */
  readonly #replacedMs = new Map<string, number>();
  /** Records as they were when they named a pod, before somebody else changed them; of one address the oldest first. */
  readonly #formers = new Map<Ip, { readonly record: Allocation; readonly seenMs: number }[]>();
  /** Who waits for a promise to end. */
  readonly #promiseWaiters = new Set<() => void>();
  /** What the watch showed while all records were being read; undefined when they are not. */
  #seenWhileRestoring: AllocationEvent[] | undefined;
  /** Addresses of which a write ended while all records were being read: of them memory may be newer than what was read. */
  readonly #writtenWhileRestoring = new Set<Ip>();
  /** Counts interruptions of the watch after which memory was or is to be compared with the store. */
  #owedReconciles = 0;

  constructor(ports: AllocatorPorts) {
    this.#ports = ports;
  }

  /** The address space for questions; it changes only between awaits of the caller. */
  get view(): ListedView {
    return this.#table;
  }

  /**
   * From now on memory believes the watch and asks nobody, until {@link lead}. It is said rather than asked of Leadership: a leader that
   * could not renew for a moment must not forget an address because of what a watch shows.
   */
  follow(): void {
    this.#isFollower = true;
  }

  /** From now on memory is what choices are made from: what the watch shows is read again before it is believed. */
  lead(): void {
    this.#forgetOldFormers(this.#ports.clock.nowMs());
    this.#isFollower = false;
  }

  /** Calls `listener` after each change. @returns a function that stops it */
  onChange(listener: (change: AllocationChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Puts a configuration in force. Allocations stay; what to do with those outside is decided elsewhere. */
  configure(topology: Topology): void {
    this.#table.configure(topology);
  }

  /**
   * Reads all records from the store and starts from them. What the watch shows meanwhile is newer than what was read and is looked at
   * afterwards. What this process was writing in an earlier turn of leadership and has no answer for is taken still, and counts.
   * @throws WorldError when they cannot be read; memory stays as it was
   */
  async restore(): Promise<void> {
    const seen = [...(this.#seenWhileRestoring ?? [])];
    this.#seenWhileRestoring = seen;
    // Of two at once the one that began last decides: what the other read may be older than what was written since.
    const isLatest = () => this.#seenWhileRestoring === seen;
    try {
      const allocations = await this.#ports.store.list();
      if (isLatest()) this.#startFrom(allocations);
    } finally {
      if (isLatest()) {
        this.#seenWhileRestoring = undefined;
        this.#writtenWhileRestoring.clear();
        for (const event of seen) this.observe(event);
      }
    }
  }

  #startFrom(found: readonly Allocation[]): void {
    const table = this.#table;
    const before = [...table.all()].filter(isBound);
    const lost = new Set(table.inPhase("lost"));
    // Of these memory knows more than what was read, whichever of the two came first.
    const written = new Set(this.#writtenWhileRestoring);
    const own = new Set([...written, ...table.inPhase("writing"), ...table.inPhase("leaving")]);
    const known = [...own].flatMap((ip) => {
      const allocation = table.get(ip);
      return allocation === undefined ? [] : [{ allocation, phase: table.phaseOf(ip) ?? "idle" }];
    });
    table.load(found);
    this.#unread.clear();
    for (const { allocation, phase } of known) {
      const { ip } = allocation;
      if (isWriting(phase)) this.#seeWhileWriting(ip, table.get(ip)?.version);
      table.put(allocation, phase);
    }
    for (const ip of written) void this.#verify(ip);
    for (const allocation of before) {
      if (own.has(allocation.ip)) continue;
      const now = table.get(allocation.ip);
      // A record that was deleted by hand may be that of a living pod.
      if (now === undefined) table.put(allocation, "lost");
      else if (!lost.has(allocation.ip)) this.#noteFormer(allocation, now);
    }
  }

  /**
   * Compares memory with all records in the store, after a watch was interrupted. Differences are looked at one by one.
   * @throws WorldError when they cannot be read
   */
  async reconcile(): Promise<void> {
    const before = new Map([...this.#table.all()].map((allocation) => [allocation.ip, allocation]));
    const found = await this.#ports.store.list();
    for (const allocation of found) {
      const { ip } = allocation;
      const known = before.get(ip);
      before.delete(ip);
      // What changed in memory while the list was read is newer than the list; what left memory must not come back by it.
      if (this.#table.get(ip) !== known) continue;
      this.observe({ kind: "changed", allocation });
    }
    // What entered memory while the list was read is not missing in it.
    for (const [ip, allocation] of before) {
      if (this.#table.get(ip) === allocation) this.observe({ kind: "removed", ip });
    }
  }

  /** What an interrupted watch did not tell is never told again: the comparison is owed until it was made. */
  #reconcileUntilDone(): void {
    this.#owedReconciles += 1;
    const owed = this.#owedReconciles;
    this.reconcile().catch((error: unknown) => {
      this.#ports.log.warn(
        "records could not be compared after an interruption, it is tried again",
        {},
        error,
      );
      this.#ports.clock.after(reconcileRetryMs, () => {
        // A later interruption has its own.
        if (owed === this.#owedReconciles) this.#reconcileUntilDone();
      });
    });
  }

  /** Promises addresses to a pod for a time; in memory only. */
  hold(hold: Hold): void {
    this.#table.hold(hold);
  }

  /**
   * Keeps addresses that a living pod carries without a record of its own from being given to another, until it has records or is gone. Who
   * was promised one of them is not promised anything any more.
   */
  holdCarried(pod: PodFacts): void {
    const isLiving = pod.nodeName !== "" && !podIsFinished(pod);
    const ips = isLiving ? pod.assignedIps.filter((ip) => this.#mayGoToAnother(ip, pod)) : [];
    const held = this.#table.holdOf(pod.uid)?.byZone.get(carriedZone);
    const isHeld = (ip: Ip) => held?.includes(ip) === true && this.#table.heldBy(ip) === pod.uid;
    if (held?.length === ips.length && ips.every(isHeld)) return;
    if (held === undefined && ips.length === 0) return;
    for (const ip of ips) {
      const promisedTo = this.#table.heldBy(ip);
      if (promisedTo !== undefined) this.#table.dropHold(promisedTo);
    }
    this.#table.hold({
      podUid: pod.uid,
      pod: pod.id,
      workload: undefined,
      pool: undefined,
      byZone: new Map(ips.length === 0 ? [] : [[carriedZone, ips]]),
      expiresAtMs: Number.POSITIVE_INFINITY,
    });
  }

  /** No record keeps the address for the pod, by uid or by name, and no administrator keeps it from everybody. */
  #mayGoToAnother(ip: Ip, pod: Pick<PodFacts, "id" | "uid">): boolean {
    // A watch that is behind shows pods that were confirmed to be gone when their address was given to others.
    if (this.#givenUpMs.has(`${pod.uid} ${ip}`)) return false;
    const allocation = this.#table.get(ip);
    if (allocation === undefined) return true;
    // A record that is only being made keeps nothing yet: when that fails the address is free.
    if (allocation.version === "" && this.#table.phaseOf(ip) === "writing") return true;
    const { owner, podUid } = allocation;
    if (podUid === pod.uid || owner.kind === "admin" || owner.kind === "foreign") return false;
    return owner.kind !== "pod" || podIdText(owner.pod) !== podIdText(pod.id);
  }

  #noteGivenUp({ ip, podUid }: Allocation): void {
    if (podUid === "") return;
    const nowMs = this.#ports.clock.nowMs();
    for (const [key, atMs] of this.#givenUpMs) {
      if (nowMs - atMs < givenUpMemoryMs) break;
      this.#givenUpMs.delete(key);
    }
    this.#givenUpMs.set(`${podUid} ${ip}`, nowMs);
  }

  /** Pods that records named until somebody else changed them, as those records said; each may still get the address. */
  formers(): readonly Allocation[] {
    return [...this.#formers.values()].flat().map(({ record }) => record);
  }

  /** Whether the change is so long ago that no Binding of before it can be under way. */
  isOldFormer({ ip, podUid }: Allocation): boolean {
    const former = this.#formers.get(ip)?.find(({ record }) => record.podUid === podUid);
    return former !== undefined && this.#ports.clock.nowMs() - former.seenMs >= followerMemoryMs;
  }

  /** The same of one address. */
  formersOf(ip: Ip): readonly Allocation[] {
    return (this.#formers.get(ip) ?? []).map(({ record }) => record);
  }

  /** The pod will not get the address any more, or its record names it again. */
  forgetFormer({ ip, podUid }: Allocation): void {
    const formers = this.#formers.get(ip);
    if (formers !== undefined) {
      this.#setFormers(
        ip,
        formers.filter(({ record }) => record.podUid !== podUid),
      );
    }
  }

  #setFormers(ip: Ip, formers: { readonly record: Allocation; readonly seenMs: number }[]): void {
    this.#formers.delete(ip);
    if (formers.length > 0) this.#formers.set(ip, formers);
    const former = formers[0]?.record;
    this.#table.keepFor(
      ip,
      former?.owner.kind === "pod"
        ? { podUid: former.podUid, pod: former.owner.pod, pool: former.owner.pool }
        : undefined,
    );
  }

  /**
   * Somebody else changed a record that named a pod. A Binding with the address may be on its way to that pod: the address is kept for it until
   * its fate is known. A follower sees the leader's changes like anybody's, and forgets them after a while.
   */
  #noteFormer(before: Allocation, after: Allocation): void {
    const { ip, podUid } = before;
    if (isBound(after) && this.formersOf(ip).some((former) => former.podUid === after.podUid)) {
      // What was written over it meanwhile was undone.
      this.#setFormers(ip, []);
      return;
    }
    if (!isBound(before) || (isBound(after) && after.podUid === podUid)) return;
    // No Binding is sent before the record is there.
    if (before.version === "") return;
    if (this.#givenUpMs.has(`${podUid} ${ip}`)) return;
    const seenMs = this.#ports.clock.nowMs();
    if (this.#isFollower) this.#forgetOldFormers(seenMs);
    const formers = this.#formers.get(ip) ?? [];
    if (formers.some(({ record }) => record.podUid === podUid)) return;
    this.#setFormers(ip, [...formers, { record: before, seenMs }]);
  }

  #forgetOldFormers(nowMs: number): void {
    for (const [ip, formers] of [...this.#formers]) {
      const young = formers.filter(({ seenMs }) => nowMs - seenMs < followerMemoryMs);
      // Entries are in the order in which they changed last.
      if (young.length === formers.length) break;
      this.#setFormers(ip, young);
    }
  }

  /** Whether the address must not go to this pod ("": to none) because it may yet be another one's. */
  #isKeptFromPod(ip: Ip, podUid: string): boolean {
    const kept = this.#formers.get(ip)?.[0];
    return kept !== undefined && kept.record.podUid !== podUid;
  }

  #noteReplaced({ ip, version }: Allocation): void {
    const nowMs = this.#ports.clock.nowMs();
    for (const [key, atMs] of this.#replacedMs) {
      if (nowMs - atMs < replacedMemoryMs) break;
      this.#replacedMs.delete(key);
    }
    this.#replacedMs.set(`${ip} ${version}`, nowMs);
  }

  /**
   * Whether this very version of the record was removed or replaced by this process a moment ago. The store gives no version twice: such an
   * event is an old one, and must not take the address from a pod that it is promised to by now.
   */
  #wasReplaced({ ip, version }: Allocation): boolean {
    const atMs = this.#replacedMs.get(`${ip} ${version}`);
    return atMs !== undefined && this.#ports.clock.nowMs() - atMs < replacedMemoryMs;
  }

  /** Gives up what was promised to a pod. */
  dropHold(podUid: string): void {
    // Who had none gives nothing back: two pods that wait, each looking again when the other has looked, would never let anything else run.
    if (this.#table.holdOf(podUid) === undefined) return;
    this.#table.dropHold(podUid);
    this.#wakePromiseWaiters();
  }

  /** The pod goes to a node of this zone: what it was promised in others is open to other pods. */
  narrowHold(podUid: string, zoneId: string): void {
    const hold = this.#table.holdOf(podUid);
    const ips = hold?.byZone.get(zoneId);
    if (hold === undefined || ips === undefined || hold.byZone.size === 1) return;
    this.#table.hold({ ...hold, byZone: new Map([[zoneId, ips]]) });
    this.#wakePromiseWaiters();
  }

  /** Resolves when some promise, or a part of one, ends by a bind or otherwise, or after a time. */
  async whenPromiseEnds(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        cancel();
        this.#promiseWaiters.delete(wake);
        resolve();
      };
      const cancel = this.#ports.clock.after(timeoutMs, wake);
      this.#promiseWaiters.add(wake);
    });
  }

  #wakePromiseWaiters(): void {
    for (const wake of [...this.#promiseWaiters]) wake();
  }

  /** Gives up promises whose time is over. */
  expireHolds(): void {
    this.#table.expireHolds(this.#ports.clock.nowMs());
  }

  /**
   * Gives addresses to an owner: in memory in this tick, then in the store, all or none. A record that says already what is wanted is
   * written all the same: a write that was given up earlier, by this process or another, may still arrive, and finds another version then.
   * @returns the allocations in the order of the request
   * @throws WorldError when the store fails; what was written is taken back as far as possible, the rest is healed by resync
   */
  async take(request: TakeRequest): Promise<TakeOutcome> {
    this.assertLeader(`take ${request.addresses.map(({ ip }) => ip).join(", ")}`);
    for (const { ip } of request.addresses) {
      const phase = this.#table.phaseOf(ip);
      if (phase !== undefined && phase !== "idle") return { kind: "lost", ip };
      const holder = this.#table.heldBy(ip);
      if (holder !== undefined && holder !== request.podUid) return { kind: "lost", ip };
      const before = this.#table.get(ip);
      if (before !== undefined && !mayGoTo(before, request)) return { kind: "lost", ip };
    }
    const nowMs = this.#ports.clock.nowMs();
    const steps: Step[] = [];
    for (const { ip } of request.addresses) {
      const before = this.#table.get(ip);
      const bare: Allocation = {
        ip,
        owner: request.owner,
        policy: request.policy,
        nodeName: request.nodeName,
        lastNodeName: "",
        podUid: request.podUid,
        updatedAtMs: nowMs,
        isDraining: request.podUid !== "" && !this.#table.topology.isConfigured(ip),
        version: before?.version ?? "",
      };
      const isReserved = request.podUid === "" && request.owner.kind !== "admin";
      const known = withIdleFields(bare, {
        reserveTtl: request.reserveTtl,
        idleSinceMs: isReserved ? nowMs : undefined,
      });
      const said = request.asRecorded === undefined ? known : { ...known, ...request.asRecorded };
      const next = withForeignText(said, before?.foreignText ?? said.foreignText);
      steps.push({ next, before, origin: this.#table.originOf(ip) });
      this.#table.put(next, "writing");
    }
    const outcomes = await Promise.all(steps.map((step) => this.#write(step)));
    const written = outcomes.flatMap((outcome) => (outcome.kind === "ok" ? [outcome] : []));
    if (written.length === steps.length) {
      this.dropHold(request.podUid);
      return { kind: "taken", allocations: written.map((outcome) => outcome.allocation) };
    }
    await this.#takeBack(steps, outcomes);
    const failed = outcomes.find((outcome) => outcome.kind === "failed");
    if (failed?.kind === "failed") throw failed.error;
    const lostIndex = outcomes.findIndex((outcome) => outcome.kind === "lost");
    return { kind: "lost", ip: (steps[lostIndex] as Step).next.ip };
  }

  /** Writes one address of a take; memory says already that it is taken. */
  async #write({ next, before, origin }: Step): Promise<StepOutcome> {
    const { store } = this.#ports;
    const { ip } = next;
    const settle = (found: Allocation | undefined): StepOutcome => {
      if (found !== undefined && sameRecord(found, next)) {
        this.#entered(before, found);
        return { kind: "ok", allocation: found };
      }
      if (found === undefined && before !== undefined && isBound(before)) {
        // Somebody deleted the record while its pod took it again: an earlier Binding of the pod may still be under way.
        this.#table.put(before, "writing");
        this.#settle(ip, before, undefined);
      } else {
        if (before !== undefined && found !== undefined) this.#noteFormer(before, found);
        this.#revert(ip, found, origin);
      }
      return { kind: "lost" };
    };
    try {
      const outcome = before === undefined ? await store.create(next) : await store.update(next);
      if (outcome.kind === "created" || outcome.kind === "updated") {
        this.#entered(before, outcome.allocation);
        return { kind: "ok", allocation: outcome.allocation };
      }
    } catch (error) {
      if (!(error instanceof WorldError && error.mayHaveHappened)) {
        this.#revert(ip, before, origin);
        return { kind: "failed", error };
      }
      // An error is not a no: the record says what happened.
      const found = await this.#readBack(ip);
      if (found === "unknown") return { kind: "failed", error };
      const outcome = settle(found);
      return outcome.kind === "ok" ? outcome : { kind: "failed", error };
    }
    const found = await this.#readBack(ip);
    if (found === "unknown") return { kind: "lost" };
    if (found !== undefined && !sameRecord(found, next)) {
      this.#ports.metrics.count("repairs", { kind: "record of somebody else" });
    }
    return settle(found);
  }

  /**
   * Reads a record after an unknown outcome. When that fails too the address stays taken and `unsettled`.
   */
  async #readBack(ip: Ip): Promise<Allocation | undefined | "unknown"> {
    try {
      return await this.#ports.store.read(ip);
    } catch (error) {
      this.#table.setPhase(ip, "unsettled");
      this.#afterWrite(ip);
      this.#ports.log.warn("record could not be read back, address counts as taken", { ip }, error);
      return "unknown";
    }
  }

  /** The address is free in memory, except for a pod that carries it: it has no record of its own yet, or its making has just failed. */
  #free(ip: Ip, origin: FreeOrigin): void {
    this.#table.drop(ip, origin);
    for (const hold of this.#table.holds()) {
      if (hold.byZone.get(carriedZone)?.includes(ip) !== true) continue;
      this.#table.hold(hold);
      return;
    }
  }

  /** A record that is not the pod's was read or written again, and the pod that carries the address holds it as before. */
  #holdAgain(ip: Ip): void {
    for (const hold of [...this.#table.holds()]) {
      if (hold.byZone.get(carriedZone)?.includes(ip) !== true) continue;
      if (this.#mayGoToAnother(ip, { id: hold.pod, uid: hold.podUid })) this.#table.hold(hold);
    }
  }

  /** Memory after a write that did not happen: the record found, or free. */
  #revert(ip: Ip, found: Allocation | undefined, origin: FreeOrigin): void {
    const current = this.#table.get(ip);
    if (found === undefined) this.#free(ip, origin);
    else this.#table.put(found, "idle");
    this.#afterWrite(ip);
    if (found !== undefined && current !== undefined && !sameRecord(found, current)) {
      this.#tell({ before: undefined, after: found, origin: "store" });
    }
  }

  #entered(before: Allocation | undefined, after: Allocation): void {
    if (isBound(after)) {
      this.forgetFormer(after);
      // It had given the address up before, by a take that failed as a whole.
      this.#givenUpMs.delete(`${after.podUid} ${after.ip}`);
    }
    if (before !== undefined && before.version !== "") this.#noteReplaced(before);
    this.#table.put(after, "idle");
    if (!isBound(after)) this.#holdAgain(after.ip);
    this.#afterWrite(after.ip);
    // That somebody took note of how long it is reserved is nothing that happened to the address.
    const isNote = before !== undefined && !isBound(before) && sameRecord(before, after);
    if (!isNote) this.#logChange(before, after);
    this.#tell({ before, after, origin: "own" });
  }

  /** Undoes the written part of a take that failed as a whole. */
  async #takeBack(steps: readonly Step[], outcomes: readonly StepOutcome[]): Promise<void> {
    await Promise.all(
      outcomes.map(async (outcome, index) => {
        if (outcome.kind !== "ok") return;
        const { before } = steps[index] as Step;
        try {
          if (before === undefined) await this.release(outcome.allocation, "taken back");
          else if (!isBound(before)) {
            await this.change(outcome.allocation, before.owner, {
              podUid: "",
              nodeName: "",
              policy: before.policy,
              because: "taken back",
              pod: before,
            });
          }
        } catch (error) {
          // The record names a pod that exists: its next bind uses it, or reclaim takes it.
          const { ip } = outcome.allocation;
          this.#ports.log.warn("address could not be taken back, resync will", { ip }, error);
        }
      }),
    );
  }

  /**
   * Frees an address: in the store first, then in memory.
   * @param allocation as it was when the decision was made
   * @throws WorldError when the store fails; the address stays taken
   */
  async release(allocation: Allocation, because: string): Promise<ChangeOutcome> {
    const { ip } = allocation;
    this.assertLeader(`release ${ip}`);
    const phase = this.#table.phaseOf(ip);
    if (this.#table.get(ip) !== allocation || (phase !== "idle" && phase !== "lost"))
      return "changed";
    if (this.#isKeptFromPod(ip, allocation.podUid)) return "changed";
    this.#table.setPhase(ip, "leaving");
    try {
      const outcome =
        phase === "lost"
          ? { kind: "missing" as const }
          : await this.#ports.store.remove(allocation);
      if (outcome.kind === "conflict") {
        const found = await this.#readBack(ip);
        if (found !== "unknown") this.#settle(ip, allocation, found);
        return "changed";
      }
      if (outcome.kind === "removed") this.#noteReplaced(allocation);
    } catch (error) {
      if (!(error instanceof WorldError && error.mayHaveHappened)) {
        this.#table.setPhase(ip, "idle");
        this.#afterWrite(ip);
        throw error;
      }
      const found = await this.#readBack(ip);
      if (found === "unknown") throw error;
      if (found !== undefined) {
        this.#settle(ip, allocation, found);
        throw error;
      }
    }
    this.#noteGivenUp(allocation);
    this.#free(ip, { kind: "released", atMs: this.#ports.clock.nowMs() });
    this.#afterWrite(ip);
    this.#ports.log.info("address released", { ...fieldsOf(allocation), because });
    this.#ports.metrics.count("changes", { change: "released" });
    this.#tell({ before: allocation, after: undefined, origin: "own" });
    return "done";
  }

  /**
   * Changes the owner, pod or node of an address that stays taken.
   * @param allocation as it was when the decision was made
   * @throws WorldError when the store fails; memory keeps what the store has
   */
  async change(
    allocation: Allocation,
    owner: Owner,
    to: {
      readonly podUid: string;
      readonly nodeName: string;
      readonly policy: ReleasePolicy;
      readonly because: string;
      /** The pod that has the address now, or had it last, when it may be another than the record says: how long the address is kept is what that one asks for. */
      readonly pod?: Pick<TakeRequest, "reserveTtl">;
      /** The record says still when the address was last given; false by default: it says now. */
      readonly keepsItsTime?: boolean;
      /** What the record of a reserved address is to say of that; by default as before, or that it is reserved since now. */
      readonly idle?: { readonly sinceMs: number; readonly warnedMs: number | undefined };
    },
  ): Promise<ChangeOutcome> {
    const { ip } = allocation;
    this.assertLeader(`change ${ip}`);
    const phase = this.#table.phaseOf(ip);
    if (this.#table.get(ip) !== allocation || (phase !== "idle" && phase !== "lost"))
      return "changed";
    if (this.#isKeptFromPod(ip, to.podUid)) return "changed";
    const bare: Allocation = {
      ip,
      owner,
      policy: to.policy,
      nodeName: to.nodeName,
      lastNodeName:
        to.podUid !== ""
          ? ""
          : allocation.nodeName !== ""
            ? allocation.nodeName
            : allocation.lastNodeName,
      podUid: to.podUid,
      updatedAtMs: to.keepsItsTime === true ? allocation.updatedAtMs : this.#ports.clock.nowMs(),
      isDraining: to.podUid !== "" && !this.#table.topology.isConfigured(ip),
      version: allocation.version,
    };
    const known = withIdleFields(bare, {
      reserveTtl: (to.pod ?? allocation).reserveTtl,
      ...(to.podUid === "" ? idleFieldsOf(allocation, to.idle, this.#ports.clock.nowMs()) : {}),
    });
    const next = withForeignText(known, allocation.foreignText);
    if (phase === "idle" && to.idle === undefined && sameRecord(allocation, next)) return "done";
    this.#table.setPhase(ip, "writing");
    try {
      const outcome =
        phase === "lost"
          ? await this.#ports.store.create(next)
          : await this.#ports.store.update(next);
      if (outcome.kind === "updated" || outcome.kind === "created") {
        if (to.podUid !== allocation.podUid) this.#noteGivenUp(allocation);
        this.#entered(allocation, outcome.allocation);
        return "done";
      }
    } catch (error) {
      if (!(error instanceof WorldError && error.mayHaveHappened)) {
        this.#table.setPhase(ip, phase);
        this.#afterWrite(ip);
        throw error;
      }
      const found = await this.#readBack(ip);
      if (found === "unknown") throw error;
      if (found !== undefined && sameRecord(found, next)) {
        this.#entered(allocation, found);
        return "done";
      }
      this.#settle(ip, allocation, found);
      throw error;
    }
    const found = await this.#readBack(ip);
    if (found !== "unknown") this.#settle(ip, allocation, found);
    return "changed";
  }

  /** Reads records whose state is unknown. @throws WorldError when they cannot be read */
  async settleUnknown(ips: Iterable<Ip>): Promise<void> {
    for (const ip of ips) {
      if (this.#table.get(ip) === undefined && this.#unread.has(ip)) {
        this.#unread.delete(ip);
        await this.#compare(ip);
        continue;
      }
      if (this.#table.phaseOf(ip) !== "unsettled") continue;
      const before = this.#table.get(ip) as Allocation;
      const found = await this.#readNow(ip);
      if (this.#table.get(ip) === before && this.#table.phaseOf(ip) === "unsettled") {
        this.#settle(ip, before, found);
      }
    }
  }

  /** Addresses whose record must be read before anything else happens to them. */
  unsettled(): readonly Ip[] {
    const unsettled = new Set(this.#unread);
    for (const { ip } of this.#table.all()) {
      if (this.#table.phaseOf(ip) === "unsettled") unsettled.add(ip);
    }
    return [...unsettled];
  }

  /** Memory follows what was read from the store. */
  #settle(ip: Ip, before: Allocation, found: Allocation | undefined): void {
    if (found !== undefined) {
      this.#noteFormer(before, found);
      this.#table.put(found, "idle");
      this.#holdAgain(ip);
      this.#afterWrite(ip);
      if (!sameRecord(before, found)) this.#tell({ before, after: found, origin: "store" });
    } else if (mayBeInAPod(before) || this.#formers.has(ip)) {
      this.#table.setPhase(ip, "lost");
      this.#afterWrite(ip);
      this.#tell({ before, after: before, origin: "store" });
    } else {
      this.#free(ip, { kind: "released", atMs: this.#ports.clock.nowMs() });
      this.#afterWrite(ip);
      this.#ports.log.info("record deleted by somebody else, address is free", fieldsOf(before));
      this.#tell({ before, after: undefined, origin: "store" });
    }
  }

  /**
   * Takes notice of a record in the store. The leader reads again what contradicts its memory, because watches lag; a follower believes it.
   * An unknown record enters memory at once: it is taken, whoever wrote it.
   */
  observe(event: AllocationEvent): void {
    if (this.#seenWhileRestoring !== undefined) {
      this.#seenWhileRestoring.push(event);
      return;
    }
    if (event.kind === "reset") {
      this.#reconcileUntilDone();
      return;
    }
    const ip = event.kind === "changed" ? event.allocation.ip : event.ip;
    const version = event.kind === "changed" ? event.allocation.version : undefined;
    for (const seen of this.#seenWhileReading.get(ip) ?? []) seen.push(version);
    const current = this.#table.get(ip);
    const phase = this.#table.phaseOf(ip);
    if (current === undefined) {
      if (event.kind === "removed" || this.#wasReplaced(event.allocation)) return;
      if (this.#isFollower) this.#adopt(event.allocation);
      else void this.#confirm(event.allocation);
      return;
    }
    if (isWriting(phase)) {
      this.#seeWhileWriting(ip, version);
      return;
    }
    // A record that counts as lost may have been made while all records were being read, and is missing in what was read.
    if (current.version === version && (this.#isFollower || phase !== "lost")) return;
    if (!this.#isFollower) void this.#verify(ip);
    else if (event.kind === "changed") this.#adopt(event.allocation);
    else this.#forgetAsFollower(current);
  }

  /**
   * A follower may lead a moment later, with a view of pods that is older than this event: the address of a pod stays known as lost for a
   * while, so that a leader asks whether the pod lives before the address is anybody else's.
   */
  #forgetAsFollower(allocation: Allocation): void {
    const { ip } = allocation;
    const forget = () => this.#free(ip, { kind: "released", atMs: this.#ports.clock.nowMs() });
    if (!isBound(allocation)) {
      forget();
      return;
    }
    this.#table.setPhase(ip, "lost");
    this.#ports.clock.after(followerMemoryMs, () => {
      const isLost = this.#table.get(ip) === allocation && this.#table.phaseOf(ip) === "lost";
      if (this.#isFollower && isLost) forget();
    });
  }

  /** An unknown record is taken at once. It may be one of our own that was removed since: nobody is told of it before it was read. */
  async #confirm(seen: Allocation): Promise<void> {
    const { ip } = seen;
    this.#table.put(seen, "unsettled");
    const isOpen = () => this.#table.get(ip) === seen && this.#table.phaseOf(ip) === "unsettled";
    let found: Allocation | undefined;
    try {
      found = await this.#readNow(ip);
    } catch (error) {
      this.#ports.log.warn("record could not be read after it was seen", { ip }, error);
      if (isOpen()) this.#tell({ before: undefined, after: seen, origin: "store" });
      return;
    }
    if (!isOpen()) return;
    if (found === undefined) {
      this.#free(ip, { kind: "released", atMs: this.#ports.clock.nowMs() });
      return;
    }
    this.#table.put(found, "idle");
    this.#tell({ before: undefined, after: found, origin: "store" });
  }

  #adopt(allocation: Allocation): void {
    const before = this.#table.get(allocation.ip);
    // A record that was removed and made again for another was the leader's to give, who may have taken it back from the pod before.
    const isNew = this.#table.phaseOf(allocation.ip) === "lost";
    if (before !== undefined && !isNew) this.#noteFormer(before, allocation);
    this.#table.put(allocation, "idle");
    this.#tell({ before, after: allocation, origin: "store" });
  }

  /** Resolves when no write of the address is under way. */
  async whenWritten(ip: Ip): Promise<void> {
    for (;;) {
      const phase = this.#table.phaseOf(ip);
      if (!isWriting(phase)) return;
      await new Promise<void>((resolve) => {
        const waiters = this.#writeWaiters.get(ip) ?? [];
        waiters.push(resolve);
        this.#writeWaiters.set(ip, waiters);
      });
    }
  }

  /** Wakes who waits. What the watch showed during a write is the echo of it, or somebody else's change. */
  #afterWrite(ip: Ip): void {
    if (this.#seenWhileRestoring !== undefined) this.#writtenWhileRestoring.add(ip);
    for (const resolve of this.#writeWaiters.get(ip) ?? []) resolve();
    this.#writeWaiters.delete(ip);
    const seen = this.#seenWhileWriting.get(ip);
    if (seen === undefined) return;
    this.#seenWhileWriting.delete(ip);
    const version = this.#table.get(ip)?.version;
    if (seen.at(-1) !== version) void this.#verify(ip);
  }

  async #verify(ip: Ip): Promise<void> {
    try {
      await this.#compare(ip);
    } catch (error) {
      this.#ports.log.warn("record could not be read after a change was seen", { ip }, error);
      // Nobody waits for the answer: who is told asks again, so that the address is not doubtful until the next resync.
      const known = this.#table.phaseOf(ip) === "unsettled" ? this.#table.get(ip) : undefined;
      if (known !== undefined) this.#tell({ before: known, after: known, origin: "store" });
    }
  }

  /**
   * Reads the record of an address; memory follows. What cannot be followed now, because a write is under way or the record cannot be
   * read, is remembered: forgetting it would leave an address free in memory that is not.
   * @throws WorldError when it cannot be read
   */
  async #compare(ip: Ip): Promise<void> {
    const before = this.#table.get(ip);
    let found: Allocation | undefined;
    try {
      found = await this.#readNow(ip);
    } catch (error) {
      const phase = this.#table.phaseOf(ip);
      if (phase === undefined) this.#unread.add(ip);
      else if (phase === "idle" || phase === "lost") this.#table.setPhase(ip, "unsettled");
      else if (isWriting(phase)) this.#seeWhileWriting(ip, unreadVersion);
      throw error;
    }
    const current = this.#table.get(ip);
    if (isWriting(this.#table.phaseOf(ip))) this.#seeWhileWriting(ip, found?.version);
    else if (current !== before) {
      if (current?.version !== found?.version) void this.#verify(ip);
    } else if (before === undefined) {
      if (found !== undefined) this.#adopt(found);
    } else if (
      found?.version !== before.version ||
      (found !== undefined && this.#table.phaseOf(ip) === "lost")
    ) {
      this.#ports.metrics.count("repairs", {
        kind: found === undefined ? "record deleted" : "record changed",
      });
      this.#settle(ip, before, found);
    }
  }

  /**
   * Reads a record until no change of it was seen meanwhile that the answer does not show: an answer that was long on its way is older than
   * such an event, which is never told again.
   * @throws WorldError when it cannot be read
   */
  async #readNow(ip: Ip): Promise<Allocation | undefined> {
    for (;;) {
      const seen: (string | undefined)[] = [];
      const reads = this.#seenWhileReading.get(ip) ?? new Set();
      this.#seenWhileReading.set(ip, reads.add(seen));
      let found: Allocation | undefined;
      try {
        found = await this.#ports.store.read(ip);
      } finally {
        reads.delete(seen);
        if (reads.size === 0) this.#seenWhileReading.delete(ip);
      }
      if (seen.length === 0 || seen.at(-1) === found?.version) return found;
    }
  }

  #seeWhileWriting(ip: Ip, version: string | undefined): void {
    const seen = this.#seenWhileWriting.get(ip) ?? [];
    seen.push(version);
    this.#seenWhileWriting.set(ip, seen);
  }

  #tell(change: AllocationChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #logChange(before: Allocation | undefined, after: Allocation): void {
    const change = isBound(after) ? "taken" : "reserved";
    this.#ports.log.info(change === "taken" ? "address taken" : "address reserved", {
      ...fieldsOf(after),
      from: before === undefined ? "free" : before.owner.kind,
    });
    this.#ports.metrics.count("changes", { change });
  }

  /**
   * To be called right before anything is written to the world, with no await between.
   * @throws WorldError NOT_LEADER, with who leads
   */
  assertLeader(tried: string): void {
    if (this.#ports.leadership.isLeader()) return;
    const leader = this.#ports.leadership.leaderName();
    throw new WorldError("NOT_LEADER", {
      tried,
      message: `this instance does not lead (leader: ${leader === "" ? "unknown" : leader}); ask the leader`,
    });
  }
}

function isWriting(phase: EntryPhase | undefined): boolean {
  return phase === "writing" || phase === "leaving";
}

/** Since when no pod has a reserved address, and when its owner was told. */
function idleFieldsOf(
  before: Allocation,
  wanted: { readonly sinceMs: number; readonly warnedMs: number | undefined } | undefined,
  nowMs: number,
): IdleFields {
  if (wanted !== undefined) return { idleSinceMs: wanted.sinceMs, idleWarnedMs: wanted.warnedMs };
  if (isBound(before)) return { idleSinceMs: nowMs };
  return { idleSinceMs: before.idleSinceMs, idleWarnedMs: before.idleWarnedMs };
}

/**
 * Whether a pod may have the address although its record is gone: the record named one, or it was one of an operator, who may have put
 * it in the place of a living pod's.
 */
function mayBeInAPod(allocation: Allocation): boolean {
  const { kind } = allocation.owner;
  return isBound(allocation) || kind === "admin" || kind === "foreign";
}

/** The last guard before memory changes: what another pod has, or an administrator, is not given away whatever was decided. */
function mayGoTo({ owner, podUid }: Allocation, request: TakeRequest): boolean {
  switch (owner.kind) {
    case "workload":
    case "pool":
      return true;
    case "pod":
      return (
        request.owner.kind === "pod" &&
        podIdText(owner.pod) === podIdText(request.owner.pod) &&
        (podUid === "" || podUid === request.podUid)
      );
    case "admin":
    case "foreign":
      return false;
    default:
      return owner satisfies never;
  }
}

/** Whether two records say the same, whatever their version and time. */
export function sameRecord(a: Allocation, b: Allocation): boolean {
  return (
    a.ip === b.ip &&
    sameOwner(a.owner, b.owner) &&
    a.policy === b.policy &&
    a.nodeName === b.nodeName &&
    a.podUid === b.podUid &&
    a.isDraining === b.isDraining
  );
}

/** Fields of log lines about an address. */
export function fieldsOf(allocation: Allocation): Record<string, string> {
  const { owner } = allocation;
  const base = {
    ip: allocation.ip as string,
    policy: allocation.policy,
    node: allocation.nodeName,
  };
  switch (owner.kind) {
    case "pod":
      return {
        ...base,
        pod: podIdText(owner.pod),
        uid: allocation.podUid,
        ...(owner.workload === undefined ? {} : { workload: workloadIdText(owner.workload) }),
        ...(owner.pool === undefined ? {} : { pool: owner.pool }),
      };
    case "workload":
      return { ...base, workload: workloadIdText(owner.workload) };
    case "pool":
      return { ...base, pool: owner.pool };
    case "admin":
    case "foreign":
      return { ...base, key: owner.key };
    default:
      return owner satisfies never;
  }
}
