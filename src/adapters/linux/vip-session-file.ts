// The note by which one daemon hands its session for virtual addresses on to the next: a file that is read once. Whether the session still is
// the node's is for the API server to say.

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** The session that was handed on, and removes the note; undefined when there is none. */
export async function takeVipSession(path: string): Promise<number | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return undefined;
  }
  // Read by two processes, it would be two sessions with one number.
  await rm(path, { force: true });
  const session = Number(text.trim());
  return Number.isSafeInteger(session) && session > 0 ? session : undefined;
}

/** Leaves the note. */
export async function leaveVipSession(path: string, session: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${session}\n`);
}
