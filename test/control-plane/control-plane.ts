// A real Kubernetes control plane on loopback for tests, benchmarks and the demo: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler as child processes in a temporary folder. Nodes are simulated elsewhere.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiClient } from "./api.ts";
import { type KubernetesVersion, locateBinaries } from "./binaries.ts";
import {
  type ChildProgram,
  freePort,
  removeAtExit,
  startProgram,
  waitForProgram,
} from "./child-program.ts";
import { FLOAT_IP_RESOURCE } from "./manifests.ts";

/** A user of the API server, known by a token. */
export type User = {
  readonly name: string;
  /** `system:masters` may do everything; without groups RBAC decides. */
  readonly groups: readonly string[];
};

export type ControlPlaneOptions = {
  /** etcd writes through to the disk; false by default, true for durability figures. */
  readonly isDurable?: boolean;
  /** Users beside `admin`, `galaxy-ipam` (both may do everything) and `galaxy-ipam-limited` (no rights but RBAC's). */
  readonly users?: readonly User[];
  /** Without a heartbeat for this long a node is declared NotReady; 40,000 by default as in Kubernetes. */
  readonly nodeMonitorGraceMs?: number;
  /** How long pods tolerate a node that is not ready or unreachable before they are evicted; 300 by default. */
  readonly tolerationSeconds?: number;
  /** Starts kube-scheduler at once; otherwise `startScheduler` does. */
  readonly scheduler?: SchedulerOptions;
  /** False leaves out kube-controller-manager, for tests that make pods themselves; true by default. */
  readonly hasControllers?: boolean;
  /** Further flags, for example `{ "kube-apiserver": ["--v=4"] }`; they win over those of the harness. */
  readonly flags?: Readonly<Partial<Record<ProgramName, readonly string[]>>>;
  /** Variables of a program's environment beside those of this process. */
  readonly env?: Readonly<Partial<Record<ProgramName, Readonly<Record<string, string>>>>>;
  /** Keeps folder and logs after `stop()`; also with the environment variable KEEP_CONTROL_PLANE=1. */
  readonly keepsFolder?: boolean;
};

export type SchedulerOptions = {
  /** The product's address without path, for example `http://127.0.0.1:9040`; none schedules without extender. */
  readonly extenderUrl?: string;
  /** Weight of the extender's priorities; 1 by default. */
  readonly weight?: number;
  /** The scheduler sends node names only; false by default. */
  readonly nodeCacheCapable?: boolean;
  /** How long the scheduler waits for the extender; 30,000 by default. */
  readonly httpTimeoutMs?: number;
  /** The scheduler goes on without an extender that fails; false by default. */
  readonly ignorable?: boolean;
  /** How the scheduler knows the extender's port, and is known there; for an address with https. */
  readonly extenderTls?: {
    readonly caFile: string;
    readonly certFile: string;
    readonly keyFile: string;
  };
  /** Only pods that ask for the float IP resource reach the extender, and the scheduler ignores it; true by default. */
  readonly managesFloatIpResource?: boolean;
  /** Leaves a verb out of the configuration. */
  readonly without?: readonly ("filter" | "prioritize" | "preempt" | "bind")[];
  /** Calls per second to the API server; 1,000 by default, so that the scheduler's own limit is not measured. */
  readonly clientQps?: number;
  /** Longest pause before a pod is tried again; 2 by default (Kubernetes: 10). */
  readonly maxBackoffSeconds?: number;
  /**
   * What an operator wrote, in place of what the options above say: members of a KubeSchedulerConfiguration, or the whole of an old Policy
   * (Kubernetes up to 1.22).
   */
  readonly written?:
    | { readonly kind: "configuration"; readonly members: Readonly<Record<string, unknown>> }
    | { readonly kind: "policy"; readonly policy: unknown };
};

export type ProgramName = "etcd" | "kube-apiserver" | "kube-controller-manager" | "kube-scheduler";

export type ControlPlane = {
  readonly version: KubernetesVersion;
  /** Logs and data; `<program>.log` is the log of each program. */
  readonly folder: string;
  /** Address of the API server; the same after a restart. */
  readonly url: string;
  /** PEM file with the API server's certificate authority. */
  readonly caFile: string;
  /** The administrator's client. */
  readonly api: ApiClient;
  /** A client of its own for a user; closed by `stop()`. */
  clientOf(user: string): ApiClient;
  /** Bearer token of a user. */
  tokenOf(user: string): string;
  /** Path of a kubeconfig file (JSON, which is YAML) of `admin`, `galaxy-ipam`, `galaxy-ipam-limited` or a further user. */
  kubeconfigOf(user: string): string;
  /** Starts kube-scheduler, or restarts it with other options. */
  startScheduler(options?: SchedulerOptions): Promise<void>;
  stopScheduler(): Promise<void>;
  startControllerManager(): Promise<void>;
  stopControllerManager(): Promise<void>;
  /** Ends the API server at once (SIGKILL); with SIGTERM open connections are served for up to 5 s. */
  stopApiServer(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port with the same data, and waits until it is ready. */
  startApiServer(): Promise<void>;
  /** Freezes the API server: connections stay open and nothing is answered. */
  pauseApiServer(): void;
  resumeApiServer(): void;
  /** Kills etcd, keeps it away for `downMs` (0 by default) and starts it again with the same data. */
  restartEtcd(downMs?: number): Promise<void>;
  /** Process ids of the programs that run. */
  pids(): Readonly<Partial<Record<ProgramName, number>>>;
  /** Resident memory in bytes of the programs that run. */
  memoryBytes(): Promise<Readonly<Partial<Record<ProgramName, number>>>>;
  /** Ends everything and removes the folder. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Followed by the process id of the owner, so that left ones can be told from those in use. */
const FOLDER_PREFIX = "galaxy-control-plane-";
const LEFT_AFTER_MS = 3_600_000;
const CONTROLLERS = [
  "deployment",
  "replicaset",
  "statefulset",
  "daemonset",
  "garbagecollector",
  "namespace",
  "job",
  "disruption",
  "podgc",
  "nodelifecycle",
];

/**
 * Starts a control plane on free loopback ports. Throws when the programs cannot be had (ask `reasonToSkip` before)
 * or do not become ready, with the tail of the log of the one that failed.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const binaries = await locateBinaries();
  if (binaries.kind === "missing") {
    throw new Error(`no control plane can be started: ${binaries.because}`);
  }
  const { version } = binaries;
  await removeLeftFolders();
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`));
  const keepsFolder = options.keepsFolder ?? process.env.KEEP_CONTROL_PLANE === "1";
  if (keepsFolder) {
    process.stderr.write(`control plane: logs stay in ${folder}\n`);
  } else {
    removeAtExit(folder);
  }

  const [etcdPort, etcdPeerPort, apiPort] = await distinctPorts();
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const url = `https://127.0.0.1:${apiPort}`;
  const certificates = join(folder, "certificates");
  const caFile = join(certificates, "apiserver.crt");
  const users = [
    { name: "admin", groups: ["system:masters"] },
    { name: "galaxy-ipam", groups: ["system:masters"] },
    { name: "galaxy-ipam-limited", groups: [] },
    { name: "system:kube-scheduler", groups: ["system:masters"] },
    { name: "system:kube-controller-manager", groups: ["system:masters"] },
    ...(options.users ?? []),
  ];
  const tokens = new Map(users.map((user) => [user.name, randomBytes(16).toString("hex")]));
  const running = new Map<ProgramName, ChildProgram>();
  const clients = new Map<string, ApiClient>();
  let ca = "";

  const start = (name: ProgramName, file: string, args: readonly string[]): ChildProgram => {
    const more = options.flags?.[name] ?? [];
    const logFile = join(folder, `${name}.log`);
    const env = options.env?.[name] ?? {};
    const program = startProgram({ name, file, args: [...args, ...more], logFile, env });
    running.set(name, program);
    return program;
  };
  const end = async (name: ProgramName, signal?: NodeJS.Signals): Promise<void> => {
    await running.get(name)?.stop(signal);
    running.delete(name);
  };
  const tokenOf = (user: string): string => {
    const token = tokens.get(user);
    if (token === undefined) {
      throw new Error(`the control plane knows no user ${user}; name it in the option users`);
    }
    return token;
  };
  const kubeconfigOf = (user: string): string => {
    tokenOf(user);
    return join(folder, `${user.replaceAll(":", "-")}.kubeconfig`);
  };
  const clientOf = (user: string): ApiClient => {
    const client = new ApiClient({ url, ca, token: tokenOf(user) });
    clients.set(`${user} ${clients.size}`, client);
    return client;
  };

  const startEtcd = async (): Promise<void> => {
    const peerUrl = `http://127.0.0.1:${etcdPeerPort}`;
    const program = start("etcd", binaries.etcd, [
      "--name=default",
      `--data-dir=${join(folder, "etcd")}`,
      `--listen-client-urls=${etcdUrl}`,
      `--advertise-client-urls=${etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      ...(options.isDurable === true ? [] : ["--unsafe-no-fsync"]),
    ]);
    await waitForProgram(program, () => answersOk(`${etcdUrl}/health`));
  };

  const startApiServer = async (): Promise<void> => {
    const toleration = options.tolerationSeconds ?? 300;
    const program = start("kube-apiserver", binaries.kubeApiserver, [
      `--etcd-servers=${etcdUrl}`,
      `--secure-port=${apiPort}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      // There is no Service network, and a loopback address may not be an endpoint.
      "--endpoint-reconciler-type=none",
      `--cert-dir=${certificates}`,
      `--token-auth-file=${join(folder, "tokens.csv")}`,
      "--authorization-mode=RBAC",
      `--service-account-key-file=${join(folder, "service-account.pub")}`,
      `--service-account-signing-key-file=${join(folder, "service-account.key")}`,
      "--service-account-issuer=https://kubernetes.default",
      "--service-cluster-ip-range=10.96.0.0/16",
      "--disable-admission-plugins=ServiceAccount",
      `--default-not-ready-toleration-seconds=${toleration}`,
      `--default-unreachable-toleration-seconds=${toleration}`,
    ]);
    const token = tokenOf("admin");
    await waitForProgram(program, () => answersOk(`${url}/readyz`, token));
  };

  const startControllerManager = async (): Promise<void> => {
    await end("kube-controller-manager");
    const port = await freePort();
    const graceMs = options.nodeMonitorGraceMs ?? 40_000;
    const program = start("kube-controller-manager", binaries.kubeControllerManager, [
      `--kubeconfig=${kubeconfigOf("system:kube-controller-manager")}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      `--secure-port=${port}`,
      ...insecurePortFlags(version),
      `--cert-dir=${join(folder, "controller-manager-certificates")}`,
      `--service-account-private-key-file=${join(folder, "service-account.key")}`,
      `--controllers=${controllersOf(version).join(",")}`,
      "--kube-api-qps=500",
      "--kube-api-burst=1000",
      `--node-monitor-grace-period=${graceMs}ms`,
      `--node-monitor-period=${Math.min(5_000, Math.max(500, Math.floor(graceMs / 4)))}ms`,
      // One node in ten seconds is meant for clusters in which nodes carry people's work.
      "--node-eviction-rate=10",
      "--secondary-node-eviction-rate=10",
      // Otherwise clusters of up to 50 nodes with most of them gone evict nothing at all.
      "--large-cluster-size-threshold=0",
    ]);
    const healthUrl = `https://127.0.0.1:${port}/healthz`;
    await waitForProgram(program, () => answersOk(healthUrl));
  };

  const startScheduler = async (scheduler: SchedulerOptions = {}): Promise<void> => {
    await end("kube-scheduler");
    const port = await freePort();
    const config = join(folder, "scheduler.json");
    const kubeconfig = kubeconfigOf("system:kube-scheduler");
    // Old schedulers insist on a port without TLS, by default one fixed port on all addresses.
    const plain = `127.0.0.1:${await freePort()}`;
    const { written } = scheduler;
    const policy = join(folder, "scheduler-policy.json");
    await writeJson(config, schedulerConfiguration({ version, kubeconfig, plain }, scheduler));
    if (written?.kind === "policy") await writeJson(policy, written.policy);
    const program = start("kube-scheduler", binaries.kubeScheduler, [
      ...(written?.kind === "policy"
        ? [`--policy-config-file=${policy}`, `--kubeconfig=${kubeconfig}`, "--port=0"]
        : [`--config=${config}`]),
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${join(folder, "scheduler-certificates")}`,
    ]);
    const healthUrl = `https://127.0.0.1:${port}/healthz`;
    await waitForProgram(program, () => answersOk(healthUrl));
  };

  const stop = async (): Promise<void> => {
    for (const client of clients.values()) {
      client.close();
    }
    // Nothing in it is needed again, so nobody is asked to end in good order.
    await Promise.all([...running.keys()].map((name) => end(name, "SIGKILL")));
    if (!keepsFolder) {
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  };

  try {
    await writeCredentials(folder, users, tokens);
    await mkdir(certificates);
    await startEtcd();
    await startApiServer();
    ca = await readFile(caFile, "utf8");
    for (const user of users) {
      await writeJson(kubeconfigOf(user.name), kubeconfig(url, ca, tokenOf(user.name)));
    }
    await Promise.all([
      options.hasControllers === false ? undefined : startControllerManager(),
      options.scheduler === undefined ? undefined : startScheduler(options.scheduler),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    version,
    folder,
    url,
    caFile,
    api: clientOf("admin"),
    clientOf,
    tokenOf,
    kubeconfigOf,
    startScheduler,
    stopScheduler: () => end("kube-scheduler"),
    startControllerManager,
    stopControllerManager: () => end("kube-controller-manager"),
    stopApiServer: (signal = "SIGKILL") => end("kube-apiserver", signal),
    startApiServer,
    pauseApiServer: () => running.get("kube-apiserver")?.signal("SIGSTOP"),
    resumeApiServer: () => running.get("kube-apiserver")?.signal("SIGCONT"),
    restartEtcd: async (downMs = 0) => {
      await end("etcd", "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, downMs));
      await startEtcd();
    },
    pids: () => Object.fromEntries([...running].map(([name, program]) => [name, program.pid])),
    memoryBytes: async () => {
      const sizes = [...running].map(
        async ([name, program]) => [name, await residentBytes(program.pid)] as const,
      );
      return Object.fromEntries(await Promise.all(sizes));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * The scheduler's configuration with our extender, in the newest version of the format that it understands.
 * https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
 */
function schedulerConfiguration(
  at: { readonly version: KubernetesVersion; readonly kubeconfig: string; readonly plain: string },
  options: SchedulerOptions,
): unknown {
  const { version, kubeconfig, plain } = at;
  const format =
    version.minor >= 25
      ? "v1"
      : version.minor >= 23
        ? "v1beta3"
        : version.minor >= 22
          ? "v1beta2"
          : "v1beta1";
  const qps = options.clientQps ?? 1_000;
  return {
    apiVersion: `kubescheduler.config.k8s.io/${format}`,
    kind: "KubeSchedulerConfiguration",
    clientConnection: { kubeconfig, qps, burst: qps * 2 },
    leaderElection: { leaderElect: false },
    ...(version.minor < 23 ? { healthzBindAddress: plain, metricsBindAddress: plain } : {}),
    podInitialBackoffSeconds: 1,
    podMaxBackoffSeconds: options.maxBackoffSeconds ?? 2,
    extenders: options.extenderUrl === undefined ? [] : [extender(options.extenderUrl, options)],
    ...(options.written?.kind === "configuration" ? options.written.members : {}),
  };
}

function extender(url: string, options: SchedulerOptions): unknown {
  const without = new Set<string>(options.without ?? []);
  const verbs = {
    filterVerb: without.has("filter") ? "" : "filter",
    prioritizeVerb: without.has("prioritize") ? "" : "priority",
    preemptVerb: without.has("preempt") ? "" : "preempt",
    bindVerb: without.has("bind") ? "" : "bind",
  };
  return {
    urlPrefix: `${url}/v1`,
    ...verbs,
    weight: options.weight ?? 1,
    enableHTTPS: url.startsWith("https:"),
    ...(options.extenderTls === undefined ? {} : { tlsConfig: options.extenderTls }),
    httpTimeout: `${options.httpTimeoutMs ?? 30_000}ms`,
    nodeCacheCapable: options.nodeCacheCapable ?? false,
    ignorable: options.ignorable ?? false,
    managedResources:
      options.managesFloatIpResource === false
        ? []
        : [{ name: FLOAT_IP_RESOURCE, ignoredByScheduler: true }],
  };
}

/** Old controller managers would open a port without TLS on all addresses; new ones do not know the flag. */
function insecurePortFlags(version: KubernetesVersion): readonly string[] {
  return version.minor < 24 ? ["--port=0"] : [];
}

/** Since 1.29 evicting the pods of lost nodes is a controller of its own. */
function controllersOf(version: KubernetesVersion): readonly string[] {
  return version.minor >= 29 ? [...CONTROLLERS, "taint-eviction-controller"] : CONTROLLERS;
}

/** Tokens of the users and the key that signs service accounts; needs no tool but Node. */
async function writeCredentials(
  folder: string,
  users: readonly User[],
  tokens: ReadonlyMap<string, string>,
): Promise<void> {
  const lines = users.map(
    ({ name, groups }) => `${tokens.get(name)},${name},${name},"${groups.join(",")}"`,
  );
  await writeFile(join(folder, "tokens.csv"), `${lines.join("\n")}\n`, { mode: 0o600 });
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const privateKey = keys.privateKey.export({ type: "sec1", format: "pem" });
  const publicKey = keys.publicKey.export({ type: "spki", format: "pem" });
  await writeFile(join(folder, "service-account.key"), privateKey, { mode: 0o600 });
  await writeFile(join(folder, "service-account.pub"), publicKey);
}

function kubeconfig(url: string, ca: string, token: string): unknown {
  const cluster = { server: url, "certificate-authority-data": Buffer.from(ca).toString("base64") };
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster }],
    users: [{ name: "test", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    "current-context": "test",
  };
}

/** A process that was killed leaves its folder; those of dead processes go after an hour. */
async function removeLeftFolders(): Promise<void> {
  const names = await readdir(tmpdir());
  for (const name of names.filter((n) => n.startsWith(FOLDER_PREFIX))) {
    const folder = join(tmpdir(), name);
    const pid = Number(name.slice(FOLDER_PREFIX.length).split("-")[0]);
    const age = await stat(folder).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > LEFT_AFTER_MS && !existsSync(`/proc/${pid}`)) {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function distinctPorts(): Promise<readonly [number, number, number]> {
  const first = await freePort();
  let second = await freePort();
  while (second === first) {
    second = await freePort();
  }
  let third = await freePort();
  while (third === first || third === second) {
    third = await freePort();
  }
  return [first, second, third];
}

/** Whether a GET answers 200. The certificate is not checked: this only asks whether our own child is up. */
function answersOk(url: string, token?: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { headers, agent: false as const, timeout: 15_000 };
    const request = url.startsWith("https:")
      ? httpsRequest(url, { ...options, rejectUnauthorized: false })
      : httpRequest(url, options);
    request.on("response", (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy(new Error(`${url} does not answer`)));
    request.on("error", reject);
    request.end();
  });
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024;
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
}
