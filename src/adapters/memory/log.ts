// The Log that keeps its lines for a test to look at; it prints nothing.

import type { Log, LogFields } from "../../ports/log.ts";

/** A line as it was logged. */
export type LogLine = {
  readonly level: "error" | "warn" | "info" | "debug";
  readonly message: string;
  readonly fields: LogFields;
  readonly cause: unknown;
};

/** Keeps every line in order. */
export class MemoryLog implements Log {
  readonly #lines: LogLine[] = [];

  error(message: string, fields: LogFields = {}, cause?: unknown): void {
    this.#lines.push({ level: "error", message, fields, cause });
  }

  warn(message: string, fields: LogFields = {}, cause?: unknown): void {
    this.#lines.push({ level: "warn", message, fields, cause });
  }

  info(message: string, fields: LogFields = {}): void {
    this.#lines.push({ level: "info", message, fields, cause: undefined });
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#lines.push({ level: "debug", message, fields, cause: undefined });
  }

  /** All lines, or those of one level. */
  lines(level?: LogLine["level"]): readonly LogLine[] {
    return this.#lines.filter((line) => level === undefined || line.level === level);
  }
}
