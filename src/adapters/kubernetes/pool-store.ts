// PoolStore on Pool objects of the API server. Which of two pools of one name is in force is not decided here.

import { isDeepStrictEqual } from "node:util";
import type { PoolFacts } from "../../core/facts.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Metrics } from "../../ports/metrics.ts";
import type { PoolStatus, PoolStore, PoolWriteOutcome } from "../../ports/pool-store.ts";
import {
  formatPool,
  formatPoolStatus,
  type PoolParse,
  parsePool,
  poolPatch,
} from "../../wire/crd.ts";
import { valueAt } from "../../wire/json-value.ts";
import { type ApiClient, segment } from "./api-client.ts";
import type { ListWatch, ListWatchTimes } from "./list-watch.ts";
import {
  removeVersioned,
  type VersionedObject,
  versionedPath,
  writeVersioned,
} from "./versioned-object.ts";
import { namespacedKeyOf, WatchCache } from "./watch-cache.ts";

const groupPath = "/apis/galaxy.k8s.io/v1alpha1";

/** How often a status is written again when the pool changed meanwhile; the next change of the figures writes it anyway. */
const mostStatusAttempts = 3;

/** A pool with its status as it stands, so that the same is not written again. */
type KeptPool = { readonly parsed: PoolParse; readonly status: unknown };

/** What the store needs. */
export type KubernetesPoolStoreOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** `--pool-namespace`: pools of this namespace only; undefined: of all. */
  readonly namespace?: string | undefined;
  readonly times?: ListWatchTimes;
};

/** Pools as Pool objects. */
export class KubernetesPoolStore implements PoolStore {
  readonly #client: ApiClient;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #cache: WatchCache<KeptPool>;
  readonly #listeners = new Set<(poolName: string) => void>();

  constructor(options: KubernetesPoolStoreOptions) {
    const { client, log, metrics, namespace, times } = options;
    this.#client = client;
    this.#log = log;
    this.#clock = options.clock;
    this.#cache = new WatchCache<KeptPool>({
      client,
      log,
      collection: {
        path:
          namespace === undefined || namespace === ""
            ? `${groupPath}/pools`
            : `${groupPath}/namespaces/${segment(namespace)}/pools`,
        what: "Pools",
      },
      ...(times === undefined ? {} : { times }),
      keyOf: namespacedKeyOf,
      project: keptPool,
      changed: (key, after, before) => {
        if (isOnlyStatus(after, before)) return;
        if (after?.parsed.kind === "problem") {
          metrics.count("bad_input", { input: "pool" });
          log.warn("Pool cannot be used", { pool: key, reason: after.parsed.problem });
        }
        this.#tell(key.slice(key.indexOf("/") + 1));
      },
    });
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.#cache.watch.start();
  }

  /** Resolves when all pools are read. */
  whenSynced(): Promise<void> {
    return this.#cache.watch.whenSynced();
  }

  /** Ends the watch: nothing is told any more. */
  stop(): void {
    this.#cache.watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#cache.watch;
  }

  /** Pools that cannot be used, each with the reason and the remedy. */
  problems(): readonly Extract<PoolParse, { readonly kind: "problem" }>[] {
    return [...this.#cache.values()].flatMap(({ parsed }) =>
      parsed.kind === "problem" ? [parsed] : [],
    );
  }

  all(): readonly PoolFacts[] {
    return [...this.#cache.values()].flatMap(({ parsed }) =>
      parsed.kind === "pool" ? [parsed.pool] : [],
    );
  }

  async write(pool: PoolFacts): Promise<PoolWriteOutcome> {
    const outcome = await writeVersioned(
      this.#client,
      objectOf(pool),
      { created: () => formatPool(pool), patch: () => poolPatch(pool) },
      parsePool,
    );
    return outcome.kind === "written"
      ? { kind: "written", pool: outcome.value.pool }
      : { kind: outcome.kind };
  }

  remove(pool: PoolFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    return removeVersioned(this.#client, objectOf(pool));
  }

  async writeStatus(pool: PoolFacts, status: PoolStatus): Promise<void> {
    let current = this.#cache.get(`${pool.namespace}/${pool.name}`);
    if (!isSamePool(current, pool)) current = await this.#readKept(pool);
    for (let attempt = 1; attempt <= mostStatusAttempts; attempt += 1) {
      // Gone, or another pool has the name: this status is not its own.
      if (current?.parsed.kind !== "pool" || !isSamePool(current, pool)) return;
      const patch = formatPoolStatus(
        {
          size: pool.size,
          allocated: status.allocated,
          used: status.used,
          condition: status.condition,
        },
        current.status,
        this.#clock.nowMs(),
      );
      if (patch === undefined) return;
      const answer = await this.#client.write({
        method: "PATCH",
        path: `${versionedPath(objectOf(pool))}/status`,
        // The API server compares no uid for a status, but the version; a size that was taken away must go from the status as well.
        body: {
          metadata: { resourceVersion: current.parsed.pool.version },
          status: { size: null, ...patch },
        },
        tried: `write the status of Pool ${pool.namespace}/${pool.name}`,
      });
      if (answer.kind !== "conflict") return;
      current = await this.#readKept(pool);
    }
  }

  watch(listener: (poolName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The pool as it is now; undefined when it is gone. */
  async #readKept(pool: PoolFacts): Promise<KeptPool | undefined> {
    const answer = await this.#client.readJson({
      path: versionedPath(objectOf(pool)),
      tried: `read Pool ${pool.namespace}/${pool.name}`,
    });
    return answer.kind === "missing" ? undefined : keptPool(answer.json);
  }

  #tell(poolName: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(poolName);
      } catch (error) {
        this.#log.error("a listener failed; the watch goes on", { pool: poolName }, error);
      }
    }
  }
}

function keptPool(object: unknown): KeptPool {
  return { parsed: parsePool(object), status: valueAt(object, "status") };
}

/** Whether it is this pool and not another one of its name. */
function isSamePool(kept: KeptPool | undefined, pool: PoolFacts): boolean {
  return kept?.parsed.kind === "pool" && kept.parsed.pool.uid === pool.uid;
}

/** Whether nothing changed but the status and, with it, the version: that is our own doing and no news. */
function isOnlyStatus(after: KeptPool | undefined, before: KeptPool | undefined): boolean {
  if (after?.parsed.kind !== "pool" || before?.parsed.kind !== "pool") return false;
  return isDeepStrictEqual(
    { ...after.parsed.pool, version: "" },
    { ...before.parsed.pool, version: "" },
  );
}

function objectOf({ namespace, name, uid, version }: PoolFacts): VersionedObject {
  return {
    what: `Pool ${namespace}/${name}`,
    collectionPath: `${groupPath}/namespaces/${segment(namespace)}/pools`,
    name,
    uid,
    version,
  };
}
