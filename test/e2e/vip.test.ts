// Virtual addresses from the outside: pods claim them on a real control plane, and a client on the wire sees who answers. Here are the cases in
// which nothing is broken; those in which nodes, agents and cables fail are in test/vip/failures.ts, and run on the same bed.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { podsOf, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import type { KubeEvent } from "../control-plane/kinds.ts";
import { deployments, events } from "../control-plane/kinds.ts";
import { reasonToSkipLab } from "../node/network-lab.ts";
import { echoPort, floatingVips, ipBatch, reasonToSkipBed, VipBed } from "../vip/bed.ts";
import {
  answeredBy,
  greet,
  mentions,
  podsOfApp,
  runCase,
  whenAnsweringOnly,
} from "../vip/cases.ts";
import { describeFailures } from "../vip/failures.ts";
import { doubleAnswers, handsOf, monotonicMs } from "../vip/meters.ts";
import { LineReader } from "../vip/raw.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipLab()) || (await reasonToSkipBed());

describe("virtual addresses", { skip }, () => {
  let bed: VipBed;

  before(async () => {
    // A daemon may need half a minute to begin on a machine with much to do.
    bed = await VipBed.open({ agentFlags: ["--vip-restart-grace=40"] });
    await bed.startProduct();
    await bed.addPool("lab", {
      ranges: ["192.0.2.50~192.0.2.149", "2001:db8::50~2001:db8::ff"],
      namespaces: ["default"],
      interfaces: "eth0",
      minReadySeconds: 0,
    });
  });
  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  test("a ready pod with a claim answers by every protocol, sees the real client, and the address is on no interface", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const pod = await own.pod({ name: "a1", node: "a", vips: ip });
      const vip = await bed.whenHeldBy(ip, pod);
      assert.ok((vip.status?.epoch ?? 0) >= 1);
      assert.equal(vip.status?.holder?.node, "a");
      const udp = own.udp(ip);
      const answer = await udp.whenAnsweredBy("a1");
      assert.equal(answer.source, "192.0.2.2");
      assert.deepEqual(await greet(bed.client, ip), { pod: "a1", source: "192.0.2.2" });
      assert.ok(await bed.client.pings(ip));
      await bed.frames.whenClaimed(ip, pod.node.mac);
      for (const node of bed.nodes.values()) {
        assert.doesNotMatch(await node.namespace.ip("-o address show"), mentions(ip));
      }
      // A port that is open on the node alone.
      await using other = await LineReader.start(pod.node.namespace, "echo", ["node-only", "7008"]);
      assert.equal((await greet(bed.client, pod.node.ip, { port: 7_008 }))?.pod, "node-only");
      assert.equal(await greet(bed.client, ip, { port: 7_008, waitS: 2 }), undefined);
      assert.ok(other.isRunning());
    });
  });

  test("any IP protocol is delivered, and a packet that is too big is told to its sender", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const pod = await own.pod({ name: "a1", node: "a", vips: ip });
      await bed.whenHeldBy(ip, pod);
      await own.udp(ip).whenAnsweredBy("a1");
      for (const protocol of ["253", "47"]) {
        await using listener = await LineReader.start(pod.namespace, "raw", ["listen", protocol]);
        const text = `protocol ${protocol}`;
        await waitUntil(
          `a packet of IP protocol ${protocol}`,
          async () => {
            await LineReader.once(bed.client, "raw", ["send", protocol, ip, text]);
            return listener.lines.includes(`192.0.2.2 ${text}`);
          },
          Boolean,
        );
      }
      // The pod's cable takes less than the client sends.
      const [link] = await pod.node.namespace.show(`route get ${pod.ip}`);
      await pod.node.namespace.ip(`link set dev ${String(link?.["dev"])} mtu 1300`);
      const size = String(1_380);
      await waitUntil(
        "the client to know the smaller packet size",
        () => LineReader.once(bed.client, "raw", ["whole", ip, String(echoPort), size]),
        (said) => said.includes("too long"),
      );
      assert.match(await bed.client.ip(`route get ${ip}`), /mtu 1300/);
    });
  });

  test("every place of the network reaches the one holder, over an overlay of the nodes too", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const holder = await own.pod({ name: "a1", node: "a", vips: ip });
      const others = await Promise.all(
        ["a", "b", "d"].map((node) => own.pod({ name: `client-${node}`, node })),
      );
      await bed.whenHeldBy(ip, holder);
      const places = [
        { name: "the client", namespace: bed.client },
        ...[...bed.nodes.values()].map(({ name, namespace }) => ({
          name: `node ${name}`,
          namespace,
        })),
        ...others.map(({ name, namespace }) => ({ name: `pod ${name}`, namespace })),
        { name: "the holder itself", namespace: holder.namespace },
      ];
      const allReach = async () => {
        for (const { name, namespace } of places) {
          await waitUntil(
            `${name} to reach ${ip}`,
            () => greet(namespace, ip, { waitS: 2 }),
            (answer) => answer?.pod === "a1",
          );
        }
      };
      await allReach();
      assert.equal((await greet(holder.namespace, ip))?.source, ip, "the pod sees what it called");
      const overlay = await bed.layOverlay();
      try {
        await allReach();
      } finally {
        await overlay.remove();
      }
    });
  });

  test("both families of one claim are held by one pod, before and after a move, and neighbours learn of it", async () => {
    await runCase(bed, async (own) => {
      const [ip, ip6] = [own.address(), own.address6()];
      const vips = `["${ip}","${ip6}"]`;
      const first = await own.pod({ name: "a1", node: "a", vips });
      await bed.whenHeldBy(ip, first);
      await bed.whenHeldBy(ip6, first);
      const second = await own.pod({ name: "b1", node: "b", vips });
      const streams = [own.udp(ip), own.udp(ip6)];
      for (const stream of streams) await stream.whenAnsweredBy("a1");
      const sinceMs = monotonicMs();
      await first.delete();
      await bed.whenHeldBy(ip, second);
      await bed.whenHeldBy(ip6, second);
      for (const stream of streams) await stream.whenAnsweredBy("b1", sinceMs);
      const unasked = await waitUntil(
        `${ip6} to be announced`,
        () =>
          bed.frames
            .claimsOf(ip6, sinceMs)
            .filter(({ kind, mac }) => kind === "gratuitous" && mac === second.node.mac),
        (seen) => seen.length > 0,
      );
      assert.ok(
        unasked.every(({ isOverride }) => isOverride === true),
        JSON.stringify(unasked[0]),
      );
      await waitUntil(
        "the client's neighbour to be the new node",
        () => bed.client.neighbour(ip6),
        (mac) => mac === second.node.mac,
      );
    });
  });

  test("of three pods of a Deployment exactly one has the address, whatever is pushed at the other nodes", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      await own.deployment({ name: "web", replicas: 3, vips: ip });
      const vip = await bed.whenVip("to be held", ip, ({ status }) => status?.state === "Held");
      const holder = vip.status?.holder;
      const pods = await podsOfApp(bed, "web");
      assert.deepEqual(pods.map(({ node }) => node.name).toSorted(), ["a", "b", "d"]);
      await own.udp(ip).whenAnsweredBy(holder?.pod ?? "");
      const turning = await Promise.all(
        [...bed.nodes.values()].map(async (node) => {
          const lines = (await node.dump()).split("\n");
          return lines.some(
            (line) => mentions(ip).test(line) && line.includes(holder?.podIP ?? ""),
          );
        }),
      );
      assert.equal(turning.filter(Boolean).length, 1, "one node turns traffic to a pod");
      const hops = [...bed.nodes.values()].map((node) => `nexthop via ${node.ip} dev eth0`);
      await bed.client.sysctl("ipv4/fib_multipath_hash_policy", "1");
      await ipBatch(bed.client, [`route add ${ip}/32 ${hops.join(" ")}`]);
      try {
        const stream = own.udp(ip, { everyMs: 10 });
        await waitUntil(
          "40 answers",
          () => stream.answers().length,
          (count) => count >= 40,
        );
        assert.deepEqual(answeredBy(stream), [holder?.pod]);
      } finally {
        await ipBatch(bed.client, [`route del ${ip}/32`]);
      }
    });
  });

  test("the example: of two pods one answers, and when that one is deleted the other", async () => {
    await runCase(bed, async (own) => {
      const ip = own.ask("192.0.2.200");
      const { metadata } = await own.example("virtual-ip.yaml");
      const vip = await bed.whenVip("to be held", ip, ({ status }) => status?.state === "Held");
      const first = vip.status?.holder?.pod ?? "";
      const stream = own.udp(ip);
      await stream.whenAnsweredBy(first);
      const pods = await podsOfApp(bed, metadata.name);
      assert.equal(pods.length, 2);
      await pods.find(({ name }) => name === first)?.delete();
      const second = pods.find(({ name }) => name !== first)?.name ?? "";
      await stream.whenAnsweredBy(second);
    });
  });

  test("who comes later takes nothing, and the next choice goes by readiness, not by the text of addresses of either family", async () => {
    await runCase(bed, async (own) => {
      const [ip, ip6] = [own.address(), own.address6()];
      const vips = `${ip}, ${ip6}`;
      const at = (number: number) => ({
        "test/pod-ip": `10.244.1.${number}`,
        "test/pod-ip6": `fd00:244:1::${number}`,
      });
      const first = await own.pod({ name: "first", node: "d", vips });
      await bed.whenHeldBy(ip, first);
      await bed.whenHeldBy(ip6, first);
      const longest = await own.pod({ name: "nine", node: "a", vips, annotations: at(9) });
      const readySecond = Math.floor(Date.now() / 1_000);
      await waitUntil(
        "the next second, which is how exactly readiness is told",
        () => Math.floor(Date.now() / 1_000),
        (second) => second > readySecond,
      );
      // Of the two the smaller one as a text, and on the node before it.
      await own.pod({ name: "ten", node: "a", vips, annotations: at(10) });
      await own.pod({ name: "two", node: "a", vips, annotations: at(2) });
      const streams = [own.udp(ip), own.udp(ip6)];
      for (const each of [ip, ip6]) {
        await bed.whenVip("to know all", each, ({ status }) => status?.candidates?.length === 4);
      }
      for (const stream of streams) await whenAnsweringOnly(stream, "first");
      for (const each of [ip, ip6]) {
        const { status } = await bed.whenVip("to be there", each, () => true);
        assert.equal(status?.holder?.pod, "first", "nobody took it");
      }
      const sinceMs = monotonicMs();
      await first.delete();
      for (const each of [ip, ip6]) await bed.whenHeldBy(each, longest);
      for (const stream of streams) await stream.whenAnsweredBy("nine", sinceMs);
    });
  });

  test("a claim counts on pods only, in both spellings, and is followed while the pod runs", async () => {
    await runCase(bed, async (own) => {
      const [one, two] = [own.address(), own.address()];
      const owner = await own.deployment({
        name: "misplaced",
        replicas: 1,
        annotations: { "vip.galaxy.k8s.io/addresses": one },
      });
      const warnings = await bed.api.waitFor(
        "a warning on the Deployment",
        { kind: events, namespace: "default" },
        (seen) => seen.some((event) => isWarningOf(event, owner.metadata.uid)),
      );
      assert.match(
        warnings.find((event) => isWarningOf(event, owner.metadata.uid))?.message ?? "",
        /template/,
      );
      assert.equal(await bed.api.get(floatingVips, { name: one }), undefined);

      const pod = await own.pod({ name: "live", node: "b" });
      await pod.annotate({ "vip.galaxy.k8s.io/addresses": `["${one}"]` });
      await bed.whenHeldBy(one, pod);
      await own.udp(one).whenAnsweredBy("live");
      await pod.annotate({ "vip.galaxy.k8s.io/addresses": `${one}, ${two}` });
      await bed.whenHeldBy(two, pod);
      await own.udp(two).whenAnsweredBy("live");
      await pod.annotate({ "vip.galaxy.k8s.io/addresses": two });
      await bed.api.waitForGone(floatingVips, { name: one });
      await bed.frames.whenSilent(one);
      await whenAnsweringOnly(own.udp(two), "live");
      await pod.annotate({ "vip.galaxy.k8s.io/addresses": null });
      await bed.api.waitForGone(floatingVips, { name: two });
      await bed.frames.whenSilent(two);
      await greet(bed.client, pod.ip).then((answer) => assert.equal(answer?.pod, "live"));
    });
  });

  test("a rolling update moves an address at most as often as pods are replaced, and it stays held", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      await own.deployment({
        name: "rolling",
        replicas: 3,
        vips: ip,
        spec: {
          strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
        },
      });
      const before = await bed.whenVip("to be held", ip, ({ status }) => status?.state === "Held");
      const stream = own.udp(ip);
      await stream.whenAnsweredBy(before.status?.holder?.pod ?? "");
      const old = new Set((await podsOfApp(bed, "rolling")).map(({ uid }) => uid));
      const followed = bed.followVip(ip);
      await bed.api.restartWorkload(deployments, { name: "rolling", namespace: "default" });
      await bed.api.waitFor(
        "three new pods",
        podsOf("default", "rolling"),
        (seen) =>
          seen.length === 3 &&
          seen.every(
            ({ metadata, status }) => !old.has(metadata.uid) && status.phase === "Running",
          ),
      );
      const later = await bed.whenVip(
        "to be held by a new pod",
        ip,
        ({ status }) => status?.state === "Held" && !old.has(status.holder?.uid ?? ""),
      );
      followed.stop();
      const holders = followed.seen.flatMap(({ status }) => status?.holder?.uid ?? []);
      const moves = holders.filter((uid, index) => index > 0 && uid !== holders[index - 1]).length;
      assert.ok(moves >= 1 && moves <= 3, `${moves} moves`);
      assert.deepEqual(
        followed.seen.filter(({ status }) => status?.holder === undefined),
        [],
        "somebody had it all the time",
      );
      await whenAnsweringOnly(stream, later.status?.holder?.pod ?? "");
    });
  });

  test("a holder that is deleted with grace gives its address up at once, and gets none of its packets while it ends", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const first = await own.pod({ name: "a1", node: "a", vips: ip, lingerMs: 4_000 });
      await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: "b1", node: "b", vips: ip });
      const fresh = own.udp(ip);
      const fixed = own.udp(ip, { isFresh: false });
      await fresh.whenAnsweredBy("a1");
      await fixed.whenAnsweredBy("a1");
      const sinceMs = monotonicMs();
      await first.delete(30);
      await bed.whenHeldBy(ip, second);
      const { askedMs } = await fresh.whenAnsweredBy("b1", sinceMs);
      await fixed.whenAnsweredBy("b1", sinceMs);
      assert.ok(first.program.isRunning(), "the old pod still runs");
      assert.equal((await greet(bed.client, first.ip))?.pod, "a1", "and serves at its own address");
      await whenAnsweringOnly(fresh, "b1");
      await whenAnsweringOnly(fixed, "b1");
      for (const stream of [fresh, fixed]) {
        assert.deepEqual(answeredBy(stream, askedMs), ["b1"], "nothing reaches the old pod");
      }
      assert.deepEqual(handsOf(bed.frames.claimsOf(ip)), [first.node.mac, second.node.mac]);
    });
  });

  test("a holder that is ready no more loses its address with its established flows", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const first = await own.pod({ name: "a1", node: "a", vips: ip });
      await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: "a2", node: "a", vips: ip });
      const fixed = own.udp(ip, { isFresh: false });
      await fixed.whenAnsweredBy("a1");
      const long = bed.probes.begin({ do: "tcp-long", ip, port: echoPort, everyMs: 50 });
      assert.equal((await long.whenConnected()).pod, "a1");
      const sinceMs = monotonicMs();
      await first.setReady(false);
      await bed.whenHeldBy(ip, second);
      const { askedMs } = await fixed.whenAnsweredBy("a2", sinceMs);
      await long.whenBroken();
      await whenAnsweringOnly(fixed, "a2");
      assert.deepEqual(answeredBy(fixed, askedMs), ["a2"]);
      assert.ok(first.program.isRunning());
    });
  });

  test("a pod whose probe fails loses its address although it is Ready", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const annotations = { "vip.galaxy.k8s.io/probe": `tcp:${echoPort},200ms,3` };
      const first = await own.pod({ name: "a1", node: "a", vips: ip, annotations });
      await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: "b1", node: "b", vips: ip, annotations });
      await bed.whenVip("to know both", ip, ({ status }) =>
        (status?.candidates ?? []).every(({ reason }) => reason === undefined),
      );
      const stream = own.udp(ip);
      await stream.whenAnsweredBy("a1");
      const sinceMs = monotonicMs();
      await first.program.stop("SIGKILL");
      await bed.whenHeldBy(ip, second);
      await stream.whenAnsweredBy("b1", sinceMs);
    });
  });

  test("a node that the API calls not ready gives its addresses up in good order", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const first = await own.pod({ name: "a1", node: "a", vips: ip });
      await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: "b1", node: "b", vips: ip });
      const stream = own.udp(ip);
      await stream.whenAnsweredBy("a1");
      const sinceMs = monotonicMs();
      await bed.setNodeReady("a", "Unknown");
      try {
        await bed.whenHeldBy(ip, second);
        await stream.whenAnsweredBy("b1", sinceMs);
      } finally {
        await bed.setNodeReady("a", "True");
      }
      await bed.whenVip(
        "to know that a1 may hold it again",
        ip,
        ({ status }) => status?.candidates?.find(({ pod }) => pod === "a1")?.reason === undefined,
      );
      await whenAnsweringOnly(stream, "b1");
    });
  });

  test("a steady standby is taken once when the holder flaps, and with nobody ready nobody answers", async () => {
    await runCase(bed, async (own) => {
      const ip = own.address();
      const first = await own.pod({ name: "a1", node: "a", vips: ip });
      await bed.whenHeldBy(ip, first);
      const second = await own.pod({ name: "b1", node: "b", vips: ip });
      await first.setReady(false);
      await bed.whenHeldBy(ip, second);
      const followed = bed.followVip(ip);
      for (const value of [true, false, true, false, true]) {
        await first.setReady(value);
        await bed.whenVip(
          `to see a1 ${value ? "ready" : "not ready"}`,
          ip,
          ({ status }) =>
            (status?.candidates?.find(({ pod }) => pod === "a1")?.reason === undefined) === value,
        );
      }
      await whenAnsweringOnly(own.udp(ip), "b1");
      followed.stop();
      const holders = new Set(followed.seen.map(({ status }) => status?.holder?.pod));
      assert.deepEqual([...holders], ["b1"], "it moved once and stayed");
      await first.setReady(false);
      await second.setReady(false);
      const nobody = await bed.whenVip(
        "to be held by nobody",
        ip,
        (vip) => vip.status?.state === "Unheld",
      );
      assert.match(nobody.status?.message ?? "", /\S/);
      await bed.frames.whenSilent(ip);
      await first.setReady(true);
      await bed.whenHeldBy(ip, first);
      await own.udp(ip).whenAnsweredBy("a1");
    });
  });

  test("claims that may not be are refused one by one, and cost neither the pod nor other claims anything", async () => {
    await runCase(bed, async (own) => {
      const good = own.address();
      const bad = {
        "outside of every pool": "203.0.113.9",
        "a node": bed.node("b").ip,
        "a service": "10.96.0.1",
        "a gateway": "192.0.2.1",
        "a prefix": "192.0.2.0/24",
        "an IPv4 address in IPv6 form": "::ffff:192.0.2.199",
        "a pod": "10.244.2.200",
        loopback: "127.0.0.1",
        multicast: "224.0.0.1",
        nonsense: "not-an-address",
      };
      await own.pool("wide", {
        ranges: ["10.0.0.0~192.0.2.49", "224.0.0.0~239.255.255.255"],
        namespaces: ["default"],
        interfaces: "eth0",
      });
      const restarts = () => bed.programPids();
      const before = restarts();
      // Edited while it runs, with what no webhook would let pass: none runs here.
      const fine = own.address();
      const edited = await own.pod({ name: "edited", node: "a", vips: fine });
      const { status: granted } = await bed.whenHeldBy(fine, edited);
      const claimed = own.udp(fine);
      const itself = own.udp(edited.ip);
      const pod = await own.pod({
        name: "bad",
        node: "a",
        vips: [...Object.values(bad), good].join(","),
      });
      await bed.whenHeldBy(good, pod);
      for (const ip of Object.values(bad).filter((text) => /^[0-9.]+$/.test(text))) {
        // Which gateways there are only the node knows: it says why it does not answer.
        const reason = ip === bad["a gateway"] ? "NodeUnable" : /^(NoPool|AddressForbidden)$/;
        const { status } = await bed.whenVip("to be refused", ip, (vip) =>
          new RegExp(reason).test(vip.status?.reason ?? ""),
        );
        assert.match(status?.state ?? "", /^(Rejected|Unheld)$/);
        assert.match(status?.message ?? "", mentions(ip));
      }
      const everything = Object.values(bad).join(",");
      for (const [index, vips] of [
        `${everything},${fine}`,
        `["${fine}", {"ip": "192.0.2.140"}, 7, null, "", "192.0.2.300"]`,
        `${fine}, ,,; \u0000'"$(reboot) ${"9".repeat(100_000)}`,
      ].entries()) {
        await edited.annotate({
          "vip.galaxy.k8s.io/addresses": vips,
          "vip.galaxy.k8s.io/priority": "-1e99",
          "vip.galaxy.k8s.io/probe": "udp:0,never",
          "cni.projectcalico.org/floatingIPs": `{"edit": ${index}`,
        });
        await Promise.all([itself, claimed].map((each) => whenAnsweringOnly(each, "edited")));
      }
      const foreign = await own.pod({
        name: "foreign",
        node: "a",
        vips: own.address(),
        namespace: "kube-public",
      });
      await own.pod({ name: "broken", node: "a", vips: '["192.0.2.198"' });
      await own.pod({
        name: "many",
        node: "a",
        vips: Array.from({ length: 1_000 }, (_, n) => `192.0.2.${n % 250}`).join(","),
      });
      await bed.api.waitFor("warnings on all bad pods", { kind: events }, (seen) =>
        ["bad", "edited", "foreign", "broken", "many"].every((name) =>
          seen.some(
            ({ involvedObject, type }) => type === "Warning" && involvedObject.name === name,
          ),
        ),
      );
      for (const each of [pod, foreign]) {
        assert.equal((await greet(bed.client, each.ip))?.pod, each.name, "its own address works");
      }
      await own.udp(good).whenAnsweredBy("bad");
      await Promise.all([itself, claimed].map((each) => whenAnsweringOnly(each, "edited")));
      const { status: kept } = await bed.whenHeldBy(fine, edited);
      assert.equal(kept?.epoch, granted?.epoch, "bad claims beside it did not move it");
      for (const node of bed.nodes.values()) {
        // What belongs to the cluster is noted there, so that nothing leaves for it with another address.
        const dump = (await node.nft("list", "ruleset")).replace(
          /set inside[46] \{[^}]*\{[^}]*\}[^}]*\}/g,
          "",
        );
        for (const ip of ["203.0.113.9", "10.96.0.1", "10.244.2.200", "224.0.0.1", "192.0.2.198"]) {
          assert.doesNotMatch(dump, mentions(ip), `${ip} on ${node.name}`);
        }
      }
      assert.deepEqual(restarts(), before, "nothing restarted");
    });
  });

  describeFailures(() => bed);

  test("in all of this no request was ever answered by two", () => {
    assert.deepEqual(doubleAnswers(bed.frames.lines), []);
    assert.ok(bed.frames.lines.length > 100);
  });
});

function isWarningOf(event: KubeEvent, uid: string): boolean {
  return event.type === "Warning" && event.involvedObject.uid === uid;
}
