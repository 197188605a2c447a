// A CNI plugin as a process: environment and standard input in, JSON on standard output and an exit code out. What it answers is said by
// whoever calls it.

import { spawn } from "node:child_process";
import type { CniRefusal, CniResult } from "../../core/cni-result.ts";
import { cniCode } from "../../core/cni-result.ts";
import type { CniRequest } from "../../wire/cni.ts";
import {
  formatCniError,
  formatCniResult,
  formatCniVersions,
  parseCniRequest,
} from "../../wire/cni.ts";

/** The flag by which an executable tells neighbours after it answered; its value is the attachment as JSON. */
const announceFlag = "--announce";

/** What makes a program a plugin. */
export type PluginBehaviour = {
  /** Name of the program. */
  readonly name: string;
  /** What it is, for those who call it by hand. */
  readonly about: string;
  answer(
    request: CniRequest,
  ): Promise<{ readonly kind: "done"; readonly result: CniResult | undefined } | CniRefusal>;
  /** Work that the runtime does not wait for, in a process of its own; undefined: there is none. */
  afterAdd?(id: CniRequest["containerId"], network: string, ifName: string): Promise<void>;
};

/** Runs the plugin once and sets the process's exit code. */
export async function runPlugin(behaviour: PluginBehaviour): Promise<void> {
  const [flag, value] = process.argv.slice(2);
  if (flag === announceFlag && value !== undefined) {
    const [containerId = "", network = "", ifName = ""] = JSON.parse(value) as string[];
    // Timers of the clock keep no process alive, and this one has nothing but pauses to live for.
    const alive = setInterval(() => {}, 60_000);
    await behaviour.afterAdd?.(containerId, network, ifName);
    clearInterval(alive);
    return;
  }
  if (flag === "--help") {
    process.stdout.write(`${behaviour.about}\n`);
    return;
  }
  if ((process.env.CNI_COMMAND ?? "") === "") {
    process.stderr.write(`${behaviour.about}\n`);
    return;
  }
  const stdin = process.env.CNI_COMMAND === "VERSION" ? "" : await readStdin();
  const request = parseCniRequest(process.env, stdin);
  if (request.kind === "refused") return fail(request, request.version);
  if (request.command === "VERSION") return print(formatCniVersions());
  const answer = await behaviour.answer(request).catch(
    (error: unknown): CniRefusal => ({
      kind: "refused",
      code: cniCode.general,
      message: `the plugin is broken: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    }),
  );
  if (answer.kind === "refused") return fail(answer, request.version);
  if (answer.result !== undefined) print(formatCniResult(answer.result, request.version));
  if (request.command === "ADD" && behaviour.afterAdd !== undefined) {
    leaveBehind(behaviour.name, request);
  }
}

function leaveBehind(name: string, request: CniRequest): void {
  const id = JSON.stringify([request.containerId, request.network, request.ifName]);
  const script = process.argv[1] ?? "";
  // An executable made with Bun is its own script, and one of several by the name that it is called by.
  const isExecutable = script === "" || script.startsWith("/$bunfs/");
  const args = isExecutable ? [announceFlag, id] : [script, announceFlag, id];
  const argv0 = isExecutable ? name : process.execPath;
  const child = spawn(process.execPath, args, { argv0, detached: true, stdio: "ignore" });
  // The pod has its network; neighbours learn of it a little later when this fails.
  child.on("error", () => {});
  child.unref();
}

function fail(refusal: CniRefusal, version: Parameters<typeof formatCniError>[1]): void {
  print(formatCniError(refusal, version));
  process.exitCode = 1;
}

function print(json: unknown): void {
  process.stdout.write(`${JSON.stringify(json)}\n`);
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}
