// How long galaxy-ipam takes from the start of its process to its first answer to filter, over records, pods and workloads on a real
// API server.

import { readFileSync } from "node:fs";
import { formatCniArgs } from "../src/wire/cni-args.ts";
import { formatFloatingIp } from "../src/wire/crd.ts";
import type { ApiClient } from "../test/control-plane/api.ts";
import { type ControlPlane, startControlPlane } from "../test/control-plane/control-plane.ts";
import { startGalaxyIpam } from "../test/control-plane/galaxy-ipam.ts";
import type { KubeObject, Manifest, OwnerReference } from "../test/control-plane/kinds.ts";
import {
  aDeployment,
  aNamespace,
  aPod,
  aStatefulSet,
  ownedBy,
} from "../test/control-plane/manifests.ts";
import { benchmark, type Figure, type Findings, type Mode } from "./measure/benchmark.ts";
import { ExtenderClient } from "./measure/extender-client.ts";
import { prepareCluster, writeAll } from "./measure/plane.ts";
import { type Member, nodeOf, type PopulationWorkload, population } from "./measure/population.ts";
import { podObject } from "./measure/scheduler-body.ts";
import { median } from "./measure/statistics.ts";

const nodeCount = 500;
const flags = ["--leader-elect=true", "--resync-interval=1h"];

/** Creates a workload, and for a Deployment its ReplicaSet; pods refer to what is returned. */
async function createWorkload(
  api: ApiClient,
  { ref, policy, replicas, replicaSet }: PopulationWorkload,
): Promise<OwnerReference> {
  const { namespace, name } = ref;
  const wish = { name, namespace, replicas, policy };
  if (ref.type !== "deployment") return ownedBy(await api.create(aStatefulSet(wish)));
  const deployment = aDeployment(wish);
  const manifest: Manifest = {
    ...deployment,
    kind: "ReplicaSet",
    metadata: {
      ...deployment.metadata,
      name: replicaSet,
      ownerReferences: [ownedBy(await api.create(deployment))],
    },
  };
  return ownedBy(await api.create<KubeObject>(manifest));
}

/** Creates the running pod of a member, if there is one, and its record. */
async function createMember(
  api: ApiClient,
  { allocation, podName, workload }: Member,
  owner: OwnerReference,
): Promise<void> {
  let podUid = "";
  if (allocation.podUid !== "") {
    const { ip, nodeName } = allocation;
    const ipInfos = [{ ip: `${ip}/16`, vlan: 100, gateway: "10.64.0.1" }];
    const pod = await api.create(
      aPod({
        name: podName,
        namespace: workload.ref.namespace,
        nodeName,
        ownerReferences: [owner],
        policy: workload.policy,
        annotations: { "k8s.v1.cni.galaxy.io/args": formatCniArgs("", ipInfos) },
      }),
    );
    podUid = pod.metadata.uid;
  }
  const record = formatFloatingIp({ ...allocation, podUid });
  await api.call("POST", "/apis/galaxy.k8s.io/v1alpha1/floatingips", record);
}

async function fill(api: ApiClient, count: number): Promise<void> {
  const members = [...population(count, nodeCount)];
  const workloads = new Map(members.map(({ workload }) => [workload.ref.name, workload]));
  const namespaces = new Set([...workloads.values()].map(({ ref }) => ref.namespace));
  await writeAll(namespaces, (name) => api.create(aNamespace(name)));
  const owners = new Map<string, OwnerReference>();
  await writeAll(workloads.values(), async (workload) => {
    owners.set(workload.ref.name, await createWorkload(api, workload));
  });
  await writeAll(members, (member) =>
    createMember(api, member, owners.get(member.workload.ref.name) as OwnerReference),
  );
}

type Start = { readonly seconds: number; readonly residentMiB: number };

/** Starts the program, asks filter until it answers, and stops the program in good order, so that it gives its lease back. */
async function startOnce(plane: ControlPlane): Promise<Start> {
  const owner = { apiVersion: "v1", kind: "Pod" };
  const pod = {
    ...owner,
    metadata: { name: "asked", namespace: "default", uid: "uid-asked" },
    spec: (podObject(anyWorkload, "asked", "uid-asked") as { readonly spec: unknown }).spec,
  };
  const nodeNames = Array.from({ length: nodeCount }, (_, index) => nodeOf(index).name);
  const body = JSON.stringify({ Pod: pod, NodeNames: nodeNames });
  const startedMs = performance.now();
  const ipam = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), flags });
  const client = new ExtenderClient(ipam.port);
  try {
    for (;;) {
      const { status, body: answer } = await client.post("/v1/filter", body);
      const seconds = (performance.now() - startedMs) / 1000;
      if (status === 200) {
        const { NodeNames: passed, Error: error } = JSON.parse(answer.toString()) as {
          readonly NodeNames: readonly string[] | null;
          readonly Error?: string;
        };
        if ((passed?.length ?? 0) === 0) throw new Error(`filter passes no node: ${error}`);
        return { seconds, residentMiB: residentMiB(ipam.pid) };
      }
      if (seconds > 300) throw new Error(`no answer after ${seconds} s: ${answer.toString()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    client.close();
    await ipam.stop();
  }
}

const anyWorkload: PopulationWorkload = {
  ref: {
    type: "deployment",
    kind: "deployment",
    apiGroup: "apps",
    namespace: "default",
    name: "a",
  },
  policy: "pod-delete",
  replicas: 1,
  replicaSet: "a-7d9f8b6c5d",
};

/** Resident memory of a process (Linux). */
function residentMiB(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}

async function measure(mode: Mode): Promise<Findings> {
  const count = mode === "quick" ? 1_000 : mode === "long" ? 100_000 : 10_000;
  const rounds = mode === "full" ? 5 : 2;
  const figures: Figure[] = [];
  const plane = await startControlPlane({ hasControllers: false });
  try {
    await prepareCluster(plane.api, nodeCount);
    const empty: Start[] = [];
    // The first start installs the CustomResourceDefinitions and is not counted.
    await startOnce(plane);
    for (let round = 0; round < rounds; round += 1) empty.push(await startOnce(plane));
    await fill(plane.api, count);
    const full: Start[] = [];
    for (let round = 0; round < rounds; round += 1) full.push(await startOnce(plane));
    const seconds = (starts: readonly Start[]) => median(starts.map((start) => start.seconds));
    const memory = (starts: readonly Start[]) => median(starts.map((start) => start.residentMiB));
    const what = `${count.toLocaleString("en")} records and their pods`;
    const limit = count > 10_000 ? 25 : 3;
    figures.push(
      { what: "first answer without records", value: seconds(empty), unit: "s" },
      {
        what: `first answer with ${what}`,
        value: seconds(full),
        unit: "s",
        target: { relation: "at most", value: limit },
      },
      { what: "resident memory then, without records", value: memory(empty), unit: "MiB" },
      { what: `resident memory then, with ${what}`, value: memory(full), unit: "MiB" },
    );
  } finally {
    await plane.stop();
  }
  return {
    parameters: { nodes: nodeCount, records: count, rounds },
    versions: { Kubernetes: plane.version.text },
    figures,
  };
}

await benchmark({ name: "start", title: "start with records" }, measure);
