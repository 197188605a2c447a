// Narrow reads of parsed JSON (`unknown`), for the hand-written parsers of this folder. Not a schema checker: a parser that must
// name the field, the value and the remedy says so itself.

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The value as an object; undefined for null, arrays and everything else. */
export function asObject(value: unknown): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}

/** The value as a list; an empty one when it is none. */
export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value as text; undefined when it is none. */
export function asText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The value at a path of member names; undefined as soon as one is missing. Inherited members are not seen. */
export function valueAt(value: unknown, ...path: readonly string[]): unknown {
  let current: unknown = value;
  for (const name of path) {
    const object = asObject(current);
    if (object === undefined || !Object.hasOwn(object, name)) return undefined;
    current = object[name];
  }
  return current;
}

/** The text at a path; undefined when there is none. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  return asText(valueAt(value, ...path));
}

/** An RFC 3339 time, also with the nanoseconds that Go writes, as milliseconds since 1970; undefined when it is none. */
export function parseTimeMs(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  const match = timePattern.exec(value);
  if (match === null) return undefined;
  const fraction = (match[2] ?? "").slice(0, 3).padEnd(3, "0");
  const timeMs = Date.parse(`${match[1]}.${fraction}${match[3]?.toUpperCase()}`);
  return Number.isFinite(timeMs) ? timeMs : undefined;
}

const timePattern =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([zZ]|[+-][0-9]{2}:[0-9]{2})$/;

/** RFC 3339 in UTC with milliseconds. */
export function formatTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** How messages quote a value somebody wrote: as JSON, cut when long. */
export function quoteValue(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
