// When a probe makes a pod serve or not, and what is written of it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import type { Ip } from "../core/ip.ts";
import type { VipClaim } from "../ports/vip-claims.ts";
import { WorldError } from "../ports/world-error.ts";
import { VipProber } from "./vip-prober.ts";

const address = ip("192.0.2.50");

function aPod(wish: Partial<VipClaim> = {}): VipClaim {
  return {
    pod: { namespace: "shop", name: "a" },
    podUid: "uid-a",
    podIps: [ip("10.0.0.1")],
    nodeName: "n1",
    phase: "Running",
    isReady: false,
    readySinceMs: 0,
    isTerminating: false,
    unableSinceMs: undefined,
    wishes: {
      sendsFromVip: false,
      ports: undefined,
      probe: { protocol: "tcp", port: 443, everyMs: 500, failures: 3 },
    },
    isNodeReady: true,
    priority: 0,
    preempts: false,
    siblings: [address],
    told: undefined,
    ...wish,
  };
}

function aProber(pods: VipClaim[]) {
  const clock = new ManualClock();
  const told: (readonly [string, boolean])[] = [];
  const asked: string[] = [];
  const listeners = new Set<(ip: Ip) => void>();
  const world = { accepts: true, isApiBroken: false };
  const prober = new VipProber({
    nodeName: "n1",
    claims: {
      claimedIps: () => [address],
      claimsOf: () => pods,
      pools: () => [],
      ipsOf: () => [],
      forbidden: () => [],
      complaints: () => [],
      watch: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    conditions: {
      tell: async ({ id }, { isHolder }) => {
        if (world.isApiBroken) {
          throw new WorldError("API_UNAVAILABLE", { tried: "write", message: "in the test" });
        }
        told.push([id.name, isHolder]);
        return "told";
      },
    },
    probe: {
      accepts: async (podIp, port) => {
        asked.push(`${podIp}:${port}`);
        return world.accepts;
      },
    },
    clock,
    log: new MemoryLog(),
  });
  return { clock, told, asked, world, prober, tell: () => listeners.forEach((l) => l(address)) };
}

describe("probes of pods", () => {
  it("say at the first success that a pod serves, and after so many failures in a row that it does not", async () => {
    const { clock, told, world, prober } = aProber([aPod()]);
    prober.start();
    await clock.pass(1);
    assert.deepEqual(told, [["a", true]]);
    world.accepts = false;
    await clock.pass(1_000);
    assert.deepEqual(told, [["a", true]], "two failures are none");
    await clock.pass(500);
    world.accepts = true;
    await clock.pass(500);
    assert.deepEqual(told, [
      ["a", true],
      ["a", false],
      ["a", true],
    ]);
  });

  it("write nothing again that the pod's condition says already", async () => {
    const { clock, told, prober } = aProber([aPod({ isReady: true })]);
    prober.start();
    await clock.pass(5_000);
    assert.deepEqual(told, []);
  });

  it("write again what the API server did not take", async () => {
    const { clock, told, world, prober } = aProber([aPod()]);
    world.isApiBroken = true;
    prober.start();
    await clock.pass(2_000);
    world.isApiBroken = false;
    await clock.pass(500);
    assert.deepEqual(told, [["a", true]]);
  });

  it("ask only running pods of the node that wish for it, and end with the pod", async () => {
    const none = { sendsFromVip: false, ports: undefined, probe: undefined };
    const pods = [
      aPod({ podUid: "uid-b", nodeName: "n2" }),
      aPod({ podUid: "uid-c", wishes: none }),
      aPod({ podUid: "uid-d", phase: "Pending" }),
    ];
    const { clock, asked, prober, tell } = aProber(pods);
    prober.start();
    await clock.pass(2_000);
    assert.deepEqual(asked, []);
    pods.push(aPod());
    tell();
    await clock.pass(600);
    assert.deepEqual(asked, ["10.0.0.1:443", "10.0.0.1:443"]);
    pods.pop();
    await clock.pass(2_000);
    assert.deepEqual(asked.length, 2);
  });
});
