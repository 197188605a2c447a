// Who should hold a virtual address: which claims count, which claimants may hold, and the order among them. Pure; how the address gets
// there safely is vip-move.ts.

import type { PodPhase } from "./facts.ts";
import type { Ip, IpNumber } from "./ip.ts";
import { familyOf, ipToNumber } from "./ip.ts";
import type { IpRange } from "./ip-range.ts";
import { parseCidr, rangeContains } from "./ip-range.ts";
import type { PodId } from "./owner.ts";
import { podIdText } from "./owner.ts";
import type { VipClaimant, VipHolder, VipLoss, VipWishes } from "./vip.ts";

/** Addresses that may be claimed, by whom, and how they are announced. */
export type VipPool = {
  readonly name: string;
  readonly ranges: readonly IpRange[];
  /** Namespaces whose pods may claim; undefined: all. */
  readonly namespaces: readonly string[] | undefined;
  /** `L2` answers ARP and NDP on interfaces that match the pattern (`eth*`); `Route` offers a route to a routing daemon. */
  readonly mode: { readonly kind: "L2"; readonly interfaces: string } | { readonly kind: "Route" };
  /** What the holder's node does when it cannot reach the API server. */
  readonly onControlPlaneLoss: "Fence" | "Hold";
  /** For how long a pod must have been ready before it takes over from another. */
  readonly minReadyMs: number;
  /** When no pod may hold an address: `release` leaves it to nobody, `keep` to its holder while that runs. */
  readonly lastResort: "release" | "keep";
  /** What the object says that this release does not know; kept, and without a meaning here. */
  readonly foreignText?: string;
};

/** Addresses that are never given, and what they are ("the service CIDR 10.96.0.0/12"). */
export type ForbiddenRange = { readonly range: IpRange; readonly what: string };

/** Whether a claim counts. `reason` is a CamelCase word; `message` names address, value and next step. */
export type ClaimVerdict =
  | { readonly kind: "accepted"; readonly pool: VipPool }
  | { readonly kind: "rejected"; readonly reason: string; readonly message: string };

/** Ranges with a meaning of their own (RFC 1122, 4291, 5771, 3927): no pool can allow them. */
const neverClaimed: readonly ForbiddenRange[] = (
  [
    ["0.0.0.0/8", "of this network"],
    ["127.0.0.0/8", "a loopback address"],
    ["169.254.0.0/16", "a link-local address"],
    ["224.0.0.0/4", "a multicast address"],
    ["240.0.0.0/4", "reserved or broadcast"],
    ["::/127", "the unspecified or the loopback address"],
    ["::ffff:0:0/96", "an IPv4 address in IPv6 form; write it as IPv4"],
    ["fe80::/10", "a link-local address"],
    ["ff00::/8", "a multicast address"],
  ] as const
).map(([text, what]) => {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new TypeError(`"${text}" is not a CIDR block`);
  return { range: cidr.range, what };
});

/** Judges the claim of a pod of this namespace. */
export function judgeClaim(
  ip: Ip,
  namespace: string,
  world: { readonly pools: readonly VipPool[]; readonly forbidden: readonly ForbiddenRange[] },
): ClaimVerdict {
  const value: IpNumber = ipToNumber(ip);
  const bad =
    neverClaimed.find(({ range }) => rangeContains(range, value)) ??
    world.forbidden.find(({ range }) => rangeContains(range, value));
  if (bad !== undefined) {
    return {
      kind: "rejected",
      reason: "AddressForbidden",
      message: `${ip} is ${bad.what}; claim another address`,
    };
  }
  const pools = world.pools.filter(({ ranges }) =>
    ranges.some((range) => rangeContains(range, value)),
  );
  if (pools.length === 0) {
    return {
      kind: "rejected",
      reason: "NoPool",
      message: `${ip} is in no VIPPool; claim an address of one, or extend a pool's ranges`,
    };
  }
  const pool = pools.find(
    ({ namespaces }) => namespaces === undefined || namespaces.includes(namespace),
  );
  if (pool === undefined) {
    const names = pools.map(({ name }) => name).join(", ");
    return {
      kind: "rejected",
      reason: "NamespaceNotAllowed",
      message: `${ip} is in VIPPool ${names}, which namespace ${namespace} may not use; add it to the pool's namespaces`,
    };
  }
  return { kind: "accepted", pool };
}

/** A pod that claims an address. Times are on the controller's clock. */
export type VipClaimantFacts = {
  readonly pod: PodId;
  readonly podUid: string;
  readonly podIps: readonly Ip[];
  readonly nodeName: string;
  readonly phase: PodPhase;
  /** Its Ready condition, or what its probe says where it has one. */
  readonly isReady: boolean;
  readonly readySinceMs: number;
  readonly isTerminating: boolean;
  /** Since when it may not hold, as far as the pod or its node says it (often whole seconds only); undefined: nothing says it. */
  readonly unableSinceMs: number | undefined;
  readonly wishes: VipWishes;
  /** False also when the node's Ready condition is unknown. */
  readonly isNodeReady: boolean;
  /** Of the node's agent, when it renews; undefined otherwise. */
  readonly session: number | undefined;
  /** 0 to 255; greater is preferred. */
  readonly priority: number;
  /** It takes the address from a holder of lower priority. */
  readonly preempts: boolean;
  /** It holds another address of the same annotation. */
  readonly holdsSibling: boolean;
  /** Until when it stands behind others because the address moved too often; 0: it does not. */
  readonly heldDownUntilMs: number;
};

/** Why a claimant may not hold an address; undefined: it may. */
export function whyNot(ip: Ip, claimant: VipClaimantFacts): string | undefined {
  if (claimant.isTerminating) return "PodTerminating";
  if (claimant.phase !== "Running") return "PodNotRunning";
  if (!claimant.isReady)
    return claimant.wishes.probe === undefined ? "PodNotReady" : "ProbeFailing";
  if (!claimant.podIps.some((podIp) => familyOf(podIp) === familyOf(ip)))
    return "NoAddressOfFamily";
  if (!claimant.isNodeReady) return "NodeNotReady";
  return claimant.session === undefined ? "NoFreshAgent" : undefined;
}

/** What {@link selectHolder} found. `settlesAtMs`: when a delay ends that could change the answer. */
export type Selection = {
  readonly wanted: VipHolder | undefined;
  readonly candidates: readonly VipClaimant[];
  readonly settlesAtMs: number | undefined;
};

/**
 * Selects the holder. The present one stays while it may hold, unless a settled claimant that preempts has a higher priority. Otherwise
 * settled claimants (ready for long enough, not held down) come before others, who are better than nobody; among equals priority, then a
 * sibling address, then the longer readiness, then the smaller uid decide. The text of addresses never does.
 */
export function selectHolder(facts: {
  readonly ip: Ip;
  readonly claimants: readonly VipClaimantFacts[];
  readonly holderUid: string | undefined;
  readonly minReadyMs: number;
  readonly lastResort: VipPool["lastResort"];
  readonly nowMs: number;
}): Selection {
  const { ip, claimants, holderUid, lastResort, minReadyMs, nowMs } = facts;
  const settledAtMs = (claimant: VipClaimantFacts) =>
    Math.max(claimant.readySinceMs + minReadyMs, claimant.heldDownUntilMs);
  const isSettled = (claimant: VipClaimantFacts) => settledAtMs(claimant) <= nowMs;
  const able = claimants.filter((claimant) => whyNot(ip, claimant) === undefined);
  const present = able.find(({ podUid }) => podUid === holderUid);
  const preempting = able.filter(
    (claimant) =>
      present !== undefined &&
      claimant.preempts &&
      claimant.priority > present.priority &&
      isSettled(claimant),
  );
  const order = (a: VipClaimantFacts, b: VipClaimantFacts) =>
    Number(isSettled(b)) - Number(isSettled(a)) || compareClaimants(a, b);
  const last =
    lastResort === "keep" && able.length === 0
      ? claimants.find((claimant) => claimant.podUid === holderUid && mayKeep(ip, claimant))
      : undefined;
  const best =
    last ??
    (present !== undefined && preempting.length === 0
      ? present
      : (preempting.length === 0 ? able : preempting).toSorted(order)[0]);
  const waits = able.map(settledAtMs).filter((atMs) => atMs > nowMs);
  return {
    wanted: best === undefined ? undefined : holderOf(ip, best),
    candidates: claimants
      .map((claimant) => ({
        pod: claimant.pod,
        nodeName: claimant.nodeName,
        reason: whyNot(ip, claimant),
      }))
      .toSorted((a, b) => (podIdText(a.pod) < podIdText(b.pod) ? -1 : 1)),
    settlesAtMs: waits.length === 0 ? undefined : Math.min(...waits),
  };
}

/** It runs and its node's agent renews: all that is wrong is that it does not say that it serves. */
function mayKeep(ip: Ip, claimant: VipClaimantFacts): boolean {
  return whyNot(ip, { ...claimant, isReady: true, isNodeReady: true }) === undefined;
}

function compareClaimants(a: VipClaimantFacts, b: VipClaimantFacts): number {
  return (
    b.priority - a.priority ||
    Number(b.holdsSibling) - Number(a.holdsSibling) ||
    a.readySinceMs - b.readySinceMs ||
    (a.podUid < b.podUid ? -1 : 1)
  );
}

function holderOf(ip: Ip, claimant: VipClaimantFacts): VipHolder {
  const podIp = claimant.podIps.find((each) => familyOf(each) === familyOf(ip));
  if (podIp === undefined || claimant.session === undefined) {
    throw new TypeError(`pod ${podIdText(claimant.pod)} cannot hold ${ip}`);
  }
  const { pod, podUid, nodeName, session } = claimant;
  return { pod, podUid, podIp, nodeName, session };
}

const moveWindowMs = 60_000;
const movesWithoutPenalty = 3;
const firstHoldDownMs = 5_000;
const longestHoldDownMs = 300_000;

/**
 * Until when a pod that lost an address stands behind others: 5 s after its fourth loss in a minute, doubled with each further one, at
 * most 5 minutes.
 * @param lossesMs when the address left the pod, in any order
 */
export function heldDownUntil(lossesMs: readonly number[]): number {
  let untilMs = 0;
  for (const atMs of lossesMs) {
    const recent = lossesMs.filter((each) => each <= atMs && each > atMs - moveWindowMs);
    const excess = recent.length - movesWithoutPenalty;
    if (excess <= 0) continue;
    const delayMs = Math.min(longestHoldDownMs, firstHoldDownMs * 2 ** Math.min(excess - 1, 10));
    untilMs = Math.max(untilMs, atMs + delayMs);
  }
  return untilMs;
}

/** Losses that are remembered of one address, of all its pods. */
const rememberedLosses = 32;

/** The losses that still matter for {@link heldDownUntil}, and one more. */
export function withLoss(
  losses: readonly VipLoss[],
  podUid: string,
  nowMs: number,
): readonly VipLoss[] {
  const oldestMs = nowMs - moveWindowMs - longestHoldDownMs;
  return [...losses.filter(({ atMs }) => atMs > oldestMs), { podUid, atMs: nowMs }].slice(
    -rememberedLosses,
  );
}
