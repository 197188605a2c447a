// Small programs in namespaces whose lines a test reads: raw.pl, and echo.ts on a port of its own.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { greet } from "./cases.ts";

const programs = {
  raw: ["perl", fileURLToPath(new URL("raw.pl", import.meta.url))],
  echo: [process.execPath, fileURLToPath(new URL("echo.ts", import.meta.url))],
} as const;

function start(namespace: LabNamespace, what: keyof typeof programs, args: readonly string[]) {
  const [file, script] = programs[what];
  return spawn("nsenter", [`--net=${namespace.path}`, "--", file, script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** A program that runs until the reader is disposed of. */
export class LineReader implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("close", () => resolve()));
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (line) => this.lines.push(line));
    }
  }

  /** Resolves when it is ready: raw.pl says so, echo.ts answers. */
  static async start(
    namespace: LabNamespace,
    what: keyof typeof programs,
    args: readonly string[],
  ): Promise<LineReader> {
    const reader = new LineReader(start(namespace, what, args));
    await waitUntil(
      `${what} in ${namespace.name}`,
      async () =>
        what === "raw"
          ? reader.lines.includes("ready")
          : (await greet(namespace, "127.0.0.1", { port: Number(args[1]), waitS: 1 })) !==
            undefined,
      Boolean,
    );
    return reader;
  }

  /** Runs it to its end. Returns what it said. */
  static async once(
    namespace: LabNamespace,
    what: keyof typeof programs,
    args: readonly string[],
  ): Promise<string> {
    const reader = new LineReader(start(namespace, what, args));
    await reader.#ended;
    return reader.lines.join("\n");
  }

  isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
