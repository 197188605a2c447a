// Who may write. Exactly one process leads; two that believe so are stopped by the store's create and version checks.

/** Leadership as the use cases see it. */
export interface Leadership {
  /** Whether this process may write now. */
  isLeader(): boolean;
  /** Name of the leader as last seen; "" when unknown. */
  leaderName(): string;
}
