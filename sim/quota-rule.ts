// How many addresses a namespace may have: the judge's own reading of docs/idle-addresses.md, from the quotas and records of the API server.

import type { SimApi } from "../src/adapters/simulated/api.ts";
import type { Allocation } from "../src/core/allocation.ts";
import type { Ip } from "../src/core/ip.ts";
import type { QuotaFacts } from "../src/core/quota.ts";
import { graceMs, History } from "./violation.ts";

/** The limit of a namespace: the lowest of the quotas that name it, else of those that name none; infinite without any. */
export function addressQuotaOf(namespace: string, quotas: readonly QuotaFacts[]): number {
  const naming = quotas.filter(({ namespaces }) => namespaces.includes(namespace));
  const general = quotas.filter(({ namespaces }) => namespaces.length === 0);
  return Math.min(
    Number.POSITIVE_INFINITY,
    ...(naming.length > 0 ? naming : general).map(({ limit }) => limit),
  );
}

/** The namespace that an address counts for; undefined when it counts for none. */
export function quotaNamespaceOf(record: Allocation | undefined): string | undefined {
  const owner = record?.owner;
  if (owner?.kind === "pod") return owner.pod.namespace;
  return owner?.kind === "workload" ? owner.workload.namespace : undefined;
}

/** Follows quotas and says when too much was taken. */
export class QuotaRule {
  readonly #api: SimApi;
  readonly #quotas = new History<readonly QuotaFacts[]>();

  constructor(api: SimApi) {
    this.#api = api;
    this.#quotas.add(Number.NEGATIVE_INFINITY, []);
  }

  /** A quota was written or deleted. */
  noteQuotas(): void {
    this.#quotas.add(this.#api.nowMs(), this.#api.list("quotas"));
  }

  /**
   * Why the address may not have been given to its owner; undefined when it may.
   * @param mayBeUnknown addresses that the process need not have counted
   */
  excess(
    before: Allocation | undefined,
    after: Allocation,
    mayBeUnknown: (ip: Ip) => boolean,
  ): string | undefined {
    const namespace = quotaNamespaceOf(after);
    if (namespace === undefined || quotaNamespaceOf(before) === namespace) return undefined;
    const limits = this.#quotas
      .since(this.#api.nowMs() - graceMs)
      .map((quotas) => addressQuotaOf(namespace, quotas));
    const most = Math.max(...limits);
    const count = this.#api
      .list("records")
      .filter((other) => quotaNamespaceOf(other) === namespace && !mayBeUnknown(other.ip)).length;
    return count > most
      ? `namespace ${namespace} has ${count} addresses with a quota of ${most} after ${after.ip}`
      : undefined;
  }
}
