// The agent alone, on in-memory adapters and one clock: how it ends, how the next one goes on, and what it refuses. What two nodes do together is
// tried in vip.test.ts and sim/vip.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryVersionedStore } from "../adapters/memory/versioned-store.ts";
import { MemoryVipGate } from "../adapters/memory/vip-gate.ts";
import { MemoryVipHost } from "../adapters/memory/vip-host.ts";
import { MemoryVipPeerNet } from "../adapters/memory/vip-peers.ts";
import type { Ip } from "../core/ip.ts";
import type { NodeLease, VipRecord } from "../core/vip.ts";
import { newVipRecord, vipTimers } from "../core/vip.ts";
import { WorldError } from "../ports/world-error.ts";
import { VipAgent } from "./vip-agent.ts";

const address = ip("192.0.2.50");
const second = ip("2001:db8::50");

/** One node with its kernel, and whatever agents it has one after the other. */
function aNode() {
  const clock = new ManualClock();
  const vips = new MemoryVersionedStore<Ip, VipRecord>((record) => record.ip);
  const leases = new MemoryVersionedStore<string, NodeLease>((lease) => lease.nodeName);
  const gate = new MemoryVipGate(clock);
  const host = new MemoryVipHost();
  const log = new MemoryLog();
  const anAgent = () =>
    new VipAgent({ nodeName: "n1", vips, leases, gate, host, clock, log, timers: vipTimers });
  const lease = () => leases.get("n1");
  const grant = async (to: Ip, session: number) => {
    const found = vips.get(to) ?? newVipRecord(to, clock.nowMs());
    const holder = {
      pod: { namespace: "shop", name: "a" },
      podUid: "uid-a",
      podIp: to.includes(":") ? ip("2001:db8:1::1") : ip("10.0.0.1"),
      nodeName: "n1",
      session,
    };
    const record = { ...found, epoch: found.epoch + 1, holder, release: "none" as const };
    const outcome = await (found.version === "" ? vips.create(record) : vips.update(record));
    assert.equal(outcome.kind, "written");
    await clock.pass(1);
  };
  /** With an agent that has joined and holds both addresses. */
  const holding = async () => {
    const agent = anAgent();
    agent.start();
    await clock.pass(1);
    for (const each of [address, second]) await grant(each, lease()?.session ?? 0);
    assert.deepEqual(answers(), [address, second]);
    return agent;
  };
  const answers = () => gate.answeringNow().map((entry) => entry.ip);
  return { clock, vips, leases, gate, host, log, anAgent, lease, grant, holding, answers };
}

/** Lets the next calls of a method be refused. */
function failing<K extends string>(of: Record<K, unknown>, method: K, times: number): void {
  const right = of[method];
  let left = times;
  Object.defineProperty(of, method, {
    configurable: true,
    value: (...args: readonly unknown[]) => {
      if (left === 0) return Reflect.apply(right as () => unknown, of, args);
      left -= 1;
      return Promise.reject(
        new WorldError("API_UNAVAILABLE", { tried: "call", message: "in the test" }),
      );
    },
  });
}

/** Three nodes whose agents hear each other, and a record in a pool that holds; the first has it. */
async function aHold() {
  const clock = new ManualClock();
  const vips = new MemoryVersionedStore<Ip, VipRecord>((record) => record.ip);
  const leases = new MemoryVersionedStore<string, NodeLease>((lease) => lease.nodeName);
  const net = new MemoryVipPeerNet();
  const cut = new Set<string>();
  const nodes = ["n1", "n2", "n3"].map((nodeName) => {
    const gate = new MemoryVipGate(clock);
    const refuse = () => {
      throw new WorldError("API_UNAVAILABLE", { tried: "call", message: "in the test" });
    };
    const reachable = <T>(call: () => Promise<T>): Promise<T> =>
      cut.has(nodeName) ? Promise.resolve().then(refuse) : call();
    const agent = new VipAgent({
      nodeName,
      vips,
      leases: {
        all: () => leases.all(),
        get: (key) => leases.get(key),
        watch: (listener) => leases.watch(listener),
        read: (key) => reachable(() => leases.read(key)),
        create: (value) => reachable(() => leases.create(value)),
        update: (value) => reachable(() => leases.update(value)),
        remove: (value) => reachable(() => leases.remove(value)),
      },
      gate,
      host: new MemoryVipHost(),
      peers: net.of(nodeName),
      clock,
      log: new MemoryLog(),
      timers: vipTimers,
    });
    agent.start();
    return { nodeName, gate, agent };
  });
  await clock.pass(1);
  const holder = {
    pod: { namespace: "shop", name: "a" },
    podUid: "uid-a",
    podIp: ip("10.0.0.1"),
    nodeName: "n1",
    session: leases.get("n1")?.session ?? 0,
  };
  const voters = ["n1", "n2", "n3"];
  await vips.create({ ...newVipRecord(address, 1), epoch: 1, holder, voters });
  await clock.pass(2_500);
  const [first] = nodes;
  const answers = () => (first?.gate.answeringNow() ?? []).length > 0;
  assert.equal(answers(), true);
  /** Whether it answered all the time. */
  const passAnswering = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 100) {
      await clock.pass(100);
      if (!answers()) return false;
    }
    return true;
  };
  return { clock, net, cut, answers, passAnswering };
}

describe("the agent of an address in a pool that holds", () => {
  it("answers on without a break when nobody reaches the API server, and goes on when it is back", async () => {
    const { cut, passAnswering } = await aHold();
    for (const name of ["n1", "n2", "n3"]) cut.add(name);
    assert.equal(await passAnswering(60_000), true);
    cut.clear();
    assert.equal(await passAnswering(10_000), true);
  });

  it("answers on with one of three nodes gone, and no more when it is alone", async () => {
    const { clock, cut, net, answers, passAnswering } = await aHold();
    for (const name of ["n1", "n2", "n3"]) cut.add(name);
    net.silent.add("n3");
    assert.equal(await passAnswering(20_000), true);
    net.silent.add("n2");
    await clock.pass(3_001);
    assert.equal(answers(), false);
  });

  it("stops when it alone lost the API server", async () => {
    const { clock, cut, answers } = await aHold();
    cut.add("n1");
    await clock.pass(5_001);
    assert.equal(answers(), false);
  });

  it("stops when another one reaches the API server", async () => {
    const { clock, cut, answers, passAnswering } = await aHold();
    for (const name of ["n1", "n2", "n3"]) cut.add(name);
    assert.equal(await passAnswering(10_000), true);
    cut.delete("n2");
    await clock.pass(4_500);
    assert.equal(answers(), false);
  });
});

describe("the agent of virtual addresses", () => {
  it("leaves at once, and says for all addresses together that its session is over", async () => {
    const node = aNode();
    const agent = await node.holding();
    const session = node.lease()?.session ?? 0;
    await agent.leave();
    assert.deepEqual(node.answers(), []);
    assert.deepEqual([...node.host.announced], []);
    assert.equal(node.lease()?.isRevoked, true);
    assert.equal(node.lease()?.session, session + 1);
    await node.clock.pass(10_000);
    assert.equal(node.lease()?.session, session + 1, "nothing is renewed any more");
  });

  it("hands its session on: the kernel answers until the next agent goes on with it", async () => {
    const node = aNode();
    const agent = await node.holding();
    const session = await agent.handOn(12_000);
    assert.equal(session, node.lease()?.session);
    assert.equal(node.lease()?.durationMs, 12_000, "others must wait for that long");
    await node.clock.pass(9_000);
    assert.deepEqual(node.answers(), [address, second]);
    const next = node.anAgent();
    next.start(session);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address, second]);
    assert.equal(node.lease()?.session, session);
    assert.equal(node.lease()?.durationMs, 12_000, "what was left in the kernel may last so long");
    await node.clock.pass(14_000);
    assert.deepEqual(node.answers(), [address, second]);
    assert.equal(node.lease()?.durationMs, vipTimers.leaseMs);
  });

  it("answers no longer than it said when no agent comes", async () => {
    const node = aNode();
    await (await node.holding()).handOn(12_000);
    await node.clock.pass(12_001);
    assert.deepEqual(node.answers(), []);
  });

  it("begins anew when the session that was handed on was taken away meanwhile", async () => {
    const node = aNode();
    const session = await (await node.holding()).handOn(12_000);
    const lease = node.lease();
    assert.ok(lease !== undefined);
    await node.leases.update({ ...lease, isRevoked: true });
    node.anAgent().start(session);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), []);
    assert.ok((node.lease()?.session ?? 0) > (session ?? 0));
  });

  it("goes on with a session that was handed on also when the API server or the kernel fails at first", async () => {
    const node = aNode();
    const session = await (await node.holding()).handOn(12_000);
    const record = node.vips.get(second);
    assert.ok(record !== undefined);
    await node.vips.update({ ...record, holder: undefined });
    failing(node.leases, "read", 2);
    failing(node.leases, "update", 1);
    failing(node.gate, "answering", 1);
    node.anAgent().start(session);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address, second], "the kernel answers meanwhile");
    await node.clock.pass(1_000);
    assert.deepEqual(node.answers(), [address]);
    assert.equal(node.lease()?.session, session);
    await node.clock.pass(20_000);
    assert.deepEqual(node.answers(), [address]);
  });

  it("hands its session on when what it is letting go has arrived", async () => {
    const node = aNode();
    const agent = await node.holding();
    const record = node.vips.get(second);
    assert.ok(record !== undefined);
    await node.vips.update({ ...record, release: "wanted" });
    const handing = agent.handOn(12_000);
    await node.clock.pass(100);
    assert.equal(await handing, node.lease()?.session);
    assert.equal(node.vips.get(second)?.release, "done");
    assert.deepEqual(node.answers(), [address]);
  });

  it("does not hand a session on that the API server did not take", async () => {
    const node = aNode();
    const agent = await node.holding();
    failing(node.leases, "update", 1);
    assert.equal(await agent.handOn(12_000), undefined);
    await agent.leave();
    assert.deepEqual(node.answers(), []);
  });

  it("closes what it was asked to let go also when the kernel fails at first and the record is gone by then", async () => {
    const node = aNode();
    await node.holding();
    const record = node.vips.get(address);
    assert.ok(record !== undefined);
    failing(node.gate, "close", 2);
    await node.vips.update({ ...record, release: "wanted" });
    const asked = node.vips.get(address);
    assert.ok(asked !== undefined);
    await node.vips.remove(asked);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address, second], "the kernel did not do it yet");
    await node.clock.pass(1_000);
    assert.deepEqual(node.answers(), [second]);
    assert.deepEqual([...node.host.announced], [second]);
  });

  it("closes what the session before it answered for and what is not granted any more", async () => {
    const node = aNode();
    const session = await (await node.holding()).handOn(12_000);
    const record = node.vips.get(second);
    assert.ok(record !== undefined);
    await node.vips.update({ ...record, release: "wanted" });
    node.anAgent().start(session);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address]);
    assert.equal(node.vips.get(second)?.release, "done");
  });

  it("does not answer for what its node refuses, and does when that ends", async () => {
    const node = aNode();
    node.host.refusals.set(address, "it is the gateway");
    const agent = node.anAgent();
    agent.start();
    await node.clock.pass(1);
    await node.grant(address, node.lease()?.session ?? 0);
    await node.clock.pass(5_000);
    assert.deepEqual(node.answers(), []);
    node.host.refusals.clear();
    agent.lookAgain(address);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address]);
    node.host.refusals.set(address, "its pool was deleted");
    agent.lookAgain(address);
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), []);
  });

  it("opens with fewer at once when the kernel finds that all together come too late", async () => {
    const node = aNode();
    const sizes: number[] = [];
    const open = node.gate.open.bind(node.gate);
    node.gate.open = async (permit, entries, leftMs) => {
      sizes.push(entries.length);
      return entries.length > 100 ? { kind: "late" } : open(permit, entries, leftMs);
    };
    const agent = node.anAgent();
    agent.start();
    await node.clock.pass(1);
    const session = node.lease()?.session ?? 0;
    const ips = Array.from({ length: 300 }, (_, n) => ip(`10.9.${n >> 8}.${n & 255}`));
    for (const each of ips) await node.grant(each, session);
    await node.clock.pass(1_200);
    assert.equal(node.answers().length, ips.length);
    assert.ok(sizes.some((size) => size > 100));
  });

  it("renews in time while its kernel takes longer over an opening than that, and opens what came meanwhile together", async () => {
    const node = aNode();
    const agent = await node.holding();
    const arm = node.gate.arm.bind(node.gate);
    const hung = Promise.withResolvers<void>();
    let arms = 0;
    node.gate.arm = async (withinMs) => {
      arms += 1;
      if (arms === 1) await hung.promise;
      return arm(withinMs);
    };
    const versions = new Set<string | undefined>();
    for (let second = 0; second < 6; second += 1) {
      await node.clock.pass(1_000);
      versions.add(node.lease()?.version);
    }
    assert.ok(versions.size >= 6, `${versions.size} versions of the lease in 6 s`);
    assert.ok(agent.leaseLeftMs() > 0);
    assert.deepEqual(node.answers(), [], "nobody told the kernel of a new end");
    hung.resolve();
    await node.clock.pass(1);
    assert.deepEqual(node.answers(), [address, second]);
    assert.ok(arms <= 2, `${arms} openings for what one can do`);
  });

  it("tells the kernel again when that failed, without waiting for the next renewal", async () => {
    const node = aNode();
    await node.holding();
    const open = node.gate.open.bind(node.gate);
    let failures = 0;
    node.gate.open = async (permit, entries, leftMs) => {
      if (failures > 0) return open(permit, entries, leftMs);
      failures += 1;
      throw new WorldError("NETWORK_CHANGE_FAILED", { tried: "nft", message: "in the test" });
    };
    let openings = 0;
    await node.clock.pass(vipTimers.renewMs);
    assert.equal(failures, 1);
    node.gate.open = async (permit, entries, leftMs) => {
      openings += 1;
      return open(permit, entries, leftMs);
    };
    await node.clock.pass(300);
    assert.equal(openings, 1);
    assert.deepEqual(node.answers(), [address, second]);
  });

  it("says in the record why it does not answer for what it was granted, and takes it back when it does", async () => {
    const node = aNode();
    node.host.refusals.set(address, "it is the gateway");
    const agent = node.anAgent();
    agent.start();
    await node.clock.pass(1);
    await node.grant(address, node.lease()?.session ?? 0);
    await node.clock.pass(1_000);
    assert.equal(node.vips.get(address)?.unable, undefined, "it may be a watch that is behind");
    await node.clock.pass(2_000);
    assert.equal(node.vips.get(address)?.unable, "it is the gateway");
    const version = node.vips.get(address)?.version;
    await node.clock.pass(10_000);
    assert.equal(node.vips.get(address)?.version, version, "it is said once");
    node.host.refusals.clear();
    agent.lookAgain(address);
    await node.clock.pass(100);
    assert.deepEqual(node.answers(), [address]);
    assert.equal(node.vips.get(address)?.unable, undefined);
  });
});
