// The AttachmentStore port on a folder: a JSON file per attachment, replaced as a whole. It survives the end of every process, and is not
// synced: what a record describes lives in the kernel and is gone with it when the machine's power goes. What was read or written is
// remembered, and the file is looked at each time: other processes and people change these files too.

import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { readdirSync, readFileSync, statSync, unlink } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { AttachmentRecord } from "../../core/attachment-record.ts";
import type { AttachmentId } from "../../core/cni-plan.ts";
import type { AttachmentStore } from "../../ports/attachment-store.ts";
import { WorldError } from "../../ports/world-error.ts";
import { formatAttachmentRecord, parseAttachmentRecord } from "../../wire/attachment-record.ts";
import { isMissing, replaceFile } from "./replaced-file.ts";

const unlinkFile = promisify(unlink);

/** What a file held when it was that file. */
type Known = { readonly stamp: string; readonly record: AttachmentRecord | "unreadable" };

/** Records below a folder of their own. */
export class AttachmentFiles implements AttachmentStore {
  readonly #folder: string;
  readonly #known = new Map<string, Known>();

  /** @param folder made when it is missing, readable by root alone */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(record: AttachmentRecord): Promise<void> {
    const name = this.#nameOf(record.id);
    const path = join(this.#folder, name);
    await this.#try(`write ${path}`, async () => {
      const info = await replaceFile({
        folder: this.#folder,
        name,
        unfinishedName: `${name}.${process.pid}.tmp`,
        text: formatAttachmentRecord(record),
      });
      this.#known.set(path, { stamp: stampOf(info), record });
    });
  }

  async get(id: AttachmentId): Promise<AttachmentRecord | "absent" | "unreadable"> {
    const path = this.#pathOf(id);
    return this.#try(`read ${path}`, async () => this.#read(path));
  }

  async all(): Promise<readonly AttachmentRecord[]> {
    return this.#try(`read ${this.#folder}`, async () => {
      const records: AttachmentRecord[] = [];
      const paths = new Set(namesIn(this.#folder).map((name) => join(this.#folder, name)));
      for (const path of paths) {
        const record = this.#read(path);
        if (typeof record !== "string") records.push(record);
      }
      for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
      return records;
    });
  }

  async remove(id: AttachmentId): Promise<void> {
    const path = this.#pathOf(id);
    await this.#try(`remove ${path}`, async () => {
      await unlinkFile(path).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      this.#known.delete(path);
    });
  }

  #read(path: string): AttachmentRecord | "absent" | "unreadable" {
    const info = statSync(path, { throwIfNoEntry: false });
    if (info === undefined) {
      this.#known.delete(path);
      return "absent";
    }
    const stamp = stampOf(info);
    const known = this.#known.get(path);
    if (known?.stamp === stamp) return known.record;
    const text = readIfThere(path);
    if (text === undefined) return "absent";
    const record = parseAttachmentRecord(text) ?? "unreadable";
    this.#known.set(path, { stamp, record });
    return record;
  }

  #pathOf(id: AttachmentId): string {
    return join(this.#folder, this.#nameOf(id));
  }

  /** By a hash of everything that tells attachments apart: names of networks and interfaces may hold what file names may not. */
  #nameOf(id: AttachmentId): string {
    const key = JSON.stringify([id.containerId, id.network, id.ifName]);
    const hash = createHash("sha256").update(key).digest("hex").slice(0, 16);
    const readable = id.containerId.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64);
    return `${readable}-${hash}.json`;
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

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".json"));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Every replacement is another file, and an editor that writes into the same one changes its time. */
function stampOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`;
}
