// A route: an endpoint of wire/api with the function that answers it. One file of this folder per topic makes routes; api-routes.ts lists
// them, add-routes.ts puts them on a server. To add one: describe it in wire/api, answer it here, and list both.

import type { FastifyReply, FastifyRequest } from "fastify";
import type {
  AnswerOf,
  BodyOf,
  EndpointShape,
  ParamsOf,
  QueryOf,
} from "../../../wire/api/endpoint.ts";
import type { Problem } from "../../../wire/api/problem.ts";
import type { RawQuery } from "../../../wire/api/read-request.ts";

/** A request that its schemas accepted. */
export type ApiRequest<E extends EndpointShape> = {
  readonly params: ParamsOf<E>;
  /** Empty for an established GET: those read {@link ApiRequest.rawQuery} themselves, because they clamp. */
  readonly query: QueryOf<E>;
  readonly rawQuery: RawQuery;
  readonly body: BodyOf<E>;
  readonly requestId: string;
  /** Aborted when the caller hung up. */
  readonly signal: AbortSignal;
};

/** An answer from 400 on; what is not given is filled in. */
export type ProblemAnswer = {
  readonly status: number;
  readonly problem: Omit<Problem, "code" | "requestId">;
};

/** What a route answers: a status code of its endpoint with the body, or a problem. */
export type ApiAnswer<E extends EndpointShape> =
  | { readonly status: 200; readonly body: AnswerOf<E, 200> }
  | { readonly status: 202; readonly body: AnswerOf<E, 202> }
  | ProblemAnswer;

/** A route ready to be put on a server. */
export type Route = {
  readonly endpoint: EndpointShape;
  /** Largest body in bytes; 1 MiB by default. */
  readonly bodyLimitBytes?: number | undefined;
} & (
  | {
      readonly handle: (
        request: ApiRequest<EndpointShape>,
      ) => Promise<{ readonly status: 200 | 202; readonly body: unknown } | ProblemAnswer>;
    }
  /** Answers by itself: streams and pages. Parameters are checked before. */
  | { readonly answer: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> }
);

/** Binds an endpoint to the function that answers it; the types of both follow from the schemas. */
export function route<E extends EndpointShape>(
  endpoint: E,
  handle: (request: ApiRequest<E>) => ApiAnswer<E> | Promise<ApiAnswer<E>>,
  options: { readonly bodyLimitBytes?: number } = {},
): Route {
  return {
    endpoint,
    bodyLimitBytes: options.bodyLimitBytes,
    // The server hands over only what the endpoint's own schemas accepted.
    handle: async (request) => await handle(request),
  };
}

/** A problem as an answer. */
export function problem(
  status: number,
  message: string,
  details: Omit<Problem, "code" | "requestId" | "message"> = {},
): ProblemAnswer {
  return { status, problem: { message, ...details } };
}
