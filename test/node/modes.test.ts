// Pods on the wire in every mode that this kernel has: real namespaces, real packets. VLANs and ipvlan need kernel modules that not every
// kernel has; what is skipped says so.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { KernelAnnouncer } from "../../src/adapters/linux/announcer.ts";
import type { LabNamespace } from "./network-lab.ts";
import { kernelHas, NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";

const skip = await reasonToSkipLab();
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };
const hasMacvlan = skip === false && (await kernelHas("macvlan"));

type Mode = {
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Prepares a node before the first pod. */
  readonly prepare?: (node: LabNamespace) => Promise<void>;
  /** The node stays changed after the last pod, as documented. */
  readonly leaves?: true;
  readonly skip?: string | false;
};

/** Puts eth0 into a bridge with the node's addresses, as the network configuration of an operating system does. */
async function bridgeOfTheSystem(node: LabNamespace): Promise<void> {
  await node.ip("link add br-sys type bridge mcast_snooping 0");
  const addresses = await node.show("address show dev eth0 scope global");
  const infos = addresses
    .flatMap((link) => (link["addr_info"] ?? []) as { local?: string; prefixlen: number }[])
    .flatMap(({ local, prefixlen }) => (local === undefined ? [] : [{ local, prefixlen }]));
  await node.ip("link set dev eth0 master br-sys");
  await node.ip("address flush dev eth0 scope global");
  await node.ip("link set dev br-sys up");
  for (const { local, prefixlen } of infos) {
    const dad = local.includes(":") ? " nodad" : "";
    await node.ip(`address add ${local}/${prefixlen} dev br-sys${dad}`);
  }
  await node.ip("route add default via 10.70.0.1 dev br-sys");
}

const modes: readonly Mode[] = [
  { name: "pure", fields: { switch: "pure" } },
  { name: "underlay-veth", fields: { type: "galaxy-underlay-veth" } },
  {
    name: "macvlan",
    fields: { switch: "macvlan" },
    skip: hasMacvlan ? false : "this kernel has no macvlan",
  },
  {
    name: "bridge of the system",
    fields: { switch: "bridge" },
    prepare: bridgeOfTheSystem,
  },
  {
    name: "bridge that the node's address moves to",
    fields: { switch: "bridge", allow_address_move: true },
    leaves: true,
  },
];

for (const mode of modes) {
  describe(`mode ${mode.name}`, { skip: skip || (mode.skip ?? false), timeout: 1_200_000 }, () => {
    it(
      "lets pods, nodes and the outside reach each other over IPv4 and IPv6, and leaves the node as it was",
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(2);
        const [first, second] = nodes as [LabNamespace, LabNamespace];
        for (const node of nodes) await mode.prepare?.(node);
        const before = await first.snapshot();
        const [node1, node2] = [new NodeUnderTest(lab, first), new NodeUnderTest(lab, second)];
        const config = aNetwork(mode.fields);
        const call = async (number: number) => ({
          config,
          pod: await lab.namespace(`pod${number}`),
          containerId: `container${number}`,
          infos: [
            { ip: `10.70.0.10${number}/24`, gateway: "10.70.0.1" },
            { ip: `fd00:70::10${number}/64`, gateway: "fd00:70::1" },
          ],
        });
        const [one, beside, away] = [await call(1), await call(2), await call(3)];
        const result = await node1.add(one);
        await node1.add(beside);
        await node2.add(away);
        assert.deepEqual(
          result.ips.map(({ address }) => address.split("/")[0]),
          ["10.70.0.101", "fd00:70::101"],
        );
        const inPod = result.interfaces.filter(({ sandbox }) => sandbox !== undefined);
        assert.deepEqual(
          inPod.map(({ name, mac, mtu }) => [name, mac, mtu]),
          [["eth0", "02:42:0a:46:00:65", 1500]],
        );
        const who: readonly (readonly [string, LabNamespace, readonly string[]])[] = [
          ["outside to pod", outside, ["10.70.0.101", "fd00:70::101"]],
          ["pod to outside", one.pod, ["10.70.0.1", "fd00:70::1"]],
          ["pod to a pod of its node", one.pod, ["10.70.0.102", "fd00:70::102"]],
          ["pod to a pod of another node", one.pod, ["10.70.0.103", "fd00:70::103"]],
          ["node to its pod", first, ["10.70.0.101", "fd00:70::101"]],
          ["pod to its node", one.pod, ["10.70.0.11", "fd00:70::11"]],
          ["another node to the pod", second, ["10.70.0.101", "fd00:70::101"]],
          ["node to another node", first, ["10.70.0.12", "fd00:70::12"]],
        ];
        for (const [what, from, ips] of who) {
          for (const ip of ips) assert.ok(await from.pings(ip), `${what}: ${ip}`);
        }
        const whole = await first.snapshot();
        assert.deepEqual(await node1.add(one), result, "a repeated ADD answers the same");
        assert.equal(await first.snapshot(), whole, "a repeated ADD changes nothing");
        assert.deepEqual(await node1.call("CHECK", one), { kind: "done", result: undefined });
        await node1.del(one);
        await node1.del(one);
        assert.ok(await outside.pings("10.70.0.102"), "the other pod stays reachable");
        await node1.del(beside);
        if (mode.leaves !== true) assert.equal(await first.snapshot(), before);
        assert.ok(await outside.pings("10.70.0.11"), "the node stays reachable");
        assert.deepEqual(await node1.ports.store.all(), []);
        assert.deepEqual(node1.log.lines("error"), []);
      },
    );

    it(
      "gives a pod two addresses that both work, each on its own device, the first with the default route",
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [first] = nodes as [LabNamespace];
        await mode.prepare?.(first);
        // A second subnet on the same wire, and something behind the gateway.
        await outside.ip("address add 10.71.0.1/24 dev br0");
        await outside.ip("address add 10.99.0.1/32 dev lo");
        const node = new NodeUnderTest(lab, first);
        const pod = await lab.namespace("pod");
        const infos = [
          { ip: "10.70.0.101/24", gateway: "10.70.0.1" },
          { ip: "10.71.0.101/24", gateway: "10.71.0.1" },
        ];
        const call = { config: aNetwork(mode.fields), pod, infos };
        const result = await node.add(call);
        const names = result.interfaces.filter(({ sandbox }) => sandbox !== undefined);
        assert.deepEqual(
          names.map(({ name }) => name),
          ["eth0", "eth1"],
        );
        assert.deepEqual(result.routes, [{ dst: "0.0.0.0/0", gw: "10.70.0.1" }]);
        for (const { ip } of infos) {
          const from = ip.split("/")[0] ?? "";
          assert.ok(await outside.pings(from), `outside to ${from}`);
          assert.ok(await pod.pings("10.99.0.1", { from }), `beyond the gateway from ${from}`);
        }
        const [route] = await pod.show("route get 10.99.0.1");
        assert.equal(route?.["prefsrc"], "10.70.0.101");
        const [own] = await pod.show("route get 10.99.0.1 from 10.71.0.101");
        assert.equal(own?.["dev"], "eth1");
        await node.del(call);
        assert.deepEqual(
          (await pod.show("link show")).filter(({ ifname }) => ifname !== "lo"),
          [],
        );
      },
    );

    it("tells neighbours that knew another MAC where the address lives now", limit, async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(2);
      const [first, second] = nodes as [LabNamespace, LabNamespace];
      for (const node of nodes) await mode.prepare?.(node);
      const config = aNetwork(mode.fields);
      const infos = [
        { ip: "10.70.0.101/24", gateway: "10.70.0.1" },
        { ip: "10.70.0.102/24", gateway: "10.70.0.1" },
      ];
      const old = { config, pod: await lab.namespace("old"), containerId: "old", infos };
      const node1 = new NodeUnderTest(lab, first);
      await node1.add(old);
      for (const ip of ["10.70.0.101", "10.70.0.102"]) assert.ok(await outside.pings(ip));
      await node1.del(old);
      for (const ip of ["10.70.0.101", "10.70.0.102"]) {
        // As a neighbour that has not heard of the pod's end: it is sure of the wrong MAC.
        await outside.ip(`neigh replace ${ip} lladdr 02:00:00:00:00:99 dev br0 nud reachable`);
      }
      const node2 = new NodeUnderTest(lab, second);
      const moved = { ...old, pod: await lab.namespace("new"), containerId: "new" };
      const result = await node2.add(moved);
      const [nodeLink] = await second.show("link show dev eth0");
      const isRouted = mode.name === "pure" || mode.name === "underlay-veth";
      const podMacs = result.interfaces
        .filter(({ sandbox }) => sandbox !== undefined)
        .map(({ mac }) => mac);
      const expected = isRouted ? [nodeLink?.["address"], nodeLink?.["address"]] : podMacs;
      const [record] = await node2.ports.store.all();
      let known: readonly (string | undefined)[] = [];
      // As often as the product does: nobody confirms an announcement. Waiting would prove nothing, because neighbours ask again
      // by themselves after a while.
      for (let time = 0; time < 3 && !isDeepStrictEqual(known, expected); time += 1) {
        await node2.ports.announcer.announce(record?.announcements ?? [], moved.pod.path);
        known = [await outside.neighbour("10.70.0.101"), await outside.neighbour("10.70.0.102")];
      }
      assert.deepEqual(known, expected);
      await node2.del(moved);
    });

    it(
      "refuses an address that somebody else on the wire has, names the MAC, and leaves nothing",
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [first] = nodes as [LabNamespace];
        await mode.prepare?.(first);
        await outside.ip("address add 10.70.0.101/24 dev br0");
        const before = await first.snapshot();
        const node = new NodeUnderTest(lab, first);
        const pod = await lab.namespace("pod");
        const call = {
          config: aNetwork(mode.fields),
          pod,
          infos: [{ ip: "10.70.0.101/24", gateway: "10.70.0.1" }],
        };
        const answer = await node.call("ADD", call);
        const [bridge] = await outside.show("link show dev br0");
        assert.equal(answer.kind, "refused");
        assert.equal(answer.code, 102);
        assert.match(
          answer.message,
          new RegExp(`10\\.70\\.0\\.101.*${String(bridge?.["address"])}`),
        );
        assert.equal(await first.snapshot(), before);
        assert.deepEqual(await node.ports.store.all(), []);
      },
    );

    it(
      "works with jumbo frames, small frames and a pod whose devices have the same numbers as the node's",
      limit,
      async () => {
        for (const mtu of [9000, 1400]) {
          await using lab = await NetworkLab.open();
          const { outside, nodes } = await lab.outsideWithNodes(1, { mtu });
          const [first] = nodes as [LabNamespace];
          await mode.prepare?.(first);
          // What a node with LVS has: new devices would not answer for addresses of other devices.
          await first.sysctl("ipv4/conf/default/arp_ignore", "1");
          await first.sysctl("ipv4/conf/all/arp_ignore", "1");
          const node = new NodeUnderTest(lab, first);
          const pod = await lab.namespace("pod");
          for (const name of ["x1", "x2"]) await pod.ip(`link add ${name} type bridge`);
          const call = {
            config: aNetwork(mode.fields),
            pod,
            infos: [{ ip: "10.70.0.101/24", gateway: "10.70.0.1" }],
          };
          await node.add(call);
          const [link] = await pod.show("link show dev eth0");
          assert.equal(link?.["mtu"], mtu);
          assert.ok(await outside.pings("10.70.0.101"));
          assert.ok(await first.pings("10.70.0.101"), "node to pod");
          assert.ok(await pod.pings("10.70.0.11"), "pod to node");
          await node.del(call);
        }
      },
    );
  });
}

describe("a node with pods", { skip, timeout: 1_200_000 }, () => {
  it("does not answer on the uplink for addresses that it routes elsewhere", limit, async () => {
    await using lab = await NetworkLab.open();
    const { outside, nodes } = await lab.outsideWithNodes(1);
    const [first] = nodes as [LabNamespace];
    await first.ip("link add overlay type bridge");
    await first.ip("link set dev overlay up");
    await first.ip("route add 10.70.0.200/32 dev overlay");
    const node = new NodeUnderTest(lab, first);
    await node.add({
      config: aNetwork({ switch: "pure" }),
      pod: await lab.namespace("pod"),
      infos: [{ ip: "10.70.0.101/24", gateway: "10.70.0.1" }],
    });
    const neighbour = new KernelAnnouncer({ hostNetns: outside.path });
    const ask = (ip: string) => neighbour.probe([{ link: "br0", ip: ip as never }], 2_000);
    assert.equal((await ask("10.70.0.101")).length, 1, "its pod");
    assert.deepEqual(await ask("10.70.0.200"), [], "what it routes elsewhere");
  });

  it(
    "refuses to put a network card with the node's address into a bridge, and touches nothing",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const before = await first.snapshot();
      const node = new NodeUnderTest(lab, first);
      const answer = await node.call("ADD", {
        config: aNetwork({ switch: "bridge" }),
        pod: await lab.namespace("pod"),
        infos: [{ ip: "10.70.0.101/24", gateway: "10.70.0.1" }],
      });
      assert.equal(answer.kind, "refused");
      assert.match(
        answer.message,
        /eth0 carries the node's address 10\.70\.0\.11.*allow_address_move/,
      );
      assert.equal(await first.snapshot(), before);
    },
  );
});
