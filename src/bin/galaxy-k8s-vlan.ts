// The CNI plugin galaxy-k8s-vlan as an executable: pods on a bridge, as macvlan or ipvlan, or routed (pure), with an 802.1Q VLAN per address.

import { runOwnPlugin } from "./galaxy-plugins/own-plugin.ts";

async function main(): Promise<void> {
  await runOwnPlugin("galaxy-k8s-vlan");
}

void main();
