// Workloads: the API's defaults, ordinals, custom scales, and which rolling updates wait for ever.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { WorkloadState } from "../core/facts.ts";
import {
  parseCustomResourceDefinition,
  parseDeployment,
  parseReplicaSet,
  parseStatefulSet,
  replicaSetOwner,
  replicasAt,
} from "./workload.ts";

function aWorkload(spec: unknown): unknown {
  return { metadata: { namespace: "ns1", name: "web", uid: "uid-web" }, spec };
}

function present(state: WorkloadState): WorkloadState & { kind: "present" } {
  assert.ok(state.kind === "present");
  return state;
}

/** The reason why a Deployment's rolling update waits for ever. */
function deadlockOf(replicas: number | undefined, strategy: unknown): string | undefined {
  return present(parseDeployment(aWorkload({ replicas, strategy }))).rolloutDeadlock;
}

test("replicas default to 1 and ordinals to 0", () => {
  const plain = { kind: "present", uid: "uid-web", firstOrdinal: 0, rolloutDeadlock: undefined };
  assert.deepEqual(parseStatefulSet(aWorkload({})), { ...plain, replicas: 1 });
  assert.deepEqual(parseReplicaSet(aWorkload({ replicas: 0 })), { ...plain, replicas: 0 });
  assert.equal(present(parseDeployment(aWorkload({}))).replicas, 1);
  assert.deepEqual(parseStatefulSet(aWorkload({ replicas: 2, ordinals: { start: 5 } })), {
    ...plain,
    replicas: 2,
    firstOrdinal: 5,
  });
});

test("what is no workload is unknown, never gone", () => {
  for (const json of [null, {}, [], "x", { metadata: {} }, { kind: "Status" }]) {
    for (const parse of [parseDeployment, parseStatefulSet, parseReplicaSet]) {
      assert.equal(parse(json).kind, "unknown");
    }
  }
});

test("case 82: rolling updates that wait for ever with a fixed set of addresses are found", () => {
  const rolling = (maxSurge: unknown, maxUnavailable: unknown) => ({
    type: "RollingUpdate",
    rollingUpdate: { maxSurge, maxUnavailable },
  });
  const cases: [replicas: number | undefined, strategy: unknown, waits: boolean][] = [
    [1, undefined, true],
    [undefined, undefined, true],
    [3, undefined, true],
    [3, { type: "RollingUpdate" }, true],
    [3, rolling("25%", "25%"), true],
    [4, undefined, false],
    [4, rolling("25%", "25%"), false],
    [10, rolling("25%", "9%"), true],
    [10, rolling("25%", "10%"), false],
    [100, rolling(1, 0), true],
    [100, rolling("1%", "0%"), true],
    [3, rolling(0, 1), false],
    [3, rolling(0, "34%"), false],
    // Both come to 0: Kubernetes takes maxUnavailable 1.
    [3, rolling(0, "25%"), false],
    [3, rolling("0%", "0%"), false],
    [0, undefined, false],
    [3, { type: "Recreate" }, false],
    // What the API server would refuse counts as the default.
    [3, rolling("x", "y"), true],
    [3, rolling(1, 1.5), true],
    [3, rolling(1, "50%%"), true],
  ];
  for (const [replicas, strategy, waits] of cases) {
    const reason = deadlockOf(replicas, strategy);
    assert.equal(reason !== undefined, waits, `${replicas} ${JSON.stringify(strategy)}: ${reason}`);
  }
});

test("whether a rolling update waits follows Kubernetes' rounding", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.nat({ max: 100 }),
      fc.nat({ max: 100 }),
      (replicas, surge, unavailable) => {
        // Integer arithmetic of the API machinery: (value*total)/100 rounded down, and up by adding 99 first.
        const maxUnavailable = (unavailable * replicas - ((unavailable * replicas) % 100)) / 100;
        const up = surge * replicas + 99;
        const maxSurge = (up - (up % 100)) / 100;
        const reason = deadlockOf(replicas, {
          rollingUpdate: { maxSurge: `${surge}%`, maxUnavailable: `${unavailable}%` },
        });
        assert.equal(reason !== undefined, maxUnavailable === 0 && maxSurge > 0);
      },
    ),
  );
});

test("the reason gives the figures and what to set", () => {
  assert.equal(
    deadlockOf(3, undefined),
    'a rolling update of Deployment ns1/web waits for ever: maxUnavailable 25% of 3 replicas rounds down to 0, so no old pod goes before a new one is ready, while the new one (maxSurge 25%) waits for the address of an old one; set spec.strategy.rollingUpdate to maxSurge: 0 and maxUnavailable: 1, or give its pod template the annotation k8s.v1.cni.galaxy.io/surge-ips: "1"',
  );
  assert.match(
    deadlockOf(8, { rollingUpdate: { maxSurge: 2, maxUnavailable: 0 } }) ?? "",
    /: maxUnavailable 0, so no old pod .* \(maxSurge 2\)/,
  );
});

test("that the webhook did not mend what asks for it is said, with where to look", () => {
  const asking = (fix: string) =>
    present(
      parseDeployment({
        metadata: {
          namespace: "ns1",
          name: "web",
          uid: "u",
          annotations: { "galaxy.k8s.io/fix-rollout": fix },
        },
        spec: { replicas: 3 },
      }),
    ).rolloutDeadlock ?? "";
  assert.match(
    asking("true"),
    /surge-ips: "1"; its annotation galaxy\.k8s\.io\/fix-rollout asks galaxy-webhook for that, .*get deployment galaxy-webhook\), then apply the Deployment again$/,
  );
  assert.match(asking("false"), /surge-ips: "1"$/);
});

test("a Deployment has addresses for rolling updates, and then does not wait for ever", () => {
  const withSurge = (surge: string) =>
    parseDeployment({
      metadata: { name: "web", namespace: "ns1", uid: "u" },
      spec: {
        replicas: 1,
        template: { metadata: { annotations: { "k8s.v1.cni.galaxy.io/surge-ips": surge } } },
      },
    });
  const two = withSurge("2");
  assert.ok(two.kind === "present");
  assert.equal(two.surgeAddresses, 2);
  assert.equal(two.rolloutDeadlock, undefined);
  for (const wrong of ["-1", "1.5", "many", "257", "1e2"]) {
    const state = withSurge(wrong);
    assert.ok(state.kind === "present");
    assert.equal(state.surgeAddresses, undefined);
    assert.match(state.rolloutDeadlock ?? "", /waits for ever/);
  }
});

test("the owner of a ReplicaSet is its controller, a bare one has none", () => {
  const ownerReferences = [
    { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid: "uid-d", controller: true },
  ];
  assert.deepEqual(replicaSetOwner({ metadata: { name: "web-5d", ownerReferences } }), {
    apiGroup: "apps",
    apiVersion: "v1",
    kind: "Deployment",
    name: "web",
    uid: "uid-d",
  });
  assert.equal(replicaSetOwner({ metadata: { name: "web-5d" } }), undefined);
});

test("every version of a custom resource is known, with its scale subresource (defect D-2)", () => {
  const crd = {
    spec: {
      group: "apps.tkestack.io",
      names: { plural: "tapps", kind: "TApp" },
      scope: "Namespaced",
      versions: [
        { name: "v1alpha1", served: true, storage: false },
        {
          name: "v1",
          served: true,
          storage: true,
          subresources: {
            scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" },
          },
        },
        {
          name: "v2",
          served: false,
          subresources: { status: {}, scale: { specReplicasPath: "" } },
        },
        {},
      ],
    },
  };
  assert.deepEqual(parseCustomResourceDefinition(crd), {
    group: "apps.tkestack.io",
    plural: "tapps",
    kind: "TApp",
    scope: "Namespaced",
    versions: [
      { name: "v1alpha1", served: true, storage: false, specReplicasPath: undefined },
      { name: "v1", served: true, storage: true, specReplicasPath: ".spec.replicas" },
      { name: "v2", served: false, storage: false, specReplicasPath: undefined },
    ],
  });
  for (const json of [null, {}, { spec: {} }, { spec: { group: "a", names: { kind: "B" } } }]) {
    assert.equal(parseCustomResourceDefinition(json), undefined);
  }
});

test("replicas of a custom workload are read at the path of its scale subresource", () => {
  const json = { spec: { replicas: 3, a: { b: 0 }, text: "3", negative: -1, half: 0.5 } };
  const cases: [path: string, replicas: number | undefined][] = [
    [".spec.replicas", 3],
    [".spec.a.b", 0],
    [".spec.missing", undefined],
    [".spec.text", undefined],
    [".spec.negative", undefined],
    [".spec.half", undefined],
    [".spec.replicas.more", undefined],
    ["spec.replicas", undefined],
    [".spec.list[0]", undefined],
    [".spec..replicas", undefined],
    ["", undefined],
    [".", undefined],
  ];
  for (const [path, replicas] of cases) assert.equal(replicasAt(json, path), replicas, path);
});

test("no object makes the parsers throw", () => {
  const odd = fc.oneof(fc.jsonValue(), fc.constantFrom(null, [], {}, [null], -1));
  const object = fc.record({
    metadata: fc.record({ name: odd, ownerReferences: odd }),
    spec: fc.record({
      replicas: odd,
      strategy: odd,
      ordinals: odd,
      versions: odd,
      names: odd,
      group: odd,
    }),
  });
  fc.assert(
    fc.property(object, fc.string(), (json, path) => {
      for (const parse of [parseDeployment, parseStatefulSet, parseReplicaSet]) parse(json);
      parseCustomResourceDefinition(json);
      replicasAt(json, path);
    }),
  );
});
