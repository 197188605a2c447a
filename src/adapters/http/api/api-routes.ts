// All routes that each mode of the program serves, over the use cases. A mode that has more hands them over.

import type { VipRecord } from "../../../core/vip.ts";
import type { VipPool } from "../../../core/vip-holder.ts";
import type { IpamService } from "../../../ipam/ipam-service.ts";
import type { ConfigurationPlace } from "../../../wire/backup.ts";
import { usualConfigurationPlace } from "../../../wire/backup.ts";
import { backupRoutes } from "./backup-routes.ts";
import { checkRoutes } from "./check-routes.ts";
import { documentRoutes } from "./document-routes.ts";
import { explainRoutes } from "./explain-routes.ts";
import { importRoutes } from "./import-routes.ts";
import { ipRoutes } from "./ip-routes.ts";
import { poolRoutes } from "./pool-routes.ts";
import { idleRoutes, quotaRoutes } from "./quota-routes.ts";
import { reservationRoutes } from "./reservation-routes.ts";
import type { Route } from "./route.ts";
import type { ProcessFacts } from "./status-routes.ts";
import { statusRoutes } from "./status-routes.ts";
import { subnetRoutes } from "./subnet-routes.ts";
import { vipRoutes } from "./vip-routes.ts";

/** What the routes are made over. */
export type ApiParts = {
  readonly service: IpamService;
  readonly process: ProcessFacts;
  /** The records of virtual addresses as last seen; left out where none are served. */
  readonly vips?: (() => readonly VipRecord[]) | undefined;
  /** VIPPools in force; left out where none are served. */
  readonly vipPools?: (() => readonly VipPool[]) | undefined;
  /** The ConfigMap that the configuration of a backup belongs into; by default the usual one. */
  readonly configurationPlace?: ConfigurationPlace;
  /** Routes of this mode alone; they stand in the documents as well. */
  readonly more?: readonly Route[];
};

/** The routes of the HTTP API, with the documents about them. */
export function createApiRoutes(parts: ApiParts): readonly Route[] {
  const {
    configurationPlace: place = usualConfigurationPlace,
    more = [],
    process,
    service,
  } = parts;
  const { vipPools = () => [], vips = () => [] } = parts;
  const { admin, allocator, explain } = service;
  const view = () => allocator.view;
  const routes = [
    ...ipRoutes({
      admin,
      allocator,
      reasonsOf: ({ ip, podStatus }) => explain.address(ip, podStatus),
    }),
    ...poolRoutes(service.poolAdmin),
    ...quotaRoutes(service.quotaAdmin),
    ...idleRoutes(service.idle, () => process.nowMs()),
    ...reservationRoutes(admin),
    ...subnetRoutes({ view, whenListed: () => admin.whenListed() }),
    ...explainRoutes(explain, () => allocator.view.topology),
    ...vipRoutes(vips, vipPools),
    ...checkRoutes(service.check),
    ...importRoutes(admin),
    ...backupRoutes({ service, process, place, vips, vipPools }),
    ...statusRoutes(service, process),
    ...more,
  ];
  return [...routes, ...documentRoutes(routes, process.version)];
}
