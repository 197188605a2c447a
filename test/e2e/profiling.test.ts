// --profiling of the program as it is started: where its time and memory go, for those who may know it and nobody else.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { removeAtExit } from "../control-plane/child-program.ts";
import { startEmbedded } from "../control-plane/embedded-program.ts";

/** The program without a cluster; `url` is its API. */
async function start(
  t: TestContext,
  ...flags: readonly string[]
): Promise<{ url: string; logFile: string }> {
  const folder = mkdtempSync(join(tmpdir(), "galaxy-profiling-"));
  removeAtExit(folder);
  const { child, url } = await startEmbedded({
    folder,
    flags: ["--example=false", ...flags],
    until: "livez",
  });
  t.after(() => child.stop("SIGTERM", 30_000));
  return { url, logFile: child.logFile };
}

/** Whether there is such a path, and whatever else it answers, for as long as the program has not read everything. */
async function statusOf(url: string): Promise<number> {
  for (;;) {
    const response = await fetch(url);
    await response.arrayBuffer();
    if (response.status !== 503) return response.status;
  }
}

describe("--profiling", () => {
  it("gives a CPU profile, and a heap snapshot that comes in pieces and is whole", async (t) => {
    const { url } = await start(t, "--profiling");
    assert.equal(await statusOf(`${url}/debug/pprof/profile?seconds=1`), 200);
    const profile = await fetch(`${url}/debug/pprof/profile?seconds=1`);
    const { nodes } = (await profile.json()) as { nodes: { callFrame: { url: string } }[] };
    assert.ok(nodes.length > 0);
    const snapshot = await fetch(`${url}/debug/pprof/heap`);
    assert.equal(snapshot.status, 200);
    assert.match(snapshot.headers.get("content-disposition") ?? "", /\.heapsnapshot"$/);
    let text = "";
    let pieces = 0;
    const decoder = new TextDecoder();
    for await (const piece of snapshot.body ?? []) {
      text += decoder.decode(piece, { stream: true });
      pieces += 1;
    }
    assert.ok(pieces > 1);
    const { snapshot: facts, strings } = JSON.parse(text) as {
      snapshot: { node_count: number };
      strings: string[];
    };
    assert.ok(facts.node_count > 1_000);
    assert.ok(strings.some((each) => each.includes("IpamService")));
    assert.equal((await fetch(`${url}/livez`)).status, 200);
  });

  it("is off unless it is asked for", async (t) => {
    const { url } = await start(t);
    assert.equal(await statusOf(`${url}/debug/pprof/profile`), 404);
    assert.equal(await statusOf(`${url}/debug/pprof/heap`), 404);
  });

  it("is off, with a warning, where nobody is asked who he is", async (t) => {
    const { url, logFile } = await start(t, "--profiling", "--insecure-api");
    assert.equal(await statusOf(`${url}/debug/pprof/heap`), 404);
    assert.match(readFileSync(logFile, "utf8"), /--profiling has no effect with --insecure-api/);
  });
});
