// /v1/history: who held an address when.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** One period in which an address was in one hand. */
export const historyEntrySchema = Type.Object(
  {
    ip: Type.String(),
    from: Type.String({ format: "date-time" }),
    until: Type.Optional(Type.String({ format: "date-time", description: "absent: still so" })),
    state: Type.Enum(["bound", "reserved", "admin"]),
    key: Type.String({ description: "the owner key" }),
    namespace: Type.Optional(Type.String()),
    appName: Type.Optional(Type.String()),
    appType: Type.Optional(Type.String()),
    podName: Type.Optional(Type.String()),
    poolName: Type.Optional(Type.String()),
    podUid: Type.Optional(Type.String()),
    nodeName: Type.Optional(Type.String()),
    because: Type.Optional(Type.String({ description: "why it changed hands" })),
  },
  { title: "api.HistoryEntry" },
);

/** {@link historyEntrySchema} */
export type HistoryEntryAnswer = Static<typeof historyEntrySchema>;

/** Who held an address when. */
export const listHistory = endpoint({
  id: "listHistory",
  method: "GET",
  path: "/v1/history",
  topic: "history",
  summary: "Who held an address when",
  access: { verb: "list", resource: "floatingips" },
  query: Type.Object({
    ip: Type.Optional(Type.String()),
    namespace: Type.Optional(Type.String()),
    podName: Type.Optional(Type.String()),
    appName: Type.Optional(Type.String()),
    appType: Type.Optional(Type.String()),
    at: Type.Optional(
      Type.String({ format: "date-time", description: "only who held it at this time" }),
    ),
    from: Type.Optional(Type.String({ format: "date-time" })),
    until: Type.Optional(Type.String({ format: "date-time" })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 100 })),
  }),
  answers: {
    200: {
      description: "the latest first",
      schema: Type.Object(
        {
          entries: Type.Array(historyEntrySchema),
          isComplete: Type.Boolean({
            description: "false: older or more entries exist, or were removed by the bound",
          }),
          keptSince: Type.Optional(
            Type.String({ format: "date-time", description: "nothing older is kept" }),
          ),
        },
        { title: "api.History" },
      ),
    },
  },
});
