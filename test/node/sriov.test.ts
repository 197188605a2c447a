// galaxy-k8s-sriov with everything real but the card: devices that move into pods and back, packets, files of sysfs. Races and interrupted ADDs are in
// src/node/cni-add.test.ts. No kernel here has netdevsim or a card.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { LabNamespace } from "./network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";
import { CardForTests } from "./sriov-card.ts";

const skip = await reasonToSkipLab();
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };
const free = ["0", "00:00:00:00:00:00", "on", "off"];

describe("galaxy-k8s-sriov", { skip, timeout: 1_200_000 }, () => {
  it(
    "gives each address of a pod a function of its own with VLAN, MAC, spoof check and trust, and takes them back as they were",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const card = await CardForTests.plugInto(lab, first, outside);
      const node = new NodeUnderTest(lab, first, (network) => card.extend(network));
      const before = await first.snapshot();
      const config = aNetwork({ type: "galaxy-k8s-sriov", spoof_check: false, trust: true });
      const pod = await lab.namespace("pod");
      const call = {
        config,
        pod,
        infos: [
          { ip: "10.70.0.101/24", gateway: "10.70.0.1" },
          { ip: "fd00:70::101/64", gateway: "fd00:70::1" },
          { ip: "10.75.0.101/24", vlan: 5, gateway: "10.75.0.1" },
        ],
      };
      const result = await node.add(call);
      assert.deepEqual(
        result.interfaces.map(({ name, mac, sandbox }) => [name, mac, sandbox]),
        [
          ["eth0", "02:42:0a:46:00:65", pod.path],
          ["eth1", "02:42:0a:4b:00:65", pod.path],
        ],
      );
      assert.deepEqual(await card.settings(0), ["0", "02:42:0a:46:00:65", "off", "on"]);
      assert.deepEqual(await card.settings(1), ["5", "02:42:0a:4b:00:65", "off", "on"]);
      assert.deepEqual(await outside.unreachable(["10.70.0.101", "fd00:70::101"]), []);
      assert.deepEqual(await pod.unreachable(["10.70.0.1", "fd00:70::1", "10.70.0.11"]), []);
      assert.deepEqual(await node.add(call), result, "a repeated ADD answers the same");
      assert.deepEqual(await node.call("CHECK", call), { kind: "done", result: undefined });
      const beside = {
        ...call,
        pod: await lab.namespace("pod2"),
        containerId: "beside",
        infos: [{ ip: "10.70.0.102/24", gateway: "10.70.0.1" }],
      };
      await node.add(beside);
      assert.equal((await card.settings(2))[1], "02:42:0a:46:00:66", "the next function");
      const third = { ...call, pod: await lab.namespace("pod3"), containerId: "third" };
      const full = await node.call("ADD", {
        ...third,
        infos: ["10.70.0.103/24", "10.70.0.104/24"].map((ip) => ({ ip })),
      });
      assert.equal(full.kind, "refused");
      assert.match(
        full.message,
        /eth0 has 4 virtual functions and none is free for 10\.70\.0\.104/,
      );
      assert.deepEqual(await card.settings(3), free, "and nothing of it is left");
      await node.del(call);
      await node.del(call);
      assert.deepEqual(await outside.unreachable(["10.70.0.102"]), [], "the other pod stays");
      await node.del(beside);
      for (const number of [0, 1, 2]) assert.deepEqual(await card.settings(number), free);
      assert.equal(await first.snapshot(), before);
      assert.deepEqual(
        (await pod.show("link show")).map(({ ifname }) => ifname),
        ["lo"],
      );
      assert.deepEqual(node.log.lines("error"), []);
    },
  );

  it("says as an executable what a card without functions needs", limit, async () => {
    await using lab = await NetworkLab.open();
    const { nodes } = await lab.outsideWithNodes(1);
    const [first] = nodes as [LabNamespace];
    const pod = await lab.namespace("pod");
    const script = fileURLToPath(new URL("../../src/bin/galaxy-k8s-sriov.ts", import.meta.url));
    const child = spawn("nsenter", [`--net=${first.path}`, "--", process.execPath, script], {
      env: {
        PATH: process.env.PATH ?? "",
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "c1",
        CNI_NETNS: pod.path,
        CNI_IFNAME: "eth0",
        CNI_PATH: lab.folder,
        CNI_ARGS: `ipinfos=${JSON.stringify([{ ip: "10.70.0.101/24" }])}`,
        GALAXY_STATE_DIR: lab.folder,
      },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.end(JSON.stringify(aNetwork({ type: "galaxy-k8s-sriov" })));
    let text = "";
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
    });
    await once(child, "close");
    const { code, msg } = JSON.parse(text) as { code: number; msg: string };
    assert.equal(code, 101);
    assert.match(msg, /eth0 has no virtual functions; use a card with SR-IOV/);
  });
});
