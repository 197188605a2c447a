// Puts the plugins and the configuration of the runtime onto the host, and takes them away again: each file as a whole or not at all, and never
// a file of somebody else. What was put is written down first, so that it is known as ours after a crash, too.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  chmod,
  copyFile,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { WorldError } from "../../ports/world-error.ts";
import { asList, asText, valueAt } from "../../wire/json-value.ts";

/** A file of ours on the host. */
type InstalledFile = {
  readonly path: string;
  /** What it may be: of two, the first was there before a change that may have been interrupted. */
  readonly hashes: readonly string[];
  /** Where somebody else's file of that name was put aside; "" when there was none. */
  readonly saved: string;
};

/** What taking away came to. */
export type Removal = {
  readonly removed: readonly string[];
  /** Files that somebody changed since; they stay. */
  readonly kept: readonly string[];
};

/** End of the names of files that are not complete yet; no runtime reads them. */
const unfinishedEnd = ".galaxy-unfinished";
const savedEnd = ".galaxy-saved";

/** Files on the host. Every method rejects with a WorldError (`INSTALL_REFUSED`, `NODE_STATE_FAILED`). */
export class HostInstallation {
  readonly #recordFile: string;
  readonly #takesOver: boolean;

  /**
   * @param folder where it is written down what was installed
   * @param options `takesOver`: whether somebody else's file of a name may be put aside, until ours is taken away
   */
  constructor(folder: string, options: { readonly takesOver: boolean }) {
    this.#recordFile = join(folder, "installed.json");
    this.#takesOver = options.takesOver;
  }

  /** Puts an executable into a folder under several names, which share one file where the file system can. */
  async installProgram(source: string, folder: string, names: readonly string[]): Promise<void> {
    await this.#try(`install ${names.join(", ")} in ${folder}`, async () => {
      const hash = await hashOf(source);
      if (hash === undefined) throw new Error(`${source} does not exist`);
      await mkdir(folder, { recursive: true, mode: 0o755 });
      let first: string | undefined;
      for (const name of names) {
        const path = join(folder, name);
        const shared = first;
        await this.#place(path, hash, async (unfinished) => {
          const isLinked =
            shared !== undefined &&
            (await link(shared, unfinished).then(
              () => true,
              () => false,
            ));
          if (!isLinked) await copyFile(source, unfinished);
          return 0o755;
        });
        first ??= path;
      }
    });
  }

  /** Puts a text file into a folder. */
  async installText(text: string, path: string): Promise<void> {
    await this.#try(`install ${path}`, async () => {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      const hash = createHash("sha256").update(text).digest("hex");
      await this.#place(path, hash, async (unfinished) => {
        await writeFile(unfinished, text);
        return 0o644;
      });
    });
  }

  /** Takes away what was installed, the configuration first; files that were put aside come back. */
  async remove(): Promise<Removal> {
    const removed: string[] = [];
    const kept: string[] = [];
    await this.#try("take away what was installed", async () => {
      // A runtime that still has the configuration would look for the plugin.
      for (const file of (await this.#read()).toReversed()) {
        const hash = await hashOf(file.path);
        if (hash !== undefined && !file.hashes.includes(hash)) {
          kept.push(file.path);
          continue;
        }
        if (file.saved !== "") await rename(file.saved, file.path).catch(ignoreMissing);
        else if (hash !== undefined) await rm(file.path, { force: true });
        if (hash !== undefined) removed.push(file.path);
        await removeUnfinished(dirname(file.path));
      }
      await rm(this.#recordFile, { force: true });
    });
    return { removed, kept };
  }

  /** @param fill makes the complete file beside the place, and says its mode */
  async #place(
    path: string,
    hash: string,
    fill: (unfinished: string) => Promise<number>,
  ): Promise<void> {
    const unfinished = `${path}${unfinishedEnd}`;
    await rm(unfinished, { force: true });
    const files = await this.#read();
    const known = files.find((file) => file.path === path);
    const present = await hashOf(path);
    const isOurs = present !== undefined && known?.hashes.includes(present) === true;
    let saved = known?.saved ?? "";
    if (present === hash) {
      if (known?.hashes.length !== 1)
        await this.#write(put(files, { path, hashes: [hash], saved }));
      return;
    }
    if (present !== undefined && !isOurs) {
      if (!this.#takesOver) {
        throw new WorldError("INSTALL_REFUSED", {
          tried: `install ${path}`,
          message:
            "the file is there and was not installed by this program; remove it, or let --take-over put it aside",
        });
      }
      saved = `${path}${savedEnd}`;
    }
    const before = isOurs ? [present] : [];
    await this.#write(put(files, { path, hashes: [...before, hash], saved }));
    if (saved !== "" && present !== undefined && !isOurs) {
      // Under both names, until ours takes the first.
      await rm(saved, { force: true });
      await link(path, saved).catch(() => copyFile(path, saved));
    }
    const mode = await fill(unfinished);
    await chmod(unfinished, mode);
    await syncPath(unfinished);
    await rename(unfinished, path);
    await syncPath(dirname(path));
    await this.#write(put(files, { path, hashes: [hash], saved }));
  }

  async #read(): Promise<InstalledFile[]> {
    const text = await readFile(this.#recordFile, "utf8").catch(ignoreMissing);
    if (text === undefined) return [];
    let json: unknown;
    try {
      json = JSON.parse(text) as unknown;
    } catch {
      throw new Error(`${this.#recordFile} cannot be understood; remove it`);
    }
    return asList(json).flatMap((item) => {
      const path = asText(valueAt(item, "path"));
      const hashes = asList(valueAt(item, "hashes")).flatMap((hash) => asText(hash) ?? []);
      return path === undefined
        ? []
        : [{ path, hashes, saved: asText(valueAt(item, "saved")) ?? "" }];
    });
  }

  async #write(files: readonly InstalledFile[]): Promise<void> {
    await mkdir(dirname(this.#recordFile), { recursive: true, mode: 0o700 });
    const unfinished = `${this.#recordFile}${unfinishedEnd}`;
    const file = await open(unfinished, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(files));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, this.#recordFile);
  }

  async #try(tried: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (error instanceof WorldError) throw error;
      throw new WorldError("NODE_STATE_FAILED", {
        tried,
        message: `${error instanceof Error ? error.message : String(error)}; free space or correct the permissions of the folder`,
        cause: error,
      });
    }
  }
}

/** The list with the file in its place, or at the end. */
function put(files: readonly InstalledFile[], file: InstalledFile): InstalledFile[] {
  return files.some(({ path }) => path === file.path)
    ? files.map((one) => (one.path === file.path ? file : one))
    : [...files, file];
}

/** SHA-256 of a file's bytes; undefined when there is none. */
async function hashOf(path: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (error) {
    return ignoreMissing(error);
  }
  return hash.digest("hex");
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}

/** Files, and folders with the names in them. */
async function syncPath(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function removeUnfinished(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (name.endsWith(unfinishedEnd)) await rm(join(folder, basename(name)), { force: true });
  }
}
