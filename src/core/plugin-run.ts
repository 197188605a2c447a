// A plugin that was run for a pod, so that it can be run again to undo or to check.

/** One plugin of one network of a pod. */
export type PluginRun = {
  readonly network: string;
  readonly ifName: string;
  /** Further CNI_ARGS, by key. */
  readonly args: Readonly<Record<string, string>>;
  /** The plugin's configuration, as configured. */
  readonly conf: Readonly<Record<string, unknown>>;
};
