// All plugins of the node in one program: which one it is, the name says that it is called by, or its first argument. Made into one executable
// for hosts without Node (scripts/host-executable.ts), because each would be as large as all.

import { basename } from "node:path";
import { ownPlugins } from "../wire/network-config.ts";

async function main(): Promise<void> {
  const names: readonly string[] = ["galaxy-sdn", ...ownPlugins];
  const called = basename(process.argv0);
  const [argument = ""] = process.argv.slice(2);
  const name = names.includes(called) ? called : argument;
  if (name === argument) process.argv.splice(2, 1);
  // Each is loaded when it is meant: what galaxy-sdn needs is a small part of it all.
  if (name === "galaxy-sdn") {
    const { callDaemon } = await import("./galaxy-plugins/call-daemon.ts");
    return callDaemon();
  }
  const own = ownPlugins.find((plugin) => plugin === name);
  if (own !== undefined) {
    const { runOwnPlugin } = await import("./galaxy-plugins/own-plugin.ts");
    return runOwnPlugin(own);
  }
  const text = `Usage: galaxy-plugins NAME, or under one of these names: ${names.join(", ")}\n`;
  if (name === "--help") {
    process.stdout.write(text);
    return;
  }
  process.stderr.write(text);
  process.exitCode = 2;
}

void main();
