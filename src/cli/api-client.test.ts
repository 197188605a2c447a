// What the client makes of answers of a server of another release.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { getBackup, restoreIps } from "../wire/api/restore.ts";
import { createApiClient } from "./api-client.ts";
import { CommandProblem } from "./command-problem.ts";

test("an operation that an older server does not have is told as a difference of versions", async () => {
  const server = createServer((request, response) => {
    const message = `there is no ${request.method} ${request.url}; GET /openapi.json and /docs list what there is`;
    response
      .writeHead(404, { "content-type": "application/json" })
      .end(JSON.stringify({ code: 404, message, requestId: "7" }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const client = await createApiClient({
    base,
    headers: {},
    tls: {},
    timeoutMs: 30_000,
    from: "a test",
  });
  try {
    const path: (typeof getBackup)["path"] = "/v1/backup";
    for (const asked of [
      client.open(path, {}, new AbortController().signal, "backup"),
      client.call<typeof restoreIps>({
        method: "POST",
        path: "/v1/restore",
        body: { backedUpAt: "2026-11-21T08:30:00Z", records: [] },
        about: "restore",
      }),
    ]) {
      const error: unknown = await asked.catch((problem: unknown) => problem);
      assert.ok(error instanceof CommandProblem);
      assert.match(error.message, /does not know this: galaxy-ipam there is of another version/);
      assert.match(error.message, /compare galaxyctl status with galaxyctl --version/);
      assert.equal(error.exitCode, 6);
    }
  } finally {
    client.close();
    server.close();
  }
});
