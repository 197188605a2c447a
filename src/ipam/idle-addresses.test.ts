// Idle addresses with the whole control plane in memory: reserved, announced, released, or taken again in between.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aNode, anAllocation, aPod, aPodSubnet, ip } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import type { FaultPlan } from "../adapters/memory/faults.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import { MemoryPodBinder } from "../adapters/memory/pod-binder.ts";
import type { Allocation } from "../core/allocation.ts";

const hourMs = 3_600_000;
const ttlMs = 40 * hourMs;

/** A StatefulSet `ns1/db` whose pod db-0 had an address and is gone, with its record reserved. */
async function withReservation(
  parts: {
    readonly reserveTtl?: number | "never";
    readonly pool?: string;
    readonly plan?: FaultPlan;
  } = {},
) {
  const { plan = () => "ok" as const } = parts;
  const world = await IpamWorld.leading([aPodSubnet()], {
    store: (cluster) => withFaults(new MemoryAllocationStore(cluster), plan),
  });
  world.cluster.putNode(aNode("n1", "10.0.1.5"));
  const { reserveTtl, pool } = parts;
  const { ref, controller } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
  world.cluster.live.workloads.forEach((state, key, workloads) => {
    if (reserveTtl !== undefined) workloads.set(key, { ...state, reserveTtl });
  });
  const pod = aPod({
    name: "db-0",
    controller,
    pool,
    policy: pool === undefined ? "immutable" : "never",
    ...(reserveTtl === undefined ? {} : { reserveTtl }),
  });
  await world.schedule(pod);
  await world.deletePod(pod.id);
  assert.equal(world.records()[0]?.podUid, "");
  const look = async () => {
    world.service.idle.look();
    await world.service.idle.whenIdle();
    await world.settle();
  };
  /** Time passes and a look is made after each tenth of the time limit. */
  const pass = async (ms: number) => {
    for (let done = 0; done < ms; done += ttlMs / 10) {
      world.clock.advance(Math.min(ttlMs / 10, ms - done));
      await look();
    }
  };
  const events = () => world.events.events().filter(({ reason }) => reason.includes("Idle"));
  return { world, pod, ref, look, pass, events };
}

describe("a reservation with reserve-ttl", () => {
  it("says since when no pod has it, is announced to its workload and then released", async () => {
    const { world, pass, events } = await withReservation({ reserveTtl: ttlMs });
    assert.equal(world.records()[0]?.idleSinceMs, world.clock.nowMs());
    await pass(29 * hourMs);
    assert.deepEqual(events(), []);
    await pass(2 * hourMs);
    assert.equal(world.records().length, 1);
    await pass(8 * hourMs);
    assert.equal(world.records().length, 1, "not before its time");
    await pass(2 * hourMs);
    assert.deepEqual(world.records(), []);
    assert.deepEqual(
      events().map(({ type, reason, about }) => [type, reason, about.kind, about.name]),
      [
        ["Warning", "IdleFloatingIP", "StatefulSet", "db"],
        ["Normal", "IdleFloatingIPReleased", "StatefulSet", "db"],
      ],
    );
    await world.service.stop();
  });

  it("stays with a pod that came back after the warning, and counts anew afterwards", async () => {
    const { world, pod, pass, events } = await withReservation({ reserveTtl: ttlMs });
    await pass(35 * hourMs);
    assert.equal(events().length, 1);
    const again = await world.schedule({ ...pod, uid: "uid-again" });
    await pass(50 * hourMs);
    assert.equal(world.records()[0]?.podUid, "uid-again");
    assert.equal(world.records()[0]?.idleSinceMs, undefined);
    await world.deletePod(again.id);
    await pass(20 * hourMs);
    assert.equal(world.records().length, 1);
    assert.equal(world.records()[0]?.idleWarnedMs, undefined);
    await world.service.stop();
  });

  it("stays while a pod of its name waits", async () => {
    const { world, pod, pass } = await withReservation({ reserveTtl: ttlMs });
    world.cluster.putPod({ ...pod, uid: "uid-pending" });
    await pass(90 * hourMs);
    assert.equal(world.records().length, 1);
    await world.service.stop();
  });

  it("is announced once, and released in time, by one leader after another", async () => {
    const { world, pass, events } = await withReservation({ reserveTtl: ttlMs });
    await pass(35 * hourMs);
    await world.service.stop();
    const next = new IpamWorld({ cluster: world.cluster, clock: world.clock });
    next.service.start();
    next.configure([aPodSubnet()]);
    await next.service.startLeading();
    await next.settle();
    await next.service.idle.whenIdle();
    assert.equal(next.records().length, 1);
    world.clock.advance(8 * hourMs);
    next.service.idle.look();
    await next.service.idle.whenIdle();
    await next.settle();
    assert.deepEqual(next.records(), []);
    assert.equal(events().length, 1);
    const reasons = next.events.events().map(({ reason }) => reason);
    assert.deepEqual(
      reasons.filter((reason) => reason.includes("Idle")),
      ["IdleFloatingIPReleased"],
    );
    await next.service.stop();
  });

  it("is announced even when nobody hears that the note of it was written", async () => {
    let isCut = false;
    const plan: FaultPlan = ({ name }) =>
      !isCut ? "ok" : name === "update" ? "fail-after-applied" : "fail";
    const { world, pass, look, events } = await withReservation({ reserveTtl: ttlMs, plan });
    await pass(29 * hourMs);
    isCut = true;
    await pass(3 * hourMs);
    assert.equal(typeof world.records()[0]?.idleWarnedMs, "number", "it is noted");
    isCut = false;
    assert.deepEqual(
      events().map(({ reason }) => reason),
      ["IdleFloatingIP"],
    );
    await world.service.reclaim.resync();
    await look();
    await pass(11 * hourMs);
    assert.deepEqual(world.records(), []);
    await world.service.stop();
  });

  it("is not released by its old look when an operator's record took its place", async () => {
    const { world, pass, look } = await withReservation({ reserveTtl: ttlMs });
    await pass(35 * hourMs);
    const [record] = world.records();
    assert.ok(record !== undefined);
    world.cluster.freezeCache();
    world.cluster.records.set(record.ip, {
      ...record,
      owner: { kind: "admin", key: "kept" },
      version: world.cluster.nextVersion(),
    });
    world.clock.advance(8 * hourMs);
    await look();
    assert.equal(world.records()[0]?.owner.kind, "admin");
    world.cluster.thawCache();
    await world.service.stop();
  });

  it("has no end by default, nor when the annotation says never", async () => {
    for (const reserveTtl of [undefined, "never"] as const) {
      const { world, pass } = await withReservation(reserveTtl === undefined ? {} : { reserveTtl });
      await pass(500 * hourMs);
      assert.equal(world.records().length, 1);
      await world.service.stop();
    }
  });

  it("takes the Pool's time, unless the Pool asks for the address itself", async () => {
    const { world, pass } = await withReservation({ pool: "blue" });
    world.cluster.putPool({ name: "blue", size: 1, preAllocate: true, reserveTtl: ttlMs });
    await world.settle();
    await pass(90 * hourMs);
    assert.equal(world.records().length, 1);
    world.cluster.putPool({ name: "blue", size: 1, reserveTtl: ttlMs });
    await world.settle();
    await pass(90 * hourMs);
    assert.deepEqual(world.records(), []);
    await world.service.stop();
  });

  it("keeps the addresses of a Pool whose time cannot be understood, and says so once", async () => {
    const { world, pass } = await withReservation({ pool: "blue" });
    const reserveTtlProblem = 'Pool kube-system/blue: reserveTTL: "soon" is no duration';
    world.cluster.putPool({ name: "blue", reserveTtl: "never", reserveTtlProblem });
    await world.settle();
    await pass(90 * hourMs);
    assert.equal(world.records().length, 1);
    const told = world.events.events().filter(({ reason }) => reason === "ReserveTTLRefused");
    assert.deepEqual(
      told.map(({ message }) => message),
      [reserveTtlProblem],
    );
    await world.service.stop();
  });

  it("says in an explanation when it will be released", async () => {
    const { world } = await withReservation({ reserveTtl: ttlMs });
    const reasons = world.service.explain.address(ip("10.0.70.2"), undefined);
    assert.match(reasons.join("; "), /no pod uses it since .*; it is released at /);
    const [listed] = world.service.idle.list();
    assert.equal(listed?.releaseAtMs, world.clock.nowMs() + ttlMs);
    await world.service.stop();
  });

  it("counts as due from the warning on, as long as the time is not made longer", async () => {
    const { world, ref, pass } = await withReservation({ reserveTtl: ttlMs });
    const due = () => world.service.idle.countDueBySubnet();
    await pass(29 * hourMs);
    assert.deepEqual(due(), [0]);
    await pass(2 * hourMs);
    assert.deepEqual(due(), [1]);
    const key = [...world.cluster.live.workloads.keys()].find((each) => each.includes(ref.name));
    for (const workloads of [world.cluster.live.workloads, world.cluster.cached.workloads]) {
      const state = workloads.get(String(key));
      assert.ok(state?.kind === "present");
      workloads.set(String(key), { ...state, reserveTtl: 10 * ttlMs });
    }
    assert.deepEqual(due(), [0]);
    await world.service.stop();
  });
});

describe("how long a record says that its address is kept", () => {
  const text = "10.0.70.7";
  const running = { nodeName: "n1", phase: "Running", assignedIps: [text] } as const;
  const silent = aPod({ name: "carrier", policy: "never", ...running });
  const carrier = { ...silent, reserveTtl: ttlMs };

  async function aWorld(parts: Parameters<typeof IpamWorld.leading>[1] = {}) {
    const world = await IpamWorld.leading([aPodSubnet()], parts);
    world.cluster.putNode(aNode("n1", "10.0.1.5"));
    return world;
  }

  /** A record as another process or an operator writes it. */
  function putRecord(world: IpamWorld, wanted: Parameters<typeof anAllocation>[0]): void {
    const record: Allocation = { ...anAllocation(wanted), version: world.cluster.nextVersion() };
    world.cluster.records.set(record.ip, record);
    world.cluster.recordEvents.emit({ kind: "changed", allocation: record });
  }

  function said(world: IpamWorld) {
    return world.records().map(({ podUid, reserveTtl }) => [podUid, reserveTtl]);
  }

  it("is what a pod asks for that is adopted with the address", async () => {
    const world = await aWorld();
    world.cluster.putPod(carrier);
    await world.settle();
    assert.deepEqual(said(world), [[carrier.uid, ttlMs]]);
    await world.service.stop();
  });

  it("is what a pod asks for whose address is imported", async () => {
    const world = await aWorld();
    world.cluster.freezeCache();
    world.cluster.putPod(carrier);
    const [outcome] = await world.service.admin.import(
      [
        {
          ip: ip(text),
          owner: { kind: "pod", pod: carrier.id, workload: undefined, pool: undefined },
          policy: undefined,
        },
      ],
      { isDryRun: false },
    );
    assert.equal(outcome?.kind, "entered");
    assert.deepEqual(said(world), [[carrier.uid, ttlMs]]);
    await world.service.stop();
  });

  const owners: Readonly<Record<string, Allocation["owner"]>> = {
    "another uid of its name": {
      kind: "pod",
      pod: carrier.id,
      workload: undefined,
      pool: undefined,
    },
    "a pool": { kind: "pool", pool: "blue" },
  };
  for (const [whose, owner] of Object.entries(owners)) {
    it(`is what the pod asks for that has the address, though the record named ${whose}`, async () => {
      for (const pod of [carrier, silent]) {
        const world = await aWorld();
        world.cluster.putPod(pod);
        await world.settle();
        const podUid = owner.kind === "pod" ? "uid-before" : "";
        putRecord(world, { ip: text, owner, policy: "never", podUid, reserveTtl: 2 * ttlMs });
        await world.resync();
        assert.deepEqual(said(world), [[pod.uid, pod.reserveTtl]]);
        await world.service.stop();
      }
    });
  }

  it("is what the last pod asked for that was given the address, though it was never bound", async () => {
    let isLost = false;
    const world = await aWorld({
      binder: (cluster) => withFaults(new MemoryPodBinder(cluster), () => (isLost ? "lost" : "ok")),
    });
    const { controller } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const pod = aPod({ name: "db-0", controller, policy: "never", reserveTtl: 2 * ttlMs });
    await world.schedule(pod);
    await world.deletePod(pod.id);
    isLost = true;
    const next = { ...pod, uid: "uid-next", reserveTtl: ttlMs };
    await assert.rejects(world.schedule(next));
    await world.deletePod(pod.id);
    assert.deepEqual(said(world), [["", ttlMs]]);
    await world.service.stop();
  });
});
