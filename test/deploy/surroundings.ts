// What an installation has around its programs, looked at on the API server that it was applied to: disruption budget, priority classes and
// network policy. That the budget holds is tried; a network policy is only read, as nothing here enforces one.

import assert from "node:assert/strict";
import { ApiError, isReady, waitUntil } from "../control-plane/api.ts";
import type { ControlPlane } from "../control-plane/control-plane.ts";
import { type Kind, type KubeObject, type Pod, pods } from "../control-plane/kinds.ts";
import type { SimulatedNodes } from "../control-plane/simulated-nodes.ts";

const namespace = "kube-system";

type Policy = KubeObject & { readonly spec: { readonly ingress: unknown } };
const networkPolicies: Kind<Policy> = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  plural: "networkpolicies",
  namespaced: true,
};
type Budget = KubeObject & { readonly status?: { readonly disruptionsAllowed?: number } };

/** Priorities that Kubernetes gives its two classes. */
const critical = { "galaxy-ipam": 2_000_000_000, galaxy: 2_000_001_000 };

/**
 * Fails where something is not as the overlay says.
 * @param schedulerNetwork the one whose machines may call the extender
 */
export async function verifySurroundings(
  { api, version }: ControlPlane,
  nodes: SimulatedNodes,
  schedulerNetwork: string,
): Promise<void> {
  for (const [app, priority] of Object.entries(critical)) {
    const found = await api.list({ kind: pods, namespace, labelSelector: `app=${app}` });
    assert.ok(found.length > 0, app);
    for (const { metadata, spec } of found) {
      assert.equal((spec as { readonly priority?: number }).priority, priority, metadata.name);
    }
  }

  const policy = await api.get(networkPolicies, { name: "galaxy-ipam", namespace });
  const tcp = { protocol: "TCP" };
  assert.deepEqual(policy?.spec.ingress, [
    { ports: [{ ...tcp, port: 9040 }], from: [{ ipBlock: { cidr: schedulerNetwork } }] },
    { ports: [{ ...tcp, port: 9041 }] },
  ]);

  // Of two replicas that are asked to go at once, as by two nodes that are drained, one stays.
  const group = `policy/${version.minor < 21 ? "v1beta1" : "v1"}`;
  const budgets: Kind<Budget> = {
    apiVersion: group,
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    namespaced: true,
  };
  await api.waitForOne(
    "the budget to know both replicas",
    budgets,
    { name: "galaxy-ipam", namespace },
    ({ status }) => status?.disruptionsAllowed === 1,
  );
  const replicas = await api.list({ kind: pods, namespace, labelSelector: "app=galaxy-ipam" });
  const evict = (pod: Pod) =>
    api
      .call("POST", `/api/v1/namespaces/${namespace}/pods/${pod.metadata.name}/eviction`, {
        // The newer form came with 1.22.
        apiVersion: version.minor < 22 ? "policy/v1beta1" : "policy/v1",
        kind: "Eviction",
        metadata: { name: pod.metadata.name, namespace },
      })
      .then(
        () => "evicted",
        (error: unknown) =>
          error instanceof ApiError && error.status === 429 ? "kept" : String(error),
      );
  // Of two at once the API server tries one again after half a second; a new replica that is ready by then would be a reason to let it go.
  const outcomes = await nodes.startingNothingWhile(() => Promise.all(replicas.map(evict)));
  assert.deepEqual(outcomes.toSorted(), ["evicted", "kept"]);
  const known = new Set(replicas.map(({ metadata }) => metadata.uid));
  await api.waitFor(
    "a replica in the place of the one that went",
    { kind: pods, namespace, labelSelector: "app=galaxy-ipam" },
    (seen) =>
      seen.length === 2 &&
      seen.every(isReady) &&
      seen.some(({ metadata }) => !known.has(metadata.uid)),
  );
  await waitUntil(
    "the Service to lead to one of them",
    () =>
      api.list({
        kind: pods,
        namespace,
        labelSelector: "app=galaxy-ipam,galaxy.k8s.io/leader=true",
      }),
    ({ length }) => length === 1,
  );
}
