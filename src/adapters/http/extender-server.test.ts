// The extender port over real HTTP on loopback. The use case behind it is played by functions: what it decides is not the matter here.
import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import { WorldError } from "../../ports/world-error.ts";
import type { ExtenderServerOptions, OfferedNodes, SchedulingDoor } from "./extender-server.ts";
import { createExtenderServer } from "./extender-server.ts";

const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

/** Lets every pod pass everywhere. */
const permissive: SchedulingDoor = {
  filter: () => Promise.resolve({ kind: "untouched" }),
  prioritize: () => Promise.resolve([]),
  bind: () => Promise.resolve({ kind: "bound" }),
  preempt: () => Promise.resolve([]),
};

type Seen = { counts: string[]; times: string[]; lines: string[] };

async function start(
  scheduling: Partial<SchedulingDoor> = {},
  options: Partial<ExtenderServerOptions> = {},
): Promise<{ url: string; port: number; seen: Seen }> {
  const seen: Seen = { counts: [], times: [], lines: [] };
  const write = (message: string) => {
    seen.lines.push(message);
  };
  const door = createExtenderServer({
    scheduling: { ...permissive, ...scheduling },
    health: {
      livenessProblem: () => undefined,
      healthProblem: () => undefined,
      readinessProblem: () => undefined,
    },
    leadership: { isLeader: () => true, leaderName: () => "ipam-0" },
    metrics: {
      count: (name, labels) => {
        seen.counts.push(`${name} ${JSON.stringify(labels)}`);
      },
      time: (name, _seconds, labels) => {
        seen.times.push(`${name} ${labels?.["func"]}`);
      },
    },
    log: { error: write, warn: write, info: write, debug: write },
    ...options,
  });
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  closing.push(() => door.close(0));
  return { url: `http://127.0.0.1:${port}`, port, seen };
}

async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = { "content-type": "application/json" },
): Promise<{ status: number; text: string; json: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  return { status: response.status, text, json: JSON.parse(text) as Record<string, unknown> };
}

const pod = { metadata: { name: "web-0", namespace: "ns1", uid: "u1" } };
const node = (name: string, address?: string) => ({
  metadata: { name },
  status: { addresses: address === undefined ? [] : [{ type: "InternalIP", address }] },
});
const nodes = { metadata: {}, items: [node("n1", "10.1.0.1"), node("n2"), node("n3")] };

describe("POST /v1/filter", () => {
  test("case 35: returns all nodes of an untouched pod and no failedNodes", async () => {
    const { url } = await start();
    const full = await post(`${url}/v1/filter`, { pod, nodes });
    assert.equal(full.status, 200);
    assert.deepEqual(full.json, { nodes });
    const named = await post(`${url}/v1/filter`, { Pod: pod, NodeNames: ["n1", "n2"] });
    assert.deepEqual(named.json, { NodeNames: ["n1", "n2"] });
  });

  test("case 36: returns the nodes that pass and says why the others do not", async () => {
    const { url, seen } = await start({
      filter: () =>
        Promise.resolve({
          kind: "nodes",
          passed: [0, 2],
          failed: new Map([["n2", "FloatingIPPlugin:NoFIPLeft: 240 of 240 in use"]]),
        }),
    });
    const failedNodes = { n2: "FloatingIPPlugin:NoFIPLeft: 240 of 240 in use" };
    const full = await post(`${url}/v1/filter`, { pod, nodes });
    assert.equal(full.status, 200);
    assert.deepEqual(full.json, {
      nodes: { metadata: {}, items: [nodes.items[0], nodes.items[2]] },
      failedNodes,
    });
    const named = await post(`${url}/v1/filter`, { Pod: pod, NodeNames: ["n1", "n2", "n3"] });
    assert.deepEqual(named.json, { NodeNames: ["n1", "n3"], failedNodes });
    assert.deepEqual(seen.times, ["schedule_latency filter", "schedule_latency filter"]);
  });

  test("case 42: answers a refusal as error text with status 200 and no nodes", async () => {
    const { url } = await start({
      filter: () => Promise.resolve({ kind: "refused", error: "release policy never needs …" }),
    });
    const full = await post(`${url}/v1/filter`, { pod, nodes });
    assert.equal(full.status, 200);
    assert.deepEqual(full.json, {
      nodes: { metadata: {}, items: [] },
      error: "release policy never needs …",
    });
  });

  test("case 46: understands the bodies of a scheduler and those of the Go system's tests", async () => {
    const offered: (readonly string[])[] = [];
    const { url } = await start({
      filter: (request) => {
        offered.push([request.pod.id.name, ...request.nodeNames]);
        return Promise.resolve({ kind: "untouched" });
      },
    });
    for (const body of [
      { Pod: pod, Nodes: nodes, NodeNames: null },
      { pod, nodes, nodenames: null },
      { Pod: pod, Nodes: null, NodeNames: ["n1", "n2", "n3"] },
      { pod, nodenames: ["n1", "n2", "n3"] },
    ]) {
      assert.equal((await post(`${url}/v1/filter`, body)).status, 200);
    }
    assert.equal(offered.length, 4);
    for (const seen of offered) assert.deepEqual(seen, ["web-0", "n1", "n2", "n3"]);
  });

  test("returns the bytes of node objects as they came", async () => {
    const { url } = await start({
      filter: () => Promise.resolve({ kind: "nodes", passed: [0, 1], failed: new Map() }),
    });
    const odd = [
      String.raw`{ "metadata" : {"name":"n\u0031","big":12345678901234567890, "name2":1e400}, "x": "\/é" }`,
      String.raw`{"a":1,"a":2,"metadata":{"name":"n2"}}`,
    ];
    const body = `{"Pod":${JSON.stringify(pod)},"Nodes":{"items":[ ${odd.join(" , ")} ]}}`;
    const { text } = await post(`${url}/v1/filter`, body);
    assert.equal(text, `{"nodes":{"metadata":{},"items":[${odd.join(",")}]}}`);
  });

  test("gives the addresses of the request's own node objects when they are asked for", async () => {
    const requests: OfferedNodes[] = [];
    const { url } = await start({
      filter: (request) => {
        requests.push(request);
        return Promise.resolve({ kind: "untouched" });
      },
    });
    await post(`${url}/v1/filter`, { pod, nodes });
    await post(`${url}/v1/filter`, { Pod: pod, NodeNames: ["n1"] });
    const [full, named] = requests;
    assert.deepEqual(full?.internalIpsOf("n1"), ["10.1.0.1"]);
    assert.deepEqual(full?.internalIpsOf("n2"), []);
    assert.equal(full?.internalIpsOf("ghost"), undefined);
    assert.equal(named?.internalIpsOf("n1"), undefined);
  });

  test("answers an error before the scheduler gives up, and logs a failure that comes later", async () => {
    let fail: (error: Error) => void = () => {};
    const { url, seen } = await start(
      {
        filter: () =>
          new Promise((_resolve, reject) => {
            fail = reject;
          }),
      },
      { filterTimeoutMs: 30 },
    );
    const { status, json } = await post(`${url}/v1/filter`, { Pod: pod, NodeNames: ["n1"] });
    assert.equal(status, 200);
    assert.match(String(json["error"]), /filter of pod ns1\/web-0 took longer than 30 ms/);
    assert.deepEqual(seen.lines, ["answered before the work was done"]);
    fail(new Error("too late"));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(seen.lines.slice(1), ["scheduling call failed"]);
  });

  test("answers failures of the world and of the program as error text", async () => {
    const failures = [
      new WorldError("API_UNAVAILABLE", { tried: "read node n1", message: "connection refused" }),
      new TypeError("undefined is not a function"),
    ];
    const { url } = await start({
      filter: () => Promise.reject(failures.shift() ?? new Error("asked once too often")),
    });
    const world = await post(`${url}/v1/filter`, { Pod: pod, NodeNames: ["n1"] });
    assert.equal(world.status, 200);
    assert.match(String(world.json["error"]), /ns1\/web-0: read node n1: connection refused/);
    const program = await post(`${url}/v1/filter`, { pod, nodes });
    assert.equal(program.status, 200);
    assert.match(String(program.json["error"]), /undefined is not a function/);
  });
});

describe("POST /v1/priority", () => {
  test("case 66: answers Host and Score, also under the name that Kubernetes uses", async () => {
    const { url } = await start({
      prioritize: ({ nodeNames }) =>
        Promise.resolve(nodeNames.map((nodeName, index) => ({ nodeName, score: 10 - index }))),
    });
    for (const path of ["/v1/priority", "/v1/prioritize", "/v1/prioritize/"]) {
      const { json } = await post(`${url}${path}`, { Pod: pod, NodeNames: ["n1", "n2"] });
      assert.deepEqual(json, [
        { Host: "n1", Score: 10 },
        { Host: "n2", Score: 9 },
      ]);
    }
  });

  test("case 65: answers an empty list when there is nothing to say or it fails", async () => {
    const { url } = await start();
    assert.deepEqual((await post(`${url}/v1/priority`, { pod, nodes })).json, []);
    const failing = await start({ prioritize: () => Promise.reject(new Error("no")) });
    assert.deepEqual((await post(`${failing.url}/v1/priority`, { pod, nodes })).json, []);
  });
});

describe("POST /v1/preempt", () => {
  const meta = {
    n3: { Pods: [{ UID: "v1" }], NumPDBViolations: 1 },
    n4: { Pods: [{ UID: "v2" }], NumPDBViolations: 0 },
    ghost: { Pods: [{ UID: "v3" }], NumPDBViolations: 0 },
  };

  test("case 67: keeps the nodes on which it helps, from either form of victims", async () => {
    const asked: unknown[] = [];
    const { url } = await start({
      preempt: ({ candidates }) => {
        asked.push(candidates.map(({ nodeName, victimUids }) => [nodeName, ...victimUids]));
        return Promise.resolve(["n3"]);
      },
    });
    const full = Object.fromEntries(
      Object.entries(meta).map(([name, victims]) => [
        name,
        { ...victims, Pods: victims.Pods.map(({ UID }) => ({ metadata: { uid: UID } })) },
      ]),
    );
    for (const body of [
      { Pod: pod, NodeNameToMetaVictims: meta },
      { Pod: pod, NodeNameToVictims: full },
    ]) {
      const { status, json } = await post(`${url}/v1/preempt`, body);
      assert.equal(status, 200);
      assert.deepEqual(json, { NodeNameToMetaVictims: { n3: meta.n3 } });
    }
    const expected = [
      ["n3", "v1"],
      ["n4", "v2"],
      ["ghost", "v3"],
    ];
    assert.deepEqual(asked, [expected, expected]);
  });

  test("evicts nobody when it fails", async () => {
    const { url } = await start({ preempt: () => Promise.reject(new Error("no")) });
    const { json } = await post(`${url}/v1/preempt`, { Pod: pod, NodeNameToMetaVictims: meta });
    assert.deepEqual(json, { NodeNameToMetaVictims: {} });
  });

  test("D-35: answers 400 without a Pod", async () => {
    const { url } = await start();
    const { status, json } = await post(`${url}/v1/preempt`, { NodeNameToMetaVictims: meta });
    assert.equal(status, 400);
    assert.equal(json["message"], "Pod is missing or not an object");
  });
});

describe("POST /v1/bind", () => {
  const body = { PodName: "web-0", PodNamespace: "ns1", PodUID: "u1", Node: "n3" };

  test("case 51: hands over pod, uid and node and answers an empty error", async () => {
    const asked: unknown[] = [];
    const { url, seen } = await start({
      bind: (request) => {
        asked.push(request);
        return Promise.resolve({ kind: "bound" });
      },
    });
    const { status, text } = await post(`${url}/v1/bind`, body);
    assert.equal(status, 200);
    assert.equal(text, `{"Error":""}`);
    assert.deepEqual(asked, [
      { pod: { namespace: "ns1", name: "web-0" }, podUid: "u1", nodeName: "n3" },
    ]);
    assert.deepEqual(seen.times, ["schedule_latency bind"]);
  });

  test("cases 55 and 56: answers the reason of a refusal unchanged", async () => {
    const error = "pod which doesn't want floatingip have been sent to plugin";
    const { url } = await start({ bind: () => Promise.resolve({ kind: "refused", error }) });
    assert.deepEqual((await post(`${url}/v1/bind`, body)).json, { Error: error });
  });

  test("answers an error when it fails or takes too long", async () => {
    const slow = await start({ bind: () => new Promise(() => {}) }, { bindTimeoutMs: 20 });
    const { json } = await post(`${slow.url}/v1/bind`, body);
    assert.match(String(json["Error"]), /bind of pod ns1\/web-0 to node n3 took longer than 20 ms/);
    const failing = await start({ bind: () => Promise.reject(new Error("etcd is away")) });
    assert.match(
      String((await post(`${failing.url}/v1/bind`, body)).json["Error"]),
      /etcd is away/,
    );
  });
});

describe("bad input", () => {
  test("case 47: malformed bodies get 400 with a JSON error and are counted", async () => {
    const { url, seen } = await start();
    for (const [path, body] of [
      ["/v1/filter", "{"],
      ["/v1/filter", "{}"],
      ["/v1/filter", ""],
      ["/v1/filter", { Pod: pod }],
      ["/v1/filter", { Pod: { metadata: { name: "x" } }, NodeNames: [] }],
      ["/v1/priority", "null"],
      ["/v1/preempt", "[1,"],
      ["/v1/bind", "{"],
      ["/v1/bind", "{}"],
      ["/v1/bind", '"x"'],
    ] as const) {
      const { status, json } = await post(`${url}${path}`, body);
      assert.equal(status, 400, `${path} ${JSON.stringify(body)}`);
      assert.equal(json["code"], 400);
      assert.ok(String(json["message"]).length > 10);
      assert.ok(String(json["requestId"]).length > 0);
    }
    assert.deepEqual(seen.counts, Array(10).fill('bad_input {"input":"body"}'));
  });

  test("the error of a broken body names the byte", async () => {
    const { url } = await start();
    const { json } = await post(`${url}/v1/filter`, `{"Pod":{},}`);
    assert.equal(
      json["message"],
      'the body breaks at byte 10: expected a name in quotes, found "}"',
    );
  });

  test("JSON is taken with parameters or without a content type; other types get 415", async () => {
    const { port, url } = await start();
    const body = JSON.stringify({ Pod: pod, NodeNames: ["n1"] });
    const charset = { "content-type": "application/json; charset=utf-8" };
    assert.equal((await post(`${url}/v1/filter`, body, charset)).status, 200);
    assert.equal(await rawStatus(port, "POST /v1/filter", body), 200);
    const protobuf = { "content-type": "application/vnd.kubernetes.protobuf" };
    const refused = await post(`${url}/v1/filter`, body, protobuf);
    assert.equal(refused.status, 415);
    assert.match(String(refused.json["message"]), /protobuf" is not application\/json/);
    const zipped = { "content-type": "application/json", "content-encoding": "gzip" };
    assert.equal((await post(`${url}/v1/filter`, body, zipped)).status, 415);
  });

  test("another method gets 405 and an unknown path 404, both as JSON", async () => {
    const { url } = await start();
    const get = await fetch(`${url}/v1/filter`);
    assert.equal(get.status, 405);
    assert.equal(get.headers.get("allow"), "POST");
    assert.equal(((await get.json()) as { code: number }).code, 405);
    const lost = await post(`${url}/v1/other`, {});
    assert.equal(lost.status, 404);
    assert.match(String(lost.json["message"]), /POST \/v1\/other is not served here/);
    const broken = await fetch(`${url}/%zz`);
    assert.equal(broken.status, 400);
    assert.match(broken.headers.get("content-type") ?? "", /application\/json/);
    await broken.text();
  });

  test("a body beyond the limit gets 413 without being read", async () => {
    const { port } = await start();
    const tooBig = { "content-length": String(129 * 1024 * 1024) };
    assert.equal(await rawStatus(port, "POST /v1/filter", undefined, tooBig), 413);
    const forBind = { "content-length": String(65 * 1024) };
    assert.equal(await rawStatus(port, "POST /v1/bind", undefined, forBind), 413);
  });

  test("a body without a declared length is read, and gets 413 beyond the limit", async () => {
    const { url } = await start();
    const chunked = (text: string) =>
      fetch(`${url}/v1/bind`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: new Blob([text]).stream(),
        duplex: "half",
        signal: AbortSignal.timeout(10_000),
      });
    const binding = JSON.stringify({ PodName: "p", PodNamespace: "ns", PodUID: "", Node: "n" });
    const answer = await chunked(binding);
    assert.deepEqual([answer.status, await answer.text()], [200, '{"Error":""}']);
    // Either the answer arrives or, while the caller still sends, its connection ends.
    const tooLarge = await chunked(`${binding}${" ".repeat(300_000)}`).then(
      async (response) => {
        await response.text();
        return response.status;
      },
      () => 413,
    );
    assert.equal(tooLarge, 413);
  });

  test("callers that hang up in the middle of a body or of an answer disturb nobody", async () => {
    const { url, port, seen } = await start();
    const big = { metadata: { name: "n1" }, padding: "x".repeat(8 * 1024 * 1024) };
    const body = JSON.stringify({ Pod: pod, Nodes: { items: [big] } });
    const head = `POST /v1/filter HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    for (const [sent, waitsForAnswer] of [
      [body.slice(0, 100_000), false],
      [body, true],
    ] as const) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.write(head + sent, () => {
            if (!waitsForAnswer) socket.destroy();
          });
        });
        socket.once("data", () => socket.destroy());
        socket.once("close", () => resolve());
      });
    }
    const answer = await post(`${url}/v1/filter`, body);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json, { nodes: { metadata: {}, items: [big] } });
    assert.deepEqual(seen.lines, []);
  });

  test("what is no HTTP gets 400 as JSON", async () => {
    const { port } = await start();
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => socket.end("hello\r\n\r\n"));
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.once("close", () => resolve(text));
      socket.once("error", reject);
    });
    assert.match(
      answer,
      /^HTTP\/1.1 400 Bad Request\r\n[\s\S]*\{"code":400,"message":"not an HTTP/,
    );
  });

  test("hostile bodies never cause a 500 nor a wait", async () => {
    const { url } = await start({
      filter: (request) => {
        for (const name of request.nodeNames) request.internalIpsOf(name);
        return Promise.resolve({
          kind: "nodes",
          passed: request.nodeNames.map((_name, position) => position),
          failed: new Map(),
        });
      },
      preempt: ({ candidates }) => Promise.resolve(candidates.map(({ nodeName }) => nodeName)),
    });
    const names = fc.constantFrom(
      "Pod",
      "Nodes",
      "NodeNames",
      "items",
      "metadata",
      "name",
      "namespace",
      "NodeNameToVictims",
      "NodeNameToMetaVictims",
      "Pods",
      "UID",
      "annotations",
      "spec",
      "status",
      "addresses",
      "__proto__",
      "constructor",
      "toString",
    );
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.constantFrom<unknown>(null, true, 0, -1, 1e308, "", "ns1", "\u0000", "__proto__"),
        fc.string(),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(names, tie("value"), { maxKeys: 5 }),
      ),
    })).value;
    const bodies = fc.oneof(
      value.map((json) => JSON.stringify(json)),
      value.map((json) => JSON.stringify({ Pod: pod, Nodes: { items: json } })),
      value.map((json) => JSON.stringify({ Pod: pod, NodeNames: json, NodeNameToVictims: json })),
      fc.string(),
    );
    const paths = fc.constantFrom("filter", "priority", "preempt", "bind");
    await fc.assert(
      fc.asyncProperty(paths, bodies, async (path, body) => {
        const { status, json } = await post(`${url}/v1/${path}`, body);
        assert.ok(status === 200 || status === 400, `${status} ${JSON.stringify(json)}`);
        if (status === 400) assert.equal(typeof json["message"], "string");
      }),
      { numRuns: 300 },
    );
  });
});

describe("who may answer", () => {
  const body = { Pod: pod, NodeNames: ["n1"] };

  test("a follower answers 503 with the leader's name, and health 200", async () => {
    const { url } = await start(
      {},
      {
        leadership: { isLeader: () => false, leaderName: () => "ipam-1" },
        health: {
          livenessProblem: () => undefined,
          healthProblem: () => undefined,
          readinessProblem: () => "ipam-1 leads",
        },
      },
    );
    for (const path of ["filter", "priority", "preempt", "bind"]) {
      const { status, json } = await post(`${url}/v1/${path}`, body);
      assert.equal(status, 503);
      assert.equal(json["leader"], "ipam-1");
      assert.equal(json["message"], "ipam-1 leads");
    }
    const healthy = await fetch(`${url}/healthy`);
    assert.deepEqual([healthy.status, await healthy.text()], [200, "ok"]);
    const ready = await fetch(`${url}/readyz`);
    assert.deepEqual([ready.status, await ready.text()], [503, "ipam-1 leads\n"]);
  });

  test("leadership is asked for even when nothing else is wrong", async () => {
    const { url } = await start(
      {},
      { leadership: { isLeader: () => false, leaderName: () => "" } },
    );
    const { status, json } = await post(`${url}/v1/filter`, body);
    assert.equal(status, 503);
    assert.equal("leader" in json, false);
  });

  test("case 1: without configuration the reason is in the answer and in /healthy", async () => {
    const reason = "ConfigMap kube-system/floatingip-config is missing; create it";
    const { url } = await start(
      {},
      {
        health: {
          livenessProblem: () => undefined,
          healthProblem: () => reason,
          readinessProblem: () => reason,
        },
      },
    );
    const { status, json } = await post(`${url}/v1/filter`, body);
    assert.deepEqual([status, json["message"]], [503, reason]);
    const healthy = await fetch(`${url}/healthy`);
    assert.deepEqual([healthy.status, await healthy.text()], [503, `${reason}\n`]);
    const live = await fetch(`${url}/livez`);
    assert.deepEqual([live.status, await live.text()], [200, "ok"]);
  });

  test("requests beyond the limit get 503, and the place of a caller that hung up is free again", async () => {
    const started: (() => void)[] = [];
    const release: (() => void)[] = [];
    const { url } = await start(
      {
        filter: () =>
          new Promise((resolve) => {
            release.push(() => resolve({ kind: "untouched" }));
            started.shift()?.();
          }),
      },
      { maxInFlight: 1 },
    );
    const hangUp = new AbortController();
    const isUnderWay = new Promise<void>((resolve) => started.push(resolve));
    const first = fetch(`${url}/v1/filter`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
      signal: hangUp.signal,
    }).catch((error: unknown) => error);
    await isUnderWay;
    const second = await post(`${url}/v1/filter`, body);
    assert.equal(second.status, 503);
    assert.match(String(second.json["message"]), /1 requests with \d+ bytes are under way/);
    hangUp.abort();
    await first;
    let status = 503;
    for (let round = 0; status === 503 && round < 200; round += 1) {
      const isThird = new Promise<void>((resolve) => started.push(resolve));
      const third = post(`${url}/v1/filter`, body);
      const outcome = await Promise.race([third, isThird]);
      if (outcome === undefined) release.at(-1)?.();
      status = (await third).status;
      started.length = 0;
    }
    assert.equal(status, 200);
  });
});

describe("listening", () => {
  test("with a key pair it serves HTTPS", async () => {
    const { port } = await start({}, { tls: testKeyPair });
    const text = await new Promise<string>((resolve, reject) => {
      const call = httpsRequest(
        { host: "127.0.0.1", port, path: "/healthy", ca: testKeyPair.cert, agent: false },
        (response) => {
          response.setEncoding("utf8").once("data", resolve);
        },
      );
      call.once("error", reject);
      call.end();
    });
    assert.equal(text, "ok");
  });

  test("a port in use is an error that names it", async () => {
    const { port } = await start();
    const door = createExtenderServer({
      scheduling: permissive,
      health: {
        livenessProblem: () => undefined,
        healthProblem: () => undefined,
        readinessProblem: () => undefined,
      },
      leadership: { isLeader: () => true, leaderName: () => "" },
      metrics: { count: () => {}, time: () => {} },
      log: { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} },
    });
    closing.push(() => door.close(0));
    await assert.rejects(door.listen({ host: "127.0.0.1", port }), (error: unknown) => {
      assert.ok(error instanceof WorldError);
      assert.equal(error.code, "PORT_UNAVAILABLE");
      assert.match(error.message, new RegExp(`127.0.0.1:${port}`));
      return true;
    });
  });
});

/** The status of a request made without what fetch adds; with no body it is announced and never sent. */
function rawStatus(
  port: number,
  line: string,
  body: string | undefined,
  headers: Record<string, string> = {},
): Promise<number | undefined> {
  const [method = "GET", path = "/"] = line.split(" ");
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: "127.0.0.1", method, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
      request.destroy();
    });
    request.once("error", reject);
    if (body === undefined) request.flushHeaders();
    else request.end(body);
  });
}

/** For localhost and 127.0.0.1, valid for a hundred years, used by this test alone. */
const testKeyPair = {
  key: [
    "-----BEGIN PRIVATE KEY-----",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0LrmHWge+cZZS2af",
    "Cp6EemCFZEw01Nht/ZwRxj8nQOmhRANCAAS5BzyZvNGO/163+h6+2NG2QI9X+idv",
    "p4chuU4XBk0NWE7U2a/DSNdgNJBuox4RMo7A9qYKwQsLdA4XQiUOs5Xo",
    "-----END PRIVATE KEY-----",
  ].join("\n"),
  cert: [
    "-----BEGIN CERTIFICATE-----",
    "MIIBmzCCAUGgAwIBAgIUEEocNxXIfRU07Vp9rLOzWgEAKUkwCgYIKoZIzj0EAwIw",
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTAzMDkzM1oYDzIxMjYxMDI4",
    "MDMwOTMzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO",
    "PQMBBwNCAAS5BzyZvNGO/163+h6+2NG2QI9X+idvp4chuU4XBk0NWE7U2a/DSNdg",
    "NJBuox4RMo7A9qYKwQsLdA4XQiUOs5Xoo28wbTAdBgNVHQ4EFgQUN0Ztb9t83V/l",
    "q/6PS1r16THfgTgwHwYDVR0jBBgwFoAUN0Ztb9t83V/lq/6PS1r16THfgTgwDwYD",
    "VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI",
    "zj0EAwIDSAAwRQIgQWgGE2uJ6Z0/p7tgKDDJaOC8ADNlwemCeQhqHoIlHpwCIQC1",
    "SmKQnYbAcV44MFhHccitP+EE2eHqwN7aopGe3pI4pg==",
    "-----END CERTIFICATE-----",
  ].join("\n"),
};
