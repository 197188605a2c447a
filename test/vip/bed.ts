// The bed for virtual addresses: a switch, a client, nodes with their agents, and pods, each a network namespace, beside a real control plane
// that the nodes reach over a network of their own, so that every cable can be cut. The bed is the kubelet: pods are objects of the API
// server and programs in namespaces. It measures nothing (meters.ts) and knows the product by its programs and objects only.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { ApiClient, Follower, WaitOptions } from "../control-plane/api.ts";
import { ApiError, waitUntil } from "../control-plane/api.ts";
import type { ChildProgram } from "../control-plane/child-program.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import type { ControlPlane, ControlPlaneOptions } from "../control-plane/control-plane.ts";
import { startControlPlane } from "../control-plane/control-plane.ts";
import type { GalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import type { Condition, KubeObject, Pod } from "../control-plane/kinds.ts";
import { customKind, leases, nodes as nodeKind, pods as podKind } from "../control-plane/kinds.ts";
import { aConfigMap } from "../control-plane/manifests.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab } from "../node/network-lab.ts";
import { FrameMeter, ProbeMeter } from "./meters.ts";
import { locateConntrack, locateNft } from "./programs.ts";

const run = promisify(execFile);

/** The port on which every pod answers. */
export const echoPort = 7_007;

const sources = fileURLToPath(new URL("../../src/bin/", import.meta.url));
const relayProgram = fileURLToPath(new URL("relay.ts", import.meta.url));
const echoProgram = fileURLToPath(new URL("echo.ts", import.meta.url));
const apiPort = 6_443;
/** Of the control plane of the tests. */
const serviceCidr = "10.96.0.0/16";

/** A FloatingVIP as the tests read it. */
export type FloatingVip = KubeObject & {
  readonly status?: {
    readonly epoch?: number;
    readonly state?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly holder?: {
      readonly namespace: string;
      readonly pod: string;
      readonly uid: string;
      readonly node: string;
      readonly podIP: string;
      readonly session: number;
    };
    readonly candidates?: readonly {
      readonly pod: string;
      readonly node?: string;
      readonly reason?: string;
    }[];
  };
};

export const floatingVips = customKind<FloatingVip>(
  "galaxy.k8s.io/v1alpha1",
  "FloatingVIP",
  "floatingvips",
  "Cluster",
);

/** The object's name of an address. */
export function vipName(ip: string): string {
  return ip.includes(":") ? groupsOf(ip) : ip;
}

/** What a pod of the bed is. */
export type PodWish = {
  readonly name: string;
  readonly node: string;
  readonly namespace?: string;
  /** Its annotation of claimed addresses. */
  readonly vips?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Whether its Ready condition is True once it runs; true by default. */
  readonly isReady?: boolean;
  /** How long its program lives after it was told to end; 0 by default. */
  readonly lingerMs?: number;
};

/** A node: its namespace, what it is reached by, and its agent. */
export class BedNode {
  readonly name: string;
  readonly number: number;
  readonly namespace: LabNamespace;
  readonly ip: string;
  readonly ip6: string;
  readonly #bed: VipBed;
  #mac = "";
  #agent: ChildProgram | undefined;

  constructor(bed: VipBed, options: { name: string; number: number; namespace: LabNamespace }) {
    this.#bed = bed;
    this.name = options.name;
    this.number = options.number;
    this.namespace = options.namespace;
    this.ip = nodeIp(options.number);
    this.ip6 = `2001:db8::${10 + options.number}`;
  }

  /** The MAC of its uplink. */
  get mac(): string {
    return this.#mac;
  }

  async readMac(): Promise<void> {
    const [link] = await this.namespace.show("link show dev eth0");
    this.#mac = link?.["address"] as string;
  }

  get logFile(): string {
    return join(this.#bed.lab.folder, `galaxy-${this.name}.log`);
  }

  log(lines = 40): string {
    return tailOf(this.logFile, lines);
  }

  /** Starts the daemon with its agent inside the node. */
  async startAgent(): Promise<void> {
    const folder = join(this.#bed.lab.folder, `daemon-${this.name}`);
    await mkdir(folder, { recursive: true });
    const configPath = join(folder, "galaxy.json");
    await writeFile(
      configPath,
      JSON.stringify({
        NetworkConf: [{ type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" }],
        ENIIPNetwork: "galaxy-k8s-vlan",
      }),
    );
    this.#agent = startProgram({
      name: `galaxy of ${this.name}`,
      file: "nsenter",
      args: [
        `--net=${this.namespace.path}`,
        "--",
        process.execPath,
        join(sources, "galaxy.ts"),
        `--kubeconfig=${this.#bed.nodeKubeconfig}`,
        `--json-config-path=${configPath}`,
        `--network-conf-dir=${join(folder, "net.d")}`,
        `--cni-paths=${join(folder, "bin")}`,
        `--hostname-override=${this.name}`,
        `--socket=${join(folder, "galaxy.sock")}`,
        `--state-dir=${join(folder, "state")}`,
        `--vip-route-hook=${await this.#routeHook(folder)}`,
        ...this.#bed.agentFlags,
      ],
      env: { PATH: this.#bed.path },
      logFile: this.logFile,
    });
  }

  /** What a routing daemon does, as a program: the client gets or loses a path by this node. */
  async #routeHook(folder: string): Promise<string> {
    const file = join(folder, "route-hook");
    const script = `#!/bin/sh
case "$2" in *:*) to="$2/128 via 2001:db8::${10 + this.number}" ;; *) to="$2/32 via ${this.ip}" ;; esac
case "$1" in add) verb=append ;; *) verb=del ;; esac
echo "$1 $2" >> ${file}.log
exec ip -n ${this.#bed.client.name} route $verb $to dev eth0
`;
    await writeFile(file, script, { mode: 0o755 });
    return file;
  }

  /** Waits until the API server has a lease of this node's agent that is not revoked and is renewed from now on. */
  async whenJoined(): Promise<void> {
    const at = { name: this.name, namespace: "galaxy-vip" };
    const before = await this.#bed.api.get(leases, at);
    await this.#bed.api.waitForOne(
      `the lease of ${this.name} to be renewed`,
      leases,
      at,
      (lease) => lease.metadata.resourceVersion !== before?.metadata.resourceVersion,
    );
  }

  get agent(): ChildProgram {
    if (this.#agent === undefined) throw new Error(`node ${this.name} has no agent yet; start it`);
    return this.#agent;
  }

  /** Ends the agent in this way, or does nothing when none runs. */
  async stopAgent(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#agent?.stop(signal);
  }

  /** Cuts or joins the cable to the API server; the kernel of the node notices nothing. */
  async setApiCable(state: "up" | "down"): Promise<void> {
    await this.#bed.mgmt.ip(`link set dev to${this.name} ${state}`);
  }

  /** Cuts or joins the cable to the switch. */
  async setUplink(state: "up" | "down"): Promise<void> {
    await this.#bed.switchNamespace.ip(`link set dev to${this.name} ${state}`);
  }

  /** Everything of the node that could still hold an address: rules, routes, proxied neighbours, addresses. */
  async dump(): Promise<string> {
    const ip = async (line: string) => `# ip ${line}\n${await this.namespace.ip(line)}`;
    const parts = await Promise.all([
      this.nft("list", "ruleset"),
      ip("route show table all"),
      ip("-6 route show table all"),
      ip("neigh show proxy"),
      ip("-6 neigh show proxy"),
      ip("rule show"),
      ip("-o address show"),
    ]);
    return parts.join("\n");
  }

  async nft(...args: readonly string[]): Promise<string> {
    return this.namespace.run(this.#bed.nftFile, ...args);
  }

  async conntrack(...args: readonly string[]): Promise<string> {
    return this.namespace.run(this.#bed.conntrackFile, ...args);
  }
}

/** A pod that runs in the bed. */
export class BedPod {
  readonly name: string;
  readonly apiNamespace: string;
  readonly uid: string;
  readonly node: BedNode;
  readonly namespace: LabNamespace;
  readonly ip: string;
  readonly ip6: string;
  readonly program: ChildProgram;
  readonly #bed: VipBed;

  constructor(
    bed: VipBed,
    options: {
      readonly pod: Pod;
      readonly node: BedNode;
      readonly namespace: LabNamespace;
      readonly program: ChildProgram;
      readonly ip: string;
      readonly ip6: string;
    },
  ) {
    this.#bed = bed;
    this.name = options.pod.metadata.name;
    this.apiNamespace = options.pod.metadata.namespace ?? "default";
    this.uid = options.pod.metadata.uid;
    this.node = options.node;
    this.namespace = options.namespace;
    this.program = options.program;
    this.ip = options.ip;
    this.ip6 = options.ip6;
  }

  /** Writes its Ready condition, as a kubelet does after a probe. */
  async setReady(value: boolean): Promise<void> {
    await this.#bed.setReady(this, value);
  }

  /** Changes annotations on the running pod; null removes one. */
  async annotate(annotations: Readonly<Record<string, string | null>>): Promise<void> {
    const at = { name: this.name, namespace: this.apiNamespace };
    await this.#bed.api.patch(podKind, at, { metadata: { annotations } });
  }

  /** Asks for its deletion; the bed ends it as a kubelet would. */
  async delete(gracePeriodSeconds = 0): Promise<void> {
    const at = { name: this.name, namespace: this.apiNamespace };
    // With a grace of 0 the API server would forget the pod before its kubelet ended it.
    await this.#bed.api.delete(podKind, at, {
      gracePeriodSeconds: Math.max(1, gracePeriodSeconds),
      uid: this.uid,
    });
  }
}

/** What a bed is made of. */
export type BedOptions = {
  /** Names of the nodes; A, B and D by default. */
  readonly nodes?: readonly string[];
  readonly plane?: ControlPlaneOptions;
  readonly agentFlags?: readonly string[];
  readonly ipamFlags?: readonly string[];
};

/** The bed. */
export class VipBed implements AsyncDisposable {
  readonly lab: NetworkLab;
  readonly plane: ControlPlane;
  readonly switchNamespace: LabNamespace;
  readonly client: LabNamespace;
  readonly mgmt: LabNamespace;
  readonly nodes = new Map<string, BedNode>();
  readonly nftFile: string;
  readonly conntrackFile: string;
  readonly nodeKubeconfig: string;
  readonly agentFlags: readonly string[];
  /** PATH of what runs in nodes. */
  readonly path: string;
  readonly #ipamFlags: readonly string[];
  readonly #programs: ChildProgram[] = [];
  readonly #pods = new Map<string, Promise<BedPod>>();
  readonly #ending = new Map<string, Promise<void>>();
  #follower: Follower<Pod> | undefined;
  #podCount = 0;
  #ipam: GalaxyIpam | undefined;
  #frames: FrameMeter | undefined;
  #probes: ProbeMeter | undefined;

  private constructor(parts: {
    readonly lab: NetworkLab;
    readonly plane: ControlPlane;
    readonly switchNamespace: LabNamespace;
    readonly client: LabNamespace;
    readonly mgmt: LabNamespace;
    readonly nftFile: string;
    readonly conntrackFile: string;
    readonly options: BedOptions;
  }) {
    this.lab = parts.lab;
    this.plane = parts.plane;
    this.switchNamespace = parts.switchNamespace;
    this.client = parts.client;
    this.mgmt = parts.mgmt;
    this.nftFile = parts.nftFile;
    this.conntrackFile = parts.conntrackFile;
    this.nodeKubeconfig = join(parts.lab.folder, "node.kubeconfig");
    this.agentFlags = parts.options.agentFlags ?? [];
    this.#ipamFlags = parts.options.ipamFlags ?? [];
    this.path = [dirname(parts.nftFile), dirname(parts.conntrackFile), process.env.PATH].join(":");
  }

  /** Lays the cables, starts control plane and meters; programs of the product are started by `startIpam` and the nodes. */
  static async open(options: BedOptions = {}): Promise<VipBed> {
    const [nft, conntrack] = await Promise.all([locateNft(), locateConntrack()]);
    if (nft.kind === "missing") throw new Error(nft.because);
    if (conntrack.kind === "missing") throw new Error(conntrack.because);
    await removeLeftNamespaces();
    const lab = await NetworkLab.open();
    let plane: ControlPlane | undefined;
    try {
      const starting = startControlPlane({
        // Nodes without heartbeats stay as the tests set them.
        nodeMonitorGraceMs: 3_600_000,
        ...options.plane,
      });
      const laid = layCables(lab);
      plane = await starting;
      const parts = { ...(await laid), lab, plane };
      const bed = new VipBed({
        ...parts,
        nftFile: nft.file,
        conntrackFile: conntrack.file,
        options,
      });
      try {
        await bed.#relayApi();
        for (const name of options.nodes ?? ["a", "b", "d"]) await bed.#addNode(name);
        await bed.#joinNodes();
        bed.#frames = await FrameMeter.start(bed.client, "eth0");
        bed.#probes = await ProbeMeter.start(bed.client);
        bed.#startKubelets();
      } catch (error) {
        await bed[Symbol.asyncDispose]();
        throw error;
      }
      return bed;
    } catch (error) {
      await plane?.stop();
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  get api(): ApiClient {
    return this.plane.api;
  }

  /** Asks from the client's place on the wire. */
  get frames(): FrameMeter {
    return present(this.#frames);
  }

  /** Asks pods from the client. */
  get probes(): ProbeMeter {
    return present(this.#probes);
  }

  get ipam(): GalaxyIpam {
    return present(this.#ipam);
  }

  node(name: string): BedNode {
    const node = this.nodes.get(name);
    if (node === undefined) {
      throw new Error(
        `the bed has no node ${name}; there are ${[...this.nodes.keys()].join(", ")}`,
      );
    }
    return node;
  }

  /** Starts galaxy-ipam beside the control plane. */
  async startIpam(): Promise<void> {
    // A range of addresses of its own, which virtual addresses are kept out of.
    const subnet = { subnet: "10.200.0.0/24", gateway: "10.200.0.1", vlan: 0 };
    const ips = ["10.200.0.10~10.200.0.20"];
    const entry = { nodeSubnets: ["192.0.2.0/24"], ips, ...subnet };
    await this.api.create(aConfigMap({ floatingips: [entry] }));
    this.#ipam = await startGalaxyIpam({
      kubeconfig: this.plane.kubeconfigOf("galaxy-ipam"),
      flags: [`--vip-refuse=${serviceCidr}`, ...this.#ipamFlags],
    });
    await this.#ipam.whenReady();
  }

  /** What galaxy-ipam logged last. */
  ipamLog(lines = 40): string {
    return this.#ipam === undefined ? "(not started)" : tailOf(this.#ipam.logFile, lines);
  }

  /** Creates a VIPPool, once the API server knows the kind. */
  async addPool(name: string, spec: Readonly<Record<string, unknown>>): Promise<void> {
    await waitUntil(
      `VIPPool ${name} to be created`,
      () =>
        this.api.create({
          apiVersion: "galaxy.k8s.io/v1alpha1",
          kind: "VIPPool",
          metadata: { name },
          spec,
        }),
      () => true,
    );
  }

  /** Starts galaxy-ipam and the agents of all nodes; resolves when every agent has a lease. */
  async startProduct(): Promise<void> {
    await this.startIpam();
    await Promise.all([...this.nodes.values()].map((node) => node.startAgent()));
    for (const node of this.nodes.values()) await node.whenJoined();
  }

  /** Process ids of the product's programs: the same as before when none was started again. */
  programPids(): readonly number[] {
    const agents = [...this.nodes.values()].map(({ agent }) => (agent.isRunning() ? agent.pid : 0));
    return [this.ipam.isRunning() ? this.ipam.pid : 0, ...agents];
  }

  /** Every version of the FloatingVIP that is seen from now on. */
  followVip(ip: string): { readonly seen: readonly FloatingVip[]; readonly stop: () => void } {
    const seen: FloatingVip[] = [];
    const follower = this.api.follow(
      { kind: floatingVips, fieldSelector: `metadata.name=${vipName(ip)}` },
      { changed: (vip) => seen.push(vip) },
    );
    return { seen, stop: () => follower.stop() };
  }

  /** Nothing gets from one node to the other any more; everybody else reaches both. Call what is returned to join them again. */
  async cutBetween(one: string, other: string): Promise<() => Promise<void>> {
    return cutBetween(this.switchNamespace, this.nftFile, [`to${one}`, `to${other}`]);
  }

  /** Lets pods of different nodes talk through tunnels (vxlan), as an overlay does; `remove` brings the plain routes back. */
  async layOverlay(): Promise<{ readonly remove: () => Promise<void> }> {
    const all = [...this.nodes.values()];
    const around = (node: BedNode) => all.filter((other) => other !== node);
    for (const node of all) {
      await ipBatch(node.namespace, [
        `link add vx0 type vxlan id 42 dstport 4789 local ${node.ip} dev eth0`,
        `address add 10.245.0.${node.number}/24 dev vx0`,
        "link set dev vx0 up",
        ...around(node).map(
          ({ number }) => `route replace 10.244.${number}.0/24 via 10.245.0.${number} dev vx0`,
        ),
      ]);
      for (const { ip } of around(node)) {
        const entry = ["fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst", ip];
        await node.namespace.run("bridge", ...entry);
      }
    }
    const remove = async () => {
      for (const node of all) {
        await ipBatch(node.namespace, [
          ...around(node).map(
            ({ ip, number }) => `route replace 10.244.${number}.0/24 via ${ip} dev eth0`,
          ),
          "link del vx0",
        ]);
      }
    };
    return { remove };
  }

  /** Creates a pod and resolves when it runs and its status says so. */
  async startPod(wish: PodWish): Promise<BedPod> {
    const annotations = {
      ...(wish.vips === undefined ? {} : { "vip.galaxy.k8s.io/addresses": wish.vips }),
      ...(wish.isReady === false ? { "test/is-ready": "false" } : {}),
      ...(wish.lingerMs === undefined ? {} : { "test/linger-ms": String(wish.lingerMs) }),
      ...wish.annotations,
    };
    const created = await this.api.create<Pod>({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: wish.name, namespace: wish.namespace ?? "default", annotations },
      spec: { ...podSpec, nodeName: wish.node },
    });
    return this.podOf(created);
  }

  /** The running pod of an object, once it runs. */
  async podOf(object: Pod): Promise<BedPod> {
    const { name, namespace = "default", uid } = object.metadata;
    await this.api.waitForOne(
      `pod ${name} to run`,
      podKind,
      { name, namespace },
      (pod) => pod.metadata.uid === uid && pod.status.phase === "Running",
    );
    return waitUntil(
      `pod ${name} in the bed`,
      async () => this.#pods.get(uid),
      (found) => found !== undefined,
    ) as Promise<BedPod>;
  }

  /** See {@link BedPod.setReady}. */
  async setReady(pod: BedPod, value: boolean): Promise<void> {
    const conditions = podConditions(value);
    const at = { name: pod.name, namespace: pod.apiNamespace };
    await this.api.patch(podKind, at, { status: { conditions } }, "status");
  }

  /** Waits until all pods of the bed that are being deleted are gone, namespaces and all. */
  async whenPodsEnded(): Promise<void> {
    await Promise.all(this.#ending.values());
  }

  /** Sets a node's Ready condition. */
  async setNodeReady(name: string, status: "True" | "False" | "Unknown"): Promise<void> {
    await this.api.patch(
      nodeKind,
      { name },
      { status: { conditions: nodeConditions(status) } },
      "status",
    );
  }

  /** Waits until the FloatingVIP is as wanted. */
  async whenVip(
    what: string,
    ip: string,
    wanted: (vip: FloatingVip) => boolean,
  ): Promise<FloatingVip> {
    return this.api.waitForOne(`${ip} ${what}`, floatingVips, { name: vipName(ip) }, wanted);
  }

  /** Waits until all FloatingVIPs are as wanted. */
  async whenVips(
    what: string,
    wanted: (vips: readonly FloatingVip[]) => boolean,
    options: WaitOptions = {},
  ): Promise<void> {
    await this.api.waitFor(what, { kind: floatingVips }, wanted, options);
  }

  /** Waits until a pod holds the address. */
  async whenHeldBy(ip: string, pod: BedPod): Promise<FloatingVip> {
    return this.whenVip(
      `to be held by ${pod.name}`,
      ip,
      ({ status }) => status?.state === "Held" && status.holder?.uid === pod.uid,
    );
  }

  /** Runs lines of `ip` commands in a namespace in one process. */
  async ipBatch(namespace: LabNamespace, lines: readonly string[]): Promise<void> {
    await ipBatch(namespace, lines);
  }

  async #relayApi(): Promise<void> {
    const socket = join(this.lab.folder, "api.sock");
    const relay = async (name: string, at: string, from: string, to: string) => {
      const logFile = join(this.lab.folder, `${name}.log`);
      const args = [`--net=${at}`, "--", process.execPath, relayProgram, from, to];
      const program = startProgram({ name, file: "nsenter", args, logFile });
      this.#programs.push(program);
      await waitForProgram(program, async () => tailOf(logFile) === "ready");
    };
    await relay("relay-out", "/proc/self/ns/net", socket, new URL(this.plane.url).host);
    await relay("relay-in", this.mgmt.path, `${mgmtIp(0)}:${apiPort}`, socket);
    const config = JSON.parse(await readFile(this.plane.kubeconfigOf("admin"), "utf8")) as {
      clusters: { cluster: Record<string, unknown> }[];
    };
    const [entry] = config.clusters;
    if (entry === undefined) throw new Error("the kubeconfig names no cluster");
    entry.cluster = {
      ...entry.cluster,
      server: `https://${mgmtIp(0)}:${apiPort}`,
      "tls-server-name": "127.0.0.1",
    };
    await writeFile(this.nodeKubeconfig, JSON.stringify(config));
  }

  async #addNode(name: string): Promise<void> {
    const number = this.nodes.size + 1;
    const namespace = await cableNode(this.lab, this, { name, number });
    const node = new BedNode(this, { name, number, namespace });
    this.nodes.set(name, node);
    await node.readMac();
    await this.api.apply(nodeManifest(node));
    await this.api.patch(
      nodeKind,
      { name },
      {
        status: {
          conditions: nodeConditions("True"),
          addresses: [
            { type: "InternalIP", address: node.ip },
            { type: "Hostname", address: name },
          ],
        },
      },
      "status",
    );
    await this.api.patch(nodeKind, { name }, { spec: { taints: [] } });
  }

  /** Routes between the pods of different nodes, as a network of pods has them. */
  async #joinNodes(): Promise<void> {
    const all = [...this.nodes.values()];
    for (const node of all) {
      const others = all.filter((other) => other !== node);
      await ipBatch(node.namespace, [
        ...others.map((other) => `route add 10.244.${other.number}.0/24 via ${other.ip} dev eth0`),
        ...others.map(
          (other) =>
            `route add fd00:244:${other.number}::/64 via 2001:db8::${10 + other.number} dev eth0`,
        ),
      ]);
    }
    await ipBatch(
      this.client,
      all.flatMap((node) => [
        `route add 10.244.${node.number}.0/24 via ${node.ip} dev eth0`,
        `route add fd00:244:${node.number}::/64 via 2001:db8::${10 + node.number} dev eth0`,
      ]),
    );
  }

  #startKubelets(): void {
    this.#follower = this.api.follow(
      { kind: podKind },
      { changed: (pod) => this.#consider(pod), gone: (pod) => this.#consider(pod, true) },
    );
  }

  #consider(pod: Pod, isGone = false): void {
    const { uid, deletionTimestamp } = pod.metadata;
    const started = this.#pods.get(uid);
    if (isGone || deletionTimestamp !== undefined) {
      if (this.#ending.has(uid)) return;
      this.#ending.set(uid, this.#end(pod, started, isGone).catch(reportUnlessGone));
      return;
    }
    if (pod.spec.nodeName === undefined) {
      void this.#bind(pod).catch(reportUnlessGone);
      return;
    }
    if (started !== undefined || pod.status.phase !== "Pending") return;
    const node = this.nodes.get(pod.spec.nodeName);
    if (node === undefined) return;
    const starting = this.#start(pod, node);
    this.#pods.set(uid, starting);
    starting.catch(reportUnlessGone);
  }

  /** The bed is the scheduler too, where none runs: the node with the fewest pods of the same owner. */
  async #bind(pod: Pod): Promise<void> {
    const { name, namespace = "default", uid } = pod.metadata;
    const owner = pod.metadata.ownerReferences?.[0]?.uid;
    const taken = [...(this.#follower?.items.values() ?? [])].filter(
      (each) =>
        each.metadata.deletionTimestamp === undefined &&
        each.metadata.ownerReferences?.[0]?.uid === owner,
    );
    const chosen = this.#bindings.get(uid);
    if (chosen !== undefined) return;
    const load = (node: string) =>
      taken.filter((each) => (each.spec.nodeName ?? this.#bindings.get(each.metadata.uid)) === node)
        .length;
    const [least] = [...this.nodes.keys()].toSorted((a, b) => load(a) - load(b));
    if (least === undefined) return;
    this.#bindings.set(uid, least);
    await this.api.call("POST", `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name },
      target: { apiVersion: "v1", kind: "Node", name: least },
    });
  }
  readonly #bindings = new Map<string, string>();

  async #start(pod: Pod, node: BedNode): Promise<BedPod> {
    this.#podCount += 1;
    const number = this.#podCount;
    const { name, namespace = "default", uid, annotations = {} } = pod.metadata;
    const own = await this.lab.namespace(`p${number}`);
    const wanted = annotations["test/pod-ip"];
    const ip = wanted ?? `10.244.${node.number}.${10 + number}`;
    const ip6 =
      annotations["test/pod-ip6"] ?? `fd00:244:${node.number}::${(10 + number).toString(16)}`;
    const link = `vp${number}`;
    // The way of 169.254.1.1: the pod has its addresses alone, and the node answers for everything else.
    await ipBatch(own, [
      `link add eth0 type veth peer name ${link} netns ${node.namespace.name}`,
      "link set dev eth0 up",
      `address add ${ip}/32 dev eth0`,
      `address add ${ip6}/128 dev eth0 nodad`,
      "route add 169.254.1.1 dev eth0 scope link",
      "route add default via 169.254.1.1 dev eth0",
    ]);
    await ipBatch(node.namespace, [
      `link set dev ${link} up`,
      `address add fe80::1/64 dev ${link} nodad`,
      `route add ${ip}/32 dev ${link} scope link`,
      `route add ${ip6}/128 dev ${link}`,
    ]);
    await node.namespace.sysctl(`ipv4/conf/${link}/proxy_arp`, "1");
    // As every CNI of this kind does: otherwise the node answers a pod's first question for its gateway up to 0.8 s late.
    await node.namespace.sysctl(`ipv4/neigh/${link}/proxy_delay`, "0");
    await ipBatch(own, ["route add default via fe80::1 dev eth0"]);
    const program = startProgram({
      name: `pod ${name}`,
      file: "nsenter",
      args: [`--net=${own.path}`, "--", process.execPath, echoProgram, name, String(echoPort)],
      logFile: join(this.lab.folder, `pod-${number}.log`),
    });
    this.#programs.push(program);
    const bedPod = new BedPod(this, { pod, node, namespace: own, program, ip, ip6 });
    await waitForProgram(program, () => isListening(own));
    const status = {
      phase: "Running",
      podIP: ip,
      podIPs: [{ ip }, { ip: ip6 }],
      hostIP: node.ip,
      startTime: now(),
      conditions: podConditions(annotations["test/is-ready"] !== "false"),
    };
    await this.api.patch(podKind, { name, namespace }, { metadata: { uid }, status }, "status");
    return bedPod;
  }

  async #end(pod: Pod, starting: Promise<BedPod> | undefined, isGone: boolean): Promise<void> {
    const { name, namespace = "default", uid, annotations = {} } = pod.metadata;
    const running = await starting?.catch(() => undefined);
    const lingerMs = isGone ? 0 : Number(annotations["test/linger-ms"] ?? 0);
    if (lingerMs > 0) await new Promise((resolve) => setTimeout(resolve, lingerMs));
    if (running !== undefined) {
      await running.program.stop("SIGKILL");
      await this.lab.remove(running.namespace);
    }
    this.#pods.delete(uid);
    if (!isGone)
      await this.api.delete(podKind, { name, namespace }, { gracePeriodSeconds: 0, uid });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#follower?.stop();
    const ends = [
      ...[...this.nodes.values()].map((node) => node.stopAgent()),
      ...(this.#ipam === undefined ? [] : [this.#ipam.stop("SIGKILL")]),
      ...[this.#frames, this.#probes].flatMap((meter) => meter?.[Symbol.asyncDispose]() ?? []),
      ...this.#programs.map((program) => program.stop("SIGKILL")),
    ];
    await Promise.allSettled(ends);
    await Promise.allSettled([...this.#pods.values()]);
    await this.plane.stop();
    await this.lab[Symbol.asyncDispose]();
  }
}

/** False where the bed can be made, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkipBed(): Promise<string | false> {
  for (const located of await Promise.all([locateNft(), locateConntrack()])) {
    if (located.kind === "missing") return located.because;
  }
  return existsSync("/usr/bin/perl") ? false : "no perl";
}

/** The switch with the client and the network of the API server. */
export async function layCables(lab: NetworkLab) {
  const switchNamespace = await lab.namespace("sw");
  const client = await lab.namespace("c");
  const mgmt = await lab.namespace("mgmt");
  await ipBatch(switchNamespace, [
    "link add br0 type bridge mcast_snooping 0",
    "address add 192.0.2.1/24 dev br0",
    "address add 2001:db8::1/64 dev br0 nodad",
    "link set dev br0 up",
  ]);
  await ipBatch(client, [
    `link add eth0 type veth peer name toc netns ${switchNamespace.name}`,
    "link set dev eth0 up",
    "address add 192.0.2.2/24 brd + dev eth0",
    "address add 2001:db8::2/64 dev eth0 nodad",
  ]);
  await ipBatch(switchNamespace, ["link set dev toc master br0 up"]);
  await ipBatch(mgmt, [
    "link add br0 type bridge mcast_snooping 0",
    `address add ${mgmtIp(0)}/24 dev br0`,
    "link set dev br0 up",
  ]);
  return { switchNamespace, client, mgmt };
}

/** A node's namespace with eth0 on the switch (192.0.2.11 for number 1), mgmt0 at the API server's network and forwarding. */
export async function cableNode(
  lab: NetworkLab,
  at: { readonly switchNamespace: LabNamespace; readonly mgmt: LabNamespace },
  { name, number }: { readonly name: string; readonly number: number },
): Promise<LabNamespace> {
  const { mgmt, switchNamespace } = at;
  const namespace = await lab.namespace(name);
  await ipBatch(namespace, [
    `link add eth0 type veth peer name to${name} netns ${switchNamespace.name}`,
    `link add mgmt0 type veth peer name to${name} netns ${mgmt.name}`,
    "link set dev eth0 up",
    "link set dev mgmt0 up",
    `address add ${nodeIp(number)}/24 brd + dev eth0`,
    `address add 2001:db8::${10 + number}/64 dev eth0 nodad`,
    `address add ${mgmtIp(number)}/24 brd + dev mgmt0`,
    // Without a default route a node does not answer for 169.254.1.1.
    "route add default via 192.0.2.1 dev eth0",
    "route add default via 2001:db8::1 dev eth0",
  ]);
  await ipBatch(switchNamespace, [`link set dev to${name} master br0 up`]);
  await ipBatch(mgmt, [`link set dev to${name} master br0 up`]);
  for (const key of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) {
    await namespace.sysctl(key, "1");
  }
  return namespace;
}

/** Lets nothing pass between two ports of the switch. Call what is returned to join them again. */
export async function cutBetween(
  switchNamespace: LabNamespace,
  nft: string,
  [one, other]: readonly [string, string],
): Promise<() => Promise<void>> {
  const rules = [
    "add table bridge cut",
    "add chain bridge cut forward { type filter hook forward priority 0; }",
    `add rule bridge cut forward iifname ${one} oifname ${other} drop`,
    `add rule bridge cut forward iifname ${other} oifname ${one} drop`,
  ];
  for (const rule of rules) await switchNamespace.run(nft, rule);
  return async () => {
    await switchNamespace.run(nft, "delete table bridge cut");
  };
}

/** Runs lines of `ip` in one process; rejects with what the first that failed said. */
export async function ipBatch(namespace: LabNamespace, lines: readonly string[]): Promise<void> {
  const child = spawn("ip", ["-n", namespace.name, "-batch", "-"], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (data: Buffer) => {
    said += data.toString();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(`${lines.join("\n")}\n`);
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject).once("close", resolve);
  });
  if (code !== 0) throw new Error(`ip in ${namespace.name}: ${said}\n${lines.join("\n")}`);
}

/** A run that was killed leaves its namespaces; those of processes that are gone are removed. Returns which. */
export async function removeLeftNamespaces(): Promise<readonly string[]> {
  const removed: string[] = [];
  const { stdout } = await run("ip", ["netns", "list"]);
  for (const line of stdout.split("\n")) {
    const [, name, pid] = /^(gxt(\d+)x\d+-\S+)/.exec(line) ?? [];
    if (name === undefined || existsSync(`/proc/${pid}`)) continue;
    // Another run may have been faster.
    await run("ip", ["netns", "del", name]).then(
      () => removed.push(name),
      () => undefined,
    );
  }
  return removed;
}

const podSpec = {
  containers: [{ name: "main", image: "echo" }],
  terminationGracePeriodSeconds: 30,
  automountServiceAccountToken: false,
};

function nodeIp(number: number): string {
  return `192.0.2.${10 + number}`;
}

function mgmtIp(number: number): string {
  return `198.51.100.${10 + number}`;
}

async function isListening(namespace: LabNamespace): Promise<boolean> {
  const listening = await namespace.run("cat", "/proc/net/tcp6");
  return listening.toLowerCase().includes(`:${echoPort.toString(16)} `);
}

function podConditions(isReadyNow: boolean): readonly Condition[] {
  const status = isReadyNow ? "True" : "False";
  return [
    { type: "PodScheduled", status: "True" },
    { type: "Initialized", status: "True" },
    { type: "ContainersReady", status },
    { type: "Ready", status, lastTransitionTime: now() } as Condition,
  ];
}

function nodeConditions(status: "True" | "False" | "Unknown") {
  const times = { lastHeartbeatTime: now(), lastTransitionTime: now() };
  return [{ type: "Ready", status, reason: "Bed", message: "set by the bed", ...times }];
}

function nodeManifest({ name, number }: BedNode) {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    spec: {
      podCIDR: `10.244.${number}.0/24`,
      podCIDRs: [`10.244.${number}.0/24`, `fd00:244:${number}::/64`],
    },
  };
}

function now(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the bed has not started this yet");
  return value;
}

/** An IPv6 address with all its eight groups, and dashes between them. */
function groupsOf(ip: string): string {
  const [head = "", tail] = ip.split("::");
  const parts = (text: string) => (text === "" ? [] : text.split(":"));
  const missing = tail === undefined ? 0 : 8 - parts(head).length - parts(tail).length;
  return [...parts(head), ...Array.from({ length: missing }, () => "0"), ...parts(tail ?? "")].join(
    "-",
  );
}

function reportUnlessGone(error: unknown): void {
  if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return;
  process.stderr.write(`bed: ${String(error)}\n`);
}
