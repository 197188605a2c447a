// GET /v1/subnet and /v1/address-map: how full each pod subnet is, and what each address or block is used for.

import type { MapBlock, MapState } from "../../../core/address-map.ts";
import { mapAddresses, mapBlocks } from "../../../core/address-map.ts";
import type { ListedView } from "../../../core/allocation-table.ts";
import { ipFromNumber, parseIpNumber } from "../../../core/ip.ts";
import { formatCidr, formatIpRange } from "../../../core/ip-range.ts";
import type { SubnetUsage } from "../../../core/usage.ts";
import { addressLetters, cellCounts } from "../../../wire/api/address-letters.ts";
import type { SubnetAnswer } from "../../../wire/api/subnet.ts";
import { getAddressMap, listSubnets } from "../../../wire/api/subnet.ts";
import { notAnAddress } from "./ip-routes.ts";
import type { Route } from "./route.ts";
import { problem, route } from "./route.ts";

/** What these routes are made over. */
export type SubnetRouteParts = {
  readonly view: () => ListedView;
  /** Resolves when the listing is complete. */
  readonly whenListed: () => Promise<void>;
};

/** The routes of pod subnets. */
export function subnetRoutes({ view, whenListed }: SubnetRouteParts): readonly Route[] {
  return [
    route(listSubnets, () => ({
      status: 200,
      body: { subnets: view().usage().map(formatUsage) },
    })),
    route(getAddressMap, async ({ query }) => {
      const { blockSize = 1, cells: wanted = 256 } = query;
      const first = parseIpNumber(query.first);
      if (first === undefined) return notAnAddress(query.first, "first");
      const end = typeof first === "number" ? 2 ** 32 : 2n ** 128n;
      const room = typeof first === "number" ? Number(end) - first : Number(BigInt(end) - first);
      const cells = Math.min(wanted, Math.ceil(room / blockSize));
      const last = ipFromNumber(
        typeof first === "number"
          ? Math.min(2 ** 32 - 1, first + cells * blockSize - 1)
          : first + BigInt(cells) * BigInt(blockSize) - 1n,
      );
      const common = { first: ipFromNumber(first), last, blockSize, cells };
      if (blockSize === 1) {
        const letters = mapAddresses(view(), first, cells).map(
          (state: MapState) => addressLetters[state],
        );
        return { status: 200, body: { ...common, letters: letters.join("") } };
      }
      if (cells < 1) return problem(400, "the map has no cells", { field: "cells" });
      await whenListed();
      const blocks = mapBlocks(view(), first, blockSize, cells);
      return { status: 200, body: { ...common, counts: countsOf(blocks) } };
    }),
  ];
}

/** State by state; states that do not occur are left out. */
function countsOf(blocks: readonly MapBlock[]): Record<string, number[]> {
  const counts: Record<string, number[]> = {};
  for (const name of cellCounts) {
    if (name === "conflict" || name === "unknown") continue;
    const column = blocks.map((block) => block[name]);
    if (column.some((count) => count > 0)) counts[name] = column;
  }
  return counts;
}

/** A pod subnet as the API shows it. */
export function formatUsage({ subnet, ...counts }: SubnetUsage): SubnetAnswer {
  return {
    subnet: formatCidr(subnet.cidr),
    ranges: subnet.ranges.map(formatIpRange),
    gateway: subnet.gateway,
    vlan: subnet.vlan,
    nodeSubnets: subnet.nodeSubnets.map(formatCidr),
    ...counts,
  };
}
