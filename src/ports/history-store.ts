// Who had an address when, kept beyond the life of the process. Only the leader adds to it; anybody may ask.

import type { Ip } from "../core/ip.ts";
import type { HolderChange, Tenure, TenureFilter, TenurePage } from "../core/tenure.ts";

/** What an adapter that is bounded forgot. */
export type KeptHistory = TenurePage & {
  /** Nothing older is known, milliseconds since 1970; undefined while nothing was forgotten. */
  readonly keptSinceMs: number | undefined;
};

/**
 * Promises: changes stay in the order in which they were added and are never changed; those whose `append` resolved are found after a
 * restart. Adapters are bounded in number and time and forget the oldest changes first. Rejections are WorldErrors.
 */
export interface HistoryStore {
  /**
   * Adds changes that happened after all that were added before. To be called again with the same list after a rejection: what was written all
   * the same is not written twice. Calls do not overlap.
   */
  append(changes: readonly HolderChange[]): Promise<void>;
  /** Tenures that ended, those that ended last first. */
  ended(
    filter: TenureFilter,
    page: { readonly offset: number; readonly limit: number },
  ): Promise<KeptHistory>;
  /** Who has an address according to the history, read from where it is kept and not from memory. */
  lastHolders(): Promise<ReadonlyMap<Ip, Pick<Tenure, "holder" | "fromMs" | "fromIsAbout">>>;
}
