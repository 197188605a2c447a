// How long it takes until the addresses of many pods that are deleted at once are released or reserved, by events alone: the resync
// is an hour away, so that what is left over stays left over.

import type { ApiClient } from "../test/control-plane/api.ts";
import { inParallel } from "../test/control-plane/api.ts";
import { startControlPlane } from "../test/control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../test/control-plane/galaxy-ipam.ts";
import {
  type FloatingIp,
  floatingIps,
  type Pod,
  pods,
  statefulSets,
} from "../test/control-plane/kinds.ts";
import { aStatefulSet, ownedBy } from "../test/control-plane/manifests.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import { createPods, namesOf, prepareCluster } from "./measure/plane.ts";
import { nodeOf } from "./measure/population.ts";
import { median } from "./measure/statistics.ts";

const nodeCount = 100;
const timeLimitMs = 60_000;

/**
 * Half of the pods are bare, half are of a StatefulSet whose addresses outlive them; nobody makes its pods anew.
 * @returns the names of the pods
 */
async function createBoundPods(
  api: ApiClient,
  ipam: GalaxyIpam,
  setName: string,
  count: number,
): Promise<readonly string[]> {
  const half = count / 2;
  const set = await api.create(
    aStatefulSet({
      name: setName,
      replicas: half,
      policy: "immutable",
      spec: { podManagementPolicy: "Parallel" },
    }),
  );
  const created: readonly Pod[] = [
    ...(await createPods(api, namesOf(`${setName}-bare`, half), () => ({
      schedulerName: "nobody",
    }))),
    ...(await createPods(api, namesOf(setName, half), () => ({
      schedulerName: "nobody",
      policy: "immutable",
      ownerReferences: [ownedBy(set)],
    }))),
  ];
  const client = new ExtenderClient(ipam.port, 50);
  await inParallel(created.entries(), 50, async ([index, { metadata }]) => {
    const answer = await client.post(
      "/v1/bind",
      JSON.stringify({
        PodName: metadata.name,
        PodNamespace: "default",
        PodUID: metadata.uid,
        Node: nodeOf(index % nodeCount).name,
      }),
    );
    const { Error: error } = JSON.parse(answer.body.toString()) as { readonly Error?: string };
    if ((error ?? "") !== "") throw new Error(error);
  });
  client.close();
  return created.map(({ metadata }) => metadata.name);
}

function isBound({ spec }: FloatingIp): boolean {
  const { Uid } = JSON.parse(spec.attribute ?? "{}") as { readonly Uid?: string };
  return (Uid ?? "") !== "";
}

type Outcome = {
  readonly deletedSeconds: number;
  readonly settledSeconds: number;
  /** Records that no event took care of in time. */
  readonly left: number;
};

/** Deletes the pods at once and watches the records. */
async function deleteAndWatch(api: ApiClient, podNames: readonly string[]): Promise<Outcome> {
  const count = podNames.length;
  let records: ReadonlyMap<string, FloatingIp> = new Map();
  const settled = Promise.withResolvers<number>();
  const unsettled = new Set<string>();
  const note = (record: FloatingIp, isGone: boolean) => {
    if (!isGone && isBound(record)) unsettled.add(record.metadata.name);
    else unsettled.delete(record.metadata.name);
    if (unsettled.size === 0 && records.size > 0) settled.resolve(performance.now());
  };
  const follower = api.follow(
    { kind: floatingIps },
    { changed: (record) => note(record, false), gone: (record) => note(record, true) },
  );
  await follower.synced;
  records = follower.items;
  if (unsettled.size !== count) {
    throw new Error(`${unsettled.size} of ${count} records are bound before the pods are deleted`);
  }
  const startedMs = performance.now();
  // One call for all of them would be carried out one pod after the other (--delete-collection-workers is 1 by default).
  await inParallel(podNames, 100, (name) =>
    api.delete(pods, { name, namespace: "default" }, { gracePeriodSeconds: 0 }),
  );
  const deletedSeconds = (performance.now() - startedMs) / 1000;
  const tooLate = setTimeout(() => settled.resolve(Number.NaN), timeLimitMs);
  const settledMs = await settled.promise;
  clearTimeout(tooLate);
  follower.stop();
  return { deletedSeconds, settledSeconds: (settledMs - startedMs) / 1000, left: unsettled.size };
}

async function measure(mode: Mode): Promise<Findings> {
  const count = mode === "quick" ? 200 : 1_000;
  const rounds = mode === "quick" ? 1 : 5;
  const outcomes: Outcome[] = [];
  const reserved: number[] = [];
  const plane = await startControlPlane({ hasControllers: false });
  const { api } = plane;
  let ipam: GalaxyIpam | undefined;
  try {
    await prepareCluster(api, nodeCount);
    ipam = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: ["--leader-elect=false", "--resync-interval=1h"],
    });
    await ipam.whenReady();
    for (let round = 0; round < rounds; round += 1) {
      const setName = `set-${round}`;
      const names = await createBoundPods(api, ipam, setName, count);
      outcomes.push(await deleteAndWatch(api, names));
      const kept = await api.list({ kind: floatingIps });
      reserved.push(kept.filter((record) => !isBound(record)).length);
      // Scaled to nothing and deleted, the set gives its addresses back: the next round starts from none.
      await api.delete(statefulSets, { name: setName, namespace: "default" });
      await api.waitFor("no records", { kind: floatingIps }, (left) => left.length === 0, {
        timeoutMs: 60_000,
      });
    }
  } finally {
    await ipam?.stop();
    await plane.stop();
  }
  const wrong = reserved.filter((found) => found !== count / 2).length;
  return {
    parameters: { pods: count, "of them with reserved addresses": count / 2, rounds },
    versions: { Kubernetes: plane.version.text },
    figures: [
      {
        what: "all released or reserved, from the first call that deletes a pod",
        value: median(outcomes.map(({ settledSeconds }) => settledSeconds)),
        unit: "s",
        target: { relation: "at most", value: 10 },
      },
      {
        what: "of it the API server's own deletion of the pods",
        value: median(outcomes.map(({ deletedSeconds }) => deletedSeconds)),
        unit: "s",
      },
      {
        what: "records left for resync, sum of the rounds",
        value: outcomes.reduce((sum, { left }) => sum + left, 0),
        unit: "records",
        target: { relation: "at most", value: 0 },
      },
      {
        what: "rounds in which other than the StatefulSet's addresses were reserved",
        value: wrong,
        unit: "rounds",
        target: { relation: "at most", value: 0 },
      },
    ],
  };
}

await benchmark({ name: "reclaim", title: "pods deleted at once" }, measure);
