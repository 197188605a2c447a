// /v1/subnet and /v1/address-map: how full each pod subnet is, and what each address or block of addresses is used for.

import type { Static } from "typebox";
import { Type } from "typebox";
import { mostMapCells } from "./address-letters.ts";
import { endpoint } from "./endpoint.ts";

const subnetFields = {
  subnet: Type.String({ description: "CIDR block" }),
  ranges: Type.Array(Type.String(), { description: "addresses that may be handed out: A or A~B" }),
  gateway: Type.String(),
  vlan: Type.Integer(),
  nodeSubnets: Type.Array(Type.String(), { description: "nodes that may use it, as CIDR blocks" }),
  total: Type.Integer({ description: "bound + reserved + admin + held + free" }),
  free: Type.Integer(),
  bound: Type.Integer(),
  reserved: Type.Integer(),
  admin: Type.Integer(),
  held: Type.Integer({ description: "promised to pods that are being scheduled" }),
  draining: Type.Integer({ description: "outside the ranges but still in a pod; not in total" }),
};

/** One pod subnet with its use. */
export const subnetSchema = Type.Object(subnetFields, { title: "api.Subnet" });

/** {@link subnetSchema} */
export type SubnetAnswer = Static<typeof subnetSchema>;

/** All pod subnets of the configuration in force. */
export const listSubnets = endpoint({
  id: "listSubnets",
  method: "GET",
  path: "/v1/subnet",
  topic: "subnets",
  summary: "All pod subnets and how full they are",
  access: { verb: "list", resource: "floatingips" },
  answers: {
    200: {
      description: "the pod subnets in the order of the configuration",
      schema: Type.Object({ subnets: Type.Array(subnetSchema) }, { title: "api.SubnetList" }),
    },
  },
});

/** What the addresses of a part of a subnet are used for. */
export const getAddressMap = endpoint({
  id: "getAddressMap",
  method: "GET",
  path: "/v1/address-map",
  topic: "subnets",
  summary: "What each address, or each block of addresses, is used for",
  access: { verb: "list", resource: "floatingips" },
  query: Type.Object({
    first: Type.String({ description: "first address of the first cell" }),
    blockSize: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 2 ** 32,
        default: 1,
        description: "addresses in a cell",
      }),
    ),
    cells: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: mostMapCells,
        default: 256,
        description: "how many cells",
      }),
    ),
  }),
  answers: {
    200: {
      description: "the cells in order of address",
      schema: Type.Object(
        {
          first: Type.String(),
          last: Type.String(),
          blockSize: Type.Integer(),
          cells: Type.Integer(),
          letters: Type.Optional(
            Type.String({
              description:
                "with blockSize 1: a letter for each address: f free, h held, b bound, r reserved, a admin, d draining, c conflict, " +
                "u unknown, - not configured",
            }),
          ),
          counts: Type.Optional(
            Type.Record(Type.String(), Type.Array(Type.Integer()), {
              description:
                "with a larger blockSize: for each state that occurs, how many addresses of each cell are in it",
            }),
          ),
        },
        { title: "api.AddressMap" },
      ),
    },
  },
});
