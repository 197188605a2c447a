// Builders of the objects that scenarios create: `aDeployment({ name: "web", policy: "immutable" })`. Each says only
// what matters to the scenario; annotations and resources are those of the user's documents.

import type {
  ConfigMap,
  Deployment,
  FloatingIp,
  KubeObject,
  Manifest,
  OwnerReference,
  Pod,
  Pool,
  StatefulSet,
} from "./kinds.ts";

/** The extended resource that asks for float IPs. */
export const FLOAT_IP_RESOURCE = "tke.cloud.tencent.com/eni-ip";
export const POLICY_ANNOTATION = "k8s.v1.cni.galaxy.io/release-policy";
export const POOL_ANNOTATION = "tke.cloud.tencent.com/eni-ip-pool";
export const ARGS_ANNOTATION = "k8s.v1.cni.galaxy.io/args";
export const FAMILIES_ANNOTATION = "k8s.v1.cni.galaxy.io/ip-families";
export const SURGE_ANNOTATION = "k8s.v1.cni.galaxy.io/surge-ips";
export const NETWORKS_ANNOTATION = "k8s.v1.cni.cncf.io/networks";

/** What a pod (or a pod template) asks for. */
export type PodWish = {
  /** Whether the float IP resource is requested; true by default. */
  readonly wantsFloatIp?: boolean;
  /** Any text: wrong ones are cases, too. */
  readonly policy?: string;
  readonly pool?: string;
  /** `request_ip_range`: one address per inner list. */
  readonly ranges?: readonly (readonly string[])[];
  readonly families?: string;
  readonly surgeIps?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly cpu?: string;
  readonly memory?: string;
  readonly priorityClassName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly schedulerName?: string;
  /** 1 by default, so that deletion goes through the (simulated) kubelet as in a cluster; 0 skips it. */
  readonly terminationGracePeriodSeconds?: number;
  /** Further fields of the pod's spec. */
  readonly podSpec?: Readonly<Record<string, unknown>>;
};

type Named = { readonly name: string; readonly namespace?: string };

export type WorkloadWish = Named &
  PodWish & {
    /** 1 by default. */
    readonly replicas?: number;
    /** Further fields of the workload's spec, for example `strategy`. */
    readonly spec?: Readonly<Record<string, unknown>>;
  };

export type PodManifestWish = Named &
  PodWish & {
    readonly ownerReferences?: readonly OwnerReference[];
    /** Skips the scheduler. */
    readonly nodeName?: string;
  };

/** The namespace of builders that are not told one. */
const DEFAULT_NAMESPACE = "default";

/** A pod template with the label `app: <name>`, for workloads of any kind. */
export function aPodTemplate(wish: Named & PodWish): Readonly<Record<string, unknown>> {
  return {
    metadata: { labels: { app: wish.name, ...wish.labels }, annotations: annotationsOf(wish) },
    spec: podSpecOf(wish),
  };
}

/** A bare pod, or with `ownerReferences` one that claims an owner. */
export function aPod(wish: PodManifestWish): Manifest<Pod> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: wish.name,
      namespace: wish.namespace ?? DEFAULT_NAMESPACE,
      labels: { app: wish.name, ...wish.labels },
      annotations: annotationsOf(wish),
      ...(wish.ownerReferences === undefined ? {} : { ownerReferences: wish.ownerReferences }),
    },
    spec: {
      ...podSpecOf(wish),
      ...(wish.nodeName === undefined ? {} : { nodeName: wish.nodeName }),
    },
  };
}

/** A Deployment whose pods carry the label `app: <name>`. */
export function aDeployment(wish: WorkloadWish): Manifest<Deployment> {
  return aWorkload<Deployment>("apps/v1", "Deployment", wish);
}

/** A StatefulSet whose pods carry the label `app: <name>`; pods are started in order unless `spec` says otherwise. */
export function aStatefulSet(wish: WorkloadWish): Manifest<StatefulSet> {
  const spec = { serviceName: wish.name, ...wish.spec };
  return aWorkload<StatefulSet>("apps/v1", "StatefulSet", { ...wish, spec });
}

/** A workload of any kind that has replicas, a selector and a pod template. */
export function aWorkload<T extends KubeObject>(
  apiVersion: string,
  kind: string,
  wish: WorkloadWish,
): Manifest<T> {
  return {
    apiVersion,
    kind,
    metadata: {
      name: wish.name,
      namespace: wish.namespace ?? DEFAULT_NAMESPACE,
      labels: { app: wish.name },
    },
    spec: {
      replicas: wish.replicas ?? 1,
      selector: { matchLabels: { app: wish.name } },
      template: aPodTemplate(wish),
      ...wish.spec,
    },
  };
}

/** A Pool, by default in `kube-system` where the API writes them. */
export function aPool(
  wish: Named & { readonly size?: number; readonly preAllocateIP?: boolean },
): Manifest<Pool> {
  const { name, namespace = "kube-system", ...fields } = wish;
  return {
    apiVersion: "galaxy.k8s.io/v1alpha1",
    kind: "Pool",
    metadata: { name, namespace },
    ...fields,
  };
}

/** The record of an address; with `isReserved` one that the administrator takes out of allocation. */
export function aFloatingIp(wish: {
  readonly ip: string;
  readonly key?: string;
  readonly policy?: 0 | 1 | 2;
  readonly nodeName?: string;
  readonly podUid?: string;
  readonly isReserved?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
}): Manifest<FloatingIp> {
  const reserved = wish.isReserved === true ? { reserved: "true" } : {};
  return {
    apiVersion: "galaxy.k8s.io/v1alpha1",
    kind: "FloatingIP",
    metadata: {
      name: wish.ip.replaceAll(":", "-"),
      labels: { ipType: "internalIP", ...reserved, ...wish.labels },
    },
    spec: {
      key: wish.key ?? (wish.isReserved === true ? "pool__reserved-for-node_" : ""),
      policy: wish.policy ?? 0,
      attribute: JSON.stringify({ NodeName: wish.nodeName ?? "", Uid: wish.podUid ?? "" }),
      updateTime: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    },
  };
}

/** One entry of the address configuration, as the user's documents write it. */
export type FloatingIpEntry = {
  readonly nodeSubnets?: readonly string[];
  readonly routableSubnet?: string;
  readonly ips: readonly string[];
  readonly subnet: string;
  readonly gateway: string;
  readonly vlan?: number;
};

/** The address configuration; text is taken as it is, for broken ones. */
export function aConfigMap(wish: {
  readonly floatingips: readonly FloatingIpEntry[] | string;
  readonly name?: string;
  readonly namespace?: string;
  readonly key?: string;
}): Manifest<ConfigMap> {
  const { floatingips } = wish;
  const text = typeof floatingips === "string" ? floatingips : JSON.stringify(floatingips);
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: wish.name ?? "floatingip-config",
      namespace: wish.namespace ?? "kube-system",
    },
    data: { [wish.key ?? "floatingips"]: text },
  };
}

/** A namespace. */
export function aNamespace(name: string): Manifest {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name } };
}

/** A CustomResourceDefinition of a workload kind in version v1 with any fields, with or without a scale subresource. */
export function aWorkloadDefinition(wish: {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly hasScale: boolean;
}): Manifest {
  const scale = { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${wish.plural}.${wish.group}` },
    spec: {
      group: wish.group,
      scope: "Namespaced",
      names: { kind: wish.kind, plural: wish.plural, singular: wish.kind.toLowerCase() },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: "object",
              "x-kubernetes-preserve-unknown-fields": true,
            },
          },
          subresources: wish.hasScale ? { status: {}, scale } : { status: {} },
        },
      ],
    },
  };
}

/** The controller reference that a pod of `owner` carries. */
export function ownedBy(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

function annotationsOf(wish: PodWish): Record<string, string> {
  const annotations: Record<string, string> = {};
  if (wish.wantsFloatIp !== false) {
    annotations[NETWORKS_ANNOTATION] = "galaxy-k8s-vlan";
  }
  if (wish.policy !== undefined) {
    annotations[POLICY_ANNOTATION] = wish.policy;
  }
  if (wish.pool !== undefined) {
    annotations[POOL_ANNOTATION] = wish.pool;
  }
  if (wish.ranges !== undefined) {
    annotations[ARGS_ANNOTATION] = JSON.stringify({ request_ip_range: wish.ranges });
  }
  if (wish.families !== undefined) {
    annotations[FAMILIES_ANNOTATION] = wish.families;
  }
  if (wish.surgeIps !== undefined) {
    annotations[SURGE_ANNOTATION] = String(wish.surgeIps);
  }
  return { ...annotations, ...wish.annotations };
}

function podSpecOf(wish: PodWish): Record<string, unknown> {
  const requests: Record<string, string> = {};
  if (wish.cpu !== undefined) {
    requests.cpu = wish.cpu;
  }
  if (wish.memory !== undefined) {
    requests.memory = wish.memory;
  }
  const floatIps: Record<string, string> =
    wish.wantsFloatIp === false ? {} : { [FLOAT_IP_RESOURCE]: "1" };
  const resources = { requests: { ...requests, ...floatIps }, limits: floatIps };
  const { priorityClassName, nodeSelector, schedulerName } = wish;
  return {
    containers: [{ name: "main", image: "nginx:1.7.9", resources }],
    terminationGracePeriodSeconds: wish.terminationGracePeriodSeconds ?? 1,
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(schedulerName === undefined ? {} : { schedulerName }),
    ...wish.podSpec,
  };
}
