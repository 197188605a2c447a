// The meters of the bed for virtual addresses can fail: what they are there to see is made here by hand and with keepalived, and seen. The
// product has no part in it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import {
  cableNode,
  echoPort,
  ipBatch,
  layCables,
  reasonToSkipBed,
  removeLeftNamespaces,
} from "../vip/bed.ts";
import { KeepalivedBed, keepalivedIp } from "../vip/keepalived.ts";
import { doubleAnswers, FrameMeter, handsOf, monotonicMs, takeOverGap } from "../vip/meters.ts";

const skip = (await reasonToSkipLab()) || (await reasonToSkipBed());

describe("the meters of virtual addresses", { skip }, () => {
  for (const [ip, address] of [
    ["192.0.2.50", "192.0.2.50/32"],
    ["2001:db8::50", "2001:db8::50/128"],
  ] as const) {
    test(`two machines that answer for ${ip} are seen, and one that does is not reported`, async () => {
      await using lab = await NetworkLab.open();
      const cables = await layCables(lab);
      const a = await cableNode(lab, cables, { name: "a", number: 1 });
      const b = await cableNode(lab, cables, { name: "b", number: 2 });
      await using frames = await FrameMeter.start(cables.client, "eth0");
      frames.ask(ip);
      await frames.whenSilent(ip);
      const macOf = async (namespace: typeof a) =>
        (await namespace.show("link show dev eth0"))[0]?.["address"] as string;
      const nodad = ip.includes(":") ? " nodad" : "";
      await ipBatch(a, [`address add ${address} dev eth0${nodad}`]);
      await frames.whenClaimed(ip, await macOf(a));
      assert.deepEqual(doubleAnswers(frames.lines), []);
      await ipBatch(b, [`address add ${address} dev eth0${nodad}`]);
      await waitUntil(
        "a request with two answers",
        () => doubleAnswers(frames.lines),
        (seen) => seen.length > 0,
      );
      const [double] = doubleAnswers(frames.lines);
      assert.equal(double?.ip, ip);
      assert.deepEqual(double?.macs.toSorted(), [await macOf(a), await macOf(b)].toSorted());
      await frames.quiet(ip);
    });
  }

  test("keepalived hands an address over after a crash, and has two masters when its nodes do not hear each other", async () => {
    await using bed = await KeepalivedBed.open();
    const { frames, probes } = bed;
    const [a, b] = [bed.node("a"), bed.node("b")];
    await a.start();
    await waitUntil("a to be master", () => a.isMaster(), Boolean);
    await b.start();
    frames.ask(keepalivedIp);
    const stream = probes.begin({
      do: "udp",
      ip: keepalivedIp,
      port: echoPort,
      everyMs: 20,
      isFresh: true,
    });
    await stream.whenAnsweredBy("a");
    const crashedMs = monotonicMs();
    await a.crash();
    await stream.whenAnsweredBy("b", crashedMs);
    const gap = takeOverGap(stream.answers(), "b", crashedMs);
    assert.ok(gap !== undefined && gap.gapMs > 0, JSON.stringify(gap));
    const { asked, lost } = stream.counts(gap.lastOldMs + 1, gap.firstNewMs - 1);
    assert.ok(lost > 0 && lost <= asked, "questions of the gap are lost");
    assert.deepEqual(handsOf(frames.claimsOf(keepalivedIp)), [a.mac, b.mac]);
    assert.deepEqual(doubleAnswers(frames.lines), []);

    await a.repair();
    await a.start();
    await bed.cut();
    await waitUntil(
      "two masters",
      async () => (await a.isMaster()) && (await b.isMaster()),
      Boolean,
    );
    await waitUntil(
      "a request with two answers",
      () => doubleAnswers(frames.lines),
      (seen) => seen.length > 0,
    );
    assert.deepEqual(doubleAnswers(frames.lines)[0]?.macs.toSorted(), [a.mac, b.mac].toSorted());
    await stream.stop();
  });

  test("namespaces of a run that was killed are removed by the next one", async () => {
    const script = `
      import { NetworkLab } from ${JSON.stringify(new URL("../node/network-lab.ts", import.meta.url).href)};
      const lab = await NetworkLab.open();
      console.log((await lab.namespace("left")).name);
      setInterval(() => {}, 1_000);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    const name = said.toString().trim();
    assert.match(name, /^gxt\d+x\d+-left$/);
    assert.ok(!(await removeLeftNamespaces()).includes(name), "its process lives");
    child.kill("SIGKILL");
    await once(child, "close");
    assert.ok((await removeLeftNamespaces()).includes(name));
  });
});
