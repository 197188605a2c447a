// /healthy (the Go system's), /livez and /readyz as plain text, on both ports. What they say is decided by the program.

import type { FastifyInstance, FastifyReply } from "fastify";

/** Each gives undefined when all is well, else the reason in one sentence. */
export interface Health {
  /** The process must be restarted. */
  livenessProblem(): string | undefined;
  /** It waits for something that an operator may have to provide, such as the ConfigMap. A follower is healthy. */
  healthProblem(): string | undefined;
  /** It cannot answer the scheduler now: not healthy, not the leader, or running pods are not adopted yet. */
  readinessProblem(): string | undefined;
}

/** What probes ask for; everybody may. */
export const healthPaths: ReadonlySet<string> = new Set(["/healthy", "/livez", "/readyz"]);

/** Adds the three routes. */
export function addHealthRoutes(server: FastifyInstance, health: Health): void {
  server.get("/healthy", (_request, reply) => answer(reply, health.healthProblem()));
  server.get("/livez", (_request, reply) => answer(reply, health.livenessProblem()));
  server.get("/readyz", (_request, reply) => answer(reply, health.readinessProblem()));
}

/** `ok` without a line break is what the Go system answers. */
function answer(reply: FastifyReply, problem: string | undefined): FastifyReply {
  return reply
    .code(problem === undefined ? 200 : 503)
    .type("text/plain; charset=utf-8")
    .send(problem === undefined ? "ok" : `${problem}\n`);
}
