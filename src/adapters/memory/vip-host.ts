// A node without a network of its own: allows everything, is always ready, and remembers what it was told. For tests and models of the agent.

import type { Ip } from "../../core/ip.ts";
import type { VipRecord } from "../../core/vip.ts";
import type { GateEntry } from "../../ports/vip-gate.ts";
import type { VipHost } from "../../ports/vip-host.ts";

/** See above. */
export class MemoryVipHost implements VipHost {
  /** Addresses that are announced. */
  readonly announced = new Set<Ip>();
  /** Why an address is refused. */
  readonly refusals = new Map<Ip, string>();

  refusal({ ip }: VipRecord): string | undefined {
    return this.refusals.get(ip);
  }

  async prepare(entries: readonly GateEntry[]): Promise<readonly Ip[]> {
    return entries.map(({ ip }) => ip);
  }

  opened(entries: readonly GateEntry[]): void {
    for (const { ip } of entries) this.announced.add(ip);
  }

  closed(ips: readonly Ip[]): void {
    for (const ip of ips) this.announced.delete(ip);
  }
}
