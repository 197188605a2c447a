// A backup as a file: opened, checked as a whole before anything of it is used, and written whole or not at all. What its lines mean is
// wire/backup.ts.

import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import type { BackupHeader, BackupLine } from "../wire/backup.ts";
import { readBackup } from "../wire/backup.ts";
import { CommandProblem, exitCodes, messageOf } from "./command-problem.ts";

/** A backup that is whole. */
export type BackupFile = {
  readonly header: BackupHeader;
  /** How many lines there are of each kind. */
  readonly counts: Readonly<Record<BackupPart["kind"], number>>;
  /** Its objects, read anew each time, so that only the file is held in memory. */
  parts(): Iterable<BackupPart>;
};

/** A line with an object. */
export type BackupPart = Extract<BackupLine, { readonly object: unknown }>;

const lineFeed = 0x0a;

/** Reads a file. @throws CommandProblem when it cannot be read */
export function readBytesOf(name: string): Buffer {
  try {
    return readFileSync(name);
  } catch (cause) {
    throw new CommandProblem(
      exitCodes.usage,
      `file ${name} cannot be read (${messageOf(cause)}); correct the path`,
      { cause },
    );
  }
}

/**
 * Checks a backup to its last byte.
 * @param name of the file, for messages
 * @throws CommandProblem when it is damaged, cut off, of a newer format or no backup: nothing of it may be used then
 */
export function openBackup(name: string, bytes: Buffer): BackupFile {
  const counts: Record<BackupPart["kind"], number> = {
    configuration: 0,
    pool: 0,
    quota: 0,
    "vip pool": 0,
    record: 0,
    vip: 0,
  };
  let header: BackupHeader | undefined;
  let endsAt = 0;
  for (const { line, start } of linesWithPlace(bytes)) {
    if (line.kind === "problem") {
      throw new CommandProblem(exitCodes.usage, `${name}: ${line.problem}; nothing was changed`);
    }
    if (line.kind === "header") ({ header } = line);
    else if (line.kind === "end") assertChecksum(name, bytes, start, line.sha256);
    else counts[line.kind] += 1;
    endsAt = start;
  }
  // The reader has said what is wrong before it ends without these.
  if (header === undefined) throw new Error(`${name} has no header`);
  const whole = bytes.subarray(0, endsAt);
  return {
    header,
    counts,
    *parts() {
      for (const { line } of linesWithPlace(bytes.subarray(0, whole.length))) {
        if ("object" in line) yield line;
      }
    },
  };
}

/** @param endsAt where the last line begins: the checksum is of all bytes before it */
function assertChecksum(name: string, bytes: Buffer, endsAt: number, wanted: string): void {
  const found = createHash("sha256").update(bytes.subarray(0, endsAt)).digest("hex");
  if (found === wanted && bytes.at(-1) === lineFeed) return;
  throw new CommandProblem(
    exitCodes.usage,
    `${name}: its checksum is ${found} and should be ${wanted}: it was changed since it was written; copy it again from where it came from, or use another backup; nothing was changed`,
  );
}

/** Lines with the byte at which each begins. */
function* linesWithPlace(
  bytes: Buffer,
): Generator<{ readonly line: BackupLine; readonly start: number }> {
  let start = 0;
  function* texts(): Generator<string> {
    while (start < bytes.length) {
      const found = bytes.indexOf(lineFeed, start);
      const end = found < 0 ? bytes.length : found;
      const begin = start;
      yield bytes.toString("utf8", begin, end);
      start = end + 1;
    }
  }
  for (const line of readBackup(texts())) yield { line, start };
}

/**
 * Writes a file whole or not at all: under another name first, and to the disk.
 * @throws CommandProblem when it is there and may not be replaced, or cannot be written
 */
export function writeWhole(
  name: string,
  bytes: Buffer,
  options: { readonly replaces: boolean },
): void {
  if (!options.replaces && existsSync(name)) {
    throw new CommandProblem(
      exitCodes.usage,
      `file ${name} is there already; give another name, or add --overwrite`,
    );
  }
  const partial = `${name}.part-${process.pid}`;
  try {
    // It says who has which address; that is nothing for others on this machine.
    const file = openSync(partial, "w", 0o600);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(partial, name);
  } catch (cause) {
    rmSync(partial, { force: true });
    throw new CommandProblem(
      exitCodes.usage,
      `file ${name} cannot be written (${messageOf(cause)}); free space or give another path`,
      { cause },
    );
  }
}
