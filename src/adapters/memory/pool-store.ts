// The PoolStore on a map: Pool objects of all namespaces of a MemoryCluster.

import type { PoolFacts } from "../../core/facts.ts";
import { podIdText } from "../../core/owner.ts";
import type { PoolStatus, PoolStore, PoolWriteOutcome } from "../../ports/pool-store.ts";
import type { MemoryCluster } from "./cluster.ts";

/** Pools in a MemoryCluster; `all` shows the cluster's cache. */
export class MemoryPoolStore implements PoolStore {
  readonly #cluster: MemoryCluster;

  constructor(cluster: MemoryCluster) {
    this.#cluster = cluster;
  }

  all(): readonly PoolFacts[] {
    return [...this.#cluster.cached.pools.values()];
  }

  async write(pool: PoolFacts): Promise<PoolWriteOutcome> {
    await Promise.resolve();
    const present = this.#present(pool);
    if (present === undefined && pool.version !== "") return { kind: "missing" };
    if (present !== undefined && present.version !== pool.version) return { kind: "conflict" };
    return { kind: "written", pool: this.#cluster.putPool(pool) };
  }

  async remove(pool: PoolFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    await Promise.resolve();
    const present = this.#present(pool);
    if (present === undefined) return { kind: "missing" };
    if (present.version !== pool.version) return { kind: "conflict" };
    this.#cluster.deletePool(pool);
    return { kind: "removed" };
  }

  async writeStatus(pool: PoolFacts, status: PoolStatus): Promise<void> {
    await Promise.resolve();
    const present = this.#present(pool);
    if (present === undefined || present.uid !== pool.uid) return;
    const written = this.#cluster.poolStatus(pool);
    if (written !== undefined && sameStatus(written, status)) return;
    this.#cluster.putPoolStatus(pool, status);
  }

  watch(listener: (poolName: string) => void): () => void {
    return this.#cluster.poolEvents.subscribe(listener);
  }

  #present(pool: PoolFacts): PoolFacts | undefined {
    return this.#cluster.live.pools.get(podIdText(pool));
  }
}

function sameStatus(a: PoolStatus, b: PoolStatus): boolean {
  return (
    a.allocated === b.allocated &&
    a.used === b.used &&
    a.condition.isReady === b.condition.isReady &&
    a.condition.reason === b.condition.reason &&
    a.condition.message === b.condition.message
  );
}
