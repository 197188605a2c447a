// Proves that `npm run build` makes programs that run: alone, executable, without node_modules.
// Not a test of what the programs do.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { accessSync, constants, globSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { findMaker } from "../scripts/host-executable.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const dist = mkdtempSync(join(tmpdir(), "dist-"));
// The programs start with `env node`; the Node that runs the tests is the one they are built for.
const env = { PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };

after(() => rmSync(dist, { recursive: true, force: true }));

test("the build makes one executable per program, and each explains itself with --help", (t) => {
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

test("the package of a build is installed without fetching anything, and its programs run", async () => {
  const folder = mkdtempSync(join(tmpdir(), "package-"));
  // npm writes there, and the user of the tests may have none.
  const home = mkdtempSync(join(tmpdir(), "package-home-"));
  try {
    // A hundred megabytes that were looked at above.
    rmSync(join(dist, "host"), { recursive: true, force: true });
    const script = join(root, "scripts/pack.ts");
    const asUser = { env: { ...env, HOME: home }, stdio: "pipe" } as const;
    execFileSync(process.execPath, [script, dist, folder], asUser);
    const [name = ""] = readdirSync(folder);
    assert.equal(name, `galaxy-float-ip-${manifest.version}.tgz`);
    const packed = join(folder, name);
    execFileSync(
      "npm",
      ["install", "--offline", "--no-audit", "--no-fund", `--cache=${home}/cache`, packed],
      { ...asUser, cwd: home },
    );
    const programs = readdirSync(join(dist, "bin"));
    const run = (program: string, ...args: readonly string[]) =>
      promisify(execFile)(join(home, "node_modules/.bin", program), args, { cwd: home, env });
    await Promise.all(
      programs.map(async (program) => {
        const { stdout } = await run(program, "--help");
        assert.match(stdout, new RegExp(`Usage.*\\b${program}\\b`, "i"));
      }),
    );
    for (const program of ["galaxy-ipam", "galaxy-webhook", "galaxy", "galaxyctl"]) {
      assert.equal((await run(program, "--version")).stdout, `${program} ${manifest.version}\n`);
    }
    // Something of each that needs more of the package than its first file.
    const example = join(root, "deploy/overlays/example/pod-subnets.yaml");
    assert.match((await run("galaxyctl", "config", "check", example)).stdout, /20 addresses/);
    assert.match(
      (await run("galaxyctl", "config", "check", example, "-o", "yaml")).stdout,
      /^- name: ConfigMap /,
    );
    const nowhere = "--master=http://127.0.0.1:1";
    await Promise.all([
      listensAndEnds("galaxy-ipam", nowhere, "--port=0", "--api-port=0"),
      listensAndEnds("galaxy-webhook", nowhere, "--port=0", "--bind=127.0.0.1"),
    ]);

    async function listensAndEnds(program: string, ...args: readonly string[]): Promise<void> {
      const child = spawn(join(home, "node_modules/.bin", program), args, { cwd: home, env });
      const listening = '"message":"listening"';
      let said = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          const isFirst = !said.includes(listening);
          said += text;
          // A second one would end it at once.
          if (isFirst && said.includes(listening)) child.kill("SIGTERM");
        });
      }
      const code = await new Promise((resolve) => child.once("close", resolve));
      assert.ok(said.includes(listening), `${program}: ${said}`);
      assert.equal(code, 0, said);
    }
  } finally {
    for (const each of [folder, home]) rmSync(each, { recursive: true, force: true });
  }
});
