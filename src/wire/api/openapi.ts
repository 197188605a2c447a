// OpenAPI 3.1 out of the endpoints: the same schemas that check requests and shape answers.

import type { EndpointShape } from "./endpoint.ts";
import type { PlainSchema } from "./json-schema.ts";
import { plainSchema, propertiesOf } from "./json-schema.ts";
import { problemSchema } from "./problem.ts";
import type { DocumentSettings } from "./swagger.ts";

/** Answers that any operation may give, all of them `api.Problem`. */
const commonProblems: Readonly<Record<number, string>> = {
  400: "a parameter or the body is wrong; `field` names it",
  401: "no valid credentials",
  403: "the caller may not do this",
  404: "there is no such thing",
  405: "the path is served with other methods",
  408: "the request took too long to arrive",
  413: "the body is too large",
  414: "a part of the path is too long",
  415: "the body is not JSON",
  429: "too many requests",
  431: "the headers are too large",
  500: "a defect; the log has it under `requestId`",
  503: "this replica cannot answer now; `leader` names who can",
};

type Components = Map<string, { readonly source: string; readonly schema: unknown }>;

/** The document. */
export function openApiDocument(
  endpoints: readonly EndpointShape[],
  { basePath, version }: DocumentSettings,
): Readonly<Record<string, unknown>> {
  const components: Components = new Map();
  const problem = referTo(plainSchema(problemSchema), components);
  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    const path = (paths[endpoint.path] ??= {});
    path[endpoint.method.toLowerCase()] = operationOf(endpoint, components, problem);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Galaxy Float IP",
      version,
      description:
        "Addresses of pods: who has them, why, and what to do about it. Paths marked as established keep the form of tkestack/galaxy.",
    },
    servers: [{ url: basePath }],
    paths,
    components: {
      schemas: Object.fromEntries([...components].map(([name, { schema }]) => [name, schema])),
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}

function operationOf(
  endpoint: EndpointShape,
  components: Components,
  problem: unknown,
): Readonly<Record<string, unknown>> {
  const json = (schema: unknown) => ({ "application/json": { schema } });
  const parameters = [
    ...propertiesOf(endpoint.params).map((property) => parameter("path", property, components)),
    ...propertiesOf(endpoint.query).map((property) => parameter("query", property, components)),
  ];
  const responses: Record<string, unknown> = {};
  for (const [code, description] of Object.entries(commonProblems)) {
    responses[code] = { description, content: json(problem) };
  }
  for (const [code, answer] of Object.entries(endpoint.answers)) {
    const type = endpoint.answersWith ?? "application/json";
    const schema =
      answer.schema === undefined ? undefined : referTo(plainSchema(answer.schema), components);
    responses[code] =
      Number(code) >= 400
        ? { description: answer.description, content: json(problem) }
        : {
            description: answer.description,
            content: { [type]: schema === undefined || type === "text/html" ? {} : { schema } },
          };
  }
  const { access } = endpoint;
  return {
    operationId: endpoint.id,
    tags: [endpoint.topic],
    summary: endpoint.summary,
    ...(access === "open"
      ? { security: [] }
      : {
          description:
            `Needs ${access.verb} on ${access.resource} of galaxy.k8s.io.` +
            (endpoint.changes === true ? " Served by the leader alone." : ""),
          security: [{ token: [] }],
        }),
    ...(endpoint.isEstablished === true ? { "x-established": true } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(endpoint.body === undefined
      ? {}
      : {
          requestBody: {
            required: (plainSchema(endpoint.body).required ?? []).length > 0,
            content: json(referTo(plainSchema(endpoint.body), components)),
          },
        }),
    responses,
  };
}

function parameter(
  place: "path" | "query",
  { name, schema, isRequired }: ReturnType<typeof propertiesOf>[number],
  components: Components,
): Readonly<Record<string, unknown>> {
  const { description, ...rest } = schema;
  return {
    name,
    in: place,
    required: isRequired,
    ...(description === undefined ? {} : { description }),
    schema: inline(rest, components),
  };
}

/** A reference to a named schema. Of two different ones of the same name, what is sent and what is answered, the later stays in place. */
function referTo(schema: PlainSchema, components: Components): unknown {
  const { title } = schema;
  if (title === undefined) return inline(schema, components);
  const source = JSON.stringify(schema);
  const known = components.get(title);
  if (known === undefined) {
    components.set(title, { source, schema: {} });
    components.set(title, { source, schema: inline(schema, components) });
  } else if (known.source !== source) return inline(schema, components);
  return { $ref: `#/components/schemas/${title}` };
}

/** The schema with references in the place of named ones inside it. */
function inline(schema: PlainSchema, components: Components): Readonly<Record<string, unknown>> {
  const { properties, items, anyOf, patternProperties, ...rest } = schema;
  const each = (members: Readonly<Record<string, PlainSchema>>) =>
    Object.fromEntries(
      Object.entries(members).map(([name, member]) => [name, referTo(member, components)]),
    );
  return {
    ...rest,
    ...(properties === undefined ? {} : { properties: each(properties) }),
    ...(patternProperties === undefined ? {} : { patternProperties: each(patternProperties) }),
    ...(items === undefined ? {} : { items: referTo(items, components) }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map((member) => referTo(member, components)) }),
  };
}
