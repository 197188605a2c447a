// What somebody who applies a workload should hear before its pods wait for addresses, and what is mended for those who ask for it. Pure;
// nothing is ever refused here: whoever decides about addresses is the scheduler extender, and a webhook may be away.

/** A workload as it was applied, as far as addresses are concerned. */
export type AdmittedWorkload = {
  /** How messages name it, for example `Deployment shop/web`. */
  readonly name: string;
  /**
   * Whether its pods may have no more addresses than there are replicas: they want float IPs, of a policy that keeps them. In a pool the
   * size of the Pool object counts instead, if it has one; a webhook does not read it.
   */
  readonly hasFixedAddresses: boolean;
  /** The pool of its pods; undefined when they have none. */
  readonly pool: string | undefined;
  /** Why a rolling update waits for ever with a fixed set of addresses; undefined when it does not. */
  readonly rolloutDeadlock: string | undefined;
  /** What is wrong with the annotations of its pod template, each a sentence with the remedy. */
  readonly templateProblems: readonly string[];
  /** Annotations on the workload itself that count only on its pod template. */
  readonly misplaced: readonly string[];
  readonly rolloutFix: RolloutFix;
};

/** Whether the owner asks for a mended rolling update; `unreadable`: neither yes nor no stands there. */
export type RolloutFix = "wanted" | "not wanted" | { readonly unreadable: string };

/** Annotation of a Deployment: `true` sets maxSurge 0 and maxUnavailable 1 where the rolling update would wait for ever. */
export const fixRolloutAnnotation = "galaxy.k8s.io/fix-rollout";

/** What to do about a workload that is applied. */
export type AdmissionDecision = {
  /** The rolling update is to take maxSurge 0 and maxUnavailable 1. */
  readonly fixesRollout: boolean;
  /** Said to whoever applies it; empty when all is well. */
  readonly warnings: readonly string[];
};

/** Decides about a workload that is created or changed. */
export function decideAdmission(workload: AdmittedWorkload): AdmissionDecision {
  const { name, rolloutFix } = workload;
  const deadlock = workload.hasFixedAddresses ? workload.rolloutDeadlock : undefined;
  const warnings = workload.templateProblems.map((problem) => `${name}: ${problem}`);
  for (const key of workload.misplaced) {
    warnings.push(
      `${name}: annotation ${key} has no effect on the workload itself; move it to spec.template.metadata.annotations`,
    );
  }
  if (typeof rolloutFix === "object") {
    warnings.push(
      `${name}: annotation ${fixRolloutAnnotation}: ${rolloutFix.unreadable} is neither "true" nor "false"; write one of them`,
    );
  }
  const fixesRollout = deadlock !== undefined && rolloutFix === "wanted";
  if (deadlock !== undefined && !fixesRollout) {
    const unless =
      workload.pool === undefined ? "" : `unless Pool ${workload.pool} has a size with room, `;
    warnings.push(
      `${unless}${deadlock}, or annotate the Deployment with ${fixRolloutAnnotation}: "true"`,
    );
  }
  return { fixesRollout, warnings };
}
