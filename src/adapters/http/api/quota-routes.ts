// /v1/quota and /v1/idle: limits of namespaces, and reserved addresses that no pod uses.

import type { QuotaFacts } from "../../../core/quota.ts";
import type { IdleAddress, IdleAddresses } from "../../../ipam/idle-addresses.ts";
import type { QuotaAdmin } from "../../../ipam/quota-admin.ts";
import type { IdleAddressAnswer } from "../../../wire/api/idle.ts";
import { listIdle } from "../../../wire/api/idle.ts";
import { deleteQuota, listQuotas, putQuota } from "../../../wire/api/quota.ts";
import { formatTime } from "../../../wire/json-value.ts";
import { formatReserveTtl, parseReserveTtl } from "../../../wire/reserve-ttl.ts";
import type { Route } from "./route.ts";
import { problem, route } from "./route.ts";

const noQuotas = () => problem(404, "this program keeps no quotas");
const changing = (name: string) =>
  problem(409, `quota ${name} is being changed by somebody else; try again in a moment`);

/** The routes of quotas. */
export function quotaRoutes(quotas: QuotaAdmin): readonly Route[] {
  return [
    route(listQuotas, () => ({
      status: 200,
      body: {
        quotas: quotas.list().map(formatQuotaAnswer),
        namespaces: quotas.namespaces().map((look) => ({
          namespace: look.namespace,
          quota: look.quota.name,
          limit: look.quota.limit,
          used: look.recordedCount,
          promised: look.promisedCount,
        })),
      },
    })),
    route(putQuota, async ({ params: { name }, body: { limit, namespaces } }) => {
      const outcome = await quotas.put({ name, limit, namespaces });
      if (outcome.kind === "unsupported") return noQuotas();
      if (outcome.kind === "conflict") return changing(name);
      return { status: 200, body: formatQuotaAnswer(outcome.quota) };
    }),
    route(deleteQuota, async ({ params: { name } }) => {
      const outcome = await quotas.remove(name);
      if (outcome === "unsupported") return noQuotas();
      if (outcome === "conflict") return changing(name);
      if (outcome === "missing") return problem(404, `there is no quota ${name}`);
      return { status: 200, body: { name } };
    }),
  ];
}

function formatQuotaAnswer({ name, limit, namespaces }: QuotaFacts) {
  return { name, limit, namespaces: [...namespaces] };
}

/** The route of idle addresses. */
export function idleRoutes(idle: IdleAddresses, nowMs: () => number): readonly Route[] {
  return [
    route(listIdle, ({ query }) => {
      const { limit = 500, longerThan, namespace, pool } = query;
      const least = parseReserveTtl(longerThan, "longerThan");
      if (least === "never" || typeof least === "object") {
        return problem(400, `longerThan ${JSON.stringify(longerThan)} is no duration such as 24h`, {
          field: "longerThan",
        });
      }
      const untilMs = nowMs() - (least ?? 0);
      const found = idle
        .list()
        .filter(({ allocation }) => least === undefined || (allocation.idleSinceMs ?? 0) <= untilMs)
        .map(formatIdle)
        .filter((answer) => namespace === undefined || answer.namespace === namespace)
        .filter((answer) => pool === undefined || answer.poolName === pool);
      return { status: 200, body: { total: found.length, addresses: found.slice(0, limit) } };
    }),
  ];
}

function formatIdle({ allocation, keptBecause, releaseAtMs, ttl }: IdleAddress): IdleAddressAnswer {
  const { idleSinceMs, idleWarnedMs, ip, owner, policy } = allocation;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
  const namespace = pod?.namespace ?? workload?.namespace;
  return {
    ip,
    ...(namespace === undefined ? {} : { namespace }),
    ...(workload === undefined ? {} : { appType: workload.kind, appName: workload.name }),
    ...(pod === undefined ? {} : { podName: pod.name }),
    ...(pool === undefined ? {} : { poolName: pool }),
    policy,
    ...(idleSinceMs === undefined ? {} : { idleSince: formatTime(idleSinceMs) }),
    ...(ttl.kind === "ms" ? { reserveTTL: formatReserveTtl(ttl.ttlMs), ttlFrom: ttl.from } : {}),
    ...(idleWarnedMs === undefined ? {} : { warnedAt: formatTime(idleWarnedMs) }),
    ...(releaseAtMs === undefined ? {} : { releaseAt: formatTime(releaseAtMs) }),
    ...(keptBecause === undefined ? {} : { keptBecause }),
  };
}
