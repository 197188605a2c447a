// Completion scripts: what each shell that is installed here offers, asked of the shell itself.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Shell } from "./completion.ts";
import { completionScript } from "./completion.ts";
import { createProgram } from "./program.ts";

const scriptOf = (shell: Shell, name = "galaxyctl") =>
  completionScript(createProgram({ name, version: "0", run: async () => {} }), shell);

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

/** What fish offers for the end of the line. */
function offeredByFish(line: string): string[] {
  const [name] = line.split(" ");
  const { stdout, stderr, status } = spawnSync(
    "fish",
    ["--no-config", "-c", `${scriptOf("fish", name)}\ncomplete -C ${JSON.stringify(line)}`],
    { encoding: "utf8" },
  );
  assert.deepEqual([status, stderr], [0, ""]);
  return wordsOf(stdout.replace(/\t.*$/gm, ""));
}

/** Writes what the completion finds into a file; ends the shell after the first completion. */
const zshSettings = `PROMPT=
autoload -U compinit; compinit -u -D
source $SCRIPT
bindkey '^I' complete-word
comppostfuncs=(exit)
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return $?; fi
  local -a hits
  builtin compadd -A hits "$@"
  (( $#hits )) && print -rl -- $hits >> $OFFERED
  builtin compadd "$@"
}
print READY-$((1+1))
`;

/** zsh completes only on a terminal: one shell types into another, and reads until that one has ended. */
const zshTypist = `zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'source $SETTINGS'
while zpty -r shell line; do [[ $line == *READY-2* ]] && break; done
zpty -n -w shell $LINE$'\\t'
while zpty -r shell line; do print -r -- $line; done
`;

/** What zsh offers for the end of the line. */
function offeredByZsh(line: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), "completion-"));
  try {
    const [name] = line.split(" ");
    const file = (called: string, text: string): string => {
      writeFileSync(join(folder, called), text);
      return join(folder, called);
    };
    const OFFERED = file("offered", "");
    const { stdout, error } = spawnSync("zsh", ["-f", "-c", zshTypist], {
      encoding: "utf8",
      timeout: 60_000,
      env: {
        ...process.env,
        TERM: "xterm",
        LINE: line,
        OFFERED,
        SCRIPT: file("script.zsh", scriptOf("zsh", name)),
        SETTINGS: file("settings.zsh", zshSettings),
      },
    });
    assert.equal(error, undefined);
    assert.doesNotMatch(stdout, /not found|error/);
    return wordsOf(readFileSync(OFFERED, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function wordsOf(lines: string): string[] {
  return lines
    .split("\n")
    .filter((word) => word !== "")
    .toSorted();
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

for (const [shell, offeredBy] of [
  ["zsh", offeredByZsh],
  ["fish", offeredByFish],
] as const) {
  test(`${shell} offers what is due at this place, and nothing else`, {
    skip: isInstalled(shell) ? false : `no ${shell} here to ask`,
    timeout: 900_000,
  }, () => {
    for (const [line, offer] of [
      ["galaxyctl ip re", ["release", "reserve"]],
      // The name of the plugin, whose dash is none in the name of a function.
      ["kubectl-galaxy ip re", ["release", "reserve"]],
      // "ip" is the value of an option here, not the command.
      ["galaxyctl -n ip ip li", ["list"]],
      ["galaxyctl ip list --sta", ["--state"]],
      ["galaxyctl ip -n x list --state re", ["reserved"]],
      ["galaxyctl -o ", ["json", "table", "wide", "yaml"]],
      ["galaxyctl completion ", ["bash", "fish", "zsh"]],
      ["galaxyctl --server ", []],
      // Where an address or a name is due, no files.
      ["galaxyctl ip get ", []],
    ] as const) {
      assert.deepEqual(offeredBy(line), offer, line);
    }
    assert.ok(offeredBy("galaxyctl import ").some((file) => file.includes("package.json")));
    assert.ok(offeredBy("galaxyctl --kubeconfig ").some((file) => file.includes("package.json")));
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
