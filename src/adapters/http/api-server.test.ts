// The API port over real HTTP on loopback.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { vipRoutes } from "./api/vip-routes.ts";
import { createApiServer } from "./api-server.ts";

const problems: { live?: string; healthy?: string; ready?: string } = {};
const lines: string[] = [];
const write = (message: string) => {
  lines.push(message);
};
let text = () => Promise.resolve("galaxy_leader 1\n");
const door = createApiServer({
  health: {
    livenessProblem: () => problems.live,
    healthProblem: () => problems.healthy,
    readinessProblem: () => problems.ready,
  },
  metrics: { contentType: "text/plain; version=0.0.4; charset=utf-8", text: () => text() },
  log: { error: write, warn: write, info: write, debug: write },
  api: {
    routes: vipRoutes(
      () => [],
      () => [],
    ),
    readProblem: () => undefined,
    changeProblem: () => undefined,
  },
});
const url = `http://127.0.0.1:${await door.listen({ host: "127.0.0.1", port: 0 })}`;
after(() => door.close(0));

async function get(path: string, method = "GET"): Promise<[number, string, string]> {
  const response = await fetch(`${url}${path}`, { method });
  return [response.status, response.headers.get("content-type") ?? "", await response.text()];
}

describe("the API port", () => {
  test("health answers ok, or 503 with the reason, each on its own", async () => {
    for (const path of ["/healthy", "/livez", "/readyz"]) {
      assert.deepEqual(await get(path), [200, "text/plain; charset=utf-8", "ok"]);
    }
    problems.ready = "not the leader";
    assert.equal((await get("/readyz"))[2], "not the leader\n");
    assert.equal((await get("/healthy"))[0], 200);
    problems.live = "the event loop stands still";
    problems.healthy = "no ConfigMap";
    assert.deepEqual((await get("/livez")).slice(0, 1), [503]);
    assert.equal((await get("/healthy"))[2], "no ConfigMap\n");
  });

  test("metrics come with the content type of Prometheus' text format", async () => {
    assert.deepEqual(await get("/metrics"), [
      200,
      "text/plain; version=0.0.4; charset=utf-8",
      "galaxy_leader 1\n",
    ]);
  });

  test("a failure to collect metrics is logged and answered without its details", async () => {
    text = () => Promise.reject(new Error("secret detail"));
    const [status, type, body] = await get("/metrics");
    assert.deepEqual([status, type], [500, "application/json; charset=utf-8"]);
    assert.doesNotMatch(body, /secret detail/);
    assert.deepEqual(lines, ["request failed"]);
  });

  test("a path that is not there is JSON 404, a method that is not there 405 with those that are", async () => {
    for (const [path, method, expected] of [
      ["/v1/nothing?size=1", "GET", 404],
      ["/", "POST", 404],
      ["/v1/vip", "POST", 405],
      ["/v1/vip/", "DELETE", 405],
    ] as const) {
      const response = await fetch(`${url}${path}`, { method });
      const { code, message } = (await response.json()) as { code: number; message: string };
      assert.deepEqual([response.status, code], [expected, expected]);
      if (expected === 404) assert.match(message, /there is no (GET|POST) \/.*openapi\.json/);
      else assert.equal(response.headers.get("allow"), "GET");
    }
  });
});
