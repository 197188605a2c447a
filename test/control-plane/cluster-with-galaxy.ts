// A whole cluster for scenarios: control plane, scheduler with our extender, galaxy-ipam as a process and simulated nodes.

import type { ApiClient } from "./api.ts";
import { isReady, podsOf } from "./api.ts";
import type { ControlPlane, ControlPlaneOptions, SchedulerOptions } from "./control-plane.ts";
import { startControlPlane } from "./control-plane.ts";
import type { FaultyApiProxy } from "./faulty-api-proxy.ts";
import type { GalaxyIpam } from "./galaxy-ipam.ts";
import { startGalaxyIpam } from "./galaxy-ipam.ts";
import type { Pod } from "./kinds.ts";
import type { FloatingIpEntry } from "./manifests.ts";
import { aConfigMap } from "./manifests.ts";
import type { SimulatedNode, SimulatedNodes, SimulatedNodesOptions } from "./simulated-nodes.ts";
import { startSimulatedNodes } from "./simulated-nodes.ts";

/** Two pod subnets, each for one node network. */
export const twoSubnets: readonly FloatingIpEntry[] = [
  {
    nodeSubnets: ["10.49.27.0/24"],
    ips: ["10.49.70.2~10.49.70.21"],
    subnet: "10.49.70.0/24",
    gateway: "10.49.70.1",
    vlan: 2,
  },
  {
    nodeSubnets: ["10.173.13.0/24"],
    ips: ["10.173.80.2~10.173.80.21"],
    subnet: "10.173.80.0/24",
    gateway: "10.173.80.1",
    vlan: 3,
  },
];

/** Nodes a1, a2 and a3 of the first node network and b1 of the second. */
export const fourNodes: readonly SimulatedNode[] = [
  { name: "a1", internalIp: "10.49.27.1" },
  { name: "a2", internalIp: "10.49.27.2" },
  { name: "a3", internalIp: "10.49.27.3" },
  { name: "b1", internalIp: "10.173.13.1" },
];

/** What is to be started. */
export type ClusterOptions = {
  readonly plane?: ControlPlaneOptions;
  readonly scheduler?: Omit<SchedulerOptions, "extenderUrl">;
  /** Undefined: {@link twoSubnets}; false: no ConfigMap. */
  readonly floatingips?: readonly FloatingIpEntry[] | false;
  /** Undefined: {@link fourNodes}. */
  readonly nodes?: readonly SimulatedNode[];
  readonly simulation?: SimulatedNodesOptions;
  /** Flags of galaxy-ipam, after those of {@link quickFlags}. */
  readonly flags?: readonly string[];
  /** Stands between galaxy-ipam and the API server; it is told where to forward to, and stays the caller's. */
  readonly proxy?: FaultyApiProxy;
  /** Ports of galaxy-ipam; free ones by default. */
  readonly port?: number;
  readonly apiPort?: number;
};

/** A resync each second, and leases that are over soon, but not before a slow machine has renewed them. */
export const quickFlags: readonly string[] = [
  "--resync-interval=1s",
  "--leader-elect-lease-duration=6s",
  "--leader-elect-renew-deadline=5s",
  "--leader-elect-retry-period=500ms",
];

/** The running cluster. */
export type Cluster = {
  readonly plane: ControlPlane;
  readonly api: ApiClient;
  readonly nodes: SimulatedNodes;
  /** The process that runs now. */
  ipam(): GalaxyIpam;
  /**
   * Ends the process with the signal (SIGKILL by default) and starts another one on the same ports; resolves when that is ready, or
   * listens when `isReady` is false.
   */
  restartIpam(
    signal?: NodeJS.Signals,
    options?: {
      /** In place of those that the cluster was started with. */
      readonly flags?: readonly string[];
      readonly isReady?: boolean;
      /** Between the end of the one and the start of the other. */
      readonly meanwhile?: () => Promise<unknown>;
    },
  ): Promise<void>;
  /** Waits until a workload (label `app`) has exactly so many pods, all Ready. */
  readyPods(app: string, count: number): Promise<readonly Pod[]>;
  /** Puts another address configuration into the ConfigMap. */
  configure(floatingips: readonly FloatingIpEntry[] | string): Promise<void>;
  stop(): Promise<void>;
};

/** Starts everything; resolves when galaxy-ipam is ready (at once when it has no ConfigMap). */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const plane = await startControlPlane(options.plane ?? {});
  const { api } = plane;
  const { proxy } = options;
  proxy?.forwardTo(api.address);
  const flagsWith = (more: readonly string[]) => [
    ...quickFlags,
    ...(proxy === undefined ? [] : [`--master=${proxy.url}`]),
    ...more,
  ];
  const ownFlags = options.flags ?? [];
  const kubeconfig = plane.kubeconfigOf("galaxy-ipam");
  let nodes: SimulatedNodes | undefined;
  let ipam: GalaxyIpam | undefined;
  try {
    if (options.floatingips !== false) {
      await api.create(aConfigMap({ floatingips: options.floatingips ?? twoSubnets }));
    }
    nodes = await startSimulatedNodes(api, options.simulation ?? {});
    await nodes.add(options.nodes ?? fourNodes);
    ipam = await startGalaxyIpam({
      kubeconfig,
      flags: flagsWith(ownFlags),
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.apiPort === undefined ? {} : { apiPort: options.apiPort }),
    });
    await plane.startScheduler({ ...options.scheduler, extenderUrl: ipam.url });
    if (options.floatingips !== false) await ipam.whenReady();
  } catch (error) {
    await nodes?.stop();
    await ipam?.stop("SIGKILL");
    await plane.stop();
    throw error;
  }
  const simulated = nodes;
  let current = ipam;
  return {
    plane,
    api,
    nodes: simulated,
    ipam: () => current,
    restartIpam: async (signal = "SIGKILL", restart = {}) => {
      const { port, apiPort } = current;
      await current.stop(signal);
      await restart.meanwhile?.();
      const flags = flagsWith(restart.flags ?? ownFlags);
      current = await startGalaxyIpam({ kubeconfig, flags, port, apiPort });
      if (restart.isReady !== false) await current.whenReady();
    },
    readyPods: (app, count) =>
      api.waitFor(
        `${count} ready pods of ${app}`,
        podsOf("default", app),
        (seen) => seen.length === count && seen.every(isReady),
      ),
    configure: async (floatingips) => {
      await api.apply(aConfigMap({ floatingips }));
    },
    stop: async () => {
      await simulated.stop();
      await current.stop();
      await plane.stop();
    },
  };
}
