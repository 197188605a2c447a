// The Binding of a pod to a node, written together with the addresses the node side is to configure.

import type { PodFacts } from "../core/facts.ts";
import type { IpInfo } from "../core/subnets.ts";

/**
 * - `bound`: the pod is bound to the wanted node (now or already, with the addresses written)
 * - `bound-elsewhere`: it is bound to another node
 * - `gone`: no pod of that name and uid is there
 */
export type BindOutcome =
  | { readonly kind: "bound" }
  | { readonly kind: "bound-elsewhere"; readonly nodeName: string }
  | { readonly kind: "gone" };

/** Binds pods. */
export interface PodBinder {
  /**
   * Creates the Binding with the args annotation (other members of the annotation are kept; without addresses it is not touched).
   * Rejects with a WorldError; `mayHaveHappened` says whether to look at the pod before trying again.
   */
  bind(request: {
    readonly pod: PodFacts;
    readonly nodeName: string;
    readonly ipInfos: readonly IpInfo[];
  }): Promise<BindOutcome>;
}
