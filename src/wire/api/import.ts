// /v1/import: records for addresses that are in use already, all or nothing per line.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** One address to enter. */
export const importLineSchema = Type.Object(
  {
    ip: Type.String(),
    namespace: Type.Optional(Type.String()),
    podName: Type.Optional(
      Type.String({ description: "pod that has it, or for whose name it is to be kept" }),
    ),
    appName: Type.Optional(
      Type.String({ description: "workload; read from the pod when the pod is there" }),
    ),
    appType: Type.Optional(
      Type.String({ description: "default: that of the pod, else statefulset" }),
    ),
    poolName: Type.Optional(Type.String()),
    policy: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 })),
    reserved: Type.Optional(
      Type.Boolean({ description: "true: reserved by the administrator, for nobody" }),
    ),
    reason: Type.Optional(Type.String({ maxLength: 253, description: "of a reservation" })),
  },
  { title: "api.ImportLine", additionalProperties: false },
);

/** {@link importLineSchema} */
export type ImportLine = Static<typeof importLineSchema>;

/** Enters records. */
export const importIps = endpoint({
  id: "importIps",
  method: "POST",
  path: "/v1/import",
  topic: "import",
  summary: "Enter addresses that are in use already",
  access: { verb: "create", resource: "floatingips" },
  changes: true,
  body: Type.Object(
    {
      lines: Type.Array(importLineSchema, { maxItems: 10_000 }),
      dryRun: Type.Optional(
        Type.Boolean({ description: "answers what would happen and enters nothing" }),
      ),
    },
    { title: "api.ImportReq", additionalProperties: false },
  ),
  answers: {
    200: {
      description: "what became of each line, in the order of the request",
      schema: Type.Object(
        {
          entered: Type.Integer(),
          unchanged: Type.Integer(),
          refused: Type.Integer(),
          results: Type.Array(
            Type.Object(
              {
                ip: Type.String(),
                outcome: Type.Enum(["entered", "unchanged", "refused"]),
                message: Type.String({ description: "the record, or why there is none" }),
              },
              { title: "api.ImportResult" },
            ),
          ),
        },
        { title: "api.ImportResp" },
      ),
    },
  },
});
