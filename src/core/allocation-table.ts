// The address space in memory: every allocation, every hold, what is free, and the indexes that questions need. It does no I/O and
// makes no decision; the allocator is the only one that changes it.

import type { Allocation } from "./allocation.ts";
import { isBound } from "./allocation.ts";
import { AllocationListing } from "./allocation-listing.ts";
import type { FreeCandidate, FreeOrigin } from "./free-addresses.ts";
import { compareFreeCandidates, FreeAddresses } from "./free-addresses.ts";
import type { Ip } from "./ip.ts";
import { ipToNumber } from "./ip.ts";
import type { Owner, PodId, WorkloadRef } from "./owner.ts";
import { namespaceOf, workloadIdText } from "./owner.ts";
import type { Slot } from "./pick.ts";
import type { PodSubnet } from "./subnets.ts";
import { Topology } from "./subnets.ts";
import type { SubnetUsage } from "./usage.ts";

/**
 * What the allocator is doing with an address.
 * - `idle`: memory and store agree as far as we know
 * - `writing`: a write is under way; nobody else may change or choose it
 * - `leaving`: it is being released; not counted as its owner's any more, not free yet
 * - `unsettled`: the outcome of a write is unknown; it counts as taken until the record has been read
 * - `lost`: somebody else deleted the record; it counts as taken until it is known whether a pod has it
 */
export type EntryPhase = "idle" | "writing" | "leaving" | "unsettled" | "lost";

/** Addresses promised to a pod that is being scheduled. A pod will use those of one zone; the others come back. */
export type Hold = {
  readonly podUid: string;
  readonly pod: PodId;
  readonly workload: WorkloadRef | undefined;
  readonly pool: string | undefined;
  /** Addresses by {@link Zone.id}, in the order of the pod's slots. */
  readonly byZone: ReadonlyMap<string, readonly Ip[]>;
  readonly expiresAtMs: number;
};

/** A pod that may get an address although its record names another pod, or none. */
export type KeptFor = {
  readonly podUid: string;
  readonly pod: PodId;
  /** The pool that the pod had the address of. */
  readonly pool: string | undefined;
};

/** Nearly every pod has one address, and a set for each of them would cost as much as its record. */
type OneOrMore = Ip | Set<Ip>;

/** Questions to the table: what decisions are made from. */
export interface AllocationView {
  readonly topology: Topology;
  get(ip: Ip): Allocation | undefined;
  phaseOf(ip: Ip): EntryPhase | undefined;
  /** Number of addresses with a record. */
  readonly size: number;
  all(): Iterable<Allocation>;
  /** Addresses whose owner is the pod of that name, whatever its uid. */
  ofPod(pod: PodId): readonly Allocation[];
  /** Addresses of the workload's pods and those reserved for it (not those in a pool without a pod). */
  ofWorkload(workload: WorkloadRef): readonly Allocation[];
  /** Addresses of the pool, used or not. */
  ofPool(pool: string): readonly Allocation[];
  holdOf(podUid: string): Hold | undefined;
  holds(): Iterable<Hold>;
  /** Number of addresses of the namespace, as {@link namespaceOf} counts them. */
  countIn(namespace: string): number;
  /** Promises to pods of the namespace. */
  holdsIn(namespace: string): Iterable<Hold>;
  /** The pod that may get the address although its record names another, or none. */
  keptFor(ip: Ip): KeptFor | undefined;
  /** All addresses of which that is so. */
  kept(): Iterable<readonly [Ip, KeptFor]>;
  /** Whom the address is kept for, or whose hold it is in. */
  heldBy(ip: Ip): string | undefined;
  /** Free addresses that the slot accepts, of the pod subnets, in the order of use. */
  freeFor(slot: Slot, subnetIndexes: readonly number[], limit: number): readonly Ip[];
  usage(): readonly SubnetUsage[];
  usageOf(subnetIndex: number): SubnetUsage;
  /** When a free address was released; undefined when it was never used or is not free. */
  releasedAtMs(ip: Ip): number | undefined;
}

/** The view with what only lists need; a view that leaves something out has none. */
export interface ListedView extends AllocationView {
  /** Addresses in a phase other than idle. */
  inPhase(phase: Exclude<EntryPhase, "idle">): Iterable<Ip>;
  /** Addresses that are reserved for a pod name, workload or pool, and that no pod has. */
  reserved(): Iterable<Allocation>;
  /** Namespaces that have addresses. */
  namespaces(): readonly string[];
  /** Pools that addresses belong to, whether there is an object or not. */
  poolNames(): readonly string[];
  /** Pages of addresses; kept from the first question on. */
  readonly listing: AllocationListing;
}

type Tally = { bound: number; reserved: number; admin: number; held: number; draining: number };

/** The table. Every method runs in one tick. */
export class AllocationTable implements ListedView {
  #topology = new Topology([]);
  #free: FreeAddresses[] = [];
  #tallies: Tally[] = [];
  readonly #allocations = new Map<Ip, Allocation>();
  readonly listing = new AllocationListing(this.#allocations, (owner) => this.#membersOf(owner));
  /** Phases of the few addresses that are not idle: a phase for each of a million addresses would be an object more for each. */
  readonly #phases = new Map<Ip, Exclude<EntryPhase, "idle">>();
  /** By namespace, then by name: the texts are those of the allocations, so that no address pays for a key of its own. */
  readonly #byPod = new Map<string, Map<string, OneOrMore>>();
  readonly #byWorkload = new Map<string, OneOrMore>();
  readonly #byPool = new Map<string, OneOrMore>();
  readonly #countByNamespace = new Map<string, number>();
  readonly #reserved = new Set<Ip>();
  readonly #holds = new Map<string, Hold>();
  /** Uids of pods with a promise, by namespace. */
  readonly #holdsByNamespace = new Map<string, Set<string>>();
  readonly #heldBy = new Map<
    Ip,
    { readonly podUid: string; readonly origin: FreeOrigin | undefined }
  >();

  readonly #keptFor = new Map<Ip, KeptFor>();

  get topology(): Topology {
    return this.#topology;
  }

  get size(): number {
    return this.#allocations.size;
  }

  /** Puts another configuration in force; holds are given up, released addresses keep their place in the order. */
  configure(topology: Topology): void {
    for (const podUid of [...this.#holds.keys()]) this.dropHold(podUid);
    const released = this.#free.flatMap((free) => [...free.released()]).sort((a, b) => a[1] - b[1]);
    this.#topology = topology;
    this.#rebuildFree(released);
  }

  /** Replaces all allocations, as read from the store; holds are given up. */
  load(allocations: Iterable<Allocation>): void {
    for (const podUid of [...this.#holds.keys()]) this.dropHold(podUid);
    this.#allocations.clear();
    this.#phases.clear();
    this.#byPod.clear();
    this.#byWorkload.clear();
    this.#byPool.clear();
    this.#countByNamespace.clear();
    this.#reserved.clear();
    this.listing.reset();
    for (const allocation of allocations) {
      this.#allocations.set(allocation.ip, allocation);
      if (isReserved(allocation)) this.#reserved.add(allocation.ip);
      this.#index(allocation);
    }
    this.#rebuildFree([]);
  }

  #rebuildFree(released: readonly (readonly [Ip, number])[]): void {
    const taken: ReturnType<typeof ipToNumber>[][] = this.#topology.subnets.map(() => []);
    this.#tallies = this.#topology.subnets.map(() => emptyTally());
    for (const allocation of this.#allocations.values()) {
      const value = ipToNumber(allocation.ip);
      const index = this.#topology.subnetIndexOf(value);
      if (index >= 0) taken[index]?.push(value);
      this.#tally(allocation, 1);
    }
    this.#free = this.#topology.subnets.map(
      (subnet, index) => new FreeAddresses(subnet.ranges, taken[index], released),
    );
  }

  /** Enters or replaces an allocation. The address stops being free or held. */
  put(allocation: Allocation, phase: EntryPhase): void {
    const { ip } = allocation;
    const before = this.#allocations.get(ip);
    this.#allocations.set(ip, allocation);
    this.listing.put(allocation);
    this.setPhase(ip, phase);
    if (isReserved(allocation)) this.#reserved.add(ip);
    else this.#reserved.delete(ip);
    if (before === undefined) {
      this.#removeFromFree(ip);
      this.#index(allocation);
      this.#tally(allocation, 1);
      return;
    }
    this.#tally(before, -1);
    this.#tally(allocation, 1);
    // The indexes hold addresses, not allocations: only a change of owner touches them.
    if (before.owner !== allocation.owner) {
      this.#unindex(before);
      this.#index(allocation);
    }
    this.#takeOutOfHold(ip);
  }

  /** Says what is being done with an address; ignored when it has no allocation. */
  setPhase(ip: Ip, phase: EntryPhase): void {
    if (phase === "idle") this.#phases.delete(ip);
    else if (this.#allocations.has(ip)) this.#phases.set(ip, phase);
  }

  /** Forgets an allocation; the address becomes free at the given place in the order. */
  drop(ip: Ip, origin: FreeOrigin): void {
    const allocation = this.#allocations.get(ip);
    if (allocation === undefined) return;
    this.#tally(allocation, -1);
    this.#unindex(allocation);
    this.#allocations.delete(ip);
    this.#reserved.delete(ip);
    this.listing.drop(ip);
    this.#phases.delete(ip);
    this.#takeOutOfHold(ip);
    const index = this.#topology.subnetIndexOf(ipToNumber(ip));
    if (index >= 0) this.#free[index]?.add(ip, origin);
  }

  /**
   * Promises addresses to a pod; an earlier hold of the pod is replaced. The addresses are free, or reserved and idle.
   * Calling it with an empty map only gives the earlier hold up.
   */
  hold(hold: Hold): void {
    this.dropHold(hold.podUid);
    if (hold.byZone.size === 0) return;
    for (const ips of hold.byZone.values()) {
      for (const ip of ips) {
        if (this.#heldBy.has(ip)) continue;
        const index = this.#topology.subnetIndexOf(ipToNumber(ip));
        const origin = this.#allocations.has(ip) ? undefined : this.#free[index]?.remove(ip);
        this.#heldBy.set(ip, { podUid: hold.podUid, origin });
        if (origin !== undefined) this.#tallyHeld(index, 1);
      }
    }
    this.#holds.set(hold.podUid, hold);
    const { namespace } = hold.pod;
    const others = this.#holdsByNamespace.get(namespace);
    if (others === undefined) this.#holdsByNamespace.set(namespace, new Set([hold.podUid]));
    else others.add(hold.podUid);
  }

  /** Gives up what was promised to a pod. */
  dropHold(podUid: string): void {
    const hold = this.#holds.get(podUid);
    if (hold === undefined) return;
    this.#holds.delete(podUid);
    const others = this.#holdsByNamespace.get(hold.pod.namespace);
    others?.delete(podUid);
    if (others?.size === 0) this.#holdsByNamespace.delete(hold.pod.namespace);
    for (const ips of hold.byZone.values()) {
      for (const ip of ips) {
        const held = this.#heldBy.get(ip);
        if (held === undefined || held.podUid !== podUid) continue;
        this.#heldBy.delete(ip);
        if (held.origin === undefined) continue;
        const index = this.#topology.subnetIndexOf(ipToNumber(ip));
        this.#free[index]?.add(ip, held.origin);
        this.#tallyHeld(index, -1);
      }
    }
  }

  /** Gives up holds whose time is over. */
  expireHolds(nowMs: number): void {
    for (const hold of this.#holds.values()) {
      if (hold.expiresAtMs <= nowMs) this.dropHold(hold.podUid);
    }
  }

  #takeOutOfHold(ip: Ip): void {
    const held = this.#heldBy.get(ip);
    if (held === undefined) return;
    this.#heldBy.delete(ip);
    if (held.origin !== undefined) {
      this.#tallyHeld(this.#topology.subnetIndexOf(ipToNumber(ip)), -1);
    }
  }

  #removeFromFree(ip: Ip): void {
    this.#takeOutOfHold(ip);
    const index = this.#topology.subnetIndexOf(ipToNumber(ip));
    if (index >= 0) this.#free[index]?.remove(ip);
  }

  /** Where a free or held address stands in the order of use, so that a failed write can put it back. */
  originOf(ip: Ip): FreeOrigin {
    const held = this.#heldBy.get(ip)?.origin;
    if (held !== undefined) return held;
    const atMs = this.releasedAtMs(ip);
    return atMs === undefined ? { kind: "fresh" } : { kind: "released", atMs };
  }

  get(ip: Ip): Allocation | undefined {
    return this.#allocations.get(ip);
  }

  phaseOf(ip: Ip): EntryPhase | undefined {
    return this.#phases.get(ip) ?? (this.#allocations.has(ip) ? "idle" : undefined);
  }

  *inPhase(phase: Exclude<EntryPhase, "idle">): Generator<Ip> {
    for (const [ip, found] of this.#phases) if (found === phase) yield ip;
  }

  poolNames(): readonly string[] {
    return [...this.#byPool.keys()];
  }

  all(): Iterable<Allocation> {
    return this.#allocations.values();
  }

  ofPod(pod: PodId): readonly Allocation[] {
    return this.#allocationsOf(listOf(this.#byPod.get(pod.namespace)?.get(pod.name)));
  }

  ofWorkload(workload: WorkloadRef): readonly Allocation[] {
    return this.#allocationsOf(listOf(this.#byWorkload.get(workloadIdText(workload))));
  }

  ofPool(pool: string): readonly Allocation[] {
    return this.#allocationsOf(listOf(this.#byPool.get(pool)));
  }

  /** Addresses of an owner's workload or pool; undefined when no index has them. */
  #membersOf(owner: Owner): Iterable<Ip> | undefined {
    if (owner.kind === "pool") return listOf(this.#byPool.get(owner.pool));
    const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    return workload === undefined
      ? undefined
      : listOf(this.#byWorkload.get(workloadIdText(workload)));
  }

  #allocationsOf(ips: Iterable<Ip>): Allocation[] {
    const found: Allocation[] = [];
    for (const ip of ips) {
      const allocation = this.#allocations.get(ip);
      if (allocation !== undefined) found.push(allocation);
    }
    return found;
  }

  holdOf(podUid: string): Hold | undefined {
    return this.#holds.get(podUid);
  }

  holds(): Iterable<Hold> {
    return this.#holds.values();
  }

  countIn(namespace: string): number {
    return this.#countByNamespace.get(namespace) ?? 0;
  }

  *holdsIn(namespace: string): Generator<Hold> {
    for (const podUid of this.#holdsByNamespace.get(namespace) ?? []) {
      const hold = this.#holds.get(podUid);
      if (hold !== undefined) yield hold;
    }
  }

  *reserved(): Generator<Allocation> {
    for (const ip of this.#reserved) {
      const allocation = this.#allocations.get(ip);
      if (allocation !== undefined) yield allocation;
    }
  }

  namespaces(): readonly string[] {
    return [...this.#countByNamespace.keys()];
  }

  heldBy(ip: Ip): string | undefined {
    return this.#keptFor.get(ip)?.podUid ?? this.#heldBy.get(ip)?.podUid;
  }

  keptFor(ip: Ip): KeptFor | undefined {
    return this.#keptFor.get(ip);
  }

  kept(): Iterable<readonly [Ip, KeptFor]> {
    return this.#keptFor;
  }

  /** Keeps an address for a pod, whatever its record says, until it is kept for nobody (undefined). */
  keepFor(ip: Ip, pod: KeptFor | undefined): void {
    if (pod === undefined) this.#keptFor.delete(ip);
    else this.#keptFor.set(ip, pod);
  }

  freeFor(slot: Slot, subnetIndexes: readonly number[], limit: number): readonly Ip[] {
    const found: FreeCandidate[] = [];
    for (const index of subnetIndexes) {
      if (this.#topology.subnets[index]?.family !== slot.family) continue;
      let count = 0;
      for (const candidate of this.#free[index]?.inOrder(slot.ranges) ?? []) {
        found.push(candidate);
        count += 1;
        if (count >= limit) break;
      }
    }
    if (subnetIndexes.length > 1) found.sort(compareFreeCandidates);
    return found.slice(0, limit).map((candidate) => candidate.ip);
  }

  usage(): readonly SubnetUsage[] {
    return this.#topology.subnets.map((_, index) => this.usageOf(index));
  }

  usageOf(subnetIndex: number): SubnetUsage {
    const subnet = this.#topology.subnets[subnetIndex] as PodSubnet;
    const tally = this.#tallies[subnetIndex] as Tally;
    const free = this.#free[subnetIndex]?.countFree() ?? 0;
    const used = tally.bound + tally.reserved + tally.admin + tally.held;
    return { subnet, total: free + used, free, ...tally };
  }

  releasedAtMs(ip: Ip): number | undefined {
    return this.#free[this.#topology.subnetIndexOf(ipToNumber(ip))]?.releasedAtMs(ip);
  }

  #tally(allocation: Allocation, by: 1 | -1): void {
    const value = ipToNumber(allocation.ip);
    let index = this.#topology.subnetIndexOf(value);
    let kind: keyof Tally;
    if (index >= 0) {
      kind = isBound(allocation)
        ? "bound"
        : allocation.owner.kind === "admin"
          ? "admin"
          : "reserved";
    } else {
      // A reservation outside the ranges takes nothing from anybody and drains from no pod.
      if (!isBound(allocation)) return;
      const subnet = this.#topology.subnetFor(allocation.ip);
      index = subnet === undefined ? -1 : this.#topology.subnets.indexOf(subnet);
      kind = "draining";
    }
    const tally = this.#tallies[index];
    if (tally !== undefined) tally[kind] += by;
  }

  #tallyHeld(index: number, by: 1 | -1): void {
    const tally = this.#tallies[index];
    if (tally !== undefined) tally.held += by;
  }

  #index({ ip, owner }: Allocation): void {
    const { pod, workload, pool } = indexKeys(owner);
    if (pod !== undefined) {
      let names = this.#byPod.get(pod.namespace);
      if (names === undefined) {
        names = new Map();
        this.#byPod.set(pod.namespace, names);
      }
      addTo(names, pod.name, ip);
    }
    if (workload !== undefined) addTo(this.#byWorkload, workloadIdText(workload), ip);
    if (pool !== undefined) addTo(this.#byPool, pool, ip);
    this.#countNamespace(owner, 1);
  }

  #unindex({ ip, owner }: Allocation): void {
    const { pod, workload, pool } = indexKeys(owner);
    if (pod !== undefined) {
      const names = this.#byPod.get(pod.namespace);
      if (names !== undefined) {
        removeFrom(names, pod.name, ip);
        if (names.size === 0) this.#byPod.delete(pod.namespace);
      }
    }
    if (workload !== undefined) removeFrom(this.#byWorkload, workloadIdText(workload), ip);
    if (pool !== undefined) removeFrom(this.#byPool, pool, ip);
    this.#countNamespace(owner, -1);
  }

  #countNamespace(owner: Owner, by: 1 | -1): void {
    const namespace = namespaceOf(owner);
    if (namespace === undefined) return;
    const count = this.countIn(namespace) + by;
    if (count === 0) this.#countByNamespace.delete(namespace);
    else this.#countByNamespace.set(namespace, count);
  }
}

/** Kept by policy for a pod that is to come; what an operator took out of allocation is not. */
function isReserved(allocation: Allocation): boolean {
  const { kind } = allocation.owner;
  return kind !== "admin" && kind !== "foreign" && !isBound(allocation);
}

function emptyTally(): Tally {
  return { bound: 0, reserved: 0, admin: 0, held: 0, draining: 0 };
}

function indexKeys(owner: Owner): {
  readonly pod?: PodId;
  readonly workload?: WorkloadRef | undefined;
  readonly pool?: string | undefined;
} {
  switch (owner.kind) {
    case "pod":
    case "workload":
    case "pool":
      return owner;
    case "admin":
    case "foreign":
      return {};
    default:
      return owner satisfies never;
  }
}

function addTo(index: Map<string, OneOrMore>, key: string, ip: Ip): void {
  const found = index.get(key);
  if (found === undefined) index.set(key, ip);
  else if (typeof found !== "string") found.add(ip);
  else if (found !== ip) index.set(key, new Set([found, ip]));
}

function removeFrom(index: Map<string, OneOrMore>, key: string, ip: Ip): void {
  const found = index.get(key);
  if (found === ip) index.delete(key);
  else if (found instanceof Set && found.delete(ip) && found.size === 0) index.delete(key);
}

function listOf(found: OneOrMore | undefined): Iterable<Ip> {
  if (found === undefined) return [];
  return typeof found === "string" ? [found] : found;
}
