// The API port 9041: health and metrics for now. The HTTP API itself comes with a later release and says so.

import type { Log } from "../../ports/log.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes } from "./health-routes.ts";
import type { Door, TlsKeyPair } from "./http-door.ts";
import { createFastify, doorOf, pathOf, sendProblem } from "./http-door.ts";

/** Metrics as a scraper reads them. */
export interface MetricsText {
  readonly contentType: string;
  text(): Promise<string>;
}

/** What the API port serves. */
export type ApiServerOptions = {
  readonly health: Health;
  readonly metrics: MetricsText;
  readonly log: Log;
  readonly tls?: TlsKeyPair | undefined;
};

/** The server; it listens when told to. */
export function createApiServer(options: ApiServerOptions): Door {
  const doorOptions = {
    name: "the API",
    log: options.log,
    tls: options.tls,
    bodyLimit: 1024 * 1024,
  };
  const server = createFastify(doorOptions);
  addHealthRoutes(server, options.health);
  server.get("/metrics", async (_request, reply) => {
    const text = await options.metrics.text();
    return reply.type(options.metrics.contentType).send(text);
  });
  server.setNotFoundHandler((request, reply) =>
    sendProblem(
      reply,
      404,
      `${request.method} ${pathOf(request)} is served by a later release; there are GET /healthy, /livez, /readyz and /metrics`,
    ),
  );
  return doorOf(server, doorOptions);
}
