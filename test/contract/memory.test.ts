// Every contract, run by the in-memory adapters; the clock's by that of the machine as well.

import { setTimeout as realTime } from "node:timers/promises";
import { MemoryAllocationStore } from "../../src/adapters/memory/allocation-store.ts";
import { ManualClock } from "../../src/adapters/memory/clock.ts";
import { MemoryCluster } from "../../src/adapters/memory/cluster.ts";
import { MemoryClusterView } from "../../src/adapters/memory/cluster-view.ts";
import { MemoryEventRecorder } from "../../src/adapters/memory/event-recorder.ts";
import { MemoryHistoryStore } from "../../src/adapters/memory/history-store.ts";
import { MemoryPodBinder } from "../../src/adapters/memory/pod-binder.ts";
import { MemoryPoolStore } from "../../src/adapters/memory/pool-store.ts";
import { MemoryQuotaStore } from "../../src/adapters/memory/quota-store.ts";
import { SystemClock } from "../../src/adapters/system/clock.ts";
import type { PodFacts } from "../../src/core/facts.ts";
import type { PodId } from "../../src/core/owner.ts";
import { policyInForce } from "../../src/core/release-policy.ts";
import { TenureLog } from "../../src/core/tenure.ts";
import { parseCniArgs } from "../../src/wire/cni-args.ts";
import { aPod } from "../builders.ts";
import { describeAllocationStore } from "./allocation-store.ts";
import { describeClock } from "./clock.ts";
import { describeClusterView } from "./cluster-view.ts";
import { describeEventRecorder } from "./event-recorder.ts";
import { describeHistoryStore } from "./history-store.ts";
import { describePodBinder } from "./pod-binder.ts";
import { describePoolStore } from "./pool-store.ts";
import { describeQuotaStore } from "./quota-store.ts";

const done = () => Promise.resolve();

describeAllocationStore("MemoryAllocationStore", async () => {
  const cluster = new MemoryCluster();
  return {
    store: new MemoryAllocationStore(cluster),
    foreign: new MemoryAllocationStore(cluster),
    stop: done,
  };
});

describePoolStore("MemoryPoolStore", async () => {
  const cluster = new MemoryCluster();
  return {
    store: new MemoryPoolStore(cluster),
    foreign: new MemoryPoolStore(cluster),
    readStatus: async (pool) => cluster.poolStatus(pool),
    stop: done,
  };
});

describeQuotaStore("MemoryQuotaStore", async () => ({ store: new MemoryQuotaStore(), stop: done }));

describePodBinder("MemoryPodBinder", async () => {
  const cluster = new MemoryCluster();
  const put = podPutter(cluster);
  return {
    binder: new MemoryPodBinder(cluster),
    createPod: async ({ argsText = "", ...wish }) => {
      const assignedIps = parseCniArgs(argsText).assignedIps;
      return put(aPod({ ...wish, argsText, assignedIps }));
    },
    deletePod: async (id) => cluster.deletePod(id),
    readPod: (id: PodId) => new MemoryClusterView(cluster).readPod(id),
    stop: done,
  };
});

describeClusterView("MemoryClusterView", async () => {
  const cluster = new MemoryCluster();
  const put = podPutter(cluster);
  const namespace = "ns1";
  return {
    view: new MemoryClusterView(cluster),
    namespace,
    createPod: async ({ policy, pool, ...wish }) =>
      put(aPod({ ...wish, pool, policy: policyInForce(policy, pool) })),
    setAddresses: async (id, assignedIps) => {
      cluster.changePod(id, { assignedIps });
    },
    finishPod: async (id, phase) => {
      cluster.changePod(id, { phase });
    },
    deletePod: async (id) => cluster.deletePod(id),
    createNode: async (node) => {
      cluster.putNode(node);
      return node;
    },
    deleteNode: async (name) => cluster.deleteNode(name),
    createDeployment: async (name, replicas) =>
      cluster.putDeployment({ namespace, name, replicas }),
    createStatefulSet: async (name, replicas) =>
      cluster.putStatefulSet({ namespace, name, replicas }),
    createReplicaSet: async (name, replicas, owner) =>
      cluster.putReplicaSet({ namespace, name, replicas, owner }),
    createTApp: async (name, replicas) =>
      cluster.putCustom("TApp", { apiGroup: "apps.tkestack.io", namespace, name, replicas }),
    scale: async ({ ref }, replicas) => cluster.scale(ref, replicas),
    deleteWorkload: async ({ ref }) => cluster.deleteWorkload(ref),
    stop: done,
  };
});

describeEventRecorder("MemoryEventRecorder", async () => {
  const recorder = new MemoryEventRecorder();
  return { recorder, namespace: "ns1", events: async () => recorder.events(), stop: done };
});

describeHistoryStore("MemoryHistoryStore", async ({ bounds, nowMs }) => {
  const options = { bounds, clock: new ManualClock(nowMs), log: new TenureLog(bounds) };
  return {
    store: new MemoryHistoryStore(options),
    reopen: async () => new MemoryHistoryStore(options),
    stop: done,
  };
});

describeClock("ManualClock", () => {
  const clock = new ManualClock();
  return { clock, pass: (ms) => clock.pass(ms) };
});

describeClock("ManualClock moved at once", () => {
  const clock = new ManualClock();
  return { clock, pass: async (ms) => clock.advance(ms) };
});

describeClock("SystemClock", () => ({
  clock: new SystemClock(),
  pass: async (ms) => {
    await realTime(ms);
  },
}));

/** Puts pods that each have a uid of their own, as an API server gives them. */
function podPutter(cluster: MemoryCluster): (pod: PodFacts) => PodFacts {
  return (pod) => {
    const made = { ...pod, uid: `uid-pod-${cluster.nextVersion()}` };
    cluster.putPod(made);
    return made;
  };
}
