// The scheduler's side of the extender protocol, against the extender's own side and against what other extenders answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aPod } from "../../test/builders.ts";
import {
  formatBindingResult,
  formatHostPriorityList,
  formatNodeNamesResult,
  formatPreemptionResult,
  parseBindingArgs,
  parsePreemptionArgs,
} from "./extender.ts";
import {
  formatBindingArgs,
  formatExtenderArgs,
  formatPreemptionArgs,
  parseBindingResult,
  parseFilterResult,
  parseHostPriorityList,
  parsePreemptionResult,
} from "./extender-calls.ts";
import { formatPod } from "./pod-manifest.ts";

const pod = formatPod(aPod());

test("calls are spelled as a scheduler spells them, and the extender reads them", () => {
  assert.deepEqual(JSON.parse(formatExtenderArgs(pod, ["n1", "n2"])), {
    Pod: pod,
    NodeNames: ["n1", "n2"],
  });
  const binding = { namespace: "ns1", podName: "pod1", podUid: "u1", nodeName: "n1" };
  assert.deepEqual(parseBindingArgs(JSON.parse(formatBindingArgs(binding))), {
    kind: "args",
    args: binding,
  });
  const candidates = [
    { nodeName: "n1", victimUids: ["u1", "u2"] },
    { nodeName: "n2", victimUids: [] },
  ];
  assert.deepEqual(parsePreemptionArgs(JSON.parse(formatPreemptionArgs(pod, candidates))), {
    kind: "args",
    args: { pod, candidates: candidates.map((each) => ({ ...each, pdbViolations: 0 })) },
  });
});

test("answers of the extender are understood", () => {
  const failed = new Map([["n2", "FloatingIPPlugin:NoFIPLeft: none"]]);
  assert.deepEqual(
    parseFilterResult(JSON.parse(formatNodeNamesResult(["n1"], { failed, error: "" }))),
    { passed: ["n1"], failed, error: "" },
  );
  const refused = formatNodeNamesResult([], { failed: new Map(), error: "no ordinal" });
  assert.deepEqual(parseFilterResult(JSON.parse(refused)), {
    passed: [],
    failed: new Map(),
    error: "no ordinal",
  });
  const scores = [{ nodeName: "n1", score: 10 }];
  assert.deepEqual(parseHostPriorityList(JSON.parse(formatHostPriorityList(scores))), scores);
  assert.equal(parseBindingResult(JSON.parse(formatBindingResult(""))), "");
  assert.equal(parseBindingResult(JSON.parse(formatBindingResult("it is gone"))), "it is gone");
  const kept = [{ nodeName: "n1", victimUids: ["u1"], pdbViolations: 0 }];
  assert.deepEqual(parsePreemptionResult(JSON.parse(formatPreemptionResult(kept))), ["n1"]);
});

test("member names count in any case and null is absent, as Go's decoder takes them", () => {
  assert.deepEqual(parseFilterResult({ nodenames: ["n1"], FailedNodes: null, Error: null }), {
    passed: ["n1"],
    failed: new Map(),
    error: "",
  });
  assert.deepEqual(parseHostPriorityList([{ HOST: "n1", SCORE: 3 }, { host: "n2" }]), [
    { nodeName: "n1", score: 3 },
  ]);
  assert.equal(parseBindingResult({ ERROR: "no" }), "no");
});

test("what has not the shape of an answer is none", () => {
  for (const json of [null, [], 1, "x"]) {
    assert.equal(parseFilterResult(json), undefined);
    assert.equal(parseBindingResult(json), undefined);
    assert.equal(parsePreemptionResult(json), undefined);
  }
  assert.equal(parseHostPriorityList({}), undefined);
});
