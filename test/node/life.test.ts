// The life of attachments on a real kernel: interrupted, repeated, many at once, with everything already gone, after a network restart.

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { addAttachment } from "../../src/node/cni-add.ts";
import { repairAll } from "../../src/node/cni-check.ts";
import { delAttachment } from "../../src/node/cni-del.ts";
import { collectGone } from "../../src/node/garbage.ts";
import { addressSource, parseNetworkConfig } from "../../src/wire/network-config.ts";
import { DyingNetwork } from "./dying-network.ts";
import type { LabNamespace } from "./network-lab.ts";
import { kernelHas, NetworkLab, reasonToSkipLab } from "./network-lab.ts";
import { aNetwork, NodeUnderTest } from "./node-under-test.ts";

const skip = await reasonToSkipLab();
/** For machines that are slow or busy; a test takes a few seconds. */
const limit = { timeout: 240_000 };
const hasMacvlan = skip === false && (await kernelHas("macvlan"));
const info = { ip: "10.70.0.101/24", gateway: "10.70.0.1" };

describe("the life of an attachment", { skip, timeout: 1_200_000 }, () => {
  for (const fields of [
    { switch: "pure" },
    { switch: "bridge", allow_address_move: true },
    ...(hasMacvlan ? [{ switch: "macvlan" }] : []),
  ]) {
    it(
      `an ADD that dies after any step can be repeated, or deleted without a trace (${fields.switch})`,
      limit,
      async () => {
        await using lab = await NetworkLab.open();
        const { outside, nodes } = await lab.outsideWithNodes(1);
        const [first] = nodes as [LabNamespace];
        const node = new NodeUnderTest(lab, first);
        const config = aNetwork({ ...fields, conflict_check: false });
        if (fields.switch === "bridge") {
          // The move of the node's address is for good, and has tests of its own.
          const other = { config, pod: await lab.namespace("first"), containerId: "first" };
          await node.add({ ...other, infos: [{ ...info, ip: "10.70.0.102/24" }] });
          await node.del(other);
        }
        const before = await first.snapshot();
        const parsed = parseNetworkConfig(config, "galaxy-k8s-vlan");
        const source = addressSource({}, `ipinfos=${JSON.stringify([info])}`);
        assert.ok(parsed.kind === "config" && source.kind === "grants");
        let deaths = 0;
        for (let steps = 0; ; steps += 1) {
          const pod = await lab.namespace(`pod${steps}`);
          const id = { containerId: `c${steps}`, network: "net1", ifName: "eth0" };
          const dying = new DyingNetwork(node.ports.network, steps);
          const request = {
            id,
            netns: pod.path,
            config: parsed.config,
            addresses: source.grants,
          };
          const outcome = await addAttachment({ ...node.ports, network: dying }, request).catch(
            (error: unknown) => error,
          );
          if (!dying.isDead) {
            assert.ok(!(outcome instanceof Error), String(outcome));
            await delAttachment(node.ports, id);
            break;
          }
          deaths += 1;
          if (steps % 2 === 0) {
            const call = { config, pod, containerId: id.containerId, infos: [info] };
            await node.add(call);
            assert.ok(await outside.pings("10.70.0.101"), `repeated after ${steps} steps`);
          }
          await delAttachment(node.ports, id);
          assert.deepEqual(await pod.show("route show"), [], `routes after ${steps} steps`);
          await lab.remove(pod);
          assert.equal(await first.snapshot(), before, `after ${steps} steps`);
          assert.deepEqual(await node.ports.store.all(), []);
        }
        assert.ok(deaths > 5, `${deaths} deaths`);
      },
    );
  }

  it(
    "DEL succeeds when the namespace, the device or the whole state is gone, and with a state file that was cut",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const node = new NodeUnderTest(lab, first);
      const config = aNetwork({ switch: "pure", conflict_check: false });
      const before = await first.snapshot();
      const cases: readonly [string, (pod: LabNamespace, folder: string) => Promise<void>][] = [
        ["namespace", async (pod) => lab.remove(pod)],
        ["device", async (pod) => void (await pod.ip("link del dev eth0"))],
        [
          "state",
          async (_pod, folder) => {
            for (const name of await readdir(folder)) {
              await writeFile(join(folder, name), '{"form":1,"record":{"id":{"contai');
            }
          },
        ],
      ];
      for (const [what, destroy] of cases) {
        const pod = await lab.namespace(`pod-${what}`);
        const call = { config, pod, containerId: what, infos: [info] };
        await node.add(call);
        await destroy(pod, join(lab.folder, first.name));
        await node.del(call);
        await node.del(call);
        assert.deepEqual(await readdir(join(lab.folder, first.name)), []);
        if (what === "state") {
          // Proxy entries and values of the uplink are in the lost state alone.
          await first.ip("neigh del proxy 10.70.0.101 dev eth0");
        }
        assert.equal(await first.snapshot(), before, what);
      }
      await node.del({ config, pod: { path: "" }, containerId: "never-seen" });
    },
  );

  it("is made and removed for fifty pods at once, and the node is as before", limit, async () => {
    await using lab = await NetworkLab.open();
    const { outside, nodes } = await lab.outsideWithNodes(1);
    const [first] = nodes as [LabNamespace];
    const node = new NodeUnderTest(lab, first);
    const before = await first.snapshot();
    const config = aNetwork({ switch: hasMacvlan ? "macvlan" : "pure", conflict_check: false });
    const calls = await Promise.all(
      Array.from({ length: 50 }, async (_, number) => ({
        config,
        pod: await lab.namespace(`pod${number}`),
        containerId: `container${number}`,
        infos: [{ ip: `10.70.0.${100 + number}/24`, gateway: "10.70.0.1" }],
      })),
    );
    await Promise.all(calls.map((call) => node.add(call)));
    for (const { infos } of calls) {
      const ip = infos[0]?.ip.split("/")[0] ?? "";
      assert.ok(await outside.pings(ip), ip);
    }
    await Promise.all(calls.map((call) => node.del(call)));
    assert.equal(await first.snapshot(), before);
    assert.deepEqual(node.log.lines("error"), []);
  });

  it("has two networks of one type, which go in any order", limit, async () => {
    await using lab = await NetworkLab.open();
    const { outside, nodes } = await lab.outsideWithNodes(1);
    const [first] = nodes as [LabNamespace];
    const node = new NodeUnderTest(lab, first);
    const pod = await lab.namespace("pod");
    const before = await first.snapshot();
    const one = { config: aNetwork({ switch: "pure" }), pod, infos: [info] };
    const two = {
      config: aNetwork({ name: "net2", switch: "pure" }),
      pod,
      ifName: "net1",
      infos: [{ ip: "10.70.0.102/24", gateway: "10.70.0.1" }],
    };
    await node.add(one);
    await node.add(two);
    assert.deepEqual(
      (await pod.show("route show default")).map(({ dev }) => dev),
      ["eth0"],
    );
    for (const ip of ["10.70.0.101", "10.70.0.102"]) assert.ok(await outside.pings(ip), ip);
    const taken = await node.call("ADD", { ...two, config: aNetwork({ name: "net3" }) });
    assert.equal(taken.kind, "refused");
    assert.match(taken.message, /net1 already|carries the node's address/);
    await node.del(one);
    assert.ok(await outside.pings("10.70.0.102"), "the other network stays");
    await node.del(two);
    assert.equal(await first.snapshot(), before);
  });

  it("is found broken by CHECK after a network restart, and repaired", limit, async () => {
    await using lab = await NetworkLab.open();
    const { outside, nodes } = await lab.outsideWithNodes(1);
    const [first] = nodes as [LabNamespace];
    const node = new NodeUnderTest(lab, first);
    const call = {
      config: aNetwork({ switch: "pure" }),
      pod: await lab.namespace("pod"),
      infos: [info],
    };
    await node.add(call);
    assert.ok(await outside.pings("10.70.0.101"));
    await first.ip("neigh del proxy 10.70.0.101 dev eth0");
    await first.ip("route del 10.70.0.101/32");
    await first.sysctl("ipv4/conf/eth0/forwarding", "0");
    const answer = await node.call("CHECK", call);
    assert.equal(answer.kind, "refused");
    assert.match(answer.message, /route to 10\.70\.0\.101\/32.*proxy neighbour 10\.70\.0\.101/);
    await repairAll(node.ports);
    assert.deepEqual(await node.call("CHECK", call), { kind: "done", result: undefined });
    assert.ok(await outside.pings("10.70.0.101"));
    assert.equal(node.log.lines("info").length, 1);
  });

  it(
    "is undone when its namespace is gone for good, as after a restart of the machine",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { outside, nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const node = new NodeUnderTest(lab, first);
      const config = aNetwork({ switch: "pure", conflict_check: false });
      const kept = { config, pod: await lab.namespace("kept"), containerId: "kept", infos: [info] };
      await node.add(kept);
      const whole = await first.snapshot();
      const pod = await lab.namespace("gone");
      const infos = [{ ip: "10.70.0.102/24", gateway: "10.70.0.1" }];
      await node.add({ config, pod, containerId: "gone", infos });
      await lab.remove(pod);
      assert.equal(await collectGone(node.ports, 600_000, () => true), 0, "too young");
      assert.equal(await collectGone(node.ports, 0, () => false), 0, "not to be seen from here");
      assert.equal(await collectGone(node.ports, 0, () => true), 1);
      assert.equal(await collectGone(node.ports, 0, () => true), 0);
      assert.equal(await first.snapshot(), whole);
      assert.ok(await outside.pings("10.70.0.101"));
    },
  );

  it(
    "is collected by GC when the runtime does not name it any more, and only then",
    limit,
    async () => {
      await using lab = await NetworkLab.open();
      const { nodes } = await lab.outsideWithNodes(1);
      const [first] = nodes as [LabNamespace];
      const node = new NodeUnderTest(lab, first);
      const before = await first.snapshot();
      const config = aNetwork({ cniVersion: "1.1.0", switch: "pure", conflict_check: false });
      const call = { config, pod: await lab.namespace("pod"), containerId: "kept", infos: [info] };
      await node.add(call);
      const gc = async (valid: readonly object[] | undefined) => {
        const list = valid === undefined ? {} : { "cni.dev/valid-attachments": valid };
        await node.call("GC", { config: { ...config, ...list }, pod: { path: "" } });
        return (await node.ports.store.all()).length;
      };
      assert.equal(await gc([{ containerID: "kept", ifname: "eth0" }]), 1);
      assert.equal(await gc(undefined), 1, "a list that is missing is no empty list");
      assert.equal(await gc([]), 0);
      assert.equal(await first.snapshot(), before);
    },
  );
});
