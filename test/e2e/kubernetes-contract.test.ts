// The contracts of the ports, run by the Kubernetes adapters against a real API server. Controllers do not run: nothing happens that a test
// did not ask for. What only this adapter promises is in kubernetes-adapter.test.ts.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KubernetesAllocationStore } from "../../src/adapters/kubernetes/allocation-store.ts";
import { ApiClient } from "../../src/adapters/kubernetes/api-client.ts";
import { KubernetesClusterView } from "../../src/adapters/kubernetes/cluster-view.ts";
import { ensureCrds } from "../../src/adapters/kubernetes/crds.ts";
import { openApiAccess } from "../../src/adapters/kubernetes/credentials.ts";
import { KubernetesEventRecorder } from "../../src/adapters/kubernetes/event-recorder.ts";
import { KubernetesPodBinder } from "../../src/adapters/kubernetes/pod-binder.ts";
import { KubernetesPoolStore } from "../../src/adapters/kubernetes/pool-store.ts";
import { KubernetesQuotaStore } from "../../src/adapters/kubernetes/quota-store.ts";
import {
  KubernetesNodeLeaseStore,
  KubernetesVipStore,
  vipLeaseNamespace,
} from "../../src/adapters/kubernetes/vip-stores.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { MemoryMetrics } from "../../src/adapters/memory/metrics.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { ControllerRef, PodFacts } from "../../src/core/facts.ts";
import { builtInWorkload, type WorkloadRef } from "../../src/core/owner.ts";
import { newVipRecord } from "../../src/core/vip.ts";
import { argsAnnotation } from "../../src/wire/established-names.ts";
import { parsePod } from "../../src/wire/pod.ts";
import { quotaCrd } from "../../src/wire/quota.ts";
import { floatingVipCrd, vipPoolCrd } from "../../src/wire/vip-objects.ts";
import { ip } from "../builders.ts";
import {
  type AllocationStoreBench,
  describeAllocationStore,
} from "../contract/allocation-store.ts";
import {
  type ClusterWorld,
  describeClusterView,
  type MadeWorkload,
} from "../contract/cluster-view.ts";
import { describeEventRecorder, type EventRecorderBench } from "../contract/event-recorder.ts";
import { describePodBinder, type PodBinderBench } from "../contract/pod-binder.ts";
import { describePoolStore, type PoolStoreBench } from "../contract/pool-store.ts";
import { describeQuotaStore } from "../contract/quota-store.ts";
import { describeNodeLeaseStore, describeVipStore } from "../contract/vip-store.ts";
import { type ApiClient as Observer, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import {
  customKind,
  deployments,
  events,
  floatingIps,
  floatingVips,
  type Kind,
  type KubeObject,
  leases,
  nodes,
  type OwnerReference,
  pods,
  pools,
  replicaSets,
  statefulSets,
} from "../control-plane/kinds.ts";
import {
  ARGS_ANNOTATION,
  aDeployment,
  aFloatingIp,
  aNamespace,
  aPod,
  aStatefulSet,
  aWorkload,
  aWorkloadDefinition,
} from "../control-plane/manifests.ts";

const times = { firstPauseMs: 50, maxPauseMs: 500 };
const tappGroup = "apps.tkestack.io";
const tapps = customKind(`${tappGroup}/v1`, "TApp", "tapps");
const skip = await reasonToSkip();

describe("the contracts of the ports on a real API server", { skip }, () => {
  let plane: ControlPlane;
  let observer: Observer;
  let client: ApiClient;
  let view: KubernetesClusterView;
  const log = new MemoryLog();
  const metrics = new MemoryMetrics();
  let namespaceCount = 0;

  before(async () => {
    plane = await startControlPlane({ hasControllers: false });
    observer = plane.api;
    client = await newClient();
    await ensureCrds({ client, log });
    await ensureCrds({ client, log, manifests: [quotaCrd, floatingVipCrd, vipPoolCrd] });
    view = new KubernetesClusterView({ client, log, times });
    view.start();
    await view.whenSynced();
    for (const name of ["n1", "n2"]) {
      await observer.create({ apiVersion: "v1", kind: "Node", metadata: { name } });
    }
  });

  after(async () => {
    view?.stop();
    client?.close();
    await plane?.stop();
  });

  async function newClient(): Promise<ApiClient> {
    return new ApiClient({
      access: await openApiAccess({ kubeconfig: plane.kubeconfigOf("galaxy-ipam") }),
    });
  }

  async function newNamespace(): Promise<string> {
    namespaceCount += 1;
    const name = `contract-${namespaceCount}`;
    await observer.create(aNamespace(name));
    return name;
  }

  function podFacts(object: KubeObject): PodFacts {
    const facts = parsePod(object);
    if (facts === undefined) throw new TypeError(`${object.metadata.name} is no pod`);
    return facts;
  }

  describeAllocationStore(
    "KubernetesAllocationStore",
    async (): Promise<AllocationStoreBench> => {
      await observer.deleteAll({ kind: floatingIps });
      const other = await newClient();
      const store = new KubernetesAllocationStore({ client, log, metrics, times });
      const foreign = new KubernetesAllocationStore({ client: other, log, metrics, times });
      store.start();
      await store.whenSynced();
      return {
        store,
        foreign,
        writeUnreadable: async (ipText) => {
          await observer.create(aFloatingIp({ ip: ipText, key: "hello-xx", policy: 2 }));
        },
        stop: async () => {
          store.stop();
          other.close();
          await observer.deleteAll({ kind: floatingIps });
        },
      };
    },
    { runs: 15 },
  );

  describeQuotaStore("KubernetesQuotaStore", async () => {
    const store = new KubernetesQuotaStore({ client, log, metrics, times });
    store.start();
    await store.whenSynced();
    return {
      store,
      stop: async () => {
        for (const quota of store.all()) await store.remove(quota);
        store.stop();
      },
    };
  });

  describePoolStore("KubernetesPoolStore", async (): Promise<PoolStoreBench> => {
    const deleteAll = async () => {
      for (const { metadata } of await observer.list({ kind: pools })) {
        await observer.delete(pools, metadata);
      }
    };
    await deleteAll();
    const options = { client, log, metrics, clock: new SystemClock(), times };
    const [store, foreign] = [new KubernetesPoolStore(options), new KubernetesPoolStore(options)];
    for (const each of [store, foreign]) each.start();
    await Promise.all([store.whenSynced(), foreign.whenSynced()]);
    return {
      store,
      foreign,
      readStatus: async ({ name, namespace }) => {
        const status = (await observer.get(pools, { name, namespace }))?.status as
          | {
              readonly allocated: number;
              readonly used: number;
              readonly conditions: readonly {
                readonly status: string;
                readonly reason: "Ready";
                readonly message: string;
              }[];
            }
          | undefined;
        const condition = status?.conditions[0];
        if (status === undefined || condition === undefined) return undefined;
        const { reason, message } = condition;
        return {
          allocated: status.allocated,
          used: status.used,
          condition: { isReady: condition.status === "True", reason, message },
        };
      },
      stop: async () => {
        for (const each of [store, foreign]) each.stop();
        await deleteAll();
      },
    };
  });

  describeVipStore("KubernetesVipStore", async () => {
    const [store, foreign] = await startedPair(
      (each) => new KubernetesVipStore({ client: each, log, times }),
    );
    return {
      store: store.part,
      foreign: foreign.part,
      stop: async () => {
        for (const { metadata } of await observer.list({ kind: floatingVips })) {
          await observer.patch(floatingVips, metadata, { metadata: { finalizers: null } });
          await observer.delete(floatingVips, metadata);
        }
        for (const each of [store, foreign]) each.stop();
      },
    };
  });

  test("a write of a virtual address keeps what a newer release wrote and this one does not know", async () => {
    const [store, foreign] = await startedPair(
      (each) => new KubernetesVipStore({ client: each, log, times }),
    );
    const address = ip("192.0.2.50");
    const holder = {
      pod: { namespace: "shop", name: "web-0" },
      podUid: "uid-0",
      podIp: ip("10.0.0.1"),
      nodeName: "n1",
      session: 7,
    };
    const statusOf = async () =>
      (await observer.get(floatingVips, { name: address }))?.status ?? assert.fail("it is there");
    try {
      const created = await store.part.create(newVipRecord(address, 1_700_000_000_123));
      assert.equal(created.kind, "written");
      const granted = await store.part.update({ ...created.value, epoch: 1, holder });
      assert.equal(granted.kind, "written");
      // By somebody else, so that this store learns of it from its watch.
      const status = { zone: "north", holder: { rack: "r1" } };
      await observer.patch(floatingVips, { name: address }, { status }, "status");
      const seen = await waitUntil(
        "the store to see it",
        () => store.part.get(address),
        (record) => record !== undefined && record.version !== granted.value.version,
        { everyMs: 5 },
      );
      assert.ok(seen !== undefined);
      const asked = await store.part.update({ ...seen, release: "wanted" });
      assert.equal(asked.kind, "written");
      const kept = await statusOf();
      assert.equal(kept["zone"], "north");
      assert.equal((kept["holder"] as { readonly rack?: string }).rack, "r1");
      // The next write is made from the answer to this one; what was said of one holder is not said of the next.
      const other = { ...holder, podUid: "uid-1", nodeName: "n2" };
      const moved = await store.part.update({
        ...asked.value,
        epoch: 2,
        holder: other,
        release: "none",
      });
      assert.equal(moved.kind, "written");
      assert.equal((await statusOf())["zone"], "north");
      const { holder: written } = (await statusOf()) as {
        readonly holder: { readonly uid: string };
      };
      assert.equal(written.uid, "uid-1");
      assert.equal(Object.hasOwn(written, "rack"), false);
    } finally {
      await observer.patch(floatingVips, { name: address }, { metadata: { finalizers: null } });
      await observer.delete(floatingVips, { name: address });
      store.stop();
      foreign.stop();
    }
  });

  describeNodeLeaseStore("KubernetesNodeLeaseStore", async () => {
    await observer.apply(aNamespace(vipLeaseNamespace));
    const namespace = vipLeaseNamespace;
    const [store, foreign] = await startedPair(
      (each) => new KubernetesNodeLeaseStore({ client: each, log, namespace, times }),
    );
    return {
      store: store.part,
      foreign: foreign.part,
      stop: async () => {
        await observer.deleteAll({ kind: leases, namespace });
        for (const each of [store, foreign]) each.stop();
      },
    };
  });

  /** Two stores, each with a client of its own, that have read what is there. */
  async function startedPair<
    Part extends { start(): void; stop(): void; whenSynced(): Promise<void> },
  >(open: (each: ApiClient) => Part) {
    const make = async () => {
      const own = await newClient();
      const part = open(own);
      part.start();
      await part.whenSynced();
      const stop = () => {
        part.stop();
        own.close();
      };
      return { part, stop };
    };
    return [await make(), await make()] as const;
  }

  describePodBinder(
    "KubernetesPodBinder",
    async (): Promise<PodBinderBench> => {
      const namespace = await newNamespace();
      return {
        // This API server may be older than 1.23 and take any uid: every pod is read first.
        binder: new KubernetesPodBinder({ client, mayBeStale: () => true }),
        createPod: async ({ name, argsText, nodeName }) =>
          podFacts(
            await observer.create(
              aPod({
                name,
                namespace,
                ...(argsText === undefined ? {} : { annotations: { [ARGS_ANNOTATION]: argsText } }),
                ...(nodeName === undefined ? {} : { nodeName }),
              }),
            ),
          ),
        deletePod: async (id) => {
          await observer.delete(pods, id, { gracePeriodSeconds: 0 });
        },
        readPod: (id) => view.readPod(id),
        stop: () => observer.deleteAll({ kind: pods, namespace }, { gracePeriodSeconds: 0 }),
      };
    },
    { runs: 25 },
  );

  describeClusterView(
    "KubernetesClusterView",
    async (): Promise<ClusterWorld> => {
      const namespace = await newNamespace();
      const made = async <T extends KubeObject>(object: T, ref: WorkloadRef) => ({
        ref,
        controller: controllerOf(object),
      });
      return {
        view,
        namespace,
        createPod: async ({ name, wantsAddress = true, policy, pool, controller }) =>
          podFacts(
            await observer.create(
              aPod({
                name,
                namespace,
                wantsFloatIp: wantsAddress,
                ...(policy === undefined || policy === "pod-delete" ? {} : { policy }),
                ...(pool === undefined ? {} : { pool }),
                ...(controller === undefined
                  ? {}
                  : { ownerReferences: [ownerReferenceOf(controller)] }),
              }),
            ),
          ),
        setAddresses: async (id, ips) => {
          const text = JSON.stringify({ common: { ipinfos: ips.map((ip) => ({ ip })) } });
          await observer.patch(pods, id, { metadata: { annotations: { [argsAnnotation]: text } } });
        },
        finishPod: async (id, phase) => {
          await observer.patch(pods, id, { status: { phase } }, "status");
        },
        deletePod: async (id) => {
          await observer.delete(pods, id, { gracePeriodSeconds: 0 });
        },
        createNode: async (node) => {
          const name = `${node.name}-${namespace}`;
          await observer.create({ apiVersion: "v1", kind: "Node", metadata: { name } });
          const addresses = node.internalIps.map((address) => ({ type: "InternalIP", address }));
          await observer.patch(nodes, { name }, { status: { addresses } }, "status");
          return { name, internalIps: node.internalIps };
        },
        deleteNode: async (name) => {
          await observer.delete(nodes, { name });
        },
        createDeployment: async (name, replicas) =>
          made(
            await observer.create(aDeployment({ name, namespace, replicas })),
            builtInWorkload("deployment", { namespace, name }),
          ),
        createStatefulSet: async (name, replicas) =>
          made(
            await observer.create(aStatefulSet({ name, namespace, replicas })),
            builtInWorkload("statefulset", { namespace, name }),
          ),
        createReplicaSet: async (name, replicas, owner) => {
          const manifest = aWorkload("apps/v1", "ReplicaSet", { name, namespace, replicas });
          const ownerReferences = owner === undefined ? [] : [ownerReferenceOf(owner)];
          return made(
            await observer.create({
              ...manifest,
              metadata: { ...manifest.metadata, ownerReferences },
            }),
            builtInWorkload("replicaset", { namespace, name }),
          );
        },
        createTApp: async (name, replicas) => {
          await observer.apply(
            aWorkloadDefinition({
              group: tappGroup,
              kind: "TApp",
              plural: "tapps",
              hasScale: true,
            }),
          );
          const tapp = await waitUntil(
            "TApps to be served",
            () =>
              observer.apply(aWorkload(`${tappGroup}/v1`, "TApp", { name, namespace, replicas })),
            () => true,
          );
          const ref = {
            type: "custom",
            kind: "tapp",
            apiGroup: tappGroup,
            namespace,
            name,
          } as const;
          return made(tapp, ref);
        },
        scale: async ({ ref }, replicas) => {
          await observer.patch(kindOf(ref), ref, { spec: { replicas } });
        },
        deleteWorkload: async ({ ref }: MadeWorkload) => {
          await observer.delete(kindOf(ref), ref, { propagationPolicy: "Background" });
        },
        stop: async () => {
          const kinds: readonly Kind[] = [pods, deployments, statefulSets, replicaSets];
          for (const kind of kinds) {
            await observer.deleteAll({ kind, namespace }, { gracePeriodSeconds: 0 });
          }
        },
      };
    },
    { runs: 25 },
  );

  describeEventRecorder("KubernetesEventRecorder", async (): Promise<EventRecorderBench> => {
    const namespace = await newNamespace();
    const recorder = new KubernetesEventRecorder({ client, log, instance: "contract" });
    return {
      recorder,
      namespace,
      events: async () =>
        (await observer.list({ kind: events, namespace })).map((event) => {
          const about = (event as unknown as { readonly involvedObject: Record<string, string> })
            .involvedObject;
          return {
            about: {
              apiVersion: about["apiVersion"] ?? "",
              kind: about["kind"] ?? "",
              namespace: about["namespace"] ?? "",
              name: about["name"] ?? "",
              uid: about["uid"] ?? "",
            },
            type: event.type === "Warning" ? "Warning" : "Normal",
            reason: event.reason,
            message: event.message,
            count: event.count ?? 0,
          };
        }),
      stop: () => recorder.stop(),
    };
  });
});

function kindOf(ref: WorkloadRef): Kind {
  switch (ref.type) {
    case "deployment":
      return deployments;
    case "statefulset":
      return statefulSets;
    case "replicaset":
      return replicaSets;
    case "custom":
      return tapps;
    default:
      return ref.type satisfies never;
  }
}

function controllerOf(object: KubeObject): ControllerRef {
  const slash = object.apiVersion.indexOf("/");
  return {
    apiGroup: slash < 0 ? "" : object.apiVersion.slice(0, slash),
    apiVersion: object.apiVersion.slice(slash + 1),
    kind: object.kind,
    name: object.metadata.name,
    uid: object.metadata.uid,
  };
}

function ownerReferenceOf(controller: ControllerRef): OwnerReference {
  const { apiGroup, apiVersion, kind, name, uid } = controller;
  return {
    apiVersion: apiGroup === "" ? apiVersion : `${apiGroup}/${apiVersion}`,
    kind,
    name,
    uid,
    controller: true,
    blockOwnerDeletion: false,
  };
}
