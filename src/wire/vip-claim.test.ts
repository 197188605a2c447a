// Claims as pods write them: both annotations, both forms, and everything that is wrong with one without harm to another.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  calicoFloatingIpsAnnotation,
  mostClaims,
  parseVipClaim,
  parseVipNode,
  parseVipPod,
  vipAddressesAnnotation,
  vipEgressAnnotation,
  vipPortsAnnotation,
  vipPreemptAnnotation,
  vipPriorityAnnotation,
  vipProbeAnnotation,
} from "./vip-claim.ts";

function claimOf(annotations: Readonly<Record<string, unknown>>, readsCalico = true) {
  return parseVipClaim({ metadata: { annotations } }, { readsCalico });
}

describe("the annotation of addresses", () => {
  for (const [text, ips, problems] of [
    ["", [], []],
    ["192.0.2.50", ["192.0.2.50"], []],
    ["192.0.2.50, 2001:DB8::50", ["192.0.2.50", "2001:db8::50"], []],
    ['["192.0.2.50", "2001:db8:0::50"]', ["192.0.2.50", "2001:db8::50"], []],
    ["192.0.2.50,192.0.2.50", ["192.0.2.50"], []],
    ["192.0.2.50, nonsense", ["192.0.2.50"], [/"\s?nonsense" is no address/]],
    ["192.0.2.0/24, 192.0.2.50", ["192.0.2.50"], [/"192\.0\.2\.0\/24" is a prefix/]],
    ["192.0.2.050", [], [/is no address/]],
    ["[]", [], []],
    ['["192.0.2.50", 7]', ["192.0.2.50"], [/: 7 is no address/]],
    ['["192.0.2.50"', [], [/is no JSON \(.*\); write \["192\.0\.2\.50"\]/]],
    [
      Array.from({ length: mostClaims + 1 }, (_, index) => `10.0.0.${index}`).join(),
      [],
      [/65 addresses are more than 64/],
    ],
  ] as const) {
    test(`${text.slice(0, 60) || "that is empty"} claims ${ips.join(" and ") || "nothing"}, ${problems.length} problems`, () => {
      const claim = claimOf({ [vipAddressesAnnotation]: text });
      assert.deepEqual(claim.ips, ips);
      assert.equal(claim.problems.length, problems.length, claim.problems.join("\n"));
      for (const [index, pattern] of problems.entries()) {
        assert.match(claim.problems[index] ?? "", pattern);
      }
    });
  }

  test("of Calico counts beside ours, unless it is turned off", () => {
    const annotations = {
      [vipAddressesAnnotation]: "192.0.2.50",
      [calicoFloatingIpsAnnotation]: '["192.0.2.51"]',
    };
    assert.deepEqual(claimOf(annotations).ips, ["192.0.2.50", "192.0.2.51"]);
    assert.deepEqual(claimOf(annotations, false).ips, ["192.0.2.50"]);
  });

  test("never makes the parser fail, whatever stands there, and claims only what is an address", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.anything()), (value) => {
        for (const ip of claimOf({ [vipAddressesAnnotation]: value }).ips) {
          assert.match(ip, /^[0-9a-f.:]+$/);
        }
      }),
    );
  });
});

describe("priority and preemption", () => {
  for (const [priority, preempt, expected, count] of [
    [undefined, undefined, [0, false], 0],
    ["255", "always", [255, true], 0],
    ["0", "never", [0, false], 0],
    ["256", "never", [0, false], 1],
    ["-1", "yes", [0, false], 2],
    ["1.5", "", [0, false], 1],
  ] as const) {
    test(`"${priority ?? ""}" and "${preempt ?? ""}" mean ${expected.join(" and ")}`, () => {
      const claim = claimOf({ [vipPriorityAnnotation]: priority, [vipPreemptAnnotation]: preempt });
      assert.deepEqual([claim.priority, claim.preempts], expected);
      assert.equal(claim.problems.length, count);
    });
  }
});

test("a pod's addresses, readiness and end are read from its status", () => {
  const pod = {
    metadata: { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 30 },
    spec: { nodeName: "n1" },
    status: {
      phase: "Running",
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }, { ip: "2001:db8:1::1" }],
      conditions: [
        { type: "Ready", status: "True", lastTransitionTime: "2023-11-14T22:13:20Z" },
        { type: "Initialized", status: "False" },
        { type: "vip.galaxy.k8s.io/Probe", status: "False" },
        {
          type: "vip.galaxy.k8s.io/Holder",
          status: "True",
          reason: "Holds",
          message: "it holds 192.0.2.50",
        },
      ],
    },
  };
  assert.deepEqual(parseVipPod(pod), {
    podIps: ["10.0.0.1", "2001:db8:1::1"],
    phase: "Running",
    ready: { isTrue: true, sinceMs: 1_700_000_000_000 },
    probe: { isTrue: false, sinceMs: 0 },
    terminatingSinceMs: Date.UTC(2025, 11, 31, 23, 59, 30),
    holder: { isHolder: true, reason: "Holds", message: "it holds 192.0.2.50" },
    nodeName: "n1",
  });
});

test("a pod of which nothing is known is not ready and has no address", () => {
  assert.deepEqual(parseVipPod({}), {
    podIps: [],
    phase: "Unknown",
    ready: { isTrue: false, sinceMs: 0 },
    probe: undefined,
    terminatingSinceMs: undefined,
    holder: undefined,
    nodeName: "",
  });
});

test("a node is ready unless its condition says something else, and says its addresses", () => {
  const node = (status?: string) => ({
    metadata: { name: "n1" },
    spec: { podCIDR: "10.1.0.0/24" },
    status: {
      addresses: [{ address: "10.0.0.1" }, { address: "n1.example" }],
      ...(status === undefined ? {} : { conditions: [{ type: "Ready", status }] }),
    },
  });
  const ready = ["True", "False", "Unknown", undefined].map((s) => parseVipNode(node(s))?.isReady);
  assert.deepEqual(ready, [true, false, false, true]);
  assert.deepEqual(parseVipNode(node("True"))?.ips, ["10.0.0.1"]);
  assert.deepEqual(parseVipNode(node("True"))?.podCidrs, ["10.1.0.0/24"]);
  assert.equal(parseVipNode({}), undefined);
});

describe("what a pod wishes of its node", () => {
  const wishesOf = (annotations: Readonly<Record<string, string>>) =>
    claimOf({ [vipAddressesAnnotation]: "192.0.2.50", ...annotations });

  test("is nothing where nothing is said", () => {
    assert.deepEqual(wishesOf({}).wishes, {
      sendsFromVip: false,
      ports: undefined,
      probe: undefined,
    });
  });

  test("is egress, ports and a probe", () => {
    const { problems, wishes } = wishesOf({
      [vipEgressAnnotation]: "true",
      [vipPortsAnnotation]: "tcp:80, UDP:5000-5009",
      [vipProbeAnnotation]: "tcp:443, 250ms, 2",
    });
    assert.deepEqual(problems, []);
    assert.deepEqual(wishes, {
      sendsFromVip: true,
      ports: [
        { protocol: "tcp", first: 80, last: 80 },
        { protocol: "udp", first: 5000, last: 5009 },
      ],
      probe: { protocol: "tcp", port: 443, everyMs: 250, failures: 2 },
    });
  });

  for (const [key, text, pattern] of [
    [vipEgressAnnotation, "yes", /"yes" is neither true nor false/],
    [vipPortsAnnotation, "80", /"80" is no port; write tcp:80/],
    [vipPortsAnnotation, "tcp:9-5", /is no port/],
    [vipPortsAnnotation, "tcp:0", /is no port/],
    [vipProbeAnnotation, "http:80", /"http:80" is no probe; write tcp:443,500ms,3/],
    [vipProbeAnnotation, "tcp:443,1ms", /is no probe/],
    [vipProbeAnnotation, "tcp:99999", /is no probe/],
  ] as const) {
    test(`${key}: ${text} is a problem and not more`, () => {
      const claim = wishesOf({ [key]: text });
      assert.deepEqual(claim.ips, ["192.0.2.50"]);
      assert.match(claim.problems.join(), pattern);
    });
  }

  test("exposes nothing when no port can be read", () => {
    assert.deepEqual(wishesOf({ [vipPortsAnnotation]: "all" }).wishes.ports, []);
  });
});
