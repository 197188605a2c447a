// A small network for tests: an outside with a bridge, nodes and pods, each a network namespace of its own on the running kernel, so that
// the network of this machine is never touched. Not a node: the programs under test are started in or pointed at these namespaces.

import { execFile } from "node:child_process";
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

/** Whether the kernel can make such a device; tests of what it cannot are for another kernel (user-mode-linux). */
export async function kernelHas(kind: "macvlan" | "vlan" | "ipvlan"): Promise<boolean> {
  const options = kind === "vlan" ? "id 5" : kind === "ipvlan" ? "mode l2" : "mode bridge";
  const script = `ip link add one type veth peer name two && ip link add link one name three type ${kind} ${options}`;
  return run("unshare", ["--net", "sh", "-c", script]).then(
    () => true,
    () => false,
  );
}

/** A namespace of the lab. */
export class LabNamespace {
  /** Its name for `ip netns`. */
  readonly name: string;

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
    return this.run("ip", ...line.split(" "));
  }

  /** What `ip -json` shows. */
  async show(line: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const text = await this.run("ip", "-json", ...line.split(" "));
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
    const parts = await Promise.all(
      [
        "-o link show",
        "-o address show scope global",
        "route show table all",
        "-6 route show table all",
        "rule show",
        "neigh show proxy",
      ].map((line) => this.ip(line)),
    );
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
    await outside.ip(`link add br0 mtu ${mtu} type bridge mcast_snooping 0`);
    await outside.ip("address add 10.70.0.1/24 dev br0");
    await outside.ip("-6 address add fd00:70::1/64 dev br0 nodad");
    await outside.ip("link set dev br0 up");
    const nodes: LabNamespace[] = [];
    for (let number = 1; number <= count; number += 1) {
      const node = await this.namespace(`node${number}`);
      await node.ip(
        `link add eth0 mtu ${mtu} type veth peer name node${number} mtu ${mtu} netns ${outside.path}`,
      );
      await outside.ip(`link set dev node${number} master br0 up`);
      await node.ip("link set dev eth0 up");
      await node.ip(`address add 10.70.0.${10 + number}/24 brd + dev eth0`);
      await node.ip(`-6 address add fd00:70::${10 + number}/64 dev eth0 nodad`);
      await node.ip("route add default via 10.70.0.1 dev eth0");
      nodes.push(node);
    }
    return { outside, nodes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#names.toReversed()) {
      if (namespaceAt(`/run/netns/${name}`) === "present") await run("ip", ["netns", "del", name]);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
