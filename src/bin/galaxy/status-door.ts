// The daemon's part that tells others how it does. A port that somebody else has does not keep pods from their networks: it is tried
// again.

import { createStatusServer } from "../../adapters/http/status-server.ts";
import { WorldError } from "../../ports/world-error.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";
import { until } from "./pause.ts";

const retryMs = 3_000;

/** The port of metrics and health as a part. @param problem why the daemon is not well; undefined when it is */
export function statusDoor(world: NodeWorld, problem: () => string | undefined): DaemonPart {
  const { options, ports, metrics } = world;
  const server = createStatusServer({
    health: {
      // A process that answers is alive; what else may be wrong, a restart does not cure.
      livenessProblem: () => undefined,
      healthProblem: problem,
      // The CNI socket was there before this port.
      readinessProblem: () => undefined,
    },
    metrics,
    log: ports.log,
  });
  const stopping = new AbortController();
  let listening = Promise.resolve();

  const listen = async (): Promise<void> => {
    while (!stopping.signal.aborted && options.metricsAddress !== undefined) {
      try {
        const port = await server.listen(options.metricsAddress);
        ports.log.info("serving metrics and health", {
          address: options.metricsAddress.host,
          port,
        });
        return;
      } catch (error) {
        if (!(error instanceof WorldError)) throw error;
        ports.log.warn("metrics and health are not served, it is tried again", {}, error);
      }
      await until(ports.clock, retryMs, stopping.signal);
    }
  };
  return {
    name: "metrics and health",
    async start() {
      listening = listen();
    },
    async stop() {
      stopping.abort();
      await listening;
      await server.close();
    },
  };
}
