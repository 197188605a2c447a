// What the client makes of failures on the way to the API server. What the API server itself does is in test/e2e.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  plainAccess,
  type Script,
  type ScriptedServer,
  sendJson,
  sendStatus,
  startScriptedServer,
} from "../../../test/scripted-api-server.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { ApiAccess } from "./api-access.ts";
import { ApiClient, type ApiClientOptions, type ApiSample } from "./api-client.ts";

const create = { method: "POST", path: "/things", body: { a: 1 }, tried: "create thing" } as const;
const readOne = { path: "/things/one", tried: "read thing" };

/** Runs a test against a server and a client of it. */
async function withServer(
  script: Script,
  use: (client: ApiClient, server: ScriptedServer) => Promise<void>,
  options: Partial<ApiClientOptions> = {},
): Promise<void> {
  await using server = await startScriptedServer(script);
  const client = new ApiClient({ access: server.access, timeLimitMs: 2000, ...options });
  try {
    await use(client, server);
  } finally {
    client.close();
  }
}

/** Asserts a WorldError of the code and with or without an unknown outcome. */
async function failsWith(
  promise: Promise<unknown>,
  code: string,
  mayHaveHappened: boolean,
): Promise<WorldError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof WorldError, String(error));
    assert.deepEqual([error.code, error.mayHaveHappened], [code, mayHaveHappened], error.message);
    return error;
  }
  return assert.fail("it did not fail");
}

test("a read is tried again after a failure that may pass, and only then", async () => {
  let calls = 0;
  await withServer(
    (_, response) => {
      calls += 1;
      if (calls === 1) sendStatus(response, 500);
      else if (calls === 2) response.socket?.destroy();
      else sendJson(response, 200, { ok: true });
    },
    async (client, server) => {
      assert.deepEqual(await client.readJson(readOne), { kind: "found", json: { ok: true } });
      assert.equal(server.seen.length, 3);
      server.script = (_request, response) => sendStatus(response, 403, { message: "no" });
      await failsWith(client.read(readOne), "API_FORBIDDEN", false);
      assert.equal(server.seen.length, 4);
    },
  );
});

test("a read gives up within its time limit", async () => {
  await withServer(
    (_, response) => sendStatus(response, 503),
    async (client) => {
      await failsWith(client.read({ ...readOne, timeLimitMs: 300 }), "API_UNAVAILABLE", false);
    },
    // With this one the test would not end.
    { timeLimitMs: 3_600_000 },
  );
});

test("a write that was answered with a server error is not repeated and may have happened", async () => {
  for (const [status, code] of [
    [500, "API_UNAVAILABLE"],
    [503, "API_UNAVAILABLE"],
    [504, "API_TIMEOUT"],
  ] as const) {
    await withServer(
      (_, response) => sendStatus(response, status),
      async (client, server) => {
        await failsWith(client.write(create), code, true);
        assert.equal(server.seen.length, 1);
      },
    );
  }
});

test("a write that the server put off with 429 is sent again after the time it asked for", async () => {
  let firstMs = 0;
  let retryAfter = "1";
  await withServer(
    (_, response) => {
      if (firstMs === 0) {
        firstMs = performance.now();
        sendJson(response, 429, { kind: "Status" }, { "retry-after": retryAfter });
      } else {
        sendJson(response, 201, { done: true });
      }
    },
    async (client, server) => {
      assert.equal((await client.write(create)).kind, "done");
      assert.ok(performance.now() - firstMs >= 990);
      assert.equal(server.seen.length, 2);
      firstMs = 0;
      retryAfter = "3600";
      const error = await failsWith(
        client.write({ ...create, timeLimitMs: 30_000 }),
        "API_UNAVAILABLE",
        false,
      );
      assert.match(error.message, /too busy/);
    },
  );
});

test("a write whose connection breaks after it was sent may have happened", async () => {
  await withServer(
    (_, response) => {
      response.socket?.destroy();
    },
    async (client, server) => {
      await failsWith(client.write(create), "API_UNAVAILABLE", true);
      assert.equal(server.seen.length, 1);
    },
  );
});

test("a write whose answer breaks off in the middle may have happened", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(201, { "content-length": "100" });
      response.write("{", () => response.socket?.destroy());
    },
    async (client) => {
      await failsWith(client.write(create), "API_UNAVAILABLE", true);
    },
  );
});

test("a write that is not answered in time may have happened; a refused connection did not", async () => {
  const url = await (async () => {
    await using gone = await startScriptedServer(() => {});
    return gone.url;
  })();
  const nobody = new ApiClient({ access: plainAccess(url) });
  await failsWith(nobody.write(create), "API_UNAVAILABLE", false);
  nobody.close();
  await withServer(
    () => {},
    async (client) => {
      await failsWith(client.write({ ...create, timeLimitMs: 100 }), "API_TIMEOUT", true);
    },
  );
});

test("an answer that stalls after it began is a time-out", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("{");
    },
    async (client) => {
      await failsWith(client.read({ ...readOne, timeLimitMs: 100 }), "API_TIMEOUT", false);
    },
  );
});

test("404 means missing only when it names the object", async () => {
  await withServer(
    (request, response) => {
      if (request.path === "/things/one") {
        sendStatus(response, 404, { reason: "NotFound", name: "one" });
      } else {
        response.writeHead(404, { "content-type": "text/plain" });
        response.end("404 page not found\n");
      }
    },
    async (client, server) => {
      assert.deepEqual(await client.read(readOne), { kind: "missing" });
      const error = await failsWith(
        client.read({ path: "/nowhere/one", tried: "read thing" }),
        "API_UNAVAILABLE",
        false,
      );
      assert.match(error.message, /CustomResourceDefinition/);
      await failsWith(client.write(create), "API_UNAVAILABLE", false);
      assert.equal(server.seen.length, 3);
    },
  );
});

test("409 is an outcome with the server's reason", async () => {
  await withServer(
    (_, response) =>
      sendStatus(response, 409, { reason: "AlreadyExists", message: "it is there", name: "one" }),
    async (client) => {
      const answer = await client.write(create);
      assert.ok(answer.kind === "conflict");
      assert.deepEqual([answer.reason, answer.message], ["AlreadyExists", "it is there"]);
    },
  );
});

test("credentials that are refused are read anew once", async () => {
  const tokens = ["Bearer old", "Bearer new"];
  await using server = await startScriptedServer((request, response) => {
    if (request.authorization === "Bearer new") sendJson(response, 201, {});
    else sendStatus(response, 401, { message: "Unauthorized" });
  });
  const access: ApiAccess = {
    server: new URL(server.url),
    credentials: () => ({ tls: {}, authorization: tokens[0] }),
    forget: () => {
      tokens.shift();
    },
  };
  const client = new ApiClient({ access });
  assert.equal((await client.write(create)).kind, "done");
  tokens.unshift("Bearer older", "Bearer oldest");
  await failsWith(client.write(create), "API_UNAUTHORIZED", false);
  assert.equal(server.seen.length, 4);
  client.close();
});

test("large reads are compressed on the way", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(200, { "content-encoding": "gzip" });
      response.end(gzipSync(JSON.stringify({ items: ["ä"] })));
    },
    async (client) => {
      const answer = await client.readJson({ ...readOne, isLarge: true });
      assert.deepEqual(answer, { kind: "found", json: { items: ["ä"] } });
    },
  );
});

test("text that is not JSON is API_UNREADABLE and shows its beginning", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(200);
      response.end("<html>login</html>");
    },
    async (client) => {
      const error = await failsWith(client.readJson(readOne), "API_UNREADABLE", false);
      assert.match(error.message, /<html>login/);
    },
  );
});

test("closing ends requests in flight, and later ones do not start", async () => {
  const arrived = Promise.withResolvers<void>();
  await withServer(
    () => arrived.resolve(),
    async (client, server) => {
      const writing = failsWith(client.write(create), "STOPPED", true);
      await arrived.promise;
      client.close();
      await writing;
      await failsWith(client.write(create), "STOPPED", false);
      await failsWith(client.read(readOne), "STOPPED", false);
      assert.equal(server.seen.length, 1);
    },
  );
});

test("requests beyond the rate limit wait, and give up when the wait is longer than their time", async () => {
  await withServer(
    (_, response) => sendJson(response, 200, {}),
    async (client, server) => {
      const startedMs = performance.now();
      await Promise.all([1, 2, 3, 4].map(() => client.read(readOne)));
      assert.ok(performance.now() - startedMs >= 90, "two of four wait for 50 ms each");
      assert.equal(server.seen.length, 4);
    },
    { requestsPerSecond: 20, burst: 2 },
  );
  await withServer(
    (_, response) => sendJson(response, 200, {}),
    async (client, server) => {
      await Promise.all([client.read(readOne), client.read(readOne)]);
      const error = await failsWith(client.write(create), "API_TIMEOUT", false);
      assert.match(error.message, /--kube-api-qps/);
      assert.equal(server.seen.length, 2);
      // The lease must not wait behind the program's own load.
      assert.equal((await client.read({ ...readOne, isUrgent: true })).kind, "found");
    },
    // The third one would have to wait for a quarter of an hour.
    { requestsPerSecond: 0.001, burst: 2 },
  );
});

test("each request is told with method, status and time, also one without an answer", async () => {
  const samples: ApiSample[] = [];
  const startedMs = performance.now();
  await withServer(
    (request, response) => {
      if (request.method === "GET") sendJson(response, 200, {});
      else response.socket?.destroy();
    },
    async (client) => {
      await client.read(readOne);
      await failsWith(client.write(create), "API_UNAVAILABLE", true);
      assert.deepEqual(
        samples.map(({ method, status }) => [method, status]),
        [
          ["GET", 200],
          ["POST", 0],
        ],
      );
      const passed = (performance.now() - startedMs) / 1_000;
      assert.ok(samples.every(({ seconds }) => seconds >= 0 && seconds <= passed));
    },
    { onRequest: (sample) => samples.push(sample) },
  );
});

test("connections are kept and used again", async () => {
  const sockets = new Set<unknown>();
  await withServer(
    (_, response) => {
      sockets.add(response.socket);
      sendJson(response, 200, {});
    },
    async (client) => {
      for (let index = 0; index < 5; index += 1) await client.read(readOne);
      assert.equal(sockets.size, 1);
    },
  );
});

test("a stream that is stopped ends, and one that is refused names the status", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(200);
      response.write("line\n");
    },
    async (client, server) => {
      const stopping = new AbortController();
      const stream = await client.openStream({ ...readOne, stop: stopping.signal });
      const ended = new Promise((resolve) => {
        stream.once("close", resolve);
      });
      stream.resume();
      stopping.abort();
      await ended;
      server.script = (_request, response) => sendStatus(response, 410, { message: "too old" });
      const error = await failsWith(
        client.openStream({ ...readOne, stop: new AbortController().signal }),
        "API_REJECTED",
        false,
      );
      assert.match(error.message, /410 too old/);
    },
  );
});
