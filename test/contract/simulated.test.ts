// The contracts of the cluster's ports, run by the adapters of the simulated cluster that galaxy-ipam brings along.

import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { SimApi } from "../../src/adapters/simulated/api.ts";
import { SimulatedClusterView } from "../../src/adapters/simulated/cluster-view.ts";
import { controllerRefOf } from "../../src/adapters/simulated/controllers/workplace.ts";
import { SimulatedEventRecorder } from "../../src/adapters/simulated/event-recorder.ts";
import { podKey, workloadKey } from "../../src/adapters/simulated/keys.ts";
import type { SimWorkload, WorkloadKind } from "../../src/adapters/simulated/objects.ts";
import { SimulatedPodBinder } from "../../src/adapters/simulated/pod-binder.ts";
import { refOf } from "../../src/adapters/simulated/saved-objects.ts";
import type { PodFacts } from "../../src/core/facts.ts";
import { policyInForce } from "../../src/core/release-policy.ts";
import { parseCniArgs } from "../../src/wire/cni-args.ts";
import { aPod } from "../builders.ts";
import { aTemplate } from "../simulated-cluster.ts";
import { describeClusterView } from "./cluster-view.ts";
import { describeEventRecorder } from "./event-recorder.ts";
import { describePodBinder } from "./pod-binder.ts";

const done = () => Promise.resolve();
const namespace = "ns1";

describePodBinder("SimulatedPodBinder", async () => {
  const api = new SimApi(new ManualClock());
  return {
    binder: new SimulatedPodBinder(api),
    createPod: async ({ argsText = "", ...wish }) => {
      const { assignedIps } = parseCniArgs(argsText);
      return put(api, aPod({ ...wish, argsText, assignedIps }));
    },
    deletePod: async (id) => {
      api.remove("pods", podKey(id));
    },
    readPod: (id) => new SimulatedClusterView(api).readPod(id),
    stop: done,
  };
});

describeClusterView("SimulatedClusterView", async () => {
  const api = new SimApi(new ManualClock());
  const create = (kind: WorkloadKind, name: string, replicas: number, deployment?: string) => {
    const ref = refOf(kind, { namespace, name });
    const workload: SimWorkload = {
      kind,
      ref,
      uid: api.newUid(),
      replicas,
      firstOrdinal: 0,
      template: aTemplate,
      maxSurge: 0,
      maxUnavailable: 1,
      deployment,
    };
    api.put("workloads", workloadKey(kind, namespace, name), workload);
    return { ref, controller: controllerRefOf(workload) };
  };
  const keyOf = ({ kind, name }: { readonly kind: string; readonly name: string }) =>
    workloadKey(kind as WorkloadKind, namespace, name);
  return {
    view: new SimulatedClusterView(api),
    namespace,
    createPod: async ({ policy, pool, ...wish }) =>
      put(api, aPod({ ...wish, pool, policy: policyInForce(policy, pool) })),
    setAddresses: async (id, assignedIps) => {
      api.change("pods", podKey(id), (pod) => ({ ...pod, facts: { ...pod.facts, assignedIps } }));
    },
    finishPod: async (id, phase) => {
      api.change("pods", podKey(id), (pod) => ({ ...pod, facts: { ...pod.facts, phase } }));
    },
    deletePod: async (id) => {
      api.remove("pods", podKey(id));
    },
    createNode: async (facts) => {
      api.put("nodes", facts.name, { facts, isUp: true, downSinceMs: 0 });
      return facts;
    },
    deleteNode: async (name) => {
      api.remove("nodes", name);
    },
    createDeployment: async (name, replicas) => create("deployment", name, replicas),
    createStatefulSet: async (name, replicas) => create("statefulset", name, replicas),
    createReplicaSet: async (name, replicas, owner) =>
      create("replicaset", name, replicas, owner?.name),
    createTApp: async (name, replicas) => create("tapp", name, replicas),
    scale: async ({ ref }, replicas) => {
      api.change("workloads", keyOf(ref), (workload) => ({ ...workload, replicas }));
    },
    deleteWorkload: async ({ ref }) => {
      api.remove("workloads", keyOf(ref));
    },
    stop: done,
  };
});

describeEventRecorder("SimulatedEventRecorder", async () => {
  const recorder = new SimulatedEventRecorder(new ManualClock());
  return {
    recorder,
    namespace,
    events: async () => recorder.events().map(({ atMs: _atMs, ...note }) => note),
    stop: done,
  };
});

/** Puts a pod that has a uid of its own, as an API server gives it. */
function put(api: SimApi, pod: PodFacts): PodFacts {
  const facts = { ...pod, uid: api.newUid() };
  api.put("pods", podKey(facts.id), {
    facts,
    revision: 1,
    isReady: false,
    deletedAtMs: undefined,
    onlyNode: undefined,
    priority: 0,
  });
  return facts;
}
