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
    fromIsAbout: Type.Optional(
      Type.Boolean({
        description: "true: nobody wrote down when it began; it was so by then at the latest",
      }),
    ),
    untilIsAbout: Type.Optional(
      Type.Boolean({
        description: "true: nobody wrote down when it ended; it was over by then at the latest",
      }),
    ),
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
    offset: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000_000,
        default: 0,
        description: "how many are left out before the first",
      }),
    ),
  }),
  answers: {
    200: {
      description: "those that still are, then those that ended last",
      schema: Type.Object(
        {
          entries: Type.Array(historyEntrySchema),
          totalCount: Type.Integer({ description: "how many there are" }),
          isComplete: Type.Boolean({
            description: "false: more entries exist, or older ones were removed by the bound",
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
