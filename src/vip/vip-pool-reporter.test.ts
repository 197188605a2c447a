// That the status of pools is written when it is wrong, by the leader alone, and no more often than that.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip, ipRange } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { FixedLeadership } from "../adapters/memory/leadership.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryVersionedStore } from "../adapters/memory/versioned-store.ts";
import type { Ip } from "../core/ip.ts";
import type { VipRecord } from "../core/vip.ts";
import { newVipRecord } from "../core/vip.ts";
import type { VipPoolSight, VipPoolStatus } from "../core/vip-pool-status.ts";
import { WorldError } from "../ports/world-error.ts";
import { VipPoolReporter } from "./vip-pool-reporter.ts";

function aStage(
  wish: {
    readonly isLeader?: boolean;
    readonly isWatchBehind?: boolean;
    readonly failures?: number;
  } = {},
) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const vips = new MemoryVersionedStore<Ip, VipRecord>((record) => record.ip);
  const told: VipPoolStatus[] = [];
  let failures = wish.failures ?? 0;
  let sight: VipPoolSight = {
    name: "edge",
    generation: 1,
    inForce: {
      name: "edge",
      ranges: [ipRange("192.0.2.50~192.0.2.53")],
      namespaces: undefined,
      mode: { kind: "Route" },
      onControlPlaneLoss: "Fence",
      minReadyMs: 0,
      lastResort: "release",
    },
    problem: undefined,
    told: undefined,
  };
  const reporter = new VipPoolReporter({
    pools: {
      sights: () => [sight],
      tell: async (_name, status) => {
        if (failures > 0) {
          failures -= 1;
          throw new WorldError("API_FORBIDDEN", { tried: "tell", message: "in the test" });
        }
        told.push(status);
        if (wish.isWatchBehind !== true) sight = { ...sight, told: status };
        return "told";
      },
    },
    vips,
    leadership: new FixedLeadership(wish.isLeader ?? true),
    clock,
    log,
  });
  reporter.start();
  return {
    clock,
    log,
    told,
    claim: async (text: string, state: VipRecord["look"]["state"] = "Unheld") => {
      const record = newVipRecord(ip(text), 0);
      await vips.create({ ...record, look: { ...record.look, state } });
    },
    edit: (change: Partial<VipPoolSight>) => {
      sight = { ...sight, ...change };
    },
  };
}

describe("the status of pools of virtual addresses", () => {
  it("is written once, and again when the use changes", async () => {
    const { claim, clock, told } = aStage();
    await clock.pass(5_000);
    assert.equal(told.length, 1);
    await claim("192.0.2.50");
    await claim("192.0.2.51", "Rejected");
    await clock.pass(5_000);
    assert.deepEqual(
      told.map(({ used, free }) => [used, free]),
      [
        [0, 4],
        [1, 3],
      ],
    );
  });

  it("says of an edit that cannot be read that it cannot", async () => {
    const { clock, edit, told } = aStage();
    await clock.pass(1_000);
    edit({ generation: 2, problem: "VIPPool edge: no" });
    await clock.pass(1_000);
    assert.deepEqual([told[1]?.generation, told[1]?.ready.isTrue], [2, false]);
  });

  it("is not written by who does not lead", async () => {
    const { clock, told } = aStage({ isLeader: false });
    await clock.pass(10_000);
    assert.deepEqual(told, []);
  });

  it("is not written again and again while the watch is behind, and again when it never came", async () => {
    const { clock, told } = aStage({ isWatchBehind: true });
    await clock.pass(4_500);
    assert.equal(told.length, 1);
    await clock.pass(2_000);
    assert.equal(told.length, 2);
  });

  it("is tried again after a refusal, which is said once", async () => {
    const { clock, log, told } = aStage({ failures: 3 });
    await clock.pass(10_000);
    assert.equal(told.length, 1);
    assert.equal(log.lines("warn").length, 1);
  });
});
