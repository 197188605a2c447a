// What the daemon keeps about pods and knows about networks.

import type { PluginRun } from "../core/plugin-run.ts";

/** A state that is in its place, for this process and those after it; `synced` resolves when the end of the machine does not lose it either. */
export type WrittenState = { readonly synced: Promise<void> };

/** The state of pods: which plugins were run, in order. Every method rejects with a WorldError (`NODE_STATE_FAILED`). */
export interface PodStateStore {
  /** Replaces the state as a whole; after it resolved, the end of the process does not lose it. */
  put(containerId: string, runs: readonly PluginRun[]): Promise<WrittenState>;
  get(containerId: string): Promise<readonly PluginRun[] | "absent" | "unreadable">;
  /** Container ids with a state, with the time of its writing. */
  all(): Promise<readonly { readonly containerId: string; readonly writtenAtMs: number }[]>;
  remove(containerId: string): Promise<void>;
}

/** Networks by name: those of the daemon's configuration, then those of CNI configuration files. */
export interface NetworkCatalog {
  /** The configurations of the network's plugins, in order; undefined when nobody configured it. */
  find(name: string): Promise<readonly Readonly<Record<string, unknown>>[] | undefined>;
}
