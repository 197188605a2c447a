// FloatingIPQuota objects: how many addresses a namespace may have. How many it has is known by the address space, not here.

import type { QuotaFacts } from "../core/quota.ts";

/** Outcome of writing a quota. */
export type QuotaWriteOutcome =
  | { readonly kind: "written"; readonly quota: QuotaFacts }
  | { readonly kind: "conflict" }
  | { readonly kind: "missing" };

/** Quotas of the cluster. Rejections are WorldErrors as in AllocationStore. */
export interface QuotaStore {
  /** All quotas as last seen, in no order; one that cannot be understood is left out. */
  all(): readonly QuotaFacts[];
  /** Creates (version "") or replaces (version as read) a quota; `conflict` also when a create finds one. */
  write(quota: QuotaFacts): Promise<QuotaWriteOutcome>;
  /** Deletes a quota if its version still is `quota.version`. */
  remove(quota: QuotaFacts): Promise<{ readonly kind: "removed" | "conflict" | "missing" }>;
}
