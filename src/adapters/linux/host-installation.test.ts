// Installing onto a host, in folders of its own: whole files, other people's files, programs that run meanwhile.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { WorldError } from "../../ports/world-error.ts";
import { HostInstallation } from "./host-installation.ts";

/** Folders of a host, and a program of two versions. */
async function aHost() {
  const folder = await mkdtemp(join(tmpdir(), "install-"));
  const bin = join(folder, "bin");
  const config = join(folder, "net.d/00-galaxy.conflist");
  const versions = [join(folder, "v1"), join(folder, "v2")] as const;
  for (const [index, file] of versions.entries()) {
    await writeFile(file, `#!/bin/sh\necho version ${index + 1}\n${"#".repeat(100_000)}\n`);
  }
  return {
    folder,
    bin,
    config,
    versions,
    files: (takesOver = false) => new HostInstallation(join(folder, "state"), { takesOver }),
    read: (name: string) => readFile(join(bin, name), "utf8"),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

const names = ["galaxy-sdn", "galaxy-k8s-vlan"];

describe("the installation on a host", () => {
  it("puts executables under all names, once and again, and takes away what it put", async () => {
    await using host = await aHost();
    await host.files().installProgram(host.versions[0], host.bin, names);
    await host.files().installText("{}", host.config);
    const before = await stat(join(host.bin, "galaxy-sdn"));
    assert.equal(before.mode & 0o777, 0o755);
    assert.equal((await stat(join(host.bin, "galaxy-k8s-vlan"))).ino, before.ino);
    await host.files().installProgram(host.versions[0], host.bin, names);
    assert.equal((await stat(join(host.bin, "galaxy-sdn"))).ino, before.ino, "nothing to do");
    await host.files().installProgram(host.versions[1], host.bin, names);
    assert.match(await host.read("galaxy-k8s-vlan"), /version 2/);
    assert.deepEqual((await readdir(host.bin)).toSorted(), names.toSorted());
    await writeFile(join(host.bin, "bridge"), "somebody else's");
    const { kept, removed } = await host.files().remove();
    assert.deepEqual(kept, []);
    assert.deepEqual(removed, [
      host.config,
      ...names.toReversed().map((name) => join(host.bin, name)),
    ]);
    assert.deepEqual(await readdir(host.bin), ["bridge"]);
    assert.deepEqual(await host.files().remove(), { removed: [], kept: [] });
  });

  it("replaces a program that is running, which goes on with what it was", async () => {
    await using host = await aHost();
    const sleeper = join(host.folder, "sleeper");
    await copyFile("/bin/sleep", sleeper);
    await chmod(sleeper, 0o755);
    await host.files().installProgram(sleeper, host.bin, ["galaxy-sdn"]);
    const running = spawn(join(host.bin, "galaxy-sdn"), ["600"], { stdio: "ignore" });
    await once(running, "spawn");
    await host.files().installProgram(host.versions[1], host.bin, ["galaxy-sdn"]);
    assert.match(await host.read("galaxy-sdn"), /version 2/);
    assert.equal(running.exitCode, null);
    running.kill("SIGKILL");
    await once(running, "close");
  });

  it("never shows half a file to those who look meanwhile", async () => {
    await using host = await aHost();
    await host.files().installProgram(host.versions[0], host.bin, names);
    const whole = await Promise.all(host.versions.map((file) => readFile(file, "utf8")));
    const done = new AbortController();
    let looks = 0;
    const looking = (async () => {
      while (!done.signal.aborted) {
        assert.ok(whole.includes(await host.read("galaxy-k8s-vlan")));
        looks += 1;
      }
    })();
    for (let round = 1; round <= 20; round += 1) {
      const version = round % 2 === 0 ? host.versions[0] : host.versions[1];
      await host.files().installProgram(version, host.bin, names);
    }
    done.abort();
    await looking;
    assert.ok(looks > 0);
  });

  it("refuses somebody else's file of the name and leaves it, or puts it aside until it leaves", async () => {
    await using host = await aHost();
    await host.files().installText("{}", join(host.bin, "other"));
    await writeFile(join(host.bin, "galaxy-sdn"), "the Go program");
    await assert.rejects(
      host.files().installProgram(host.versions[0], host.bin, ["galaxy-sdn"]),
      (error) =>
        error instanceof WorldError &&
        error.code === "INSTALL_REFUSED" &&
        /bin\/galaxy-sdn: .*--take-over/.test(error.message),
    );
    assert.equal(await host.read("galaxy-sdn"), "the Go program");
    await host.files(true).installProgram(host.versions[0], host.bin, ["galaxy-sdn"]);
    await host.files().installProgram(host.versions[1], host.bin, ["galaxy-sdn"]);
    assert.match(await host.read("galaxy-sdn"), /version 2/);
    await host.files().remove();
    assert.equal(await host.read("galaxy-sdn"), "the Go program");
    assert.deepEqual(await readdir(host.bin), ["galaxy-sdn"]);
  });

  it("keeps a file of its own that somebody changed, and says so", async () => {
    await using host = await aHost();
    await host.files().installText("{}", host.config);
    await writeFile(host.config, "by hand");
    await assert.rejects(host.files().installText("{ }", host.config), WorldError);
    assert.deepEqual(await host.files().remove(), { removed: [], kept: [host.config] });
    assert.equal(await readFile(host.config, "utf8"), "by hand");
  });

  it("knows its files after it was interrupted at any moment", async () => {
    await using host = await aHost();
    await host.files().installProgram(host.versions[0], host.bin, ["galaxy-sdn"]);
    const record = join(host.folder, "state/installed.json");
    const path = join(host.bin, "galaxy-sdn");
    const [files] = [JSON.parse(await readFile(record, "utf8")) as { hashes: string[] }[]];
    const first = files[0]?.hashes[0] as string;
    // Written down, and not in place; then in place, and not yet confirmed.
    await writeFile(`${path}.galaxy-unfinished`, "half");
    await writeFile(record, JSON.stringify([{ path, hashes: [first, "0123"], saved: "" }]));
    await host.files().installProgram(host.versions[1], host.bin, ["galaxy-sdn"]);
    assert.deepEqual(await readdir(host.bin), ["galaxy-sdn"]);
    await rm(record);
    await host.files().installProgram(host.versions[1], host.bin, ["galaxy-sdn"]);
    await host.files().remove();
    assert.deepEqual(await readdir(host.bin), []);
  });
});
