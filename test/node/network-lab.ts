// A small network for tests: an outside with a bridge, nodes and pods, each a network namespace of its own on the running kernel, so that
// the network of this machine is never touched. Not a node: the programs under test are started in or pointed at these namespaces.

import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { namespaceAt } from "../../src/adapters/linux/namespace-path.ts";
import { waitUntil } from "../control-plane/api.ts";
import { locateProgram } from "../control-plane/binaries.ts";

const run = promisify(execFile);

let labCount = 0;

/** False where namespaces can be made, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkipLab(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  try {
    await run("unshare", ["--net", "ip", "link", "add", "one", "type", "veth"]);
    return false;
  } catch (error) {
    return `no network namespaces here: ${String((error as { stderr?: string }).stderr ?? error).trim()}`;
  }
}

/** What not every kernel can make. */
export type KernelFeature = "macvlan" | "vlan" | "ipvlan" | "bridge VLAN filtering";

const featureTrials: Readonly<Record<KernelFeature, string>> = {
  macvlan: "ip link add link one name three type macvlan mode bridge",
  vlan: "ip link add link one name three type vlan id 5",
  ipvlan: "ip link add link one name three type ipvlan mode l2",
  "bridge VLAN filtering": "ip link add three type bridge vlan_filtering 1",
};

/** Whether this kernel can make such a device; tests of what it cannot are for another kernel (kernel-tests.ts). */
export async function kernelHas(feature: KernelFeature): Promise<boolean> {
  const script = `ip link add one type veth peer name two && ${featureTrials[feature]}`;
  return run("unshare", ["--net", "sh", "-c", script]).then(
    () => true,
    () => false,
  );
}

async function locateBusybox(): Promise<string> {
  const busybox = await locateProgram("busybox", "busybox-static", "bin/busybox");
  if (busybox.kind === "missing") throw new Error(busybox.because);
  return busybox.file;
}

/** A namespace of the lab. */
export class LabNamespace {
  /** Its name for `ip netns`. */
  readonly name: string;
  readonly #children: ChildProcess[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Its path, as CNI_NETNS. */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Runs a program inside; rejects when it fails. Returns what it printed. */
  async run(file: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run("nsenter", [`--net=${this.path}`, "--", file, ...args]);
    return stdout;
  }

  /** Runs `ip` inside with a line of arguments. */
  async ip(line: string): Promise<string> {
    const { stdout } = await run("ip", ["-n", this.name, ...line.split(" ")]);
    return stdout;
  }

  /** Runs several lines of `ip` inside with one program; rejects at the first that fails. */
  async ipAll(...lines: readonly string[]): Promise<string> {
    const running = run("ip", ["-n", this.name, "-batch", "-"]);
    running.child.stdin?.end(`${lines.join("\n")}\n`);
    return (await running).stdout;
  }

  /** What `ip -json` shows. */
  async show(line: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const text = await this.ip(`-json ${line}`);
    return JSON.parse(text.trim() === "" ? "[]" : text) as Readonly<Record<string, unknown>>[];
  }

  /** Reads or writes a value below /proc/sys/net. */
  async sysctl(key: string, value?: string): Promise<string> {
    if (value !== undefined) {
      await this.run("sh", "-c", 'echo "$1" > "/proc/sys/net/$0"', key, value);
    }
    return (await this.run("cat", `/proc/sys/net/${key}`)).trim();
  }

  /** Whether an address answers to ping within the time. `from` is a source address. */
  async pings(ip: string, options: { readonly from?: string; readonly waitS?: number } = {}) {
    const ping = await locateProgram("ping", "iputils-ping", "bin/ping");
    if (ping.kind === "missing") throw new Error(ping.because);
    const source = options.from === undefined ? [] : ["-I", options.from];
    // The first packet waits for neighbours; on a machine with load for longer than usual.
    const args = ["-n", "-q", "-c", "1", "-w", String(options.waitS ?? 10), ...source, ip];
    return this.run(ping.file, ...args).then(
      () => true,
      () => false,
    );
  }

  /** Those of the addresses that do not answer to ping, asked all at once. `sizeBytes`: of the ping's payload, which is not split up. */
  async unreachable(
    ips: readonly string[],
    options: { readonly sizeBytes?: number } = {},
  ): Promise<readonly string[]> {
    const ping = await locateProgram("ping", "iputils-ping", "bin/ping");
    if (ping.kind === "missing") throw new Error(ping.because);
    const size = options.sizeBytes === undefined ? "" : `-M do -s ${options.sizeBytes.toString()}`;
    const script = `for ip; do (${ping.file} -n -q -c 1 -w 20 ${size} "$ip" >/dev/null || echo "$ip") & done; wait`;
    return (await this.run("sh", "-c", script, "sh", ...ips)).split("\n").filter(Boolean);
  }

  /** Starts a server that sends back what it gets. It ends with the lab. */
  async serveEcho(port: number): Promise<void> {
    const busybox = await locateBusybox();
    const args = ["nc", "-ll", "-p", String(port), "-e", busybox, "cat"];
    const child = spawn("nsenter", [`--net=${this.path}`, "--", busybox, ...args], {
      stdio: "ignore",
    });
    this.#children.push(child);
    // In the output of /proc/net/tcp6, 0A is a socket that listens.
    await waitUntil(
      `an echo server on port ${port}`,
      () => this.run("cat", "/proc/net/tcp", "/proc/net/tcp6"),
      (text) =>
        new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 0A`).test(text),
    );
  }

  /** What an echo server answers over TCP. */
  async askEcho(ip: string, port: number, text: string): Promise<string> {
    const busybox = await locateBusybox();
    const script = '{ echo "$3"; sleep 1; } | "$0" nc -w 20 "$1" "$2"';
    return (await this.run("sh", "-c", script, busybox, ip, String(port), text)).trim();
  }

  /** Ends what was started in this namespace. */
  async endChildren(): Promise<void> {
    for (const child of this.#children.splice(0)) {
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await ended;
    }
  }

  /** The MAC that this namespace knows for a neighbour. */
  async neighbour(ip: string): Promise<string | undefined> {
    const [entry] = await this.show(`neigh show ${ip}`);
    return entry?.["lladdr"] as string | undefined;
  }

  /** Everything of its network that an attachment could have changed, as comparable text. */
  async snapshot(): Promise<string> {
    // Addresses are announced beside the work, through a pair of devices that lives for a moment and is not part of any pod.
    return waitUntil(
      "announcements to end",
      () => this.#look(),
      (seen) => !/: gxa\d+x\d+@/.test(seen),
    );
  }

  async #look(): Promise<string> {
    const running = run("ip", ["-n", this.name, "-o", "-batch", "-"]);
    running.child.stdin?.end(
      "link show\naddress show scope global\nroute show table all\nrule show\nneigh show proxy\n",
    );
    const parts = [(await running).stdout, await this.ip("-6 route show table all")];
    // State and queue of a device change by themselves.
    return parts
      .join("--\n")
      .replaceAll(/ state \w+| qlen \d+|NO-CARRIER,|,LOWER_UP|,M-DOWN| linkdown/g, "")
      .split("\n")
      .filter((line) => !/fe80|ff00|multicast|anycast/.test(line))
      .join("\n");
  }
}

/** Namespaces with unique names, and a folder; all gone at the end. */
export class NetworkLab implements AsyncDisposable {
  readonly #names: string[] = [];
  readonly #namespaces: LabNamespace[] = [];
  readonly #prefix: string;
  /** For state files. */
  readonly folder: string;

  private constructor(folder: string) {
    labCount += 1;
    this.#prefix = `gxt${process.pid}x${labCount}`;
    this.folder = folder;
  }

  static async open(): Promise<NetworkLab> {
    return new NetworkLab(await mkdtemp(join(tmpdir(), "galaxy-node-")));
  }

  /** A new namespace with its loopback up. */
  async namespace(name: string): Promise<LabNamespace> {
    const full = `${this.#prefix}-${name}`;
    await run("ip", ["netns", "add", full]);
    this.#names.push(full);
    const namespace = new LabNamespace(full);
    this.#namespaces.push(namespace);
    await namespace.ip("link set dev lo up");
    return namespace;
  }

  /** Removes a namespace before the lab ends, as a runtime does when a pod dies. */
  async remove(namespace: LabNamespace): Promise<void> {
    await run("ip", ["netns", "del", namespace.name]);
    this.#names.splice(this.#names.indexOf(namespace.name), 1);
  }

  /**
   * The outside: a bridge br0 that is a switch and has the address 10.70.0.1/24 (and fd00:70::1/64), and nodes node1, node2, … with
   * eth0 on it and the address 10.70.0.11, 10.70.0.12, …
   */
  async outsideWithNodes(
    count: number,
    options: { readonly mtu?: number } = {},
  ): Promise<{ readonly outside: LabNamespace; readonly nodes: readonly LabNamespace[] }> {
    const mtu = options.mtu ?? 1500;
    const outside = await this.namespace("outside");
    await outside.ipAll(
      `link add br0 mtu ${mtu} type bridge mcast_snooping 0`,
      "address add 10.70.0.1/24 dev br0",
      "address add fd00:70::1/64 dev br0 nodad",
      "link set dev br0 up",
    );
    const nodes: LabNamespace[] = [];
    for (let number = 1; number <= count; number += 1) {
      const node = await this.namespace(`node${number}`);
      await node.ip(
        `link add eth0 mtu ${mtu} type veth peer name node${number} mtu ${mtu} netns ${outside.path}`,
      );
      await outside.ip(`link set dev node${number} master br0 up`);
      await node.ipAll(
        "link set dev eth0 up",
        `address add 10.70.0.${10 + number}/24 brd + dev eth0`,
        `address add fd00:70::${10 + number}/64 dev eth0 nodad`,
        "route add default via 10.70.0.1 dev eth0",
      );
      // The kernel makes the route of an IPv6 address beside the work; what is compared with later must have it.
      await waitUntil(
        `the route of the IPv6 address of node${number}`,
        () => node.ip("-6 route show table local"),
        (seen) => seen.includes(`local fd00:70::${10 + number} `),
      );
      nodes.push(node);
    }
    return { outside, nodes };
  }

  /**
   * Makes the outside's switch aware of VLANs: untagged frames go on as before, and each of the VLANs is on every port, tagged. The
   * outside has 10.(70 + VLAN).0.1/24 and fd00:(70 + VLAN)::1/64 in it, and forwards between them all.
   */
  async tagOutside(outside: LabNamespace, vlans: readonly number[]): Promise<void> {
    const ports = await outside.show("link show master br0");
    const commands = vlans.flatMap((vlan) => [
      ...ports.map(({ ifname }) => `vlan add dev ${String(ifname)} vid ${vlan}`),
      `vlan add dev br0 vid ${vlan} self`,
    ]);
    await outside.ip("link set dev br0 type bridge vlan_filtering 1");
    const running = run("bridge", ["-n", outside.name, "-batch", "-"]);
    running.child.stdin?.end(`${commands.join("\n")}\n`);
    await running;
    await outside.ipAll(
      ...vlans.flatMap((vlan) => [
        `link add link br0 name br0.${vlan} type vlan id ${vlan}`,
        `address add 10.${70 + vlan}.0.1/24 dev br0.${vlan}`,
        `address add fd00:${70 + vlan}::1/64 dev br0.${vlan} nodad`,
        `link set dev br0.${vlan} up`,
      ]),
    );
    await outside.run(
      "sh",
      "-c",
      "for v in 4 6; do echo 1 > /proc/sys/net/ipv$v/conf/all/forwarding; done",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of this.#namespaces) await namespace.endChildren();
    for (const name of this.#names.toReversed()) {
      if (namespaceAt(`/run/netns/${name}`) === "present") await run("ip", ["netns", "del", name]);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
