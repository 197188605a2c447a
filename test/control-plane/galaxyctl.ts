// Runs galaxyctl as a person would: a process of its own with an environment in which nothing of this machine's shows.

import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeAtExit } from "./child-program.ts";

const program = fileURLToPath(new URL("../../src/bin/galaxyctl.ts", import.meta.url));

/** What a run left behind. */
export type Run = {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** One server, asked by command lines. */
export class Galaxyctl {
  readonly #env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>>) {
    const home = mkdtempSync(join(tmpdir(), "galaxyctl-home-"));
    removeAtExit(home);
    this.#env = { PATH: process.env["PATH"] ?? "", HOME: home, ...env };
  }

  /** Runs to the end; `input` is what it reads from standard input. */
  async run(
    args: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<Run> {
    const child = this.start(args, options.env);
    child.stdin.end(options.input ?? "");
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    return { code, stdout, stderr };
  }

  /** Starts a command that runs until it is stopped. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    return spawn(process.execPath, [program, ...args], {
      env: { ...this.#env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
  }
}
