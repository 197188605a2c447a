// The PluginExec port of the daemon: our plugins in this process, all others as child programs.

import type { CniRefusal, CniResult } from "../../core/cni-result.ts";
import type { PluginCall, PluginExec } from "../../ports/plugin-exec.ts";
import { formatPluginConfig, parseCniRequest } from "../../wire/cni.ts";
import { ownPlugins } from "../../wire/network-config.ts";
import type { OwnPlugins } from "./own-plugins.ts";

/** Knows which plugins are ours. */
export class DaemonPluginExec implements PluginExec {
  readonly #own: OwnPlugins;
  readonly #others: PluginExec;
  readonly #path: readonly string[];

  /** @param path folders with plugins that are looked at after those of the runtime (`--cni-paths`) */
  constructor(own: OwnPlugins, others: PluginExec, path: readonly string[]) {
    this.#own = own;
    this.#others = others;
    this.#path = path;
  }

  async run(call: PluginCall): Promise<CniResult | undefined | CniRefusal> {
    const path = [...call.path, ...this.#path];
    if (!ownPlugins.some((type) => type === call.type)) return this.#others.run({ ...call, path });
    const request = parseCniRequest(
      {
        CNI_COMMAND: call.command,
        CNI_CONTAINERID: call.containerId,
        CNI_NETNS: call.netns,
        CNI_IFNAME: call.ifName,
        CNI_ARGS: call.args,
        CNI_PATH: path.join(":") || "/opt/cni/bin",
      },
      // Whatever a configuration says of its version: in this process nothing has to be converted.
      formatPluginConfig({ ...call.config, cniVersion: "1.1.0" }, "1.1.0", call.prevResult),
    );
    if (request.kind === "refused") return request;
    const answer = await this.#own.answer(request, undefined);
    return answer.kind === "refused" ? answer : answer.result;
  }
}
