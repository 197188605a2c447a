// /v1/pool: create or change, look at, delete and list pools.

import type { PoolFacts } from "../../../core/facts.ts";
import type { PoolAdmin, PoolLook } from "../../../ipam/pool-admin.ts";
import { parseGoBoolean } from "../../../wire/api/list-query.ts";
import type { PoolUsage } from "../../../wire/api/pool.ts";
import { deletePool, getPool, listPools, putPool } from "../../../wire/api/pool.ts";
import { firstOf } from "../../../wire/api/read-request.ts";
import { quoteValue } from "../../../wire/json-value.ts";
import { poolNameProblem } from "../../../wire/pod.ts";
import { formatReserveTtl, parseReserveTtl } from "../../../wire/reserve-ttl.ts";
import type { Route } from "./route.ts";
import { problem, route } from "./route.ts";

const changing = (name: string) =>
  problem(409, `pool ${name} is being changed by somebody else; try again in a moment`);

/** The routes of pools. */
export function poolRoutes(pools: PoolAdmin): readonly Route[] {
  return [
    route(putPool, async ({ body }) => {
      const { name = "", size, preAllocateIP = false } = body;
      if (name === "") return problem(400, "pool name is empty", { field: "name" });
      const nameProblem = poolNameProblem(name) ?? objectNameProblem(name);
      if (nameProblem !== undefined) return problem(400, nameProblem, { field: "name" });
      const ttl = parseReserveTtl(body.reserveTTL, `pool ${name}: reserveTTL`, "");
      if (typeof ttl === "object") return problem(400, ttl.problem, { field: "reserveTTL" });
      const outcome = await pools.put({
        name,
        size,
        preAllocate: preAllocateIP,
        reserveTtl: body.reserveTTL === "" ? "none" : ttl,
      });
      if (outcome.kind === "conflict") return changing(name);
      const realPoolSize = outcome.realSize;
      return outcome.missingCount === 0
        ? { status: 200, body: { code: 200, message: "", realPoolSize } }
        : { status: 202, body: { code: 202, message: "No enough IPs", realPoolSize } };
    }),
    route(getPool, ({ params: { name } }) => {
      const pool = pools.get(name);
      if (pool === undefined) return problem(404, `pool ${name}`);
      return {
        status: 200,
        body: {
          code: 200,
          message: "",
          pool: {
            name,
            size: pool.size ?? 0,
            preAllocateIP: pool.preAllocate,
            ...formatTtl(pool),
          },
        },
      };
    }),
    route(deletePool, async ({ params: { name }, rawQuery }) => {
      const releases = parseGoBoolean(firstOf(rawQuery["release"]) || undefined);
      if (releases === "invalid") {
        return problem(400, "release is neither true nor false", { field: "release" });
      }
      const outcome = await pools.remove(name, { releases: releases === true });
      if (outcome === "conflict") return changing(name);
      if (outcome === "missing") return problem(404, `pool ${name}`);
      return { status: 200, body: { code: 200, message: "" } };
    }),
    route(listPools, () => ({
      status: 200,
      body: { pools: pools.list().map(formatPoolUsage) },
    })),
  ];
}

/** A pool of the API is an object of Kubernetes, whose name is a DNS-1123 subdomain. */
function objectNameProblem(name: string): string | undefined {
  return /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)
    ? undefined
    : `pool name ${quoteValue(name)} is no DNS-1123 subdomain: write lower-case letters, digits, "-" and "."`;
}

function formatTtl({ reserveTtl, reserveTtlProblem }: PoolFacts) {
  return reserveTtl === undefined || reserveTtlProblem !== undefined
    ? {}
    : { reserveTTL: formatReserveTtl(reserveTtl) };
}

function formatPoolUsage(look: PoolLook): PoolUsage {
  const { object } = look;
  const problems = [
    ...(look.missingCount === 0
      ? []
      : [`No enough IPs: ${look.missingCount} of ${object?.size} addresses are missing`]),
    ...(object?.reserveTtlProblem === undefined ? [] : [object.reserveTtlProblem]),
  ];
  return {
    name: look.name,
    ...(object === undefined ? {} : { namespace: object.namespace }),
    ...(object?.size === undefined ? {} : { size: object.size }),
    preAllocateIP: object?.preAllocate ?? false,
    ...(object === undefined ? {} : formatTtl(object)),
    allocated: look.allocatedCount,
    used: look.usedCount,
    missing: look.missingCount,
    ...(problems.length === 0 ? {} : { problem: problems.join("; ") }),
  };
}
