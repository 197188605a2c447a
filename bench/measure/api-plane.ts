// The HTTP API over a filled control plane in memory, for the benchmarks that ask it. Not the questions.

import { createApiRoutes } from "../../src/adapters/http/api/api-routes.ts";
import type { Route } from "../../src/adapters/http/api/route.ts";
import { createApiServer } from "../../src/adapters/http/api-server.ts";
import type { Door } from "../../src/adapters/http/http-door.ts";
import type { PageFiles } from "../../src/adapters/http/page-files.ts";
import { MemoryCluster } from "../../src/adapters/memory/cluster.ts";
import type { Owner } from "../../src/core/owner.ts";
import type { IpamService } from "../../src/ipam/ipam-service.ts";
import type { Leadership } from "../../src/ports/leadership.ts";
import {
  createMemoryService,
  putMember,
  putNodes,
  putWorkload,
  quietLog,
} from "./memory-control-plane.ts";
import type { Member } from "./population.ts";
import { configuredSubnets, population } from "./population.ts";

const nodeCount = 5_000;

/** The API in front of addresses in use; `some` is one of them. */
export type ApiPlane = {
  readonly door: Door;
  readonly port: number;
  readonly service: IpamService;
  readonly some: Member;
};

/** Opens the API on loopback in front of so many addresses in use, and the page when it is given. */
export async function startApiPlane(count: number, page?: PageFiles): Promise<ApiPlane> {
  const cluster = new MemoryCluster();
  putNodes(cluster, nodeCount);
  let some: Member | undefined;
  for (const member of population(count, nodeCount)) {
    putWorkload(cluster, member.workload);
    putMember(cluster, inPool(member));
    some = member;
  }
  if (some === undefined) throw new RangeError("a population has a member");
  const { service, leadership } = createMemoryService(cluster);
  const door = apiOver({ service, leadership, page });
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  service.start();
  service.configure({ kind: "valid", subnets: configuredSubnets(), warnings: [] }, undefined);
  await service.startLeading();
  return { door, port, service, some };
}

/** The API port over a control plane that is well; `more` are routes of one benchmark only. It listens when told to. */
export function apiOver(parts: {
  readonly service: IpamService;
  readonly leadership: Leadership;
  readonly page?: PageFiles | undefined;
  readonly more?: readonly Route[];
}): Door {
  const { service, leadership, page, more } = parts;
  const fine = () => undefined;
  return createApiServer({
    page,
    health: { livenessProblem: fine, healthProblem: fine, readinessProblem: fine },
    metrics: { contentType: "text/plain", text: async () => "" },
    log: quietLog,
    api: {
      routes: createApiRoutes({
        service,
        process: {
          version: "bench",
          instance: "bench",
          mode: "embedded",
          startedAtMs: 0,
          configurationSource: "bench",
          leadership,
          nowMs: () => Date.now(),
        },
        ...(more === undefined ? {} : { more }),
      }),
      readProblem: fine,
      changeProblem: fine,
    },
  });
}

/** Every fiftieth address that is kept for a pod's name belongs to a pool, too, so that a filter by pool finds something. */
function inPool(member: Member): Member {
  const { owner } = member.allocation;
  const place = Number(member.allocation.version) % 50;
  if (owner.kind !== "pod" || place !== 0) return member;
  const pooled: Owner = { ...owner, pool: `pool-${Number(member.allocation.version) % 7}` };
  return { ...member, allocation: { ...member.allocation, owner: pooled } };
}
