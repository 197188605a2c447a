// A HostNetwork that takes some steps for real and then dies, as a process does that is killed in the middle: nothing works any more, not
// even undoing. What it did stays.

import type { NetStep } from "../../src/core/net-model.ts";
import type { HostNetwork, HostQuery, Namespaces } from "../../src/ports/host-network.ts";
import { WorldError } from "../../src/ports/world-error.ts";

/** Lives for a number of steps. */
export class DyingNetwork implements HostNetwork {
  readonly #network: HostNetwork;
  #stepsLeft: number;

  constructor(network: HostNetwork, stepsLeft: number) {
    this.#network = network;
    this.#stepsLeft = stepsLeft;
  }

  /** Whether it got to its end. */
  get isDead(): boolean {
    return this.#stepsLeft < 0;
  }

  async readHost(query: HostQuery) {
    this.#live();
    return this.#network.readHost(query);
  }

  async readPod(netns: string) {
    this.#live();
    return this.#network.readPod(netns);
  }

  async readSysctls(netns: string | undefined, keys: readonly string[]) {
    this.#live();
    return this.#network.readSysctls(netns, keys);
  }

  async apply(steps: readonly NetStep[], namespaces: Namespaces): Promise<void> {
    for (const step of steps) {
      this.#live();
      this.#stepsLeft -= 1;
      this.#live();
      await this.#network.apply([step], namespaces);
    }
  }

  #live(): void {
    if (!this.isDead) return;
    throw new WorldError("NETWORK_CHANGE_FAILED", { tried: "live on", message: "killed" });
  }
}
