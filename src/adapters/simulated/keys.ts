// The keys under which the simulated API server keeps namespaced objects. Not the owner keys of records; those are in src/wire/owner-key.ts.

import { type PodId, podIdText } from "../../core/owner.ts";
import type { WorkloadKind } from "./objects.ts";

/** Key of a workload: `kind/namespace/name`. */
export function workloadKey(kind: WorkloadKind, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

/** Key of a pod: `namespace/name`. */
export function podKey(id: PodId): string {
  return podIdText(id);
}
