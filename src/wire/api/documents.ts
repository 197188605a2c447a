// Where the API describes itself. What the documents say follows from the endpoints: swagger.ts, openapi.ts and docs-page.ts.

import { endpoint } from "./endpoint.ts";

/** The Swagger 1.2 resource listing, as in the Go system. */
export const getSwaggerListing = endpoint({
  id: "getSwaggerListing",
  method: "GET",
  path: "/apidocs.json",
  topic: "documents",
  summary: "Swagger 1.2: the resources",
  access: "open",
  answers: { 200: { description: "a Swagger 1.2 resource listing" } },
});

/** The Swagger 1.2 declaration, as in the Go system. */
export const getSwagger = endpoint({
  id: "getSwagger",
  method: "GET",
  path: "/apidocs.json/v1",
  topic: "documents",
  summary: "Swagger 1.2: the operations",
  access: "open",
  answers: { 200: { description: "a Swagger 1.2 declaration" } },
});

/** OpenAPI 3.1. */
export const getOpenApi = endpoint({
  id: "getOpenApi",
  method: "GET",
  path: "/openapi.json",
  topic: "documents",
  summary: "OpenAPI 3.1",
  access: "open",
  answers: { 200: { description: "an OpenAPI 3.1 document" } },
});

/** The same for people. */
export const getDocs = endpoint({
  id: "getDocs",
  method: "GET",
  path: "/docs",
  topic: "documents",
  summary: "This API as a page",
  access: "open",
  answersWith: "text/html",
  answers: { 200: { description: "a page without scripts or foreign hosts" } },
});
