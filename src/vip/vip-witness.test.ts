// What the witness tells of records, once each, and that only the leader tells. Records are written by hand; who decides is not here.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip, ipRange } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { FixedLeadership } from "../adapters/memory/leadership.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryMetrics } from "../adapters/memory/metrics.ts";
import { MemoryVersionedStore } from "../adapters/memory/versioned-store.ts";
import type { Ip } from "../core/ip.ts";
import type { VipHolder, VipRecord } from "../core/vip.ts";
import { newVipRecord } from "../core/vip.ts";
import type { EventNote } from "../ports/event-recorder.ts";
import type { HolderCondition, VipClaim, VipComplaint } from "../ports/vip-claims.ts";
import { WorldError } from "../ports/world-error.ts";
import { VipWitness } from "./vip-witness.ts";

const address = ip("192.0.2.50");

function aClaim(name: string, namespace = "shop"): VipClaim {
  return {
    pod: { namespace, name },
    podUid: `uid-${name}`,
    podIps: [ip("10.0.0.1")],
    nodeName: "n1",
    phase: "Running",
    isReady: true,
    readySinceMs: 0,
    isTerminating: false,
    unableSinceMs: undefined,
    wishes: { sendsFromVip: false, ports: undefined, probe: undefined },
    isNodeReady: true,
    priority: 0,
    preempts: false,
    siblings: [address],
    told: undefined,
  };
}

function holderOf({ nodeName, pod, podUid }: VipClaim): VipHolder {
  return { pod, podUid, podIp: ip("10.0.0.1"), nodeName, session: 1 };
}

function aStage(wish: { readonly isLeader?: boolean; readonly claims?: readonly VipClaim[] } = {}) {
  const clock = new ManualClock();
  const vips = new MemoryVersionedStore<Ip, VipRecord>((record) => record.ip);
  const leadership = new FixedLeadership(wish.isLeader ?? true);
  const metrics = new MemoryMetrics();
  const notes: EventNote[] = [];
  const complaints: VipComplaint[] = [];
  const told: { readonly pod: string; readonly condition: HolderCondition }[] = [];
  const listeners = new Set<(ip: Ip) => void>();
  let claims = wish.claims ?? [aClaim("a"), aClaim("b")];
  let failures = 0;
  const witness = new VipWitness({
    vips,
    claims: {
      claimedIps: () => (claims.length === 0 ? [] : [address]),
      claimsOf: () => claims,
      ipsOf: ({ name }) => (claims.some(({ pod }) => pod.name === name) ? [address] : []),
      pools: () => [
        {
          name: "edge",
          ranges: [ipRange("192.0.2.50~192.0.2.60")],
          namespaces: ["shop"],
          mode: { kind: "Route" },
          onControlPlaneLoss: "Fence",
          minReadyMs: 0,
          lastResort: "release",
        },
      ],
      forbidden: () => [],
      complaints: () => complaints,
      watch: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    conditions: {
      tell: async ({ id }, condition) => {
        if (failures > 0) {
          failures -= 1;
          throw new WorldError("API_UNAVAILABLE", { tried: "tell", message: "in the test" });
        }
        told.push({ pod: id.name, condition });
        claims = claims.map((claim) =>
          claim.pod.name === id.name ? { ...claim, told: condition } : claim,
        );
        return "told";
      },
    },
    events: { record: (note) => notes.push(note) },
    metrics,
    leadership,
    clock,
    log: new MemoryLog(),
    refOf: (each) => ({ apiVersion: "g/v1", kind: "VIP", namespace: "", name: each, uid: "u" }),
  });
  witness.start();
  /** So long the world rests after a change: long enough for it to be told. */
  let restMs = 400;
  const write = async (change: Partial<VipRecord>) => {
    const present = vips.get(address);
    if (present === undefined) await vips.create(newVipRecord(address, 0));
    const record = vips.get(address) ?? assert.fail("it was made");
    await vips.update({ ...record, ...change });
    await clock.pass(restMs);
  };
  const grant = (to: VipClaim, epoch: number, from?: VipClaim) =>
    write({
      epoch,
      holder: holderOf(to),
      look: { state: "Held", reason: "Granted", message: "it is held", candidates: [] },
      transition: {
        from: from && { pod: from.pod, nodeName: "n1" },
        to: { pod: to.pod, nodeName: "n1" },
        reason: from === undefined ? "Claimed" : "PodNotReady",
        atMs: clock.nowMs(),
        detectMs: 40,
        decideMs: 50,
        programMs: undefined,
      },
    });
  const change = async (next: readonly VipClaim[]) => {
    claims = next;
    for (const listener of listeners) listener(address);
    await clock.pass(restMs);
  };
  const events = () => notes.map(({ about, reason }) => `${about.kind} ${about.name} ${reason}`);
  const fail = (times: number) => {
    failures = times;
  };
  const rest = (ms: number) => {
    restMs = ms;
  };
  return {
    ...{ change, clock, complaints, events, fail, grant, leadership },
    ...{ metrics, notes, rest, told, vips, witness, write },
  };
}

describe("the witness of virtual addresses", () => {
  it("tells both pods and the record of a move, and counts it", async () => {
    const { events, grant, metrics, notes } = aStage();
    const [a, b] = [aClaim("a"), aClaim("b")];
    await grant(a, 1);
    await grant(b, 2, a);
    assert.deepEqual(events(), [
      "VIP 192.0.2.50 VIPGranted",
      "Pod a VIPGranted",
      "VIP 192.0.2.50 VIPGranted",
      "Pod b VIPGranted",
      "Pod a VIPLost",
    ]);
    assert.match(
      notes.at(-1)?.message ?? "",
      /^192\.0\.2\.50 went from shop\/a on node n1 to shop\/b on node n1 \(PodNotReady, epoch 2\)$/,
    );
    assert.equal(notes.at(-1)?.about.uid, "uid-a");
    assert.equal(metrics.countOf("vip_transitions", { reason: "PodNotReady" }), 1);
  });

  it("times a move when the new node says that it answers, once", async () => {
    const { grant, metrics, vips, write } = aStage();
    await grant(aClaim("a"), 1);
    assert.deepEqual(metrics.timesOf("vip_gap"), []);
    const transition = vips.get(address)?.transition ?? assert.fail("it was written");
    await write({ transition: { ...transition, programMs: 10 } });
    await write({ foreignOwner: undefined });
    assert.deepEqual(metrics.timesOf("vip_gap", { func: "Claimed" }), [0.1]);
  });

  it("warns when nobody holds an address, and when another machine claims it", async () => {
    const { events, grant, metrics, write } = aStage();
    await grant(aClaim("a"), 1);
    await write({ foreignOwner: "aa:bb on eth0" });
    await write({ foreignOwner: "aa:bb on eth0" });
    const look = { reason: "NoCandidate", message: "nobody may", candidates: [] };
    await write({ holder: undefined, look: { ...look, state: "Unheld" } });
    assert.equal(metrics.countOf("vip_conflicts"), 1);
    assert.deepEqual(events().slice(2), [
      "VIP 192.0.2.50 VIPConflict",
      "Pod a VIPConflict",
      "VIP 192.0.2.50 VIPUnheld",
    ]);
  });

  it("tells each refused claim once, and again when it was right meanwhile", async () => {
    const refused = aClaim("x", "other");
    const { change, events } = aStage({ claims: [refused] });
    await change([refused]);
    await change([refused]);
    assert.deepEqual(events(), ["Pod x VIPRejected"]);
    await change([{ ...refused, pod: { namespace: "shop", name: "x" } }]);
    await change([refused]);
    assert.deepEqual(events(), ["Pod x VIPRejected", "Pod x VIPRejected"]);
  });

  it("tells complaints once, and again when they come back", async () => {
    const { clock, complaints, events } = aStage();
    const about = { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "a", uid: "u" };
    const complaint = { about, reason: "VIPClaimInvalid", message: "it is no address" };
    complaints.push(complaint);
    await clock.pass(3_000);
    assert.deepEqual(events(), ["Pod a VIPClaimInvalid"]);
    complaints.pop();
    await clock.pass(1_500);
    complaints.push(complaint);
    await clock.pass(1_500);
    assert.equal(events().length, 2);
  });

  it("writes what a pod holds or why not into its condition, and nothing twice", async () => {
    const { clock, grant, told } = aStage();
    await grant(aClaim("a"), 1);
    await clock.pass(10_000);
    const last = (name: string) => told.findLast(({ pod }) => pod === name)?.condition;
    assert.deepEqual(last("a"), { isHolder: true, reason: "Holds", message: "holds 192.0.2.50" });
    assert.equal(last("b")?.isHolder, false);
    assert.match(last("b")?.message ?? "", /does not hold 192\.0\.2\.50: shop\/a holds it/);
    const count = told.length;
    await clock.pass(10_000);
    assert.equal(told.length, count);
  });

  it("lets a storm of moves pass before it writes anything, but not for long", async () => {
    const { clock, events, grant, rest, told } = aStage();
    const [a, b] = [aClaim("a"), aClaim("b")];
    rest(100);
    await grant(a, 1);
    for (let epoch = 2; epoch < 28; epoch += 1) {
      await (epoch % 2 === 0 ? grant(b, epoch, a) : grant(a, epoch, b));
    }
    assert.deepEqual([events(), told], [[], []]);
    for (let epoch = 28; epoch < 40; epoch += 1) {
      await (epoch % 2 === 0 ? grant(b, epoch, a) : grant(a, epoch, b));
    }
    const before = events().length;
    assert.ok(before > 0, "something is told while it goes on");
    await clock.pass(5_000);
    assert.equal(events().length, 2 + 3 * 38, "all is told in the end");
    assert.equal(told.findLast(({ pod }) => pod === "a")?.condition.isHolder, true);
    assert.equal(told.findLast(({ pod }) => pod === "b")?.condition.isHolder, false);
  });

  it("tries a condition again that could not be written", async () => {
    const { clock, fail, grant, told } = aStage();
    fail(4);
    await grant(aClaim("a"), 1);
    await clock.pass(10_000);
    assert.equal(told.findLast(({ pod }) => pod === "a")?.condition.isHolder, true);
  });

  it("says so in the condition when a pod claims nothing any more", async () => {
    const { change, clock, grant, told } = aStage();
    await grant(aClaim("a"), 1);
    await clock.pass(1_000);
    await change([aClaim("b")]);
    await clock.pass(1_000);
    assert.equal(told.findLast(({ pod }) => pod === "a")?.condition.reason, "NoClaim");
  });

  it("tells nothing while another process leads, and nothing old when it leads", async () => {
    const { clock, events, grant, leadership, told, witness } = aStage({ isLeader: false });
    await grant(aClaim("a"), 1);
    await clock.pass(3_000);
    assert.deepEqual([events(), told], [[], []]);
    leadership.become(true, "self");
    witness.lead();
    await clock.pass(3_000);
    assert.deepEqual(events(), []);
    assert.equal(told.findLast(({ pod }) => pod === "a")?.condition.isHolder, true);
    await grant(aClaim("b"), 2, aClaim("a"));
    assert.equal(events().length, 3);
  });

  it("is silent when it was stopped", async () => {
    const { clock, events, grant, told, witness } = aStage();
    witness.stop();
    await grant(aClaim("a"), 1);
    await clock.pass(3_000);
    assert.deepEqual([events(), told], [[], []]);
  });
});
