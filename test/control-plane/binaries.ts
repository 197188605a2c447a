// Finds the programs of a Kubernetes control plane, and fetches once into the user's cache folder what the machine
// does not have. It starts none of them.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Version of a Kubernetes program. */
export type KubernetesVersion = {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
};

/** Absolute paths of the programs, and where they come from in words. */
export type Binaries = {
  readonly kind: "found";
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubeScheduler: string;
  readonly version: KubernetesVersion;
  readonly from: string;
};

/** Nothing to start: why, in one line that a suite prints when it skips. */
export type NoBinaries = { readonly kind: "missing"; readonly because: string };

const KUBERNETES_PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const REPOSITORY = join(import.meta.dirname, "..", "..");
const BUILD_SCRIPT = "scripts/build-kubernetes.sh";
/** Where `scripts/build-kubernetes.sh` puts its results inside the cache folder. */
const BUILT_FOLDER = "kubernetes-1.20.2-built";

type FoundFolder = { readonly kind: "found"; readonly folder: string; readonly from: string };
type FoundFile = { readonly kind: "found"; readonly file: string };

let located: Promise<Binaries | NoBinaries> | undefined;

/**
 * Finds all programs: kube-* in `$KUBEBUILDER_ASSETS`, else unpacked from the archive in `../shared/kubernetes`, else
 * built by `scripts/build-kubernetes.sh`; etcd beside them, else in PATH, else from Debian's package etcd-server.
 * What takes time is told on stderr. The work is done once per process.
 */
export function locateBinaries(): Promise<Binaries | NoBinaries> {
  located ??= locate();
  return located;
}

/** False where a control plane can be started, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkip(): Promise<string | false> {
  const binaries = await locateBinaries();
  return binaries.kind === "found" ? false : `no real control plane: ${binaries.because}`;
}

/** The folder for what is fetched once: `$XDG_CACHE_HOME/galaxy-float-ip` or `~/.cache/galaxy-float-ip`. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(
    base === undefined || base === "" ? join(homedir(), ".cache") : base,
    "galaxy-float-ip",
  );
}

async function locate(): Promise<Binaries | NoBinaries> {
  try {
    const kubernetes = await locateKubernetes();
    if (kubernetes.kind === "missing") {
      return kubernetes;
    }
    const etcd = await locateEtcd();
    if (etcd.kind === "missing") {
      return etcd;
    }
    const kubeApiserver = join(kubernetes.folder, "kube-apiserver");
    return {
      kind: "found",
      etcd: etcd.file,
      kubeApiserver,
      kubeControllerManager: join(kubernetes.folder, "kube-controller-manager"),
      kubeScheduler: join(kubernetes.folder, "kube-scheduler"),
      version: await versionOf(kubeApiserver),
      from: kubernetes.from,
    };
  } catch (error) {
    return { kind: "missing", because: lineOf(error) };
  }
}

async function locateKubernetes(): Promise<FoundFolder | NoBinaries> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets !== undefined && assets !== "") {
    if (await holdsAll(assets, KUBERNETES_PROGRAMS)) {
      return { kind: "found", folder: assets, from: "$KUBEBUILDER_ASSETS" };
    }
    progress(`$KUBEBUILDER_ASSETS (${assets}) lacks one of ${KUBERNETES_PROGRAMS.join(", ")}`);
  }
  const sharedFolder = join(REPOSITORY, "..", "shared", "kubernetes");
  const archive = await archiveIn(sharedFolder);
  if (archive !== undefined) {
    return unpackArchive(sharedFolder, archive);
  }
  const built = join(cacheFolder(), BUILT_FOLDER);
  if (await holdsAll(built, KUBERNETES_PROGRAMS)) {
    return { kind: "found", folder: built, from: BUILD_SCRIPT };
  }
  return {
    kind: "missing",
    because:
      "no kube-apiserver, kube-controller-manager and kube-scheduler in $KUBEBUILDER_ASSETS, " +
      `../shared/kubernetes or ${built}; run ${BUILD_SCRIPT} (about 10 minutes)`,
  };
}

/** Name of the archive for this machine, if the folder is there and has one. */
async function archiveIn(folder: string): Promise<string | undefined> {
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const names = await readdir(folder).catch(() => []);
  return names.find((n) => n.startsWith("k8s-") && n.endsWith(`-linux-${architecture}.tar.xz`));
}

async function unpackArchive(folder: string, name: string): Promise<FoundFolder | NoBinaries> {
  const sums = await readFile(join(folder, "SHA256SUMS"), "utf8");
  const line = sums.split("\n").find((l) => l.trim().endsWith(name));
  const expected = line?.split(/\s+/)[0];
  if (expected === undefined) {
    return { kind: "missing", because: `${folder}/SHA256SUMS does not name ${name}` };
  }
  // The folder is named after the checksum, so that a new archive is unpacked beside the old one.
  const target = join(cacheFolder(), `kubernetes-${expected.slice(0, 16)}`);
  const from = `../shared/kubernetes/${name}`;
  if (await holdsAll(target, KUBERNETES_PROGRAMS)) {
    return { kind: "found", folder: target, from };
  }
  const archive = join(folder, name);
  progress(`checking and unpacking ${from} into ${target} (once)`);
  const actual = await sha256(archive);
  if (actual !== expected) {
    return { kind: "missing", because: `${archive} has checksum ${actual}, expected ${expected}` };
  }
  const xz = await locateProgram("xz", "xz-utils", "usr/bin/xz");
  if (xz.kind === "missing") {
    return xz;
  }
  await makeAtomically(target, async (unfinished) => {
    await run("tar", [`--use-compress-program=${xz.file}`, "-xf", archive, "-C", unfinished]);
  });
  return { kind: "found", folder: target, from };
}

async function locateEtcd(): Promise<FoundFile | NoBinaries> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets !== undefined && assets !== "" && (await holdsAll(assets, ["etcd"]))) {
    return { kind: "found", file: join(assets, "etcd") };
  }
  return locateProgram("etcd", "etcd-server", "usr/bin/etcd");
}

/** A program from PATH, else from a Debian package unpacked (not installed) into the cache folder. */
export async function locateProgram(
  name: string,
  debianPackage: string,
  pathInPackage: string,
): Promise<FoundFile | NoBinaries> {
  for (const folder of (process.env.PATH ?? "").split(":")) {
    if (folder !== "" && (await holdsAll(folder, [name]))) {
      return { kind: "found", file: join(folder, name) };
    }
  }
  const target = join(cacheFolder(), `debian-${debianPackage}`);
  const file = join(target, pathInPackage);
  if (await holdsAll(dirname(file), [basename(file)])) {
    return { kind: "found", file };
  }
  const lack = await unpackDebianPackages([debianPackage], target);
  return lack === undefined
    ? { kind: "found", file }
    : { kind: "missing", because: `${name} is not in PATH and ${lack}` };
}

/**
 * A program from PATH, else from Debian packages unpacked into the cache folder: that of the program, and those of libraries that this
 * machine may lack. What is found then is a script of the same name, alone in its folder, that starts the program with them.
 */
export async function locateProgramWithLibraries(
  name: string,
  debianPackages: readonly [string, ...string[]],
  pathInPackage: string,
): Promise<FoundFile | NoBinaries> {
  for (const folder of (process.env.PATH ?? "").split(":")) {
    if (folder !== "" && (await holdsAll(folder, [name]))) {
      return { kind: "found", file: join(folder, name) };
    }
  }
  const target = join(cacheFolder(), `debian-${debianPackages[0]}-with-libraries`);
  const file = join(target, "start", name);
  if (await holdsAll(dirname(file), [name])) {
    return { kind: "found", file };
  }
  const lack = await unpackDebianPackages(debianPackages, target, async (unfinished) => {
    const folders: string[] = [];
    for (const folder of ["lib", "usr/lib"]) {
      const names = await readdir(join(unfinished, folder)).catch(() => []);
      folders.push(
        ...names.filter((each) => each.endsWith("-linux-gnu")).map((each) => join(folder, each)),
      );
    }
    const path = folders.map((folder) => join(target, folder)).join(":");
    await mkdir(join(unfinished, "start"));
    await writeFile(
      join(unfinished, "start", name),
      `#!/bin/sh\nLD_LIBRARY_PATH='${path}' exec '${join(target, pathInPackage)}' "$@"\n`,
      { mode: 0o755 },
    );
  });
  return lack === undefined
    ? { kind: "found", file }
    : { kind: "missing", because: `${name} is not in PATH and ${lack}` };
}

/** Unpacks packages into one folder, and `finish`es it before anybody sees it. @returns why it could not be done, if so */
async function unpackDebianPackages(
  names: readonly string[],
  target: string,
  finish: (unfinished: string) => Promise<void> = async () => {},
): Promise<string | undefined> {
  if (!(await canRun("apt-get")) || !(await canRun("dpkg"))) {
    return "without apt-get and dpkg it cannot be fetched; install it";
  }
  progress(`fetching Debian's ${names.join(", ")} into ${target} (once)`);
  try {
    await makeAtomically(target, async (unfinished) => {
      const download = await mkdtemp(join(cacheFolder(), ".download-"));
      try {
        for (const name of names) {
          const archive = await downloadDebianPackage(name, download);
          await run("dpkg", ["-x", archive, unfinished]);
        }
      } finally {
        await rm(download, { recursive: true, force: true });
      }
      await finish(unfinished);
    });
    return undefined;
  } catch (error) {
    return `Debian's ${names.join(", ")} cannot be fetched: ${lineOf(error)}`;
  }
}

/** Downloads from apt's own sources, with fresh package lists when that fails at first. Returns the file. */
async function downloadDebianPackage(name: string, folder: string): Promise<string> {
  // Root's downloads would otherwise run as a user who may not write into this folder.
  const asRoot = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  const download = async (options: readonly string[]) => {
    await run("apt-get", [...options, "download", name], { cwd: folder });
  };
  try {
    await download(asRoot);
  } catch {
    progress("reading apt's package lists anew");
    const options = [...asRoot, ...(await privateAptOptions(folder))];
    // One unreachable source of several makes `update` fail; whether it was enough shows at the download.
    const update = await run("apt-get", [...options, "update"]).catch((error: unknown) => error);
    try {
      await download(options);
    } catch (error) {
      throw new Error(
        `apt-get update: ${update instanceof Error ? lineOf(update) : "done"}; apt-get download ${name}: ${lineOf(error)}`,
        { cause: error },
      );
    }
  }
  const archive = (await readdir(folder)).find(
    (n) => n.startsWith(`${name}_`) && n.endsWith(".deb"),
  );
  if (archive === undefined) {
    throw new Error(`apt-get download ${name} left no .deb file in ${folder}`);
  }
  return join(folder, archive);
}

/** Package lists of our own: not everybody may write those of the system, and nobody else holds their lock. */
async function privateAptOptions(folder: string): Promise<string[]> {
  const state = join(folder, "apt", "state");
  const cache = join(folder, "apt", "cache");
  await mkdir(join(state, "lists", "partial"), { recursive: true });
  await mkdir(join(cache, "archives", "partial"), { recursive: true });
  const options = [
    `Dir::State=${state}`,
    `Dir::Cache=${cache}`,
    "Dir::State::status=/var/lib/dpkg/status",
  ];
  return options.flatMap((option) => ["-o", option]);
}

/** Fills a folder under another name and renames it, so that nobody ever sees half of it; a second process may win. */
async function makeAtomically(
  target: string,
  fill: (unfinished: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(target);
  let unfinished: string;
  try {
    await mkdir(folder, { recursive: true });
    unfinished = await mkdtemp(join(folder, ".unfinished-"));
  } catch (cause) {
    throw new Error(
      `nothing can be kept in ${folder} (${lineOf(cause)}); set XDG_CACHE_HOME to a folder that can be written`,
      { cause },
    );
  }
  try {
    await fill(unfinished);
    await rename(unfinished, target).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "EEXIST") {
        throw error;
      }
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function versionOf(program: string): Promise<KubernetesVersion> {
  const { stdout } = await run(program, ["--version"]);
  const match = /v(\d+)\.(\d+)\S*/.exec(stdout);
  if (match === null) {
    throw new Error(`${program} --version says "${stdout.trim()}", which names no version`);
  }
  return { major: Number(match[1]), minor: Number(match[2]), text: match[0] };
}

async function holdsAll(folder: string, names: readonly string[]): Promise<boolean> {
  try {
    await Promise.all(names.map((name) => access(join(folder, name), constants.X_OK)));
    return true;
  } catch {
    return false;
  }
}

async function canRun(program: string): Promise<boolean> {
  return run(program, ["--version"]).then(
    () => true,
    () => false,
  );
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** The telling part of an error of a child program or of anything else, on one line. */
function lineOf(error: unknown): string {
  const stderr = (error as { readonly stderr?: string }).stderr;
  const text = stderr !== undefined && stderr.trim() !== "" ? stderr : String(error);
  return text.trim().split("\n").slice(-3).join("; ");
}

function progress(line: string): void {
  process.stderr.write(`control plane: ${line}\n`);
}
