// GET /v1/backup: everything that the program keeps, as lines (wire/backup.ts). POST /v1/restore, /v1/restore/pools and
// /v1/restore/quotas: entering parts of it again.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** Streams a backup. */
export const getBackup = endpoint({
  id: "backup",
  method: "GET",
  path: "/v1/backup",
  topic: "backup",
  summary: "Everything that is kept, of one moment, as lines of JSON",
  access: { verb: "list", resource: "floatingips" },
  answers: { 200: { description: "a backup; its last line has the checksum" } },
  answersWith: "application/octet-stream",
});

/** What became of one part of a backup. */
const restoreResultSchema = Type.Object(
  {
    name: Type.String({ description: "address, or name of the Pool" }),
    outcome: Type.Enum(["restored", "unchanged", "left", "refused", "busy"], {
      description:
        "restored: it is there again; unchanged: it was there; left: overtaken by what happened since; refused: something else is in its place; busy: ask again",
    }),
    message: Type.String({ description: "what it is now, or why not and what to do" }),
  },
  { title: "api.RestoreResult" },
);

/** {@link restoreResultSchema} */
export type RestoreResult = Static<typeof restoreResultSchema>;

const restoreAnswer = {
  200: {
    description: "what became of each, in the order of the request",
    schema: Type.Object({ results: Type.Array(restoreResultSchema) }, { title: "api.RestoreResp" }),
  },
};

const dryRun = Type.Optional(
  Type.Boolean({ description: "answers what would happen and changes nothing" }),
);

/** Enters records of a backup. */
export const restoreIps = endpoint({
  id: "restoreIps",
  method: "POST",
  path: "/v1/restore",
  topic: "backup",
  summary: "Enter records of a backup; what is there stays",
  access: { verb: "create", resource: "floatingips" },
  changes: true,
  body: Type.Object(
    {
      backedUpAt: Type.String({ description: "when the backup was made, RFC 3339" }),
      records: Type.Array(
        Type.Object(
          {
            kind: Type.Literal("FloatingIP"),
            metadata: Type.Object({ name: Type.String({ maxLength: 64 }) }),
            spec: Type.Optional(Type.Object({ key: Type.Optional(Type.String()) })),
          },
          { title: "api.BackedUpRecord", description: "a FloatingIP object" },
        ),
        { maxItems: 5_000 },
      ),
      dryRun,
    },
    { title: "api.RestoreReq", additionalProperties: false },
  ),
  answers: restoreAnswer,
});

/** Makes Pools of a backup. */
export const restorePools = endpoint({
  id: "restorePools",
  method: "POST",
  path: "/v1/restore/pools",
  topic: "backup",
  summary: "Make Pools of a backup that are missing, after its records",
  access: { verb: "create", resource: "pools" },
  changes: true,
  body: Type.Object(
    {
      pools: Type.Array(
        Type.Object(
          {
            kind: Type.Literal("Pool"),
            metadata: Type.Object({
              name: Type.String({ maxLength: 253 }),
              namespace: Type.String({ maxLength: 63 }),
            }),
          },
          { title: "api.BackedUpPool", description: "a Pool object" },
        ),
        { maxItems: 5_000 },
      ),
      dryRun,
    },
    { title: "api.RestorePoolsReq", additionalProperties: false },
  ),
  answers: restoreAnswer,
});

/** Makes FloatingIPQuotas of a backup. */
export const restoreQuotas = endpoint({
  id: "restoreQuotas",
  method: "POST",
  path: "/v1/restore/quotas",
  topic: "backup",
  summary: "Make FloatingIPQuotas of a backup that are missing",
  access: { verb: "create", resource: "floatingipquotas" },
  changes: true,
  body: Type.Object(
    {
      quotas: Type.Array(
        Type.Object(
          {
            kind: Type.Literal("FloatingIPQuota"),
            metadata: Type.Object({ name: Type.String({ maxLength: 253 }) }),
          },
          { title: "api.BackedUpQuota", description: "a FloatingIPQuota object" },
        ),
        { maxItems: 5_000 },
      ),
      dryRun,
    },
    { title: "api.RestoreQuotasReq", additionalProperties: false },
  ),
  answers: restoreAnswer,
});
