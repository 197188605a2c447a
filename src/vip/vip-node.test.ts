// Where a node puts an address before it is granted it, and what it refuses although it was granted it. Records are written by hand; the kernel's side is in test/vip.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip, ipRange } from "../../test/builders.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { MemoryVersionedStore } from "../adapters/memory/versioned-store.ts";
import type { Ip } from "../core/ip.ts";
import type { VipHolder, VipRecord } from "../core/vip.ts";
import { newVipRecord } from "../core/vip.ts";
import type { VipClaim } from "../ports/vip-claims.ts";
import type { VipPlace } from "../ports/vip-network.ts";
import { VipNode } from "./vip-node.ts";

const address = ip("192.0.2.50");

function holderOn(nodeName: string): VipHolder {
  const pod = { namespace: "shop", name: nodeName };
  return {
    pod,
    podUid: `uid-${nodeName}`,
    podIp: podIps[nodeName] ?? address,
    nodeName,
    session: 1,
  };
}

const podIps: Readonly<Record<string, Ip>> = { n1: ip("10.0.0.1"), n2: ip("10.0.0.2") };

function claimOf({ nodeName, pod, podIp, podUid }: VipHolder): VipClaim {
  return {
    pod,
    podUid,
    podIps: [podIp],
    nodeName,
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

/** What nobody may claim, as this node and as the API server know it. */
const own = { range: ipRange("192.0.2.55~192.0.2.55"), what: "an address of this node, on eth0" };
const service = { range: ipRange("192.0.2.56~192.0.2.57"), what: "the service CIDR 192.0.2.56/31" };

/** Node n2 of two, and the place where it put the address last. */
async function aNode(wish: { readonly namespaces?: readonly string[] } = {}) {
  const unable: string[] = [];
  const clock = new ManualClock();
  const vips = new MemoryVersionedStore<Ip, VipRecord>((record) => record.ip);
  const places: (VipPlace | undefined)[] = [];
  const node = new VipNode({
    nodeName: "n2",
    vips,
    claims: {
      claimedIps: () => [address],
      claimsOf: () => [claimOf(holderOn("n2"))],
      ipsOf: () => [address],
      pools: () => [
        {
          name: "edge",
          ranges: [ipRange("192.0.2.50~192.0.2.60")],
          namespaces: wish.namespaces,
          mode: { kind: "Route" },
          onControlPlaneLoss: "Fence",
          minReadyMs: 0,
          lastResort: "release",
        },
      ],
      forbidden: () => [service],
      complaints: () => [],
      watch: () => () => {},
    },
    nodeIps: () => [ip("10.70.0.11")],
    network: {
      start: async () => {},
      neverClaimed: () => [own],
      place: async (wanted) => {
        places.push(wanted.get(address));
        return new Map();
      },
      repair: async () => {},
      keepInside: async () => {},
      probe: async () => new Map(),
      announce: () => assert.fail("nothing was granted here"),
      hush: () => {},
      claimAgain: () => {},
      claimants: async () => new Map(),
      offerFor: () => assert.fail("nothing was granted here"),
      stop: async () => {},
    },
    clock,
    log: new MemoryLog(),
    report: { opened: () => {}, foreignClaim: () => {}, unable: (_, text) => unable.push(text) },
  });
  node.start();
  await vips.create(newVipRecord(address, 0));
  return {
    node,
    unable,
    /** Where the address is put when the record says this. */
    placeFor: async (change: Partial<VipRecord>): Promise<VipPlace | undefined> => {
      const present = vips.get(address);
      assert.ok(present);
      await vips.update({ ...present, ...change });
      await clock.pass(10);
      return places.at(-1);
    },
  };
}

const asked = {
  epoch: 1,
  holder: holderOn("n1"),
  release: "wanted",
  next: holderOn("n2"),
} as const;

describe("a node that is to have an address next", () => {
  it("has everything but the gate ready when the holder was asked to let go", async () => {
    const { node, placeFor } = await aNode();
    const before = await placeFor({ ...asked, release: "none", next: undefined });
    assert.deepEqual([before?.kind, (await placeFor(asked))?.kind], ["there", "here"]);
    assert.equal((await placeFor({ release: "done" }))?.kind, "here");
    assert.equal(node.heldCount, 0);
  });

  it("puts it back when another one is granted it", async () => {
    const { placeFor } = await aNode();
    assert.equal((await placeFor(asked))?.kind, "here");
    const other = { ...asked, epoch: 2, release: "none", next: undefined } as const;
    assert.equal((await placeFor(other))?.kind, "there");
  });

  it("prepares nothing for a pod that it does not know or that may not claim", async () => {
    const { placeFor } = await aNode();
    const unknown = { ...holderOn("n2"), podUid: "uid-other" };
    assert.equal((await placeFor({ ...asked, next: unknown }))?.kind, "there");
    const strict = await aNode({ namespaces: ["bank"] });
    assert.equal((await strict.placeFor(asked))?.kind, "there");
  });
});

describe("a node that is granted what may not be", () => {
  const granted = (to: Ip, change: Partial<VipHolder> = {}): VipRecord => ({
    ...newVipRecord(to, 0),
    epoch: 1,
    holder: { ...holderOn("n2"), ...change },
  });

  it("answers for what its pod may claim", async () => {
    const { node } = await aNode();
    assert.equal(node.refusal(granted(address)), undefined);
  });

  for (const [what, record, because] of [
    ["in no pool", granted(ip("192.0.2.61")), /in no VIPPool/],
    ["its own", granted(ip("192.0.2.55")), /an address of this node/],
    ["a Service's", granted(ip("192.0.2.57")), /the service CIDR/],
    ["loopback", granted(ip("127.0.0.1")), /loopback/],
    ["multicast", granted(ip("ff02::1")), /multicast/],
    ["of a pod that it does not have", granted(address, { podUid: "uid-other" }), /no pod/],
    ["turned to another pod's address", granted(address, { podIp: ip("10.0.0.9") }), /10\.0\.0\.9/],
  ] as const) {
    it(`refuses an address that is ${what}, whoever wrote the record`, async () => {
      const { node } = await aNode();
      assert.match(node.refusal(record) ?? "", because);
    });
  }

  it("refuses an address of a pool that does not allow the namespace, and says so once", async () => {
    const { node, placeFor, unable } = await aNode({ namespaces: ["bank"] });
    await placeFor({ epoch: 1, holder: holderOn("n2") });
    for (let count = 0; count < 3; count += 1) {
      assert.match(node.refusal(granted(address)) ?? "", /namespace shop may not use/);
    }
    assert.equal(unable.length, 1);
  });
});
