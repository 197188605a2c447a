// Kinds that change, collide or are forbidden. That a kind which appears later is understood is tested on the real API server.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { controlledBy } from "../../../test/builders.ts";
import { waitUntil } from "../../../test/control-plane/api.ts";
import {
  type ScriptedServer,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import type { WorkloadState } from "../../core/facts.ts";
import type { WorkloadRef } from "../../core/owner.ts";
import { WorldError } from "../../ports/world-error.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { CustomWorkloads } from "./custom-workloads.ts";

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

type VersionWish = { readonly name: string; readonly served?: boolean; readonly path?: string };

/** A definition of TApp; the last version is the stored one. */
function definition(group: string, versions: readonly VersionWish[]): unknown {
  return {
    metadata: { name: `tapps.${group}`, resourceVersion: "1" },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural: "tapps", kind: "TApp" },
      versions: versions.map(({ name, served = true, path }, index) => ({
        name,
        served,
        storage: index === versions.length - 1,
        ...(path === undefined ? {} : { subresources: { scale: { specReplicasPath: path } } }),
      })),
    },
  };
}

/** A cluster whose definitions and objects a test changes; a change of definitions reaches the open watch. */
type FakeApi = {
  definitions: readonly unknown[];
  /** Answers of collections by path; a number is a status. */
  readonly collections: Map<string, readonly unknown[] | number>;
  tellDefinition(type: "ADDED" | "MODIFIED" | "DELETED", object: unknown): void;
};

const ref: WorkloadRef = {
  type: "custom",
  kind: "tapp",
  apiGroup: "a.example.org",
  namespace: "ns1",
  name: "web",
};

function tapp(spec: object): unknown {
  return { metadata: { namespace: "ns1", name: "web", uid: "u1", resourceVersion: "5" }, spec };
}

async function withKinds(
  definitions: readonly unknown[],
  collections: Readonly<Record<string, readonly unknown[] | number>>,
  use: (bench: {
    readonly server: ScriptedServer;
    readonly api: FakeApi;
    readonly kinds: CustomWorkloads;
    readonly told: WorkloadRef[];
  }) => Promise<void>,
): Promise<void> {
  let definitionWatch: ServerResponse | undefined;
  const api: FakeApi = {
    definitions,
    collections: new Map(Object.entries(collections)),
    tellDefinition: (type, object) => {
      definitionWatch?.write(`${JSON.stringify({ type, object })}\n`);
    },
  };
  await using server = await startScriptedServer((request, response) => {
    const isDefinitions = request.path === definitionsPath;
    if (request.query.has("watch")) {
      response.writeHead(200);
      response.flushHeaders();
      if (isDefinitions) definitionWatch = response;
      return;
    }
    const items = isDefinitions ? api.definitions : api.collections.get(request.path);
    if (typeof items === "number") sendStatus(response, items, { message: "forbidden by RBAC" });
    else if (items !== undefined) {
      sendJson(response, 200, { metadata: { resourceVersion: "9" }, items });
    } else if (request.path.endsWith("/web")) {
      sendStatus(response, 404, { reason: "NotFound", name: "web" });
    } else {
      response.writeHead(404);
      response.end("404 page not found");
    }
  });
  const client = new ApiClient({ access: server.access, timeLimitMs: 1000 });
  const told: WorkloadRef[] = [];
  const kinds = new CustomWorkloads({
    client,
    log: new MemoryLog(),
    times: { firstPauseMs: 5, maxPauseMs: 20 },
    changed: (workload) => told.push(workload),
  });
  assert.deepEqual(kinds.state(ref), {
    kind: "unknown",
    reason: "the CustomResourceDefinitions are not read yet",
  });
  kinds.start();
  await kinds.crds.watch.whenSynced();
  await waitUntil(
    "the watch",
    () => definitionWatch,
    (open) => open !== undefined,
    { everyMs: 2 },
  );
  try {
    await use({ server, api, kinds, told });
  } finally {
    kinds.stop();
    client.close();
  }
}

function settles(
  kinds: CustomWorkloads,
  accept: (state: WorkloadState) => boolean,
  of: WorkloadRef = ref,
): Promise<WorkloadState> {
  return waitUntil("the state", () => kinds.state(of), accept, { everyMs: 2 });
}

const hasReplicas = (count: number | undefined) => (state: WorkloadState) =>
  state.kind === "present" && state.replicas === count;

test("the version with a scale subresource is used, whichever it is; the one that pods name comes first", async () => {
  const collections = {
    "/apis/a.example.org/v2/tapps": [tapp({ size: 4, replicas: 1 })],
    "/apis/a.example.org/v3/tapps": [tapp({ size: 4, replicas: 2 })],
  };
  const versions = [
    { name: "v1" },
    { name: "v2", path: ".spec.size" },
    { name: "v3", path: ".spec.replicas" },
    { name: "v4" },
  ];
  await withKinds([definition("a.example.org", versions)], collections, async ({ kinds }) => {
    await settles(kinds, (state) => state.kind === "present");
    assert.ok(hasReplicas(4)(kinds.state(ref)) || hasReplicas(2)(kinds.state(ref)));
  });
  await withKinds([definition("a.example.org", versions)], collections, async ({ kinds }) => {
    kinds.noteController(controlledBy("a.example.org/v3", "TApp", "web"));
    await settles(kinds, hasReplicas(2));
  });
  await withKinds([definition("a.example.org", versions)], collections, async ({ kinds }) => {
    // A version without scale says nothing about replicas, also when pods name it.
    kinds.noteController(controlledBy("a.example.org/v1", "TApp", "web"));
    await settles(kinds, hasReplicas(4));
  });
});

test("a kind that must not be read is unknown with the reason, and known when it may be", async () => {
  const path = "/apis/a.example.org/v1/tapps";
  await withKinds(
    [definition("a.example.org", [{ name: "v1", path: ".spec.replicas" }])],
    { [path]: 403 },
    async ({ api, kinds, told }) => {
      const state = await settles(
        kinds,
        (seen) => seen.kind === "unknown" && seen.reason.includes("forbidden by RBAC"),
      );
      assert.equal(state.kind, "unknown");
      api.collections.set(path, []);
      await settles(kinds, (seen) => seen.kind === "gone");
      assert.deepEqual(told, [ref], "who asked is told that it is known now");
    },
  );
});

test("one kind in two groups is unknown without a group and known with it", async () => {
  const versions = [{ name: "v1", path: ".spec.replicas" }];
  await withKinds(
    [definition("a.example.org", versions), definition("b.example.org", versions)],
    {
      "/apis/a.example.org/v1/tapps": [tapp({ replicas: 1 })],
      "/apis/b.example.org/v1/tapps": [tapp({ replicas: 2 })],
    },
    async ({ kinds }) => {
      await settles(kinds, hasReplicas(1));
      await settles(kinds, hasReplicas(2), { ...ref, apiGroup: "b.example.org" });
      const either = { ...ref, apiGroup: undefined };
      assert.match(JSON.stringify(kinds.state(either)), /a\.example\.org, b\.example\.org/);
      assert.equal((await kinds.read(either)).kind, "unknown");
    },
  );
});

test("a definition that changes its version or path is read anew; one that goes makes its workloads unknown, not gone", async () => {
  const collections = {
    "/apis/a.example.org/v1/tapps": [tapp({ replicas: 1, size: 7 })],
    "/apis/a.example.org/v2/tapps": [tapp({ replicas: 3 })],
  };
  const first = definition("a.example.org", [{ name: "v1", path: ".spec.replicas" }]);
  await withKinds([first], collections, async ({ api, kinds }) => {
    await settles(kinds, hasReplicas(1));
    api.tellDefinition(
      "MODIFIED",
      definition("a.example.org", [{ name: "v1", path: ".spec.size" }]),
    );
    await settles(kinds, hasReplicas(7));
    api.tellDefinition(
      "MODIFIED",
      definition("a.example.org", [
        { name: "v1", served: false },
        { name: "v2", path: ".spec.replicas" },
      ]),
    );
    await settles(kinds, hasReplicas(3));
    api.tellDefinition("DELETED", first);
    await settles(kinds, (state) => state.kind === "unknown");
  });
});

test("an object without a number at its path is unknown, one of a kind without scale is present without replicas", async () => {
  await withKinds(
    [definition("a.example.org", [{ name: "v1", path: ".spec.replicas" }])],
    { "/apis/a.example.org/v1/tapps": [tapp({})] },
    async ({ kinds }) => {
      const state = await settles(
        kinds,
        (seen) => seen.kind === "unknown" && seen.reason.includes(".spec.replicas"),
      );
      assert.match(JSON.stringify(state), /ns1\/web/);
    },
  );
  await withKinds(
    [definition("a.example.org", [{ name: "v1" }])],
    { "/apis/a.example.org/v1/tapps": [tapp({})] },
    async ({ kinds }) => {
      await settles(kinds, hasReplicas(undefined));
    },
  );
});

test("an object is gone only when the API server that serves its kind says so", async () => {
  await withKinds(
    [definition("a.example.org", [{ name: "v1", path: ".spec.replicas" }])],
    {},
    async ({ kinds, server }) => {
      assert.deepEqual(await kinds.read(ref), { kind: "gone" });
      server.script = (_, response) => {
        response.writeHead(404);
        response.end("404 page not found");
      };
      await assert.rejects(
        kinds.read(ref),
        (error: unknown) => error instanceof WorldError && error.code === "API_UNAVAILABLE",
      );
    },
  );
});
