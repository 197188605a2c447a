// Whether something listens on a port of a pod of this node.

import type { Ip } from "../core/ip.ts";

/** Connections that are closed at once. */
export interface PortProbe {
  /** Whether a connection was accepted within the time. Never rejects. */
  accepts(ip: Ip, port: number, limitMs: number): Promise<boolean>;
}
