// Who is let in and what the others learn, over real HTTP on loopback. Whether a token is good is the review's matter and played here.

import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { after, describe, test } from "node:test";
import { Type } from "typebox";
import type { AccessQuestion, AccessVerdict } from "../../ports/access-review.ts";
import { endpoint } from "../../wire/api/endpoint.ts";
import type { Route } from "./api/route.ts";
import { route } from "./api/route.ts";
import { createApiGuard } from "./api-guard.ts";
import type { ApiLimits } from "./api-server.ts";
import { createApiServer } from "./api-server.ts";

const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

const answers = { 200: { description: "ok", schema: Type.Object({ isDone: Type.Boolean() }) } };
const access = { verb: "list", resource: "floatingips" } as const;
const common = { topic: "test", summary: "", answers };
const look = endpoint({ ...common, id: "look", method: "GET", path: "/v1/look", access });
const describeApi = endpoint({
  ...common,
  id: "describe",
  method: "GET",
  path: "/describe",
  access: "open",
});
const change = endpoint({
  ...common,
  id: "change",
  method: "POST",
  path: "/v1/change",
  access: { verb: "delete", resource: "pools" },
  changes: true,
  body: Type.Object({}),
});
const slow = endpoint({ ...common, id: "slow", method: "GET", path: "/v1/slow", access });

type Wish = {
  readonly verdict?: AccessVerdict | undefined;
  readonly isLoopbackOnly?: boolean;
  readonly limits?: Partial<ApiLimits>;
};

async function start(wish: Wish) {
  const asked: AccessQuestion[] = [];
  const lines: string[] = [];
  const release = Promise.withResolvers<void>();
  const write = (message: string, fields?: object) => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  const log = { error: write, warn: write, info: write, debug: write };
  const { verdict } = wish;
  const done = () => ({ status: 200, body: { isDone: true } }) as const;
  const routes: readonly Route[] = [
    route(look, done),
    route(describeApi, done),
    route(change, done),
    route(slow, async () => {
      await release.promise;
      return done();
    }),
  ];
  const door = createApiServer({
    health: {
      livenessProblem: () => undefined,
      healthProblem: () => undefined,
      readinessProblem: () => undefined,
    },
    metrics: { contentType: "text/plain", text: () => Promise.resolve("galaxy_leader 1\n") },
    log,
    ...(wish.limits === undefined ? {} : { limits: wish.limits }),
    api: {
      routes,
      guard: createApiGuard({
        review:
          verdict === undefined
            ? undefined
            : {
                review: (question) => {
                  asked.push(question);
                  return Promise.resolve(verdict);
                },
              },
        isLoopbackOnly: wish.isLoopbackOnly ?? false,
        log,
      }),
      readProblem: () => undefined,
      changeProblem: () => undefined,
    },
  });
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  closing.push(() => door.close(0));
  return { url: `http://127.0.0.1:${port}`, port, asked, lines, release: release.resolve };
}

const withToken = { headers: { authorization: "Bearer t0ken" } };
const allowed: AccessVerdict = { kind: "allowed", user: "jane" };

async function problemOf(response: Response) {
  assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
  return (await response.json()) as { code: number; message: string; requestId: string };
}

describe("the guard of the API", () => {
  test("asks for the verb and the resource of the operation, and lets in who may", async () => {
    const { url, asked, lines } = await start({ verdict: allowed });
    assert.equal((await fetch(`${url}/v1/look`, withToken)).status, 200);
    const lower = { authorization: "bearer   t0ken " };
    assert.equal((await fetch(`${url}/v1/change`, { method: "POST", headers: lower })).status, 200);
    assert.deepEqual(asked, [
      { caller: { kind: "token", token: "t0ken" }, verb: "list", resource: "floatingips" },
      { caller: { kind: "token", token: "t0ken" }, verb: "delete", resource: "pools" },
    ]);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /change asked for .*"user":"jane"/);
    assert.doesNotMatch(lines.join(), /t0ken/);
  });

  test("without a token, or with something else, it is 401 with the way to do it, and nobody is asked", async () => {
    const { url, asked } = await start({ verdict: allowed });
    for (const authorization of [
      undefined,
      "",
      "Basic amFuZTpwdw==",
      "Bearer",
      "Bearer a b",
      "t0ken",
    ]) {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await fetch(`${url}/v1/look`, { headers });
      assert.equal(response.status, 401, authorization);
      assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="galaxy"');
      assert.equal((await problemOf(response)).code, 401);
    }
    assert.deepEqual(asked, []);
  });

  test("a token that came through the API server's proxy counts when there is no other", async () => {
    const { url, asked } = await start({ verdict: allowed });
    const proxied = { "x-galaxy-authorization": "Bearer proxied" };
    assert.equal((await fetch(`${url}/v1/look`, { headers: proxied })).status, 200);
    const both = { ...proxied, authorization: "Bearer direct" };
    assert.equal((await fetch(`${url}/v1/look`, { headers: both })).status, 200);
    assert.deepEqual(
      asked.map(({ caller }) => caller),
      [
        { kind: "token", token: "proxied" },
        { kind: "token", token: "direct" },
      ],
    );
  });

  test("each verdict has its status; the caller learns neither the user nor what went wrong inside", async () => {
    const cases: readonly (readonly [AccessVerdict, number])[] = [
      [{ kind: "forbidden", user: "jane" }, 403],
      [{ kind: "unauthenticated" }, 401],
      [{ kind: "busy" }, 429],
      [{ kind: "unavailable" }, 503],
    ];
    for (const [verdict, status] of cases) {
      const { url } = await start({ verdict });
      const response = await fetch(`${url}/v1/look`, withToken);
      assert.equal(response.status, status);
      const { message, requestId } = await problemOf(response);
      assert.notEqual(requestId, "");
      assert.doesNotMatch(message, /jane|t0ken/);
      assert.equal(response.headers.get("retry-after"), status === 429 ? "1" : null);
    }
  });

  test("health, metrics and descriptions of the API need no token; a path that is not there tells nothing", async () => {
    const { url } = await start({ verdict: { kind: "unauthenticated" } });
    for (const path of ["/healthy", "/livez", "/readyz", "/metrics", "/describe"]) {
      assert.equal((await fetch(url + path)).status, 200, path);
    }
    assert.equal((await fetch(`${url}/v1/nothing`)).status, 404);
  });

  test("an open port of this machine answers by this machine's names only", async () => {
    const { port } = await start({ isLoopbackOnly: true });
    for (const host of [
      `localhost:${port}`,
      "127.0.0.1",
      `127.0.0.1:${port}`,
      "[::1]:80",
      "LOCALHOST",
    ]) {
      assert.equal(await statusOf(port, { host }), 200, host);
    }
    for (const host of [
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "10.0.0.1",
    ]) {
      assert.equal(await statusOf(port, { host }), 403, host);
    }
  });

  test("a page of another site cannot change anything, the operator's own page can", async () => {
    const { url, port } = await start({});
    const post = (origin: string) =>
      fetch(`${url}/v1/change`, { method: "POST", headers: { origin } });
    assert.equal((await post(`http://127.0.0.1:${port}`)).status, 200);
    for (const origin of ["https://evil.example", "null", "http://127.0.0.1:1"]) {
      assert.equal((await post(origin)).status, 403, origin);
    }
    const read = await fetch(`${url}/v1/look`, { headers: { origin: "https://evil.example" } });
    assert.equal(read.status, 200);
    assert.equal(read.headers.get("access-control-allow-origin"), null);
  });
});

describe("the limits of the API port", () => {
  test("requests beyond the limit get 429 at once, health answers on", async () => {
    const { url, release } = await start({ limits: { requests: 2 } });
    const held = [fetch(`${url}/v1/slow`), fetch(`${url}/v1/slow`)];
    let refused: Response;
    do refused = await fetch(`${url}/v1/look`);
    while (refused.status === 200);
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.match((await problemOf(refused)).message, /2 requests are under way/);
    assert.equal((await fetch(`${url}/livez`)).status, 200);
    release();
    for (const response of await Promise.all(held)) assert.equal(response.status, 200);
    let later: Response;
    do later = await fetch(`${url}/v1/look`);
    while (later.status === 429);
    assert.equal(later.status, 200);
  });

  test("an answer that does not come is given up with 503", async () => {
    const { url, release } = await start({ limits: { answerMs: 50 } });
    const response = await fetch(`${url}/v1/slow`);
    assert.equal(response.status, 503);
    assert.match((await problemOf(response)).message, /took too long/);
    release();
  });

  test("connections beyond the limit are closed at once", async () => {
    const { port } = await start({ limits: { connections: 1 } });
    const first = connect(port, "127.0.0.1");
    await new Promise((resolve) => first.once("connect", resolve));
    await statusOf(port, {}).then(
      () => assert.fail("a second connection was served"),
      (error: unknown) => assert.match(String(error), /ECONNRESET|socket hang up/),
    );
    first.destroy();
  });

  test("a connection on which nothing moves is closed", async () => {
    const { port } = await start({ limits: { stalledMs: 50 } });
    const socket = connect(port, "127.0.0.1");
    socket.write(
      "POST /v1/change HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n12",
    );
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  test("bodies, types, methods and headers have their own answers", async () => {
    const { url } = await start({});
    const post = (body: string, type = "application/json") =>
      fetch(`${url}/v1/change`, { method: "POST", body, headers: { "content-type": type } });
    assert.equal((await post(JSON.stringify({ x: "x".repeat(2 ** 20) }))).status, 413);
    assert.equal((await post("{}", "text/xml")).status, 415);
    assert.equal((await post("{")).status, 400);
    assert.equal((await fetch(`${url}/v1/look`, { method: "DELETE" })).status, 405);
    const large = await fetch(`${url}/v1/look`, { headers: { large: "x".repeat(20_000) } });
    assert.equal(large.status, 431);
  });
});

/** The status of GET /v1/look with headers that fetch would not send. */
function statusOf(port: number, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { port, host: "127.0.0.1", path: "/v1/look", headers, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.once("error", reject);
    request.end();
  });
}
