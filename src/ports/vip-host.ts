// What an agent asks of its node beside the gate: to be ready before the gate opens, and to make known what was opened and closed.

import type { Ip } from "../core/ip.ts";
import type { VipRecord } from "../core/vip.ts";
import type { GateEntry } from "./vip-gate.ts";

/** The node as an agent sees it. Nothing here decides who holds what, and nothing here makes the node answer. */
export interface VipHost {
  /**
   * Whether this node may answer for what the record grants it, as far as the node itself knows pools, its pods and what nobody may claim.
   * @returns why not, as a sentence; undefined: it may
   */
  refusal(record: VipRecord): string | undefined;
  /**
   * Gets everything ready so that only the gate is missing, and looks that it is so.
   * @returns those that are ready; the others were reported. Rejects with a WorldError when the node's network cannot be changed
   */
  prepare(entries: readonly GateEntry[]): Promise<readonly Ip[]>;
  /** The gate is open for these, until `endMs` on the agent's clock; told again with each renewal. Returns at once. */
  opened(entries: readonly GateEntry[], endMs: number): void;
  /** The gate was closed for these, or is going to close by itself. Returns at once. */
  closed(ips: readonly Ip[]): void;
}
