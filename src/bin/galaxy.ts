// The node daemon: gives pods their networks when galaxy-sdn calls its socket, keeps them whole, and takes them away. It answers at once,
// with or without an API server; only ADD needs one.

import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { createCniSocket } from "../adapters/http/cni-socket.ts";
import { DaemonPluginExec } from "../adapters/http/daemon-plugin-exec.ts";
import { OwnPlugins } from "../adapters/http/own-plugins.ts";
import { ApiClient } from "../adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../adapters/kubernetes/credentials.ts";
import { KubernetesEventRecorder } from "../adapters/kubernetes/event-recorder.ts";
import { KubernetesPodDirectory } from "../adapters/kubernetes/pod-directory.ts";
import { KernelAnnouncer } from "../adapters/linux/announcer.ts";
import { AttachmentFiles } from "../adapters/linux/attachment-files.ts";
import { LinuxHostNetwork } from "../adapters/linux/host-network.ts";
import { FileNetworkCatalog } from "../adapters/linux/network-catalog.ts";
import { SocketNodeLocks } from "../adapters/linux/node-locks.ts";
import { ChildPluginExec } from "../adapters/linux/plugin-exec.ts";
import { PodStateFiles } from "../adapters/linux/pod-state-files.ts";
import { createPinoLog } from "../adapters/log/pino-log.ts";
import { SystemClock } from "../adapters/system/clock.ts";
import { repairAll } from "../node/cni-check.ts";
import { collectGone } from "../node/garbage.ts";
import { PodNetworks } from "../node/pod-networks.ts";
import type { Log } from "../ports/log.ts";
import { parseNodeConfig } from "../wire/node-config.ts";
import type { NodeOptions } from "../wire/node-options.ts";
import { parseNodeOptions } from "../wire/node-options.ts";

/** Exit codes: 0 asked to stop, 1 the world failed, 2 the command line or a file it names is wrong. */
const exitWorld = 1;
const exitUsage = 2;

/** A namespace that is gone for a moment only does not exist; this is for runtimes that make it late. */
const goneAgeMs = 600_000;

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseNodeOptions(argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return;
  }
  if (parsed.kind === "invalid") return refuse(parsed.problems);
  const { options } = parsed;
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
  await serve(options, config.config, log);
}

function refuse(problems: readonly string[]): void {
  for (const problem of problems) process.stderr.write(`galaxy: ${problem}\n`);
  process.exitCode = exitUsage;
}

type Config = Extract<ReturnType<typeof parseNodeConfig>, { kind: "config" }>["config"];

/** Runs until the process is asked to stop. */
async function serve(options: NodeOptions, config: Config, log: Log): Promise<void> {
  const nodeName =
    options.hostname ||
    (process.env.MY_NODE_NAME ?? "").trim().toLowerCase() ||
    hostname().toLowerCase();
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) =>
    stopping.signal.addEventListener("abort", () => resolve()),
  );
  const stop = () => stopping.abort();
  process.once("SIGTERM", stop).once("SIGINT", stop);

  const client = new ApiClient({
    access: await openApiAccess(options),
    userAgent: `galaxy/${manifest.version}`,
  });
  const clock = new SystemClock();
  const attachments = join(options.stateFolder, "attachments");
  const locks = new SocketNodeLocks(attachments);
  const host = options.hostNetns === "" ? {} : { hostNetns: options.hostNetns };
  const ports = {
    network: new LinuxHostNetwork(host),
    announcer: new KernelAnnouncer(host),
    store: new AttachmentFiles(attachments),
    locks,
    clock,
    log,
  };
  const others = new ChildPluginExec();
  const own = new OwnPlugins(ports, others);
  const directory = new KubernetesPodDirectory(client);
  const events = new KubernetesEventRecorder({ client, log, instance: nodeName });
  const pods = new PodNetworks(
    {
      directory,
      catalog: new FileNetworkCatalog(config.networks, options.networkConfFolder),
      states: new PodStateFiles(options.stateFolder),
      exec: new DaemonPluginExec(own, others, options.pluginFolders),
      leftovers: (containerId) => own.removeContainer(containerId),
      events,
      locks,
      clock,
      log,
    },
    {
      nodeName,
      defaults: config,
      takesAddresses: (type) => type.startsWith("galaxy-k8s-") || type === "galaxy-underlay-veth",
    },
  );
  const socket = createCniSocket({ pods, directory, log, announce: (id) => own.announce(id) });
  await socket.listen(options.socket);
  log.info("listening", { socket: options.socket, node: nodeName });

  const upkeep = keepWhole(options, ports, stopping.signal);
  await stopped;
  log.info("stopping");
  await socket.close();
  await upkeep;
  await events.stop();
  client.close();
}

/** Restores what others took away from pods and what the node needs, now and then, until it is asked to stop. */
async function keepWhole(
  options: NodeOptions,
  ports: Parameters<typeof repairAll>[0],
  signal: AbortSignal,
): Promise<void> {
  const values = [
    ...(options.forwards ? ["net/ipv4/ip_forward"] : []),
    ...(options.bridgeCallsIptables ? ["net/bridge/bridge-nf-call-iptables"] : []),
  ];
  while (!signal.aborted) {
    try {
      const present = await ports.network.readSysctls(undefined, values);
      const wrong = values.filter((key) => present[key] !== undefined && present[key] !== "1");
      await ports.network.apply(
        wrong.map((key) => ({ do: "sysctl", place: "host", key, value: "1" })),
        { netns: undefined },
      );
      await repairAll(ports);
      await collectGone(ports, goneAgeMs);
    } catch (error) {
      ports.log.warn("the node could not be looked at, it is tried again", {}, error);
    }
    await new Promise<void>((resolve) => {
      const cancel = ports.clock.after(options.repairMs, resolve);
      signal.addEventListener(
        "abort",
        () => {
          cancel();
          resolve();
        },
        { once: true },
      );
    });
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`galaxy: ${message}\n`);
  process.exitCode = exitWorld;
});
