// What a node does for virtual addresses beside its gate: judges what it is granted by what it knows itself, puts each address where it is as
// seen from here, and makes known what was opened and closed. Decides nothing about who holds what.

import type { Ip } from "../core/ip.ts";
import { podIdText } from "../core/owner.ts";
import type { VipHolder, VipRecord } from "../core/vip.ts";
import type { VipPool } from "../core/vip-holder.ts";
import { judgeClaim } from "../core/vip-holder.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { VipClaim, VipClaims } from "../ports/vip-claims.ts";
import type { GateEntry } from "../ports/vip-gate.ts";
import type { VipHost } from "../ports/vip-host.ts";
import type { VipNetwork, VipPlace } from "../ports/vip-network.ts";
import type { VipStore } from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";

/** What it needs. */
export type VipNodePorts = {
  readonly nodeName: string;
  readonly vips: VipStore;
  /** Of the pods of this node at least, and all pools. */
  readonly claims: VipClaims;
  /** Addresses of a node; none when it is not known. */
  readonly nodeIps: (nodeName: string) => readonly Ip[];
  readonly network: VipNetwork;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of every address whose story went on: what was opened when, who else claims it. */
  readonly report: VipReport;
};

/** What a node has to say. */
export type VipReport = {
  /** The kernel answers, so long after the grant was seen. */
  readonly opened: (ip: Ip, tookMs: number) => void;
  /** Another machine claims the address; `isHeld`: although this node holds it. */
  readonly foreignClaim: (record: VipRecord, who: string, isHeld: boolean) => void;
  /** What was granted cannot be answered for. */
  readonly unable: (record: VipRecord, because: string) => void;
};

/** After another machine was found to have the address, before it is asked again. */
const conflictPauseMs = 5_000;

/** A claim that was heard when our time was over is found a little later, but before we could have renewed that long. */
const heardAgoMs = 1_000;

/** How often foreign claims are looked at. */
const listenMs = 1_000;

/** How often the node's network is compared with what it should be, beside after every failure. */
const repairMs = 5_000;

/** One node. */
export class VipNode implements VipHost {
  readonly #ports: VipNodePorts;
  /** What this node answers for or is about to. */
  readonly #here = new Map<Ip, { readonly entry: GateEntry; readonly sinceMs: number }>();
  /** What the gate was opened for, and until when on the agent's clock. */
  readonly #open = new Map<Ip, number>();
  /** Addresses whose place is to be looked at. */
  readonly #dirty = new Set<Ip>();
  readonly #conflictUntilMs = new Map<Ip, number>();
  readonly #told = new Map<Ip, string>();
  #stopWatches: readonly (() => void)[] = [];
  #cancelListening: () => void = () => {};
  #isRunning = false;
  /** Addresses are being put where they are, or are about to. */
  #isSettling = false;
  #insideText = "";
  #repairDueMs = 0;

  constructor(ports: VipNodePorts) {
    this.#ports = ports;
  }

  /**
   * Begins to follow the records. The network was started by the caller.
   * @param kept what it was started with: an address among these that has no record any more is taken away
   */
  start(kept: readonly Ip[] = []): void {
    const { claims, vips } = this.#ports;
    this.#isRunning = true;
    this.#stopWatches = [vips.watch((ip) => this.#soon(ip)), claims.watch((ip) => this.#soon(ip))];
    for (const ip of [...kept, ...vips.all().map((record) => record.ip)]) this.#soon(ip);
    this.#listen();
  }

  /** Ends; the network stays as it is, its owner ends it. */
  stop(): void {
    this.#isRunning = false;
    for (const stop of this.#stopWatches) stop();
    this.#cancelListening();
  }

  /** How many addresses are answered for. */
  get heldCount(): number {
    return this.#open.size;
  }

  refusal(record: VipRecord): string | undefined {
    const { ip, holder } = record;
    if (holder === undefined) return undefined;
    const verdict = judgeClaim(ip, holder.pod.namespace, this.#world());
    if (verdict.kind === "rejected") {
      this.#complain(ip, verdict.message);
      return verdict.message;
    }
    const claim = this.#claimOf(record);
    if (claim === undefined) {
      return `no pod ${podIdText(holder.pod)} with uid ${holder.podUid} on this node claims ${ip}; wait, or look at the pod`;
    }
    return claim.podIps.includes(holder.podIp)
      ? undefined
      : `pod ${podIdText(holder.pod)} has not the address ${holder.podIp}; wait for its status`;
  }

  async prepare(entries: readonly GateEntry[]): Promise<readonly Ip[]> {
    const nowMs = this.#ports.clock.nowMs();
    for (const entry of entries) {
      const known = this.#here.get(entry.ip);
      const isSame = known?.entry.epoch === entry.epoch;
      this.#here.set(entry.ip, { entry, sinceMs: isSame ? known.sinceMs : nowMs });
    }
    const places = new Map(entries.map(({ ip }) => [ip, this.#placeOf(ip)] as const));
    const problems = await this.#ports.network.place(places);
    for (const [ip, because] of problems) this.#complain(ip, because);
    if (problems.size > 0) this.#repairDueMs = nowMs;
    const placed = entries.map(({ ip }) => ip).filter((ip) => !problems.has(ip));
    const taken = await this.#askFirst(placed);
    return placed.filter((ip) => !taken.has(ip));
  }

  opened(entries: readonly GateEntry[], endMs: number): void {
    const { clock, network, report } = this.#ports;
    const nowMs = clock.nowMs();
    const fresh = entries.map(({ ip }) => ip).filter((ip) => !this.#open.has(ip));
    for (const { ip } of entries) this.#open.set(ip, endMs);
    for (const ip of fresh) this.#told.delete(ip);
    network.announce(fresh);
    network.offerFor(endMs - nowMs);
    for (const ip of fresh) {
      const sinceMs = this.#here.get(ip)?.sinceMs;
      if (sinceMs !== undefined) report.opened(ip, nowMs - sinceMs);
    }
  }

  closed(ips: readonly Ip[]): void {
    for (const ip of ips) {
      this.#here.delete(ip);
      this.#open.delete(ip);
    }
    this.#ports.network.hush(ips);
    for (const ip of ips) this.#soon(ip);
  }

  #world() {
    const { claims, network } = this.#ports;
    const forbidden = [...network.neverClaimed(), ...claims.forbidden()];
    return { pools: claims.pools(), forbidden };
  }

  #claimOf({ ip, holder }: VipRecord): VipClaim | undefined {
    return this.#claimBy(ip, holder);
  }

  #claimBy(ip: Ip, party: VipHolder | undefined): VipClaim | undefined {
    const { claims, nodeName } = this.#ports;
    return claims
      .claimsOf(ip)
      .find((claim) => claim.podUid === party?.podUid && claim.nodeName === nodeName);
  }

  /**
   * Where it will be when this node answers for it: everything but the gate is done before. That is so when the node was granted it, as after
   * a restart, and when it is to be granted it, as its holder was asked to let go.
   */
  #placeToBe({ ip, holder, next, release }: VipRecord): VipPlace | undefined {
    const { nodeName } = this.#ports;
    const party = holder?.nodeName === nodeName || release === "none" ? holder : next;
    if (party?.nodeName !== nodeName) return undefined;
    const verdict = judgeClaim(ip, party.pod.namespace, this.#world());
    const claim = this.#claimBy(ip, party);
    if (verdict.kind !== "accepted" || claim?.podIps.includes(party.podIp) !== true) {
      return undefined;
    }
    return this.#hereOf(party, verdict.pool, claim);
  }

  /** Addresses that the node must not touch, whatever a record says, have no place. */
  #placeOf(ip: Ip): VipPlace | undefined {
    const { nodeIps, vips } = this.#ports;
    const record = vips.get(ip);
    if (record === undefined) return undefined;
    const { holder } = record;
    const verdict = judgeClaim(ip, holder?.pod.namespace ?? "", this.#world());
    if (verdict.kind === "rejected" && verdict.reason !== "NamespaceNotAllowed") return undefined;
    const here = this.#here.get(ip);
    if (here !== undefined && verdict.kind === "accepted") {
      return this.#hereOf(here.entry, verdict.pool, this.#claimOf(record));
    }
    const toBe = this.#placeToBe(record);
    if (toBe !== undefined) return toBe;
    if (holder === undefined) return { kind: "nowhere" };
    // What is granted here and may not be answered for has no other place.
    if (holder.nodeName === this.#ports.nodeName) return { kind: "nowhere" };
    return { kind: "there", podIp: holder.podIp, nodeIps: nodeIps(holder.nodeName) };
  }

  #hereOf(
    { podIp }: Pick<GateEntry, "podIp">,
    pool: VipPool,
    claim: VipClaim | undefined,
  ): VipPlace {
    return {
      kind: "here",
      podIp,
      way: pool.mode,
      sendsFromVip: claim?.wishes.sendsFromVip ?? false,
      ports: claim?.wishes.ports,
    };
  }

  /** Before an address is held for the first time ever, the wire is asked. @returns those that another machine has */
  async #askFirst(ips: readonly Ip[]): Promise<ReadonlySet<Ip>> {
    const { clock, network, report, vips } = this.#ports;
    const first = ips.filter((ip) => this.#here.get(ip)?.entry.epoch === 1 && !this.#open.has(ip));
    if (first.length === 0) return new Set();
    const taken = new Set(
      first.filter((ip) => (this.#conflictUntilMs.get(ip) ?? 0) > clock.nowMs()),
    );
    const found = await network.probe(first.filter((ip) => !taken.has(ip)));
    for (const [ip, who] of found) {
      taken.add(ip);
      this.#conflictUntilMs.set(ip, clock.nowMs() + conflictPauseMs);
      const record = vips.get(ip);
      if (record !== undefined) report.foreignClaim(record, who, false);
    }
    return taken;
  }

  #complain(ip: Ip, because: string): void {
    const { report, vips } = this.#ports;
    if (this.#told.get(ip) === because) return;
    this.#told.set(ip, because);
    const record = vips.get(ip);
    if (record !== undefined) report.unable(record, because);
  }

  /** Puts an address where it is now; what changes in one tick goes together. */
  #soon(ip: Ip): void {
    if (!this.#isRunning) return;
    this.#dirty.add(ip);
    if (this.#isSettling) return;
    this.#isSettling = true;
    this.#ports.clock.after(0, () => this.#settle());
  }

  #settle(): void {
    const ips = [...this.#dirty];
    this.#dirty.clear();
    if (!this.#isRunning || ips.length === 0) {
      this.#isSettling = false;
      return;
    }
    const { clock, log, network } = this.#ports;
    const places = new Map(ips.map((ip) => [ip, this.#placeOf(ip)] as const));
    const again = (error: unknown) => {
      if (!(error instanceof WorldError)) throw error;
      log.warn("the network of virtual addresses is tried again", { count: ips.length }, error);
      this.#repairDueMs = clock.nowMs();
      clock.after(listenMs, () => {
        for (const ip of ips) this.#soon(ip);
      });
    };
    network
      .place(places)
      .then((problems) => {
        for (const [ip, because] of problems) this.#complain(ip, because);
        if (problems.size > 0) this.#repairDueMs = clock.nowMs();
      })
      .catch(again)
      // What changed meanwhile goes together: new grants wait for one of these at most, however many records change.
      .finally(() => this.#settle());
    this.#keepInside().catch(again);
  }

  async #keepInside(): Promise<void> {
    const ranges = this.#ports.claims.forbidden().map(({ range }) => range);
    const text = ranges.map(({ first, last }) => `${first}-${last}`).join();
    if (text === this.#insideText) return;
    await this.#ports.network.keepInside(ranges);
    this.#insideText = text;
  }

  /** While the gate is open, a claim of another machine is answered by announcing again, at most once a second. */
  #listen(): void {
    this.#cancelListening = this.#ports.clock.after(listenMs, () => {
      if (!this.#isRunning) return;
      Promise.all([this.#hear(), this.#repair()]).then(
        () => this.#listen(),
        (error: unknown) => {
          if (!(error instanceof WorldError)) throw error;
          this.#ports.log.warn("the network of virtual addresses was not looked at", {}, error);
          this.#listen();
        },
      );
    });
  }

  /** Whatever failed, and whoever else changes the node's network: what belongs nowhere is gone a few seconds later. */
  async #repair(): Promise<void> {
    const { clock, network } = this.#ports;
    if (clock.nowMs() < this.#repairDueMs) return;
    this.#repairDueMs = clock.nowMs() + repairMs;
    await network.repair();
  }

  async #hear(): Promise<void> {
    const { clock, network, report, vips } = this.#ports;
    if (this.#open.size === 0) return;
    for (const [ip, who] of await network.claimants()) {
      const record = vips.get(ip);
      // Whoever claims it after our time is over has the right to.
      const isOurs = (this.#open.get(ip) ?? 0) > clock.nowMs() + heardAgoMs;
      if (record === undefined || !isOurs) continue;
      network.claimAgain([ip]);
      report.foreignClaim(record, who, true);
    }
  }
}
