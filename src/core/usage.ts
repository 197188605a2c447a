// How full each pod subnet is: the figures behind metrics, scores and messages.

import type { PodSubnet } from "./subnets.ts";

/** Addresses of one pod subnet by what they are used for; `total` = bound + reserved + admin + held + free. */
export type SubnetUsage = {
  readonly subnet: PodSubnet;
  readonly total: number;
  readonly bound: number;
  readonly reserved: number;
  readonly admin: number;
  /** Promised to pods that are being scheduled. */
  readonly held: number;
  readonly free: number;
  /** Outside the ranges but still in a pod; not part of `total`. */
  readonly draining: number;
};
