// Makes the programs: an executable in dist/bin/ for each file in src/bin/, over shared chunks in dist/lib/; the executable of the node
// plugins for hosts without Node in dist/host/; and the page in dist/ui/.
//   node scripts/build.ts [output folder]
//
// dist/ runs anywhere with Node 24 and without node_modules. Chunks rather than one file per program: what
// a program loads with import() stays unread until then. With the Kubernetes client in the same
// file, a program started in 0.18 s and 132 MB instead of 0.08 s and 72 MB.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  globSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { findMaker, makeHostClient, makeHostExecutable } from "./host-executable.ts";
import { buildPage } from "./page-bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = resolve(root, process.argv[2] ?? "dist");
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

/**
 * The daemon runs on every node for ever. A small young generation, code that is not made fast at any price and two pools of the allocator
 * keep it at 89 MiB where it had 126 after a few hundred pods. The kernel takes 20 ms to remove a device, and removes many in the same time: hence
 * more threads than the four that Node has.
 */
function firstLineOf(name: string): string {
  return name === "galaxy"
    ? "#!/usr/bin/env -S MALLOC_ARENA_MAX=2 UV_THREADPOOL_SIZE=12 node --optimize-for-size --max-semi-space-size=1"
    : "#!/usr/bin/env node";
}

rmSync(dist, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: entries,
  outdir: dist,
  entryNames: "bin/[name]",
  chunkNames: "lib/[name]-[hash]",
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node24",
  format: "esm",
  // It looks for its library beside its own files; the daemon does without it where it is missing.
  external: ["koffi"],
  // Its entry for Node is CommonJS, of which import() gives a bundle nothing by name; the other one is the same as an ES module.
  alias: { yaml: join(root, "node_modules/yaml/browser/index.js") },
  // Licences of what is bundled ask for their notices to travel along.
  legalComments: "eof",
  logLevel: "warning",
  metafile: true,
  banner: {
    // Packages written for CommonJS call require() for Node's own modules; an ES module has none.
    js: [
      'import { createRequire as createRequireOfBundle } from "node:module";',
      "const require = createRequireOfBundle(import.meta.url);",
    ].join("\n"),
  },
});
writeFileSync(join(dist, "package.json"), '{ "private": true, "type": "module" }\n');

for (const entry of entries) {
  const program = join(dist, "bin", basename(entry, ".ts"));
  renameSync(`${program}.js`, program);
  // Some sources are run as they are, too, and begin with that line already.
  const text = readFileSync(program, "utf8").replace(/^#!.*\n/, "");
  writeFileSync(program, `${firstLineOf(basename(program))}\n${text}`);
  chmodSync(program, 0o755);
  console.log(`dist/bin/${basename(program)}`);
}
// kubectl finds programs called kubectl-NAME in the PATH and runs them for `kubectl NAME`.
copyFileSync(join(dist, "bin/galaxyctl"), join(dist, "bin/kubectl-galaxy"));
console.log("dist/bin/kubectl-galaxy");
// koffi as it is, with its libraries for the machines that run Node's own builds.
const scripts = globSync(
  ["koffi/{package.json,LICENSE.txt,*.js,*.cjs}", "koffi/src/koffi/**/*.{js,cjs}"],
  {
    cwd: join(root, "node_modules"),
    exclude: ["koffi/cnoke.cjs"],
  },
);
const libraries = globSync("@koromix/koffi-linux-{x64,arm64}", { cwd: join(root, "node_modules") });
for (const path of [...scripts, ...libraries]) {
  cpSync(join(root, "node_modules", path), join(dist, "node_modules", path), { recursive: true });
}
const bytes = Object.values(metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
console.log(`${entries.length} programs, ${(bytes / 2 ** 20).toFixed(1)} MiB with their chunks`);
const maker = findMaker();
if (maker.kind === "found") {
  makeHostExecutable(maker.file, join(dist, "host/galaxy-plugins"));
  const size = statSync(join(dist, "host/galaxy-plugins")).size;
  console.log(`dist/host/galaxy-plugins: ${(size / 2 ** 20).toFixed(0)} MiB, needs no Node`);
} else {
  console.log(`dist/host: left out, because ${maker.because}`);
}
const noClient = makeHostClient(join(dist, "host/galaxy-sdn"));
console.log(
  noClient === undefined
    ? "dist/host/galaxy-sdn: the same in C, which starts faster"
    : `dist/host/galaxy-sdn: left out, galaxy-plugins stands in for it (${noClient})`,
);
const pageBytes = await buildPage(join(dist, "ui"));
console.log(`dist/ui: the page, ${(pageBytes / 1024).toFixed(0)} KiB compressed`);
