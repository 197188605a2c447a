// How many pods of a workload with interchangeable pods may have addresses at a time. Whether they get them is decided in decide-filter.ts,
// what is kept of them in decide-reclaim.ts; both ask here, or one would release what the other counts on.

/** What a Deployment or bare ReplicaSet says. */
export type ReplicaWish = {
  /** Undefined counts as 1, the API's default. */
  readonly replicas: number | undefined;
  readonly surgeAddresses?: number;
};

/**
 * The replicas, and the addresses that the workload has beside them for rolling updates (annotation `surge-ips`, spec float-ip section 8).
 * A workload without replicas keeps none of either.
 */
export function addressLimitOf({ replicas = 1, surgeAddresses = 0 }: ReplicaWish): number {
  return replicas === 0 ? 0 : replicas + surgeAddresses;
}
