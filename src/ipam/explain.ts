// Gathers the facts of a pod, or of an address, for an explanation. Changes nothing, promises nothing; core/explain.ts explains.

import type { Allocation } from "../core/allocation.ts";
import type { PodContext } from "../core/decide-filter.ts";
import { poolInForce } from "../core/decide-pool.ts";
import type { ReclaimDecision } from "../core/decide-reclaim.ts";
import { decideReclaim, needsWorkload } from "../core/decide-reclaim.ts";
import type { NodeGroup, PodExplanation } from "../core/explain.ts";
import { explainAddress, explainPod } from "../core/explain.ts";
import type { PodFacts, WorkloadState } from "../core/facts.ts";
import type { Ip } from "../core/ip.ts";
import { familyOf } from "../core/ip.ts";
import type { PodId, WorkloadRef } from "../core/owner.ts";
import type { QuotaFacts } from "../core/quota.ts";
import { quotaInForce } from "../core/quota.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";

/** What explaining needs. */
export type ExplainPorts = {
  readonly allocator: Allocator;
  readonly cluster: ClusterView;
  readonly pools: PoolStore;
  /** Quotas as last seen. */
  readonly quotas: () => readonly QuotaFacts[];
  /** Why a reserved address will or will not be released because no pod uses it; undefined for others. */
  readonly idleReason: (allocation: Allocation) => string | undefined;
  readonly clock: Clock;
};

/** An address of the pod with what would become of it without the pod. */
export type ExplainedAddress = {
  readonly allocation: Allocation;
  readonly withoutPod: ReclaimDecision;
};

/** All that is known of a pod's addresses. */
export type PodReport =
  | { readonly kind: "not found"; readonly addresses: readonly ExplainedAddress[] }
  | { readonly kind: "unreadable"; readonly reason: string }
  | {
      readonly kind: "pod";
      readonly context: PodContext;
      readonly explanation: PodExplanation;
      readonly addresses: readonly ExplainedAddress[];
    };

/** Explains pods and addresses. */
export class Explain {
  readonly #ports: ExplainPorts;
  readonly #reuseDelayMs: number;

  constructor(ports: ExplainPorts, settings: { readonly reuseDelayMs: number }) {
    this.#ports = ports;
    this.#reuseDelayMs = settings.reuseDelayMs;
  }

  /** Explains the pod as it is now. */
  async pod(id: PodId): Promise<PodReport> {
    const { allocator, cluster, clock } = this.#ports;
    let pod: PodFacts | "gone";
    try {
      pod = cluster.pod(id) ?? (await cluster.readPod(id));
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return { kind: "unreadable", reason: error.message };
    }
    const addresses = await this.#addressesOf(id);
    if (pod === "gone") return { kind: "not found", addresses };
    const context = await this.#contextOf(pod);
    const { groups, nodesWithoutSubnet } = this.#nodeGroups();
    const explanation = explainPod({
      context,
      view: allocator.view,
      groups,
      nodesWithoutSubnet,
      youngSinceMs: clock.nowMs() - this.#reuseDelayMs,
    });
    return { kind: "pod", context, explanation, addresses };
  }

  /** Why an address is in its state, as sentences. */
  address(ip: Ip, podStatus: string | undefined): readonly string[] {
    const { view } = this.#ports.allocator;
    const allocation = view.get(ip);
    const { owner } = allocation ?? {};
    const workload =
      owner?.kind === "pod" || owner?.kind === "workload" ? owner.workload : undefined;
    const concernsPod = owner?.kind === "pod" || owner?.kind === "workload";
    return explainAddress({
      allocation,
      idleReason: allocation === undefined ? undefined : this.#ports.idleReason(allocation),
      isHeld: view.heldBy(ip) !== undefined,
      isConfigured: view.topology.isConfigured(ip),
      podStatus,
      releasedAtMs: view.releasedAtMs(ip),
      withoutPod:
        allocation !== undefined && concernsPod
          ? this.#withoutPod(
              allocation,
              workload === undefined ? { kind: "gone" } : this.#ports.cluster.workload(workload),
            )
          : undefined,
    });
  }

  async #addressesOf(id: PodId): Promise<readonly ExplainedAddress[]> {
    const explained: ExplainedAddress[] = [];
    for (const allocation of this.#ports.allocator.view.ofPod(id)) {
      const { owner } = allocation;
      const workload = owner.kind === "pod" ? owner.workload : undefined;
      const state = needsWorkload(allocation)
        ? await this.#stateOf(workload)
        : ({ kind: "gone" } as const);
      explained.push({ allocation, withoutPod: this.#withoutPod(allocation, state) });
    }
    return explained;
  }

  #withoutPod(allocation: Allocation, workload: WorkloadState): ReclaimDecision {
    const { view } = this.#ports.allocator;
    const { owner } = allocation;
    const ref = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
    const ownedCount =
      ref === undefined
        ? 1
        : view
            .ofWorkload(ref)
            .filter(
              (other) =>
                familyOf(other.ip) === familyOf(allocation.ip) &&
                !(other.owner.kind === "pod" && other.owner.pool !== undefined),
            ).length;
    return decideReclaim({
      allocation,
      pod: { kind: "gone" },
      workload,
      ownedCount,
      isConfigured: view.topology.isConfigured(allocation.ip),
    });
  }

  async #contextOf(pod: PodFacts): Promise<PodContext> {
    const { cluster, pools } = this.#ports;
    let { workload, isCertain } = cluster.ownershipOf(pod);
    if (!isCertain) {
      try {
        ({ workload, isCertain } = await cluster.readOwnershipOf(pod));
      } catch (error) {
        // The name that was cut is a good guess for an explanation.
        if (!(error instanceof WorldError)) throw error;
      }
    }
    const poolObject =
      pod.pool === undefined
        ? undefined
        : poolInForce(pools.all().filter((pool) => pool.name === pod.pool));
    const workloadState =
      pod.policy === "pod-delete" ? ({ kind: "gone" } as const) : await this.#stateOf(workload);
    const quota = quotaInForce(this.#ports.quotas(), pod.id.namespace);
    return { pod, workload, workloadState, poolObject, quota };
  }

  async #stateOf(workload: WorkloadRef | undefined): Promise<WorkloadState> {
    if (workload === undefined) return { kind: "gone" };
    const cached = this.#ports.cluster.workload(workload);
    if (cached.kind === "present") return cached;
    try {
      return await this.#ports.cluster.readWorkload(workload);
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return { kind: "unknown", reason: error.message };
    }
  }

  /** All nodes by the pod subnets that they may use. */
  #nodeGroups(): {
    readonly groups: readonly NodeGroup[];
    readonly nodesWithoutSubnet: readonly string[];
  } {
    const { topology } = this.#ports.allocator.view;
    const groups = new Map<string, { readonly zone: NodeGroup["zone"]; nodeNames: string[] }>();
    const nodesWithoutSubnet: string[] = [];
    for (const node of this.#ports.cluster.nodes()) {
      const zone = topology.zoneOf(node.internalIps);
      if (zone === undefined) {
        nodesWithoutSubnet.push(node.name);
        continue;
      }
      const group = groups.get(zone.id) ?? { zone, nodeNames: [] };
      group.nodeNames.push(node.name);
      groups.set(zone.id, group);
    }
    return { groups: [...groups.values()], nodesWithoutSubnet };
  }
}
