// /v1/simulation: the cluster inside the process. These operations exist only where galaxy-ipam runs without a Kubernetes cluster; whoever asks
// for GET /v1/simulation and gets 404 is in front of a real one.

import type { Static } from "typebox";
import { Type } from "typebox";
import { mostSurgeAddresses } from "../pod.ts";
import { endpoint } from "./endpoint.ts";

/** Names as Kubernetes allows them for workloads and nodes (RFC 1123). */
const nameSchema = (description: string) =>
  Type.String({
    minLength: 1,
    maxLength: 63,
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    description,
  });

const kindSchema = Type.Enum(
  ["deployment", "replicaset", "statefulset", "daemonset", "job", "tapp", "plain"],
  {
    description:
      "tapp: a custom workload that can be scaled, with pods NAME-0, NAME-1, …; plain: the same without a scale subresource",
  },
);

const countSchema = (description: string) =>
  Type.Integer({ minimum: 0, maximum: 10_000, description });

const templateFields = {
  wantsAddress: Type.Boolean({
    description: "a container requests tke.cloud.tencent.com/eni-ip",
  }),
  policy: Type.Enum(["", "immutable", "never"], {
    description: "release policy as the annotation has it; a pool makes it never",
  }),
  pool: Type.Optional(
    Type.String({ minLength: 1, maxLength: 253, description: "pool that the pods share" }),
  ),
  requestIpRange: Type.Optional(
    Type.Array(Type.Array(Type.String(), { minItems: 1 }), {
      minItems: 1,
      maxItems: 32,
      description: 'one address out of each list, for example [["10.0.0.2~10.0.0.30"]]',
    }),
  ),
  ipFamilies: Type.Optional(
    Type.Array(Type.Enum(["IPv4", "IPv6"]), {
      minItems: 1,
      maxItems: 2,
      uniqueItems: true,
      description: "one address of each family, the first is the primary one",
    }),
  ),
  surgeIps: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: mostSurgeAddresses,
      description:
        "of a deployment: addresses that it has beside one for each replica, for roll-outs",
    }),
  ),
  reserveTtl: Type.Optional(
    Type.String({
      maxLength: 32,
      description:
        'how long an address may be reserved without a pod, for example "168h"; or "never"',
    }),
  ),
};

const virtualIpsSchema = Type.Optional(
  Type.Array(Type.String(), {
    minItems: 1,
    maxItems: 64,
    description:
      "virtual IPs that each pod claims; the simulated cluster has a VIPPool with 192.0.2.0/24 and 2001:db8::/64",
  }),
);

const workloadSchema = Type.Object(
  {
    kind: kindSchema,
    namespace: Type.String(),
    name: Type.String(),
    replicas: Type.Integer({ description: "wanted pods; of a daemonset one for each node" }),
    pods: Type.Integer({ description: "pods that are there, also those that are being deleted" }),
    ready: Type.Integer({ description: "pods that are ready" }),
    revision: Type.Integer({ description: "grows with each roll-out" }),
    ...templateFields,
    virtualIps: virtualIpsSchema,
    maxSurge: Type.Optional(Type.Integer({ description: "of a deployment" })),
    maxUnavailable: Type.Optional(Type.Integer({ description: "of a deployment" })),
    rolloutProblem: Type.Optional(
      Type.String({ description: "why a roll-out of it waits for ever" }),
    ),
  },
  { title: "api.SimulatedWorkload" },
);

/** A workload of the simulated cluster. */
export type SimulatedWorkload = Static<typeof workloadSchema>;

const podSchema = Type.Object(
  {
    namespace: Type.String(),
    name: Type.String(),
    uid: Type.String(),
    phase: Type.String({ description: "as Kubernetes names it" }),
    ready: Type.Boolean(),
    deleting: Type.Boolean({ description: "deletion was asked for; its node has not stopped it" }),
    nodeName: Type.Optional(Type.String({ description: "absent until it is bound" })),
    ips: Type.Array(Type.String(), { description: "addresses written with its Binding" }),
    kind: Type.Optional(Type.String({ description: "kind of its workload" })),
    workload: Type.Optional(Type.String({ description: "name of its workload" })),
    revision: Type.Integer(),
    created: Type.String({ format: "date-time" }),
    waitsBecause: Type.Optional(
      Type.String({ description: "why the scheduler found no node for it when it last tried" }),
    ),
  },
  { title: "api.SimulatedPod" },
);

/** A pod of the simulated cluster. */
export type SimulatedPod = Static<typeof podSchema>;

const nodeSchema = Type.Object(
  {
    name: Type.String(),
    ips: Type.Array(Type.String(), { description: "internal addresses" }),
    up: Type.Boolean({ description: "its kubelet works; killing the node ends that" }),
    ready: Type.Boolean({
      description: "as the cluster sees it: false some time after it fell silent",
    }),
    pods: Type.Integer(),
  },
  { title: "api.SimulatedNode" },
);

/** A node of the simulated cluster. */
export type SimulatedNode = Static<typeof nodeSchema>;

const eventSchema = Type.Object(
  {
    time: Type.String({ format: "date-time", description: "when it was seen last" }),
    type: Type.String({ description: "Normal or Warning" }),
    kind: Type.String(),
    namespace: Type.String(),
    name: Type.String(),
    reason: Type.String(),
    message: Type.String(),
    count: Type.Integer(),
  },
  { title: "api.SimulatedEvent" },
);

/** An event, as `kubectl describe` would show it. */
export type SimulatedEvent = Static<typeof eventSchema>;

const topic = "simulation";
const see = { verb: "list", resource: "floatingips" } as const;
const act = { verb: "update", resource: "floatingips" } as const;
const workloadParams = Type.Object({
  kind: kindSchema,
  namespace: Type.String(),
  name: Type.String(),
});
const podParams = Type.Object({ namespace: Type.String(), name: Type.String() });
const nodeParams = Type.Object({ name: Type.String() });
const workloadAnswer = { description: "the workload as it is now wanted", schema: workloadSchema };
const nodeAnswer = { description: "the node as it is now", schema: nodeSchema };

const doneSchema = Type.Object(
  { outcome: Type.String({ description: "what became of it, in a sentence" }) },
  { title: "api.SimulationOutcome" },
);

/** Whether there is a simulated cluster, and how large it is. */
export const getSimulation = endpoint({
  id: "getSimulation",
  method: "GET",
  path: "/v1/simulation",
  topic,
  summary: "The simulated cluster: where it is kept and how large it is",
  access: see,
  answers: {
    200: {
      description: "the simulated cluster",
      schema: Type.Object(
        {
          stateFolder: Type.String(),
          configurationFile: Type.String({
            description: "the pod subnets; edit it while the program runs",
          }),
          workloads: Type.Integer(),
          pods: Type.Integer(),
          nodes: Type.Integer(),
        },
        { title: "api.Simulation" },
      ),
    },
  },
});

/** All workloads. */
export const listSimulatedWorkloads = endpoint({
  id: "listSimulatedWorkloads",
  method: "GET",
  path: "/v1/simulation/workloads",
  topic,
  summary: "All workloads of the simulated cluster",
  access: see,
  answers: {
    200: {
      description: "the workloads, oldest first; ReplicaSets of Deployments are left out",
      schema: Type.Object(
        { workloads: Type.Array(workloadSchema) },
        { title: "api.SimulatedWorkloadList" },
      ),
    },
  },
});

/** Creates a workload. */
export const createSimulatedWorkload = endpoint({
  id: "createSimulatedWorkload",
  method: "POST",
  path: "/v1/simulation/workloads",
  topic,
  summary: "Create a workload",
  access: act,
  body: Type.Object(
    {
      kind: kindSchema,
      namespace: Type.Optional(nameSchema("default unless given")),
      name: nameSchema("name of the workload; its pods' names begin with it"),
      replicas: Type.Optional(countSchema("1 unless given")),
      wantsAddress: Type.Optional(templateFields.wantsAddress),
      policy: Type.Optional(templateFields.policy),
      pool: templateFields.pool,
      requestIpRange: templateFields.requestIpRange,
      ipFamilies: templateFields.ipFamilies,
      surgeIps: templateFields.surgeIps,
      reserveTtl: templateFields.reserveTtl,
      virtualIps: virtualIpsSchema,
      maxSurge: Type.Optional(countSchema("of a deployment; 25 % of the replicas unless given")),
      maxUnavailable: Type.Optional(
        countSchema("of a deployment; 25 % of the replicas unless given"),
      ),
    },
    { title: "api.SimulatedWorkloadWish" },
  ),
  answers: {
    200: workloadAnswer,
    409: { description: "a workload of that kind and name is there" },
  },
});

/** What a workload is created from. */
export type SimulatedWorkloadWish = Static<(typeof createSimulatedWorkload)["body"]>;

/** Changes the number of replicas. */
export const scaleSimulatedWorkload = endpoint({
  id: "scaleSimulatedWorkload",
  method: "POST",
  path: "/v1/simulation/workloads/{kind}/{namespace}/{name}/scale",
  topic,
  summary: "Change the number of replicas",
  access: act,
  params: workloadParams,
  body: Type.Object({ replicas: countSchema("wanted pods") }, { title: "api.SimulatedScale" }),
  answers: { 200: workloadAnswer, 404: { description: "there is no such workload" } },
});

/** Rolls a new revision of the template out. */
export const rollSimulatedWorkload = endpoint({
  id: "rollSimulatedWorkload",
  method: "POST",
  path: "/v1/simulation/workloads/{kind}/{namespace}/{name}/roll",
  topic,
  summary: "Replace all pods, as a change of the image does",
  access: act,
  params: workloadParams,
  answers: { 200: workloadAnswer, 404: { description: "there is no such workload" } },
});

/** Deletes a workload with its pods. */
export const deleteSimulatedWorkload = endpoint({
  id: "deleteSimulatedWorkload",
  method: "DELETE",
  path: "/v1/simulation/workloads/{kind}/{namespace}/{name}",
  topic,
  summary: "Delete a workload; its pods follow",
  access: act,
  params: workloadParams,
  answers: {
    200: { description: "it is deleted", schema: doneSchema },
    404: { description: "there is no such workload" },
  },
});

/** All pods. */
export const listSimulatedPods = endpoint({
  id: "listSimulatedPods",
  method: "GET",
  path: "/v1/simulation/pods",
  topic,
  summary: "Pods of the simulated cluster",
  access: see,
  query: Type.Object({
    namespace: Type.Optional(Type.String({ description: "only pods of this namespace" })),
    workload: Type.Optional(Type.String({ description: "only pods of workloads of this name" })),
    nodeName: Type.Optional(Type.String({ description: "only pods on this node" })),
  }),
  answers: {
    200: {
      description: "the pods, oldest first",
      schema: Type.Object({ pods: Type.Array(podSchema) }, { title: "api.SimulatedPodList" }),
    },
  },
});

/** Deletes a pod. */
export const deleteSimulatedPod = endpoint({
  id: "deleteSimulatedPod",
  method: "DELETE",
  path: "/v1/simulation/pods/{namespace}/{name}",
  topic,
  summary: "Delete a pod, as kubectl delete pod does",
  access: act,
  params: podParams,
  query: Type.Object({
    force: Type.Optional(
      Type.Boolean({ description: "its object goes at once, whatever its node does" }),
    ),
  }),
  answers: {
    200: { description: "what became of it", schema: doneSchema },
    404: { description: "there is no such pod" },
  },
});

/** All nodes. */
export const listSimulatedNodes = endpoint({
  id: "listSimulatedNodes",
  method: "GET",
  path: "/v1/simulation/nodes",
  topic,
  summary: "Nodes of the simulated cluster",
  access: see,
  answers: {
    200: {
      description: "the nodes in the order in which they came",
      schema: Type.Object({ nodes: Type.Array(nodeSchema) }, { title: "api.SimulatedNodeList" }),
    },
  },
});

/** Adds a node. */
export const addSimulatedNode = endpoint({
  id: "addSimulatedNode",
  method: "POST",
  path: "/v1/simulation/nodes",
  topic,
  summary: "Add a node",
  access: act,
  body: Type.Object(
    {
      name: nameSchema("name of the node"),
      ips: Type.Array(Type.String(), {
        minItems: 1,
        maxItems: 4,
        description: "internal addresses; they decide which pod subnets it may use",
      }),
    },
    { title: "api.SimulatedNodeWish" },
  ),
  answers: { 200: nodeAnswer, 409: { description: "a node of that name is there" } },
});

/** Switches a node off. */
export const killSimulatedNode = endpoint({
  id: "killSimulatedNode",
  method: "POST",
  path: "/v1/simulation/nodes/{name}/kill",
  topic,
  summary: "Switch a node off: it falls silent, and its pods are replaced after a while",
  access: act,
  params: nodeParams,
  answers: { 200: nodeAnswer, 404: { description: "there is no such node" } },
});

/** Switches a node on. */
export const recoverSimulatedNode = endpoint({
  id: "recoverSimulatedNode",
  method: "POST",
  path: "/v1/simulation/nodes/{name}/recover",
  topic,
  summary: "Switch a node on again",
  access: act,
  params: nodeParams,
  answers: { 200: nodeAnswer, 404: { description: "there is no such node" } },
});

/** Removes a node's object. */
export const deleteSimulatedNode = endpoint({
  id: "deleteSimulatedNode",
  method: "DELETE",
  path: "/v1/simulation/nodes/{name}",
  topic,
  summary: "Remove a node; its pods fail and are replaced elsewhere",
  access: act,
  params: nodeParams,
  answers: {
    200: { description: "it is removed", schema: doneSchema },
    404: { description: "there is no such node" },
  },
});

/** Events that the program wrote. */
export const listSimulatedEvents = endpoint({
  id: "listSimulatedEvents",
  method: "GET",
  path: "/v1/simulation/events",
  topic,
  summary: "Events that galaxy-ipam wrote, as kubectl describe would show them",
  access: see,
  answers: {
    200: {
      description: "the newest 1,000, newest first; not kept over a restart",
      schema: Type.Object({ events: Type.Array(eventSchema) }, { title: "api.SimulatedEventList" }),
    },
  },
});
