// Manifests: which files are refused, and what the simulated cluster makes of an object.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterObject } from "./manifests.ts";
import { clusterObjectOf, parseManifests } from "./manifests.ts";

function problemOf(text: string): string {
  const parsed = parseManifests("a.yaml", text);
  return parsed.kind === "problem" ? parsed.problem : "";
}

/** What the simulated cluster makes of the only document. */
function objectOf(text: string): ClusterObject {
  const parsed = parseManifests("a.yaml", text);
  if (parsed.kind === "problem") assert.fail(parsed.problem);
  const [manifest] = parsed.manifests;
  assert.ok(manifest !== undefined && parsed.manifests.length === 1);
  return clusterObjectOf(manifest.json);
}

test("documents are read with the lines on which they begin", () => {
  const parsed = parseManifests("a.yaml", "# one\nkind: A\n---\n# two\n\nkind: B\n---\n");
  assert.deepEqual(parsed, {
    kind: "manifests",
    manifests: [
      { line: 2, json: { kind: "A" } },
      { line: 6, json: { kind: "B" } },
    ],
  });
});

test("a file that is no manifest names file and line", () => {
  assert.match(problemOf("kind: A\nkind: B\n"), /^a\.yaml:\d: Map keys must be unique/);
  assert.match(problemOf("kind: [1\n"), /^a\.yaml:\d: /);
  assert.equal(problemOf("just text\n"), "a.yaml:1: the document is no object");
  assert.match(problemOf("a: &x {}\nb: *x\n"), /^a\.yaml:2: aliases are not allowed/);
});

const template = `
  template:
    metadata:
      annotations:
        k8s.v1.cni.galaxy.io/release-policy: immutable
    spec:
      containers:
        - resources: { requests: { tke.cloud.tencent.com/eni-ip: "1" } }
`;

test("a Deployment has the limits of its strategy, 25 % by default, rounded as Kubernetes does", () => {
  const deploymentOf = (spec: string) => {
    const made = objectOf(
      `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  ${spec}${template}`,
    );
    assert.ok(made.kind === "workload", JSON.stringify(made));
    const { maxSurge, maxUnavailable, ref, replicas } = made.workload;
    assert.equal(`${ref.namespace}/${ref.name}`, "default/web");
    return { replicas, maxSurge, maxUnavailable };
  };
  assert.deepEqual(deploymentOf("paused: false"), { replicas: 1, maxSurge: 1, maxUnavailable: 0 });
  assert.deepEqual(deploymentOf("replicas: 10"), { replicas: 10, maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(
    deploymentOf(
      "strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 50% } }\n  replicas: 3",
    ),
    { replicas: 3, maxSurge: 0, maxUnavailable: 1 },
  );
});

test("what pods of a template ask for is what the product reads", () => {
  const made = objectOf(
    `apiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: db, namespace: shop }\nspec:\n  ordinals: { start: 3 }${template}`,
  );
  assert.ok(made.kind === "workload");
  assert.equal(made.workload.firstOrdinal, 3);
  assert.deepEqual(made.workload.template, {
    wantsAddress: true,
    policy: "immutable",
    pool: undefined,
    request: { kind: "families", families: undefined },
    revision: 1,
  });
});

test("addresses for roll-outs and the time of idle ones are read from the template", () => {
  const asked = template.replace(
    "immutable",
    'immutable\n        k8s.v1.cni.galaxy.io/surge-ips: "2"\n        k8s.v1.cni.galaxy.io/reserve-ttl: 1h30m',
  );
  const timesOf = (kind: string) => {
    const made = objectOf(
      `apiVersion: apps/v1\nkind: ${kind}\nmetadata: { name: web }\nspec:\n  replicas: 2${asked}`,
    );
    assert.ok(made.kind === "workload", JSON.stringify(made));
    const { reserveTtl, surgeAddresses } = made.workload.template;
    return [surgeAddresses, reserveTtl];
  };
  assert.deepEqual(timesOf("Deployment"), [2, 5_400_000]);
  // Only Deployments have addresses beside those of their replicas.
  assert.deepEqual(timesOf("StatefulSet"), [undefined, 5_400_000]);
});

test("what is not simulated is said, what means nothing for addresses is not", () => {
  const problem = (text: string) => {
    const made = objectOf(text);
    return made.kind === "problem" ? made.problem : made.kind;
  };
  assert.match(
    problem("apiVersion: batch/v1\nkind: CronJob\nmetadata: { name: a }\n"),
    /^batch\/v1 CronJob is not simulated; kinds are apps\/v1 Deployment, /,
  );
  assert.match(
    problem(
      `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec:\n  strategy: { type: Recreate }${template}`,
    ),
    /strategy Recreate is not simulated/,
  );
  assert.match(
    problem("kind: Pool\napiVersion: galaxy.k8s.io/v1alpha1\nmetadata: { name: a }\nsize: -1\n"),
    /^Pool default\/a: size -1 is no whole number/,
  );
  assert.equal(problem("kind: Service\napiVersion: v1\nmetadata: { name: a }\n"), "passive");
});

test("a configuration that is wrong is one that the product refuses, with its words", () => {
  const made = objectOf(
    'kind: ConfigMap\napiVersion: v1\nmetadata: { name: a }\ndata: { floatingips: "[{}]" }\n',
  );
  assert.ok(made.kind === "config" && made.config.kind === "broken");
  assert.ok((made.config.problems?.length ?? 0) > 0);
});
