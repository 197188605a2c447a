// Running other CNI plugins: IPAM plugins that give addresses, and plugins of a pod's networks that are not ours.

import type { CniRefusal, CniResult } from "../core/cni-result.ts";

/** A call of a plugin, as the CNI specification describes it. */
export type PluginCall = {
  readonly command: "ADD" | "DEL" | "CHECK" | "GC" | "STATUS";
  /** Name of the executable. */
  readonly type: string;
  /** The configuration as JSON text, complete with name, cniVersion and prevResult. */
  readonly configText: string;
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
