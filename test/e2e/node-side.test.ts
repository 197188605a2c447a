// The whole way: a Deployment on a real control plane, galaxy-ipam beside the scheduler, the daemon of each node in front of a network
// namespace, and packets from outside that reach the pod at its float IP, also after its node died and it floated.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { floatIpsOf, podsOf, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { startCluster } from "../control-plane/cluster-with-galaxy.ts";
import type { Pod } from "../control-plane/kinds.ts";
import { pods } from "../control-plane/kinds.ts";
import { aDeployment } from "../control-plane/manifests.ts";
import type { LabNamespace } from "../node/network-lab.ts";
import { NetworkLab, reasonToSkipLab } from "../node/network-lab.ts";
import type { Daemon } from "../node/programs.ts";
import { callSdn, podEnvironment, startDaemon } from "../node/programs.ts";

const skip = (await reasonToSkip()) || (await reasonToSkipLab());

const config = {
  // Without a name, as the Go daemon's configurations are: the name is the type's, which pods name in their annotation.
  NetworkConf: [{ type: "galaxy-k8s-vlan", device: "eth0", switch: "pure" }],
  ENIIPNetwork: "galaxy-k8s-vlan",
};

describe("from a Deployment to packets", { skip }, () => {
  test("a pod answers from outside at its float IP, and from another node after its own died", async () => {
    await using lab = await NetworkLab.open();
    const { outside, nodes } = await lab.outsideWithNodes(2);
    const cluster = await startCluster({
      // A machine that is only slow to send its heartbeat must not lose its pods.
      plane: { nodeMonitorGraceMs: 12_000, tolerationSeconds: 1 },
      simulation: { heartbeatMs: 1_000 },
      nodes: [
        { name: "node1", internalIp: "10.70.0.11" },
        { name: "node2", internalIp: "10.70.0.12" },
      ],
      floatingips: [
        {
          nodeSubnets: ["10.70.0.0/24"],
          ips: ["10.70.0.100~10.70.0.120"],
          subnet: "10.70.0.0/24",
          gateway: "10.70.0.1",
          vlan: 0,
        },
      ],
    });
    const daemons = new Map<string, Daemon>();
    try {
      for (const [index, node] of nodes.entries()) {
        const nodeName = `node${index + 1}`;
        const access = `--kubeconfig=${cluster.plane.kubeconfigOf("admin")}`;
        daemons.set(nodeName, await startDaemon({ lab, node, nodeName, config, access }));
      }
      let podCount = 0;
      /** What a container runtime does with a pod that was bound to its node. */
      const run = async (pod: Pod) => {
        podCount += 1;
        const namespace = await lab.namespace(`pod${podCount}`);
        const who = {
          name: pod.metadata.name,
          uid: pod.metadata.uid ?? "",
          netns: namespace.path,
        };
        const socket = daemons.get(pod.spec.nodeName ?? "")?.socket ?? "";
        const call = (command: string) =>
          callSdn(socket, podEnvironment(command, who), { cniVersion: "1.0.0" });
        const end = await call("ADD");
        assert.equal(end.code, 0, JSON.stringify(end.json));
        const ips = end.json["ips"] as { address: string }[];
        const [ip] = floatIpsOf(pod);
        assert.equal(ips[0]?.address, `${ip}/24`);
        return { call, namespace };
      };
      const { api } = cluster;
      await api.create(aDeployment({ name: "web", replicas: 1, policy: "immutable" }));
      const [pod] = await cluster.readyPods("web", 1);
      assert.ok(pod !== undefined);
      const [ip = ""] = floatIpsOf(pod);
      await run(pod);
      assert.ok(await outside.pings(ip), `${ip} from outside`);
      const status = await api.waitForOne(
        "the network status",
        pods,
        { name: pod.metadata.name, namespace: "default" },
        (seen) =>
          (seen.metadata.annotations ?? {})["k8s.v1.cni.cncf.io/network-status"] !== undefined,
      );
      assert.match(
        (status.metadata.annotations ?? {})["k8s.v1.cni.cncf.io/network-status"] ?? "",
        new RegExp(ip),
      );

      const dead = pod.spec.nodeName ?? "";
      const deadNode = nodes[Number(dead.slice(-1)) - 1] as LabNamespace;
      await deadNode.ip("link set dev eth0 down");
      await cluster.nodes.stopNode(dead, { lastWord: "not-ready" });
      const old = { name: pod.metadata.name, namespace: "default" };
      await api.waitForOne(
        "the pod to be evicted",
        pods,
        old,
        (seen) => seen.metadata.deletionTimestamp !== undefined,
      );
      await api.delete(pods, old, { gracePeriodSeconds: 0, uid: pod.metadata.uid ?? "" });
      const moved = await cluster.nodes.nudgingWhile(
        api.waitFor(
          "the pod to run elsewhere",
          podsOf("default", "web"),
          (seen) =>
            seen.length === 1 &&
            seen[0]?.metadata.uid !== pod.metadata.uid &&
            seen[0]?.status.phase === "Running",
        ),
      );
      const [after] = moved;
      assert.ok(after !== undefined);
      assert.deepEqual(floatIpsOf(after), [ip], "it floated with its address");
      assert.notEqual(after.spec.nodeName, dead);
      const living = nodes[Number((after.spec.nodeName ?? "").slice(-1)) - 1] as LabNamespace;
      const { call, namespace } = await run(after);
      const [uplink] = await living.show("link show dev eth0");
      await waitUntil(
        "the neighbour outside to know the new node",
        () => outside.neighbour(ip),
        (mac) => mac === uplink?.["address"],
      );
      assert.ok(await outside.pings(ip), `${ip} from outside, on ${after.spec.nodeName}`);
      assert.deepEqual(await call("DEL"), { code: 0, json: {} });
      await lab.remove(namespace);
      assert.equal(await outside.pings(ip, { waitS: 1 }), false, "nobody has it any more");
    } finally {
      for (const daemon of daemons.values()) await daemon.stop("SIGKILL");
      await cluster.stop();
    }
  });
});
