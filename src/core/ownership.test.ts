// Which workload a pod belongs to: the table of controller kinds, groups and what is known of the ReplicaSet.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import type { ControllerRef } from "./facts.ts";
import { builtInWorkload } from "./owner.ts";
import { controllerOfReplicaSet, replicaSetNameOf, resolveOwnership } from "./ownership.ts";

const id = { namespace: "ns1", name: "web-69fd8dbc5c-x2k4z" };
const at = (name: string) => ({ namespace: "ns1", name });
const ref = (apiGroup: string, kind: string, name: string): ControllerRef => ({
  apiGroup,
  apiVersion: "v1",
  kind,
  name,
  uid: "u1",
});
const custom = (apiGroup: string, kind: string, name: string) =>
  ({ type: "custom", kind, apiGroup, namespace: "ns1", name }) as const;

describe("resolveOwnership", () => {
  const replicaSet = ref("apps", "ReplicaSet", "web-69fd8dbc5c");
  const table = [
    {
      says: "a pod without a controller has no workload, and that is certain",
      controller: undefined,
      replicaSet: "unknown",
      workload: undefined,
      isCertain: true,
    },
    {
      says: "a StatefulSet of apps is built in",
      controller: ref("apps", "StatefulSet", "db"),
      replicaSet: "unknown",
      workload: builtInWorkload("statefulset", at("db")),
      isCertain: true,
    },
    {
      says: "a StatefulSet of another group is custom",
      controller: ref("apps.kruise.io", "StatefulSet", "db"),
      replicaSet: "unknown",
      workload: custom("apps.kruise.io", "statefulset", "db"),
      isCertain: true,
    },
    {
      says: "a ReplicaSet that a Deployment controls stands for the Deployment, whatever its own name is",
      controller: replicaSet,
      replicaSet: { deployment: "shop-front" },
      workload: builtInWorkload("deployment", at("shop-front")),
      isCertain: true,
    },
    {
      says: "a ReplicaSet without a Deployment is a workload of its own, also with a name that looks like a Deployment's",
      controller: replicaSet,
      replicaSet: "none",
      workload: builtInWorkload("replicaset", at("web-69fd8dbc5c")),
      isCertain: true,
    },
    {
      says: "the name of an unknown ReplicaSet is cut at its last dash, and that is not certain",
      controller: ref("apps", "ReplicaSet", "shop-front-69fd8dbc5c"),
      replicaSet: "unknown",
      workload: builtInWorkload("deployment", at("shop-front")),
      isCertain: false,
    },
    {
      says: "an unknown ReplicaSet without a dash in its name is taken for a bare one, and that is not certain",
      controller: ref("apps", "ReplicaSet", "web"),
      replicaSet: "unknown",
      workload: builtInWorkload("replicaset", at("web")),
      isCertain: false,
    },
    {
      says: "a ReplicaSet of another group is custom and never cut",
      controller: ref("example.com", "ReplicaSet", "web-69fd8dbc5c"),
      replicaSet: "unknown",
      workload: custom("example.com", "replicaset", "web-69fd8dbc5c"),
      isCertain: true,
    },
    {
      says: "a kind of the core group is custom with an empty group",
      controller: ref("", "ReplicationController", "rc"),
      replicaSet: "unknown",
      workload: custom("", "replicationcontroller", "rc"),
      isCertain: true,
    },
    {
      says: "a DaemonSet of apps is custom in group apps",
      controller: ref("apps", "DaemonSet", "agent"),
      replicaSet: "unknown",
      workload: custom("apps", "daemonset", "agent"),
      isCertain: true,
    },
    {
      says: "a Job is custom in its group",
      controller: ref("batch", "Job", "nightly-28100"),
      replicaSet: "unknown",
      workload: custom("batch", "job", "nightly-28100"),
      isCertain: true,
    },
  ] as const;
  for (const row of table) {
    it(row.says, () => {
      assert.deepEqual(resolveOwnership({ id, controller: row.controller }, row.replicaSet), {
        workload: row.workload,
        isCertain: row.isCertain,
      });
    });
  }

  it("keeps a Deployment name of 63 characters whole when its ReplicaSet is unknown", () => {
    const name = `dp1${"1234567890".repeat(6)}`;
    const controller = ref("apps", "ReplicaSet", `${name}-69fd8dbc5c`);
    assert.equal(resolveOwnership({ id, controller }, "unknown").workload?.name, name);
  });

  it("finds the Deployment of every DEPLOYMENT-HASH name, with any number of dashes in it", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$/),
        fc.stringMatching(/^[bcdfghjklmnpqrstvwxz2456789]{8,10}$/),
        (name, hash) => {
          const controller = ref("apps", "ReplicaSet", `${name}-${hash}`);
          assert.deepEqual(resolveOwnership({ id, controller }, "unknown"), {
            workload: builtInWorkload("deployment", at(name)),
            isCertain: false,
          });
        },
      ),
    );
  });
});

describe("controllerOfReplicaSet", () => {
  it("names the Deployment of apps that controls it", () => {
    assert.deepEqual(controllerOfReplicaSet(ref("apps", "Deployment", "web")), {
      deployment: "web",
    });
  });
  it("says none without a controller and for one that is no Deployment of apps", () => {
    assert.equal(controllerOfReplicaSet(undefined), "none");
    assert.equal(controllerOfReplicaSet(ref("argoproj.io", "Rollout", "web")), "none");
    assert.equal(controllerOfReplicaSet(ref("example.com", "Deployment", "web")), "none");
  });
});

describe("replicaSetNameOf", () => {
  it("names the ReplicaSet of apps and nothing else", () => {
    assert.equal(replicaSetNameOf({ controller: ref("apps", "ReplicaSet", "web-1") }), "web-1");
    assert.equal(
      replicaSetNameOf({ controller: ref("example.com", "ReplicaSet", "web-1") }),
      undefined,
    );
    assert.equal(replicaSetNameOf({ controller: ref("apps", "StatefulSet", "web") }), undefined);
    assert.equal(replicaSetNameOf({ controller: undefined }), undefined);
  });
});
