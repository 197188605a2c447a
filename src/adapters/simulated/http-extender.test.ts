// The scheduler's client against the product's own extender port, over HTTP and HTTPS, and against ports that are none.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type TestContext, test } from "node:test";
import { aPod, ipRange } from "../../../test/builders.ts";
import { testCertificates } from "../../../test/certificates.ts";
import type { PodFacts } from "../../core/facts.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { SchedulingDoor } from "../http/extender-server.ts";
import { createExtenderServer } from "../http/extender-server.ts";
import { MemoryLog } from "../memory/log.ts";
import { MemoryMetrics } from "../memory/metrics.ts";
import { SoleLeader } from "../system/sole-leader.ts";
import type { ExtenderAddress } from "./http-extender.ts";
import { HttpExtender } from "./http-extender.ts";

const host = "127.0.0.1";
const pod = aPod({
  name: "db-0",
  policy: "immutable",
  request: { kind: "ranges", ranges: [[ipRange("10.0.0.2~10.0.0.9")]] },
});

/** An extender whose node n2 has no address left; it remembers the pods it was asked about. */
function aDoor(): SchedulingDoor & { readonly asked: PodFacts[] } {
  const asked: PodFacts[] = [];
  return {
    asked,
    filter: async (request) => {
      asked.push(request.pod);
      if (request.pod.policy === "never") return { kind: "refused", error: "no ordinal" };
      return { kind: "nodes", passed: [0], failed: new Map([["n2", "no address left"]]) };
    },
    prioritize: async ({ nodeNames }) =>
      nodeNames.map((nodeName, index) => ({ nodeName, score: 10 - index })),
    preempt: async ({ candidates }) => candidates.slice(0, 1).map(({ nodeName }) => nodeName),
    bind: async ({ nodeName }) =>
      nodeName === "n1" ? { kind: "bound" } : { kind: "refused", error: "no address on n2" },
  };
}

async function anExtender(t: TestContext, tls?: { readonly cert: string; readonly key: string }) {
  const scheduling = aDoor();
  const door = createExtenderServer({
    scheduling,
    health: {
      livenessProblem: () => undefined,
      healthProblem: () => undefined,
      readinessProblem: () => undefined,
    },
    leadership: new SoleLeader("me"),
    metrics: new MemoryMetrics(),
    log: new MemoryLog(),
    ...(tls === undefined ? {} : { tls: { ...tls, clientCa: undefined } }),
  });
  t.after(() => door.close(0));
  return { scheduling, port: await door.listen({ host, port: 0 }) };
}

function aClient(t: TestContext, address: ExtenderAddress): HttpExtender {
  const client = new HttpExtender(address);
  t.after(() => client.close());
  return client;
}

test("all four calls go through the port, and the extender sees the pod as it is", async (t) => {
  const { scheduling, port } = await anExtender(t);
  const client = aClient(t, { host, port });
  const question = { pod, nodeNames: ["n1", "n2"], internalIpsOf: () => undefined };
  assert.deepEqual(await client.filter(question), {
    kind: "nodes",
    passed: [0],
    failed: new Map([["n2", "no address left"]]),
  });
  const [seen] = scheduling.asked;
  assert.deepEqual(seen, {
    ...pod,
    argsText: '{"request_ip_range":[["10.0.0.2~10.0.0.9"]]}',
  });
  assert.deepEqual(await client.prioritize(question), [
    { nodeName: "n1", score: 10 },
    { nodeName: "n2", score: 9 },
  ]);
  const refused = await client.filter({ ...question, pod: { ...pod, policy: "never" } });
  assert.deepEqual(refused, { kind: "refused", error: "no ordinal" });
  const candidates = [
    { nodeName: "n1", victimUids: ["u1"] },
    { nodeName: "n2", victimUids: ["u2"] },
  ];
  assert.deepEqual(await client.preempt({ pod, candidates }), ["n1"]);
  const binding = { pod: pod.id, podUid: pod.uid };
  assert.deepEqual(await client.bind({ ...binding, nodeName: "n1" }), { kind: "bound" });
  assert.deepEqual(await client.bind({ ...binding, nodeName: "n2" }), {
    kind: "refused",
    error: "no address on n2",
  });
});

test("over HTTPS it trusts the certificate that it was given, whoever signed it, and no other", async (t) => {
  const { server, other } = testCertificates;
  const { port } = await anExtender(t, server);
  const binding = { pod: pod.id, podUid: pod.uid, nodeName: "n1" };
  const client = aClient(t, { host, port, certificate: () => server.cert });
  assert.deepEqual(await client.bind(binding), { kind: "bound" });
  const stranger = aClient(t, { host, port, certificate: () => other.cert });
  await assert.rejects(
    stranger.bind(binding),
    (error) => error instanceof WorldError && error.code === "API_UNAVAILABLE",
  );
});

test("a port that does not answer, or answers nonsense, is an error that names the call", async (t) => {
  const server = createServer((_request, response) => response.end("<html>")).listen(0, host);
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = aClient(t, { host, port });
  const binding = { pod: pod.id, podUid: pod.uid, nodeName: "n1" };
  await assert.rejects(client.bind(binding), {
    code: "API_UNREADABLE",
    message: "call bind of the extender: it answered 200 with <html>",
  });
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  await assert.rejects(client.bind(binding), { code: "API_UNAVAILABLE", mayHaveHappened: true });
});
