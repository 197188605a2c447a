// Proves that `npm run build` makes programs that run: alone, executable, without node_modules.
// Not a test of what the programs do.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, globSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { findMaker } from "../scripts/host-executable.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the build makes one executable per program, and each explains itself with --help", (t) => {
  const dist = mkdtempSync(join(tmpdir(), "dist-"));
  t.after(() => rmSync(dist, { recursive: true, force: true }));
  // The programs start with `env node`; the Node that runs the tests is the one they are built for.
  const env = { PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };

  execFileSync(process.execPath, [join(root, "scripts/build.ts"), dist], { env, stdio: "pipe" });

  const sources = globSync("src/bin/*.ts", { cwd: root, exclude: ["**/*.test.ts"] });
  const programs = readdirSync(join(dist, "bin")).toSorted();
  const names = sources.map((path) => basename(path, ".ts"));
  assert.deepEqual(programs, [...names, "kubectl-galaxy"].toSorted());
  for (const program of programs) {
    const path = join(dist, "bin", program);
    accessSync(path, constants.X_OK);
    const help = execFileSync(path, ["--help"], { cwd: dist, env, encoding: "utf8" });
    assert.match(help, new RegExp(`Usage.*\\b${program}\\b`, "i"));
  }
  if (findMaker().kind === "missing") {
    t.diagnostic("no executable for hosts without Node: its maker is not installed");
    return;
  }
  const plugins = join(dist, "host/galaxy-plugins");
  const help = execFileSync(plugins, ["galaxy-k8s-vlan", "--help"], { env: {}, encoding: "utf8" });
  assert.match(help, /Usage: galaxy-k8s-vlan/);
});
