// Quotas of namespaces with the whole control plane in memory: refused with the reason, never exceeded, and nothing taken away.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { aNode, aPod, aPodSubnet, aQuota } from "../../test/builders.ts";
import { IpamWorld } from "../../test/ipam-world.ts";
import { MemoryQuotaStore } from "../adapters/memory/quota-store.ts";
import { quotaInForce } from "../core/quota.ts";

async function worldWith(limit: number) {
  const quotas = new MemoryQuotaStore();
  await quotas.write(aQuota({ name: "team-a", namespaces: ["ns1"], limit }));
  const world = await IpamWorld.leading([aPodSubnet()], { quotas });
  world.cluster.putNode(aNode("n1", "10.0.1.5"));
  await world.settle();
  return { world, quotas };
}

describe("a quota of a namespace", () => {
  it("refuses the pod that would exceed it, with namespace, object, limit, use and the next step", async () => {
    const { world } = await worldWith(1);
    await world.schedule(aPod({ name: "a" }));
    const second = aPod({ name: "b" });
    world.cluster.putPod(second);
    const error = await world.passing(second);
    assert.equal(typeof error, "string");
    for (const part of [
      /namespace ns1/,
      /FloatingIPQuota team-a/,
      /allows 1/,
      /1 are used/,
      /raise spec\.limit/,
    ]) {
      assert.match(String(error), part);
    }
    const bound = await world.bind(second, "n1");
    assert.equal(bound.kind, "refused");
    const other = aPod({ namespace: "ns2", name: "b" });
    world.cluster.putPod(other);
    assert.deepEqual(await world.passing(other), ["n1"]);
    const report = await world.service.explain.pod(second.id);
    assert.ok(report.kind === "pod" && report.explanation.decision === "refused");
    await world.service.stop();
  });

  it("counts reservations, which the next pod of their owner may use all the same", async () => {
    const { world } = await worldWith(1);
    const { controller } = world.cluster.putStatefulSet({ namespace: "ns1", name: "db" });
    const first = aPod({ name: "db-0", controller, policy: "immutable" });
    await world.schedule(first);
    await world.deletePod(first.id);
    const other = aPod({ name: "b" });
    world.cluster.putPod(other);
    assert.match(String(await world.passing(other)), /reached its quota/);
    await world.schedule({ ...first, uid: "uid-again" });
    assert.equal(world.records()[0]?.podUid, "uid-again");
    await world.service.stop();
  });

  it("counts promises, and lets go of them", async () => {
    const { world } = await worldWith(1);
    const [a, b] = [aPod({ name: "a" }), aPod({ name: "b" })];
    for (const pod of [a, b]) world.cluster.putPod(pod);
    assert.deepEqual(await world.passing(a), ["n1"]);
    assert.match(String(await world.passing(b)), /and 1 promised/);
    await world.deletePod(a.id);
    assert.deepEqual(await world.passing(b), ["n1"]);
    await world.service.stop();
  });

  it("takes nothing away when it is lowered, and lets pods go on with what they have", async () => {
    const { world, quotas } = await worldWith(5);
    const pods = [];
    for (const name of ["a", "b", "c"]) pods.push(await world.schedule(aPod({ name })));
    const [quota] = quotas.all();
    await quotas.write({ ...(quota as NonNullable<typeof quota>), limit: 1 });
    await world.resync();
    assert.equal(world.records().length, 3);
    assert.deepEqual(
      world.service.quotaAdmin.namespaces().map(({ recordedCount }) => recordedCount),
      [3],
    );
    await world.service.stop();
  });

  it("is never exceeded, whatever is filtered, bound and deleted at the same time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 4 }),
        fc.array(
          fc.tuple(fc.constantFrom("filter", "bind", "delete"), fc.integer({ min: 0, max: 7 })),
          {
            minLength: 5,
            maxLength: 40,
          },
        ),
        async (limit, steps) => {
          const { world } = await worldWith(limit);
          const pods = Array.from({ length: 8 }, (_, index) => aPod({ name: `pod-${index}` }));
          for (const pod of pods) world.cluster.putPod(pod);
          const running: Promise<unknown>[] = [];
          let most = 0;
          world.service.allocator.onChange(() => {
            most = Math.max(most, world.records().length);
          });
          for (const [verb, index] of steps) {
            const pod = pods[index] as (typeof pods)[number];
            if (verb === "filter") running.push(world.filter(pod));
            else if (verb === "bind") running.push(world.bind(pod, "n1"));
            else {
              world.cluster.deletePod(pod.id);
              world.cluster.putPod({ ...pod, uid: `${pod.uid}-${running.length}` });
            }
          }
          await Promise.all(running);
          await world.settle();
          most = Math.max(most, world.records().length);
          assert.ok(most <= limit, `${most} of ${limit}`);
          await world.service.stop();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("the quota in force", () => {
  it("is the lowest that names the namespace, else the lowest of those for all", () => {
    const quotas = [
      aQuota({ name: "all", limit: 5 }),
      aQuota({ name: "all-2", limit: 4 }),
      aQuota({ name: "named", limit: 9, namespaces: ["a", "b"] }),
      aQuota({ name: "named-2", limit: 7, namespaces: ["b"] }),
    ];
    assert.equal(quotaInForce(quotas, "a")?.name, "named");
    assert.equal(quotaInForce(quotas, "b")?.name, "named-2");
    assert.equal(quotaInForce(quotas, "c")?.name, "all-2");
    assert.equal(quotaInForce([], "a"), undefined);
  });
});
