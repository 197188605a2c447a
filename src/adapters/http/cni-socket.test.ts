// The daemon's socket in front of everything that may call it: hostile clients and any call that can be thought up. Every call is answered as
// CNI answers, and afterwards the socket serves as before. No kernel and no root: what plugins would do is in memory.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { aPodOf, PodNetworksWorld } from "../../../test/node/pod-networks-world.ts";
import type { NodeCounterName, NodeTimerName } from "../../ports/node-metrics.ts";
import { MemoryLog } from "../memory/log.ts";
import { MemoryMetrics } from "../memory/metrics.ts";
import { SystemClock } from "../system/clock.ts";
import type { CniSocket } from "./cni-socket.ts";
import { createCniSocket } from "./cni-socket.ts";

/** Long enough for good calls on a slow machine, and short enough to wait for. */
const arrivalMs = 2_000;

type Reply = { readonly status: number; readonly text: string };

describe("the CNI socket", () => {
  let folder = "";
  let path = "";
  let socket: CniSocket;
  const clock = new SystemClock();
  const log = new MemoryLog();
  const metrics = new MemoryMetrics<NodeCounterName, NodeTimerName>();
  const world = new PodNetworksWorld({ clock, log });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "galaxy-cni-socket-"));
    path = join(folder, "galaxy.sock");
    socket = createCniSocket({
      pods: world.pods,
      status: { directory: world.directory, clock, log, metrics },
      announce: async () => {},
      arrivalMs,
    });
    await socket.listen(path);
    world.directory.pods.set("p", aPodOf("p"));
  });
  after(async () => {
    await socket.close();
    await rm(folder, { recursive: true });
  });

  const post = (body: string | Uint8Array): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const call = request({ socketPath: path, path: "/cni", method: "POST" }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => {
          text += chunk.toString("utf8");
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        response.on("error", reject);
      });
      call.on("error", reject);
      call.end(body);
    });
  const call = (env: Readonly<Record<string, unknown>>, config: string): Promise<Reply> =>
    post(JSON.stringify({ env, config: Buffer.from(config).toString("base64") }));
  const good = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/c1",
    CNI_IFNAME: "eth0",
    CNI_PATH: "/opt/cni/bin",
    CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p",
  };
  const goodConfig = { cniVersion: "1.0.0", name: "galaxy", type: "galaxy-sdn" };
  /** A call that has to work, whatever was tried before. */
  const works = async () => {
    for (const command of ["ADD", "DEL"]) {
      const reply = await call({ ...good, CNI_COMMAND: command }, JSON.stringify(goodConfig));
      assert.equal(reply.status, 200, reply.text);
    }
  };
  const error = (reply: Reply): { readonly code: number; readonly msg: string } => {
    assert.equal(reply.status, 500, reply.text);
    const json = JSON.parse(reply.text) as { code: unknown; msg: unknown };
    assert.ok(Number.isInteger(json.code) && Number(json.code) > 0, reply.text);
    assert.ok(typeof json.msg === "string" && json.msg.length > 10, reply.text);
    return json as { code: number; msg: string };
  };

  it("answers good calls", works);

  const bad: readonly (readonly [string, () => Promise<Reply>, number, RegExp])[] = [
    ["no JSON", () => post("hello"), 6, /call the daemon through galaxy-sdn/],
    ["an empty body", () => post(""), 6, /call the daemon through galaxy-sdn/],
    ["bytes that are no text", () => post(Uint8Array.of(0xff, 0xfe, 0)), 6, /galaxy-sdn/],
    ["5 MB", () => post(Buffer.alloc(5 * 2 ** 20, 0x20)), 6, /galaxy-sdn/],
    ["no environment", () => post('{"config":"e30="}'), 6, /galaxy-sdn/],
    [
      "a configuration that is no base64",
      () => post('{"env":{},"config":"%%%"}'),
      4,
      /CNI_COMMAND/,
    ],
    [
      "an unknown command",
      () => call({ ...good, CNI_COMMAND: "rm" }, "{}"),
      4,
      /use ADD, CHECK, DEL/,
    ],
    ["no command", () => call({}, "{}"), 4, /unknown CNI_COMMAND ""/],
    [
      "no container",
      () => call({ ...good, CNI_CONTAINERID: "" }, "{}"),
      4,
      /CNI_CONTAINERID.*the runtime sets/,
    ],
    [
      "a container id that is a path",
      () => call({ ...good, CNI_CONTAINERID: "../../etc" }, JSON.stringify(goodConfig)),
      4,
      /has characters other than/,
    ],
    [
      "a namespace with a shell in it",
      () => call({ ...good, CNI_NETNS: "/x;reboot" }, JSON.stringify(goodConfig)),
      4,
      /no absolute path of plain characters/,
    ],
    [
      "an interface name that is too long",
      () => call({ ...good, CNI_IFNAME: "e".repeat(16) }, JSON.stringify(goodConfig)),
      4,
      /longer than 15 characters; shorten it/,
    ],
    [
      "a configuration that is no JSON",
      () => call(good, "{"),
      6,
      /correct the network configuration/,
    ],
    ["a list as configuration", () => call(good, "[]"), 6, /no JSON object; correct/],
    ["no name", () => call(good, '{"cniVersion":"1.0.0","type":"galaxy-sdn"}'), 7, /add `name`/],
    [
      "a version of tomorrow",
      () => call(good, JSON.stringify({ ...goodConfig, cniVersion: "9.0.0" })),
      1,
      /write one of these/,
    ],
    [
      "a previous result that is none",
      () =>
        call(
          good,
          JSON.stringify({
            ...goodConfig,
            prevResult: { cniVersion: "1.0.0", ips: [{ address: "x" }] },
          }),
        ),
      6,
      /prevResult: .*ADDRESS\/PREFIX is expected/,
    ],
    [
      "arguments that name no pod",
      () => call({ ...good, CNI_ARGS: "K8S_POD_NAME;=;;" }, JSON.stringify(goodConfig)),
      4,
      /others call galaxy-k8s-vlan/,
    ],
    [
      "a pod whose name leads elsewhere",
      () =>
        call(
          { ...good, CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=../../secrets/x" },
          JSON.stringify(goodConfig),
        ),
      4,
      /no name that Kubernetes gives/,
    ],
    [
      "a pod that does not belong to the sandbox",
      () =>
        call(
          { ...good, CNI_ARGS: `${good.CNI_ARGS};K8S_POD_UID=other` },
          JSON.stringify(goodConfig),
        ),
      11,
      /old pod of that name is being replaced/,
    ],
    [
      "CHECK of a container that is unknown",
      () =>
        call(
          { ...good, CNI_COMMAND: "CHECK", CNI_CONTAINERID: "nobody" },
          JSON.stringify(goodConfig),
        ),
      3,
      /repeat ADD/,
    ],
  ];
  for (const [what, send, code, says] of bad) {
    it(`refuses ${what} with a code and a next step`, async () => {
      const ran = world.calls.length;
      const refusal = error(await send());
      assert.equal(refusal.code, code, refusal.msg);
      assert.match(refusal.msg, says);
      assert.equal(world.calls.length, ran, "no plugin was run");
    });
  }

  it("names its paths to who asks for another one", async () => {
    const reply = await new Promise<string>((resolve) => {
      const asked = connect(path, () => asked.write("GET /etc/passwd HTTP/1.0\r\n\r\n"));
      let text = "";
      asked.on("data", (chunk) => {
        text += String(chunk);
      });
      asked.on("close", () => resolve(text));
    });
    assert.match(reply, /404.*the paths are \/cni and \/healthy/s);
  });

  const hostile: readonly (readonly [string, string])[] = [
    ["stops in its headers", "POST /cni HTTP/1.1\r\nhost: x\r\n"],
    ["stops in its body", 'POST /cni HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"env"'],
    ["speaks no HTTP", "\u0016\u0003\u0001 hello\r\n\r\n"],
    ["has endless headers", `POST /cni HTTP/1.1\r\n${"x: y\r\n".repeat(10_000)}`],
    ["lies about its length", "POST /cni HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"],
    [
      "smuggles a second call",
      "POST /cni HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
  ];
  it("lets go of clients that send half a call or none, and serves others meanwhile", async () => {
    const closings = hostile.map(async ([what, bytes]) => {
      const client = connect(path);
      client.on("error", () => {});
      const closed = once(client, "close");
      await once(client, "connect");
      client.resume();
      client.write(bytes);
      await closed;
      return what;
    });
    await works();
    assert.equal((await Promise.all(closings)).length, hostile.length);
    await works();
  });

  it("serves others while a hundred clients hang, and after a hundred hung up in the middle", async () => {
    const clients: Socket[] = [];
    for (let count = 0; count < 100; count += 1) {
      const client = connect(path);
      client.on("error", () => {});
      client.write(hostile[1]?.[1] ?? "");
      clients.push(client);
    }
    await works();
    for (const client of clients) client.destroy();
    await works();
  });

  it("answers whatever it is asked as CNI answers, and runs no plugin for what CNI does not allow", async () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 40 }),
      fc.constantFrom("", "__proto__", "../x", "a;b", "$(id)", "\u0000", "💥", "null"),
    );
    const oneOf = (value: string) =>
      fc.oneof({ weight: 4, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: text });
    const environment = fc.record(
      {
        CNI_COMMAND: fc.oneof(
          fc.constantFrom("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"),
          text,
        ),
        CNI_CONTAINERID: oneOf("c1"),
        CNI_NETNS: oneOf("/run/netns/c1"),
        CNI_IFNAME: oneOf("eth0"),
        CNI_PATH: oneOf("/opt/cni/bin"),
        CNI_ARGS: fc.oneof(
          oneOf(good.CNI_ARGS),
          fc
            .array(fc.tuple(text, text), { maxLength: 5 })
            .map((items) => [good.CNI_ARGS, ...items.map((item) => item.join("="))].join(";")),
        ),
        PATH: text,
        __proto__: text,
      },
      { requiredKeys: [] },
    );
    const member = fc.oneof(fc.jsonValue({ maxDepth: 3 }), text);
    const config = fc.oneof(
      {
        weight: 3,
        arbitrary: fc
          .dictionary(
            fc.oneof(
              text,
              fc.constantFrom(
                "cniVersion",
                "name",
                "type",
                "prevResult",
                "runtimeConfig",
                "cni.dev/valid-attachments",
                "plugins",
                "capabilities",
              ),
            ),
            member,
            { maxKeys: 6 },
          )
          .map((fields) => JSON.stringify({ ...goodConfig, ...fields })),
      },
      { weight: 1, arbitrary: fc.oneof(fc.json(), text) },
    );
    const plain = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
    await fc.assert(
      fc.asyncProperty(environment, config, async (env, written) => {
        const ran = world.calls.length;
        const reply = await call(env, written);
        if (reply.status === 200) {
          if (reply.text !== "") assert.equal(typeof JSON.parse(reply.text), "object");
        } else error(reply);
        for (const { containerId, ifName, args, netns, config: given } of world.calls.slice(ran)) {
          assert.match(containerId, plain);
          assert.match(ifName, /^[A-Za-z0-9_.@+-]{1,15}$/);
          assert.match(netns, /^(\/[A-Za-z0-9_.:/@+-]*)?$/);
          assert.ok(
            !args.split(";").some((item) => item.split("=", 1)[0]?.trim() === "ipinfos"),
            args,
          );
          assert.equal(
            given["type"],
            "some-plugin",
            "the runtime's configuration chooses no plugin",
          );
        }
      }),
      { numRuns: 400 },
    );
    await works();
    assert.deepEqual(log.lines("error"), []);
  });
});
