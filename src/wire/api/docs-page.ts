// The API as a page for people: one section per operation, no scripts, nothing from other hosts.

import type { EndpointShape } from "./endpoint.ts";
import type { PlainSchema } from "./json-schema.ts";
import { plainSchema, propertiesOf } from "./json-schema.ts";

const style =
  "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}" +
  "code{font-family:ui-monospace,monospace}h2{margin-top:2.5rem}section{margin:1.5rem 0}" +
  "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}";

/** The page as HTML. */
export function docsPage(endpoints: readonly EndpointShape[], version: string): string {
  const topics = Map.groupBy(endpoints, ({ topic }) => topic);
  const parts = [...topics].map(
    ([topic, members]) => `<h2>${escape(topic)}</h2>${members.map(section).join("")}`,
  );
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>Galaxy Float IP API</title><style>${style}</style></head><body><h1>Galaxy Float IP API</h1>` +
    `<p>Version ${escape(version)}. The same for programs: <a href="/openapi.json">OpenAPI 3.1</a>, ` +
    `<a href="/apidocs.json/v1">Swagger 1.2</a>.</p>${parts.join("")}</body></html>\n`
  );
}

function section(endpoint: EndpointShape): string {
  const { access } = endpoint;
  const needs =
    access === "open"
      ? "Open to everybody."
      : `Needs <code>${access.verb} ${access.resource}</code>.`;
  const parameters = [...propertiesOf(endpoint.params), ...propertiesOf(endpoint.query)];
  const answers = Object.entries(endpoint.answers).map(
    ([code, { description, schema }]) =>
      `<tr><td>${code}</td><td>${escape(schema === undefined ? "" : (plainSchema(schema).title ?? ""))}</td><td>${escape(description)}</td></tr>`,
  );
  return (
    `<section id="${escape(endpoint.id)}"><h3><code>${endpoint.method} ${escape(endpoint.path)}</code></h3>` +
    `<p>${escape(endpoint.summary)}. ${needs}${endpoint.changes === true ? " Served by the leader alone." : ""}</p>` +
    (parameters.length === 0 ? "" : table("Parameter", parameters)) +
    (endpoint.body === undefined ? "" : table("Body", propertiesOf(endpoint.body))) +
    `<table><tr><th>Answer</th><th>Body</th><th></th></tr>${answers.join("")}</table></section>`
  );
}

function table(title: string, properties: ReturnType<typeof propertiesOf>): string {
  const rows = properties.map(
    ({ name, schema, isRequired }) =>
      `<tr><td><code>${escape(name)}</code>${isRequired ? " *" : ""}</td><td>${escape(typeOf(schema))}</td><td>${escape(schema.description ?? "")}</td></tr>`,
  );
  return `<table><tr><th>${title}</th><th>Type</th><th></th></tr>${rows.join("")}</table>`;
}

function typeOf(schema: PlainSchema): string {
  if (schema.enum !== undefined) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  return schema.title ?? schema.type ?? "any";
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
