// The state file of an attachment: the record as JSON, with the number of its form. What this program did not write whole is not understood.

import type { AttachmentRecord } from "../core/attachment-record.ts";
import { asObject, textAt, valueAt } from "./json-value.ts";

/** Raised when a reader of the old form would misunderstand the new one. */
const form = 1;

/** The text of a record. */
export function formatAttachmentRecord(record: AttachmentRecord): string {
  return `${JSON.stringify({ form, record })}\n`;
}

/** The record; undefined for text that is cut, of another form, or not ours. */
export function parseAttachmentRecord(text: string): AttachmentRecord | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (valueAt(json, "form") !== form) return undefined;
  const record = asObject(valueAt(json, "record"));
  const hasLists = ["shared", "steps", "undo", "announcements"].every((name) =>
    Array.isArray(record?.[name]),
  );
  const hasId = ["containerId", "network", "ifName"].every(
    (name) => textAt(record, "id", name) !== undefined,
  );
  // JSON that ends in its closing brace was written whole; what this program wrote is what it reads.
  return hasLists && hasId ? (record as unknown as AttachmentRecord) : undefined;
}
