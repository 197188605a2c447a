// Random facts for property tests: every value is one that a real cluster can hold. Fixed examples are in ../builders.ts.

import * as fc from "fast-check";
import type { Allocation } from "../../src/core/allocation.ts";
import type { ControllerRef } from "../../src/core/facts.ts";
import { type Ip, ipFromNumber } from "../../src/core/ip.ts";
import { builtInWorkload, type Owner, type WorkloadRef } from "../../src/core/owner.ts";
import type { ReleasePolicy } from "../../src/core/release-policy.ts";

/** A DNS-1123 label: names of namespaces, pods of controllers, pools. */
export const arbLabel: fc.Arbitrary<string> = fc.stringMatching(
  /^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/,
);

/** A DNS-1123 subdomain: names of pods and nodes may contain dots. */
export const arbName: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: arbLabel },
  { weight: 1, arbitrary: fc.tuple(arbLabel, arbLabel).map((labels) => labels.join(".")) },
);

/** Any IPv4 or IPv6 address, IPv4 as often as IPv6; zeros are frequent, so that IPv6 is shortened in all ways. */
export const arbIp: fc.Arbitrary<Ip> = fc.oneof(
  fc.integer({ min: 1, max: 2 ** 32 - 1 }).map(ipFromNumber),
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
      minLength: 8,
      maxLength: 8,
    })
    .map((groups) =>
      ipFromNumber(groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n)),
    ),
);

/** One of the three policies. */
export const arbPolicy: fc.Arbitrary<ReleasePolicy> = fc.constantFrom(
  "pod-delete",
  "immutable",
  "never",
);

/** Group and lower-case kind of workloads that are not built in, among them a StatefulSet of another group. */
const customKinds = [
  ["tkestack.io", "tapp"],
  ["batch", "job"],
  ["apps", "daemonset"],
  ["apps.kruise.io", "statefulset"],
  ["", "replicationcontroller"],
] as const;

/** A workload in a namespace. */
export function arbWorkload(namespace: string): fc.Arbitrary<WorkloadRef> {
  return fc.oneof(
    fc
      .tuple(
        fc.constantFrom("deployment" as const, "statefulset" as const, "replicaset" as const),
        arbLabel,
      )
      .map(([type, name]) => builtInWorkload(type, { namespace, name })),
    fc.tuple(fc.constantFrom(...customKinds), arbLabel).map(([[apiGroup, kind], name]) => ({
      type: "custom" as const,
      kind,
      apiGroup,
      namespace,
      name,
    })),
  );
}

const arbPodOwner: fc.Arbitrary<Owner> = arbLabel.chain((namespace) =>
  fc
    .tuple(
      arbName,
      fc.option(arbWorkload(namespace), { nil: undefined }),
      fc.option(arbLabel, { nil: undefined }),
    )
    .map(([name, workload, pool]) => ({
      kind: "pod" as const,
      pod: { namespace, name },
      workload,
      pool,
    })),
);

/** An owner of any kind; only Deployments and bare ReplicaSets own addresses as workloads. */
export const arbOwner: fc.Arbitrary<Owner> = fc.oneof(
  { weight: 4, arbitrary: arbPodOwner },
  {
    weight: 1,
    arbitrary: fc
      .record({
        type: fc.constantFrom("deployment" as const, "replicaset" as const),
        namespace: arbLabel,
        name: arbLabel,
      })
      .map(({ type, ...id }) => ({
        kind: "workload" as const,
        workload: builtInWorkload(type, id),
      })),
  },
  { weight: 1, arbitrary: arbLabel.map((pool) => ({ kind: "pool" as const, pool })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("pool__reserved-for-node_", "reserved", "dp_ns1_web_web-1")
      .map((key) => ({ kind: "admin" as const, key })),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("hello-xx", "a_b_c_d_e", "a record of another program")
      .map((key) => ({ kind: "foreign" as const, key })),
  },
);

/**
 * A record that was not yet written. A pod's is bound (perhaps draining), taken but not bound, or kept for the pod's name; others have
 * neither node nor pod.
 */
export const arbAllocation: fc.Arbitrary<Allocation> = fc
  .record({
    ip: arbIp,
    owner: arbOwner,
    policy: arbPolicy,
    // From 2001 to 2096, to the millisecond.
    updatedAtMs: fc.integer({ min: 978_307_200_000, max: 4_000_000_000_000 }),
    use: fc.constantFrom("bound", "draining", "taken", "kept"),
    nodeName: arbName,
    podUid: fc.uuid(),
    idle: fc.record(
      {
        reserveTtl: fc.oneof(
          fc.constant("never" as const),
          fc.integer({ min: 1_000, max: 315_360_000_000 }),
        ),
        idleSinceMs: fc.integer({ min: 978_307_200_000, max: 4_000_000_000_000 }),
        idleWarnedMs: fc.integer({ min: 978_307_200_000, max: 4_000_000_000_000 }),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ use, nodeName, podUid, idle, ...record }) => {
    const isPods = record.owner.kind === "pod" && use !== "kept";
    return {
      ...record,
      ...idle,
      nodeName: isPods && use !== "taken" ? nodeName : "",
      lastNodeName: isPods ? "" : nodeName,
      podUid: isPods ? podUid : "",
      isDraining: isPods && use === "draining",
      version: "",
    };
  });

/** One to ten records, each of another address. */
export const arbAllocations: fc.Arbitrary<readonly Allocation[]> = fc.uniqueArray(arbAllocation, {
  minLength: 1,
  maxLength: 10,
  selector: (allocation) => allocation.ip,
});

/** A controller reference of a kind that need not be there. */
export const arbController: fc.Arbitrary<ControllerRef> = fc
  .record({
    kind: fc.constantFrom(
      { apiGroup: "apps", apiVersion: "v1", kind: "StatefulSet" },
      { apiGroup: "apps", apiVersion: "v1", kind: "ReplicaSet" },
      { apiGroup: "batch", apiVersion: "v1", kind: "Job" },
      { apiGroup: "apps.kruise.io", apiVersion: "v1beta1", kind: "StatefulSet" },
      { apiGroup: "", apiVersion: "v1", kind: "ReplicationController" },
    ),
    name: arbLabel,
    uid: fc.uuid(),
  })
  .map(({ kind, ...named }) => ({ ...kind, ...named }));
