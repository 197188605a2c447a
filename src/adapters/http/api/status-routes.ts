// GET /v1/status: this replica, its configuration and its figures in one look.

import type { IpamService } from "../../../ipam/ipam-service.ts";
import type { Leadership } from "../../../ports/leadership.ts";
import { getStatus } from "../../../wire/api/status.ts";
import { formatTime } from "../../../wire/json-value.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** What the program knows of itself. */
export type ProcessFacts = {
  readonly version: string;
  /** Name of this replica. */
  readonly instance: string;
  readonly mode: "kubernetes" | "embedded";
  readonly startedAtMs: number;
  /** Where the configuration comes from, in words. */
  readonly configurationSource: string;
  readonly leadership: Leadership;
  readonly nowMs: () => number;
};

/** The route of the status. */
export function statusRoutes(service: IpamService, facts: ProcessFacts): readonly Route[] {
  return [
    route(getStatus, () => {
      const { isReady, reason } = service.readiness();
      const { status } = service.reconfigure;
      const { leadership } = facts;
      return {
        status: 200,
        body: {
          version: facts.version,
          instance: facts.instance,
          leader: leadership.leaderName(),
          isLeader: leadership.isLeader(),
          isReady,
          reason,
          mode: facts.mode,
          time: formatTime(facts.nowMs()),
          startedAt: formatTime(facts.startedAtMs),
          configuration: {
            isConfigured: status.isConfigured,
            problems: [...status.problems],
            warnings: [...status.warnings],
            source: facts.configurationSource,
          },
          counts: countsOf(service),
        },
      };
    }),
  ];
}

function countsOf(service: IpamService) {
  const { view } = service.allocator;
  const sums = { total: 0, free: 0, held: 0, bound: 0, reserved: 0, admin: 0, draining: 0 };
  for (const usage of view.usage()) {
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += usage[name];
  }
  const { nodeCount, podCount, poolCount } = service.clusterCounts();
  return {
    records: view.size,
    subnets: view.topology.subnets.length,
    nodes: nodeCount,
    pools: poolCount,
    pods: podCount,
    ...sums,
    unsettled: [...view.inPhase("unsettled"), ...view.inPhase("lost")].length,
    waiting: service.reclaim.queueLength,
  };
}
