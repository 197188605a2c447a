// GET /v1/history: who had an address when.

import { parseIp } from "../../../core/ip.ts";
import type { Tenure, TenureFilter } from "../../../core/tenure.ts";
import { holderState } from "../../../core/tenure.ts";
import type { History } from "../../../ipam/history.ts";
import { appTypeOf } from "../../../wire/api/app-type.ts";
import type { HistoryEntryAnswer } from "../../../wire/api/history.ts";
import { listHistory } from "../../../wire/api/history.ts";
import { formatTime } from "../../../wire/json-value.ts";
import { formatOwnerKey } from "../../../wire/owner-key.ts";
import { notAnAddress } from "./ip-routes.ts";
import type { Route } from "./route.ts";
import { problem, route } from "./route.ts";

/** The route of the history. */
export function historyRoutes(history: History): readonly Route[] {
  return [
    route(listHistory, async ({ query }) => {
      const ip = query.ip === undefined ? undefined : parseIp(query.ip);
      if (query.ip !== undefined && ip === undefined) return notAnAddress(query.ip, "ip");
      const times: { at?: number; from?: number; until?: number } = {};
      for (const name of ["at", "from", "until"] as const) {
        const text = query[name];
        if (text === undefined) continue;
        const timeMs = Date.parse(text);
        if (Number.isNaN(timeMs)) {
          return problem(400, `${name} is no time; write it as 2026-01-31T12:00:00Z`, {
            field: name,
          });
        }
        times[name] = timeMs;
      }
      if (times.at !== undefined && (times.from ?? times.until) !== undefined) {
        return problem(400, "at is one moment; leave out from and until, or at", { field: "at" });
      }
      const filter: TenureFilter = {
        ip,
        namespace: query.namespace,
        podName: query.podName,
        appName: query.appName,
        appType: query.appType === undefined ? undefined : appTypeOf(query.appType),
        fromMs: times.at ?? times.from,
        untilMs: times.at ?? times.until,
      };
      const { offset = 0, limit = 100 } = query;
      const found = await history.find(filter, { offset, limit });
      const isLast = offset + found.tenures.length >= found.totalCount;
      return {
        status: 200,
        body: {
          entries: found.tenures.map(formatTenure),
          totalCount: found.totalCount,
          isComplete: isLast && found.keptSinceMs === undefined,
          ...(found.keptSinceMs === undefined ? {} : { keptSince: formatTime(found.keptSinceMs) }),
        },
      };
    }),
  ];
}

function formatTenure(tenure: Tenure): HistoryEntryAnswer {
  const { ip, holder, fromMs, untilMs } = tenure;
  const { owner, podUid, nodeName } = holder;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  const pool = owner.kind === "pod" || owner.kind === "pool" ? owner.pool : undefined;
  const namespace = (pod ?? workload)?.namespace;
  return {
    ip,
    from: formatTime(fromMs),
    ...(untilMs === undefined ? {} : { until: formatTime(untilMs) }),
    state: holderState(holder),
    key: formatOwnerKey(owner),
    ...(namespace === undefined ? {} : { namespace }),
    ...(workload === undefined ? {} : { appName: workload.name, appType: workload.kind }),
    ...(pod === undefined ? {} : { podName: pod.name }),
    ...(pool === undefined ? {} : { poolName: pool }),
    ...(podUid === "" ? {} : { podUid }),
    ...(nodeName === "" ? {} : { nodeName }),
    ...(tenure.fromIsAbout ? { fromIsAbout: true } : {}),
    ...(tenure.untilIsAbout ? { untilIsAbout: true } : {}),
  };
}
