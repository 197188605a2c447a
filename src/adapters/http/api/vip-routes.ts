// GET /v1/vip: the path is there for clients; until shared virtual IPs are served, there are none.

import { listVips } from "../../../wire/api/vip.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** The routes of shared virtual IPs. */
export function vipRoutes(): readonly Route[] {
  return [route(listVips, () => ({ status: 200, body: { vips: [] } }))];
}
