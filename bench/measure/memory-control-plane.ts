// The use cases and the real extender server of one process over the in-memory adapters: what an answer costs without an API server.

import { createExtenderServer } from "../../src/adapters/http/extender-server.ts";
import type { Door } from "../../src/adapters/http/http-door.ts";
import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import { MemoryCluster } from "../../src/adapters/memory/cluster.ts";
import { MemoryClusterView } from "../../src/adapters/memory/cluster-view.ts";
import { MemoryEventRecorder } from "../../src/adapters/memory/event-recorder.ts";
import { FixedLeadership } from "../../src/adapters/memory/leadership.ts";
import { MemoryPodBinder } from "../../src/adapters/memory/pod-binder.ts";
import { MemoryPoolStore } from "../../src/adapters/memory/pool-store.ts";
import { PrometheusMetrics } from "../../src/adapters/metrics/prometheus-metrics.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { PodFacts } from "../../src/core/facts.ts";
import { parseIp } from "../../src/core/ip.ts";
import { podIdText } from "../../src/core/owner.ts";
import { policyInForce } from "../../src/core/release-policy.ts";
import { IpamService } from "../../src/ipam/ipam-service.ts";
import type { ClusterView } from "../../src/ports/cluster-view.ts";
import type { Log } from "../../src/ports/log.ts";
import { configuredSubnets, type Member, nodeOf, type PopulationWorkload } from "./population.ts";

/** Longer than any benchmark: resyncs happen when a benchmark asks for one. */
const neverMs = 24 * 3_600_000;

/** What an operator would see as trouble is shown; the rest is what the log adapter's own cost would be. */
export const quietLog: Log = {
  error: (message, fields, cause) => console.error(message, fields, cause),
  warn: (message, fields, cause) => console.warn(message, fields, cause),
  info: () => {},
  debug: () => {},
};

/** A control plane that answers the scheduler. */
export type MemoryControlPlane = {
  readonly cluster: MemoryCluster;
  readonly service: IpamService;
  readonly port: number;
  stop(): Promise<void>;
};

/**
 * Starts it over a cluster of so many nodes; resolves when it leads and has looked at every record once.
 * @param fill puts pods, workloads and records before it starts
 */
export async function startMemoryControlPlane(
  nodeCount: number,
  fill: (cluster: MemoryCluster) => void,
): Promise<MemoryControlPlane> {
  const cluster = new MemoryCluster();
  putNodes(cluster, nodeCount);
  fill(cluster);
  const { service, leadership, metrics } = createMemoryService(cluster);
  const door: Door = createExtenderServer({
    scheduling: service.scheduling,
    health: {
      livenessProblem: () => undefined,
      healthProblem: () => undefined,
      readinessProblem: () => (service.readiness().isReady ? undefined : "not ready"),
    },
    leadership,
    metrics,
    log: quietLog,
  });
  // As in the program the port is open first; it also keeps the process alive while timers, which do not, are waited for.
  const port = await door.listen({ host: "127.0.0.1", port: 0 });
  service.start();
  service.configure({ kind: "valid", subnets: configuredSubnets(), warnings: [] }, undefined);
  await service.startLeading();
  await service.reclaim.resync();
  return {
    cluster,
    service,
    port,
    stop: async () => {
      await door.close(0);
      await service.stop();
    },
  };
}

/**
 * The use cases over a cluster, not started.
 * @param view what they see of the cluster; by default the cluster itself
 */
export function createMemoryService(
  cluster: MemoryCluster,
  view: ClusterView = new MemoryClusterView(cluster),
): {
  readonly service: IpamService;
  readonly leadership: FixedLeadership;
  readonly metrics: PrometheusMetrics;
} {
  const leadership = new FixedLeadership();
  const metrics = new PrometheusMetrics({ version: "bench", withProcessMetrics: false });
  const service = new IpamService(
    {
      store: new MemoryAllocationStore(cluster),
      pools: new MemoryPoolStore(cluster),
      cluster: view,
      binder: new MemoryPodBinder(cluster),
      events: new MemoryEventRecorder(),
      clock: new SystemClock(),
      leadership,
      log: quietLog,
      metrics,
    },
    {
      holdMs: 30_000,
      reuseDelayMs: 10_000,
      promiseWaitMs: 500,
      resyncMs: neverMs,
      reclaimParallelCount: 32,
      queueCapacity: 200_000,
    },
  );
  return { service, leadership, metrics };
}

/** Puts so many nodes where caches show them. */
export function putNodes(cluster: MemoryCluster, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const { name, internalIp } = nodeOf(index);
    const ip = parseIp(internalIp);
    cluster.live.nodes.set(name, { name, internalIps: ip === undefined ? [] : [ip] });
  }
}

/** Puts a workload with its replicas, and the ReplicaSet of a Deployment, where caches show them. */
export function putWorkload(cluster: MemoryCluster, workload: PopulationWorkload): void {
  const { namespace, name } = workload.ref;
  const { replicas } = workload;
  if (workload.ref.type !== "deployment") {
    cluster.putStatefulSet({ namespace, name, replicas });
    return;
  }
  const { controller } = cluster.putDeployment({ namespace, name, replicas });
  cluster.putReplicaSet({ namespace, name: workload.replicaSet, replicas, owner: controller });
}

/** Puts the record of a member and, when a pod has the address, the running pod. */
export function putMember(cluster: MemoryCluster, member: Member): void {
  const { allocation, workload, podName } = member;
  cluster.records.set(allocation.ip, allocation);
  if (allocation.podUid === "") return;
  const pod = podFacts(workload, podName, allocation.podUid);
  cluster.live.pods.set(podIdText(pod.id), {
    ...pod,
    phase: "Running",
    nodeName: allocation.nodeName,
    assignedIps: [allocation.ip],
  });
}

/** A pod of the workload that waits for a node. */
export function podFacts(workload: PopulationWorkload, name: string, uid: string): PodFacts {
  const isDeployment = workload.ref.type === "deployment";
  return {
    id: { namespace: workload.ref.namespace, name },
    uid,
    phase: "Pending",
    isTerminating: false,
    nodeName: "",
    wantsAddress: true,
    policy: policyInForce(workload.policy, undefined),
    pool: undefined,
    controller: {
      apiGroup: "apps",
      apiVersion: "v1",
      kind: isDeployment ? "ReplicaSet" : "StatefulSet",
      name: isDeployment ? workload.replicaSet : workload.ref.name,
      uid: `uid-${workload.ref.name}`,
    },
    request: { kind: "families", families: undefined },
    assignedIps: [],
    argsText: "",
    problems: [],
    createdAtMs: 1_790_000_000_000,
  };
}
