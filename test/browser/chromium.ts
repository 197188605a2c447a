// A real browser for the tests of the page: Debian's Chromium, installed when it is missing and the user may install it.

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium } from "playwright-core";

const run = promisify(execFile);

/** Where the browser is, or why there is none. */
type Located =
  | { readonly kind: "found"; readonly file: string }
  | { readonly kind: "missing"; readonly because: string };

let located: Promise<Located> | undefined;

/** False where the tests can have a browser, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkipBrowser(): Promise<string | false> {
  located ??= locate();
  const found = await located;
  return found.kind === "found" ? false : `no real browser: ${found.because}`;
}

/**
 * Starts the browser without a window. Nothing of it goes to the network but what a page asks for.
 * @throws when there is none; ask {@link reasonToSkipBrowser} before
 */
export async function startBrowser(): Promise<Browser> {
  located ??= locate();
  const found = await located;
  if (found.kind === "missing") throw new Error(found.because);
  return chromium.launch({
    executablePath: found.file,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

async function locate(): Promise<Located> {
  const named = process.env["CHROMIUM"];
  if (named !== undefined && named !== "") {
    return (await isProgram(named))
      ? { kind: "found", file: named }
      : { kind: "missing", because: `$CHROMIUM names ${named}, which cannot be run` };
  }
  const there = await inPath();
  if (there !== undefined) return { kind: "found", file: there };
  if (process.getuid?.() !== 0) {
    return { kind: "missing", because: "chromium is not in PATH; install Debian's chromium" };
  }
  process.stderr.write("browser: installing Debian's chromium (once)\n");
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    maxBuffer: 2 ** 26,
  };
  const install = () =>
    run("apt-get", ["install", "--yes", "--no-install-recommends", "chromium"], options);
  try {
    // Package lists may be missing or old; one source of several that fails makes `update` fail, and may not matter.
    await install().catch(async () => {
      await run("apt-get", ["update"], options).catch(() => {});
      await install();
    });
  } catch (error) {
    const text = error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error);
    return { kind: "missing", because: `Debian's chromium cannot be installed: ${text ?? ""}` };
  }
  const installed = await inPath();
  return installed === undefined
    ? { kind: "missing", because: "Debian's chromium was installed, but is not in PATH" }
    : { kind: "found", file: installed };
}

async function inPath(): Promise<string | undefined> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser"]) {
      const file = join(folder, name);
      if (folder !== "" && (await isProgram(file))) return file;
    }
  }
  return undefined;
}

async function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
