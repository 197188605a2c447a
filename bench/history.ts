// What the history costs in a cluster: the time and size of an addition, what all of it takes in etcd, in memory and to read, on a real API
// server. How much of it there is does not depend on the addresses in use.

import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../src/adapters/kubernetes/api-client.ts";
import { openApiAccess } from "../src/adapters/kubernetes/credentials.ts";
import { KubernetesHistoryStore } from "../src/adapters/kubernetes/history-store.ts";
import { FixedLeadership } from "../src/adapters/memory/leadership.ts";
import { SystemClock } from "../src/adapters/system/clock.ts";
import { ipFromNumber } from "../src/core/ip.ts";
import { builtInWorkload } from "../src/core/owner.ts";
import type { Holder, HolderChange } from "../src/core/tenure.ts";
import { startControlPlane } from "../test/control-plane/control-plane.ts";
import { customKind } from "../test/control-plane/kinds.ts";
import { benchmark, type Findings, type Mode } from "./measure/benchmark.ts";
import { quietLog } from "./measure/memory-control-plane.ts";
import { median, percentile } from "./measure/statistics.ts";

/** Changes in one addition: those of two seconds while 100 pods a second are scheduled. */
const batch = 200;

const histories = customKind(
  "galaxy.k8s.io/v1alpha1",
  "FloatingIPHistory",
  "floatingiphistories",
  "Cluster",
);

/** Pods of many Deployments that come and go: every change names another pod. */
function aChange(index: number, atMs: number): HolderChange {
  const workload = builtInWorkload("deployment", {
    namespace: `team-${index % 50}`,
    name: `service-${index % 700}`,
  });
  const random = (index * 2_654_435_761) % 2 ** 32;
  const uid = `${random.toString(16).padStart(8, "0")}-9c1b-4f0e-8a55-${String(index).padStart(12, "0")}`;
  const holder: Holder = {
    owner: {
      kind: "pod",
      pod: {
        namespace: workload.namespace,
        name: `${workload.name}-7d9f8b6c5d-${random.toString(36)}`,
      },
      workload,
      pool: undefined,
    },
    podUid: uid,
    nodeName: `node-${index % 5_000}`,
  };
  const isEnd = index % 2 === 1;
  return {
    ip: ipFromNumber(0x0a400000 + (random % 1_000_000)),
    atMs,
    isAbout: false,
    before: isEnd ? { holder, fromMs: atMs - 3_600_000, fromIsAbout: false } : undefined,
    after: isEnd ? undefined : holder,
  };
}

async function measure(mode: Mode): Promise<Findings> {
  const count = mode === "quick" ? 4_000 : 100_000;
  await using plane = await startControlPlane({ hasControllers: false });
  const access = await openApiAccess({ kubeconfig: plane.kubeconfigOf("admin"), master: "" });
  const client = new ApiClient({ access, requestsPerSecond: 0 });
  const storeOf = (identity: string) =>
    new KubernetesHistoryStore({
      client,
      log: quietLog,
      clock: new SystemClock(),
      leadership: new FixedLeadership(),
      identity,
      bounds: { mostChanges: count, longestMs: 1_000 * 3_600_000 },
    });
  const store = storeOf("writer");
  await store.lastHolders();
  const appendMs: number[] = [];
  const cpuBefore = process.cpuUsage();
  for (let index = 0; index < count; index += batch) {
    const changes = Array.from({ length: batch }, (_, place) => aChange(index + place, Date.now()));
    const startedMs = performance.now();
    await store.append(changes);
    appendMs.push(performance.now() - startedMs);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  const cpuMs = (user + system) / 1_000 / appendMs.length;
  const chunks = await plane.api.list({ kind: histories });
  const sizes = chunks.map((chunk) => JSON.stringify(chunk).length);
  const settle = async () => {
    for (let round = 0; round < 3; round += 1) {
      globalThis.gc?.();
      await pause(50);
    }
    return process.memoryUsage().heapUsed;
  };
  const before = await settle();
  const reader = storeOf("reader");
  const readStartedMs = performance.now();
  await reader.lastHolders();
  const readMs = performance.now() - readStartedMs;
  const heapBytes = (await settle()) - before;
  const askMs: number[] = [];
  for (let index = 0; index < 50; index += 1) {
    const startedMs = performance.now();
    await reader.ended({ podName: `nobody-${index}` }, { offset: 0, limit: 100 });
    askMs.push(performance.now() - startedMs);
  }
  client.close();
  return {
    parameters: { changes: count, "changes an addition": batch },
    figures: [
      { what: "an addition, p50", value: median(appendMs), unit: "ms" },
      { what: "an addition, p99", value: percentile(appendMs, 99), unit: "ms" },
      { what: "CPU of the program for an addition", value: cpuMs, unit: "ms" },
      {
        what: "bytes of the object that an addition writes, at most",
        value: Math.max(...sizes),
        unit: "bytes",
      },
      { what: "objects", value: chunks.length, unit: "" },
      {
        what: "bytes of all objects",
        value: sizes.reduce((sum, size) => sum + size, 0),
        unit: "bytes",
      },
      { what: "memory of the program for all changes", value: heapBytes, unit: "bytes" },
      { what: "reading all of it, as a new leader does", value: readMs, unit: "ms" },
      { what: "a question that looks at all of it", value: median(askMs), unit: "ms" },
    ],
    versions: { Kubernetes: plane.version.text },
  };
}

await benchmark({ name: "history", title: "history in a cluster" }, measure);
