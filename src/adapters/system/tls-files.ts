// Certificate, key and client authorities in files, read again when one of them changes: who renews certificates replaces files. Which
// ports use them is not its matter.

import { X509Certificate } from "node:crypto";
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
  /** Of callers of the extender. */
  readonly clientCa: string | undefined;
  /** Of users of the API. */
  readonly apiClientCa: string | undefined;
};

/** What is read. */
export type TlsFilesOptions = {
  readonly cert: NamedFile;
  readonly key: NamedFile;
  /** Undefined: there are no client authorities. */
  readonly clientCa: NamedFile | undefined;
  readonly apiClientCa?: NamedFile | undefined;
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
  /** What was said of dates, so that each is said once. */
  #saidOfDates: ReadonlySet<string> = new Set();

  private constructor(options: TlsFilesOptions, material: TlsMaterial) {
    this.#options = options;
    this.#material = material;
  }

  /** @throws WorldError CONFIG_FILE_UNREADABLE when one of them cannot be read, or they do not fit together */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const files = new TlsFiles(options, await readMaterial(options));
    files.#sayDates();
    return files;
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

  /** A certificate that has run out is served on: who knows better what to do with it is its reader. */
  #sayDates(material: TlsMaterial = this.#material): void {
    const { cert, clientCa, apiClientCa, log } = this.#options;
    const warnings = [
      ...dateProblems(cert, material.cert),
      ...(clientCa === undefined ? [] : dateProblems(clientCa, material.clientCa ?? "")),
      ...(apiClientCa === undefined ? [] : dateProblems(apiClientCa, material.apiClientCa ?? "")),
    ];
    for (const warning of warnings) {
      if (!this.#saidOfDates.has(warning))
        log.warn("certificate has to be renewed", { reason: warning });
    }
    this.#saidOfDates = new Set(warnings);
  }

  /** Files are replaced one after the other: a pair that does not fit is tried again at the next change, and the old one serves on. */
  async #readAgain(): Promise<void> {
    const { log } = this.#options;
    try {
      const material = await readMaterial(this.#options);
      this.#problem = undefined;
      this.#sayDates(material);
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

/** Before a certificate runs out, it is said for so long. */
const soonMs = 14 * 86_400_000;

const pemPattern = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** What is wrong with the dates of the certificates in a file: each names file, subject, date and the next step. */
function dateProblems({ flag, path }: NamedFile, pem: string): readonly string[] {
  const nowMs = Date.now();
  return (pem.match(pemPattern) ?? []).flatMap((text) => {
    const { subject, validFrom, validTo } = new X509Certificate(text);
    const who = `certificate "${subject.replaceAll("\n", ", ")}" in ${path} of ${flag}`;
    const remedy = "put a renewed one there, it is read without a restart";
    const [fromMs, untilMs] = [Date.parse(validFrom), Date.parse(validTo)];
    const [from, until] = [fromMs, untilMs].map((ms) => new Date(ms).toISOString());
    if (untilMs < nowMs) return [`${who} has expired on ${until}; ${remedy}`];
    if (fromMs > nowMs) {
      return [`${who} is not valid before ${from}; compare this machine's clock with its issuer's`];
    }
    return untilMs - nowMs < soonMs ? [`${who} expires on ${until}; ${remedy}`] : [];
  });
}

async function readMaterial(options: TlsFilesOptions): Promise<TlsMaterial> {
  const { apiClientCa, cert, key, clientCa } = options;
  const material = {
    cert: await readText(cert),
    key: await readText(key),
    clientCa: clientCa === undefined ? undefined : await readAuthorities(clientCa),
    apiClientCa: apiClientCa === undefined ? undefined : await readAuthorities(apiClientCa),
  };
  try {
    createSecureContext({ cert: material.cert, key: material.key });
  } catch (error) {
    throw new WorldError("CONFIG_FILE_UNREADABLE", {
      tried: `use ${cert.path} of ${cert.flag} with ${key.path} of ${key.flag}`,
      message: `${error instanceof Error ? error.message : String(error)}; give a certificate and its own key in PEM`,
      cause: error,
    });
  }
  return material;
}

/** Authorities that cannot be read would let nobody in, and nobody would know why. */
async function readAuthorities(file: NamedFile): Promise<string> {
  const text = await readText(file);
  const found = text.match(pemPattern) ?? [];
  try {
    const certificates = found.map((pem) => new X509Certificate(pem));
    if (certificates.length > 0) return text;
    throw new Error("there is no certificate in it");
  } catch (error) {
    throw new WorldError("CONFIG_FILE_UNREADABLE", {
      tried: `use ${file.path} of ${file.flag}`,
      message: `${error instanceof Error ? error.message : String(error)}; give the certificates of the authorities in PEM`,
      cause: error,
    });
  }
}

async function readText({ path, flag }: NamedFile): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new WorldError("CONFIG_FILE_UNREADABLE", {
      tried: `read ${path} of ${flag}`,
      message: `${error instanceof Error ? error.message : String(error)}; correct the path, or create the Secret that is mounted there`,
      cause: error,
    });
  }
}
