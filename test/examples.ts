// The manifests of the folder examples, as tests apply them.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { parseManifests } from "../sim/scenarios/manifests.ts";
import type { Manifest } from "./control-plane/kinds.ts";

const folder = new URL("../examples/", import.meta.url);

/** Names of all files with manifests. */
export function exampleFiles(): readonly string[] {
  return readdirSync(folder).filter((name) => name.endsWith(".yaml"));
}

/** The objects of a file, each in the namespace `default` unless it says another. */
export function examplesOf(file: string): readonly Manifest[] {
  const parsed = parseManifests(file, readFileSync(new URL(file, folder), "utf8"));
  if (parsed.kind === "problem") assert.fail(parsed.problem);
  return parsed.manifests.map(({ json }) => {
    const manifest = json as unknown as Manifest;
    return { ...manifest, metadata: { namespace: "default", ...manifest.metadata } };
  });
}
