// galaxy-ipam: scheduler extender and controller of float IPs. This file only puts the parts together, starts them in order and stops
// them in reverse.

import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };
import { createApiRoutes } from "../adapters/http/api/api-routes.ts";
import { eventRoutes, openEventStream } from "../adapters/http/api/event-routes.ts";
import { historyRoutes } from "../adapters/http/api/history-routes.ts";
import type { Route } from "../adapters/http/api/route.ts";
import { createApiGuard } from "../adapters/http/api-guard.ts";
import { createApiServer } from "../adapters/http/api-server.ts";
import { createExtenderServer } from "../adapters/http/extender-server.ts";
import type { Health } from "../adapters/http/health-routes.ts";
import type { DoorTls } from "../adapters/http/http-door.ts";
import { readPageFiles } from "../adapters/http/page-files.ts";
import { createPinoLog } from "../adapters/log/pino-log.ts";
import { PrometheusMetrics } from "../adapters/metrics/prometheus-metrics.ts";
import { SystemClock } from "../adapters/system/clock.ts";
import { TlsFiles, type TlsMaterial } from "../adapters/system/tls-files.ts";
import { History } from "../ipam/history.ts";
import { IpamService } from "../ipam/ipam-service.ts";
import type { Log } from "../ports/log.ts";
import type { IpamFileConfig, IpamFlags } from "../wire/ipam-options.ts";
import { defaultFileConfig, parseIpamFileConfig, parseIpamFlags } from "../wire/ipam-options.ts";
import { createVips } from "./galaxy-ipam/vips.ts";
import type { Doors, World, WorldParts } from "./galaxy-ipam/world.ts";

/** Exit codes: 0 asked to stop, 1 the world failed, 2 the command line or a file it names is wrong. */
const exitWorld = 1;
const exitUsage = 2;

/** How many pods are reclaimed in parallel: enough to keep the API server busy, few enough to leave it to the scheduler. */
const reclaimParallelCount = 32;

/** What filter leaves of its time limit after it waited for promises to others: it still has to decide and answer. */
const afterPromiseWaitMs = 1_000;

/** Binds and reclaims that may wait; a cluster of the largest size that Kubernetes supports has 150,000 pods. */
const queueCapacity = 200_000;

/** Changes of a second or two are written down together; so much is lost when the process is killed. */
const historySettings = { flushMs: 2_000, retryMs: 5_000, mostWaiting: 50_000 };

/** Ages by which reserved addresses without a pod are counted, in milliseconds. */
const idleAges = [
  ["all", 0],
  ["1d", 86_400_000],
  ["7d", 604_800_000],
  ["30d", 2_592_000_000],
] as const;

/** Pause between attempts to start on an API server that does not answer. */
const startRetryMs = 2_000;

/** Pause between looks for what `galaxyctl check` would find, for its metric. */
const checkPeriodMs = 60_000;

/** Beside the built program, and where `npm start` builds it for the sources. */
const pageFolders = ["../ui", "../../dist/ui"].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseIpamFlags(argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return;
  }
  if (parsed.kind === "version") {
    process.stdout.write(`galaxy-ipam ${manifest.version}\n`);
    return;
  }
  if (parsed.kind === "invalid") return refuse(parsed.problems);
  const { flags } = parsed;
  const isEmbedded = !namesCluster(flags);
  if (isEmbedded && flags.extenderClientCaFile !== "") {
    return refuse([
      "--extender-client-ca-file needs a cluster: the simulated scheduler has no certificate; leave it out, or give --kubeconfig",
    ]);
  }
  if (isEmbedded && flags.apiClientCaFile !== "") {
    return refuse([
      "--api-client-ca-file needs a cluster: without one nobody knows users and their rights; leave it out, or give --kubeconfig",
    ]);
  }
  if (isEmbedded && !isLoopback(flags.bindAddress) && !flags.insecureApi) {
    return refuse([
      `--bind=${flags.bindAddress}: without a cluster there are no users, and whoever reaches the ports can do everything; leave --bind out, or add --insecure-api`,
    ]);
  }
  // Who tries the program in a terminal reads what it says; the lines about addresses come when asked for.
  const isQuiet = isEmbedded && process.stderr.isTTY && flags.verbosity === 0;
  const log = createPinoLog({ verbosity: isQuiet ? -1 : flags.verbosity });
  for (const warning of parsed.warnings) log.warn("command line", { warning });
  const fileConfig = await readFileConfig(flags, log);
  if ("problems" in fileConfig) return refuse(fileConfig.problems);
  // One of the two is read: each brings what the other does not need.
  const openWorld = isEmbedded
    ? (await import("./galaxy-ipam/embedded-world.ts")).openEmbeddedWorld
    : (await import("./galaxy-ipam/kubernetes-world.ts")).openKubernetesWorld;
  await serve({ flags, fileConfig, log, openWorld });
}

/** Outside a cluster, and without a word about one, the program brings its own. */
function namesCluster({ kubeconfig, master }: IpamFlags): boolean {
  return (
    kubeconfig !== "" || master !== "" || (process.env["KUBERNETES_SERVICE_HOST"] ?? "") !== ""
  );
}

function refuse(problems: readonly string[]): void {
  for (const problem of problems) process.stderr.write(`galaxy-ipam: ${problem}\n`);
  process.exitCode = exitUsage;
}

async function readFileConfig(
  flags: IpamFlags,
  log: Log,
): Promise<IpamFileConfig | { readonly problems: readonly string[] }> {
  const { path, isGiven } = flags.configFile;
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (!isGiven) return defaultFileConfig;
    const reason = error instanceof Error ? error.message : String(error);
    return { problems: [`file ${path} of --config cannot be read (${reason}); correct the path`] };
  }
  const parsed = parseIpamFileConfig(text, path);
  if (parsed.kind === "invalid") return { problems: parsed.problems };
  for (const warning of parsed.warnings) log.warn("configuration file", { warning });
  return parsed.config;
}

/** Runs until the process is asked to stop. */
async function serve(parts: {
  readonly flags: IpamFlags;
  readonly fileConfig: IpamFileConfig;
  readonly log: Log;
  readonly openWorld: (parts: WorldParts) => Promise<World>;
}): Promise<void> {
  const { flags, fileConfig, log } = parts;
  const stopping = new AbortController();
  const stopped = new Promise<void>((resolve) =>
    stopping.signal.addEventListener("abort", () => resolve()),
  );
  const stop = () => stopping.abort();
  process.once("SIGTERM", stop).once("SIGINT", stop);

  const identity = `${hostname()}_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  const clock = new SystemClock();
  const tlsFiles = await openTlsFiles(flags, log);
  const tls = tlsFiles?.material;

  let startProblem: string | undefined = "starting";
  const metrics = new PrometheusMetrics({ version: manifest.version, withProcessMetrics: true });
  const world = await parts.openWorld({
    flags,
    fileConfig,
    identity,
    version: manifest.version,
    log,
    metrics,
    clock,
    startLeading: () => {
      // The holders of before go on at once; only what is claimed anew waits until the address space is known.
      vips?.lead();
      void lead();
    },
    stopLeading: () => {
      isAddressSpaceKnown = false;
      history.stopLeading();
      void service.stopLeading();
    },
    configure: (configuration, about) => {
      service.configure(configuration, about);
      stream.configurationChanged();
    },
  });
  const { store, pools, quotas, cluster, binder, events, leadership } = world;
  const service = new IpamService(
    { store, pools, quotas, cluster, binder, events, clock, leadership, log, metrics },
    {
      holdMs: flags.holdMs,
      reuseDelayMs: flags.reuseDelayMs,
      promiseWaitMs: Math.max(0, flags.filterTimeoutMs - afterPromiseWaitMs),
      resyncMs: flags.resyncIntervalMs ?? fileConfig.resyncIntervalMs,
      reclaimParallelCount,
      queueCapacity,
      poolNamespace: flags.poolNamespace === "" ? undefined : flags.poolNamespace,
    },
  );

  let isAddressSpaceKnown = false;
  const vips =
    world.vips === undefined
      ? undefined
      : createVips({
          world: world.vips,
          service,
          isAddressSpaceKnown: () => isAddressSpaceKnown,
          leadership,
          events,
          metrics,
          clock,
          log,
        });

  /** Takes over, and tries again as long as this process leads. */
  const lead = async (): Promise<void> => {
    while (!stopping.signal.aborted && leadership.isLeader()) {
      try {
        await service.startLeading(world.whenClusterIsKnown());
        history.startLeading();
        isAddressSpaceKnown = leadership.isLeader();
        return;
      } catch (error) {
        log.warn("taking over failed, it is tried again", {}, error);
        await pause(startRetryMs, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
  };

  const history = new History(
    { allocator: service.allocator, history: world.history, clock, leadership, log },
    historySettings,
  );
  const stream = openEventStream({ service, pools, leadership });

  metrics.addGauges({
    usage: () => service.allocator.view.usage(),
    reclaimQueueLength: () => service.reclaim.queueLength,
    idle: () => ({
      bySubnet: idleAges.flatMap(([age, ms]) => {
        const usages = service.allocator.view.usage();
        const counts = service.idle.countBySubnet(ms);
        return usages.map((usage, index) => ({ usage, age, count: counts[index] ?? 0 }));
      }),
      due: service.idle.countDueBySubnet().flatMap((count, index) => {
        const usage = service.allocator.view.usage()[index];
        return usage === undefined ? [] : [{ usage, count }];
      }),
      byPool: service.idle.countByPool(),
    }),
    quotas: () =>
      service.quotaAdmin.namespaces().map((look) => ({
        quota: look.quota.name,
        namespace: look.namespace,
        limit: look.quota.limit,
        used: look.recordedCount + look.promisedCount,
      })),
    findings: () => service.check.counts,
    isLeader: () => leadership.isLeader(),
    isConfigValid: () => service.reconfigure.status.problems.length === 0,
    watchStaleness: () => {
      const nowMs = performance.now();
      return new Map(
        world
          .watches()
          .map((watch) => [watch.what, Math.max(0, nowMs - watch.lastContactMs) / 1000]),
      );
    },
  });
  /** While something cannot be read, why: a missing permission, for example. */
  const problemOfStart = (): string | undefined =>
    startProblem === undefined
      ? undefined
      : withCause(
          startProblem,
          world.watches().find(({ problem }) => problem !== undefined)?.problem,
        );
  const vipStore = world.vips?.vips;
  if (vipStore !== undefined) metrics.addVipGauges(() => vipStore.all());
  const health: Health = {
    livenessProblem: () => world.failure(),
    healthProblem: () =>
      problemOfStart() ?? configurationProblem(service, world.configurationProblem()),
    readinessProblem: () => {
      const problem =
        problemOfStart() ?? configurationProblem(service, world.configurationProblem());
      if (problem !== undefined) return problem;
      const { isReady, reason } = service.readiness();
      return isReady ? undefined : withCause(reason, world.electionProblem());
    },
  };
  const page = await readPageFiles(pageFolders);
  const api = createApiServer({
    page,
    health,
    metrics,
    log,
    tls: tls === undefined ? undefined : apiTls(tls),
    api: {
      routes: createApiRoutes({
        service,
        process: {
          version: manifest.version,
          instance: identity,
          mode: world.kind,
          startedAtMs: clock.nowMs(),
          configurationSource: world.configurationSource,
          leadership,
          nowMs: () => clock.nowMs(),
        },
        vips: vipStore === undefined ? undefined : () => vipStore.all(),
        vipPools: () => world.vips?.claims.pools() ?? [],
        configurationPlace: {
          namespace: fileConfig.configMapNamespace,
          name: fileConfig.configMapName,
          key: fileConfig.floatingipKey,
        },
        more: [
          ...historyRoutes(history),
          ...eventRoutes(stream),
          ...world.routes,
          ...(await profilesOf(flags, log)),
        ],
      }),
      guard: createApiGuard({
        review: flags.insecureApi ? undefined : world.accessReview,
        isLoopbackOnly: world.accessReview === undefined && !flags.insecureApi,
        log,
      }),
      readProblem: problemOfStart,
      changeProblem: () => {
        const { isReady, reason } = service.readiness();
        if (isReady) return undefined;
        const leader = leadership.isLeader() ? undefined : leadership.leaderName();
        return { message: reason, leader };
      },
    },
  });
  const extender = createExtenderServer({
    scheduling: service.scheduling,
    health,
    leadership,
    metrics,
    log,
    tls,
    filterTimeoutMs: flags.filterTimeoutMs,
    bindTimeoutMs: flags.bindTimeoutMs,
  });

  tlsFiles?.watch((material) => {
    api.renewTls(apiTls(material));
    extender.renewTls(material);
  });

  let doors: Doors;
  try {
    const host = flags.bindAddress;
    const apiPort = await api.listen({ host, port: flags.apiPort });
    const extenderPort = await extender.listen({ host, port: flags.port });
    log.info("listening", { address: host, extender: extenderPort, api: apiPort });
    doors = {
      host: reachable(host),
      extenderPort,
      apiPort,
      certificate: tlsFiles === undefined ? undefined : () => tlsFiles.material.cert,
      hasPage: page !== undefined,
    };
    if (!isLoopback(flags.bindAddress) && flags.extenderClientCaFile === "") {
      log.warn(
        "whoever reaches the extender's port can bind pods; bind it to 127.0.0.1 or give --extender-client-ca-file",
      );
    }
    if (flags.insecureApi) log.warn("whoever reaches the API's port can release addresses");
  } catch (error) {
    // One port that is open would keep the process alive although it does nothing.
    await api.close();
    world.close();
    throw error;
  }

  const readFailed = (error: unknown) => log.warn("records could not be read yet", {}, error);
  const ready = (async () => {
    startProblem = "what the cluster needs is being installed";
    await untilDone(
      stopping.signal,
      () => world.prepare(),
      (error) => {
        const problem = `cannot start: ${error instanceof Error ? error.message : String(error)}`;
        // Once for each reason: it is tried again every other second.
        if (problem !== startProblem) log.warn("start failed, it is tried again", {}, error);
        startProblem = problem;
      },
    );
    if (stopping.signal.aborted) return;
    startProblem = "the cluster is being read";
    world.follow();
    service.start();
    world.whenVipsAreKnown().then(() => {
      if (!stopping.signal.aborted) vips?.start();
    }, readFailed);
    await world.startConfiguration();
    await world.whenRecordsAreKnown();
    // The lease first, so that a leader reads the records once and while pods are read: that takes seconds for ten thousand of them.
    world.startElection();
    await world.whenClusterIsKnown();
    await untilDone(stopping.signal, () => service.follow(), readFailed);
    startProblem = undefined;
    if (!stopping.signal.aborted) await world.serve(doors, stopping.signal);
  })();
  ready.catch((error: unknown) => {
    log.error("start failed for good", {}, error);
    process.exitCode = exitWorld;
    stop();
  });

  const stopChecking = service.check.watch({
    everyMs: checkPeriodMs,
    isWanted: () => service.readiness().isReady,
  });

  await stopped;
  log.info("stopping");
  stopChecking();
  await extender.close();
  vips?.stop();
  await service.stop();
  await history.stop();
  await world.stopElection();
  await world.stop();
  stream.stop();
  await api.close();
  await tlsFiles?.stop();
  world.close();
}

/** An address under which this machine reaches a port that listens on another one, or on all. */
function reachable(bindAddress: string): string {
  if (bindAddress === "0.0.0.0" || bindAddress === "") return "127.0.0.1";
  return bindAddress === "::" ? "::1" : bindAddress;
}

/** @param cause why the configuration cannot be read; undefined when it can */
function configurationProblem(service: IpamService, cause: string | undefined): string | undefined {
  const { isConfigured, problems } = service.reconfigure.status;
  return isConfigured ? undefined : withCause(`not configured: ${problems.join("; ")}`, cause);
}

function withCause(problem: string, cause: string | undefined): string {
  return cause === undefined ? problem : `${problem}: ${cause}`;
}

function isLoopback(address: string): boolean {
  return /^(127\.|::1$|localhost$)/.test(address);
}

/** Tries until it works or the process stops. */
async function untilDone(
  signal: AbortSignal,
  action: () => Promise<unknown>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await action();
      return;
    } catch (error) {
      onFailure(error);
      await pause(startRetryMs, undefined, { signal }).catch(() => {});
    }
  }
}

/** Where nobody is asked who he is, there are none: a heap snapshot has the program's secrets. The inspector is loaded when it is needed. */
async function profilesOf(flags: IpamFlags, log: Log): Promise<readonly Route[]> {
  if (!flags.profiling) return [];
  if (flags.insecureApi) {
    log.warn("--profiling has no effect with --insecure-api: a heap snapshot has secrets in it");
    return [];
  }
  return (await import("../adapters/http/api/profile-routes.ts")).profileRoutes();
}

/** Users of the API may have a token in place of a certificate, and health is asked by who has neither. */
function apiTls({ apiClientCa, cert, key }: TlsMaterial): DoorTls {
  return { cert, key, clientCa: apiClientCa, admitsWithout: true };
}

async function openTlsFiles(flags: IpamFlags, log: Log): Promise<TlsFiles | undefined> {
  const { apiClientCaFile, tlsCertFile, tlsKeyFile, extenderClientCaFile } = flags;
  if (tlsCertFile === "") return undefined;
  return TlsFiles.open({
    cert: { path: tlsCertFile, flag: "--tls-cert-file" },
    key: { path: tlsKeyFile, flag: "--tls-private-key-file" },
    clientCa:
      extenderClientCaFile === ""
        ? undefined
        : { path: extenderClientCaFile, flag: "--extender-client-ca-file" },
    apiClientCa:
      apiClientCaFile === "" ? undefined : { path: apiClientCaFile, flag: "--api-client-ca-file" },
    log,
  });
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`galaxy-ipam: ${message}\n`);
  process.exitCode = exitWorld;
});
