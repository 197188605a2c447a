// The HostNetwork contract, run by the model in memory, and by iproute2 and by netlink sockets in real namespaces.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LinuxHostNetwork } from "../../src/adapters/linux/host-network.ts";
import { NetlinkHostNetwork } from "../../src/adapters/linux/netlink-host-network.ts";
import type { SystemCalls } from "../../src/adapters/linux/system-calls.ts";
import { loadSystemCalls } from "../../src/adapters/linux/system-calls.ts";
import { MemoryHostNetwork } from "../../src/adapters/memory/host-network.ts";
import type { Ip } from "../../src/core/ip.ts";
import type { NamespaceFacts } from "../../src/core/net-model.ts";
import { emptyNamespace } from "../../src/core/net-model.ts";
import type { HostNetwork } from "../../src/ports/host-network.ts";
import { describeHostNetwork } from "../contract/host-network.ts";
import type { LabNamespace } from "./network-lab.ts";
import { kernelHas, NetworkLab, reasonToSkipLab } from "./network-lab.ts";

describeHostNetwork("MemoryHostNetwork", async () => {
  const network = new MemoryHostNetwork({
    ...emptyNamespace,
    links: [
      {
        name: "eth0",
        index: 2,
        kind: "",
        isLoopback: false,
        mac: "52:54:00:00:00:01",
        mtu: 1500,
        isUp: true,
        alias: "",
        master: "",
        parent: "",
        vlanId: undefined,
        mode: "",
      },
    ],
    addresses: [{ link: "eth0", ip: "10.70.0.11" as Ip, prefix: 24, scope: "global" }],
  });
  const netns = "/run/netns/pod";
  network.addPod(netns);
  return {
    network,
    netns,
    removePod: async () => network.removePod(netns),
    stop: async () => {},
  };
});

/** A bench whose network is made for the node's namespace. */
async function aBench(networkOf: (hostNetns: string) => HostNetwork) {
  const lab = await NetworkLab.open();
  const { nodes } = await lab.outsideWithNodes(1);
  const [node] = nodes as [LabNamespace];
  const pod = await lab.namespace("pod");
  return {
    network: networkOf(node.path),
    netns: pod.path,
    removePod: () => lab.remove(pod),
    stop: () => lab[Symbol.asyncDispose](),
  };
}

const skip = await reasonToSkipLab();
const calls = await loadSystemCalls();

describeHostNetwork(
  "LinuxHostNetwork",
  () => aBench((hostNetns) => new LinuxHostNetwork({ hostNetns })),
  skip,
);

describeHostNetwork(
  "NetlinkHostNetwork",
  () => aBench((hostNetns) => new NetlinkHostNetwork(calls as SystemCalls, { hostNetns })),
  skip === false && calls === undefined ? "koffi has no library for this machine" : skip,
);

describe("both ways to read the kernel", { skip, timeout: 240_000 }, () => {
  it("give the same facts of a host and a pod with a bit of everything", async (t) => {
    if (calls === undefined) return t.skip("koffi has no library for this machine");
    await using lab = await NetworkLab.open();
    const { nodes } = await lab.outsideWithNodes(1);
    const [node] = nodes as [LabNamespace];
    const pod = await lab.namespace("pod");
    const inPod = `netns ${pod.path}`;
    for (const line of [
      "link add br1 mtu 1400 type bridge",
      "link set dev br1 alias galaxy:shared",
      `link add v-h1 type veth peer name eth1 ${inPod}`,
      "link set dev v-h1 master br1 up",
      "link add one type veth peer name two",
      "link set dev one up",
      "address add 10.72.0.1/24 dev br1",
      "link set dev br1 up",
      "route add 10.80.0.0/16 via 10.70.0.9 dev eth0 metric 7",
      "route add 10.81.0.1/32 dev eth0 src 10.70.0.11 table 300",
      "route add blackhole 10.82.0.0/16",
      "-6 route add fd80::/64 via fd00:70::9 dev eth0",
      "neigh add proxy 10.70.0.77 dev eth0",
      "-6 neigh add proxy fd00:70::77 dev eth0",
    ]) {
      await node.ip(line);
    }
    if (await kernelHas("macvlan")) {
      await node.ip(`link add link eth0 name mv0 ${inPod} type macvlan mode bridge`);
    }
    for (const line of [
      "link set dev eth1 address 02:42:0a:46:00:65 up",
      "address add 10.70.0.101/24 dev eth1",
      "-6 address add fd00:70::101/64 dev eth1 nodad",
      "route add default via 10.70.0.1 dev eth1",
      "route add default via 10.71.0.1 dev eth1 table 101 onlink",
      "rule add from 10.70.0.101 lookup 101 priority 1536",
      "rule add from 10.70.0.0/24 lookup 102 priority 1537",
      "-6 rule add from fd00:70::101 lookup 101 priority 1536",
      "neigh add 10.70.0.11 lladdr 0a:00:00:00:00:01 dev eth1 nud permanent",
    ]) {
      await pod.ip(line);
    }
    const query = { routesOf: ["eth0", "br1", "none"], routesTo: ["10.72.0.0/24", "fd80::/64"] };
    const readers = [
      new LinuxHostNetwork({ hostNetns: node.path }),
      new NetlinkHostNetwork(calls, { hostNetns: node.path }),
    ];
    // Link-local addresses and their routes come when the kernel is done with them.
    const isSettled = ({ ip = "", dst = "" }: { readonly ip?: string; readonly dst?: string }) =>
      !/^(fe80|ff00)/.test(ip) && !/^(fe80|ff00)/.test(dst);
    const inOrder = (facts: NamespaceFacts | undefined) =>
      Object.entries(facts ?? {}).map(([part, list]) =>
        Array.isArray(list)
          ? [
              part,
              list
                .filter((item: object) => isSettled(item))
                .map((item: object) => JSON.stringify(item))
                .toSorted(),
            ]
          : [part, list],
      );
    const [byPrograms, bySockets] = await Promise.all(
      readers.map(async (reader) => ({
        host: inOrder(await reader.readHost(query)),
        pod: inOrder(await reader.readPod(pod.path)),
      })),
    );
    assert.deepEqual(bySockets, byPrograms);
  });
});
