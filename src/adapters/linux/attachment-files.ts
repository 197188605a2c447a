// The AttachmentStore port on a folder: a JSON file per attachment, replaced as a whole. It survives the end of every process, and is not
// synced: what a record describes lives in the kernel and is gone with it when the machine's power goes.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AttachmentRecord } from "../../core/attachment-record.ts";
import type { AttachmentId } from "../../core/cni-plan.ts";
import type { AttachmentStore } from "../../ports/attachment-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatAttachmentRecord, parseAttachmentRecord } from "../../wire/attachment-record.ts";

/** Records below a folder of their own. */
export class AttachmentFiles implements AttachmentStore {
  readonly #folder: string;

  /** @param folder made when it is missing, readable by root alone */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(record: AttachmentRecord): Promise<void> {
    const path = this.#pathOf(record.id);
    await this.#try(`write ${path}`, async () => {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeAtomically(path, formatAttachmentRecord(record));
    });
  }

  async get(id: AttachmentId): Promise<AttachmentRecord | "absent" | "unreadable"> {
    const path = this.#pathOf(id);
    const text = await this.#try(`read ${path}`, () => readIfThere(path));
    if (text === undefined) return "absent";
    return parseAttachmentRecord(text) ?? "unreadable";
  }

  async all(): Promise<readonly AttachmentRecord[]> {
    return this.#try(`read ${this.#folder}`, async () => {
      const names = await readdir(this.#folder).catch((error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
        throw error;
      });
      const texts = await Promise.all(
        names
          .filter((name) => name.endsWith(".json"))
          .map((name) => readIfThere(join(this.#folder, name))),
      );
      return texts.flatMap((text) => {
        const record = text === undefined ? undefined : parseAttachmentRecord(text);
        return record === undefined ? [] : [record];
      });
    });
  }

  async remove(id: AttachmentId): Promise<void> {
    const path = this.#pathOf(id);
    await this.#try(`remove ${path}`, () => rm(path, { force: true }));
  }

  /** By a hash of everything that tells attachments apart: names of networks and interfaces may hold what file names may not. */
  #pathOf(id: AttachmentId): string {
    const key = JSON.stringify([id.containerId, id.network, id.ifName]);
    const hash = createHash("sha256").update(key).digest("hex").slice(0, 16);
    const readable = id.containerId.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64);
    return join(this.#folder, `${readable}-${hash}.json`);
  }

  async #try<T>(tried: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw new WorldError("NODE_STATE_FAILED", {
        tried,
        message: `${error instanceof Error ? error.message : String(error)}; free space or correct the permissions of ${this.#folder}`,
        cause: error,
      });
    }
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Nobody ever reads half of it, and after the end of this process it is the old or the new text. */
async function writeAtomically(path: string, text: string): Promise<void> {
  const unfinished = `${path}.${process.pid}.tmp`;
  await writeFile(unfinished, text, { mode: 0o600 });
  await rename(unfinished, path);
}
