// GET /v1/subnet: how full each pod subnet is.

import type { AllocationView } from "../../../core/allocation-table.ts";
import { formatCidr, formatIpRange } from "../../../core/ip-range.ts";
import type { SubnetUsage } from "../../../core/usage.ts";
import type { SubnetAnswer } from "../../../wire/api/subnet.ts";
import { listSubnets } from "../../../wire/api/subnet.ts";
import type { Route } from "./route.ts";
import { route } from "./route.ts";

/** The routes of pod subnets. */
export function subnetRoutes(view: Pick<AllocationView, "usage">): readonly Route[] {
  return [
    route(listSubnets, () => ({ status: 200, body: { subnets: view.usage().map(formatUsage) } })),
  ];
}

function formatUsage({ subnet, ...counts }: SubnetUsage): SubnetAnswer {
  return {
    subnet: formatCidr(subnet.cidr),
    ranges: subnet.ranges.map(formatIpRange),
    gateway: subnet.gateway,
    vlan: subnet.vlan,
    nodeSubnets: subnet.nodeSubnets.map(formatCidr),
    ...counts,
  };
}
