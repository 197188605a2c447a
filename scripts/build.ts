// Makes the programs: one self-contained file with a shebang in dist/bin/ for each file in src/bin/.
// Not the host programs for machines without Node; those need another maker.
import { chmodSync, globSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const outDir = join(root, "dist", "bin");
const entries = globSync("src/bin/*.ts", { cwd: root, exclude: ["**/*.test.ts"] }).toSorted();
if (entries.length === 0) throw new Error("src/bin has no programs; nothing to build");

// A program that only declares things would build, start and end with 0 without doing anything.
const withoutMain = entries.filter(
  (entry) => !/^(?:await |void )?main\(/m.test(readFileSync(join(root, entry), "utf8")),
);
if (withoutMain.length > 0) {
  throw new Error(
    `${withoutMain.join(", ")}: a program calls main(...) at the top level of its file; add the call`,
  );
}

rmSync(outDir, { recursive: true, force: true });
mkdirSync(outDir, { recursive: true });
for (const entry of entries) {
  const outfile = join(outDir, basename(entry, ".ts"));
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    legalComments: "none",
    logLevel: "warning",
    banner: {
      // Packages written for CommonJS call require() for Node's own modules; an ES module has none.
      js: [
        "#!/usr/bin/env node",
        'import { createRequire as createRequireOfBundle } from "node:module";',
        "const require = createRequireOfBundle(import.meta.url);",
      ].join("\n"),
    },
  });
  chmodSync(outfile, 0o755);
  console.log(`dist/bin/${basename(outfile)}  ${Math.ceil(statSync(outfile).size / 1024)} KiB`);
}
