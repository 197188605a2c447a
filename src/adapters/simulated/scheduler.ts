// A kube-scheduler as far as extenders notice: one scheduling cycle at a time, binding beside it, retries with back-off, time limits after
// which it goes on although the extender still works.

import type { Clock } from "../../ports/clock.ts";
import type { SimApi } from "./api.ts";
import type { Extender } from "./extender.ts";
import { podKey } from "./keys.ts";
import type { SimNode, SimPod } from "./objects.ts";
import type { RandomSource } from "./random-source.ts";

/** Milliseconds. */
const filterLimitMs = 5_000;
const bindLimitMs = 25_000;
const firstBackoffMs = 1_000;
const lastBackoffMs = 10_000;
/** The scheduler learns so late that a node is down. */
const nodeGraceMs = 10_000;

type Waiting = {
  attempts: number;
  notBeforeMs: number;
  /** Why the last attempt found no node; "" before the first. */
  because: string;
};

/** Schedules pods through the extender that is ready, as a Service by readiness would choose it. */
export class Scheduler {
  readonly #api: SimApi;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #extender: () => Extender | undefined;
  readonly #trace: (text: string) => void;
  readonly #bindAsked: (pod: SimPod) => void;
  readonly #nodeShare: number;
  readonly #accepts: (pod: SimPod) => boolean;
  /** Unbound pods, by key. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #binding = new Set<string>();
  #isBusy = false;
  #isPlanned = false;
  /** How often the scheduler asks for nothing: an answer is thrown away as if another plugin refused. */
  rejectAfterFilter = 0;

  constructor(parts: {
    readonly api: SimApi;
    readonly clock: Clock;
    readonly random: RandomSource;
    /** The extender that is ready now, if there is one. */
    readonly extender: () => Extender | undefined;
    readonly trace: (text: string) => void;
    /** Called right before the extender is asked to bind a pod. */
    readonly bindAsked?: (pod: SimPod) => void;
    /** The part of the nodes that a cycle looks at, as `percentageOfNodesToScore`; all unless given. */
    readonly nodeShare?: number;
    /** Which pods name this scheduler; all unless given. */
    readonly accepts?: (pod: SimPod) => boolean;
  }) {
    this.#api = parts.api;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#extender = parts.extender;
    this.#trace = parts.trace;
    this.#bindAsked = parts.bindAsked ?? (() => {});
    this.#nodeShare = parts.nodeShare ?? 1;
    this.#accepts = parts.accepts ?? (() => true);
    this.#api.listeners.add((change) => {
      if (change.collection === "pods") {
        const pod = change.value;
        if (pod === undefined || pod.facts.nodeName !== "" || pod.deletedAtMs !== undefined) {
          this.#waiting.delete(change.key);
          // An address may be free now.
          if (pod === undefined) this.#retrySoon();
        } else if (!this.#waiting.has(change.key) && this.#accepts(pod)) {
          this.#await(change.key);
        }
      } else if (change.collection !== "records") this.#retrySoon();
      this.#plan(0);
    });
  }

  /** Pods that wait for a node. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Takes over the pods that are there. Called once, and not needed when there are none yet. */
  start(): void {
    for (const key of this.#api.keys("pods")) {
      const pod = this.#api.get("pods", key);
      if (pod?.facts.nodeName === "" && pod.deletedAtMs === undefined) this.#await(key);
    }
    this.#plan(0);
  }

  /** Why the last attempt found no node for a pod; undefined when it does not wait or was not tried yet. */
  waitsBecause(key: string): string | undefined {
    const because = this.#waiting.get(key)?.because ?? "";
    return because === "" ? undefined : because;
  }

  #await(key: string): void {
    this.#waiting.set(key, { attempts: 0, notBeforeMs: this.#clock.nowMs(), because: "" });
  }

  /** Notes why a pod has to wait. @returns false, for a cycle that ends without a node */
  #refuse(key: string, because: string): false {
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) waiting.because = because;
    return false;
  }

  #retrySoon(): void {
    const nowMs = this.#clock.nowMs();
    for (const waiting of this.#waiting.values()) {
      waiting.notBeforeMs = Math.min(waiting.notBeforeMs, nowMs + firstBackoffMs);
    }
  }

  #plan(delayMs: number): void {
    if (this.#isPlanned || this.#isBusy) return;
    this.#isPlanned = true;
    this.#clock.after(delayMs, () => {
      this.#isPlanned = false;
      this.#next();
    });
  }

  #next(): void {
    const nowMs = this.#clock.nowMs();
    let soonestMs = Number.POSITIVE_INFINITY;
    let first: { readonly key: string; readonly pod: SimPod } | undefined;
    for (const [key, waiting] of this.#waiting) {
      if (this.#binding.has(key)) continue;
      if (waiting.notBeforeMs > nowMs) {
        soonestMs = Math.min(soonestMs, waiting.notBeforeMs);
        continue;
      }
      const pod = this.#api.get("pods", key);
      if (pod === undefined) continue;
      // As kube-scheduler does it: who makes room by preemption must not lose it to those before which it is served.
      if (first === undefined || pod.priority > first.pod.priority) first = { key, pod };
    }
    if (first !== undefined) {
      const { key, pod } = first;
      this.#isBusy = true;
      void this.#cycle(key, pod).then((isPlaced) => {
        this.#isBusy = false;
        if (!isPlaced) this.#backOff(key);
        this.#plan(1);
      });
      return;
    }
    if (soonestMs < Number.POSITIVE_INFINITY) this.#plan(Math.max(1, soonestMs - nowMs));
  }

  #backOff(key: string): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    waiting.attempts += 1;
    const pauseMs = Math.min(
      lastBackoffMs,
      firstBackoffMs * 2 ** Math.min(10, waiting.attempts - 1),
    );
    waiting.notBeforeMs = this.#clock.nowMs() + pauseMs;
  }

  /** One scheduling cycle. @returns whether the pod went on to be bound */
  async #cycle(key: string, pod: SimPod): Promise<boolean> {
    const offered = this.#nodesFor(pod);
    if (offered.length === 0) return this.#refuse(key, "no node is up that it may run on");
    const nodeNames = offered.map(({ facts }) => facts.name);
    if (!pod.facts.wantsAddress) {
      this.#bindPlainly(key, pod, this.#random.pick(nodeNames));
      return true;
    }
    const extender = this.#extender();
    if (extender === undefined) return this.#refuse(key, "no extender is ready");
    const request = { pod: pod.facts, nodeNames, internalIpsOf: () => undefined };
    const reply = await this.#within(filterLimitMs, extender.filter(request));
    if (reply === undefined || reply.kind === "untouched") {
      return this.#refuse(key, "the extender gave no answer");
    }
    if (reply.kind === "refused") {
      this.#trace(`scheduler: ${key} refused: ${reply.error}`);
      return this.#refuse(key, reply.error);
    }
    if (reply.passed.length === 0) {
      const because = [...reply.failed.values()][0] ?? "";
      this.#trace(`scheduler: ${key} has no node: ${because}`);
      if (pod.priority > 0) await this.#preempt(extender, pod, offered);
      return this.#refuse(key, because);
    }
    if (this.#random.chance(this.rejectAfterFilter)) return false;
    const passing = {
      ...request,
      nodeNames: reply.passed.map((index) => nodeNames[index] as string),
    };
    const scores = await this.#within(filterLimitMs, extender.prioritize(passing));
    const best = Math.max(...(scores ?? []).map(({ score }) => score));
    const top = (scores ?? [])
      .filter(({ score }) => score === best)
      .map(({ nodeName }) => nodeName);
    const nodeName = this.#random.pick(top.length > 0 ? top : passing.nodeNames);
    void this.#bind(key, pod, nodeName);
    return true;
  }

  /** Binding runs beside the next cycles; another extender may be ready by then. */
  async #bind(key: string, pod: SimPod, nodeName: string): Promise<void> {
    this.#binding.add(key);
    await this.#pause(this.#random.integer(0, 20));
    const extender = this.#extender();
    const { id, uid } = pod.facts;
    if (extender !== undefined) this.#bindAsked(pod);
    const reply =
      extender === undefined
        ? undefined
        : await this.#within(bindLimitMs, extender.bind({ pod: id, podUid: uid, nodeName }));
    this.#binding.delete(key);
    this.#trace(
      `scheduler: bind ${key} to ${nodeName}: ${reply === undefined ? "no answer" : reply.kind === "bound" ? "bound" : reply.error}`,
    );
    if (reply?.kind !== "bound") {
      this.#refuse(key, reply === undefined ? "bind gave no answer" : reply.error);
      this.#backOff(key);
    }
    this.#plan(1);
  }

  /** A pod without address is bound by the scheduler itself. */
  #bindPlainly(key: string, pod: SimPod, nodeName: string): void {
    this.#api.put("pods", key, { ...pod, facts: { ...pod.facts, nodeName } }, "scheduler");
  }

  /** Asks which nodes would do without their pods of lower priority, and deletes one pod there. */
  async #preempt(extender: Extender, pod: SimPod, offered: readonly SimNode[]): Promise<void> {
    const candidates = offered.map(({ facts }) => ({
      nodeName: facts.name,
      victimUids: this.#victimsOn(facts.name, pod.priority).map((victim) => victim.facts.uid),
    }));
    const kept = await this.#within(
      filterLimitMs,
      extender.preempt({
        pod: pod.facts,
        candidates: candidates.filter(({ victimUids }) => victimUids.length > 0),
      }),
    );
    const nodeName = kept?.[0];
    if (nodeName === undefined) return;
    const victim = this.#victimsOn(nodeName, pod.priority)[0];
    if (victim === undefined || victim.deletedAtMs !== undefined) return;
    this.#trace(`scheduler: preempts ${podKey(victim.facts.id)}`);
    this.#api.put(
      "pods",
      podKey(victim.facts.id),
      {
        ...victim,
        facts: { ...victim.facts, isTerminating: true },
        deletedAtMs: this.#clock.nowMs(),
      },
      "scheduler",
    );
  }

  #victimsOn(nodeName: string, priority: number): readonly SimPod[] {
    return this.#api
      .list("pods")
      .filter((pod) => pod.facts.nodeName === nodeName && pod.priority < priority);
  }

  /** Nodes that pass the scheduler's own filters. */
  #nodesFor(pod: SimPod): readonly SimNode[] {
    const nowMs = this.#clock.nowMs();
    return this.#api
      .list("nodes")
      .filter(
        (node) =>
          (node.isUp || nowMs - node.downSinceMs < nodeGraceMs) &&
          (pod.onlyNode === undefined || pod.onlyNode === node.facts.name) &&
          (pod.onlyNode !== undefined || this.#random.chance(this.#nodeShare)),
      );
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(delayMs, resolve);
    });
  }

  /** The answer, or undefined when it takes too long or the extender fails. */
  async #within<T>(limitMs: number, work: Promise<T>): Promise<T | undefined> {
    return await new Promise<T | undefined>((resolve) => {
      this.#clock.after(limitMs, () => resolve(undefined));
      work.then(resolve, (error: unknown) => {
        this.#trace(`scheduler: extender failed: ${String(error)}`);
        resolve(undefined);
      });
    });
  }
}
