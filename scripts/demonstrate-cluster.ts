// `npm run demo:cluster`: a demonstration of the main job on a real control plane of its own: API server, scheduler and controllers on loopback,
// simulated nodes, and the extender on its established ports. `npm start` needs none of these.

import { floatIpsOf } from "../test/control-plane/api.ts";
import { reasonToSkip } from "../test/control-plane/binaries.ts";
import type { Cluster } from "../test/control-plane/cluster-with-galaxy.ts";
import { fourNodes, startCluster, twoSubnets } from "../test/control-plane/cluster-with-galaxy.ts";
import { floatingIps, pods } from "../test/control-plane/kinds.ts";
import { aDeployment, aStatefulSet } from "../test/control-plane/manifests.ts";

const ports = { port: 9040, apiPort: 9041 };

await demonstrate();

async function demonstrate(): Promise<void> {
  const reason = await reasonToSkip();
  if (reason !== false) {
    process.stderr.write(
      `demo:cluster: the demonstration needs a Kubernetes control plane, and none can be had: ${reason}\n` +
        "Without one: npm start. With a cluster of your own: npm start -- --kubeconfig FILE\n",
    );
    process.exitCode = 1;
    return;
  }
  say(
    "Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and galaxy-ipam on loopback …",
  );
  const cluster = await startCluster(ports);
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", resolve).once("SIGTERM", resolve);
  });
  await tell(cluster);
  await stopped;
  say("Stopping …");
  await cluster.stop();
}

/** The story: two workloads get addresses, and what to try next. */
async function tell(cluster: Cluster): Promise<void> {
  const { api, plane } = cluster;
  await api.create(aDeployment({ name: "web", replicas: 3, policy: "never" }));
  await api.create(aStatefulSet({ name: "db", replicas: 2, policy: "immutable" }));
  await cluster.readyPods("web", 3);
  await cluster.readyPods("db", 2);
  say(
    `Pod subnets ${twoSubnets.map(({ subnet }) => subnet).join(" and ")}, nodes ${fourNodes.map(({ name }) => name).join(", ")}.`,
  );
  say(
    "Deployment web (policy never) and StatefulSet db (policy immutable) have their addresses:\n",
  );
  for (const pod of await api.list({ kind: pods, namespace: "default" })) {
    const name = pod.metadata.name?.padEnd(24) ?? "";
    say(`  ${name} node ${pod.spec.nodeName ?? "-"}   ${floatIpsOf(pod).join(", ")}`);
  }
  const records = await api.list({ kind: floatingIps });
  say(`\n${records.length} FloatingIP records stand for them. In another terminal:\n`);
  const kubectl = `kubectl --kubeconfig ${plane.kubeconfigOf("admin")}`;
  for (const line of [
    `${kubectl} get fip                              # every address with its owner`,
    `${kubectl} delete pod db-0                      # comes back with the same address`,
    `${kubectl} scale deployment web --replicas 1    # never: its addresses stay reserved`,
    `${kubectl} describe deployment web              # events say why a rollout waits`,
    "curl http://127.0.0.1:9041/metrics              # what to alert on",
    "curl http://127.0.0.1:9041/readyz",
  ]) {
    say(`  ${line}`);
  }
  say("\nCtrl-C ends everything and leaves nothing behind.");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
