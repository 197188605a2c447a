// The objects of the simulated API server: as much of Kubernetes' kinds as addresses depend on, in facts rather than JSON.

import type { Allocation } from "../../core/allocation.ts";
import type { NodeFacts, PodFacts, PoolFacts } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import type { WorkloadRef } from "../../core/owner.ts";
import type { QuotaFacts } from "../../core/quota.ts";
import type { PodSubnet } from "../../core/subnets.ts";

/** What pods of a workload ask for. */
export type PodTemplate = Pick<
  PodFacts,
  "wantsAddress" | "policy" | "pool" | "request" | "reserveTtl"
> & {
  /** Changes with every roll-out. */
  readonly revision: number;
  /** Of a Deployment: addresses beside those of its replicas, for rolling updates (annotation `surge-ips`); none by default. */
  readonly surgeAddresses?: number;
  /** Virtual addresses that each pod claims; none by default. */
  readonly virtualIps?: readonly Ip[];
};

/** A pod with what its controllers and kubelet need. */
export type SimPod = {
  readonly facts: PodFacts;
  readonly revision: number;
  /** Ready for traffic: what roll-outs wait for. */
  readonly isReady: boolean;
  /** When deletion was asked for; undefined when it was not. */
  readonly deletedAtMs: number | undefined;
  /** A DaemonSet's pod may run on this node only. */
  readonly onlyNode: string | undefined;
  /** Pods of higher priority may preempt. */
  readonly priority: number;
  /** Virtual addresses that it claims; none by default. */
  readonly virtualIps?: readonly Ip[];
};

/** A node; `isUp`: its kubelet works. */
export type SimNode = {
  readonly facts: NodeFacts;
  readonly isUp: boolean;
  readonly downSinceMs: number;
};

/** The kinds of workload of this world. */
export type WorkloadKind =
  | "deployment"
  | "replicaset"
  | "statefulset"
  | "daemonset"
  | "job"
  | "tapp"
  | "plain";

/** A workload of any kind. `tapp` is scalable and names pods by ordinals, `plain` does the same without a scale subresource. */
export type SimWorkload = {
  readonly kind: WorkloadKind;
  readonly ref: WorkloadRef;
  readonly uid: string;
  readonly replicas: number;
  readonly firstOrdinal: number;
  readonly template: PodTemplate;
  /** Roll-out of Deployments. */
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  /** The Deployment of a ReplicaSet. */
  readonly deployment: string | undefined;
};

/** The address configuration as the ConfigMap has it. */
export type SimConfig =
  | { readonly kind: "valid"; readonly subnets: readonly PodSubnet[] }
  | { readonly kind: "broken"; readonly problems?: readonly string[] };

/** Values by kind of object. */
export type Objects = {
  readonly pods: SimPod;
  readonly nodes: SimNode;
  readonly workloads: SimWorkload;
  readonly pools: PoolFacts;
  readonly records: Allocation;
  readonly config: SimConfig;
  readonly quotas: QuotaFacts;
};

/** Names of the collections. */
export type Collection = keyof Objects;
