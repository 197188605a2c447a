// The ContainerRuntime port in memory, for tests of garbage.

import type { ContainerRuntime } from "../../ports/container-runtime.ts";
import { WorldError } from "../../ports/world-error.ts";

/** A runtime whose sandboxes are a set. */
export class MemoryContainerRuntime implements ContainerRuntime {
  /** Ids of the sandboxes that there are. */
  readonly ids = new Set<string>();
  /** False: it cannot be asked. */
  answers = true;

  async listSandboxIds(): Promise<ReadonlySet<string>> {
    if (!this.answers) {
      throw new WorldError("RUNTIME_UNAVAILABLE", {
        tried: "list the pod sandboxes",
        message: "nobody answers; look at the runtime",
      });
    }
    return new Set(this.ids);
  }
}
