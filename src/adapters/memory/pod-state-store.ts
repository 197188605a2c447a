// The PodStateStore that keeps states in memory, as text in the form of the files, so that nobody shares an object with it.

import type { PluginRun } from "../../core/plugin-run.ts";
import type { Clock } from "../../ports/clock.ts";
import type { PodStateStore, WrittenState } from "../../ports/pod-networks.ts";

/** States that last as long as the object. */
export class MemoryPodStateStore implements PodStateStore {
  readonly #states = new Map<string, { readonly text: string; readonly writtenAtMs: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async put(containerId: string, runs: readonly PluginRun[]): Promise<WrittenState> {
    const state = { text: JSON.stringify(runs), writtenAtMs: this.#clock.nowMs() };
    this.#states.set(containerId, state);
    return { synced: Promise.resolve() };
  }

  async get(containerId: string): Promise<readonly PluginRun[] | "absent" | "unreadable"> {
    const state = this.#states.get(containerId);
    if (state === undefined) return "absent";
    try {
      return JSON.parse(state.text) as readonly PluginRun[];
    } catch {
      return "unreadable";
    }
  }

  async all(): Promise<readonly { readonly containerId: string; readonly writtenAtMs: number }[]> {
    return [...this.#states].map(([containerId, { writtenAtMs }]) => ({
      containerId,
      writtenAtMs,
    }));
  }

  async remove(containerId: string): Promise<void> {
    this.#states.delete(containerId);
  }

  /** Leaves only the beginning of every state, as a disk may that lost power. */
  cut(): void {
    for (const [id, state] of this.#states) {
      this.#states.set(id, { ...state, text: state.text.slice(0, 20) });
    }
  }
}
