// Malformed requests, annotations and objects on a real control plane: each gets an error that says what is wrong, is counted, and is an
// event where there is an object to attach it to; the process goes on.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import { floatIpsOf, waitUntil } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { bind, filterNames, post } from "../control-plane/extender-client.ts";
import {
  events,
  floatingIps,
  type Manifest,
  type Pod,
  pods,
  pools,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aDeployment,
  aFloatingIp,
  aPod,
  aPool,
} from "../control-plane/manifests.ts";
import { waitForEvent } from "../control-plane/records.ts";

const skip = await reasonToSkip();

describe("bad input", { skip }, () => {
  let cluster: Cluster;
  let pid: number;

  before(async () => {
    cluster = await startCluster();
    ({ pid } = cluster.ipam());
  });

  after(async () => {
    await cluster?.stop();
  });

  afterEach(async () => {
    const { api } = cluster;
    const ipam = () => cluster.ipam();
    assert.equal(ipam().pid, pid);
    assert.ok(ipam().isRunning(), "the process goes on");
    await ipam().whenReady();
    await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
    await api.waitFor(
      "no pods",
      { kind: pods, namespace: "default" },
      ({ length }) => length === 0,
    );
    await waitForCleanAudit(api);
  });

  const badInput = async (input: string): Promise<number> =>
    (await cluster.ipam().metric("galaxy_bad_input_total", { input })) ?? 0;

  test("case 47: bodies that are not understood get 400 with JSON that says why, and are counted", async () => {
    const { url } = cluster.ipam();
    const bodies: readonly (readonly [string, string])[] = [
      ["/v1/filter", "{"],
      ["/v1/filter", ""],
      ["/v1/filter", "[]"],
      ["/v1/filter", "{}"],
      ["/v1/filter", '{"Pod":5,"NodeNames":["a1"]}'],
      ["/v1/filter", '{"Pod":{"metadata":{}},"NodeNames":["a1"]}'],
      ["/v1/filter", '{"Pod":{"metadata":{"name":"x","namespace":"y","uid":"z"}},"NodeNames":7}'],
      [
        "/v1/filter",
        '{"Pod":{"metadata":{"name":"x","namespace":"y","uid":"z"}},"Nodes":{"items":[3]}}',
      ],
      ["/v1/priority", "null"],
      ["/v1/bind", '{"PodName":"x"}'],
      ["/v1/bind", '{"PodName":1,"PodNamespace":2,"Node":3}'],
      ["/v1/bind", "\u0000"],
      ["/v1/preempt", '{"NodeNameToVictims":{}}'],
      ["/v1/preempt", '{"Pod":{"metadata":{"name":"x"}},"NodeNameToVictims":[]}'],
    ];
    const before = await badInput("body");
    for (const [path, body] of bodies) {
      const { status, text } = await post(url, path, body);
      assert.equal(status, 400, `${path} ${body}: ${status} ${text}`);
      const { message } = JSON.parse(text) as { readonly message: string };
      assert.ok(message.length > 10, `${path} ${body}: ${text}`);
      assert.doesNotMatch(message, /undefined|TypeError|Cannot read/, `${path} ${body}`);
    }
    assert.equal(await badInput("body"), before + bodies.length);
  });

  test("other methods, paths and content types are answered and not dropped", async () => {
    const { url } = cluster.ipam();
    assert.equal((await fetch(`${url}/v1/filter`)).status, 405);
    assert.equal((await fetch(`${url}/v1/nothing`, { method: "POST" })).status, 404);
    assert.equal((await post(url, "/v1/filter", "{}", "text/plain")).status, 415);
    assert.equal((await post(url, "/v1/filter", "{", "")).status, 400);
  });

  test("connections that talk nonsense, stop in the middle or are too long do no harm", async () => {
    const { port } = cluster.ipam();
    const talk = (bytes: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1");
        let heard = "";
        socket.on("data", (chunk) => {
          heard += chunk.toString();
        });
        socket.once("close", () => resolve(heard));
        socket.once("error", () => socket.destroy());
        socket.end(bytes);
      });
    assert.match(await talk("\u0016\u0003\u0001 this is TLS\r\n\r\n"), /^HTTP\/1\.1 400/);
    assert.match(
      await talk(`GET /${"x".repeat(40_000)} HTTP/1.1\r\n\r\n`),
      /^HTTP\/1\.1 (400|414|431)/,
    );
    await talk("POST /v1/filter HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
    const large = await post(cluster.ipam().url, "/v1/bind", `"${"x".repeat(100_000)}"`);
    assert.equal(large.status, 413);
  });

  test("annotations that are not understood keep the pod waiting, with an event on it and a count", async () => {
    const { api } = cluster;
    const cases: readonly (readonly [string, Parameters<typeof aPod>[0], RegExp])[] = [
      ["args-garbage", { name: "args-garbage", annotations: { [ARGS_ANNOTATION]: "{" } }, /args/],
      [
        "args-range",
        {
          name: "args-range",
          annotations: { [ARGS_ANNOTATION]: '{"request_ip_range":[["10.49.70.300"]]}' },
        },
        /10\.49\.70\.300/,
      ],
      [
        "args-shape",
        {
          name: "args-shape",
          annotations: { [ARGS_ANNOTATION]: '{"request_ip_range":["10.49.70.3"]}' },
        },
        /request_ip_range/,
      ],
      ["pool-name", { name: "pool-name", pool: "not_a_pool" }, /not_a_pool/],
      ["families", { name: "families", families: "IPv5" }, /IPv5/],
    ];
    const before = await badInput("annotation");
    for (const [, wish] of cases) await api.create(aPod(wish));
    for (const [name, , message] of cases) {
      // The scheduler repeats the words in an event of its own.
      await api.waitFor(`an event of ours about ${name}`, { kind: events }, (all) =>
        all.some(
          (event) =>
            event.involvedObject.name === name &&
            event.reason === "FloatingIPRefused" &&
            message.test(event.message),
        ),
      );
    }
    const seen = await api.list({ kind: pods, namespace: "default" });
    assert.deepEqual(seen.flatMap(floatIpsOf), []);
    assert.ok((await badInput("annotation")) >= before + cases.length);
    await api.create(aPod({ name: "sound" }));
    await cluster.readyPods("sound", 1);
  });

  test("an args annotation of somebody else's members is kept", async () => {
    const { api } = cluster;
    const text = JSON.stringify({ other: { deep: [1, null, "é"] }, common: { more: true } });
    await api.create(aPod({ name: "kept", annotations: { [ARGS_ANNOTATION]: text } }));
    const [pod] = await cluster.readyPods("kept", 1);
    const written = JSON.parse(pod?.metadata.annotations?.[ARGS_ANNOTATION] ?? "") as {
      readonly other: unknown;
      readonly common: { readonly more: unknown; readonly ipinfos: readonly unknown[] };
    };
    assert.deepEqual(written.other, { deep: [1, null, "é"] });
    assert.equal(written.common.more, true);
    assert.equal(written.common.ipinfos.length, 1);
  });

  test("a policy that cannot be is refused with pod, policy and what is missing, and said on the pod", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "bare", policy: "immutable" }));
    const event = await waitForEvent(
      api,
      { kind: "Pod", name: "bare" },
      /release policy immutable is not supported for pod bare/,
    );
    assert.match(event.message, /pod name doesn't match/);
  });

  test("calls about pods and nodes that are not there, or not ours, are errors and take nothing", async () => {
    const { api } = cluster;
    const ipam = () => cluster.ipam();
    const { url } = ipam();
    const ghost = { metadata: { name: "ghost", namespace: "default", uid: "u" } } as Pod;
    assert.match(await bind(url, ghost, "a1"), /failed to find pod default\/ghost/);
    const plain = await api.create<Pod>(
      aPod({ name: "plain", wantsFloatIp: false, schedulerName: "nobody" }),
    );
    assert.match(await bind(url, plain, "a1"), /pod which doesn't want floatingip/);
    const pod = await api.create<Pod>(aPod({ name: "ours", schedulerName: "nobody" }));
    assert.match(await bind(url, pod, "nowhere"), /node nowhere does not exist/);
    const replaced = { ...pod, metadata: { ...pod.metadata, uid: "another" } };
    assert.match(await bind(url, replaced, "a1"), /has uid .*, not another/);
    const answer = await filterNames(url, pod, ["a1", "nowhere"]);
    assert.deepEqual(answer.NodeNames, ["a1"]);
    assert.match(answer.FailedNodes["nowhere"] ?? "", /^FloatingIPPlugin:UnknowNode/);
    assert.deepEqual(await api.list({ kind: floatingIps }), []);
  });

  test("records and pools that make no sense are refused by the API server or counted, and nothing is lost", async () => {
    const { api } = cluster;
    const odd: readonly Manifest[] = [
      { ...aFloatingIp({ ip: "no-address" }) },
      { ...aFloatingIp({ ip: "10.49.70.5" }), spec: {} },
      { ...aFloatingIp({ ip: "10.49.70.6" }), spec: { key: "x", policy: 2, attribute: "{" } },
      { ...aFloatingIp({ ip: "10.49.70.7" }), spec: { key: "x", policy: 2, attribute: "[]" } },
    ];
    const before = await badInput("record");
    for (const manifest of odd) await api.create(manifest);
    await waitUntil(
      "the strange record to be counted",
      () => badInput("record"),
      (now) => now > before,
    );
    await assert.rejects(
      api.create({ ...aFloatingIp({ ip: "10.49.70.8" }), spec: { key: 5, policy: "two" } }),
      /422/,
    );
    await assert.rejects(api.create(aPool({ name: "negative", size: -1 })), /422/);
    await api.create(aPool({ name: "fine", size: 1 }));
    await api.create(aDeployment({ name: "after", replicas: 2 }));
    const given = (await cluster.readyPods("after", 2)).flatMap(floatIpsOf);
    assert.ok(!given.some((ip) => /10\.49\.70\.[567]$/.test(ip)), given.join(", "));
    await api.deleteAll({ kind: floatingIps, labelSelector: "ipType" });
    await api.delete(pools, { name: "fine", namespace: "kube-system" });
    await api.call("DELETE", "/apis/apps/v1/namespaces/default/deployments/after", {
      propagationPolicy: "Background",
    });
    await api.waitFor(
      "its pods to go",
      { kind: pods, namespace: "default" },
      ({ length }) => length === 0,
    );
  });

  test("a policy without the resource has no effect, and an event on the pod says so", async () => {
    const { api } = cluster;
    await api.create(aPod({ name: "hopeful", wantsFloatIp: false, policy: "never" }));
    const about = { kind: "Pod", name: "hopeful" };
    const event = await waitForEvent(api, about, /no effect because no container requests/);
    assert.equal(event.type, "Warning");
  });
});
