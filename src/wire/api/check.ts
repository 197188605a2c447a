// /v1/check: compares records, pods, annotations and configuration; /v1/check/repair does what the check proposed, after it was seen.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** One thing that is not as it should be. */
export const findingSchema = Type.Object(
  {
    kind: Type.Enum(
      [
        "record without pod",
        "pod without record",
        "record of another pod",
        "double use",
        "outside configuration",
        "key not understood",
        "unsettled record",
        "pool not in force",
        "pool without object",
        "configuration invalid",
      ],
      { description: "what kind of difference it is" },
    ),
    severity: Type.Enum(["error", "warning", "note"]),
    ip: Type.Optional(Type.String()),
    pod: Type.Optional(Type.String({ description: "NAMESPACE/NAME" })),
    message: Type.String({ description: "what is wrong, with the facts" }),
    repair: Type.Optional(
      Type.Object(
        {
          id: Type.String({
            description: "names this repair of this state; it is refused when the state changed",
          }),
          action: Type.Enum(["release", "reserve", "adopt", "read again"]),
          message: Type.String({ description: "what exactly will happen" }),
        },
        { title: "api.Repair" },
      ),
    ),
    advice: Type.Optional(Type.String({ description: "what a person has to do" })),
  },
  { title: "api.Finding" },
);

/** {@link findingSchema} */
export type FindingAnswer = Static<typeof findingSchema>;

/** Looks for differences; changes nothing. */
export const getCheck = endpoint({
  id: "check",
  method: "GET",
  path: "/v1/check",
  topic: "check",
  summary: "Compare records, pods, annotations and configuration",
  access: { verb: "list", resource: "floatingips" },
  answers: {
    200: {
      description: "what is not as it should be, the most severe first",
      schema: Type.Object(
        {
          findings: Type.Array(findingSchema),
          recordCount: Type.Integer(),
          podCount: Type.Integer({ description: "pods that want or carry addresses" }),
          isTruncated: Type.Boolean({ description: "there are more findings than are shown" }),
        },
        { title: "api.Check" },
      ),
    },
  },
});

/** Does repairs that a check proposed. */
export const repair = endpoint({
  id: "repair",
  method: "POST",
  path: "/v1/check/repair",
  topic: "check",
  summary: "Do repairs that the check proposed",
  access: { verb: "update", resource: "floatingips" },
  changes: true,
  body: Type.Object(
    {
      repairs: Type.Array(Type.String(), {
        maxItems: 10_000,
        description: "ids of repairs, from GET /v1/check",
      }),
    },
    { title: "api.RepairReq" },
  ),
  answers: {
    200: {
      description: "what became of each, in the order of the request",
      schema: Type.Object(
        {
          results: Type.Array(
            Type.Object(
              {
                id: Type.String(),
                outcome: Type.Enum(["done", "changed", "unknown repair", "failed"]),
                message: Type.String(),
              },
              { title: "api.RepairResult" },
            ),
          ),
        },
        { title: "api.RepairResp" },
      ),
    },
  },
});
