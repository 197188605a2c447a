// The HostNetwork contract, run by the model in memory and by iproute2 in real namespaces.

import { LinuxHostNetwork } from "../../src/adapters/linux/host-network.ts";
import { MemoryHostNetwork } from "../../src/adapters/memory/host-network.ts";
import type { Ip } from "../../src/core/ip.ts";
import { emptyNamespace } from "../../src/core/net-model.ts";
import { describeHostNetwork } from "../contract/host-network.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";

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

describeHostNetwork(
  "LinuxHostNetwork",
  async () => {
    const lab = await NetworkLab.open();
    const { nodes } = await lab.outsideWithNodes(1);
    const [node] = nodes as [LabNamespace];
    const pod = await lab.namespace("pod");
    return {
      network: new LinuxHostNetwork({ hostNetns: node.path }),
      netns: pod.path,
      removePod: () => lab.remove(pod),
      stop: () => lab[Symbol.asyncDispose](),
    };
  },
  await reasonToSkipLab(),
);
