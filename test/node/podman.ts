// Another real runtime for tests: Debian's podman with CNI networks, runc and conmon, in a mount namespace of its own and with a node of the
// lab as its host. It calls plugins itself, as Multus does, without the daemon. Containers run from a folder instead of an image.

import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { locateProgram, locateProgramWithLibraries } from "../control-plane/binaries.ts";
import type { LabNamespace } from "./network-lab.ts";
import { RuntimeNamespaces } from "./runtime-namespaces.ts";

const run = promisify(execFile);
const bin = fileURLToPath(new URL("../../src/bin/", import.meta.url));

/** A machine that is many times slower than usual still starts a container in this time. */
const limitMs = 240_000;

type Programs = {
  readonly podman: string;
  readonly runc: string;
  readonly conmon: string;
  readonly busybox: string;
  readonly plugins: string;
};

/** Programs of the runtime, or why there are none, in words for `skip`. */
export async function locatePodman(): Promise<Programs | { readonly because: string }> {
  const podman = await locateProgramWithLibraries(
    "podman",
    ["podman", "libsubid4", "libgpgme11", "libassuan0", "libdevmapper1.02.1"],
    "usr/bin/podman",
  );
  if (podman.kind === "missing") return podman;
  const runc = await locateProgramWithLibraries("runc", ["runc", "libseccomp2"], "usr/sbin/runc");
  if (runc.kind === "missing") return runc;
  const conmon = await locateProgram("conmon", "conmon", "usr/bin/conmon");
  if (conmon.kind === "missing") return conmon;
  const busybox = await locateProgram("busybox-static", "busybox-static", "bin/busybox");
  if (busybox.kind === "missing") return busybox;
  const local = await locateProgram(
    "cni-host-local",
    "containernetworking-plugins",
    "usr/lib/cni/host-local",
  );
  if (local.kind === "missing") return local;
  return {
    podman: podman.file,
    runc: runc.file,
    conmon: conmon.file,
    busybox: busybox.file,
    plugins: dirname(local.file),
  };
}

/** Podman on a node; every command is a process of its own, and nothing runs in between but containers. */
export class Podman implements AsyncDisposable {
  /** Where the plugin executable keeps its records. */
  readonly stateFolder: string;
  readonly #folder: string;
  readonly #namespaces: RuntimeNamespaces;
  readonly #podman: string;

  private constructor(folder: string, namespaces: RuntimeNamespaces, podman: string) {
    this.#folder = folder;
    this.#namespaces = namespaces;
    this.#podman = podman;
    this.stateFolder = join(folder, "state");
  }

  /** Prepares it with one network, made by the plugin executable galaxy-k8s-vlan with the standard IPAM plugin host-local. */
  static async open(options: {
    readonly folder: string;
    readonly programs: Programs;
    readonly node: LabNamespace;
    /** Fields of the plugin's configuration, and the addresses of its network. */
    readonly plugin: Readonly<Record<string, unknown>>;
    readonly ranges: readonly { readonly subnet: string; readonly gateway: string }[];
  }): Promise<Podman> {
    const { folder, programs, node } = options;
    const path = (name: string) => join(folder, name);
    for (const name of ["rootfs/bin", "rootfs/www", "net.d", "bin", "tmp"]) {
      await mkdir(path(name), { recursive: true });
    }
    await writeFile(path("policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}');
    const namespaces = await RuntimeNamespaces.open({
      folder,
      node,
      prepare: [
        "mkdir -p /etc/containers /run/netns",
        "mount -t tmpfs tmpfs /etc/containers",
        `cp '${path("policy.json")}' /etc/containers/`,
      ],
    });
    const podman = new Podman(folder, namespaces, programs.podman);
    await copyFile(programs.busybox, path("rootfs/bin/busybox"));
    await writeFile(path("rootfs/www/index.html"), "a container\n");
    await copyFile(join(programs.plugins, "host-local"), path("bin/host-local"));
    await writeFile(
      path("bin/galaxy-k8s-vlan"),
      `#!/bin/sh\nGALAXY_STATE_DIR='${podman.stateFolder}' exec '${process.execPath}' '${join(bin, "galaxy-k8s-vlan.ts")}' "$@"\n`,
      { mode: 0o755 },
    );
    const ranges = options.ranges.map((range) => [range]);
    const ipam = { type: "host-local", dataDir: path("leases"), ranges };
    const plugin = { type: "galaxy-k8s-vlan", ...options.plugin, ipam };
    const list = { cniVersion: "1.0.0", name: "galaxy", plugins: [plugin] };
    await writeFile(path("net.d/10-galaxy.conflist"), JSON.stringify(list));
    await writeFile(
      path("containers.conf"),
      `[containers]
seccomp_profile = "unconfined"
apparmor_profile = "unconfined"
[engine]
runtime = "runc"
conmon_path = ["${programs.conmon}"]
events_logger = "none"
cgroup_manager = "cgroupfs"
tmp_dir = "${path("tmp")}"
static_dir = "${path("static")}"
[engine.runtimes]
runc = ["${programs.runc}"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["${path("bin")}"]
network_config_dir = "${path("net.d")}"
default_network = "galaxy"
`,
    );
    return podman;
  }

  /** Starts a container that serves a page on port 8080. @param ip the address that it asks for */
  async start(name: string, ip: string): Promise<void> {
    const rootfs = join(this.#folder, "rootfs");
    const server = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"];
    await this.#run(
      "run",
      "--detach",
      `--name=${name}`,
      `--ip=${ip}`,
      "--rootfs",
      rootfs,
      ...server,
    );
  }

  /** The addresses that podman knows of a container. */
  async addressOf(name: string): Promise<string> {
    const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}}{{end}}";
    return (await this.#run("inspect", name, `--format=${format}`)).trim();
  }

  async remove(name: string): Promise<void> {
    await this.#run("rm", "--force", "--time=0", "--ignore", name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#namespaces[Symbol.asyncDispose]();
  }

  async #run(...args: readonly string[]): Promise<string> {
    const folder = this.#folder;
    const own = [
      `--root=${join(folder, "root")}`,
      `--runroot=${join(folder, "runroot")}`,
      "--storage-driver=vfs",
      "--log-level=error",
    ];
    const [file = "", ...enter] = this.#namespaces.enter;
    const { stdout } = await run(file, [...enter, this.#podman, ...own, ...args], {
      timeout: limitMs,
      env: { ...process.env, CONTAINERS_CONF: join(folder, "containers.conf"), TMPDIR: "/tmp" },
    });
    return stdout;
  }
}
