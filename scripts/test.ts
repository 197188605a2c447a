// Runs the tests: the unit tests in two processes beside each other, then each end-to-end file in a process of its own.
// Not a test framework: node:test does the work, this picks the files and adds up the two summaries.
//
//   node scripts/test.ts [--unit | --e2e] [--again] [part of a path …] [options of node --test …]
//
// --again gives end-to-end files that failed one more run, alone: a real control plane on a machine that others use may be starved
// for a minute. What passed only then is said to be flaky, which is a defect to look for, and an audit that found an address in the
// wrong hands is never given a second chance.
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The counters that node's summary prints, in its order. */
const COUNTERS = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms"];

/**
 * How long a run may say nothing before it is stopped. A test has its own, shorter time limit; what is left is
 * a server, timer or process that a test did not stop and that would keep the run waiting for ever.
 */
const SILENCE_LIMIT_MS = { unit: 400_000, e2e: 1_900_000 };

/** A test or group of tests that was left out: its name, and why. */
const LEFT_OUT = /^\s*﹣ (.*) \([\d.]+ms\)(?: # (.*))?$/;

/** How a test fails whose audit went on finding something (test/control-plane/audit.ts). */
const AUDIT_FINDING = /waited \d+ ms for a clean audit/;

interface Summary {
  readonly passed: boolean;
  readonly counters: ReadonlyMap<string, number>;
  /** Paths of files with failing tests, from the repository's root. */
  readonly failedFiles: ReadonlySet<string>;
  /** Whether an audit of the addresses found something: no accident of time. */
  readonly auditFailed: boolean;
}

/**
 * Runs one `node --test` over `files` and shows its output as it comes; stops it when it says nothing for
 * `silenceLimitMs`. Returns whether the process ended with 0, and the counters of its summary lines.
 */
async function runTests(
  files: readonly string[],
  options: readonly string[],
  silenceLimitMs: number,
  show: (line: string) => void = console.log,
): Promise<Summary> {
  const child = spawn(process.execPath, ["--test", "--test-reporter=spec", ...options, ...files], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const forward = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  process.once("SIGINT", forward).once("SIGTERM", forward);
  const ended = new Promise<boolean>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code === 0));
  });
  let silent = false;
  const watchdog = setTimeout(() => {
    silent = true;
    child.kill("SIGTERM");
  }, silenceLimitMs);
  const counters = new Map<string, number>();
  const failedFiles = new Set<string>();
  const leftOut: string[] = [];
  let auditFailed = false;
  for await (const line of createInterface({ input: child.stdout })) {
    show(line);
    watchdog.refresh();
    const match = /^\S+ (\w+) ([\d.]+)$/.exec(line);
    const [, name, value] = match ?? [];
    if (name !== undefined && COUNTERS.includes(name)) counters.set(name, Number(value));
    const failed = /^test at (\S+\.test\.ts):\d+:\d+$/.exec(line)?.[1];
    if (failed !== undefined) failedFiles.add(failed);
    const [, left, reason] = LEFT_OUT.exec(line) ?? [];
    if (left !== undefined) leftOut.push(`left out: ${left}: ${reason ?? "no reason given"}`);
    if (AUDIT_FINDING.test(line)) auditFailed = true;
  }
  const passed = await ended;
  // Once more at the end: thousands of lines up, nobody reads why.
  for (const line of leftOut) show(line);
  clearTimeout(watchdog);
  if (silent) {
    console.error(
      `stopped after ${silenceLimitMs / 1000} s without output: a test left something running; ` +
        "run parts with npm run test:unit -- part/of/a/path to find it",
    );
  }
  process.off("SIGINT", forward).off("SIGTERM", forward);
  return { passed: passed && !silent, counters, failedFiles, auditFailed };
}

/** What {@link runTests} found, with the files that failed run once more; those that pass then are named and counted as passed. */
async function runAgain(
  first: Summary,
  options: readonly string[],
  silenceLimitMs: number,
): Promise<Summary> {
  if (first.passed || first.failedFiles.size === 0 || first.auditFailed) return first;
  const files = [...first.failedFiles];
  console.log(`run again, alone: ${files.join(" ")}`);
  const second = await runTests(files, options, silenceLimitMs);
  const flaky = files.filter((file) => !second.failedFiles.has(file));
  if (flaky.length > 0) console.log(`flaky, passed only when run again: ${flaky.join(" ")}`);
  const failed = (summary: Summary) => summary.counters.get("fail") ?? 0;
  const counters = new Map(first.counters);
  counters.set("fail", failed(second));
  counters.set("cancelled", second.counters.get("cancelled") ?? 0);
  counters.set("pass", (first.counters.get("pass") ?? 0) + failed(first) - failed(second));
  return { ...second, counters };
}

/**
 * Runs the unit tests. Those that make networks in the kernel wait more than they compute; the others, and the machine in the machine of
 * vlan.test.ts, compute. So they run in two processes beside each other, about as long each. What the second one says is shown when it has ended.
 */
async function runUnitTests(files: readonly string[], options: readonly string[]): Promise<void> {
  const makesNetworks = (file: string) => /^test\/(?:node|vip)\/(?!vlan\.)/.test(file);
  const lanes =
    availableParallelism() < 2
      ? [files]
      : [files.filter((file) => !makesNetworks(file)), files.filter(makesNetworks)];
  const used = lanes.filter(({ length }) => length > 0);
  console.log(`unit tests: ${used.map(({ length }) => length).join(" and ")} files in a process`);
  const unitOptions = ["--test-isolation=none", "--test-timeout=300000", ...options];
  const runs = used.map(async (lane, index) => {
    const lines: string[] = [];
    const show = index === 0 ? undefined : (line: string) => void lines.push(line);
    return { lines, summary: await runTests(lane, unitOptions, SILENCE_LIMIT_MS.unit, show) };
  });
  for (const run of runs) {
    const { lines, summary } = await run;
    for (const line of lines) console.log(line);
    summaries.push(summary);
  }
}

const root = fileURLToPath(new URL("..", import.meta.url));
const args = process.argv.slice(2);
const wantsUnit = !args.includes("--e2e");
const wantsE2e = !args.includes("--unit");
const words = args.filter((arg) => !arg.startsWith("-"));
const ownOptions = ["--unit", "--e2e", "--again"];
const options = args.filter((arg) => arg.startsWith("-") && !ownOptions.includes(arg));

const files = ["src", "test", "sim", "ui"]
  .flatMap((folder) => globSync(`${folder}/**/*.test.ts`, { cwd: root }))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .toSorted();
const e2eFiles = files.filter((file) => file.startsWith("test/e2e/"));
const unitFiles = files.filter((file) => !file.startsWith("test/e2e/"));

const summaries: Summary[] = [];
if (wantsUnit && unitFiles.length > 0) {
  await runUnitTests(unitFiles, options);
}
if (wantsE2e && e2eFiles.length > 0) {
  // One at a time: each starts a control plane, and two of them on a small machine slow each other
  // down more than they save.
  console.log(`end-to-end tests: ${e2eFiles.length} files, a process each`);
  const e2eOptions = ["--test-concurrency=1", "--test-timeout=1800000", ...options];
  const first = await runTests(e2eFiles, e2eOptions, SILENCE_LIMIT_MS.e2e);
  summaries.push(
    args.includes("--again") ? await runAgain(first, e2eOptions, SILENCE_LIMIT_MS.e2e) : first,
  );
}

if (summaries.length === 0) {
  console.error(
    words.length === 0
      ? "no test files found"
      : `no test file has ${words.join(" or ")} in its path; paths start at the repository's root`,
  );
  process.exitCode = 1;
} else {
  if (summaries.length > 1) {
    console.log("all tests");
    for (const name of COUNTERS) {
      const sum = summaries.reduce((total, { counters }) => total + (counters.get(name) ?? 0), 0);
      // Some of them ran at the same time.
      console.log(`ℹ ${name} ${name === "duration_ms" ? performance.now() : sum}`);
    }
  }
  if (!summaries.every(({ passed }) => passed)) process.exitCode = 1;
}
