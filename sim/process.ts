// One process of galaxy-ipam in the simulated world: the real use cases of src/ over ports that reach the simulated API server through a
// faulty network and lagging watches. It can be killed between any two awaits; what it had sent may still happen.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import type { SimWorkload } from "../src/adapters/simulated/objects.ts";
import {
  keyOfRef,
  ownershipOfPod,
  replicaSetKeyOf,
  stateOfWorkload,
} from "../src/adapters/simulated/workload-facts.ts";
import type { Allocation } from "../src/core/allocation.ts";
import type { NodeFacts, PodFacts, PoolFacts } from "../src/core/facts.ts";
import type { Ip } from "../src/core/ip.ts";
import { parseIp } from "../src/core/ip.ts";
import { parsePodIdText, podIdText } from "../src/core/owner.ts";
import { IpamService } from "../src/ipam/ipam-service.ts";
import type { AllocationEvent, AllocationStore } from "../src/ports/allocation-store.ts";
import type { Clock } from "../src/ports/clock.ts";
import type { ClusterEvent, ClusterView } from "../src/ports/cluster-view.ts";
import type { EventNote, ObjectRef } from "../src/ports/event-recorder.ts";
import type { Leadership } from "../src/ports/leadership.ts";
import type { Log } from "../src/ports/log.ts";
import type { BindOutcome, PodBinder } from "../src/ports/pod-binder.ts";
import type { PoolStatus, PoolStore, PoolWriteOutcome } from "../src/ports/pool-store.ts";
import type { QuotaStore } from "../src/ports/quota-store.ts";
import { WorldError } from "../src/ports/world-error.ts";
import type { ChangeLog } from "./change-log.ts";
import type { NetworkFaults } from "./network.ts";
import { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";
import type { WatchFaults } from "./watch.ts";
import { SimWatch } from "./watch.ts";

/** The Lease as the API server has it. */
export type SimLease = { holder: string; expiresAtMs: number };

/** Times of the election and of the control plane, milliseconds. */
const leaseMs = 15_000;
const renewLimitMs = 10_000;
const retryMs = 2_000;
const resyncMs = 30_000;
/** How long a promise of filter stands. */
export const holdMs = 20_000;

/** What the world gives to a process. */
export type ProcessParts = {
  readonly name: string;
  readonly api: SimApi;
  readonly log: ChangeLog;
  readonly timeline: Timeline;
  readonly random: Random;
  readonly lease: SimLease;
  readonly trace: (text: string) => void;
  /** Told of what operators would see; nobody by default. */
  readonly observer?: ProcessObserver;
};

/** What of a process operators see besides objects. */
export type ProcessObserver = {
  event(note: EventNote): void;
  poolStatus(pool: PoolFacts, status: PoolStatus): void;
};

/** The ConfigMap of the configuration, for events. */
const configMapRef: ObjectRef = {
  apiVersion: "v1",
  kind: "ConfigMap",
  namespace: "kube-system",
  name: "floatingip-config",
  uid: "uid-floatingip-config",
};

/** A process from its start to its death. */
export class SimProcess {
  readonly name: string;
  readonly service: IpamService;
  readonly network: Network;
  /** A process that was paused for a while still believes that it leads: so much longer than its lease allows. */
  overstayMs = 0;
  isAlive = true;
  /** Counts its turns of leadership. */
  turn = 0;
  readonly #parts: ProcessParts;
  readonly #watches: readonly { faults: WatchFaults; stop(): void }[];
  readonly #clusterListeners = new Set<(event: ClusterEvent) => void>();
  readonly #recordListeners = new Set<(event: AllocationEvent) => void>();
  readonly #poolListeners = new Set<(name: string) => void>();
  readonly #pods: SimWatch<"pods">;
  readonly #nodes: SimWatch<"nodes">;
  readonly #workloads: SimWatch<"workloads">;
  readonly #pools: SimWatch<"pools">;
  readonly #config: SimWatch<"config">;
  readonly #quotas: SimWatch<"quotas">;
  #leads = false;
  #leadsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: ProcessParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.network = new Network(parts.timeline, parts.random.fork(), (text) =>
      parts.trace(`${parts.name} ${text}`),
    );
    const watchParts = () => ({
      api: parts.api,
      log: parts.log,
      timeline: parts.timeline,
      random: parts.random.fork(),
    });
    const tellCluster = (event: ClusterEvent) => {
      for (const listener of this.#clusterListeners) listener(event);
    };
    this.#pods = new SimWatch(watchParts(), "pods", (key) =>
      tellCluster({ kind: "pod", pod: parsePodIdText(key) }),
    );
    this.#nodes = new SimWatch(watchParts(), "nodes", () => tellCluster({ kind: "nodes" }));
    const lastSeen = new Map<string, SimWorkload>();
    this.#workloads = new SimWatch(watchParts(), "workloads", (key, value) => {
      const known = value ?? lastSeen.get(key);
      if (value !== undefined) lastSeen.set(key, value);
      if (known !== undefined && known.deployment === undefined) {
        tellCluster({ kind: "workload", workload: known.ref });
      }
    });
    this.#pools = new SimWatch(watchParts(), "pools", (key) => {
      for (const listener of this.#poolListeners) listener(parsePodIdText(key).name);
    });
    const records = new SimWatch(
      watchParts(),
      "records",
      (key, value) => {
        const ip = parseIp(key) as Ip;
        const event: AllocationEvent =
          value === undefined ? { kind: "removed", ip } : { kind: "changed", allocation: value };
        for (const listener of this.#recordListeners) listener(event);
      },
      // As the port promises no more, so that the product has to compare by itself.
      { tells: "reset only", relisted: () => this.#tellReset() },
    );
    this.#config = new SimWatch(watchParts(), "config", () => this.#configure());
    // Made last: what the others draw stays what it was.
    this.#quotas = new SimWatch(watchParts(), "quotas", () => {});
    this.#watches = [
      this.#pods,
      this.#nodes,
      this.#workloads,
      this.#pools,
      records,
      this.#config,
      this.#quotas,
    ];
    this.service = new IpamService(
      {
        store: this.#store(),
        pools: this.#poolStore(),
        quotas: this.#quotaStore(),
        cluster: this.#clusterView(),
        binder: this.#binder(),
        events: {
          record: (note) => {
            this.#trace(`event ${note.reason}: ${note.message}`);
            parts.observer?.event(note);
          },
        },
        clock: this.#clock(),
        leadership: this.#leadership(),
        log: this.#log(),
        metrics: { count: () => {}, time: () => {} },
      },
      {
        holdMs,
        reuseDelayMs: 10_000,
        promiseWaitMs: 500,
        resyncMs,
        reclaimParallelCount: 4,
        queueCapacity: 100_000,
      },
    );
  }

  setFaults(network: NetworkFaults, watch: WatchFaults): void {
    this.network.faults = network;
    for (const each of this.#watches) each.faults = watch;
  }

  /** What it knows of workloads stays as it is for a time. */
  keepStaleWorkloads(ms: number): void {
    this.#workloads.standStill(ms);
  }

  /** Begins to work. */
  start(): void {
    this.service.start();
    this.#configure();
    void this.#untilDone(() => this.service.follow()).then(() => this.#elect());
  }

  /** Dies at once. Nothing that it waits for ever comes. */
  kill(): void {
    this.isAlive = false;
    this.#leads = false;
    this.network.kill();
    for (const watch of this.#watches) watch.stop();
  }

  #trace(text: string): void {
    this.#parts.trace(`${this.name} ${text}`);
  }

  #tellReset(): void {
    for (const listener of this.#recordListeners) listener({ kind: "reset" });
  }

  #configure(): void {
    const config = this.#config.items.get("config");
    this.service.configure(
      config === undefined
        ? { kind: "missing", problem: "there is no ConfigMap" }
        : config.kind === "broken"
          ? { kind: "invalid", problems: config.problems ?? ["the text is broken"] }
          : { kind: "valid", subnets: config.subnets, warnings: [] },
      config === undefined ? undefined : configMapRef,
    );
  }

  async #untilDone(action: () => Promise<void>): Promise<void> {
    while (this.isAlive) {
      try {
        await action();
        return;
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
        await this.#parts.timeline.pause(1_000);
      }
    }
  }

  #isLeader(): boolean {
    return (
      this.isAlive &&
      this.#leads &&
      this.#parts.timeline.nowMs() < this.#leadsUntilMs + this.overstayMs
    );
  }

  /** The rules of client-go: take a free or expired lease, renew ours, give up when it could not be renewed in time. */
  async #elect(): Promise<void> {
    const { lease, timeline } = this.#parts;
    while (this.isAlive) {
      const startedMs = timeline.nowMs();
      let holds = false;
      try {
        holds = await this.network.call("renew the lease", true, () => {
          const nowMs = timeline.nowMs();
          if (lease.holder !== this.name && nowMs < lease.expiresAtMs) return false;
          lease.holder = this.name;
          lease.expiresAtMs = nowMs + leaseMs;
          return true;
        });
        if (!holds && this.#leads && this.overstayMs === 0) this.#lose();
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
      }
      if (holds) {
        // Whoever waits for leadership may have given up while it had lapsed.
        if (this.#leads && !this.#isLeader()) this.#lose();
        this.#leadsUntilMs = startedMs + renewLimitMs;
        if (!this.#leads) {
          this.#leads = true;
          this.turn += 1;
          this.#trace("leads");
          void this.#untilDone(async () => {
            if (this.#isLeader()) await this.service.startLeading();
          });
        }
      } else if (this.#leads && !this.#isLeader()) this.#lose();
      await timeline.pause(retryMs);
    }
  }

  #lose(): void {
    this.#leads = false;
    this.#trace("leads no more");
    void this.service.stopLeading();
  }

  #leadership(): Leadership {
    return {
      isLeader: () => this.#isLeader(),
      leaderName: () => this.#parts.lease.holder,
    };
  }

  #clock(): Clock {
    const { timeline } = this.#parts;
    return {
      nowMs: () => timeline.nowMs(),
      after: (delayMs, action) =>
        timeline.after(delayMs, () => {
          if (this.isAlive) action();
        }),
    };
  }

  #log(): Log {
    const line =
      (level: string) =>
      (message: string, fields?: object, cause?: unknown): void => {
        const reason = cause instanceof Error ? ` (${cause.message})` : "";
        this.#trace(`${level} ${message} ${JSON.stringify(fields ?? {})}${reason}`);
      };
    return { error: line("error"), warn: line("warn"), info: line("info"), debug: () => {} };
  }

  #store(): AllocationStore {
    const { api } = this.#parts;
    const write = (allocation: Allocation): Allocation => {
      const stored = { ...allocation, version: api.nextVersion() };
      api.put("records", allocation.ip, stored, this.name);
      return stored;
    };
    return {
      list: () => this.network.call("list records", false, () => api.list("records")),
      read: (ip) => this.network.call(`read record ${ip}`, false, () => api.get("records", ip)),
      create: (allocation) =>
        this.network.call(`create record ${allocation.ip}`, true, () =>
          api.get("records", allocation.ip) === undefined
            ? { kind: "created", allocation: write(allocation) }
            : { kind: "exists" },
        ),
      update: (allocation) =>
        this.network.call(`update record ${allocation.ip}`, true, () => {
          const version = api.version("records", allocation.ip);
          if (version === undefined) return { kind: "missing" };
          if (version !== allocation.version) return { kind: "conflict" };
          return { kind: "updated", allocation: write(allocation) };
        }),
      remove: (allocation) =>
        this.network.call(`remove record ${allocation.ip}`, true, () => {
          const version = api.version("records", allocation.ip);
          if (version === undefined) return { kind: "missing" };
          if (version !== allocation.version) return { kind: "conflict" };
          api.remove("records", allocation.ip, this.name);
          return { kind: "removed" };
        }),
      watch: (listener) => {
        this.#recordListeners.add(listener);
        return () => this.#recordListeners.delete(listener);
      },
    };
  }

  #poolStore(): PoolStore {
    const { api } = this.#parts;
    const keyOf = (pool: PoolFacts) => `${pool.namespace}/${pool.name}`;
    return {
      all: () => [...this.#pools.items.values()],
      write: (pool) =>
        this.network.call(`write pool ${pool.name}`, true, (): PoolWriteOutcome => {
          const version = api.get("pools", keyOf(pool))?.version ?? "";
          if (version !== pool.version) return { kind: "conflict" };
          const written = { ...pool, version: api.nextVersion() };
          api.put("pools", keyOf(pool), written, this.name);
          return { kind: "written", pool: written };
        }),
      remove: (pool) =>
        this.network.call(`remove pool ${pool.name}`, true, () => {
          const version = api.get("pools", keyOf(pool))?.version;
          if (version === undefined) return { kind: "missing" as const };
          if (version !== pool.version) return { kind: "conflict" as const };
          api.remove("pools", keyOf(pool), this.name);
          return { kind: "removed" as const };
        }),
      writeStatus: (pool, status) =>
        this.network.call(`write the status of pool ${pool.name}`, true, () => {
          this.#parts.observer?.poolStatus(pool, status);
        }),
      watch: (listener) => {
        this.#poolListeners.add(listener);
        return () => this.#poolListeners.delete(listener);
      },
    };
  }

  /** Read only: in these worlds operators write quotas. */
  #quotaStore(): QuotaStore {
    const refused = () =>
      Promise.reject(
        new WorldError("API_REJECTED", { tried: "write a quota", message: "it may only be read" }),
      );
    return { all: () => [...this.#quotas.items.values()], write: refused, remove: refused };
  }

  #binder(): PodBinder {
    const { api } = this.#parts;
    return {
      bind: ({ pod, nodeName, ipInfos }) =>
        this.network.call(`bind pod ${podIdText(pod.id)}`, true, (): BindOutcome => {
          const key = podIdText(pod.id);
          const there = api.get("pods", key);
          if (there === undefined || there.facts.uid !== pod.uid) return { kind: "gone" };
          if (there.facts.nodeName !== "") {
            return there.facts.nodeName === nodeName
              ? { kind: "bound" }
              : { kind: "bound-elsewhere", nodeName: there.facts.nodeName };
          }
          if (there.deletedAtMs !== undefined) {
            throw new WorldError("API_REJECTED", {
              tried: `bind pod ${key}`,
              message: "the pod is being deleted",
            });
          }
          const assignedIps = ipInfos.map(({ ip }) => parseIp(ip.split("/")[0] ?? "") as Ip);
          const facts: PodFacts = { ...there.facts, nodeName, assignedIps };
          api.put("pods", key, { ...there, facts }, this.name);
          return { kind: "bound" };
        }),
    };
  }

  #clusterView(): ClusterView {
    const { api } = this.#parts;
    return {
      pod: (id) => this.#pods.items.get(podIdText(id))?.facts,
      pods: () => [...this.#pods.items.values()].map(({ facts }) => facts),
      carriersOf: (ip) =>
        [...this.#pods.items.values()]
          .map(({ facts }) => facts)
          .filter(({ assignedIps }) => assignedIps.includes(ip)),
      readPod: (id) =>
        this.network.call(
          `read pod ${podIdText(id)}`,
          false,
          (): PodFacts | "gone" => api.get("pods", podIdText(id))?.facts ?? "gone",
        ),
      node: (name) => this.#nodes.items.get(name)?.facts,
      nodes: () => [...this.#nodes.items.values()].map(({ facts }) => facts),
      readNode: (name) =>
        this.network.call(
          `read node ${name}`,
          false,
          (): NodeFacts | "gone" => api.get("nodes", name)?.facts ?? "gone",
        ),
      ownershipOf: (pod) =>
        ownershipOfPod(pod, this.#workloads.items.get(replicaSetKeyOf(pod) ?? "")),
      readOwnershipOf: (pod) =>
        this.network.call(`read the owner of pod ${podIdText(pod.id)}`, false, () =>
          ownershipOfPod(pod, api.get("workloads", replicaSetKeyOf(pod) ?? "")),
        ),
      workload: (ref) => stateOfWorkload(this.#workloads.items.get(keyOfRef(ref)), ref),
      readWorkload: (ref) =>
        this.network.call(`read ${ref.kind} ${ref.namespace}/${ref.name}`, false, () =>
          stateOfWorkload(api.get("workloads", keyOfRef(ref)), ref),
        ),
      watch: (listener) => {
        this.#clusterListeners.add(listener);
        return () => this.#clusterListeners.delete(listener);
      },
    };
  }
}
