// The Job controller with `replicas` completions, all in parallel: pods that failed or are being deleted are replaced, finished ones stay.

import type { SimWorkload } from "../objects.ts";
import {
  createPodOfAnyName,
  deletePodOf,
  isActive,
  type Workplace,
  workloadText,
} from "./workplace.ts";

/** Failures after which a Job is given up (`backoffLimit`, the default of Kubernetes). */
const mostFailures = 6;
const firstBackOffMs = 1_000;
const longestBackOffMs = 30_000;

/** What a Job's status remembers of pods, also when their objects are gone: uids. */
export type JobStatus = {
  readonly succeeded: Set<string>;
  readonly failed: Set<string>;
  /** No new pods before this moment. */
  notBeforeMs: number;
};

/** Creates the pods that are missing for completion, or ends a Job that failed too often. */
export function reconcileJob(place: Workplace, job: SimWorkload, status: JobStatus): void {
  const pods = [...place.podsOf(job.uid)];
  const failuresBefore = status.failed.size;
  for (const [, { facts }] of pods) {
    if (facts.phase === "Succeeded") status.succeeded.add(facts.uid);
    if (facts.phase === "Failed") status.failed.add(facts.uid);
  }
  const active = pods.filter(([, pod]) => isActive(pod));
  if (status.failed.size > mostFailures) {
    for (const [key] of active) deletePodOf(place, job, key, "the Job failed too often");
    return;
  }
  const nowMs = place.api.nowMs();
  if (status.failed.size > failuresBefore) {
    const backOffMs = Math.min(firstBackOffMs * 2 ** (status.failed.size - 1), longestBackOffMs);
    status.notBeforeMs = nowMs + backOffMs;
    place.trace(`${workloadText(job)}: ${status.failed.size} failed, waits ${backOffMs} ms`);
  }
  const missing = job.replicas - status.succeeded.size - active.length;
  if (missing <= 0) return;
  if (nowMs < status.notBeforeMs) {
    place.again(job, status.notBeforeMs - nowMs);
    return;
  }
  for (let count = 0; count < missing; count += 1) createPodOfAnyName(place, job);
}
