// A plugin that was run for a pod, so that it can be run again to undo or to check.

import type { CniResult } from "./cni-result.ts";

/** One plugin of one network of a pod. */
export type PluginRun = {
  readonly network: string;
  readonly ifName: string;
  /** Further CNI_ARGS, by key. */
  readonly args: Readonly<Record<string, string>>;
  /** The plugin's configuration, as configured. */
  readonly conf: Readonly<Record<string, unknown>>;
  /** The pod's namespace and the folders with plugins when it was run; unknown in states that the Go daemon wrote. */
  readonly netns?: string | undefined;
  readonly path?: readonly string[] | undefined;
  /** What the network's plugins gave together; CHECK and DEL get it back, as the specification wants. Known after ADD only. */
  readonly result?: CniResult | undefined;
};
