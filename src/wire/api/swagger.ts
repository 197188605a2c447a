// Swagger 1.2 out of the endpoints, in the shape that tkestack/galaxy serves at /apidocs.json: clients were generated from it. OpenAPI 3.1,
// which says more, is in openapi.ts.

import type { EndpointShape } from "./endpoint.ts";
import type { PlainSchema } from "./json-schema.ts";
import { plainSchema, propertiesOf } from "./json-schema.ts";

/** Where a document is served, for `basePath`; for example `http://10.0.0.1:9041`. */
export type DocumentSettings = { readonly basePath: string; readonly version: string };

type Models = Map<string, Record<string, unknown>>;

/** The resource listing of /apidocs.json. */
export function swaggerListing({ version }: DocumentSettings): Readonly<Record<string, unknown>> {
  return {
    swaggerVersion: "1.2",
    apiVersion: version,
    apis: [{ path: "/v1", description: "" }],
    info: { title: "Galaxy Float IP", description: "" },
  };
}

/** The declaration of /apidocs.json/v1: the established operations and those that came later. */
export function swaggerDeclaration(
  endpoints: readonly EndpointShape[],
  { basePath, version }: DocumentSettings,
): Readonly<Record<string, unknown>> {
  // The established document names it although nothing refers to it.
  const models: Models = new Map([
    ["page.Page.content", { id: "page.Page.content", properties: {} }],
  ]);
  const paths = new Map<string, unknown[]>();
  const described = endpoints.filter(
    ({ path, answersWith }) => path.startsWith("/v1/") && answersWith === undefined,
  );
  // Answers have every field of a model, requests may leave some out: what is answered says which are required.
  for (const { answers } of described) {
    for (const { schema } of Object.values(answers)) {
      if (schema !== undefined) typeNameOf(plainSchema(schema), models);
    }
  }
  for (const endpoint of described) {
    const operations = paths.get(endpoint.path) ?? [];
    operations.push(operationOf(endpoint, models));
    paths.set(endpoint.path, operations);
  }
  return {
    swaggerVersion: "1.2",
    apiVersion: version,
    basePath,
    resourcePath: "/v1",
    info: { title: "Galaxy Float IP", description: "" },
    apis: [...paths].map(([path, operations]) => ({ path, description: "", operations })),
    models: Object.fromEntries(models),
  };
}

function operationOf(endpoint: EndpointShape, models: Models): Readonly<Record<string, unknown>> {
  const json = ["application/json"];
  const responseMessages = Object.entries(endpoint.answers).map(([code, answer]) => ({
    code: Number(code),
    message: answer.description,
    ...(answer.schema === undefined
      ? {}
      : { responseModel: typeNameOf(plainSchema(answer.schema), models) }),
  }));
  const success = endpoint.answers[200]?.schema;
  const type = success === undefined ? "void" : typeNameOf(plainSchema(success), models);
  return {
    type: endpoint.swaggerType ?? type,
    method: endpoint.method,
    summary: endpoint.summary,
    nickname: endpoint.id,
    parameters: parametersOf(endpoint, models),
    responseMessages,
    produces: json,
    consumes: json,
  };
}

function parametersOf(endpoint: EndpointShape, models: Models): readonly unknown[] {
  const plain = (paramType: "path" | "query", schema: EndpointShape["query"]) =>
    propertiesOf(schema).map(({ name, schema: property, isRequired }) => ({
      type: property.type ?? "string",
      ...(property.default === undefined ? {} : { defaultValue: textOf(property.default) }),
      paramType,
      name,
      description: property.description ?? "",
      required: isRequired,
      allowMultiple: false,
      ...(property.enum === undefined ? {} : { enum: property.enum }),
      ...(property.minimum === undefined ? {} : { minimum: String(property.minimum) }),
      ...(property.maximum === undefined ? {} : { maximum: String(property.maximum) }),
    }));
  const body =
    endpoint.body === undefined
      ? []
      : [
          {
            type: typeNameOf(plainSchema(endpoint.body), models),
            paramType: "body",
            name: "body",
            description: "",
            required: true,
            allowMultiple: false,
          },
        ];
  return [...plain("path", endpoint.params), ...plain("query", endpoint.query), ...body];
}

/** The name of a type; a named object becomes a model. */
function typeNameOf(schema: PlainSchema, models: Models): string {
  if (schema.title === undefined || schema.properties === undefined) return schema.type ?? "string";
  const { title } = schema;
  const model = models.get(title);
  if (model === undefined) {
    // Entered before its properties, so that a model may refer to itself.
    const entered: Record<string, unknown> = { id: title };
    models.set(title, entered);
    const { required = [] } = schema;
    if (required.length > 0) entered["required"] = [...required];
    entered["properties"] = modelProperties(schema, models);
  } else {
    // What is sent may have more fields than what is answered, and the other way round; the model has all.
    const known = model["properties"] as Record<string, unknown> | undefined;
    for (const [name, property] of Object.entries(modelProperties(schema, models))) {
      if (known !== undefined && !Object.hasOwn(known, name)) known[name] = property;
    }
  }
  return title;
}

function modelProperties(schema: PlainSchema, models: Models): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, property]) => [
      name,
      modelProperty(property, models),
    ]),
  );
}

function modelProperty(schema: PlainSchema, models: Models): Readonly<Record<string, unknown>> {
  const description = schema.description === undefined ? {} : { description: schema.description };
  if (schema.title !== undefined && schema.properties !== undefined) {
    return { $ref: typeNameOf(schema, models), ...description };
  }
  if (schema.type === "array") {
    return { type: "array", items: itemsOf(schema.items ?? {}, models), ...description };
  }
  // Swagger 1.2 has no maps: what is inside is said by the OpenAPI document.
  const type = schema.type ?? "string";
  return {
    type,
    ...(schema.format === undefined ? {} : { format: schema.format }),
    ...(schema.enum === undefined ? {} : { enum: schema.enum }),
    ...description,
  };
}

function itemsOf(schema: PlainSchema, models: Models): Readonly<Record<string, unknown>> {
  return schema.properties === undefined
    ? { type: schema.type ?? "string" }
    : { $ref: typeNameOf(schema, models) };
}

/** Defaults are texts in Swagger 1.2, whatever their type. */
function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
