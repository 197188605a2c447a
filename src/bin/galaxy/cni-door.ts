// The daemon's part that answers galaxy-sdn. First to start: runtimes wait for nothing else.

import { createCniSocket } from "../../adapters/http/cni-socket.ts";
import type { NodeWorld } from "./node-world.ts";
import type { DaemonPart } from "./part.ts";

/** The unix socket as a part. */
export function cniDoor(world: NodeWorld): DaemonPart {
  const { options, nodeName, pods, directory, own, ports, metrics } = world;
  const socket = createCniSocket({
    pods,
    status: { directory, clock: ports.clock, log: ports.log, metrics },
    announce: (id) => own.announce(id),
  });
  return {
    name: "CNI socket",
    async start() {
      await socket.listen(options.socket);
      ports.log.info("listening", { socket: options.socket, node: nodeName });
    },
    stop: () => socket.close(),
  };
}
