// Networks of sandboxes that the container runtime does not have any more: a real DEL from saved state. Says when it cannot know, and then
// does nothing.

import type { Clock } from "../ports/clock.ts";
import type { ContainerRuntime } from "../ports/container-runtime.ts";
import type { Log } from "../ports/log.ts";
import type { NodeMetrics } from "../ports/node-metrics.ts";
import { WorldError } from "../ports/world-error.ts";
import type { PodNetworks } from "./pod-networks.ts";

/** What the work needs. */
export type SandboxGarbagePorts = {
  readonly runtime: ContainerRuntime;
  readonly pods: Pick<PodNetworks, "containers" | "removeGarbage">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: NodeMetrics;
};

/** What a look came to. */
export type GarbageLook =
  | { readonly kind: "not known"; readonly because: string }
  | {
      readonly kind: "known";
      readonly removed: readonly string[];
      /** Missing for the first time, or what could not be removed: the next look decides. */
      readonly waiting: readonly string[];
    };

/**
 * Compares the daemon's containers with the runtime's sandboxes. Garbage is what the runtime did not have in two looks one after the
 * other, and whose network is older than a limit and not being made.
 */
export class SandboxGarbage {
  readonly #ports: SandboxGarbagePorts;
  readonly #youngestMs: number;
  #isRuntimeOurs: boolean;
  #missingBefore: ReadonlySet<string> = new Set();
  #problem: string | undefined;

  /**
   * @param options.youngestMs networks that are younger are left alone
   * @param options.isRuntimeOurs true when somebody named the runtime. One that was found has to know a container of ours first: it may be
   * another one than the one that makes our pods, and would know none of them
   */
  constructor(
    ports: SandboxGarbagePorts,
    options: { readonly youngestMs: number; readonly isRuntimeOurs: boolean },
  ) {
    this.#ports = ports;
    this.#youngestMs = options.youngestMs;
    this.#isRuntimeOurs = options.isRuntimeOurs;
  }

  /** Why the runtime could not be asked the last time; undefined when it could. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** One look. Rejects with a WorldError when the state of the daemon cannot be read. */
  async look(): Promise<GarbageLook> {
    const { pods, log, metrics } = this.#ports;
    // Ours first: a sandbox that comes between the two questions is in the runtime's answer only.
    const ours = await pods.containers(this.#youngestMs);
    const known = await this.#ask();
    if ("because" in known) {
      this.#missingBefore = new Set();
      return { kind: "not known", because: known.because };
    }
    if (!this.#isRuntimeOurs && ours.all.some((id) => known.ids.has(id))) {
      this.#isRuntimeOurs = true;
    }
    const missing = ours.settled.filter((id) => !known.ids.has(id));
    if (!this.#isRuntimeOurs) {
      this.#missingBefore = new Set();
      if (missing.length === 0) return { kind: "known", removed: [], waiting: [] };
      return this.#notKnown(
        "the runtime that was found knows no container of this daemon; name the right one with --container-runtime-endpoint",
      );
    }
    const removed: string[] = [];
    for (const containerId of missing) {
      if (!this.#missingBefore.has(containerId)) continue;
      const outcome = await pods.removeGarbage(containerId, this.#youngestMs);
      if (outcome.kind === "removed") {
        removed.push(containerId);
        metrics.count("garbage", { outcome: "removed" });
        log.info("networks of a sandbox that the runtime does not have were removed", {
          container: containerId,
        });
      } else if (outcome.kind === "failed") {
        metrics.count("garbage", { outcome: "failed" });
        log.warn("garbage could not be removed, it is tried again", {
          container: containerId,
          because: outcome.because,
        });
      }
    }
    this.#missingBefore = new Set(missing.filter((id) => !removed.includes(id)));
    return { kind: "known", removed, waiting: [...this.#missingBefore] };
  }

  async #ask(): Promise<{ readonly ids: ReadonlySet<string> } | { readonly because: string }> {
    const { runtime, log, metrics } = this.#ports;
    try {
      const ids = await runtime.listSandboxIds();
      metrics.count("runtime_questions", { outcome: "answered" });
      if (this.#problem !== undefined) log.info("the container runtime answers again");
      this.#problem = undefined;
      return { ids };
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      metrics.count("runtime_questions", { outcome: "failed" });
      return this.#notKnown(error.message);
    }
  }

  /** Said once for each reason, not at each look. */
  #notKnown(because: string): { readonly kind: "not known"; readonly because: string } {
    if (this.#problem !== because) {
      this.#ports.log.warn("no garbage is collected while the container runtime cannot say", {
        because,
      });
    }
    this.#problem = because;
    return { kind: "not known", because };
  }
}
