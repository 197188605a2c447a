// A place for a container runtime of a test: mount, process and (of a node of the lab) network namespace of its own. What is mounted there is not
// seen by this machine, and whatever runs there ends with it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ChildProgram } from "../control-plane/child-program.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import type { LabNamespace } from "./network-lab.ts";

/** Namespaces that live until they are closed. */
export class RuntimeNamespaces implements AsyncDisposable {
  readonly #keeper: ChildProgram;
  /** The process that the namespaces belong to. */
  readonly #owner: number;

  private constructor(keeper: ChildProgram, owner: number) {
    this.#keeper = keeper;
    this.#owner = owner;
  }

  /**
   * @param options.folder for a log; it exists
   * @param options.node the network that counts as the host's; that of this machine when absent
   * @param options.prepare commands of a shell that are run inside before anything else
   */
  static async open(options: {
    readonly folder: string;
    readonly node?: LabNamespace | undefined;
    readonly prepare: readonly string[];
  }): Promise<RuntimeNamespaces> {
    const { folder, node } = options;
    const script = [
      ...options.prepare,
      // What is mounted here is seen by the daemon, and not by this machine.
      "mount --make-rshared /",
      "echo ready",
      "exec sleep infinity",
    ];
    const keeper = startProgram({
      name: "namespaces of a runtime",
      file: node === undefined ? "unshare" : "nsenter",
      args: [
        ...(node === undefined ? [] : [`--net=${node.path}`, "unshare"]),
        ...["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"],
        ...["sh", "-c", script.join(" && ")],
      ],
      logFile: join(folder, "namespaces.log"),
    });
    await waitForProgram(keeper, async () => tailOf(keeper.logFile).includes("ready"));
    return new RuntimeNamespaces(keeper, await childOf(keeper.pid));
  }

  /** The beginning of a command line that runs a program inside. */
  get enter(): readonly string[] {
    const names = ["mnt", "pid", "net"] as const;
    const flags = { mnt: "--mount", pid: "--pid", net: "--net" };
    return ["nsenter", ...names.map((name) => `${flags[name]}=/proc/${this.#owner}/ns/${name}`)];
  }

  /** The beginning of a command line for a program of the node: it sees the mounts inside, and all processes of this machine. */
  get enterMounts(): readonly string[] {
    const script = 'mount -t proc proc /proc && exec "$0" "$@"';
    const own = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script];
    return ["nsenter", `--mount=/proc/${this.#owner}/ns/mnt`, ...own];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.stop("SIGKILL");
  }
}

/** The first process behind one that waits for it: `unshare --fork` and `nsenter --pid` are such. */
export async function childOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  const child = Number(text.trim().split(" ")[0]);
  if (!Number.isInteger(child) || child <= 0) throw new Error(`process ${pid} has no child`);
  return child;
}
