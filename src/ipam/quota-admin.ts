// Quotas as operators ask for them: set, delete, list with what each namespace has. Pods meet them in scheduling, not here.

import type { QuotaFacts } from "../core/quota.ts";
import { namespaceUse, quotaInForce } from "../core/quota.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { QuotaStore } from "../ports/quota-store.ts";
import type { Allocator } from "./allocator.ts";

/** What the use case needs. */
export type QuotaAdminPorts = {
  readonly allocator: Allocator;
  /** Undefined where quotas cannot be kept. */
  readonly quotas: QuotaStore | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

/** A namespace under the quota that is in force for it. */
export type NamespaceLook = {
  readonly namespace: string;
  readonly quota: QuotaFacts;
  /** Addresses that its pods have, and that are reserved for them. */
  readonly recordedCount: number;
  readonly promisedCount: number;
};

/** A quota as an operator wants it. */
type WantedQuota = Pick<QuotaFacts, "name" | "limit"> & {
  /** Undefined: those that the quota names now; of a new one every namespace that no other names. */
  readonly namespaces: readonly string[] | undefined;
};

/** What became of a write. */
type QuotaOutcome =
  | { readonly kind: "done"; readonly quota: QuotaFacts }
  | { readonly kind: "conflict" }
  | { readonly kind: "unsupported" };

/** Writes of one quota that another writer overtakes are made again. */
const attempts = 5;
const retryMs = 100;

/** Quotas for operators. */
export class QuotaAdmin {
  readonly #ports: QuotaAdminPorts;

  constructor(ports: QuotaAdminPorts) {
    this.#ports = ports;
  }

  /** All quotas, by name. */
  list(): readonly QuotaFacts[] {
    return (this.#ports.quotas?.all() ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Namespaces that a quota names, and those that have addresses and are under one, by name. */
  namespaces(): readonly NamespaceLook[] {
    const { view } = this.#ports.allocator;
    const quotas = this.list();
    const names = new Set([
      ...quotas.flatMap(({ namespaces }) => namespaces),
      ...view.namespaces(),
    ]);
    return [...names].sort().flatMap((namespace) => {
      const quota = quotaInForce(quotas, namespace);
      return quota === undefined
        ? []
        : [{ namespace, quota, ...namespaceUse(namespace, view, undefined) }];
    });
  }

  /**
   * Creates a quota or makes an existing one as wanted. Nothing is taken from a namespace that has more.
   * @returns the quota as it is now; `unsupported` where quotas cannot be kept; `conflict` when others keep writing it
   * @throws WorldError when the store fails
   */
  async put({ limit, name, namespaces }: WantedQuota): Promise<QuotaOutcome> {
    const { allocator, log, quotas } = this.#ports;
    if (quotas === undefined) return { kind: "unsupported" };
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const existing = quotas.all().find((quota) => quota.name === name);
      allocator.assertLeader(`write FloatingIPQuota ${name}`);
      const outcome = await quotas.write({
        uid: "",
        version: "",
        ...existing,
        name,
        limit,
        namespaces: namespaces ?? existing?.namespaces ?? [],
      });
      if (outcome.kind === "written") {
        log.info("quota written for an operator", { quota: name, limit });
        return { kind: "done", quota: outcome.quota };
      }
      await this.#pause();
    }
    return { kind: "conflict" };
  }

  /**
   * Deletes a quota.
   * @throws WorldError when the store fails
   */
  async remove(name: string): Promise<"removed" | "missing" | "conflict" | "unsupported"> {
    const { allocator, log, quotas } = this.#ports;
    if (quotas === undefined) return "unsupported";
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const existing = quotas.all().find((quota) => quota.name === name);
      if (existing === undefined) return attempt === 1 ? "missing" : "removed";
      allocator.assertLeader(`delete FloatingIPQuota ${name}`);
      const { kind } = await quotas.remove(existing);
      if (kind !== "conflict") {
        log.info("quota deleted for an operator", { quota: name });
        return kind;
      }
      await this.#pause();
    }
    return "conflict";
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#ports.clock.after(retryMs, resolve);
    });
  }
}
