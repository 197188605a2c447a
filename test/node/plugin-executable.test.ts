// The plugins as any container runtime uses them: child programs with environment and standard input, in every version of CNI.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findMaker, makeHostExecutable } from "../../scripts/host-executable.ts";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";

const skip = await reasonToSkipLab();
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };
const programs = fileURLToPath(new URL("../../src/bin/", import.meta.url));

/** How plugins are run: the sources on Node, and the executable for hosts without Node. */
type Maker = {
  readonly name: string;
  readonly skip: string | false;
  command(program: string): readonly [string, ...string[]];
};

const bun = findMaker();
const folder = bun.kind === "found" && skip === false ? await mkdtemp(join(tmpdir(), "host-")) : "";
const makers: readonly Maker[] = [
  { name: "Node", skip, command: (program) => [process.execPath, join(programs, `${program}.ts`)] },
  {
    name: "executable for hosts without Node",
    skip: bun.kind === "missing" ? bun.because : skip,
    command: (program) => [join(folder, "galaxy-plugins"), program],
  },
];
if (bun.kind === "found" && skip === false) {
  makeHostExecutable(bun.file, join(folder, "galaxy-plugins"));
  after(() => rm(folder, { recursive: true, force: true }));
}
const infos = [
  { ip: "10.70.0.101/24", vlan: 0, gateway: "10.70.0.1" },
  { ip: "fd00:70::101/64", vlan: 0, gateway: "fd00:70::1" },
];

type Run = {
  readonly node?: LabNamespace;
  readonly program?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, unknown>> | string;
};

/** Starts the plugin; the promise is of its end. */
function startWith(maker: Maker, run: Run) {
  const command = maker.command(run.program ?? "galaxy-k8s-vlan");
  const enter = run.node === undefined ? [] : ["nsenter", `--net=${run.node.path}`, "--"];
  const [file, ...args] = [...enter, ...command] as [string, ...string[]];
  const env = { PATH: process.env.PATH ?? "", ...run.env };
  const child = spawn(file, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {});
  child.stdin.end(typeof run.config === "string" ? run.config : JSON.stringify(run.config));
  let stdout = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString();
  });
  const ended = new Promise<{ code: number | null; json: Record<string, unknown> }>((resolve) => {
    child.once("close", (code) => {
      const json = stdout === "" ? {} : (JSON.parse(stdout) as Record<string, unknown>);
      resolve({ code, json });
    });
  });
  return { child, ended };
}

function environment(lab: NetworkLab, pod: LabNamespace, command: string) {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: "0123456789abcdef",
    CNI_NETNS: pod.path,
    CNI_IFNAME: "eth0",
    CNI_PATH: join(lab.folder, "bin"),
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=p;ipinfos=${JSON.stringify(infos)};`,
    GALAXY_STATE_DIR: join(lab.folder, "state"),
  };
}

const network = { name: "net1", type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" };

for (const maker of makers) describePlugins(maker);

function describePlugins(maker: Maker): void {
  const start = (run: Run) => startWith(maker, run);
  describe(`a plugin, ${maker.name}`, { skip: maker.skip, timeout: 1_200_000 }, () => {
    it(
      "answers in the version that it is asked in, with every address where the version has room",
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [node] = nodes as [LabNamespace];
        const before = await node.snapshot();
        for (const cniVersion of ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
          const pod = await lab.namespace(`pod-${cniVersion}`);
          const config = { ...network, cniVersion, conflict_check: false };
          const call = async (command: string) =>
            start({ node, env: environment(lab, pod, command), config }).ended;
          const added = await call("ADD");
          assert.equal(added.code, 0, JSON.stringify(added.json));
          const again = await call("ADD");
          assert.deepEqual(again.json, added.json);
          const { json } = added;
          assert.equal(json["cniVersion"], cniVersion);
          if (cniVersion === "0.2.0") {
            assert.deepEqual(json["ip4"], {
              ip: "10.70.0.101/24",
              gateway: "10.70.0.1",
              routes: [{ dst: "0.0.0.0/0", gw: "10.70.0.1" }],
            });
            assert.equal((json["ip6"] as { ip: string }).ip, "fd00:70::101/128");
          } else {
            const ips = json["ips"] as { version?: string; address: string; interface: number }[];
            const isOld = cniVersion.startsWith("0.");
            assert.deepEqual(
              ips.map(({ version, address }) => [version, address]),
              [
                [isOld ? "4" : undefined, "10.70.0.101/24"],
                [isOld ? "6" : undefined, "fd00:70::101/128"],
              ],
            );
            const interfaces = json["interfaces"] as { name: string; sandbox?: string }[];
            assert.equal(interfaces[ips[0]?.interface ?? -1]?.sandbox, pod.path);
          }
          assert.ok(await outside.pings("10.70.0.101"));
          const check = await call("CHECK");
          assert.equal(check.code, cniVersion === "0.2.0" || cniVersion === "0.3.1" ? 1 : 0);
          for (let time = 0; time < 2; time += 1) {
            assert.deepEqual(await call("DEL"), { code: 0, json: {} });
          }
        }
        assert.equal(await node.snapshot(), before);
      },
    );

    it("tells neighbours of the address after it has answered", limit, async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const pod = await lab.namespace("pod");
      await outside.ip("neigh add 10.70.0.101 lladdr 02:00:00:00:00:99 dev br0 nud stale");
      const config = { ...network, cniVersion: "1.0.0", conflict_check: false };
      const call = (command: string) =>
        start({ node, env: environment(lab, pod, command), config }).ended;
      assert.equal((await call("ADD")).code, 0);
      const [uplink] = await node.show("link show dev eth0");
      await waitUntil(
        "the outside to know the node's MAC",
        () => outside.neighbour("10.70.0.101"),
        (mac) => mac === uplink?.["address"],
      );
      assert.equal((await call("DEL")).code, 0);
    });

    it("says its versions, and says every mistake as CNI does", limit, async () => {
      await using lab = await NetworkLab.open();
      const node = await lab.namespace("node");
      const pod = await lab.namespace("pod");
      await node.ip("link add eth0 type veth peer name other");
      const env = environment(lab, pod, "ADD");
      const versions = await start({ env: { CNI_COMMAND: "VERSION" }, config: "" }).ended;
      assert.deepEqual(versions.json["supportedVersions"], [
        "0.1.0",
        "0.2.0",
        "0.3.0",
        "0.3.1",
        "0.4.0",
        "1.0.0",
        "1.1.0",
      ]);
      const before = await node.snapshot();
      const config = { ...network, cniVersion: "1.0.0" };
      const cases: readonly [string, Omit<Run, "node">, number, RegExp][] = [
        ["version", { env, config: { ...config, cniVersion: "9.0.0" } }, 1, /incompatible CNI/],
        [
          "command",
          { env: { ...env, CNI_COMMAND: "PUT" }, config },
          4,
          /unknown CNI_COMMAND "PUT"/,
        ],
        ["no container", { env: { ...env, CNI_CONTAINERID: "" }, config }, 4, /CNI_CONTAINERID/],
        ["interface", { env: { ...env, CNI_IFNAME: "a/b" }, config }, 4, /CNI_IFNAME "a\/b"/],
        ["no JSON", { env, config: "{" }, 6, /no JSON/],
        ["no name", { env, config: { ...config, name: "" } }, 7, /missing network name/],
        [
          "switch",
          { env, config: { ...config, switch: "brigde" } },
          7,
          /switch is "brigde"; write one of/,
        ],
        ["device", { env, config: { ...config, device: "eth9" } }, 101, /no device eth9/],
        ["no address", { env: { ...env, CNI_ARGS: "" }, config }, 100, /neither ipInfo/],
        [
          "hostile args",
          { env: { ...env, CNI_ARGS: 'ipinfos=[{"ip":"10.0.0.1/24\\nlink del eth0"}]' }, config },
          100,
          /ipinfos/,
        ],
        [
          "no namespace",
          { env: { ...env, CNI_NETNS: "/run/netns/none" }, config },
          3,
          /does not exist/,
        ],
        [
          "the node itself",
          { env: { ...env, CNI_NETNS: node.path }, config },
          5,
          /it is the node's own/,
        ],
        [
          "hostile namespace",
          { env: { ...env, CNI_NETNS: "/tmp/a\nlink del eth0" }, config },
          4,
          /CNI_NETNS/,
        ],
      ];
      for (const [what, run, code, message] of cases) {
        const end = await start({ node, ...run }).ended;
        assert.equal(end.code, 1, what);
        assert.equal(end.json["code"], code, `${what}: ${JSON.stringify(end.json)}`);
        assert.match(String(end.json["msg"]), message, what);
      }
      assert.equal(await node.snapshot(), before);
    });

    it(
      "takes addresses from an IPAM plugin, and gives them back when ADD fails and at DEL",
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [node] = nodes as [LabNamespace];
        const pod = await lab.namespace("pod");
        const bin = join(lab.folder, "bin");
        await mkdir(bin);
        const calls = join(lab.folder, "calls");
        await mkdir(calls);
        // An IPAM plugin that keeps what it was asked; each call leaves a file.
        const ipam = `#!/bin/sh
cat > /dev/null
touch "${calls}/$CNI_COMMAND-$(ls ${calls} | wc -l)"
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.70.0.105/24","gateway":"10.70.0.1"}],"dns":{"nameservers":["10.70.0.1"]}}'
exit 0
`;
        await writeFile(join(bin, "test-ipam"), ipam);
        await chmod(join(bin, "test-ipam"), 0o755);
        const config = { ...network, cniVersion: "1.0.0", ipam: { type: "test-ipam" } };
        const call = (command: string, fields: object = {}) => {
          const env = { ...environment(lab, pod, command), CNI_ARGS: "" };
          return start({ node, env, config: { ...config, ...fields } }).ended;
        };
        const failed = await call("ADD", { device: "eth9" });
        assert.equal(failed.json["code"], 101);
        const added = await call("ADD");
        assert.deepEqual(added.json["dns"], { nameservers: ["10.70.0.1"] });
        await call("ADD");
        assert.ok(await outside.pings("10.70.0.105"));
        assert.equal((await call("DEL")).code, 0);
        const commands = (await readdir(calls)).toSorted(
          (a, b) => Number(a.split("-")[1]) - Number(b.split("-")[1]),
        );
        assert.deepEqual(
          commands.map((name) => name.split("-")[0]),
          ["ADD", "DEL", "ADD", "DEL"],
        );
      },
    );

    it("leaves nothing behind when it is killed at any moment and DEL comes", limit, async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      const before = await node.snapshot();
      const config = { ...network, cniVersion: "1.0.0", conflict_check: false };
      let killed = 0;
      for (let round = 0; round < 8; round += 1) {
        const pod = await lab.namespace(`pod${round}`);
        const { child, ended } = start({ node, env: environment(lab, pod, "ADD"), config });
        // The start of the program takes a part of the time that depends on how it was made; the effects are spread over what follows.
        await Promise.race([ended, pause(10 + round * 25)]);
        if (child.kill("SIGKILL")) killed += 1;
        await ended;
        const end = await start({ node, env: environment(lab, pod, "DEL"), config }).ended;
        assert.deepEqual(end, { code: 0, json: {} });
        assert.equal(await node.snapshot(), before, `killed in round ${round}`);
      }
      assert.ok(killed > 0);
    });
  });
}
