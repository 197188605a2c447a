// How long the node side takes to give a pod its network and to take it away, through galaxy-sdn and a real daemon in a network namespace
// that is the node, beside Debian's bridge and macvlan plugins on the same devices; where the time goes, and what each way to make an
// executable costs at its start. The API server answers from memory, in this process.

import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { link, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { OwnPlugins } from "../src/adapters/http/own-plugins.ts";
import { AttachmentFiles } from "../src/adapters/linux/attachment-files.ts";
import { openKernel } from "../src/adapters/linux/kernel.ts";
import { SocketNodeLocks } from "../src/adapters/linux/node-locks.ts";
import { ChildPluginExec } from "../src/adapters/linux/plugin-exec.ts";
import { StderrLog } from "../src/adapters/linux/stderr-log.ts";
import { SystemClock } from "../src/adapters/system/clock.ts";
import { parseCniRequest } from "../src/wire/cni.ts";
import { formatFloatingIp } from "../src/wire/crd.ts";
import { anAllocation } from "../test/builders.ts";
import { locateProgram } from "../test/control-plane/binaries.ts";
import { startProgram, waitForProgram } from "../test/control-plane/child-program.ts";
import type { LabNamespace } from "../test/node/network-lab.ts";
import { kernelHas, NetworkLab, reasonToSkipLab } from "../test/node/network-lab.ts";
import { podEnvironment } from "../test/node/programs.ts";
import { startScriptedServer } from "../test/scripted-api-server.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { median, percentile } from "./measure/statistics.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
/** Pods at once, as on a node that starts again. */
const inParallel = 20;
const insideFlag = "--inside=";

/** What the program in the node's namespace is told. */
type Inside = {
  readonly mode: Mode;
  readonly folder: string;
  readonly plugins: string;
  readonly pods: readonly string[];
  readonly hasMacvlan: boolean;
};

/** Somebody who attaches pods: a command and what it is given. */
type Contender = {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  call(
    command: "ADD" | "DEL",
    pod: number,
    serial: number,
  ): { readonly env: Record<string, string>; readonly config: object };
};

async function measure(mode: Mode): Promise<Findings> {
  const skip = await reasonToSkipLab();
  if (skip !== false) throw new Error(skip);
  const folder = "usr/lib/cni";
  const bridge = await locateProgram(
    "bridge-of-cni",
    "containernetworking-plugins",
    `${folder}/bridge`,
  );
  // No program of that name is in any PATH: it is Debian's, whatever else the machine has.
  if (bridge.kind === "missing") throw new Error(bridge.because);
  await using lab = await NetworkLab.open();
  const { outside, nodes } = await lab.outsideWithNodes(1);
  const [node] = nodes as [LabNamespace];
  // A second card, which is a port of a bridge: both kinds of bridge plugin find the same bridge there.
  await node.ip(`link add eth1 type veth peer name node1b netns ${outside.path}`);
  await outside.ip("link set dev node1b master br0 up");
  await node.ip("link add br1 type bridge mcast_snooping 0");
  await node.ip("link set dev eth1 master br1 up");
  await node.ip("link set dev br1 up");
  const pods: string[] = [];
  for (let pod = 0; pod < inParallel; pod += 1) pods.push((await lab.namespace(`p${pod}`)).path);
  const inside: Inside = {
    mode,
    folder: lab.folder,
    plugins: dirname(bridge.file),
    pods,
    hasMacvlan: await kernelHas("macvlan"),
  };
  await writeFile(join(lab.folder, "inside.json"), JSON.stringify(inside));
  const self = fileURLToPath(import.meta.url);
  const command = [process.execPath, ...process.execArgv, self, `${insideFlag}${lab.folder}`];
  await new Promise<void>((resolve, reject) => {
    const child = spawn("nsenter", [`--net=${node.path}`, "--", ...command], { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`ended with ${code}`)),
    );
  });
  return JSON.parse(await readFile(join(lab.folder, "findings.json"), "utf8")) as Findings;
}

const networks = {
  bridge: { type: "galaxy-k8s-vlan", device: "br1", switch: "bridge", conflict_check: false },
  macvlan: { type: "galaxy-k8s-vlan", device: "eth0", switch: "macvlan", conflict_check: false },
  pure: { type: "galaxy-k8s-vlan", device: "eth0", switch: "pure", conflict_check: false },
  checked: { type: "galaxy-k8s-vlan", device: "br1", switch: "bridge", conflict_check: true },
} as const;
type NetworkName = keyof typeof networks;

const networkNames = Object.keys(networks) as NetworkName[];

/** Addresses of our pods; the standard plugins get those from 200, so that none is ever used twice. */
const firstIp = 100;
const ourIp = (network: NetworkName, pod: number) =>
  `10.70.0.${firstIp + networkNames.indexOf(network) * inParallel + pod}`;
const uidOf = (network: string | undefined, pod: number) => `u-${network}-${pod}`;

function ours(name: NetworkName, pods: readonly string[], shim: Shim, socket: string): Contender {
  return {
    name: `galaxy, ${name === "checked" ? "bridge with conflict check" : name}`,
    file: shim.file,
    args: shim.args,
    call: (command, pod, serial) => {
      const env = podEnvironment(command, {
        name: `${name}-${pod}`,
        uid: uidOf(name, pod),
        netns: pods[pod] as string,
      });
      return {
        env: {
          ...env,
          CNI_CONTAINERID: `c${name}${serial}`,
          CNI_PATH: "/opt/cni/bin",
          GALAXY_SOCKET: socket,
        },
        config: { cniVersion: "1.0.0", name: "galaxy", type: "galaxy-sdn" },
      };
    },
  };
}

function theirs(
  name: string,
  type: "bridge" | "macvlan",
  ipam: (pod: number) => object,
  { pods, plugins }: Inside,
): Contender {
  const device = type === "bridge" ? { bridge: "br1" } : { master: "eth0" };
  return {
    name,
    file: join(plugins, type),
    args: [],
    call: (command, pod, serial) => ({
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: `c${serial}`,
        CNI_NETNS: pods[pod] as string,
        CNI_IFNAME: "eth0",
        CNI_PATH: plugins,
      },
      config: { cniVersion: "1.0.0", name: "standard", type, ...device, ipam: ipam(pod) },
    }),
  };
}

/** One call, from the start of the process to its end. @returns milliseconds */
async function callOnce(
  contender: Contender,
  command: "ADD" | "DEL",
  pod: number,
  serial: number,
): Promise<number> {
  const { env, config } = contender.call(command, pod, serial);
  return timeOf(contender, env, JSON.stringify(config));
}

async function timeOf(
  { file, args, name }: Pick<Contender, "file" | "args" | "name">,
  env: Readonly<Record<string, string>>,
  input: string,
): Promise<number> {
  const startedMs = performance.now();
  const child = spawn(file, args, {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  let text = "";
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
  });
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`${name}, ${env["CNI_COMMAND"]}: ${text}`);
  return performance.now() - startedMs;
}

type Times = { readonly add: number[]; readonly del: number[] };

/** Contenders take turns, so that a busy moment of the machine hits all. */
async function takeTurns(
  contenders: readonly Contender[],
  rounds: number,
  width: number,
): Promise<ReadonlyMap<string, Times>> {
  const found = new Map<string, Times>(contenders.map(({ name }) => [name, { add: [], del: [] }]));
  let serial = 0;
  // The first round loads programs into memory and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    for (const contender of contenders) {
      const pods = Array.from(
        { length: width },
        (_, index) => (round * width + index) % inParallel,
      );
      serial += width;
      const base = serial;
      for (const command of ["ADD", "DEL"] as const) {
        const times = await Promise.all(
          pods.map((pod, index) => callOnce(contender, command, pod, base + index)),
        );
        if (round > 0)
          found.get(contender.name)?.[command === "ADD" ? "add" : "del"].push(...times);
      }
    }
  }
  return found;
}

/** A way to make galaxy-sdn an executable. */
type Shim = { readonly name: string; readonly file: string; readonly args: readonly string[] };

async function makeShims(folder: string): Promise<readonly Shim[]> {
  const dist = join(folder, "dist");
  await run(process.execPath, [join(root, "scripts/build.ts"), dist], { cwd: root });
  const host = join(dist, "host");
  const made = await readdir(host).catch((): string[] => []);
  // The executable of all plugins knows by its name which one it is.
  const byBun = join(folder, "galaxy-sdn");
  if (made.includes("galaxy-plugins")) await link(join(host, "galaxy-plugins"), byBun);
  return [
    ...(made.includes("galaxy-sdn")
      ? [{ name: "from C", file: join(host, "galaxy-sdn"), args: [] }]
      : []),
    ...(made.includes("galaxy-plugins")
      ? [{ name: "bytecode in Bun", file: byBun, args: [] }]
      : []),
    { name: "bundle on Node", file: process.execPath, args: [join(dist, "bin/galaxy-sdn")] },
    { name: "source on Node", file: process.execPath, args: [join(root, "src/bin/galaxy-sdn.ts")] },
  ];
}

/** An API server that knows every pod of every network, and the records of their addresses. */
async function startApi() {
  return startScriptedServer((request, response) => {
    const reply = (status: number, json: unknown) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
    };
    if (request.method !== "GET") return reply(200, {});
    const [, network, index] = /\/pods\/([a-z]+)-(\d+)$/.exec(request.path) ?? [];
    if (network === undefined) {
      const [, last] = /\/floatingips\/10\.70\.0\.(\d+)$/.exec(request.path) ?? [];
      if (last === undefined) return reply(404, { kind: "Status", code: 404, reason: "NotFound" });
      const number = Number(last) - firstIp;
      const podUid = uidOf(networkNames[Math.floor(number / inParallel)], number % inParallel);
      const record = anAllocation({ ip: `10.70.0.${last}`, podUid, nodeName: "n1" });
      return reply(200, formatFloatingIp(record));
    }
    const pod = Number(index);
    const infos = [
      { ip: `${ourIp(network as NetworkName, pod)}/24`, vlan: 0, gateway: "10.70.0.1" },
    ];
    const annotations = {
      "k8s.v1.cni.galaxy.io/args": JSON.stringify({ common: { ipinfos: infos } }),
      "k8s.v1.cni.cncf.io/networks": network,
    };
    const requests = { "tke.cloud.tencent.com/eni-ip": "1" };
    return reply(200, {
      metadata: {
        name: `${network}-${pod}`,
        namespace: "default",
        uid: uidOf(network, pod),
        annotations,
      },
      spec: { nodeName: "n1", containers: [{ name: "c", resources: { requests } }] },
      status: {},
    });
  });
}

/** A daemon in this namespace. */
async function startGalaxy(folder: string, master: string) {
  const configPath = join(folder, "galaxy.json");
  const NetworkConf = networkNames.map((name) => ({ name, ...networks[name] }));
  await writeFile(configPath, JSON.stringify({ NetworkConf }));
  const socket = join(folder, "galaxy.sock");
  const program = startProgram({
    name: "galaxy",
    file: join(folder, "dist/bin/galaxy"),
    args: [
      `--master=${master}`,
      `--json-config-path=${configPath}`,
      `--network-conf-dir=${join(folder, "net.d")}`,
      "--hostname-override=n1",
      `--socket=${socket}`,
      `--state-dir=${join(folder, "state")}`,
    ],
    logFile: join(folder, "galaxy.log"),
    // Its first line asks for a node, and says how it is started.
    env: { PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` },
  });
  const status = async () =>
    (await post(socket, { CNI_COMMAND: "STATUS", CNI_PATH: "/opt/cni/bin" }, {})) >= 0;
  await waitForProgram(program, status);
  return { program, socket };
}

/** One call of the daemon without a plugin in between. @returns milliseconds */
async function post(
  socketPath: string,
  env: Readonly<Record<string, string>>,
  config: object,
): Promise<number> {
  const full = { cniVersion: "1.1.0", name: "galaxy", type: "galaxy-sdn", ...config };
  const text = JSON.stringify(full);
  const body = JSON.stringify({ env, config: Buffer.from(text).toString("base64") });
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const call = httpRequest({ socketPath, path: "/cni", method: "POST" }, (response) => {
      let answer = "";
      response.on("data", (data: Buffer) => {
        answer += data.toString();
      });
      response.on("end", () => {
        if (response.statusCode === 200) resolve(performance.now() - startedMs);
        else reject(new Error(answer));
      });
    });
    call.on("error", reject);
    call.end(body);
  });
}

/** Milliseconds that each method of each port took, by "step of ADD". */
type Spent = Map<string, number>;

/** The same port with a clock at each of its methods. */
function timed<T extends object>(name: string, port: T, spent: Spent): T {
  return new Proxy(port, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const startedMs = performance.now();
        try {
          return await (Reflect.apply(value, target, args) as Promise<unknown>);
        } finally {
          const what = `${name}.${String(key)}`;
          spent.set(what, (spent.get(what) ?? 0) + performance.now() - startedMs);
        }
      };
    },
  });
}

/** Where the time of an ADD goes inside the daemon, in this process; reads of host and pod overlap. */
async function breakdown({ folder, pods }: Inside, rounds: number): Promise<readonly Figure[]> {
  const spent: Spent = new Map();
  const state = join(folder, "breakdown");
  const { announcer, network } = await openKernel();
  const ports = {
    network: timed("network", network, spent),
    announcer,
    store: timed("state", new AttachmentFiles(state), spent),
    locks: new SocketNodeLocks(state),
    clock: new SystemClock(),
    log: new StderrLog(),
  };
  const plugins = new OwnPlugins(ports, new ChildPluginExec());
  const call = async (command: "ADD" | "DEL", serial: number) => {
    const ipinfos = JSON.stringify([
      { ip: `${ourIp("bridge", 0)}/24`, vlan: 0, gateway: "10.70.0.1" },
    ]);
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: `b${serial}`,
      CNI_NETNS: pods[0] as string,
      CNI_IFNAME: "eth0",
      CNI_ARGS: `ipinfos=${ipinfos}`,
      CNI_PATH: "/opt/cni/bin",
    };
    const config = { cniVersion: "1.0.0", name: "bridge", ...networks.bridge };
    const request = parseCniRequest(env, JSON.stringify(config));
    if (request.kind === "refused") throw new Error(request.message);
    const startedMs = performance.now();
    const answer = await plugins.answer(request, undefined);
    if (answer.kind === "refused") throw new Error(answer.message);
    return performance.now() - startedMs;
  };
  const figures: Figure[] = [];
  for (const command of ["ADD", "DEL"] as const) {
    let total = 0;
    const sums: Spent = new Map();
    for (let round = 0; round <= rounds; round += 1) {
      if (command === "DEL") await call("ADD", round);
      spent.clear();
      const ms = await call(command, round);
      if (round > 0) {
        total += ms;
        for (const [what, part] of spent) sums.set(what, (sums.get(what) ?? 0) + part);
      }
      if (command === "ADD") await call("DEL", round);
    }
    figures.push({
      what: `${command} in one process, bridge: mean`,
      value: total / rounds,
      unit: "ms",
    });
    for (const [what, sum] of [...sums].toSorted((a, b) => b[1] - a[1])) {
      figures.push({ what: `of that ${what}, ${command}`, value: sum / rounds, unit: "ms" });
    }
  }
  return figures;
}

async function measureInside(inside: Inside): Promise<Findings> {
  const { folder, pods, mode, hasMacvlan } = inside;
  const rounds = mode === "quick" ? 3 : mode === "long" ? 300 : 60;
  const shims = await makeShims(folder);
  await using api = await startApi();
  const { program, socket } = await startGalaxy(folder, api.url);
  try {
    const shim = shims[0] as Shim;
    const subnet = [{ subnet: "10.71.0.0/16" }];
    const hostLocal = () => ({
      type: "host-local",
      dataDir: join(folder, "ipam"),
      ranges: [subnet],
    });
    const fixed = (pod: number) => ({
      type: "static",
      addresses: [{ address: `10.70.0.${200 + pod}/24`, gateway: "10.70.0.1" }],
      routes: [{ dst: "0.0.0.0/0" }],
    });
    const standard = theirs("standard bridge, host-local", "bridge", hostLocal, inside);
    const galaxy = ours("bridge", pods, shim, socket);
    const contenders = [
      standard,
      theirs("standard bridge, static", "bridge", fixed, inside),
      ...(hasMacvlan ? [theirs("standard macvlan, static", "macvlan", fixed, inside)] : []),
      galaxy,
      ...(hasMacvlan ? [ours("macvlan", pods, shim, socket)] : []),
      ours("pure", pods, shim, socket),
    ];
    const alone = await takeTurns(contenders, rounds, 1);
    const together = await takeTurns(contenders, Math.ceil(rounds / 10), inParallel);
    const checked = await takeTurns([ours("checked", pods, shim, socket)], Math.min(rounds, 20), 1);
    const limit = median(alone.get(standard.name)?.add ?? []);
    const figures: Figure[] = [];
    for (const [how, found] of [
      ["one at a time", alone],
      [`${inParallel} at once`, together],
      ["one at a time", checked],
    ] as const) {
      for (const [name, { add, del }] of found) {
        const isOurs = name.startsWith("galaxy");
        const isTarget = name === galaxy.name && how === "one at a time";
        const what = (command: string, share: string) => `${command}, ${name}, ${how}: ${share}`;
        figures.push(
          {
            what: what("ADD", "p50"),
            value: median(add),
            unit: "ms",
            ...(isTarget
              ? { target: { relation: "at most", value: Math.round(limit * 10) / 10 } }
              : {}),
          },
          {
            what: what("ADD", "p99"),
            value: percentile(add, 99),
            unit: "ms",
            ...(isOurs && found !== checked ? { target: { relation: "at most", value: 200 } } : {}),
          },
          { what: what("DEL", "p50"), value: median(del), unit: "ms" },
          { what: what("DEL", "p99"), value: percentile(del, 99), unit: "ms" },
        );
      }
    }
    figures.push(...(await withoutPlugin(pods, socket, rounds)));
    figures.push(...(await startsOf(shims, socket, Math.min(rounds, 20))));
    figures.push({
      what: "resident memory of the daemon afterwards",
      value: residentMegabytes(program.pid),
      unit: "MB",
      target: { relation: "at most", value: 100 },
    });
    figures.push(...(await breakdown(inside, rounds)));
    return {
      parameters: { rounds, pods: pods.length },
      versions: { "containernetworking-plugins": "Debian 12" },
      figures,
      notes: [
        `The plugin that is called is galaxy-sdn as ${shim.name}. Contenders take turns, call by call. The target of the bridge's ADD is what Debian's bridge with host-local took in the same run.`,
        ...(hasMacvlan ? [] : ["The kernel has no macvlan."]),
      ],
    };
  } finally {
    await program.stop();
  }
}

/** What the daemon takes when it is called by this process, which is there already. */
async function withoutPlugin(
  pods: readonly string[],
  socket: string,
  rounds: number,
): Promise<readonly Figure[]> {
  const contender = ours("bridge", pods, { name: "", file: "", args: [] }, socket);
  const times = { ADD: [] as number[], DEL: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    for (const command of ["ADD", "DEL"] as const) {
      const { env, config } = contender.call(command, 0, 1_000_000 + round);
      times[command].push(await post(socket, env, config));
    }
  }
  return (["ADD", "DEL"] as const).map((command) => ({
    what: `${command}, galaxy, bridge, the daemon's part: p50`,
    value: median(times[command]),
    unit: "ms",
  }));
}

/** What galaxy-sdn takes when the daemon has nothing to do, and how large it is. */
async function startsOf(
  shims: readonly Shim[],
  socket: string,
  rounds: number,
): Promise<readonly Figure[]> {
  const times = new Map(shims.map((shim) => [shim, [] as number[]]));
  const env = { CNI_COMMAND: "STATUS", CNI_PATH: "/opt/cni/bin", GALAXY_SOCKET: socket };
  const config = JSON.stringify({ cniVersion: "1.1.0", name: "galaxy", type: "galaxy-sdn" });
  for (let round = 0; round < rounds; round += 1) {
    for (const shim of shims) times.get(shim)?.push(await timeOf(shim, env, config));
  }
  return Promise.all(
    shims.flatMap((shim) => [
      Promise.resolve({
        what: `galaxy-sdn that has nothing to do, ${shim.name}: p50`,
        value: median(times.get(shim) ?? []),
        unit: "ms",
      }),
      stat(shim.args[0] ?? shim.file).then(({ size }) => ({
        what: `size of galaxy-sdn, ${shim.name}${shim.args.length > 0 ? " (without Node)" : ""}`,
        value: size / 2 ** 20,
        unit: "MiB",
      })),
    ]),
  );
}

/** Resident memory of a process in megabytes, as the target is given (Linux). */
function residentMegabytes(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return (Number(match?.[1]) * 1024) / 1e6;
}

const folder = process.argv.find((word) => word.startsWith(insideFlag))?.slice(insideFlag.length);
if (folder === undefined) {
  await benchmark({ name: "cni", title: "pods on and off the network" }, measure);
} else {
  const inside = JSON.parse(await readFile(join(folder, "inside.json"), "utf8")) as Inside;
  const findings = await measureInside(inside);
  await writeFile(join(folder, "findings.json"), JSON.stringify(findings));
}
