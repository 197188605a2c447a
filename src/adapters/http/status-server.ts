// The daemon's port for those who watch it: metrics and health. Nothing of a pod can be changed or read here.

import type { Log } from "../../ports/log.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes } from "./health-routes.ts";
import type { Door } from "./http-door.ts";
import { createFastify, doorOf } from "./http-door.ts";

/** What it serves. */
export type StatusServerParts = {
  readonly health: Health;
  readonly metrics: { text(): Promise<{ readonly contentType: string; readonly text: string }> };
  readonly log: Log;
};

/** Makes the port. */
export function createStatusServer({ health, metrics, log }: StatusServerParts): Door {
  const options = { name: "metrics and health", log, bodyLimit: 1_024, maxConnections: 100 };
  const server = createFastify(options);
  addHealthRoutes(server, health);
  server.get("/metrics", async (_request, reply) => {
    const { contentType, text } = await metrics.text();
    return reply.type(contentType).send(text);
  });
  return doorOf(server, options);
}
