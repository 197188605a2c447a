// Another kernel for tests that need what this machine's kernel lacks: Debian's user-mode-linux, a Linux that runs as an ordinary program on
// the files of this machine, read-only. One boot serves all tests of a process. Not a sandbox, and not fast.

import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { locateProgram } from "../control-plane/binaries.ts";
import { locateTcpdump } from "./capture.ts";
import type { GuestAnswer } from "./guest-protocol.ts";
import { formatGuestRequest, parseGuestAnswer } from "./guest-protocol.ts";

/** A boot takes three seconds; one that takes longer than this hangs. */
const usualBootLimitMs = 120_000;
/** How often the guest is told that somebody is there. */
const beatMs = 10_000;
/** After a test that hung or broke the kernel the next one gets a new machine, but not for ever. */
const mostBoots = 3;

/** What pods' networks are made of, and what tests look at it with. */
const wantedModules = [
  ...["veth", "bridge", "macvlan", "ipvlan", "8021q", "ipv6", "dummy"],
  ...["cls_u32", "act_mirred", "sch_ingress"],
];

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** Why there is no other kernel here. */
export type NoKernel = { readonly kind: "missing"; readonly because: string };

/** A kernel that runs. */
export type GuestKernel = {
  readonly kind: "running";
  /** Its version, for messages. */
  readonly version: string;
  /** Runs a test of a file; rejects with its error, or when the time is over, which ends the machine. */
  runTest(file: string, name: string, limitMs: number): Promise<void>;
};

let current: Promise<Machine | NoKernel> | undefined;
let boots = 0;

/** The machine of this process, booted when there is none. */
export async function guestKernel(): Promise<GuestKernel | NoKernel> {
  const machine = await current;
  if (machine !== undefined && (machine.kind === "missing" || !machine.hasEnded)) return machine;
  if (boots >= mostBoots) {
    return {
      kind: "missing",
      because: `user-mode-linux ended ${boots} times; see the errors above`,
    };
  }
  boots += 1;
  current = boot();
  return current;
}

/** Turns the machine off, if there is one. */
export async function stopGuestKernel(): Promise<void> {
  const machine = await current;
  if (machine?.kind === "running") await machine.stop();
}

async function boot(): Promise<Machine | NoKernel> {
  const kernel = await locateProgram("linux.uml", "user-mode-linux", "usr/bin/linux.uml");
  if (kernel.kind === "missing") return kernel;
  const busybox = await locateProgram("busybox", "busybox-static", "bin/busybox");
  if (busybox.kind === "missing") return busybox;
  // What the tests inside ask for is fetched before: the machine has no network, and this file system is not to be written there.
  const ping = await locateProgram("ping", "iputils-ping", "bin/ping");
  if (ping.kind === "missing") return ping;
  // Inside, nothing can be fetched: a test that misses one of them says so.
  await Promise.all([locateProgram("ping", "iputils-ping", "bin/ping"), locateTcpdump()]);
  const installed = join(dirname(kernel.file), "..", "lib", "uml", "modules");
  try {
    const [version = ""] = await readdir(installed);
    const modules = await modulesInOrder(join(installed, version));
    return await startMachine({ kernel: kernel.file, busybox: busybox.file, version, modules });
  } catch (error) {
    return { kind: "missing", because: error instanceof Error ? error.message : String(error) };
  }
}

/** What is booted. */
type Boot = {
  /** The kernel as a program. */
  readonly kernel: string;
  readonly busybox: string;
  readonly version: string;
  /** Files, in the order in which they are loaded. */
  readonly modules: readonly string[];
};

/** A machine that is ready for tests; `missing` when the kernel ends, or says nothing for as long as the limit. */
export async function startMachine(
  options: Boot,
  bootLimitMs = usualBootLimitMs,
): Promise<Machine | NoKernel> {
  try {
    return await Machine.start(options, bootLimitMs);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    return { kind: "missing", because: `user-mode-linux does not start: ${because}` };
  }
}

/** Files of modules, each behind those that it needs. */
async function modulesInOrder(folder: string): Promise<string[]> {
  const needs = new Map<string, readonly string[]>();
  for (const line of (await readFile(join(folder, "modules.dep"), "utf8")).split("\n")) {
    const [file = "", rest = ""] = line.split(":");
    needs.set(file, rest.trim().split(" ").filter(Boolean));
  }
  const ordered = new Set<string>();
  const add = (file: string): void => {
    for (const other of needs.get(file) ?? []) add(other);
    ordered.add(file);
  };
  for (const name of wantedModules) {
    // What is not among the files is built in, or missed by the test that needs it.
    for (const file of needs.keys()) if (file.endsWith(`/${name}.ko`)) add(file);
  }
  return [...ordered].map((file) => join(folder, file));
}

type Waiting = {
  readonly resolve: (answer: GuestAnswer) => void;
  readonly reject: (error: Error) => void;
};

class Machine implements GuestKernel {
  readonly kind = "running";
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #lastLines: string[] = [];
  #lastId = 0;
  hasEnded = false;

  static async start(options: Boot, bootLimitMs: number): Promise<Machine> {
    const folder = await mkdtemp(join(tmpdir(), "galaxy-kernel-"));
    const settings = join(folder, "settings");
    const variables: Readonly<Record<string, string>> = {
      repository,
      node: process.execPath,
      busybox: options.busybox,
      modules: options.modules.join(" "),
      HOME: homedir(),
      PATH: process.env.PATH ?? "",
      XDG_CACHE_HOME: process.env.XDG_CACHE_HOME ?? "",
      GALAXY_GUEST: options.version,
    };
    const lines = Object.entries(variables).map(([key, value]) => `${key}='${value}'`);
    await writeFile(settings, `${lines.join("\n")}\nexport GALAXY_GUEST\n`);
    const init = join(folder, "init");
    await writeFile(init, await readFile(new URL("./guest-init.sh", import.meta.url)));
    await chmod(init, 0o755);
    const machine = new Machine(options, folder, [
      ...["mem=768M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"],
      ...["con=null", "con0=fd:0,fd:1", `init=${init}`, `GALAXY_GUEST_SETTINGS=${settings}`],
      // Where the machine keeps its own files, so that two of them never meet.
      ...[`uml_dir=${folder}`, "umid=kernel"],
    ]);
    try {
      await machine.#answerTo(0, bootLimitMs, "boot");
    } catch (error) {
      await machine.stop();
      throw error;
    }
    return machine;
  }

  private constructor(
    options: { readonly kernel: string; readonly version: string },
    folder: string,
    args: readonly string[],
  ) {
    this.version = options.version;
    this.#folder = folder;
    // A group of its own, whose every process can be ended; the kernel makes itself one, but not at once.
    this.#child = spawn(options.kernel, args, { detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const { stdin, stdout, stderr } = this.#child;
    // The guest cannot see that this process is gone.
    const beat = setInterval(() => stdin?.write("\n"), beatMs);
    beat.unref();
    this.#ended = new Promise((resolve) => {
      const end = (why: string): void => {
        this.hasEnded = true;
        clearInterval(beat);
        const error = new Error(`${why}; its last lines:\n${this.#lastLines.join("\n")}`);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        resolve();
      };
      this.#child.once("error", (error) => end(error.message));
      this.#child.once("close", (code, signal) => end(`the machine ended (${code ?? signal})`));
    });
    stdin?.on("error", () => {});
    for (const stream of [stdout, stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (line) => this.#hear(line));
    }
    // Nothing is to wait for a machine but a test that runs in it.
    this.#child.unref();
    for (const stream of [stdin, stdout, stderr]) (stream as Socket | null)?.unref();
    process.once("exit", () => this.#kill());
  }

  async runTest(file: string, name: string, limitMs: number): Promise<void> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#child.stdin?.write(formatGuestRequest({ id, file, name }));
    const { problem } = await this.#answerTo(id, limitMs, name);
    if (problem !== "") throw new Error(`in Linux ${this.version}: ${problem}`);
  }

  async stop(): Promise<void> {
    if (!this.hasEnded) {
      this.#child.stdin?.write(formatGuestRequest({ id: 0, file: "", name: "" }));
      const timer = setTimeout(() => this.#kill(), 10_000);
      await this.#ended;
      clearTimeout(timer);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #answerTo(id: number, limitMs: number, what: string): Promise<GuestAnswer> {
    const timer = setTimeout(() => {
      this.#waiting
        .get(id)
        ?.reject(
          new Error(
            `"${what}" took longer than ${limitMs / 1000} s; last lines of the machine:\n${this.#lastLines.join("\n")}`,
          ),
        );
      this.#waiting.delete(id);
      this.#kill();
    }, limitMs);
    try {
      return await new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    } finally {
      clearTimeout(timer);
    }
  }

  #hear(line: string): void {
    const answer = parseGuestAnswer(line);
    if (answer === undefined) {
      if (line.trim() !== "") this.#lastLines = [...this.#lastLines, line].slice(-30);
      return;
    }
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
  }

  #kill(): void {
    const { pid } = this.#child;
    if (this.hasEnded || pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It ended in this moment.
    }
  }
}
