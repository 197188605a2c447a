// Members of an object that this release does not know: a newer one wrote them, and a write of this one must not drop them. Which members are
// known is what the schema of our own definition lists. No schema checker.

import { asList, asObject, type JsonObject, valueAt } from "./json-value.ts";

/** Whether a value has, at any depth, a member that the schema (OpenAPI, as in a CustomResourceDefinition) does not list. */
export function hasForeignMembers(value: unknown, schema: unknown): boolean {
  const items = valueAt(schema, "items");
  if (items !== undefined) return asList(value).some((item) => hasForeignMembers(item, items));
  const properties = asObject(valueAt(schema, "properties"));
  const object = asObject(value);
  if (properties === undefined || object === undefined) return false;
  return Object.entries(object).some(
    ([name, member]) =>
      !Object.hasOwn(properties, name) || hasForeignMembers(member, properties[name]),
  );
}

/**
 * What is to be written, with the foreign members of what it replaces. Those of the object itself are always kept; those of a member or of an
 * item of a list only where all that we know of it stays as it is: of another holder they would tell an untruth.
 */
export function withForeignMembers(
  written: JsonObject,
  replaced: unknown,
  schema: unknown,
): JsonObject {
  const properties = asObject(valueAt(schema, "properties")) ?? {};
  const before = asObject(replaced) ?? {};
  const foreign = Object.entries(before).filter(([name]) => !Object.hasOwn(properties, name));
  const ours = Object.entries(written).map(([name, value]): [string, unknown] => {
    const of = properties[name];
    const items = valueAt(of, "items");
    if (items === undefined)
      return [name, isKnownAs(value, before[name], of) ? before[name] : value];
    const entries = asList(before[name]);
    const keep = (item: unknown) => entries.find((entry) => isKnownAs(item, entry, items)) ?? item;
    return [name, Array.isArray(value) ? value.map(keep) : value];
  });
  return Object.fromEntries([...foreign, ...ours]);
}

/** Whether `seen` says the same as `ours` in all that the schema lists. */
function isKnownAs(ours: unknown, seen: unknown, schema: unknown): boolean {
  const properties = asObject(valueAt(schema, "properties"));
  if (properties === undefined) return JSON.stringify(ours) === JSON.stringify(seen);
  return Object.entries(properties).every(([name, of]) =>
    isKnownAs(valueAt(ours, name), valueAt(seen, name), of),
  );
}
