// Gate and network of one node together, in namespaces: who answers on the wire, where packets go, and that nothing is left.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LinuxHostNetwork } from "../../src/adapters/linux/host-network.ts";
import { NftSession } from "../../src/adapters/linux/nft-session.ts";
import { NftVipGate } from "../../src/adapters/linux/vip-gate.ts";
import { LinuxVipNetwork } from "../../src/adapters/linux/vip-network.ts";
import { VipSpeaker } from "../../src/adapters/linux/vip-speaker.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { SteadyClock } from "../../src/adapters/system/clock.ts";
import type { Ip } from "../../src/core/ip.ts";
import type { VipPlace } from "../../src/ports/vip-network.ts";
import { ip } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import { locateNft } from "./programs.ts";

const nft = await locateNft();
const skip = (await reasonToSkipLab()) || (nft.kind === "missing" ? nft.because : false);

/** A node with the kernel's gate and network of virtual addresses, and one pod. */
class NodeBench {
  readonly namespace: LabNamespace;
  readonly pod: LabNamespace;
  readonly log = new MemoryLog();
  readonly session: NftSession;
  readonly network: LinuxVipNetwork;
  readonly gate: NftVipGate;

  constructor(namespace: LabNamespace, pod: LabNamespace) {
    this.namespace = namespace;
    this.pod = pod;
    const hostNetns = namespace.path;
    const file = nft.kind === "found" ? nft.file : "nft";
    this.session = new NftSession({ hostNetns, file });
    this.network = new LinuxVipNetwork({
      nft: this.session,
      speaker: new VipSpeaker({ hostNetns, log: this.log }),
      host: new LinuxHostNetwork({ hostNetns }),
      clock: new SteadyClock(),
      log: this.log,
      hostNetns,
    });
    this.gate = new NftVipGate(this.session, {
      speaksAsAddress: (each) => this.network.sendsFromVip(each),
    });
  }

  async place(address: Ip, place: VipPlace): Promise<void> {
    const problems = await this.network.place(new Map([[address, place]]));
    assert.deepEqual([...problems], []);
  }

  async hold(address: Ip, podIp: Ip, leftMs: number): Promise<void> {
    const outcome = await this.gate.open(
      await this.gate.arm(2_000),
      [{ ip: address, epoch: 1, podIp }],
      leftMs,
    );
    assert.deepEqual(outcome, { kind: "open" });
    this.network.announce([address]);
  }

  async stop(): Promise<void> {
    await this.network.stop(false);
    await this.session.close();
  }
}

async function aLab() {
  const lab = await NetworkLab.open();
  const { outside, nodes } = await lab.outsideWithNodes(2);
  const benches: NodeBench[] = [];
  for (const [index, node] of nodes.entries()) {
    const pod = await lab.namespace(`pod${index + 1}`);
    await node.ip(`link add v1 type veth peer name eth0 netns ${pod.path}`);
    await node.ip("link set dev v1 up");
    await node.sysctl("ipv4/ip_forward", "1");
    await node.sysctl("ipv4/conf/v1/proxy_arp", "1");
    await node.sysctl("ipv4/neigh/v1/proxy_delay", "0");
    await node.ip(`route add 10.80.${index + 1}.2/32 dev v1`);
    await node.ip("-6 address add fe80::1/64 dev v1 nodad");
    await node.ip(`-6 route add fd00:80::${index + 1}:2/128 dev v1`);
    await pod.ip("link set dev eth0 up");
    await pod.ip(`address add 10.80.${index + 1}.2/32 dev eth0`);
    await pod.ip(`-6 address add fd00:80::${index + 1}:2/128 dev eth0 nodad`);
    await pod.ip("route add 169.254.1.1 dev eth0");
    await pod.ip("route add default via 169.254.1.1 dev eth0");
    await pod.ip("-6 route add default via fe80::1 dev eth0");
    await outside.ip(`route add 10.80.${index + 1}.0/24 via 10.70.0.${11 + index}`);
    benches.push(new NodeBench(node, pod));
  }
  for (const bench of benches) await bench.network.start([]);
  return {
    outside,
    benches: benches as [NodeBench, NodeBench],
    async [Symbol.asyncDispose]() {
      for (const bench of benches) await bench.stop();
      await lab[Symbol.asyncDispose]();
    },
  };
}

const vip = ip("10.70.0.200");
const vip6 = ip("fd00:70::200");

function here(podIp: string, wishes: Partial<VipPlace & { kind: "here" }> = {}): VipPlace {
  return {
    kind: "here",
    podIp: ip(podIp),
    way: { kind: "L2", interfaces: "eth*" },
    sendsFromVip: false,
    ports: undefined,
    ...wishes,
  };
}

describe("the network of virtual addresses on a kernel", { skip }, () => {
  it("answers while the gate is open, and stops by itself", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    await a.place(vip, here("10.80.1.2"));
    await a.place(vip6, here("fd00:80::1:2"));
    assert.equal(await lab.outside.pings(vip, { waitS: 1 }), false);
    await a.hold(vip, ip("10.80.1.2"), 4_000);
    await a.hold(vip6, ip("fd00:80::1:2"), 4_000);
    assert.equal(await lab.outside.pings(vip), true);
    assert.equal(await lab.outside.pings(vip6), true);
    await waitUntil(
      "the kernel to stop",
      () => lab.outside.pings(vip, { waitS: 1 }),
      (answers) => !answers,
    );
    assert.deepEqual(a.log.lines("warn"), []);
  });
});
