// The promises of src/ports/cluster-view.ts as tests, for every adapter that shows a cluster.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import type { ControllerRef, NodeFacts, PodFacts } from "../../src/core/facts.ts";
import type { Ip } from "../../src/core/ip.ts";
import { builtInWorkload, type PodId, type WorkloadRef } from "../../src/core/owner.ts";
import type { ReleasePolicy } from "../../src/core/release-policy.ts";
import type { ClusterEvent, ClusterView } from "../../src/ports/cluster-view.ts";
import { aNode, controlledBy, ip } from "../builders.ts";
import { waitUntil } from "../control-plane/api.ts";
import { arbController, arbLabel, arbPolicy } from "./arbitraries.ts";

/** What a pod is made from; the rest is the cluster's choice. */
export type PodWish = {
  readonly name: string;
  /** True unless given. */
  readonly wantsAddress?: boolean;
  /** `pod-delete` unless given. */
  readonly policy?: ReleasePolicy;
  readonly pool?: string | undefined;
  readonly controller?: ControllerRef | undefined;
};

/** A workload that was made: how records name it and how its pods do. */
export type MadeWorkload = { readonly ref: WorkloadRef; readonly controller: ControllerRef };

/**
 * A cluster that tests change: one namespace of its own, empty at first, without controllers, scheduler and kubelet, so that nothing
 * happens that the test did not ask for. Every verb resolves when the source of truth has it.
 */
export type ClusterWorld = {
  readonly view: ClusterView;
  readonly namespace: string;
  readonly createPod: (wish: PodWish) => Promise<PodFacts>;
  /** Sets the phase of a pod. */
  readonly finishPod: (id: PodId, phase: "Succeeded" | "Failed") => Promise<void>;
  /** Writes which addresses a pod carries, as its Binding does. */
  readonly setAddresses: (id: PodId, ips: readonly Ip[]) => Promise<void>;
  /** Removes a pod at once. */
  readonly deletePod: (id: PodId) => Promise<void>;
  /** Creates a node; other tests' nodes may be there, so that names are the world's to make unique. @returns the node as it is */
  readonly createNode: (node: NodeFacts) => Promise<NodeFacts>;
  readonly deleteNode: (name: string) => Promise<void>;
  readonly createDeployment: (name: string, replicas: number) => Promise<MadeWorkload>;
  readonly createStatefulSet: (name: string, replicas: number) => Promise<MadeWorkload>;
  /** @param owner the ReplicaSet's own controller */
  readonly createReplicaSet: (
    name: string,
    replicas: number,
    owner: ControllerRef | undefined,
  ) => Promise<MadeWorkload>;
  /** A workload of a custom kind `TApp` of a group of the world's choice; the kind is served from then on. */
  readonly createTApp: (name: string, replicas: number) => Promise<MadeWorkload>;
  readonly scale: (workload: MadeWorkload, replicas: number) => Promise<void>;
  readonly deleteWorkload: (workload: MadeWorkload) => Promise<void>;
  /** Frees what the world uses; what it holds is gone then. */
  readonly stop: () => Promise<void>;
};

/** Runs the suite. @param options.runs how many random pods are read, 50 unless given */
export function describeClusterView(
  name: string,
  makeWorld: () => Promise<ClusterWorld>,
  options: { readonly runs?: number } = {},
): void {
  const withWorld = async (use: (world: ClusterWorld) => Promise<void>) => {
    const world = await makeWorld();
    try {
      await use(world);
    } finally {
      await world.stop();
    }
  };

  describe(`${name} as ClusterView`, () => {
    it("reads a pod as it was made, and later shows the same from its cache", () =>
      withWorld(async ({ view, namespace, createPod, deletePod }) => {
        const arbWish: fc.Arbitrary<PodWish> = fc.record({
          name: arbLabel,
          policy: arbPolicy,
          pool: fc.option(arbLabel, { nil: undefined }),
          controller: fc.option(arbController, { nil: undefined }),
        });
        await fc.assert(
          fc.asyncProperty(arbWish, async (wish) => {
            const made = await createPod(wish);
            try {
              const read = await view.readPod(made.id);
              assert.deepEqual(read, made);
              assert.deepEqual(made.id, { namespace, name: wish.name });
              assert.equal(made.policy, wish.pool === undefined ? wish.policy : "never");
              assert.equal(made.pool, wish.pool);
              assert.deepEqual(made.controller, wish.controller);
              assert.equal(made.nodeName, "");
              assert.equal(made.phase, "Pending");
              assert.notEqual(made.uid, "");
              const seen = await sees("the pod", () => view.pod(made.id));
              assert.deepEqual(seen, made);
            } finally {
              await deletePod(made.id);
            }
            await sees("the pod no more", () => view.pod(made.id) === undefined);
          }),
          { numRuns: options.runs ?? 50 },
        );
      }));

    it("reads gone for a pod that never was, and at once for one that was deleted", () =>
      withWorld(async ({ view, namespace, createPod, deletePod }) => {
        assert.equal(await view.readPod({ namespace, name: "never" }), "gone");
        const { id } = await createPod({ name: "web-0" });
        assert.notEqual(await view.readPod(id), "gone");
        await deletePod(id);
        assert.equal(await view.readPod(id), "gone");
        await sees("the pod no more", () => view.pod(id) === undefined);
      }));

    it("reads the new pod at once when a name is used again", () =>
      withWorld(async ({ view, createPod, deletePod }) => {
        const old = await createPod({ name: "web-0" });
        await deletePod(old.id);
        const young = await createPod({ name: "web-0" });
        assert.notEqual(young.uid, old.uid);
        assert.deepEqual(await view.readPod(old.id), young);
        await sees("the new pod", () => view.pod(old.id)?.uid === young.uid);
      }));

    it("lists pods that want an address and leaves others out, but reads those too", () =>
      withWorld(async ({ view, namespace, createPod }) => {
        const plain = await createPod({ name: "plain", wantsAddress: false });
        const names = ["web-0", "web-1", "web-2"];
        for (const podName of names) await createPod({ name: podName });
        const listed = () =>
          [...view.pods()]
            .filter((pod) => pod.id.namespace === namespace)
            .map((pod) => pod.id.name)
            .toSorted();
        await sees("three pods", () => listed().length >= names.length);
        assert.deepEqual(listed(), names);
        assert.deepEqual(await view.readPod(plain.id), plain);
      }));

    it("finds the pods that carry an address, as long as they do", () =>
      withWorld(async ({ view, createPod, setAddresses, deletePod }) => {
        const [first, second] = [ip("10.0.70.2"), ip("fd00:70::2")];
        const carriers = (address: Ip) =>
          view
            .carriersOf(address)
            .map((pod) => pod.id.name)
            .toSorted()
            .join();
        const carried = (by: readonly [first: string, second: string]) =>
          sees(`carriers ${by.join(" and ")}`, () =>
            by.every((names, index) => carriers(index === 0 ? first : second) === names),
          );
        const a = await createPod({ name: "a" });
        // It asks for none, and carries one all the same.
        const b = await createPod({ name: "b", wantsAddress: false });
        await carried(["", ""]);
        await setAddresses(a.id, [first, second]);
        await carried(["a", "a"]);
        await setAddresses(b.id, [first]);
        await carried(["a,b", "a"]);
        assert.deepEqual(
          view.carriersOf(first).map((pod) => view.pod(pod.id)),
          [...view.carriersOf(first)],
        );
        await setAddresses(a.id, [second]);
        await carried(["b", "a"]);
        await deletePod(b.id);
        await carried(["", "a"]);
        await deletePod(a.id);
        await carried(["", ""]);
      }));

    it("tells when a pod appears, finishes and is deleted", () =>
      withWorld(async (world) => {
        const { view, createPod, finishPod, deletePod } = world;
        const watcher = new Watcher(view);
        try {
          for (const phase of ["Succeeded", "Failed"] as const) {
            const { id } = await createPod({ name: `web-${phase.toLowerCase()}` });
            const aboutIt = (event: ClusterEvent) =>
              event.kind === "pod" &&
              event.pod.namespace === id.namespace &&
              event.pod.name === id.name;
            await watcher.sees("the new pod", aboutIt);
            await finishPod(id, phase);
            const read = await view.readPod(id);
            assert.equal(read === "gone" ? read : read.phase, phase);
            await watcher.sees("the finished pod", aboutIt);
            await sees("the finished pod", () => view.pod(id)?.phase === phase);
            await deletePod(id);
            await watcher.sees("the deleted pod", aboutIt);
          }
        } finally {
          watcher.stop();
        }
      }));

    it("is not behind its own events: what an event is about is in the cache when it is told", () =>
      withWorld(async ({ view, createPod, deletePod }) => {
        const seen: (string | undefined)[] = [];
        const made = await createPod({ name: "web-0" });
        await sees("the pod", () => view.pod(made.id));
        const stop = view.watch((event) => {
          if (event.kind === "pod" && event.pod.name === made.id.name) {
            seen.push(view.pod(made.id)?.uid);
          }
        });
        try {
          await deletePod(made.id);
          await sees("an event without the pod", () => seen.includes(undefined));
          const young = await createPod({ name: "web-0" });
          await sees("an event with the new pod", () => seen.includes(young.uid));
        } finally {
          stop();
        }
      }));

    it("reads a node with its internal addresses in order, shows it from its cache, and reads gone when it left", () =>
      withWorld(async ({ view, createNode, deleteNode }) => {
        const watcher = new Watcher(view);
        try {
          const made = await createNode(aNode("n1", "10.49.27.3", "fd00::3"));
          assert.deepEqual(made.internalIps, ["10.49.27.3", "fd00::3"]);
          assert.deepEqual(await view.readNode(made.name), made);
          await watcher.sees("the new node", (event) => event.kind === "nodes");
          assert.deepEqual(await sees("the node", () => view.node(made.name)), made);
          assert.ok([...view.nodes()].some((node) => node.name === made.name));
          await deleteNode(made.name);
          assert.equal(await view.readNode(made.name), "gone");
          await watcher.sees("the node to leave", (event) => event.kind === "nodes");
          await sees("the node no more", () => view.node(made.name) === undefined);
          assert.ok(![...view.nodes()].some((node) => node.name === made.name));
        } finally {
          watcher.stop();
        }
      }));

    for (const [kind, create] of [
      ["Deployment", (world: ClusterWorld) => world.createDeployment("web", 3)],
      ["StatefulSet", (world: ClusterWorld) => world.createStatefulSet("web", 3)],
      ["bare ReplicaSet", (world: ClusterWorld) => world.createReplicaSet("web", 3, undefined)],
      ["custom workload", (world: ClusterWorld) => world.createTApp("web", 3)],
    ] as const) {
      it(`reads replicas of a ${kind} at once when it is made, scaled and deleted, and tells each`, () =>
        withWorld(async (world) => {
          const { view } = world;
          const watcher = new Watcher(view);
          const replicasNow = async (ref: WorkloadRef) => {
            const state = await view.readWorkload(ref);
            return state.kind === "present" ? state.replicas : state.kind;
          };
          const replicasSeen = (ref: WorkloadRef) => {
            const state = view.workload(ref);
            return state.kind === "present" ? state.replicas : state.kind;
          };
          try {
            const made = await create(world);
            const { ref } = made;
            const aboutIt = (event: ClusterEvent) =>
              event.kind === "workload" &&
              event.workload.namespace === ref.namespace &&
              event.workload.kind === ref.kind &&
              event.workload.name === ref.name;
            assert.equal(await replicasNow(ref), 3);
            const state = await view.readWorkload(ref);
            assert.equal(state.kind === "present" && state.uid, made.controller.uid);
            await sees("3 replicas", () => replicasSeen(ref) === 3);
            watcher.forget();
            await world.scale(made, 1);
            assert.equal(await replicasNow(ref), 1);
            await watcher.sees("the workload to be scaled", aboutIt);
            await sees("1 replica", () => replicasSeen(ref) === 1);
            await world.scale(made, 0);
            assert.equal(await replicasNow(ref), 0);
            await sees("no replicas", () => replicasSeen(ref) === 0);
            watcher.forget();
            await world.deleteWorkload(made);
            assert.equal(await replicasNow(ref), "gone");
            await watcher.sees("the workload to be deleted", aboutIt);
            await sees("the workload no more", () => replicasSeen(ref) === "gone");
          } finally {
            watcher.stop();
          }
        }));
    }

    it("reads gone for built-in workloads that never were, with a Deployment of the name next to them", () =>
      withWorld(async ({ view, namespace, createDeployment }) => {
        await createDeployment("web", 1);
        for (const type of ["statefulset", "replicaset"] as const) {
          const ref = builtInWorkload(type, { namespace, name: "web" });
          assert.deepEqual(await view.readWorkload(ref), { kind: "gone" });
        }
        const other = builtInWorkload("deployment", { namespace, name: "other" });
        assert.deepEqual(await view.readWorkload(other), { kind: "gone" });
      }));

    it("never takes a workload of a kind that is not served for gone", () =>
      withWorld(async ({ view, namespace }) => {
        const ref: WorkloadRef = {
          type: "custom",
          kind: "nosuchkind",
          apiGroup: "nosuchgroup.example.com",
          namespace,
          name: "web",
        };
        assert.equal((await view.readWorkload(ref)).kind, "unknown");
        assert.equal(view.workload(ref).kind, "unknown");
        const withoutGroup = { ...ref, apiGroup: undefined };
        assert.equal((await view.readWorkload(withoutGroup)).kind, "unknown");
      }));

    it("finds a custom workload whose record does not say its API group", () =>
      withWorld(async ({ view, createTApp }) => {
        const { ref } = await createTApp("web", 2);
        const state = await view.readWorkload({ ...ref, apiGroup: undefined });
        assert.equal(state.kind === "present" && state.replicas, 2);
      }));

    it("finds the Deployment of a pod through its ReplicaSet, whatever the ReplicaSet is called", () =>
      withWorld(async ({ view, createDeployment, createReplicaSet, createPod }) => {
        const deployment = await createDeployment("shop-front", 1);
        const replicaSet = await createReplicaSet("adopted", 1, deployment.controller);
        const pod = await createPod({ name: "web-0", controller: replicaSet.controller });
        const wanted = { workload: deployment.ref, isCertain: true };
        assert.deepEqual(await view.readOwnershipOf(pod), wanted);
        await sees("the ReplicaSet", () => view.ownershipOf(pod).isCertain);
        assert.deepEqual(view.ownershipOf(pod), wanted);
      }));

    it("takes a ReplicaSet without a Deployment for the workload itself", () =>
      withWorld(async ({ view, createReplicaSet, createPod }) => {
        const replicaSet = await createReplicaSet("web-69fd8dbc5c", 1, undefined);
        const pod = await createPod({ name: "web-0", controller: replicaSet.controller });
        const wanted = { workload: replicaSet.ref, isCertain: true };
        assert.deepEqual(await view.readOwnershipOf(pod), wanted);
        await sees("the ReplicaSet", () => view.ownershipOf(pod).isCertain);
        assert.deepEqual(view.ownershipOf(pod), wanted);
      }));

    it("guesses the Deployment of a pod whose ReplicaSet is not there, and says that it is a guess", () =>
      withWorld(async ({ view, namespace, createPod }) => {
        const controller = controlledBy("apps/v1", "ReplicaSet", "shop-front-69fd8dbc5c");
        const pod = await createPod({ name: "web-0", controller });
        const wanted = {
          workload: builtInWorkload("deployment", { namespace, name: "shop-front" }),
          isCertain: false,
        };
        assert.deepEqual(await view.readOwnershipOf(pod), wanted);
        assert.deepEqual(view.ownershipOf(pod), wanted);
      }));

    it("does not call a watcher any more once it is stopped", () =>
      withWorld(async ({ view, createPod }) => {
        const stopped = new Watcher(view);
        const watcher = new Watcher(view);
        try {
          const isOf = (podName: string) => (event: ClusterEvent) =>
            event.kind === "pod" && event.pod.name === podName;
          await createPod({ name: "web-0" });
          await stopped.sees("the first pod", isOf("web-0"));
          stopped.stop();
          await createPod({ name: "web-1" });
          await watcher.sees("the second pod", isOf("web-1"));
          assert.ok(!stopped.events.some(isOf("web-1")));
        } finally {
          stopped.stop();
          watcher.stop();
        }
      }));
  });
}

/** Waits until a cached answer is there (neither undefined nor false). */
function sees<T>(what: string, look: () => T): Promise<T> {
  return waitUntil(
    `the view to show ${what}`,
    look,
    (seen) => seen !== undefined && seen !== false,
    { everyMs: 5 },
  );
}

/** Keeps what a watch told. */
class Watcher {
  readonly events: ClusterEvent[] = [];
  readonly stop: () => void;
  #from = 0;

  constructor(view: ClusterView) {
    this.stop = view.watch((event) => this.events.push(event));
  }

  /** Waits for an event after the last one waited for. */
  async sees(what: string, accept: (event: ClusterEvent) => boolean): Promise<void> {
    const found = await waitUntil(
      `the watch to tell of ${what}`,
      () => this.events.findIndex((event, index) => index >= this.#from && accept(event)),
      (index) => index >= 0,
      { everyMs: 5 },
    );
    this.#from = found + 1;
  }

  /** Waits from here on only for events to come. */
  forget(): void {
    this.#from = this.events.length;
  }
}
