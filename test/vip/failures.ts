// The cases of virtual addresses in which agents, nodes, cables and the API server fail: somebody else answers in the end, and never two at
// once. They run on the bed of test/e2e/vip.test.ts, two failures of different nodes at a time where neither touches the other. What is
// measured of it stands in bench/vip.ts.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import type { BedNode, VipBed } from "./bed.ts";
import { echoPort, floatingVips, vipName } from "./bed.ts";
import { BirdRouters } from "./bird.ts";
import type { VipCase } from "./cases.ts";
import { answeredBy, runCase, whenAnsweringOnly } from "./cases.ts";
import { handsOf, monotonicMs } from "./meters.ts";

/** A lease is 3 s; a kernel that is looked at from a busy machine seems to answer longer. */
const generousLeaseMs = 6_200;

/** Three times the longest lease, which is 5 s for the node of a pool that holds: nobody can have held by a lease alone for so long. */
const longAfterMs = 15_000;

/** @param bedOf the bed, once the tests run; its API server is stopped and started again, last of all */
export function describeFailures(bedOf: () => VipBed): void {
  describe("when something fails", () => {
    before(async () => {
      const spec = { namespaces: ["default"], interfaces: "eth0", minReadySeconds: 0 };
      const routed = ["203.0.113.0/24", "2001:db8:13::/112"];
      await bedOf().addPool("routed", { ranges: routed, ...spec, mode: "Route" });
      await bedOf().addPool("held", {
        ranges: ["192.0.2.150~192.0.2.199"],
        onControlPlaneLoss: "Hold",
        ...spec,
      });
    });

    /** A holder on one node, a standby on another, and clients that ask by old and new flows. */
    const pair = async (own: VipCase, from: string, to: string, ip = own.address()) => {
      const bed = bedOf();
      const [holder, standby] = [`${from}-holds-${ip}`, `${to}-waits-${ip}`].map((name) =>
        name.replaceAll(/[.:]/g, "-"),
      ) as [string, string];
      const first = await own.pod({ name: holder, node: from, vips: ip });
      const { status } = await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: standby, node: to, vips: ip });
      const fresh = own.udp(ip);
      const fixed = own.udp(ip, { isFresh: false });
      await fresh.whenAnsweredBy(holder);
      await fixed.whenAnsweredBy(holder);
      return { ip, first, second, holder, standby, fresh, fixed, epoch: status?.epoch ?? 0 };
    };

    type Pair = Awaited<ReturnType<typeof pair>>;

    /** The standby answers, and the old holder never again, neither new flows nor old ones. */
    const isTakenOver = async (parts: Pair, sinceMs: number) => {
      const { fixed, fresh, holder, ip, second, standby } = parts;
      await bedOf().whenHeldBy(ip, second);
      const { ms } = await fresh.whenAnsweredBy(standby, sinceMs);
      await fixed.whenAnsweredBy(standby, sinceMs);
      await whenAnsweringOnly(fresh, standby);
      for (const stream of [fresh, fixed]) {
        const late = stream.answers().filter((answer) => answer.pod === holder && answer.ms > ms);
        assert.deepEqual(
          late,
          [],
          "nothing of the old holder after the first answer of the new one",
        );
      }
    };

    /** Nothing changed hands: the same pod answers, by the same grant. */
    const isUnchanged = async ({ epoch, fresh, holder, ip }: Pair, sinceMs: number) => {
      await whenAnsweringOnly(fresh, holder);
      assert.deepEqual(answeredBy(fresh, sinceMs), [holder]);
      const vip = await bedOf().api.get(floatingVips, { name: vipName(ip) });
      assert.deepEqual([vip?.status?.epoch, vip?.status?.holder?.pod], [epoch, holder]);
    };

    const connected = async (ip: string, pod: string) => {
      const long = bedOf().probes.begin({ do: "tcp-long", ip, port: echoPort, everyMs: 50 });
      assert.equal((await long.whenConnected()).pod, pod);
      return long;
    };

    test("an agent that is killed, and one that stands still, lose their addresses to another node, and join again", async () => {
      const bed = bedOf();
      await runCase(bed, async (own) => {
        const pairs = await Promise.all([pair(own, "a", "d"), pair(own, "b", "d")]);
        const sinceMs = monotonicMs();
        await bed.node("a").stopAgent("SIGKILL");
        bed.node("b").agent.signal("SIGSTOP");
        await Promise.all(pairs.map((each) => isTakenOver(each, sinceMs)));
        await bed.node("a").startAgent();
        bed.node("b").agent.signal("SIGCONT");
        await Promise.all(["a", "b"].map((name) => bed.node(name).whenJoined()));
        for (const { first, fresh, ip, second, standby } of pairs) {
          await whenAnsweringOnly(fresh, standby);
          const macs = [first.node.mac, second.node.mac];
          assert.deepEqual(handsOf(bed.frames.claimsOf(ip)), macs);
        }
      });
    });

    test("a node that loses power, and one that is cut from the API server alone, go silent before another one answers, and take nothing back", async () => {
      const bed = bedOf();
      await runCase(bed, async (own) => {
        const pairs = await Promise.all([pair(own, "a", "d"), pair(own, "b", "d")]);
        const [, cut] = pairs;
        const long = await connected(cut.ip, cut.holder);
        const [a, b] = [bed.node("a"), bed.node("b")];
        const sinceMs = monotonicMs();
        await Promise.all([
          a.setUplink("down"),
          a.setApiCable("down"),
          a.stopAgent(),
          b.setApiCable("down"),
        ]);
        await Promise.all(pairs.map((each) => isTakenOver(each, sinceMs)));
        const firstNew = await cut.fresh.whenAnsweredBy(cut.standby, sinceMs);
        assert.ok(
          long.answers().every(({ ms }) => ms < firstNew.ms),
          "an established connection through the old node was cut before",
        );
        await Promise.all([a.setUplink("up"), a.setApiCable("up"), b.setApiCable("up")]);
        await a.startAgent();
        await Promise.all([a.whenJoined(), b.whenJoined()]);
        for (const { fresh, standby } of pairs) await whenAnsweringOnly(fresh, standby);
      });
    });

    test("nodes that do not hear each other, but the API server, change nothing, and neither does an agent that is restarted in good order", async () => {
      const bed = bedOf();
      await runCase(bed, async (own) => {
        const [apart, restarted] = await Promise.all([pair(own, "a", "b"), pair(own, "d", "a")]);
        const long = await connected(restarted.ip, restarted.holder);
        const sinceMs = monotonicMs();
        const join = await bed.cutBetween("a", "b");
        try {
          const node = bed.node("d");
          await node.stopAgent("SIGTERM");
          await node.startAgent();
          for (const name of ["a", "b", "d"]) await bed.node(name).whenJoined();
          for (const name of ["a", "b"]) await bed.node(name).whenJoined();
          await isUnchanged(apart, sinceMs);
          await isUnchanged(restarted, sinceMs);
          const backMs = monotonicMs();
          // The echo of a connection does not say whose it is; it was connected to this pod.
          await long.whenAnsweredBy("", backMs);
        } finally {
          await join();
        }
      });
    });

    test("an address of a Route pool has one path at a time, and none soon after its agent was killed", async () => {
      const bed = bedOf();
      await runCase(bed, async (own) => {
        const [ip, ip6] = [own.routed(), own.routed6()];
        const [a, b] = [bed.node("a"), bed.node("b")];
        await using routers = await BirdRouters.start(bed.lab, bed.client, [...bed.nodes.values()]);
        const pathsOf = async (each: string): Promise<readonly BedNode[]> => {
          const text = await bed.client.ip(`${each.includes(":") ? "-6 " : ""}route show ${each}`);
          const hop = (node: BedNode) => (each.includes(":") ? node.ip6 : node.ip);
          return [...bed.nodes.values()].filter((node) => text.includes(`via ${hop(node)} `));
        };
        let most = 0;
        // The program that is told of routes, and BIRD, which reads them in the kernel.
        const whenPaths = async (what: string, wanted: readonly BedNode[]) => {
          for (const each of [ip, ip6]) {
            await waitUntil(
              `${what} of ${each}`,
              async () => {
                const seen = await pathsOf(each);
                most = Math.max(most, seen.length);
                return seen;
              },
              (seen) =>
                seen.length === wanted.length && seen.every((node) => wanted.includes(node)),
              { everyMs: 10 },
            );
            await waitUntil(
              `${what} of ${each} by BGP`,
              () => routers.hopsTo(each),
              (hops) =>
                hops.toSorted().join() ===
                wanted
                  .map((node) => (each.includes(":") ? node.ip6 : node.ip))
                  .toSorted()
                  .join(),
            );
          }
        };
        const vips = `${ip},${ip6}`;
        const first = await own.pod({ name: "a1", node: "a", vips });
        await bed.whenHeldBy(ip, first);
        await whenPaths("a path by a", [a]);
        const second = await own.pod({ name: "b1", node: "b", vips });
        const streams = [own.udp(ip), own.udp(ip6)];
        for (const stream of streams) await stream.whenAnsweredBy("a1");
        const sinceMs = monotonicMs();
        await first.delete();
        await whenPaths("a path by b", [b]);
        assert.equal(most, 1, "never two paths");
        await bed.whenHeldBy(ip, second);
        for (const stream of streams) await stream.whenAnsweredBy("b1", sinceMs);
        await b.stopAgent("SIGKILL");
        await whenPaths("no path", []);
        await b.startAgent();
        await b.whenJoined();
        await whenPaths("the path again", [b]);
        for (const each of [ip, ip6]) {
          assert.deepEqual(bed.frames.claimsOf(each), [], "nobody answered on the wire");
        }
      });
    });

    test("without an API server an address of a Fence pool goes silent in time, and one of a Hold pool is answered for on, but not by a node that is alone", async () => {
      const bed = bedOf();
      await runCase(bed, async (own) => {
        const [fenced, held] = await Promise.all([
          pair(own, "b", "d"),
          pair(own, "a", "b", own.held()),
        ]);
        const lostMs = monotonicMs();
        await bed.plane.stopApiServer();
        let join = async () => {};
        let backMs = 0;
        try {
          await bed.frames.whenSilent(fenced.ip);
          const last = fenced.fresh.answers().at(-1)?.ms ?? 0;
          assert.ok(last - lostMs < generousLeaseMs, `answered for ${last - lostMs} ms more`);
          await waitUntil(
            "answers long after the loss",
            () => held.fresh.answers().at(-1)?.ms ?? 0,
            (lastMs) => lastMs - lostMs > longAfterMs,
          );
          assert.deepEqual(answeredBy(held.fresh, lostMs), [held.holder]);
          // Joining one pair joins all.
          for (const other of ["b", "d"]) join = await bed.cutBetween("a", other);
          await bed.frames.whenSilent(held.ip);
        } finally {
          await join();
          backMs = monotonicMs();
          await bed.plane.startApiServer();
        }
        for (const { fresh, ip } of [fenced, held]) {
          await waitUntil(
            "somebody to answer again",
            () => answeredBy(fresh, backMs),
            (pods) => pods.length > 0,
          );
          const vip = await bed.whenVip("to be held", ip, ({ status }) => status?.state === "Held");
          await whenAnsweringOnly(fresh, vip.status?.holder?.pod ?? "");
        }
      });
    });
  });
}
