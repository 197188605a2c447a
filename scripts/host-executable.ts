// Makes what runs on hosts without Node: the executable of all node plugins, for which Bun's compiler puts the program, as bytecode, behind a
// copy of itself, and galaxy-sdn once more in C, which starts in a tenth of the time. Bun comes with the packages and is only used here;
// nothing in src/ depends on it but two lines that say so.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Packages by platform; the x64 one asks for no newer processor than SSE4.2. */
const makers: Readonly<Record<string, string>> = {
  x64: "@oven/bun-linux-x64-baseline",
  arm64: "@oven/bun-linux-aarch64",
};

/** The program that makes executables for this machine, or why there is none. */
export function findMaker():
  | { readonly kind: "found"; readonly file: string }
  | { readonly kind: "missing"; readonly because: string } {
  const name = makers[process.arch];
  if (process.platform !== "linux" || name === undefined) {
    return {
      kind: "missing",
      because: `there is no maker for ${process.platform} ${process.arch}`,
    };
  }
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return { kind: "found", file: join(dirname(manifest), "bin/bun") };
  } catch {
    return {
      kind: "missing",
      because: `package ${name} is not installed; run npm ci without --omit=optional`,
    };
  }
}

/**
 * Makes the executable for this machine's processor.
 * @param maker what {@link findMaker} found
 * @param file the executable; replaced as a whole
 * @param entry the program
 */
export function makeHostExecutable(
  maker: string,
  file: string,
  entry = join(root, "src/bin/galaxy-plugins.ts"),
): void {
  mkdirSync(dirname(file), { recursive: true });
  const folder = mkdtempSync(join(dirname(file), ".making-"));
  try {
    const made = join(folder, "program");
    execFileSync(
      maker,
      [
        ...["build", entry, "--compile", "--minify", "--bytecode", `--outfile=${made}`],
        // What lies in the folder that a runtime happens to call from is no business of a program of root's.
        ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
        "--external=koffi",
      ],
      { cwd: folder, env: { PATH: "", HOME: folder, DO_NOT_TRACK: "1" }, stdio: "pipe" },
    );
    renameSync(made, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Makes galaxy-sdn from C, without shared libraries, so that it runs on every host of the same processor. `$CC` names the compiler (`cc`).
 * @param file the executable; replaced as a whole
 * @returns why it could not be made, or undefined
 */
export function makeHostClient(file: string): string | undefined {
  mkdirSync(dirname(file), { recursive: true });
  const folder = mkdtempSync(join(dirname(file), ".making-"));
  try {
    const made = join(folder, "program");
    const source = join(root, "native/galaxy-sdn.c");
    const compiler = process.env["CC"] ?? "cc";
    execFileSync(compiler, ["-O2", "-s", "-static", "-Wall", "-Wextra", "-o", made, source], {
      stdio: "pipe",
    });
    renameSync(made, file);
    return undefined;
  } catch (error) {
    const { stderr } = error as { readonly stderr?: Buffer };
    const said = stderr?.toString().trim().split("\n").at(-1) ?? "";
    return said === "" ? String(error) : said;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
