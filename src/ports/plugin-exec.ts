// Running CNI plugins: IPAM plugins that give addresses, and the plugins of a pod's networks, ours or not.

import type { CniRefusal, CniResult } from "../core/cni-result.ts";

/** A call of a plugin, as the CNI specification describes it. */
export type PluginCall = {
  readonly command: "ADD" | "DEL" | "CHECK";
  /** Name of the executable. */
  readonly type: string;
  /** The configuration, with its name and without prevResult. */
  readonly config: Readonly<Record<string, unknown>>;
  /** For configurations that do not say theirs. */
  readonly cniVersion: string;
  /** What the plugin before it in its network came to. */
  readonly prevResult: CniResult | undefined;
  readonly containerId: string;
  /** "" when there is none any more. */
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS as text. */
  readonly args: string;
  /** Folders with plugins, in order. */
  readonly path: readonly string[];
};

/** Runs plugins. */
export interface PluginExec {
  /** Undefined for commands without a result. A plugin that is missing, hangs or answers nonsense is a refusal as well. */
  run(call: PluginCall): Promise<CniResult | undefined | CniRefusal>;
}
