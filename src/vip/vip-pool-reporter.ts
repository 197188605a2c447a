// Tells operators what became of their pools of virtual addresses: the leader keeps the status of each VIPPool right. Decides nothing.

import type { VipPoolStatus } from "../core/vip-pool-status.ts";
import { sameVipPoolStatus, vipPoolStatuses } from "../core/vip-pool-status.ts";
import type { Clock } from "../ports/clock.ts";
import type { Leadership } from "../ports/leadership.ts";
import type { Log } from "../ports/log.ts";
import type { VipPools } from "../ports/vip-pools.ts";
import type { VipStore } from "../ports/vip-store.ts";
import { WorldError } from "../ports/world-error.ts";

/** What it needs. */
export type VipPoolReporterPorts = {
  readonly pools: VipPools;
  readonly vips: VipStore;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Log;
};

/** How often all pools are looked at: what happens in between is one write. */
const roundMs = 1_000;

/** After a write, the watch is given so long to show it before it is written again. */
const settleMs = 5_000;

/** Looks at all pools, round by round. */
export class VipPoolReporter {
  readonly #ports: VipPoolReporterPorts;
  /** What was written a moment ago, by pool. */
  readonly #written = new Map<string, { readonly status: VipPoolStatus; readonly atMs: number }>();
  /** One problem is said once. */
  #problem: string | undefined;
  #isRunning = false;

  constructor(ports: VipPoolReporterPorts) {
    this.#ports = ports;
  }

  /** Begins with the first round at once. */
  start(): void {
    this.#isRunning = true;
    this.#begin();
  }

  /** Ends; a write that is under way ends by itself. */
  stop(): void {
    this.#isRunning = false;
  }

  #begin(): void {
    if (!this.#isRunning) return;
    this.#round().then(
      () => {
        this.#ports.clock.after(roundMs, () => this.#begin());
      },
      (error: unknown) => {
        throw error;
      },
    );
  }

  async #round(): Promise<void> {
    const { clock, leadership, pools, vips } = this.#ports;
    if (!leadership.isLeader()) {
      this.#written.clear();
      return;
    }
    const sights = pools.sights();
    const used = vips.all().flatMap(({ ip, look }) => (look.state === "Rejected" ? [] : [ip]));
    const statuses = vipPoolStatuses(sights, used);
    for (const name of this.#written.keys()) if (!statuses.has(name)) this.#written.delete(name);
    for (const { name, told } of sights) {
      const status = statuses.get(name);
      const before = this.#written.get(name);
      const isRecent = before !== undefined && clock.nowMs() - before.atMs < settleMs;
      if (status === undefined) continue;
      if (sameVipPoolStatus(isRecent ? before.status : told, status)) continue;
      await this.#tell(name, status);
    }
  }

  async #tell(name: string, status: VipPoolStatus): Promise<void> {
    const { clock, log, pools } = this.#ports;
    try {
      const outcome = await pools.tell(name, status);
      this.#problem = undefined;
      if (outcome === "told") this.#written.set(name, { status, atMs: clock.nowMs() });
    } catch (error) {
      if (!(error instanceof WorldError)) throw error;
      if (error.message !== this.#problem) {
        log.warn("the status of a VIPPool is written later", { pool: name, reason: error.message });
      }
      this.#problem = error.message;
    }
  }
}
