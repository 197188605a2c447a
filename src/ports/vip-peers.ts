// What agents ask each other when the API server is away: whether it is so for the others, too, and whether they know of a later grant. For
// addresses of pools that hold on; what follows from the answers is core's (vip-quorum.ts).

import type { Ip } from "../core/ip.ts";

/** An address and the epoch in which the one who asks holds it. */
export type VipHeld = { readonly ip: Ip; readonly epoch: number };

/** What a node says of itself. `later`: addresses of the question of which it knows a later epoch. */
export type VipWord = {
  readonly from: string;
  readonly reachesApi: boolean;
  readonly later: readonly Ip[];
};

/** The other agents. */
export interface VipPeers {
  /** Asks nodes at the same time. @returns the words that came within the time and are authentic. Never rejects */
  ask(
    nodeNames: readonly string[],
    held: readonly VipHeld[],
    limitMs: number,
  ): Promise<readonly VipWord[]>;
  /** Says what to answer; undefined: nothing, and so does everybody who was not given an answer yet. */
  answerWith(answer: (held: readonly VipHeld[]) => Omit<VipWord, "from"> | undefined): void;
}
