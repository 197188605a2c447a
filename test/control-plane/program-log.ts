// The log of galaxy-ipam as scenarios read it: JSON lines.

import { readFileSync } from "node:fs";

/** One line; `message` is the constant text. */
export type LogLine = { readonly message: string; readonly [field: string]: unknown };

/** The log so far. What is no JSON (a crash of Node itself, for example) is a line with that text as its message. */
export function logLinesOf(logFile: string): readonly LogLine[] {
  return readFileSync(logFile, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      try {
        return JSON.parse(line) as LogLine;
      } catch {
        return { message: line };
      }
    });
}
