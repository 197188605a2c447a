// The daemon under a real container runtime, Debian's containerd: sandboxes with float IPs and host ports, a runtime that dies while it makes
// one, and sandboxes that nobody has any more. Runs in namespaces of its own; the network of this machine is not touched.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { CriRuntime } from "../../src/adapters/cri/cri-runtime.ts";
import { describeContainerRuntime } from "../contract/container-runtime.ts";
import { waitUntil } from "../control-plane/api.ts";
import { locateProgramWithLibraries } from "../control-plane/binaries.ts";
import { Containerd, locateContainerd } from "../node/containerd.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import type { FakePod } from "../node/pod-api-server.ts";
import { startPodApiServer } from "../node/pod-api-server.ts";
import { locatePodman, Podman } from "../node/podman.ts";
import type { Daemon } from "../node/programs.ts";
import {
  callSdn,
  podEnvironment,
  startDaemon,
  statusAddressOf,
  writeSdnProgram,
} from "../node/programs.ts";

const programs = (await reasonToSkipLab()) || (await locateContainerd());
const skip =
  typeof programs === "string"
    ? programs
    : "because" in programs
      ? `no containerd: ${programs.because}`
      : false;
const limit = { timeout: 600_000 };

async function startContainerd(
  folder: string,
  options: { readonly node?: LabNamespace; readonly path?: string } = {},
): Promise<Containerd> {
  if (typeof programs === "string" || "because" in programs) throw new Error("skipped");
  return Containerd.start({ folder, programs, ...options });
}

/** What a web server answers that is asked from there. */
async function fetchFrom(namespace: LabNamespace, url: string): Promise<string> {
  const script =
    "fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))";
  return namespace.run(process.execPath, "-e", script, url);
}

/** A plugin that does nothing until the file exists (or itself does not), and then says that it gave an address. */
async function writePlugin(path: string, gate?: string): Promise<void> {
  const result = {
    cniVersion: "1.0.0",
    interfaces: [{ name: "eth0", sandbox: "/" }],
    ips: [{ address: "10.9.9.9/32", interface: 0 }],
  };
  const wait =
    gate === undefined ? "" : `while [ ! -e '${gate}' ] && [ -e "$0" ]; do sleep 0.05; done\n`;
  const text = `#!/bin/sh\ncat >/dev/null\nif [ "$CNI_COMMAND" = ADD ]; then\n${wait}echo '${JSON.stringify(result)}'\nfi\n`;
  await writeFile(path, text, { mode: 0o755 });
}

describeContainerRuntime(
  "CriRuntime on containerd",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "galaxy-containerd-"));
    const containerd = await startContainerd(folder);
    await writePlugin(join(containerd.pluginFolder, "nothing"));
    const list = { cniVersion: "1.0.0", name: "n", plugins: [{ type: "nothing" }] };
    await writeFile(join(containerd.confFolder, "10-n.conflist"), JSON.stringify(list));
    let count = 0;
    return {
      runtime: new CriRuntime([containerd.socket]),
      run: async () => {
        count += 1;
        const outcome = await containerd.runPod({ name: `p${count}`, uid: `u${count}` });
        assert.ok(outcome.kind === "made", JSON.stringify(outcome));
        return outcome.id;
      },
      remove: (id) => containerd.removePod(id),
      stop: () => containerd.kill(),
      start: () => containerd.startAgain(),
      end: async () => {
        await containerd[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
  { skip, timeout: 600_000 },
);

const pods: readonly FakePod[] = [
  { name: "web-1", uid: "u1", ip: "10.70.0.101" },
  { name: "web-2", uid: "u2", ip: "10.70.0.102" },
  { name: "slow", uid: "u3", ip: "10.70.0.103", networks: "underlay,slow" },
  { name: "mapped", uid: "u4", ip: "10.70.0.104", networks: "mapped" },
  { name: "forged", uid: "u5", ip: "10.70.0.105", recordUid: "u9" },
];
const underlay = { type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" };
const config = {
  NetworkConf: [
    { name: "underlay", ...underlay },
    { name: "slow", type: "slow" },
    {
      name: "mapped",
      cniVersion: "1.0.0",
      plugins: [underlay, { type: "portmap", capabilities: { portMappings: true } }],
    },
  ],
  ENIIPNetwork: "underlay",
};

/** iptables, which the standard portmap plugin calls, as a folder for PATH; or why there is none. */
async function iptablesFolder(folder: string): Promise<string | { readonly because: string }> {
  const located = await locateProgramWithLibraries(
    "iptables",
    ["iptables", "libxtables12", "libmnl0", "libnftnl11"],
    "usr/sbin/iptables-nft",
  );
  if (located.kind === "missing") return located;
  const extensions = join(dirname(located.file), "../usr/lib");
  const names = await readdir(extensions).catch(() => []);
  const xtables = names.map((name) => join(extensions, name, "xtables")).find(existsSync);
  const bin = join(folder, "iptables");
  await mkdir(bin);
  const set = xtables === undefined ? "" : `XTABLES_LIBDIR='${xtables}' `;
  await writeFile(join(bin, "iptables"), `#!/bin/sh\n${set}exec '${located.file}' "$@"\n`, {
    mode: 0o755,
  });
  return bin;
}

/** A node with a runtime and a daemon, and what a test does with them. */
async function aNode(options: { readonly withPortmap?: boolean } = {}) {
  const lab = await NetworkLab.open();
  const stack = new AsyncDisposableStack();
  stack.use(lab);
  try {
    const { outside, nodes } = await lab.outsideWithNodes(1);
    const [node] = nodes as [LabNamespace];
    const iptables = options.withPortmap === true ? await iptablesFolder(lab.folder) : "";
    const path = [typeof iptables === "string" ? iptables : "", process.env.PATH ?? ""]
      .filter((part) => part !== "")
      .join(delimiter);
    const { server } = await startPodApiServer(pods);
    stack.defer(() => server.stop());
    const containerd = stack.use(
      await startContainerd(join(lab.folder, "containerd"), { node, path }),
    );
    const chain = [
      { type: "galaxy-sdn", capabilities: { portMappings: true } },
      ...(options.withPortmap === true
        ? [{ type: "portmap", capabilities: { portMappings: true } }]
        : []),
    ];
    await writeFile(
      join(containerd.confFolder, "00-galaxy.conflist"),
      JSON.stringify({ cniVersion: "1.0.0", name: "galaxy", plugins: chain }),
    );
    const start = async (): Promise<Daemon> => {
      const daemon = await startDaemon({
        lab,
        node,
        nodeName: "n1",
        config,
        access: `--master=${server.url}`,
        enter: containerd.enterMounts,
        env: { PATH: path },
        flags: [
          `--container-runtime-endpoint=unix://${containerd.socket}`,
          `--cni-paths=${containerd.pluginFolder}`,
          "--flannel-gc-interval=300ms",
          // A test that calls the daemon in the runtime's place has containers that the runtime does not know.
          `--gc-min-age=${options.withPortmap === true ? "1h" : "1"}`,
        ],
      });
      await writeSdnProgram(join(containerd.pluginFolder, "galaxy-sdn"), daemon.socket);
      return daemon;
    };
    const daemon = stack.use(await start());
    const resources = stack.move();
    return {
      lab,
      outside,
      node,
      containerd,
      daemon,
      start,
      iptables,
      run: async (name: string, hostPorts?: readonly { host: number; pod: number }[]) => {
        const uid = pods.find((pod) => pod.name === name)?.uid ?? "";
        const outcome = await containerd.runPod({
          name,
          uid,
          ...(hostPorts === undefined ? {} : { hostPorts }),
        });
        assert.ok(outcome.kind === "made", `${JSON.stringify(outcome)}\n${containerd.log()}`);
        return outcome.id;
      },
      [Symbol.asyncDispose]: () => resources.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** Waits until the daemon asked the runtime so many more times. */
async function looks(daemon: Daemon, count: number): Promise<void> {
  const series = 'galaxy_node_runtime_questions_total{outcome="answered"}';
  const before = await waitUntil(
    "metrics",
    () => daemon.metric(series).catch(() => -1),
    (value) => value >= 0,
  );
  await waitUntil(
    `${count} more looks`,
    () => daemon.metric(series),
    (value) => value >= before + count,
  );
}

describe("the daemon under containerd", { skip, timeout: 1_800_000 }, () => {
  it(
    "gives a real sandbox its float IP, and nothing is left when the kubelet removes it",
    limit,
    async () => {
      await using world = await aNode();
      const { containerd, daemon, node, outside, run } = world;
      const before = await node.snapshot();
      const id = await run("web-1");
      assert.deepEqual(await containerd.status(id), { isReady: true, ips: ["10.70.0.101"] });
      assert.ok(await outside.pings("10.70.0.101"));
      assert.equal(await fetchFrom(outside, "http://10.70.0.101:8080/"), "a pod\n");
      const forged = await containerd.runPod({ name: "forged", uid: "u5" });
      assert.ok(forged.kind === "refused");
      assert.match(forged.message, /may not use address 10\.70\.0\.105/);
      await looks(daemon, 4);
      assert.ok(await outside.pings("10.70.0.101"), "what lives is no garbage");
      await containerd.removePod(id);
      assert.equal(await node.snapshot(), before);
      const states = await readdir(daemon.stateFolder);
      assert.deepEqual(states, ["attachments"]);
      assert.deepEqual(await readdir(join(daemon.stateFolder, "attachments")), []);
      const status = statusAddressOf(daemon.logFile);
      for (const path of ["/healthy", "/livez", "/readyz"]) {
        assert.equal(await (await fetch(status + path)).text(), "ok", path);
      }
      const count = 'galaxy_node_cni_duration_seconds_count{command="ADD",result=';
      assert.equal(await daemon.metric(`${count}"ok"}`), 1);
      assert.equal(await daemon.metric(`${count}"105"}`), 1);
      assert.equal(await daemon.metric("galaxy_node_containers"), 0);
      await daemon.stop();
    },
  );

  it(
    "leaves a sandbox alone while its network is being made, and removes it when the runtime died over it",
    limit,
    async () => {
      await using world = await aNode();
      const { containerd, daemon, lab, node, outside } = world;
      const before = await node.snapshot();
      const gate = join(lab.folder, "gate");
      await writePlugin(join(containerd.pluginFolder, "slow"), gate);
      const making = containerd
        .runPod({ name: "slow", uid: "u3" })
        .catch((error: unknown) => error);
      await waitUntil(
        "the first of the pod's networks",
        () => outside.pings("10.70.0.103", { waitS: 1 }),
        (isUp) => isUp,
      );
      await containerd.kill();
      assert.ok((await making) instanceof Error, "the kubelet's call broke off");
      await containerd.startAgain();
      // Some versions remember what they were making, and leave it to the kubelet; this one shall have forgotten it.
      for (const id of await containerd.list()) await containerd.loseSandbox(id);
      assert.deepEqual(await containerd.list(), []);
      // Much older than the limit and in none of the runtime's lists, but under way.
      await looks(daemon, 8);
      assert.ok(await outside.pings("10.70.0.103"));
      assert.equal(await daemon.metric('galaxy_node_garbage_total{outcome="removed"}'), 0);
      await writeFile(gate, "");
      await waitUntil(
        "the garbage to be removed",
        () => daemon.metric('galaxy_node_garbage_total{outcome="removed"}'),
        (count) => count === 1,
      );
      assert.equal(await node.snapshot(), before);
      await daemon.stop();
    },
  );

  it(
    "removes at its start what was lost while it was down, and says when the runtime cannot be asked",
    limit,
    async () => {
      await using world = await aNode();
      const { containerd, daemon, node, outside, run, start } = world;
      const before = await node.snapshot();
      const lost = await run("web-1");
      const living = await run("web-2");
      await daemon.stop("SIGKILL");
      await containerd.loseSandbox(lost);
      assert.ok(await outside.pings("10.70.0.101"), "nobody took the network of the lost sandbox");
      await using again = await start();
      await waitUntil(
        "the lost sandbox's network to go",
        () => again.metric('galaxy_node_garbage_total{outcome="removed"}').catch(() => 0),
        (count) => count === 1,
      );
      assert.equal(await outside.pings("10.70.0.101", { waitS: 1 }), false);
      assert.ok(await outside.pings("10.70.0.102"));
      await containerd.kill();
      await waitUntil(
        "the daemon to say that it cannot ask",
        () => again.metric("galaxy_node_runtime_reachable"),
        (value) => value === 0,
      );
      assert.match(again.log(), /no garbage is collected while the container runtime cannot say/);
      assert.ok(await outside.pings("10.70.0.102"));
      await containerd.startAgain();
      await looks(again, 3);
      assert.ok(await outside.pings("10.70.0.102"));
      await containerd.removePod(living);
      assert.equal(await node.snapshot(), before);
      await again.stop();
    },
  );

  it(
    "has host ports by the standard portmap plugin, behind galaxy-sdn or in a network of the daemon",
    limit,
    async (context) => {
      await using world = await aNode({ withPortmap: true });
      const { daemon, iptables, lab, node, outside, containerd, run } = world;
      if (typeof iptables !== "string") {
        context.skip(`portmap needs iptables: ${iptables.because}`);
        return;
      }
      const list = () => node.run(join(iptables, "iptables"), "-t", "nat", "-S");
      const id = await run("web-1", [{ host: 18_081, pod: 8_080 }]);
      assert.equal(await fetchFrom(outside, "http://10.70.0.11:18081/"), "a pod\n", await list());
      await containerd.removePod(id);
      assert.doesNotMatch(await list(), /18081/);
      // The same in the daemon's own chain, as for a runtime whose configuration names galaxy-sdn alone.
      const pod = await lab.namespace("pod");
      const who = { name: "mapped", uid: "u4", netns: pod.path };
      const mapping = { hostPort: 18_082, containerPort: 8_080, protocol: "tcp" };
      const call = (command: string) =>
        callSdn(
          daemon.socket,
          { ...podEnvironment(command, who), CNI_PATH: containerd.pluginFolder },
          {
            cniVersion: "1.0.0",
            runtimeConfig: { portMappings: [mapping] },
          },
        );
      assert.equal((await call("ADD")).code, 0, daemon.log());
      assert.match(await list(), /--to-destination 10\.70\.0\.104:8080/);
      assert.deepEqual(await call("CHECK"), { code: 0, json: {} });
      assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      assert.doesNotMatch(await list(), /18082/);
      await daemon.stop();
    },
  );
});

const podmanPrograms = (await reasonToSkipLab()) || (await locatePodman());
const skipPodman =
  typeof podmanPrograms === "string"
    ? podmanPrograms
    : "because" in podmanPrograms
      ? `no podman: ${podmanPrograms.because}`
      : false;

describe("a plugin executable under podman", { skip: skipPodman, timeout: 1_200_000 }, () => {
  it(
    "gives a container the address that it asked for, and nothing is left when it is removed",
    limit,
    async () => {
      if (typeof podmanPrograms === "string" || "because" in podmanPrograms) return;
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [node] = nodes as [LabNamespace];
      await node.sysctl("ipv4/ip_forward", "1");
      const before = await node.snapshot();
      await using podman = await Podman.open({
        folder: join(lab.folder, "podman"),
        programs: podmanPrograms,
        node,
        plugin: { device: "eth0", switch: "pure" },
        ranges: [{ subnet: "10.70.0.0/24", gateway: "10.70.0.1" }],
      });
      await podman.start("a", "10.70.0.50");
      assert.equal(await podman.addressOf("a"), "10.70.0.50/24");
      assert.equal(await fetchFrom(outside, "http://10.70.0.50:8080/"), "a container\n");
      await assert.rejects(podman.start("b", "10.70.0.1"), /galaxy-k8s-vlan.*host-local/s);
      await podman.remove("b");
      assert.ok(await outside.pings("10.70.0.50"), "the first one is as it was");
      await podman.remove("a");
      assert.equal(await node.snapshot(), before);
      assert.deepEqual(await readdir(podman.stateFolder), []);
    },
  );
});
