// The plugin that the container runtime calls: it hands environment and configuration to the daemon's unix socket and prints the answer.
// Everything else is the daemon's; this stays so small that it can be remade for hosts without Node.js.

import { request as httpRequest } from "node:http";
import { formatSocketCall } from "../wire/node-config.ts";

const socketPath = process.env.GALAXY_SOCKET ?? "/var/run/galaxy/galaxy.sock";
/** Longer than the daemon needs for its own limits; the runtime's limit is about as long. */
const limitMs = 240_000;

async function main(): Promise<void> {
  const command = process.env.CNI_COMMAND ?? "";
  const about =
    "Usage: galaxy-sdn is a CNI plugin: a container runtime calls it with CNI_COMMAND, and it asks the daemon galaxy.\n";
  if (process.argv[2] === "--help") {
    process.stdout.write(about);
    return;
  }
  if (command === "") {
    process.stderr.write(about);
    return;
  }
  const config = await readStdin();
  try {
    const answer = await ask(formatSocketCall(process.env, config.toString("base64")));
    process.stdout.write(answer.text === "" ? "" : `${answer.text}\n`);
    if (answer.status !== 200) process.exitCode = 1;
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    // 50 answers STATUS, 11 asks the runtime to try again; both as the specification has them.
    const code = command === "STATUS" ? 50 : 11;
    const msg = `the daemon galaxy does not answer on ${socketPath} (${because}); look at its DaemonSet on this node`;
    process.stdout.write(`${JSON.stringify({ cniVersion: versionOf(config), code, msg })}\n`);
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

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

async function ask(body: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const options = {
      socketPath,
      path: "/cni",
      method: "POST",
      headers: { "content-type": "application/json" },
      timeout: limitMs,
    };
    const call = httpRequest(options, (response) => {
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

await main();
