// Proves that the import fences hold: plants each violation in a project of its own and sees the tool refuse it.
// Not a check of this repository's own imports; `npm run check` does that.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A project with these files (path to content) that vanishes with the test; returns its folder. */
function aProject(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "fences-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/** The violations that the dependency rules find in `folder`, as lines "rule: from → to", sorted. */
function violationsIn(folder: string): string[] {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      join(root, "node_modules/.bin/depcruise"),
      "--config",
      join(root, ".dependency-cruiser.mjs"),
      "--output-type",
      "json",
      "src",
    ],
    { cwd: folder, encoding: "utf8" },
  );
  assert.notEqual(stdout, "", stderr);
  const report = JSON.parse(stdout) as {
    summary: { violations: { from: string; to: string; rule: { name: string } }[] };
  };
  return report.summary.violations
    .map(({ rule, from, to }) =>
      from === to ? `${rule.name}: ${from}` : `${rule.name}: ${from} → ${to}`,
    )
    .toSorted();
}

/** A file that exports `name` and imports each of `paths` for its types or its values. */
function aFile(name: string, ...paths: readonly string[]): string {
  const imports = paths.map((path) => `import "${path}";\n`).join("");
  return `${imports}export const ${name} = 1;\n`;
}

test("a project that keeps the table passes the dependency rules", (t) => {
  const folder = aProject(t, {
    "src/core/ip.ts": aFile("ip"),
    "src/wire/pod.ts": aFile("pod", "../core/ip.ts"),
    "src/ports/clock.ts":
      'import type { ip } from "../core/ip.ts";\nexport type Clock = typeof ip;\n',
    "src/ipam/keyed-queue.ts": aFile("queue", "../core/ip.ts"),
    "src/ipam/allocator.ts":
      'import type { Clock } from "../ports/clock.ts";\nimport "./keyed-queue.ts";\nexport const a = (c: Clock) => c;\n',
    "src/ipam/reclaim.ts": aFile("reclaim", "./allocator.ts", "./keyed-queue.ts"),
    "src/ipam/ipam-service.ts": aFile("service", "./allocator.ts", "./reclaim.ts"),
    "src/adapters/http/extender.ts": aFile(
      "extender",
      "../../ipam/ipam-service.ts",
      "../../wire/pod.ts",
    ),
    "src/bin/galaxy-ipam.ts": aFile(
      "main",
      "../adapters/http/extender.ts",
      "node:fs",
      "./galaxy-ipam/world.ts",
    ),
    "src/bin/galaxy-ipam/world.ts": aFile("world", "../../core/ip.ts"),
  });
  assert.deepEqual(violationsIn(folder), []);
});

test("every crossing of a fence is reported under the rule that forbids it", (t) => {
  const folder = aProject(t, {
    "src/core/ip.ts": aFile("ip", "node:fs", "./pick.ts"),
    "src/core/pick.ts":
      'import type { clock } from "../ports/clock.ts";\nexport type Pick = typeof clock;\n',
    "src/core/circle-a.ts": 'import type { B } from "./circle-b.ts";\nexport type A = B | 1;\n',
    "src/core/circle-b.ts": 'import type { A } from "./circle-a.ts";\nexport type B = A | 2;\n',
    "src/core/tested-only.ts": aFile("testedOnly", "./ip.ts"),
    "src/core/tested-only.test.ts": aFile("t", "./tested-only.ts"),
    "src/core/lonely.ts": aFile("lonely"),
    "src/ports/clock.ts": aFile("clock", "../wire/pod.ts"),
    "src/wire/pod.ts": aFile("pod", "node:url"),
    "src/vip/agent.ts": aFile(
      "agent",
      "../ipam/pools.ts",
      "../ipam/reclaim.ts",
      "../adapters/linux/ip.ts",
    ),
    "src/ipam/pools.ts": aFile("pools", "./admin.ts"),
    "src/ipam/ipam-service.ts": aFile("service", "./admin.ts"),
    "src/ipam/reclaim.ts": aFile("reclaim", "./ipam-service.ts"),
    "src/ipam/admin.ts": aFile("admin"),
    "src/adapters/linux/ip.ts": aFile("ip", "../sqlite/store.ts"),
    "src/adapters/simulated/api.ts": aFile(
      "api",
      "../../ipam/admin.ts",
      "../memory/clock.ts",
      "../../../sim/timeline.ts",
    ),
    "src/adapters/memory/clock.ts": aFile("manual", "../../core/ip.ts"),
    "src/adapters/sqlite/store.ts": aFile("store", "../../ipam/admin.ts"),
    "src/cli/pools.ts": aFile("cliPools", "../ipam/pools.ts"),
    "src/bin/galaxy.ts": aFile(
      "main",
      "../cli/pools.ts",
      "../vip/agent.ts",
      "./galaxyctl.ts",
      "./galaxy-ipam/world.ts",
      "../missing.ts",
    ),
    "src/bin/galaxy-ipam/world.ts": aFile("part", "../../core/ip.ts"),
    "src/bin/galaxyctl.ts": aFile("ctl", "../core/tested-only.test.ts", "../../test/world.ts"),
    "sim/timeline.ts": aFile("timeline"),
    "test/world.ts": aFile("world"),
  });
  assert.deepEqual(violationsIn(folder), [
    "adapters-do-not-know-each-other: src/adapters/linux/ip.ts → src/adapters/sqlite/store.ts",
    "adapters-do-not-know-each-other: src/adapters/simulated/api.ts → src/adapters/memory/clock.ts",
    "bins-stand-alone: src/bin/galaxy.ts → src/bin/galaxy-ipam/world.ts",
    "bins-stand-alone: src/bin/galaxy.ts → src/bin/galaxyctl.ts",
    "cli-talks-http-only: src/cli/pools.ts → src/ipam/pools.ts",
    "core-imports-nothing: src/core/ip.ts → fs",
    "core-imports-nothing: src/core/pick.ts → src/ports/clock.ts",
    "everything-resolves: src/bin/galaxy.ts → ../missing.ts",
    "ipam-is-a-star: src/ipam/pools.ts → src/ipam/admin.ts",
    "ipam-is-a-star: src/ipam/reclaim.ts → src/ipam/ipam-service.ts",
    "no-cycles: src/core/circle-a.ts → src/core/circle-b.ts",
    "no-orphans: src/core/lonely.ts",
    "only-doors-call-use-cases: src/adapters/simulated/api.ts → src/ipam/admin.ts",
    "only-doors-call-use-cases: src/adapters/sqlite/store.ts → src/ipam/admin.ts",
    "ports-import-core: src/ports/clock.ts → src/wire/pod.ts",
    "source-is-used-by-source: src/adapters/simulated/api.ts",
    "source-is-used-by-source: src/core/lonely.ts",
    "source-is-used-by-source: src/core/tested-only.ts",
    "src-does-not-import-its-surroundings: src/adapters/simulated/api.ts → sim/timeline.ts",
    "src-does-not-import-its-surroundings: src/bin/galaxyctl.ts → test/world.ts",
    "tests-are-leaves: src/bin/galaxyctl.ts → src/core/tested-only.test.ts",
    "use-cases-import-core-and-ports: src/vip/agent.ts → src/adapters/linux/ip.ts",
    "use-cases-stay-apart: src/vip/agent.ts → src/ipam/pools.ts",
    "use-cases-stay-apart: src/vip/agent.ts → src/ipam/reclaim.ts",
    "wire-imports-core: src/wire/pod.ts → url",
  ]);
});

test("an import inside a using declaration is seen, and the official client is free to be loaded on demand", (t) => {
  const folder = aProject(t, {
    "src/core/client.ts":
      'export const load = async () => {\n  await using api = await import("node:http");\n  return api;\n};\n',
    "src/adapters/kubernetes/kubeconfig.ts": [
      'import type { KubeConfig } from "@kubernetes/client-node";',
      'export const load = async (): Promise<KubeConfig> => new (await import("@kubernetes/client-node")).KubeConfig();',
    ].join("\n"),
    "src/adapters/kubernetes/eager.ts":
      'import { KubeConfig } from "@kubernetes/client-node";\nimport "./kubeconfig.ts";\nexport const eager = new KubeConfig();\n',
    "src/bin/galaxy.ts": 'import "../core/client.ts";\nimport "../adapters/kubernetes/eager.ts";\n',
    "package.json": '{ "type": "module", "dependencies": { "@kubernetes/client-node": "*" } }',
    "node_modules/@kubernetes/client-node/package.json":
      '{ "name": "@kubernetes/client-node", "main": "index.js" }',
    "node_modules/@kubernetes/client-node/index.js": "",
  });
  assert.deepEqual(violationsIn(folder), [
    "core-imports-nothing: src/core/client.ts → http",
    "official-client-only-on-demand: src/adapters/kubernetes/eager.ts → node_modules/@kubernetes/client-node/index.js",
  ]);
});

test("reaching for Node or a browser in a pure folder is a type error", (t) => {
  const folder = aProject(t, {
    "src/core/clock.ts": "export const now = () => performance.now();\n",
    "src/ipam/timer.ts": "export const later = () => setTimeout(() => {}, 1);\n",
    "src/wire/file.ts":
      'import { readFileSync } from "node:fs";\nexport const read = readFileSync;\n',
    "src/core/fine.ts": "export const fine = new Map<string, bigint>([['a', 1n]]);\n",
    "package.json": JSON.stringify({ type: "module" }),
    "tsconfig.json": JSON.stringify({
      extends: join(root, "tsconfig.core.json"),
      include: ["src"],
    }),
  });
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", folder, "--pretty", "false"],
    { cwd: folder, encoding: "utf8" },
  );
  assert.notEqual(status, 0);
  const errors = stdout.split("\n").filter((line) => line.includes("error TS"));
  assert.deepEqual(
    errors.map((line) => line.replace(/\(.*?'(.*?)'.*/, ": $1")),
    [
      "src/core/clock.ts: performance",
      "src/ipam/timer.ts: setTimeout",
      "src/wire/file.ts: node:fs",
    ],
  );
});
