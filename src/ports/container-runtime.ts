// The container runtime, as far as garbage is concerned: which pod sandboxes exist.

/** Asks the runtime of this node. */
export interface ContainerRuntime {
  /**
   * Ids of all pod sandboxes that the runtime has, in whatever state. One whose network is still being made may not be among them.
   * Rejects with a WorldError (`RUNTIME_UNAVAILABLE`) when the answer is not certain: nothing follows from that.
   */
  listSandboxIds(): Promise<ReadonlySet<string>>;
}
