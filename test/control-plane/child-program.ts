// Starts the programs of a control plane as child processes, keeps their logs in files, and sees to it that none
// outlives this process. It knows nothing of Kubernetes.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A running child process. */
export type ChildProgram = {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  isRunning(): boolean;
  /** Sends a signal, for example SIGSTOP and SIGCONT to freeze and thaw. */
  signal(signal: NodeJS.Signals): void;
  /** Ends it: the signal first, SIGKILL after `graceMs` (5,000). Resolves when it is gone. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
};

const SETPRIV = "/usr/bin/setpriv";
/** An API server starts in 5 s; a machine may be many times slower than usual. */
const START_TIMEOUT_MS = 240_000;
const living = new Set<ChildProcess>();
const foldersToRemove = new Set<string>();
let hasHooks = false;

/** A proxy that this machine has for the world outside must never see what a test's programs send to each other. */
function withoutProxies(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(?:https?|all|no)_proxy$/i.test(name)),
  );
}

/** Starts a program; it is killed when this process ends in whatever way. */
export function startProgram(options: {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
}): ChildProgram {
  installHooks();
  const log = openSync(options.logFile, "a");
  const [file, args] = boundToParent(options.file, options.args);
  const env = { ...withoutProxies(process.env), ...options.env };
  // In a session of its own, Ctrl-C in a terminal reaches only its parent, which stops it in order.
  const child = spawn(file, args, { stdio: ["ignore", log, log], env, detached: true });
  closeSync(log);
  let isStopping = false;
  living.add(child);
  const gone = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      living.delete(child);
      process.stderr.write(`control plane: ${options.name} cannot be started: ${error.message}\n`);
      resolve();
    });
    child.once("exit", (code, signal) => {
      living.delete(child);
      if (!isStopping) {
        const how = signal ?? `code ${code}`;
        const tail = tailOf(options.logFile);
        process.stderr.write(`control plane: ${options.name} ended by itself (${how}):\n${tail}\n`);
      }
      resolve();
    });
  });
  return {
    name: options.name,
    pid: child.pid ?? 0,
    logFile: options.logFile,
    isRunning: () => living.has(child),
    signal: (signal) => {
      child.kill(signal);
    },
    stop: async (signal = "SIGTERM", graceMs = 5_000) => {
      isStopping = true;
      if (!living.has(child)) {
        return;
      }
      child.kill(signal);
      const abort = new AbortController();
      const killLater = delay(graceMs, undefined, { signal: abort.signal }).then(
        () => child.kill("SIGKILL"),
        () => undefined,
      );
      await gone;
      abort.abort();
      await killLater;
    },
  };
}

/** Waits until `probe` is true; fails at once, with the tail of its log, when the program ends before. */
export async function waitForProgram(
  program: ChildProgram,
  probe: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (!program.isRunning()) {
      throw new Error(`${program.name} ended while starting:\n${tailOf(program.logFile)}`);
    }
    if (await probe().catch(() => false)) {
      return;
    }
    if (performance.now() > deadline) {
      throw new Error(
        `${program.name} is not ready after ${START_TIMEOUT_MS} ms:\n${tailOf(program.logFile)}`,
      );
    }
    await delay(40);
  }
}

/** Removes the folder when this process ends, if nobody has done so before. */
export function removeAtExit(folder: string): void {
  installHooks();
  foldersToRemove.add(folder);
}

/**
 * A free port of 127.0.0.1 below the range from which outgoing connections get theirs, so that nobody takes it
 * while its server is being restarted.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    if (await canListen(port)) {
      return port;
    }
  }
  throw new Error("no free port of 127.0.0.1 found between 12000 and 32000 in 100 attempts");
}

/** The last lines of a log file. */
export function tailOf(logFile: string, lines = 25): string {
  try {
    return readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch (error) {
    return `(no log: ${String(error)})`;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** With util-linux's setpriv the kernel kills the child even when this process dies by SIGKILL. */
function boundToParent(file: string, args: readonly string[]): [string, string[]] {
  try {
    accessSync(SETPRIV, constants.X_OK);
    return [SETPRIV, ["--pdeathsig", "KILL", file, ...args]];
  } catch {
    return [file, [...args]];
  }
}

function installHooks(): void {
  if (hasHooks) {
    return;
  }
  hasHooks = true;
  process.on("exit", killAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const onSignal = () => {
      // Whoever listens too wants to end in his own way, and the exit hook is still to come.
      if (process.listenerCount(signal) === 1) {
        killAll();
        process.off(signal, onSignal);
        process.kill(process.pid, signal);
      }
    };
    process.on(signal, onSignal);
  }
}

function killAll(): void {
  for (const child of living) {
    child.kill("SIGKILL");
  }
  for (const folder of foldersToRemove) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // A program that is just dying may still write there; the folder lies in the system's temporary folder.
    }
  }
}
