// The three release policies as words. Their numbers on the wire are in wire/, what follows from them in decide-reclaim.ts.

/**
 * When an address leaves its owner.
 * - `pod-delete`: with the pod (number 0 in records)
 * - `immutable`: when the workload is scaled down or deleted (1)
 * - `never`: when an operator releases it (2)
 */
export type ReleasePolicy = "pod-delete" | "immutable" | "never";

/**
 * The policy in force for a pod. Membership of a pool implies `never`, whatever the annotation says (seeds: "Float IP Pool
 * Deployment is always never"). Any other text than the two names means `pod-delete`, capitals included.
 */
export function policyInForce(
  annotation: string | undefined,
  pool: string | undefined,
): ReleasePolicy {
  if (pool !== undefined) return "never";
  return annotation === "immutable" || annotation === "never" ? annotation : "pod-delete";
}
