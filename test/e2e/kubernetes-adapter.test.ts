// The Kubernetes adapter against a real API server and etcd: what only the real one can prove (preconditions, quorum, watches, leases, definitions).
// Transport failures that a real server does not show on demand are in src/adapters/kubernetes/*.test.ts.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KubernetesAllocationStore } from "../../src/adapters/kubernetes/allocation-store.ts";
import { ApiClient } from "../../src/adapters/kubernetes/api-client.ts";
import { KubernetesClusterView } from "../../src/adapters/kubernetes/cluster-view.ts";
import { ConfigMapSource, type ConfigText } from "../../src/adapters/kubernetes/config-source.ts";
import { ensureCrds } from "../../src/adapters/kubernetes/crds.ts";
import { openApiAccess } from "../../src/adapters/kubernetes/credentials.ts";
import { KubernetesEventRecorder } from "../../src/adapters/kubernetes/event-recorder.ts";
import { LeaseElection } from "../../src/adapters/kubernetes/lease-election.ts";
import { KubernetesPodBinder } from "../../src/adapters/kubernetes/pod-binder.ts";
import { KubernetesPoolStore } from "../../src/adapters/kubernetes/pool-store.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { MemoryMetrics } from "../../src/adapters/memory/metrics.ts";
import type { WorkloadRef } from "../../src/core/owner.ts";
import type { AllocationEvent } from "../../src/ports/allocation-store.ts";
import type { ClusterEvent } from "../../src/ports/cluster-view.ts";
import { WorldError } from "../../src/ports/world-error.ts";
import { aDeploymentRef, anAllocation, aPool as aPoolFacts, ip, podOwner } from "../builders.ts";
import { type ApiClient as Observer, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import {
  configMaps,
  customKind,
  customResourceDefinitions,
  deployments,
  events,
  floatingIps,
  leases,
  pods,
  pools,
  replicaSets,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aConfigMap,
  aDeployment,
  aFloatingIp,
  aPod,
  aPool,
  aWorkload,
  aWorkloadDefinition,
  ownedBy,
} from "../control-plane/manifests.ts";

const times = { firstPauseMs: 50, maxPauseMs: 500 };
const skip = await reasonToSkip();

describe("the Kubernetes adapter on a real API server", { skip }, () => {
  let plane: ControlPlane;
  let observer: Observer;
  let client: ApiClient;
  const log = new MemoryLog();
  const metrics = new MemoryMetrics();
  /** Ended in reverse order after the tests. */
  const closers: (() => Promise<void>)[] = [];
  let store: KubernetesAllocationStore;
  let view: KubernetesClusterView;
  let poolStore: KubernetesPoolStore;
  const allocationEvents: AllocationEvent[] = [];
  const clusterEvents: ClusterEvent[] = [];

  before(async () => {
    plane = await startControlPlane({});
    observer = plane.api;
    client = await clientOf("galaxy-ipam");
    await ensureCrds({ client, log });
    store = new KubernetesAllocationStore({ client, log, metrics, times });
    view = new KubernetesClusterView({ client, log, times });
    const clock = { nowMs: () => Date.now(), after: () => () => {} };
    poolStore = new KubernetesPoolStore({ client, log, metrics, clock, times });
    store.watch((event) => allocationEvents.push(event));
    view.watch((event) => clusterEvents.push(event));
    for (const part of [store, view, poolStore]) {
      part.start();
      closers.push(async () => part.stop());
    }
    await Promise.all([store.whenSynced(), view.whenSynced(), poolStore.whenSynced()]);
  });

  after(async () => {
    for (const close of closers.reverse()) await close();
    client?.close();
    await plane?.stop();
  });

  async function clientOf(user: string): Promise<ApiClient> {
    const access = await openApiAccess({ kubeconfig: plane.kubeconfigOf(user) });
    return new ApiClient({ access });
  }

  function sawAllocation(address: string, kind: "changed" | "removed"): boolean {
    return allocationEvents.some((event) =>
      event.kind === "changed"
        ? kind === "changed" && event.allocation.ip === address
        : event.kind === "removed" && kind === "removed" && event.ip === address,
    );
  }

  describe("credentials", () => {
    test("a kubeconfig that is not there is named with the next step", async () => {
      await assert.rejects(
        openApiAccess({ kubeconfig: "/nonexistent/kubeconfig" }),
        (error: unknown) =>
          error instanceof WorldError &&
          error.code === "KUBECONFIG_UNUSABLE" &&
          error.message.includes("/nonexistent/kubeconfig") &&
          error.message.includes("--kubeconfig"),
      );
    });

    test("what RBAC forbids is API_FORBIDDEN, names the ClusterRole, and did not happen", async () => {
      const limited = await clientOf("galaxy-ipam-limited");
      const limitedStore = new KubernetesAllocationStore({ client: limited, log, metrics });
      try {
        await assert.rejects(
          limitedStore.create(anAllocation({ ip: "10.9.9.9" })),
          (error: unknown) =>
            error instanceof WorldError &&
            error.code === "API_FORBIDDEN" &&
            !error.mayHaveHappened &&
            error.message.includes("ClusterRole"),
        );
      } finally {
        limited.close();
      }
    });
  });

  describe("definitions", () => {
    test("installing them again writes nothing", async () => {
      const outcomes = await ensureCrds({ client, log });
      assert.deepEqual(
        outcomes.map(({ did }) => did),
        ["nothing", "nothing"],
      );
    });

    test("an older definition is upgraded and what others added stays", async () => {
      const at = { name: "pools.galaxy.k8s.io" };
      await observer.patch(customResourceDefinitions, at, {
        metadata: { labels: { team: "net" }, annotations: { note: "ours" } },
      });
      const before = await observer.get(customResourceDefinitions, at);
      assert.ok(before);
      const [ours] = versionsOf(before);
      await observer.replace({
        ...before,
        spec: {
          ...before.spec,
          versions: [
            { ...ours, additionalPrinterColumns: [] },
            {
              name: "v1beta9",
              served: true,
              storage: false,
              schema: {
                openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              },
            },
          ],
        },
      } as typeof before);
      const outcomes = await ensureCrds({ client, log });
      assert.deepEqual(
        outcomes.map(({ did }) => did),
        ["nothing", "upgraded"],
      );
      const upgraded = await observer.get(customResourceDefinitions, at);
      const versions = versionsOf(upgraded);
      assert.deepEqual(
        versions.map((version) => version["name"]),
        ["v1alpha1", "v1beta9"],
      );
      const columns = versions[0]?.["additionalPrinterColumns"];
      assert.ok(Array.isArray(columns) && columns.length > 0);
      assert.equal(upgraded?.metadata.labels?.["team"], "net");
      assert.equal(upgraded?.metadata.annotations?.["note"], "ours");
    });

    test("without the right to write definitions the installed ones serve", async () => {
      await observer.apply({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: "limited-views" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "limited" },
        subjects: [
          { kind: "User", name: "galaxy-ipam-limited", apiGroup: "rbac.authorization.k8s.io" },
        ],
      });
      await observer.apply({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name: "limited" },
        rules: [
          {
            apiGroups: ["apiextensions.k8s.io"],
            resources: ["customresourcedefinitions"],
            verbs: ["get", "list", "watch"],
          },
          {
            apiGroups: ["galaxy.k8s.io"],
            resources: ["floatingips", "pools"],
            verbs: ["get", "list", "watch"],
          },
        ],
      });
      await observer.patch(
        customResourceDefinitions,
        { name: "pools.galaxy.k8s.io" },
        { metadata: { annotations: { "api-approved.kubernetes.io": "unapproved, other words" } } },
      );
      const limited = await clientOf("galaxy-ipam-limited");
      try {
        // RBAC takes a moment to be seen by the authorizer.
        const outcomes = await waitUntil(
          "the rights to be in force",
          () => ensureCrds({ client: limited, log }),
          () => true,
        );
        assert.deepEqual(
          outcomes.map(({ did }) => did),
          ["nothing", "kept"],
        );
      } finally {
        limited.close();
      }
    });
  });

  describe("allocations", () => {
    test("of many creates of one address exactly one succeeds", async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          store.create(anAllocation({ ip: "10.0.70.3", owner: podOwner({ name: `pod${index}` }) })),
        ),
      );
      assert.equal(outcomes.filter(({ kind }) => kind === "created").length, 1);
      assert.equal(outcomes.filter(({ kind }) => kind === "exists").length, 19);
    });

    test("a record is read back as it was written, IPv6 and custom owners too", async () => {
      const workload: WorkloadRef = {
        type: "custom",
        kind: "tapp",
        apiGroup: "apps.tkestack.io",
        namespace: "ns1",
        name: "game",
      };
      const wanted = anAllocation({
        ip: "2001:db8::7",
        owner: podOwner({ name: "game-0", workload, pool: undefined }),
        policy: "immutable",
      });
      const created = await store.create(wanted);
      assert.equal(created.kind, "created");
      const read = await store.read(ip("2001:db8::7"));
      assert.deepEqual(read, created.kind === "created" ? created.allocation : undefined);
      assert.deepEqual({ ...read, version: "" }, wanted);
    });

    test("an update needs the version that was read, and tells conflict and missing apart", async () => {
      const created = await store.create(anAllocation({ ip: "10.0.70.4" }));
      assert.equal(created.kind, "created");
      if (created.kind !== "created") return;
      const reserved = {
        ...created.allocation,
        owner: { kind: "workload", workload: aDeploymentRef() } as const,
        nodeName: "",
        podUid: "",
      };
      const updated = await store.update(reserved);
      assert.equal(updated.kind, "updated");
      assert.deepEqual(await store.update(reserved), { kind: "conflict" });
      assert.deepEqual(await store.remove(reserved), { kind: "conflict" });
      assert.deepEqual(await store.read(ip("10.0.70.4")), {
        ...reserved,
        version: updated.kind === "updated" ? updated.allocation.version : "",
      });
      if (updated.kind !== "updated") return;
      assert.deepEqual(await store.remove(updated.allocation), { kind: "removed" });
      assert.deepEqual(await store.remove(updated.allocation), { kind: "missing" });
      assert.deepEqual(await store.update(updated.allocation), { kind: "missing" });
      assert.equal(await store.read(ip("10.0.70.4")), undefined);
    });

    test("what an operator writes with kubectl is seen: labels, edits and deletions", async () => {
      await observer.create(aFloatingIp({ ip: "10.0.70.5", isReserved: true }));
      await waitUntil(
        "the reservation to be told",
        () =>
          allocationEvents.findLast((e) => e.kind === "changed" && e.allocation.ip === "10.0.70.5"),
        (event) => event?.kind === "changed" && event.allocation.owner.kind === "admin",
      );
      await observer.patch(
        floatingIps,
        { name: "10.0.70.5" },
        {
          metadata: { labels: { reserved: null } },
        },
      );
      await waitUntil(
        "the change of the label to be told",
        () =>
          allocationEvents.findLast((e) => e.kind === "changed" && e.allocation.ip === "10.0.70.5"),
        (event) => event?.kind === "changed" && event.allocation.owner.kind !== "admin",
      );
      await observer.delete(floatingIps, { name: "10.0.70.5" });
      await waitUntil(
        "the deletion to be told",
        () => sawAllocation("10.0.70.5", "removed"),
        (seen) => seen,
      );
    });

    test("a list of several pages is complete and skips what is named like no address", async () => {
      const count = 2_300;
      const template = anAllocation();
      let next = 0;
      const writer = async () => {
        while (next < count) {
          const number = next;
          next += 1;
          const address = `10.20.${Math.floor(number / 250)}.${(number % 250) + 1}`;
          const outcome = await store.create({
            ...template,
            ip: ip(address),
            owner: podOwner({ name: `p${number}`, workload: aDeploymentRef() }),
          });
          assert.equal(outcome.kind, "created");
        }
      };
      await Promise.all(Array.from({ length: 40 }, writer));
      await observer.create({
        ...aFloatingIp({ ip: "10.0.70.6" }),
        metadata: { name: "no-address" },
      });
      const listed = await store.list();
      const ours = listed.filter((allocation) => allocation.ip.startsWith("10.20."));
      assert.equal(ours.length, count);
      assert.equal(new Set(ours.map((allocation) => allocation.ip)).size, count);
      const workloads = new Set(
        ours.map(({ owner }) => (owner.kind === "pod" ? owner.workload : undefined)),
      );
      assert.equal(workloads.size, 1, "records of one workload share it");
      assert.ok(log.lines("warn").some(({ fields }) => fields["name"] === "no-address"));
    });
  });

  describe("pods and workloads", () => {
    test("only pods that concern addresses are kept, and each of their changes is told", async () => {
      await observer.create(aPod({ name: "plain", wantsFloatIp: false }));
      await observer.create(aPod({ name: "wants", policy: "never" }));
      await waitUntil(
        "the pod to be seen",
        () => view.pod({ namespace: "default", name: "wants" }),
        (pod) => pod?.policy === "never" && pod.wantsAddress,
      );
      assert.equal(view.pod({ namespace: "default", name: "plain" }), undefined);
      const live = await view.readPod({ namespace: "default", name: "plain" });
      assert.ok(live !== "gone" && !live.wantsAddress);
      await observer.delete(
        pods,
        { name: "wants", namespace: "default" },
        { gracePeriodSeconds: 0 },
      );
      await waitUntil(
        "the deletion to be seen",
        () => view.pod({ namespace: "default", name: "wants" }),
        (pod) => pod === undefined,
      );
      assert.equal(await view.readPod({ namespace: "default", name: "wants" }), "gone");
      const told = clusterEvents.filter(
        (event) => event.kind === "pod" && event.pod.name === "wants",
      );
      assert.ok(told.length >= 2);
    });

    test("a Deployment's pod leads to the Deployment through its ReplicaSet", async () => {
      await observer.create(aDeployment({ name: "web-a", replicas: 2 }));
      const [pod] = [
        ...(await waitUntil(
          "the pods of the Deployment",
          () => [...view.pods()].filter(({ id }) => id.name.startsWith("web-a-")),
          (found) => found.length === 2,
        )),
      ];
      assert.ok(pod);
      await waitUntil(
        "the ReplicaSet to be seen",
        () => view.ownershipOf(pod),
        ({ isCertain }) => isCertain,
      );
      const ref = aDeploymentRef({ namespace: "default", name: "web-a" });
      assert.deepEqual(view.ownershipOf(pod).workload, ref);
      assert.deepEqual((await view.readOwnershipOf(pod)).workload, ref);
      await observer.scale(deployments, { name: "web-a", namespace: "default" }, 5);
      await waitUntil(
        "the new size",
        () => view.workload(ref),
        (state) => state.kind === "present" && state.replicas === 5,
      );
      const [replicaSet] = await observer.list({ kind: replicaSets, namespace: "default" });
      assert.ok(replicaSet);
      await observer.delete(deployments, { name: "web-a", namespace: "default" });
      await waitUntil(
        "the Deployment to be gone",
        () => view.workload(ref),
        (state) => state.kind === "gone",
      );
      assert.deepEqual(await view.readWorkload(ref), { kind: "gone" });
    });

    test("a kind that is installed after it was asked for becomes readable and is told", async () => {
      const ref: WorkloadRef = {
        type: "custom",
        kind: "game",
        apiGroup: "play.example.org",
        namespace: "default",
        name: "chess",
      };
      assert.equal(view.workload(ref).kind, "unknown");
      assert.equal((await view.readWorkload(ref)).kind, "unknown");
      await observer.create(
        aWorkloadDefinition({
          group: "play.example.org",
          kind: "Game",
          plural: "games",
          hasScale: true,
        }),
      );
      const games = customKind("play.example.org/v1", "Game", "games");
      const game = await waitUntil(
        "the kind to be served",
        () =>
          observer.apply(aWorkload("play.example.org/v1", "Game", { name: "chess", replicas: 3 })),
        () => true,
      );
      await waitUntil(
        "the workload to be known",
        () => view.workload(ref),
        (state) => state.kind === "present" && state.replicas === 3,
      );
      const told = clusterEvents.filter(
        (event) => event.kind === "workload" && event.workload.name === "chess",
      );
      assert.ok(told.length > 0);
      const live = await view.readWorkload(ref);
      assert.ok(live.kind === "present" && live.replicas === 3 && live.uid === game.metadata.uid);
      assert.equal(view.workload({ ...ref, apiGroup: undefined }).kind, "present");
      await observer.patch(
        games,
        { name: "chess", namespace: "default" },
        { spec: { replicas: 1 } },
      );
      await waitUntil(
        "the new size",
        () => view.workload(ref),
        (state) => state.kind === "present" && state.replicas === 1,
      );
      await observer.delete(games, { name: "chess", namespace: "default" });
      await waitUntil(
        "the workload to be gone",
        () => view.workload(ref),
        (state) => state.kind === "gone",
      );
      await observer.delete(customResourceDefinitions, { name: "games.play.example.org" });
      await waitUntil(
        "the kind to be unknown again, and not its workloads gone",
        () => view.workload(ref),
        (state) => state.kind === "unknown",
      );
      assert.equal((await view.readWorkload(ref)).kind, "unknown");
    });

    test("a StatefulSet of another group is a custom workload", async () => {
      await observer.create(
        aWorkloadDefinition({
          group: "apps.kruise.io",
          kind: "StatefulSet",
          plural: "statefulsets",
          hasScale: true,
        }),
      );
      const owner = await waitUntil(
        "the kind to be served",
        () => observer.apply(aWorkload("apps.kruise.io/v1", "StatefulSet", { name: "kruise" })),
        () => true,
      );
      await observer.create(aPod({ name: "kruise-0", ownerReferences: [ownedBy(owner)] }));
      const pod = await waitUntil(
        "the pod",
        () => view.pod({ namespace: "default", name: "kruise-0" }),
        (found) => found !== undefined,
      );
      assert.ok(pod);
      const { workload } = view.ownershipOf(pod);
      assert.deepEqual([workload?.type, workload?.apiGroup], ["custom", "apps.kruise.io"]);
      assert.ok(workload);
      await waitUntil(
        "the workload to be known",
        () => view.workload(workload),
        (state) => state.kind === "present",
      );
    });

    test("a kind without scale subresource is present without replicas, and a Job is found by discovery", async () => {
      await observer.create({
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name: "once", namespace: "default" },
        spec: {
          template: {
            spec: { restartPolicy: "Never", containers: [{ name: "main", image: "nginx:1.7.9" }] },
          },
        },
      });
      const ref: WorkloadRef = {
        type: "custom",
        kind: "job",
        apiGroup: undefined,
        namespace: "default",
        name: "once",
      };
      const state = await view.readWorkload(ref);
      assert.ok(state.kind === "present" && state.replicas === undefined);
      assert.deepEqual(await view.readWorkload({ ...ref, name: "never-was" }), { kind: "gone" });
    });
  });

  describe("binding", () => {
    let binder: KubernetesPodBinder;
    let isStale = false;
    const infos = [{ ip: "10.0.70.2/24", vlan: 3, gateway: "10.0.70.1" }];

    before(async () => {
      binder = new KubernetesPodBinder({ client, mayBeStale: () => isStale });
      await observer.create({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
      await observer.create({ apiVersion: "v1", kind: "Node", metadata: { name: "n2" } });
    });

    async function pendingPod(name: string) {
      await observer.create(
        aPod({
          name,
          schedulerName: "nobody",
          ranges: [["10.0.70.2"]],
          terminationGracePeriodSeconds: 0,
        }),
      );
      const pod = await view.readPod({ namespace: "default", name });
      assert.ok(pod !== "gone");
      return pod;
    }

    test("writes node and addresses together, keeps the rest of the annotation, and is the same twice", async () => {
      const pod = await pendingPod("bind-a");
      const request = { pod, nodeName: "n1", ipInfos: infos };
      assert.deepEqual(await binder.bind(request), { kind: "bound" });
      assert.deepEqual(await binder.bind(request), { kind: "bound" });
      const bound = await observer.get(pods, { name: "bind-a", namespace: "default" });
      assert.equal(bound?.spec.nodeName, "n1");
      assert.deepEqual(JSON.parse(bound?.metadata.annotations?.[ARGS_ANNOTATION] ?? ""), {
        request_ip_range: [["10.0.70.2"]],
        common: { ipinfos: infos },
      });
      assert.deepEqual(await binder.bind({ ...request, nodeName: "n2" }), {
        kind: "bound-elsewhere",
        nodeName: "n1",
      });
    });

    test("a pod that is bound with other addresses is not given new ones", async () => {
      const pod = await pendingPod("bind-b");
      await binder.bind({ pod, nodeName: "n1", ipInfos: infos });
      await assert.rejects(
        binder.bind({
          pod,
          nodeName: "n1",
          ipInfos: [{ ip: "10.0.70.9/24", vlan: 3, gateway: "10.0.70.1" }],
        }),
        (error: unknown) =>
          error instanceof WorldError && error.code === "API_REJECTED" && !error.mayHaveHappened,
      );
    });

    test("a pod that somebody bound without addresses gets them written", async () => {
      const pod = await pendingPod("bind-c");
      await observer.call("POST", "/api/v1/namespaces/default/pods/bind-c/binding", {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "bind-c" },
        target: { kind: "Node", name: "n1" },
      });
      assert.deepEqual(await binder.bind({ pod, nodeName: "n1", ipInfos: infos }), {
        kind: "bound",
      });
      const live = await view.readPod(pod.id);
      assert.deepEqual(live === "gone" ? [] : live.assignedIps, ["10.0.70.2"]);
    });

    test("a deleted pod is gone, and so is one whose name another pod has", async () => {
      const pod = await pendingPod("bind-d");
      await observer.delete(pods, { name: "bind-d", namespace: "default" });
      await observer.waitForGone(pods, { name: "bind-d", namespace: "default" });
      assert.deepEqual(await binder.bind({ pod, nodeName: "n1", ipInfos: infos }), {
        kind: "gone",
      });
      await pendingPod("bind-d");
      isStale = true;
      try {
        assert.deepEqual(await binder.bind({ pod, nodeName: "n1", ipInfos: infos }), {
          kind: "gone",
        });
      } finally {
        isStale = false;
      }
      const other = await observer.get(pods, { name: "bind-d", namespace: "default" });
      assert.equal(other?.spec.nodeName, undefined);
    });
  });

  describe("pools", () => {
    test("a pool made with kubectl is seen, written with its version, and keeps what others wrote", async () => {
      await observer.create(aPool({ name: "blue", namespace: "default", size: 3 }));
      const seen = await waitUntil(
        "the pool",
        () => poolStore.all().find(({ name }) => name === "blue"),
        (pool) => pool?.size === 3,
      );
      assert.ok(seen);
      await observer.patch(
        pools,
        { name: "blue", namespace: "default" },
        {
          metadata: { labels: { team: "net" } },
        },
      );
      assert.deepEqual(await poolStore.write({ ...seen, size: 5 }), { kind: "conflict" });
      const current = await waitUntil(
        "the new version",
        () => poolStore.all().find(({ name }) => name === "blue"),
        (pool) => pool !== undefined && pool.version !== seen.version,
      );
      assert.ok(current);
      const written = await poolStore.write({ ...current, size: undefined, preAllocate: true });
      assert.ok(written.kind === "written" && written.pool.size === undefined);
      const object = await observer.get(pools, { name: "blue", namespace: "default" });
      assert.equal(object?.metadata.labels?.["team"], "net");
      assert.deepEqual(await poolStore.remove(current), { kind: "conflict" });
      assert.deepEqual(
        await poolStore.remove(written.kind === "written" ? written.pool : current),
        { kind: "removed" },
      );
      assert.deepEqual(await poolStore.remove(current), { kind: "missing" });
    });

    test("creating a pool that is there is a conflict", async () => {
      const pool = aPoolFacts({ name: "green", size: 2 });
      assert.equal((await poolStore.write(pool)).kind, "written");
      assert.equal((await poolStore.write(pool)).kind, "conflict");
    });

    test("the status shows the figures, is written once, and is no news to those who watch pools", async () => {
      const written = await poolStore.write(aPoolFacts({ name: "red", size: 2 }));
      assert.ok(written.kind === "written");
      if (written.kind !== "written") return;
      await waitUntil(
        "the pool",
        () => poolStore.all().some(({ name }) => name === "red"),
        (isThere) => isThere,
      );
      const told: string[] = [];
      const stop = poolStore.watch((name) => told.push(name));
      const status = {
        allocated: 1,
        used: 0,
        condition: {
          isReady: false,
          reason: "NotEnoughAddresses",
          message: "1 of 2; extend ips",
        },
      } as const;
      await poolStore.writeStatus(written.pool, status);
      const object = await observer.get(pools, { name: "red", namespace: "kube-system" });
      assert.deepEqual(
        [object?.status?.size, object?.status?.allocated, object?.status?.used],
        [2, 1, 0],
      );
      assert.match(JSON.stringify(object?.status), /"status":"False"/);
      await waitUntil(
        "the status to be seen",
        () => poolStore.all().find(({ name }) => name === "red")?.version,
        (version) => version === object?.metadata.resourceVersion,
      );
      await poolStore.writeStatus(written.pool, status);
      const again = await observer.get(pools, { name: "red", namespace: "kube-system" });
      assert.equal(again?.metadata.resourceVersion, object?.metadata.resourceVersion);
      assert.deepEqual(told, []);
      stop();
      await poolStore.writeStatus({ ...written.pool, name: "not-there" }, status);
    });
  });

  describe("events", () => {
    test("equal events are one with a count", async () => {
      const recorder = new KubernetesEventRecorder({ client, log, instance: "test" });
      closers.push(() => recorder.stop());
      const note = {
        about: {
          apiVersion: "v1",
          kind: "Pod",
          namespace: "default",
          name: "plain",
          uid: "u1",
        },
        type: "Warning",
        reason: "NoFreeAddress",
        message: "pod subnet 10.0.70.0/24 has no free address; extend ips",
      } as const;
      recorder.record(note);
      await recorder.whenIdle();
      for (let index = 0; index < 9; index += 1) recorder.record(note);
      recorder.record({ ...note, message: "another" });
      await recorder.whenIdle();
      const found = (await observer.list({ kind: events, namespace: "default" })).filter(
        (event) => event.reason === "NoFreeAddress",
      );
      assert.deepEqual(
        found
          .map(({ message, count }) => [message, count] as const)
          .toSorted(([a], [b]) => (a < b ? -1 : 1)),
        [
          ["another", 1],
          [note.message, 10],
        ],
      );
    });
  });

  describe("the configuration", () => {
    test("absence, appearance, a missing key, a change and deletion are told once each", async () => {
      const told: ConfigText[] = [];
      const source = new ConfigMapSource({
        client,
        log,
        namespace: "kube-system",
        name: "floatingip-config",
        key: "floatingips",
        changed: (config) => told.push(config),
        times,
      });
      source.start();
      closers.push(async () => source.stop());
      const last = async (kind: string, text?: string) =>
        waitUntil(
          `${kind} to be told`,
          () => told.at(-1),
          (config) =>
            config?.kind === kind &&
            (text === undefined || (config.kind === "text" && config.text === text)),
        );
      const at = { name: "floatingip-config", namespace: "kube-system" };
      await last("missing-object");
      await observer.create(aConfigMap({ floatingips: "[]" }));
      await last("text", "[]");
      await observer.patch(configMaps, at, { metadata: { labels: { team: "net" } } });
      await observer.patch(configMaps, at, { data: { floatingips: "[ ]" } });
      await last("text", "[ ]");
      await observer.patch(configMaps, at, { data: { floatingips: null } });
      await last("missing-key");
      await observer.delete(configMaps, at);
      await last("missing-object");
      assert.deepEqual(
        told.map(({ kind }) => kind),
        ["missing-object", "text", "text", "missing-key", "missing-object"],
      );
    });
  });

  describe("leader election", () => {
    test("one of two leads, gives the lease back, and the other takes it long before it would have run out", async () => {
      const started: string[] = [];
      const make = (identity: string) =>
        new LeaseElection({
          client,
          log,
          namespace: "kube-system",
          name: "galaxy-ipam-test",
          identity,
          // Nobody waits that long here: the other one leads because the lease was given back.
          leaseMs: 3_600_000,
          onStarted: () => started.push(identity),
        });
      const [first, second] = [make("first"), make("second")];
      first.start();
      await waitUntil(
        "the first to lead",
        () => first.isLeader(),
        (leads) => leads,
      );
      second.start();
      await waitUntil(
        "the second to see who leads",
        () => second.leaderName(),
        (name) => name === "first",
      );
      assert.equal(second.isLeader(), false);
      await first.stop();
      assert.equal(first.isLeader(), false);
      await waitUntil(
        "the second to lead",
        () => second.isLeader(),
        (leads) => leads,
        { everyMs: 20 },
      );
      const lease = await observer.get(leases, {
        name: "galaxy-ipam-test",
        namespace: "kube-system",
      });
      assert.equal(lease?.spec.holderIdentity, "second");
      assert.deepEqual(started, ["first", "second"]);
      await second.stop();
    });
  });

  // These break the API server and come last.
  describe("when the API server goes away", () => {
    test("watches go on by themselves, tell what was missed, and the leader stops leading in time", async () => {
      let stopCount = 0;
      const election = new LeaseElection({
        client,
        log,
        namespace: "kube-system",
        name: "galaxy-ipam-outage",
        identity: "only",
        leaseMs: 3000,
        renewLimitMs: 2000,
        retryMs: 400,
        onStopped: () => {
          stopCount += 1;
        },
      });
      election.start();
      await waitUntil(
        "leadership",
        () => election.isLeader(),
        (leads) => leads,
      );
      await observer.create(aPod({ name: "outage" }));
      await waitUntil(
        "the pod",
        () => view.pod({ namespace: "default", name: "outage" }),
        (pod) => pod !== undefined,
      );
      await plane.stopApiServer();
      await waitUntil(
        "the leader to stop leading",
        () => election.isLeader(),
        (leads) => !leads,
        { everyMs: 20 },
      );
      const lastSeen = view.pod({ namespace: "default", name: "outage" });
      assert.ok(lastSeen);
      assert.equal(view.mayBeStale(lastSeen), true);
      await assert.rejects(
        store.create(anAllocation({ ip: "10.0.70.50" })),
        (error: unknown) =>
          error instanceof WorldError && error.code === "API_UNAVAILABLE" && !error.mayHaveHappened,
      );
      await plane.startApiServer();
      await observer.delete(
        pods,
        { name: "outage", namespace: "default" },
        { gracePeriodSeconds: 0 },
      );
      await observer.create(aFloatingIp({ ip: "10.0.70.51" }));
      await waitUntil(
        "the deletion to be seen",
        () => view.pod({ namespace: "default", name: "outage" }),
        (pod) => pod === undefined,
      );
      await waitUntil(
        "the new record to be told, or a reset",
        () =>
          sawAllocation("10.0.70.51", "changed") ||
          allocationEvents.some(({ kind }) => kind === "reset"),
        (seen) => seen,
      );
      await waitUntil(
        "leadership again",
        () => election.isLeader(),
        (leads) => leads,
      );
      await election.stop();
      assert.ok(stopCount >= 2);
    });

    test("a write that is not answered has an unknown outcome, and a read has none", async () => {
      const access = await openApiAccess({ kubeconfig: plane.kubeconfigOf("galaxy-ipam") });
      const hasty = new ApiClient({ access, timeLimitMs: 4_000 });
      const hastyStore = new KubernetesAllocationStore({ client: hasty, log, metrics });
      await hastyStore.read(ip("10.0.70.60"));
      plane.pauseApiServer();
      try {
        await assert.rejects(
          hastyStore.create(anAllocation({ ip: "10.0.70.60" })),
          (error: unknown) =>
            error instanceof WorldError && error.code === "API_TIMEOUT" && error.mayHaveHappened,
        );
        await assert.rejects(
          hastyStore.read(ip("10.0.70.60")),
          (error: unknown) =>
            error instanceof WorldError && error.code === "API_TIMEOUT" && !error.mayHaveHappened,
        );
      } finally {
        plane.resumeApiServer();
        hasty.close();
      }
      await waitUntil(
        "the API server to answer again",
        () => store.read(ip("10.0.70.60")),
        () => true,
      );
    });
  });
});

/** The versions of a CustomResourceDefinition. */
function versionsOf(object: unknown): readonly Readonly<Record<string, unknown>>[] {
  const { spec } = object as {
    readonly spec: { readonly versions: readonly Readonly<Record<string, unknown>>[] };
  };
  return spec.versions;
}
