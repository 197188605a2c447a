// The extracts of the two established documents say what the documents say: a member lost on the way would never be missed by the tests that
// compare our own document with them (documents.test.ts).
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** Where the user's own documents lie beside the repository; absent in a plain checkout. */
const seeds = new URL("../../../shared/seeds/", import.meta.url);
const skip = existsSync(seeds) ? false : "the user's documents are not beside this checkout";

type Row = Readonly<Record<string, unknown>>;

function extract(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}

function documentWith(mark: string): string {
  const found = readdirSync(seeds)
    .map((name) => readFileSync(new URL(name, seeds), "utf8"))
    .find((text) => text.includes(mark));
  assert.ok(found !== undefined, mark);
  return found;
}

function without(member: string, row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== member));
}

test("the extract of the newer document is the document without its prose", { skip }, () => {
  const [, text = ""] = /```json\n( *\{\s*"swaggerVersion".*?)```/s.exec(
    documentWith('"swaggerVersion"'),
  ) as RegExpExecArray;
  const { apis, models } = JSON.parse(text) as {
    apis: { path: string; operations: (Row & { parameters: Row[]; responseMessages: Row[] })[] }[];
    models: Record<string, Row & { properties: Record<string, Row> }>;
  };
  assert.deepEqual(extract("established-swagger.json"), {
    operations: apis.flatMap(({ path, operations }) =>
      operations.map((operation) => ({
        path,
        ...without("summary", operation),
        parameters: operation.parameters.map((row) => without("description", row)),
        responseMessages: operation.responseMessages.map((row) => without("message", row)),
      })),
    ),
    models: Object.fromEntries(
      Object.entries(models).map(([id, model]) => [
        id,
        {
          ...model,
          properties: Object.fromEntries(
            Object.entries(model.properties).map(([name, row]) => [
              name,
              without("description", row),
            ]),
          ),
        },
      ]),
    ),
  });
});

/** A type in a cell of the older document's tables: `integer`, `[ string ]`, `[api.Pool](#api.pool)`, `dateTime`. */
function typeIn(cell: string): Row {
  const [, items] = /^\[ (.*) \]$/.exec(cell) ?? [];
  if (items !== undefined) return { type: "array", items: typeIn(items) };
  const [, reference] = /^\[([^\]]+)\]\(#.*\)$/.exec(cell) ?? [];
  if (reference !== undefined) return { $ref: reference };
  return cell === "dateTime" ? { type: "string", format: "date-time" } : { type: cell };
}

/** Cells of the table under a heading, without its first row. */
function rowsUnder(part: string, heading: string): string[][] {
  assert.ok(part.includes(heading), heading);
  const table = part.slice(part.indexOf(heading));
  const [, rows = ""] = /\n((?:\|.*(?:\n|$))+)/.exec(table) ?? [];
  return rows
    .trim()
    .split("\n")
    .slice(2)
    .map((row) => row.split("|").map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

test("the extract of the older document is what its tables say", { skip }, () => {
  const text = documentWith("converted by [swagger-markdown]");
  const [paths = "", models = ""] = text.slice(text.indexOf("### /v1")).split("### Models");
  const operations = paths
    .split(/^### /m)
    .slice(1)
    .flatMap((section) => {
      const [head = "", ...parts] = section.split(/^#### /m);
      return parts.map((part) => ({
        path: head.trim(),
        method: part.split("\n")[0]?.trim(),
        parameters: rowsUnder(part, "##### Parameters").map(
          ([name, paramType, , required, cell = ""]) => {
            const { type, $ref } = typeIn(cell);
            return { name, paramType, type: type ?? $ref, required: required === "Yes" };
          },
        ),
        responseMessages: rowsUnder(part, "##### Responses").map(([code, , cell = ""]) => ({
          code: Number(code),
          ...(cell === "" ? {} : { responseModel: typeIn(cell)["$ref"] }),
        })),
      }));
    });
  const described = models
    .split(/^#### /m)
    .slice(1)
    .map((part) => {
      const id = part.split("\n")[0]?.trim() ?? "";
      // A model without properties has one row, with its own name.
      const rows = rowsUnder(part, id).filter(([, type]) => type !== "");
      const required = rows.filter((cells) => cells[3] === "Yes").map(([name]) => name);
      const properties = rows.map(([name = "", type = ""]) => [name, typeIn(type)]);
      return {
        id,
        ...(required.length === 0 ? {} : { required }),
        properties: Object.fromEntries(properties),
      };
    });
  assert.deepEqual(extract("established-swagger-older.json"), {
    operations,
    models: Object.fromEntries(described.map((model) => [model.id, model])),
  });
});
