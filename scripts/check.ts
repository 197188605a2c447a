// Runs every check of the project and says at the end which of them failed.
// Not a build system: each step is one command that can also be run alone.
//
//   node scripts/check.ts [--static]      --static leaves the tests out
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
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

/**
 * Runs one step and returns whether it ended with 0; a command that cannot be started counts as failed.
 * @param isShared whether others run meanwhile: what it prints is then shown as a whole at its end
 */
async function runStep(step: Step, isShared: boolean): Promise<boolean> {
  const title = `\n── ${step.name}: ${step.command} ${step.args.join(" ")}`;
  if (!isShared) console.log(title);
  const child = spawn(step.command, step.args, {
    cwd: root,
    stdio: isShared ? ["ignore", "pipe", "pipe"] : "inherit",
  });
  const printed: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (piece: Buffer) => printed.push(piece));
  }
  const isPassed = await new Promise<boolean>((resolve) => {
    child.once("error", (error) => {
      console.error(`${step.command} did not start (${error.message}); run the checks with npm`);
      resolve(false);
    });
    child.once("close", (code) => resolve(code === 0));
  });
  if (isShared) process.stdout.write(`${title}\n${Buffer.concat(printed).toString()}`);
  return isPassed;
}

/** Runs steps, `width` at a time, and returns the names of those that failed. */
async function runSteps(steps: readonly Step[], width: number): Promise<readonly string[]> {
  const failed: string[] = [];
  const left = [...steps];
  const work = async (): Promise<void> => {
    for (let step = left.shift(); step !== undefined; step = left.shift()) {
      if (!(await runStep(step, width > 1))) failed.push(step.name);
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  return failed;
}

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const testSteps = process.argv.includes("--static") ? [] : TEST_STEPS;
const steps = [...STATIC_STEPS, ...testSteps];
// Who watches sees them one by one, as they print. The tests have the machine for themselves.
const width = process.stdout.isTTY ? 1 : Math.min(2, availableParallelism());
const failed = [...(await runSteps(STATIC_STEPS, width)), ...(await runSteps(testSteps, 1))];
if (failed.length > 0) {
  console.error(`\nchecks failed: ${failed.join(", ")} (${failed.length} of ${steps.length})`);
  process.exitCode = 1;
} else {
  console.log(`\nall ${steps.length} checks passed`);
}
