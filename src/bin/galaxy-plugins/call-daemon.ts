// What galaxy-sdn does: hand environment and configuration to the daemon's unix socket and print the answer. Everything else is the daemon's;
// this stays so small that its start is most of its time. It reads and writes without streams, which cost more than the call
// itself, and as an executable made with Bun it calls with fetch, which is part of that.

import { readSync, writeSync } from "node:fs";
import { formatSocketCall } from "../../wire/node-config.ts";

const socketPath = process.env.GALAXY_SOCKET ?? "/var/run/galaxy/galaxy.sock";
/** Longer than the daemon needs for its own limits; the runtime's limit is about as long. */
const limitMs = 240_000;

type DaemonAnswer = { readonly status: number; readonly text: string };

/** Runs galaxy-sdn once and sets the process's exit code. */
export async function callDaemon(): Promise<void> {
  const command = process.env.CNI_COMMAND ?? "";
  const about =
    "Usage: galaxy-sdn is a CNI plugin: a container runtime calls it with CNI_COMMAND, and it asks the daemon galaxy.\n";
  if (process.argv[2] === "--help") {
    print(1, about);
    return;
  }
  if (command === "") {
    print(2, about);
    return;
  }
  const config = await readStdin();
  try {
    const body = formatSocketCall(process.env, config.toString("base64"));
    const answer = "Bun" in globalThis ? await askWithFetch(body) : await askWithHttp(body);
    if (answer.text !== "") print(1, `${answer.text}\n`);
    if (answer.status !== 200) process.exitCode = 1;
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    // 50 answers STATUS, 11 asks the runtime to try again; both as the specification has them.
    const code = command === "STATUS" ? 50 : 11;
    const msg = `the daemon galaxy does not answer on ${socketPath} (${because}); look at its DaemonSet on this node`;
    print(1, `${JSON.stringify({ cniVersion: versionOf(config), code, msg })}\n`);
    process.exitCode = 1;
  }
}

function versionOf(config: Buffer): unknown {
  try {
    return (JSON.parse(config.toString("utf8")) as { cniVersion?: unknown }).cniVersion;
  } catch {
    return undefined;
  }
}

/** Everything on standard input: at once where it is an ordinary pipe, as runtimes give it. */
async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const part = Buffer.allocUnsafe(65_536);
  try {
    for (;;) {
      const size = readSync(0, part);
      if (size === 0) return Buffer.concat(chunks);
      chunks.push(Buffer.from(part.subarray(0, size)));
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    // Whoever has the other end of the pipe may have said that nobody waits on it.
    if (code === "EAGAIN") {
      for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
    }
    return Buffer.concat(chunks);
  }
}

/** Writes all of the text, also to a pipe that takes it in parts. */
function print(file: 1 | 2, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
}

async function askWithFetch(body: string): Promise<DaemonAnswer> {
  const options: RequestInit & { readonly unix: string } = {
    unix: socketPath,
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    signal: AbortSignal.timeout(limitMs),
  };
  const response = await fetch("http://galaxy/cni", options);
  return { status: response.status, text: await response.text() };
}

async function askWithHttp(body: string): Promise<DaemonAnswer> {
  const { request } = await import("node:http");
  return new Promise((resolve, reject) => {
    const options = {
      socketPath,
      path: "/cni",
      method: "POST",
      headers: { "content-type": "application/json" },
      timeout: limitMs,
    };
    const call = request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString("utf8"),
        });
      });
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${limitMs} ms`)));
    call.on("error", reject);
    call.end(body);
  });
}
