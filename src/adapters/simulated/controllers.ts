// The controllers of kube-controller-manager, as far as addresses notice them: they follow the API server, reconcile what changed a
// little later, and collect what has lost its owner. What each kind decides is in controllers/.

import { podIsFinished } from "../../core/facts.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Change, SimApi } from "./api.ts";
import { reconcileDaemonSet } from "./controllers/daemon-set.ts";
import { reconcileDeployment, type ScaleNote } from "./controllers/deployment.ts";
import { type JobStatus, reconcileJob } from "./controllers/job.ts";
import { reconcileReplicaSet } from "./controllers/replica-set.ts";
import { reconcileOrdinalsInParallel, reconcileStatefulSet } from "./controllers/stateful-set.ts";
import { type Workplace, workloadText } from "./controllers/workplace.ts";
import { workloadKey } from "./keys.ts";
import type { SimPod, SimWorkload } from "./objects.ts";
import { PodIndex } from "./pod-index.ts";
import { deletePod } from "./pod-verbs.ts";
import type { RandomSource } from "./random-source.ts";

/** Reconciles all workloads, level-based: an event says only where to look. */
export class Controllers {
  readonly #api: SimApi;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #trace: (text: string) => void;
  readonly #index: PodIndex;
  readonly #place: Workplace;
  /** Keys of workloads that will be reconciled soon. */
  readonly #dirty = new Set<string>();
  readonly #keyOfUid = new Map<string, string>();
  /** Uids of the Deployments of ReplicaSets; ReplicaSets without one are not in it. */
  readonly #deploymentOf = new Map<string, string>();
  readonly #replicaSetsOf = new Map<string, Set<string>>();
  /** Workloads that wait until a pod of another owner gives up its name, by key of the pod. */
  readonly #waiters = new Map<string, Set<string>>();
  readonly #scaleNotes = new Map<string, ScaleNote>();
  readonly #jobs = new Map<string, JobStatus>();
  readonly #daemonSets = new Set<string>();

  constructor(parts: {
    readonly api: SimApi;
    readonly clock: Clock;
    readonly random: RandomSource;
    readonly trace: (text: string) => void;
  }) {
    this.#api = parts.api;
    this.#clock = parts.clock;
    this.#random = parts.random.fork();
    this.#trace = parts.trace;
    this.#index = new PodIndex(parts.api);
    this.#place = {
      api: parts.api,
      random: parts.random.fork(),
      trace: parts.trace,
      podsOf: (uid) => this.#index.ofController(uid),
      replicaSetsOf: (uid) => [...(this.#replicaSetsOf.get(uid) ?? [])],
      claimReplicaSet: (uid, deploymentUid) => this.#deploymentOf.set(uid, deploymentUid),
      awaitName: (podKey, workload) => this.#awaitName(podKey, keyOf(workload)),
      again: (workload, delayMs) => {
        this.#clock.after(delayMs, () => this.#mark(keyOf(workload)));
      },
    };
  }

  /** Takes over the objects that are there, and follows what changes. Called once. */
  start(): void {
    const workloads = this.#api.list("workloads");
    for (const workload of workloads) if (workload.kind === "deployment") this.#adopt(workload);
    for (const workload of workloads) if (workload.kind !== "deployment") this.#adopt(workload);
    for (const pod of this.#api.list("pods")) this.#followPod(undefined, pod);
    this.#api.listeners.add((change) => this.#follow(change));
  }

  #follow(change: Change): void {
    if (change.collection === "pods") {
      this.#followPod(change.before, change.value);
      if (change.value === undefined) this.#freeName(change.key);
    }
    if (change.collection === "workloads") this.#followWorkload(change.before, change.value);
    if (
      change.collection === "nodes" &&
      (change.before === undefined || change.value === undefined)
    ) {
      for (const key of this.#daemonSets) this.#mark(key);
    }
  }

  #followWorkload(before: SimWorkload | undefined, value: SimWorkload | undefined): void {
    if (before !== undefined && before.uid !== value?.uid) this.#forget(before);
    if (value !== undefined) this.#adopt(value);
  }

  #adopt(workload: SimWorkload): void {
    const key = keyOf(workload);
    this.#keyOfUid.set(workload.uid, key);
    this.#mark(key);
    if (workload.kind === "daemonset") this.#daemonSets.add(key);
    if (workload.kind !== "replicaset" || workload.deployment === undefined) return;
    const { namespace } = workload.ref;
    const deployment = workloadKey("deployment", namespace, workload.deployment);
    const uid = this.#deploymentOf.get(workload.uid) ?? this.#api.get("workloads", deployment)?.uid;
    if (uid === undefined) return;
    this.#deploymentOf.set(workload.uid, uid);
    const sets = this.#replicaSetsOf.get(uid);
    if (sets === undefined) this.#replicaSetsOf.set(uid, new Set([key]));
    else sets.add(key);
    this.#markUid(uid);
  }

  #forget(workload: SimWorkload): void {
    const key = keyOf(workload);
    this.#keyOfUid.delete(workload.uid);
    this.#jobs.delete(workload.uid);
    this.#scaleNotes.delete(workload.uid);
    this.#daemonSets.delete(key);
    const deploymentUid = this.#deploymentOf.get(workload.uid);
    if (deploymentUid !== undefined) {
      this.#deploymentOf.delete(workload.uid);
      this.#replicaSetsOf.get(deploymentUid)?.delete(key);
      this.#markUid(deploymentUid);
    }
    this.#clock.after(this.#random.integer(100, 3_000), () => this.#collect(workload));
  }

  /** The garbage collector: what a deleted workload owned is deleted too. */
  #collect(workload: SimWorkload): void {
    for (const key of this.#replicaSetsOf.get(workload.uid) ?? []) {
      this.#trace(`garbage collector: ${key}, its ${workloadText(workload)} is gone`);
      this.#api.remove("workloads", key, "garbage-collector");
    }
    this.#replicaSetsOf.delete(workload.uid);
    for (const [key, pod] of this.#index.ofController(workload.uid)) this.#collectPod(key, pod);
  }

  #collectPod(key: string, pod: SimPod): void {
    if (pod.deletedAtMs !== undefined) return;
    this.#trace(`garbage collector: pod ${key}, its ${pod.facts.controller?.kind} is gone`);
    deletePod(this.#api, key, { writer: "garbage-collector" });
  }

  #followPod(before: SimPod | undefined, value: SimPod | undefined): void {
    if (before !== undefined && before.facts.uid !== value?.facts.uid) {
      this.#markOwner(before);
      if (value !== undefined) this.#followPod(undefined, value);
      return;
    }
    if (value === undefined || value.facts.controller === undefined) return;
    const isFinished = podIsFinished(value.facts);
    const wasFinished = before !== undefined && podIsFinished(before.facts);
    const { uid, kind, apiGroup } = value.facts.controller;
    if (before === undefined && !this.#keyOfUid.has(uid)) this.#planCollection(value);
    if (isFinished && !wasFinished && kind === "ReplicaSet" && apiGroup === "apps") {
      this.#planCleaning(value);
    }
    // A controller need not be told of the pods that it creates itself, but of those that are there when it starts.
    if (
      before !== undefined &&
      (isFinished !== wasFinished ||
        before.isReady !== value.isReady ||
        before.deletedAtMs !== value.deletedAtMs)
    ) {
      this.#markOwner(value);
    }
  }

  /** A pod whose owner is gone already. */
  #planCollection({ facts: { id, uid } }: SimPod): void {
    const key = `${id.namespace}/${id.name}`;
    this.#clock.after(this.#random.integer(100, 3_000), () => {
      const pod = this.#api.get("pods", key);
      if (pod === undefined || pod.facts.uid !== uid) return;
      if (!this.#keyOfUid.has(pod.facts.controller?.uid ?? "")) this.#collectPod(key, pod);
    });
  }

  /** The pod GC takes finished pods of ReplicaSets. Kubernetes does so above 12,500 of them; here it comes after a time. */
  #planCleaning({ facts: { id, uid } }: SimPod): void {
    const key = `${id.namespace}/${id.name}`;
    this.#clock.after(this.#random.integer(30_000, 120_000), () => {
      if (this.#api.get("pods", key)?.facts.uid !== uid) return;
      this.#trace(`pod GC: pod ${key} is finished`);
      this.#api.remove("pods", key, "pod-gc");
    });
  }

  #awaitName(podKey: string, workload: string): void {
    const waiters = this.#waiters.get(podKey);
    if (waiters === undefined) this.#waiters.set(podKey, new Set([workload]));
    else waiters.add(workload);
  }

  #freeName(podKey: string): void {
    for (const key of this.#waiters.get(podKey) ?? []) this.#mark(key);
    this.#waiters.delete(podKey);
  }

  #markOwner(pod: SimPod): void {
    const uid = pod.facts.controller?.uid;
    if (uid === undefined) return;
    this.#markUid(uid);
    this.#markUid(this.#deploymentOf.get(uid));
  }

  #markUid(uid: string | undefined): void {
    const key = uid === undefined ? undefined : this.#keyOfUid.get(uid);
    if (key !== undefined) this.#mark(key);
  }

  #mark(key: string): void {
    if (this.#dirty.has(key)) return;
    this.#dirty.add(key);
    this.#clock.after(this.#random.integer(5, 50), () => {
      this.#dirty.delete(key);
      const workload = this.#api.get("workloads", key);
      if (workload !== undefined) this.#reconcile(workload);
    });
  }

  #reconcile(workload: SimWorkload): void {
    const place = this.#place;
    switch (workload.kind) {
      case "deployment":
        reconcileDeployment(place, workload, this.#scaleNotes);
        return;
      case "replicaset":
        reconcileReplicaSet(place, workload);
        return;
      case "statefulset":
        reconcileStatefulSet(place, workload);
        return;
      case "daemonset":
        reconcileDaemonSet(place, workload);
        return;
      case "job":
        reconcileJob(place, workload, this.#jobStatusOf(workload));
        return;
      case "tapp":
      case "plain":
        reconcileOrdinalsInParallel(place, workload);
        return;
      default:
        workload.kind satisfies never;
    }
  }

  #jobStatusOf({ uid }: SimWorkload): JobStatus {
    const status = this.#jobs.get(uid) ?? {
      succeeded: new Set<string>(),
      failed: new Set<string>(),
      notBeforeMs: 0,
    };
    this.#jobs.set(uid, status);
    return status;
  }
}

function keyOf({ kind, ref }: SimWorkload): string {
  return workloadKey(kind, ref.namespace, ref.name);
}
