// The agents of a simulated cluster's nodes: the real ones, over kernels in memory. A node that is killed takes its kernel along, so that its
// addresses move as they do after a power cut.

import { MemoryVipGate } from "../../adapters/memory/vip-gate.ts";
import { MemoryVipHost } from "../../adapters/memory/vip-host.ts";
import type { SimulatedCluster } from "../../adapters/simulated/cluster.ts";
import { vipTimers } from "../../core/vip.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { NodeLeaseStore, VipStore } from "../../ports/vip-store.ts";
import { VipAgent } from "../../vip/vip-agent.ts";

/** One agent for each node that is up. */
export class SimulatedAgents {
  readonly #parts: {
    readonly cluster: SimulatedCluster;
    readonly vips: VipStore;
    readonly leases: NodeLeaseStore;
    readonly clock: Clock;
    readonly log: Log;
  };
  readonly #agents = new Map<string, VipAgent>();
  #stopWatch: () => void = () => {};

  constructor(parts: {
    readonly cluster: SimulatedCluster;
    readonly vips: VipStore;
    readonly leases: NodeLeaseStore;
    readonly clock: Clock;
    readonly log: Log;
  }) {
    this.#parts = parts;
  }

  /** Starts the agents of nodes that are up, and follows what becomes of nodes. */
  start(): void {
    const { cluster } = this.#parts;
    this.#stopWatch = cluster.watchNodes(() => this.#look());
    this.#look();
  }

  /** Ends all of them as a crash would. */
  stop(): void {
    this.#stopWatch();
    for (const agent of this.#agents.values()) agent.stop();
    this.#agents.clear();
  }

  #look(): void {
    const up = new Set(this.#parts.cluster.nodes().flatMap(({ name, up }) => (up ? [name] : [])));
    for (const [name, agent] of this.#agents) {
      if (up.has(name)) continue;
      agent.stop();
      this.#agents.delete(name);
    }
    for (const name of up) if (!this.#agents.has(name)) this.#agents.set(name, this.#begin(name));
  }

  #begin(nodeName: string): VipAgent {
    const { clock, leases, log, vips } = this.#parts;
    const agent = new VipAgent({
      nodeName,
      vips,
      leases,
      gate: new MemoryVipGate(clock),
      host: new MemoryVipHost(),
      clock,
      log,
      timers: vipTimers,
    });
    agent.start();
    return agent;
  }
}
