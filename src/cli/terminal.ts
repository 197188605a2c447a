// Where a command writes and whom it may ask: the terminal or pipe at both ends. Knows nothing of addresses.

import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The world of a command besides the server. */
export type Terminal = {
  readonly env: Environment;
  /** Width that tables must fit in; undefined when the output goes to a file or program, which wants all of it. */
  readonly columns: number | undefined;
  readonly hasColor: boolean;
  /** A person reads and can answer. */
  readonly isInteractive: boolean;
  /** Results. Waits while the reader is slow, so that a long list is never held in memory. */
  write(text: string): Promise<void>;
  /** One line for people beside the results: notes, warnings, questions. */
  note(line: string): void;
  /** Everything from standard input, as UTF-8. */
  readInput(): Promise<string>;
};

/** The streams of a process. */
export type Streams = {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
};

/**
 * The terminal of a process. COLUMNS overrides the width; NO_COLOR and `--no-color` switch colours off, FORCE_COLOR switches them on
 * where there is no terminal.
 */
export function terminalOf(
  streams: Streams,
  env: Environment,
  options: { readonly color: boolean },
): Terminal {
  const { stdin, stdout, stderr } = streams;
  const isTerminal = stdout.isTTY === true;
  const wished = Number(env["COLUMNS"]);
  const columns = wished >= 20 ? Math.floor(wished) : isTerminal ? stdout.columns : undefined;
  const force = env["FORCE_COLOR"] ?? "";
  const allowed = options.color && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  return {
    env,
    columns,
    hasColor: allowed && (isTerminal || (force !== "" && force !== "0")),
    isInteractive: stdin.isTTY === true && stderr.isTTY === true,
    async write(text) {
      if (!stdout.write(text)) await once(stdout, "drain");
    },
    note(line) {
      stderr.write(`${line}\n`);
    },
    async readInput() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Uint8Array));
      return Buffer.concat(chunks).toString("utf8");
    },
  };
}

const colors = { red: 31, green: 32, yellow: 33, blue: 34, cyan: 36, gray: 90 } as const;

/** Names of the colours that tables use. */
export type Color = keyof typeof colors;

/** The text in a colour, for a terminal that shows colours. */
export function colored(text: string, color: Color): string {
  return `\u001b[${colors[color]}m${text}\u001b[39m`;
}

/**
 * The text without characters that a terminal obeys: what comes from the server (the reason of a reservation, a message) may be
 * anybody's text. Line breaks and tabs become blanks.
 */
export function printable(text: string): string {
  return text.replace(/[\r\n\t]+/g, " ").replace(
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
