// Answers in the text that the Go system writes: members in the order of the schema, absent ones left out, each line indented by one blank more
// than JSON needs. Clients that compare texts, and people with curl, see no difference.

import type { TSchema } from "typebox";
import { asObject } from "../json-value.ts";
import type { PlainSchema } from "./json-schema.ts";
import { plainSchema } from "./json-schema.ts";

/** The text of an answer; members that the schema does not have are left out. */
export function formatEstablished(schema: TSchema, body: unknown): string {
  const ordered = inOrder(plainSchema(schema), body);
  return JSON.stringify(ordered, null, 1).replaceAll("\n", "\n ");
}

function inOrder({ properties, items }: PlainSchema, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => inOrder(items ?? {}, item));
  const object = asObject(value);
  if (object === undefined || properties === undefined) return value;
  return Object.fromEntries(
    Object.entries(properties).flatMap(([name, property]) =>
      object[name] === undefined ? [] : [[name, inOrder(property, object[name])]],
    ),
  );
}
