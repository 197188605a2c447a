// The CNI plugin galaxy-underlay-veth as an executable: pods routed over a veth pair, with VLAN devices that exist already.
// For Multus, podman, containerd and cnitool; the daemon does the same work without it.

import { OwnPlugins } from "../adapters/http/own-plugins.ts";
import { AttachmentFiles } from "../adapters/linux/attachment-files.ts";
import { openKernel } from "../adapters/linux/kernel.ts";
import { SocketNodeLocks } from "../adapters/linux/node-locks.ts";
import { ChildPluginExec } from "../adapters/linux/plugin-exec.ts";
import { runPlugin } from "../adapters/linux/plugin-process.ts";
import { StderrLog } from "../adapters/linux/stderr-log.ts";
import { SystemClock } from "../adapters/system/clock.ts";

async function main(): Promise<void> {
  const folder = process.env.GALAXY_STATE_DIR ?? "/var/lib/cni/galaxy/attachments";
  const { announcer, network } = await openKernel();
  const plugins = new OwnPlugins(
    {
      network,
      announcer,
      store: new AttachmentFiles(folder),
      locks: new SocketNodeLocks(folder),
      clock: new SystemClock(),
      log: new StderrLog(),
    },
    new ChildPluginExec(),
  );
  await runPlugin({
    about:
      "Usage: galaxy-underlay-veth is a CNI plugin that a container runtime calls with CNI_COMMAND: pods routed over a veth pair, with VLAN devices that exist already.",
    answer: (request) => plugins.answer(request, "galaxy-underlay-veth"),
    afterAdd: (containerId, network, ifName) => plugins.announce({ containerId, network, ifName }),
  });
}

await main();
