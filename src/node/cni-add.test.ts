// Attachments on a model of the kernel, where VLAN and ipvlan exist and root is not needed: death after any step, sharing, conflicts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DyingNetwork } from "../../test/node/dying-network.ts";
import { SocketNodeLocks } from "../adapters/linux/node-locks.ts";
import { MemoryAttachmentStore } from "../adapters/memory/attachment-store.ts";
import { ManualClock } from "../adapters/memory/clock.ts";
import { MemoryHostNetwork } from "../adapters/memory/host-network.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import type { AttachmentRequest } from "../core/cni-plan.ts";
import type { Ip } from "../core/ip.ts";
import type { NamespaceFacts } from "../core/net-model.ts";
import { emptyNamespace } from "../core/net-model.ts";
import type { Announcer, Conflict } from "../ports/announcer.ts";
import { ownPlugins, parseNetworkConfig } from "../wire/network-config.ts";
import { addAttachment } from "./cni-add.ts";
import { checkAttachment, repairAttachment } from "./cni-check.ts";
import { delAttachment } from "./cni-del.ts";
import type { NodePorts } from "./network-facts.ts";

const netns = "/run/netns/p";
let worlds = 0;

/** A node with eth0 and no address, so that every mode works; its wire is silent unless told otherwise. */
function aWorld(conflicts: readonly Conflict[] = []) {
  const network = new MemoryHostNetwork({
    ...emptyNamespace,
    links: [
      {
        name: "eth0",
        index: 2,
        kind: "",
        isLoopback: false,
        mac: "52:54:00:00:00:01",
        mtu: 1500,
        isUp: true,
        alias: "",
        master: "",
        parent: "",
        vlanId: undefined,
        mode: "",
      },
    ],
    sysctls: {
      "net/ipv4/conf/eth0/forwarding": "0",
      "net/ipv4/neigh/eth0/proxy_delay": "80",
      "net/ipv6/conf/eth0/proxy_ndp": "0",
      "net/ipv6/neigh/eth0/proxy_delay": "80",
    },
  });
  const announcer: Announcer = {
    announce: () => Promise.resolve(),
    probe: () => Promise.resolve(conflicts),
  };
  worlds += 1;
  const ports: NodePorts = {
    network,
    announcer,
    store: new MemoryAttachmentStore(),
    locks: new SocketNodeLocks(`cni-add.test ${process.pid} ${worlds}`),
    clock: new ManualClock(),
    log: new MemoryLog(),
  };
  return { network, ports };
}

function aRequest(containerId: string, json: object, last = 5): AttachmentRequest {
  const type = "type" in json ? json.type : "galaxy-k8s-vlan";
  const plugin = ownPlugins.find((own) => own === type) ?? "galaxy-k8s-vlan";
  const parsed = parseNetworkConfig({ name: "n", device: "eth0", ...json }, plugin);
  assert.ok(parsed.kind === "config", JSON.stringify(parsed));
  const grant = (ip: string, prefix: number, vlan: number, gateway: string) => ({
    ip: ip as Ip,
    prefix,
    vlan,
    gateway: gateway as Ip,
  });
  return {
    id: { containerId, network: "n", ifName: "eth0" },
    netns,
    config: parsed.config,
    addresses: [
      grant(`10.70.0.${last}`, 24, 0, "10.70.0.1"),
      grant(`fd00:70::${last}`, 64, 0, "fd00:70::1"),
      ...(plugin === "galaxy-underlay-veth" ? [] : [grant(`10.75.0.${last}`, 24, 5, "10.75.0.1")]),
    ],
  };
}

/** What a node's administrator would compare; forwarding of IPv6 stays, as documented. */
function comparable(host: NamespaceFacts) {
  const { links, addresses, routes, neighbours, sysctls, functions } = host;
  const { "net/ipv6/conf/all/forwarding": _stays, ...others } = sysctls;
  return {
    links: links
      .map((link) => ({ ...link, isUp: true }))
      .toSorted((one, other) => one.index - other.index),
    functions,
    addresses,
    routes,
    neighbours,
    sysctls: others,
  };
}

const modes: readonly (readonly [string, object])[] = [
  ["bridge", { switch: "bridge" }],
  ["pure", { switch: "pure" }],
  ["macvlan", { switch: "macvlan" }],
  ["ipvlan l2", { switch: "ipvlan" }],
  ["ipvlan l3", { switch: "ipvlan", ipvlan_mode: "l3" }],
  ["ipvlan l3s", { switch: "ipvlan", ipvlan_mode: "l3s" }],
  ["underlay-veth", { type: "galaxy-underlay-veth" }],
  ["sriov", { type: "galaxy-k8s-sriov", spoof_check: false, trust: true }],
];

/** A card with its four functions, which are not made by the pods that use them. */
async function addFunctions(network: MemoryHostNetwork): Promise<void> {
  await network.apply([{ do: "functions", pf: "eth0", count: 4 }], { netns: undefined });
}

for (const [name, json] of modes) {
  test(`${name}: an ADD that dies after any step is made whole by another, or undone by DEL`, async () => {
    let deaths = 0;
    for (let steps = 0; ; steps += 1) {
      const { network, ports } = aWorld();
      network.addPod(netns);
      if (name === "sriov") await addFunctions(network);
      const before = comparable(network.host);
      const request = aRequest("c1", json);
      const dying = new DyingNetwork(network, steps);
      const dyingPorts: NodePorts = { ...ports, network: dying };
      const outcome = await addAttachment(dyingPorts, request).catch((error: unknown) => error);
      if (steps % 2 === 0) {
        const again = await addAttachment(ports, request);
        assert.equal(again.kind, "added", JSON.stringify(again));
        assert.deepEqual(await checkAttachment(ports, request.id), { kind: "whole" });
      }
      await delAttachment(ports, request.id);
      assert.deepEqual(comparable(network.host), before, `after ${steps} steps`);
      const rest = await network.readPod(netns);
      assert.deepEqual([rest?.links, rest?.rules], [[], []]);
      assert.deepEqual(await ports.store.all(), []);
      if (!dying.isDead) {
        assert.equal((outcome as { kind?: string }).kind, "added");
        break;
      }
      deaths += 1;
    }
    assert.ok(deaths > 10, `${deaths} deaths`);
  });

  test(`${name}: a DEL that dies after any step can be repeated until nothing is left`, async () => {
    for (let steps = 0; ; steps += 1) {
      const { network, ports } = aWorld();
      network.addPod(netns);
      if (name === "sriov") await addFunctions(network);
      const before = comparable(network.host);
      const request = aRequest("c1", json);
      assert.equal((await addAttachment(ports, request)).kind, "added");
      const dying = new DyingNetwork(network, steps);
      await delAttachment({ ...ports, network: dying }, request.id).catch(() => {});
      // A runtime that was interrupted too may come without the namespace.
      if (steps % 2 === 1) network.removePod(netns);
      await delAttachment(ports, request.id);
      assert.deepEqual(comparable(network.host), before, `after ${steps} steps`);
      assert.deepEqual(await ports.store.all(), []);
      if (!dying.isDead) {
        assert.ok(steps > 2, `${steps} steps`);
        break;
      }
    }
  });

  test(`${name}: what attachments share goes with the last of them, and a pod that died takes nothing along`, async () => {
    const { network, ports } = aWorld();
    if (name === "sriov") await addFunctions(network);
    const before = comparable(network.host);
    const [one, two] = [aRequest("c1", json), { ...aRequest("c2", json, 6), netns: `${netns}2` }];
    for (const request of [one, two]) {
      network.addPod(request.netns);
      assert.equal((await addAttachment(ports, request)).kind, "added");
    }
    network.removePod(one.netns);
    await delAttachment(ports, one.id);
    assert.deepEqual(await checkAttachment(ports, two.id), { kind: "whole" });
    assert.deepEqual(await repairAttachment(ports, two.id), []);
    await delAttachment(ports, two.id);
    assert.deepEqual(comparable(network.host), before);
  });

  test(`${name}: an address that somebody else has is refused, and nothing is left`, async () => {
    const mac = "02:00:00:00:00:99";
    const { network, ports } = aWorld([{ ip: "10.70.0.5", link: "eth0", mac }]);
    network.addPod(netns);
    if (name === "sriov") await addFunctions(network);
    const before = comparable(network.host);
    const outcome = await addAttachment(ports, aRequest("c1", json));
    assert.ok(outcome.kind === "refused");
    assert.match(outcome.message, /10\.70\.0\.5 is in use on the wire: 02:00:00:00:00:99/);
    assert.deepEqual(comparable(network.host), before);
    assert.deepEqual(await ports.store.all(), []);
  });
}

test("sriov: pods that start at once never have one function, and a card that is full says so", async () => {
  const { network, ports } = aWorld();
  const requests = [1, 2, 3].map((number) => ({
    ...aRequest(`c${number}`, { type: "galaxy-k8s-sriov" }, 10 + number),
    netns: `${netns}${number}`,
  }));
  for (const { netns: pod } of requests) network.addPod(pod);
  // Two functions each, of four: the third pod finds none.
  const outcomes = await Promise.all(requests.map((request) => addAttachment(ports, request)));
  assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), ["added", "added", "refused"]);
  const refused = outcomes.find(({ kind }) => kind === "refused");
  assert.ok(refused?.kind === "refused");
  assert.match(refused.message, /eth0 has 4 virtual functions and none is free for 10\.7/);
  const [moved, names] = [network.host.functions ?? [], network.host.links.map(({ name }) => name)];
  assert.deepEqual(
    moved.map(({ link, vlan }) => [link, vlan]),
    [0, 1, 2, 3].map((index) => ["", index % 2 === 0 ? 0 : 5]),
  );
  assert.deepEqual(names, ["eth0"]);
  for (const { id } of requests) await delAttachment(ports, id);
  assert.deepEqual(
    (network.host.functions ?? []).map(({ link, vlan, mac }) => [link, vlan, mac]),
    [0, 1, 2, 3].map((index) => [`eth0v${index}`, 0, `52:54:00:00:01:0${index}`]),
  );
  const again = await addAttachment(ports, requests[0] as AttachmentRequest);
  assert.equal(again.kind, "added", "and can be used again");
});

test("the wire is given at most 300 ms to answer, and all addresses are asked for at once", async () => {
  const { network, ports } = aWorld();
  network.addPod(netns);
  const asked: (readonly [ips: readonly string[], limitMs: number])[] = [];
  const announcer: Announcer = {
    announce: () => Promise.resolve(),
    probe: (probes, limitMs) => {
      asked.push([probes.map(({ ip }) => ip), limitMs]);
      return Promise.resolve([]);
    },
  };
  await addAttachment({ ...ports, announcer }, aRequest("c1", { switch: "macvlan" }));
  assert.deepEqual(
    asked.map(([ips]) => ips),
    [["10.70.0.5", "fd00:70::5", "10.75.0.5"]],
  );
  assert.ok(asked.every(([, limitMs]) => limitMs <= 300));
});
