// Which pods carry an address, kept beside a cache of pods: an operator may edit thousands of records, and looking through all pods for the
// carrier of each would keep everything else waiting.

import type { PodFacts } from "./facts.ts";
import type { Ip } from "./ip.ts";

/** Pods by the addresses in their annotations. */
export class CarrierIndex {
  readonly #pods = new Map<Ip, readonly PodFacts[]>();

  /** The pods that carry the address, more than one where something went wrong. */
  of(ip: Ip): readonly PodFacts[] {
    return this.#pods.get(ip) ?? [];
  }

  /**
   * Follows a change of the cache.
   * @param before the very object of the last change; undefined for a pod that was not there
   * @param after undefined for a pod that is gone
   */
  replace(before: PodFacts | undefined, after: PodFacts | undefined): void {
    for (const ip of before?.assignedIps ?? []) {
      const others = this.of(ip).filter((pod) => pod !== before);
      if (others.length === 0) this.#pods.delete(ip);
      else this.#pods.set(ip, others);
    }
    for (const ip of after?.assignedIps ?? []) {
      // A pod may name an address twice.
      const others = this.of(ip).filter((pod) => pod !== after);
      if (after !== undefined) this.#pods.set(ip, [...others, after]);
    }
  }
}
