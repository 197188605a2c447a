// The daemon's part that looks at the node now and then: values that it needs, what others took away from pods, and what nobody has any
// more. What is restored and collected is decided in src/node.

import { repairAll } from "../../node/cni-check.ts";
import { collectGone } from "../../node/garbage.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";

/** A namespace that is gone for a moment only does not exist; this is for runtimes that make it late. */
const goneAgeMs = 600_000;

/** The looks as a part; the first one is at once. */
export function upkeep(world: NodeWorld): DaemonPart {
  const { options, ports } = world;
  const stopping = new AbortController();
  const { signal } = stopping;
  let running = Promise.resolve();

  const look = async (): Promise<void> => {
    await keepValues(world);
    await repairAll(ports);
    await collectGone(ports, goneAgeMs);
  };
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await look();
      } catch (error) {
        ports.log.warn("the node could not be looked at, it is tried again", {}, error);
      }
      await pause(options.repairMs);
    }
  };
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = () => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = ports.clock.after(ms, end);
      signal.addEventListener("abort", end);
    });
  return {
    name: "upkeep",
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
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
