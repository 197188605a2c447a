// Runs blocks of commands of a page as a reader would: in one folder, by bash, with programs put beside it. It knows nothing of clusters.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { repository } from "./markdown-blocks.ts";

/** A shell for the blocks of pages. */
export type BlockShell = {
  /** Runs a script; each of its commands has to end well. Returns what it printed on both streams. */
  run(script: string): Promise<string>;
  /** Puts a program beside the script's folder, before those of the machine. */
  addProgram(name: string, script: string): void;
};

/**
 * A shell whose folder is `folder`. It has `galaxyctl` from the sources, the variables of `env`, and nothing of this machine's environment but its
 * programs. `onFailure` adds to the message, as the end of a log does. A block that hangs is ended after `limitMs`.
 */
export function openBlockShell(options: {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly onFailure?: () => string;
  readonly limitMs?: number;
}): BlockShell {
  const { folder, env, onFailure, limitMs = 300_000 } = options;
  const shell: BlockShell = {
    addProgram: (name, script) => {
      const file = join(folder, name);
      writeFileSync(file, `#!/bin/sh\n${script}\n`);
      chmodSync(file, 0o755);
    },
    run: async (script) => {
      const bash = spawn("bash", ["--norc", "-e", "-o", "pipefail", "-c", script], {
        cwd: folder,
        env: {
          PATH: [folder, dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter),
          HOME: folder,
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      // A loop of the page that waits for what never comes.
      const limit = setTimeout(() => process.kill(-(bash.pid as number), "SIGKILL"), limitMs);
      let output = "";
      for (const stream of [bash.stdout, bash.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
      }
      const code = await new Promise((resolve, reject) => {
        bash.once("error", reject).once("close", resolve);
      });
      clearTimeout(limit);
      assert.equal(code, 0, `${script}\n${output}\n${onFailure?.() ?? ""}`);
      return output;
    },
  };
  shell.addProgram(
    "galaxyctl",
    `exec '${process.execPath}' '${join(repository, "src/bin/galaxyctl.ts")}' "$@"`,
  );
  return shell;
}
