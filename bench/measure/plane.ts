// What benchmarks on the real control plane have in common: nodes without kubelets, pods by the thousand, and how to wait for them.

import { type ApiClient, inParallel } from "../../test/control-plane/api.ts";
import { type Pod, pods } from "../../test/control-plane/kinds.ts";
import {
  aConfigMap,
  aPod,
  type FloatingIpEntry,
  type PodManifestWish,
} from "../../test/control-plane/manifests.ts";
import {
  type SimulatedNode,
  startSimulatedNodes,
} from "../../test/control-plane/simulated-nodes.ts";
import { nodeOf, zoneCount } from "./population.ts";

/** Writes of a benchmark's own preparations that are under way at a time. */
const writesInFlight = 32;

/** Pod subnets of /16 for the nodes of {@link nodeOf}. */
const zoneEntries: readonly FloatingIpEntry[] = Array.from({ length: zoneCount }, (_, zone) => ({
  nodeSubnets: [`10.200.${zone}.0/24`],
  ips: [`10.${64 + zone}.0.10~10.${64 + zone}.254.250`],
  subnet: `10.${64 + zone}.0.0/16`,
  gateway: `10.${64 + zone}.0.1`,
  vlan: 100 + zone,
}));

/**
 * Creates the address configuration and so many nodes. They are open for pods and nobody heartbeats or starts pods: to be used without
 * controllers, which would find the nodes dead.
 */
export async function prepareCluster(api: ApiClient, nodeCount: number): Promise<void> {
  await api.create(aConfigMap({ floatingips: zoneEntries }));
  const nodes = await startSimulatedNodes(api);
  await nodes.add(openNodes(nodeCount));
  await nodes.stop();
}

/** Nodes with room for any number of pods. */
export function openNodes(count: number): readonly SimulatedNode[] {
  return Array.from({ length: count }, (_, index) => ({
    ...nodeOf(index),
    cpu: "640",
    memory: "2560Gi",
    pods: 10_000,
  }));
}

/** Creates pods in namespace default and returns them as the API server has them, in the order of the names. */
export async function createPods(
  api: ApiClient,
  names: readonly string[],
  wish: (name: string, index: number) => Omit<PodManifestWish, "name">,
): Promise<readonly Pod[]> {
  const created: Pod[] = [];
  await inParallel(names.entries(), writesInFlight, async ([index, name]) => {
    created[index] = await api.create(aPod({ ...wish(name, index), name }));
  });
  return created;
}

/** Runs writes of a preparation, some at a time. */
export async function writeAll<Item>(
  items: Iterable<Item>,
  write: (item: Item) => Promise<unknown>,
): Promise<void> {
  await inParallel(items, writesInFlight, write);
}

/** Names `PREFIX-0`, `PREFIX-1` and so on. */
export function namesOf(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

/** Deletes all pods of namespace default at once and waits until none is left. */
export async function deletePods(api: ApiClient): Promise<void> {
  await api.deleteAll({ kind: pods, namespace: "default" }, { gracePeriodSeconds: 0 });
  await api.waitFor("no pods", { kind: pods }, (left) => left.length === 0, { timeoutMs: 300_000 });
}
