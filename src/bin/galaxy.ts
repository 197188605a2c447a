// The node daemon: gives pods their networks when galaxy-sdn calls its socket, keeps them whole, and takes them away. It answers at once,
// with or without an API server; only ADD needs one. This file only puts the parts together, starts them in order and stops them in
// reverse.

import { readFile } from "node:fs/promises";
import manifest from "../../package.json" with { type: "json" };
import { createPinoLog } from "../adapters/log/pino-log.ts";
import type { Log } from "../ports/log.ts";
import type { NodeConfig } from "../wire/node-config.ts";
import { parseNodeConfig } from "../wire/node-config.ts";
import type { NodeOptions } from "../wire/node-options.ts";
import { parseNodeOptions, parseRuntimeEndpoint } from "../wire/node-options.ts";
import { cniDoor } from "./galaxy/cni-door.ts";
import { sandboxGarbage } from "./galaxy/garbage.ts";
import { hostInstallation, uninstall } from "./galaxy/installation.ts";
import { openNodeWorld } from "./galaxy/node-world.ts";
import type { DaemonPart } from "./galaxy/part.ts";
import { statusDoor } from "./galaxy/status-door.ts";
import { upkeep } from "./galaxy/upkeep.ts";
import { virtualAddresses } from "./galaxy/virtual-addresses.ts";

/** Exit codes: 0 asked to stop, 1 the world failed, 2 the command line or a file it names is wrong. */
const exitWorld = 1;
const exitUsage = 2;

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseNodeOptions(argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return;
  }
  if (parsed.kind === "version") {
    process.stdout.write(`galaxy ${manifest.version}\n`);
    return;
  }
  if (parsed.kind === "invalid") return refuse(parsed.problems);
  if (parsed.options.uninstalls) {
    process.stdout.write(`${await uninstall(parsed.options)}\n`);
    return;
  }
  const problems: string[] = [];
  const named = parseRuntimeEndpoint(process.env["CONTAINERD_HOST"] ?? "", problems);
  if (problems.length > 0) return refuse(problems.map((problem) => `$CONTAINERD_HOST: ${problem}`));
  const options: NodeOptions =
    parsed.options.runtimeEndpoint.kind === "find"
      ? { ...parsed.options, runtimeEndpoint: named }
      : parsed.options;
  const log = createPinoLog({ verbosity: options.verbosity });
  for (const warning of parsed.warnings) log.warn("command line", { warning });
  let text: string;
  try {
    text = await readFile(options.configPath, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse([`${options.configPath} of --json-config-path cannot be read (${reason})`]);
  }
  const config = parseNodeConfig(text, options.configPath);
  if (config.kind === "invalid") return refuse(config.problems);
  for (const warning of config.warnings) log.warn("configuration file", { warning });
  await serve(options, config.config, log);
}

function refuse(problems: readonly string[]): void {
  for (const problem of problems) process.stderr.write(`galaxy: ${problem}\n`);
  process.exitCode = exitUsage;
}

/** Runs until the process is asked to stop. */
async function serve(options: NodeOptions, config: NodeConfig, log: Log): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    const stop = () => resolve();
    process.once("SIGTERM", stop).once("SIGINT", stop);
  });
  const world = await openNodeWorld(options, config, log);
  const looks = upkeep(world);
  const garbage = sandboxGarbage(world);
  const parts: readonly DaemonPart[] = [
    cniDoor(world),
    hostInstallation(world),
    statusDoor(world, () => looks.problem()),
    looks,
    garbage,
    virtualAddresses(world),
  ];
  const countOf = async (list: Promise<readonly unknown[]>) =>
    list.then(
      ({ length }) => length,
      () => undefined,
    );
  world.metrics.addGauges({
    attachments: () => countOf(world.ports.store.all()),
    containers: () => countOf(world.states.all()),
    isRuntimeReachable: () => garbage.isRuntimeReachable(),
    secondsSinceLook: () => looks.secondsSinceLook(),
  });
  const started: DaemonPart[] = [];
  try {
    for (const part of parts) {
      await part.start();
      started.push(part);
    }
    await stopped;
    log.info("stopping");
  } finally {
    for (const part of started.toReversed()) await part.stop();
    await world.close();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`galaxy: ${message}\n`);
  process.exitCode = exitWorld;
});
