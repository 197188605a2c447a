// The daemon installing itself on a host: the runtime's configuration comes when the socket answers, the installed plugin reaches the daemon
// without Node, and everything goes away again.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { findMaker, makeHostClient, makeHostExecutable } from "../../scripts/host-executable.ts";
import { waitUntil } from "../control-plane/api.ts";
import { startScriptedServer } from "../scripted-api-server.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { startDaemon } from "./programs.ts";

const run = promisify(execFile);
const maker = findMaker();
const skip = maker.kind === "missing" ? maker.because : await reasonToSkipLab();
const daemonProgram = fileURLToPath(new URL("../../src/bin/galaxy.ts", import.meta.url));

describe("the daemon on a host", { skip, timeout: 600_000 }, () => {
  it("installs plugins that need no Node, refuses somebody else's file, and takes away what it put", async () => {
    if (maker.kind === "missing") return;
    await using lab = await NetworkLab.open();
    const { nodes } = await lab.outsideWithNodes(1);
    const [node] = nodes as [LabNamespace];
    await using api = await startScriptedServer((_request, response) => {
      response.writeHead(404).end("{}");
    });
    const source = join(lab.folder, "host");
    makeHostExecutable(maker.file, join(source, "galaxy-plugins"));
    assert.equal(makeHostClient(join(source, "galaxy-sdn")), undefined);
    const [bin, net] = [join(lab.folder, "opt/cni/bin"), join(lab.folder, "etc/cni/net.d")];
    await mkdir(bin, { recursive: true });
    await mkdir(net, { recursive: true });
    await writeFile(join(bin, "bridge"), "somebody else's");
    const flags = [
      `--install-bin-dir=${bin}`,
      `--install-conf-dir=${net}`,
      `--install-from=${source}`,
    ];
    const options = { lab, node, nodeName: "n1", access: `--master=${api.url}` };
    const config = { NetworkConf: [{ name: "underlay", type: "galaxy-k8s-vlan", device: "eth0" }] };
    await using daemon = await startDaemon({ ...options, config, flags });
    const list = await waitUntil(
      "the runtime's configuration",
      () => readFile(join(net, "00-galaxy.conflist"), "utf8").catch(() => ""),
      (text) => text !== "",
    );
    const parsed = JSON.parse(list) as { plugins: { type: string }[] };
    assert.deepEqual(
      parsed.plugins.map(({ type }) => type),
      ["galaxy-sdn"],
    );
    const env = { CNI_COMMAND: "STATUS", CNI_PATH: bin, GALAXY_SOCKET: daemon.socket };
    const input = JSON.stringify({ cniVersion: "1.1.0", name: "galaxy", type: "galaxy-sdn" });
    const child = run(join(bin, "galaxy-sdn"), [], { env });
    child.child.stdin?.end(input);
    assert.equal((await child).stdout, "");
    const { stdout } = await run(join(bin, "galaxy-k8s-vlan"), [], {
      env: { CNI_COMMAND: "VERSION" },
    });
    assert.match(stdout, /supportedVersions/);
    await daemon.stop();

    const uninstall = [daemonProgram, "--uninstall", `--state-dir=${daemon.stateFolder}`];
    const gone = await run(process.execPath, uninstall);
    assert.match(gone.stdout, /removed .*00-galaxy\.conflist\n.*removed .*galaxy-sdn/s);
    assert.deepEqual(await readdir(bin), ["bridge"]);
    assert.deepEqual(await readdir(net), []);

    await writeFile(join(bin, "galaxy-sdn"), "the Go program");
    await rm(daemon.logFile);
    await assert.rejects(async () => {
      await using refused = await startDaemon({ ...options, config, flags });
      await waitUntil(
        "the end of the daemon",
        async () => refused.log(),
        (text) => text.includes("galaxy-sdn: the file is there"),
      );
      throw new Error("ended as it should");
    }, /the file is there and was not installed by this program|ended as it should/);
    assert.equal(await readFile(join(bin, "galaxy-sdn"), "utf8"), "the Go program");
    assert.deepEqual(await readdir(net), []);
  });
});
