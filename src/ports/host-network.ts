// What the node side asks of the kernel: what a host's and a pod's network look like, and steps that change it.

import type { NamespaceFacts, NetStep } from "../core/net-model.ts";

/** The namespaces of an attachment. */
export type Namespaces = {
  /** Path of the pod's network namespace; undefined when there is none (any more). */
  readonly netns: string | undefined;
};

/** Which parts of the host are to be read; devices and addresses always are. */
export type HostQuery = {
  /** Devices whose routes are wanted, in every table. */
  readonly routesOf: readonly string[];
  /** Destinations (`ADDRESS/PREFIX`) whose routes are wanted. */
  readonly routesTo: readonly string[];
  /** Devices whose permanent neighbours are wanted; proxy entries always are. */
  readonly neighboursOf?: readonly string[];
  /** SR-IOV cards whose virtual functions are wanted. */
  readonly functionsOf?: readonly string[];
};

/** The kernel's network. Every method rejects with a WorldError (`NETWORK_READ_FAILED`, `NETWORK_CHANGE_FAILED`, `PROGRAM_MISSING`). */
export interface HostNetwork {
  /** The host; its `sysctls` are empty. */
  readHost(query: HostQuery): Promise<NamespaceFacts>;
  /** The pod; undefined when its namespace is gone. Its `sysctls` are empty. */
  readPod(netns: string): Promise<NamespaceFacts | undefined>;
  /** Sysctls by their path below /proc/sys; those that do not exist are left out. @param netns undefined: the host's */
  readSysctls(netns: string | undefined, keys: readonly string[]): Promise<Record<string, string>>;
  /**
   * Takes the steps in their order; of devices and rules the caller knows that they are not there yet, everything else may be in
   * effect. When one fails, those before it stay in
   * effect, and the error names the step. Steps that remove never fail: what they were to remove may just have gone, together with
   * its device for example, and who needs to know looks afterwards; but
   * for `no address`, which is half of a move.
   */
  apply(steps: readonly NetStep[], namespaces: Namespaces): Promise<void>;
}
