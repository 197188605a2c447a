// Listens to what the scheduler asks and what it is told: a promise of filter is kept by bind, ends in time, and reserved addresses are
// used before free ones. Where something changed meanwhile that could void a promise, nothing is said.

import type { Change, SimApi } from "../src/adapters/simulated/api.ts";
import type { Extender, NodesQuestion } from "../src/adapters/simulated/extender.ts";
import { podKey } from "../src/adapters/simulated/keys.ts";
import type { Allocation } from "../src/core/allocation.ts";
import { isBound } from "../src/core/allocation.ts";
import type { PodFacts } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import { familyOf } from "../src/core/ip.ts";
import { podsAreInterchangeable, workloadIdText } from "../src/core/owner.ts";
import { Topology } from "../src/core/subnets.ts";
import type { SimProcess } from "./process.ts";
import { holdMs } from "./process.ts";
import { graceMs, Violation } from "./violation.ts";

/** What a filter said to a pod that may go somewhere. */
type Promised = {
  readonly process: SimProcess;
  readonly turn: number;
  readonly atMs: number;
  readonly failureCount: number;
  readonly pod: PodFacts;
  readonly nodeNames: ReadonlySet<string>;
};

/** A call of filter; without an end while it runs. */
type Call = {
  readonly pod: PodFacts;
  readonly startedMs: number;
  endedMs: number;
  /** Some node passed, or may pass yet. */
  mayPromise: boolean;
};

/** A reservation as a process wrote it. */
type Reserved = { readonly writer: string; readonly atMs: number };

/** The words with which bind says that it has no address for the pod. */
const lacks = [
  "no enough available ips left",
  "wait for releasing",
  "size limit of",
  "reached its quota",
  "being changed by somebody else",
];

/** Wraps the use cases of a process as the scheduler sees them. */
export class ExtenderJudge {
  readonly #api: SimApi;
  readonly #report: (violation: Violation) => void;
  /** In such a world a promise may be void without anybody's fault. */
  readonly #callsMayBeLate: boolean;
  /** So long a write and its answer take. */
  readonly #callMs: number;
  readonly #promises = new Map<string, Promised>();
  readonly #filters: Call[] = [];
  /** When something was last changed, by what it was. */
  readonly #changedMs = new Map<string, number>();
  readonly #reserved = new Map<Ip, Reserved>();

  constructor(parts: {
    readonly api: SimApi;
    readonly callsMayBeLate: boolean;
    readonly callMs: number;
    readonly isProcess: (writer: string) => boolean;
    readonly report: (violation: Violation) => void;
  }) {
    this.#api = parts.api;
    this.#callsMayBeLate = parts.callsMayBeLate;
    this.#callMs = parts.callMs;
    this.#report = parts.report;
    parts.api.listeners.add((change) => {
      const isProcess = parts.isProcess(change.writer);
      if (change.collection === "records" && isProcess) this.#lookAtTake(change);
      this.#note(change, isProcess);
    });
  }

  /** The use cases of the process, listened to. */
  listenTo(process: SimProcess): Extender {
    const { scheduling } = process.service;
    return {
      filter: (question) => this.#filter(process, question),
      prioritize: (question) => scheduling.prioritize(question),
      preempt: (question) => scheduling.preempt(question),
      bind: (question) => this.#bind(process, question),
    };
  }

  #note(change: Change, isProcess: boolean): void {
    const nowMs = this.#api.nowMs();
    const mark = (what: string) => this.#changedMs.set(what, nowMs);
    switch (change.collection) {
      case "config":
        mark("config");
        break;
      case "pools":
        mark(`pool ${(change.value ?? change.before)?.name}`);
        break;
      case "workloads":
        mark(`workload ${change.key}`);
        break;
      case "records": {
        mark(`records by ${change.writer}`);
        // What is kept for a name is no promise of filter: a pool that was made smaller may give it back.
        const kept = change.before?.owner;
        if (change.value === undefined && kept?.kind === "pod" && change.before?.podUid === "") {
          mark(`kept for ${podKey(kept.pod)}`);
        }
        const kind = change.value?.owner.kind;
        const ip = (change.value ?? change.before)?.ip as Ip;
        if (isProcess && (kind === "pool" || kind === "workload")) {
          this.#reserved.set(ip, { writer: change.writer, atMs: nowMs });
        } else this.#reserved.delete(ip);
        break;
      }
      case "pods": {
        const isBinding = change.before?.facts.nodeName === "" && change.value !== undefined;
        if (isProcess && isBinding) mark(`bindings by ${change.writer}`);
        else mark(`pod ${change.key}`);
        break;
      }
      case "quotas":
        mark("quotas");
        break;
      case "nodes":
        break;
      default:
        change satisfies never;
    }
  }

  async #filter(process: SimProcess, question: NodesQuestion) {
    const { pod, nodeNames } = question;
    const { scheduling, allocator } = process.service;
    const call: Call = {
      pod,
      startedMs: this.#api.nowMs(),
      endedMs: Number.POSITIVE_INFINITY,
      mayPromise: true,
    };
    this.#filters.push(call);
    this.#promises.delete(pod.uid);
    try {
      const reply = await scheduling.filter(question);
      const nowMs = this.#api.nowMs();
      if (reply.kind === "untouched") return reply;
      for (const hold of allocator.view.holds()) {
        // Its first act is to give up what is over.
        if (hold.expiresAtMs > call.startedMs) continue;
        this.#report(
          new Violation(
            "a promise ends in time",
            `${podKey(hold.pod)} was promised addresses until ${hold.expiresAtMs}, and has them at ${nowMs}`,
          ),
        );
      }
      call.mayPromise = reply.kind === "nodes" && reply.passed.length > 0;
      if (reply.kind === "nodes" && reply.passed.length > 0) {
        this.#promises.set(pod.uid, {
          process,
          turn: process.turn,
          atMs: nowMs,
          failureCount: process.network.failureCount,
          pod,
          nodeNames: new Set(reply.passed.map((index) => nodeNames[index] as string)),
        });
      }
      return reply;
    } finally {
      call.endedMs = this.#api.nowMs();
    }
  }

  async #bind(process: SimProcess, question: Parameters<Extender["bind"]>[0]) {
    const promised = this.#promises.get(question.podUid);
    const reply = await process.service.scheduling.bind(question);
    if (reply.kind === "refused" && promised !== undefined && promised.process === process) {
      const isLack = lacks.some((words) => reply.error.includes(words));
      if (isLack && promised.nodeNames.has(question.nodeName) && this.#mustBeKept(promised)) {
        this.#report(
          new Violation(
            "bind keeps what filter promised",
            `${podKey(question.pod)} passed ${question.nodeName} at ${promised.atMs}, and then: ${reply.error}`,
          ),
        );
      }
    }
    return reply;
  }

  /** Nothing happened since, or shortly before, that could void the promise. */
  #mustBeKept({ process, turn, atMs, failureCount, pod }: Promised): boolean {
    if (this.#callsMayBeLate || this.#api.nowMs() - atMs >= holdMs) return false;
    if (process.turn !== turn || process.network.failureCount !== failureCount) return false;
    const isOverlapped = this.#filters.some(
      (call) => call.pod.uid === pod.uid && (call.endedMs > atMs || call.startedMs > atMs),
    );
    if (isOverlapped) return false;
    const sinceMs = atMs - graceMs;
    for (const [what, changedMs] of this.#changedMs) {
      if (changedMs < sinceMs) continue;
      if (what === "config" || what === "quotas") return false;
      if (what === `pool ${pod.pool}`) return false;
      if (what.startsWith("records by ") && what !== `records by ${process.name}`) return false;
      if (what.startsWith("bindings by ") && what !== `bindings by ${process.name}`) return false;
      if (what === `pod ${podKey(pod.id)}` && changedMs >= atMs) return false;
      if (what === `kept for ${podKey(pod.id)}` && changedMs >= atMs) return false;
      if (what.startsWith("workload ") && this.#isOf(what.slice("workload ".length), pod)) {
        return false;
      }
    }
    return true;
  }

  /** Whether the workload may be the pod's: names of pods begin with the name of their workload. */
  #isOf(key: string, { id }: PodFacts): boolean {
    const [, namespace, name] = key.split("/");
    return namespace === id.namespace && id.name.startsWith(`${name}-`);
  }

  /** A pod got an address that nobody had, although a reserved one of its workload or pool was there for it. */
  #lookAtTake(change: Change & { readonly collection: "records" }): void {
    const taken = change.value;
    if (change.before !== undefined || taken === undefined || !isBound(taken)) return;
    if (this.#callsMayBeLate || taken.owner.kind !== "pod") return;
    const promised = this.#promises.get(taken.podUid);
    const nowMs = this.#api.nowMs();
    if (promised === undefined || promised.process.name !== change.writer) return;
    if (nowMs - promised.atMs >= holdMs || promised.pod.request.kind === "ranges") return;
    if ((this.#changedMs.get("config") ?? 0) > nowMs - graceMs) return;
    // A record that an operator deleted is made again for its pod.
    if ((this.#changedMs.get("records by operator") ?? 0) > promised.atMs - graceMs) return;
    const better = this.#api
      .list("records")
      .find((record) => this.#isBetter(record, taken, promised));
    if (better === undefined) return;
    this.#report(
      new Violation(
        "reserved addresses are used first",
        `${podKey(taken.owner.pod)} got ${taken.ip}, although ${better.ip} is reserved for its workload or pool`,
      ),
    );
  }

  #isBetter({ ip, owner }: Allocation, taken: Allocation, promised: Promised): boolean {
    const { process, pod, atMs, turn } = promised;
    if (!isReservedFor(owner, taken, pod) || familyOf(ip) !== familyOf(taken.ip)) return false;
    const reserved = this.#reserved.get(ip);
    // Only what this very process reserved, and knew to be reserved when it was asked.
    if (reserved?.writer !== process.name || process.turn !== turn) return false;
    const knownMs = reserved.atMs + this.#callMs;
    if (knownMs >= atMs || process.network.failedMs(ip) >= reserved.atMs - graceMs) return false;
    // Another pod may have been promised it.
    const isPromised = this.#filters.some(
      (call) =>
        call.mayPromise &&
        call.endedMs >= reserved.atMs &&
        call.pod.uid !== pod.uid &&
        call.pod.pool === pod.pool &&
        (pod.pool !== undefined || call.pod.id.namespace === pod.id.namespace),
    );
    if (isPromised) return false;
    const config = this.#api.get("config", "config");
    const node = this.#api.get("nodes", taken.nodeName)?.facts;
    if (config?.kind !== "valid" || node === undefined) return false;
    const topology = new Topology(config.subnets);
    const zone = topology.zoneOf(node.internalIps);
    return zone !== undefined && topology.isConfigured(ip) && topology.zoneMayUse(zone, ip);
  }
}

function isReservedFor(owner: Allocation["owner"], taken: Allocation, pod: PodFacts): boolean {
  if (taken.owner.kind !== "pod") return false;
  if (pod.pool !== undefined) return owner.kind === "pool" && owner.pool === pod.pool;
  const { workload } = taken.owner;
  if (pod.policy === "pod-delete" || workload === undefined) return false;
  return (
    owner.kind === "workload" &&
    podsAreInterchangeable(workload) &&
    workloadIdText(owner.workload) === workloadIdText(workload)
  );
}
