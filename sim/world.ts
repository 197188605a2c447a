// One simulated world from its seed: built, driven through its operations, healed and judged. The same seed gives the same trace.

import { createHash } from "node:crypto";
import { SimApi } from "../src/adapters/simulated/api.ts";
import { Controllers } from "../src/adapters/simulated/controllers.ts";
import { podKey, workloadKey } from "../src/adapters/simulated/keys.ts";
import { Kubelets } from "../src/adapters/simulated/kubelets.ts";
import { Scheduler } from "../src/adapters/simulated/scheduler.ts";
import type { Ip } from "../src/core/ip.ts";
import { Topology } from "../src/core/subnets.ts";
import { ChangeLog } from "./change-log.ts";
import { ExtenderJudge } from "./extender-judge.ts";
import { Judge } from "./judge.ts";
import { MemoryCheck } from "./memory-check.ts";
import { calmNetwork } from "./network.ts";
import type { Fate } from "./operations.ts";
import { Operations } from "./operations.ts";
import { placeFor } from "./place-for.ts";
import type { SimLease } from "./process.ts";
import { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import type { OperationName, Swarm } from "./swarm.ts";
import { drawSwarm } from "./swarm.ts";
import { Timeline } from "./timeline.ts";
import { Violation } from "./violation.ts";
import { calmWatch } from "./watch.ts";

/** Two replicas, as an operator would run. */
const processCount = 2;

/** Milliseconds that a healed world gets: stalled watches, late calls, back-offs, and then two resyncs. */
const healMs = 180_000;

/** So long a pod may wait although an address is free for it: longer than the scheduler's longest back-off. */
const patienceMs = 30_000;

/** A watch stands still no longer: what the judge allows an old cache to be is more. */
const longestStaleMs = 20_000;

/** A scheduling cycle looks at so many of the nodes, so that pods change places. */
const scheduledNodeShare = 0.9;

/** What a run says. */
export type RunReport = {
  readonly seed: number;
  /** What went wrong; undefined when nothing did. */
  readonly failure: string | undefined;
  /** Digest of the trace. */
  readonly digest: string;
  readonly happeningCount: number;
};

/** A world. */
export class World {
  readonly #seed: number;
  readonly #random: Random;
  readonly #timeline = new Timeline();
  readonly #api: SimApi;
  readonly #log: ChangeLog;
  readonly #swarm: Swarm;
  readonly #judge: Judge;
  readonly #extenderJudge: ExtenderJudge;
  readonly #memoryCheck: MemoryCheck;
  readonly #kubelets: Kubelets;
  readonly #operations: Operations;
  readonly #lease: SimLease = { holder: "", expiresAtMs: 0 };
  readonly #processes: SimProcess[] = [];
  readonly #hash = createHash("sha256");
  readonly #print: ((line: string) => void) | undefined;
  readonly #schedulers: readonly Scheduler[];
  #processNumber = 0;
  #happenings = 0;
  #isFaulty = true;
  #violation: Error | undefined;

  constructor(seed: number, print: ((line: string) => void) | undefined) {
    this.#seed = seed;
    this.#print = print;
    this.#random = new Random(seed);
    this.#swarm = drawSwarm(this.#random.fork());
    const timeline = this.#timeline;
    const api = new SimApi(timeline);
    this.#api = api;
    this.#log = new ChangeLog(api);
    const trace = (text: string) => this.#trace(text);
    const { network, allowsOverstay } = this.#swarm;
    const isProcess = (writer: string) => writer.startsWith("ipam");
    const callsMayBeLate = network.happensLate > 0 || allowsOverstay;
    // There and back; of a decision the last read comes back, and the write goes there.
    const callMs = 2 * (network.slow > 0 ? network.slowMs : 15);
    const failedMs = (ip: Ip) =>
      Math.max(...this.#processes.map((each) => each.network.failedMs(ip)));
    const looseness = { callsMayBeLate, decisionMs: callMs + 1_000, failedMs };
    this.#judge = new Judge(api, looseness, isProcess);
    this.#extenderJudge = new ExtenderJudge({
      api,
      callsMayBeLate,
      callMs,
      isProcess,
      report: (violation) => {
        this.#violation ??= violation;
      },
    });
    this.#memoryCheck = new MemoryCheck(api);
    api.listeners.add((change) => {
      this.#trace(
        `${change.writer}: ${change.collection} ${change.key} ${change.value === undefined ? "removed" : "written"}`,
      );
    });
    const random = () => this.#random.fork();
    this.#kubelets = new Kubelets({ api, clock: timeline, random: random(), trace });
    const controllers = new Controllers({ api, clock: timeline, random: random(), trace });
    // With several schedulers one filter runs while another does.
    const { schedulerCount } = this.#swarm;
    this.#schedulers = Array.from({ length: schedulerCount }, (_, index) => {
      const scheduler = new Scheduler({
        api,
        clock: timeline,
        random: random(),
        extender: () => {
          const process = this.#ready();
          return process && this.#extenderJudge.listenTo(process);
        },
        trace,
        nodeShare: scheduledNodeShare,
        bindAsked: (pod) => this.#judge.noteBindAsked(pod),
        accepts: ({ facts }) => Number(facts.uid.slice("uid-".length)) % schedulerCount === index,
      });
      scheduler.rejectAfterFilter = this.#swarm.rejectAfterFilter;
      return scheduler;
    });
    this.#operations = new Operations({
      api,
      random: random(),
      swarm: this.#swarm,
      kubelets: this.#kubelets,
      fate: (name) => this.#fate(name),
      after: (delayMs, action) => {
        timeline.after(delayMs, () => {
          if (this.#isFaulty) action();
        });
      },
    });
    this.#kubelets.start();
    controllers.start();
  }

  /** Runs the world to its end. */
  async run(operationCount: number): Promise<RunReport> {
    const onRejection = (error: unknown) => {
      this.#violation ??= error instanceof Error ? error : new Error(String(error));
    };
    process.on("unhandledRejection", onRejection);
    try {
      await this.#live(operationCount);
    } catch (error) {
      onRejection(error);
    } finally {
      process.off("unhandledRejection", onRejection);
      for (const each of this.#processes) each.kill();
    }
    const error = this.#violation;
    if (error !== undefined) this.#trace(`FAILED ${error.stack ?? error.message}`);
    return {
      seed: this.#seed,
      failure:
        error === undefined
          ? undefined
          : error instanceof Violation
            ? error.message
            : (error.stack ?? error.message),
      digest: this.#hash.digest("hex"),
      happeningCount: this.#happenings,
    };
  }

  async #live(operationCount: number): Promise<void> {
    const { subnets, nodes, operations } = this.#swarm;
    for (const { name, ip } of nodes) {
      this.#api.put("nodes", name, {
        facts: { name, internalIps: [ip] },
        isUp: true,
        downSinceMs: 0,
      });
    }
    this.#api.put("config", "config", { kind: "valid", subnets }, "operator");
    for (let count = 0; count < processCount; count += 1) this.#startProcess();
    await this.#pass(3_000);
    const random = this.#random.fork();
    for (let count = 0; count < operationCount; count += 1) {
      const name = random.weighted<OperationName>(operations);
      this.#trace(`operation ${name}: ${this.#operations.run(name)}`);
      await this.#pass(
        random.chance(0.1) ? random.integer(1_000, 40_000) : random.integer(1, 2_000),
      );
      this.#memoryCheck.look(this.#ready());
    }
    this.#heal();
    await this.#pass(healMs);
    // A pod that waits while others come and go is none that waits for ever.
    const waiting = this.#pendingThatFit();
    await this.#pass(waiting.length === 0 ? 0 : patienceMs);
    this.#judgeQuiet(waiting);
  }

  async #pass(ms: number): Promise<void> {
    await this.#timeline.runUntil(this.#timeline.nowMs() + ms, () => {
      this.#happenings += 1;
      const violation = this.#violation ?? this.#judge.violation;
      if (violation !== undefined) throw violation;
    });
  }

  /** The process that answers the scheduler, as a Service by readiness would choose it. */
  #ready(): SimProcess | undefined {
    return this.#processes.find((each) => each.isAlive && each.service.readiness().isReady);
  }

  #startProcess(): void {
    this.#processNumber += 1;
    const started = new SimProcess({
      name: `ipam${this.#processNumber}`,
      api: this.#api,
      log: this.#log,
      timeline: this.#timeline,
      random: this.#random.fork(),
      lease: this.#lease,
      trace: (text) => this.#trace(text),
      observer: { event: (note) => this.#judge.noteEvent(note), poolStatus: () => {} },
    });
    if (this.#isFaulty) started.setFaults(this.#swarm.network, this.#swarm.watch);
    this.#processes.push(started);
    started.start();
  }

  #fate(name: Fate): void {
    const alive = this.#processes.filter(({ isAlive }) => isAlive);
    if (alive.length === 0) return;
    const victim = this.#random.pick(alive);
    const restMs = this.#random.integer(10, 30_000);
    this.#trace(`fate: ${name} ${victim.name}`);
    if (name === "stale workloads") {
      // The API server is behind with its watches, so that all of them hear nothing.
      const stillMs = Math.min(restMs, longestStaleMs);
      for (const each of alive) each.keepStaleWorkloads(stillMs);
    } else if (name === "crash process") {
      victim.kill();
      this.#judge.noteCrash();
      this.#processes.splice(this.#processes.indexOf(victim), 1);
      this.#timeline.after(restMs, () => this.#startProcess());
    } else if (name === "overstay leader") {
      // Its renewals fail while it goes on believing.
      victim.overstayMs = restMs;
      this.#timeline.after(restMs, () => {
        victim.overstayMs = 0;
      });
      if (this.#lease.holder === victim.name) this.#lease.expiresAtMs = this.#timeline.nowMs();
    } else {
      victim.network.isCut = true;
      this.#timeline.after(restMs, () => {
        victim.network.isCut = false;
      });
    }
  }

  /** Ends all faults: what is broken is mended, what is down comes back. */
  #heal(): void {
    this.#trace("heal");
    this.#isFaulty = false;
    this.#judge.noteCalm();
    for (const each of this.#processes) {
      each.setFaults(calmNetwork, calmWatch);
      each.network.isCut = false;
      each.overstayMs = 0;
    }
    for (const scheduler of this.#schedulers) scheduler.rejectAfterFilter = 0;
    // Their pods come and go for ever; nothing would ever be quiet.
    for (const workload of this.#api.list("workloads")) {
      const { kind, ref } = workload;
      if (kind === "job") this.#api.remove("workloads", workloadKey(kind, ref.namespace, ref.name));
    }
    for (const node of this.#api.list("nodes")) {
      if (!node.isUp) this.#kubelets.startNode(node.facts.name);
    }
    if (this.#api.get("config", "config")?.kind !== "valid") {
      this.#api.put(
        "config",
        "config",
        { kind: "valid", subnets: this.#swarm.subnets },
        "operator",
      );
    }
  }

  #judgeQuiet(waitedBefore: readonly string[]): void {
    const leader = this.#ready();
    if (leader === undefined)
      throw new Violation("somebody leads", "no process is ready in a healed world");
    const problems = [
      ...this.#judge.quietProblems(leader.service.allocator.view.all()),
      ...this.#pendingThatFit().filter((problem) => waitedBefore.includes(problem)),
    ];
    if (problems.length > 0) throw new Violation("quiet world", problems.join("\n  "));
  }

  /** Pods that wait although an address for them is there. */
  #pendingThatFit(): readonly string[] {
    const config = this.#api.get("config", "config");
    if (config?.kind !== "valid") return [];
    const topology = new Topology(config.subnets);
    return this.#api.list("pods").flatMap((pod) => {
      const place = placeFor(pod, this.#api, topology);
      if (place === undefined) return [];
      const { id, uid, policy } = pod.facts;
      return [
        `pod ${podKey(id)} (${uid}, policy ${policy}) waits although node ${place} has addresses for it`,
      ];
    });
  }

  #trace(text: string): void {
    const line = `${this.#timeline.nowMs()} ${text}`;
    this.#hash.update(line).update("\n");
    this.#print?.(line);
  }
}
