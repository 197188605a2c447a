// Everything that this program keeps, of one moment. What a backup looks like as a file is not said here.

import type { Allocation } from "../core/allocation.ts";
import type { PoolFacts } from "../core/facts.ts";
import { compareIps } from "../core/ip.ts";
import type { QuotaFacts } from "../core/quota.ts";
import type { PodSubnet } from "../core/subnets.ts";
import type { Clock } from "../ports/clock.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { PoolStore } from "../ports/pool-store.ts";
import type { QuotaStore } from "../ports/quota-store.ts";
import type { Allocator } from "./allocator.ts";

/** What a backup needs. */
export type BackupPorts = {
  readonly allocator: Allocator;
  readonly pools: PoolStore;
  /** Undefined where namespaces have no quotas. */
  readonly quotas: QuotaStore | undefined;
  readonly leadership: Leadership;
  readonly clock: Clock;
};

/** The state of one moment, in an order that does not depend on how it came about. */
export type Snapshot = {
  readonly atMs: number;
  /** A replica that follows may be behind by what its watch has not shown yet. */
  readonly isLeader: boolean;
  /** The configuration in force. */
  readonly subnets: readonly PodSubnet[];
  readonly pools: readonly PoolFacts[];
  readonly quotas: readonly QuotaFacts[];
  readonly records: readonly Allocation[];
};

/** Takes snapshots. */
export class Backup {
  readonly #ports: BackupPorts;

  constructor(ports: BackupPorts) {
    this.#ports = ports;
  }

  /** Without an await: nothing of it is older or newer than the rest. Virtual addresses are the caller's to add in the same tick. */
  snapshot(): Snapshot {
    const { allocator, clock, leadership, pools, quotas } = this.#ports;
    const { view } = allocator;
    return {
      atMs: clock.nowMs(),
      isLeader: leadership.isLeader(),
      subnets: view.topology.subnets,
      pools: [...pools.all()].sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1)),
      quotas: [...(quotas?.all() ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)),
      records: [...view.all()].sort((a, b) => compareIps(a.ip, b.ip)),
    };
  }
}

function placeOf({ name, namespace }: PoolFacts): string {
  return `${namespace}/${name}`;
}
