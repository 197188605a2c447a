// Which nodes are proven to reach the API server, for pools that hold addresses while it is away: a node that holds on needs the word of a
// majority of its voters that they do not reach it, and a controller that takes over needs proof that a majority does. Pure; why both cannot
// be is in docs/design/vip.md.

import type { Ip } from "./ip.ts";
import { waitOutMs } from "./vip.ts";

/** Most voters of one address: enough to lose four, few enough to be asked every second. */
const mostVoters = 9;

/** One look at leases, read from the source of truth and not from a watch. Times are of the one who looked. */
export type LeaseRound = {
  readonly sentMs: number;
  readonly answeredMs: number;
  /** Versions of leases that are not revoked, by node. */
  readonly versions: ReadonlyMap<string, string>;
};

/** What the rounds so far prove. `since`: from when on a node has renewed without a pause long enough to deny it. */
export type Reach = {
  readonly rounds: readonly LeaseRound[];
  readonly since: ReadonlyMap<string, number>;
};

/** Before the first round. */
export const nothingReached: Reach = { rounds: [], since: new Map() };

/**
 * Adds a round. A node whose version changed between two rounds renewed in between, so that it did reach the API server then.
 * @param leaseMs for how long after a renewal an agent says that it reaches the API server
 */
export function afterRound(before: Reach, round: LeaseRound, leaseMs: number): Reach {
  const [earlier, last] = [before.rounds.at(-2), before.rounds.at(-1)];
  // Between two renewals in neighbouring pairs of rounds lies at most this; the rates of two clocks may differ by a tenth.
  const startMs = (earlier ?? last)?.sentMs ?? Number.NEGATIVE_INFINITY;
  const isGapless = round.answeredMs - startMs <= leaseMs * 0.9;
  const since = new Map<string, number>();
  for (const [nodeName, version] of round.versions) {
    const known = last?.versions.get(nodeName);
    if (known === undefined || known === version) continue;
    since.set(nodeName, (isGapless ? before.since.get(nodeName) : undefined) ?? round.answeredMs);
  }
  return { rounds: [...before.rounds.slice(-1), round], since };
}

/**
 * Whether a majority of the voters has reached the API server for so long that nobody can hold by their word any more: each denied its word
 * since then, and what it allowed before has run out.
 * @param leaseMs for how long one word of the voters lets a node hold, and the agents' lease
 */
export function isOverruled(
  voters: readonly string[],
  reach: Reach,
  options: { readonly leaseMs: number; readonly nowMs: number },
): boolean {
  const { leaseMs, nowMs } = options;
  const last = reach.rounds.at(-1);
  const [earlier] = reach.rounds;
  if (last === undefined || earlier === undefined) return false;
  // Who renewed after `earlier` was sent says until a lease later that it reaches the API server.
  if (nowMs - earlier.sentMs > leaseMs * 0.9) return false;
  const proven = voters.filter((nodeName) => {
    const sinceMs = reach.since.get(nodeName);
    return sinceMs !== undefined && nowMs >= sinceMs + waitOutMs(leaseMs);
  });
  return proven.length > voters.length / 2;
}

/**
 * The voters of an address that is granted on a node: that node and others whose agents renew, chosen by address so that the work is spread.
 * They stay the same for the whole epoch, because two majorities meet only among the same voters.
 */
export function votersFor(
  ip: Ip,
  nodeName: string,
  freshNodes: readonly string[],
): readonly string[] {
  const others = freshNodes
    .filter((each) => each !== nodeName)
    .toSorted((a, b) => spread(ip, a) - spread(ip, b) || (a < b ? -1 : 1));
  // An even number of voters bears no more losses than one less.
  const count = Math.min(mostVoters, others.length + 1);
  const odd = count % 2 === 0 ? count - 1 : count;
  return [nodeName, ...others.slice(0, odd - 1)].toSorted();
}

/**
 * Whether a grant should be made once more with other voters: too few of them are left to overrule the holder, or more are to be had, or the
 * pool changed its mind. Only by asking the holder to let go: it may hold by the old ones.
 * @param holds whether the pool holds now
 */
export function votersAreOutdated(
  voters: readonly string[],
  facts: {
    readonly holds: boolean;
    readonly best: readonly string[];
    readonly fresh: readonly string[];
  },
): boolean {
  const { best, fresh, holds } = facts;
  if (!holds || voters.length === 0) return holds !== voters.length > 0;
  if (best.length < 3) return false;
  const left = voters.filter((each) => fresh.includes(each)).length;
  return voters.length < 3 || left <= voters.length / 2;
}

/** FNV-1a, for an even spread and nothing else. */
function spread(ip: Ip, nodeName: string): number {
  let hash = 0x811c9dc5;
  for (const char of `${ip} ${nodeName}`) {
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash;
}
