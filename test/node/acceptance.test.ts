// Stories of the acceptance list (docs/design/node-acceptance.md) that no other file tells: the node's own routes in bridge mode, addresses of a real
// IPAM plugin, and the result in every version through galaxy-sdn and the daemon.

import assert from "node:assert/strict";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { locateProgram } from "../control-plane/binaries.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";
import { startPodApiServer } from "./pod-api-server.ts";
import { callSdn, podEnvironment, startDaemon } from "./programs.ts";

const skip = await reasonToSkipLab();
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };

describe("what was accepted", { skip, timeout: 1_200_000 }, () => {
  it(
    "bridge mode takes the node's addresses along with metrics and other tables, and a second ADD changes nothing",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      await first.ipAll(
        "address add 10.70.0.12/24 dev eth0",
        "route add 10.80.0.0/16 via 10.70.0.9 dev eth0 metric 7",
        "route add 10.81.0.0/16 via 10.70.0.9 dev eth0 metric 9 src 10.70.0.12",
        "route add default via 10.70.0.1 dev eth0 table 100",
        "route add fd00:81::/64 via fd00:70::1 dev eth0 metric 33",
      );
      const own = async () => {
        const routes = await first.ip("route show table all proto boot");
        const addresses = await first.ip("-o address show scope global");
        return {
          routes: routes
            .trim()
            .replaceAll(/ dev \w+/g, " dev *")
            .split("\n")
            .toSorted(),
          addresses: [...addresses.matchAll(/inet6? \S+/g)].map(String).toSorted(),
        };
      };
      const before = await own();
      assert.equal(before.routes.length, 5, before.routes.join("\n"));
      const node = new NodeUnderTest(lab, first);
      const config = aNetwork({ switch: "bridge", allow_address_move: true });
      const call = async (number: number) => ({
        config,
        pod: await lab.namespace(`pod${number}`),
        containerId: `c${number}`,
        infos: [{ ip: `10.70.0.10${number}/24`, gateway: "10.70.0.1" }],
      });
      await node.add(await call(1));
      assert.deepEqual(await own(), before);
      const moved = await first.ip("-o address show dev eth0 scope global");
      assert.equal(moved.trim(), "", "nothing is left on the card");
      const whole = await first.snapshot();
      const second = await call(2);
      await node.add(second);
      await node.del(second);
      assert.equal(await first.snapshot(), whole);
      assert.deepEqual(await own(), before);
      assert.deepEqual(await outside.unreachable(["10.70.0.11", "10.70.0.12", "10.70.0.101"]), []);
    },
  );

  it(
    "two networks of one type with addresses of host-local go in any order and give every address back",
    limit,
    async (context) => {
      const hostLocal = await locateProgram(
        "host-local",
        "containernetworking-plugins",
        "usr/lib/cni/host-local",
      );
      if (hostLocal.kind === "missing") return context.skip(hostLocal.because);
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const before = await first.snapshot();
      const plugins = join(lab.folder, "plugins");
      const leases = join(lab.folder, "leases");
      await mkdir(plugins);
      await symlink(hostLocal.file, join(plugins, "host-local"));
      const network = (name: string, range: string) =>
        aNetwork({
          name,
          switch: "pure",
          ipam: {
            type: "host-local",
            dataDir: leases,
            ranges: [
              [
                {
                  subnet: "10.70.0.0/24",
                  rangeStart: `10.70.0.${range}1`,
                  rangeEnd: `10.70.0.${range}9`,
                  gateway: "10.70.0.1",
                },
              ],
            ],
          },
        });
      const node = new NodeUnderTest(lab, first);
      for (const order of ["forwards", "backwards"]) {
        const pod = await lab.namespace(`pod-${order}`);
        const calls = [
          { config: network("one", "10"), pod, containerId: order, path: plugins },
          { config: network("two", "11"), pod, containerId: order, ifName: "net1", path: plugins },
        ];
        const given: string[] = [];
        for (const call of calls) {
          const { ips } = await node.add(call);
          given.push(...ips.map(({ address }) => address.split("/")[0] ?? ""));
        }
        assert.equal(given.length, 2);
        assert.deepEqual(await outside.unreachable(given), []);
        if (order === "backwards") calls.reverse();
        for (const call of calls) await node.del(call);
        for (const call of calls) await node.del(call);
        for (const name of ["one", "two"]) {
          const left = (await readdir(join(leases, name))).filter((file) => file.startsWith("10."));
          assert.deepEqual(left, [], `addresses of ${name} that were not given back`);
        }
        assert.equal(await first.snapshot(), before, order);
      }
    },
  );

  it(
    "the result has addresses and interfaces in each version, through galaxy-sdn and the daemon",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const { server } = await startPodApiServer([{ name: "web-1", uid: "u1", ip: "10.70.0.101" }]);
      await using api = server;
      await using daemon = await startDaemon({
        lab,
        node,
        nodeName: "n1",
        config: {
          // A network that says nothing of a version is asked in the runtime's.
          NetworkConf: [
            {
              name: "underlay",
              type: "galaxy-k8s-vlan",
              device: "eth0",
              switch: "pure",
              conflict_check: false,
            },
          ],
          DefaultNetworks: [],
          ENIIPNetwork: "underlay",
        },
        access: `--master=${api.url}`,
      });
      for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
        const pod = await lab.namespace(`pod-${cniVersion}`);
        const who = { name: "web-1", uid: "u1", netns: pod.path };
        const call = (command: string) =>
          callSdn(daemon.socket, podEnvironment(command, who), { cniVersion });
        const { code, json } = await call("ADD");
        assert.equal(code, 0, JSON.stringify(json));
        assert.equal(json["cniVersion"], cniVersion);
        const interfaces = json["interfaces"] as { name: string; sandbox?: string }[];
        const ips = json["ips"] as { address: string; interface: number; version?: string }[];
        assert.deepEqual(
          ips.map(({ address, version }) => [address, version]),
          [["10.70.0.101/24", cniVersion < "1" ? "4" : undefined]],
        );
        const link = interfaces[ips[0]?.interface ?? -1];
        assert.deepEqual([link?.name, link?.sandbox], ["eth0", pod.path]);
        assert.deepEqual(json["routes"], [{ dst: "0.0.0.0/0", gw: "10.70.0.1" }]);
        assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      }
      await daemon.stop();
    },
  );
});
