// Installs and upgrades the CustomResourceDefinitions that the program needs. Never deletes one, and never takes away what others added.

import { isDeepStrictEqual } from "node:util";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { floatingIpCrd, poolCrd } from "../../wire/crd.ts";
import { asList, asObject, type JsonObject, textAt, valueAt } from "../../wire/json-value.ts";
import { type ApiClient, segment } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import { pause } from "./backoff.ts";

const collectionPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** How often a write is repeated that lost against another one (two replicas that start together). */
const mostAttempts = 5;

/** What was done with a definition. */
export type CrdOutcome = {
  readonly name: string;
  /** `kept`: it differs from ours, but we may not write it. */
  readonly did: "created" | "upgraded" | "nothing" | "kept";
};

/**
 * Makes definitions known to the API server and waits until it serves them. Without the right to write definitions it goes on
 * with those that are installed, and says so.
 * Rejects with WorldError CRD_NOT_ESTABLISHED after `timeLimitMs` (default 30 s), API_FORBIDDEN when a definition is missing and must not
 * be made, and others as the client does.
 */
export async function ensureCrds(options: {
  readonly client: ApiClient;
  readonly log: Log;
  readonly timeLimitMs?: number;
  /** FloatingIP and Pool by default. */
  readonly manifests?: readonly JsonObject[];
}): Promise<readonly CrdOutcome[]> {
  const deadline = performance.now() + (options.timeLimitMs ?? 30_000);
  const outcomes: CrdOutcome[] = [];
  for (const manifest of options.manifests ?? [floatingIpCrd, poolCrd]) {
    const outcome = await ensureOne(options.client, manifest);
    if (outcome.did === "created" || outcome.did === "upgraded") {
      options.log.info("CustomResourceDefinition written", outcome);
    }
    outcomes.push(outcome);
  }
  for (const { name } of outcomes) await waitUntilServed(options.client, name, deadline);
  // Last, so that it is said once however often this is tried again.
  const kept = outcomes.filter(({ did }) => did === "kept").map(({ name }) => name);
  if (kept.length > 0) {
    options.log.warn(
      "CustomResourceDefinitions differ from this program's, and it may not upgrade them; apply those of this version (deploy/base/crds)",
      { names: kept },
    );
  }
  return outcomes;
}

async function ensureOne(client: ApiClient, manifest: JsonObject): Promise<CrdOutcome> {
  const name = textAt(manifest, "metadata", "name") ?? "";
  for (let attempt = 1; ; attempt += 1) {
    const answer = await client.readJson({
      path: `${collectionPath}/${segment(name)}`,
      tried: `read CustomResourceDefinition ${name}`,
    });
    const existing = answer.kind === "found" ? asObject(answer.json) : undefined;
    const wanted = existing === undefined ? manifest : mergeCrd(existing, manifest);
    if (existing !== undefined && isDeepStrictEqual(existing, wanted)) {
      return { name, did: "nothing" };
    }
    try {
      const written = await client.write({
        method: existing === undefined ? "POST" : "PUT",
        path: existing === undefined ? collectionPath : `${collectionPath}/${segment(name)}`,
        body: wanted,
        tried: `${existing === undefined ? "create" : "upgrade"} CustomResourceDefinition ${name}`,
      });
      if (written.kind === "done") {
        return { name, did: existing === undefined ? "created" : "upgraded" };
      }
      if (attempt === mostAttempts) {
        throw new WorldError("API_REJECTED", {
          tried: `write CustomResourceDefinition ${name}`,
          message: `it changes all the time (${written.message}); find out who writes it`,
        });
      }
    } catch (error) {
      const mayNot = error instanceof ApiError && error.code === "API_FORBIDDEN";
      if (!mayNot) throw error;
      if (existing !== undefined) return { name, did: "kept" };
      throw new WorldError("API_FORBIDDEN", {
        tried: `create CustomResourceDefinition ${name}`,
        message:
          "it is missing, and the program's role does not let it be made; apply the definitions of this version (deploy/base/crds)",
        cause: error,
      });
    }
  }
}

/**
 * The existing definition with everything of ours: our version's schema, columns and subresources, our version as the stored one. Other
 * versions stay (objects may be stored in them), and so do fields of the schema that we do not know.
 */
export function mergeCrd(existing: JsonObject, manifest: JsonObject): JsonObject {
  const spec = asObject(valueAt(existing, "spec")) ?? {};
  const ourVersions = asList(valueAt(manifest, "spec", "versions")).map((item) => asObject(item));
  const theirVersions = asList(spec["versions"]).map((item) => asObject(item));
  const versions = [
    ...theirVersions.map((theirs) => {
      const ours = ourVersions.find((version) => version?.["name"] === theirs?.["name"]);
      // Exactly one version may be the stored one, and it is ours.
      if (ours === undefined || theirs === undefined) return { ...theirs, storage: false };
      return mergeObjects(theirs, ours);
    }),
    ...ourVersions.filter(
      (ours) => !theirVersions.some((theirs) => theirs?.["name"] === ours?.["name"]),
    ),
  ];
  const annotations = {
    ...asObject(valueAt(existing, "metadata", "annotations")),
    ...asObject(valueAt(manifest, "metadata", "annotations")),
  };
  return {
    ...existing,
    metadata: { ...asObject(existing["metadata"]), annotations },
    spec: {
      ...spec,
      names: mergeObjects(
        asObject(spec["names"]) ?? {},
        asObject(valueAt(manifest, "spec", "names")) ?? {},
      ),
      versions,
      // Set by definitions of v1beta1, and refused together with a structural schema.
      ...(spec["preserveUnknownFields"] === true ? { preserveUnknownFields: false } : {}),
    },
  };
}

/**
 * Ours over theirs, member by member; lists and plain values are replaced as a whole. What only their schema requires is required no more:
 * the Go system's refuses the manifests of its own documentation.
 */
function mergeObjects(theirs: JsonObject, ours: JsonObject): JsonObject {
  const merged: Record<string, unknown> = { ...theirs };
  // In a schema it is a list; a property of that name would be an object.
  if (Array.isArray(merged["required"])) delete merged["required"];
  for (const [name, value] of Object.entries(ours)) {
    const theirObject = asObject(theirs[name]);
    const ourObject = asObject(value);
    merged[name] =
      theirObject !== undefined && ourObject !== undefined
        ? mergeObjects(theirObject, ourObject)
        : value;
  }
  return merged;
}

async function waitUntilServed(client: ApiClient, name: string, deadline: number): Promise<void> {
  const tried = `wait for CustomResourceDefinition ${name}`;
  let last = "it has no condition Established";
  for (;;) {
    const answer = await client.readJson({ path: `${collectionPath}/${segment(name)}`, tried });
    if (answer.kind === "found") {
      const conditions = asList(valueAt(answer.json, "status", "conditions"));
      const established = conditions.find((item) => textAt(item, "type") === "Established");
      if (textAt(established, "status") === "True" && (await isServed(client, answer.json))) return;
      const refused = conditions.find((item) => textAt(item, "status") === "False");
      last = textAt(refused, "message") ?? last;
    }
    if (performance.now() >= deadline || client.stopSignal.aborted) break;
    await pause(200, client.stopSignal);
  }
  throw new WorldError("CRD_NOT_ESTABLISHED", {
    tried,
    message: `the API server does not serve it: ${last}; look at kubectl describe crd ${name}`,
  });
}

/** Established is said a moment before the objects can be listed. */
async function isServed(client: ApiClient, crd: unknown): Promise<boolean> {
  const group = textAt(crd, "spec", "group") ?? "";
  const plural = textAt(crd, "spec", "names", "plural") ?? "";
  try {
    await client.read({
      path: `/apis/${segment(group)}/v1alpha1/${segment(plural)}?limit=1`,
      tried: `list ${plural}`,
    });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}
