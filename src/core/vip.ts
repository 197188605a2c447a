// One virtual address that several pods claim and at most one holds: its record, and the lease under which a node may answer for it. Data
// only; who should hold it is vip-holder.ts, what may be done about it is vip-move.ts.

import type { Ip } from "./ip.ts";
import type { PodId } from "./owner.ts";

/** A pod that was granted an address, on a node whose agent was in this session when it was granted. */
export type VipHolder = {
  readonly pod: PodId;
  readonly podUid: string;
  /** The pod's own address of the same family, to which traffic is turned. */
  readonly podIp: Ip;
  readonly nodeName: string;
  /** {@link NodeLease.session} of the node. In another session of the node's agent the grant means nothing. */
  readonly session: number;
};

/** Ports of one protocol, inclusive, 1 to 65535. */
export type VipPorts = {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly first: number;
  readonly last: number;
};

/** How a node's agent finds out whether a pod of its node serves: it connects to the port. */
export type VipProbe = {
  readonly protocol: "tcp";
  readonly port: number;
  /** Between two attempts, and how long one may take, milliseconds. */
  readonly everyMs: number;
  /** After so many failures in a row it does not serve; one success is enough to serve. */
  readonly failures: number;
};

/** What a pod wishes of its node for the addresses that it holds. */
export type VipWishes = {
  /** New flows that it opens itself leave with the address. */
  readonly sendsFromVip: boolean;
  /** Only these are reachable by the address; undefined: every protocol and port. */
  readonly ports: readonly VipPorts[] | undefined;
  /** Decides instead of the Ready condition; undefined: there is none. */
  readonly probe: VipProbe | undefined;
};

/** What an operator sees. `Moving`: the holder was asked to let go, or its lease is being waited out. */
export const vipStates = ["Held", "Moving", "Unheld", "Conflict", "Rejected"] as const;

/** One of {@link vipStates}. */
export type VipState = (typeof vipStates)[number];

/** A claimant and why it may not hold, if so. */
export type VipClaimant = {
  readonly pod: PodId;
  readonly nodeName: string;
  /** CamelCase word; undefined when it may hold. */
  readonly reason: string | undefined;
};

/** What is shown and nothing is decided from. */
export type VipLook = {
  readonly state: VipState;
  /** CamelCase word, for example `Ready`, `NoCandidate`, `AgentLost`. */
  readonly reason: string;
  /** A sentence that names address, pod and next step. */
  readonly message: string;
  readonly candidates: readonly VipClaimant[];
};

/** A pod on a node, as the story of a move names it. */
export type VipParty = { readonly pod: PodId; readonly nodeName: string };

/** How an address came from one pod to another, for people and figures; nothing is decided from it. Times are milliseconds. */
export type VipTransition = {
  /** Undefined: nobody had it. */
  readonly from: VipParty | undefined;
  /** Undefined: nobody could have it. */
  readonly to: VipParty | undefined;
  /** CamelCase word: why it left, or `Claimed`. */
  readonly reason: string;
  /** When it was written. */
  readonly atMs: number;
  /** From what happened until the controller knew; undefined where nothing says when it happened. */
  readonly detectMs: number | undefined;
  /** From knowing until the grant was written: includes what was waited for the old node. */
  readonly decideMs: number;
  /** From seeing the grant until the kernel answered, said by the node's agent; undefined until it did. */
  readonly programMs: number | undefined;
};

/** An address left this pod. */
export type VipLoss = { readonly podUid: string; readonly atMs: number };

/**
 * The record of one address. Every change of `epoch`, `holder`, `release` and `next` is a compare-and-swap at `version`.
 * - `holder` is whom `epoch` was granted to; it stays until it is proven that its node answers no more
 * - `release`: `wanted` by the controller, then `done` by the agent of the holder's node, after its kernel stopped answering
 */
export type VipRecord = {
  readonly ip: Ip;
  /** When it was made, on the controller's clock: tells it from a record of the same address that was removed before. */
  readonly bornMs: number;
  /** Counts grants; 0 before the first. */
  readonly epoch: number;
  readonly holder: VipHolder | undefined;
  readonly release: "none" | "wanted" | "done";
  /** Who is to have it next: its node may get everything ready, and answers nothing. */
  readonly next: VipHolder | undefined;
  /** When `epoch` was granted, milliseconds since 1970 on the controller's clock; for show. */
  readonly grantedAtMs: number;
  /** In a pool that holds: the nodes by whose word the holder's node may go on without the API server, in this epoch. */
  readonly voters: readonly string[];
  /** Somebody deleted the object: nobody is granted it any more, and it goes when nobody holds it. */
  readonly isDeleted: boolean;
  /** Whom it left lately, the latest last: pods that lose it again and again stand back, also after the leader changed. */
  readonly losses: readonly VipLoss[];
  readonly transition: VipTransition | undefined;
  /** What another machine was seen to do with the address ("aa:bb:cc:dd:ee:ff on eth0"), said by the agent of the holder's node. */
  readonly foreignOwner: string | undefined;
  /** Why the holder's node answers nobody for it in this epoch, said by its agent; undefined: nothing was said. */
  readonly unable: string | undefined;
  readonly look: VipLook;
  /** The store's version; "" before it was first written. */
  readonly version: string;
};

/**
 * A node's right to answer for what it was granted. Its agent renews it by compare-and-swap; the controller takes it away in the same
 * way, so that of renewal and revocation exactly one succeeds.
 */
export type NodeLease = {
  readonly nodeName: string;
  /** One life of the node's agent: greater than all before it on this node. Joining again after a revocation begins a new one. */
  readonly session: number;
  /** The controller ended the session. */
  readonly isRevoked: boolean;
  /** For how long the kernel may answer after a renewal was sent. */
  readonly durationMs: number;
  readonly version: string;
};

/** How fast the protocol is, in milliseconds. */
export type VipTimers = {
  /** Between two renewals of a node's lease. */
  readonly renewMs: number;
  readonly leaseMs: number;
  /** How long a planned move waits for the old node before it takes the node's lease away. */
  readonly ackMs: number;
  /** From arming to opening the kernel's gate at most. */
  readonly armMs: number;
};

/** The key of the administrator's record that keeps an address for virtual use: no pod may have it as its own. */
export const vipOwnerKey = "vip";

/** The timers of the budget in docs/design/vip.md. */
export const vipTimers: VipTimers = { renewMs: 1_000, leaseMs: 3_000, ackMs: 300, armMs: 100 };

/**
 * For how long a controller waits, on its own clock, until a lease of this duration is certainly over: the kernel may start late by
 * {@link VipTimers.armMs}, and the rates of two clocks may differ by a tenth. 3,000 ms are waited for 3,500.
 */
export function waitOutMs(durationMs: number): number {
  return Math.ceil((durationMs * 7) / 6);
}

/** A session number for an agent that joins: above all that the node had, also after its lease object was deleted. */
export function nextSession(previous: number | undefined, nowMs: number): number {
  return Math.max((previous ?? 0) + 1, nowMs);
}

/** The record of an address that nobody was granted yet. */
export function newVipRecord(ip: Ip, bornMs: number): VipRecord {
  return {
    ip,
    bornMs,
    epoch: 0,
    holder: undefined,
    release: "none",
    next: undefined,
    grantedAtMs: 0,
    voters: [],
    isDeleted: false,
    losses: [],
    transition: undefined,
    foreignOwner: undefined,
    unable: undefined,
    look: {
      state: "Unheld",
      reason: "New",
      message: `${ip} was claimed and is looked at; wait`,
      candidates: [],
    },
    version: "",
  };
}
