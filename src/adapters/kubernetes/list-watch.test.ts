// A list-watch goes on for ever, whatever the server and the network do to it. That objects arrive in order is the real API server's business
// and tested there.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { waitUntil } from "../../../test/control-plane/api.ts";
import {
  type Script,
  type ScriptedServer,
  type SeenRequest,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import { MemoryLog } from "../memory/log.ts";
import { ApiClient } from "./api-client.ts";
import { ListWatch, type ListWatchTimes } from "./list-watch.ts";
import { nameKeyOf, WatchCache } from "./watch-cache.ts";

const collection = { path: "/things", what: "things" };
const times: ListWatchTimes = { firstPauseMs: 5, maxPauseMs: 20 };

type Thing = { readonly name: string; readonly size: number };

function thing(name: string, version: number, size = 1): unknown {
  return { metadata: { name, resourceVersion: String(version) }, size };
}

function list(version: number, items: readonly unknown[], continueToken = ""): unknown {
  return { metadata: { resourceVersion: String(version), continue: continueToken }, items };
}

function event(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** Begins a watch; the test goes on writing or ends it. */
function beginWatch(response: ServerResponse, ...lines: readonly string[]): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  for (const line of lines) response.write(line);
}

const isWatch = (request: SeenRequest) => request.query.has("watch");

/** Runs a test with a cache of things on a scripted server. */
async function withCache(
  script: Script,
  use: (bench: {
    readonly server: ScriptedServer;
    readonly cache: WatchCache<Thing>;
    readonly log: MemoryLog;
    /** Names with what happened to them, in order. */
    readonly told: string[];
  }) => Promise<void>,
  options: { readonly times?: ListWatchTimes; readonly changed?: () => void } = {},
): Promise<void> {
  await using server = await startScriptedServer(script);
  const client = new ApiClient({ access: server.access, timeLimitMs: 300, listTimeLimitMs: 300 });
  const log = new MemoryLog();
  const told: string[] = [];
  const cache = new WatchCache<Thing>({
    client,
    log,
    collection,
    times: options.times ?? times,
    keyOf: nameKeyOf,
    project: (object) => {
      const { size } = object as { readonly size: number };
      return size === 0 ? undefined : { name: nameKeyOf(object) ?? "", size };
    },
    changed: (key, after, before) => {
      told.push(`${key} ${before?.size ?? "-"}>${after?.size ?? "-"}`);
      options.changed?.();
    },
  });
  cache.watch.start();
  try {
    await use({ server, cache, log, told });
  } finally {
    cache.watch.stop();
    client.close();
  }
}

async function shows(cache: WatchCache<Thing>, ...names: readonly string[]): Promise<void> {
  await waitUntil(
    `the cache to hold ${names.join(", ")}`,
    () => [...cache.values()].map(({ name }) => name).toSorted(),
    (seen) => seen.join() === names.toSorted().join(),
    { everyMs: 2 },
  );
}

test("all pages of a list are read before it counts as read, and the watch starts from the list's version", async () => {
  await withCache(
    (request, response) => {
      if (isWatch(request)) beginWatch(response);
      else if (request.query.get("continue") === "more")
        sendJson(response, 200, list(7, [thing("b", 2)]));
      else sendJson(response, 200, list(7, [thing("a", 1)], "more"));
    },
    async ({ server, cache }) => {
      await cache.watch.whenSynced();
      await shows(cache, "a", "b");
      await waitUntil(
        "the watch",
        () => server.seen.find(isWatch),
        (seen) => seen !== undefined,
      );
      const watch = server.seen.find(isWatch);
      assert.equal(watch?.query.get("resourceVersion"), "7");
      assert.equal(watch?.query.get("allowWatchBookmarks"), "true");
      assert.equal(server.seen[0]?.query.get("limit"), "500");
      assert.equal(server.seen[0]?.query.get("resourceVersion"), null, "a quorum read");
    },
  );
});

test("a list that fails in every way is tried again until it works", async () => {
  const failures: Script[] = [
    (_, response) => sendStatus(response, 500),
    (_, response) => {
      response.socket?.destroy();
    },
    (_, response) => sendJson(response, 429, {}, { "retry-after": "0" }),
    (_, response) => sendStatus(response, 403),
    (_, response) => sendStatus(response, 404),
    (_, response) => sendStatus(response, 410),
    (_, response) => {
      response.writeHead(200);
      response.end("<html>");
    },
    (_, response) => sendJson(response, 200, { kind: "Other" }),
    // Never answered: the time limit ends it.
    () => {},
    (_, response) => sendJson(response, 200, list(1, [thing("half", 1)], "gone")),
    (_, response) => sendStatus(response, 410, { message: "continue too old" }),
  ];
  await withCache(
    (request, response) => {
      if (isWatch(request)) return beginWatch(response);
      const fail = failures.shift();
      if (fail !== undefined) return fail(request, response);
      return sendJson(response, 200, list(9, [thing("a", 1)]));
    },
    async ({ cache }) => {
      await waitUntil("the list", () => cache.watch.isSynced, Boolean);
      await shows(cache, "a");
      assert.equal(failures.length, 0);
      await waitUntil("the watch", () => cache.watch.isWatching, Boolean);
      assert.equal(cache.watch.problem, undefined);
      assert.equal(cache.watch.isReadable, true);
    },
  );
});

test("a watch that is cut in the middle of a line goes on from the last whole event, without a list", async () => {
  const watches: ServerResponse[] = [];
  await withCache(
    (request, response) => {
      if (!isWatch(request)) return sendJson(response, 200, list(1, []));
      watches.push(response);
      const half = event("ADDED", thing("b", 3)).slice(0, 20);
      if (watches.length === 1) {
        beginWatch(response, event("ADDED", thing("a", 2)), half);
        response.write("", () => setImmediate(() => response.socket?.destroy()));
      } else {
        beginWatch(response, event("ADDED", thing("b", 3)));
      }
      return undefined;
    },
    async ({ server, cache }) => {
      await shows(cache, "a", "b");
      const versions = server.seen.filter(isWatch).map(({ query }) => query.get("resourceVersion"));
      assert.deepEqual(versions.slice(0, 2), ["1", "2"]);
      assert.equal(server.seen.filter((request) => !isWatch(request)).length, 1);
    },
  );
});

test("events that come in pieces, many at once and twice are told once each", async () => {
  await withCache(
    (request, response) => {
      if (!isWatch(request)) return sendJson(response, 200, list(1, []));
      const text =
        event("ADDED", thing("a", 2)) +
        event("ADDED", thing("a", 2)) +
        event("MODIFIED", thing("a", 3, 5)) +
        event("BOOKMARK", { metadata: { resourceVersion: "4" } }) +
        event("ADDED", thing("ä", 5)) +
        event("DELETED", thing("a", 6, 5));
      beginWatch(response);
      const bytes = Buffer.from(text);
      // One byte at a time cuts every line and every character.
      for (let at = 0; at < bytes.length; at += 1) response.write(bytes.subarray(at, at + 1));
      return undefined;
    },
    async ({ cache, told }) => {
      await shows(cache, "ä");
      await waitUntil(
        "the deletion",
        () => told.length,
        (count) => count === 4,
      );
      assert.deepEqual(told, ["a ->1", "a 1>5", "ä ->1", "a 5>-"]);
    },
  );
});

test("a version that is too old leads to a list, which tells what was removed meanwhile", async () => {
  for (const isStatus of [true, false]) {
    let lists = 0;
    await withCache(
      (request, response) => {
        if (!isWatch(request)) {
          lists += 1;
          const items =
            lists === 1 ? [thing("a", 1), thing("b", 1)] : [thing("b", 1), thing("c", 8)];
          return sendJson(response, 200, list(lists * 10, items));
        }
        if (lists > 1) return beginWatch(response);
        if (isStatus) return sendStatus(response, 410, { reason: "Expired" });
        beginWatch(response, event("ERROR", { kind: "Status", code: 410, message: "too old" }));
        return undefined;
      },
      async ({ cache, told }) => {
        await shows(cache, "b", "c");
        assert.deepEqual(told, ["a ->1", "b ->1", "c ->1", "a 1>-"]);
      },
    );
  }
});

test("a watch that hangs is opened again from where it was", async () => {
  const watches: ServerResponse[] = [];
  await withCache(
    (request, response) => {
      if (!isWatch(request)) return sendJson(response, 200, list(1, []));
      watches.push(response);
      if (watches.length < 3) beginWatch(response);
      else beginWatch(response, event("ADDED", thing("a", 2)));
      return undefined;
    },
    async ({ server, cache }) => {
      await shows(cache, "a");
      assert.equal(server.seen.filter((request) => !isWatch(request)).length, 1);
    },
    { times: { ...times, idleLimitMs: 60 } },
  );
});

test("watches that fail or end at once are opened again with pauses, and the problem is shown until it is over", async () => {
  let attempts = 0;
  let isBroken = true;
  await withCache(
    (request, response) => {
      if (!isWatch(request)) return sendJson(response, 200, list(1, [thing("a", 1)]));
      attempts += 1;
      if (!isBroken) return beginWatch(response, event("ADDED", thing("b", 2)));
      if (attempts % 3 === 0) return sendStatus(response, 500, { message: "boom" });
      if (attempts % 3 === 1) {
        response.socket?.destroy();
        return undefined;
      }
      beginWatch(response);
      response.end();
      return undefined;
    },
    async ({ cache, log }) => {
      await waitUntil(
        "12 attempts",
        () => attempts,
        (count) => count >= 12,
        { everyMs: 2 },
      );
      isBroken = false;
      await shows(cache, "a", "b");
      assert.equal(cache.watch.problem, undefined);
      assert.ok(log.lines("warn").length > 0);
      assert.ok(log.lines("warn").length < 12, "not a line for each attempt");
    },
  );
});

test("a line that is not JSON leads to a new list and not to the same line again", async () => {
  let lists = 0;
  await withCache(
    (request, response) => {
      if (!isWatch(request)) {
        lists += 1;
        return sendJson(response, 200, list(lists, lists === 1 ? [] : [thing("a", 2)]));
      }
      if (lists === 1) return beginWatch(response, "{rubbish\n");
      return beginWatch(response);
    },
    async ({ cache }) => {
      await shows(cache, "a");
      assert.equal(lists, 2);
    },
  );
});

test("a listener that throws is logged and does not end the watch", async () => {
  let isAngry = true;
  await withCache(
    (request, response) => {
      if (!isWatch(request)) return sendJson(response, 200, list(1, [thing("a", 1)]));
      return beginWatch(response, event("ADDED", thing("b", 2)), event("ADDED", thing("c", 3)));
    },
    async ({ cache, log }) => {
      await shows(cache, "a", "b", "c");
      isAngry = false;
      assert.equal(log.lines("error").length, 3);
    },
    {
      changed: () => {
        if (isAngry) throw new Error("listener");
      },
    },
  );
});

test("an object that becomes uninteresting is dropped, and one that does not change is not told", async () => {
  await withCache(
    (request, response) => {
      if (!isWatch(request))
        return sendJson(response, 200, list(1, [thing("a", 1), thing("b", 1, 0)]));
      return beginWatch(
        response,
        event("MODIFIED", thing("a", 2)),
        event("MODIFIED", thing("a", 3, 0)),
        event("MODIFIED", thing("b", 4, 2)),
      );
    },
    async ({ cache, told }) => {
      await shows(cache, "b");
      assert.deepEqual(told, ["a ->1", "a 1>-", "b ->2"]);
    },
  );
});

test("without lists only the version to watch from is asked for", async () => {
  await using server = await startScriptedServer((request, response) => {
    if (!isWatch(request)) sendJson(response, 200, list(5, [thing("a", 1)], "more"));
    else beginWatch(response, event("ADDED", thing("b", 6)));
  });
  const client = new ApiClient({ access: server.access });
  const seen: (string | undefined)[] = [];
  let ends = 0;
  const watch = new ListWatch({
    client,
    log: new MemoryLog(),
    collection,
    times,
    tellsLists: false,
    listener: {
      listBegins: () => {},
      seen: (object) => seen.push(nameKeyOf(object)),
      deleted: () => {},
      listEnds: () => {
        ends += 1;
      },
    },
  });
  watch.start();
  await waitUntil(
    "the event",
    () => seen.length,
    (count) => count > 0,
    { everyMs: 2 },
  );
  assert.deepEqual(seen, ["b"]);
  assert.equal(ends, 1);
  assert.equal(server.seen[0]?.query.get("limit"), "1");
  assert.equal(server.seen.find(isWatch)?.query.get("resourceVersion"), "5");
  watch.stop();
  client.close();
});

test("stopping ends a watch, a stalled list and a pause, and nothing is told afterwards", async () => {
  for (const script of [
    (request: SeenRequest, response: ServerResponse) => {
      if (!isWatch(request)) sendJson(response, 200, list(1, [thing("a", 1)]));
      else beginWatch(response);
    },
    () => {},
    (_: SeenRequest, response: ServerResponse) => sendStatus(response, 403),
  ]) {
    await withCache(
      script,
      async ({ server, cache, told }) => {
        await waitUntil(
          "a request",
          () => server.seen.length,
          (count) => count > 0,
          { everyMs: 2 },
        );
        cache.watch.stop();
        const [count, requests] = [told.length, server.seen.length];
        server.script = (_request, response) => sendJson(response, 200, list(2, [thing("z", 2)]));
        server.cut();
        // Whatever still runs has had its turn when a request of another client was answered.
        await fetch(server.url);
        assert.equal(told.length, count);
        assert.equal(server.seen.length, requests + 1);
      },
      { times: { firstPauseMs: 60_000, maxPauseMs: 60_000 } },
    );
  }
});

test("how long nothing was heard is known", async () => {
  const startedMs = performance.now();
  await withCache(
    (request, response) => {
      if (!isWatch(request)) sendJson(response, 200, list(1, []));
      else beginWatch(response);
    },
    async ({ server, cache }) => {
      await waitUntil("the watch", () => cache.watch.isWatching, Boolean, { everyMs: 2 });
      const heardMs = cache.watch.lastContactMs;
      assert.ok(heardMs >= startedMs && heardMs <= performance.now());
      server.script = (_request, response) => {
        response.socket?.destroy();
      };
      server.cut();
      await waitUntil(
        "the problem",
        () => cache.watch.problem,
        (problem) => problem !== undefined,
      );
      assert.equal(cache.watch.isWatching, false);
      assert.equal(cache.watch.isReadable, true, "a lost connection says nothing about rights");
      assert.equal(cache.watch.lastContactMs, heardMs);
    },
  );
});
