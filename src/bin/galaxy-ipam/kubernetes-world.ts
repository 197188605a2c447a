// galaxy-ipam in a Kubernetes cluster: everything behind its API server. Only puts adapters together.

import { KubernetesAccessReview } from "../../adapters/kubernetes/access-review.ts";
import { KubernetesAllocationStore } from "../../adapters/kubernetes/allocation-store.ts";
import { ApiClient } from "../../adapters/kubernetes/api-client.ts";
import { KubernetesClusterView } from "../../adapters/kubernetes/cluster-view.ts";
import { ConfigMapSource } from "../../adapters/kubernetes/config-source.ts";
import { ensureCrds } from "../../adapters/kubernetes/crds.ts";
import { openApiAccess } from "../../adapters/kubernetes/credentials.ts";
import { KubernetesEventRecorder } from "../../adapters/kubernetes/event-recorder.ts";
import { KubernetesHistoryStore } from "../../adapters/kubernetes/history-store.ts";
import { LeaderLabel } from "../../adapters/kubernetes/leader-label.ts";
import { LeaseElection } from "../../adapters/kubernetes/lease-election.ts";
import { KubernetesPodBinder } from "../../adapters/kubernetes/pod-binder.ts";
import { KubernetesPoolStore } from "../../adapters/kubernetes/pool-store.ts";
import { MemoryHistoryStore } from "../../adapters/memory/history-store.ts";
import { SoleLeader } from "../../adapters/system/sole-leader.ts";
import { WatchedFile } from "../../adapters/system/watched-file.ts";
import { parseFloatingIpConfig } from "../../wire/floatingip-config.ts";
import type { World, WorldParts } from "./world.ts";

/** @throws WorldError KUBECONFIG_UNUSABLE */
export async function openKubernetesWorld(parts: WorldParts): Promise<World> {
  const { flags, identity, log, metrics, clock } = parts;
  const access = await openApiAccess({ kubeconfig: flags.kubeconfig, master: flags.master });
  const client = new ApiClient({
    access,
    requestsPerSecond: flags.kubeApiQps,
    burst: flags.kubeApiBurst,
    userAgent: `galaxy-ipam/${parts.version}`,
    onRequest: (sample) => {
      if (sample.status === 0 || sample.status >= 500) {
        metrics.count("api_errors", { code: String(sample.status) });
      }
    },
  });
  const events = new KubernetesEventRecorder({ client, log, instance: identity });
  const store = new KubernetesAllocationStore({ client, log, metrics });
  const pools = new KubernetesPoolStore({
    client,
    log,
    metrics,
    clock,
    namespace: flags.poolNamespace,
  });
  const cluster = new KubernetesClusterView({
    client,
    log,
    policyIgnored: ({ namespace, name, uid }, message) => {
      if (!leadership.isLeader()) return;
      metrics.count("bad_input", { input: "annotation" });
      const about = { apiVersion: "v1", kind: "Pod", namespace, name, uid };
      events.record({ about, type: "Warning", reason: "FloatingIPIgnored", message });
    },
  });
  const binder = new KubernetesPodBinder({ client, mayBeStale: (pod) => cluster.mayBeStale(pod) });
  const election = flags.leaderElect
    ? new LeaseElection({
        client,
        log,
        namespace: flags.leaseNamespace,
        name: flags.leaseName,
        identity,
        leaseMs: flags.leaseMs,
        renewLimitMs: flags.renewDeadlineMs,
        retryMs: flags.retryPeriodMs,
        onStarted: () => {
          label?.changed();
          parts.startLeading();
        },
        onStopped: () => {
          label?.changed();
          parts.stopLeading();
        },
      })
    : undefined;
  const leadership = election ?? new SoleLeader(identity);
  const { POD_NAME: podName = "", POD_NAMESPACE: namespace = "" } = process.env;
  const label =
    podName === "" || namespace === ""
      ? undefined
      : new LeaderLabel({
          client,
          log,
          namespace,
          podName,
          isLeader: () => leadership.isLeader(),
        });
  const bounds = { mostChanges: flags.historyChanges, longestMs: flags.historyMs };
  const configuration = configurationSource(parts, client);
  return {
    kind: "kubernetes",
    configurationSource: configuration.name,
    routes: [],
    failure: () => undefined,
    serve: () => Promise.resolve(),
    store,
    pools,
    cluster,
    binder,
    events,
    leadership,
    history:
      flags.historyChanges === 0
        ? new MemoryHistoryStore({ bounds, clock })
        : new KubernetesHistoryStore({ client, log, clock, leadership, identity, bounds }),
    accessReview: new KubernetesAccessReview({ client, log }),
    watches: () => [...cluster.watches(), store.watchState, pools.watchState],
    electionProblem: () => election?.problem,
    configurationProblem: () => configuration.problem(),
    prepare: async () => {
      await ensureCrds({ client, log });
    },
    follow: () => {
      for (const part of [store, pools, cluster]) part.start();
    },
    startConfiguration: () => configuration.start(),
    whenRecordsAreKnown: () => Promise.all([store.whenSynced(), pools.whenSynced()]),
    whenClusterIsKnown: () => cluster.whenSynced(),
    startElection: () => {
      if (election === undefined) parts.startLeading();
      else election.start();
      label?.changed();
    },
    stopElection: async () => {
      await election?.stop();
      await label?.stop();
    },
    stop: async () => {
      await configuration.stop();
      for (const part of [cluster, pools, store]) part.stop();
      await events.stop();
    },
    close: () => client.close(),
  };
}

/** Where the pod subnets come from: the JSON configuration, a file or the ConfigMap. */
function configurationSource(
  parts: WorldParts,
  client: ApiClient,
): {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  problem(): string | undefined;
} {
  const { flags, fileConfig, log, configure } = parts;
  if (flags.floatingipsFile !== "") {
    const file = new WatchedFile(flags.floatingipsFile, (text) => {
      configure(text.kind === "text" ? parseFloatingIpConfig(text.text) : text, undefined);
    });
    return {
      name: `file ${flags.floatingipsFile}`,
      start: () => file.start(),
      stop: () => file.stop(),
      problem: () => undefined,
    };
  }
  const { floatingipsText } = fileConfig;
  if (floatingipsText !== undefined) {
    return {
      name: `file ${flags.configFile.path}`,
      start: async () => configure(parseFloatingIpConfig(floatingipsText), undefined),
      stop: async () => {},
      problem: () => undefined,
    };
  }
  const { configMapName: name, configMapNamespace: namespace, floatingipKey: key } = fileConfig;
  const source = new ConfigMapSource({
    client,
    log,
    namespace,
    name,
    key,
    changed: (config) => {
      if (config.kind === "text") {
        configure(parseFloatingIpConfig(config.text), config.about);
      } else if (config.kind === "missing-key") {
        const problem = `ConfigMap ${namespace}/${name} has no key "${key}" in data; add it with the pod subnets`;
        configure({ kind: "missing", problem }, config.about);
      } else {
        const problem = `ConfigMap ${namespace}/${name} does not exist; create it with the key "${key}"`;
        configure({ kind: "missing", problem }, undefined);
      }
    },
  });
  return {
    name: `ConfigMap ${namespace}/${name}, key ${key}`,
    start: async () => source.start(),
    stop: async () => source.stop(),
    problem: () => source.watchState.problem,
  };
}
