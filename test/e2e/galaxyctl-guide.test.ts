// The guide of the command line as it stands: every block of docs/cli.md is run by a shell, in order, in front of a galaxy-ipam without a
// cluster. The story in it (pool, workload, exhaustion, explanation, release, check) is looked at more closely.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import { type ChildProgram, removeAtExit, tailOf } from "../control-plane/child-program.ts";
import { startEmbedded } from "../control-plane/embedded-program.ts";
import { type BlockShell, openBlockShell } from "../documents/block-shell.ts";
import { blocksOf, isShell } from "../documents/markdown-blocks.ts";

const patience = { everyMs: 100, timeoutMs: 180_000 };

/** The blocks of the guide with the heading that each stands under. */
const blocks = blocksOf("docs/cli.md").filter(isShell);

describe("docs/cli.md", () => {
  const folder = mkdtempSync(join(tmpdir(), "galaxyctl-guide-"));
  removeAtExit(folder);
  let child: ChildProgram;
  let url = "";
  let shell: BlockShell;

  before(async () => {
    ({ child, url } = await startEmbedded({ folder }));
    shell = openBlockShell({
      folder,
      env: { GALAXY_SERVER: url },
      onFailure: () => tailOf(child.logFile),
    });
  });
  after(() => child?.stop("SIGTERM", 30_000));

  /** What the story has to have said after some of its blocks, by a line of the block. */
  const said: readonly (readonly [line: string, ...patterns: RegExp[]])[] = [
    ["galaxyctl pool list", /^blue +2 +no +2 +2 /m],
    [
      "galaxyctl explain pod default/shop-2",
      /^Decision: refused$/m,
      /pool blue size limit of 2/,
      /enlarge pool blue/,
    ],
    ["galaxyctl ip list --pool blue", /^(10\.\d+\.\d+\.\d+ +bound .* blue .*\n){3}/m],
    [
      "galaxyctl ip release --pool blue --yes",
      /exit code 1/,
      /3 released, 0 kept/,
      /pool blue is deleted/,
      /everything agrees/,
    ],
    [
      "galaxyctl pool update partners --no-pre-allocate --reserve-ttl 24h",
      /^partners +2 +no +2 +0 +0 +24h/m,
      /^(10\S+ +pool partners +\S+Z +24h +\S+Z .*\n){2}/m,
      /pool partners is deleted, with its free addresses/,
    ],
    [
      "galaxyctl quota set team-a --limit 30",
      /30 addresses for team-a, team-a-test/,
      /^team-a-test +team-a +30 +0 +0$/m,
    ],
    [
      "galaxyctl config check floatingip-config.yaml",
      /is valid: 1 pod subnet, 240 addresses/,
      /standard input:\d+:\d+: error: .*broadcast address/,
      /exit code 1/,
    ],
    [
      "galaxyctl import inventory.csv --dry-run",
      /2 would be entered/,
      /2 entered, 0 there already/,
      /0 entered, 2 there already/,
    ],
  ];

  for (const [index, { heading, text: script }] of blocks.entries()) {
    const name = script.split("\n")[0] ?? "";
    test(`block ${index + 1}, "${heading}", does what it says: ${name}`, async () => {
      const output = await shell.run(script);
      const expected = said.find(([line]) => script.split("\n").includes(line));
      for (const pattern of expected?.slice(1) ?? []) assert.match(output, pattern as RegExp);
    });
  }

  test("--watch shows what is there and then each change, until it is interrupted", async () => {
    const watching = spawn(
      join(folder, "galaxyctl"),
      ["ip", "list", "--watch", "--app", "seen", "-o", "json"],
      { env: { PATH: process.env["PATH"] ?? "", HOME: folder, GALAXY_SERVER: url } },
    );
    const closed = once(watching, "close");
    let output = "";
    watching.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const subnets = spawn(join(folder, "galaxyctl"), ["subnet", "list", "--watch"], {
      env: { PATH: process.env["PATH"] ?? "", HOME: folder, GALAXY_SERVER: url },
    });
    const subnetsClosed = once(subnets, "close");
    let tables = "";
    subnets.stdout.setEncoding("utf8").on("data", (text: string) => {
      tables += text;
    });
    await waitUntil(
      "the table of subnets",
      async () => tables.startsWith("SUBNET"),
      Boolean,
      patience,
    );
    await shell.run(
      "galaxyctl sim workload create statefulset/seen --replicas 1 --policy immutable",
    );
    const states = () =>
      output
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { podName?: string; state: string });
    await waitUntil(
      "the new address to be shown",
      async () => states(),
      (lines) => lines.some(({ podName, state }) => podName === "seen-0" && state === "bound"),
      patience,
    );
    await shell.run("galaxyctl sim workload delete statefulset/seen");
    await waitUntil(
      "its release to be shown",
      async () => states(),
      (lines) => lines.at(-1)?.state === "free",
      patience,
    );
    await waitUntil(
      "the subnets to be shown again",
      async () => tables.match(/^SUBNET/gm)?.length ?? 0,
      (count) => count >= 2,
      patience,
    );
    watching.kill("SIGINT");
    subnets.kill("SIGINT");
    assert.deepEqual(await closed, [0, null]);
    assert.deepEqual(await subnetsClosed, [0, null]);
  });

  test("every command has its place in the guide", () => {
    for (const command of [
      "ip list",
      "ip get",
      "ip release",
      "ip reserve",
      "ip unreserve",
      "pool list",
      "ip idle",
      "pool create",
      "pool update",
      "pool delete",
      "quota list",
      "quota set",
      "quota delete",
      "subnet list",
      "vip list",
      "explain pod",
      "config check",
      "history",
      "check",
      "status",
      "import",
      "backup",
      "restore",
      "completion",
      "sim workload",
      "sim node",
    ]) {
      assert.ok(
        blocks.some(({ text: script }) => script.includes(`galaxyctl ${command}`)),
        command,
      );
    }
    for (const [line] of said) {
      assert.ok(
        blocks.some(({ text: script }) => script.split("\n").includes(line)),
        line,
      );
    }
  });
});
