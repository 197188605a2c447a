// Who had an address when, asked from the program on a real API server: written down, found out after a kill, and kept over a change of leaders.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { quickFlags, twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { bind } from "../control-plane/extender-client.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { type Pod, pods } from "../control-plane/kinds.ts";
import { aConfigMap, aPod } from "../control-plane/manifests.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../control-plane/simulated-nodes.ts";

const skip = await reasonToSkip();

type Entry = {
  readonly ip: string;
  readonly podName?: string;
  readonly podUid?: string;
  readonly until?: string;
  readonly untilIsAbout?: boolean;
};

describe("the history of a cluster", { skip }, () => {
  let plane: ControlPlane;
  let nodes: SimulatedNodes;
  let ipam: GalaxyIpam;

  const start = async () => {
    const started = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: [...quickFlags, "--insecure-api"],
    });
    await started.whenReady();
    return started;
  };

  before(async () => {
    plane = await startControlPlane({ hasControllers: false });
    await plane.api.create(aConfigMap({ floatingips: twoSubnets }));
    nodes = await startSimulatedNodes(plane.api);
    await nodes.add([{ name: "a1", internalIp: "10.49.27.1" }]);
    ipam = await start();
  });

  after(async () => {
    await nodes?.stop();
    await ipam?.stop();
    await plane?.stop();
  });

  async function entries(query: string): Promise<readonly Entry[]> {
    const response = await fetch(`${ipam.apiUrl}/v1/history${query}`);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return (JSON.parse(text) as { readonly entries: readonly Entry[] }).entries;
  }

  async function boundPod(name: string): Promise<Pod> {
    const pod = await plane.api.create<Pod>(aPod({ name }));
    assert.equal(await bind(ipam.url, pod, "a1"), "");
    return pod;
  }

  const remove = (name: string) =>
    plane.api.delete(pods, { name, namespace: "default" }, { gracePeriodSeconds: 0 });

  test("tells the pod that has an address and the one that had it, by address, pod and time", async () => {
    const first = await boundPod("first");
    const [now] = await entries("?podName=first");
    assert.deepEqual([now?.podUid, now?.until], [first.metadata.uid, undefined]);
    const ip = now?.ip ?? "";
    await remove("first");
    const ended = await waitUntil(
      "the end of it",
      () => entries(`?ip=${ip}`),
      ([entry]) => entry?.until !== undefined,
    );
    assert.deepEqual([ended[0]?.podName, ended[0]?.untilIsAbout], ["first", undefined]);
    const justBefore = new Date(Date.parse(ended[0]?.until ?? "") - 1).toISOString();
    assert.equal((await entries(`?ip=${ip}&at=${justBefore}`))[0]?.podName, "first");
    assert.deepEqual(await entries(`?ip=${ip}&at=2020-01-01T00:00:00Z`), []);
  });

  test("outlives the program, and what a killed one did not write is found out by the next", async () => {
    const [kept] = await entries("?podName=first");
    const second = await boundPod("second");
    const [bound] = await entries("?podName=second");
    // Written down, so that its end can be missed.
    await waitUntil(
      "the history to be written",
      async () => {
        const answer = (await plane.api.call(
          "GET",
          "/apis/galaxy.k8s.io/v1alpha1/floatingiphistories",
        )) as { readonly items: readonly { readonly spec: { readonly count: number } }[] };
        return answer.items[0]?.spec.count ?? 0;
      },
      (count) => count >= 3,
    );
    await ipam.stop("SIGKILL");
    await remove("second");
    await plane.api.call("DELETE", `/apis/galaxy.k8s.io/v1alpha1/floatingips/${bound?.ip}`);
    ipam = await start();
    assert.deepEqual((await entries("?podName=first"))[0], kept);
    const [ended] = await waitUntil(
      "the gap to be found",
      () => entries("?podName=second"),
      ([entry]) => entry?.until !== undefined,
    );
    assert.deepEqual([ended?.podUid, ended?.untilIsAbout], [second.metadata.uid, true]);
  });

  test("the next leader goes on where the last one stopped, which wrote everything before it went", async () => {
    await boundPod("third");
    await remove("third");
    await waitUntil(
      "the end of it",
      () => entries("?podName=third"),
      ([entry]) => entry?.until !== undefined,
    );
    const told = await entries("");
    const next = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: [...quickFlags, "--insecure-api"],
    });
    await ipam.stop("SIGTERM");
    ipam = next;
    await ipam.whenReady();
    assert.deepEqual(await entries(""), told);
  });
});
