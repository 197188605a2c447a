// The kernel's gate in memory: timers on the clock that it is given, which is the node's. The nftables gate of a real node will be
// another adapter of the port.

import type { Ip } from "../../core/ip.ts";
import type { Clock } from "../../ports/clock.ts";
import type { GateEntry, GateOutcome, GatePermit, VipGate } from "../../ports/vip-gate.ts";

/** One node's gate. It outlives the agent, as a kernel does. */
export class MemoryVipGate implements VipGate {
  readonly #clock: Clock;
  readonly #open = new Map<Ip, { readonly entry: GateEntry; readonly untilMs: number }>();
  #serial = 0;
  #armedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async arm(withinMs: number): Promise<GatePermit> {
    this.#serial += 1;
    this.#armedUntilMs = this.#clock.nowMs() + withinMs;
    return { serial: this.#serial };
  }

  async open(
    permit: GatePermit,
    entries: readonly GateEntry[],
    leftMs: number,
  ): Promise<GateOutcome> {
    const nowMs = this.#clock.nowMs();
    if (permit.serial !== this.#serial || nowMs >= this.#armedUntilMs) return { kind: "late" };
    this.#armedUntilMs = Number.NEGATIVE_INFINITY;
    for (const entry of entries) this.#open.set(entry.ip, { entry, untilMs: nowMs + leftMs });
    return { kind: "open" };
  }

  async close(ips: readonly Ip[]): Promise<void> {
    for (const ip of ips) this.#open.delete(ip);
  }

  async clear(): Promise<void> {
    this.#serial += 1;
    this.#open.clear();
  }

  async answering(): Promise<readonly GateEntry[]> {
    return this.answeringNow();
  }

  /** As {@link answering}, for those who look from outside. */
  answeringNow(): readonly GateEntry[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#open.values()]
      .filter(({ untilMs }) => nowMs < untilMs)
      .map(({ entry }) => entry);
  }
}
