// galaxy-ipam in a Kubernetes cluster: everything behind its API server. Only puts adapters together.

import { KubernetesAccessReview } from "../../adapters/kubernetes/access-review.ts";
import { KubernetesAllocationStore } from "../../adapters/kubernetes/allocation-store.ts";
import type { ApiAccess } from "../../adapters/kubernetes/api-access.ts";
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
import { KubernetesPodConditions } from "../../adapters/kubernetes/pod-conditions.ts";
import { KubernetesPoolStore } from "../../adapters/kubernetes/pool-store.ts";
import { KubernetesQuotaStore } from "../../adapters/kubernetes/quota-store.ts";
import { KubernetesVipClaims } from "../../adapters/kubernetes/vip-claims.ts";
import {
  ensureNamespace,
  KubernetesNodeLeaseStore,
  KubernetesVipStore,
} from "../../adapters/kubernetes/vip-stores.ts";
import { MemoryHistoryStore } from "../../adapters/memory/history-store.ts";
import { SoleLeader } from "../../adapters/system/sole-leader.ts";
import { WatchedFile } from "../../adapters/system/watched-file.ts";
import { formatCidr } from "../../core/ip-range.ts";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";
import { galaxyApiVersion } from "../../wire/established-names.ts";
import { parseFloatingIpConfig } from "../../wire/floatingip-config.ts";
import { quotaCrd } from "../../wire/quota.ts";
import { floatingVipCrd, vipPoolCrd } from "../../wire/vip-objects.ts";
import type { VipWorld, World, WorldParts } from "./world.ts";

/** Connections of virtual addresses to the API server: fewer than float IPs have, so that a storm of moves leaves it to them. */
const vipConnections = 64;

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
  const quotas = new KubernetesQuotaStore({
    client,
    log,
    metrics,
    refused: ({ name, uid, problem }) => {
      const about = {
        apiVersion: galaxyApiVersion,
        kind: "FloatingIPQuota",
        namespace: "",
        name,
        uid,
      };
      if (!leadership.isLeader()) return;
      events.record({ about, type: "Warning", reason: "FloatingIPQuotaRefused", message: problem });
    },
  });
  let servesQuotas = false;
  const vips = flags.servesVips ? openVips(parts, access) : undefined;
  const cluster = new KubernetesClusterView({
    client,
    log,
    ...(vips === undefined ? {} : { alsoTells: vips.listeners }),
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
    quotas,
    cluster,
    binder,
    events,
    leadership,
    history:
      flags.historyChanges === 0
        ? new MemoryHistoryStore({ bounds, clock })
        : new KubernetesHistoryStore({ client, log, clock, leadership, identity, bounds }),
    accessReview: new KubernetesAccessReview({ client, log }),
    vips: vips?.world,
    watches: () => [
      ...cluster.watches(),
      store.watchState,
      pools.watchState,
      ...(servesQuotas ? [quotas.watchState] : []),
      ...(vips?.watches() ?? []),
    ],
    electionProblem: () => election?.problem,
    configurationProblem: () => configuration.problem(),
    prepare: async () => {
      await ensureCrds({ client, log });
      servesQuotas = await prepareQuotas(client, log);
      if (vips !== undefined) await prepareVips(client, log, flags.vipLeaseNamespace);
    },
    follow: () => {
      for (const part of [store, pools, cluster]) part.start();
      if (servesQuotas) quotas.start();
      vips?.start();
    },
    startConfiguration: () => configuration.start(),
    whenRecordsAreKnown: () =>
      Promise.all([
        store.whenSynced(),
        pools.whenSynced(),
        servesQuotas ? quotas.whenSynced() : undefined,
      ]),
    whenClusterIsKnown: () => cluster.whenSynced(),
    whenVipsAreKnown: () => Promise.all([cluster.whenSynced(), vips?.whenSynced()]),
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
      for (const part of [cluster, quotas, pools, store]) part.stop();
      vips?.stop();
      await events.stop();
    },
    close: () => {
      client.close();
      vips?.close();
    },
  };
}

/** @returns false in a cluster whose roles know nothing of quotas: it has none, and is served without them */
async function prepareQuotas(client: ApiClient, log: Log): Promise<boolean> {
  try {
    await ensureCrds({ client, log, manifests: [quotaCrd] });
    return true;
  } catch (error) {
    if (!(error instanceof WorldError) || error.code !== "API_FORBIDDEN") throw error;
    log.warn(
      "quotas of namespaces are not in force; apply the definitions and roles of this version (deploy/base) and start again",
      { reason: error.message },
    );
    return false;
  }
}

/** A cluster whose roles know nothing of virtual addresses is served without them. */
async function prepareVips(client: ApiClient, log: Log, leaseNamespace: string): Promise<void> {
  try {
    await ensureCrds({ client, log, manifests: [floatingVipCrd, vipPoolCrd] });
    await ensureNamespace({ client, log, name: leaseNamespace });
  } catch (error) {
    if (!(error instanceof WorldError) || error.code !== "API_FORBIDDEN") throw error;
    log.warn(
      "virtual addresses are not served until what is missing is there; apply or grant it, or give --vip=false",
      { reason: error.message },
    );
  }
}

/** Virtual addresses, over a client of their own: neither waits for the other's connections or limits. */
function openVips({ flags, log, version }: WorldParts, access: ApiAccess) {
  const client = new ApiClient({
    access,
    requestsPerSecond: flags.kubeApiQps,
    burst: flags.kubeApiBurst,
    maxConnections: vipConnections,
    userAgent: `galaxy-ipam/${version}`,
  });
  const vips = new KubernetesVipStore({ client, log });
  const leases = new KubernetesNodeLeaseStore({ client, log, namespace: flags.vipLeaseNamespace });
  const claims = new KubernetesVipClaims({
    client,
    log,
    readsCalico: flags.vipReadsCalico,
    refused: flags.vipRefused.map((cidr) => ({
      range: cidr.range,
      what: `in ${formatCidr(cidr)} of --vip-refuse`,
    })),
  });
  const own = [vips, leases, claims];
  const world: VipWorld = {
    vips,
    leases,
    claims,
    pools: claims,
    conditions: new KubernetesPodConditions(client),
    refOf: (ip) => vips.refOf(ip),
  };
  return {
    world,
    listeners: {
      pods: claims.podListener,
      deployments: claims.workloadListener("apps/v1", "Deployment"),
      statefulSets: claims.workloadListener("apps/v1", "StatefulSet"),
    },
    watches: () => [vips.watchState, leases.watchState, ...claims.watches()],
    start: () => {
      for (const part of own) part.start();
    },
    whenSynced: () => Promise.all(own.map((part) => part.whenSynced())),
    stop: () => {
      for (const part of own) part.stop();
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
