// What an object says beside what this release knows, as one text that a model can carry: members of a newer release and of others outlive a backup
// although nothing here understands them. Keeping them through an ordinary write is the merge patch's, or foreign-members.ts'.

import { asObject, type JsonObject, valueAt } from "./json-value.ts";

/** What kubectl notes for itself about its last apply. */
const ofKubectl = "kubectl.kubernetes.io/last-applied-configuration";

/** Known of every object: what it is, and what programs say of it, which they say anew. */
const envelope: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata", "status"]);

const nothing: ReadonlySet<string> = new Set();
const annotationsLeftOut: ReadonlySet<string> = new Set([ofKubectl]);

/**
 * Labels, annotations and members that our own definition does not list, as JSON text; undefined when there are none. The rest of `metadata` belongs
 * to one life of the object in one cluster: owner references and finalizers of another one would have it deleted, or kept for ever.
 * @param schema of the definition (OpenAPI)
 * @param ownLabels labels that this release writes
 */
export function foreignTextOf(
  json: unknown,
  schema: unknown,
  ownLabels: ReadonlySet<string> = nothing,
): string | undefined {
  const object = asObject(json);
  const metadata = asObject(object?.["metadata"]);
  const beside = foreignIn(object, schema, envelope);
  const labels = foreignIn(asObject(metadata?.["labels"]), noMembers, ownLabels);
  const annotations = foreignIn(asObject(metadata?.["annotations"]), noMembers, annotationsLeftOut);
  if (beside === undefined && labels === undefined && annotations === undefined) return undefined;
  const said = { ...(labels && { labels }), ...(annotations && { annotations }) };
  return JSON.stringify({
    ...(labels === undefined && annotations === undefined ? {} : { metadata: said }),
    ...beside,
  });
}

const noMembers = { properties: {} } as const;

function foreignIn(
  object: JsonObject | undefined,
  schema: unknown,
  known: ReadonlySet<string> = nothing,
): JsonObject | undefined {
  const properties = asObject(valueAt(schema, "properties"));
  if (object === undefined || properties === undefined) return undefined;
  let found: [string, unknown][] | undefined;
  for (const name of Object.keys(object)) {
    if (known.has(name)) continue;
    const value = object[name];
    const rest = Object.hasOwn(properties, name)
      ? foreignIn(asObject(value), properties[name])
      : value;
    if (rest === undefined) continue;
    found ??= [];
    found.push([name, rest]);
  }
  // In one order, so that the same is the same text. Made of entries: a member called __proto__ is one like any other.
  found?.sort(([a], [b]) => (a < b ? -1 : 1));
  return found === undefined ? undefined : Object.fromEntries(found);
}

/** The object with these members as well; what it says itself stays. @param text made by {@link foreignTextOf} */
export function alsoSaying<Written extends JsonObject>(
  object: Written,
  text: string | undefined,
): Written {
  const extra = text === undefined ? undefined : asObject(JSON.parse(text));
  return extra === undefined ? object : (merged(object, extra) as Written);
}

function merged(object: JsonObject, extra: JsonObject): JsonObject {
  const own = Object.entries(object).map(([name, value]): [string, unknown] => {
    const inner = asObject(value);
    const more = asObject(valueAt(extra, name));
    return [name, inner === undefined || more === undefined ? value : merged(inner, more)];
  });
  const added = Object.entries(extra).filter(([name]) => !Object.hasOwn(object, name));
  return Object.fromEntries([...own, ...added]);
}
