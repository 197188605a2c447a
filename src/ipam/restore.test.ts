// Backup and restore over the control plane in memory: lost records come back as they were, and nobody loses anything by it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aNode, aPod, aPodSubnet, aPool, controlledBy, ip } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryAllocationStore } from "../adapters/memory/allocation-store.ts";
import { withFaults } from "../adapters/memory/faults.ts";
import type { Allocation } from "../core/allocation.ts";
import type { Ip } from "../core/ip.ts";
import { ipToNumber } from "../core/ip.ts";
import type { Snapshot } from "./backup.ts";

const subnets = [aPodSubnet({ ranges: ["10.0.70.2~10.0.70.30"] })];

function ofStatefulSet(name: string, wanted: { readonly policy?: "immutable" | "never" } = {}) {
  const controller = controlledBy("apps/v1", "StatefulSet", "db");
  return aPod({ name, controller, policy: wanted.policy ?? "never" });
}

/** A world with addresses of every kind; its pods run. */
async function aBusyWorld(): Promise<IpamWorld> {
  const world = await IpamWorld.leading(subnets);
  world.cluster.putNode(aNode("n1", "10.0.1.1"));
  await world.schedule(ofStatefulSet("db-0"));
  await world.schedule(ofStatefulSet("db-1"));
  await world.schedule(aPod({ name: "lone" }));
  await world.schedule(aPod({ name: "blue-1", pool: "blue" }));
  await world.schedule(aPod({ name: "blue-0", pool: "blue" }));
  await world.service.admin.reserve(ip("10.0.70.20"), "printer");
  world.cluster.putPool(aPool({ name: "blue", size: 3 }));
  await world.settle();
  await world.deletePod({ namespace: "ns1", name: "db-1" });
  await world.deletePod({ namespace: "ns1", name: "blue-1" });
  return world;
}

const said = (record: Allocation) => ({ ...record, version: "" });

/** Somebody deletes records behind the program's back. */
async function loseRecords(world: IpamWorld): Promise<void> {
  const operator = new MemoryAllocationStore(world.cluster);
  for (const record of world.records()) await operator.remove(record);
  await world.settle();
  await world.resync();
}

async function restore(world: IpamWorld, backup: Snapshot, isDryRun = false) {
  const options = { isDryRun, backedUpAtMs: backup.atMs };
  const outcomes = await world.service.restore.records(backup.records, options);
  await world.settle();
  return outcomes.map(({ kind }, index) => `${backup.records[index]?.ip} ${kind}`);
}

describe("restoring", () => {
  test("records that were lost come back as they were, and a second time nothing is done", async () => {
    const world = await aBusyWorld();
    const before = world.records().map(said);
    const backup = world.service.backup.snapshot();
    await loseRecords(world);
    const left = world.lines();
    const planned = await restore(world, backup, true);
    assert.deepEqual(world.lines(), left, "a plan changes nothing");
    const done = await restore(world, backup);
    assert.deepEqual(done, planned, "the plan is what happens");
    const after = new Map(world.records().map((record) => [record.ip, said(record)]));
    for (const record of before) {
      // Those of living pods were made again from the pods, with the time of now.
      const { updatedAtMs } = after.get(record.ip) ?? record;
      assert.deepEqual(after.get(record.ip), { ...record, updatedAtMs });
    }
    assert.equal(after.size, before.length);
    const again = await restore(world, backup);
    assert.ok(again.every((outcome) => outcome.endsWith(" unchanged")));
    await world.resync();
    assert.equal(world.records().length, before.length, "nothing of it is released");
    assert.deepEqual((await world.service.check.report()).findings, []);
  });

  test("what a newer release wrote into a record is entered again with it, also when its pod is gone meanwhile", async () => {
    const world = await aBusyWorld();
    const foreignText = '{"spec":{"future":1}}';
    const snapshot = world.service.backup.snapshot();
    const records = snapshot.records.map((record) => ({ ...record, foreignText }));
    await world.deletePod({ namespace: "ns1", name: "db-0" });
    await loseRecords(world);
    const outcomes = await restore(world, { ...snapshot, records });
    const isRestored = (record: Allocation) => outcomes.includes(`${record.ip} restored`);
    const entered = world.records().filter(isRestored);
    assert.ok(entered.some(({ owner }) => owner.kind === "pod" && owner.pod.name === "db-0"));
    assert.ok(entered.some(({ owner }) => owner.kind === "admin"));
    for (const record of entered) assert.equal(record.foreignText, foreignText, record.ip);
  });

  test("a quota that is missing is made, one that says something else stays and is named", async () => {
    const world = await aBusyWorld();
    const { quotaAdmin, restore: use } = world.service;
    await quotaAdmin.put({ name: "gold", limit: 7, namespaces: [] });
    await quotaAdmin.put({ name: "tin", limit: 3, namespaces: ["ns1"] });
    const { quotas } = world.service.backup.snapshot();
    await quotaAdmin.remove("tin");
    await quotaAdmin.put({ name: "gold", limit: 9, namespaces: [] });
    const kinds = async (isDryRun: boolean) =>
      (await use.quotas(quotas, { isDryRun })).map(({ kind }) => kind);
    assert.deepEqual(await kinds(true), ["refused", "restored"]);
    assert.equal(quotaAdmin.list().length, 1, "a plan changes nothing");
    assert.deepEqual(await kinds(false), ["refused", "restored"]);
    assert.deepEqual(
      quotaAdmin.list().map(({ name, limit }) => `${name} ${limit}`),
      ["gold 9", "tin 3"],
    );
    const [refused] = await use.quotas(quotas, { isDryRun: false });
    assert.match(
      refused?.message ?? "",
      /is there with limit 9 .*the backup has limit 7 .*quota set gold/,
    );
    assert.deepEqual(await kinds(false), ["refused", "unchanged"]);
  });

  test("an address that a new pod got since is the new pod's, and the backup's is named", async () => {
    const world = await aBusyWorld();
    const backup = world.service.backup.snapshot();
    const kept = backup.records.find(
      ({ owner, podUid }) => owner.kind === "pod" && owner.pod.name === "db-1" && podUid === "",
    );
    assert.ok(kept !== undefined);
    await loseRecords(world);
    const taker = await world.schedule(
      aPod({ name: "taker", request: { kind: "ranges", ranges: [[rangeOf(kept.ip)]] } }),
    );
    assert.deepEqual(taker.assignedIps, [kept.ip]);
    const [outcome] = await world.service.restore.records([kept], {
      isDryRun: false,
      backedUpAtMs: backup.atMs,
    });
    assert.equal(outcome?.kind, "refused");
    assert.match(outcome?.message ?? "", /^it belongs to pod ns1\/taker; .*restore again$/);
  });

  test("killed at any write and begun again, it ends with the same records", async () => {
    const whole = await aBusyWorld();
    const backup = whole.service.backup.snapshot();
    await loseRecords(whole);
    await restore(whole, backup);
    for (let fatal = 1; fatal <= 3; fatal += 1) {
      for (const fault of ["fail", "lost", "fail-after-applied"] as const) {
        let isDead = false;
        const world = await aBusyWorld();
        await loseRecords(world);
        // The process that restores dies at this write; what it wrote before stands.
        const dying = new IpamWorld({
          cluster: world.cluster,
          clock: world.clock,
          store: (cluster) =>
            withFaults(new MemoryAllocationStore(cluster), ({ name, count }) => {
              if (name === "create" && count === fatal) isDead = true;
              return isDead ? fault : "ok";
            }),
        });
        await world.service.stop();
        dying.service.start();
        dying.configure(subnets);
        await dying.service.startLeading();
        await restore(dying, backup);
        await dying.service.stop();
        const next = await IpamWorld.leading(subnets, {
          cluster: world.cluster,
          clock: world.clock,
        });
        await restore(next, backup);
        assert.deepEqual(next.lines(), whole.lines(), `${fault} at write ${fatal}`);
        await next.service.stop();
      }
    }
  });

  test("a dry run counts what it plans against replicas and sizes", async () => {
    const world = await IpamWorld.leading(subnets);
    world.cluster.putPool(aPool({ name: "blue", size: 2 }));
    await world.settle();
    const backup: Snapshot = {
      ...world.service.backup.snapshot(),
      records: ["10.0.70.2", "10.0.70.3", "10.0.70.4"].map((text) => ({
        ip: ip(text),
        owner: { kind: "pool" as const, pool: "blue" },
        policy: "never" as const,
        nodeName: "",
        lastNodeName: "",
        podUid: "",
        updatedAtMs: 1,
        isDraining: false,
        version: "",
      })),
    };
    const planned = await restore(world, backup, true);
    assert.deepEqual(planned, ["10.0.70.2 restored", "10.0.70.3 restored", "10.0.70.4 left"]);
    assert.deepEqual(await restore(world, backup), planned);
  });

  test("Pools that are missing are made as they were, and those that are there stay as they are", async () => {
    const world = await IpamWorld.leading(subnets);
    const wanted = aPool({ name: "blue", namespace: "ns1", size: 3 });
    const { restore: useCase } = world.service;
    assert.deepEqual(
      (await useCase.pools([wanted], { isDryRun: true })).map(({ kind }) => kind),
      ["restored"],
    );
    assert.equal(world.service.poolAdmin.get("blue"), undefined);
    await useCase.pools([wanted], { isDryRun: false });
    await world.settle();
    const made = world.service.poolAdmin.get("blue");
    assert.deepEqual([made?.namespace, made?.size], ["ns1", 3]);
    const [same, other] = await useCase.pools([wanted, { ...wanted, size: 5 }], {
      isDryRun: false,
    });
    assert.equal(same?.kind, "unchanged");
    assert.equal(other?.kind, "refused");
    assert.match(other?.message ?? "", /size 3, the backup has size 5; .*galaxyctl pool create/);
  });
});

/** The range of one address. */
function rangeOf(address: Ip) {
  const first = ipToNumber(address);
  return { first, last: first };
}
