// A long-lived `nft -i`: one line in is one transaction of the kernel, in order, in well under a millisecond for a few elements. What is said
// to it is not this file's affair. (`nft -f -` cannot read the socket that Node gives a child as standard input.)

import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { WorldError } from "../../ports/world-error.ts";
import { runProgram } from "./child-program.ts";

/** How long a transaction may take before the process is killed: the kernel needs milliseconds, a starved machine seconds. */
const limitMs = 10_000;

/** What nft said to a transaction: nothing when it took effect as a whole, its errors when nothing of it did. */
export type NftOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly errors: string };

type Shell = ChildProcessByStdio<Writable, Readable, Readable>;

/** One nft process; started with the first transaction, and again when it ended. */
export class NftSession {
  readonly #program: readonly [string, ...string[]];
  #shell: Shell | undefined;
  #errors = "";
  #hear: () => void = () => {};
  #turn: Promise<unknown> = Promise.resolve();
  #count = 0;
  #isClosed = false;

  /**
   * @param options `hostNetns`: path of the network namespace to work in, when it is not that of this process; `file`: the program, "nft"
   *   of PATH when it is not said
   */
  constructor(options: { readonly hostNetns?: string; readonly file?: string } = {}) {
    const { file = "nft", hostNetns } = options;
    this.#program =
      hostNetns === undefined ? [file] : ["nsenter", `--net=${hostNetns}`, "--", file];
  }

  /**
   * Runs commands as one transaction, after those that were asked for before. Rejects with a WorldError (`NETWORK_CHANGE_FAILED`,
   * `PROGRAM_MISSING`) when nft cannot be run or does not answer; what did not take effect by then never will.
   */
  transact(commands: readonly string[]): Promise<NftOutcome> {
    const turn = this.#turn.then(() => this.#say(commands));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** As {@link transact}, where a refusal is a failure. @param tried in words, for the error */
  async change(tried: string, commands: readonly string[]): Promise<void> {
    const outcome = await this.transact(commands);
    if (outcome.kind === "done") return;
    throw new WorldError("NETWORK_CHANGE_FAILED", {
      tried,
      message: `nft refused it: ${firstLines(outcome.errors)}`,
    });
  }

  /** What `nft -j list …` shows, after the transactions that were asked for before. */
  async list(what: string): Promise<unknown> {
    await this.#turn;
    const [file, ...before] = this.#program;
    const args = [...before, "-j", "list", ...what.split(" ")];
    const end = await runProgram({ file, args, limitMs });
    if (end.exitCode !== 0) {
      throw new WorldError("NETWORK_READ_FAILED", {
        tried: `nft list ${what}`,
        message: firstLines(end.stderr),
      });
    }
    return JSON.parse(end.stdout) as unknown;
  }

  /** Ends the process; what the kernel has stays. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#turn;
    this.#shell?.stdin.end();
    this.#shell = undefined;
  }

  async #say(commands: readonly string[]): Promise<NftOutcome> {
    const shell = await this.#open();
    this.#count += 1;
    // nft answers in order, and says the name of a set that cannot be found: everything before that is about the transaction.
    const mark = `answer_${this.#count}`;
    this.#errors = "";
    const before = await new Promise<string>((resolve, reject) => {
      const finish = (error: Error | undefined, text: string) => {
        clearTimeout(timer);
        this.#hear = () => {};
        shell.off("close", ended);
        if (error === undefined) resolve(text);
        else reject(error);
      };
      const ended = () =>
        finish(broken(`it ended; run nft by hand to see why (${firstLines(this.#errors)})`), "");
      const timer = setTimeout(() => {
        // The answer may still be on its way: only a process that is gone changes nothing any more.
        shell.once("close", () =>
          finish(broken(`it did not answer within ${limitMs} ms and was killed`), ""),
        );
        shell.off("close", ended);
        shell.kill("SIGKILL");
      }, limitMs);
      shell.once("close", ended);
      this.#hear = () => {
        const at = this.#errors.indexOf(mark);
        if (at >= 0) finish(undefined, this.#errors.slice(0, at));
      };
      shell.stdin.write(`${commands.join("; ")}\nlist set ${mark} ${mark}\n`);
    });
    // The last error is the mark's own.
    const end = before.lastIndexOf("Error:");
    const errors = before.slice(0, end).trim();
    return errors.includes("Error:") ? { kind: "refused", errors } : { kind: "done" };
  }

  async #open(): Promise<Shell> {
    if (this.#shell !== undefined) return this.#shell;
    if (this.#isClosed) throw broken("it was closed");
    const [file, ...before] = this.#program;
    const words = [...before, "-i"];
    const shell = spawn(file, words, { stdio: ["pipe", "pipe", "pipe"] });
    await new Promise<void>((resolve, reject) => {
      shell.once("spawn", resolve);
      shell.once("error", (error) => {
        reject(
          new WorldError("PROGRAM_MISSING", {
            tried: `run ${file} ${words.join(" ")}`,
            message: `${error.message}; install nftables`,
            cause: error,
          }),
        );
      });
    });
    shell.stdin.on("error", () => {});
    shell.stdout.resume();
    shell.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
      this.#hear();
    });
    shell.once("close", () => {
      if (this.#shell === shell) this.#shell = undefined;
    });
    this.#shell = shell;
    return shell;
  }
}

function broken(message: string): WorldError {
  return new WorldError("NETWORK_CHANGE_FAILED", {
    tried: "talk to nft",
    message,
    mayHaveHappened: true,
  });
}

/** nft repeats the whole command, which can be long. */
function firstLines(text: string): string {
  return text
    .split("\n")
    .filter((line) => line.includes("Error:"))
    .slice(0, 3)
    .join("; ")
    .slice(0, 500);
}
