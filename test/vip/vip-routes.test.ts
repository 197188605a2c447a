// Routes and neighbour proxies of virtual addresses over netlink sockets and with iproute2, in a namespace: each lists what the other made.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NetlinkVipRoutes } from "../../src/adapters/linux/netlink-vip-routes.ts";
import { loadSystemCalls } from "../../src/adapters/linux/system-calls.ts";
import type { RouteChange, RouteFacts, VipRoutes } from "../../src/adapters/linux/vip-routes.ts";
import { IprouteVipRoutes, ownProtocol } from "../../src/adapters/linux/vip-routes.ts";
import { offeredProtocol } from "../../src/adapters/linux/vip-speaker.ts";
import { WorldError } from "../../src/ports/world-error.ts";
import { ip } from "../builders.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";

const skip = await reasonToSkipLab();
const loaded = await loadSystemCalls();
if (loaded === undefined) throw new Error("koffi has no library for this machine");
const calls = loaded;

async function aNode() {
  const lab = await NetworkLab.open();
  const { nodes } = await lab.outsideWithNodes(1);
  const [node] = nodes;
  if (node === undefined) throw new Error("the lab has no node");
  await node.ip("link add v1 type veth peer name v2");
  for (const dev of ["v1", "v2"]) await node.ip(`link set dev ${dev} up`);
  await node.ip("-6 address add fd00:80::1/64 dev v1 nodad");
  await node.ip("-6 address add fe80::77/64 dev v1 nodad");
  await node.ip("route add 10.80.1.2/32 dev v1");
  await node.ip("route add 10.81.0.0/16 via 10.70.0.9 dev eth0");
  await node.ip("-6 route add fd00:81::/64 via fd00:80::9 dev v1");
  const hostNetns = node.path;
  const both: readonly { readonly name: string; readonly routes: VipRoutes }[] = [
    { name: "netlink", routes: new NetlinkVipRoutes(calls, { hostNetns }) },
    { name: "iproute2", routes: new IprouteVipRoutes({ hostNetns }) },
  ];
  return { node, both, [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose]() };
}

const [four, six] = [ip("10.70.0.200"), ip("fd00:70::200")];

/** What an address can be, one after the other: each takes the place of the one before. */
const lives: readonly (readonly RouteChange[])[] = [
  [four, six].flatMap((address): RouteChange[] => [
    { do: "route", ip: address, route: { kind: "unreachable" }, protocol: ownProtocol },
  ]),
  [four, six].flatMap((address): RouteChange[] => [
    { do: "route", ip: address, route: { kind: "device", dev: "v1" }, protocol: ownProtocol },
    { do: "proxy", ip: address, dev: "eth0" },
  ]),
  [four, six].flatMap((address): RouteChange[] => [
    { do: "route", ip: address, route: { kind: "device", dev: "v1" }, protocol: offeredProtocol },
    { do: "proxy", ip: address, dev: "eth0" },
    { do: "proxy", ip: address, dev: "v2" },
  ]),
  [
    { do: "no proxy", ip: four, dev: "eth0" },
    { do: "no proxy", ip: six, dev: "v2" },
    {
      do: "route",
      ip: four,
      route: { kind: "device", dev: "v1", via: ip("192.0.2.77"), isOnlink: true },
      protocol: ownProtocol,
    },
    {
      do: "route",
      ip: six,
      route: { kind: "device", dev: "v1", via: ip("fd00:80::9") },
      protocol: ownProtocol,
    },
  ],
  [
    { do: "no route", ip: four },
    { do: "no route", ip: six },
    { do: "no proxy", ip: four, dev: "v2" },
    { do: "no proxy", ip: six, dev: "eth0" },
  ],
];

function sorted({ proxies, routes }: RouteFacts) {
  const lines = (list: readonly unknown[]) => list.map((each) => JSON.stringify(each)).toSorted();
  return { routes: lines(routes), proxies: lines(proxies) };
}

describe("routes of virtual addresses on a kernel", { skip }, () => {
  it("are the same over netlink and with iproute2, in every place that an address can have", async () => {
    await using world = await aNode();
    const seen: string[] = [];
    for (const writer of world.both) {
      for (const [index, changes] of lives.entries()) {
        assert.equal(await writer.routes.change(changes), "");
        const [first, second] = await Promise.all(world.both.map(({ routes }) => routes.list()));
        assert.ok(first !== undefined && second !== undefined);
        const facts = sorted(first);
        assert.deepEqual(facts, sorted(second), `${writer.name} wrote`);
        seen.push(`${index} ${JSON.stringify(facts)}`);
      }
    }
    assert.deepEqual(seen.slice(lives.length), seen.slice(0, lives.length), "both wrote the same");
    assert.match(seen[3] ?? "", /192\.0\.2\.77/);
    assert.match(seen.at(-1) ?? "", /"routes":\[\],"proxies":\[\]/);
  });

  it("say what the kernel refuses, do what comes after it, and take nothing away that is another's", async () => {
    await using world = await aNode();
    await world.node.ip(`route add ${four}/32 dev v2`);
    for (const { name, routes } of world.both) {
      const errors = await routes.change([
        { do: "no route", ip: six },
        { do: "no proxy", ip: six, dev: "gone" },
        { do: "proxy", ip: six, dev: "gone" },
        { do: "proxy", ip: six, dev: "eth0" },
      ]);
      assert.match(errors, new RegExp(String(six)), name);
      assert.deepEqual((await routes.list()).proxies, [{ ip: six, dev: "eth0" }], name);
    }
    const [netlink] = world.both;
    await netlink?.routes.change([{ do: "no route", ip: four }]);
    assert.match(await world.node.ip(`route show ${four}`), /dev v2/);
  });

  it("know the ways to pods and nodes, and none to what cannot be reached or is the node's own", async () => {
    await using world = await aNode();
    await world.node.ip("route add unreachable 10.82.0.0/16");
    const asked = ["10.80.1.2", "10.81.3.4", "10.82.0.1", "10.70.0.11", "fd00:81::5", "fd00:80::1"];
    for (const { name, routes } of world.both) {
      const ways = await routes.waysTo([...asked, "fd00:99::1"].map(ip));
      assert.deepEqual(
        Object.fromEntries(ways),
        {
          "10.80.1.2": { dev: "v1", via: undefined },
          "10.81.3.4": { dev: "eth0", via: "10.70.0.9" },
          "fd00:81::5": { dev: "v1", via: "fd00:80::9" },
        },
        name,
      );
    }
  });

  it("are a broken world where the namespace is gone", async () => {
    const routes = new NetlinkVipRoutes(calls, { hostNetns: "/run/netns/galaxy-none" });
    await assert.rejects(routes.list(), WorldError);
    await assert.rejects(routes.change([{ do: "no route", ip: four }]), WorldError);
  });
});
