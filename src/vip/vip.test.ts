// Controller and agents together on in-memory adapters and one clock: what happens when nothing goes wrong, and the commonest failures. What
// happens under every kind of fault is tried in sim/vip.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip, ipRange } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { FixedLeadership } from "../adapters/memory/leadership.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryVersionedStore } from "../adapters/memory/versioned-store.ts";
import { MemoryVipGate } from "../adapters/memory/vip-gate.ts";
import { MemoryVipHost } from "../adapters/memory/vip-host.ts";
import type { Ip } from "../core/ip.ts";
import type { NodeLease, VipRecord } from "../core/vip.ts";
import { vipTimers } from "../core/vip.ts";
import type { VipPool } from "../core/vip-holder.ts";
import type { KeepOutcome } from "../ports/vip-addresses.ts";
import type { VipClaim } from "../ports/vip-claims.ts";
import { WorldError } from "../ports/world-error.ts";
import { VipAgent } from "./vip-agent.ts";
import { VipController } from "./vip-controller.ts";

const address = ip("192.0.2.50");

const pool: VipPool = {
  name: "edge",
  ranges: [ipRange("192.0.2.50~192.0.2.60")],
  namespaces: ["shop"],
  mode: { kind: "Route" },
  onControlPlaneLoss: "Fence",
  minReadyMs: 5_000,
  lastResort: "release",
};

/** Two nodes with an agent each, one controller, and pods `a` on node `na` and `b` on node `nb`. */
function aCluster(
  options: {
    readonly namespace?: string;
    readonly keep?: KeepOutcome;
    readonly pool?: Partial<VipPool>;
    /** Pods by the last letter of their nodes' names; a and b unless said. */
    readonly pods?: readonly string[];
  } = {},
) {
  const clock = new ManualClock();
  const outage = { isOn: false };
  const vips = new StoreWithOutage<Ip, VipRecord>((record) => record.ip, outage);
  const leases = new StoreWithOutage<string, NodeLease>((lease) => lease.nodeName, outage);
  const names = options.pods ?? ["a", "b"];
  let keep: KeepOutcome = options.keep ?? { kind: "kept" };
  const claims = new Map<string, VipClaim>();
  const listeners = new Set<(ip: Ip) => void>();
  const givenBack: Ip[] = [];
  const tell = () => {
    for (const listener of listeners) listener(address);
  };
  const change = (name: string, wish: Partial<VipClaim> | undefined) => {
    const present = claims.get(name);
    if (present === undefined || wish === undefined) claims.delete(name);
    else claims.set(name, { ...present, ...wish });
    tell();
  };
  for (const name of names) {
    claims.set(name, {
      pod: { namespace: options.namespace ?? "shop", name },
      podUid: `uid-${name}`,
      podIps: [ip("10.0.0.1")],
      nodeName: `n${name}`,
      phase: "Running",
      isReady: true,
      readySinceMs: clock.nowMs() - 60_000,
      isTerminating: false,
      unableSinceMs: undefined,
      wishes: { sendsFromVip: false, ports: undefined, probe: undefined },
      isNodeReady: true,
      priority: 0,
      preempts: false,
      siblings: [address],
      told: undefined,
    });
  }
  const log = new MemoryLog();
  const startAgent = (nodeName: string, gate: MemoryVipGate, host = new MemoryVipHost()) => {
    const timers = vipTimers;
    const agent = new VipAgent({ nodeName, vips, leases, gate, host, clock, log, timers });
    agent.start();
    return agent;
  };
  const nodes = names.map((name) => {
    const nodeName = `n${name}`;
    const gate = new MemoryVipGate(clock);
    const host = new MemoryVipHost();
    return { nodeName, gate, host, agent: startAgent(nodeName, gate, host) };
  });
  const ports = {
    vips,
    leases,
    claims: {
      claimedIps: () => (claims.size === 0 ? [] : [address]),
      claimsOf: () => [...claims.values()],
      pools: () => [{ ...pool, ...options.pool }],
      ipsOf: () => [address],
      forbidden: () => [],
      complaints: () => [],
      watch: (listener: (ip: Ip) => void) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    addresses: {
      keep: async () => keep,
      giveBack: async (given: Ip) => {
        givenBack.push(given);
      },
    },
    leadership: new FixedLeadership(),
    clock,
    log,
    timers: vipTimers,
  };
  const startController = () => {
    const controller = new VipController(ports);
    controller.start();
    return controller;
  };
  const controller = startController();
  const answering = () =>
    nodes.filter(({ gate }) => gate.answeringNow().length > 0).map(({ nodeName }) => nodeName);
  const setKeep = (outcome: KeepOutcome) => {
    keep = outcome;
  };
  return {
    ...{ answering, change, claims, clock, controller, givenBack, leases, nodes },
    ...{ outage, setKeep, startAgent, startController, tell, vips },
  };
}

/** A store that cannot be reached while `outage.isOn`; its watch stands still too, because nothing is written meanwhile. */
class StoreWithOutage<
  Key extends string,
  T extends { readonly version: string },
> extends MemoryVersionedStore<Key, T> {
  readonly #outage: { readonly isOn: boolean };

  constructor(keyOf: (value: T) => Key, outage: { readonly isOn: boolean }) {
    super(keyOf);
    this.#outage = outage;
  }

  #reach(tried: string): void {
    if (!this.#outage.isOn) return;
    throw new WorldError("API_UNAVAILABLE", { tried, message: "in the test" });
  }

  override async read(key: Key) {
    this.#reach("read");
    return await super.read(key);
  }

  override async create(value: T) {
    this.#reach("create");
    return await super.create(value);
  }

  override async update(value: T) {
    this.#reach("update");
    return await super.update(value);
  }
}

/** The pods that hold the address one after the other, each once for each time that it changed hands. */
function holdersOf(vips: MemoryVersionedStore<Ip, VipRecord>): readonly string[] {
  const names: string[] = [];
  vips.watch((changed) => {
    const name = vips.get(changed)?.holder?.pod.name;
    if (name !== undefined && names.at(-1) !== name) names.push(name);
  });
  return names;
}

describe("virtual addresses", () => {
  it("are held by one of the pods that claim them, and its node answers", async () => {
    const { answering, clock, vips } = aCluster();
    await clock.pass(1_000);
    const record = vips.get(address);
    assert.equal(record?.holder?.pod.name, "a");
    assert.equal(record.look.state, "Held");
    assert.deepEqual(answering(), ["na"]);
    const { epoch } = record;
    await clock.pass(60_000);
    assert.equal(vips.get(address)?.epoch, epoch);
    assert.deepEqual(answering(), ["na"]);
  });

  it("move without a revocation when the holder is not ready any more", async () => {
    const { answering, change, clock, leases, vips } = aCluster();
    await clock.pass(1_000);
    change("a", { isReady: false });
    await clock.pass(100);
    assert.equal(vips.get(address)?.holder?.pod.name, "b");
    assert.deepEqual(answering(), ["nb"]);
    assert.ok(leases.all().every(({ isRevoked }) => !isRevoked));
    change("a", { isReady: true, readySinceMs: clock.nowMs() });
    await clock.pass(20_000);
    assert.deepEqual(answering(), ["nb"]);
  });

  it("move when the holder's agent died, not before its kernel went silent", async () => {
    const { answering, clock, leases, nodes, vips } = aCluster();
    await clock.pass(1_000);
    nodes[0]?.agent.stop();
    await clock.pass(2_000);
    assert.deepEqual(answering(), ["na"]);
    await clock.pass(2_500);
    assert.equal(leases.get("na")?.isRevoked, true);
    assert.equal(vips.get(address)?.holder?.pod.name, "b");
    assert.deepEqual(answering(), ["nb"]);
  });

  it("stay where they are when a new leader sees the grant before the pod that it was made to", async () => {
    const { change, claims, clock, controller, startController, vips } = aCluster();
    await clock.pass(1_000);
    const { epoch, holder } = vips.get(address) ?? assert.fail("there is a record");
    assert.equal(holder?.pod.name, "a");
    controller.stop();
    const seen = claims.get("a") ?? assert.fail("it claims");
    change("a", undefined);
    const second = startController();
    await clock.pass(1_000);
    claims.set("a", seen);
    change("a", {});
    await clock.pass(20_000);
    assert.equal(vips.get(address)?.epoch, epoch);
    // What a leader saw once it acts on at once, and what it does not see for a while it takes for gone.
    change("a", { isReady: false });
    await clock.pass(100);
    assert.equal(vips.get(address)?.holder?.pod.name, "b");
    second.stop();
    startController();
    change("b", undefined);
    await clock.pass(1_400);
    assert.equal(vips.get(address)?.look.state, "Held");
    await clock.pass(1_000);
    assert.equal(vips.get(address)?.holder, undefined);
  });

  it("are nobody's when no pod may hold them, with the reason, and somebody's at once when one may", async () => {
    const { answering, change, clock, vips } = aCluster();
    await clock.pass(1_000);
    change("a", { isReady: false });
    change("b", { isTerminating: true });
    await clock.pass(1_000);
    const { look, holder } = vips.get(address) ?? assert.fail("there is a record");
    assert.equal(holder, undefined);
    assert.equal(look.state, "Unheld");
    assert.match(look.message, /shop\/a: PodNotReady, shop\/b: PodTerminating/);
    assert.deepEqual(answering(), []);
    change("a", { isReady: true, readySinceMs: clock.nowMs() });
    await clock.pass(500);
    assert.deepEqual(answering(), ["na"]);
  });

  it("are given back, and their record removed, when nobody claims them any more", async () => {
    const { answering, change, clock, givenBack, vips } = aCluster();
    await clock.pass(1_000);
    change("a", undefined);
    change("b", undefined);
    await clock.pass(3_000);
    assert.deepEqual(answering(), []);
    assert.equal(vips.get(address), undefined);
    assert.deepEqual(givenBack, [address]);
  });

  it("are rejected for a namespace that their pool does not allow", async () => {
    const { answering, clock, vips } = aCluster({ namespace: "other" });
    await clock.pass(3_000);
    assert.equal(vips.get(address)?.look.state, "Rejected");
    assert.equal(vips.get(address)?.look.reason, "NamespaceNotAllowed");
    assert.deepEqual(answering(), []);
  });

  it("are rejected while they are a pod's own address", async () => {
    const { answering, clock, vips } = aCluster({ keep: { kind: "in use", by: "pod db/db-0" } });
    await clock.pass(3_000);
    const look = vips.get(address)?.look;
    assert.equal(look?.reason, "AddressInUse");
    assert.match(look.message, /belongs to pod db\/db-0; claim another address/);
    assert.deepEqual(answering(), []);
  });

  it("come back to the same pod when its agent starts again, with a new session and epoch", async () => {
    const { answering, clock, leases, nodes, startAgent, vips } = aCluster();
    await clock.pass(1_000);
    const before = vips.get(address)?.holder ?? assert.fail("somebody holds it");
    const epoch = vips.get(address)?.epoch ?? 0;
    const [first] = nodes;
    assert.ok(first !== undefined);
    first.agent.stop();
    startAgent(first.nodeName, first.gate);
    await clock.pass(5_000);
    assert.deepEqual(answering(), ["na"]);
    const after = vips.get(address);
    assert.equal(after?.holder?.podUid, before.podUid);
    assert.ok(after.holder.session > before.session && after.epoch > epoch);
    assert.equal(leases.get("na")?.isRevoked, false);
  });

  it("say why and how fast they moved", async () => {
    const { change, clock, nodes, vips } = aCluster();
    await clock.pass(1_000);
    assert.equal(vips.get(address)?.transition?.reason, "Claimed");
    nodes[0]?.agent.stop();
    await clock.pass(5_000);
    const lost = vips.get(address)?.transition;
    assert.equal(lost?.reason, "AgentLost");
    assert.deepEqual([lost.from?.pod.name, lost.to?.pod.name], ["a", "b"]);
    assert.ok((lost.detectMs ?? 0) >= 3_000 && (lost.detectMs ?? 0) <= 4_000, `${lost.detectMs}`);
    change("b", { isReady: false, unableSinceMs: clock.nowMs() - 70 });
    await clock.pass(1_000);
    const nobody = vips.get(address)?.transition;
    assert.equal(nobody?.reason, "PodNotReady");
    assert.deepEqual([nobody.to, nobody.detectMs], [undefined, 70]);
  });

  it("stand back from a pod that lost them again and again, also for another controller", async () => {
    const { change, clock, controller, startController, vips } = aCluster({
      pods: ["a", "b", "c"],
    });
    change("c", { isReady: false });
    await clock.pass(1_000);
    for (let round = 0; round < 5; round += 1) {
      for (const [ready, other] of [
        ["b", "a"],
        ["a", "b"],
      ] as const) {
        change(ready, { isReady: true, readySinceMs: clock.nowMs() - 60_000 });
        change(other, { isReady: false });
        await clock.pass(1_000);
        assert.equal(vips.get(address)?.holder?.pod.name, ready);
      }
    }
    assert.ok((vips.get(address)?.losses.length ?? 0) >= 8);
    controller.stop();
    startController();
    change("b", { isReady: true, readySinceMs: clock.nowMs() - 60_000 });
    change("c", { isReady: true, readySinceMs: clock.nowMs() - 10_000 });
    change("a", { isReady: false });
    // A new leader believes grants of before for a while.
    await clock.pass(2_500);
    assert.equal(vips.get(address)?.holder?.pod.name, "c");
  });

  it("move once from a pod whose readiness comes and goes to one that is steady", async () => {
    const { change, clock, vips } = aCluster();
    const followed = holdersOf(vips);
    await clock.pass(1_000);
    for (let second = 0; second < 60; second += 2) {
      const isReady = second % 4 !== 0;
      change("a", { isReady, ...(isReady ? { readySinceMs: clock.nowMs() } : {}) });
      await clock.pass(2_000);
    }
    assert.deepEqual(followed, ["a", "b"]);
  });

  it("move seldom between pods whose readiness comes and goes together, and at once when only one is ready", async () => {
    const { answering, change, clock, vips } = aCluster();
    const followed = holdersOf(vips);
    await clock.pass(1_000);
    for (let second = 0; second < 60; second += 2) {
      const isReady = second % 4 !== 0;
      for (const name of ["a", "b"]) {
        change(name, { isReady, ...(isReady ? { readySinceMs: clock.nowMs() } : {}) });
      }
      await clock.pass(2_000);
      assert.equal(answering().length, isReady ? 1 : 0, "somebody answers whenever one is ready");
    }
    assert.ok(followed.length - 1 <= 3, followed.join());
    for (const name of ["a", "b"]) change(name, { isReady: false });
    await clock.pass(1_000);
    assert.deepEqual(answering(), []);
    assert.equal(vips.get(address)?.look.state, "Unheld");
    assert.match(vips.get(address)?.look.message ?? "", /PodNotReady/);
    // With nobody else neither the time that a pod must be ready nor what it did before counts.
    const last = followed.at(-1) ?? "a";
    change(last, { isReady: true, readySinceMs: clock.nowMs() });
    await clock.pass(100);
    assert.deepEqual(answering(), [`n${last}`]);
  });

  it("are let go when their record is deleted by hand, and granted again with a new one", async () => {
    const { answering, clock, givenBack, vips } = aCluster();
    await clock.pass(1_000);
    const before = vips.get(address) ?? assert.fail("there is a record");
    await vips.update({ ...before, isDeleted: true });
    await clock.pass(3_000);
    const after = vips.get(address);
    assert.notEqual(after?.bornMs, before.bornMs);
    assert.equal(after?.isDeleted, false);
    assert.deepEqual(answering(), ["na"]);
    assert.deepEqual(givenBack, []);
  });

  it("stay with their holder while a new leader does not know the address space yet", async () => {
    const { answering, clock, controller, setKeep, startController, vips } = aCluster();
    await clock.pass(1_000);
    const epoch = vips.get(address)?.epoch;
    controller.stop();
    setKeep({ kind: "not yet" });
    startController();
    await clock.pass(10_000);
    assert.deepEqual(answering(), ["na"]);
    assert.equal(vips.get(address)?.epoch, epoch);
  });

  it("get no record while the address space is not known", async () => {
    const { clock, setKeep, vips } = aCluster({ keep: { kind: "not yet" } });
    await clock.pass(3_000);
    assert.equal(vips.get(address), undefined);
    setKeep({ kind: "kept" });
    await clock.pass(3_000);
    assert.equal(vips.get(address)?.holder?.pod.name, "a");
  });

  it("say that another machine claims them", async () => {
    const { clock, vips } = aCluster();
    await clock.pass(1_000);
    const record = vips.get(address) ?? assert.fail("there is a record");
    await vips.update({ ...record, foreignOwner: "aa:bb:cc:dd:ee:ff on eth0" });
    await clock.pass(1_000);
    const look = vips.get(address)?.look;
    assert.equal(look?.state, "Conflict");
    assert.match(look.message, /aa:bb:cc:dd:ee:ff on eth0 claims it too/);
  });

  it("are not called held while the node that was granted them does not answer", async () => {
    const { answering, clock, nodes, vips } = aCluster();
    await clock.pass(1_000);
    const record = vips.get(address) ?? assert.fail("there is a record");
    const holding = nodes.find(({ nodeName }) => nodeName === record.holder?.nodeName);
    holding?.host.refusals.set(address, "it is the gateway");
    holding?.agent.lookAgain(address);
    await clock.pass(4_000);
    assert.deepEqual(answering(), []);
    const refused = vips.get(address);
    assert.equal(refused?.look.state, "Unheld");
    assert.equal(refused.look.reason, "NodeUnable");
    assert.match(refused.look.message, /does not answer for it: it is the gateway$/);
    assert.equal(refused.epoch, record.epoch);
    holding?.host.refusals.clear();
    holding?.agent.lookAgain(address);
    await clock.pass(4_000);
    assert.deepEqual(answering(), [holding?.nodeName]);
    assert.equal(vips.get(address)?.look.state, "Held");
  });

  it("are back with the same epoch when the API server was away for everybody", async () => {
    const { answering, clock, leases, outage, vips } = aCluster();
    await clock.pass(2_000);
    const epoch = vips.get(address)?.epoch;
    outage.isOn = true;
    await clock.pass(60_000);
    assert.deepEqual(answering(), []);
    outage.isOn = false;
    await clock.pass(2_000);
    assert.deepEqual(answering(), ["na"]);
    assert.equal(vips.get(address)?.epoch, epoch);
    assert.ok(leases.all().every(({ isRevoked }) => !isRevoked));
  });

  it("of a pool that holds move when a majority of the voters renews", async () => {
    const pods = ["a", "b", "c"];
    const { clock, nodes, vips } = aCluster({ pods, pool: { onControlPlaneLoss: "Hold" } });
    await clock.pass(2_000);
    // The first grant may have had one voter: it is made once more when all agents are there.
    await clock.pass(20_000);
    assert.deepEqual(vips.get(address)?.voters, ["na", "nb", "nc"]);
    nodes[0]?.agent.stop();
    await clock.pass(6_000);
    assert.notEqual(vips.get(address)?.holder?.pod.name, "a");
  });

  it("of a pool that holds stay where they are without a majority of the voters", async () => {
    const pods = ["a", "b", "c"];
    const { clock, leases, nodes, vips } = aCluster({ pods, pool: { onControlPlaneLoss: "Hold" } });
    await clock.pass(2_000);
    await clock.pass(20_000);
    for (const { agent } of nodes.slice(0, 2)) agent.stop();
    await clock.pass(30_000);
    assert.equal(vips.get(address)?.holder?.pod.name, "a");
    assert.equal(leases.get("na")?.isRevoked, false);
  });
});
