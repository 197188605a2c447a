// What one operation of the HTTP API is: method, path, schemas and the permission it needs. Descriptions only: who serves them is in
// adapters/http, who calls them in cli and ui; validation, answers, Swagger, OpenAPI and client types all follow from these values.

import type { Static, TObject, TSchema } from "typebox";

/** What a caller must be allowed to do, in the words of Kubernetes' authorisation: a verb on a resource of galaxy.k8s.io. */
export type Access = {
  readonly verb: "get" | "list" | "watch" | "create" | "update" | "delete";
  readonly resource: "floatingips" | "floatingipquotas" | "pools" | "profiles";
};

/** One possible answer: what it means, and its body; without a schema the body is `api.Problem` (from 400 on) or not JSON. */
export type Answer = { readonly description: string; readonly schema?: TSchema };

/** The parts of an operation. */
export type EndpointShape = {
  /** Operation id, in camel case; the nickname of the Swagger documents where those have one. */
  readonly id: string;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** With parameters in braces: `/v1/pool/{name}`. */
  readonly path: string;
  /** Heading in the documents. */
  readonly topic: string;
  readonly summary: string;
  /** `open`: descriptions of the API itself, which say nothing about the cluster. */
  readonly access: Access | "open";
  readonly params?: TObject;
  readonly query?: TObject;
  /** JSON. A body whose fields are all optional may be absent. */
  readonly body?: TObject;
  /** By status code; 400, 401, 403, 404, 405, 413, 415, 429, 500 and 503 with `api.Problem` may come besides. */
  readonly answers: Readonly<Record<number, Answer>>;
  /**
   * It exists in tkestack/galaxy: answers are spelled and laid out as there, values out of range are clamped or ignored as there, and it
   * stands in the Swagger 1.2 documents.
   */
  readonly isEstablished?: true;
  /** The type of the operation in Swagger 1.2 where it is not that of answer 200. */
  readonly swaggerType?: string;
  /** It changes something: only the leader serves it. */
  readonly changes?: true;
  /** Content type of the answer when it is not JSON. */
  readonly answersWith?: "text/event-stream" | "text/html" | "application/octet-stream";
};

/** Describes an operation; keeps the precise types of its schemas. */
export function endpoint<const E extends EndpointShape>(shape: E): E {
  return shape;
}

/** The parameters of an operation that has none. */
export type NoParameters = Readonly<Record<string, never>>;

/** The path parameters of an operation. */
export type ParamsOf<E extends EndpointShape> = E extends {
  readonly params: infer S extends TSchema;
}
  ? Static<S>
  : NoParameters;

/** The query parameters of an operation, as values. */
export type QueryOf<E extends EndpointShape> = E extends { readonly query: infer S extends TSchema }
  ? Static<S>
  : NoParameters;

/** The body of a request; undefined when the operation has none. */
export type BodyOf<E extends EndpointShape> = E extends { readonly body: infer S extends TSchema }
  ? Static<S>
  : undefined;

/** The body of an answer with a status code. */
export type AnswerOf<E extends EndpointShape, Code extends number> = E["answers"] extends {
  readonly [K in Code]: { readonly schema: infer S extends TSchema };
}
  ? Static<S>
  : undefined;

/** The body of any answer that is no problem: 200 or 202. */
export type SuccessOf<E extends EndpointShape> = Exclude<
  AnswerOf<E, 200> | AnswerOf<E, 202>,
  undefined
>;
