// What galaxy-ipam is put into: a Kubernetes cluster, or one of its own inside the process. A type alone; who makes it is kubernetes-world.ts and
// embedded-world.ts.

import type { Route } from "../../adapters/http/api/route.ts";
import type { PrometheusMetrics } from "../../adapters/metrics/prometheus-metrics.ts";
import type { Ip } from "../../core/ip.ts";
import type { IpamService } from "../../ipam/ipam-service.ts";
import type { AccessReview } from "../../ports/access-review.ts";
import type { AllocationStore } from "../../ports/allocation-store.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ClusterView } from "../../ports/cluster-view.ts";
import type { EventRecorder, ObjectRef } from "../../ports/event-recorder.ts";
import type { HistoryStore } from "../../ports/history-store.ts";
import type { Leadership } from "../../ports/leadership.ts";
import type { Log } from "../../ports/log.ts";
import type { PodBinder } from "../../ports/pod-binder.ts";
import type { PoolStore } from "../../ports/pool-store.ts";
import type { QuotaStore } from "../../ports/quota-store.ts";
import type { PodConditions, VipClaims } from "../../ports/vip-claims.ts";
import type { VipPools } from "../../ports/vip-pools.ts";
import type { NodeLeaseStore, VipStore } from "../../ports/vip-store.ts";
import type { IpamFileConfig, IpamFlags } from "../../wire/ipam-options.ts";

/** What a world is made from. */
export type WorldParts = {
  readonly flags: IpamFlags;
  readonly fileConfig: IpamFileConfig;
  /** Name of this process among others. */
  readonly identity: string;
  readonly version: string;
  readonly log: Log;
  readonly metrics: PrometheusMetrics;
  readonly clock: Clock;
  /** From now on this process leads. */
  readonly startLeading: () => void;
  /** It leads no more. */
  readonly stopLeading: () => void;
  readonly configure: IpamService["configure"];
};

/** Where the program listens; `certificate`: the one in force, in PEM, when it speaks HTTPS. */
export type Doors = {
  readonly host: string;
  readonly extenderPort: number;
  readonly apiPort: number;
  readonly certificate: (() => string) | undefined;
  /** The API port serves the web page. */
  readonly hasPage: boolean;
};

/** Something that follows the world, as metrics and health show it. */
export type Watch = {
  readonly what: string;
  /** `performance.now()` of the last sign of life. */
  readonly lastContactMs: number;
  /** Why nothing can be read; undefined when it can. */
  readonly problem: string | undefined;
};

/** Where virtual addresses are claimed and kept. */
export type VipWorld = {
  readonly vips: VipStore;
  readonly leases: NodeLeaseStore;
  readonly claims: VipClaims;
  /** Where pools are told of their use; undefined where there is nobody to be told. */
  readonly pools: VipPools | undefined;
  readonly conditions: PodConditions;
  readonly refOf: (ip: Ip) => ObjectRef;
};

/** The world from its opening to its end. Verbs are called once, in the order in which they stand here. */
export interface World {
  readonly kind: "kubernetes" | "embedded";
  readonly store: AllocationStore;
  readonly pools: PoolStore;
  readonly quotas: QuotaStore;
  readonly cluster: ClusterView;
  readonly binder: PodBinder;
  readonly events: EventRecorder;
  readonly leadership: Leadership;
  /** Undefined where virtual addresses are not served. */
  readonly vips: VipWorld | undefined;
  /** Where it is kept who had which address when. */
  readonly history: HistoryStore;
  /** Who knows the users of the API; undefined where there are none. */
  readonly accessReview: AccessReview | undefined;
  /** Where the configuration comes from, in words. */
  readonly configurationSource: string;
  /** Routes of the API that exist in this world only. */
  readonly routes: readonly Route[];
  watches(): readonly Watch[];
  /** Why the program has to be started again; undefined when it has not. */
  failure(): string | undefined;
  /** Why nobody can be chosen as leader; undefined when nothing is wrong. */
  electionProblem(): string | undefined;
  /** Why the configuration cannot be read at present, as far as that is not told as a configuration. */
  configurationProblem(): string | undefined;
  /** What has to be there before anything is read. Tried again when it rejects. */
  prepare(): Promise<void>;
  /** Begins to follow records, Pools and the cluster. */
  follow(): void;
  /** Begins to tell the configuration; resolves when it was told once, or cannot be read yet. */
  startConfiguration(): Promise<void>;
  whenRecordsAreKnown(): Promise<unknown>;
  whenClusterIsKnown(): Promise<unknown>;
  /** Resolves when claims, records and leases of virtual addresses are read. */
  whenVipsAreKnown(): Promise<unknown>;
  /** Begins to lead, or to try to. */
  startElection(): void;
  /**
   * Called when the doors are open and everything is known; resolves when whoever started the program was told so, or when `stopping`
   * is aborted.
   */
  serve(doors: Doors, stopping: AbortSignal): Promise<void>;
  /** Ends the election, and gives leadership back. */
  stopElection(): Promise<void>;
  /** Ends everything else. */
  stop(): Promise<void>;
  /** Frees connections and files, when no door is open any more. */
  close(): void;
}
