// Our plugins on a model of the kernel, called with any configuration, arguments and addresses: what is refused has a code and leaves the host
// as it was, and what is made goes with DEL. Root and a kernel are not needed.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NamespaceFacts } from "../../core/net-model.ts";
import { emptyNamespace } from "../../core/net-model.ts";
import type { Announcer } from "../../ports/announcer.ts";
import type { PluginExec } from "../../ports/plugin-exec.ts";
import { parseCniRequest } from "../../wire/cni.ts";
import { SocketNodeLocks } from "../linux/node-locks.ts";
import { MemoryAttachmentStore } from "../memory/attachment-store.ts";
import { ManualClock } from "../memory/clock.ts";
import { MemoryHostNetwork } from "../memory/host-network.ts";
import { MemoryLog } from "../memory/log.ts";
import { OwnPlugins } from "./own-plugins.ts";

const netns = "/run/netns/p";
let worlds = 0;

function aWorld() {
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
  network.addPod(netns);
  const announcer: Announcer = {
    announce: () => Promise.resolve(),
    probe: () => Promise.resolve([]),
  };
  // An IPAM plugin that is not installed.
  const exec: PluginExec = {
    run: async ({ type }) => ({ kind: "refused", code: 106, message: `plugin ${type} is missing` }),
  };
  worlds += 1;
  const store = new MemoryAttachmentStore();
  const ports = {
    network,
    announcer,
    store,
    locks: new SocketNodeLocks(`own-plugins.test ${process.pid} ${worlds}`),
    clock: new ManualClock(),
    log: new MemoryLog(),
  };
  return { network, store, plugins: new OwnPlugins(ports, exec) };
}

/** What a node's administrator would compare; forwarding of IPv6 stays, as documented, and devices stay up. */
function comparable({ links, addresses, routes, neighbours, rules, sysctls }: NamespaceFacts) {
  const { "net/ipv6/conf/all/forwarding": _stays, ...others } = sysctls;
  return {
    links: links.map((link) => ({ ...link, isUp: true })),
    addresses,
    routes,
    neighbours,
    rules,
    sysctls: others,
  };
}

test("any configuration, arguments and addresses are made and undone, or refused and leave the host alone", async () => {
  const text = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom("eth0", "", "lo", "x/y", ";"),
  );
  const anything = fc.oneof(
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const rarely = <T>(usual: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 40, arbitrary: usual }, { weight: 1, arbitrary: anything });
  const config = fc.record(
    {
      device: rarely(fc.constant("eth0")),
      devices: rarely(fc.constant(["eth0"])),
      switch: rarely(fc.constantFrom("bridge", "pure", "macvlan", "ipvlan")),
      ipvlan_mode: rarely(fc.constantFrom("l2", "l3", "l3s")),
      mtu: rarely(fc.constantFrom(0, 1400, 9000)),
      disable_default_bridge: rarely(fc.boolean()),
      default_bridge_name: rarely(fc.constantFrom("docker", "eth0")),
      bridge_name_prefix: rarely(fc.constant("docker")),
      vlan_name_prefix: rarely(fc.constant("vlan")),
      allow_address_move: rarely(fc.boolean()),
      conflict_check: rarely(fc.boolean()),
      node_access: rarely(fc.boolean()),
      default_address: rarely(fc.integer({ min: 0, max: 3 })),
      routes: rarely(
        fc.array(fc.record({ dst: fc.constantFrom("10.9.0.0/16", "::/0", "x") }), { maxLength: 2 }),
      ),
      ipam: rarely(fc.constantFrom({}, { type: "host-local" })),
      runtimeConfig: anything,
      dns: anything,
      prevResult: fc.oneof(
        { weight: 9, arbitrary: fc.constant(null) },
        { weight: 1, arbitrary: anything },
      ),
    },
    { requiredKeys: ["device", "switch"] },
  );
  const wild = fc.record(
    {
      ip: fc.oneof(fc.constantFrom("10.70.0.5/24", "fd00:70::5/64"), anything),
      vlan: fc.oneof(fc.constantFrom(0, 5, 4094), anything),
      gateway: fc.oneof(fc.constantFrom("10.70.0.1", "fd00:70::1"), anything),
    },
    { requiredKeys: [] },
  );
  const good = fc.constantFrom(
    { ip: "10.70.0.5/24", vlan: 0, gateway: "10.70.0.1" },
    { ip: "fd00:70::5/64", vlan: 0, gateway: "fd00:70::1" },
    { ip: "10.75.0.5/24", vlan: 5, gateway: "10.75.0.1" },
    { ip: "10.70.0.6/24", vlan: 0 },
  );
  const infos = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.uniqueArray(good, { minLength: 1, maxLength: 3 }).map((l) => JSON.stringify(l)),
    },
    { weight: 1, arbitrary: fc.array(wild, { maxLength: 3 }).map((l) => JSON.stringify(l)) },
    { weight: 1, arbitrary: text },
  );
  const plugin = fc.constantFrom("galaxy-k8s-vlan", "galaxy-underlay-veth");
  let added = 0;
  await fc.assert(
    fc.asyncProperty(plugin, config, infos, text, async (type, fields, ipinfos, other) => {
      const { network, store, plugins } = aWorld();
      const before = comparable(network.host);
      const call = async (command: string) => {
        const request = parseCniRequest(
          {
            CNI_COMMAND: command,
            CNI_CONTAINERID: "c1",
            CNI_NETNS: netns,
            CNI_IFNAME: "eth0",
            CNI_ARGS: `${other};ipinfos=${ipinfos}`,
            CNI_PATH: "/opt/cni/bin",
          },
          JSON.stringify({ ...fields, cniVersion: "1.0.0", name: "n", type }),
        );
        return request.kind === "refused" ? request : plugins.answer(request, undefined);
      };
      const answer = await call("ADD");
      if (answer.kind === "done") {
        added += 1;
        const again = await call("ADD");
        assert.deepEqual(again, answer);
        assert.deepEqual(await call("CHECK"), { kind: "done", result: undefined });
      } else {
        assert.ok(Number.isInteger(answer.code) && answer.code > 0 && answer.message.length > 10);
        assert.deepEqual(comparable(network.host), before, answer.message);
      }
      const end = await call("DEL");
      // An IPAM plugin that is missing cannot give back what it never gave.
      if (end.kind === "refused" && end.code !== 106 && end.code !== 6) assert.fail(end.message);
      if (end.kind === "done") {
        assert.deepEqual(comparable(network.host), before);
        assert.deepEqual(await store.all(), []);
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(added > 30, `${added} of 300 were made`);
});
