// Reviews of admission.k8s.io/v1 as API servers send them, and the answers.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decideAdmission } from "../core/decide-admission.ts";
import { formatAdmissionReview, parseAdmissionReview, rolloutPatch } from "./admission.ts";

function aDeployment(
  parts: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly templateAnnotations?: Readonly<Record<string, string>>;
    readonly replicas?: number;
    readonly strategy?: unknown;
    readonly wantsAddress?: boolean;
  } = {},
) {
  const resources =
    parts.wantsAddress === false ? {} : { requests: { "tke.cloud.tencent.com/eni-ip": "1" } };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", annotations: parts.annotations ?? {} },
    spec: {
      replicas: parts.replicas ?? 2,
      strategy: parts.strategy,
      template: {
        metadata: {
          annotations: parts.templateAnnotations ?? {
            "k8s.v1.cni.galaxy.io/release-policy": "immutable",
          },
        },
        spec: { containers: [{ name: "web", resources }] },
      },
    },
  };
}

function aReview(object: unknown, operation = "CREATE") {
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "u1", operation, namespace: "shop", object },
  };
}

function workloadOf(object: unknown) {
  const parsed = parseAdmissionReview(aReview(object));
  assert.ok(parsed.kind === "review" && parsed.workload !== undefined);
  return parsed.workload;
}

describe("parseAdmissionReview", () => {
  it("reads a Deployment that is applied without its namespace", () => {
    const workload = workloadOf(aDeployment());
    assert.equal(workload.name, "Deployment shop/web");
    assert.equal(workload.hasFixedAddresses, true);
    assert.match(workload.rolloutDeadlock ?? "", /^a rolling update of Deployment shop\/web waits/);
  });

  it("sees no fixed addresses where the pods want none, or lose them with the pod", () => {
    assert.equal(workloadOf(aDeployment({ wantsAddress: false })).hasFixedAddresses, false);
    assert.equal(workloadOf(aDeployment({ templateAnnotations: {} })).hasFixedAddresses, false);
  });

  it("names what is wrong with the template's annotations, and those in the wrong place", () => {
    const workload = workloadOf(
      aDeployment({
        annotations: { "tke.cloud.tencent.com/eni-ip-pool": "blue" },
        templateAnnotations: { "k8s.v1.cni.galaxy.io/ip-families": "IPv5" },
      }),
    );
    assert.deepEqual(workload.misplaced, ["tke.cloud.tencent.com/eni-ip-pool"]);
    assert.match(workload.templateProblems.join(), /"IPv5" is no list of different families/);
  });

  it("says when annotations have no effect because no container asks for an address", () => {
    const { templateProblems } = workloadOf(aDeployment({ wantsAddress: false }));
    assert.match(templateProblems.join(), /no container requests tke.cloud.tencent.com\/eni-ip/);
  });

  it("reads the wish for a mended rolling update", () => {
    const wish = (value: string) =>
      workloadOf(aDeployment({ annotations: { "galaxy.k8s.io/fix-rollout": value } })).rolloutFix;
    assert.equal(wish("true"), "wanted");
    assert.equal(wish("false"), "not wanted");
    assert.deepEqual(wish("yes"), { unreadable: '"yes"' });
  });

  it("has nothing to say about deletions and other kinds", () => {
    const deletion = parseAdmissionReview(aReview(aDeployment(), "DELETE"));
    assert.ok(deletion.kind === "review" && deletion.workload === undefined);
    const other = parseAdmissionReview(aReview({ kind: "ConfigMap", metadata: { name: "a" } }));
    assert.ok(other.kind === "review" && other.workload === undefined);
  });

  it("refuses another version, with the remedy", () => {
    const parsed = parseAdmissionReview({
      apiVersion: "admission.k8s.io/v1beta1",
      kind: "AdmissionReview",
    });
    assert.ok(parsed.kind === "invalid");
    assert.match(parsed.problem, /admissionReviewVersions/);
  });

  it("never throws, and every answer fits the question", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (object) => {
        const parsed = parseAdmissionReview(aReview(object));
        assert.ok(parsed.kind === "review");
        if (parsed.workload !== undefined) decideAdmission(parsed.workload);
        parseAdmissionReview(object);
      }),
    );
  });
});

describe("formatAdmissionReview", () => {
  it("allows, with what was said and the patch", () => {
    assert.deepEqual(
      formatAdmissionReview({ uid: "u1", warnings: ["look out"], patchBase64: "W10=" }),
      {
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: {
          uid: "u1",
          allowed: true,
          warnings: ["look out"],
          patchType: "JSONPatch",
          patch: "W10=",
        },
      },
    );
    assert.deepEqual(
      formatAdmissionReview({ uid: "u1", warnings: [], patchBase64: undefined })["response"],
      { uid: "u1", allowed: true },
    );
  });

  it("patches a strategy that is there, and one that is not", () => {
    const value = { maxSurge: 0, maxUnavailable: 1 };
    assert.deepEqual(rolloutPatch(aDeployment({ strategy: { type: "RollingUpdate" } })), [
      { op: "add", path: "/spec/strategy/rollingUpdate", value },
    ]);
    assert.deepEqual(rolloutPatch(aDeployment()), [
      { op: "add", path: "/spec/strategy", value: { type: "RollingUpdate", rollingUpdate: value } },
    ]);
  });
});
