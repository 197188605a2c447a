// The Log port of a plugin executable: one JSON line per warning or error on standard error, which runtimes keep with the pod's events.
// Loading a logging library would cost more than the plugin's work.

import type { Log, LogFields } from "../../ports/log.ts";

/** Warnings and errors only. */
export class StderrLog implements Log {
  error(message: string, fields: LogFields = {}, cause?: unknown): void {
    write("error", message, fields, cause);
  }

  warn(message: string, fields: LogFields = {}, cause?: unknown): void {
    write("warn", message, fields, cause);
  }

  info(): void {}

  debug(): void {}
}

function write(level: string, message: string, fields: LogFields, cause: unknown): void {
  const because = cause instanceof Error ? { cause: cause.message } : {};
  process.stderr.write(`${JSON.stringify({ level, msg: message, ...fields, ...because })}\n`);
}
