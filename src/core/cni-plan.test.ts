// Plans of attachments: the VLAN and ipvlan modes that few kernels let us try for real, refusals, and what must hold for every plan.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AttachmentPlan, AttachmentRequest, NetworkConfig } from "./cni-plan.ts";
import { markOf, planAttachment, sharedMark } from "./cni-plan.ts";
import type { AddressGrant } from "./cni-result.ts";
import type { Ip } from "./ip.ts";
import type { LinkFacts, NamespaceFacts, NetStep } from "./net-model.ts";
import { describeStep, emptyNamespace } from "./net-model.ts";

function aLink(wish: Partial<LinkFacts> & { readonly name: string }): LinkFacts {
  return {
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
    ...wish,
  };
}

function aHost(wish: Partial<NamespaceFacts> = {}): NamespaceFacts {
  return {
    ...emptyNamespace,
    links: [aLink({ name: "eth0" })],
    addresses: [{ link: "eth0", ip: "10.70.0.11" as Ip, prefix: 24, scope: "global" }],
    ...wish,
  };
}

function aGrant(ip: string, wish: Partial<AddressGrant> = {}): AddressGrant {
  const gateway = (ip.includes(":") ? "fd00::1" : "10.70.0.1") as Ip;
  return { ip: ip as Ip, prefix: ip.includes(":") ? 64 : 24, vlan: 0, gateway, ...wish };
}

function aConfig(wish: Partial<NetworkConfig>): NetworkConfig {
  return {
    mode: "bridge",
    ipvlanMode: "l2",
    devices: ["eth0"],
    makesDefaultBridge: true,
    defaultBridge: "docker",
    bridgePrefix: "docker",
    vlanPrefix: "vlan",
    mtu: undefined,
    mayMoveAddresses: false,
    checksConflicts: true,
    hasNodeAccess: true,
    defaultAddress: 0,
    routes: [],
    mostFunctions: 256,
    spoofCheck: undefined,
    trust: undefined,
    ...wish,
  };
}

function aRequest(
  config: Partial<NetworkConfig>,
  addresses: readonly AddressGrant[],
): AttachmentRequest {
  const id = { containerId: "c1", network: "net1", ifName: "eth0" };
  return { id, netns: "/run/netns/p", config: aConfig(config), addresses };
}

function planOf(
  config: Partial<NetworkConfig>,
  addresses: readonly AddressGrant[],
  host = aHost(),
): AttachmentPlan {
  const outcome = planAttachment(
    aRequest(config, addresses),
    { host, pod: emptyNamespace },
    new Map(),
  );
  assert.ok(outcome.kind === "plan", JSON.stringify(outcome));
  return outcome.plan;
}

function words(steps: readonly NetStep[]): string[] {
  return steps.map(describeStep);
}

test("VLAN 5 in bridge mode is a VLAN device and a bridge that attachments share, and the veth's host end in it", () => {
  const plan = planOf({ mode: "bridge" }, [aGrant("10.70.0.5", { vlan: 5 })]);
  assert.deepEqual(
    plan.shared.map(({ key, steps, undo }) => [key, words(steps), words(undo)]),
    [
      [
        "link vlan5",
        ["VLAN device vlan5 for VLAN 5 on eth0", "eth0 up on the host", "vlan5 up on the host"],
        ["no device vlan5 on the host"],
      ],
      [
        "link docker5",
        ["bridge docker5", "vlan5 as a port of bridge docker5", "docker5 up on the host"],
        ["vlan5 no port of bridge docker5", "no device docker5 on the host"],
      ],
    ],
  );
  assert.ok(plan.steps.some((step) => step.do === "master" && step.bridge === "docker5"));
  assert.deepEqual(plan.probes, [{ link: "vlan5", ip: "10.70.0.5" }]);
});

test("a VLAN device that somebody made is used, with its bridge when it has one, and never removed", () => {
  const bridged = aHost({
    links: [
      aLink({ name: "eth0" }),
      aLink({ name: "eth0.5", kind: "vlan", vlanId: 5, parent: "eth0", master: "br5" }),
      aLink({ name: "br5", kind: "bridge" }),
    ],
  });
  const plan = planOf({ mode: "bridge" }, [aGrant("10.70.0.5", { vlan: 5 })], bridged);
  assert.deepEqual(plan.shared, []);
  assert.ok(plan.steps.some((step) => step.do === "master" && step.bridge === "br5"));
  const macvlan = planOf(
    { mode: "macvlan", hasNodeAccess: false },
    [aGrant("10.70.0.5", { vlan: 5 })],
    bridged,
  );
  assert.ok(macvlan.steps.some((step) => step.do === "macvlan" && step.parent === "eth0.5"));
  const removed = macvlan.undo.map((step) => (step.do === "no link" ? step.name : step.do));
  assert.match(removed.join(" "), /^eth0 (gxm-\w+) \1$/);
});

test("a VLAN device that carries the node's address is not put into a bridge", () => {
  const host = aHost({
    links: [
      aLink({ name: "eth0" }),
      aLink({ name: "eth0.5", kind: "vlan", vlanId: 5, parent: "eth0" }),
    ],
    addresses: [{ link: "eth0.5", ip: "10.5.0.1" as Ip, prefix: 24, scope: "global" }],
  });
  const outcome = planAttachment(
    aRequest({ mode: "bridge" }, [aGrant("10.70.0.5", { vlan: 5 })]),
    { host, pod: emptyNamespace },
    new Map(),
  );
  assert.equal(outcome.kind, "refused");
  assert.match(outcome.message, /eth0\.5 carries the node's address 10\.5\.0\.1/);
});

test("VLANs stand beside a VLAN device that is named as the uplink, and one id on two uplinks is two devices", () => {
  const host = aHost({
    links: [
      aLink({ name: "eth0" }),
      aLink({ name: "eth1" }),
      aLink({ name: "eth0.12", kind: "vlan", vlanId: 12, parent: "eth0" }),
      aLink({ name: "vlan5", kind: "vlan", vlanId: 5, parent: "eth1" }),
    ],
  });
  const plan = planOf(
    { mode: "macvlan", devices: ["eth0.12"] },
    [aGrant("10.70.0.5", { vlan: 5 })],
    host,
  );
  const [vlan] = plan.shared;
  assert.deepEqual(vlan?.steps[0], {
    do: "vlan",
    parent: "eth0",
    name: "eth0.5",
    id: 5,
    alias: sharedMark,
  });
});

test("galaxy-underlay-veth makes no VLAN device, and names the one that is missing", () => {
  const outcome = planAttachment(
    aRequest({ mode: "underlay-veth" }, [aGrant("10.70.0.5", { vlan: 5 })]),
    { host: aHost(), pod: emptyNamespace },
    new Map(),
  );
  assert.equal(outcome.kind, "refused");
  assert.match(outcome.message, /no vlan device with vlanID 5 on eth0/);
});

test("ipvlan l2 is a neighbour itself; l3 and l3s are answered for by the host, and send without neighbours", () => {
  const l2 = planOf({ mode: "ipvlan", ipvlanMode: "l2" }, [aGrant("10.70.0.5")]);
  assert.deepEqual(
    l2.steps.filter((step) => step.do === "proxy"),
    [],
  );
  for (const ipvlanMode of ["l3", "l3s"] as const) {
    const plan = planOf({ mode: "ipvlan", ipvlanMode }, [aGrant("10.70.0.5")]);
    assert.ok(plan.steps.some((step) => step.do === "proxy" && step.link === "eth0"));
    const route = plan.steps.find((step) => step.do === "route" && step.dst === "0.0.0.0/0");
    assert.deepEqual(route, {
      do: "route",
      place: "pod",
      dst: "0.0.0.0/0",
      link: "eth0",
      table: 254,
    });
    assert.ok(plan.undo.some((step) => step.do === "no proxy"));
  }
});

test("the configuration chooses the address of the default route, and adds routes", () => {
  const plan = planOf(
    {
      mode: "macvlan",
      defaultAddress: 1,
      routes: [{ dst: "10.0.0.0/8", gw: undefined, address: 0 }],
    },
    [aGrant("10.70.0.5"), aGrant("10.71.0.5", { gateway: "10.71.0.1" as Ip })],
  );
  assert.deepEqual(plan.result.routes, [
    { dst: "0.0.0.0/0", gw: "10.71.0.1" },
    { dst: "10.0.0.0/8", gw: "10.70.0.1" },
  ]);
  const rules = plan.steps.flatMap((step) => (step.do === "rule" ? [step] : []));
  assert.deepEqual(
    rules.map(({ from, table }) => [from, table]),
    [
      ["10.70.0.5", 100],
      ["10.71.0.5", 101],
    ],
  );
});

test("what another attachment found is what the last one puts back", () => {
  const host = aHost({ sysctls: { "net/ipv4/conf/eth0/forwarding": "1" } });
  const key = "net/ipv4/conf/eth0/forwarding";
  const undo: NetStep[] = [{ do: "sysctl", place: "host", key, value: "0" }];
  const request = aRequest({ mode: "pure" }, [aGrant("10.70.0.5")]);
  const facts = { host, pod: emptyNamespace };
  const alone = planAttachment(request, facts, new Map());
  const second = planAttachment(request, facts, new Map([[`sysctl ${key}`, undo]]));
  assert.ok(alone.kind === "plan" && second.kind === "plan");
  const sharedOf = ({ shared }: AttachmentPlan) => shared.find((part) => part.key.endsWith(key));
  assert.equal(sharedOf(alone.plan), undefined, "a value that was there before is not ours");
  assert.deepEqual(sharedOf(second.plan)?.undo, undo);
});

const anyGrants = fc
  .uniqueArray(
    fc.record({
      host: fc.integer({ min: 20, max: 250 }),
      vlan: fc.constantFrom(0, 0, 5, 4094),
      isIpv6: fc.boolean(),
    }),
    { selector: ({ host, isIpv6 }) => `${host} ${isIpv6}`, minLength: 1, maxLength: 8 },
  )
  .map((list) =>
    list.map(({ host, vlan, isIpv6 }) =>
      aGrant(isIpv6 ? `fd00::${host.toString(16)}` : `10.70.0.${host}`, { vlan }),
    ),
  );
const anyConfig = fc.record({
  mode: fc.constantFrom("bridge", "pure", "macvlan", "ipvlan", "underlay-veth" as const),
  ipvlanMode: fc.constantFrom("l2", "l3", "l3s" as const),
  mayMoveAddresses: fc.constant(true),
  hasNodeAccess: fc.boolean(),
}) as fc.Arbitrary<Partial<NetworkConfig>>;

test("every plan configures, announces and reports each address once, and takes away every device that it makes", () => {
  const links = [
    aLink({ name: "eth0" }),
    ...[5, 4094].map((id) =>
      aLink({ name: `eth0.${id}`, kind: "vlan", vlanId: id, parent: "eth0" }),
    ),
  ];
  fc.assert(
    fc.property(anyConfig, anyGrants, (config, grants) => {
      const plan = planOf(config, grants, aHost({ links }));
      const ips = grants.map(({ ip }) => ip).toSorted();
      const inPod = plan.steps.filter((step) => step.do === "address" && step.place === "pod");
      assert.deepEqual(inPod.map((step) => ("ip" in step ? step.ip : "")).toSorted(), ips);
      assert.deepEqual(plan.announcements.flatMap((item) => item.ips).toSorted(), ips);
      assert.deepEqual(plan.probes.map(({ ip }) => ip).toSorted(), ips);
      assert.deepEqual(
        plan.result.ips.map(({ address }) => `${address.split("/")[0]}`).toSorted(),
        ips,
      );
      for (const { interface: index } of plan.result.ips) {
        assert.ok(plan.result.interfaces[index ?? -1]?.sandbox !== undefined);
      }
      const mark = markOf({ containerId: "c1", network: "net1", ifName: "eth0" });
      const made = plan.steps.flatMap((step) =>
        step.do === "veth" || step.do === "macvlan" || step.do === "ipvlan" ? [step] : [],
      );
      const removed = plan.undo.flatMap((step) => (step.do === "no link" ? [step.name] : []));
      for (const { name, alias } of made) {
        assert.equal(alias, mark);
        assert.ok(removed.includes(name), name);
        assert.ok(name.length <= 15, name);
      }
      for (const part of plan.shared) {
        for (const step of part.steps) {
          if (step.do === "vlan" || step.do === "bridge") assert.equal(step.alias, sharedMark);
          if (step.do === "vlan" || step.do === "bridge") assert.ok(step.name.length <= 15);
        }
      }
      const proxies = plan.steps.filter((step) => step.do === "proxy").length;
      assert.equal(plan.undo.filter((step) => step.do === "no proxy").length, proxies);
    }),
  );
});

test("a device that an interrupted ADD left on its way into the pod goes before it is made again, and with DEL", () => {
  const wish = [aGrant("10.70.0.5")];
  const born = planOf({ mode: "macvlan" }, wish).steps.find((step) => step.do === "macvlan");
  const left = born?.bornAs ?? "";
  assert.match(left, /^gxm-/);
  assert.ok(left.length <= 15, left);
  const host = aHost({ links: [aLink({ name: "eth0" }), aLink({ name: left, index: 9 })] });
  const plan = planOf({ mode: "macvlan" }, wish, host);
  const removes = (steps: readonly NetStep[]) =>
    steps.findIndex((step) => step.do === "no link" && step.name === left);
  assert.ok(removes(plan.steps) >= 0);
  assert.ok(removes(plan.steps) < plan.steps.findIndex((step) => step.do === "macvlan"));
  assert.ok(removes(plan.undo) >= 0);
});

test("l3 ipvlans are made as l3s, which the wire can find, and a device that has another mode is left alone", () => {
  const wish = [aGrant("10.70.0.5")];
  const modesOf = ({ steps, shared }: AttachmentPlan) =>
    [...steps, ...shared.flatMap((part) => part.steps)].flatMap((step) =>
      step.do === "ipvlan" ? [step.mode] : [],
    );
  assert.deepEqual(modesOf(planOf({ mode: "ipvlan", ipvlanMode: "l3" }, wish)), ["l3s", "l3s"]);
  assert.deepEqual(modesOf(planOf({ mode: "ipvlan", ipvlanMode: "l3s" }, wish)), ["l3s", "l3s"]);
  assert.deepEqual(modesOf(planOf({ mode: "ipvlan" }, wish)), ["l2", "l2"]);
  const other = aLink({ name: "ipvl0", index: 9, kind: "ipvlan", parent: "eth0", mode: "l3s" });
  const outcome = planAttachment(
    aRequest({ mode: "ipvlan" }, wish),
    { host: aHost({ links: [aLink({ name: "eth0" }), other] }), pod: emptyNamespace },
    new Map(),
  );
  assert.ok(outcome.kind === "refused");
  assert.match(outcome.message, /eth0 has the ipvlan ipvl0 of mode l3s/);
});

test("a node is reached through the first of several macvlans, and through each from its own address", () => {
  const grants = [5, 6].map((vlan) => aGrant(`10.7${vlan}.0.5`, { vlan, gateway: undefined }));
  const { steps } = planOf({ mode: "macvlan" }, grants);
  const toNode = steps.flatMap((step) =>
    step.do === "route" && step.dst === "10.70.0.11/32" ? [[step.link, step.table]] : [],
  );
  assert.deepEqual(toNode, [
    ["eth0", 254],
    ["eth0", 100],
    ["eth1", 101],
  ]);
});
