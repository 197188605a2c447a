// Gate and network of one node together, in namespaces: who answers on the wire, where packets go, and that nothing is left.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { LinuxHostNetwork } from "../../src/adapters/linux/host-network.ts";
import { NetlinkVipRoutes } from "../../src/adapters/linux/netlink-vip-routes.ts";
import { NftSession } from "../../src/adapters/linux/nft-session.ts";
import { loadSystemCalls } from "../../src/adapters/linux/system-calls.ts";
import { NftVipGate } from "../../src/adapters/linux/vip-gate.ts";
import { LinuxVipNetwork } from "../../src/adapters/linux/vip-network.ts";
import type { RouteChange } from "../../src/adapters/linux/vip-routes.ts";
import { wireKey } from "../../src/adapters/linux/vip-rules.ts";
import { VipSpeaker } from "../../src/adapters/linux/vip-speaker.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { SteadyClock } from "../../src/adapters/system/clock.ts";
import type { Ip } from "../../src/core/ip.ts";
import type { HostNetwork } from "../../src/ports/host-network.ts";
import type { VipPlace } from "../../src/ports/vip-network.ts";
import { ip } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import { greet, mentions } from "./cases.ts";
import { FrameMeter, monotonicMs } from "./meters.ts";
import { locateNft } from "./programs.ts";
import { LineReader } from "./raw.ts";

const echoPort = 7_007;

const loaded = await loadSystemCalls();
if (loaded === undefined) throw new Error("koffi has no library for this machine");
const calls = loaded;
const nft = await locateNft();
const skip = (await reasonToSkipLab()) || (nft.kind === "missing" ? nft.because : false);

/** A node with the kernel's gate and network of virtual addresses, and one pod. */
class NodeBench {
  readonly namespace: LabNamespace;
  readonly pod: LabNamespace;
  readonly log = new MemoryLog();
  readonly session: NftSession;
  readonly network: LinuxVipNetwork;
  readonly gate: NftVipGate;

  /** @param meanwhile what happens between the look at where the pod is and the change, the first time that an uplink is used */
  constructor(
    namespace: LabNamespace,
    pod: LabNamespace,
    routeHook: string,
    meanwhile: () => Promise<void> = async () => {},
  ) {
    this.namespace = namespace;
    this.pod = pod;
    const hostNetns = namespace.path;
    const file = nft.kind === "found" ? nft.file : "nft";
    this.session = new NftSession({ hostNetns, file });
    this.network = new LinuxVipNetwork({
      nft: this.session,
      speaker: new VipSpeaker({ hostNetns, routeHook, calls, log: this.log }),
      host: interrupted(new LinuxHostNetwork({ hostNetns }), meanwhile),
      routes: new GuardedRoutes(hostNetns, () => this.known()),
      clock: new SteadyClock(),
      log: this.log,
      hostNetns,
      routeHook,
    });
    this.gate = new NftVipGate(this.session, {
      speaksAsAddress: (each) => this.network.sendsFromVip(each),
    });
  }

  async place(address: Ip, place: VipPlace): Promise<void> {
    const problems = await this.network.place(new Map([[address, place]]));
    assert.deepEqual([...problems], []);
  }

  async hold(address: Ip, podIp: Ip, leftMs: number): Promise<void> {
    const outcome = await this.gate.open(
      await this.gate.arm(2_000),
      [{ ip: address, epoch: 1, podIp }],
      leftMs,
    );
    assert.deepEqual(outcome, { kind: "open" });
    this.network.announce([address]);
  }

  /** What nftables has, as text. */
  rules(): Promise<string> {
    return this.namespace.run(nft.kind === "found" ? nft.file : "nft", "list", "ruleset");
  }

  /** The addresses that the kernel answers for only while the gate is open. */
  known(): Promise<string> {
    const list = ["list", "set", "netdev", "galaxy_vip", "known4"];
    return this.namespace.run(nft.kind === "found" ? nft.file : "nft", ...list);
  }

  /** Everything that says where addresses are, without times. */
  async placed(): Promise<string> {
    const shown = await Promise.all(
      ["-4", "-6"].flatMap((family) => [
        this.namespace.ip(`${family} route show proto 158`),
        this.namespace.ip(`${family} route show proto 157`),
        this.namespace.ip(`${family} neigh show proxy`),
      ]),
    );
    const rules = await this.rules();
    return [...shown, rules.replaceAll(/ timeout \S+| expires \S+/g, "")].join("\n");
  }

  async stop(): Promise<void> {
    await this.network.stop(false);
    await this.session.close();
  }
}

/** Removes neighbour proxies only while nftables still knows their addresses: until then the kernel would answer whatever the gate says. */
class GuardedRoutes extends NetlinkVipRoutes {
  readonly #known: () => Promise<string>;

  constructor(hostNetns: string, known: () => Promise<string>) {
    super(calls, { hostNetns });
    this.#known = known;
  }

  override async change(changes: readonly RouteChange[]): Promise<string> {
    const { proxies } = await this.list();
    const going = changes.flatMap((each) =>
      each.do === "no proxy" && proxies.some((proxy) => proxy.ip === each.ip) ? [each.ip] : [],
    );
    const known = going.length === 0 ? "" : await this.#known();
    for (const address of going) if (!address.includes(":")) assert.match(known, mentions(address));
    return super.change(changes);
  }
}

/** The host, where something else happens before sysctls are read. */
function interrupted(host: HostNetwork, meanwhile: () => Promise<void>): HostNetwork {
  return {
    readHost: (query) => host.readHost(query),
    readPod: (netns) => host.readPod(netns),
    apply: (steps, namespaces) => host.apply(steps, namespaces),
    readSysctls: async (netns, keys) => {
      await meanwhile();
      return host.readSysctls(netns, keys);
    },
  };
}

async function aLab() {
  const lab = await NetworkLab.open();
  const { outside, nodes } = await lab.outsideWithNodes(2);
  const hook = join(lab.folder, "hook");
  const hookLog = `${hook}.log`;
  await writeFile(hook, `#!/bin/sh\necho "$1 $2" >> ${hookLog}\n`, { mode: 0o755 });
  const benches: NodeBench[] = [];
  for (const [index, node] of nodes.entries()) {
    const pod = await lab.namespace(`pod${index + 1}`);
    await node.ip(`link add v1 type veth peer name eth0 netns ${pod.path}`);
    await node.ip("link set dev v1 up");
    await node.sysctl("ipv4/ip_forward", "1");
    await node.sysctl("ipv4/conf/v1/proxy_arp", "1");
    await node.sysctl("ipv4/neigh/v1/proxy_delay", "0");
    await node.ip(`route add 10.80.${index + 1}.2/32 dev v1`);
    await node.ip("-6 address add fe80::1/64 dev v1 nodad");
    await node.ip(`-6 route add fd00:80::${index + 1}:2/128 dev v1`);
    await pod.ip("link set dev eth0 up");
    await pod.ip(`address add 10.80.${index + 1}.2/32 dev eth0`);
    await pod.ip(`-6 address add fd00:80::${index + 1}:2/128 dev eth0 nodad`);
    await pod.ip("route add 169.254.1.1 dev eth0");
    await pod.ip("route add default via 169.254.1.1 dev eth0");
    await pod.ip("-6 route add default via fe80::1 dev eth0");
    await outside.ip(`route add 10.80.${index + 1}.0/24 via 10.70.0.${11 + index}`);
    const [other] = nodes.filter((each) => each !== node);
    await other?.ip(`route add 10.80.${index + 1}.0/24 via 10.70.0.${11 + index}`);
    benches.push(new NodeBench(node, pod, hook));
  }
  for (const bench of benches) await bench.network.start([]);
  return {
    outside,
    hook,
    hookLog,
    benches: benches as [NodeBench, NodeBench],
    async [Symbol.asyncDispose]() {
      for (const bench of benches) await bench.stop();
      await lab[Symbol.asyncDispose]();
    },
  };
}

const vip = ip("10.70.0.200");
const vip6 = ip("fd00:70::200");

function here(podIp: string, wishes: Partial<VipPlace & { kind: "here" }> = {}): VipPlace {
  return {
    kind: "here",
    podIp: ip(podIp),
    way: { kind: "L2", interfaces: "eth*" },
    sendsFromVip: false,
    ports: undefined,
    ...wishes,
  };
}

/** Who answers on TCP, and whom it saw. */
const greets = async (from: LabNamespace, address: string, port = echoPort) =>
  greet(from, address, { port });

describe("the network of virtual addresses on a kernel", { skip }, () => {
  it("answers while the gate is open, and stops by itself", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    await a.place(vip, here("10.80.1.2"));
    await a.place(vip6, here("fd00:80::1:2"));
    assert.equal(await lab.outside.pings(vip, { waitS: 1 }), false);
    await a.hold(vip, ip("10.80.1.2"), 4_000);
    await a.hold(vip6, ip("fd00:80::1:2"), 4_000);
    assert.equal(await lab.outside.pings(vip), true);
    assert.equal(await lab.outside.pings(vip6), true);
    await waitUntil(
      "the kernel to stop",
      () => lab.outside.pings(vip, { waitS: 1 }),
      (answers) => !answers,
    );
    assert.deepEqual(a.log.lines("warn"), []);
  });

  it("is reached by clients, nodes, other pods and the pod itself, who see the address that they called", async () => {
    await using lab = await aLab();
    const [a, b] = lab.benches;
    await using programs = new AsyncDisposableStack();
    programs.use(await LineReader.start(a.pod, "echo", ["a", String(echoPort)]));
    await a.place(vip, here("10.80.1.2"));
    await b.place(vip, { kind: "there", podIp: ip("10.80.1.2"), nodeIps: [ip("10.70.0.11")] });
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    assert.deepEqual(await greets(lab.outside, vip), { pod: "a", source: "10.70.0.1" });
    assert.equal((await greets(a.namespace, vip))?.pod, "a");
    assert.equal((await greets(b.namespace, vip))?.pod, "a");
    assert.deepEqual(await greets(b.pod, vip), { pod: "a", source: "10.80.2.2" });
    assert.deepEqual(await greets(a.pod, vip), { pod: "a", source: vip });
  });

  it("turns only the ports that the pod exposes, and lets its own flows leave with the address", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    await using programs = new AsyncDisposableStack();
    programs.use(await LineReader.start(a.pod, "echo", ["one", "7001"]));
    programs.use(await LineReader.start(a.pod, "echo", ["two", "7002"]));
    programs.use(await LineReader.start(lab.outside, "echo", ["outside", "7003"]));
    const ports = [
      { protocol: "tcp" as const, first: 7_000, last: 7_001 },
      { protocol: "udp" as const, first: 53, last: 53 },
    ];
    await a.place(vip, here("10.80.1.2", { ports, sendsFromVip: true }));
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    assert.equal((await greets(lab.outside, vip, 7_001))?.pod, "one");
    assert.equal(await greet(lab.outside, vip, { port: 7_002, waitS: 3 }), undefined);
    assert.deepEqual(await greets(a.pod, "10.70.0.1", 7_003), { pod: "outside", source: vip });
    // Every port again, and its own address again.
    await a.place(vip, here("10.80.1.2"));
    await a.gate.close([vip]);
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    assert.equal((await greets(lab.outside, vip, 7_002))?.pod, "two");
    assert.equal((await greets(a.pod, "10.70.0.1", 7_003))?.source, "10.80.1.2");
  });

  it("moves to another node with its neighbours, and leaves no flow behind", async () => {
    await using lab = await aLab();
    const [a, b] = lab.benches;
    await using frames = await FrameMeter.start(lab.outside, "br0");
    await using programs = new AsyncDisposableStack();
    programs.use(await LineReader.start(a.pod, "echo", ["a", String(echoPort)]));
    programs.use(await LineReader.start(b.pod, "echo", ["b", String(echoPort)]));
    for (const [bench, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const number = bench === a ? 1 : 2;
      const other = { kind: "there" as const, nodeIps: [ip(`10.70.0.${10 + number}`)] };
      await to.gate.close([vip, vip6]);
      to.network.hush([vip, vip6]);
      await to.place(vip, { ...other, podIp: ip(`10.80.${number}.2`) });
      await to.place(vip6, { ...other, podIp: ip(`fd00:80::${number}:2`) });
      await bench.place(vip, here(`10.80.${number}.2`));
      await bench.place(vip6, here(`fd00:80::${number}:2`));
      const fromMs = monotonicMs();
      await bench.hold(vip, ip(`10.80.${number}.2`), 300_000);
      await bench.hold(vip6, ip(`fd00:80::${number}:2`), 300_000);
      const name = bench === a ? "a" : "b";
      assert.equal((await greets(lab.outside, vip))?.pod, name);
      assert.equal((await greets(lab.outside, vip6))?.pod, name);
      const said = await waitUntil(
        "two rounds of announcements",
        () =>
          [vip, vip6]
            .flatMap((address) => frames.claimsOf(address, fromMs))
            .filter(({ kind }) => kind === "gratuitous"),
        (claims) =>
          claims.filter((claim) => claim.ip === vip).length >= 4 &&
          claims.filter((claim) => claim.ip === vip6).length >= 2,
      );
      const [link] = await bench.namespace.show("link show dev eth0");
      for (const claim of said) assert.equal(claim.mac, link?.["address"]);
      for (const claim of said) if (claim.ip === vip6) assert.equal(claim.isOverride, true);
    }
  });

  it("hears another machine that has the address, before it is held and while it is", async () => {
    await using lab = await aLab();
    const [a, b] = lab.benches;
    await a.place(vip, here("10.80.1.2"));
    await a.place(vip6, here("fd00:80::1:2"));
    // What the wire said before it was here is the affair of whoever held it then.
    await a.session.change("say that it was claimed a moment ago", [
      `add element netdev galaxy_vip foreign4 { ${vip} . 02:00:00:00:00:99 timeout 1h }`,
      `add element netdev galaxy_vip foreign6 { ${wireKey(vip6)} . 02:00:00:00:00:99 timeout 1h }`,
    ]);
    assert.deepEqual([...(await a.network.probe([vip, vip6]))], []);
    await b.namespace.ip(`address add ${vip}/32 dev eth0`);
    await b.namespace.ip(`-6 address add ${vip6}/128 dev eth0 nodad`);
    const [link] = await b.namespace.show("link show dev eth0");
    const who = `${String(link?.["address"])} on eth0`;
    const found = await waitUntil(
      "both to be found",
      () => a.network.probe([vip, vip6]),
      (seen) => seen.size === 2,
    );
    assert.deepEqual([...found.values()], [who, who]);
  });

  it("refuses what is not for it, and leaves nothing behind", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    const before = await a.namespace.snapshot();
    await a.place(vip, { kind: "nowhere" });
    const refused = await a.namespace.run("bash", "-c", `exec 3<>/dev/tcp/${vip}/7`).then(
      () => "",
      (error: unknown) => String((error as { readonly stderr?: string }).stderr),
    );
    assert.match(refused, /unreachable|No route/i);
    assert.match(
      [
        ...(
          await a.network.place(
            new Map([[vip, here("10.99.9.9", { way: { kind: "L2", interfaces: "wlan*" } })]]),
          )
        ).values(),
      ].join(),
      /no interface matches wlan\*/,
    );
    await a.place(vip, here("10.80.1.2"));
    await a.place(vip6, here("fd00:80::1:2"));
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    // Another process begins, as after a crash.
    const next = new NodeBench(a.namespace, a.pod, lab.hook);
    await using ends = new AsyncDisposableStack();
    ends.defer(() => next.stop());
    await next.gate.clear();
    await next.network.start([]);
    assert.equal(await a.namespace.snapshot(), before);
    assert.equal(await lab.outside.pings(vip, { waitS: 1 }), false);
  });

  it("leaves nothing behind of an address whose pod went away while it was put there", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    await a.namespace.ip("link add v9 type veth peer name v9peer");
    await a.namespace.ip("link set dev v9 up");
    await a.namespace.ip("link set dev v9peer up");
    await a.namespace.ip("route add 10.80.9.2/32 dev v9");
    const before = await a.namespace.ip("route show proto 158");
    const next = new NodeBench(a.namespace, a.pod, lab.hook, async () => {
      await a.namespace.ip("link del v9");
    });
    await next.network.start([]);
    await using ends = new AsyncDisposableStack();
    ends.defer(() => next.stop());
    const problems = await next.network.place(new Map([[vip, here("10.80.9.2")]]));
    assert.match(problems.get(vip) ?? "", /not there/);
    await next.place(vip, { kind: "nowhere" });
    assert.deepEqual([...(await next.network.place(new Map([[vip, undefined]])))], []);
    assert.equal(await a.namespace.ip("route show proto 158"), before);
    assert.equal(await a.namespace.ip("neigh show proxy"), "");
    assert.doesNotMatch(await next.rules(), mentions(vip));
  });

  it("puts back what others took away, and removes what belongs nowhere", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    await a.place(vip, here("10.80.1.2"));
    await a.place(vip6, { kind: "nowhere" });
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    const right = await a.placed();
    const defaultRoute = await a.namespace.ip("route show default");
    // A cable that is pulled for a moment takes proxies along.
    await a.namespace.ip("link set dev eth0 down");
    await a.namespace.ip("link set dev eth0 up");
    // Without it the node does not answer for the pod's gateway.
    await a.namespace.ip(`route add ${defaultRoute.trim()}`);
    await a.namespace.ip(`route del ${vip}`);
    await a.namespace.ip("route add 10.70.0.201 dev v1 proto 158");
    await a.namespace.ip("-6 route add unreachable fd00:70::201 proto 157");
    await a.namespace.ip("neigh add proxy 10.70.0.203 dev v1 protocol 158");
    await a.namespace.ip("-6 neigh add proxy fd00:70::202 dev v1 protocol 158");
    for (const [set, key] of [
      ["netdev galaxy_vip known4", "10.70.0.203"],
      ["inet galaxy_vip here4", "10.70.0.203"],
      ["inet galaxy_vip known6", "fd00:70::203"],
      ["netdev galaxy_vip watched4", "10.70.0.203"],
    ]) {
      await a.session.change("break it", [`add element ${set} { ${key} }`]);
    }
    assert.notEqual(await a.placed(), right);
    await a.network.repair();
    assert.equal(await a.placed(), right);
    await waitUntil("the address to answer again", () => lab.outside.pings(vip), Boolean);
    // Elements that are not there cannot be deleted: they are written anew.
    await a.session.change("break it", [`delete element inet galaxy_vip here4 { ${vip} }`]);
    await a.place(vip, { kind: "nowhere" });
    await a.place(vip, here("10.80.1.2"));
    assert.equal(await a.placed(), right);
    // The gate is closed whatever became of what turned traffic to the pod.
    await a.session.change("break it", [
      "flush set inet galaxy_vip open4",
      `delete element inet galaxy_vip to4 { ${vip} }`,
    ]);
    await a.gate.close([vip]);
    assert.doesNotMatch(await a.rules(), /10\.80\.1\.2/, "nothing is turned to the pod any more");
  });

  it("offers routes while they are held, and withdraws them without the program that offered them", async () => {
    await using lab = await aLab();
    const [a] = lab.benches;
    const offered = async () => (await a.namespace.ip("route show proto 157")).trim();
    const told = () => readFile(lab.hookLog, "utf8").catch(() => "");
    await a.place(vip, here("10.80.1.2", { way: { kind: "Route" } }));
    await a.hold(vip, ip("10.80.1.2"), 300_000);
    await waitUntil("the offer", offered, (text) => text.includes(vip));
    await waitUntil("the hook", told, (text) => text === `add ${vip}\n`);
    a.network.offerFor(1_500);
    await waitUntil("the end of the offer", offered, (text) => text === "");
    await waitUntil("the hook again", told, (text) => text === `add ${vip}\ndel ${vip}\n`);
  });
});
