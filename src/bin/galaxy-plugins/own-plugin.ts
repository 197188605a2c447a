// What galaxy-k8s-vlan and its like do as executables, for Multus, podman, containerd and cnitool; the daemon does the same work without them.

import { OwnPlugins } from "../../adapters/http/own-plugins.ts";
import { AttachmentFiles } from "../../adapters/linux/attachment-files.ts";
import { openKernel } from "../../adapters/linux/kernel.ts";
import { SocketNodeLocks } from "../../adapters/linux/node-locks.ts";
import { ChildPluginExec } from "../../adapters/linux/plugin-exec.ts";
import { runPlugin } from "../../adapters/linux/plugin-process.ts";
import { StderrLog } from "../../adapters/linux/stderr-log.ts";
import { SystemClock } from "../../adapters/system/clock.ts";
import type { OwnPlugin } from "../../wire/network-config.ts";

/** What each is, in one line. */
const purposes: Readonly<Record<OwnPlugin, string>> = {
  "galaxy-k8s-vlan":
    "pods on a bridge, as macvlan or ipvlan, or routed (pure), with an 802.1Q VLAN per address",
  "galaxy-underlay-veth": "pods routed over a veth pair, with VLAN devices that exist already",
  "galaxy-k8s-sriov": "a virtual function of an SR-IOV network card for each address of a pod",
};

/** Runs a plugin once and sets the process's exit code. */
export async function runOwnPlugin(plugin: OwnPlugin): Promise<void> {
  const folder = process.env.GALAXY_STATE_DIR ?? "/var/lib/cni/galaxy/attachments";
  const { announcer, network, calls } = await openKernel();
  const plugins = new OwnPlugins(
    {
      network,
      announcer,
      store: new AttachmentFiles(folder),
      locks: new SocketNodeLocks(folder, calls),
      clock: new SystemClock(),
      log: new StderrLog(),
    },
    new ChildPluginExec(),
  );
  await runPlugin({
    name: plugin,
    about: `Usage: ${plugin} is a CNI plugin that a container runtime calls with CNI_COMMAND: ${purposes[plugin]}.`,
    answer: (request) => plugins.answer(request, plugin),
    afterAdd: (containerId, network, ifName) => plugins.announce({ containerId, network, ifName }),
  });
}
