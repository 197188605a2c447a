// What the daemon of a node asks of the cluster about one pod; nothing is cached, and nothing is needed for DEL.

import type { Allocation } from "../core/allocation.ts";
import type { AddressGrant } from "../core/cni-result.ts";
import type { NetworkWish } from "../core/decide-networks.ts";
import type { PodId } from "../core/owner.ts";

/** A pod as its node needs it. */
export type NodePod = {
  readonly id: PodId;
  readonly uid: string;
  readonly nodeName: string;
  readonly wantsAddress: boolean;
  readonly wishes: readonly NetworkWish[];
  /** The addresses of its annotation; not to be trusted before they were compared with the records. */
  readonly grants: readonly AddressGrant[];
  /** What is wrong with its annotations; it gets no network then. */
  readonly problems: readonly string[];
};

/** Reads of the cluster. Every method rejects with a WorldError when the answer is not certain. */
export interface PodDirectory {
  readPod(id: PodId): Promise<NodePod | "gone">;
  /** The record of an address; undefined when there is none. */
  readAllocation(ip: string): Promise<Allocation | undefined>;
  /**
   * Says on the pod which networks it has. `gone`: there is no pod of that name; `conflict`: another pod of the name is there, or
   * somebody else wrote at the same moment. Neither changes anything.
   */
  writeNetworkStatus(
    pod: Pick<NodePod, "id" | "uid">,
    text: string,
  ): Promise<"written" | "gone" | "conflict">;
}
