// What the store tells watchers around interruptions, and what it makes of odd answers. The contract is tested on the real API server.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { anAllocation, ip } from "../../../test/builders.ts";
import { waitUntil } from "../../../test/control-plane/api.ts";
import {
  type ScriptedServer,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import type { AllocationEvent } from "../../ports/allocation-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatFloatingIp } from "../../wire/crd.ts";
import { MemoryLog } from "../memory/log.ts";
import { MemoryMetrics } from "../memory/metrics.ts";
import { KubernetesAllocationStore } from "./allocation-store.ts";
import { ApiClient } from "./api-client.ts";

function record(ipText: string, version: number): unknown {
  const object = formatFloatingIp(anAllocation({ ip: ipText }));
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
}

async function withStore(
  use: (bench: {
    readonly server: ScriptedServer;
    readonly store: KubernetesAllocationStore;
    readonly told: AllocationEvent[];
  }) => Promise<void>,
): Promise<void> {
  await using server = await startScriptedServer((request, response) => {
    if (request.query.has("watch")) openWatch(response);
    else sendJson(response, 200, { metadata: { resourceVersion: "1" }, items: [] });
  });
  const client = new ApiClient({ access: server.access, timeLimitMs: 1000 });
  const store = new KubernetesAllocationStore({
    client,
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
    times: { firstPauseMs: 5, maxPauseMs: 10 },
  });
  const told: AllocationEvent[] = [];
  store.watch((event) => told.push(event));
  try {
    await use({ server, store, told });
  } finally {
    store.stop();
    client.close();
  }
}

function openWatch(response: ServerResponse, ...events: readonly unknown[]): void {
  response.writeHead(200);
  response.flushHeaders();
  for (const event of events) response.write(`${JSON.stringify(event)}\n`);
}

test("who lists after the watch began is told no reset; who listed before is", async () => {
  for (const listsFirst of [false, true]) {
    await withStore(async ({ store, told, server }) => {
      if (listsFirst) await store.list();
      store.start();
      await store.whenSynced();
      if (!listsFirst) await store.list();
      await waitUntil(
        "the watch",
        () => server.seen.some(({ query }) => query.has("watch")),
        Boolean,
        { everyMs: 2 },
      );
      assert.deepEqual(told, listsFirst ? [{ kind: "reset" }] : []);
    });
  }
});

test("a version that grew too old is told as a reset", async () => {
  await withStore(async ({ server, store, told }) => {
    let watches = 0;
    server.script = (request, response) => {
      if (!request.query.has("watch")) {
        return sendJson(response, 200, { metadata: { resourceVersion: "9" }, items: [] });
      }
      watches += 1;
      if (watches === 1) return sendStatus(response, 410);
      return openWatch(
        response,
        { type: "ADDED", object: record("10.0.70.2", 10) },
        { type: "DELETED", object: record("10.0.70.2", 11) },
      );
    };
    store.start();
    await waitUntil(
      "the events",
      () => told.length,
      (count) => count >= 3,
      { everyMs: 2 },
    );
    assert.deepEqual(told, [
      { kind: "reset" },
      { kind: "changed", allocation: anAllocation({ version: "10" }) },
      { kind: "removed", ip: "10.0.70.2" },
    ]);
  });
});

test("a list that grew too old between two pages is begun again, and given up after three times", async () => {
  await withStore(async ({ server, store }) => {
    let lists = 0;
    let failures = 2;
    server.script = (request, response) => {
      if (request.query.has("continue")) {
        if (lists <= failures) return sendStatus(response, 410);
        const items = [record("10.0.70.3", 3)];
        return sendJson(response, 200, { metadata: { resourceVersion: "1" }, items });
      }
      lists += 1;
      return sendJson(response, 200, {
        metadata: { resourceVersion: "1", continue: "more" },
        items: [record("10.0.70.2", 2)],
      });
    };
    const listed = await store.list();
    assert.deepEqual(
      listed.map((allocation) => allocation.ip),
      ["10.0.70.2", "10.0.70.3"],
    );
    [lists, failures] = [0, 3];
    await assert.rejects(store.list(), WorldError);
    assert.equal(lists, 3);
  });
});

test("an update answers what stands in the record, not what was asked for", async () => {
  await withStore(async ({ server, store }) => {
    server.script = (_, response) => {
      const object = record("10.0.70.2", 8) as { readonly metadata: object };
      sendJson(response, 200, {
        ...object,
        metadata: { ...object.metadata, labels: { reserved: "by an operator" } },
      });
    };
    const outcome = await store.update(anAllocation({ version: "7" }));
    assert.ok(outcome.kind === "updated");
    assert.equal(outcome.allocation.owner.kind, "admin");
    assert.equal(outcome.allocation.version, "8");
  });
});

test("a write whose answer says nothing has an unknown outcome; one without a version is refused before it is sent", async () => {
  await withStore(async ({ server, store }) => {
    server.script = (_, response) => sendJson(response, 201, { kind: "Other" });
    await assert.rejects(
      store.create(anAllocation()),
      (error: unknown) =>
        error instanceof WorldError && error.code === "API_UNREADABLE" && error.mayHaveHappened,
    );
    const sent = server.seen.length;
    await assert.rejects(store.update(anAllocation()), TypeError);
    await assert.rejects(store.remove(anAllocation()), TypeError);
    assert.equal(server.seen.length, sent);
  });
});

test("a listener that throws does not keep others from being told", async () => {
  await withStore(async ({ server, store, told }) => {
    server.script = (request, response) => {
      if (request.query.has("watch")) {
        openWatch(response, { type: "ADDED", object: record("10.0.70.2", 2) });
      } else sendJson(response, 200, { metadata: { resourceVersion: "1" }, items: [] });
    };
    store.watch(() => {
      throw new Error("listener");
    });
    const late: AllocationEvent[] = [];
    store.watch((event) => late.push(event));
    store.start();
    await waitUntil(
      "the event",
      () => late.length,
      (count) => count === 1,
      { everyMs: 2 },
    );
    assert.equal(told.length, 1);
    assert.equal(await store.read(ip("10.0.70.9")).catch(() => "failed"), "failed");
  });
});
