// The API port 9041: health, metrics and the routes of the HTTP API. What the routes do is in api/.

import type { Log } from "../../ports/log.ts";
import type { RouteSettings } from "./api/add-routes.ts";
import { addApiRoutes, answerUnknown } from "./api/add-routes.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes } from "./health-routes.ts";
import type { Door, TlsKeyPair } from "./http-door.ts";
import { createFastify, doorOf } from "./http-door.ts";

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
  /** The routes of the HTTP API with what they have in common. */
  readonly api: RouteSettings;
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
  addApiRoutes(server, options.api);
  server.setNotFoundHandler((request, reply) => answerUnknown(options.api.routes, request, reply));
  return doorOf(server, doorOptions);
}
