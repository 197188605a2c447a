// Puts routes on a Fastify server: who may call, what is read, who answers, how the answer looks. The same for all routes, so that
// no route can forget one of these.

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { WorldError } from "../../../ports/world-error.ts";
import type { EndpointShape, NoParameters } from "../../../wire/api/endpoint.ts";
import { formatEstablished } from "../../../wire/api/established-text.ts";
import type { RawQuery } from "../../../wire/api/read-request.ts";
import { readBody, readParameters, withoutNulls } from "../../../wire/api/read-request.ts";
import { pathOf, sendProblem } from "../http-door.ts";
import type { ApiRequest, ProblemAnswer, Route } from "./route.ts";
import { problem } from "./route.ts";

/** Decides before anything of a request is read but its head. */
export interface RouteGuard {
  /** @returns undefined to let it in, else the answer (401, 403, 429, 503) */
  admit(request: FastifyRequest, endpoint: EndpointShape): Promise<ProblemAnswer | undefined>;
}

/** What hooks of the server know of a route. */
export type RouteConfig = { readonly isStream: boolean };

/** Why nothing can be changed here; `leader` names who can, "" when nobody is known, undefined when this replica is it but is not ready. */
export type ChangeProblem = { readonly message: string; readonly leader: string | undefined };

/** What the routes have in common. */
export type RouteSettings = {
  readonly routes: readonly Route[];
  /** Undefined: everybody may do everything, as in the Go system. */
  readonly guard?: RouteGuard | undefined;
  /** Why this replica knows nothing yet; undefined as soon as it has read the records once. */
  readonly readProblem: () => string | undefined;
  /** Why this replica cannot change anything now; undefined when it can. Reads are served all the same. */
  readonly changeProblem: () => ChangeProblem | undefined;
};

/** Adds the routes, and answers 405 on their paths for other methods. */
export function addApiRoutes(server: FastifyInstance, settings: RouteSettings): void {
  // The default parser for text would take anything for a body.
  server.removeContentTypeParser(["text/plain", "application/json"]);
  const parseJson = server.getDefaultJsonParser("error", "error");
  server.addContentTypeParser<string>(
    "application/json",
    { parseAs: "string" },
    (request, body, done) => {
      // Clients name the type of a body that they do not send.
      if (body === "") done(null, undefined);
      else void parseJson(request, body, done);
    },
  );
  for (const route of settings.routes) addRoute(server, route, settings);
}

/** Methods that a path is served with, for 405; empty when there is no such path. */
export function methodsOf(routes: readonly Route[], path: string): readonly string[] {
  return routes
    .filter(({ endpoint }) => patternOf(endpoint.path).test(path))
    .map(({ endpoint }) => endpoint.method);
}

function patternOf(path: string): RegExp {
  const source = path.replaceAll(".", "\\.").replaceAll(/\{[^}]+\}/g, "[^/]+");
  return new RegExp(`^${source}/?$`);
}

function addRoute(server: FastifyInstance, route: Route, settings: RouteSettings): void {
  const { endpoint } = route;
  const { guard } = settings;
  const response = Object.fromEntries(
    Object.entries(endpoint.answers).flatMap(([code, { schema }]) =>
      schema === undefined ? [] : [[code, schema]],
    ),
  );
  server.route({
    method: endpoint.method,
    url: endpoint.path.replaceAll(/\{([^}]+)\}/g, ":$1"),
    config: { isStream: endpoint.answersWith === "text/event-stream" } satisfies RouteConfig,
    ...(route.bodyLimitBytes === undefined ? {} : { bodyLimit: route.bodyLimitBytes }),
    ...("handle" in route && endpoint.isEstablished !== true ? { schema: { response } } : {}),
    onRequest: async (request, reply) => {
      const denial = await guard?.admit(request, endpoint);
      if (denial !== undefined) return sendAnswer(reply, endpoint, denial);
      return undefined;
    },
    handler: async (request, reply) => {
      const refusal = stateRefusal(endpoint, settings);
      if (refusal !== undefined) return sendAnswer(reply, endpoint, refusal);
      const read = readRequest(endpoint, request);
      if ("problem" in read) return sendAnswer(reply, endpoint, read);
      if ("answer" in route) return route.answer(request, reply);
      const gone = new AbortController();
      request.raw.once("close", () => {
        if (request.raw.destroyed && !reply.raw.writableEnded) gone.abort();
      });
      try {
        const answer = await route.handle({ ...read, signal: gone.signal });
        return await sendAnswer(reply, endpoint, answer);
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
        return sendAnswer(reply, endpoint, worldProblem(error));
      }
    },
  });
}

/** Descriptions of the API are served always, questions when there is something to answer from, changes by a leader that is ready. */
function stateRefusal(endpoint: EndpointShape, settings: RouteSettings): ProblemAnswer | undefined {
  if (endpoint.access === "open") return undefined;
  const unread = settings.readProblem();
  if (unread !== undefined) return problem(503, `${unread}; try again in a moment`);
  if (endpoint.changes !== true) return undefined;
  const found = settings.changeProblem();
  if (found === undefined) return undefined;
  const { message, leader } = found;
  if (leader === undefined) {
    return problem(503, `${message}; nothing was changed: try again in a moment`);
  }
  return problem(503, `${message}; nothing was changed: ask the leader`, {
    errorCode: "NOT_LEADER",
    ...(leader === "" ? {} : { leader }),
  });
}

/** A request as its endpoint's schemas read it, or what is wrong with it. */
function readRequest(
  endpoint: EndpointShape,
  request: FastifyRequest,
): Omit<ApiRequest<EndpointShape>, "signal"> | ProblemAnswer {
  const rawQuery = request.query as RawQuery;
  const isEstablished = endpoint.isEstablished === true;
  const params =
    endpoint.params === undefined
      ? { kind: "value" as const, value: {} }
      : readParameters(endpoint.params, request.params as RawQuery);
  if (params.kind === "invalid") return invalid(params);
  const query =
    endpoint.query === undefined || isEstablished
      ? { kind: "value" as const, value: {} }
      : readParameters(endpoint.query, rawQuery);
  if (query.kind === "invalid") return invalid(query);
  const body =
    endpoint.body === undefined
      ? { kind: "value" as const, value: undefined }
      : readBody(endpoint.body, isEstablished ? withoutNulls(request.body) : request.body);
  if (body.kind === "invalid") return invalid(body);
  return {
    params: params.value as NoParameters,
    query: query.value as NoParameters,
    rawQuery,
    body: body.value as undefined,
    requestId: request.id,
  };
}

function invalid({ field, message }: { readonly field: string; readonly message: string }) {
  return problem(400, message, field === "" ? {} : { field });
}

/** A broken world is told without its details; the log of whoever threw has them. */
function worldProblem(error: WorldError): ProblemAnswer {
  return problem(503, error.message, { errorCode: error.code });
}

/** Words that the Go system puts before its messages. */
const establishedPrefixes: Readonly<Record<number, string>> = {
  400: "bad request: ",
  404: "not found: ",
};

async function sendAnswer(
  reply: FastifyReply,
  endpoint: EndpointShape,
  answer: { readonly status: number; readonly body: unknown } | ProblemAnswer,
): Promise<FastifyReply> {
  if ("problem" in answer) {
    const prefix =
      endpoint.isEstablished === true ? (establishedPrefixes[answer.status] ?? "") : "";
    const { message, ...details } = answer.problem;
    return sendProblem(reply, answer.status, `${prefix}${message}`, details);
  }
  const schema = endpoint.answers[answer.status]?.schema;
  const text =
    endpoint.isEstablished === true && schema !== undefined
      ? formatEstablished(schema, answer.body)
      : undefined;
  return reply
    .code(answer.status)
    .type("application/json; charset=utf-8")
    .send(text ?? answer.body);
}

/** The answer where no route is: 405 when the path is served with another method, else 404. */
export function answerUnknown(
  routes: readonly Route[],
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const path = pathOf(request);
  const methods = methodsOf(routes, path);
  if (methods.length > 0) {
    const allowed = [...new Set(methods)].join(", ");
    return sendProblem(
      reply.header("allow", allowed),
      405,
      `${path} is served with ${allowed}, not with ${request.method}`,
    );
  }
  return sendProblem(
    reply,
    404,
    `there is no ${request.method} ${path}; GET /openapi.json and /docs list what there is`,
  );
}
