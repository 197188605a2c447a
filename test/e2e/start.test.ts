// The demonstration on a real control plane: the main job is shown, and Ctrl-C leaves nothing behind. `npm start` itself is in embedded.test.ts.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseFloatingIpConfig } from "../../src/wire/floatingip-config.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const startMs = 300_000;

/** Why the demonstration cannot be tried here; false when it can. Its ports are fixed because others rely on them. */
async function reason(): Promise<string | false> {
  const missing = await reasonToSkip();
  if (missing !== false) return missing;
  for (const port of [9040, 9041]) {
    const server = createServer();
    const outcome = await new Promise<string>((resolve) => {
      server
        .once("error", (error) => resolve(error.message))
        .listen(port, "127.0.0.1", () => resolve(""));
    });
    if (outcome !== "") return `port ${port} is not free (${outcome})`;
    await new Promise((resolve) => server.close(resolve));
  }
  return false;
}

const skip = await reason();

test("`npm run demo:cluster` shows pods with their addresses and ends on Ctrl-C", {
  skip,
}, async () => {
  const child = spawn(process.execPath, ["scripts/demonstrate-cluster.ts"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  let text = "";
  const shown = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`nothing shown in ${startMs} ms:\n${text}`)),
      startMs,
    );
    const take = (part: string) => {
      text += part;
      if (!text.includes("Ctrl-C")) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${text}`)));
  });
  try {
    await shown;
    assert.match(text, /db-0 +node a\d +10\.49\.70\.\d+|db-0 +node b1 +10\.173\.80\.\d+/);
    assert.match(text, /5 FloatingIP records/);
    const ready = await fetch("http://127.0.0.1:9041/readyz");
    assert.equal(ready.status, 200);
    const metrics = await (await fetch("http://127.0.0.1:9041/metrics")).text();
    assert.match(metrics, /galaxy_ip_counter\{type="bound",subnet="10\.49\.70\.0\/24"/);
  } finally {
    child.kill("SIGINT");
  }
  const [code] = (await closed) as [number | null];
  assert.equal(code, 0, text);
});

test("the configuration in the documentation is valid", async () => {
  const page = await readFile(new URL("../../docs/galaxy-ipam.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  assert.ok(blocks.length > 0);
  for (const block of blocks) assert.equal(parseFloatingIpConfig(block).kind, "valid", block);
});
