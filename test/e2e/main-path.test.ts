// The main job on a real control plane: from a Deployment to addresses and back. Further scenarios are in the files beside it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { floatIpsOf } from "../control-plane/api.ts";
import { waitForCleanAudit } from "../control-plane/audit.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type Cluster, startCluster } from "../control-plane/cluster-with-galaxy.ts";
import { deployments, floatingIps } from "../control-plane/kinds.ts";
import { aDeployment } from "../control-plane/manifests.ts";

const skip = await reasonToSkip();

describe("the main job on a real control plane", { skip }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
  });

  after(async () => {
    await cluster?.stop();
  });

  test("pods of a Deployment get addresses of their node's subnet and give them back", async () => {
    const { api } = cluster;
    await api.create(aDeployment({ name: "web", replicas: 4 }));
    const pods = await cluster.readyPods("web", 4);
    for (const pod of pods) {
      const [ip] = floatIpsOf(pod);
      const prefix = pod.spec.nodeName === "b1" ? "10.173.80." : "10.49.70.";
      assert.ok(ip?.startsWith(prefix), `${ip} on ${pod.spec.nodeName}`);
      assert.equal(pod.status.podIP, ip);
    }
    await waitForCleanAudit(api);
    await api.delete(deployments, { name: "web", namespace: "default" });
    await api.waitFor("no records", { kind: floatingIps }, (records) => records.length === 0);
  });
});
