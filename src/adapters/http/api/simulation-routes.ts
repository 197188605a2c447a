// /v1/simulation: verbs of the cluster inside the process. Served only where there is one; what the verbs do is behind SimulationDoor.

import type {
  SimulatedEvent,
  SimulatedNode,
  SimulatedPod,
  SimulatedWorkload,
  SimulatedWorkloadWish,
} from "../../../wire/api/simulation.ts";
import {
  addSimulatedNode,
  createSimulatedWorkload,
  deleteSimulatedNode,
  deleteSimulatedPod,
  deleteSimulatedWorkload,
  getSimulation,
  killSimulatedNode,
  listSimulatedEvents,
  listSimulatedNodes,
  listSimulatedPods,
  listSimulatedWorkloads,
  recoverSimulatedNode,
  rollSimulatedWorkload,
  scaleSimulatedWorkload,
} from "../../../wire/api/simulation.ts";
import type { ProblemAnswer, Route } from "./route.ts";
import { problem, route } from "./route.ts";

/** A workload by the names that operators use. */
type WorkloadName = Pick<SimulatedWorkload, "kind" | "namespace" | "name">;

/** Why something was not made. */
type Refusal =
  | { readonly kind: "exists" }
  | { readonly kind: "invalid"; readonly field: string; readonly message: string };

/** The cluster behind these routes. Undefined and false: there is no such thing. */
export interface SimulationDoor {
  sizes(): { readonly workloads: number; readonly pods: number; readonly nodes: number };
  workloads(): SimulatedWorkload[];
  createWorkload(
    wish: SimulatedWorkloadWish,
  ): Promise<{ readonly kind: "done"; readonly workload: SimulatedWorkload } | Refusal>;
  scale(name: WorkloadName, replicas: number): Promise<SimulatedWorkload | undefined>;
  roll(name: WorkloadName): Promise<SimulatedWorkload | undefined>;
  deleteWorkload(name: WorkloadName): Promise<boolean>;
  pods(): SimulatedPod[];
  deletePod(
    id: { readonly namespace: string; readonly name: string },
    options: { readonly force: boolean },
  ): Promise<"absent" | "removed" | "terminating" | "already terminating">;
  nodes(): SimulatedNode[];
  addNode(wish: {
    readonly name: string;
    readonly ips: readonly string[];
  }): Promise<{ readonly kind: "done"; readonly node: SimulatedNode } | Refusal>;
  stopNode(name: string): Promise<SimulatedNode | undefined>;
  startNode(name: string): Promise<SimulatedNode | undefined>;
  removeNode(name: string): Promise<boolean>;
  events(): SimulatedEvent[];
}

/** The simulated cluster as the API shows it. */
export type SimulationParts = {
  readonly cluster: SimulationDoor;
  readonly stateFolder: string;
  /** The pod subnets; "" when no file has them. */
  readonly configurationFile: string;
};

/** The routes of the simulated cluster. */
export function simulationRoutes(parts: SimulationParts): readonly Route[] {
  const { cluster, stateFolder, configurationFile } = parts;
  return [
    route(getSimulation, () => ({
      status: 200,
      body: { stateFolder, configurationFile, ...cluster.sizes() },
    })),
    ...workloadRoutes(cluster),
    ...podRoutes(cluster),
    ...nodeRoutes(cluster),
    route(listSimulatedEvents, () => ({ status: 200, body: { events: cluster.events() } })),
  ];
}

function workloadRoutes(cluster: SimulationDoor): readonly Route[] {
  return [
    route(listSimulatedWorkloads, () => ({
      status: 200,
      body: { workloads: cluster.workloads() },
    })),
    route(createSimulatedWorkload, async ({ body }) => {
      const outcome = await cluster.createWorkload(body);
      if (outcome.kind === "done") return { status: 200, body: outcome.workload };
      const { kind, namespace = "default", name } = body;
      return refusal(outcome, `${kind} ${namespace}/${name}`);
    }),
    route(scaleSimulatedWorkload, async ({ params, body }) => {
      const workload = await cluster.scale(params, body.replicas);
      return workload === undefined ? noWorkload(params) : { status: 200, body: workload };
    }),
    route(rollSimulatedWorkload, async ({ params }) => {
      const workload = await cluster.roll(params);
      return workload === undefined ? noWorkload(params) : { status: 200, body: workload };
    }),
    route(deleteSimulatedWorkload, async ({ params }) => {
      const { kind, namespace, name } = params;
      if (!(await cluster.deleteWorkload(params))) return noWorkload(params);
      const outcome = `${kind} ${namespace}/${name} is deleted; its pods follow`;
      return { status: 200, body: { outcome } };
    }),
  ];
}

function podRoutes(cluster: SimulationDoor): readonly Route[] {
  return [
    route(listSimulatedPods, ({ query }) => {
      const { namespace, workload, nodeName } = query;
      const pods = cluster
        .pods()
        .filter(
          (pod) =>
            (namespace === undefined || pod.namespace === namespace) &&
            (workload === undefined || pod.workload === workload) &&
            (nodeName === undefined || pod.nodeName === nodeName),
        );
      return { status: 200, body: { pods } };
    }),
    route(deleteSimulatedPod, async ({ params, query }) => {
      const pod = `pod ${params.namespace}/${params.name}`;
      const outcome = await cluster.deletePod(params, { force: query.force ?? false });
      if (outcome === "absent") {
        return problem(
          404,
          `there is no ${pod}; GET ${listSimulatedPods.path} lists what there is`,
        );
      }
      return { status: 200, body: { outcome: `${pod}: ${outcomes[outcome]}` } };
    }),
  ];
}

const outcomes = {
  removed: "it is gone",
  terminating: "its node stops it",
  "already terminating":
    "it is being deleted already; while its node is silent only force=true removes it",
} as const;

function nodeRoutes(cluster: SimulationDoor): readonly Route[] {
  return [
    route(listSimulatedNodes, () => ({ status: 200, body: { nodes: cluster.nodes() } })),
    route(addSimulatedNode, async ({ body }) => {
      const outcome = await cluster.addNode(body);
      if (outcome.kind === "done") return { status: 200, body: outcome.node };
      return refusal(outcome, `node ${body.name}`);
    }),
    route(killSimulatedNode, async ({ params: { name } }) => {
      const node = await cluster.stopNode(name);
      return node === undefined ? noNode(name) : { status: 200, body: node };
    }),
    route(recoverSimulatedNode, async ({ params: { name } }) => {
      const node = await cluster.startNode(name);
      return node === undefined ? noNode(name) : { status: 200, body: node };
    }),
    route(deleteSimulatedNode, async ({ params: { name } }) => {
      if (!(await cluster.removeNode(name))) return noNode(name);
      const outcome = `node ${name} is removed; its pods fail and are replaced elsewhere`;
      return { status: 200, body: { outcome } };
    }),
  ];
}

function refusal(why: Refusal, what: string): ProblemAnswer {
  return why.kind === "exists"
    ? problem(409, `${what} is there already; delete it first, or choose another name`)
    : problem(400, `${what}: ${why.message}`, { field: why.field });
}

function noWorkload({ kind, namespace, name }: WorkloadName): ProblemAnswer {
  return problem(
    404,
    `there is no ${kind} ${namespace}/${name}; GET ${listSimulatedWorkloads.path} lists what there is`,
  );
}

function noNode(name: string): ProblemAnswer {
  return problem(
    404,
    `there is no node ${name}; GET ${listSimulatedNodes.path} lists what there is`,
  );
}
