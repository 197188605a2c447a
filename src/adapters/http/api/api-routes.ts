// All routes that each mode of the program serves, over the use cases. A mode that has more adds them to this list.

import type { IpamService } from "../../../ipam/ipam-service.ts";
import type { Route } from "./route.ts";
import { subnetRoutes } from "./subnet-routes.ts";
import { vipRoutes } from "./vip-routes.ts";

/** What the routes are made over. */
export type ApiParts = { readonly service: IpamService };

/** The routes of the HTTP API. */
export function createApiRoutes({ service }: ApiParts): readonly Route[] {
  return [...subnetRoutes(service.allocator.view), ...vipRoutes()];
}
