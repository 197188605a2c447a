// The PortProbe port: TCP connections from this process's own network namespace, which must be the host's.

import { connect } from "node:net";
import type { Ip } from "../../core/ip.ts";
import type { PortProbe } from "../../ports/port-probe.ts";

/** Connects from here. */
export class TcpPortProbe implements PortProbe {
  accepts(ip: Ip, port: number, limitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ host: ip, port });
      const finish = (accepts: boolean) => {
        clearTimeout(timer);
        // A reset leaves nothing behind on the pod's side.
        socket.resetAndDestroy();
        resolve(accepts);
      };
      const timer = setTimeout(() => finish(false), limitMs);
      socket.once("connect", () => finish(true));
      socket.on("error", () => finish(false));
    });
  }
}
