// Makes the package of a release: what `npm run build` made, with a manifest that names its programs, as a .tgz that npm installs without
// fetching anything.
//   node scripts/pack.ts [folder of the build] [folder for the package]
//
// Not the root's manifest: that one has the sources and their tools, and is private.
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import root from "../package.json" with { type: "json" };

const rootFolder = fileURLToPath(new URL("..", import.meta.url));
const dist = resolve(rootFolder, process.argv[2] ?? "dist");
const target = resolve(rootFolder, process.argv[3] ?? ".");
if (!existsSync(join(dist, "bin"))) {
  throw new Error(`${dist} has no programs; run npm run build first`);
}

const bundled = bundledPackages(join(dist, "node_modules"));
for (const { name, manifest } of bundled) {
  // It is there whole; npm would run what it does when it is fetched.
  const { scripts: _scripts, optionalDependencies: _fetched, ...rest } = manifest;
  writeJson(join(dist, "node_modules", name, "package.json"), rest);
}
writeJson(join(dist, "package.json"), {
  name: root.name,
  version: root.version,
  description: root.description,
  license: root.license,
  type: "module",
  engines: root.engines,
  bin: Object.fromEntries(readdirSync(join(dist, "bin")).map((name) => [name, `bin/${name}`])),
  files: ["bin", "lib", "ui", "host"],
  dependencies: Object.fromEntries(
    bundled.map(({ name, manifest }) => [name, String(manifest["version"])]),
  ),
  bundleDependencies: bundled.map(({ name }) => name),
});
for (const file of ["LICENSE", "README.md"]) copyFileSync(join(rootFolder, file), join(dist, file));
mkdirSync(target, { recursive: true });
const name = execFileSync("npm", ["pack", "--silent", `--pack-destination=${target}`], {
  cwd: dist,
  encoding: "utf8",
}).trim();
console.log(join(target, name));

type Bundled = { readonly name: string; readonly manifest: Readonly<Record<string, unknown>> };

/** What the build put beside the programs as it is. */
function bundledPackages(folder: string): readonly Bundled[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) =>
      name.startsWith("@")
        ? readdirSync(join(folder, name)).map((inner) => `${name}/${inner}`)
        : [name],
    )
    .map((name) => ({
      name,
      manifest: JSON.parse(
        readFileSync(join(folder, name, "package.json"), "utf8"),
      ) as Bundled["manifest"],
    }));
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`);
}
