// Agents that ask each other over UDP: words come back, and only those of who has the key.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { describe, it } from "node:test";
import { ip } from "../../../test/builders.ts";
import type { Ip } from "../../core/ip.ts";
import { UdpVipPeers } from "./vip-peers.ts";

const key = Buffer.alloc(32, 7);
const held = [{ ip: ip("192.0.2.50"), epoch: 3 }];

/** A free port that IPv4 and IPv6 share. */
async function freePort(): Promise<number> {
  const socket = createSocket("udp6");
  await new Promise<void>((resolve) => socket.bind(0, () => resolve()));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

/** A node on loopback that asks itself and, by another name, nobody. */
async function aNode() {
  const port = await freePort();
  const ipsOf = (name: string): readonly Ip[] =>
    name === "nobody" ? [] : [name === "six" ? ip("::1") : ip("127.0.0.1")];
  return { node: await UdpVipPeers.open({ nodeName: "n1", ipsOf, key, port }), port };
}

describe("agents that ask each other", () => {
  it("hear who answers, and wait no longer than they want for who does not", async () => {
    const { node } = await aNode();
    assert.deepEqual(await node.ask(["n1"], held, 50), [], "who says nothing is not heard");
    node.answerWith((asked) => ({
      reachesApi: false,
      later: asked.filter(({ epoch }) => epoch < 4).map((each) => each.ip),
    }));
    const word = { from: "n1", reachesApi: false, later: [held[0]?.ip] };
    assert.deepEqual(await node.ask(["n1"], held, 20_000), [word]);
    assert.deepEqual(await node.ask(["n1", "nobody"], held, 1_000), [word]);
    await node.close();
  });

  it("count a word for many addresses only when it is about all of them", async () => {
    const { node } = await aNode();
    const many = Array.from({ length: 1_200 }, (_, n) => ({
      ip: ip(`10.9.${n >> 8}.${n & 255}`),
      epoch: 1,
    }));
    let questions = 0;
    node.answerWith(() => {
      questions += 1;
      return { reachesApi: questions === 3, later: [] };
    });
    const words = await node.ask(["n1"], many, 20_000);
    assert.deepEqual(words, [{ from: "n1", reachesApi: true, later: [] }]);
    assert.equal(questions, 3);
    await node.close();
  });

  it("take no notice of messages that were made without the key", async () => {
    const { node, port } = await aNode();
    let asked = 0;
    node.answerWith(() => {
      asked += 1;
      return { reachesApi: false, later: [] };
    });
    const stranger = createSocket("udp4");
    const question = Buffer.from(
      JSON.stringify({ kind: "question", nonce: "1", from: "n2", held }),
    );
    const forged = [question, Buffer.concat([randomBytes(32), question]), Buffer.alloc(3)];
    for (const data of forged) {
      await new Promise<void>((resolve) => stranger.send(data, port, "127.0.0.1", () => resolve()));
    }
    assert.equal((await node.ask(["n1"], held, 20_000)).length, 1);
    assert.equal(asked, 1, "its own question alone");
    await new Promise<void>((resolve) => stranger.close(() => resolve()));
    await node.close();
  });
});
