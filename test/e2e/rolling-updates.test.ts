// Rolling updates of Deployments with a fixed set of addresses, with 1, 2, 3 and 10 replicas, on a real control plane: the deadlock is said, and
// addresses for rolling updates (surge-ips) end it. What the webhook says and mends is in webhook.test.ts.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ApiClient, floatIpsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { type Deployment, deployments, events } from "../control-plane/kinds.ts";
import { aDeployment, SURGE_ANNOTATION } from "../control-plane/manifests.ts";
import {
  addressOf,
  isReservation,
  waitForEvent,
  waitForRecords,
} from "../control-plane/records.ts";

const skip = await reasonToSkip();
const counts = [1, 2, 3, 10];
const FIX_ANNOTATION = "galaxy.k8s.io/fix-rollout";

describe("rolling updates within a fixed set of addresses on a real control plane", {
  skip,
}, () => {
  let cluster: Cluster;
  let api: ApiClient;

  before(async () => {
    cluster = await startCluster();
    api = cluster.api;
  });

  after(async () => {
    await cluster?.stop();
  });

  const at = (name: string) => ({ name, namespace: "default" });
  const rolledOut = (name: string) =>
    api.waitForOne(`the rollout of ${name}`, deployments, at(name), isRolledOut);
  /** The addresses of a Deployment's records when there are so many, in use or kept. */
  const recordsOf = async (name: string, count: number): Promise<readonly string[]> => {
    const records = await waitForRecords(
      api,
      `${count} records of ${name}`,
      `dp_default_${name}_`,
      (seen) => seen.length === count,
    );
    return records.map(addressOf).toSorted();
  };

  test("with surge-ips they roll without an interruption, inside one set of addresses", async () => {
    await Promise.all(
      counts.map(async (replicas) => {
        const name = `surging-${replicas}`;
        await api.create(aDeployment({ name, replicas, policy: "immutable", surgeIps: 1 }));
        await cluster.readyPods(name, replicas);
        await rolledOut(name);
        const mostUnavailable = Math.floor(replicas / 4);
        let fewest = replicas;
        const scope = {
          kind: deployments,
          namespace: "default",
          fieldSelector: `metadata.name=${name}`,
        };
        const follower = api.follow(scope, {
          changed: ({ status }: Deployment) => {
            fewest = Math.min(fewest, status.availableReplicas ?? 0);
          },
        });
        await api.restartWorkload(deployments, at(name));
        await rolledOut(name);
        const set = await recordsOf(name, replicas + 1);
        await api.restartWorkload(deployments, at(name));
        await rolledOut(name);
        assert.deepEqual(await recordsOf(name, replicas + 1), set);
        follower.stop();
        assert.ok(fewest >= replicas - mostUnavailable, `${name} had ${fewest} available pods`);
        const living = await cluster.readyPods(name, replicas);
        for (const pod of living) assert.ok(set.includes(floatIpsOf(pod)[0] ?? ""));
      }),
    );
    await waitForCleanAudit(api);
  });

  test("without the annotation the addresses that were kept for it are given back", async () => {
    const name = "surging-2";
    const annotations = { [SURGE_ANNOTATION]: "0" };
    await api.patch(deployments, at(name), {
      spec: {
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
        template: { metadata: { annotations } },
      },
    });
    await rolledOut(name);
    await recordsOf(name, 2);
    await Promise.all(
      counts.map(async (replicas) => {
        await api.scale(deployments, at(`surging-${replicas}`), 0);
        await recordsOf(`surging-${replicas}`, 0);
      }),
    );
  });

  test("without them the deadlock is said on Deployment and pod, and the annotation ends it", async () => {
    await Promise.all(
      counts.map(async (replicas) => {
        const name = `stuck-${replicas}`;
        const wish = aDeployment({ name, replicas, policy: "immutable" });
        // One asks a webhook for help that is not there.
        const isAsking = replicas === 3;
        const annotations = isAsking ? { [FIX_ANNOTATION]: "true" } : {};
        await api.create({ ...wish, metadata: { ...wish.metadata, annotations } });
        await cluster.readyPods(name, replicas);
        await api.restartWorkload(deployments, at(name));
        if (replicas >= 4) {
          // A quarter of the pods may go first, which leaves their addresses to new ones.
          await rolledOut(name);
          return;
        }
        const said = isAsking
          ? /waits for ever.*surge-ips: "1"; .*asks galaxy-webhook .* apply the Deployment again$/
          : /waits for ever.*surge-ips: "1"$/;
        await waitForEvent(api, { kind: "Deployment", name }, said);
        await api.waitFor(
          `the deadlock on the new pod of ${name}`,
          { kind: events, namespace: "default" },
          (seen) =>
            seen.some(
              ({ involvedObject, message }) =>
                involvedObject.kind === "Pod" &&
                involvedObject.name.startsWith(name) &&
                said.test(message),
            ),
        );
        await api.patch(deployments, at(name), {
          spec: { template: { metadata: { annotations: { [SURGE_ANNOTATION]: "1" } } } },
        });
        await rolledOut(name);
        await recordsOf(name, replicas + 1);
      }),
    );
    await waitForCleanAudit(api);
  });

  test("a kept address is a reservation of the Deployment, and goes with it", async () => {
    const name = "stuck-1";
    const records = await waitForRecords(
      api,
      `the records of ${name}`,
      `dp_default_${name}_`,
      (seen) => seen.length === 2,
    );
    assert.equal(records.filter(isReservation).length, 1);
    await api.delete(deployments, at(name));
    await recordsOf(name, 0);
    await waitForCleanAudit(api);
  });
});

function isRolledOut({ metadata, spec, status }: Deployment): boolean {
  return (
    status.observedGeneration === metadata.generation &&
    status.updatedReplicas === spec.replicas &&
    status.replicas === spec.replicas &&
    status.availableReplicas === spec.replicas
  );
}
