// Exclusion between everything that changes the network of one node, also across processes: the daemon and plugin executables.

/** Named locks of a node. */
export interface NodeLocks {
  /**
   * Runs the action while nobody else on this node holds the lock of that name; a holder that died holds nothing. Rejects with
   * `NODE_BUSY` when the lock is not to be had within `limitMs`, and as the action does.
   */
  withLock<T>(name: string, limitMs: number, action: () => Promise<T>): Promise<T>;
}
