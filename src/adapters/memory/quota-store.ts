// The QuotaStore on a map, for tests and the simulator. What was written is seen at once.

import type { QuotaFacts } from "../../core/quota.ts";
import type { QuotaStore, QuotaWriteOutcome } from "../../ports/quota-store.ts";

/** Quotas in memory; several stores over one map are several processes. */
export class MemoryQuotaStore implements QuotaStore {
  readonly #quotas: Map<string, QuotaFacts>;

  constructor(quotas: Map<string, QuotaFacts> = new Map()) {
    this.#quotas = quotas;
  }

  all(): readonly QuotaFacts[] {
    return [...this.#quotas.values()];
  }

  async write(quota: QuotaFacts): Promise<QuotaWriteOutcome> {
    await Promise.resolve();
    const present = this.#quotas.get(quota.name);
    if (present === undefined && quota.version !== "") return { kind: "missing" };
    if (present !== undefined && present.version !== quota.version) return { kind: "conflict" };
    const version = String(Number(present?.version ?? "0") + 1);
    const uid = present?.uid ?? `uid-quota-${quota.name}`;
    const written = { ...quota, uid, version };
    this.#quotas.set(quota.name, written);
    return { kind: "written", quota: written };
  }

  async remove(quota: QuotaFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
    await Promise.resolve();
    const present = this.#quotas.get(quota.name);
    if (present === undefined) return { kind: "missing" };
    if (present.version !== quota.version) return { kind: "conflict" };
    this.#quotas.delete(quota.name);
    return { kind: "removed" };
  }
}
