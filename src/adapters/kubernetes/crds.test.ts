// What an upgrade of a definition changes and what it leaves. That the API server takes the result is tested in test/e2e.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sendJson, sendStatus, startScriptedServer } from "../../../test/scripted-api-server.ts";
import { WorldError } from "../../ports/world-error.ts";
import { floatingIpCrd } from "../../wire/crd.ts";
import { valueAt } from "../../wire/json-value.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { ensureCrds, mergeCrd } from "./crds.ts";

const theirs = {
  metadata: { name: "floatingips.galaxy.k8s.io", resourceVersion: "5", annotations: { a: "1" } },
  spec: {
    group: "galaxy.k8s.io",
    scope: "Cluster",
    preserveUnknownFields: true,
    names: { plural: "floatingips", kind: "FloatingIP", categories: ["net"] },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: false,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: { spec: { type: "object", properties: { theirs: { type: "string" } } } },
          },
        },
      },
      { name: "v2", served: true, storage: true },
    ],
  },
  status: { storedVersions: ["v1alpha1", "v2"] },
};

test("an upgrade brings our schema and columns and keeps versions, fields and names of others", () => {
  const merged = mergeCrd(theirs, floatingIpCrd) as unknown as typeof theirs & {
    readonly spec: { readonly names: { readonly shortNames: readonly string[] } };
  };
  const [ours, other] = merged.spec.versions;
  assert.deepEqual(
    [ours?.name, ours?.storage, other?.name, other?.storage],
    ["v1alpha1", true, "v2", false],
  );
  const fields = ours?.schema?.openAPIV3Schema.properties.spec.properties as object;
  assert.ok("theirs" in fields && "key" in fields);
  assert.ok("additionalPrinterColumns" in (ours as object));
  assert.deepEqual(merged.spec.names.categories, ["net"]);
  assert.deepEqual(merged.spec.names.shortNames, ["fip"]);
  assert.equal(merged.spec.preserveUnknownFields, false);
  assert.deepEqual(merged.status, theirs.status);
  assert.equal(merged.metadata.resourceVersion, "5");
  assert.equal(merged.metadata.annotations.a, "1");
});

test("an upgrade of what is up to date changes nothing", () => {
  const once = mergeCrd(theirs, floatingIpCrd);
  assert.deepEqual(mergeCrd(once, floatingIpCrd), once);
});

test("an upgrade drops what only the other's schema requires, as the Go system's refuses documented manifests", () => {
  const [version] = theirs.spec.versions;
  const strict = {
    ...theirs,
    spec: {
      ...theirs.spec,
      versions: [
        {
          ...version,
          schema: {
            openAPIV3Schema: {
              type: "object",
              required: ["spec"],
              properties: { spec: { type: "object", required: ["key", "attribute"] } },
            },
          },
        },
      ],
    },
  };
  const [merged] = valueAt(mergeCrd(strict, floatingIpCrd), "spec", "versions") as unknown[];
  const schema = valueAt(merged, "schema", "openAPIV3Schema");
  assert.equal(valueAt(schema, "required"), undefined);
  assert.equal(valueAt(schema, "properties", "spec", "required"), undefined);
});

test("a definition that is never served is said with what the API server says about it", async () => {
  await using server = await startScriptedServer((request, response) => {
    if (request.method !== "GET") sendJson(response, 201, {});
    else if (request.path.endsWith("floatingips.galaxy.k8s.io")) {
      sendJson(response, 200, {
        ...mergeCrd(theirs, floatingIpCrd),
        status: {
          conditions: [
            { type: "NamesAccepted", status: "False", message: "fip is already in use" },
            { type: "Established", status: "False" },
          ],
        },
      });
    } else sendStatus(response, 404, { name: "pools.galaxy.k8s.io" });
  });
  const client = new ApiClient({ access: server.access });
  try {
    await assert.rejects(
      ensureCrds({ client, log: new MemoryLog(), timeLimitMs: 250 }),
      (error: unknown) =>
        error instanceof WorldError &&
        error.code === "CRD_NOT_ESTABLISHED" &&
        error.message.includes("fip is already in use"),
    );
  } finally {
    client.close();
  }
});
