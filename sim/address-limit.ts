// How many addresses a workload whose pods are interchangeable may have: the judge's own reading of spec float-ip 4 and 8, not the product's.

import type { SimWorkload } from "../src/adapters/simulated/objects.ts";

/** The replicas, and what a Deployment has beside them for rolling updates; one without replicas has none of either. */
export function addressLimitOf({ kind, replicas, template }: SimWorkload): number {
  const surge = kind === "deployment" ? (template.surgeAddresses ?? 0) : 0;
  return replicas === 0 ? 0 : replicas + surge;
}
