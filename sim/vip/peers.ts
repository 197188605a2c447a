// How agents of the model hear each other: words that take their time, get lost, and do not pass between nodes that are cut from each other.

import type { VipHeld, VipPeers, VipWord } from "../../src/ports/vip-peers.ts";
import type { LinkEnds } from "./link.ts";

type Answer = (held: readonly VipHeld[]) => Omit<VipWord, "from"> | undefined;

/** What the agents of one world share. */
export class PeerNet {
  /** Nodes that neither hear the others nor are heard. */
  readonly cut = new Set<string>();
  /** Probability that a question or an answer is lost. */
  lossRate = 0;
  readonly #agents = new Map<string, { readonly ends: LinkEnds; answer: Answer | undefined }>();

  /** The others as one life of a node's agent hears them. */
  join(nodeName: string, ends: LinkEnds): VipPeers {
    const own: { readonly ends: LinkEnds; answer: Answer | undefined } = {
      ends,
      answer: undefined,
    };
    this.#agents.set(nodeName, own);
    return {
      answerWith: (answer) => {
        own.answer = answer;
      },
      ask: (nodeNames, held, limitMs) =>
        new Promise((resolve) => {
          const words: VipWord[] = [];
          ends.timeline.after(limitMs, () => ends.host.run(() => resolve([...words])));
          for (const from of nodeNames) {
            this.#pass(nodeName, from, ends, () => {
              const asked = this.#agents.get(from);
              asked?.ends.host.run(() => {
                const word = asked.answer?.(held);
                if (word === undefined) return;
                this.#pass(from, nodeName, ends, () => words.push({ from, ...word }));
              });
            });
          }
        }),
    };
  }

  #pass(from: string, to: string, { random, timeline }: LinkEnds, arrive: () => void): void {
    const isLost = random.chance(this.lossRate);
    const tookMs = random.chance(0.1) ? random.integer(50, 900) : random.integer(1, 20);
    timeline.after(tookMs, () => {
      if (!isLost && !this.cut.has(from) && !this.cut.has(to)) arrive();
    });
  }
}
