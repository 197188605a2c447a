// /v1/status: the state of this replica, its configuration and its figures in one look.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** The state of the replica that answers. */
export const statusSchema = Type.Object(
  {
    version: Type.String(),
    instance: Type.String({ description: "name of this replica" }),
    leader: Type.String({ description: "name of the leader; empty when unknown" }),
    isLeader: Type.Boolean(),
    isReady: Type.Boolean({ description: "it answers the scheduler" }),
    reason: Type.String({ description: "why it is not ready; ok otherwise" }),
    mode: Type.String({ description: "kubernetes, or embedded" }),
    time: Type.String({ format: "date-time" }),
    startedAt: Type.String({ format: "date-time" }),
    configuration: Type.Object(
      {
        isConfigured: Type.Boolean(),
        problems: Type.Array(Type.String(), {
          description: "of the configuration read last; the last good one stays in force",
        }),
        warnings: Type.Array(Type.String()),
        source: Type.String({ description: "where it comes from" }),
      },
      { title: "api.ConfigurationStatus" },
    ),
    counts: Type.Object(
      {
        records: Type.Integer(),
        subnets: Type.Integer(),
        nodes: Type.Integer(),
        pools: Type.Integer(),
        pods: Type.Integer({ description: "pods that want or carry addresses" }),
        total: Type.Integer(),
        free: Type.Integer(),
        held: Type.Integer(),
        bound: Type.Integer(),
        reserved: Type.Integer(),
        admin: Type.Integer(),
        draining: Type.Integer(),
        unsettled: Type.Integer({ description: "records whose state is not known" }),
        waiting: Type.Integer({ description: "pods and workloads that wait for a look" }),
      },
      { title: "api.StatusCounts" },
    ),
  },
  { title: "api.Status" },
);

/** {@link statusSchema} */
export type StatusAnswer = Static<typeof statusSchema>;

/** The state of this replica. */
export const getStatus = endpoint({
  id: "getStatus",
  method: "GET",
  path: "/v1/status",
  topic: "status",
  summary: "The state of this replica, its configuration and its figures",
  access: { verb: "list", resource: "floatingips" },
  answers: { 200: { description: "the status", schema: statusSchema } },
});
