// A text file that is read again when it changes: `--floatingips FILE`. What the text means is wire's business.

import { readFile } from "node:fs/promises";

/** The file as it stands; `missing` says why it cannot be read. */
export type FileText =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "missing"; readonly problem: string };

/**
 * How often the file is read. Change notices of the kernel miss what a mounted ConfigMap does with its links, and watching its times misses
 * what changes before the first look.
 */
const pollMs = 500;

/** Tells the text of a file at the start and after every change. */
export class WatchedFile {
  readonly #path: string;
  readonly #changed: (file: FileText) => void;
  #told: string | undefined;
  #reading: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, changed: (file: FileText) => void) {
    this.#path = path;
    this.#changed = changed;
  }

  /** Reads the file and begins to watch it; resolves when it was told for the first time. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#read());
    }, pollMs).unref();
    await this.#read();
  }

  /** Ends the watch; resolves when nothing will be told any more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
  }

  async #read(): Promise<void> {
    const file = await readText(this.#path);
    const told = JSON.stringify(file);
    if (told === this.#told) return;
    this.#told = told;
    this.#changed(file);
  }
}

async function readText(path: string): Promise<FileText> {
  try {
    return { kind: "text", text: await readFile(path, "utf8") };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      kind: "missing",
      problem: `file ${path} of --floatingips cannot be read (${reason}); create it or correct the path`,
    };
  }
}
