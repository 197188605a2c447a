// The promises of src/ports/pod-binder.ts as tests, for every adapter that binds pods.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import type { PodFacts } from "../../src/core/facts.ts";
import type { PodId } from "../../src/core/owner.ts";
import type { IpInfo } from "../../src/core/subnets.ts";
import type { PodBinder } from "../../src/ports/pod-binder.ts";
import { WorldError } from "../../src/ports/world-error.ts";

/** A binder under test in a cluster without a scheduler that has nodes `n1` and `n2`. */
export type PodBinderBench = {
  readonly binder: PodBinder;
  /** Creates a pod that wants an address, in a namespace that is there. `nodeName`: it is bound already, by somebody else. */
  readonly createPod: (wish: {
    readonly name: string;
    readonly argsText?: string;
    readonly nodeName?: string;
  }) => Promise<PodFacts>;
  /** Deletes the pod at once. */
  readonly deletePod: (id: PodId) => Promise<void>;
  /** The pod as it is now. */
  readonly readPod: (id: PodId) => Promise<PodFacts | "gone">;
  /** Frees what the bench uses; the pods are gone then. */
  readonly stop: () => Promise<void>;
};

const first: IpInfo = { ip: "10.49.27.205/24", vlan: 2, gateway: "10.49.27.1" };
const second: IpInfo = { ip: "fd00::2/64", vlan: 0, gateway: "fd00::1" };

/** Runs the suite. @param options.runs how many random annotations are tried, 50 unless given */
export function describePodBinder(
  name: string,
  makeBench: () => Promise<PodBinderBench>,
  options: { readonly runs?: number } = {},
): void {
  const withBench = async (use: (bench: PodBinderBench) => Promise<void>) => {
    const bench = await makeBench();
    try {
      await use(bench);
    } finally {
      await bench.stop();
    }
  };

  describe(`${name} as PodBinder`, () => {
    it("binds a pod to the node and writes its addresses in their order with prefix, VLAN and gateway", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0" });
        const outcome = await binder.bind({ pod, nodeName: "n1", ipInfos: [second, first] });
        assert.deepEqual(outcome, { kind: "bound" });
        const bound = await present(readPod, pod.id);
        assert.equal(bound.uid, pod.uid);
        assert.equal(bound.nodeName, "n1");
        assert.deepEqual(bound.assignedIps, ["fd00::2", "10.49.27.205"]);
        assert.deepEqual(JSON.parse(bound.argsText), { common: { ipinfos: [second, first] } });
      }));

    it("keeps every other member of the annotation", () =>
      withBench(async ({ binder, createPod, deletePod, readPod }) => {
        const arbArgs = fc.record(
          {
            request_ip_range: fc.constant([["10.49.27.205", "10.49.27.216~10.49.27.218"]]),
            common: fc.record({ mtu: fc.nat(), note: fc.string() }, { requiredKeys: [] }),
            other: fc.jsonValue({ maxDepth: 2 }),
          },
          { requiredKeys: [] },
        );
        await fc.assert(
          fc.asyncProperty(arbArgs, async (args) => {
            const pod = await createPod({ name: "web-0", argsText: JSON.stringify(args) });
            try {
              await binder.bind({ pod, nodeName: "n1", ipInfos: [first] });
              const bound = await present(readPod, pod.id);
              // Read as JSON on both sides: -0 and the like have one spelling there.
              const wanted = { ...args, common: { ...args.common, ipinfos: [first] } };
              assert.deepEqual(JSON.parse(bound.argsText), JSON.parse(JSON.stringify(wanted)));
            } finally {
              await deletePod(pod.id);
            }
          }),
          { numRuns: options.runs ?? 50 },
        );
      }));

    it("takes a second bind to the same node with the same addresses for the first", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0" });
        const request = { pod, nodeName: "n1", ipInfos: [first] };
        assert.deepEqual(await binder.bind(request), { kind: "bound" });
        const once = await present(readPod, pod.id);
        assert.deepEqual(await binder.bind(request), { kind: "bound" });
        assert.deepEqual(await present(readPod, pod.id), once);
      }));

    it("names the other node of a pod that is bound elsewhere, and does not touch its addresses", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0" });
        await binder.bind({ pod, nodeName: "n2", ipInfos: [first] });
        assert.deepEqual(await binder.bind({ pod, nodeName: "n1", ipInfos: [second] }), {
          kind: "bound-elsewhere",
          nodeName: "n2",
        });
        const bound = await present(readPod, pod.id);
        assert.equal(bound.nodeName, "n2");
        assert.deepEqual(bound.assignedIps, ["10.49.27.205"]);
      }));

    it("lets one of two simultaneous binds to different nodes win and tells the other one the winner", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0" });
        const outcomes = await Promise.all([
          binder.bind({ pod, nodeName: "n1", ipInfos: [first] }),
          binder.bind({ pod, nodeName: "n2", ipInfos: [second] }),
        ]);
        const bound = await present(readPod, pod.id);
        const winner = outcomes.findIndex((outcome) => outcome.kind === "bound");
        assert.equal(bound.nodeName, ["n1", "n2"][winner]);
        assert.deepEqual(bound.assignedIps, [["10.49.27.205"], ["fd00::2"]][winner]);
        assert.deepEqual(outcomes[1 - winner], {
          kind: "bound-elsewhere",
          nodeName: bound.nodeName,
        });
      }));

    it("writes the addresses of a pod that somebody else bound to that node without them", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0", nodeName: "n1" });
        const outcome = await binder.bind({ pod, nodeName: "n1", ipInfos: [first] });
        assert.deepEqual(outcome, { kind: "bound" });
        assert.deepEqual((await present(readPod, pod.id)).assignedIps, ["10.49.27.205"]);
      }));

    it("refuses other addresses for a pod that is bound with some, and leaves those", () =>
      withBench(async ({ binder, createPod, readPod }) => {
        const pod = await createPod({ name: "web-0" });
        await binder.bind({ pod, nodeName: "n1", ipInfos: [first] });
        await assert.rejects(
          binder.bind({ pod, nodeName: "n1", ipInfos: [second] }),
          (error) =>
            error instanceof WorldError && error.code === "API_REJECTED" && !error.mayHaveHappened,
        );
        assert.deepEqual((await present(readPod, pod.id)).assignedIps, ["10.49.27.205"]);
      }));

    it("answers gone for a pod that was deleted", () =>
      withBench(async ({ binder, createPod, deletePod }) => {
        const pod = await createPod({ name: "web-0" });
        await deletePod(pod.id);
        assert.deepEqual(await binder.bind({ pod, nodeName: "n1", ipInfos: [first] }), {
          kind: "gone",
        });
      }));

    it("answers gone for a pod whose name another one has, and leaves that one alone", () =>
      withBench(async ({ binder, createPod, deletePod, readPod }) => {
        const old = await createPod({ name: "web-0" });
        await deletePod(old.id);
        const young = await createPod({ name: "web-0" });
        assert.deepEqual(await binder.bind({ pod: old, nodeName: "n1", ipInfos: [first] }), {
          kind: "gone",
        });
        const untouched = await present(readPod, young.id);
        assert.equal(untouched.nodeName, "");
        assert.deepEqual(untouched.assignedIps, []);
      }));
  });
}

async function present(readPod: PodBinderBench["readPod"], id: PodId): Promise<PodFacts> {
  const pod = await readPod(id);
  if (pod === "gone") assert.fail(`pod ${id.namespace}/${id.name} is gone`);
  return pod;
}
