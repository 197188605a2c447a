// Virtual addresses in galaxy-ipam: the controller, its witness, and their place in the address space. Only puts parts together.

import { SteadyClock } from "../../adapters/system/clock.ts";
import { vipTimers } from "../../core/vip.ts";
import type { IpamService } from "../../ipam/ipam-service.ts";
import { VipAddressRecords } from "../../ipam/vip-addresses.ts";
import type { Clock } from "../../ports/clock.ts";
import type { EventRecorder } from "../../ports/event-recorder.ts";
import type { Leadership } from "../../ports/leadership.ts";
import type { Log } from "../../ports/log.ts";
import type { Metrics } from "../../ports/metrics.ts";
import { VipController } from "../../vip/vip-controller.ts";
import { VipPoolReporter } from "../../vip/vip-pool-reporter.ts";
import { VipWitness } from "../../vip/vip-witness.ts";
import type { VipWorld } from "./world.ts";

/** Virtual addresses of one process. */
export type Vips = {
  /** Begins to look at everything; what was claimed before is looked at when this process leads. */
  start(): void;
  /** This process leads, and knows the address space. */
  lead(): void;
  stop(): void;
};

/** @param parts.isAddressSpaceKnown whether addresses can be kept for virtual use: a new leader reads the records first */
export function createVips(parts: {
  readonly world: VipWorld;
  readonly service: IpamService;
  readonly isAddressSpaceKnown: () => boolean;
  readonly leadership: Leadership;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}): Vips {
  const { clock, events, isAddressSpaceKnown, leadership, log, metrics, service, world } = parts;
  const records = new VipAddressRecords(service.allocator);
  const common = { ...world, leadership, clock, log };
  const controller = new VipController({
    ...common,
    // Leases are waited out on a clock that nobody sets: a step of the time of day must not make them look silent.
    clock: new SteadyClock(),
    addresses: {
      keep: async (ip) => (isAddressSpaceKnown() ? await records.keep(ip) : { kind: "not yet" }),
      giveBack: (ip) => records.giveBack(ip),
    },
    timers: vipTimers,
  });
  const witness = new VipWitness({ ...common, events, metrics });
  const { pools } = world;
  const reporter = pools === undefined ? undefined : new VipPoolReporter({ ...common, pools });
  let isStarted = false;
  return {
    start: () => {
      isStarted = true;
      controller.start();
      witness.start();
      reporter?.start();
      if (leadership.isLeader()) witness.lead();
    },
    lead: () => {
      if (!isStarted) return;
      controller.lead();
      witness.lead();
    },
    stop: () => {
      controller.stop();
      witness.stop();
      reporter?.stop();
    },
  };
}
