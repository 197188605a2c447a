// QuotaStore on FloatingIPQuota objects of the API server. Which of several is in force is not decided here.

import type { QuotaFacts } from "../../core/quota.ts";
import type { Log } from "../../ports/log.ts";
import type { Metrics } from "../../ports/metrics.ts";
import type { QuotaStore, QuotaWriteOutcome } from "../../ports/quota-store.ts";
import { formatQuota, parseQuota, type QuotaParse, quotaPatch } from "../../wire/quota.ts";
import type { ApiClient } from "./api-client.ts";
import type { ListWatch, ListWatchTimes } from "./list-watch.ts";
import { removeVersioned, type VersionedObject, writeVersioned } from "./versioned-object.ts";
import { nameKeyOf, WatchCache } from "./watch-cache.ts";

const collectionPath = "/apis/galaxy.k8s.io/v1alpha1/floatingipquotas";

/** What the store needs. */
export type KubernetesQuotaStoreOptions = {
  readonly client: ApiClient;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told of each object that cannot be used, with the reason and the remedy. */
  readonly refused?: (problem: Extract<QuotaParse, { readonly kind: "problem" }>) => void;
  readonly times?: ListWatchTimes;
};

/** Quotas as FloatingIPQuota objects. */
export class KubernetesQuotaStore implements QuotaStore {
  readonly #client: ApiClient;
  readonly #cache: WatchCache<QuotaParse>;

  constructor(options: KubernetesQuotaStoreOptions) {
    const { client, log, metrics, times } = options;
    this.#client = client;
    this.#cache = new WatchCache<QuotaParse>({
      client,
      log,
      collection: { path: collectionPath, what: "FloatingIPQuotas" },
      ...(times === undefined ? {} : { times }),
      keyOf: nameKeyOf,
      project: parseQuota,
      changed: (key, after) => {
        if (after?.kind !== "problem") return;
        metrics.count("bad_input", { input: "quota" });
        log.warn("FloatingIPQuota cannot be used", { quota: key, reason: after.problem });
        options.refused?.(after);
      },
    });
  }

  /** Begins to watch; returns at once. */
  start(): void {
    this.#cache.watch.start();
  }

  /** Resolves when all quotas are read. */
  whenSynced(): Promise<void> {
    return this.#cache.watch.whenSynced();
  }

  /** Ends the watch. */
  stop(): void {
    this.#cache.watch.stop();
  }

  /** The state of the watch, for health and metrics. */
  get watchState(): ListWatch {
    return this.#cache.watch;
  }

  all(): readonly QuotaFacts[] {
    return [...this.#cache.values()].flatMap((parsed) =>
      parsed.kind === "quota" ? [parsed.quota] : [],
    );
  }

  async write(quota: QuotaFacts): Promise<QuotaWriteOutcome> {
    const outcome = await writeVersioned(
      this.#client,
      objectOf(quota),
      { created: () => formatQuota(quota), patch: () => quotaPatch(quota) },
      parseQuota,
    );
    return outcome.kind === "written"
      ? { kind: "written", quota: outcome.value.quota }
      : { kind: outcome.kind };
  }

  remove(quota: QuotaFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    return removeVersioned(this.#client, objectOf(quota));
  }
}

function objectOf({ name, uid, version }: QuotaFacts): VersionedObject {
  return { what: `FloatingIPQuota ${name}`, collectionPath, name, uid, version };
}
