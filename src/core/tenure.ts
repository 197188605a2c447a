// Who had an address from when until when: tenures, the changes that end and begin them, and a bounded log of changes. Where the log is kept
// is not decided here.

import type { Allocation } from "./allocation.ts";
import type { Ip } from "./ip.ts";
import type { Owner } from "./owner.ts";
import { sameOwner } from "./owner.ts";

/** Whose an address is, and in which pod; `podUid` and `nodeName` are "" while it is only kept for its owner. */
export type Holder = {
  readonly owner: Owner;
  readonly podUid: string;
  readonly nodeName: string;
};

/** A tenure that ended, as the change that ended it tells it. */
type Since = {
  readonly holder: Holder;
  readonly fromMs: number;
  /** The time is that of the record and not of the change: the change itself was not seen. */
  readonly fromIsAbout: boolean;
};

/** An address changed hands. Without `before` it was free, without `after` it is free since. */
export type HolderChange = {
  readonly ip: Ip;
  readonly atMs: number;
  /** It was found out afterwards: it happened between the one before and this time. */
  readonly isAbout: boolean;
  readonly before: Since | undefined;
  readonly after: Holder | undefined;
};

/** An address in one hand; without `untilMs` it still is. */
export type Tenure = Since & {
  readonly ip: Ip;
  readonly untilMs: number | undefined;
  readonly untilIsAbout: boolean;
};

/** What is looked for; every part narrows. Times in milliseconds since 1970. */
export type TenureFilter = {
  readonly ip?: Ip | undefined;
  readonly namespace?: string | undefined;
  readonly podName?: string | undefined;
  readonly appName?: string | undefined;
  /** Lower-case kind of the workload. */
  readonly appType?: string | undefined;
  /** Tenures that had not ended before this time. */
  readonly fromMs?: number | undefined;
  /** Tenures that had begun at this time. */
  readonly untilMs?: number | undefined;
};

/** Tenures, those that ended last first. `totalCount` is how many the filter finds. */
export type TenurePage = { readonly tenures: readonly Tenure[]; readonly totalCount: number };

/** How much is kept. */
export type HistoryBounds = { readonly mostChanges: number; readonly longestMs: number };

/** Who holds an allocation. */
export function holderOf({ owner, podUid, nodeName }: Allocation): Holder {
  return { owner, podUid, nodeName };
}

/** Whether an address stayed in one hand; a new pod of the same name is another hand. */
export function sameHolder(a: Holder, b: Holder): boolean {
  return a.podUid === b.podUid && a.nodeName === b.nodeName && sameOwner(a.owner, b.owner);
}

/** What a holder does with the address. */
export function holderState(holder: Holder): "bound" | "reserved" | "admin" {
  if (holder.owner.kind === "admin") return "admin";
  return holder.owner.kind === "pod" && holder.podUid !== "" ? "bound" : "reserved";
}

/** The tenure that a change ended; undefined when the address was free before. */
export function endedBy(change: HolderChange): Tenure | undefined {
  const { ip, atMs, isAbout, before } = change;
  if (before === undefined) return undefined;
  return { ...before, ip, untilMs: atMs, untilIsAbout: isAbout };
}

/** Whether a tenure is among those that are looked for. */
export function tenureMatches(tenure: Tenure, filter: TenureFilter): boolean {
  const { ip, namespace, podName, appName, appType, fromMs, untilMs } = filter;
  if (ip !== undefined && ip !== tenure.ip) return false;
  // A tenure has its first moment and not its last: who follows has that.
  if (fromMs !== undefined && tenure.untilMs !== undefined && tenure.untilMs <= fromMs)
    return false;
  if (untilMs !== undefined && tenure.fromMs > untilMs) return false;
  const { owner } = tenure.holder;
  const pod = owner.kind === "pod" ? owner.pod : undefined;
  const workload = owner.kind === "pod" || owner.kind === "workload" ? owner.workload : undefined;
  if (podName !== undefined && pod?.name !== podName) return false;
  if (namespace !== undefined && (pod ?? workload)?.namespace !== namespace) return false;
  if (appName !== undefined && workload?.name !== appName) return false;
  return appType === undefined || workload?.kind === appType;
}

/** Changes in the order in which they happened, the oldest of which go when there are too many or they are too old. */
export class TenureLog {
  readonly #bounds: HistoryBounds;
  #changes: HolderChange[] = [];
  #isShortened = false;

  constructor(bounds: HistoryBounds) {
    this.#bounds = bounds;
  }

  /** Number of changes. */
  get size(): number {
    return this.#changes.length;
  }

  /** Nothing older is known; undefined while nothing was forgotten. */
  get keptSinceMs(): number | undefined {
    return this.#isShortened ? this.#changes[0]?.atMs : undefined;
  }

  /** Adds changes that happened last. @param nowMs milliseconds since 1970 */
  append(changes: readonly HolderChange[], nowMs: number): void {
    for (const change of changes) this.#changes.push(change);
    this.#shorten(nowMs);
  }

  /** Cuts in steps, because taking a few from the front of a long list costs as much as taking many. */
  #shorten(nowMs: number): void {
    const { mostChanges, longestMs } = this.#bounds;
    const oldestMs = nowMs - longestMs;
    let cut = Math.max(0, this.#changes.length - mostChanges);
    while (cut < this.#changes.length && (this.#changes[cut] as HolderChange).atMs < oldestMs) {
      cut += 1;
    }
    const step = Math.min(1_000, mostChanges / 10);
    if (cut === 0 || (cut < step && this.#changes.length <= mostChanges + step)) return;
    this.#changes = this.#changes.slice(cut);
    this.#isShortened = true;
  }

  /** Says that changes before the first were forgotten elsewhere. */
  markShortened(): void {
    this.#isShortened = true;
  }

  /** Tenures that ended. */
  ended(
    filter: TenureFilter,
    { offset, limit }: { readonly offset: number; readonly limit: number },
  ): TenurePage {
    const tenures: Tenure[] = [];
    let totalCount = 0;
    for (let index = this.#changes.length - 1; index >= 0; index -= 1) {
      const change = this.#changes[index] as HolderChange;
      if (filter.ip !== undefined && filter.ip !== change.ip) continue;
      const tenure = endedBy(change);
      if (tenure === undefined || !tenureMatches(tenure, filter)) continue;
      if (totalCount >= offset && tenures.length < limit) tenures.push(tenure);
      totalCount += 1;
    }
    return { tenures, totalCount };
  }

  /** Who has an address according to the log. */
  lastHolders(): ReadonlyMap<Ip, Since> {
    const holders = new Map<Ip, Since>();
    for (const change of this.#changes) enterLast(holders, change);
    return holders;
  }
}

/** Notes what a change says about who has its address now. */
export function enterLast(
  holders: Map<Ip, Since>,
  { ip, atMs, isAbout, after }: HolderChange,
): void {
  if (after === undefined) holders.delete(ip);
  else holders.set(ip, { holder: after, fromMs: atMs, fromIsAbout: isAbout });
}
