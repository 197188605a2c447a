// What the parts of the daemon share: the ports to the kernel, the state folder and the API server, and the use cases on top of them. Starts
// nothing; parts do.

import { hostname } from "node:os";
import { join } from "node:path";
import manifest from "../../../package.json" with { type: "json" };
import { DaemonPluginExec } from "../../adapters/http/daemon-plugin-exec.ts";
import { OwnPlugins } from "../../adapters/http/own-plugins.ts";
import { ApiClient } from "../../adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../../adapters/kubernetes/credentials.ts";
import { KubernetesEventRecorder } from "../../adapters/kubernetes/event-recorder.ts";
import { KubernetesPodDirectory } from "../../adapters/kubernetes/pod-directory.ts";
import { AttachmentFiles } from "../../adapters/linux/attachment-files.ts";
import { openKernel } from "../../adapters/linux/kernel.ts";
import { FileNetworkCatalog } from "../../adapters/linux/network-catalog.ts";
import { SocketNodeLocks } from "../../adapters/linux/node-locks.ts";
import { ChildPluginExec } from "../../adapters/linux/plugin-exec.ts";
import { PodStateFiles } from "../../adapters/linux/pod-state-files.ts";
import type { SystemCalls } from "../../adapters/linux/system-calls.ts";
import { PrometheusNodeMetrics } from "../../adapters/metrics/prometheus-node-metrics.ts";
import { SystemClock } from "../../adapters/system/clock.ts";
import type { NodePorts } from "../../node/network-facts.ts";
import { PodNetworks } from "../../node/pod-networks.ts";
import type { EventRecorder } from "../../ports/event-recorder.ts";
import type { Log } from "../../ports/log.ts";
import type { PodDirectory } from "../../ports/pod-directory.ts";
import type { PodStateStore } from "../../ports/pod-networks.ts";
import type { NodeConfig } from "../../wire/node-config.ts";
import type { NodeOptions } from "../../wire/node-options.ts";

/** What every part may use. */
export type NodeWorld = {
  readonly options: NodeOptions;
  /** Name of this node in the API server. */
  readonly nodeName: string;
  /** Calls to the API server; one that cannot be reached rejects each call, and nothing else. */
  readonly client: ApiClient;
  readonly directory: PodDirectory;
  readonly events: EventRecorder;
  /** Kernel, state of attachments, locks, clock and log. */
  readonly ports: NodePorts;
  /** Undefined where the kernel is reached by iproute2. */
  readonly calls: SystemCalls | undefined;
  readonly own: OwnPlugins;
  readonly pods: PodNetworks;
  /** States of pods, for counting. */
  readonly states: PodStateStore;
  readonly metrics: PrometheusNodeMetrics;
  /** Sends the events that wait and closes connections; after all parts were stopped. */
  close(): Promise<void>;
};

/** Puts it together; asks the API server nothing. Rejects when credentials cannot be read. */
export async function openNodeWorld(
  options: NodeOptions,
  config: NodeConfig,
  log: Log,
): Promise<NodeWorld> {
  const nodeName =
    options.hostname ||
    (process.env.MY_NODE_NAME ?? "").trim().toLowerCase() ||
    hostname().toLowerCase();
  const metrics = new PrometheusNodeMetrics(manifest.version);
  const client = new ApiClient({
    access: await openApiAccess(options),
    userAgent: `galaxy/${manifest.version}`,
    onRequest: ({ status }) => {
      if (status === 0 || status >= 400) metrics.count("api_errors", { code: String(status) });
    },
  });
  const clock = new SystemClock();
  const attachments = join(options.stateFolder, "attachments");
  const host = options.hostNetns === "" ? {} : { hostNetns: options.hostNetns };
  const { access, announcer, network, calls } = await openKernel(host);
  const locks = new SocketNodeLocks(attachments, calls);
  log.info("the kernel's network is reached", { over: access });
  const ports: NodePorts = {
    network,
    announcer,
    store: new AttachmentFiles(attachments),
    locks,
    clock,
    log,
  };
  const others = new ChildPluginExec(host);
  const states = new PodStateFiles(options.stateFolder);
  const own = new OwnPlugins(ports, others);
  const directory = new KubernetesPodDirectory(client);
  const events = new KubernetesEventRecorder({ client, log, instance: nodeName });
  const pods = new PodNetworks(
    {
      directory,
      catalog: new FileNetworkCatalog(config.networks, options.networkConfFolder),
      states,
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
  return {
    options,
    nodeName,
    client,
    directory,
    events,
    ports,
    calls,
    own,
    pods,
    states,
    metrics,
    async close() {
      await events.stop();
      client.close();
    },
  };
}
