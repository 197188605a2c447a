// The documents of the API about itself, made from the very routes that are served.

import type { FastifyReply, FastifyRequest } from "fastify";
import { docsPage } from "../../../wire/api/docs-page.ts";
import { getDocs, getOpenApi, getSwagger, getSwaggerListing } from "../../../wire/api/documents.ts";
import type { EndpointShape } from "../../../wire/api/endpoint.ts";
import { openApiDocument } from "../../../wire/api/openapi.ts";
import type { DocumentSettings } from "../../../wire/api/swagger.ts";
import { swaggerDeclaration, swaggerListing } from "../../../wire/api/swagger.ts";
import type { Route } from "./route.ts";

/** The routes of the documents about `routes`. */
export function documentRoutes(routes: readonly Route[], version: string): readonly Route[] {
  const endpoints = routes.map(({ endpoint }) => endpoint);
  const json = (
    endpoint: EndpointShape,
    make: (settings: DocumentSettings) => Readonly<Record<string, unknown>>,
  ): Route => ({
    endpoint,
    answer: async (request, reply) =>
      send(reply, "application/json", JSON.stringify(make({ basePath: baseOf(request), version }))),
  });
  return [
    json(getSwaggerListing, swaggerListing),
    json(getSwagger, (settings) => swaggerDeclaration(endpoints, settings)),
    json(getOpenApi, (settings) => openApiDocument(endpoints, settings)),
    {
      endpoint: getDocs,
      answer: async (_request, reply) => send(reply, "text/html", docsPage(endpoints, version)),
    },
  ];
}

function send(reply: FastifyReply, type: string, text: string): FastifyReply {
  return reply.type(`${type}; charset=utf-8`).send(text);
}

/** The address that the caller used. */
function baseOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host}`;
}
