// Which networks a pod gets, and which addresses it may not have.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anAllocation } from "../../test/builders.ts";
import { decideNetworks, refuseForeignAddresses } from "./decide-networks.ts";
import type { Ip } from "./ip.ts";

const defaults = { floatIpNetwork: "underlay", defaultNetworks: ["overlay", "second"] };
const wish = (name: string, ifName?: string) => ({ name, ifName });

function networksOf(pod: Parameters<typeof decideNetworks>[0], ifName = "eth0") {
  const decision = decideNetworks(pod, defaults, ifName);
  assert.ok(decision.kind === "networks", JSON.stringify(decision));
  return decision.networks.map(({ name, ifName: own }) => `${name}@${own}`);
}

test("networks are those that the pod names, else that for float IPs, else the defaults", () => {
  const wishes = [wish("a", "eth7"), wish("b"), wish("c", "net1")];
  assert.deepEqual(networksOf({ wishes, wantsAddress: true }), ["a@eth0", "b@eth1", "c@net1"]);
  assert.deepEqual(networksOf({ wishes: [], wantsAddress: true }), ["underlay@eth0"]);
  assert.deepEqual(networksOf({ wishes: [], wantsAddress: false }), [
    "overlay@eth0",
    "second@eth1",
  ]);
});

test("no network, the daemon itself and one interface for two networks are refused", () => {
  const none = { floatIpNetwork: "", defaultNetworks: [] };
  const cases: [readonly ReturnType<typeof wish>[], RegExp][] = [
    [[], /no network for this pod/],
    [[wish("galaxy-sdn")], /galaxy-sdn is the daemon itself/],
    [[wish("a"), wish("b", "eth0")], /a and b both want interface eth0/],
  ];
  for (const [wishes, message] of cases) {
    const decision = decideNetworks({ wishes, wantsAddress: false }, none, "eth0");
    assert.ok(decision.kind === "refused");
    assert.match(decision.message, message);
  }
});

test("an address is the pod's when its record has the pod's uid and node", () => {
  const pod = { namespace: "ns1", name: "p1", uid: "u1", nodeName: "n1" };
  const grants = [{ ip: "10.0.70.2" as Ip, prefix: 24, vlan: 0, gateway: undefined }];
  const owner = {
    kind: "pod",
    pod: { namespace: "ns1", name: "p1" },
    workload: undefined,
    pool: undefined,
  } as const;
  const refusal = (record: ReturnType<typeof anAllocation> | undefined) =>
    refuseForeignAddresses(pod, grants, () => record)?.message;
  assert.equal(refusal(anAllocation({ owner, podUid: "u1", nodeName: "n1" })), undefined);
  assert.equal(
    refusal(anAllocation({ owner, podUid: "", nodeName: "" })),
    undefined,
    "a record of the Go program, by name",
  );
  const other = { ...owner, pod: { namespace: "ns2", name: "p1" } };
  assert.match(refusal(undefined) ?? "", /no FloatingIP/);
  assert.match(refusal(anAllocation({ owner, podUid: "u2", nodeName: "n1" })) ?? "", /uid u2/);
  assert.match(refusal(anAllocation({ owner, podUid: "u1", nodeName: "n2" })) ?? "", /node n2/);
  assert.match(refusal(anAllocation({ owner: other, podUid: "" })) ?? "", /pod ns2\/p1/);
  const admin = anAllocation({ owner: { kind: "admin", key: "k" } });
  assert.match(refusal(admin) ?? "", /reserved for admin/);
});
