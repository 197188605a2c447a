// Pods and nodes: tables of what each field means, and that no object makes the parser throw.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatIpRange } from "../core/ip-range.ts";
import {
  parseControllerRef,
  parseNode,
  parsePod,
  policyWithoutResource,
  poolNameProblem,
} from "./pod.ts";

const resource = "tke.cloud.tencent.com/eni-ip";

/** A pod as the API serves it; one container asks for an address unless `containers` says otherwise. */
function aPod(changes: {
  annotations?: Readonly<Record<string, string>>;
  containers?: unknown;
  initContainers?: unknown;
  ownerReferences?: unknown;
  phase?: string;
  metadata?: Readonly<Record<string, unknown>>;
}): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "web-0",
      namespace: "ns1",
      uid: "uid-1",
      creationTimestamp: "2020-05-29T11:11:44Z",
      annotations: changes.annotations ?? {},
      ownerReferences: changes.ownerReferences ?? [],
      ...changes.metadata,
    },
    spec: {
      nodeName: "n1",
      containers: changes.containers ?? [
        { name: "c", resources: { requests: { [resource]: "1" }, limits: { [resource]: "1" } } },
      ],
      initContainers: changes.initContainers,
    },
    status: { phase: changes.phase },
  };
}

function problemsOf(json: unknown): readonly string[] {
  return parsePod(json)?.problems ?? ["not a pod"];
}

test("a pod with everything becomes facts", () => {
  const args =
    '{"request_ip_range":[["10.0.0.2~10.0.0.3"]],"common":{"ipinfos":[{"ip":"10.0.0.2/24","vlan":0,"gateway":"10.0.0.1"}]}}';
  const pod = parsePod(
    aPod({
      annotations: {
        "k8s.v1.cni.galaxy.io/release-policy": "immutable",
        "k8s.v1.cni.galaxy.io/args": args,
      },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "StatefulSet",
          name: "web",
          uid: "uid-web",
          controller: true,
        },
      ],
      phase: "Running",
      metadata: { deletionTimestamp: "2020-05-29T12:00:00Z" },
    }),
  );
  const { request, ...rest } = pod ?? assert.fail("no pod");
  assert.deepEqual(rest, {
    id: { namespace: "ns1", name: "web-0" },
    uid: "uid-1",
    phase: "Running",
    isTerminating: true,
    nodeName: "n1",
    wantsAddress: true,
    policy: "immutable",
    pool: undefined,
    controller: {
      apiGroup: "apps",
      apiVersion: "v1",
      kind: "StatefulSet",
      name: "web",
      uid: "uid-web",
    },
    assignedIps: ["10.0.0.2"],
    argsText: args,
    problems: [],
    createdAtMs: Date.UTC(2020, 4, 29, 11, 11, 44),
  });
  assert.ok(request.kind === "ranges");
  assert.deepEqual(
    request.ranges.map((list) => list.map(formatIpRange)),
    [["10.0.0.2~10.0.0.3"]],
  );
});

test("a pod with the least is a pending pod that wants nothing", () => {
  assert.deepEqual(parsePod({ metadata: { namespace: "ns1", name: "web-0" } }), {
    id: { namespace: "ns1", name: "web-0" },
    uid: "",
    phase: "Pending",
    isTerminating: false,
    nodeName: "",
    wantsAddress: false,
    policy: "pod-delete",
    pool: undefined,
    controller: undefined,
    request: { kind: "families", families: undefined },
    assignedIps: [],
    argsText: "",
    problems: [],
    createdAtMs: 0,
  });
});

test("what has no name or namespace is no pod, what has no name is no node", () => {
  for (const json of [
    null,
    5,
    "x",
    [],
    {},
    { metadata: null },
    { metadata: { name: "a" } },
    { metadata: { name: "", namespace: "b" } },
  ]) {
    assert.equal(parsePod(json), undefined);
  }
  for (const json of [null, {}, { metadata: { name: 5 } }])
    assert.equal(parseNode(json), undefined);
});

test("case 41: the resource counts in requests or limits of containers and init containers, zero does not", () => {
  const using = (side: string, quantity: unknown) => [
    { name: "c", resources: { [side]: { [resource]: quantity } } },
  ];
  const cases: [quantity: unknown, wants: boolean][] = [
    ["1", true],
    [1, true],
    ["1k", true],
    ["2Ki", true],
    ["1e3", true],
    ["500m", true],
    ["0.5", true],
    ["0", false],
    [0, false],
    ["0k", false],
    ["0.0", false],
    ["00", false],
    ["-1", false],
    [null, false],
  ];
  for (const [quantity, wants] of cases) {
    for (const side of ["requests", "limits"]) {
      const containers = using(side, quantity);
      assert.equal(
        parsePod(aPod({ containers }))?.wantsAddress,
        wants,
        `${side} ${String(quantity)}`,
      );
      const initOnly = aPod({ containers: [{ name: "c" }], initContainers: containers });
      assert.equal(parsePod(initOnly)?.wantsAddress, wants, `init ${side} ${String(quantity)}`);
    }
  }
  assert.equal(
    parsePod(aPod({ containers: [{ resources: { requests: { cpu: "1" } } }] }))?.wantsAddress,
    false,
  );
  const none = (containers: readonly unknown[]) => parsePod(aPod({ containers }))?.requestsNone;
  assert.equal(none(using("limits", "0")), true, "the scheduler goes by the name alone");
  assert.equal(none([...using("limits", "0"), ...using("requests", "1")]), undefined);
  assert.equal(none([{ name: "c" }]), undefined);
  const second = aPod({ containers: [{ name: "a" }, ...using("limits", "1")] });
  assert.equal(parsePod(second)?.wantsAddress, true);
});

test("a quantity that is none is a problem and does not make the pod pass for one without the resource", () => {
  const pod = parsePod(
    aPod({ containers: [{ name: "c", resources: { limits: { [resource]: "one" } } }] }),
  );
  assert.equal(pod?.wantsAddress, true);
  assert.match(
    pod?.problems[0] ?? "",
    /^container c: limits tke\.cloud\.tencent\.com\/eni-ip "one" is no quantity; write "1"/,
  );
});

test("case 92: a pool makes the policy never, an empty pool annotation is none", () => {
  const annotations = (pool: string, policy = "immutable") => ({
    "tke.cloud.tencent.com/eni-ip-pool": pool,
    "k8s.v1.cni.galaxy.io/release-policy": policy,
  });
  const inPool = parsePod(aPod({ annotations: annotations("blue") }));
  assert.deepEqual([inPool?.pool, inPool?.policy], ["blue", "never"]);
  const empty = parsePod(aPod({ annotations: annotations("") }));
  assert.deepEqual([empty?.pool, empty?.policy], [undefined, "immutable"]);
});

test("a pool's name may be anything but what a key or URL cannot carry", () => {
  for (const name of ["blue", "Blue.Green", "蓝绿发布", "a".repeat(253)]) {
    assert.equal(poolNameProblem(name), undefined, name);
  }
  const cases: [name: string, problem: RegExp][] = [
    ["a_b", /pool name "a_b" has "_", "\/" or blanks in it; rename the pool, for example to "a-b"/],
    ["a/b", /for example to "a-b"/],
    [" blue", /pool name " blue" has/],
    ["a\tb", /pool name "a\\tb" has/],
    ["a\u0000b", /has "_", "\/" or blanks/],
    ["a".repeat(254), /is longer than 253 characters; shorten it/],
    ["", /pool name is empty/],
  ];
  for (const [name, problem] of cases) assert.match(poolNameProblem(name) ?? "", problem);
  const pod = parsePod(aPod({ annotations: { "tke.cloud.tencent.com/eni-ip-pool": "a_b" } }));
  assert.equal(pod?.pool, undefined);
  assert.match(
    pod?.problems[0] ?? "",
    /^annotation tke\.cloud\.tencent\.com\/eni-ip-pool: pool name "a_b"/,
  );
});

test("address families are read in any case and order, the first is primary", () => {
  const familiesOf = (text: string) => {
    const pod = parsePod(aPod({ annotations: { "k8s.v1.cni.galaxy.io/ip-families": text } }));
    assert.ok(pod?.request.kind === "families");
    return { families: pod.request.families, problems: pod.problems };
  };
  const cases: [text: string, families: readonly string[] | undefined][] = [
    ["IPv4", ["IPv4"]],
    ["IPv6", ["IPv6"]],
    ["IPv4,IPv6", ["IPv4", "IPv6"]],
    ["ipv6, IPV4", ["IPv6", "IPv4"]],
    ["", undefined],
    [" ", undefined],
  ];
  for (const [text, families] of cases)
    assert.deepEqual(familiesOf(text), { families, problems: [] }, text);
  for (const text of ["IPv5", "IPv4,IPv4", "IPv4,", "IPv4 IPv6", "4"]) {
    const { families, problems } = familiesOf(text);
    assert.equal(families, undefined);
    assert.match(
      problems[0] ?? "",
      /^annotation k8s\.v1\.cni\.galaxy\.io\/ip-families: ".*" is no list of different families; write/,
    );
  }
});

test("a number of addresses for rolling updates that cannot be read is the pod's problem", () => {
  const problemsOf = (text: string) =>
    parsePod(aPod({ annotations: { "k8s.v1.cni.galaxy.io/surge-ips": text } }))?.problems;
  for (const text of ["", "0", "1", "256"]) assert.deepEqual(problemsOf(text), [], text);
  for (const text of ["257", "-1", "1.0", " 1", "one"]) {
    assert.match(
      problemsOf(text)?.[0] ?? "",
      /^annotation k8s\.v1\.cni\.galaxy\.io\/surge-ips: ".*" is no whole number from 0 to 256; write/,
    );
  }
});

test("mistakes in the args annotation are the pod's problems", () => {
  const annotations = { "k8s.v1.cni.galaxy.io/args": '{"request_ip_range":[[]]}' };
  assert.match(
    problemsOf(aPod({ annotations }))[0] ?? "",
    /request_ip_range\[0\] is an empty list/,
  );
});

test("a pod that wants no address has no problems, but is told that its annotations have no effect", () => {
  const annotations = {
    "k8s.v1.cni.galaxy.io/release-policy": "never",
    "tke.cloud.tencent.com/eni-ip-pool": "a_b",
    "k8s.v1.cni.galaxy.io/args": '{"request_ip_range":[["10.0.0.1"]]}',
  };
  const without = aPod({ annotations, containers: [{ name: "c" }] });
  assert.deepEqual(problemsOf(without), []);
  assert.equal(
    policyWithoutResource(without),
    'pod ns1/web-0: annotations k8s.v1.cni.galaxy.io/release-policy, tke.cloud.tencent.com/eni-ip-pool, k8s.v1.cni.galaxy.io/args have no effect because no container requests tke.cloud.tencent.com/eni-ip; add tke.cloud.tencent.com/eni-ip: "1" to the requests and limits of one container, or remove the annotations',
  );
  assert.equal(policyWithoutResource(aPod({ annotations })), undefined);
  assert.equal(policyWithoutResource(aPod({ containers: [] })), undefined);
  const otherUse = {
    "k8s.v1.cni.galaxy.io/args": '{"common":{}}',
    "k8s.v1.cni.galaxy.io/release-policy": "",
  };
  assert.equal(policyWithoutResource(aPod({ annotations: otherUse, containers: [] })), undefined);
});

test("the controller is the reference that says so, else a single reference to a workload", () => {
  const replicaSet = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-5d", uid: "u1" };
  const tapp = { apiVersion: "apps.tkestack.io/v1", kind: "TApp", name: "web", uid: "u2" };
  const node = { apiVersion: "v1", kind: "Node", name: "n1", uid: "u3" };
  const rc = { apiVersion: "v1", kind: "ReplicationController", name: "old", uid: "u4" };
  const kruise = {
    apiVersion: "apps.kruise.io/v1beta1",
    kind: "StatefulSet",
    name: "web",
    uid: "u5",
  };
  const cases: [references: unknown, controller: string | undefined][] = [
    [[tapp, { ...replicaSet, controller: true }], "apps v1 ReplicaSet web-5d u1"],
    [[{ ...replicaSet, controller: false }, tapp], undefined],
    [[tapp], "apps.tkestack.io v1 TApp web u2"],
    [[kruise], "apps.kruise.io v1beta1 StatefulSet web u5"],
    [[rc], " v1 ReplicationController old u4"],
    [[node], undefined],
    [[{ ...node, controller: true }], " v1 Node n1 u3"],
    [[{ kind: "StatefulSet", name: "web" }], "apps v1 StatefulSet web "],
    [[{ kind: "StatefulSet" }], undefined],
    [[null], undefined],
    [[], undefined],
    [undefined, undefined],
    ["x", undefined],
  ];
  for (const [ownerReferences, expected] of cases) {
    const ref = parseControllerRef({ metadata: { ownerReferences } });
    const text = ref && `${ref.apiGroup} ${ref.apiVersion} ${ref.kind} ${ref.name} ${ref.uid}`;
    assert.equal(text, expected, JSON.stringify(ownerReferences));
  }
});

test("phases are those of Kubernetes", () => {
  for (const phase of ["Pending", "Running", "Succeeded", "Failed", "Unknown"]) {
    assert.equal(parsePod(aPod({ phase }))?.phase, phase);
  }
  assert.equal(parsePod(aPod({ phase: "Odd" }))?.phase, "Unknown");
  assert.equal(parsePod(aPod({}))?.phase, "Pending");
});

test("a node has its internal addresses in the order of the object, once each, and none that cannot be read", () => {
  const addresses = [
    { type: "Hostname", address: "n1" },
    { type: "InternalIP", address: "FD00::0:1" },
    { type: "ExternalIP", address: "1.2.3.4" },
    { type: "InternalIP", address: "10.0.0.1" },
    { type: "InternalIP", address: "fd00::1" },
    { type: "InternalIP", address: "10.0.0" },
    { type: "InternalIP" },
    null,
  ];
  assert.deepEqual(parseNode({ metadata: { name: "n1" }, status: { addresses } }), {
    name: "n1",
    internalIps: ["fd00::1", "10.0.0.1"],
  });
  assert.deepEqual(parseNode({ metadata: { name: "n2" } }), { name: "n2", internalIps: [] });
});

test("no object makes the parsers throw", () => {
  const odd = fc.oneof(fc.jsonValue(), fc.constantFrom(null, [], {}, "", 0, [null], [{}]));
  const pod = fc.record(
    {
      metadata: fc.record({
        name: odd,
        namespace: odd,
        annotations: odd,
        ownerReferences: odd,
        creationTimestamp: odd,
      }),
      spec: fc.record({ containers: odd, initContainers: odd, nodeName: odd }),
      status: fc.record({ phase: odd, addresses: odd }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(pod, odd), (json) => {
      parsePod(json);
      parseNode(json);
      policyWithoutResource(json);
      parseControllerRef(json);
    }),
    { numRuns: 500 },
  );
});
