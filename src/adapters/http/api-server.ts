// The API port 9041: health, metrics and the routes of the HTTP API. What the routes do is in api/.

import type { FastifyInstance } from "fastify";
import type { Log } from "../../ports/log.ts";
import type { RouteConfig, RouteSettings } from "./api/add-routes.ts";
import { addApiRoutes, answerUnknown } from "./api/add-routes.ts";
import type { Health } from "./health-routes.ts";
import { addHealthRoutes, healthPaths } from "./health-routes.ts";
import type { Door, DoorTls } from "./http-door.ts";
import { createFastify, doorOf, sendProblem } from "./http-door.ts";
import type { PageFiles } from "./page-files.ts";
import { addPageRoutes } from "./page-files.ts";

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
  readonly tls?: DoorTls | undefined;
  /** The routes of the HTTP API with what they have in common. */
  readonly api: RouteSettings;
  readonly limits?: Partial<ApiLimits>;
  /** The web page at `/`; undefined where it was not built. */
  readonly page?: PageFiles | undefined;
};

/** What callers may use of the process, so that the scheduler's calls have the rest; times in milliseconds. */
export type ApiLimits = {
  /** Connections at a time; further ones are closed at once. */
  readonly connections: number;
  /** Requests under way, without streams; further ones get 429. */
  readonly requests: number;
  /** An answer that is not there after so long is given up with 503. */
  readonly answerMs: number;
  /** A connection on which nothing moves for so long while a request is under way is closed: a caller that reads slowly moves. */
  readonly stalledMs: number;
};

const usualLimits: ApiLimits = {
  connections: 1_000,
  requests: 128,
  answerMs: 30_000,
  stalledMs: 60_000,
};

/** The server; it listens when told to. */
export function createApiServer(options: ApiServerOptions): Door {
  const limits = { ...usualLimits, ...options.limits };
  const doorOptions = {
    name: "the API",
    log: options.log,
    tls: options.tls,
    bodyLimit: 1024 * 1024,
    maxConnections: limits.connections,
    stalledMs: limits.stalledMs,
    answerMs: limits.answerMs,
  };
  const server = createFastify(doorOptions);
  limitRequests(server, limits.requests);
  addHealthRoutes(server, options.health);
  server.get("/metrics", async (_request, reply) => {
    const text = await options.metrics.text();
    return reply.type(options.metrics.contentType).send(text);
  });
  addApiRoutes(server, options.api);
  if (options.page !== undefined) addPageRoutes(server, options.page);
  server.setNotFoundHandler((request, reply) => answerUnknown(options.api.routes, request, reply));
  return doorOf(server, doorOptions);
}

/**
 * Turns requests away before their body is read. Health answers all the same, because a kubelet must not take a busy program for a dead one;
 * streams are counted by whoever serves them.
 */
function limitRequests(server: FastifyInstance, limit: number): void {
  let underWay = 0;
  server.addHook("onRequest", (request, reply, done) => {
    const { url, config } = request.routeOptions;
    if (healthPaths.has(url ?? "") || isStream(config)) {
      done();
      return;
    }
    if (underWay >= limit) {
      void sendProblem(
        reply,
        429,
        `${underWay} requests are under way, which is the limit; try again in a moment`,
      );
      return;
    }
    underWay += 1;
    // `close` comes once and always, also when the caller hangs up.
    reply.raw.once("close", () => {
      underWay -= 1;
    });
    done();
  });
}

/** Undefined where there is no route. */
function isStream(config: unknown): boolean {
  return (config as RouteConfig | undefined)?.isStream === true;
}
