// One node's side of the product in this process, pointed at a namespace of the lab. Not the daemon and not an executable: those have tests
// that start them.

import { join } from "node:path";
import type { PluginAnswer } from "../../src/adapters/http/own-plugins.ts";
import { OwnPlugins } from "../../src/adapters/http/own-plugins.ts";
import { KernelAnnouncer } from "../../src/adapters/linux/announcer.ts";
import { AttachmentFiles } from "../../src/adapters/linux/attachment-files.ts";
import { LinuxHostNetwork } from "../../src/adapters/linux/host-network.ts";
import { NetlinkHostNetwork } from "../../src/adapters/linux/netlink-host-network.ts";
import { SocketNodeLocks } from "../../src/adapters/linux/node-locks.ts";
import { PacketAnnouncer } from "../../src/adapters/linux/packet-announcer.ts";
import { ChildPluginExec } from "../../src/adapters/linux/plugin-exec.ts";
import { loadSystemCalls } from "../../src/adapters/linux/system-calls.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { CniResult } from "../../src/core/cni-result.ts";
import type { NodePorts } from "../../src/node/network-facts.ts";
import type { HostNetwork } from "../../src/ports/host-network.ts";
import type { CniCommand } from "../../src/wire/cni.ts";
import { parseCniRequest } from "../../src/wire/cni.ts";
import type { LabNamespace, NetworkLab } from "./network-lab.ts";

/** An entry of `ipinfos`. */
export type IpInfoText = {
  readonly ip: string;
  readonly vlan?: number;
  readonly gateway?: string;
};

/** What a test says of a call; the rest has a default. */
export type Call = {
  readonly config: Readonly<Record<string, unknown>>;
  readonly pod: LabNamespace | { readonly path: string };
  readonly infos?: readonly IpInfoText[];
  readonly containerId?: string;
  readonly ifName?: string;
  /** Folder of IPAM plugins. */
  readonly path?: string;
};

/** The configuration of a network on eth0. */
export function aNetwork(
  fields: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return { cniVersion: "1.0.0", name: "net1", type: "galaxy-k8s-vlan", device: "eth0", ...fields };
}

/** Set to `iproute2`, tests do without sockets, as a node does on which koffi has no library. */
const calls =
  process.env["GALAXY_TEST_KERNEL"] === "iproute2" ? undefined : await loadSystemCalls();

/** The plugins of a node. */
export class NodeUnderTest {
  readonly log = new MemoryLog();
  readonly ports: NodePorts;
  readonly plugins: OwnPlugins;

  /** @param extend adds what the node has and most have not, such as an SR-IOV card */
  constructor(
    lab: NetworkLab,
    node: LabNamespace,
    extend: (network: HostNetwork) => HostNetwork = (network) => network,
  ) {
    const folder = join(lab.folder, node.name);
    const host = { hostNetns: node.path };
    this.ports = {
      network: extend(
        calls === undefined ? new LinuxHostNetwork(host) : new NetlinkHostNetwork(calls, host),
      ),
      announcer: calls === undefined ? new KernelAnnouncer(host) : new PacketAnnouncer(calls, host),
      store: new AttachmentFiles(folder),
      locks: new SocketNodeLocks(folder),
      clock: new SystemClock(),
      log: this.log,
    };
    this.plugins = new OwnPlugins(this.ports, new ChildPluginExec());
  }

  /** One call of a plugin, answered as it is. */
  async call(command: CniCommand, call: Call): Promise<PluginAnswer> {
    const { containerId = "c0ffee0123456789", ifName = "eth0", infos } = call;
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: call.pod.path,
      CNI_IFNAME: ifName,
      CNI_ARGS: infos === undefined ? "" : `IgnoreUnknown=1;ipinfos=${JSON.stringify(infos)}`,
      CNI_PATH: call.path ?? "/opt/cni/bin",
    };
    const request = parseCniRequest(env, JSON.stringify(call.config));
    if (request.kind === "refused") return request;
    return this.plugins.answer(request, undefined);
  }

  /** ADD that has to succeed. */
  async add(call: Call): Promise<CniResult> {
    const answer = await this.call("ADD", call);
    if (answer.kind === "refused") throw new Error(`ADD refused: ${answer.message}`);
    if (answer.result === undefined) throw new Error("ADD without a result");
    return answer.result;
  }

  /** DEL that has to succeed. */
  async del(call: Call): Promise<void> {
    const answer = await this.call("DEL", call);
    if (answer.kind === "refused") throw new Error(`DEL refused: ${answer.message}`);
  }
}
