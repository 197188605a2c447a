// Short-lived child programs of the node side: input in, output out, bounded in time. Never a shell.

import { spawn } from "node:child_process";
import { WorldError } from "../../ports/world-error.ts";

/** How a program ended; `exitCode` is -1 when a signal ended it. */
export type ProgramEnd = {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** What to run. */
export type ProgramCall = {
  readonly file: string;
  readonly args: readonly string[];
  readonly input?: string;
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
};

/** Output beyond this is a broken program, not an answer. */
const mostOutputBytes = 64 * 2 ** 20;

/**
 * Runs a program to its end. Rejects with `PROGRAM_MISSING` when it cannot be started and with `PROGRAM_HUNG` when it took longer than
 * `limitMs`; it is killed then.
 */
export async function runProgram(call: ProgramCall): Promise<ProgramEnd> {
  const child = spawn(call.file, call.args, {
    stdio: ["pipe", "pipe", "pipe"],
    ...(call.env === undefined ? {} : { env: call.env }),
  });
  const command = [call.file, ...call.args].join(" ");
  const started = new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => {
      reject(
        new WorldError("PROGRAM_MISSING", {
          tried: `run ${command}`,
          message: `${error.message}; install ${call.file} or correct the path`,
          cause: error,
        }),
      );
    });
  });
  const ended = new Promise<number>((resolve) => {
    child.once("close", (code) => resolve(code ?? -1));
  });
  await started;
  let isHung = false;
  const timer = setTimeout(() => {
    isHung = true;
    child.kill("SIGKILL");
  }, call.limitMs);
  // A program that ends without reading everything closes its end; what it said then counts.
  child.stdin.on("error", () => {});
  child.stdin.end(call.input ?? "");
  const [stdout, stderr, exitCode] = await Promise.all([
    readAll(child.stdout),
    readAll(child.stderr),
    ended,
  ]);
  clearTimeout(timer);
  if (isHung) {
    throw new WorldError("PROGRAM_HUNG", {
      tried: `run ${command}`,
      message: `it did not end within ${call.limitMs} ms and was killed; run it by hand to see why`,
      mayHaveHappened: true,
    });
  }
  return { exitCode, stdout, stderr };
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk);
    bytes += buffer.length;
    if (bytes <= mostOutputBytes) chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}
