// The plugin that the container runtime calls for every pod of Kubernetes: a thin client of the daemon galaxy.

import { callDaemon } from "./galaxy-plugins/call-daemon.ts";

async function main(): Promise<void> {
  await callDaemon();
}

void main();
