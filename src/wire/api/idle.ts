// GET /v1/idle: reserved addresses that no pod uses, and when they are released.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

const idleSchema = Type.Object(
  {
    ip: Type.String(),
    namespace: Type.Optional(Type.String()),
    appType: Type.Optional(Type.String({ description: "lower-case kind of the workload" })),
    appName: Type.Optional(Type.String()),
    podName: Type.Optional(Type.String({ description: "the pod name that it is reserved for" })),
    poolName: Type.Optional(Type.String()),
    policy: Type.Enum(["pod-delete", "immutable", "never"]),
    idleSince: Type.Optional(
      Type.String({
        format: "date-time",
        description: "since when no pod has it; absent when that is not known",
      }),
    ),
    reserveTTL: Type.Optional(
      Type.String({ description: "how long it may be so; absent: without end" }),
    ),
    ttlFrom: Type.Optional(Type.Enum(["annotation", "pool"], { description: "who said so" })),
    warnedAt: Type.Optional(
      Type.String({ format: "date-time", description: "when its owner was told" }),
    ),
    releaseAt: Type.Optional(
      Type.String({
        format: "date-time",
        description: "when it is released if nothing changes; absent when it is not",
      }),
    ),
    keptBecause: Type.Optional(
      Type.String({ description: "what keeps it in spite of reserveTTL" }),
    ),
  },
  { title: "api.IdleAddress" },
);

/** A reserved address that no pod uses. */
export type IdleAddressAnswer = Static<typeof idleSchema>;

/** Reserved addresses that no pod uses. */
export const listIdle = endpoint({
  id: "listIdle",
  method: "GET",
  path: "/v1/idle",
  topic: "addresses",
  summary: "Reserved addresses that no pod uses, the longest first",
  access: { verb: "list", resource: "floatingips" },
  query: Type.Object({
    namespace: Type.Optional(Type.String({ description: "of this namespace" })),
    pool: Type.Optional(Type.String({ description: "of this pool" })),
    longerThan: Type.Optional(
      Type.String({ description: "for at least so long, for example 24h" }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 500 })),
  }),
  answers: {
    200: {
      description: "those of which the beginning is not known first, then the longest idle",
      schema: Type.Object(
        {
          total: Type.Integer({ description: "how many there are, shown or not" }),
          addresses: Type.Array(idleSchema),
        },
        { title: "api.IdleList" },
      ),
    },
  },
});
