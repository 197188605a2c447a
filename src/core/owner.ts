// Who an address belongs to, as a model. The established key text (`pool__P_dp_NS_APP_POD`) exists only in wire/owner-key.ts.

/** A pod by name. Names are unique in a namespace, so that this finds the pod; `uid` tells one life of it from the next. */
export type PodId = { readonly namespace: string; readonly name: string };

/**
 * What created a pod.
 * - `deployment`, `statefulset`, `replicaset`: those of API group `apps`; `replicaset` is one without a Deployment
 * - `custom`: any other controller, also a kind called StatefulSet or ReplicaSet of another group
 */
export type WorkloadType = "deployment" | "statefulset" | "replicaset" | "custom";

/** A workload by name. */
export type WorkloadRef = {
  readonly type: WorkloadType;
  /** Lower-case kind: `deployment`, `tapp`, `job`. */
  readonly kind: string;
  /** `apps` for the built-in types; undefined when a record of the Go system does not say it. */
  readonly apiGroup: string | undefined;
  readonly namespace: string;
  readonly name: string;
};

/**
 * Whose an address is.
 * - `pod`: a pod's, or kept for the next pod of that name; `pool` when the pod is a member of one
 * - `workload`: reserved for any pod of a Deployment or bare ReplicaSet
 * - `pool`: reserved for any pod of a pool
 * - `admin`: taken out of allocation by an operator (label `reserved`); `key` is the text that stood in the record
 * - `foreign`: a record whose key says nothing to us; never touched, reported
 */
export type Owner =
  | {
      readonly kind: "pod";
      readonly pod: PodId;
      readonly workload: WorkloadRef | undefined;
      readonly pool: string | undefined;
    }
  | { readonly kind: "workload"; readonly workload: WorkloadRef }
  | { readonly kind: "pool"; readonly pool: string }
  | { readonly kind: "admin"; readonly key: string }
  | { readonly kind: "foreign"; readonly key: string };

/** Text that identifies a pod in maps and logs: `namespace/name`. */
export function podIdText(pod: PodId): string {
  return `${pod.namespace}/${pod.name}`;
}

/** The pod of a text made by {@link podIdText}. */
export function parsePodIdText(text: string): PodId {
  const slash = text.indexOf("/");
  return { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

/**
 * Text that identifies a workload in maps and logs: `kind/namespace/name`. The API group is not part of it: records of the Go system
 * do not carry it, and two workloads of one kind and name in a namespace cannot have pods of the same name at once.
 */
export function workloadIdText(workload: WorkloadRef): string {
  return `${workload.type === "custom" ? `custom.${workload.kind}` : workload.kind}/${workload.namespace}/${workload.name}`;
}

/** Whether any pod of the workload may have any of its addresses (as opposed to one address per pod name). */
export function podsAreInterchangeable(workload: WorkloadRef | undefined): boolean {
  return workload?.type === "deployment" || workload?.type === "replicaset";
}

/** The Deployment, StatefulSet or ReplicaSet of API group `apps`. */
export function builtInWorkload(
  type: "deployment" | "statefulset" | "replicaset",
  id: { readonly namespace: string; readonly name: string },
): WorkloadRef {
  return { type, kind: type, apiGroup: "apps", namespace: id.namespace, name: id.name };
}

/**
 * The ordinal at the end of a pod's name (`web-3` → 3), or undefined when the name has none. The established rule is the
 * regular expression `.*-[0-9]*$`; digits are read as Go reads them, a missing number or one beyond 2^53 is no ordinal.
 */
export function ordinalOf(podName: string): number | undefined {
  const match = /-([0-9]+)$/.exec(podName);
  if (match === null) return undefined;
  const ordinal = Number(match[1]);
  return Number.isSafeInteger(ordinal) ? ordinal : undefined;
}

/** The namespace that an address counts for: that of its pod or workload. What belongs to a pool or an administrator counts for none. */
export function namespaceOf(owner: Owner | undefined): string | undefined {
  if (owner?.kind === "pod") return owner.pod.namespace;
  return owner?.kind === "workload" ? owner.workload.namespace : undefined;
}

/** Whether two owners are the same. */
export function sameOwner(a: Owner, b: Owner): boolean {
  if (a.kind === "pod" && b.kind === "pod") {
    return (
      podIdText(a.pod) === podIdText(b.pod) &&
      a.pool === b.pool &&
      sameWorkload(a.workload, b.workload)
    );
  }
  if (a.kind === "workload" && b.kind === "workload") return sameWorkload(a.workload, b.workload);
  if (a.kind === "pool" && b.kind === "pool") return a.pool === b.pool;
  if (a.kind === "admin" && b.kind === "admin") return a.key === b.key;
  if (a.kind === "foreign" && b.kind === "foreign") return a.key === b.key;
  return false;
}

function sameWorkload(a: WorkloadRef | undefined, b: WorkloadRef | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return workloadIdText(a) === workloadIdText(b);
}

/** How messages name the owner of an address. */
export function describeOwner(owner: Owner): string {
  switch (owner.kind) {
    case "pod":
      return `pod ${podIdText(owner.pod)}${owner.pool === undefined ? "" : ` of pool ${owner.pool}`}`;
    case "workload":
      return `workload ${workloadIdText(owner.workload)}`;
    case "pool":
      return `pool ${owner.pool}`;
    case "admin":
      return `the administrator (${owner.key})`;
    case "foreign":
      return `an owner that is not understood (${owner.key})`;
    default:
      return owner satisfies never;
  }
}
