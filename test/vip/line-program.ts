// A child process that reads commands and says what it sees as JSON lines, in a network namespace. It keeps every line; what they mean is for
// others to say.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "../node/network-lab.ts";

const living = new Set<ChildProcess>();
let isHooked = false;

/** A running program whose lines have the type `Line` and whose commands are texts. */
export class LineProgram<Line extends { readonly kind: string }> implements AsyncDisposable {
  /** Everything that it said so far. */
  readonly lines: Line[] = [];
  readonly #what: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isOver = false;

  private constructor(what: string, child: ChildProcess) {
    this.#what = what;
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("error", () => resolve());
      child.once("close", () => resolve());
    });
    void this.#ended.then(() => {
      this.#isOver = true;
      living.delete(child);
    });
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (text) => {
        this.lines.push(JSON.parse(text) as Line);
      });
    }
    child.stdin?.on("error", () => {});
  }

  /** Starts a program in a namespace; resolves when it said that it is ready. It ends with this process. */
  static async start<Line extends { readonly kind: string }>(
    namespace: LabNamespace,
    file: string,
    args: readonly string[],
  ): Promise<LineProgram<Line>> {
    if (!isHooked) {
      isHooked = true;
      process.on("exit", () => {
        for (const child of living) child.kill("SIGKILL");
      });
    }
    const child = spawn("nsenter", [`--net=${namespace.path}`, "--", file, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    living.add(child);
    const program = new LineProgram<Line>(`${args[0]} in ${namespace.name}`, child);
    await program.waitFor("to be ready", (line) => line.kind === "ready");
    return program;
  }

  /** Gives it a command. */
  tell(command: string): void {
    this.#child.stdin?.write(`${command}\n`);
  }

  /** Waits for a line, one that was said already included; `from`: index of the first line that counts. */
  async waitFor(what: string, wanted: (line: Line) => boolean, from = 0): Promise<Line> {
    let seen = from;
    const find = (): Line | "ended" | undefined => {
      while (seen < this.lines.length) {
        const line = this.lines[seen];
        if (line !== undefined && wanted(line)) return line;
        seen += 1;
      }
      return this.#isOver ? "ended" : undefined;
    };
    const found = await waitUntil(`${this.#what} ${what}`, find, (line) => line !== undefined, {
      everyMs: 5,
    });
    if (found === "ended" || found === undefined) throw new Error(`${this.#what} ended by itself`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
