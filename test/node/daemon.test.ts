// The daemon and galaxy-sdn as processes, in front of an API server that says what a test wants: pods, records, and what must be refused.

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import { sendJson } from "../scripted-api-server.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import type { FakePod } from "./pod-api-server.ts";
import { startPodApiServer } from "./pod-api-server.ts";
import { callSdn, callSocket, podEnvironment, startDaemon } from "./programs.ts";

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
        const end = await callSocket(daemon.socket, env, { cniVersion: "1.0.0" });
        assert.equal(end.code, 1, name);
        assert.equal(end.json["code"], code, `${name}: ${JSON.stringify(end.json)}`);
        assert.match(String(end.json["msg"]), says);
      }
      const env = podEnvironment("ADD", { name: "forged", uid: "another", netns: pod.path });
      const old = await callSdn(daemon.socket, env, { cniVersion: "1.0.0" });
      assert.equal(old.json["code"], 11, "an old sandbox of that name");
      const told = await waitUntil(
        "an event on each pod",
        async () =>
          api.seen
            .filter(({ method, path }) => method === "POST" && path.endsWith("/events"))
            .map(({ body }) => body as { reason: string; involvedObject: { name: string } }),
        (events) => new Set(events.map((event) => event.involvedObject.name)).size === pods.length,
      );
      assert.ok(told.every(({ reason }) => reason === "PodNetworkRefused"));
      assert.equal(await node.snapshot(), before);
      const left = (await readdir(daemon.stateFolder).catch(() => [])).filter(
        (name) => name !== "attachments",
      );
      assert.deepEqual(left, []);
      await daemon.stop();
    },
  );

  it(
    "starts without an API server, deletes, and gives a pod its network when the API server comes within ADD's limit",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const { server, statuses } = await startPodApiServer([
        { name: "web-1", uid: "u1", ip: "10.70.0.101" },
      ]);
      await using api = server;
      const good = api.script;
      api.script = (_request, response) => {
        response.destroy();
      };
      const access = `--master=${api.url}`;
      await using daemon = await startDaemon({ lab, node, nodeName: "n1", config, access });
      const pod = await lab.namespace("pod");
      const who = { name: "web-1", uid: "u1", netns: pod.path };
      const call = (command: string) =>
        callSdn(daemon.socket, podEnvironment(command, who), { cniVersion: "1.0.0" });
      assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      const adding = call("ADD");
      await waitUntil(
        "the daemon to ask in vain",
        async () => api.seen.length,
        (count) => count > 2,
      );
      let conflicts = 0;
      api.script = (request, response) => {
        if (request.method !== "PATCH" || conflicts > 0) return good(request, response);
        conflicts += 1;
        sendJson(response, 409, { kind: "Status", code: 409, reason: "Conflict" });
        return undefined;
      };
      const added = await adding;
      assert.equal(added.code, 0, JSON.stringify(added.json));
      await waitUntil(
        "the network status, after a conflict",
        async () => statuses.get("web-1"),
        (text) => text !== undefined,
      );
      assert.equal(conflicts, 1);
      assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      await daemon.stop();
    },
  );

  it(
    "refuses networks that are configured wrongly and annotations that were tampered with, and leaves the node alone",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const vlan = { type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" };
      const networks: readonly (readonly [string, object, number, RegExp])[] = [
        ["no-device", { ...vlan, device: "eth9" }, 101, /eth9/],
        ["no-name", { ...vlan, device: "" }, 7, /set `device`/],
        [
          "shell",
          { ...vlan, device: "eth0;reboot" },
          7,
          /characters that no interface should have/,
        ],
        ["switch", { ...vlan, switch: "brigde" }, 7, /write one of bridge, pure, macvlan, ipvlan/],
        ["mtu", { ...vlan, mtu: 70_000 }, 7, /write a whole number from 0 to 65535/],
        ["types", { ...vlan, devices: "eth0", conflict_check: "no" }, 7, /write true or false/],
        ["node-address", { ...vlan, switch: "bridge" }, 101, /allow_address_move/],
        ["route", { ...vlan, routes: [{ dst: "x" }] }, 7, /routes\[0\]/],
        ["position", { ...vlan, default_address: -1 }, 7, /default_address/],
        ["prefix", { ...vlan, vlan_name_prefix: "a/b" }, 7, /vlan_name_prefix/],
        ["version", { ...vlan, cniVersion: "77" }, 0, /^$/],
        ["program", { type: "../../bin/sh" }, 7, /no name of a program/],
      ];
      const info = (fields: object) =>
        JSON.stringify({ common: { ipinfos: [{ ip: "10.70.0.110/24", vlan: 0, ...fields }] } });
      const annotations: readonly (readonly [string, string, number, RegExp])[] = [
        ["no-json", "{", 7, /annotation/],
        ["no-list", '{"common":{"ipinfos":"10.70.0.110"}}', 7, /a list of 1 to/],
        ["empty-list", '{"common":{"ipinfos":[]}}', 7, /a list of 1 to/],
        ["no-prefix", info({ ip: "10.70.0.110/99" }), 7, /write 1 to 32/],
        ["no-ip", info({ ip: "$(id)" }), 7, /has no address/],
        ["vlan", info({ vlan: 5000 }), 7, /0 \(untagged\) to 4094/],
        ["gateway", info({ gateway: "fe80::1" }), 7, /an address of the family/],
        ["other-pod", info({ ip: "10.70.0.100/24" }), 105, /may not use address 10\.70\.0\.100/],
        ["node", info({ ip: "10.70.0.11/24" }), 105, /no FloatingIP/],
        ["loopback", info({ ip: "127.0.0.1/8" }), 105, /no FloatingIP/],
      ];
      const pods = [
        { name: "victim", uid: "u0", ip: "10.70.0.100", networks: "good" },
        ...networks.map(([name], index) => ({
          name: `network-${name}`,
          uid: `n${index}`,
          ip: `10.70.0.${120 + index}`,
          networks: name,
        })),
        ...annotations.map(([name, annotation], index) => ({
          name: `annotation-${name}`,
          uid: `a${index}`,
          ip: `10.70.0.${150 + index}`,
          networks: "good",
          annotation,
        })),
      ];
      const { server } = await startPodApiServer(pods);
      await using api = server;
      await using daemon = await startDaemon({
        lab,
        node,
        nodeName: "n1",
        config: {
          NetworkConf: [
            { name: "good", ...vlan },
            ...networks.map(([name, conf]) => ({ name, ...conf })),
          ],
        },
        access: `--master=${api.url}`,
      });
      const victim = await lab.namespace("victim");
      const add = (name: string, uid: string, netns: string) =>
        callSocket(daemon.socket, podEnvironment("ADD", { name, uid, netns }), {
          cniVersion: "1.0.0",
        });
      assert.equal((await add("victim", "u0", victim.path)).code, 0, daemon.log());
      const before = await node.snapshot();
      const pod = await lab.namespace("pod");
      const cases = [
        ...networks.map(([name, , code, says]) => [`network-${name}`, code, says] as const),
        ...annotations.map(([name, , code, says]) => [`annotation-${name}`, code, says] as const),
      ];
      for (const [name, code, says] of cases) {
        const uid = pods.find((one) => one.name === name)?.uid ?? "";
        const end = await add(name, uid, pod.path);
        if (code === 0) {
          // In the daemon's process nothing has to be converted, so that a version of tomorrow does no harm.
          assert.equal(end.code, 0, `${name}: ${JSON.stringify(end.json)}`);
          const who = { name, uid, netns: pod.path };
          await callSocket(daemon.socket, podEnvironment("DEL", who), { cniVersion: "1.0.0" });
          continue;
        }
        assert.equal(end.json["code"], code, `${name}: ${JSON.stringify(end.json)}`);
        assert.match(String(end.json["msg"]), says);
        assert.equal(end.code, 1, name);
      }
      assert.equal(await node.snapshot(), before);
      assert.deepEqual(
        (await pod.show("link show")).map(({ ifname }) => ifname),
        ["lo"],
      );
      assert.ok(await outside.pings("10.70.0.100"), "the pod whose address others wanted");
      const refused = 'galaxy_node_cni_duration_seconds_count{command="ADD",result="7"}';
      const expected = cases.filter(([, code]) => code === 7).length;
      await waitUntil(
        "refusals to be counted",
        () => daemon.metric(refused).catch(() => -1),
        (count) => count === expected,
      );
      assert.equal(daemon.log().match(/"message":"CNI call refused"/g)?.length, cases.length - 1);
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
