// Tests of serving the web page.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fastify } from "fastify";
import { addPageRoutes, readPageFiles } from "./page-files.ts";

test("the document is asked for anew, its parts are kept, and nothing of the folder besides is served", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "page-"));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "index.html"), "<!doctype html>");
  await writeFile(join(folder, "page-1.js"), "x".repeat(1_000));
  await writeFile(join(folder, "secret.key"), "no");
  const files = await readPageFiles([join(folder, "missing"), folder]);
  assert.ok(files !== undefined);
  const server = fastify();
  addPageRoutes(server, files);

  const document = await server.inject("/");
  assert.equal(document.statusCode, 200);
  assert.equal(document.body, "<!doctype html>");
  assert.equal(document.headers["cache-control"], "no-cache");
  assert.match(String(document.headers["content-security-policy"]), /default-src 'none'/);

  const again = await server.inject({
    url: "/",
    headers: { "if-none-match": String(document.headers["etag"]) },
  });
  assert.equal(again.statusCode, 304);
  assert.equal(again.body, "");

  const script = await server.inject({
    url: "/page/page-1.js",
    headers: { "accept-encoding": "gzip" },
  });
  assert.equal(script.headers["content-encoding"], "gzip");
  assert.match(String(script.headers["cache-control"]), /immutable/);
  assert.ok(script.rawPayload.length < 200);

  for (const url of ["/page/secret.key", "/page/index.html", "/page/../secret.key"]) {
    assert.equal((await server.inject(url)).statusCode, 404, url);
  }
});

test("a folder without a page is none", async () => {
  assert.equal(await readPageFiles([join(tmpdir(), "no-page-here")]), undefined);
});
