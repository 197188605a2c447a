// What is said to and heard from neighbours on the wire: that an address lives here now, and whether somebody else has it.

import type { Announcement, Probe } from "../core/cni-plan.ts";

/** A foreign answer to a probe. */
export type Conflict = { readonly ip: string; readonly link: string; readonly mac: string };

/** ARP and neighbour discovery. */
export interface Announcer {
  /**
   * Sends one gratuitous ARP (IPv4) or unsolicited neighbour advertisement (IPv6) for every address. Rejects with a WorldError
   * (`ANNOUNCEMENT_FAILED`) when that cannot be done.
   * @param netns the pod's namespace, for announcements by the pod
   */
  announce(announcements: readonly Announcement[], netns: string): Promise<void>;
  /**
   * Asks the wire for each address, with the node's own address as sender, because a probe without sender is not answered for
   * proxied addresses. Waits as long as `limitMs` for an answer; silence is no conflict.
   */
  probe(probes: readonly Probe[], limitMs: number): Promise<readonly Conflict[]>;
}
