// The daemon and galaxy-sdn as processes, in front of an API server that says what a test wants: pods, records, and what must be refused.

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import type { FakePod } from "./pod-api-server.ts";
import { startPodApiServer } from "./pod-api-server.ts";
import { callSdn, podEnvironment, startDaemon } from "./programs.ts";

const skip = await reasonToSkipLab();
const limit = { timeout: 240_000 };
const config = {
  NetworkConf: [
    { name: "underlay", type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" },
    { type: "galaxy-underlay-veth", device: "eth0" },
    { name: "broken", type: "no-such-plugin" },
  ],
  DefaultNetworks: ["galaxy-underlay-veth"],
  ENIIPNetwork: "underlay",
};

describe("the daemon", { skip, timeout: 1_200_000 }, () => {
  it(
    "gives a pod its float IP, says so on the pod, repairs it, and takes it away without the API server",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const { server, statuses } = await startPodApiServer([
        { name: "web-1", uid: "u1", ip: "10.70.0.101" },
      ]);
      await using api = server;
      await using daemon = await startDaemon({
        lab,
        node,
        nodeName: "n1",
        config,
        access: `--master=${api.url}`,
        flags: ["--repair-interval=0.3"],
      });
      const before = await node.snapshot();
      const pod = await lab.namespace("pod");
      const who = { name: "web-1", uid: "u1", netns: pod.path };
      const call = (command: string) =>
        callSdn(daemon.socket, podEnvironment(command, who), { cniVersion: "1.0.0" });
      const added = await call("ADD");
      assert.equal(added.code, 0, JSON.stringify(added.json));
      assert.deepEqual(
        (added.json["ips"] as { address: string }[]).map(({ address }) => address),
        ["10.70.0.101/24"],
      );
      assert.deepEqual((await call("ADD")).json, added.json);
      assert.ok(await outside.pings("10.70.0.101"));
      await waitUntil(
        "the network status",
        async () => statuses.get("web-1"),
        (text) => text !== undefined,
      );
      assert.deepEqual(JSON.parse(statuses.get("web-1") ?? ""), [
        {
          name: "underlay",
          interface: "eth0",
          ips: ["10.70.0.101"],
          mac: "02:42:0a:46:00:65",
          default: true,
          dns: {},
        },
      ]);
      assert.equal((await call("CHECK")).code, 0);
      await node.ip("route del 10.70.0.101/32");
      await waitUntil(
        "the repair",
        () => outside.pings("10.70.0.101", { waitS: 1 }),
        (isUp) => isUp,
      );
      await api.stop();
      for (let time = 0; time < 2; time += 1) {
        assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      }
      assert.equal(await node.snapshot(), before);
      await daemon.stop();
      const end = await call("ADD");
      assert.equal(end.code, 1);
      assert.equal(end.json["code"], 11);
      assert.match(String(end.json["msg"]), /the daemon galaxy does not answer/);
    },
  );

  it(
    "refuses forged addresses, pods of other nodes, unknown and impossible networks, and leaves the node alone",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const pods: readonly (FakePod & { readonly code: number; readonly says: RegExp })[] = [
        {
          name: "forged",
          uid: "u1",
          ip: "10.70.0.101",
          recordUid: "u9",
          code: 105,
          says: /may not use address 10\.70\.0\.101.*uid u9/,
        },
        {
          name: "invented",
          uid: "u2",
          ip: "10.70.0.102",
          recordUid: "none",
          code: 105,
          says: /no FloatingIP/,
        },
        {
          name: "elsewhere",
          uid: "u3",
          ip: "10.70.0.103",
          nodeName: "n2",
          code: 105,
          says: /bound to node "n2"/,
        },
        {
          name: "unknown",
          uid: "u4",
          ip: "10.70.0.104",
          networks: "nothing",
          code: 7,
          says: /network nothing is not configured/,
        },
        {
          name: "self",
          uid: "u5",
          ip: "10.70.0.105",
          networks: "galaxy-sdn",
          code: 7,
          says: /galaxy-sdn is the daemon itself/,
        },
        {
          name: "comma",
          uid: "u6",
          ip: "10.70.0.106",
          networks: "underlay,",
          code: 7,
          says: /empty or impossible network name ""/,
        },
        {
          name: "args",
          uid: "u7",
          ip: "10.70.0.107",
          networks: "a;K8S_POD_NAME=x",
          code: 7,
          says: /impossible network name/,
        },
        {
          name: "second",
          uid: "u8",
          ip: "10.70.0.108",
          networks: "underlay,broken",
          code: 106,
          says: /network broken: plugin no-such-plugin/,
        },
      ];
      const { server } = await startPodApiServer(pods);
      await using api = server;
      const access = `--master=${api.url}`;
      await using daemon = await startDaemon({ lab, node, nodeName: "n1", config, access });
      const before = await node.snapshot();
      const pod = await lab.namespace("pod");
      for (const { name, uid, code, says } of pods) {
        const env = podEnvironment("ADD", { name, uid, netns: pod.path });
        const end = await callSdn(daemon.socket, env, { cniVersion: "1.0.0" });
        assert.equal(end.code, 1, name);
        assert.equal(end.json["code"], code, `${name}: ${JSON.stringify(end.json)}`);
        assert.match(String(end.json["msg"]), says);
      }
      const env = podEnvironment("ADD", { name: "forged", uid: "another", netns: pod.path });
      const old = await callSdn(daemon.socket, env, { cniVersion: "1.0.0" });
      assert.equal(old.json["code"], 11, "an old sandbox of that name");
      assert.equal(await node.snapshot(), before);
      const left = (await readdir(daemon.stateFolder).catch(() => [])).filter(
        (name) => name !== "attachments",
      );
      assert.deepEqual(left, []);
      await daemon.stop();
    },
  );

  it(
    "is killed and started again, and still takes away what it gave; also with a state file that was cut",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const { server } = await startPodApiServer([
        { name: "web-1", uid: "u1", ip: "10.70.0.101" },
        { name: "web-2", uid: "u2", ip: "10.70.0.102", networks: "underlay,galaxy-underlay-veth" },
      ]);
      await using api = server;
      const start = () =>
        startDaemon({ lab, node, nodeName: "n1", config, access: `--master=${api.url}` });
      await using killed = await start();
      let { socket } = killed;
      const before = await node.snapshot();
      const pod = await lab.namespace("pod");
      const one = { name: "web-1", uid: "u1", netns: pod.path };
      const call = (command: string, who: typeof one) =>
        callSdn(socket, podEnvironment(command, who), { cniVersion: "0.4.0" });
      assert.equal((await call("ADD", one)).code, 0);
      await killed.stop("SIGKILL");
      await using daemon = await start();
      socket = daemon.socket;
      await writeFile(join(daemon.stateFolder, "sandbox-u1"), '[{"NetworkType":"under');
      assert.deepEqual(await call("DEL", one), { code: 0, json: {} });
      assert.equal(await node.snapshot(), before);
      const two = { name: "web-2", uid: "u2", netns: pod.path };
      const failed = await call("ADD", two);
      assert.equal(failed.json["code"], 100, "the second network has no address of its own");
      assert.equal(await node.snapshot(), before, "and the first one is undone");
      await daemon.stop();
    },
  );
});
