// A simulated cluster without faults for scenarios: the API server, controllers, kubelets and scheduler with two processes of the real use
// cases, and the simulator's judge watching. It does what it is told; what is expected of it is compared in play.ts.

import { SimApi } from "../../src/adapters/simulated/api.ts";
import { Controllers } from "../../src/adapters/simulated/controllers.ts";
import { podKey, workloadKey } from "../../src/adapters/simulated/keys.ts";
import { Kubelets } from "../../src/adapters/simulated/kubelets.ts";
import { deletePod, evictPod } from "../../src/adapters/simulated/pod-verbs.ts";
import { Scheduler } from "../../src/adapters/simulated/scheduler.ts";
import { parseIp } from "../../src/core/ip.ts";
import type { EventNote } from "../../src/ports/event-recorder.ts";
import type { PoolStatus } from "../../src/ports/pool-store.ts";
import { ChangeLog } from "../change-log.ts";
import { Judge } from "../judge.ts";
import { refOf } from "../operations.ts";
import type { SimLease } from "../process.ts";
import { SimProcess } from "../process.ts";
import { Random } from "../random.ts";
import { Timeline } from "../timeline.ts";
import type { JsonObject } from "./manifests.ts";
import { clusterObjectOf } from "./manifests.ts";
import type { ObjectName, ScenarioWorkloadKind } from "./scenario.ts";

/** Two replicas, as an operator would run. */
const processCount = 2;

/** When nothing changed for so long, nothing will: longer than the scheduler's longest back-off and a node's grace. */
const quietMs = 30_000;

/** A world that is not quiet by then never will be. */
const longestSettlingMs = 900_000;

/** What cannot be done; the message says why. */
export class Impossible extends Error {}

/** A cluster. */
export class ScenarioCluster {
  readonly api: SimApi;
  /** Events since they were last taken. */
  readonly events: EventNote[] = [];
  readonly #poolStatuses = new Map<string, PoolStatus>();
  readonly #timeline = new Timeline();
  readonly #random = new Random(1);
  readonly #lease: SimLease = { holder: "", expiresAtMs: 0 };
  readonly #log: ChangeLog;
  readonly #judge: Judge;
  readonly #kubelets: Kubelets;
  readonly #processes: SimProcess[] = [];
  readonly #trace: (text: string) => void;
  readonly #startMs: number;
  #processNumber = 0;
  #lastChangeMs: number;
  #lastChange = "";
  #rejection: Error | undefined;

  /** @param print is called with each line of the trace */
  constructor(print: (line: string) => void) {
    const timeline = this.#timeline;
    this.#startMs = timeline.nowMs();
    this.#lastChangeMs = this.#startMs;
    const trace = (text: string) => print(`${(timeline.nowMs() - this.#startMs) / 1000} s ${text}`);
    this.#trace = trace;
    const api = new SimApi(timeline);
    this.api = api;
    this.#log = new ChangeLog(api);
    this.#judge = new Judge(api, { callsMayBeLate: false, decisionMs: 2_000 }, (writer) =>
      writer.startsWith("ipam"),
    );
    api.listeners.add(({ collection, key, value, writer }) => {
      this.#lastChangeMs = timeline.nowMs();
      this.#lastChange = `${writer}: ${collection} ${key} ${value === undefined ? "removed" : "written"}`;
      trace(this.#lastChange);
    });
    const random = () => this.#random.fork();
    this.#kubelets = new Kubelets({ api, clock: timeline, random: random(), trace });
    const controllers = new Controllers({ api, clock: timeline, random: random(), trace });
    const scheduler = new Scheduler({
      api,
      clock: timeline,
      random: random(),
      extender: () => this.leader()?.service.scheduling,
      trace,
      bindAsked: (pod) => this.#judge.noteBindAsked(pod),
    });
    if (scheduler.waitingCount > 0) throw new TypeError("an empty cluster has waiting pods");
    this.#kubelets.start();
    controllers.start();
  }

  /** Simulated time since the beginning, seconds. */
  get seconds(): number {
    return (this.#timeline.nowMs() - this.#startMs) / 1000;
  }

  /** Starts the processes; one of them leads a moment later. */
  async start(): Promise<void> {
    for (let count = 0; count < processCount; count += 1) this.#startProcess();
    await this.pass(3_000);
  }

  /** Ends everything. */
  stop(): void {
    for (const each of this.#processes) each.kill();
  }

  #startProcess(): void {
    this.#processNumber += 1;
    const started = new SimProcess({
      name: `ipam${this.#processNumber}`,
      api: this.api,
      log: this.#log,
      timeline: this.#timeline,
      random: this.#random.fork(),
      lease: this.#lease,
      trace: this.#trace,
      observer: {
        event: (note) => {
          this.events.push(note);
          this.#judge.noteEvent(note);
        },
        poolStatus: (pool, status) =>
          this.#poolStatuses.set(`${pool.namespace}/${pool.name}`, status),
      },
    });
    this.#processes.push(started);
    started.start();
  }

  /** The process that answers the scheduler. */
  leader(): SimProcess | undefined {
    return this.#processes.find((each) => each.isAlive && each.service.readiness().isReady);
  }

  /** The status that was last written to a Pool. */
  poolStatus(key: string): PoolStatus | undefined {
    return this.#poolStatuses.get(key);
  }

  /**
   * Lets time pass.
   * @throws the judge's Violation, or whatever the use cases threw at nobody
   */
  async pass(ms: number): Promise<void> {
    const onRejection = (error: unknown) => {
      this.#rejection ??= error instanceof Error ? error : new Error(String(error));
    };
    process.on("unhandledRejection", onRejection);
    try {
      await this.#timeline.runUntil(this.#timeline.nowMs() + ms, () => {
        const { violation } = this.#judge;
        if (violation !== undefined) throw violation;
        if (this.#rejection !== undefined) throw this.#rejection;
      });
    } finally {
      process.off("unhandledRejection", onRejection);
    }
  }

  /** Lets time pass until nothing has changed for {@link quietMs}. */
  async settle(): Promise<void> {
    const startedMs = this.#timeline.nowMs();
    const quietFromMs = () => Math.max(startedMs, this.#lastChangeMs) + quietMs;
    while (this.#timeline.nowMs() < quietFromMs()) {
      if (this.#timeline.nowMs() - startedMs > longestSettlingMs) {
        throw new Impossible(
          `the cluster still changes after ${longestSettlingMs / 1000} s (last: ${this.#lastChange}); use "wait Ns" instead of "settle"`,
        );
      }
      await this.pass(1_000);
    }
  }

  /** Waits for an answer, for which time has to pass. */
  async answer<T>(question: Promise<T>): Promise<T> {
    const settled = new AbortController();
    const end = () => settled.abort();
    question.then(end, end);
    for (let waits = 0; !settled.signal.aborted; waits += 1) {
      if (waits === 1_000) throw new Impossible("there is no answer after 10 s");
      await this.pass(10);
    }
    return await question;
  }

  /** What the judge says against a world in which nothing happens any more. */
  quietProblems(): readonly string[] {
    const leader = this.leader();
    if (leader === undefined) return ["no process is ready"];
    return this.#judge.quietProblems(leader.service.allocator.view.all());
  }

  /** The process that leads dies; its successor starts when it is missed. */
  killLeader(): void {
    const leader = this.leader();
    if (leader === undefined) throw new Impossible("no process leads");
    this.#trace(`${leader.name} dies`);
    leader.kill();
    this.#processes.splice(this.#processes.indexOf(leader), 1);
    this.#startProcess();
  }

  /** Creates an object or changes the one that is there, as `kubectl apply` does. */
  apply(json: JsonObject): void {
    const { api } = this;
    const made = clusterObjectOf(json);
    switch (made.kind) {
      case "problem":
        throw new Impossible(made.problem);
      case "passive":
        return;
      case "config":
        api.put("config", "config", made.config, "operator");
        return;
      case "pool": {
        const key = `${made.pool.namespace}/${made.pool.name}`;
        const there = api.get("pools", key);
        api.put(
          "pools",
          key,
          {
            ...made.pool,
            uid: there?.uid ?? api.newUid(),
            createdAtMs: there?.createdAtMs ?? api.nowMs(),
            version: api.nextVersion(),
          },
          "user",
        );
        return;
      }
      case "quota": {
        const { name } = made.quota;
        const uid = api.get("quotas", name)?.uid ?? api.newUid();
        api.put("quotas", name, { ...made.quota, uid, version: api.nextVersion() }, "user");
        return;
      }
      case "record":
        api.put(
          "records",
          made.record.ip,
          { ...made.record, updatedAtMs: api.nowMs(), version: api.nextVersion() },
          "operator",
        );
        return;
      case "pod": {
        const key = podKey(made.pod.facts.id);
        if (api.get("pods", key) !== undefined) throw new Impossible(`pod ${key} is there already`);
        const facts = { ...made.pod.facts, uid: api.newUid(), createdAtMs: api.nowMs() };
        api.put("pods", key, { ...made.pod, facts, revision: 1 }, "user");
        return;
      }
      case "workload": {
        const { kind, ref, template } = made.workload;
        const key = workloadKey(kind, ref.namespace, ref.name);
        const there = api.get("workloads", key);
        const { revision: before = 0, ...asked } = there?.template ?? {};
        const { revision: _, ...asks } = template;
        const isSame = JSON.stringify(asked) === JSON.stringify(asks);
        const revision = isSame ? before : before + 1;
        api.put(
          "workloads",
          key,
          {
            ...made.workload,
            template: { ...template, revision },
            uid: there?.uid ?? api.newUid(),
          },
          "user",
        );
        return;
      }
      default:
        made satisfies never;
    }
  }

  /** Rolls the same template out again, as `kubectl rollout restart` does. */
  roll(kind: ScenarioWorkloadKind, { namespace, name }: ObjectName): void {
    const key = this.#workload(kind, { namespace, name });
    this.api.change("workloads", key, (workload) => ({
      ...workload,
      template: { ...workload.template, revision: workload.template.revision + 1 },
    }));
  }

  /** Deletes a workload; its pods go because their owner is gone. */
  deleteWorkload(kind: ScenarioWorkloadKind, object: ObjectName): void {
    this.api.remove("workloads", this.#workload(kind, object), "user");
  }

  deletePod(object: ObjectName, isForced: boolean): void {
    const outcome = deletePod(this.api, podKey(object), { force: isForced, writer: "user" });
    if (outcome === "absent") throw new Impossible(`there is no pod ${podKey(object)}`);
  }

  evictPod(object: ObjectName): void {
    if (!evictPod(this.api, podKey(object))) {
      throw new Impossible(`there is no running pod ${podKey(object)}`);
    }
  }

  deletePool({ namespace, name }: ObjectName): void {
    if (!this.api.remove("pools", `${namespace}/${name}`, "user")) {
      throw new Impossible(`there is no Pool ${namespace}/${name}`);
    }
  }

  addNode(name: string, address: string): void {
    const ip = parseIp(address);
    if (ip === undefined) throw new Impossible(`"${address}" is no address of a node`);
    if (this.api.get("nodes", name) !== undefined) throw new Impossible(`node ${name} is there`);
    this.api.put("nodes", name, {
      facts: { name, internalIps: [ip] },
      isUp: true,
      downSinceMs: 0,
    });
  }

  /** Makes a node silent, brings it back, or deletes its object. */
  changeNode(name: string, change: "stop node" | "start node" | "delete node"): void {
    const node = this.api.get("nodes", name);
    if (node === undefined) throw new Impossible(`there is no node ${name}`);
    if (change === "delete node") this.api.remove("nodes", name, "user");
    else if (change === "stop node") this.#kubelets.stopNode(name);
    else this.#kubelets.startNode(name);
  }

  deleteRecord(address: string): void {
    if (!this.api.remove("records", address, "operator")) {
      throw new Impossible(`there is no record of ${address}`);
    }
  }

  #workload(kind: ScenarioWorkloadKind, { namespace, name }: ObjectName): string {
    const ref = refOf(kind, namespace, name);
    const key = workloadKey(kind, ref.namespace, ref.name);
    if (this.api.get("workloads", key) === undefined) {
      throw new Impossible(`there is no ${kind} ${namespace}/${name}`);
    }
    return key;
  }
}
