// galaxy-sdn in each of the ways in which it is made, which must not differ in anything but their start: the sources on Node, bytecode in Bun,
// and C.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findMaker, makeHostClient, makeHostExecutable } from "../../scripts/host-executable.ts";
import { parseSocketCall } from "../../src/wire/node-config.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { startPodApiServer } from "./pod-api-server.ts";
import { podEnvironment, startDaemon } from "./programs.ts";

const source = fileURLToPath(new URL("../../src/bin/galaxy-sdn.ts", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "galaxy-sdn-"));
after(() => rm(folder, { recursive: true, force: true }));
const noLab = await reasonToSkipLab();
const maker = findMaker();
const noClient = makeHostClient(join(folder, "galaxy-sdn"));
const ways: readonly {
  readonly name: string;
  readonly skip: string | false;
  readonly command: readonly [string, ...string[]];
}[] = [
  { name: "on Node", skip: false, command: [process.execPath, source] },
  {
    name: "as bytecode in Bun",
    skip: maker.kind === "missing" ? maker.because : false,
    command: [join(folder, "galaxy-plugins"), "galaxy-sdn"],
  },
  {
    name: "in C",
    skip: noClient === undefined ? false : noClient,
    command: [join(folder, "galaxy-sdn")],
  },
];
if (maker.kind === "found") makeHostExecutable(maker.file, join(folder, "galaxy-plugins"));

type End = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

for (const { name, skip, command } of ways) {
  describe(`galaxy-sdn ${name}`, { skip, timeout: 300_000 }, () => {
    const socket = join(folder, `${name.replaceAll(" ", "-")}.sock`);
    const call = (
      env: Readonly<Record<string, string>>,
      input: string | readonly string[],
      args: readonly string[] = [],
    ): Promise<End> => {
      const [file, ...first] = command;
      const child = spawn(file, [...first, ...args], {
        env: { PATH: process.env["PATH"] ?? "", GALAXY_SOCKET: socket, ...env },
        stdio: ["pipe", "pipe", "pipe"],
      });
      child.stdin.on("error", () => {});
      for (const part of typeof input === "string" ? [input] : input) child.stdin.write(part);
      child.stdin.end();
      let [stdout, stderr] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (data: string) => {
        stdout += data;
      });
      child.stderr.setEncoding("utf8").on("data", (data: string) => {
        stderr += data;
      });
      return new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code) => resolve({ code, stdout, stderr }));
      });
    };
    const seen: string[] = [];
    let answer = { status: 200, text: "" };
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        seen.push(`${request.method} ${request.url} ${Buffer.concat(chunks).toString("utf8")}`);
        response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.text);
      });
    });
    before(() => new Promise<void>((resolve) => server.listen(socket, resolve)));
    after(() => server.close());

    it("hands over what the runtime said, whatever is in it and however it comes", async () => {
      seen.length = 0;
      answer = { status: 200, text: `{"cniVersion":"1.0.0","dns":"${"é".repeat(100_000)}"}` };
      const config = JSON.stringify({ cniVersion: "1.0.0", note: 'ü\n"'.repeat(60_000) });
      const args = 'IgnoreUnknown=1;ipinfos=[{"ip":"10.0.0.1/24"}];x=\\\n\té';
      const env = { CNI_COMMAND: "ADD", CNI_ARGS: args, CNI_IFNAME: "eth0", SECRET: "not this" };
      const end = await call(env, [config.slice(0, 7), config.slice(7)]);
      assert.deepEqual(end, { code: 0, stdout: `${answer.text}\n`, stderr: "" });
      assert.equal(seen.length, 1);
      const [, body = ""] = /^POST \/cni (.*)$/s.exec(seen[0] ?? "") ?? [];
      const sent = parseSocketCall(body);
      assert.equal(Buffer.from(sent?.config ?? "", "base64").toString("utf8"), config);
      assert.deepEqual(sent?.env, {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "",
        CNI_NETNS: "",
        CNI_IFNAME: "eth0",
        CNI_ARGS: args,
        CNI_PATH: "",
      });
      assert.ok(!body.includes("not this"));
    });

    it("prints the daemon's refusal and ends with 1, and prints nothing where there is nothing", async () => {
      answer = { status: 500, text: '{"code":105,"msg":"no"}' };
      const refused = await call({ CNI_COMMAND: "ADD" }, "{}");
      assert.deepEqual(refused, { code: 1, stdout: `${answer.text}\n`, stderr: "" });
      answer = { status: 200, text: "" };
      const nothing = await call({ CNI_COMMAND: "DEL" }, "");
      assert.deepEqual(nothing, { code: 0, stdout: "", stderr: "" });
    });

    it("says with CNI's code that the daemon is not there", async () => {
      const env = { GALAXY_SOCKET: join(folder, 'no"where') };
      const input = '{ "cniVersion" : "1.0.0" }';
      for (const [CNI_COMMAND, code] of [
        ["ADD", 11],
        ["STATUS", 50],
      ] as const) {
        const end = await call({ ...env, CNI_COMMAND }, input);
        assert.equal(end.code, 1);
        const json = JSON.parse(end.stdout) as Record<string, unknown>;
        assert.deepEqual([json["cniVersion"], json["code"]], ["1.0.0", code]);
        assert.match(String(json["msg"]), /the daemon galaxy does not answer on .*no"where \(.+\)/);
      }
      const end = await call({ ...env, CNI_COMMAND: "ADD" }, "{");
      assert.ok(!("cniVersion" in (JSON.parse(end.stdout) as object)));
    });

    it("explains itself to people", async () => {
      const asked = await call({}, "", ["--help"]);
      assert.match(asked.stdout, /^Usage: galaxy-sdn is a CNI plugin/);
      assert.equal(asked.code, 0);
      const bare = await call({}, "");
      assert.deepEqual(bare, { code: 0, stdout: "", stderr: asked.stdout });
    });

    it("attaches a pod and takes it away through a real daemon", { skip: noLab }, async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const { server: pods } = await startPodApiServer([
        { name: "web-1", uid: "u1", ip: "10.70.0.101" },
      ]);
      await using api = pods;
      const underlay = { type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" };
      await using daemon = await startDaemon({
        lab,
        node,
        nodeName: "n1",
        config: { NetworkConf: [{ name: "underlay", ...underlay }], ENIIPNetwork: "underlay" },
        access: `--master=${api.url}`,
      });
      const pod = await lab.namespace("pod");
      const input = JSON.stringify({ cniVersion: "1.0.0", name: "galaxy", type: "galaxy-sdn" });
      const run = (what: string) => {
        const env = podEnvironment(what, { name: "web-1", uid: "u1", netns: pod.path });
        return call({ ...env, CNI_PATH: "/opt/cni/bin", GALAXY_SOCKET: daemon.socket }, input);
      };
      const added = await run("ADD");
      assert.equal(added.code, 0, added.stdout);
      const { ips } = JSON.parse(added.stdout) as { ips: { address: string }[] };
      assert.deepEqual(
        ips.map(({ address }) => address),
        ["10.70.0.101/24"],
      );
      assert.ok(await outside.pings("10.70.0.101"));
      assert.deepEqual(await run("CHECK"), { code: 0, stdout: "", stderr: "" });
      assert.deepEqual(await run("DEL"), { code: 0, stdout: "", stderr: "" });
      await daemon.stop();
    });
  });
}
