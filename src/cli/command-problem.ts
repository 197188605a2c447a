// How a command ends: the documented exit codes, and the error that carries one. Not the texts; who fails says why.

/**
 * Exit codes of galaxyctl, as docs/cli.md lists them.
 * - `refused`: the server refused, something was done in part only, or a check found something
 * - `usage`: the command line, a file that it names or a value in it is wrong
 * - `unreachable`: no server answers there, or it is not ready to
 * - `unauthorised`: the server wants a token, or its owner may not do this
 * - `notFound`: the object does not exist
 * - `failed`: the server or this program broke
 */
export const exitCodes = {
  done: 0,
  refused: 1,
  usage: 2,
  unreachable: 3,
  unauthorised: 4,
  notFound: 5,
  failed: 6,
} as const;

/** One of {@link exitCodes}. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends the command with a message that names object, value and next step. */
export class CommandProblem extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** The server has no such operation: it is of another version, or the operation exists only where there is a simulated cluster. */
export class OperationUnknown extends CommandProblem {
  constructor(message: string) {
    super(exitCodes.failed, message);
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") {
    return error.errors.map(messageOf).join("; ");
  }
  return error instanceof Error ? error.message : String(error);
}
