// Structured log lines: a constant message with fields beside it.

/** Values of fields; objects are for adapters to keep out. */
export type LogFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

/**
 * error: someone must act; warn: it will be retried; info: the state of an address changed; debug: the rest.
 * `cause`: the error behind the line, printed with its own causes.
 */
export interface Log {
  error(message: string, fields?: LogFields, cause?: unknown): void;
  warn(message: string, fields?: LogFields, cause?: unknown): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}
