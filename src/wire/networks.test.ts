// The networks annotation in both forms, what is refused in it, and the status that is written back.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatNetworkStatus, parseNetworks } from "./networks.ts";

function wishesOf(text: string) {
  const parsed = parseNetworks(text);
  assert.ok(parsed.kind === "wishes", JSON.stringify(parsed));
  return parsed.wishes;
}

test("names with commas, and a JSON list, are wishes in their order", () => {
  const plain = (name: string) => ({ name, ifName: undefined });
  const cases: [string, ReturnType<typeof wishesOf>][] = [
    ["", []],
    [" ", []],
    ["galaxy-k8s-vlan", [plain("galaxy-k8s-vlan")]],
    ["a, ns/b ,c@net1", [plain("a"), plain("b"), { name: "c", ifName: "net1" }]],
    ["ns/a@eth1", [{ name: "a", ifName: "eth1" }]],
    [
      '[{"name":"a"},{"name":"b","namespace":"n","interface":"net1"}]',
      [plain("a"), { name: "b", ifName: "net1" }],
    ],
    ["[]", []],
  ];
  for (const [text, wishes] of cases) assert.deepEqual(wishesOf(text), wishes, text);
});

test("what cannot be meant is refused with annotation, value and remedy", () => {
  const cases: [string, RegExp][] = [
    ["a,", /empty or impossible network name ""/],
    [",", /empty or impossible network name ""/],
    ["a;K8S_POD_NAME=x", /impossible network name "a;K8S_POD_NAME=x"/],
    ["a b", /impossible network name "a b"/],
    ["UP_/a", /impossible namespace/],
    ["a@b@c", /not of the form/],
    ["a@much-too-long-for-linux", /longer than 15/],
    ["{}", /no JSON list/],
    ["[{}]", /has no name/],
    ['["a"]', /has no name/],
    ["[", /no JSON/],
    ['[{"name":"a","ips":["10.0.0.1"]}]', /asks for ips/],
    ['[{"name":"a","mac":"x"}]', /asks for mac/],
    [Array.from({ length: 17 }, (_, index) => `n${index}`).join(","), /17 networks are too many/],
  ];
  for (const [text, problem] of cases) {
    const parsed = parseNetworks(text);
    assert.ok(parsed.kind === "problem", text);
    assert.match(parsed.problem, /^annotation k8s\.v1\.cni\.cncf\.io\/networks: /);
    assert.match(parsed.problem, problem);
  }
});

test("no text makes the parser throw, and no accepted name could end an argument or a command", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.stringMatching(/^[a-z/@,;= ]*$/)), (text) => {
      const parsed = parseNetworks(text);
      if (parsed.kind === "problem") return;
      for (const { name, ifName = "x" } of parsed.wishes) {
        assert.match(name, /^[A-Za-z0-9_.-]+$/);
        assert.match(ifName, /^[A-Za-z0-9_.@+-]{1,15}$/);
      }
    }),
  );
});

test("the status names network, interface, addresses and MAC as the specification has them", () => {
  const result = {
    interfaces: [
      { name: "v-h1", mac: "0a:00:00:00:00:01" },
      { name: "eth0", mac: "02:42:0a:00:00:05", sandbox: "/run/netns/p" },
    ],
    ips: [{ address: "10.0.0.5/24", gateway: "10.0.0.1", interface: 1 }],
    routes: [],
    dns: {},
  };
  assert.deepEqual(
    JSON.parse(formatNetworkStatus([{ name: "n", ifName: "eth0", result, isDefault: true }])),
    [
      {
        name: "n",
        interface: "eth0",
        ips: ["10.0.0.5"],
        mac: "02:42:0a:00:00:05",
        default: true,
        dns: {},
      },
    ],
  );
});
