// /v1/vip: virtual IPs that pods claim, who holds each, and why.

import type { Static } from "typebox";
import { Type } from "typebox";
import { vipStates } from "../../core/vip.ts";
import { endpoint } from "./endpoint.ts";

const party = Type.String({ description: "NAMESPACE/NAME of a pod" });

/** One virtual IP. */
const vipSchema = Type.Object(
  {
    ip: Type.String(),
    name: Type.String({ description: "name of the FloatingVIP object" }),
    namespace: Type.String({ description: "of the holder, else of the first claimant" }),
    state: Type.Enum([...vipStates]),
    reason: Type.String({ description: "a word" }),
    message: Type.String({ description: "why it is so and what to do, in a sentence" }),
    holder: Type.Optional(party),
    nodeName: Type.Optional(Type.String()),
    podIp: Type.Optional(Type.String({ description: "to which traffic is turned" })),
    pools: Type.Array(Type.String(), { description: "names of the VIPPools that have it" }),
    epoch: Type.Integer({ description: "how often it was granted" }),
    since: Type.Optional(Type.String({ format: "date-time" })),
    candidates: Type.Array(
      Type.Object(
        {
          pod: party,
          nodeName: Type.String(),
          reason: Type.Optional(Type.String({ description: "why it may not hold it; a word" })),
          message: Type.String({ description: "the same as a sentence, with what to do" }),
        },
        { title: "api.VipCandidate" },
      ),
    ),
    lastTransition: Type.Optional(
      Type.Object(
        {
          from: Type.Optional(party),
          to: Type.Optional(party),
          reason: Type.String(),
          at: Type.String({ format: "date-time" }),
          detectMs: Type.Optional(
            Type.Number({ description: "from what happened until it was known" }),
          ),
          decideMs: Type.Number({ description: "from knowing until the grant was written" }),
          programMs: Type.Optional(
            Type.Number({ description: "from the grant until the new node answered" }),
          ),
        },
        { title: "api.VipTransition" },
      ),
    ),
    foreignOwner: Type.Optional(
      Type.String({ description: "another machine that claims the address" }),
    ),
  },
  { title: "api.Vip" },
);

/** {@link vipSchema} */
export type VipAnswer = Static<typeof vipSchema>;

/** All virtual IPs. */
export const listVips = endpoint({
  id: "listVips",
  method: "GET",
  path: "/v1/vip",
  topic: "virtual IPs",
  summary: "All virtual IPs, who holds each, and why the other claimants do not",
  access: { verb: "list", resource: "floatingips" },
  query: Type.Object({
    ip: Type.Optional(Type.String({ description: "this one alone" })),
    namespace: Type.Optional(Type.String({ description: "that pods of this namespace claim" })),
  }),
  answers: {
    200: {
      description: "the virtual IPs",
      schema: Type.Object(
        {
          vips: Type.Array(vipSchema),
          pools: Type.Optional(
            Type.Array(Type.String(), {
              description:
                "names of the VIPPools that have the address of the query, claimed or not",
            }),
          ),
        },
        { title: "api.VipList" },
      ),
    },
  },
});
