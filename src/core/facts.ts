// What is known about pods, nodes, workloads and pools: plain facts that decisions are made from. Parsed in wire/, read through ports.

import type { Ip, IpFamily } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import type { PodId, WorkloadRef } from "./owner.ts";
import type { ReleasePolicy } from "./release-policy.ts";
import type { ReserveTtl } from "./reserve-ttl.ts";

/** Phase of a pod as Kubernetes names it. */
export type PodPhase = "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";

/**
 * Which addresses a pod asks for.
 * - `families`: one of each family that its node's pod subnets have; undefined means the default (IPv4, else IPv6)
 * - `ranges`: one address per entry, each out of the ranges of that entry (`request_ip_range`)
 */
export type AddressRequest =
  | { readonly kind: "families"; readonly families: readonly IpFamily[] | undefined }
  | { readonly kind: "ranges"; readonly ranges: readonly (readonly IpRange[])[] };

/** The controller reference of an object. */
export type ControllerRef = {
  readonly apiGroup: string;
  /** Version without the group, for example `v1`. */
  readonly apiVersion: string;
  /** Kind as written, for example `StatefulSet`. */
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
};

/** A pod, as far as addresses are concerned. */
export type PodFacts = {
  readonly id: PodId;
  readonly uid: string;
  readonly phase: PodPhase;
  /** Deletion was requested; the pod may still run. */
  readonly isTerminating: boolean;
  /** "" until it is bound to a node. */
  readonly nodeName: string;
  /** Some container requests `tke.cloud.tencent.com/eni-ip`. */
  readonly wantsAddress: boolean;
  /** It names the resource, but with quantity 0 everywhere: the scheduler leaves its Binding to us all the same. */
  readonly requestsNone?: boolean;
  readonly policy: ReleasePolicy;
  /** How long its address may be reserved without a pod; absent when its annotations say nothing. */
  readonly reserveTtl?: ReserveTtl;
  /** Name of the pool it is a member of. */
  readonly pool: string | undefined;
  readonly controller: ControllerRef | undefined;
  readonly request: AddressRequest;
  /** Addresses in the pod's `common.ipinfos`: what the node side was told to configure. */
  readonly assignedIps: readonly Ip[];
  /** The args annotation as it stands, so that writing it keeps what we do not know; "" when absent. */
  readonly argsText: string;
  /** What is wrong with its annotations, each a sentence that names annotation, value and remedy. Empty when all is well. */
  readonly problems: readonly string[];
  /** What is wrong and no reason to refuse the pod, in the same form; absent when there is nothing. */
  readonly warnings?: readonly string[];
  readonly createdAtMs: number;
};

/** Succeeded and Failed pods (evicted ones too) have given up their network; a missing pod has none. */
export function podIsFinished(pod: PodFacts): boolean {
  return pod.phase === "Succeeded" || pod.phase === "Failed";
}

/** A node, as far as addresses are concerned. */
export type NodeFacts = {
  readonly name: string;
  /** Addresses of type InternalIP in the order of the object; empty when it has none. */
  readonly internalIps: readonly Ip[];
};

/** Whether and how a workload can be scaled. */
export type WorkloadState =
  | {
      readonly kind: "present";
      readonly uid: string;
      /** Wanted replicas; undefined when the kind has no scale subresource with `specReplicasPath`. */
      readonly replicas: number | undefined;
      /** Addresses that a Deployment has beside those of its replicas, for rolling updates; none by default. */
      readonly surgeAddresses?: number;
      /** What its pod template says of {@link PodFacts.reserveTtl}; absent when it says nothing, or when no template is known: of custom kinds. */
      readonly reserveTtl?: ReserveTtl;
      /** First ordinal (`spec.ordinals.start` of a StatefulSet); 0 otherwise. */
      readonly firstOrdinal: number;
      /** Why a rolling update of it waits for ever with a fixed set of addresses; undefined when it does not. */
      readonly rolloutDeadlock: string | undefined;
    }
  | { readonly kind: "gone" }
  /** Not known now (cache not filled, kind cannot be read). Never taken for gone. */
  | { readonly kind: "unknown"; readonly reason: string };

/** The workload that a pod belongs to, for decisions about addresses. */
export type PodOwnership = {
  readonly workload: WorkloadRef | undefined;
  /**
   * Whether `workload` is certain: false while the ReplicaSet of a Deployment's pod is not known and the name had to be
   * cut at the last `-`.
   */
  readonly isCertain: boolean;
};

/** A Pool object. */
export type PoolFacts = {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** Most addresses the pool may have; undefined: it grows with the replicas of its workloads. */
  readonly size: number | undefined;
  /** Fill the pool up to `size` without waiting for pods. */
  readonly preAllocate: boolean;
  /** How long its addresses may be reserved without a pod when the pods do not say it; absent: as long as nobody releases them. */
  readonly reserveTtl?: ReserveTtl;
  /** Why `reserveTtl` counts as "never": what stands there cannot be understood. A sentence with the remedy. */
  readonly reserveTtlProblem?: string;
  /** What the object says that this release does not know; kept, and without a meaning here. */
  readonly foreignText?: string;
  readonly createdAtMs: number;
  readonly version: string;
};
