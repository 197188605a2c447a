// Runs single tests inside the kernel that user-mode-linux.ts boots: a request per line on standard input, an answer per line on standard output.
// Not a test runner: which tests there are and what their outcome means is the host's business.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { parseGuestRequest, writeGuestAnswer } from "./guest-protocol.ts";
import { guestTests } from "./kernel-tests.ts";

/** A host that says nothing for so long was killed; it says something every few seconds. */
const silenceLimitMs = 300_000;

async function main(): Promise<void> {
  const end = setTimeout(() => process.exit(1), silenceLimitMs);
  process.stdin.on("data", () => end.refresh());
  writeGuestAnswer({ id: 0, problem: "" });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = parseGuestRequest(line);
    if (request === undefined) continue;
    const { id, file, name } = request;
    if (name === "") break;
    let problem = "";
    try {
      await import(pathToFileURL(file).href);
      const test = guestTests.get(name);
      if (test === undefined) throw new Error(`${file} has no test "${name}"`);
      await test();
    } catch (error) {
      problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    writeGuestAnswer({ id, problem });
  }
}

await main();
// Standard input stays open; nothing else is left to do.
process.exit(0);
