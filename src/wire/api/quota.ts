// /v1/quota: how many addresses namespaces may have, and how many they have.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

const nameParams = Type.Object({
  name: Type.String({
    minLength: 1,
    maxLength: 253,
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    description: "name of the FloatingIPQuota",
  }),
});

const limitSchema = Type.Integer({
  minimum: 0,
  maximum: 2_147_483_647,
  description: "most addresses of one namespace, used and reserved",
});

const quotaSchema = Type.Object(
  {
    name: Type.String(),
    limit: limitSchema,
    namespaces: Type.Array(Type.String(), {
      description:
        "each has the limit for itself; empty: every namespace that no other quota names",
    }),
  },
  { title: "api.Quota" },
);

const useSchema = Type.Object(
  {
    namespace: Type.String(),
    quota: Type.String({ description: "name of the quota in force" }),
    limit: limitSchema,
    used: Type.Integer({ description: "addresses that its pods have, or that are reserved" }),
    promised: Type.Integer({ description: "addresses promised to pods that are being scheduled" }),
  },
  { title: "api.QuotaUse" },
);

/** A namespace under a quota. */
export type QuotaUseAnswer = Static<typeof useSchema>;

/** All quotas with their use. */
export const listQuotas = endpoint({
  id: "listQuotas",
  method: "GET",
  path: "/v1/quota",
  topic: "quotas",
  summary: "All quotas, and what each namespace under one has",
  access: { verb: "list", resource: "floatingipquotas" },
  answers: {
    200: {
      description: "quotas and namespaces, by name",
      schema: Type.Object(
        { quotas: Type.Array(quotaSchema), namespaces: Type.Array(useSchema) },
        { title: "api.QuotaList" },
      ),
    },
  },
});

/** Creates a quota or changes it. */
export const putQuota = endpoint({
  id: "putQuota",
  method: "PUT",
  path: "/v1/quota/{name}",
  topic: "quotas",
  summary: "Create or change a quota; nothing is taken from a namespace that has more",
  access: { verb: "update", resource: "floatingipquotas" },
  changes: true,
  params: nameParams,
  body: Type.Object(
    {
      limit: limitSchema,
      namespaces: Type.Optional(
        Type.Array(Type.String({ maxLength: 63, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" }), {
          maxItems: 1_000,
          uniqueItems: true,
          description:
            "each has the limit for itself; empty: every namespace that no other quota names; absent: as it is",
        }),
      ),
    },
    // A name that is not known would otherwise make a quota for every namespace.
    { title: "api.QuotaWish", additionalProperties: false },
  ),
  answers: {
    200: { description: "the quota as it is now", schema: quotaSchema },
    409: { description: "somebody else keeps changing it" },
  },
});

/** Deletes a quota. */
export const deleteQuota = endpoint({
  id: "deleteQuota",
  method: "DELETE",
  path: "/v1/quota/{name}",
  topic: "quotas",
  summary: "Delete a quota",
  access: { verb: "delete", resource: "floatingipquotas" },
  changes: true,
  params: nameParams,
  answers: {
    200: {
      description: "it is deleted",
      schema: Type.Object({ name: Type.String() }, { title: "api.DeletedQuota" }),
    },
    404: { description: "there is no such quota" },
    409: { description: "somebody else keeps changing it" },
  },
});
