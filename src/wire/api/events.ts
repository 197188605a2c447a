// /v1/events: changes of addresses as server-sent events, for live pages and --watch.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";
import { floatingIpSchema } from "./floating-ip.ts";
import { subnetSchema } from "./subnet.ts";

/** The data of one event, as JSON. The `event:` field of the stream is `kind`. */
export const addressEventSchema = Type.Union(
  [
    Type.Object({
      kind: Type.Literal("address"),
      address: floatingIpSchema,
    }),
    Type.Object({
      kind: Type.Literal("reset"),
      message: Type.String({ description: "events were missed: read everything again" }),
    }),
    Type.Object({
      kind: Type.Literal("configuration"),
      message: Type.String({ description: "pod subnets changed: read them again" }),
    }),
    Type.Object({
      kind: Type.Literal("pool"),
      name: Type.String(),
    }),
    Type.Object({
      kind: Type.Literal("usage"),
      subnets: Type.Array(subnetSchema, { description: "all pod subnets, as GET /v1/subnet" }),
    }),
  ],
  { title: "api.Event" },
);

/** {@link addressEventSchema} */
export type AddressEvent = Static<typeof addressEventSchema>;

/** The stream. A line `:` comes as a sign of life; `Last-Event-ID` continues where a client stopped, or answers `reset`. */
export const streamEvents = endpoint({
  id: "streamEvents",
  method: "GET",
  path: "/v1/events",
  topic: "events",
  summary: "Changes of addresses as they happen (server-sent events)",
  access: { verb: "watch", resource: "floatingips" },
  answersWith: "text/event-stream",
  query: Type.Object({
    namespace: Type.Optional(Type.String({ description: "only addresses of this namespace" })),
  }),
  answers: { 200: { description: "a stream of api.Event", schema: addressEventSchema } },
});
