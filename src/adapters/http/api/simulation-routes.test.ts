// The verbs of the simulated cluster over real HTTP on loopback: what they answer, and what they refuse.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Random } from "../../../../sim/random.ts";
import { ManualClock } from "../../memory/clock.ts";
import { MemoryLog } from "../../memory/log.ts";
import { SimulatedCluster } from "../../simulated/cluster.ts";
import { createApiServer } from "../api-server.ts";
import { simulationRoutes } from "./simulation-routes.ts";

const log = new MemoryLog();
const clock = new ManualClock();
const cluster = new SimulatedCluster({
  clock,
  random: new Random(1),
  store: { list: () => [], put: () => Promise.resolve(), remove: () => Promise.resolve() },
  log,
});
cluster.load();
cluster.start({
  filter: async () => ({ kind: "refused", error: "there is no address" }),
  prioritize: async () => [],
  preempt: async () => [],
  bind: async () => ({ kind: "refused", error: "there is no address" }),
});
const door = createApiServer({
  health: {
    livenessProblem: () => undefined,
    healthProblem: () => undefined,
    readinessProblem: () => undefined,
  },
  metrics: { contentType: "text/plain", text: () => Promise.resolve("") },
  log,
  api: {
    routes: simulationRoutes({ cluster, stateFolder: "/state", configurationFile: "/state/f" }),
    readProblem: () => undefined,
    changeProblem: () => undefined,
  },
});
const url = `http://127.0.0.1:${await door.listen({ host: "127.0.0.1", port: 0 })}/v1/simulation`;
after(() => door.close(0));

async function call(method: string, path: string, body?: unknown): Promise<[number, unknown]> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  return [response.status, await response.json()];
}

/** A problem without the number of its request. */
async function problemOf(method: string, path: string, body?: unknown): Promise<unknown> {
  const [status, answer] = await call(method, path, body);
  const { requestId: _requestId, code, ...problem } = answer as Record<string, unknown>;
  assert.equal(code, status);
  return { status, ...problem };
}

describe("the verbs of the simulated cluster", () => {
  test("nodes and workloads are made, listed and counted", async () => {
    const node = { name: "n1", ips: ["10.0.1.1"], up: true, ready: true, pods: 0 };
    assert.deepEqual(await call("POST", "/nodes", { name: "n1", ips: ["10.0.1.1"] }), [200, node]);
    const [status, web] = await call("POST", "/workloads", {
      kind: "deployment",
      namespace: "shop",
      name: "web",
      replicas: 2,
      pool: "blue",
      ipFamilies: ["IPv6", "IPv4"],
    });
    assert.equal(status, 200);
    const wanted = {
      kind: "deployment",
      namespace: "shop",
      name: "web",
      replicas: 2,
      pods: 0,
      ready: 0,
      revision: 1,
      wantsAddress: true,
      policy: "never",
      pool: "blue",
      ipFamilies: ["IPv6", "IPv4"],
      maxSurge: 1,
      maxUnavailable: 0,
    };
    const { rolloutProblem, ...made } = web as { rolloutProblem: string };
    assert.deepEqual(made, wanted);
    assert.match(rolloutProblem, /set spec\.strategy\.rollingUpdate to maxSurge: 0/);
    await clock.pass(10_000);
    const [, pods] = await call("GET", "/pods?namespace=shop&workload=web");
    assert.deepEqual(
      (pods as { pods: { waitsBecause: string }[] }).pods.map(({ waitsBecause }) => waitsBecause),
      ["there is no address", "there is no address"],
    );
    assert.deepEqual(await call("GET", "/pods?namespace=other"), [200, { pods: [] }]);
    assert.deepEqual(await call("GET", "/pods?nodeName=n1"), [200, { pods: [] }]);
    assert.deepEqual(await call("GET", ""), [
      200,
      { stateFolder: "/state", configurationFile: "/state/f", workloads: 1, pods: 2, nodes: 1 },
    ]);
  });

  test("workloads are scaled, rolled and deleted, pods deleted, nodes switched off, on and removed", async () => {
    const path = "/workloads/deployment/shop/web";
    const fieldOf = async (name: string, ...asked: Parameters<typeof call>) => {
      const [status, answer] = await call(...asked);
      assert.equal(status, 200, JSON.stringify(answer));
      return (answer as Record<string, unknown>)[name];
    };
    assert.equal(await fieldOf("replicas", "POST", `${path}/scale`, { replicas: 5 }), 5);
    assert.equal(await fieldOf("revision", "POST", `${path}/roll`), 2);
    const [pod] = cluster.pods();
    assert.equal(
      await fieldOf("outcome", "DELETE", `/pods/shop/${pod?.name}?force=true`),
      `pod shop/${pod?.name}: it is gone`,
    );
    assert.equal(await fieldOf("up", "POST", "/nodes/n1/kill"), false);
    assert.equal(await fieldOf("up", "POST", "/nodes/n1/recover"), true);
    assert.match(String(await fieldOf("outcome", "DELETE", "/nodes/n1")), /node n1 is removed/);
    assert.match(
      String(await fieldOf("outcome", "DELETE", path)),
      /web is deleted; its pods follow/,
    );
    cluster.recorder.record({
      about: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-0", uid: "u" },
      type: "Warning",
      reason: "FloatingIPRefused",
      message: "there is no address",
    });
    const [, events] = await call("GET", "/events");
    assert.deepEqual(events, {
      events: [
        {
          time: new Date(clock.nowMs()).toISOString(),
          type: "Warning",
          kind: "Pod",
          namespace: "shop",
          name: "web-0",
          reason: "FloatingIPRefused",
          message: "there is no address",
          count: 1,
        },
      ],
    });
  });

  test("what is there, wrong or unknown is a problem that names the object and the next step", async () => {
    await clock.pass(30_000);
    await call("POST", "/nodes", { name: "n2", ips: ["10.0.1.2"] });
    await call("POST", "/workloads", { kind: "job", name: "once", replicas: 0 });
    assert.deepEqual(await problemOf("POST", "/nodes", { name: "n2", ips: ["10.0.1.3"] }), {
      status: 409,
      message: "node n2 is there already; delete it first, or choose another name",
    });
    assert.deepEqual(await problemOf("POST", "/workloads", { kind: "job", name: "once" }), {
      status: 409,
      message: "job default/once is there already; delete it first, or choose another name",
    });
    assert.deepEqual(await problemOf("POST", "/nodes", { name: "n3", ips: ["10.0.1"] }), {
      status: 400,
      message: "node n3: 10.0.1: each must be an IPv4 or IPv6 address",
      field: "ips",
    });
    for (const [method, path, what] of [
      ["POST", "/workloads/job/default/none/roll", "job default/none"],
      ["DELETE", "/workloads/job/default/none", "job default/none"],
      ["DELETE", "/pods/default/none", "pod default/none"],
      ["POST", "/nodes/none/kill", "node none"],
      ["POST", "/nodes/none/recover", "node none"],
      ["DELETE", "/nodes/none", "node none"],
    ] as const) {
      const { status, message } = (await problemOf(method, path)) as Record<string, string>;
      assert.equal(Number(status), 404, path);
      assert.match(
        message ?? "",
        new RegExp(`^there is no ${what}; GET /v1/simulation/\\w+ lists`),
      );
    }
    const wrong = [
      ["/workloads", { kind: "cronjob", name: "web" }, "kind"],
      ["/workloads", { kind: "job", name: "Web" }, "name"],
      ["/workloads", { kind: "job" }, "name"],
      ["/workloads", { kind: "job", name: "web", replicas: -1 }, "replicas"],
      [
        "/workloads",
        { kind: "job", name: "web", requestIpRange: [["10.0.0.300"]] },
        "requestIpRange",
      ],
      ["/workloads/job/default/once/scale", { replicas: 1.5 }, "replicas"],
      ["/nodes", { name: "n4", ips: [] }, "ips"],
    ] as const;
    for (const [path, body, field] of wrong) {
      const problem = (await problemOf("POST", path, body)) as Record<string, unknown>;
      assert.deepEqual(
        [problem["status"], problem["field"]],
        [400, field],
        JSON.stringify(problem),
      );
    }
    assert.deepEqual(cluster.sizes(), { workloads: 1, pods: 0, nodes: 1 });
  });
});
