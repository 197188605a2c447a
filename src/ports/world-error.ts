// The error for a broken world: something outside the program failed. Outcomes that happen on a good day are return values.

/** Stable names of failures; each stands in docs/errors.md. */
export type WorldErrorCode =
  | "API_UNAVAILABLE"
  | "API_TIMEOUT"
  | "API_FORBIDDEN"
  | "API_UNAUTHORIZED"
  | "API_REJECTED"
  | "API_UNREADABLE"
  | "NOT_LEADER"
  | "QUEUE_FULL"
  | "STOPPED"
  | "CONFIG_FILE_UNREADABLE"
  | "KUBECONFIG_UNUSABLE"
  | "PORT_UNAVAILABLE"
  | "CRD_NOT_ESTABLISHED"
  | "STATE_FILE_UNUSABLE"
  | "STATE_FILE_IN_USE"
  | "STATE_FILE_FAILED"
  | "NETWORK_READ_FAILED"
  | "NETWORK_CHANGE_FAILED"
  | "ANNOUNCEMENT_FAILED"
  | "PROGRAM_MISSING"
  | "PROGRAM_HUNG"
  | "NODE_STATE_FAILED"
  | "NODE_BUSY"
  | "INSTALL_REFUSED"
  | "RUNTIME_UNAVAILABLE";

/**
 * A failure of the world.
 * - `code`: stable name
 * - `tried`: what was tried on what ("create FloatingIP 10.0.70.2")
 * - `mayHaveHappened`: true when the effect is unknown (time-out, lost connection after sending); the caller reads back before deciding
 */
export class WorldError extends Error {
  readonly code: WorldErrorCode;
  readonly tried: string;
  readonly mayHaveHappened: boolean;

  constructor(
    code: WorldErrorCode,
    details: {
      readonly tried: string;
      readonly message: string;
      readonly mayHaveHappened?: boolean;
      readonly cause?: unknown;
    },
  ) {
    super(`${details.tried}: ${details.message}`, { cause: details.cause });
    this.name = "WorldError";
    this.code = code;
    this.tried = details.tried;
    this.mayHaveHappened = details.mayHaveHappened ?? false;
  }
}
