// Pools as operators ask for them: create, change, delete, list. What a pool's addresses are is pools.ts' affair, which is asked to look at once.

import { isBound } from "../core/allocation.ts";
import { poolHomeNamespace, poolInForce } from "../core/decide-pool.ts";
import type { PoolFacts } from "../core/facts.ts";
import type { ReserveTtl } from "../core/reserve-ttl.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import { WorldError } from "../ports/world-error.ts";
import type { Allocator } from "./allocator.ts";

/** What the use case needs. */
export type PoolAdminPorts = {
  readonly allocator: Allocator;
  readonly pools: PoolStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Brings the addresses of a pool to what its object asks for. @returns how many cannot be had */
  readonly fill: (poolName: string) => Promise<number>;
};

/** A pool as an operator wants it. */
export type WantedPool = {
  readonly name: string;
  readonly size: number | undefined;
  readonly preAllocate: boolean;
  /** How long its addresses may be without a pod; `none`: nothing is said any more; undefined: as the object says it now. */
  readonly reserveTtl?: ReserveTtl | "none" | undefined;
};

/** A pool with what it has. Without an object it is only a name that addresses carry. */
export type PoolLook = {
  readonly name: string;
  readonly object: PoolFacts | undefined;
  /** Addresses of the pool, used or not. */
  readonly allocatedCount: number;
  readonly usedCount: number;
  /** Addresses that pre-allocation wants and does not have. */
  readonly missingCount: number;
};

/** Writes of one Pool that another writer overtakes are made again. */
const attempts = 5;
const retryMs = 100;

/** How long the view of pools may take to show what was written. */
const viewMs = 5_000;

/** Pools for operators. */
export class PoolAdmin {
  readonly #ports: PoolAdminPorts;
  readonly #namespace: string;

  /** @param namespace where new Pool objects are written; kube-system when pools of all namespaces count */
  constructor(ports: PoolAdminPorts, namespace: string = poolHomeNamespace) {
    this.#ports = ports;
    this.#namespace = namespace;
  }

  /** The Pool object in force; undefined when there is none of that name. */
  get(name: string): PoolFacts | undefined {
    return poolInForce(this.#ports.pools.all().filter((pool) => pool.name === name));
  }

  /** All pools, by name: those with an object and those that only addresses name. */
  list(): readonly PoolLook[] {
    const { allocator, pools } = this.#ports;
    const names = new Set(pools.all().map((pool) => pool.name));
    for (const name of allocator.view.poolNames()) names.add(name);
    return [...names].sort().map((name) => this.#look(name));
  }

  #look(name: string): PoolLook {
    const object = this.get(name);
    const allocations = this.#ports.allocator.view.ofPool(name);
    const wantedCount = object?.preAllocate === true ? (object.size ?? 0) : 0;
    return {
      name,
      object,
      allocatedCount: allocations.length,
      usedCount: allocations.filter(isBound).length,
      missingCount: Math.max(0, wantedCount - allocations.length),
    };
  }

  /**
   * Creates a pool or makes an existing one as wanted, and brings its addresses in line.
   * @returns how many addresses it has now, and how many it wants and cannot have; `conflict` when others keep writing it
   * @throws WorldError when the store fails
   */
  async put(
    wanted: WantedPool,
  ): Promise<
    | { readonly kind: "done"; readonly realSize: number; readonly missingCount: number }
    | { readonly kind: "conflict" }
  > {
    const { allocator, log } = this.#ports;
    const written = await this.#write(wanted);
    if (written === undefined) return { kind: "conflict" };
    await this.#whenSeen(written);
    const missingCount = await this.#ports.fill(wanted.name);
    log.info("pool written for an operator", { pool: wanted.name, size: wanted.size });
    const realSize = allocator.view
      .ofPool(wanted.name)
      .filter(({ ip }) => allocator.view.phaseOf(ip) !== "leaving").length;
    return { kind: "done", realSize, missingCount };
  }

  async #write(wanted: WantedPool): Promise<PoolFacts | undefined> {
    const { allocator, pools } = this.#ports;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const existing = this.get(wanted.name);
      const isNew = { namespace: this.#namespace, uid: "", createdAtMs: 0, version: "" };
      const written = asWanted(existing ?? isNew, wanted);
      if (existing !== undefined && sameWish(existing, written)) return existing;
      allocator.assertLeader(`write pool ${wanted.name}`);
      const outcome = await pools.write(written);
      if (outcome.kind === "written") return outcome.pool;
      await this.#pause();
    }
    return undefined;
  }

  /** Deciding about addresses from what the view showed before would undo what was just asked for. */
  async #whenSeen(written: PoolFacts): Promise<void> {
    const { clock, pools } = this.#ports;
    const isSeen = (): boolean => {
      const seen = this.get(written.name);
      return seen !== undefined && sameWish(seen, written);
    };
    if (isSeen()) return;
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        cancel();
        unwatch();
      };
      const cancel = clock.after(viewMs, () => {
        stop();
        reject(
          new WorldError("API_TIMEOUT", {
            tried: `see pool ${written.name}`,
            message:
              "it was written, but the watch of pools does not show it; its addresses follow",
            mayHaveHappened: true,
          }),
        );
      });
      const unwatch = pools.watch(() => {
        if (!isSeen()) return;
        stop();
        resolve();
      });
    });
  }

  /**
   * Deletes the Pool object in force. Its addresses stay with the pool's name unless they are released, too; what a pod has stays in any case.
   * @throws WorldError when the store fails
   */
  async remove(
    name: string,
    options: { readonly releases: boolean },
  ): Promise<"removed" | "missing" | "conflict"> {
    const { allocator, log, pools } = this.#ports;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const pool = this.get(name);
      if (pool === undefined) return attempt === 1 ? "missing" : "removed";
      allocator.assertLeader(`delete pool ${name}`);
      const outcome = await pools.remove(pool);
      if (outcome.kind === "conflict") {
        await this.#pause();
        continue;
      }
      log.info("pool deleted for an operator", { pool: name });
      if (options.releases) await this.#releaseUnused(name);
      return outcome.kind === "missing" && attempt === 1 ? "missing" : "removed";
    }
    return "conflict";
  }

  async #releaseUnused(name: string): Promise<void> {
    const { allocator } = this.#ports;
    // Kept for no pod's name: those of a StatefulSet's pods are released like any other address, one by one.
    const unused = allocator.view
      .ofPool(name)
      .filter(({ ip, owner }) => owner.kind === "pool" && allocator.view.heldBy(ip) === undefined);
    await Promise.all(
      unused.map((allocation) => allocator.release(allocation, "pool deleted by an operator")),
    );
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#ports.clock.after(retryMs, resolve);
    });
  }
}

/** A pool with what an operator wants of it; the rest stays. */
function asWanted(
  pool: Omit<PoolFacts, "name" | "size" | "preAllocate">,
  { name, preAllocate, reserveTtl, size }: WantedPool,
): PoolFacts {
  const changed = { ...pool, name, preAllocate, size };
  if (reserveTtl === undefined) return changed;
  const { reserveTtl: _, reserveTtlProblem: __, ...bare } = changed;
  return reserveTtl === "none" ? bare : { ...bare, reserveTtl };
}

function sameWish(a: PoolFacts, b: PoolFacts): boolean {
  return (
    a.uid === b.uid &&
    a.size === b.size &&
    a.preAllocate === b.preAllocate &&
    a.reserveTtl === b.reserveTtl &&
    a.reserveTtlProblem === b.reserveTtlProblem
  );
}
