// How many addresses a namespace may have, and how many it has. Pure; quotas are asked in decide-filter.ts, right before addresses are taken.

import type { AllocationView } from "./allocation-table.ts";
import type { Ip } from "./ip.ts";
import { namespaceOf } from "./owner.ts";

/** A FloatingIPQuota object. */
export type QuotaFacts = {
  readonly name: string;
  readonly uid: string;
  /** Namespaces that it names, each with the limit for itself; empty: every namespace that no other quota names. */
  readonly namespaces: readonly string[];
  /** Most addresses of one namespace, used and reserved. */
  readonly limit: number;
  /** What the object says that this release does not know; kept, and without a meaning here. */
  readonly foreignText?: string;
  readonly version: string;
};

/**
 * The quota in force for a namespace: of those that name it the one with the lowest limit, else of those for all namespaces; of equal
 * limits the first by name.
 */
export function quotaInForce(
  quotas: readonly QuotaFacts[],
  namespace: string,
): QuotaFacts | undefined {
  const naming = quotas.filter((quota) => quota.namespaces.includes(namespace));
  const candidates =
    naming.length > 0 ? naming : quotas.filter((quota) => quota.namespaces.length === 0);
  return candidates.toSorted((a, b) => a.limit - b.limit || (a.name < b.name ? -1 : 1))[0];
}

/** Addresses of a namespace: with a record (used or reserved), and promised to pods that are being scheduled. */
export type NamespaceUse = { readonly recordedCount: number; readonly promisedCount: number };

/**
 * What a namespace has. One that is being released counts until the store has removed it. It takes as long as there are promises to pods of the
 * namespace, however many addresses it has.
 * @param askingPodUid a pod whose own promise does not count; undefined when no pod asks
 */
export function namespaceUse(
  namespace: string,
  view: AllocationView,
  askingPodUid: string | undefined,
): NamespaceUse {
  let promisedCount = 0;
  for (const hold of view.holdsIn(namespace)) {
    if (hold.podUid === askingPodUid) continue;
    // A pod that has its address needs no more, though its hold stands until the record is written.
    if (view.ofPod(hold.pod).some(({ podUid }) => podUid === hold.podUid)) continue;
    let mostNew = 0;
    for (const ips of hold.byZone.values()) {
      mostNew = Math.max(mostNew, newCountOf(ips, namespace, view));
    }
    promisedCount += mostNew;
  }
  return { recordedCount: view.countIn(namespace), promisedCount };
}

/** How many of these addresses the namespace does not have yet. */
export function newCountOf(ips: readonly Ip[], namespace: string, view: AllocationView): number {
  return ips.filter((ip) => namespaceOf(view.get(ip)?.owner) !== namespace).length;
}
