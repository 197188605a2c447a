// Agents that hear each other in memory, for tests. Who is silent is not heard.

import type { VipHeld, VipPeers, VipWord } from "../../ports/vip-peers.ts";

type Answer = (held: readonly VipHeld[]) => Omit<VipWord, "from"> | undefined;

/** What agents of one test share. */
export class MemoryVipPeerNet {
  readonly answers = new Map<string, Answer>();
  readonly silent = new Set<string>();

  /** The others as a node hears them. */
  of(nodeName: string): VipPeers {
    return {
      ask: async (nodeNames, held) => {
        if (this.silent.has(nodeName)) return [];
        return nodeNames.flatMap((from): readonly VipWord[] => {
          const word = this.silent.has(from) ? undefined : this.answers.get(from)?.(held);
          return word === undefined ? [] : [{ from, ...word }];
        });
      },
      answerWith: (answer) => {
        this.answers.set(nodeName, answer);
      },
    };
  }
}
