// The shapes of the Kubernetes objects that the tests look at, as the API server sends them, and where each kind
// lives. Only the fields that scenarios read are named; it knows nothing of the product's own types.

/** Object metadata as read from the API server. */
export type ObjectMeta = {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
};

export type OwnerReference = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
};

/** Any object as read from the API server. */
export type KubeObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
};

/** What a manifest says in its metadata; the API server fills in the rest. */
export type ManifestMeta = {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
};

/** An object to be written; `T` is what the API server answers with (a type-level note, never a field). */
export type Manifest<T extends KubeObject = KubeObject> = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ManifestMeta;
  readonly [field: string]: unknown;
  readonly __read?: T;
};

/** Where a kind lives in the API; `T` is the shape of its objects (a type-level note, never a field). */
export type Kind<T extends KubeObject = KubeObject> = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly __read?: T;
};

export type Condition = {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
};

export type Container = {
  readonly name: string;
  readonly image: string;
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
};

export type PodSpec = {
  readonly nodeName?: string;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly priority?: number;
};

export type Pod = KubeObject & {
  readonly spec: PodSpec;
  readonly status: {
    readonly phase: "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly nominatedNodeName?: string;
    readonly conditions?: readonly Condition[];
  };
};

export type Node = KubeObject & {
  readonly spec: {
    readonly unschedulable?: boolean;
    readonly taints?: readonly {
      readonly key: string;
      readonly effect: string;
      readonly value?: string;
    }[];
  };
  readonly status: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly conditions?: readonly Condition[];
  };
};

type PodTemplate = {
  readonly metadata?: ManifestMeta;
  readonly spec: PodSpec;
};

type WorkloadSpec = {
  readonly replicas: number;
  readonly template: PodTemplate;
};

export type Deployment = KubeObject & {
  readonly spec: WorkloadSpec;
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
    readonly availableReplicas?: number;
    readonly unavailableReplicas?: number;
    readonly conditions?: readonly Condition[];
  };
};

export type ReplicaSet = KubeObject & {
  readonly spec: WorkloadSpec;
  readonly status: { readonly replicas: number; readonly readyReplicas?: number };
};

export type StatefulSet = KubeObject & {
  readonly spec: WorkloadSpec & { readonly serviceName: string };
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas: number;
    readonly readyReplicas?: number;
    readonly updatedReplicas?: number;
    readonly currentRevision?: string;
    readonly updateRevision?: string;
  };
};

export type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

export type Lease = KubeObject & {
  readonly spec: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
};

export type KubeEvent = KubeObject & {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count?: number;
  readonly involvedObject: {
    readonly kind: string;
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
  };
};

export type CustomResourceDefinition = KubeObject & {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly [field: string]: unknown }[];
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
};

/** The record of one address; `spec.attribute` is JSON text with `NodeName` and `Uid`. */
export type FloatingIp = KubeObject & {
  readonly spec: {
    readonly key: string;
    readonly policy: 0 | 1 | 2;
    readonly attribute?: string;
    readonly updateTime?: string;
    readonly [field: string]: unknown;
  };
  readonly status?: Readonly<Record<string, unknown>>;
};

/** `size` and `preAllocateIP` stand at top level, as the established CRD has them. */
export type Pool = KubeObject & {
  readonly size?: number;
  readonly preAllocateIP?: boolean;
  readonly status?: Readonly<Record<string, unknown>>;
};

function kind<T extends KubeObject>(
  apiVersion: string,
  name: string,
  plural: string,
  scope: "Namespaced" | "Cluster" = "Namespaced",
): Kind<T> {
  return { apiVersion, kind: name, plural, namespaced: scope === "Namespaced" };
}

export const nodes: Kind<Node> = kind("v1", "Node", "nodes", "Cluster");
export const pods: Kind<Pod> = kind("v1", "Pod", "pods");
export const configMaps: Kind<ConfigMap> = kind("v1", "ConfigMap", "configmaps");
export const events: Kind<KubeEvent> = kind("v1", "Event", "events");
export const deployments: Kind<Deployment> = kind("apps/v1", "Deployment", "deployments");
export const replicaSets: Kind<ReplicaSet> = kind("apps/v1", "ReplicaSet", "replicasets");
export const statefulSets: Kind<StatefulSet> = kind("apps/v1", "StatefulSet", "statefulsets");
export const daemonSets: Kind = kind("apps/v1", "DaemonSet", "daemonsets");
export const leases: Kind<Lease> = kind("coordination.k8s.io/v1", "Lease", "leases");
export const customResourceDefinitions: Kind<CustomResourceDefinition> = kind(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  "Cluster",
);
export const floatingVips: Kind<
  KubeObject & { readonly status?: Readonly<Record<string, unknown>> }
> = kind("galaxy.k8s.io/v1alpha1", "FloatingVIP", "floatingvips", "Cluster");
export const vipPools: Kind = kind("galaxy.k8s.io/v1alpha1", "VIPPool", "vippools", "Cluster");
export const floatingIps: Kind<FloatingIp> = kind(
  "galaxy.k8s.io/v1alpha1",
  "FloatingIP",
  "floatingips",
  "Cluster",
);
export const pools: Kind<Pool> = kind("galaxy.k8s.io/v1alpha1", "Pool", "pools");

/** Describes a custom kind, for workloads that a test defines itself. */
export function customKind<T extends KubeObject = KubeObject>(
  apiVersion: string,
  name: string,
  plural: string,
  scope: "Namespaced" | "Cluster" = "Namespaced",
): Kind<T> {
  return kind<T>(apiVersion, name, plural, scope);
}
