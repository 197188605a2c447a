// Makes the executable of all node plugins for hosts without Node: Bun's compiler puts the program, as bytecode, behind a copy of itself. The
// maker comes with the packages and is only used here; nothing in src/ depends on it but two lines that say so.

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
