// galaxyctl through a kubeconfig: the service proxy of a real API server in front of the program with its tokens and rights.

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { twoSubnets } from "../control-plane/cluster-with-galaxy.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { Galaxyctl } from "../control-plane/galaxyctl.ts";
import { pods } from "../control-plane/kinds.ts";
import { aConfigMap } from "../control-plane/manifests.ts";

/** An address of this machine that Endpoints may have: the API server refuses loopback ones. */
const address = Object.values(networkInterfaces())
  .flat()
  .find((found) => found?.family === "IPv4" && !found.internal)?.address;
const skip =
  (await reasonToSkip()) ||
  (address === undefined
    ? "this machine has no address but loopback, and Endpoints may not have one of those"
    : false);
const patience = { timeoutMs: 180_000 };

describe("galaxyctl through a kubeconfig", { skip }, () => {
  let plane: ControlPlane;
  let ipam: GalaxyIpam;
  let ctl: Galaxyctl;
  const metadata = { namespace: "kube-system", name: "galaxy-ipam" };
  const service = "kube-system/http:galaxy-ipam:9041";

  before(async () => {
    plane = await startControlPlane({
      hasControllers: false,
      users: [
        { name: "reader", groups: ["lookers"] },
        { name: "stranger", groups: [] },
      ],
    });
    const { api } = plane;
    await api.create(aConfigMap({ floatingips: twoSubnets }));
    ipam = await startGalaxyIpam({
      kubeconfig: plane.kubeconfigOf("galaxy-ipam"),
      flags: ["--leader-elect=false", "--bind=0.0.0.0"],
    });
    await ipam.whenReady();
    await api.create({
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { clusterIP: "None", ports: [{ name: "api", port: 9041 }] },
    });
    // The API server passes requests on to addresses of pods that it knows, and to no others.
    const pod = await api.create({
      apiVersion: "v1",
      kind: "Pod",
      metadata,
      spec: {
        nodeName: "n1",
        hostNetwork: true,
        containers: [{ name: "galaxy-ipam", image: "galaxy-ipam" }],
      },
    });
    const status = { phase: "Running", podIP: address, podIPs: [{ ip: address }] };
    await api.patch(pods, metadata, { status }, "status");
    const targetRef = { kind: "Pod", ...metadata, uid: pod.metadata.uid };
    await api.create({
      apiVersion: "v1",
      kind: "Endpoints",
      metadata,
      subsets: [
        { addresses: [{ ip: address, targetRef }], ports: [{ name: "api", port: ipam.apiPort }] },
      ],
    });
    await grant("lookers", "reader-of-addresses", [
      { apiGroups: ["galaxy.k8s.io"], resources: ["floatingips", "pools"], verbs: ["get", "list"] },
      { apiGroups: [""], resources: ["services/proxy"], verbs: ["get", "create"] },
    ]);
    ctl = new Galaxyctl({});
  });
  after(async () => {
    await ipam?.stop();
    await plane?.stop();
  });

  async function grant(group: string, name: string, rules: readonly object[]): Promise<void> {
    const rbac = "rbac.authorization.k8s.io";
    const { api } = plane;
    const apiVersion = `${rbac}/v1`;
    await api.create({ apiVersion, kind: "ClusterRole", metadata: { name }, rules });
    await api.create({
      apiVersion,
      kind: "ClusterRoleBinding",
      metadata: { name },
      subjects: [{ kind: "Group", name: group }],
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name },
    });
  }

  const as = (user: string, ...args: readonly string[]) =>
    ctl.run(["--kubeconfig", plane.kubeconfigOf(user), "--service", service, ...args]);

  test("the user's token reaches galaxy-ipam, and decides what he may do there", async () => {
    const list = await waitUntil(
      "the reader's rights to be in force",
      () => as("reader", "subnet", "list"),
      ({ code }) => code === 0,
      patience,
    );
    assert.match(list.stdout, /^SUBNET[^]*^10\.49\.\d+\.\d+\/\d+ /m);
    const refused = await as("reader", "pool", "create", "blue", "--size", "2");
    assert.equal(refused.code, 4);
    assert.match(refused.stderr, /pool blue: not allowed: it needs the verb create on pools/);
    assert.equal((await as("admin", "pool", "create", "blue", "--size", "2")).code, 0);
    assert.match((await as("reader", "pool", "list")).stdout, /^blue +2 /m);
  });

  test("a stranger is refused by the API server already", async () => {
    const { code, stderr } = await as("stranger", "subnet", "list");
    assert.equal(code, 4);
    assert.match(stderr, /pod subnets: .*cannot get resource "services\/proxy"/);
  });

  test("another token may be given for galaxy-ipam", async () => {
    const { code, stderr } = await as("admin", "status", "--token", "made-up");
    assert.equal(code, 4);
    assert.match(stderr, /status: the token is not accepted; get a new one; give a token with/);
  });

  test("live lists come through the proxy as well", async () => {
    const child = ctl.start([
      "--kubeconfig",
      plane.kubeconfigOf("admin"),
      "--service",
      service,
      "ip",
      "list",
      "--watch",
      "-o",
      "json",
    ]);
    const closed = new Promise((resolve) => child.once("close", resolve));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    // The list may be read before or after the reservation; it is shown either way.
    const { stdout } = await as("admin", "ip", "list", "--limit", "1", "-o", "json");
    const [free] = JSON.parse(stdout) as [{ ip: string }];
    assert.equal((await as("admin", "ip", "reserve", free.ip)).code, 0);
    await waitUntil(
      "the reservation to be shown",
      async () => output,
      (text) => text.includes(`"ip":"${free.ip}"`) && text.includes('"state":"admin"'),
      patience,
    );
    child.kill("SIGTERM");
    assert.equal(await closed, 0);
  });

  test("a service that is not there is named", async () => {
    const { code, stderr } = await ctl.run([
      "--kubeconfig",
      plane.kubeconfigOf("admin"),
      "--service",
      "kube-system/http:nothing:1",
      "status",
    ]);
    assert.equal(code, 5);
    assert.match(stderr, /status: services "nothing" not found/);
  });
});
