// Writing and removing an object that somebody else may change too: each write says the version that it replaces. What an object means is said by its store.

import { WorldError } from "../../ports/world-error.ts";
import { type ApiClient, parseAnswer, segment } from "./api-client.ts";

/** An object of the API server and the version that a write replaces. */
export type VersionedObject = {
  /** What messages call it: `Pool default/blue`. */
  readonly what: string;
  readonly collectionPath: string;
  readonly name: string;
  /** Empty for one that is still to be created. */
  readonly uid: string;
  readonly version: string;
};

/** What a write did; `conflict`: it was changed or made meanwhile. */
export type VersionedWriteOutcome<Value> =
  | { readonly kind: "written"; readonly value: Value }
  | { readonly kind: "conflict" | "missing" };

/** Why an object cannot be used. */
type Problem = { readonly kind: "problem"; readonly problem: string };

/** The path of an object. */
export function versionedPath({ collectionPath, name }: VersionedObject): string {
  return `${collectionPath}/${segment(name)}`;
}

/**
 * Creates the object when it has no version, otherwise patches it; the patch names the version.
 * @param parse reads what the API server answered
 * @throws WorldError of the call; API_UNREADABLE when the answer is none of these objects
 */
export async function writeVersioned<Parsed extends { readonly kind: string }>(
  client: ApiClient,
  object: VersionedObject,
  body: { readonly created: () => object; readonly patch: () => object },
  parse: (json: unknown) => Parsed | Problem,
): Promise<VersionedWriteOutcome<Exclude<Parsed, Problem>>> {
  const isNew = object.version === "";
  const tried = `${isNew ? "create" : "update"} ${object.what}`;
  const answer = await client.write({
    method: isNew ? "POST" : "PATCH",
    path: isNew ? object.collectionPath : versionedPath(object),
    body: isNew ? body.created() : body.patch(),
    tried,
  });
  if (answer.kind !== "done") return { kind: answer.kind };
  const value = parse(parseAnswer(answer.text, tried, true));
  if (!isProblem(value)) return { kind: "written", value: value as Exclude<Parsed, Problem> };
  throw new WorldError("API_UNREADABLE", {
    tried,
    message: value.problem,
    mayHaveHappened: true,
  });
}

/** Removes exactly this version of exactly this object. */
export async function removeVersioned(
  client: ApiClient,
  object: VersionedObject,
): Promise<{ readonly kind: "removed" | "conflict" | "missing" }> {
  const answer = await client.write({
    method: "DELETE",
    path: versionedPath(object),
    body: {
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { uid: object.uid, resourceVersion: object.version },
    },
    tried: `delete ${object.what}`,
  });
  return { kind: answer.kind === "done" ? "removed" : answer.kind };
}

function isProblem<Parsed extends { readonly kind: string }>(
  parsed: Parsed | Problem,
): parsed is Problem {
  return parsed.kind === "problem";
}
