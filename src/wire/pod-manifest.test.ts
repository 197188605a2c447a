// Pods that are written from facts, as the scheduler of a simulated cluster sends them.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { aPod, controlledBy, ip, ipRange } from "../../test/builders.ts";
import { arbController, arbLabel, arbPolicy } from "../../test/contract/arbitraries.ts";
import type { PodFacts } from "../core/facts.ts";
import { policyInForce } from "../core/release-policy.ts";
import { parsePod } from "./pod.ts";
import { argsTextOf, formatPod } from "./pod-manifest.ts";

test("a pod is written with the established annotations and the resource in requests and limits", () => {
  const pod = aPod({
    namespace: "default",
    name: "db-0",
    policy: "immutable",
    controller: controlledBy("apps/v1", "StatefulSet", "db"),
    request: { kind: "ranges", ranges: [[ipRange("10.0.0.2~10.0.0.30")], [ipRange("10.0.0.60")]] },
  });
  assert.deepEqual(formatPod(pod), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: "default",
      name: "db-0",
      uid: pod.uid,
      creationTimestamp: "2023-11-14T22:13:20.000Z",
      annotations: {
        "k8s.v1.cni.galaxy.io/release-policy": "immutable",
        "k8s.v1.cni.galaxy.io/args": '{"request_ip_range":[["10.0.0.2~10.0.0.30"],["10.0.0.60"]]}',
      },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "StatefulSet",
          name: "db",
          uid: pod.controller?.uid,
          controller: true,
        },
      ],
    },
    spec: {
      containers: [
        {
          name: "main",
          resources: {
            requests: { "tke.cloud.tencent.com/eni-ip": "1" },
            limits: { "tke.cloud.tencent.com/eni-ip": "1" },
          },
        },
      ],
    },
    status: { phase: "Pending" },
  });
});

test("what is written reads as the same facts", () => {
  const arbPod: fc.Arbitrary<PodFacts> = fc
    .record({
      namespace: arbLabel,
      name: arbLabel,
      wantsAddress: fc.boolean(),
      phase: fc.constantFrom("Pending", "Running", "Succeeded", "Failed"),
      isTerminating: fc.boolean(),
      nodeName: fc.constantFrom("", "n1"),
      pool: fc.option(arbLabel, { nil: undefined }),
      controller: fc.option(arbController, { nil: undefined }),
      families: fc.constantFrom(undefined, ["IPv4"], ["IPv6", "IPv4"]),
      policy: arbPolicy,
      reserveTtl: fc.constantFrom(undefined, "never" as const, 1_000, 90_061_500),
    })
    .map(({ families, policy, pool, reserveTtl, ...rest }) =>
      aPod({
        ...rest,
        pool,
        policy: policyInForce(policy, pool),
        // Where the address goes with the pod it has no effect, and reading it would warn.
        ...(reserveTtl === undefined || policyInForce(policy, pool) === "pod-delete"
          ? {}
          : { reserveTtl }),
        request: { kind: "families", families } as PodFacts["request"],
      }),
    );
  fc.assert(
    fc.property(arbPod, (pod) => {
      assert.deepEqual(parsePod(formatPod(pod)), pod);
    }),
  );
});

test("addresses in the annotation are kept, and ranges that were asked for are read back", () => {
  const bound = aPod({
    nodeName: "n1",
    argsText: '{"common":{"ipinfos":[{"ip":"10.0.0.2/24","vlan":0,"gateway":"10.0.0.1"}]}}',
  });
  const read = parsePod(formatPod(bound));
  assert.deepEqual(read?.assignedIps, [ip("10.0.0.2")]);
  assert.equal(read?.argsText, bound.argsText);

  const asked = aPod({
    request: { kind: "ranges", ranges: [[ipRange("10.0.0.2"), ipRange("fd00::1~fd00::9")]] },
  });
  assert.equal(argsTextOf(asked), '{"request_ip_range":[["10.0.0.2","fd00::1~fd00::9"]]}');
  const ranges = aPod({ request: { kind: "ranges", ranges: [[ipRange("fd00::1~fd00::9")]] } });
  assert.deepEqual(parsePod(formatPod(ranges))?.request, ranges.request);
  assert.equal(argsTextOf(aPod()), "");
});

test("a pod that names the resource with quantity 0 says so again", () => {
  const pod = aPod({ wantsAddress: false, requestsNone: true });
  assert.deepEqual(parsePod(formatPod(pod)), pod);
});
