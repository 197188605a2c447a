// Makes the page: script and style with hashes in their names, and the document that names them.
// Not the programs; build.ts makes those.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const source = fileURLToPath(new URL("../ui", import.meta.url));

/**
 * Builds the page into `folder`, which is emptied first.
 * @returns the bytes of script and style as a browser transfers them, compressed
 */
export async function buildPage(folder: string): Promise<number> {
  const { outputFiles } = await build({
    absWorkingDir: source,
    entryPoints: ["main.tsx", "style.css"],
    outdir: folder,
    write: false,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "eof",
    logLevel: "warning",
  });
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  let document = readFileSync(join(source, "index.html"), "utf8");
  let bytes = 0;
  for (const { path, contents } of outputFiles) {
    const kind = path.endsWith(".css") ? "css" : "js";
    const hash = createHash("sha256").update(contents).digest("hex").slice(0, 12);
    const name = `page-${hash}.${kind}`;
    writeFileSync(join(folder, name), contents);
    document = document.replace(kind === "css" ? "STYLE_FILE" : "SCRIPT_FILE", `/page/${name}`);
    bytes += gzipSync(contents).length;
  }
  writeFileSync(join(folder, "index.html"), document);
  return bytes;
}
