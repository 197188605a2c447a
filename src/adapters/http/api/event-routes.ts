// GET /v1/events: the stream of changes.

import type { Allocation } from "../../../core/allocation.ts";
import type { IpamService } from "../../../ipam/ipam-service.ts";
import type { Leadership } from "../../../ports/leadership.ts";
import type { PoolStore } from "../../../ports/pool-store.ts";
import { formatWideAddress } from "../../../wire/api/address-answer.ts";
import { streamEvents } from "../../../wire/api/events.ts";
import type { RawQuery } from "../../../wire/api/read-request.ts";
import { firstOf } from "../../../wire/api/read-request.ts";
import { sendProblem } from "../http-door.ts";
import type { EventStreamLimits } from "./event-stream.ts";
import { EventStream } from "./event-stream.ts";
import type { Route } from "./route.ts";
import { formatUsage } from "./subnet-routes.ts";

/** A stream of what happens to addresses and Pools. Who reads configurations tells it of them. */
export function openEventStream(parts: {
  readonly service: IpamService;
  readonly pools: PoolStore;
  readonly leadership: Leadership;
  readonly limits?: Partial<EventStreamLimits>;
}): EventStream {
  const { service, pools, leadership, limits } = parts;
  const { admin, allocator } = service;
  const stream = new EventStream({
    describe: (ip) => formatWideAddress(admin.look({ ip, allocation: allocator.view.get(ip) })),
    usage: () => allocator.view.usage().map(formatUsage),
    // A follower is not told of everything: what the leader releases, for one, it only forgets.
    problem: () => (leadership.isLeader() ? undefined : "this replica does not lead"),
    ...(limits === undefined ? {} : { limits }),
  });
  allocator.onChange(({ before, after }) => {
    const ip = (after ?? before)?.ip;
    if (ip !== undefined) stream.addressChanged(ip, [before, after].flatMap(namespaceOf));
  });
  pools.watch((name) => stream.poolChanged(name));
  return stream;
}

function namespaceOf(allocation: Allocation | undefined): readonly string[] {
  const owner = allocation?.owner;
  if (owner?.kind === "pod") return [owner.pod.namespace];
  return owner?.kind === "workload" ? [owner.workload.namespace] : [];
}

/** The route of the stream. */
export function eventRoutes(stream: EventStream): readonly Route[] {
  return [
    {
      endpoint: streamEvents,
      answer: async (request, reply) => {
        const refusal = stream.refusal();
        if (refusal?.kind === "full") {
          return sendProblem(
            reply,
            429,
            `${refusal.count} listen already, which is the limit; try again later`,
          );
        }
        if (refusal !== undefined) {
          return sendProblem(reply, 503, `${refusal.reason}; ask the leader for events`);
        }
        const namespace = firstOf((request.query as RawQuery)["namespace"]);
        const lastEventId = firstOf(request.headers["last-event-id"]);
        reply.hijack();
        const headers = reply.getHeaders() as Record<string, string | number | string[]>;
        stream.listen(reply.raw, {
          namespace: namespace === "" ? undefined : namespace,
          lastEventId: lastEventId === "" ? undefined : lastEventId,
          headers,
        });
        return reply;
      },
    },
  ];
}
