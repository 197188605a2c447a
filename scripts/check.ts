// Runs every check of the project and says at the end which of them failed.
// Not a build system: each step is one command that can also be run alone.
//
//   node scripts/check.ts [--static]      --static leaves the tests out
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface Step {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

const STATIC_STEPS: readonly Step[] = [
  {
    name: "format",
    command: "biome",
    args: ["ci", `--colors=${process.stdout.isTTY ? "force" : "off"}`, "."],
  },
  { name: "lint", command: "oxlint", args: ["--type-aware", "--deny-warnings"] },
  { name: "types", command: "tsc", args: ["-p", "tsconfig.json"] },
  { name: "types of the pure folders", command: "tsc", args: ["-p", "tsconfig.core.json"] },
  { name: "types of the page", command: "tsc", args: ["-p", "ui/tsconfig.json"] },
  {
    name: "dependency rules",
    command: "depcruise",
    args: [
      "--config",
      ".dependency-cruiser.mjs",
      ...["src", "test", "scripts", "bench", "sim", "ui"].filter((folder) => existsSync(folder)),
    ],
  },
  { name: "dead code", command: "knip", args: ["--no-config-hints"] },
];
const TEST_STEPS: readonly Step[] = [
  { name: "tests", command: "node", args: ["scripts/test.ts"] },
  {
    name: "simulation",
    command: "node",
    args: ["sim/run.ts", "--regressions", "--seeds", "200"],
  },
];

/** Runs one step and returns whether it ended with 0; a command that cannot be started counts as failed. */
async function runStep(step: Step): Promise<boolean> {
  console.log(`\n── ${step.name}: ${step.command} ${step.args.join(" ")}`);
  const child = spawn(step.command, step.args, { cwd: root, stdio: "inherit" });
  return new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(`${step.command} did not start (${error.message}); run the checks with npm`);
      resolve(false);
    });
    child.once("close", (code) => resolve(code === 0));
  });
}

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const steps = process.argv.includes("--static") ? STATIC_STEPS : [...STATIC_STEPS, ...TEST_STEPS];
const failed: string[] = [];
for (const step of steps) {
  if (!(await runStep(step))) failed.push(step.name);
}
if (failed.length > 0) {
  console.error(`\nchecks failed: ${failed.join(", ")} (${failed.length} of ${steps.length})`);
  process.exitCode = 1;
} else {
  console.log(`\nall ${steps.length} checks passed`);
}
