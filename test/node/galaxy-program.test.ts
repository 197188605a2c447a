// The daemon as a program, as far as it needs no root: what it says of a wrong command line or configuration, and that a port that somebody
// else has does not keep it from its work. It changes nothing of this machine's network.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { waitUntil } from "../control-plane/api.ts";
import { startProgram, tailOf, waitForProgram } from "../control-plane/child-program.ts";
import { callSocket, statusAddressOf } from "./programs.ts";

const program = fileURLToPath(new URL("../../src/bin/galaxy.ts", import.meta.url));

type End = { readonly code: number; readonly stdout: string; readonly stderr: string };

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<End> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env } };
    execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test("a wrong command line or configuration ends the daemon with code 2, every problem and a next step", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-program-"));
  try {
    const path = join(folder, "galaxy.json");
    await writeFile(path, '{"NetworkConf":[{"type":"a"},{"type":"a"},{}],"ENIIPNetwork":7}');
    const cut = join(folder, "cut.json");
    await writeFile(cut, '{"NetworkConf":[{"type"');
    const wrong = `--json-config-path=${path}`;
    const cases: readonly (readonly [Promise<End>, readonly RegExp[]])[] = [
      [
        run([wrong]),
        [/network a stands twice; rename/, /has no type; name the plugin/, /ENIIPNetwork is 7/],
      ],
      [run([`--json-config-path=${cut}`]), [/cut\.json is no JSON.*correct it/]],
      [run([`--json-config-path=${folder}/none`]), [/cannot be read \(ENOENT/]],
      [run(["--v=x", "--nothing"]), [/--v=x/, /--nothing is no flag/]],
      [
        run([wrong], { CONTAINERD_HOST: "tcp://x" }),
        [/\$CONTAINERD_HOST.*write the path of a unix socket/],
      ],
    ];
    for (const [ending, says] of cases) {
      const end = await ending;
      assert.equal(end.code, 2, end.stderr);
      for (const pattern of says) assert.match(end.stderr, pattern);
    }
    const version = await run(["--version"]);
    assert.deepEqual([version.code, /^galaxy \d+\.\d+/.test(version.stdout)], [0, true]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a port that somebody else has keeps no pod from its network, and metrics come when it is free", async () => {
  const folder = await mkdtemp(join(tmpdir(), "galaxy-program-"));
  const holder = createServer();
  holder.listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as AddressInfo;
  const path = join(folder, "galaxy.json");
  await writeFile(path, '{"NetworkConf":[{"type":"galaxy-k8s-vlan"}],"NetworkPolicy":true}');
  const socket = join(folder, "galaxy.sock");
  const logFile = join(folder, "log");
  const daemon = startProgram({
    name: "galaxy",
    file: process.execPath,
    args: [
      program,
      "--master=http://127.0.0.1:1",
      `--json-config-path=${path}`,
      `--network-conf-dir=${folder}`,
      `--socket=${socket}`,
      `--state-dir=${join(folder, "state")}`,
      `--metrics-address=127.0.0.1:${port}`,
      "--container-runtime-endpoint=none",
      "--ip-forward=false",
      "--bridge-nf-call-iptables=false",
      "--vip=false",
      "--route-eni",
    ],
    logFile,
  });
  try {
    await waitForProgram(daemon, async () => {
      const { code } = await callSocket(socket, { CNI_COMMAND: "STATUS" }, { cniVersion: "1.1.0" });
      return code === 0;
    });
    await waitUntil(
      "the daemon to say that the port is taken",
      async () => tailOf(logFile, 100),
      (text) => /metrics and health are not served, it is tried again/.test(text),
    );
    assert.match(tailOf(logFile, 100), /--route-eni has no effect/);
    assert.match(tailOf(logFile, 100), /NetworkPolicy/);
    holder.close();
    const text = await waitUntil(
      "metrics",
      async () => (await fetch(`${statusAddressOf(logFile)}/metrics`)).text(),
      (seen) => seen.includes("galaxy_node_containers 0"),
    ).catch(() => tailOf(logFile, 100));
    assert.match(text, /galaxy_node_containers 0/);
  } finally {
    holder.close();
    await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
