// Nodes without machines: Node objects with heartbeats, and for each a kubelet that turns its pods Running and Ready,
// lets them fail or finish on demand, and completes their deletion. It sets up no networks and starts no containers.

import { type ApiClient, ApiError, floatIpsOf, inParallel, ipInfosOf } from "./api.ts";
import {
  type Condition,
  type Container,
  type Lease,
  leases,
  type Manifest,
  type Node,
  nodes,
  type Pod,
  pods,
} from "./kinds.ts";
import { aNamespace, FLOAT_IP_RESOURCE } from "./manifests.ts";

/** A node to be simulated. */
export type SimulatedNode = {
  readonly name: string;
  /** Undefined makes a node without InternalIP. */
  readonly internalIp?: string;
  /** 64 by default. */
  readonly cpu?: string;
  /** 256Gi by default. */
  readonly memory?: string;
  /** Most pods on the node; 500 by default. */
  readonly pods?: number;
  /** Allocatable float IPs; none by default, as the scheduler leaves them to the extender. */
  readonly floatIps?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly {
    readonly key: string;
    readonly value?: string;
    readonly effect: string;
  }[];
};

export type SimulatedNodesOptions = {
  /** Time between two heartbeats of a node; 10,000 by default. Keep it well under the control plane's `nodeMonitorGraceMs`. */
  readonly heartbeatMs?: number;
  /** How long a pod takes from being bound to being Ready; 0 by default. */
  readonly startMs?: number;
  /** How long the containers of a deleted pod take to stop; 0 by default. */
  readonly terminationMs?: number;
  /** Most API calls of all kubelets at a time; 32 by default. */
  readonly callsInFlight?: number;
};

export type StopNodeOptions = {
  /** `silent`: heartbeats just cease (default). `not-ready`: the kubelet's last word is Ready=False, which acts at once. */
  readonly lastWord?: "silent" | "not-ready";
};

/** Which pod; `default` is the namespace where none is said. */
export type PodName = { readonly name: string; readonly namespace?: string };

export type SimulatedNodes = {
  /** Creates the nodes (or takes over those of that name), Ready and open for pods. */
  add(wishes: readonly SimulatedNode[]): Promise<void>;
  /** Deletes the Node object and its kubelet, as when a machine is taken out of the cluster. */
  remove(name: string): Promise<void>;
  /** The machine dies: no heartbeats, its pods are neither started nor their deletion completed. */
  stopNode(name: string, options?: StopNodeOptions): Promise<void>;
  /** The machine comes back: Ready again, pods on it that were deleted meanwhile go. */
  startNode(name: string): Promise<void>;
  /** The pod's phase becomes Failed, with reason Evicted unless told otherwise; the object stays. */
  failPod(pod: PodName, reason?: string): Promise<void>;
  /** The pod's phase becomes Succeeded; the object stays. */
  succeedPod(pod: PodName): Promise<void>;
  /** Changes a node's label, so that kube-scheduler tries all unschedulable pods again at once instead of within a minute. */
  nudgeScheduler(): Promise<void>;
  /** Nudges it each second until the work is done: for pods that were refused or whose binds fail while a scenario is still breaking things. */
  nudgingWhile<T>(work: Promise<T>): Promise<T>;
  /** While the work is done no kubelet starts a pod: those that are bound meanwhile stay Pending until it is over. */
  startingNothingWhile<T>(work: () => Promise<T>): Promise<T>;
  /** Kubelets' calls that failed for other reasons than that the pod was gone, and were or will be tried again. */
  failedCalls(): number;
  /** Ends heartbeats and kubelets; the objects stay. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

type NodeLife = {
  readonly wish: SimulatedNode;
  isUp: boolean;
};

type Task = "start" | "finish deletion";

const LEASE_NAMESPACE = "kube-node-lease";
/** Pause before a kubelet tries a failed call again. */
const RETRY_MS = 500;

/** Starts simulating; nodes come with `add`. `api` is a client with all rights, which stays the caller's. */
export async function startSimulatedNodes(
  api: ApiClient,
  options: SimulatedNodesOptions = {},
): Promise<SimulatedNodes> {
  const heartbeatMs = options.heartbeatMs ?? 10_000;
  const startMs = options.startMs ?? 0;
  const terminationMs = options.terminationMs ?? 0;
  const limit = options.callsInFlight ?? 32;

  const lives = new Map<string, NodeLife>();
  /** Tasks by pod uid that wait, run, or are done; forgotten when they fail or the pod is gone. */
  const tasks = new Map<string, { readonly pod: Pod; readonly task: Task }>();
  const ready: string[] = [];
  const timers = new Set<NodeJS.Timeout>();
  let inFlight = 0;
  let failures = 0;
  let nudges = 0;
  let addresses = 0;
  let isStopped = false;
  let startsNothing = false;

  const later = (ms: number, work: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, ms);
    timers.add(timer);
  };

  /** What the kubelet of the pod's node has to do about it now, if anything. */
  const taskOf = (pod: Pod): Task | undefined => {
    const life = lives.get(pod.spec.nodeName ?? "");
    if (life?.isUp !== true) {
      return undefined;
    }
    if (pod.metadata.deletionTimestamp !== undefined) {
      return "finish deletion";
    }
    const mayStart = !startsNothing && pod.status.phase === "Pending" && hasNetwork(pod);
    return mayStart ? "start" : undefined;
  };

  const consider = (pod: Pod): void => {
    const task = taskOf(pod);
    const key = `${task} ${pod.metadata.uid}`;
    if (task === undefined || isStopped || tasks.has(key)) {
      return;
    }
    tasks.set(key, { pod, task });
    later(task === "start" ? startMs : terminationMs, () => {
      ready.push(key);
      work();
    });
  };

  const work = (): void => {
    while (inFlight < limit && ready.length > 0) {
      const key = ready.shift() as string;
      const entry = tasks.get(key);
      if (entry !== undefined) {
        inFlight++;
        void perform(entry.pod, entry.task)
          .then(
            (isDone) => isDone || tasks.delete(key),
            (error: unknown) => {
              tasks.delete(key);
              if (!isGone(error)) {
                failures++;
                later(RETRY_MS, () => reconsider(entry.pod));
              }
            },
          )
          .finally(() => {
            inFlight--;
            work();
          });
      }
    }
  };

  const reconsider = (pod: Pod): void => {
    const now = follower.items.get(`${pod.metadata.namespace}/${pod.metadata.name}`);
    if (now !== undefined) {
      consider(now);
    }
  };

  const forget = (pod: Pod): void => {
    tasks.delete(`start ${pod.metadata.uid}`);
    tasks.delete(`finish deletion ${pod.metadata.uid}`);
  };

  /** False where there was nothing to do any more. */
  const perform = async (pod: Pod, task: Task): Promise<boolean> => {
    const { name, namespace, uid } = pod.metadata;
    const at = { name, namespace: namespace as string };
    // The machine may have died, or the pod been deleted, while the task waited.
    const now = follower.items.get(`${namespace}/${name}`);
    if (now === undefined || now.metadata.uid !== uid || taskOf(now) !== task) {
      return false;
    }
    if (task === "finish deletion") {
      await api.delete(pods, at, { gracePeriodSeconds: 0, uid });
      return true;
    }
    const hostIp = lives.get(now.spec.nodeName ?? "")?.wish.internalIp;
    const floatIps = floatIpsOf(now);
    const ips = floatIps.length > 0 ? floatIps : [overlayAddress(addresses++)];
    const status = runningStatus(now, ips, hostIp);
    await api.patch(pods, at, { metadata: { uid }, status }, "status");
    return true;
  };

  const heartbeat = async (): Promise<void> => {
    const up = [...lives.values()].filter((life) => life.isUp);
    // Spread over the period, as the kubelets of a cluster are.
    const pauseMs = Math.max(1, Math.floor(heartbeatMs / (up.length + 1)));
    for (const life of up) {
      if (isStopped) {
        return;
      }
      if (life.isUp) {
        void renewLease(life.wish.name).catch(() => {
          failures++;
        });
      }
      await new Promise<void>((resolve) => later(pauseMs, resolve));
    }
    later(pauseMs, () => void heartbeat());
  };

  const renewLease = async (name: string): Promise<void> => {
    const spec = { renewTime: microTime() };
    await api.patch(leases, { name, namespace: LEASE_NAMESPACE }, { spec });
  };

  const addOne = async (wish: SimulatedNode): Promise<void> => {
    const { name } = wish;
    const manifest = nodeManifest(wish);
    await api.apply(leaseManifest(name));
    await api.apply(manifest);
    await api.patch(nodes, { name }, { status: manifest.status }, "status");
    // The API server puts a not-ready taint on every new node; waiting for the node controller would only take longer.
    await api.patch(nodes, { name }, { spec: { taints: wish.taints ?? [] } });
    lives.set(wish.name, { wish, isUp: true });
  };

  const lifeOf = (name: string): NodeLife => {
    const life = lives.get(name);
    if (life === undefined) {
      throw new Error(
        `there is no simulated node ${name}; there are ${[...lives.keys()].join(", ")}`,
      );
    }
    return life;
  };

  const nudgeScheduler = async (): Promise<void> => {
    const [name] = lives.keys();
    if (name === undefined) {
      throw new Error("there is no simulated node to change; add one first");
    }
    const labels = { "test/nudge": String(++nudges) };
    await api.patch(nodes, { name }, { metadata: { labels } });
  };

  const reconsiderPodsOf = (named: ReadonlySet<string | undefined>): void => {
    for (const pod of follower.items.values()) {
      if (named.has(pod.spec.nodeName)) {
        consider(pod);
      }
    }
  };

  const endPod = async (at: PodName, status: Record<string, unknown>): Promise<void> => {
    const where = { name: at.name, namespace: at.namespace ?? "default" };
    const pod = await api.get(pods, where);
    if (pod === undefined) {
      throw new Error(`there is no pod ${where.namespace}/${where.name} to end`);
    }
    const isNot = (type: string): Condition => ({
      type,
      status: "False",
      reason: status.phase === "Succeeded" ? "PodCompleted" : "PodFailed",
    });
    const kept = (pod.status.conditions ?? []).filter((c) => !c.type.endsWith("Ready"));
    const conditions = [...kept, isNot("Ready"), isNot("ContainersReady")];
    await api.patch(pods, where, { status: { ...status, conditions } }, "status");
  };

  const stop = async (): Promise<void> => {
    isStopped = true;
    follower.stop();
    ready.length = 0;
    for (const timer of timers) {
      clearTimeout(timer);
    }
    timers.clear();
  };

  await api.apply(aNamespace(LEASE_NAMESPACE));
  // Only pods that have a node, so that waiting ones cost nothing.
  const follower = api.follow(
    { kind: pods, fieldSelector: "spec.nodeName!=" },
    { changed: consider, gone: forget },
  );
  await follower.synced;
  void heartbeat();

  return {
    add: async (wishes) => {
      await inParallel(wishes, limit, addOne);
    },
    remove: async (name) => {
      lives.delete(name);
      await api.delete(nodes, { name });
      await api.delete(leases, { name, namespace: LEASE_NAMESPACE });
    },
    stopNode: async (name, how = {}) => {
      lifeOf(name).isUp = false;
      if (how.lastWord === "not-ready") {
        await api.patch(
          nodes,
          { name },
          { status: { conditions: nodeConditions("False") } },
          "status",
        );
      }
    },
    startNode: async (name) => {
      lifeOf(name).isUp = true;
      await renewLease(name);
      await api.patch(
        nodes,
        { name },
        { status: { conditions: nodeConditions("True") } },
        "status",
      );
      reconsiderPodsOf(new Set([name]));
    },
    failPod: (pod, reason = "Evicted") =>
      endPod(pod, { phase: "Failed", reason, message: "the node was low on resource: memory" }),
    succeedPod: (pod) => endPod(pod, { phase: "Succeeded" }),
    nudgeScheduler,
    nudgingWhile: async (work) => {
      // The next one comes anyway when the API server is away.
      const timer = setInterval(() => void nudgeScheduler().catch(() => undefined), 1_000);
      try {
        return await work;
      } finally {
        clearInterval(timer);
      }
    },
    startingNothingWhile: async (work) => {
      startsNothing = true;
      try {
        return await work();
      } finally {
        startsNothing = false;
        reconsiderPodsOf(new Set(lives.keys()));
      }
    },
    failedCalls: () => failures,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Whether the pod's network could be set up: a pod that asks for float IPs and has none written to it stays Pending,
 * as it would with the real CNI plugin.
 */
function hasNetwork(pod: Pod): boolean {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return !containers.some(wantsFloatIp) || ipInfosOf(pod).length > 0;
}

function wantsFloatIp(container: Container): boolean {
  const { requests, limits } = container.resources ?? {};
  const amount = requests?.[FLOAT_IP_RESOURCE] ?? limits?.[FLOAT_IP_RESOURCE] ?? "0";
  return amount !== "0";
}

/** Addresses of pods without float IP: 172.16.0.1 and on, one for each pod that ever ran. */
function overlayAddress(index: number): string {
  const n = (index % 0xffffe) + 1;
  return `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

function runningStatus(pod: Pod, ips: readonly string[], hostIp: string | undefined): unknown {
  const now = secondTime();
  const kept = (pod.status.conditions ?? []).filter((c) => c.type === "PodScheduled");
  const isTrue = (type: string) => ({ type, status: "True", lastTransitionTime: now });
  const containerStatuses = pod.spec.containers.map(({ name, image }) => ({
    name,
    image,
    imageID: image,
    containerID: `simulated://${pod.metadata.uid}`,
    ready: true,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: now } },
  }));
  return {
    phase: "Running",
    startTime: now,
    podIP: ips[0],
    podIPs: onePerFamily(ips).map((ip) => ({ ip })),
    ...(hostIp === undefined ? {} : { hostIP: hostIp }),
    conditions: [...kept, ...["Initialized", "Ready", "ContainersReady"].map(isTrue)],
    containerStatuses,
  };
}

/** Kubernetes takes at most one address of each family into a pod's status. */
function onePerFamily(ips: readonly string[]): readonly string[] {
  const first = ips[0] as string;
  const other = ips.find((ip) => ip.includes(":") !== first.includes(":"));
  return other === undefined ? [first] : [first, other];
}

function nodeManifest(wish: SimulatedNode): Manifest<Node> {
  const capacity = {
    cpu: wish.cpu ?? "64",
    memory: wish.memory ?? "256Gi",
    pods: String(wish.pods ?? 500),
    ...(wish.floatIps === undefined ? {} : { [FLOAT_IP_RESOURCE]: String(wish.floatIps) }),
  };
  const hostname = { type: "Hostname", address: wish.name };
  const internal =
    wish.internalIp === undefined ? [] : [{ type: "InternalIP", address: wish.internalIp }];
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: wish.name,
      labels: {
        "kubernetes.io/hostname": wish.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        ...wish.labels,
      },
    },
    spec: wish.taints === undefined ? {} : { taints: wish.taints },
    status: {
      capacity,
      allocatable: capacity,
      addresses: [...internal, hostname],
      conditions: nodeConditions("True"),
      nodeInfo: {
        machineID: wish.name,
        systemUUID: wish.name,
        bootID: wish.name,
        kernelVersion: "simulated",
        osImage: "simulated",
        containerRuntimeVersion: "simulated://1",
        kubeletVersion: "v1.20.2",
        kubeProxyVersion: "v1.20.2",
        operatingSystem: "linux",
        architecture: "amd64",
      },
    },
  };
}

function nodeConditions(isReady: "True" | "False"): readonly unknown[] {
  const now = secondTime();
  const times = { lastHeartbeatTime: now, lastTransitionTime: now };
  const pressure = ["MemoryPressure", "DiskPressure", "PIDPressure"].map((type) => ({
    type,
    status: "False",
    reason: "Simulated",
    message: "no pressure",
    ...times,
  }));
  const ready = {
    type: "Ready",
    status: isReady,
    reason: isReady === "True" ? "KubeletReady" : "KubeletNotReady",
    message: "simulated kubelet",
    ...times,
  };
  return [...pressure, ready];
}

function leaseManifest(node: string): Manifest<Lease> {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: node, namespace: LEASE_NAMESPACE },
    spec: { holderIdentity: node, leaseDurationSeconds: 40, renewTime: microTime() },
  };
}

function isGone(error: unknown): boolean {
  // 409 is another incarnation of the pod, or one that somebody changed in the same moment and that comes again.
  return error instanceof ApiError && (error.status === 404 || error.status === 409);
}

function secondTime(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}

/** Leases are timed in microseconds. */
function microTime(): string {
  return new Date().toISOString().replace("Z", "000Z");
}
