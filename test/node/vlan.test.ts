// Pods in VLANs and as ipvlan, on a kernel that has them: real tags on a switch that knows VLANs, real packets between two nodes. The modes
// without either are in modes.test.ts.

import assert from "node:assert/strict";
import { describeOnKernel } from "./kernel-tests.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";

/** Each of the addresses answers to each of those who ask. */
async function assertReach(
  who: readonly (readonly [what: string, from: LabNamespace, ips: readonly string[]])[],
): Promise<void> {
  for (const [what, from, ips] of who) assert.deepEqual(await from.unreachable(ips), [], what);
}

const untagged = { ip: "10.70.0.101/24", gateway: "10.70.0.1" };
const inFive = [
  { ip: "10.75.0.101/24", vlan: 5, gateway: "10.75.0.1" },
  { ip: "fd00:75::101/64", vlan: 5, gateway: "fd00:75::1" },
];
const inSix = { ip: "10.76.0.101/24", vlan: 6, gateway: "10.76.0.1" };

const modes = [
  { name: "bridge", fields: { switch: "bridge" }, mtu: 9000 },
  { name: "pure", fields: { switch: "pure" }, mtu: 1500 },
  { name: "macvlan", fields: { switch: "macvlan" }, mtu: 1400 },
  { name: "ipvlan", fields: { switch: "ipvlan" }, mtu: 9000 },
];

await describeOnKernel(
  {
    title: "pods in VLANs",
    file: import.meta.url,
    needs: ["vlan", "bridge VLAN filtering", "macvlan", "ipvlan"],
  },
  (test) => {
    for (const { name, fields, mtu } of modes) {
      test(`${name}: one pod in three VLANs of one network card, a neighbour on another node, MTU ${mtu}; nothing is left of it, but the device that was there before`, async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(2, { mtu });
        await lab.tagOutside(outside, [5, 6]);
        const [first, second] = nodes as [LabNamespace, LabNamespace];
        for (const node of nodes) await node.ip("route add default via fd00:70::1 dev eth0");
        // The administrator's own device for VLAN 5, under a name that nobody would guess.
        await second.ipAll("link add link eth0 name tagged type vlan id 5", "link set tagged up");
        // A bridge for untagged pods, so that no address has to move.
        const hasBridge = name === "bridge";
        if (hasBridge) await first.ip("addr flush dev eth0 scope global");
        const before = [await first.snapshot(), await second.snapshot()];
        const [node1, node2] = [new NodeUnderTest(lab, first), new NodeUnderTest(lab, second)];
        const config = aNetwork(fields);
        const one = {
          config,
          pod: await lab.namespace("pod1"),
          containerId: "one",
          infos: [untagged, ...inFive, inSix],
        };
        const away = {
          config,
          pod: await lab.namespace("pod2"),
          containerId: "away",
          infos: [
            { ip: "10.75.0.102/24", vlan: 5, gateway: "10.75.0.1" },
            { ip: "fd00:75::102/64", vlan: 5, gateway: "fd00:75::1" },
          ],
        };
        const result = await node1.add(one);
        await node2.add(away);
        const inPod = result.interfaces.filter(({ sandbox }) => sandbox !== undefined);
        assert.deepEqual(
          inPod.map((link) => [link.name, link.mtu]),
          ["eth0", "eth1", "eth2"].map((link) => [link, mtu]),
        );
        const all = ["10.70.0.101", "10.75.0.101", "fd00:75::101", "10.76.0.101"];
        const nodesOwn = hasBridge ? [] : ["10.70.0.11"];
        await assertReach([
          ["outside to pod", outside, all],
          ["pod to outside", one.pod, ["10.70.0.1", "10.75.0.1", "fd00:75::1", "10.76.0.1"]],
          ["pod to a pod of another node", one.pod, ["10.75.0.102", "fd00:75::102"]],
          ["node to its pod", first, hasBridge ? [] : all],
          ["pod to its node", one.pod, nodesOwn],
          ["another node to the pod", second, all],
        ]);
        const largest = { sizeBytes: mtu - 28 };
        assert.deepEqual(await one.pod.unreachable(["10.75.0.102"], largest), []);
        await away.pod.serveEcho(7000);
        assert.equal(await one.pod.askEcho("10.75.0.102", 7000, "over TCP"), "over TCP");
        assert.deepEqual(await node1.call("CHECK", one), { kind: "done", result: undefined });
        assert.deepEqual(await node1.add(one), result, "a repeated ADD answers the same");
        await node1.del(one);
        await node2.del(away);
        assert.deepEqual([await first.snapshot(), await second.snapshot()], before);
      });
    }
  },
);
