// The wire of the scheduler extender: every answer against the golden file, every request in both spellings.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  formatBindingResult,
  formatHostPriorityList,
  formatNodeNamesResult,
  formatNodesResult,
  formatPreemptionResult,
  parseBindingArgs,
  parsePreemptionArgs,
} from "./extender.ts";

/** Answers by what they answer; written by hand after the Go system's and kube-scheduler's types. */
const golden = JSON.parse(
  readFileSync(new URL("golden/extender-answers.json", import.meta.url), "utf8"),
) as Record<string, string>;

const failed = new Map([
  ["n1", "FloatingIPPlugin:NoFIPLeft"],
  ["n2", "FloatingIPPlugin:NoFIPConfigNode"],
  ["n3", "FloatingIPPlugin:UnknowNode"],
]);
const around = ({ before, after }: { before: string; after: string }) =>
  `${before}{"metadata":{"name":"n4"}}${after}`;

const answers: Record<string, string> = {
  "filter, nodes, some fail": around(formatNodesResult({ failed, error: "" })),
  "filter, nodes, none fails": around(formatNodesResult({ failed: new Map(), error: "" })),
  "filter, names, some fail": formatNodeNamesResult(["n4"], { failed, error: "" }),
  "filter, names, none fails": formatNodeNamesResult(["n4"], { failed: new Map(), error: "" }),
  "filter, names, refused": formatNodeNamesResult([], { failed: new Map(), error: 'no "x" left' }),
  prioritize: formatHostPriorityList([
    { nodeName: "n1", score: 10 },
    { nodeName: "n2", score: 0 },
  ]),
  "prioritize, nothing to say": formatHostPriorityList([]),
  preempt: formatPreemptionResult([{ nodeName: "n3", victimUids: ["v1"], pdbViolations: 1 }]),
  "preempt, none kept": formatPreemptionResult([]),
  bind: formatBindingResult(""),
  "bind, refused": formatBindingResult("no enough available ips left"),
};

describe("answers", () => {
  for (const [what, answer] of Object.entries(answers)) {
    test(`${what}: as in the golden file`, () => assert.equal(answer, golden[what]));
  }
  test("the golden file has no answer that nobody gives", () => {
    assert.deepEqual(Object.keys(golden).toSorted(), Object.keys(answers).toSorted());
  });
  test("node names that are names of JavaScript's own objects are ordinary names", () => {
    const text = formatNodeNamesResult([], { failed: new Map([["__proto__", "x"]]), error: "" });
    assert.equal(text, `{"NodeNames":[],"failedNodes":{"__proto__":"x"}}`);
  });
});

describe("parseBindingArgs", () => {
  const wanted = { namespace: "ns1", podName: "p-0", podUid: "u1", nodeName: "n3" };

  test("reads Go field names and any other case", () => {
    for (const body of [
      { PodName: "p-0", PodNamespace: "ns1", PodUID: "u1", Node: "n3" },
      { podName: "p-0", podNamespace: "ns1", podUID: "u1", node: "n3" },
      { podname: "p-0", podnamespace: "ns1", poduid: "u1", NODE: "n3", more: [1] },
    ]) {
      assert.deepEqual(parseBindingArgs(body), { kind: "args", args: wanted });
    }
  });

  test("reads a missing uid as none", () => {
    const parse = parseBindingArgs({ PodName: "p-0", PodNamespace: "ns1", Node: "n3" });
    assert.deepEqual(parse, { kind: "args", args: { ...wanted, podUid: "" } });
  });

  for (const [body, problem] of [
    [null, "the body is not an object with PodName, Node and others"],
    [[], "the body is not an object with PodName, Node and others"],
    [{}, "PodName is missing"],
    [{ PodName: "p" }, "PodNamespace is missing"],
    [{ PodName: "p", PodNamespace: "n" }, "Node is missing"],
    [{ PodName: 7 }, "PodName is not a string"],
    [{ PodName: "p", PodNamespace: "n", PodUID: {}, Node: "n" }, "PodUID is not a string"],
  ] as const) {
    test(`refuses ${JSON.stringify(body)}`, () => {
      assert.deepEqual(parseBindingArgs(body), { kind: "problem", problem });
    });
  }
});

describe("parsePreemptionArgs", () => {
  const pod = { metadata: { name: "s-0", namespace: "ns1" } };
  const candidates = [{ nodeName: "n3", victimUids: ["v1"], pdbViolations: 1 }];

  test("makes both forms of victims one", () => {
    const meta = { n3: { Pods: [{ UID: "v1" }], NumPDBViolations: 1 } };
    const full = { n3: { Pods: [{ metadata: { uid: "v1" } }], NumPDBViolations: 1 } };
    for (const body of [
      { Pod: pod, NodeNameToMetaVictims: meta },
      { pod, nodeNameToMetaVictims: { n3: { pods: [{ uid: "v1" }], numPDBViolations: 1 } } },
      { Pod: pod, NodeNameToVictims: full },
      { Pod: pod, NodeNameToVictims: full, NodeNameToMetaVictims: null },
      { Pod: pod, NodeNameToVictims: full, NodeNameToMetaVictims: {} },
      { Pod: pod, NodeNameToVictims: { other: full.n3 }, NodeNameToMetaVictims: meta },
    ]) {
      assert.deepEqual(parsePreemptionArgs(body), { kind: "args", args: { pod, candidates } });
    }
  });

  test("reads absent victims as no candidates, and null victims as none on that node", () => {
    assert.deepEqual(parsePreemptionArgs({ Pod: pod }), {
      kind: "args",
      args: { pod, candidates: [] },
    });
    assert.deepEqual(parsePreemptionArgs({ Pod: pod, NodeNameToVictims: { n1: null } }), {
      kind: "args",
      args: { pod, candidates: [{ nodeName: "n1", victimUids: [], pdbViolations: 0 }] },
    });
  });

  for (const [body, problem] of [
    ["x", "the body is not an object with Pod and victims"],
    [{ NodeNameToVictims: {} }, "Pod is missing or not an object"],
    [{ Pod: pod, NodeNameToVictims: [] }, "NodeNameToVictims is not an object of node names"],
    [
      { Pod: pod, NodeNameToVictims: { n1: 1 } },
      `NodeNameToVictims["n1"] is not an object with Pods`,
    ],
    [
      { Pod: pod, NodeNameToVictims: { n1: { Pods: {} } } },
      `NodeNameToVictims["n1"].Pods is not a list`,
    ],
    [
      { Pod: pod, NodeNameToVictims: { n1: { Pods: [null] } } },
      `NodeNameToVictims["n1"].Pods[0] has no uid`,
    ],
    [
      { Pod: pod, NodeNameToMetaVictims: { n1: { Pods: [], NumPDBViolations: 0.5 } } },
      `NodeNameToMetaVictims["n1"].NumPDBViolations is not a whole number`,
    ],
  ] as const) {
    test(`refuses ${JSON.stringify(body)}`, () => {
      assert.deepEqual(parsePreemptionArgs(body), { kind: "problem", problem });
    });
  }
});
