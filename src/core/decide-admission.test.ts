// What is said about workloads that are applied, and what is mended.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AdmittedWorkload } from "./decide-admission.ts";
import { decideAdmission } from "./decide-admission.ts";

function aWorkload(changes: Partial<AdmittedWorkload> = {}): AdmittedWorkload {
  return {
    name: "Deployment shop/web",
    hasFixedAddresses: true,
    pool: undefined,
    rolloutDeadlock: undefined,
    templateProblems: [],
    misplaced: [],
    rolloutFix: "not wanted",
    ...changes,
  };
}

const rolloutDeadlock = "a rolling update of Deployment shop/web waits for ever: and so on";

describe("decideAdmission", () => {
  it("says nothing about a workload that can roll", () => {
    assert.deepEqual(decideAdmission(aWorkload()), { fixesRollout: false, warnings: [] });
  });

  it("warns of a rolling update that waits for ever, and of the way to have it mended", () => {
    const { fixesRollout, warnings } = decideAdmission(aWorkload({ rolloutDeadlock }));
    assert.equal(fixesRollout, false);
    assert.deepEqual(warnings, [
      `${rolloutDeadlock}, or annotate the Deployment with galaxy.k8s.io/fix-rollout: "true"`,
    ]);
  });

  it("mends the rolling update of who asks for it, without a warning", () => {
    const decision = decideAdmission(aWorkload({ rolloutDeadlock, rolloutFix: "wanted" }));
    assert.deepEqual(decision, { fixesRollout: true, warnings: [] });
  });

  it("mends nothing that is not broken", () => {
    const freely = aWorkload({ rolloutDeadlock, hasFixedAddresses: false, rolloutFix: "wanted" });
    assert.deepEqual(decideAdmission(freely), { fixesRollout: false, warnings: [] });
    assert.equal(decideAdmission(aWorkload({ rolloutFix: "wanted" })).fixesRollout, false);
  });

  it("says that a pool with a size may have room", () => {
    const [warning] = decideAdmission(aWorkload({ rolloutDeadlock, pool: "blue" })).warnings;
    assert.match(warning ?? "", /^unless Pool blue has a size with room, a rolling update/);
  });

  it("names annotations that cannot be read, stand in the wrong place or are no yes or no", () => {
    const { fixesRollout, warnings } = decideAdmission(
      aWorkload({
        rolloutDeadlock,
        rolloutFix: { unreadable: '"yes"' },
        templateProblems: ["annotation a: is wrong; write it otherwise"],
        misplaced: ["k8s.v1.cni.galaxy.io/release-policy"],
      }),
    );
    assert.equal(fixesRollout, false);
    assert.deepEqual(warnings.slice(0, 3), [
      "Deployment shop/web: annotation a: is wrong; write it otherwise",
      "Deployment shop/web: annotation k8s.v1.cni.galaxy.io/release-policy has no effect on the workload itself; move it to spec.template.metadata.annotations",
      'Deployment shop/web: annotation galaxy.k8s.io/fix-rollout: "yes" is neither "true" nor "false"; write one of them',
    ]);
    assert.match(warnings[3] ?? "", /waits for ever/);
  });
});
