// The runner of the other kernel where that kernel fails: it ends what hangs and says why, in bounded time. That it works is what vlan.test.ts shows.

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { startMachine } from "./user-mode-linux.ts";

it("a kernel that says nothing, ends at once or cannot be started is no kernel, and the reason is said", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-kernel-test-"));
  try {
    const boot = async (script: string, limitMs: number) => {
      const kernel = join(folder, "kernel");
      await writeFile(kernel, `#!/bin/sh\n${script}\n`);
      await chmod(kernel, 0o755);
      const options = { kernel, busybox: "/bin/true", version: "0", modules: [] };
      const outcome = await startMachine(options, limitMs);
      return outcome.kind === "missing" ? outcome.because : "it runs";
    };
    assert.match(
      await boot('echo "in vain"; exec sleep 1000', 2_000),
      /"boot" took longer than 2 s[\s\S]*/,
    );
    assert.match(
      await boot("echo out of memory; exit 3", 100_000),
      /the machine ended \(3\)[\s\S]*out of memory/,
    );
    const missing = { kernel: join(folder, "none"), busybox: "", version: "0", modules: [] };
    const outcome = await startMachine(missing, 100_000);
    assert.match(outcome.kind === "missing" ? outcome.because : "", /ENOENT/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
