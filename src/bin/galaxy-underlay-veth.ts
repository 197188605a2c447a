// The CNI plugin galaxy-underlay-veth as an executable: pods routed over a veth pair, with VLAN devices that exist already.

import { runOwnPlugin } from "./galaxy-plugins/own-plugin.ts";

async function main(): Promise<void> {
  await runOwnPlugin("galaxy-underlay-veth");
}

void main();
