// Pods in VLANs and as ipvlan, on a kernel that has them: real tags on a switch that knows VLANs, real packets between two nodes. The modes
// without either are in modes.test.ts.

import assert from "node:assert/strict";
import { repairAll } from "../../src/node/cni-check.ts";
import { Capture } from "./capture.ts";
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

await describeOnKernel(
  {
    title: "pods in VLANs, further",
    file: import.meta.url,
    needs: ["vlan", "bridge VLAN filtering"],
  },
  (test) => {
    test("underlay-veth: routed over VLAN devices that exist, one of two with the same number; without one it says what to do", async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      await lab.tagOutside(outside, [5, 6]);
      const [first] = nodes as [LabNamespace];
      await first.ipAll(
        "link add eth9 type bridge",
        // The other card has the number first.
        "link add link eth9 name other5 type vlan id 5",
        "link add link eth0 name mine5 type vlan id 5",
        "link add link eth0 name eth0.6 type vlan id 6",
        "link set mine5 up",
        "link set eth0.6 up",
        "address add 10.75.0.11/24 dev mine5",
        // The node routes for the pod, so that it needs a way back itself.
        "address add fd00:75::11/64 dev mine5 nodad",
      );
      const before = await first.snapshot();
      const node = new NodeUnderTest(lab, first);
      const config = aNetwork({ type: "galaxy-underlay-veth" });
      const pod = await lab.namespace("pod");
      const call = { config, pod, infos: [...inFive, inSix] };
      const result = await node.add(call);
      assert.deepEqual(
        result.ips.map(({ address }) => address),
        ["10.75.0.101/24", "fd00:75::101/128", "10.76.0.101/24"],
      );
      await assertReach([
        ["outside to pod", outside, ["10.75.0.101", "fd00:75::101", "10.76.0.101"]],
        ["node to pod", first, ["10.75.0.101", "fd00:75::101", "10.76.0.101"]],
        ["pod to outside", pod, ["10.75.0.1", "fd00:75::1", "10.76.0.1"]],
        ["pod to its node", pod, ["10.75.0.11"]],
      ]);
      assert.deepEqual(await node.call("CHECK", call), { kind: "done", result: undefined });
      await node.del(call);
      assert.equal(await first.snapshot(), before);
      const none = await node.call("ADD", { ...call, infos: [{ ip: "10.77.0.9/24", vlan: 7 }] });
      assert.equal(none.kind, "refused");
      assert.match(none.message, /no vlan device with vlanID 7 on eth0; make one on the node/);
      assert.equal(await first.snapshot(), before);
    });

    test("announcements of pods in a VLAN are tagged, from the device of the address", async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      await lab.tagOutside(outside, [5, 6]);
      const [first] = nodes as [LabNamespace];
      const [card] = await first.show("link show dev eth0");
      await first.ipAll("link add link eth0 name eth0.6 type vlan id 6", "link set eth0.6 up");
      await using capture = await Capture.on(outside, "node1");
      const node = new NodeUnderTest(lab, first);
      const macvlan = {
        config: aNetwork({ switch: "macvlan", conflict_check: false }),
        pod: await lab.namespace("pod1"),
        containerId: "macvlan",
        infos: inFive,
      };
      const routed = {
        config: aNetwork({ type: "galaxy-underlay-veth", conflict_check: false }),
        pod: await lab.namespace("pod2"),
        containerId: "routed",
        infos: [inSix],
      };
      for (const call of [macvlan, routed]) {
        const { containerId } = call;
        await node.add(call);
        await node.plugins.announce({ containerId, network: "net1", ifName: "eth0" });
      }
      const expected = [
        ["10.75.0.101", 5, "02:42:0a:4b:00:65"],
        ["fd00:75::101", 5, "02:42:0a:4b:00:65"],
        ["10.76.0.101", 6, card?.["address"]],
      ] as const;
      const claims = await capture.until((seen) =>
        expected.every(([ip]) => seen.some((claim) => claim.ip === ip)),
      );
      for (const [ip, vlan, mac] of expected) {
        for (const claim of claims.filter((each) => each.ip === ip)) {
          assert.deepEqual([claim.vlan, claim.from], [vlan, mac], `${ip}: ${capture.text()}`);
        }
      }
    });

    test("bridge: the node's own VLAN-filtering bridge is the uplink; two pods share what was made for a VLAN, a network restart takes it, and it is repaired", async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      await lab.tagOutside(outside, [5]);
      const [first] = nodes as [LabNamespace];
      await first.ipAll(
        "link add br-sys type bridge mcast_snooping 0 vlan_filtering 1",
        "link set eth0 master br-sys",
        "link set br-sys up",
        "address flush dev eth0 scope global",
        "address add 10.70.0.11/24 dev br-sys",
      );
      await first.run("bridge", "vlan", "add", "dev", "eth0", "vid", "5");
      await first.run("bridge", "vlan", "add", "dev", "br-sys", "vid", "5", "self");
      const before = await first.snapshot();
      const node = new NodeUnderTest(lab, first);
      const config = aNetwork({ switch: "bridge", device: "br-sys", conflict_check: false });
      const call = async (number: number) => ({
        config,
        pod: await lab.namespace(`pod${number}`),
        containerId: `c${number}`,
        infos: [
          { ip: `10.70.0.10${number}/24`, gateway: "10.70.0.1" },
          { ip: `10.75.0.10${number}/24`, vlan: 5, gateway: "10.75.0.1" },
        ],
      });
      const [one, two] = [await call(1), await call(2)];
      await node.add(one);
      await node.add(two);
      const all = ["10.70.0.101", "10.75.0.101", "10.70.0.102", "10.75.0.102"];
      await assertReach([
        ["outside to pods", outside, all],
        ["pod to pod", one.pod, ["10.70.0.102", "10.75.0.102"]],
      ]);
      await node.del(one);
      await first.ip("link del vlan5");
      const broken = await node.call("CHECK", two);
      assert.equal(broken.kind, "refused");
      assert.match(broken.message, /VLAN device vlan5 for VLAN 5 on br-sys/);
      await repairAll(node.ports);
      assert.deepEqual(await node.call("CHECK", two), { kind: "done", result: undefined });
      await assertReach([["outside to the other pod", outside, ["10.70.0.102", "10.75.0.102"]]]);
      await node.del(two);
      assert.equal(await first.snapshot(), before);
      assert.deepEqual(node.log.lines("error"), []);
    });
  },
);

await describeOnKernel({ title: "ipvlan", file: import.meta.url, needs: ["ipvlan"] }, (test) => {
  // What is configured as l3 is the kernel's l3s.
  for (const mode of ["l2", "l3"]) {
    test(`${mode}: pods, nodes and the outside reach each other over IPv4 and IPv6, a taken address is refused, and nothing is left`, async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(2, { mtu: 1400 });
      const [first, second] = nodes as [LabNamespace, LabNamespace];
      // What a node with LVS has.
      for (const node of nodes) await node.sysctl("ipv4/conf/default/arp_ignore", "1");
      const before = await first.snapshot();
      const [node1, node2] = [new NodeUnderTest(lab, first), new NodeUnderTest(lab, second)];
      const config = aNetwork({ switch: "ipvlan", ipvlan_mode: mode });
      const call = async (number: number) => ({
        config,
        pod: await lab.namespace(`pod${number}`),
        containerId: `c${number}`,
        infos: [
          { ip: `10.70.0.10${number}/24`, gateway: "10.70.0.1" },
          { ip: `fd00:70::10${number}/64`, gateway: "fd00:70::1" },
        ],
      });
      const [one, beside, away] = [await call(1), await call(2), await call(3)];
      const result = await node1.add(one);
      await node1.add(beside);
      await node2.add(away);
      const of = (number: number) => [`10.70.0.10${number}`, `fd00:70::10${number}`];
      await assertReach([
        ["outside to the pods", outside, [...of(1), ...of(2), ...of(3)]],
        ["pod to outside", one.pod, ["10.70.0.1", "fd00:70::1"]],
        ["pod to a pod of its node", one.pod, of(2)],
        ["pod to a pod of another node", one.pod, of(3)],
        ["node to its pod", first, of(1)],
        ["pod to its node", one.pod, ["10.70.0.11", "fd00:70::11"]],
        ["another node to the pod", second, of(1)],
        ["node to another node", first, ["10.70.0.12", "fd00:70::12"]],
      ]);
      await away.pod.serveEcho(7000);
      assert.equal(await one.pod.askEcho("10.70.0.103", 7000, "over TCP"), "over TCP");
      assert.deepEqual(await node1.add(one), result, "a repeated ADD answers the same");
      assert.deepEqual(await node1.call("CHECK", one), { kind: "done", result: undefined });
      await node1.del(one);
      const pod = await lab.namespace("late");
      const taken = await node1.call("ADD", { ...one, pod, infos: [{ ip: "10.70.0.103/24" }] });
      assert.equal(taken.kind, "refused");
      assert.equal(taken.code, 102, taken.message);
      await node1.del(beside);
      assert.equal(await first.snapshot(), before);
      assert.deepEqual(node1.log.lines("error"), []);
    });
  }
});
