// Claims as pods write them: both annotations, both forms, and everything that is wrong with one without harm to another.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  calicoFloatingIpsAnnotation,
  mostClaims,
  nodeIsReady,
  parseVipClaim,
  parseVipPod,
  vipAddressesAnnotation,
  vipPreemptAnnotation,
  vipPriorityAnnotation,
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
    metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" },
    spec: { nodeName: "n1" },
    status: {
      phase: "Running",
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }, { ip: "2001:db8:1::1" }],
      conditions: [
        { type: "Ready", status: "True", lastTransitionTime: "2023-11-14T22:13:20Z" },
        { type: "Initialized", status: "False" },
      ],
    },
  };
  assert.deepEqual(parseVipPod(pod), {
    podIps: ["10.0.0.1", "2001:db8:1::1"],
    phase: "Running",
    isReady: true,
    readySinceMs: 1_700_000_000_000,
    isTerminating: true,
    nodeName: "n1",
  });
});

test("a pod of which nothing is known is not ready and has no address", () => {
  assert.deepEqual(parseVipPod({}), {
    podIps: [],
    phase: "Unknown",
    isReady: false,
    readySinceMs: 0,
    isTerminating: false,
    nodeName: "",
  });
});

test("a node is ready only when its condition says True", () => {
  const node = (status: string) => ({ status: { conditions: [{ type: "Ready", status }] } });
  assert.deepEqual([node("True"), node("False"), node("Unknown"), {}].map(nodeIsReady), [
    true,
    false,
    false,
    false,
  ]);
});
