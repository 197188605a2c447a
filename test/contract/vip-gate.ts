// What every VipGate promises: a timer that nobody has to end, and an opening that comes in time or not at all.

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import type { Ip } from "../../src/core/ip.ts";
import type { GateEntry, VipGate } from "../../src/ports/vip-gate.ts";
import { ip } from "../builders.ts";

/** A gate and the kernel's time. */
export type GateBench = {
  readonly gate: VipGate;
  readonly pass: (ms: number) => Promise<void>;
  readonly stop?: () => Promise<void>;
};

const a: GateEntry = { ip: ip("192.0.2.50"), epoch: 1, podIp: ip("10.0.0.1") };
const b: GateEntry = { ip: ip("2001:db8::50"), epoch: 4, podIp: ip("2001:db8:1::1") };

/** Runs the suite against gates that `startBench` makes. @param skip why it cannot be run here; false: it can */
export function describeVipGate(
  name: string,
  startBench: () => Promise<GateBench>,
  skip: string | false = false,
): void {
  describe(`${name} as a VipGate`, { skip }, () => {
    let stop: (() => Promise<void>) | undefined;
    const start = async (): Promise<GateBench> => {
      const bench = await startBench();
      stop = bench.stop;
      return bench;
    };
    afterEach(async () => {
      await stop?.();
      stop = undefined;
    });
    const answers = async (gate: VipGate): Promise<readonly Ip[]> =>
      (await gate.answering()).map((entry) => entry.ip).toSorted();

    it("answers for what was opened, until its time ends by itself", async () => {
      const { gate, pass } = await start();
      assert.deepEqual(await gate.open(await gate.arm(1_000), [a, b], 3_000), { kind: "open" });
      assert.deepEqual(await answers(gate), [a.ip, b.ip]);
      await pass(3_001);
      assert.deepEqual(await answers(gate), []);
    });

    it("gives open entries the new time, and leaves those that are not named alone", async () => {
      const { gate, pass } = await start();
      await gate.open(await gate.arm(1_000), [a, b], 3_000);
      await pass(2_000);
      await gate.open(await gate.arm(1_000), [a], 3_000);
      await pass(2_000);
      assert.deepEqual(await answers(gate), [a.ip]);
    });

    it("gives open entries less time when less is left", async () => {
      const { gate, pass } = await start();
      await gate.open(await gate.arm(1_000), [a], 10_000);
      await gate.open(await gate.arm(1_000), [a], 1_000);
      await pass(1_001);
      assert.deepEqual(await answers(gate), []);
    });

    it("opens nothing when the time from arming is over", async () => {
      const { gate, pass } = await start();
      const permit = await gate.arm(100);
      await pass(101);
      assert.deepEqual(await gate.open(permit, [a], 3_000), { kind: "late" });
      assert.deepEqual(await answers(gate), []);
    });

    it("uses a permit up, and takes it away when somebody arms again or clears", async () => {
      const { gate } = await start();
      const used = await gate.arm(1_000);
      await gate.open(used, [a], 3_000);
      assert.equal((await gate.open(used, [b], 3_000)).kind, "late");
      const older = await gate.arm(1_000);
      await gate.arm(1_000);
      assert.equal((await gate.open(older, [b], 3_000)).kind, "late");
      const cleared = await gate.arm(1_000);
      await gate.clear();
      assert.equal((await gate.open(cleared, [b], 3_000)).kind, "late");
      assert.deepEqual(await answers(gate), []);
    });

    it("takes calls that are made at once one after the other", async () => {
      const { gate } = await start();
      await gate.open(await gate.arm(1_000), [a, b], 3_000);
      await Promise.all([gate.close([a.ip]), gate.close([a.ip, b.ip]), gate.close([b.ip])]);
      assert.deepEqual(await answers(gate), []);
      const permit = await gate.arm(1_000);
      await Promise.all([gate.open(permit, [a], 3_000), gate.close([a.ip])]);
      assert.deepEqual(await answers(gate), []);
    });

    it("closes what is named, and clears everything", async () => {
      const { gate } = await start();
      await gate.open(await gate.arm(1_000), [a, b], 3_000);
      await gate.close([a.ip]);
      assert.deepEqual(await gate.answering(), [b]);
      await gate.close([a.ip]);
      await gate.clear();
      assert.deepEqual(await answers(gate), []);
    });
  });
}
