// A real container runtime for tests: Debian's containerd with its CRI plugin, in a mount and a process namespace of its own, so that nothing
// of it outlives the test or touches a runtime of this machine; and the calls of a kubelet. Its only image is Debian's busybox.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { callGrpc } from "../../src/adapters/cri/grpc-call.ts";
import { formatMessage, messagesOf, readFields, textOf } from "../../src/adapters/cri/protobuf.ts";
import { locateProgram, locateProgramWithLibraries } from "../control-plane/binaries.ts";
import type { ChildProgram } from "../control-plane/child-program.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import type { LabNamespace } from "./network-lab.ts";
import { childOf, RuntimeNamespaces } from "./runtime-namespaces.ts";

const run = promisify(execFile);

/** A machine that is many times slower than usual still starts a sandbox in this time. */
const callLimitMs = 120_000;
const image = "localhost/galaxy-pause:1";
/** The pod's only process; it stands for an application, too: it serves a page that says who it is. */
const entrypoint = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"];

type Programs = {
  readonly containerd: string;
  readonly runc: string;
  readonly busybox: string;
  /** Folder of the reference CNI plugins. */
  readonly plugins: string;
};

/** Programs of the runtime, or why there are none, in words for `skip`. */
export async function locateContainerd(): Promise<Programs | { readonly because: string }> {
  const containerd = await locateProgram("containerd", "containerd", "usr/bin/containerd");
  if (containerd.kind === "missing") return containerd;
  const runc = await locateProgramWithLibraries("runc", ["runc", "libseccomp2"], "usr/sbin/runc");
  if (runc.kind === "missing") return runc;
  const busybox = await locateProgram("busybox-static", "busybox-static", "bin/busybox");
  if (busybox.kind === "missing") return busybox;
  const loopback = await locateProgram(
    "cni-loopback",
    "containernetworking-plugins",
    "usr/lib/cni/loopback",
  );
  if (loopback.kind === "missing") return loopback;
  const plugins = dirname(loopback.file);
  return { plugins, containerd: containerd.file, runc: runc.file, busybox: busybox.file };
}

/** What a kubelet says of a pod. */
export type SandboxWish = {
  readonly name: string;
  readonly uid: string;
  /** TCP ports of the node that lead to ports of the pod. */
  readonly hostPorts?: readonly { readonly host: number; readonly pod: number }[];
};

/** How a call ended that may be refused. */
export type SandboxOutcome =
  | { readonly kind: "made"; readonly id: string }
  | { readonly kind: "refused"; readonly message: string };

/** What the runtime says of a sandbox. */
export type SandboxStatus = { readonly isReady: boolean; readonly ips: readonly string[] };

/** A running containerd. */
export class Containerd implements AsyncDisposable {
  readonly socket: string;
  /** Where CNI plugins and CNI configurations are looked for. */
  readonly pluginFolder: string;
  readonly confFolder: string;
  readonly #folder: string;
  readonly #programs: Programs;
  #program: ChildProgram | undefined;
  readonly #namespaces: RuntimeNamespaces;
  readonly #searchPath: string;

  private constructor(options: {
    readonly folder: string;
    readonly programs: Programs;
    readonly namespaces: RuntimeNamespaces;
    readonly path: string;
  }) {
    const { folder } = options;
    this.#folder = folder;
    this.#programs = options.programs;
    this.#namespaces = options.namespaces;
    this.#searchPath = options.path;
    this.socket = join(folder, "containerd.sock");
    this.pluginFolder = join(folder, "cni-bin");
    this.confFolder = join(folder, "cni-conf");
  }

  /** Starts one below the folder, with its image. @param options.node the network that counts as the host's: plugins run there */
  static async start(options: {
    readonly folder: string;
    readonly programs: Programs;
    readonly node?: LabNamespace;
    /** PATH for plugins, instead of that of this process. */
    readonly path?: string;
  }): Promise<Containerd> {
    const { folder, programs, node } = options;
    const path = options.path ?? process.env.PATH ?? "";
    await mkdir(folder, { recursive: true });
    const namespaces = await RuntimeNamespaces.open({
      folder,
      node,
      prepare: ["mkdir -p /run/containerd", "mount -t tmpfs tmpfs /run/containerd"],
    });
    const containerd = new Containerd({ folder, programs, namespaces, path });
    await mkdir(containerd.pluginFolder, { recursive: true });
    await mkdir(containerd.confFolder, { recursive: true });
    for (const name of ["loopback", "portmap"]) {
      await symlink(join(programs.plugins, name), join(containerd.pluginFolder, name));
    }
    await writeFile(containerd.#path("config.toml"), containerd.#configuration());
    await containerd.startAgain();
    const archive = await containerd.#makeImage();
    await containerd.#ctr("images", "import", "--snapshotter=native", archive);
    return containerd;
  }

  /** The beginning of a command line for a program of the node: it sees the runtime's mounts. */
  get enterMounts(): readonly string[] {
    return this.#namespaces.enterMounts;
  }

  /** Starts it after {@link kill}; sandboxes that were running are so still. */
  async startAgain(): Promise<void> {
    const { containerd } = this.#programs;
    const [file = "", ...args] = this.#namespaces.enter;
    this.#program = startProgram({
      name: "containerd",
      file,
      args: [...args, containerd, "--config", this.#path("config.toml")],
      logFile: this.#path("containerd.log"),
      env: { PATH: [dirname(containerd), this.#searchPath].join(delimiter) },
    });
    await waitForProgram(this.#program, async () => (await this.list()) !== undefined);
  }

  /** As when the machine runs out of memory: at once, whatever it is doing. */
  async kill(): Promise<void> {
    if (this.#program === undefined) return;
    // Entering a process namespace takes a process that waits; the one behind it is meant.
    process.kill(await childOf(this.#program.pid), "SIGKILL");
    await this.#program.stop("SIGKILL");
  }

  /** RunPodSandbox. */
  async runPod(wish: SandboxWish): Promise<SandboxOutcome> {
    const answer = await this.#call("RunPodSandbox", [[1, this.#sandboxConfig(wish)]]);
    return answer.kind === "answer"
      ? { kind: "made", id: textOf(readFields(answer.message), 1) }
      : { kind: "refused", message: answer.message };
  }

  /** StopPodSandbox and RemovePodSandbox, as a kubelet does with a pod that is gone. */
  async removePod(id: string): Promise<void> {
    for (const method of ["StopPodSandbox", "RemovePodSandbox"]) {
      const answer = await this.#call(method, [[1, id]]);
      if (answer.kind === "status") throw new Error(`${method} ${id}: ${answer.message}`);
    }
  }

  /** The sandbox goes without CNI DEL, and the runtime does not know it any more: a crash that took its state along. */
  async loseSandbox(id: string): Promise<void> {
    // There is none when the runtime died before it started one.
    await this.#ctr("tasks", "delete", "--force", id).catch(() => {});
    await this.#ctr("containers", "delete", id);
    await this.kill();
    await this.startAgain();
  }

  /** PodSandboxStatus. */
  async status(id: string): Promise<SandboxStatus | undefined> {
    const answer = await this.#call("PodSandboxStatus", [[1, id]]);
    if (answer.kind === "status") return undefined;
    const [status = new Uint8Array()] = messagesOf(readFields(answer.message), 1);
    const fields = readFields(status);
    const [network = new Uint8Array()] = messagesOf(fields, 5);
    const first = textOf(readFields(network), 1);
    const more = messagesOf(readFields(network), 2).map((ip) => textOf(readFields(ip), 1));
    return {
      isReady: (fields.get(3)?.at(-1) ?? 0n) === 0n,
      ips: [first, ...more].filter((ip) => ip !== ""),
    };
  }

  /** Ids of all sandboxes. */
  async list(): Promise<readonly string[]> {
    const answer = await this.#call("ListPodSandbox", []);
    if (answer.kind === "status") throw new Error(answer.message);
    return messagesOf(readFields(answer.message), 1).map((item) => textOf(readFields(item), 1));
  }

  log(): string {
    return tailOf(this.#path("containerd.log"), 200);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.stop("SIGKILL");
    await this.#namespaces[Symbol.asyncDispose]();
  }

  async #ctr(...args: readonly string[]): Promise<void> {
    const [file = "", ...enter] = this.#namespaces.enter;
    const ctr = join(dirname(this.#programs.containerd), "ctr");
    await run(file, [...enter, ctr, `--address=${this.socket}`, "--namespace=k8s.io", ...args]);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #call(method: string, fields: Parameters<typeof formatMessage>[0]) {
    return callGrpc({
      socket: this.socket,
      path: `/runtime.v1.RuntimeService/${method}`,
      message: formatMessage(fields),
      limitMs: callLimitMs,
    });
  }

  #sandboxConfig({ name, uid, hostPorts = [] }: SandboxWish): Uint8Array {
    const metadata = formatMessage([
      [1, name],
      [2, uid],
      [3, "default"],
    ]);
    return formatMessage([
      [1, metadata],
      [2, name],
      [3, this.#path("logs")],
      ...hostPorts.map(
        ({ host, pod }) =>
          [
            5,
            formatMessage([
              [2, pod],
              [3, host],
            ]),
          ] as const,
      ),
    ]);
  }

  #configuration(): string {
    const { runc } = this.#programs;
    return `version = 2
root = "${this.#path("root")}"
state = "${this.#path("state")}"
disabled_plugins = [${["btrfs", "zfs", "aufs", "devmapper", "overlayfs"].map((name) => `"io.containerd.snapshotter.v1.${name}"`).join(", ")}, "io.containerd.internal.v1.opt"]
[grpc]
  address = "${this.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${image}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${runc}"
        Root = "${this.#path("runc")}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${this.pluginFolder}"
    conf_dir = "${this.confFolder}"
`;
  }

  /** An archive in the form of `docker save`, with one layer. */
  async #makeImage(): Promise<string> {
    const rootfs = this.#path("image/rootfs");
    await mkdir(join(rootfs, "bin"), { recursive: true });
    await mkdir(join(rootfs, "www"));
    await copyFile(this.#programs.busybox, join(rootfs, "bin/busybox"));
    await chmod(join(rootfs, "bin/busybox"), 0o755);
    await writeFile(join(rootfs, "www/index.html"), "a pod\n");
    const layer = this.#path("image/layer.tar");
    await run("tar", ["-C", rootfs, "-cf", layer, "."]);
    const hash = createHash("sha256")
      .update(await readFile(layer))
      .digest("hex");
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    const config = {
      architecture,
      os: "linux",
      config: { Entrypoint: entrypoint, Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [`sha256:${hash}`] },
    };
    await writeFile(this.#path("image/config.json"), JSON.stringify(config));
    await writeFile(
      this.#path("image/manifest.json"),
      JSON.stringify([{ Config: "config.json", RepoTags: [image], Layers: ["layer.tar"] }]),
    );
    const archive = this.#path("image.tar");
    const names = ["manifest.json", "config.json", "layer.tar"];
    await run("tar", ["-C", this.#path("image"), "-cf", archive, ...names]);
    return archive;
  }
}
