// /v1/pool: named groups of addresses. The established models, and a list.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";
import { envelopeFields, envelopeSchema } from "./problem.ts";

const poolFields = {
  name: Type.String({ description: "pool name" }),
  size: Type.Integer({ format: "int32", description: "pool size" }),
  preAllocateIP: Type.Boolean({
    description: "Set to true to allocate IPs when creating or updating pool",
  }),
};

const reserveTtl = Type.String({
  description:
    "how long its addresses may be reserved without a pod, like 168h, or never; absent: without end",
});

const nameParams = Type.Object({ name: Type.String({ description: "pool name" }) });

/** Creates a pool or changes its size. */
export const putPool = endpoint({
  id: "CreateOrUpdate",
  method: "POST",
  path: "/v1/pool",
  topic: "pools",
  summary: "Create or update pool",
  access: { verb: "create", resource: "pools" },
  isEstablished: true,
  swaggerType: "httputil.Resp",
  changes: true,
  body: Type.Object(
    {
      name: Type.Optional(poolFields.name),
      size: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 2_147_483_647,
          format: "int32",
          description: "pool size; without one the pool grows with the replicas",
        }),
      ),
      preAllocateIP: Type.Optional(poolFields.preAllocateIP),
      reserveTTL: Type.Optional(
        Type.String({
          description:
            "how long its addresses may be reserved without a pod, like 168h, or never; empty: nothing is said any more; absent: as it is",
        }),
      ),
    },
    { title: "api.Pool" },
  ),
  answers: {
    200: {
      description: "request succeed",
      schema: Type.Object(
        {
          ...envelopeFields,
          realPoolSize: Type.Integer({
            format: "int32",
            description: "real num of IPs of this pool after creating or updating",
          }),
        },
        { title: "api.UpdatePoolResp" },
      ),
    },
    202: {
      description: "No enough IPs",
      schema: Type.Object(
        { ...envelopeFields, realPoolSize: Type.Integer({ format: "int32" }) },
        { title: "api.UpdatePoolResp" },
      ),
    },
    400: { description: "pool name is empty" },
    500: { description: "internal server error" },
  },
});

/** One pool, as in the Go system. */
export const getPool = endpoint({
  id: "Get",
  method: "GET",
  path: "/v1/pool/{name}",
  topic: "pools",
  summary: "Get pool by name",
  access: { verb: "get", resource: "pools" },
  isEstablished: true,
  params: nameParams,
  answers: {
    200: {
      description: "request succeed",
      schema: Type.Object(
        {
          ...envelopeFields,
          pool: Type.Object(
            { ...poolFields, reserveTTL: Type.Optional(reserveTtl) },
            { title: "api.Pool" },
          ),
        },
        { title: "api.GetPoolResp" },
      ),
    },
    400: { description: "pool name is empty" },
    404: { description: "pool not found" },
    500: { description: "internal server error" },
  },
});

/** Deletes a pool; its addresses stay unless asked for. */
export const deletePool = endpoint({
  id: "Delete",
  method: "DELETE",
  path: "/v1/pool/{name}",
  topic: "pools",
  summary: "Delete pool by name",
  access: { verb: "delete", resource: "pools" },
  isEstablished: true,
  changes: true,
  params: nameParams,
  query: Type.Object({
    release: Type.Optional(
      Type.Boolean({ description: "true: also releases the pool's addresses that no pod has" }),
    ),
  }),
  answers: {
    200: { description: "request succeed", schema: envelopeSchema },
    400: { description: "pool name is empty" },
    404: { description: "pool not found" },
    500: { description: "internal server error" },
  },
});

/** All pools with what they have. */
export const listPools = endpoint({
  id: "listPools",
  method: "GET",
  path: "/v1/pool",
  topic: "pools",
  summary: "All pools, with size and use",
  access: { verb: "list", resource: "pools" },
  answers: {
    200: {
      description: "the pools, by name",
      schema: Type.Object(
        {
          pools: Type.Array(
            Type.Object(
              {
                name: Type.String(),
                namespace: Type.Optional(
                  Type.String({
                    description: "of the Pool object in force; absent: addresses without an object",
                  }),
                ),
                size: Type.Optional(
                  Type.Integer({ description: "absent: grows with the replicas" }),
                ),
                preAllocateIP: Type.Boolean(),
                reserveTTL: Type.Optional(reserveTtl),
                allocated: Type.Integer({ description: "addresses that belong to the pool" }),
                used: Type.Integer({ description: "of these, addresses that a pod has" }),
                missing: Type.Integer({
                  description: "addresses that pre-allocation wants and cannot have",
                }),
                problem: Type.Optional(Type.String()),
              },
              { title: "api.PoolUsage" },
            ),
          ),
        },
        { title: "api.PoolList" },
      ),
    },
  },
});

/** A pool as the list shows it. */
export type PoolUsage = Static<(typeof listPools)["answers"][200]["schema"]>["pools"][number];
