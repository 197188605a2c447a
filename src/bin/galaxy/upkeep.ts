// The daemon's part that looks at the node now and then: values that it needs, what others took away from pods, and what nobody has any
// more. What is restored and collected is decided in src/node.

import { uptime } from "node:os";
import { repairAll } from "../../node/cni-check.ts";
import { collectGone } from "../../node/garbage.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";
import { until } from "./pause.ts";

/** A namespace that is gone for a moment only does not exist; this is for runtimes that make it late. */
const goneAgeMs = 600_000;

/** The part, and how the last look went. */
export type Upkeep = DaemonPart & {
  /** Why the node could not be looked at the last time; undefined when it could, or was not yet. */
  problem(): string | undefined;
  /** Since the last look that went well; undefined: there was none. */
  secondsSinceLook(): number | undefined;
};

/** The looks as a part; the first one is at once. */
export function upkeep(world: NodeWorld): Upkeep {
  const { options, ports, states, metrics } = world;
  const stopping = new AbortController();
  const { signal } = stopping;
  let running = Promise.resolve();
  let problem: string | undefined;
  let lookedAtMs: number | undefined;

  const look = async (): Promise<void> => {
    await keepValues(world);
    const { restored, failed } = await repairAll(ports);
    if (restored > 0) metrics.count("repairs", { outcome: "restored" }, restored);
    if (failed > 0) metrics.count("repairs", { outcome: "failed" }, failed);
    const containers = new Set((await states.all()).map(({ containerId }) => containerId));
    // Namespaces do not outlive the machine's run; else only those of ADDs that came to this daemon are sure to be seen by it.
    const bootedAtMs = ports.clock.nowMs() - uptime() * 1000;
    const undone = await collectGone(
      ports,
      goneAgeMs,
      ({ id, createdAtMs }) => containers.has(id.containerId) || createdAtMs < bootedAtMs,
    );
    if (undone > 0) metrics.count("garbage", { outcome: "removed" }, undone);
  };
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await look();
        problem = undefined;
        lookedAtMs = ports.clock.nowMs();
      } catch (error) {
        problem = `the node could not be looked at: ${error instanceof Error ? error.message : String(error)}`;
        ports.log.warn("the node could not be looked at, it is tried again", {}, error);
      }
      await until(ports.clock, options.repairMs, signal);
    }
  };
  return {
    name: "upkeep",
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
    problem: () => problem,
    secondsSinceLook: () =>
      lookedAtMs === undefined ? undefined : (ports.clock.nowMs() - lookedAtMs) / 1000,
  };
}

/** Values of the whole node that pods need, when the flags ask for them; one that the kernel does not have is none. */
async function keepValues({ options, ports }: NodeWorld): Promise<void> {
  const values = [
    ...(options.forwards ? ["net/ipv4/ip_forward"] : []),
    ...(options.bridgeCallsIptables ? ["net/bridge/bridge-nf-call-iptables"] : []),
  ];
  const present = await ports.network.readSysctls(undefined, values);
  const wrong = values.filter((key) => present[key] !== undefined && present[key] !== "1");
  await ports.network.apply(
    wrong.map((key) => ({ do: "sysctl", place: "host", key, value: "1" })),
    { netns: undefined },
  );
}
