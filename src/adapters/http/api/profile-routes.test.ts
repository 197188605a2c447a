// CPU profiles of this very process over real HTTP on loopback, with and without the right to them. Heap snapshots are taken of the program,
// in test/e2e/profiling.test.ts: that of a process with all tests in it would keep the others waiting.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { AccessQuestion, AccessVerdict } from "../../../ports/access-review.ts";
import { MemoryLog } from "../../memory/log.ts";
import { createApiGuard } from "../api-guard.ts";
import { createApiServer } from "../api-server.ts";
import { profileRoutes } from "./profile-routes.ts";

const asked: AccessQuestion[] = [];
let verdict: AccessVerdict = { kind: "allowed", user: "root" };
const log = new MemoryLog();
const door = createApiServer({
  health: {
    livenessProblem: () => undefined,
    healthProblem: () => undefined,
    readinessProblem: () => undefined,
  },
  metrics: { contentType: "text/plain", text: () => Promise.resolve("") },
  log,
  api: {
    routes: profileRoutes(),
    guard: createApiGuard({
      review: {
        review: (question) => {
          asked.push(question);
          return Promise.resolve(verdict);
        },
      },
      isLoopbackOnly: false,
      log,
    }),
    readProblem: () => undefined,
    changeProblem: () => undefined,
  },
});
const url = `http://127.0.0.1:${await door.listen({ host: "127.0.0.1", port: 0 })}`;
after(() => door.close(0));

const get = (path: string, signal?: AbortSignal) =>
  fetch(`${url}${path}`, {
    headers: { authorization: "Bearer t" },
    ...(signal === undefined ? {} : { signal }),
  });

describe("profiles", () => {
  test("without a token and without the right to profiles nobody gets any", async () => {
    for (const path of ["/debug/pprof/profile?seconds=1", "/debug/pprof/heap"]) {
      assert.equal((await fetch(`${url}${path}`)).status, 401);
      verdict = { kind: "forbidden", user: "somebody" };
      assert.equal((await get(path)).status, 403);
      verdict = { kind: "allowed", user: "root" };
    }
    assert.deepEqual(
      asked.map(({ verb, resource }) => `${verb} ${resource}`),
      ["get profiles", "get profiles"],
    );
  });

  test("a CPU profile has the functions that ran", async () => {
    const response = await get("/debug/pprof/profile?seconds=1");
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-disposition") ?? "", /\.cpuprofile"$/);
    const { nodes, startTime, endTime } = (await response.json()) as {
      nodes: { callFrame: { functionName: string } }[];
      startTime: number;
      endTime: number;
    };
    assert.ok(nodes.some(({ callFrame }) => callFrame.functionName === "(root)"));
    assert.ok(endTime > startTime);
  });

  test("an unreadable time is refused with its field, and takes nobody's turn", async () => {
    for (const seconds of ["0", "26", "x", "1.5"]) {
      const response = await get(`/debug/pprof/profile?seconds=${seconds}`);
      assert.equal(response.status, 400, seconds);
      assert.equal(((await response.json()) as { field: string }).field, "seconds");
    }
  });

  test("one at a time; when its caller hangs up the next one has its turn", async () => {
    const gone = new AbortController();
    const first = get("/debug/pprof/profile?seconds=25", gone.signal);
    first.catch(() => {});
    let status = 200;
    // Whichever of the two arrives first, one is turned away while the other is made.
    while (status === 200) {
      const response = await get("/debug/pprof/profile?seconds=1");
      await response.arrayBuffer();
      ({ status } = response);
    }
    assert.equal(status, 429);
    gone.abort();
    await assert.rejects(first);
    while (status === 429) {
      const response = await get("/debug/pprof/profile?seconds=1");
      await response.arrayBuffer();
      ({ status } = response);
    }
    assert.equal(status, 200);
  });
});
