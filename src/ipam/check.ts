// Compares records, pods, annotations and configuration for an operator, and does the repairs that were proposed. A repair asks the world again
// and goes the same way as an event; it never does what an event would not have done.

import type { Allocation } from "../core/allocation.ts";
import type { Finding, ProposedRepair } from "../core/check-records.ts";
import { checkRecords, compareFindings } from "../core/check-records.ts";
import { decideReclaim } from "../core/decide-reclaim.ts";
import type { PodId } from "../core/owner.ts";
import { podIdText } from "../core/owner.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";
import type { KeyedQueue } from "./keyed-queue.ts";

/** What checking needs. */
export type CheckPorts = {
  readonly allocator: Allocator;
  readonly podQueue: KeyedQueue;
  readonly cluster: ClusterView;
  readonly pools: PoolStore;
  readonly clock: Clock;
  readonly configurationProblems: () => readonly string[];
  /** Looks at all addresses of pods of that name; to be called on the pod's queue. */
  readonly reclaimPod: (pod: PodId) => Promise<void>;
  /** Makes records for what living pods carry without one. */
  readonly adoptAll: () => Promise<void>;
};

/** All findings with what was compared. */
export type CheckReport = {
  readonly findings: readonly Finding[];
  readonly recordCount: number;
  readonly podCount: number;
};

/** How many findings there were of one kind. */
export type FindingCount = Pick<Finding, "kind" | "severity"> & { readonly count: number };

/** What became of a repair. */
export type RepairOutcome =
  | { readonly kind: "done"; readonly message: string }
  /** The state is not the one that the repair was proposed for. */
  | { readonly kind: "changed"; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

/** Records or pods looked at between two looks at other work. */
const sliceSize = 1_000;

/** A look that nobody asked for takes at most one part in so many of the time. */
const leisure = 50;

/** Checks and repairs. */
export class Check {
  readonly #ports: CheckPorts;
  #counts: readonly FindingCount[] = [];

  constructor(ports: CheckPorts) {
    this.#ports = ports;
  }

  /** Compares what is known now; changes nothing. Other work has its turn in between. */
  async report(): Promise<CheckReport> {
    const { allocator, clock, cluster, pools } = this.#ports;
    const { view } = allocator;
    const pods = [...cluster.pods()];
    const steps = checkRecords({
      view,
      allocations: [...view.all()],
      poolNames: view.poolNames(),
      pods,
      podOf: (id) => cluster.pod(id),
      withoutPod: (allocation) => this.#withoutPod(allocation),
      pools: pools.all(),
      configurationProblems: this.#ports.configurationProblems(),
    });
    const findings: Finding[] = [];
    let stepCount = 0;
    for (const found of steps) {
      findings.push(...found);
      stepCount += 1;
      if (stepCount % sliceSize !== 0) continue;
      await new Promise<void>((resolve) => {
        clock.after(0, resolve);
      });
    }
    return {
      findings: findings.sort(compareFindings),
      recordCount: view.size,
      podCount: pods.length,
    };
  }

  /** Findings by kind as of the last look of {@link watch}, for who watches from outside; empty while it does not look. */
  get counts(): readonly FindingCount[] {
    return this.#counts;
  }

  /**
   * Looks now and then, so that somebody hears of what nobody asks about.
   * @param options.isWanted asked before each look: what a replica that follows sees is the leader's to tell
   * @returns ends it
   */
  watch(options: { readonly everyMs: number; readonly isWanted: () => boolean }): () => void {
    const { clock } = this.#ports;
    let cancel = () => {};
    let isEnded = false;
    const look = async (): Promise<void> => {
      const startMs = clock.nowMs();
      const counts = options.isWanted() ? countsOf((await this.report()).findings) : [];
      if (isEnded) return;
      this.#counts = counts;
      const pauseMs = Math.max(options.everyMs, leisure * (clock.nowMs() - startMs));
      cancel = clock.after(pauseMs, () => void look());
    };
    void look();
    return () => {
      isEnded = true;
      cancel();
      this.#counts = [];
    };
  }

  #withoutPod(allocation: Allocation) {
    const { allocator, cluster } = this.#ports;
    const { owner } = allocation;
    const workload = owner.kind === "pod" ? owner.workload : undefined;
    return decideReclaim({
      allocation,
      pod: { kind: "gone" },
      workload: workload === undefined ? { kind: "gone" } : cluster.workload(workload),
      ownedCount: workload === undefined ? 1 : allocator.view.ofWorkload(workload).length,
      isConfigured: allocator.view.topology.isConfigured(allocation.ip),
    });
  }

  /** Does one repair, if the state is still the one that it was proposed for. */
  async repair(proposed: ProposedRepair): Promise<RepairOutcome> {
    const { allocator, podQueue, reclaimPod } = this.#ports;
    const { ip } = proposed;
    try {
      allocator.assertLeader(`repair ${ip}`);
      switch (proposed.do) {
        case "read again": {
          await allocator.settleUnknown([ip]);
          const phase = allocator.view.phaseOf(ip);
          return { kind: "done", message: `the record of ${ip} is ${phase ?? "not there"}` };
        }
        case "adopt": {
          await this.#ports.adoptAll();
          const { owner } = allocator.view.get(ip) ?? {};
          return owner?.kind === "pod"
            ? { kind: "done", message: `${ip} has a record of pod ${podIdText(owner.pod)}` }
            : { kind: "changed", message: `pod ${podIdText(proposed.pod)} does not carry ${ip}` };
        }
        case "reclaim": {
          if (allocator.view.get(ip)?.version !== proposed.version) {
            return { kind: "changed", message: `the record of ${ip} changed since it was checked` };
          }
          await podQueue.run(podIdText(proposed.pod), () => reclaimPod(proposed.pod));
          const after = allocator.view.get(ip);
          if (after === undefined) return { kind: "done", message: `${ip} is free` };
          return after.version === proposed.version
            ? { kind: "changed", message: `${ip} stays as it is: its pod is there after all` }
            : { kind: "done", message: `the record of ${ip} was brought in line` };
        }
        default:
          return proposed satisfies never;
      }
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return { kind: "failed", message: error.message };
    }
  }
}

function countsOf(findings: readonly Finding[]): readonly FindingCount[] {
  const counts = new Map<string, FindingCount>();
  for (const { kind, severity } of findings) {
    const key = `${kind} ${severity}`;
    counts.set(key, { kind, severity, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}
