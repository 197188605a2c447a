// Certificate, key and client authorities in files, read again when one of them changes: who renews certificates replaces files. Which
// ports use them is not its matter.

import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Log } from "../../ports/log.ts";
import { WorldError } from "../../ports/world-error.ts";

/** A file with the flag that names it, for messages. */
export type NamedFile = { readonly path: string; readonly flag: string };

/** What stands in the files, all in PEM. */
export type TlsMaterial = {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
};

/** What is read. */
export type TlsFilesOptions = {
  readonly cert: NamedFile;
  readonly key: NamedFile;
  /** Undefined: there are no client authorities. */
  readonly clientCa: NamedFile | undefined;
  readonly log: Log;
  /**
   * How often the files are read; 10 s by default. Change notices of the kernel miss what a mounted Secret does with its links, and
   * watching their times misses what changes before the first look.
   */
  readonly pollMs?: number;
};

/** The files of one program. */
export class TlsFiles {
  readonly #options: TlsFilesOptions;
  #material: TlsMaterial;
  #reading: Promise<void> = Promise.resolve();
  #changed: (material: TlsMaterial) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  /** Why the last look failed, so that it is said once. */
  #problem: string | undefined;

  private constructor(options: TlsFilesOptions, material: TlsMaterial) {
    this.#options = options;
    this.#material = material;
  }

  /** @throws WorldError CONFIG_FILE_UNREADABLE when one of them cannot be read, or they do not fit together */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    return new TlsFiles(options, await readMaterial(options));
  }

  /** What was read last. */
  get material(): TlsMaterial {
    return this.#material;
  }

  /** Calls `changed` from now on with what stands in the files, whenever that changed and fits together. */
  watch(changed: (material: TlsMaterial) => void): void {
    this.#changed = changed;
    this.#timer ??= setInterval(() => {
      this.#reading = this.#reading.then(() => this.#readAgain());
    }, this.#options.pollMs ?? 10_000).unref();
  }

  /** Ends the watch; resolves when nothing will be told any more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#reading;
  }

  /** Files are replaced one after the other: a pair that does not fit is tried again at the next change, and the old one serves on. */
  async #readAgain(): Promise<void> {
    const { log } = this.#options;
    try {
      const material = await readMaterial(this.#options);
      this.#problem = undefined;
      if (JSON.stringify(material) === JSON.stringify(this.#material)) return;
      this.#material = material;
      this.#changed(material);
      log.info("certificate renewed", { file: this.#options.cert.path });
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      log.warn("certificate not renewed; the one that was read before is served on", {}, error);
    }
  }
}

async function readMaterial({ cert, key, clientCa }: TlsFilesOptions): Promise<TlsMaterial> {
  const material = {
    cert: await readText(cert),
    key: await readText(key),
    clientCa: clientCa === undefined ? undefined : await readText(clientCa),
  };
  try {
    createSecureContext({ cert: material.cert, key: material.key, ca: material.clientCa });
  } catch (error) {
    throw new WorldError("CONFIG_FILE_UNREADABLE", {
      tried: `use ${cert.path} of ${cert.flag} with ${key.path} of ${key.flag}`,
      message: `${error instanceof Error ? error.message : String(error)}; give a certificate and its own key in PEM`,
      cause: error,
    });
  }
  return material;
}

async function readText({ path, flag }: NamedFile): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new WorldError("CONFIG_FILE_UNREADABLE", {
      tried: `read ${path} of ${flag}`,
      message: `${error instanceof Error ? error.message : String(error)}; correct the path`,
      cause: error,
    });
  }
}
