// /v1/ip: listing, looking at and releasing addresses. The established models keep their names, fields and order; what is new comes after.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";
import { envelopeFields } from "./problem.ts";

/** What an address is used for at this moment. */
export const addressStateSchema = Type.Enum(
  ["free", "held", "bound", "reserved", "admin", "draining", "conflict", "unknown"],
  {
    description:
      "free; held: promised to a pod that is being scheduled; bound: a pod has it; reserved: kept for a pod name, workload or pool; " +
      "admin: taken out of allocation; draining: a pod has it but the configuration does not list it any more; " +
      "conflict: pod and record contradict each other; unknown: a write is under way or its outcome is not known",
  },
);

/** {@link addressStateSchema} */
export type AddressState = Static<typeof addressStateSchema>;

const floatingIpFields = {
  ip: Type.String({ description: "ip" }),
  namespace: Type.Optional(Type.String({ description: "namespace" })),
  appName: Type.Optional(Type.String({ description: "deployment or statefulset name" })),
  podName: Type.Optional(Type.String({ description: "pod name" })),
  poolName: Type.Optional(Type.String()),
  policy: Type.Integer({
    description: "ip release policy: 0 with the pod, 1 immutable, 2 never",
  }),
  isDeployment: Type.Optional(
    Type.Boolean({ description: "deployment or statefulset, deprecated please set appType" }),
  ),
  appType: Type.Optional(Type.String({ description: "deployment, statefulset or tapp" })),
  updateTime: Type.Optional(
    Type.String({
      format: "date-time",
      description: "last allocate or release time of this ip",
    }),
  ),
  status: Type.Optional(
    Type.String({ description: "pod status if exists: its phase, Deleted or Unknown" }),
  ),
  releasable: Type.Optional(
    Type.Boolean({
      description: "if the ip is releasable. An ip is releasable if it isn't belong to any pod",
    }),
  ),
  attr: Type.Optional(
    Type.String({ description: "node and uid of the pod that has the address, as JSON text" }),
  ),
};

/** Fields that a list shows when asked with `wide=true`. */
const wideFields = {
  state: Type.Optional(addressStateSchema),
  nodeName: Type.Optional(Type.String({ description: "node of the pod that has the address" })),
  lastNodeName: Type.Optional(
    Type.String({ description: "node of the pod that had a reserved address last" }),
  ),
  podUid: Type.Optional(Type.String({ description: "uid of the pod that has the address" })),
  subnet: Type.Optional(Type.String({ description: "the pod subnet that lists the address" })),
};

/** One address. */
export const floatingIpSchema = Type.Object(
  { ...floatingIpFields, ...wideFields },
  { title: "api.FloatingIP" },
);

/** {@link floatingIpSchema} */
export type FloatingIp = Static<typeof floatingIpSchema>;

/** Lists addresses. Its query is read by list-query.ts, because the Go system clamps where others refuse. */
export const listIps = endpoint({
  id: "ListIPs",
  method: "GET",
  path: "/v1/ip",
  topic: "addresses",
  summary: "List ips by keyword or params",
  access: { verb: "list", resource: "floatingips" },
  isEstablished: true,
  query: Type.Object({
    keyword: Type.Optional(Type.String({ description: "keyword" })),
    poolName: Type.Optional(Type.String({ description: "pool name" })),
    appName: Type.Optional(Type.String({ description: "app name" })),
    podName: Type.Optional(Type.String({ description: "pod name" })),
    namespace: Type.Optional(Type.String({ description: "namespace" })),
    isDeployment: Type.Optional(
      Type.Boolean({
        description: "listing deployments or statefulsets. Deprecated, please set appType",
      }),
    ),
    appType: Type.Optional(
      Type.String({ description: "app type, deployment, statefulset or tapp" }),
    ),
    page: Type.Optional(Type.Integer({ description: "page number, valid range [0,99999]" })),
    size: Type.Optional(
      Type.Integer({ default: 10, description: "page size, valid range (0,9999]" }),
    ),
    sort: Type.Optional(
      Type.String({
        default: "ip asc",
        description: "sort by which field, supports ip/namespace/podname/policy asc/desc",
      }),
    ),
    state: Type.Optional(addressStateSchema),
    subnet: Type.Optional(
      Type.String({ description: "addresses inside this CIDR block, for example 10.0.70.0/24" }),
    ),
    wide: Type.Optional(
      Type.Boolean({ description: "adds state, nodeName, lastNodeName, podUid and subnet" }),
    ),
  }),
  answers: {
    200: {
      description: "request succeed",
      schema: Type.Object(
        {
          last: Type.Boolean({ description: "if this is the last page" }),
          totalElements: Type.Integer({
            format: "int32",
            description: "total number of elements",
          }),
          totalPages: Type.Integer({ format: "int32", description: "total number of pages" }),
          first: Type.Boolean({ description: "if this is the first page" }),
          numberOfElements: Type.Integer({
            format: "int32",
            description: "number of elements in this page",
          }),
          size: Type.Integer({ format: "int32", description: "page size" }),
          number: Type.Integer({ format: "int32", description: "page index starting from 0" }),
          content: Type.Array(floatingIpSchema),
        },
        { title: "api.ListIPResp" },
      ),
    },
  },
});

/** Releases addresses that no running pod has. */
export const releaseIps = endpoint({
  id: "ReleaseIPs",
  method: "POST",
  path: "/v1/ip",
  topic: "addresses",
  summary: "Release ips",
  access: { verb: "delete", resource: "floatingips" },
  isEstablished: true,
  changes: true,
  body: Type.Object(
    {
      ips: Type.Array(
        Type.Object(
          {
            ...floatingIpFields,
            policy: Type.Optional(floatingIpFields.policy),
          },
          { title: "api.FloatingIP" },
        ),
      ),
      dryRun: Type.Optional(
        Type.Boolean({ description: "answers what would happen and releases nothing" }),
      ),
    },
    { title: "api.ReleaseIPReq" },
  ),
  answers: {
    200: {
      description: "request succeed",
      schema: Type.Object(
        {
          ...envelopeFields,
          unreleased: Type.Optional(
            Type.Array(Type.String(), {
              description:
                "unreleased ips, have been released or allocated to other pods, or are not within valid range",
            }),
          ),
          reasons: Type.Optional(
            Type.Array(Type.String(), {
              description: "why each of the unreleased ips was not released, in the same order",
            }),
          ),
        },
        { title: "api.ReleaseIPResp" },
      ),
    },
    202: {
      description:
        "Unreleased ips have been released or allocated to other pods, or are not within valid range",
      schema: Type.Object(
        {
          ...envelopeFields,
          unreleased: Type.Array(Type.String()),
          reasons: Type.Array(Type.String()),
        },
        { title: "api.ReleaseIPResp" },
      ),
    },
    400: { description: "10.0.0.2 is not releasable" },
    500: { description: "internal server error" },
  },
});

/** One address with the reasons of its state. */
export const getIp = endpoint({
  id: "getIp",
  method: "GET",
  path: "/v1/ip/{ip}",
  topic: "addresses",
  summary: "One address: its state and why it is so",
  access: { verb: "get", resource: "floatingips" },
  params: Type.Object({ ip: Type.String({ description: "IPv4 or IPv6 address" }) }),
  answers: {
    200: {
      description: "the address",
      schema: Type.Object(
        {
          ...floatingIpFields,
          ...wideFields,
          state: addressStateSchema,
          isConfigured: Type.Boolean({
            description: "the configuration lists it, so that it can be handed out",
          }),
          gateway: Type.Optional(Type.String()),
          vlan: Type.Optional(Type.Integer()),
          key: Type.Optional(Type.String({ description: "the owner key as the record has it" })),
          releasedAt: Type.Optional(
            Type.String({ format: "date-time", description: "when a free address was released" }),
          ),
          reasons: Type.Array(Type.String(), {
            description: "sentences: why it is in this state, and what would change it",
          }),
        },
        { title: "api.Address" },
      ),
    },
    404: { description: "no pod subnet has the address and no record names it" },
  },
});
