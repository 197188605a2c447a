// What the simulated scheduler asks of the extender that is ready, in facts: the use cases themselves have this shape, and so has a client that
// speaks to them over HTTP.

import type { PodFacts } from "../../core/facts.ts";
import type { Ip } from "../../core/ip.ts";
import type { PodId } from "../../core/owner.ts";

/** Nodes offered for a pod. */
export type NodesQuestion = {
  readonly pod: PodFacts;
  readonly nodeNames: readonly string[];
  /** The extender reads nodes itself. */
  readonly internalIpsOf: (nodeName: string) => readonly Ip[] | undefined;
};

/** `passed`: positions in `nodeNames`; `failed`: the others with the reason. */
export type FilterAnswer =
  | { readonly kind: "untouched" }
  | {
      readonly kind: "nodes";
      readonly passed: readonly number[];
      readonly failed: ReadonlyMap<string, string>;
    }
  | { readonly kind: "refused"; readonly error: string };

/** An extender; a rejection is a call that failed. */
export interface Extender {
  filter(question: NodesQuestion): Promise<FilterAnswer>;
  /** @returns scores, the higher the better */
  prioritize(
    question: NodesQuestion,
  ): Promise<readonly { readonly nodeName: string; readonly score: number }[]>;
  /** @returns the names of the candidates on which the pod would get its addresses without the victims */
  preempt(question: {
    readonly pod: PodFacts;
    readonly candidates: readonly {
      readonly nodeName: string;
      readonly victimUids: readonly string[];
    }[];
  }): Promise<readonly string[]>;
  bind(question: {
    readonly pod: PodId;
    readonly podUid: string;
    readonly nodeName: string;
  }): Promise<{ readonly kind: "bound" } | { readonly kind: "refused"; readonly error: string }>;
}
