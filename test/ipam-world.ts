// The control plane over the memory adapters: a world in which use cases are tested step by step. Time stands still until a test moves it.

import { MemoryAllocationStore } from "../src/adapters/memory/allocation-store.ts";
import { ManualClock } from "../src/adapters/memory/clock.ts";
import { MemoryCluster } from "../src/adapters/memory/cluster.ts";
import { MemoryClusterView } from "../src/adapters/memory/cluster-view.ts";
import { MemoryEventRecorder } from "../src/adapters/memory/event-recorder.ts";
import { FixedLeadership } from "../src/adapters/memory/leadership.ts";
import { MemoryLog } from "../src/adapters/memory/log.ts";
import { MemoryMetrics } from "../src/adapters/memory/metrics.ts";
import { MemoryPodBinder } from "../src/adapters/memory/pod-binder.ts";
import { MemoryPoolStore } from "../src/adapters/memory/pool-store.ts";
import { MemoryQuotaStore } from "../src/adapters/memory/quota-store.ts";
import type { Allocation } from "../src/core/allocation.ts";
import type { PodFacts } from "../src/core/facts.ts";
import { compareIps } from "../src/core/ip.ts";
import type { PodId } from "../src/core/owner.ts";
import type { PodSubnet } from "../src/core/subnets.ts";
import { IpamService } from "../src/ipam/ipam-service.ts";
import type { BindReply, FilterReply } from "../src/ipam/scheduling.ts";
import type { AllocationStore } from "../src/ports/allocation-store.ts";
import type { ClusterView } from "../src/ports/cluster-view.ts";
import type { PodBinder } from "../src/ports/pod-binder.ts";
import type { QuotaStore } from "../src/ports/quota-store.ts";

/** Settings of the world's service, milliseconds. */
export const worldSettings = {
  holdMs: 30_000,
  reuseDelayMs: 10_000,
  // Time stands still here: whoever waits waits for a test to move it.
  promiseWaitMs: 0,
  resyncMs: 60_000,
  reclaimParallelCount: 8,
  queueCapacity: 10_000,
};

/** What the world's configuration came from. */
export const configurationObject = {
  apiVersion: "v1",
  kind: "ConfigMap",
  namespace: "kube-system",
  name: "floatingip-config",
  uid: "uid-config",
};

/** What may be replaced, for example by an adapter with faults. */
export type WorldParts = {
  readonly store?: (cluster: MemoryCluster) => AllocationStore;
  readonly binder?: (cluster: MemoryCluster) => PodBinder;
  readonly view?: (cluster: MemoryCluster) => ClusterView;
  /** Takes part in a world that exists: another process over the same cluster. */
  readonly cluster?: MemoryCluster;
  readonly quotas?: QuotaStore;
  readonly clock?: ManualClock;
  readonly leadership?: FixedLeadership;
  readonly settings?: Partial<typeof worldSettings>;
};

/** A cluster, one process of the control plane, and short verbs for both. */
export class IpamWorld {
  readonly clock: ManualClock;
  readonly cluster: MemoryCluster;
  readonly events = new MemoryEventRecorder();
  readonly metrics = new MemoryMetrics();
  readonly log = new MemoryLog();
  readonly leadership: FixedLeadership;
  readonly service: IpamService;

  constructor(parts: WorldParts = {}) {
    this.clock = parts.clock ?? new ManualClock();
    this.cluster = parts.cluster ?? new MemoryCluster({ nowMs: () => this.clock.nowMs() });
    this.leadership = parts.leadership ?? new FixedLeadership();
    this.service = new IpamService(
      {
        store: (parts.store ?? ((cluster) => new MemoryAllocationStore(cluster)))(this.cluster),
        binder: (parts.binder ?? ((cluster) => new MemoryPodBinder(cluster)))(this.cluster),
        pools: new MemoryPoolStore(this.cluster),
        quotas: parts.quotas ?? new MemoryQuotaStore(),
        cluster: (parts.view ?? ((cluster) => new MemoryClusterView(cluster)))(this.cluster),
        events: this.events,
        clock: this.clock,
        leadership: this.leadership,
        log: this.log,
        metrics: this.metrics,
      },
      { ...worldSettings, ...parts.settings },
    );
  }

  /** A world that leads with a configuration. */
  static async leading(subnets: readonly PodSubnet[], parts: WorldParts = {}): Promise<IpamWorld> {
    const world = new IpamWorld(parts);
    world.service.start();
    world.configure(subnets);
    await world.service.startLeading();
    await world.settle();
    return world;
  }

  configure(subnets: readonly PodSubnet[]): void {
    this.service.configure({ kind: "valid", subnets, warnings: [] }, configurationObject);
  }

  /** Lets everything that events asked for happen. */
  async settle(): Promise<void> {
    // Watches deliver in microtasks; work may make events that make work, and each round empties both.
    for (let round = 0; round < 20; round += 1) {
      await turnsOfTheLoop();
      await this.service.reclaim.whenIdle();
      await this.service.pools.whenIdle();
    }
  }

  /** One full look at everything. */
  async resync(): Promise<void> {
    await this.service.reclaim.resync();
    await this.settle();
  }

  /** Asks filter about nodes by name; all nodes by default. */
  async filter(pod: PodFacts, nodeNames?: readonly string[]): Promise<FilterReply> {
    return await this.service.scheduling.filter({
      pod,
      nodeNames: nodeNames ?? [...this.cluster.live.nodes.keys()],
      internalIpsOf: () => undefined,
    });
  }

  /** Names of the nodes that pass filter; the error when it refuses. */
  async passing(pod: PodFacts, nodeNames?: readonly string[]): Promise<readonly string[] | string> {
    const names = nodeNames ?? [...this.cluster.live.nodes.keys()];
    const reply = await this.filter(pod, names);
    if (reply.kind === "refused") return reply.error;
    return reply.kind === "untouched" ? names : reply.passed.map((index) => names[index] as string);
  }

  async bind(pod: PodFacts, nodeName: string): Promise<BindReply> {
    return await this.service.scheduling.bind({ pod: pod.id, podUid: pod.uid, nodeName });
  }

  /** Creates the pod, asks filter and binds it to the first node that passes, as the scheduler would; it runs then. */
  async schedule(pod: PodFacts): Promise<PodFacts> {
    this.cluster.putPod(pod);
    await this.settle();
    const nodes = await this.passing(pod);
    if (typeof nodes === "string") throw new Error(nodes);
    const nodeName = nodes[0];
    if (nodeName === undefined) throw new Error("no node passes");
    const reply = await this.bind(pod, nodeName);
    if (reply.kind === "refused") throw new Error(reply.error);
    const running = this.cluster.changePod(pod.id, { phase: "Running" });
    await this.settle();
    return running;
  }

  /** Deletes the pod and lets the control plane notice. */
  async deletePod(pod: PodId): Promise<void> {
    this.cluster.deletePod(pod);
    await this.settle();
  }

  /** The records in the store, in order of address. */
  records(): readonly Allocation[] {
    return [...this.cluster.records.values()].sort((a, b) => compareIps(a.ip, b.ip));
  }

  /** One line per record, for comparison: `10.0.70.2 pod ns1/web-0 uid-… n1 never`. */
  lines(): readonly string[] {
    return this.records().map((record) => lineOf(record));
  }
}

/** A record as a line: address, owner, uid or `-`, node or `-`, policy. */
export function lineOf(record: Allocation): string {
  const { owner } = record;
  const who = (): string => {
    switch (owner.kind) {
      case "pod":
        return `pod ${owner.pod.namespace}/${owner.pod.name}${owner.pool === undefined ? "" : ` in ${owner.pool}`}`;
      case "workload":
        return `workload ${owner.workload.kind}/${owner.workload.namespace}/${owner.workload.name}`;
      case "pool":
        return `pool ${owner.pool}`;
      case "admin":
      case "foreign":
        return `${owner.kind} ${owner.key}`;
      default:
        return owner satisfies never;
    }
  };
  return `${record.ip} ${who()} ${record.podUid === "" ? "-" : record.podUid} ${record.nodeName === "" ? "-" : record.nodeName} ${record.policy}`;
}

function turnsOfTheLoop(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
