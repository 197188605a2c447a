// The recorder's bounds when events come faster than they can be written. Counting is a contract and tested on the real API server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { waitUntil } from "../../../test/control-plane/api.ts";
import {
  type Script,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import type { EventNote } from "../../ports/event-recorder.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { KubernetesEventRecorder } from "./event-recorder.ts";

function note(message: string): EventNote {
  const about = { apiVersion: "v1", kind: "Pod", namespace: "ns1", name: "web-0", uid: "u1" };
  return { about, type: "Normal", reason: "AddressTaken", message };
}

async function withRecorder(
  script: Script,
  use: (bench: {
    readonly recorder: KubernetesEventRecorder;
    readonly messages: () => readonly string[];
    readonly dropped: () => number;
  }) => Promise<void>,
): Promise<void> {
  await using server = await startScriptedServer(script);
  const client = new ApiClient({ access: server.access, timeLimitMs: 500 });
  let dropped = 0;
  const recorder = new KubernetesEventRecorder({
    client,
    log: new MemoryLog(),
    instance: "test",
    perSecond: 0,
    onDropped: () => {
      dropped += 1;
    },
  });
  try {
    await use({
      recorder,
      messages: () => server.seen.map(({ body }) => (body as { readonly message: string }).message),
      dropped: () => dropped,
    });
  } finally {
    client.close();
    await recorder.stop();
  }
}

test("more than 1,000 waiting events drop the oldest, and say so", async () => {
  await withRecorder(
    (_, response) => sendJson(response, 201, {}),
    async ({ recorder, messages, dropped }) => {
      for (let index = 0; index < 1200; index += 1) recorder.record(note(`m${index}`));
      await recorder.whenIdle();
      assert.equal(dropped(), 200);
      assert.equal(messages().length, 1000);
      assert.equal(messages()[0], "m200");
      assert.equal(messages().at(-1), "m1199");
    },
  );
});

test("events that the API server does not take are given up, and later ones are written", async () => {
  let isBroken = true;
  await withRecorder(
    (_, response) => {
      if (isBroken) sendStatus(response, 403, { message: "no" });
      else sendJson(response, 201, {});
    },
    async ({ recorder, messages, dropped }) => {
      recorder.record(note("first"));
      await recorder.whenIdle();
      assert.equal(dropped(), 1);
      isBroken = false;
      recorder.record(note("first"));
      await recorder.whenIdle();
      assert.deepEqual(messages(), ["first", "first"]);
      assert.equal(dropped(), 1);
    },
  );
});

test("an event that is gone from the API server is written anew when it happens again", async () => {
  await withRecorder(
    (request, response) => {
      if (request.method === "PATCH") sendStatus(response, 404, { name: "web-0.1" });
      else sendJson(response, 201, {});
    },
    async ({ recorder, messages }) => {
      recorder.record(note("again"));
      await recorder.whenIdle();
      recorder.record(note("again"));
      await recorder.whenIdle();
      assert.deepEqual(messages(), ["again", undefined, "again"]);
    },
  );
});

test("a message that is too long is cut, and stopping gives up what waits", async () => {
  await withRecorder(
    () => {},
    async ({ recorder, messages }) => {
      recorder.record(note("x".repeat(5000)));
      recorder.record(note("never"));
      await waitUntil(
        "the first request",
        () => messages().length,
        (count) => count === 1,
        {
          everyMs: 2,
        },
      );
      assert.equal(messages()[0]?.length, 1024);
      await recorder.stop();
      recorder.record(note("too late"));
      assert.equal(messages().length, 1);
    },
  );
});
