// What the daemon is put together from. Not a framework: the program starts its parts in order and stops them in reverse.

/** A part of the daemon with a life of its own. */
export type DaemonPart = {
  /** For log lines and health: "CNI socket". */
  readonly name: string;
  /** Resolves when the part does its work; a rejection ends the program. Nothing here may wait for the API server. */
  start(): Promise<void>;
  /** Ends what is under way, and resolves when nothing is left running. Called only after `start` resolved. */
  stop(): Promise<void>;
};
