// The PluginExec port: CNI plugins as child programs, with the environment that the specification names and no more of ours.

import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import type { CniRefusal, CniResult } from "../../core/cni-result.ts";
import { cniCode } from "../../core/cni-result.ts";
import type { PluginCall, PluginExec } from "../../ports/plugin-exec.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatPluginConfig, parseCniResult } from "../../wire/cni.ts";
import { textAt, valueAt } from "../../wire/json-value.ts";
import { runProgram } from "./child-program.ts";

/** As long as the Go daemon lets a plugin run. */
const limitMs = 220_000;

/** Runs plugins from folders. */
export class ChildPluginExec implements PluginExec {
  readonly #enter: readonly string[];

  /** @param options.hostNetns the namespace that counts as the host; that of this process when absent */
  constructor(options: { readonly hostNetns?: string } = {}) {
    this.#enter = options.hostNetns === undefined ? [] : [`--net=${options.hostNetns}`, "--"];
  }

  async run(call: PluginCall): Promise<CniResult | undefined | CniRefusal> {
    const no = (code: number, message: string): CniRefusal => ({ kind: "refused", code, message });
    const { type, command } = call;
    if (!/^[A-Za-z0-9_.-]+$/.test(type) || type.startsWith(".")) {
      return no(cniCode.invalidConfig, `plugin type "${type}" is no name of a program`);
    }
    const file = await findProgram(type, call.path);
    if (file === undefined) {
      return no(
        cniCode.pluginMissing,
        `plugin ${type} is in none of the folders ${call.path.join(", ")}; install it, or correct CNI_PATH`,
      );
    }
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: call.ifName,
      CNI_ARGS: call.args,
      CNI_PATH: call.path.join(":"),
      PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
    };
    try {
      const input = formatPluginConfig(call.config, call.cniVersion, call.prevResult);
      const [first, ...more] = this.#enter;
      const line =
        first === undefined
          ? { file, args: [] }
          : { file: "nsenter", args: [first, ...more, file] };
      const end = await runProgram({ ...line, input, limitMs, env });
      if (end.exitCode === 0) return command === "ADD" ? readResult(type, end.stdout) : undefined;
      const error = parseJson(end.stdout);
      const code = valueAt(error, "code");
      const message =
        textAt(error, "msg") ?? (end.stderr.trim() || `ended with exit code ${end.exitCode}`);
      const details = textAt(error, "details") ?? "";
      return no(
        typeof code === "number" ? code : cniCode.general,
        `plugin ${type}: ${message}${details === "" ? "" : ` (${details})`}`,
      );
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      return no(cniCode.general, error.message);
    }
  }
}

function readResult(type: string, stdout: string): CniResult | CniRefusal {
  const result = parseCniResult(parseJson(stdout));
  return "kind" in result ? { ...result, message: `plugin ${type}: ${result.message}` } : result;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

async function findProgram(type: string, path: readonly string[]): Promise<string | undefined> {
  for (const folder of path) {
    const file = join(folder, type);
    const isThere = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  return undefined;
}
