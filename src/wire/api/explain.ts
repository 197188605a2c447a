// /v1/explain/pod: why a pod has or does not get an address. The same functions decide here and in the scheduler's calls.

import type { Static } from "typebox";
import { Type } from "typebox";
import { endpoint } from "./endpoint.ts";

/** The answer to "why". */
export const explanationSchema = Type.Object(
  {
    pod: Type.String({ description: "NAMESPACE/NAME" }),
    decision: Type.Enum(
      [
        "has address",
        "would get address",
        "refused",
        "no node",
        "not wanted",
        "finished",
        "not found",
        "unknown",
      ],
      {
        description:
          "has address: bound with addresses; would get address: some node passes; refused: no node can help (policy, replicas, pool size, " +
          "annotation); no node: every node lacks addresses; not wanted: the pod asks for none; finished: it has given them up; " +
          "not found: no such pod; unknown: the cluster cannot be asked now",
      },
    ),
    because: Type.String({
      description: "the reason, as events and the scheduler's answers say it",
    }),
    remedy: Type.Array(Type.String(), { description: "what would change the decision" }),
    facts: Type.Object(
      {
        uid: Type.Optional(Type.String()),
        phase: Type.Optional(Type.String()),
        nodeName: Type.Optional(Type.String()),
        isTerminating: Type.Optional(Type.Boolean()),
        policy: Type.Optional(Type.Enum(["pod-delete", "immutable", "never"])),
        pool: Type.Optional(Type.String()),
        poolSize: Type.Optional(Type.Integer()),
        request: Type.Optional(Type.String({ description: "families or ranges it asks for" })),
        workload: Type.Optional(Type.String({ description: "KIND NAMESPACE/NAME" })),
        workloadState: Type.Optional(Type.String()),
        replicas: Type.Optional(Type.Integer()),
        carries: Type.Array(Type.String(), {
          description: "addresses in the pod's annotation: what its node was told to set up",
        }),
      },
      { title: "api.PodFacts" },
    ),
    addresses: Type.Array(
      Type.Object(
        {
          ip: Type.String(),
          state: Type.String(),
          policy: Type.Integer(),
          nodeName: Type.Optional(Type.String()),
          updateTime: Type.String({ format: "date-time" }),
          ifPodGoes: Type.String({
            description: "what would become of the address if the pod were gone now, and why",
          }),
        },
        { title: "api.ExplainedAddress" },
      ),
      { description: "addresses that belong to the pod, or are kept for its name" },
    ),
    nodes: Type.Array(
      Type.Object(
        {
          nodes: Type.Array(Type.String(), { description: "names, at most 20" }),
          nodeCount: Type.Integer(),
          subnets: Type.Array(Type.String()),
          addresses: Type.Array(
            Type.Object(
              { ip: Type.String(), from: Type.String() },
              { title: "api.PlannedAddress" },
            ),
          ),
          because: Type.Optional(Type.String({ description: "why these nodes cannot help" })),
        },
        { title: "api.ExplainedNodes" },
      ),
      { description: "groups of nodes that share pod subnets, and what the pod would get there" },
    ),
  },
  { title: "api.Explanation" },
);

/** {@link explanationSchema} */
export type ExplanationAnswer = Static<typeof explanationSchema>;

/** Explains one pod. */
export const explainPod = endpoint({
  id: "explainPod",
  method: "GET",
  path: "/v1/explain/pod/{namespace}/{name}",
  topic: "explanations",
  summary: "Why a pod has or does not get an address, and what would change it",
  access: { verb: "get", resource: "floatingips" },
  params: Type.Object({ namespace: Type.String(), name: Type.String() }),
  answers: { 200: { description: "the explanation", schema: explanationSchema } },
});
