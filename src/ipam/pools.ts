// Pool objects against the addresses they have: pre-allocation, shrinking, status. Pods take from pools in scheduling, not here.

import { isBound } from "../core/allocation.ts";
import { decidePool, poolInForce } from "../core/decide-pool.ts";
import type { PoolFacts } from "../core/facts.ts";
import type { Clock } from "../ports/clock.ts";
import type { ClusterView } from "../ports/cluster-view.ts";
import type { Log } from "../ports/log.ts";
import type { PoolStatus, PoolStore } from "../ports/pool-store.ts";
import type { AllocationChange, Allocator } from "./allocator.ts";
import { WorkQueue } from "./keyed-queue.ts";

/** What pools need. */
export type PoolsPorts = {
  readonly allocator: Allocator;
  readonly pools: PoolStore;
  readonly cluster: ClusterView;
  readonly clock: Clock;
  readonly log: Log;
};

/** Keeps pools as their objects ask. Works only between start and stop, when this process leads. */
export class Pools {
  readonly #ports: PoolsPorts;
  #queue: WorkQueue | undefined;
  /** Pools that lack addresses: any address that becomes free may be theirs. */
  readonly #hungry = new Set<string>();

  constructor(ports: PoolsPorts) {
    this.#ports = ports;
  }

  /** Begins to work, with a look at every pool. */
  start(): void {
    const { clock, log } = this.#ports;
    this.#queue = new WorkQueue(
      {
        clock,
        parallelCount: 4,
        firstRetryMs: 200,
        lastRetryMs: 30_000,
        onFailure: (key, error) =>
          log.warn("pool could not be kept, it is tried again", { pool: key }, error),
      },
      async (name) => {
        await this.#reconcile(name);
      },
    );
    this.resync();
  }

  /** Ends when running work has ended. */
  async stop(): Promise<void> {
    // Another turn may begin before running work has ended: its queue must stay.
    const queue = this.#queue;
    this.#queue = undefined;
    await queue?.stop();
  }

  /** Resolves when every pool asked for has been looked at. */
  async whenIdle(): Promise<void> {
    await this.#queue?.whenIdle();
  }

  /** Looks at every pool. */
  resync(): void {
    for (const pool of this.#ports.pools.all()) this.#queue?.add(pool.name);
  }

  /** A Pool object was added, changed or removed. */
  observe(poolName: string): void {
    this.#queue?.add(poolName);
  }

  /** An address changed hands. */
  observeChange({ before, after }: AllocationChange): void {
    for (const allocation of [before, after]) {
      const owner = allocation?.owner;
      if (owner?.kind === "pool") this.#queue?.add(owner.pool);
      if (owner?.kind === "pod" && owner.pool !== undefined) this.#queue?.add(owner.pool);
    }
    if (after === undefined) for (const name of this.#hungry) this.#queue?.add(name);
  }

  /** Nodes or subnets changed: a pool that lacked addresses may get some. */
  observeCapacity(): void {
    for (const name of this.#hungry) this.#queue?.add(name);
  }

  /**
   * Looks at one pool now, for somebody who waits for it.
   * @returns how many addresses it wants and cannot have
   * @throws WorldError when the store fails; the pool is looked at again
   */
  async fill(name: string): Promise<number> {
    try {
      return await this.#reconcile(name);
    } catch (error) {
      this.#queue?.add(name);
      throw error;
    }
  }

  /** @returns how many addresses the pool lacks */
  async #reconcile(name: string): Promise<number> {
    const { allocator, pools } = this.#ports;
    const candidates = pools.all().filter((pool) => pool.name === name);
    const pool = poolInForce(candidates);
    this.#hungry.delete(name);
    if (pool === undefined) return 0;
    const usable = this.#usableSubnets();
    // From the decision to the change of memory there is no await.
    const decision = decidePool(pool, allocator.view, usable);
    const work: Promise<unknown>[] = decision.release.map((allocation) =>
      allocator.release(allocation, "pool made smaller"),
    );
    for (const ip of decision.add) {
      work.push(
        allocator.take({
          addresses: [{ ip, from: "free" }],
          owner: { kind: "pool", pool: name },
          policy: "never",
          podUid: "",
          nodeName: "",
        }),
      );
    }
    const results = await Promise.allSettled(work);
    if (decision.missingCount > 0) this.#hungry.add(name);
    for (const candidate of candidates) {
      await pools.writeStatus(candidate, this.#statusOf(candidate, pool, decision.missingCount));
    }
    const failed = results.find((result) => result.status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
    if (results.some((result) => result.status === "fulfilled" && isLost(result.value))) {
      this.#queue?.add(name);
    }
    return decision.missingCount;
  }

  #statusOf(pool: PoolFacts, inForce: PoolFacts, missingCount: number): PoolStatus {
    if (pool !== inForce) {
      return {
        allocated: 0,
        used: 0,
        condition: {
          isReady: false,
          reason: "OtherPoolInForce",
          message: `Pool ${inForce.namespace}/${inForce.name} has the same name and is in force; delete one of them`,
        },
      };
    }
    const allocations = this.#ports.allocator.view.ofPool(pool.name);
    const used = allocations.filter(isBound).length;
    const counts = { allocated: allocations.length, used };
    if (missingCount === 0) {
      return { ...counts, condition: { isReady: true, reason: "Ready", message: "" } };
    }
    return {
      ...counts,
      condition: {
        isReady: false,
        reason: "NotEnoughAddresses",
        message: `No enough IPs: ${missingCount} of ${pool.size} addresses are missing; extend "ips" or make the pool smaller`,
      },
    };
  }

  /** Pod subnets that some node may use. */
  #usableSubnets(): ReadonlySet<number> {
    const { topology } = this.#ports.allocator.view;
    const usable = new Set<number>();
    for (const node of this.#ports.cluster.nodes()) {
      for (const index of topology.zoneOf(node.internalIps)?.subnetIndexes ?? []) usable.add(index);
      if (usable.size === topology.subnets.length) break;
    }
    return usable;
  }
}

function isLost(value: unknown): boolean {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "lost";
}
