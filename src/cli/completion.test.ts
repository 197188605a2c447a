// Completion scripts: what a shell would offer. bash runs them; zsh and fish check their syntax where they are installed.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Shell } from "./completion.ts";
import { completionScript } from "./completion.ts";
import { createProgram } from "./program.ts";

const program = createProgram({ name: "galaxyctl", version: "0", run: async () => {} });
const scriptOf = (shell: Shell) => completionScript(program, shell);

function isInstalled(shell: string): boolean {
  return spawnSync(shell, ["--version"]).status === 0;
}

/** What bash offers for the words; the last one is being typed. */
function offered(...words: readonly string[]): string[] {
  const line = words.map((word) => JSON.stringify(word)).join(" ");
  const { stdout, stderr, status } = spawnSync(
    "bash",
    [
      "--norc",
      "-c",
      `${scriptOf("bash")}\nCOMP_WORDS=(galaxyctl ${line}); COMP_CWORD=${words.length}; _galaxyctl; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ],
    { encoding: "utf8" },
  );
  assert.deepEqual([status, stderr], [0, ""]);
  return stdout.split("\n").filter((word) => word !== "");
}

describe("the completion of bash", { skip: isInstalled("bash") ? false : "no bash here" }, () => {
  test("offers commands where a command is due", () => {
    assert.deepEqual(offered("i"), ["ip", "import"]);
    assert.deepEqual(offered("ip", "re"), ["release", "reserve"]);
    assert.deepEqual(offered("sim", "node", "k"), ["kill"]);
  });

  test("offers options and their values, also behind options with values", () => {
    assert.deepEqual(offered("-n", "ip", "ip", "list", "--sta"), ["--state"]);
    assert.deepEqual(offered("ip", "list", "--state", "re"), ["reserved"]);
    assert.deepEqual(offered("-o", ""), ["table", "wide", "json", "yaml"]);
    assert.deepEqual(offered("completion", "z"), ["zsh"]);
    assert.deepEqual(offered("--server", ""), []);
  });
});

for (const [shell, flag] of [
  ["bash", "-n"],
  ["zsh", "-n"],
  ["fish", "--no-execute"],
] as const) {
  test(`the completion script of ${shell} is well formed`, {
    skip: isInstalled(shell) ? false : `no ${shell} here to check it`,
  }, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "completion-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, `galaxyctl.${shell}`);
    writeFileSync(file, scriptOf(shell));
    const { status, stderr } = spawnSync(shell, [flag, file], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
  });
}

test("every command and option is in each script", () => {
  for (const shell of ["bash", "zsh", "fish"] as const) {
    const script = scriptOf(shell);
    for (const word of ["release", "explain", "completion", "workload", "recover", "watch"]) {
      assert.ok(script.includes(word), `${shell}: ${word}`);
    }
    assert.doesNotMatch(script, /undefined/);
  }
});
