// What must hold in the simulated world, checked against the API server's truth and never against the product's memory. Rules are those
// of the product's documents; `graceMs` is how long the world may have looked otherwise to a decision that is carried out now. What the
// scheduler is told is judged in extender-judge.ts, the leader's memory in memory-check.ts.

import type { Change, SimApi } from "../src/adapters/simulated/api.ts";
import { podKey, workloadKey } from "../src/adapters/simulated/keys.ts";
import type { SimPod, SimWorkload } from "../src/adapters/simulated/objects.ts";
import { keyOfRef } from "../src/adapters/simulated/workload-facts.ts";
import type { Allocation } from "../src/core/allocation.ts";
import { isBound } from "../src/core/allocation.ts";
import { poolInForce } from "../src/core/decide-pool.ts";
import { podIsFinished } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import { familyOf } from "../src/core/ip.ts";
import type { PodId, WorkloadRef } from "../src/core/owner.ts";
import { ordinalOf, podIdText, podsAreInterchangeable, workloadIdText } from "../src/core/owner.ts";
import { slotAccepts, slotsOf } from "../src/core/pick.ts";
import type { Topology } from "../src/core/subnets.ts";
import { Topology as ConfiguredTopology } from "../src/core/subnets.ts";
import type { EventNote } from "../src/ports/event-recorder.ts";
import { addressLimitOf } from "./address-limit.ts";
import { IdleRule } from "./idle-rule.ts";
import { QuotaRule, quotaNamespaceOf } from "./quota-rule.ts";
import { graceMs, History, Violation } from "./violation.ts";

/** What was promised to the owner of an address when a pod got it. */
type AddressPromise = {
  readonly podKey: string;
  readonly workload: WorkloadRef | undefined;
  readonly policy: string;
};

/** The addresses that a pod name keeps, for pods of this shape of the same workload. */
type Expectation = {
  readonly ips: readonly Ip[];
  readonly workloadUid: string;
  readonly shape: string;
};

/** A Binding that a process made. */
type Binding = {
  readonly writer: string;
  readonly atMs: number;
  /** When an operator had deleted the record before. */
  readonly removedMs: number;
};

/** What the world does that loosens rules for a seed. */
export type Looseness = {
  /** Calls may happen after they were given up, or two processes may believe that they lead. */
  readonly callsMayBeLate: boolean;
  /** From a read that a decision rests on to the moment at which the decision is carried out, when no call is late. */
  readonly decisionMs: number;
  /** When a call about the record of an address failed last; never unless given. */
  readonly failedMs?: (ip: Ip) => number;
};

/** Watches all changes and keeps the first {@link Violation}. */
export class Judge {
  readonly #api: SimApi;
  readonly #looseness: Looseness;
  readonly #isProcess: (writer: string) => boolean;
  #violation: Error | undefined;
  readonly #carriers = new Map<Ip, Set<string>>();
  readonly #topologies = new History<Topology | undefined>();
  readonly #workloads = new Map<string, History<SimWorkload | undefined>>();
  readonly #poolSizes = new Map<string, History<number | undefined>>();
  readonly #poolCounts = new Map<string, History<number>>();
  /** Addresses of one family that a workload owns, pools aside. */
  readonly #ownedCounts = new Map<string, History<number>>();
  readonly #promises = new Map<Ip, AddressPromise>();
  /** The address that the next pod of a name must get, while nothing happened that ends the promise. */
  readonly #expected = new Map<string, Expectation>();
  /** Uids of pods that a process was asked to bind: only then it may take addresses for it. */
  readonly #bindAsked = new Set<string>();
  /** When an operator last touched a record by hand. */
  readonly #touchedMs = new Map<Ip, number>();
  /** When an operator last deleted a record by hand. */
  readonly #removedMs = new Map<Ip, number>();
  /** Which process wrote a record last. */
  readonly #lastWriter = new Map<Ip, string>();
  /** By uid and address. */
  readonly #bindings = new Map<string, Binding>();
  /** Uids with addresses whose record an operator deleted while a process that leads no more was binding the pod. */
  readonly #excused = new Set<string>();
  /** When addresses went out of a pool, by whom, and whether they were unused ones that the pool could give back. */
  readonly #leftPool: {
    readonly pool: string;
    readonly atMs: number;
    readonly writer: string;
    readonly wasSpare: boolean;
  }[] = [];
  /** When an operator's edit put an address into the pool that it is in. */
  readonly #putIntoPoolMs = new Map<Ip, number>();
  /** When operators took addresses out of a workload. */
  readonly #takenOut: { readonly key: string; readonly atMs: number }[] = [];
  readonly #idle: IdleRule;
  readonly #quotas: QuotaRule;
  /** When an operator's edit gave an address to the namespace that it is in. */
  readonly #putIntoNamespaceMs = new Map<Ip, number>();
  /** What a dead process had sent may still count. */
  #countsHoldFromMs = Number.NEGATIVE_INFINITY;

  constructor(api: SimApi, looseness: Looseness, isProcess: (writer: string) => boolean) {
    this.#api = api;
    this.#looseness = looseness;
    this.#isProcess = isProcess;
    this.#idle = new IdleRule(api, looseness.callsMayBeLate ? graceMs : looseness.decisionMs);
    this.#quotas = new QuotaRule(api);
    api.listeners.add((change) => {
      try {
        this.#look(change);
      } catch (error) {
        // Whoever wrote must not notice: it would take it for an answer of the API server.
        this.#violation ??= error as Error;
      }
    });
  }

  /** The first rule that was broken, or the error of the judge itself. */
  get violation(): Error | undefined {
    return this.#violation;
  }

  /** The scheduler asks a process to bind the pod now. */
  noteBindAsked(pod: SimPod): void {
    this.#bindAsked.add(pod.facts.uid);
  }

  /** A process died: what it had sent may still come, and its successor counts without it for a while. */
  noteCrash(): void {
    this.#countsHoldFromMs = this.#api.nowMs() + graceMs;
  }

  /** A process told somebody something. */
  noteEvent(note: EventNote): void {
    this.#idle.noteEvent(note);
  }

  /** Faults have ended. */
  noteCalm(): void {
    this.#idle.noteCalm();
  }

  #mayCountsBePassed(): boolean {
    return this.#looseness.callsMayBeLate || this.#api.nowMs() < this.#countsHoldFromMs;
  }

  #look(change: Change): void {
    const nowMs = this.#api.nowMs();
    switch (change.collection) {
      case "pods":
        this.#lookAtPod(
          change.before,
          change.value,
          this.#isProcess(change.writer) ? change.writer : undefined,
        );
        break;
      case "records":
        for (const record of [change.before, change.value]) {
          this.#countPool(record);
          this.#countOwned(record);
        }
        this.#noteLeftPool(change);
        if (this.#isProcess(change.writer)) {
          this.#lastWriter.set(change.key as Ip, change.writer);
          this.#lookAtRecord(change.before, change.value, change.writer);
        } else {
          this.#touchedMs.set((change.value ?? change.before)?.ip as Ip, nowMs);
          if (change.value === undefined) this.#removedMs.set(change.before?.ip as Ip, nowMs);
          this.#noteTakenOut(change.before, change.value);
          this.#notePutIntoPool(change.before, change.value);
          if (quotaNamespaceOf(change.value) !== quotaNamespaceOf(change.before)) {
            this.#putIntoNamespaceMs.set(change.key as Ip, nowMs);
          }
          this.#forgetPromise(change.before);
          // What an operator gives to a name is one of its addresses, like the one that it had.
          const owner = change.value?.owner;
          if (owner?.kind === "pod") this.#expected.delete(podKey(owner.pod));
          // When its record is deleted it is made again, for whomever it named.
          if (change.value !== undefined) this.#bindAsked.add(change.value.podUid);
        }
        this.#idle.noteRecord(change.before, change.value, !this.#isProcess(change.writer));
        break;
      case "config": {
        const config = change.value;
        if (config?.kind !== "valid") {
          // Who lists again shows no configuration that was there for a moment: the one before it stays in force while this one is broken.
          if (nowMs - this.#topologies.lastMs < graceMs) this.#topologies.doubtLast();
          break;
        }
        const topology = new ConfiguredTopology(config.subnets);
        this.#topologies.add(nowMs, topology);
        for (const [key, { ips }] of this.#expected) {
          if (ips.some((ip) => !topology.isConfigured(ip))) this.#expected.delete(key);
        }
        break;
      }
      case "workloads": {
        const history = this.#workloads.get(change.key) ?? new History();
        history.add(nowMs, change.value);
        this.#workloads.set(change.key, history);
        this.#forgetExpectations(change.before, change.value);
        break;
      }
      case "pools": {
        const name = (change.value ?? change.before)?.name ?? "";
        let history = this.#poolSizes.get(name);
        if (history === undefined) {
          history = new History();
          history.add(Number.NEGATIVE_INFINITY, undefined);
        }
        const inForce = poolInForce(this.#api.list("pools").filter((pool) => pool.name === name));
        history.add(nowMs, inForce?.size);
        this.#poolSizes.set(name, history);
        this.#idle.notePool(name);
        break;
      }
      case "quotas":
        this.#quotas.noteQuotas();
        break;
      case "nodes":
        break;
      default:
        change satisfies never;
    }
  }

  #countPool(record: Allocation | undefined): void {
    const pool = record === undefined ? undefined : poolOf(record);
    if (pool === undefined) return;
    const history = this.#poolCounts.get(pool) ?? new History<number>();
    history.add(
      this.#api.nowMs(),
      this.#api.list("records").filter((other) => poolOf(other) === pool).length,
    );
    this.#poolCounts.set(pool, history);
  }

  #noteLeftPool(change: Change & { readonly collection: "records" }): void {
    const pool = change.before === undefined ? undefined : poolOf(change.before);
    if (pool === undefined) return;
    if (change.value !== undefined && poolOf(change.value) === pool) return;
    const { ip } = change.before as Allocation;
    const topology = this.#topologies.since(this.#api.nowMs())[0];
    const wasSpare = !isBound(change.before as Allocation) && topology?.isConfigured(ip) === true;
    this.#leftPool.push({ pool, atMs: this.#api.nowMs(), writer: change.writer, wasSpare });
  }

  #countOwned(record: Allocation | undefined): void {
    const ref = record === undefined ? undefined : workloadOf(record);
    if (record === undefined || ref === undefined) return;
    const key = ownedKey(ref, record.ip);
    const history = this.#ownedCounts.get(key) ?? new History<number>();
    history.add(
      this.#api.nowMs(),
      this.#api
        .list("records")
        .filter((other) => ownsRecord(ref, other) && familyOf(other.ip) === familyOf(record.ip))
        .length,
    );
    this.#ownedCounts.set(key, history);
  }

  #noteTakenOut(before: Allocation | undefined, after: Allocation | undefined): void {
    const ref = before === undefined ? undefined : workloadOf(before);
    if (before === undefined || ref === undefined) return;
    if (after !== undefined && ownsRecord(ref, after)) return;
    this.#takenOut.push({ key: ownedKey(ref, before.ip), atMs: this.#api.nowMs() });
  }

  #notePutIntoPool(before: Allocation | undefined, after: Allocation | undefined): void {
    if (after === undefined || poolOf(after) === undefined) return;
    if (before !== undefined && poolOf(before) === poolOf(after)) return;
    this.#putIntoPoolMs.set(after.ip, this.#api.nowMs());
  }

  #forgetPromise(record: Allocation | undefined): void {
    if (record === undefined) return;
    this.#promises.delete(record.ip);
    for (const [key, { ips }] of this.#expected) {
      if (ips.includes(record.ip)) this.#expected.delete(key);
    }
  }

  /** Scaling down, deleting and a changed template end what a name was promised. */
  #forgetExpectations(before: SimWorkload | undefined, after: SimWorkload | undefined): void {
    const { ref } = (after ?? before) as SimWorkload;
    for (const podText of this.#expected.keys()) {
      const promise = this.#expected.get(podText);
      const [namespace, name = ""] = podText.split("/");
      if (namespace !== ref.namespace || !name.startsWith(`${ref.name}-`)) continue;
      if (before?.uid !== promise?.workloadUid && after?.uid !== promise?.workloadUid) continue;
      const ordinal = ordinalOf(name) ?? 0;
      const isOut =
        after === undefined ||
        ordinal < after.firstOrdinal ||
        ordinal >= after.firstOrdinal + after.replicas;
      const { policy = "", pool, request } = before?.template ?? {};
      const isOther =
        after !== undefined &&
        (after.template.policy !== policy ||
          after.template.pool !== pool ||
          JSON.stringify(after.template.request, bigintText) !==
            JSON.stringify(request, bigintText));
      if ((isOut && policy !== "never") || isOther) this.#expected.delete(podText);
    }
  }

  /** @param binder the process that wrote it, if one did: it binds */
  #lookAtPod(
    before: SimPod | undefined,
    after: SimPod | undefined,
    binder: string | undefined,
  ): void {
    if (after !== undefined) this.#idle.notePod(after);
    const ipsBefore = before === undefined ? [] : carriedBy(before);
    const ipsAfter = after === undefined ? [] : carriedBy(after);
    const key = podKey((after ?? before)?.facts.id as PodId);
    for (const ip of ipsBefore) if (!ipsAfter.includes(ip)) this.#carriers.get(ip)?.delete(key);
    const isBinding = binder !== undefined && before?.facts.nodeName === "" && after !== undefined;
    if (isBinding) {
      this.#idle.noteBound(after);
      const atMs = this.#api.nowMs();
      for (const ip of ipsAfter) {
        const removedMs = this.#removedMs.get(ip) ?? Number.NEGATIVE_INFINITY;
        this.#bindings.set(`${after.facts.uid} ${ip}`, { writer: binder, atMs, removedMs });
      }
    }
    for (const ip of ipsAfter) {
      if (this.#excused.has(`${after?.facts.uid} ${ip}`)) continue;
      const carriers = this.#carriers.get(ip) ?? new Set<string>();
      carriers.add(key);
      this.#carriers.set(ip, carriers);
      if (carriers.size > 1) this.#lookAtDouble(ip, carriers);
    }
    if (isBinding) this.#lookAtBinding(after);
  }

  #lookAtDouble(ip: Ip, carriers: Set<string>): void {
    const text = [...carriers].join(" and ");
    for (const key of carriers) {
      const uid = this.#api.get("pods", key)?.facts.uid ?? "";
      if (!this.#mayExcuse(uid, ip)) continue;
      this.#excused.add(`${uid} ${ip}`);
      carriers.delete(key);
      return;
    }
    throw new Violation("one address, one pod", `${ip} is in ${text}`);
  }

  /**
   * An operator deleted the record of the pod while its Binding was under way, and the process that had sent the Binding was not the one
   * that gave the address away: nobody could know of it. It is reported as a conflict and left to people.
   */
  #mayExcuse(uid: string, ip: Ip): boolean {
    const binding = this.#bindings.get(`${uid} ${ip}`);
    if (binding === undefined || binding.atMs - binding.removedMs >= graceMs) return false;
    return this.#lastWriter.get(ip) !== binding.writer;
  }

  #lookAtBinding(pod: SimPod): void {
    const { facts } = pod;
    const key = podKey(facts.id);
    const nowMs = this.#api.nowMs();
    const node = this.#api.get("nodes", facts.nodeName);
    for (const ip of facts.assignedIps) {
      const record = this.#api.get("records", ip);
      const isTouched = nowMs - (this.#touchedMs.get(ip) ?? Number.NEGATIVE_INFINITY) < graceMs;
      if (!isTouched) {
        if (record === undefined) {
          throw new Violation(
            "record before binding",
            `${key} was bound with ${ip}, which has no record`,
          );
        }
        if (record.owner.kind === "admin") {
          throw new Violation("administrator's address", `${key} was bound with ${ip}`);
        }
        if (record.podUid !== facts.uid) {
          throw new Violation(
            "record before binding",
            `${key} (${facts.uid}) was bound with ${ip}, whose record names ${record.podUid}`,
          );
        }
      }
      if (node === undefined) continue;
      const isAllowed = this.#topologies.since(nowMs - graceMs).some((topology) => {
        const zone = topology?.zoneOf(node.facts.internalIps);
        return topology !== undefined && zone !== undefined && topology.zoneMayUse(zone, ip);
      });
      if (!isAllowed) {
        throw new Violation(
          "address fits the node",
          `${key} on ${facts.nodeName} was bound with ${ip}`,
        );
      }
    }
    this.#lookAtCount(pod);
    this.#lookAtExpectation(pod);
    const ref = this.#workloadRefOf(pod);
    // Filter refuses such a pod; only an operator can give it an address.
    const keepsNothing = !podsAreInterchangeable(ref) && ordinalOf(facts.id.name) === undefined;
    for (const ip of facts.assignedIps) {
      // An operator who wrote another policy or pod into the record during the bind has taken it out of what the pod was promised.
      const record = this.#api.get("records", ip);
      const isTheirs =
        record === undefined || (record.podUid === facts.uid && record.policy === facts.policy);
      if (!isTheirs || keepsNothing) {
        this.#promises.delete(ip);
        continue;
      }
      this.#promises.set(ip, {
        podKey: key,
        workload: ref,
        policy: facts.policy,
      });
    }
  }

  /** As many addresses as asked for, each where it was asked for. */
  #lookAtCount({ facts }: SimPod): void {
    const { request, assignedIps } = facts;
    const slots = slotsOf(request, new Set(assignedIps.map(familyOf)));
    const wantedCount = request.kind === "ranges" ? request.ranges.length : slots.length;
    const fits =
      assignedIps.length === wantedCount &&
      new Set(assignedIps).size === wantedCount &&
      slots.every((slot, index) => slotAccepts(slot, assignedIps[index] as Ip));
    if (!fits) {
      throw new Violation(
        "addresses as asked for",
        `${podKey(facts.id)} was bound with ${assignedIps.join(", ")} for ${JSON.stringify(slots, bigintText)}`,
      );
    }
    this.#lookAtReplicas(facts.id, facts.uid);
  }

  #lookAtReplicas(id: PodId, uid: string): void {
    if (this.#mayCountsBePassed()) return;
    const pod = this.#api.get("pods", podKey(id));
    const ref = pod === undefined ? undefined : this.#workloadRefOf(pod);
    if (pod === undefined || ref === undefined || !podsAreInterchangeable(ref)) return;
    const { policy, pool } = pod.facts;
    if (policy === "pod-delete" || pool !== undefined) return;
    const most = Math.max(
      ...this.#workloadStates(ref).map((state) =>
        state === undefined ? 0 : addressLimitOf(state),
      ),
    );
    // What an operator labelled is not the workload's any more; when he takes the label away it comes back, whatever was promised meanwhile.
    // Outside the configuration its record is not made again.
    const topology = this.#topologies.since(this.#api.nowMs())[0];
    const isOperators = (ip: Ip) =>
      this.#api.get("records", ip)?.owner.kind === "admin" ||
      (this.#api.get("records", ip) === undefined && topology?.isConfigured(ip) !== true) ||
      this.#api.nowMs() - (this.#touchedMs.get(ip) ?? Number.NEGATIVE_INFINITY) < graceMs;
    const users = this.#api
      .list("pods")
      .filter(
        (other) =>
          other.facts.id.namespace === id.namespace &&
          carriedBy(other).some((ip) => !isOperators(ip)) &&
          other.facts.policy !== "pod-delete" &&
          other.facts.pool === undefined &&
          sameRef(this.#workloadRefOf(other), ref),
      );
    if (users.length > most) {
      throw new Violation(
        "no more addresses than replicas",
        `${workloadIdText(ref)} has ${users.length} pods with addresses and may have ${most} after ${podKey(id)} (${uid})`,
      );
    }
  }

  /** A pod name that keeps its address must get it again. */
  #lookAtExpectation(pod: SimPod): void {
    const { facts } = pod;
    const key = podKey(facts.id);
    const ref = this.#workloadRefOf(pod);
    const keeps =
      facts.policy !== "pod-delete" && !podsAreInterchangeable(ref) && ref !== undefined;
    const workload = ref === undefined ? undefined : this.#api.get("workloads", keyOfRef(ref));
    const expected = this.#expected.get(key);
    const shape = JSON.stringify([facts.request, facts.policy, facts.pool], bigintText);
    if (keeps && expected?.shape === shape) {
      // A late write may leave an address of the other family to the name, and by default IPv4 comes first.
      const isOtherFamily =
        this.#looseness.callsMayBeLate &&
        expected.ips.every((ip) =>
          facts.assignedIps.every((got) => familyOf(got) !== familyOf(ip)),
        );
      if (isOtherFamily) for (const ip of expected.ips) this.#promises.delete(ip);
      if (!isOtherFamily && expected.ips.some((ip) => !facts.assignedIps.includes(ip))) {
        throw new Violation(
          "a name keeps its address",
          `${key} (policy ${facts.policy}) had ${expected.ips.join(", ")} and got ${facts.assignedIps.join(", ")}`,
        );
      }
    }
    // A record that an operator deleted, labelled or edited meanwhile is no promise any more.
    const isRecorded = facts.assignedIps.every((ip) => {
      const record = this.#api.get("records", ip);
      return record?.owner.kind === "pod" && record.podUid === facts.uid;
    });
    // What left the configuration goes, as soon as the process has heard of it.
    const topology = this.#topologies.since(this.#api.nowMs())[0];
    const isConfigured = facts.assignedIps.every((ip) => topology?.isConfigured(ip) === true);
    if (!keeps || workload === undefined || !isRecorded || !isConfigured)
      this.#expected.delete(key);
    else this.#expected.set(key, { ips: facts.assignedIps, workloadUid: workload.uid, shape });
    // What the pod does not ask for any more is nobody's.
    if (expected !== undefined && expected.shape === shape) return;
    for (const [ip, promise] of this.#promises) {
      if (promise.podKey === key && !facts.assignedIps.includes(ip)) this.#promises.delete(ip);
    }
  }

  #lookAtRecord(
    before: Allocation | undefined,
    after: Allocation | undefined,
    writer: string,
  ): void {
    const ip = (after ?? before)?.ip as Ip;
    this.#lookAtTaker(before, after);
    if (before?.owner.kind === "admin" && after?.owner.kind !== "admin") {
      throw new Violation("administrator's address", `${ip} was taken from the administrator`);
    }
    if (before !== undefined && isBound(before) && after?.podUid !== before.podUid) {
      const pod =
        before.owner.kind === "pod" ? this.#api.get("pods", podKey(before.owner.pod)) : undefined;
      if (pod?.facts.uid === before.podUid && carriedBy(pod).includes(ip)) {
        throw new Violation(
          "never taken from a living pod",
          `${ip} was ${after === undefined ? "released" : "given away"} while ${podKey(pod.facts.id)} has it`,
        );
      }
    }
    if (after === undefined && before !== undefined) {
      this.#lookAtRelease(before, writer);
      this.#forgetPromise(before);
    }
    // The record of an address follows the pod that has it, whatever it was promised to.
    if (before !== undefined && after !== undefined && this.#isCarried(after)) {
      if (!isSamePod(before, after)) this.#forgetPromise(before);
    }
    // The record of a living pod that was deleted by hand comes back, whatever the size.
    const removedMs = this.#removedMs.get(ip) ?? Number.NEGATIVE_INFINITY;
    const comesBack =
      (this.#carriers.get(ip)?.size ?? 0) > 0 || this.#api.nowMs() - removedMs < graceMs;
    if (before === undefined && after !== undefined && !comesBack) this.#lookAtPool(after);
    if (after !== undefined && !comesBack) this.#lookAtQuota(before, after);
  }

  /** What operators and failed calls did the process need not have counted, as for pools. */
  #lookAtQuota(before: Allocation | undefined, after: Allocation): void {
    const sinceMs = this.#api.nowMs() - graceMs;
    // What an operator took from a pod goes back to it, whatever was taken meanwhile.
    const isTouched = (this.#touchedMs.get(after.ip) ?? Number.NEGATIVE_INFINITY) > sinceMs;
    if (this.#mayCountsBePassed() || isTouched) return;
    const mayBeUnknown = (ip: Ip) =>
      ip !== after.ip &&
      ((this.#looseness.failedMs?.(ip) ?? Number.NEGATIVE_INFINITY) > sinceMs ||
        (this.#putIntoNamespaceMs.get(ip) ?? Number.NEGATIVE_INFINITY) > sinceMs);
    const excess = this.#quotas.excess(before, after, mayBeUnknown);
    if (excess !== undefined) throw new Violation("a quota is kept", excess);
  }

  /** Filter, prioritize and preempt write nothing: a pod gets a record when it is to be bound, or because it runs with the address. */
  #lookAtTaker(before: Allocation | undefined, after: Allocation | undefined): void {
    if (after === undefined || !isBound(after) || after.owner.kind !== "pod") return;
    const { podUid } = after;
    if (before?.podUid === podUid || this.#bindAsked.has(podUid)) return;
    const pod = this.#api.get("pods", podKey(after.owner.pod));
    if (pod?.facts.uid === podUid && pod.facts.nodeName !== "") return;
    throw new Violation(
      "only bind takes",
      `${after.ip} was given to ${podKey(after.owner.pod)} (${podUid}), which nobody wanted to bind`,
    );
  }

  #isCarried({ ip, owner, podUid }: Allocation): boolean {
    const pod = owner.kind === "pod" ? this.#api.get("pods", podKey(owner.pod)) : undefined;
    return pod?.facts.uid === podUid && carriedBy(pod).includes(ip);
  }

  #lookAtPool(record: Allocation): void {
    const { owner } = record;
    const pool = owner.kind === "pool" ? owner.pool : owner.kind === "pod" ? owner.pool : undefined;
    if (pool === undefined || this.#mayCountsBePassed()) return;
    const sizes = this.#poolSizes.get(pool)?.since(this.#api.nowMs() - graceMs) ?? [undefined];
    if (sizes.includes(undefined)) return;
    const most = Math.max(...sizes.map((size) => size ?? 0));
    // What left the configuration is on its way out, also when it was back a moment later: its release was under way by then. And what was
    // being released may be back when that failed. What an operator put into the pool the process may not have heard of.
    const sinceMs = this.#api.nowMs() - graceMs;
    const topologies = this.#topologies.since(sinceMs);
    const mayBeUnknown = (ip: Ip) =>
      topologies.some((topology) => topology?.isConfigured(ip) !== true) ||
      (this.#looseness.failedMs?.(ip) ?? Number.NEGATIVE_INFINITY) > sinceMs ||
      (this.#putIntoPoolMs.get(ip) ?? Number.NEGATIVE_INFINITY) > sinceMs;
    const count = this.#api
      .list("records")
      .filter((other) => poolOf(other) === pool && !mayBeUnknown(other.ip)).length;
    if (count > most) {
      throw new Violation(
        "a pool keeps its size",
        `${pool} has ${count} addresses with size ${most} after ${record.ip}`,
      );
    }
  }

  /** A release must be what the policy says, at some moment of the grace time. */
  #lookAtRelease(record: Allocation, writer: string): void {
    const { ip } = record;
    const promise = this.#promises.get(ip);
    this.#promises.delete(ip);
    if (promise === undefined || record.policy === "pod-delete") return;
    // What an earlier pod was promised says nothing when its address went to another owner since.
    const nowMs = this.#api.nowMs();
    // A watch of the configuration may stand still three times in a row.
    const wasUnconfigured = this.#topologies
      .since(nowMs - 90_000)
      .some((topology) => topology !== undefined && !topology.isConfigured(ip));
    if (wasUnconfigured) return;
    const pool = poolOf(record);
    if (pool !== undefined) {
      const sizes = this.#poolSizes.get(pool)?.since(nowMs - graceMs) ?? [];
      const most = this.#mostInPool(pool, writer);
      if (sizes.some((size) => size !== undefined && most > size)) return;
    }
    const backMs = this.#looseness.callsMayBeLate ? graceMs : this.#looseness.decisionMs;
    const statesOf = (of: WorkloadRef | undefined) =>
      of === undefined ? [undefined] : this.#workloadStates(of, backMs);
    const ref = promise.workload;
    const states = statesOf(ref);
    // A pool's address may have gone since to a pod of another workload, which was never bound.
    const tooEarly = isBound(record)
      ? "no time"
      : this.#idle.whyTooEarly(record, statesOf(workloadOf(record)));
    if (tooEarly === undefined) return;
    const idleText = tooEarly === "no time" ? "" : `: ${tooEarly.problem}`;
    if (record.policy === "never" && tooEarly !== "no time") {
      throw new Violation(
        "an idle address has its time",
        `${ip} of ${promise.podKey} was released${idleText}`,
      );
    }
    if (record.policy === "never") {
      // A rollback gives back what no pod ever had; those have no promise.
      throw new Violation("never means never", `${ip} of ${promise.podKey} was released`);
    }
    if (ref === undefined) return;
    // Without a scale subresource nobody can know whether the name is still wanted.
    if (ref.kind === "plain" || states.some((state) => state === undefined)) return;
    const key = ownedKey(ref, ip);
    // What an operator took out of the workload a moment ago may be counted beside what was put in its place.
    const takenOutCount = this.#takenOut.filter(
      (taken) => taken.key === key && taken.atMs >= nowMs - graceMs,
    ).length;
    const owned =
      Math.max(...(this.#ownedCounts.get(key)?.since(nowMs - graceMs) ?? [0])) + takenOutCount;
    const isLegitimate = states.some((state) => {
      if (state === undefined) return true;
      if (podsAreInterchangeable(ref)) {
        const limit = addressLimitOf(state);
        return limit === 0 || owned > limit;
      }
      const name = record.owner.kind === "pod" ? record.owner.pod.name : "";
      const ordinal = ordinalOf(name) ?? -1;
      return ordinal < state.firstOrdinal || ordinal >= state.firstOrdinal + state.replicas;
    });
    if (!isLegitimate) {
      throw new Violation(
        "immutable is kept",
        `${ip} of ${promise.podKey} was released although ${workloadIdText(ref)} still wants it${idleText}`,
      );
    }
  }

  /**
   * How many addresses the process may have counted when it decided on this release. What it gave back of the unused ones it knows; what
   * others took out of the pool, and what left its pods meanwhile, it may not have known.
   */
  #mostInPool(pool: string, writer: string): number {
    const sinceMs = this.#api.nowMs() - graceMs;
    if (this.#looseness.callsMayBeLate) {
      // What is gone may be counted beside what another leader put in its place.
      const goneCount = this.#leftPool.filter(
        (left) => left.pool === pool && left.atMs >= sinceMs && left.writer !== writer,
      ).length;
      return Math.max(...(this.#poolCounts.get(pool)?.since(sinceMs) ?? [0])) + goneCount;
    }
    const nowCount = this.#api.list("records").filter((other) => poolOf(other) === pool).length;
    const unknownCount = this.#leftPool.filter(
      (left) =>
        left.pool === pool &&
        left.atMs >= sinceMs &&
        (left.writer !== writer ||
          (!left.wasSpare && left.atMs >= this.#api.nowMs() - this.#looseness.decisionMs)),
    ).length;
    // The record itself is gone already.
    return nowCount + 1 + unknownCount;
  }

  #workloadStates(ref: WorkloadRef, backMs = graceMs): readonly (SimWorkload | undefined)[] {
    return this.#workloads.get(keyOfRef(ref))?.since(this.#api.nowMs() - backMs) ?? [undefined];
  }

  /** The workload of a pod as the API server has it now; for a ReplicaSet of a Deployment the Deployment. */
  #workloadRefOf(pod: SimPod): WorkloadRef | undefined {
    const { controller, id } = pod.facts;
    if (controller === undefined) return undefined;
    const kind = controller.kind.toLowerCase();
    const workload = this.#workloads
      .get(workloadKey(kind as SimWorkload["kind"], id.namespace, controller.name))
      ?.since(0)
      .find((state) => state !== undefined);
    if (workload?.deployment === undefined) return workload?.ref;
    return this.#workloads
      .get(workloadKey("deployment", id.namespace, workload.deployment))
      ?.since(0)
      .find((state) => state !== undefined)?.ref;
  }

  /** What must hold when faults have ended and everything has had its time. @returns what does not */
  quietProblems(memory: Iterable<Allocation>): readonly string[] {
    const problems: string[] = [];
    const records = this.#api.list("records");
    const inMemory = new Map([...memory].map((allocation) => [allocation.ip, allocation]));
    for (const record of records) {
      const known = inMemory.get(record.ip);
      inMemory.delete(record.ip);
      if (known === undefined) problems.push(`memory lacks ${line(record)}`);
      else if (line(known) !== line(record)) {
        problems.push(`memory says ${line(known)}, the store ${line(record)}`);
      }
      problems.push(...this.#leaks(record));
    }
    for (const allocation of inMemory.values())
      problems.push(`only memory has ${line(allocation)}`);
    for (const pod of this.#api.list("pods")) {
      for (const ip of carriedBy(pod)) {
        const record = this.#api.get("records", ip);
        const topology = this.#topologies.since(this.#api.nowMs())[0];
        if (record?.owner.kind === "admin") continue;
        if (this.#excused.has(`${pod.facts.uid} ${ip}`)) continue;
        // Two such pods were excused, or the reservation that came over it is left to people.
        if (record !== undefined && !isBound(record) && this.#mayExcuse(pod.facts.uid, ip))
          continue;
        if (record === undefined) {
          if (topology?.isConfigured(ip) === true) {
            problems.push(`${podKey(pod.facts.id)} carries ${ip}, which has no record`);
          }
        } else if (record.podUid !== pod.facts.uid) {
          problems.push(`${podKey(pod.facts.id)} carries ${ip}, but ${line(record)}`);
        }
      }
    }
    for (const [pool, history] of this.#poolSizes) {
      const size = history.since(this.#api.nowMs())[0];
      const owned = records.filter((record) => poolOf(record) === pool);
      const used = owned.filter(isBound).length;
      if (size !== undefined && owned.length > Math.max(size, used)) {
        problems.push(
          `pool ${pool} has ${owned.length} addresses with size ${size}, ${used} in use`,
        );
      }
    }
    return problems;
  }

  #ownerOf(record: Allocation): SimWorkload | undefined {
    const ref = workloadOf(record);
    return ref === undefined ? undefined : this.#api.get("workloads", keyOfRef(ref));
  }

  /** Why a record should not be there any more. */
  #leaks(record: Allocation): readonly string[] {
    const { owner } = record;
    if (owner.kind === "admin" || owner.kind === "foreign") return [];
    if (isBound(record)) {
      const pod = owner.kind === "pod" ? this.#api.get("pods", podIdText(owner.pod)) : undefined;
      const isAlive =
        pod !== undefined && pod.facts.uid === record.podUid && !podIsFinished(pod.facts);
      if (!isAlive) return [`no living pod for ${line(record)}`];
      const isLeftOver = pod.facts.nodeName !== "" && !pod.facts.assignedIps.includes(record.ip);
      return isLeftOver ? [`the pod runs without ${line(record)}`] : [];
    }
    const topology = this.#topologies.since(this.#api.nowMs())[0];
    const hasSubnets = topology !== undefined && topology.subnets.length > 0;
    if (hasSubnets && !topology.isConfigured(record.ip))
      return [`outside the configuration: ${line(record)}`];
    // Kept for a pod that is on its way, as long as it is.
    const next = owner.kind === "pod" ? this.#api.get("pods", podIdText(owner.pod)) : undefined;
    if (next !== undefined && next.facts.nodeName === "" && next.facts.wantsAddress) return [];
    // A pool keeps what it has, whatever an operator wrote into the record.
    const tooLate = this.#idle.whyTooLate(record, this.#ownerOf(record));
    if (tooLate !== undefined) return [`${tooLate}: ${line(record)}`];
    if (record.policy === "never" || owner.kind === "pool") return [];
    if (record.policy === "pod-delete") return [`reserved without a policy: ${line(record)}`];
    const ref = owner.workload;
    const workload = ref === undefined ? undefined : this.#api.get("workloads", keyOfRef(ref));
    if (ref === undefined || workload === undefined)
      return [`outlives its workload: ${line(record)}`];
    if (podsAreInterchangeable(ref)) {
      const owned = this.#api
        .list("records")
        .filter(
          (other) => ownsRecord(ref, other) && familyOf(other.ip) === familyOf(record.ip),
        ).length;
      const limit = addressLimitOf(workload);
      return owned > limit
        ? [`beyond the ${limit} addresses of ${workload.replicas} replicas: ${line(record)}`]
        : [];
    }
    const ordinal = owner.kind === "pod" ? (ordinalOf(owner.pod.name) ?? -1) : -1;
    const isWanted =
      ordinal >= workload.firstOrdinal && ordinal < workload.firstOrdinal + workload.replicas;
    return isWanted ? [] : [`beyond ${workload.replicas} replicas: ${line(record)}`];
  }
}

/** Addresses of a pod that is on a node and not finished. */
function carriedBy(pod: SimPod): readonly Ip[] {
  return pod.facts.nodeName === "" || podIsFinished(pod.facts) ? [] : pod.facts.assignedIps;
}

function isSamePod(a: Allocation, b: Allocation): boolean {
  return (
    a.owner.kind === "pod" &&
    b.owner.kind === "pod" &&
    podIdText(a.owner.pod) === podIdText(b.owner.pod)
  );
}

function ownedKey(ref: WorkloadRef, ip: Ip): string {
  return `${workloadIdText(ref)} ${familyOf(ip)}`;
}

function workloadOf({ owner }: Allocation): WorkloadRef | undefined {
  return owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
}

function poolOf({ owner }: Allocation): string | undefined {
  return owner.kind === "pool" || owner.kind === "pod" ? owner.pool : undefined;
}

function sameRef(a: WorkloadRef | undefined, b: WorkloadRef): boolean {
  return a !== undefined && workloadIdText(a) === workloadIdText(b);
}

function ownsRecord(ref: WorkloadRef, { owner }: Allocation): boolean {
  if (owner.kind === "pod") return owner.pool === undefined && sameRef(owner.workload, ref);
  return owner.kind === "workload" && sameRef(owner.workload, ref);
}

/** A record as a line, without time and version. */
function line({ ip, owner, policy, nodeName, podUid, isDraining }: Allocation): string {
  return `${ip} ${JSON.stringify(owner)} ${policy} node=${nodeName} uid=${podUid}${isDraining ? " draining" : ""}`;
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
