// Chooses how the node side talks to the kernel: over sockets where koffi has the system calls, else with iproute2.

import type { Announcer } from "../../ports/announcer.ts";
import type { HostNetwork } from "../../ports/host-network.ts";
import { KernelAnnouncer } from "./announcer.ts";
import { FunctionNetwork } from "./function-network.ts";
import { LinuxHostNetwork } from "./host-network.ts";
import { NetlinkHostNetwork } from "./netlink-host-network.ts";
import { PacketAnnouncer } from "./packet-announcer.ts";
import { SysfsFunctions } from "./sysfs-functions.ts";
import type { SystemCalls } from "./system-calls.ts";
import { loadSystemCalls } from "./system-calls.ts";

/** The two ports to the kernel's network. */
export type Kernel = {
  readonly network: HostNetwork;
  readonly announcer: Announcer;
  /** How: for the log. */
  readonly access: "netlink" | "iproute2";
  /** Undefined with iproute2. */
  readonly calls: SystemCalls | undefined;
};

/**
 * Opens the kernel's network.
 * @param options `hostNetns`: path of the namespace that counts as the host, when it is not that of this process
 */
export async function openKernel(options: { readonly hostNetns?: string } = {}): Promise<Kernel> {
  const calls = await loadSystemCalls();
  const withFunctions = (network: HostNetwork) =>
    new FunctionNetwork(network, new SysfsFunctions(options), options);
  if (calls !== undefined) {
    const network = new NetlinkHostNetwork(calls, options);
    // A sandbox may know koffi's library and forbid the sockets.
    const isUsable = await network.readHost({ routesOf: [], routesTo: [] }).then(
      () => true,
      () => false,
    );
    if (isUsable) {
      const announcer = new PacketAnnouncer(calls, options);
      return { network: withFunctions(network), announcer, access: "netlink", calls };
    }
  }
  const announcer = new KernelAnnouncer(options);
  const network = withFunctions(new LinuxHostNetwork(options));
  return { network, announcer, access: "iproute2", calls: undefined };
}
