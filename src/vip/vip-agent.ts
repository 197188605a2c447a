// The agent of one node: renews the node's lease, opens the kernel's gate for what the node was granted, and lets go when asked. It decides
// nothing about who holds what. Why two nodes never answer at once is in docs/design/vip.md.

import type { Ip } from "../core/ip.ts";
import type { NodeLease, VipHolder, VipRecord, VipTimers } from "../core/vip.ts";
import { nextSession } from "../core/vip.ts";
import { mayHoldOn } from "../core/vip-hold.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { GateEntry, VipGate } from "../ports/vip-gate.ts";
import type { VipHost } from "../ports/vip-host.ts";
import type { VipHeld, VipPeers, VipWord } from "../ports/vip-peers.ts";
import type {
  NodeLeaseStore,
  VipCreateOutcome,
  VipStore,
  VipUpdateOutcome,
} from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";

/** What the agent needs. There is at most one agent per node at a time; the composition root holds a lock for that. */
export type VipAgentPorts = {
  readonly nodeName: string;
  readonly vips: VipStore;
  readonly leases: NodeLeaseStore;
  readonly gate: VipGate;
  readonly host: VipHost;
  /** The other agents, for pools that hold on without the API server; undefined: all pools fence. */
  readonly peers?: VipPeers;
  readonly clock: Clock;
  readonly log: Log;
  readonly timers: VipTimers;
};

/** A session that the agent is in. `endMs`: until when it may answer, counted from before the last renewal was sent. */
type Membership = { readonly lease: NodeLease; readonly endMs: number };

/** What this session may answer for; `bornMs` is the record's. */
type Grant = GateEntry & { readonly bornMs: number };

/** Before something that failed is tried again. */
const retryMs = 200;

/** Before a record is written again that somebody else wrote meanwhile. */
const conflictMs = 20;

/** For how much longer the lease of a node lasts that holds an address of a pool that holds on. */
const holdExtraMs = 2_000;

/** How often the other agents are asked, and how long their answers may take. */
const askEveryMs = 400;
const askLimitMs = 300;

/** What is granted and cannot be answered for is said after so long: most often it is a watch that is behind. */
const unableMs = 2_000;

/** Openings that come too late are tried with fewer addresses at once, down to this many. */
const fewestAtOnce = 32;
const largestAtOnce = 4_096;

/** One node's agent. */
export class VipAgent {
  readonly #ports: VipAgentPorts;
  #membership: Membership | undefined;
  #lastSession = 0;
  /** The outcome of the last write of the lease is unknown: it is read before the next one. */
  #isLeaseUnsure = false;
  readonly #granted = new Map<Ip, Grant>();
  /** Why something granted is refused. */
  readonly #refused = new Map<Ip, string>();
  /** Of which the record is about to say whether they are answered for. */
  readonly #saying = new Set<Ip>();
  /** Epochs that were let go in this session: never opened again, whatever an older record says. */
  readonly #closed = new Map<Ip, { readonly bornMs: number; readonly epoch: number }>();
  readonly #letting = new Set<Ip>();
  /** Of which a closing was begun and has not succeeded. */
  readonly #unclosed = new Set<Ip>();
  /** Addresses whose network is ready: the next renewal opens them, too. */
  readonly #ready = new Set<Ip>();
  /** New grants that wait for their network; whatever comes while others are made ready goes together. */
  readonly #waiting = new Set<Ip>();
  readonly #preparing = new Set<Ip>();
  /** What is to be opened next, and the opening under way. */
  readonly #toOpen = new Set<Ip>();
  #opening: Promise<void> | undefined;
  #mostAtOnce = 1_024;
  /** The end of the lease for addresses of pools that hold on: late enough to ask the others when the API server is away. */
  #holdEndMs = 0;
  /** Until when addresses may be answered for by the word of others, counted from before they were asked. */
  readonly #heldOnUntilMs = new Map<Ip, number>();
  /** Until when this node must say that it reaches the API server. */
  #reachesUntilMs = Number.NEGATIVE_INFINITY;
  #hasJoined = false;
  #cancelAsking: () => void = () => {};
  #isRunning = false;
  #resumed: number | undefined;
  /** What the kernel was told that lasts longer than usual, and until when: so long the lease says it, too. */
  #longer: readonly { readonly durationMs: number; readonly untilMs: number }[] = [];
  #beating: Promise<void> = Promise.resolve();
  #stopWatch: () => void = () => {};
  #cancelBeat: () => void = () => {};

  constructor(ports: VipAgentPorts) {
    this.#ports = ports;
  }

  /**
   * Begins: leftovers in the kernel are removed before the node joins.
   * @param resumed the session that {@link handOn} said, when the process before this one handed it on: if it still is the node's, it goes
   *   on, and what the kernel answers for is closed only where it is not granted any more. The store of records must have been read whole
   */
  start(resumed?: number): void {
    this.#isRunning = true;
    this.#resumed = resumed;
    this.#stopWatch = this.#ports.vips.watch((ip) => this.#look(ip));
    this.#ports.peers?.answerWith((held) => this.#word(held));
    this.#beatAfter(0);
    this.#askLater();
  }

  /** Ends without letting go: the kernel stops answering by itself when the lease ends. */
  stop(): void {
    this.#isRunning = false;
    this.#stopWatch();
    this.#cancelBeat();
    this.#cancelAsking();
  }

  /** Milliseconds for which the kernel may answer without another renewal; 0 when the node has no lease. */
  leaseLeftMs(): number {
    const endMs = this.#membership?.endMs ?? 0;
    return Math.max(0, endMs - this.#ports.clock.nowMs());
  }

  /** Looks at an address again, for example because what the node allows has changed. */
  lookAgain(ip: Ip): void {
    if (this.#isRunning && this.#membership !== undefined) this.#look(ip);
  }

  /** Ends so that others can take over at once: nothing is answered for any more, and then the lease says so, for all addresses at once. */
  async leave(): Promise<void> {
    this.stop();
    await this.#beating;
    const { gate, host, leases } = this.#ports;
    const membership = this.#membership;
    const lost = [...this.#granted.keys()];
    this.#membership = undefined;
    this.#forgetAll();
    await gate.clear();
    host.closed(lost);
    if (membership === undefined) return;
    const { lease } = membership;
    // A greater session proves that this one is over; that it is revoked keeps anybody from being granted something here.
    await leases.update({ ...lease, session: lease.session + 1, isRevoked: true });
  }

  /**
   * Ends so that a process that starts within `forMs` goes on with the same session: the kernel answers until then, and everybody else
   * waits for that long.
   * @returns the session; undefined when that was not possible: then {@link leave}, or the kernel stops when the lease ends
   */
  async handOn(forMs: number): Promise<number | undefined> {
    this.stop();
    await this.#beating;
    const { clock, leases, log, nodeName, timers } = this.#ports;
    for (let ms = 0; this.#letting.size > 0 && ms < timers.ackMs; ms += conflictMs) {
      await this.#pause(conflictMs);
    }
    const membership = this.#membership;
    // A release that is on its way could arrive when the next process has opened again.
    if (membership === undefined || this.#isLeaseUnsure || this.#letting.size > 0) return undefined;
    const sentMs = clock.nowMs();
    const durationMs = Math.max(forMs, membership.lease.durationMs);
    try {
      const outcome = await leases.update({ ...membership.lease, durationMs });
      if (outcome.kind !== "written") return undefined;
      this.#membership = { lease: outcome.value, endMs: sentMs + forMs };
      await this.#open([...this.#ready]);
      return outcome.value.session;
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      log.warn("the session for virtual addresses is not handed on", { node: nodeName }, error);
      return undefined;
    }
  }

  #beatAfter(delayMs: number): void {
    if (!this.#isRunning) return;
    this.#cancelBeat = this.#ports.clock.after(delayMs, () => {
      const startedMs = this.#ports.clock.nowMs();
      const beating = this.#beat();
      this.#beating = beating.then(
        () => {},
        () => {},
      );
      beating.then(
        (isDone) => {
          const passedMs = this.#ports.clock.nowMs() - startedMs;
          this.#beatAfter(isDone ? Math.max(0, this.#ports.timers.renewMs - passedMs) : retryMs);
        },
        (error: unknown) => {
          if (!(error instanceof WorldError)) throw error;
          this.#ports.log.warn(
            "the node's lease for virtual addresses was not renewed, it is tried again",
            { node: this.#ports.nodeName },
            error,
          );
          this.#beatAfter(retryMs);
        },
      );
    });
  }

  /** @returns false when it is to be tried again soon */
  async #beat(): Promise<boolean> {
    if (this.#membership === undefined) return await this.#join();
    if (this.#isLeaseUnsure && !(await this.#readBack())) return false;
    return await this.#renew(this.#membership.lease);
  }

  async #join(): Promise<boolean> {
    const { clock, gate, leases, nodeName, timers } = this.#ports;
    if (this.#resumed !== undefined) {
      // Whether the session goes on is tried until it is known: meanwhile the kernel answers by the timers that everybody waits for.
      const outcome = await this.#resume(this.#resumed);
      if (outcome === "unknown") return false;
      this.#resumed = undefined;
      if (outcome === "resumed") return true;
    }
    await gate.clear();
    const found = await leases.read(nodeName);
    const previous = Math.max(found?.session ?? 0, this.#lastSession);
    const sentMs = clock.nowMs();
    const wanted: NodeLease = {
      nodeName,
      session: nextSession(previous, sentMs),
      isRevoked: false,
      durationMs: timers.leaseMs,
      version: found?.version ?? "",
    };
    // An attempt with an unknown outcome may still arrive: the next one has another number.
    this.#lastSession = wanted.session;
    const outcome = await this.#reach<VipCreateOutcome<NodeLease> | VipUpdateOutcome<NodeLease>>(
      () => (found === undefined ? leases.create(wanted) : leases.update(wanted)),
    );
    if (outcome.kind !== "written") return false;
    this.#hasJoined = true;
    this.#longer = [];
    this.#membership = { lease: outcome.value, endMs: sentMs + wanted.durationMs };
    this.#isLeaseUnsure = false;
    this.#closed.clear();
    for (const { ip } of this.#ports.vips.all()) this.#look(ip);
    return true;
  }

  /** Goes on with the session of the process before. `over`: it cannot. Rejects where the API server does not say. */
  async #resume(session: number): Promise<"resumed" | "over" | "unknown"> {
    const { clock, leases, log, nodeName, timers, vips } = this.#ports;
    const found = await leases.read(nodeName);
    if (found === undefined || found.isRevoked || found.session !== session) return "over";
    this.#lastSession = session;
    const sentMs = clock.nowMs();
    // The long duration stays until what the process before left in the kernel has run out, or its lease would be over before its timers.
    const outcome = await this.#reach(() => leases.update(found));
    // A revocation, or a renewal of before that arrived late: the next reading tells.
    if (outcome.kind !== "written") return "unknown";
    this.#hasJoined = true;
    this.#longer = [{ durationMs: found.durationMs, untilMs: sentMs + found.durationMs }];
    this.#membership = { lease: outcome.value, endMs: sentMs + timers.leaseMs };
    log.info("the node's session for virtual addresses goes on", { node: nodeName, session });
    for (const { ip } of vips.all()) this.#look(ip);
    this.#closeStale(session);
    return "resumed";
  }

  /** Closes what the process before answered for and what is not granted any more; a failure is tried again in the same session. */
  #closeStale(session: number): void {
    const { clock, gate, host, log, nodeName } = this.#ports;
    const close = async (): Promise<void> => {
      const answering = await gate.answering();
      if (this.#membership?.lease.session !== session) return;
      const stale = answering.map(({ ip }) => ip).filter((ip) => !this.#granted.has(ip));
      await gate.close(stale);
      host.closed(stale);
    };
    close().catch((error: unknown) => {
      if (!(error instanceof WorldError)) throw error;
      log.warn("what was answered for before is closed again", { node: nodeName }, error);
      clock.after(retryMs, () => {
        if (this.#isRunning && this.#membership?.lease.session === session) {
          this.#closeStale(session);
        }
      });
    });
  }

  async #renew(lease: NodeLease): Promise<boolean> {
    const { clock, leases, timers } = this.#ports;
    // Before the request is sent: the answer may come any time after the API server counted the renewal.
    const sentMs = clock.nowMs();
    this.#isLeaseUnsure = true;
    const holdMs = this.#holding().length > 0 ? timers.leaseMs + holdExtraMs : timers.leaseMs;
    this.#longer = [
      ...this.#longer.filter(
        ({ durationMs, untilMs }) => untilMs > sentMs && durationMs !== holdMs,
      ),
      ...(holdMs > timers.leaseMs ? [{ durationMs: holdMs, untilMs: sentMs + holdMs }] : []),
    ];
    const durations = this.#longer.map(({ durationMs }) => durationMs);
    const durationMs = Math.max(timers.leaseMs, ...durations);
    const outcome = await this.#reach(() => leases.update({ ...lease, durationMs }));
    if (outcome.kind !== "written") return await this.#readBack();
    this.#isLeaseUnsure = false;
    this.#membership = { lease: outcome.value, endMs: sentMs + timers.leaseMs };
    this.#holdEndMs = sentMs + holdMs;
    this.#openAgain();
    return true;
  }

  /** After a conflict or an unknown outcome. @returns whether the session goes on; otherwise nothing is answered for any more */
  async #readBack(): Promise<boolean> {
    const { leases, nodeName } = this.#ports;
    const membership = this.#membership;
    if (membership === undefined) return false;
    const found = await leases.read(nodeName);
    if (found === undefined || found.isRevoked || found.session !== membership.lease.session) {
      await this.#fence();
      return false;
    }
    // A renewal of ours that arrived late gives no more time: it is not known which one it was.
    this.#membership = { lease: found, endMs: membership.endMs };
    this.#isLeaseUnsure = false;
    return true;
  }

  /** The session is over: everything is closed, and the node joins anew. */
  async #fence(): Promise<void> {
    const { gate, log, nodeName } = this.#ports;
    this.#membership = undefined;
    const lost = [...this.#granted.keys()];
    this.#forgetAll();
    log.warn("the node's lease for virtual addresses was taken away, it joins again", {
      node: nodeName,
    });
    try {
      await gate.clear();
    } finally {
      this.#ports.host.closed(lost);
    }
  }

  /** Before the gate is cleared, which is tried until it is done. */
  #forgetAll(): void {
    this.#unclosed.clear();
    this.#holdEndMs = 0;
    this.#heldOnUntilMs.clear();
    this.#granted.clear();
    this.#ready.clear();
    this.#waiting.clear();
  }

  /** Looks at a record as last seen, which may be behind: it can only make the node answer for what this session was granted. */
  #look(ip: Ip): void {
    const record = this.#ports.vips.get(ip);
    const holder = this.#ownGrant(record);
    if (record === undefined || holder === undefined) {
      const granted = this.#granted.get(ip);
      if (granted === undefined) return;
      this.#forget(ip);
      this.#closed.set(ip, granted);
      this.#attempt("stop answering", ip, () => this.#close(ip));
      return;
    }
    if (record.release === "wanted") {
      this.#letGo(record);
      return;
    }
    if (record.release === "done" || this.#isClosed(record)) return;
    const { bornMs, epoch } = record;
    const { podIp } = holder;
    const known = this.#granted.get(ip);
    const refusal = this.#ports.host.refusal(record);
    if (refusal !== undefined) {
      this.#refuse(ip, refusal);
      return;
    }
    this.#refused.delete(ip);
    const isSame = known?.bornMs === bornMs && known.epoch === epoch && known.podIp === podIp;
    const isUnderWay = this.#ready.has(ip) || this.#waiting.has(ip) || this.#preparing.has(ip);
    if (isSame && isUnderWay) return;
    this.#granted.set(ip, { ip, epoch, podIp, bornMs });
    this.#ready.delete(ip);
    this.#waiting.add(ip);
    this.#attempt("answer", ip, () => this.#prepare());
  }

  /** What the controller granted is not allowed here: nothing is answered, and the controller is left to see the same. */
  #refuse(ip: Ip, refusal: string): void {
    const { log, nodeName } = this.#ports;
    if (this.#refused.get(ip) !== refusal) {
      log.warn("a granted virtual address is refused", { ip, node: nodeName, because: refusal });
    }
    this.#refused.set(ip, refusal);
    this.#sayUnable(ip);
    if (!this.#granted.has(ip)) return;
    this.#forget(ip);
    this.#attempt("stop answering", ip, () => this.#close(ip));
  }

  /** Says in the record, after a while, that nobody answers for what this node was granted; and takes it back when it does answer. */
  #sayUnable(ip: Ip, delayMs = unableMs): void {
    if (this.#saying.has(ip)) return;
    const { clock, vips } = this.#ports;
    const say = (): void => {
      this.#saying.delete(ip);
      const record = vips.get(ip);
      const isOurs = record?.release === "none" && this.#ownGrant(record) !== undefined;
      if (!this.#isRunning || !isOurs) return;
      const because =
        this.#refused.get(ip) ?? "its network cannot be made ready; see the events of the pod";
      const unable = this.#ready.has(ip) ? undefined : because;
      if (record.unable === unable) return;
      this.#attempt("say whether it is answered for", ip, async () => {
        // What fails, or was written by somebody else meanwhile, is tried again with what is known then.
        this.#sayUnable(ip);
        await vips.update({ ...record, unable });
      });
    };
    this.#saying.add(ip);
    clock.after(delayMs, say);
  }

  #forget(ip: Ip): void {
    this.#heldOnUntilMs.delete(ip);
    this.#granted.delete(ip);
    this.#ready.delete(ip);
    this.#waiting.delete(ip);
  }

  async #close(ip: Ip): Promise<void> {
    this.#unclosed.add(ip);
    await this.#ports.gate.close([ip]);
    this.#unclosed.delete(ip);
    this.#ports.host.closed([ip]);
  }

  /** Gets the network of new grants ready, all that there are at once, and answers for them. */
  async #prepare(): Promise<void> {
    if (this.#preparing.size > 0) return;
    // Records that are seen in the same tick go together.
    await Promise.resolve();
    while (this.#preparing.size === 0 && this.#waiting.size > 0) {
      const entries = [...this.#waiting].flatMap((ip) => this.#granted.get(ip) ?? []);
      for (const { ip } of entries) this.#preparing.add(ip);
      this.#waiting.clear();
      let ready: ReadonlySet<Ip> = new Set();
      try {
        ready = new Set(await this.#ports.host.prepare(entries));
      } finally {
        this.#preparing.clear();
        const still = entries.filter((entry) => this.#granted.get(entry.ip) === entry);
        for (const { ip } of still) {
          if (ready.has(ip)) this.#ready.add(ip);
          else {
            this.#sayUnable(ip);
            this.#prepareLater(ip);
          }
        }
      }
      await this.#open([...ready].filter((ip) => this.#ready.has(ip)));
    }
  }

  #prepareLater(ip: Ip): void {
    this.#ports.clock.after(retryMs, () => {
      if (this.#isRunning && this.#granted.has(ip)) this.#look(ip);
    });
  }

  #isClosed({ ip, bornMs, epoch }: VipRecord): boolean {
    const closed = this.#closed.get(ip);
    return closed?.bornMs === bornMs && epoch <= closed.epoch;
  }

  /** The holder, if it is of this node in this session. */
  #ownGrant(record: VipRecord | undefined): VipHolder | undefined {
    const holder = record?.holder;
    const session = this.#membership?.lease.session;
    return holder?.nodeName === this.#ports.nodeName && holder.session === session
      ? holder
      : undefined;
  }

  /**
   * Answers for what of these is still granted when the gate is armed, for as long as the lease lasts. What is asked for while an opening is
   * under way goes together with the next one: on a slow machine renewals must not queue up behind each other.
   * @returns when nothing waits to be opened any more
   */
  #open(ips: readonly Ip[]): Promise<void> {
    for (const ip of ips) this.#toOpen.add(ip);
    this.#opening ??= this.#openAll().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Tells the kernel of the new end. The next renewal does not wait for it: a thousand addresses can take longer than a renewal may. */
  #openAgain(): void {
    this.#open([...this.#ready]).catch((error: unknown) => {
      if (!(error instanceof WorldError)) throw error;
      const { clock, log, nodeName } = this.#ports;
      log.warn("the kernel is told again for how long it may answer", { node: nodeName }, error);
      clock.after(retryMs, () => {
        if (this.#isRunning) this.#openAgain();
      });
    });
  }

  async #openAll(): Promise<void> {
    while (this.#toOpen.size > 0) {
      const [first] = this.#toOpen;
      // Arming takes an earlier permit away, so that one opening follows the other; those of one opening end together.
      const endMs = first === undefined ? 0 : this.#endOf(first);
      const part = [...this.#toOpen]
        .filter((ip) => this.#endOf(ip) === endMs)
        .slice(0, this.#mostAtOnce);
      for (const ip of part) this.#toOpen.delete(ip);
      if ((await this.#armAndOpen(part)) === "done") {
        if (part.length === this.#mostAtOnce) {
          this.#mostAtOnce = Math.min(largestAtOnce, this.#mostAtOnce + fewestAtOnce);
        }
        continue;
      }
      for (const ip of part) this.#toOpen.add(ip);
      if (part.length > fewestAtOnce) {
        this.#mostAtOnce = Math.max(fewestAtOnce, Math.ceil(part.length / 2));
      } else {
        await this.#pause(this.#ports.timers.armMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#ports.clock.after(ms, resolve);
    });
  }

  async #armAndOpen(ips: readonly Ip[]): Promise<"late" | "done"> {
    const { clock, gate, host, timers, vips } = this.#ports;
    const permit = await gate.arm(timers.armMs);
    // Read after arming: however long this process stands still from here on, the kernel opens in time or not at all.
    const entries = ips.flatMap((ip) => this.#granted.get(ip) ?? []);
    const endMs = Math.min(...entries.map(({ ip }) => this.#endOf(ip)));
    const leftMs = endMs - clock.nowMs();
    if (entries.length === 0 || leftMs <= 0) return "done";
    const outcome = await gate.open(permit, entries, leftMs);
    if (outcome.kind !== "open") return "late";
    // What was let go meanwhile is being closed, after this opening.
    const still = entries.filter((entry) => this.#granted.get(entry.ip) === entry);
    host.opened(still, endMs);
    for (const { ip } of still) if (vips.get(ip)?.unable !== undefined) this.#sayUnable(ip, 0);
    return "done";
  }

  /** Until when an address may be answered for, as far as is known now. */
  #endOf(ip: Ip): number {
    const endMs = this.#membership?.endMs;
    if (endMs === undefined) return 0;
    const isHolding = (this.#ports.vips.get(ip)?.voters.length ?? 0) > 0;
    const leaseEndMs = isHolding ? Math.max(endMs, this.#holdEndMs) : endMs;
    return Math.max(leaseEndMs, this.#heldOnUntilMs.get(ip) ?? 0);
  }

  /** Addresses of pools that hold on, which this node answers for. */
  #holding(): readonly Grant[] {
    const { peers, vips } = this.#ports;
    if (peers === undefined) return [];
    return [...this.#ready].flatMap((ip) => {
      const grant = this.#granted.get(ip);
      const record = vips.get(ip);
      const holds = record !== undefined && record.voters.length > 0 && record.release === "none";
      return grant !== undefined && holds ? [grant] : [];
    });
  }

  /** Writes a lease. From before it was sent until a lease after its outcome this node says that it reaches the API server. */
  async #reach<T>(write: () => Promise<T>): Promise<T> {
    const { clock, timers } = this.#ports;
    const beforeMs = this.#reachesUntilMs;
    this.#reachesUntilMs = Number.POSITIVE_INFINITY;
    let mayHaveHappened = true;
    try {
      return await write();
    } catch (error) {
      mayHaveHappened = !(error instanceof WorldError) || error.mayHaveHappened;
      throw error;
    } finally {
      this.#reachesUntilMs = mayHaveHappened ? clock.nowMs() + timers.leaseMs : beforeMs;
    }
  }

  /** What this node tells others that ask whether they may hold on. */
  #word(held: readonly VipHeld[]): Omit<VipWord, "from"> | undefined {
    const { clock, vips } = this.#ports;
    // Who has not seen the records yet cannot say that there is no later one.
    if (!this.#isRunning || !this.#hasJoined) return undefined;
    return {
      reachesApi: clock.nowMs() < this.#reachesUntilMs,
      later: held.filter(({ ip, epoch }) => (vips.get(ip)?.epoch ?? 0) > epoch).map(({ ip }) => ip),
    };
  }

  #askLater(): void {
    const { clock, log, peers } = this.#ports;
    if (!this.#isRunning || peers === undefined) return;
    this.#cancelAsking = clock.after(askEveryMs, () => {
      this.#ask(peers).then(
        () => this.#askLater(),
        (error: unknown) => {
          if (!(error instanceof WorldError)) throw error;
          log.warn("a virtual address was not held on, it is tried again", {}, error);
          this.#askLater();
        },
      );
    });
  }

  /** Without the API server, addresses of pools that hold on are answered for as long as the others agree. */
  async #ask(peers: VipPeers): Promise<void> {
    const { clock, nodeName, timers, vips } = this.#ports;
    const sentMs = clock.nowMs();
    const membership = this.#membership;
    if (membership === undefined || sentMs < this.#reachesUntilMs) return;
    const holding = this.#holding();
    const votersOf = (ip: Ip) => vips.get(ip)?.voters ?? [];
    const others = new Set(holding.flatMap(({ ip }) => votersOf(ip)));
    others.delete(nodeName);
    if (holding.length === 0) return;
    const words = await peers.ask([...others], holding, askLimitMs);
    // What was learned meanwhile from the API server counts more.
    if (this.#membership?.lease.session !== membership.lease.session) return;
    if (clock.nowMs() < this.#reachesUntilMs) return;
    const agreed = holding.filter(({ ip }) =>
      mayHoldOn(
        nodeName,
        votersOf(ip),
        words
          .filter(({ from }) => votersOf(ip).includes(from))
          .map(({ from, later, reachesApi }) => ({
            from,
            reachesApi,
            knowsLater: later.includes(ip),
          })),
      ),
    );
    const still = agreed.filter((grant) => this.#granted.get(grant.ip) === grant);
    for (const { ip } of still) this.#heldOnUntilMs.set(ip, sentMs + timers.leaseMs);
    await this.#open(still.map(({ ip }) => ip));
  }

  /** Stops answering, and only then says so in the record. */
  #letGo(record: VipRecord): void {
    const { ip } = record;
    if (this.#letting.has(ip)) return;
    this.#letting.add(ip);
    this.#forget(ip);
    this.#closed.set(ip, record);
    this.#attempt("let go", ip, async () => {
      try {
        await this.#close(ip);
        const outcome = await this.#ports.vips.update({ ...record, release: "done" });
        // The controller wrote at the same time, and waits for this: what it wrote is on its way here.
        if (outcome.kind !== "written") this.#lookLater(ip, conflictMs);
      } finally {
        this.#letting.delete(ip);
      }
    });
  }

  #lookLater(ip: Ip, delayMs = retryMs): void {
    this.#ports.clock.after(delayMs, () => {
      if (this.#isRunning) this.#look(ip);
    });
  }

  /** A failure is logged and tried again; the kernel's timer is what is relied upon. */
  #attempt(what: string, ip: Ip, action: () => Promise<void>): void {
    if (!this.#isRunning) return;
    action().catch((error: unknown) => {
      if (!(error instanceof WorldError)) throw error;
      const { clock, log, nodeName } = this.#ports;
      log.warn("a virtual address is tried again", { ip, node: nodeName, what }, error);
      if (what === "let go") this.#lookLater(ip);
      // Also when nobody asks for it any more: the record may be gone, or another node's, by then.
      clock.after(retryMs, () => {
        const isOpen = this.#granted.has(ip) || this.#letting.has(ip);
        if (isOpen || !this.#unclosed.has(ip)) return;
        this.#attempt("stop answering", ip, () => this.#close(ip));
      });
    });
  }
}
