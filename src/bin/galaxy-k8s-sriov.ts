// The CNI plugin galaxy-k8s-sriov as an executable: a virtual function of an SR-IOV network card for each address of a pod.

import { runOwnPlugin } from "./galaxy-plugins/own-plugin.ts";

async function main(): Promise<void> {
  await runOwnPlugin("galaxy-k8s-sriov");
}

void main();
