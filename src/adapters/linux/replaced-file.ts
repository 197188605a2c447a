// Replacing small files as a whole: nobody ever reads half of one, and after the end of a process it is the old or the new one. In other threads,
// because a disk can keep a writer waiting; with as few calls there as can be, because each costs as much as the work itself.

import type { Stats } from "node:fs";
import { close, closeSync, fdatasync, fstatSync, mkdirSync, open, rename, write } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const [openFile, writeBytes, syncFile, closeFile, renameFile] = [
  promisify(open),
  promisify(write),
  promisify(fdatasync),
  promisify(close),
  promisify(rename),
];

/** What is written where; the folder is made when it is missing, readable by its owner alone. */
export type Replacement = {
  readonly folder: string;
  readonly name: string;
  /** Where it is written before it takes its name; nobody else writes there at the same time. */
  readonly unfinishedName: string;
  readonly text: string;
};

/** Replaces the file. @returns what the file is, as it will be found by stat, but for the time of its renaming */
export async function replaceFile(replacement: Replacement): Promise<Stats> {
  const file = await put(replacement);
  try {
    return fstatSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * As {@link replaceFile}; resolves when the file has its name.
 * @returns resolves when the end of the machine does not lose what is in it
 */
export async function replaceAndSyncFile(
  replacement: Replacement,
): Promise<{ readonly synced: Promise<void> }> {
  const file = await put(replacement);
  const sync = async (): Promise<void> => {
    try {
      await syncFile(file);
    } finally {
      await closeFile(file);
    }
  };
  return { synced: sync() };
}

/** @returns the open file, under its name */
async function put({ folder, name, unfinishedName, text }: Replacement): Promise<number> {
  const unfinished = join(folder, unfinishedName);
  const make = () => openFile(unfinished, "w", 0o600);
  const file = await make().catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return make();
  });
  try {
    const bytes = Buffer.from(text, "utf8");
    for (let offset = 0; offset < bytes.length; ) {
      const { bytesWritten } = await writeBytes(file, bytes, offset, bytes.length - offset, null);
      offset += bytesWritten;
    }
    await renameFile(unfinished, join(folder, name));
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Whether an error of node:fs says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
