// keepalived on nodes of the bed's network: what virtual addresses are compared with, and what shows that the meters can see two holders.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitUntil } from "../control-plane/api.ts";
import type { ChildProgram } from "../control-plane/child-program.ts";
import { startProgram, tailOf } from "../control-plane/child-program.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab } from "../node/network-lab.ts";
import { cableNode, cutBetween, echoPort, layCables } from "./bed.ts";
import { FrameMeter, ProbeMeter } from "./meters.ts";
import { locateKeepalived, locateNft } from "./programs.ts";

/** The address that the nodes have between them. */
export const keepalivedIp = "192.0.2.50";

const echo = fileURLToPath(new URL("echo.ts", import.meta.url));

/** A node with keepalived, and a program that answers on the address. */
export type KeepalivedNode = {
  readonly name: string;
  readonly namespace: LabNamespace;
  readonly mac: string;
  /** Starts it; the state is what it becomes by itself. */
  start(): Promise<void>;
  /** The machine loses power: its cable and its programs go at once. */
  crash(): Promise<void>;
  /** After a crash: the cable is back; `start` does the rest. */
  repair(): Promise<void>;
  /** Whether the kernel has the address. */
  isMaster(): Promise<boolean>;
  log(): string;
};

/** Two nodes and a client on one switch. */
export class KeepalivedBed implements AsyncDisposable {
  readonly lab: NetworkLab;
  readonly switchNamespace: LabNamespace;
  readonly nodes: readonly KeepalivedNode[];
  readonly frames: FrameMeter;
  readonly probes: ProbeMeter;
  readonly #nft: string;
  readonly #ends: (() => Promise<void>)[];

  private constructor(parts: {
    readonly lab: NetworkLab;
    readonly switchNamespace: LabNamespace;
    readonly nodes: readonly KeepalivedNode[];
    readonly frames: FrameMeter;
    readonly probes: ProbeMeter;
    readonly nft: string;
    readonly ends: (() => Promise<void>)[];
  }) {
    this.lab = parts.lab;
    this.switchNamespace = parts.switchNamespace;
    this.nodes = parts.nodes;
    this.frames = parts.frames;
    this.probes = parts.probes;
    this.#nft = parts.nft;
    this.#ends = parts.ends;
  }

  /** Lays the cables; keepalived is started by each node's `start`. */
  static async open(): Promise<KeepalivedBed> {
    const [keepalived, nft] = await Promise.all([locateKeepalived(), locateNft()]);
    if (keepalived.kind === "missing") throw new Error(keepalived.because);
    if (nft.kind === "missing") throw new Error(nft.because);
    const lab = await NetworkLab.open();
    const ends: (() => Promise<void>)[] = [];
    try {
      const cables = await layCables(lab);
      const nodes: KeepalivedNode[] = [];
      for (const [index, name] of ["a", "b"].entries()) {
        const namespace = await cableNode(lab, cables, { name, number: index + 1 });
        const parts = { lab, namespace, name, file: keepalived.file };
        nodes.push(await keepalivedNode(parts, cables.switchNamespace, ends));
      }
      const frames = await FrameMeter.start(cables.client, "eth0");
      ends.push(() => frames[Symbol.asyncDispose]());
      const probes = await ProbeMeter.start(cables.client);
      ends.push(() => probes[Symbol.asyncDispose]());
      const { switchNamespace } = cables;
      return new KeepalivedBed({
        lab,
        switchNamespace,
        nodes,
        frames,
        probes,
        nft: nft.file,
        ends,
      });
    } catch (error) {
      await Promise.allSettled(ends.map((end) => end()));
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  node(name: string): KeepalivedNode {
    const node = this.nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`there is no node ${name}; there are a and b`);
    return node;
  }

  /** Nothing gets from one node to the other any more; the client reaches both. Call what is returned to join them again. */
  async cut(): Promise<() => Promise<void>> {
    return cutBetween(this.switchNamespace, this.#nft, ["toa", "tob"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#ends.map((end) => end()));
    await this.lab[Symbol.asyncDispose]();
  }
}

async function keepalivedNode(
  parts: {
    readonly lab: NetworkLab;
    readonly namespace: LabNamespace;
    readonly name: string;
    readonly file: string;
  },
  switchNamespace: LabNamespace,
  ends: (() => Promise<void>)[],
): Promise<KeepalivedNode> {
  const { file, lab, name, namespace } = parts;
  const folder = join(lab.folder, name);
  await mkdir(folder);
  const config = join(folder, "keepalived.conf");
  const logFile = join(folder, "keepalived.log");
  // Its defaults, but for nopreempt: a node that comes back would move the address once more.
  await writeFile(
    config,
    `global_defs {
  router_id ${name}
}
vrrp_instance vip {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int 1
  virtual_ipaddress {
    ${keepalivedIp}/32 dev eth0
  }
}
`,
  );
  await namespace.sysctl("ipv4/ip_nonlocal_bind", "1");
  const [link] = await namespace.show("link show dev eth0");
  let daemon: ChildProgram | undefined;
  let program: ChildProgram | undefined;
  const stop = async () => {
    const { pid } = daemon ?? {};
    // Its children are in its process group.
    if (pid !== undefined && daemon?.isRunning()) process.kill(-pid, "SIGKILL");
    await Promise.all([daemon?.stop("SIGKILL"), program?.stop("SIGKILL")]);
  };
  ends.push(stop);
  const inside = [`--net=${namespace.path}`, "--"];
  return {
    name,
    namespace,
    mac: link?.["address"] as string,
    start: async () => {
      program = startProgram({
        name: `echo of ${name}`,
        file: "nsenter",
        args: [...inside, process.execPath, echo, name, String(echoPort), keepalivedIp],
        logFile: join(folder, "echo.log"),
      });
      daemon = startProgram({
        name: `keepalived of ${name}`,
        file: "nsenter",
        args: [
          ...inside,
          file,
          "--dont-fork",
          "--log-console",
          "--vrrp",
          `--use-file=${config}`,
          `--pid=${join(folder, "keepalived.pid")}`,
          `--vrrp_pid=${join(folder, "vrrp.pid")}`,
        ],
        logFile,
      });
      await waitUntil(
        `keepalived of ${name} to be backup`,
        () => tailOf(logFile, 1_000),
        (text) => text.includes("Entering BACKUP STATE"),
        { everyMs: 20 },
      );
    },
    crash: async () => {
      await switchNamespace.ip(`link set dev to${name} down`);
      await stop();
    },
    repair: async () => {
      // A machine that starts again has none of its addresses.
      await namespace.run("sh", "-c", `ip address del ${keepalivedIp}/32 dev eth0 || true`);
      await switchNamespace.ip(`link set dev to${name} up`);
      await writeFile(logFile, "");
    },
    isMaster: async () =>
      (await namespace.ip("-o address show dev eth0")).includes(`${keepalivedIp}/32`),
    log: () => tailOf(logFile, 200),
  };
}
