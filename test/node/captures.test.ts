// What neighbours see on the wire when a pod gets its addresses, frame by frame, and TCP to and from it. Modes with VLANs are in vlan.test.ts.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Capture, locateTcpdump } from "./capture.ts";
import type { LabNamespace } from "./network-lab.ts";
import { kernelHas, NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";

const tcpdump = await locateTcpdump();
const skip = (await reasonToSkipLab()) || (tcpdump.kind === "missing" ? tcpdump.because : false);
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };

const modes = [
  { name: "pure", fields: { switch: "pure" }, isRouted: true },
  { name: "underlay-veth", fields: { type: "galaxy-underlay-veth" }, isRouted: true },
  { name: "bridge", fields: { switch: "bridge", allow_address_move: true }, isRouted: false },
  ...(skip === false && (await kernelHas("macvlan"))
    ? [{ name: "macvlan", fields: { switch: "macvlan" }, isRouted: false }]
    : []),
];

const addresses = ["10.70.0.101", "10.71.0.101", "fd00:70::101"];

describe("on the wire", { skip, timeout: 1_200_000 }, () => {
  for (const { name, fields, isRouted } of modes) {
    it(
      `${name}: every address of a pod is announced from the right device with its MAC, IPv6 with its advertisement, and TCP goes both ways`,
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [first] = nodes as [LabNamespace];
        await outside.ip("address add 10.71.0.1/24 dev br0");
        // What a node with LVS has.
        await first.sysctl("ipv4/conf/default/arp_ignore", "1");
        const [card] = await first.show("link show dev eth0");
        const node = new NodeUnderTest(lab, first);
        await using capture = await Capture.on(outside, "br0");
        const pod = await lab.namespace("pod");
        const call = {
          config: aNetwork(fields),
          pod,
          containerId: "one",
          infos: [
            { ip: "10.70.0.101/24", gateway: "10.70.0.1" },
            { ip: "10.71.0.101/24", gateway: "10.71.0.1" },
            { ip: "fd00:70::101/64", gateway: "fd00:70::1" },
          ],
        };
        const result = await node.add(call);
        await node.plugins.announce({ containerId: "one", network: "net1", ifName: "eth0" });
        const macOf = (address: string) => {
          const position = result.ips.findIndex((ip) => ip.address.startsWith(`${address}/`));
          const link = result.interfaces[result.ips[position]?.interface ?? -1];
          return isRouted ? String(card?.["address"]) : link?.mac;
        };
        // Three times each, because nobody confirms one; on a machine that is starved some are late.
        const claims = await capture.until((seen) =>
          addresses.every((ip) => seen.filter((claim) => claim.ip === ip).length >= 3),
        );
        for (const ip of addresses) {
          for (const claim of claims.filter((each) => each.ip === ip)) {
            const mac = macOf(ip);
            assert.equal(claim.from, mac, `${ip} from the wrong device:\n${capture.text()}`);
            assert.equal(claim.vlan, undefined);
            if (claim.says !== "request") assert.equal(claim.says, mac, capture.text());
          }
        }
        const beside = {
          ...call,
          pod: await lab.namespace("pod2"),
          containerId: "two",
          infos: [{ ip: "10.70.0.102/24", gateway: "10.70.0.1" }],
        };
        await node.add(beside);
        await Promise.all([pod.serveEcho(7000), outside.serveEcho(7001)]);
        const ask = (from: LabNamespace, ip: string, port: number) => from.askEcho(ip, port, ip);
        const asked: readonly (readonly [LabNamespace, string, number])[] = [
          [outside, "10.70.0.101", 7000],
          [outside, "10.71.0.101", 7000],
          [outside, "fd00:70::101", 7000],
          [first, "10.70.0.101", 7000],
          [first, "fd00:70::101", 7000],
          [beside.pod, "10.70.0.101", 7000],
          [pod, "10.70.0.1", 7001],
          [pod, "fd00:70::1", 7001],
        ];
        assert.deepEqual(
          await Promise.all(asked.map(([from, ip, port]) => ask(from, ip, port))),
          asked.map(([, ip]) => ip),
        );
        await node.del(call);
        await node.del(beside);
      },
    );
  }
});
