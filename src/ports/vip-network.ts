// What a node's network does about virtual addresses beside its gate: where traffic to each of them goes, and what neighbours are told and
// heard saying. Nothing here makes the node answer; that is the gate's (vip-gate.ts).

import type { Ip } from "../core/ip.ts";
import type { IpRange } from "../core/ip-range.ts";
import type { VipPorts } from "../core/vip.ts";
import type { ForbiddenRange } from "../core/vip-holder.ts";

/** How an address is made known: to neighbours on interfaces that match a pattern such as `eth*`, or to a routing daemon. */
export type VipWay =
  | { readonly kind: "L2"; readonly interfaces: string }
  | { readonly kind: "Route" };

/**
 * Where an address is, seen from this node.
 * - `here`: turned to a pod of this node when the gate is open; everything else that reaches it is refused
 * - `there`: at a pod of a node with these addresses
 * - `nowhere`: nobody holds it, traffic to it is unreachable
 */
export type VipPlace =
  | {
      readonly kind: "here";
      readonly podIp: Ip;
      readonly way: VipWay;
      readonly sendsFromVip: boolean;
      readonly ports: readonly VipPorts[] | undefined;
    }
  | { readonly kind: "there"; readonly podIp: Ip; readonly nodeIps: readonly Ip[] }
  | { readonly kind: "nowhere" };

/** One node's network. Rejections are WorldErrors `NETWORK_CHANGE_FAILED`, `NETWORK_READ_FAILED`, `PROGRAM_MISSING`. */
export interface VipNetwork {
  /** Removes what an earlier process left, except for these addresses. */
  start(kept: readonly Ip[]): Promise<void>;
  /** What this node knows that nobody may claim: its own addresses, and the gateways of its routes. As last seen. */
  neverClaimed(): readonly ForbiddenRange[];
  /**
   * Puts addresses where they are and looks that it is so; undefined forgets one. Flows of before end when one begins to be `here`, which
   * is before the gate opens: those that begin after that stay.
   * @returns those that could not be put there, with a sentence that says why and what to do
   */
  place(places: ReadonlyMap<Ip, VipPlace | undefined>): Promise<ReadonlyMap<Ip, string>>;
  /**
   * Compares what the node really has with where addresses were put: removes what belongs nowhere, puts back what is missing. To be called
   * now and then, because others change routes too, and after a rejection.
   */
  repair(): Promise<void>;
  /** Private ranges of the cluster: flows of pods to these never leave with a virtual address. */
  keepInside(ranges: readonly IpRange[]): Promise<void>;
  /** Whether another machine on the wire has one of these, as "aa:bb:cc:dd:ee:ff on eth0"; takes a quarter of a second. */
  probe(ips: readonly Ip[]): Promise<ReadonlyMap<Ip, string>>;
  /**
   * The gate was opened for these, which are `here`: neighbours are told now, at 0.1, 1.1, 2.2 and 5 s, and every
   * minute. Never waits for the wire.
   */
  announce(ips: readonly Ip[]): void;
  /** The gate was closed for these: nothing is told any more, and their flows end. */
  hush(ips: readonly Ip[]): void;
  /** Tells neighbours once more, because another machine claimed an address. */
  claimAgain(ips: readonly Ip[]): void;
  /** Other machines that claimed an address for which the gate is open, in the last seconds. */
  claimants(): Promise<ReadonlyMap<Ip, string>>;
  /**
   * A routing daemon may be offered the addresses that are `here` by way of `Route` for this long, counted from now; after that a process
   * of its own withdraws them, also when this one is dead or stands still.
   */
  offerFor(leftMs: number): void;
  /** Ends. @param leave whether everything stays as it is, for the next process */
  stop(leave: boolean): Promise<void>;
}
