// What the pods of the model claim: readiness and deletion come from the seed. Stands in for annotations in a cluster.

import type { Ip } from "../../src/core/ip.ts";
import type { PodId } from "../../src/core/owner.ts";
import type { VipPool } from "../../src/core/vip-holder.ts";
import type { VipClaim, VipClaims } from "../../src/ports/vip-claims.ts";

/** Pods that may be changed while the world runs. */
export class ModelClaims implements VipClaims {
  readonly #claims: { ips: readonly Ip[]; claim: VipClaim }[] = [];
  readonly #pool: VipPool;
  readonly #listeners = new Set<(ip: Ip) => void>();

  constructor(pool: VipPool) {
    this.#pool = pool;
  }

  add(ips: readonly Ip[], claim: VipClaim): void {
    this.#claims.push({ ips, claim });
    this.#tell(ips);
  }

  /** Changes the pod of this uid; others are left alone. */
  change(podUid: string, change: Partial<VipClaim>): void {
    for (const entry of this.#claims) {
      if (entry.claim.podUid !== podUid) continue;
      entry.claim = { ...entry.claim, ...change };
      this.#tell(entry.ips);
    }
  }

  /** Every pod's claim. */
  pods(): readonly VipClaim[] {
    return this.#claims.map(({ claim }) => claim);
  }

  claimedIps(): readonly Ip[] {
    return [...new Set(this.#claims.flatMap(({ ips }) => ips))];
  }

  claimsOf(ip: Ip): readonly VipClaim[] {
    return this.#claims.filter(({ ips }) => ips.includes(ip)).map(({ claim }) => claim);
  }

  ipsOf(pod: PodId): readonly Ip[] {
    return this.#claims.find(({ claim }) => claim.pod.name === pod.name)?.ips ?? [];
  }

  complaints(): readonly [] {
    return [];
  }

  pools(): readonly VipPool[] {
    return [this.#pool];
  }

  forbidden(): readonly [] {
    return [];
  }

  watch(listener: (ip: Ip) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(ips: readonly Ip[]): void {
    for (const listener of [...this.#listeners]) for (const ip of ips) listener(ip);
  }
}
