// The control side of virtual addresses on a real control plane: galaxy-ipam as a process, and for each node the real agent over a gate in
// memory. What a client on a wire sees is in vip.test.ts; that two nodes never answer at once is tried in sim/vip.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { VipTimers } from "../../src/core/vip.ts";
import { type ApiClient as Observer, waitUntil } from "../control-plane/api.ts";
import { reasonToSkip } from "../control-plane/binaries.ts";
import { type ControlPlane, startControlPlane } from "../control-plane/control-plane.ts";
import { type GalaxyIpam, startGalaxyIpam } from "../control-plane/galaxy-ipam.ts";
import { Galaxyctl } from "../control-plane/galaxyctl.ts";
import {
  type Condition,
  daemonSets,
  deployments,
  events,
  floatingIps,
  floatingVips,
  nodes,
  pods,
  vipPools,
} from "../control-plane/kinds.ts";
import { reasonToSkipKubectl } from "../control-plane/kubectl.ts";
import { aConfigMap, aDeployment, aNamespace, aPod } from "../control-plane/manifests.ts";
import { type MemoryAgent, startMemoryAgent } from "../vip/memory-agent.ts";

const skip = await reasonToSkip();
const skipKubectl = await reasonToSkipKubectl();
const addressesAnnotation = "vip.galaxy.k8s.io/addresses";

/**
 * Longer than in the product: on a machine that stands still for a second no test must see a node lose its lease that it did not take
 * away.
 */
const timers: VipTimers = { renewMs: 1_000, leaseMs: 9_000, ackMs: 300, armMs: 2_000 };

type Vip = {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly state?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly epoch?: number;
    readonly holder?: { readonly pod: string; readonly node: string; readonly uid: string };
    readonly candidates?: readonly { readonly pod: string; readonly reason?: string }[];
    readonly lastTransition?: {
      readonly reason: string;
      readonly from?: { readonly pod: string };
      readonly to?: { readonly pod: string };
      readonly detectMs?: number;
      readonly decideMs?: number;
      readonly programMs?: number;
    };
  };
};

type PoolStatus = {
  readonly observedGeneration?: number;
  readonly addresses?: number;
  readonly used?: number;
  readonly free?: number;
  readonly conditions?: readonly Condition[];
};

describe("the control side of virtual addresses", { skip }, () => {
  let plane: ControlPlane;
  let api: Observer;
  let ipam: GalaxyIpam;
  const agents = new Map<string, MemoryAgent>();

  before(async () => {
    plane = await startControlPlane({ hasControllers: false });
    api = plane.api;
    await api.create(aConfigMap({ floatingips }));
    for (const [index, name] of ["n1", "n2", "n3"].entries()) {
      await api.create({ apiVersion: "v1", kind: "Node", metadata: { name } });
      const addresses = [{ type: "InternalIP", address: `10.49.27.${index + 1}` }];
      await api.patch(nodes, { name }, { status: { addresses } }, "status");
    }
    await api.create(aNamespace("other"));
    ipam = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), flags });
    await ipam.whenReady();
    await api.create(
      aVipPool("edge", { ranges: ["192.0.2.50~192.0.2.99", "2001:db8::50~2001:db8::99"] }),
    );
    for (const name of ["n1", "n2", "n3"]) agents.set(name, await startAgent(name));
  });

  after(async () => {
    for (const agent of agents.values()) agent.stop();
    await ipam?.stop();
    await plane?.stop();
  });

  const floatingips = [
    {
      nodeSubnets: ["10.49.27.0/24"],
      ips: ["10.49.70.2~10.49.70.9", "192.0.2.90~192.0.2.99"],
      subnet: "10.49.70.0/24",
      gateway: "10.49.70.1",
      vlan: 2,
    },
  ].map((entry) => ({ ...entry, ips: entry.ips.slice(0, 1) }));

  const flags = [
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=5s",
    "--leader-elect-retry-period=500ms",
    "--vip-refuse=192.0.2.60/31",
  ];

  function aVipPool(name: string, spec: Readonly<Record<string, unknown>>) {
    return {
      apiVersion: "galaxy.k8s.io/v1alpha1",
      kind: "VIPPool",
      metadata: { name },
      spec: { namespaces: ["default"], interfaces: "*", minReadySeconds: 0, ...spec },
    };
  }

  function startAgent(nodeName: string) {
    return startMemoryAgent({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), nodeName, timers });
  }

  /** A pod that runs on a node; the nodes of this test have no kubelet. */
  async function startPod(
    name: string,
    nodeName: string,
    claim: string | Readonly<Record<string, string>>,
    wish: { readonly namespace?: string; readonly isReady?: boolean } = {},
  ) {
    const namespace = wish.namespace ?? "default";
    const annotations = typeof claim === "string" ? { [addressesAnnotation]: claim } : claim;
    await api.create(aPod({ name, namespace, nodeName, annotations }));
    const digit = name.length + name.charCodeAt(name.length - 1);
    const podIPs = [{ ip: `10.244.${digit}.9` }, { ip: `2001:db8:1::${digit}` }];
    const status = { phase: "Running", podIP: podIPs[0]?.ip, podIPs };
    await api.patch(pods, { name, namespace }, { status }, "status");
    await setReady(name, wish.isReady ?? true, namespace);
  }

  async function setCondition(name: string, namespace: string, type: string, isTrue: boolean) {
    const pod = await api.get(pods, { name, namespace });
    const status = pod?.status as { readonly conditions?: readonly Condition[] } | undefined;
    const old = status?.conditions ?? [];
    const lastTransitionTime = new Date().toISOString();
    const conditions = [
      ...old.filter((each) => each.type !== type),
      { type, status: isTrue ? "True" : "False", lastTransitionTime },
    ];
    await api.patch(pods, { name, namespace }, { status: { conditions } }, "status");
  }

  function setReady(name: string, isTrue: boolean, namespace = "default") {
    return setCondition(name, namespace, "Ready", isTrue);
  }

  /**
   * Resolves when they hold nothing any more: a node that is slow to let an address go loses its lease, and with it whatever the next test has
   * there.
   */
  async function removePods(...names: readonly string[]) {
    for (const name of names) {
      await api.delete(pods, { name, namespace: "default" }, { gracePeriodSeconds: 0 });
    }
    await waitUntil(
      `${names.join(", ")} to hold nothing`,
      async () => (await api.list({ kind: floatingVips })) as readonly Vip[],
      (vips) => vips.every(({ status }) => !names.includes(status?.holder?.pod ?? "")),
      { everyMs: 25 },
    );
  }

  async function whenVip(name: string, what: string, isSo: (vip: Vip | undefined) => boolean) {
    return await waitUntil(
      `FloatingVIP ${name} ${what}`,
      async () => (await api.get(floatingVips, { name })) as Vip | undefined,
      isSo,
      { everyMs: 25 },
    );
  }

  async function whenHeldBy(name: string, pod: string) {
    const isSo = (vip: Vip | undefined) =>
      vip?.status?.state === "Held" && vip.status.holder?.pod === pod;
    const vip = await whenVip(name, `to be held by ${pod}`, isSo);
    const node = vip?.status?.holder?.node ?? "";
    await waitUntil(
      "its node to answer",
      () => answering(name),
      (at) => at.join() === node,
      {
        everyMs: 25,
      },
    );
    return vip?.status ?? assert.fail("it has a status");
  }

  /** The nodes whose gate is open for an address. */
  function answering(ip: string): readonly string[] {
    return [...agents]
      .filter(([, { gate }]) => gate.answeringNow().some((entry) => entry.ip === ip))
      .map(([name]) => name);
  }

  async function whenEvent(kind: string, name: string, reason: string, namespace = "default") {
    return await waitUntil(
      `an event ${reason} of ${kind} ${name}`,
      async () =>
        (await api.list({ kind: events, namespace })).find((event) => {
          const { involvedObject } = event as unknown as {
            readonly involvedObject: { readonly kind: string; readonly name: string };
          };
          const isAbout = involvedObject.kind === kind && involvedObject.name === name;
          return isAbout && event.reason === reason;
        }),
      (event) => event !== undefined,
      { everyMs: 50 },
    );
  }

  async function whenPool(name: string, isSo: (status: PoolStatus) => boolean) {
    return await waitUntil(
      `the status of VIPPool ${name}`,
      async () =>
        ((await api.get(vipPools, { name })) as { status?: PoolStatus } | undefined)?.status ?? {},
      isSo,
      { everyMs: 50 },
    );
  }

  function isTrue(conditions: PoolStatus["conditions"], type: string): boolean | undefined {
    const found = conditions?.find((each) => each.type === type);
    return found === undefined ? undefined : found.status === "True";
  }

  async function whenCondition(name: string, isSo: (condition: Condition) => boolean) {
    return await waitUntil(
      `the Holder condition of pod ${name}`,
      async () => {
        const pod = await api.get(pods, { name, namespace: "default" });
        const status = pod?.status as { readonly conditions?: readonly Condition[] } | undefined;
        return status?.conditions?.find(({ type }) => type === "vip.galaxy.k8s.io/Holder");
      },
      (condition) => condition !== undefined && isSo(condition),
      { everyMs: 50 },
    );
  }

  test("P-01, P-05: the first ready pod of two holds both addresses of a claim, and everything says so", async () => {
    await startPod("one-a", "n1", "192.0.2.50, 2001:db8::50");
    const first = await whenHeldBy("192.0.2.50", "one-a");
    await startPod("one-b", "n2", '["192.0.2.50", "2001:db8::50"]');
    await whenVip(
      "2001-db8-0-0-0-0-0-50",
      "to be held by one-a",
      (vip) => vip?.status?.holder?.pod === "one-a",
    );
    assert.equal(first.epoch, 1);
    assert.equal(first.lastTransition?.reason, "Claimed");
    assert.equal(first.lastTransition?.to?.pod, "one-a");
    const holds = await whenCondition(
      "one-a",
      ({ message }) => message === "holds 192.0.2.50, 2001:db8::50",
    );
    assert.equal(holds?.status, "True");
    const stands = await whenCondition("one-b", ({ message }) =>
      /default\/one-a holds it/.test(message ?? ""),
    );
    assert.equal(stands?.status, "False");
    await whenEvent("Pod", "one-a", "VIPGranted");
    await whenEvent("FloatingVIP", "192.0.2.50", "VIPGranted");
    const seen = await whenVip(
      "192.0.2.50",
      "to show both claimants",
      (vip) => (vip?.status?.candidates ?? []).length === 2,
    );
    assert.deepEqual(
      seen?.status?.candidates?.map(({ pod, reason }) => [pod, reason]),
      [
        ["one-a", undefined],
        ["one-b", undefined],
      ],
    );
    const labels = { address: "192.0.2.50", namespace: "default", pod: "one-a", node: "n1" };
    assert.equal(await ipam.metric("galaxy_vip_holder_info", labels), 1);
    assert.ok(
      ((await ipam.metric("galaxy_vip_transitions_total", { reason: "Claimed" })) ?? 0) >= 2,
    );
  });

  test("P-06, P-08, P-10: readiness moves both addresses to one pod, and they do not come back by themselves", async () => {
    await setReady("one-a", false);
    const moved = await whenHeldBy("192.0.2.50", "one-b");
    await whenVip(
      "2001-db8-0-0-0-0-0-50",
      "to move too",
      (vip) => vip?.status?.holder?.pod === "one-b" && vip.status.state === "Held",
    );
    assert.equal(moved.lastTransition?.reason, "PodNotReady");
    assert.equal(moved.lastTransition?.from?.pod, "one-a");
    assert.equal(typeof moved.lastTransition?.decideMs, "number");
    await whenEvent("Pod", "one-a", "VIPLost");
    await setReady("one-a", true);
    await whenVip(
      "192.0.2.50",
      "to show that one-a may hold again",
      (vip) => vip?.status?.candidates?.every(({ reason }) => reason === undefined) === true,
    );
    assert.equal((await whenHeldBy("192.0.2.50", "one-b")).epoch, moved.epoch);
  });

  test("galaxyctl explains who holds an address, why, and why another pod does not", async () => {
    const ctl = new Galaxyctl({ GALAXY_SERVER: ipam.apiUrl, GALAXY_TOKEN: plane.tokenOf("admin") });
    await setReady("one-a", false);
    await whenVip(
      "192.0.2.50",
      "to show that one-a may not hold it",
      (vip) => vip?.status?.candidates?.some(({ reason }) => reason === "PodNotReady") === true,
    );
    const { code, stdout } = await waitUntil(
      "galaxyctl to say so",
      () => ctl.run(["explain", "vip", "192.0.2.50"]),
      (run) => run.stdout.includes("Ready condition"),
    );
    assert.equal(code, 0);
    for (const line of [
      /^State:\s+Held$/m,
      /^Holder:\s+default\/one-b$/m,
      /^Node:\s+n2$/m,
      /^Pool:\s+edge$/m,
      /^Epoch:\s+2, since \d{4}-/m,
      /^Last move:\s+default\/one-a to default\/one-b at .* \(PodNotReady; .*decided in \d+ ms/m,
      /^ {2}- pod default\/one-b holds 192\.0\.2\.50$/m,
      /^ {2}- pod default\/one-a may not hold 192\.0\.2\.50: its Ready condition is not True/m,
    ]) {
      assert.match(stdout, line);
    }
    const listed = await ctl.run(["vip", "list"]);
    assert.match(listed.stdout, /^192\.0\.2\.50 +Held +default\/one-b +n2 +2 /m);
    const free = await ctl.run(["explain", "vip", "192.0.2.77"]);
    assert.equal(free.code, 5);
    assert.match(free.stderr, /no pod claims 192\.0\.2\.77, which VIPPool edge has; claim it with/);
    const strange = await ctl.run(["explain", "vip", "198.51.100.1"]);
    assert.match(strange.stderr, /no pod claims 198\.51\.100\.1, and no VIPPool has it; extend/);
    const wrong = await ctl.run(["explain", "vip", "192.0.2.0/24"]);
    assert.match(wrong.stderr, /192\.0\.2\.0\/24/);
    await setReady("one-a", true);
  });

  test("P-03: a claim that is taken off a running pod counts no more, and one that is added does", async () => {
    await api.patch(
      pods,
      { name: "one-b", namespace: "default" },
      {
        metadata: { annotations: { [addressesAnnotation]: "192.0.2.51" } },
      },
    );
    await whenHeldBy("192.0.2.51", "one-b");
    const back = await whenHeldBy("192.0.2.50", "one-a");
    assert.equal(back.lastTransition?.reason, "ClaimGone");
  });

  test("P-09: is nobody's when no pod may hold it, says why, and is held again as soon as one may", async () => {
    await setReady("one-b", false);
    const vip = await whenVip(
      "192.0.2.51",
      "to be nobody's",
      (each) => each?.status?.state === "Unheld",
    );
    assert.match(vip?.status?.message ?? "", /default\/one-b: PodNotReady/);
    assert.deepEqual(answering("192.0.2.51"), []);
    await whenEvent("FloatingVIP", "192.0.2.51", "VIPUnheld");
    await setReady("one-b", true);
    await whenHeldBy("192.0.2.51", "one-b");
  });

  test("a record that is deleted by hand is let go first, and made anew for those who claim it", async () => {
    const before = await api.get(floatingVips, { name: "192.0.2.51" });
    await api.delete(floatingVips, { name: "192.0.2.51" });
    await waitUntil(
      "another record",
      async () => (await api.get(floatingVips, { name: "192.0.2.51" }))?.metadata.uid,
      (uid) => uid !== undefined && uid !== before?.metadata.uid,
      { everyMs: 50 },
    );
    await whenHeldBy("192.0.2.51", "one-b");
    await removePods("one-a", "one-b");
    for (const name of ["192.0.2.50", "192.0.2.51", "2001-db8-0-0-0-0-0-50"]) {
      await whenVip(name, "to be gone", (vip) => vip === undefined);
      assert.deepEqual(answering(name), []);
    }
  });

  test("P-03, P-04: bad claims are refused one by one, and the good one beside them is served", async () => {
    const bad = [
      ["198.51.100.9", "NoPool"],
      ["10.49.27.1", "AddressForbidden"],
      ["127.0.0.1", "AddressForbidden"],
      ["192.0.2.61", "AddressForbidden"],
    ] as const;
    const claim = ["192.0.2.0/24", "nonsense", ...bad.map(([ip]) => ip), "192.0.2.52"].join(", ");
    await startPod("two-a", "n1", claim);
    await startPod("two-x", "n2", "192.0.2.52", { namespace: "other" });
    await whenHeldBy("192.0.2.52", "two-a");
    for (const [ip, reason] of bad) {
      const vip = await whenVip(ip, "to be rejected", (each) => each?.status?.state === "Rejected");
      assert.equal(vip?.status?.reason, reason);
      assert.match(vip?.status?.message ?? "", /claim|extend/);
    }
    await whenVip(
      "192.0.2.52",
      "to tell of the foreign claim",
      (vip) =>
        vip?.status?.candidates?.some(
          ({ pod, reason }) => pod === "two-x" && reason === "NamespaceNotAllowed",
        ) === true,
    );
    await whenEvent("Pod", "two-a", "VIPRejected");
    await whenEvent("Pod", "two-a", "VIPClaimInvalid");
    await whenEvent("Pod", "two-x", "VIPRejected", "other");
    await removePods("two-a");
    await api.delete(pods, { name: "two-x", namespace: "other" }, { gracePeriodSeconds: 0 });
    for (const [ip] of bad) await whenVip(ip, "to be forgotten", (vip) => vip === undefined);
  });

  test("P-02: the annotation on a workload itself claims nothing and gives one warning", async () => {
    const manifest = aDeployment({ name: "misplaced", namespace: "default", replicas: 1 });
    await api.create({
      ...manifest,
      metadata: { ...manifest.metadata, annotations: { [addressesAnnotation]: "192.0.2.53" } },
    });
    const daemon = aDeployment({ name: "misplaced-too", namespace: "default", replicas: 1 });
    const { selector, template } = daemon["spec"] as Readonly<Record<string, unknown>>;
    await api.create({
      ...daemon,
      kind: "DaemonSet",
      metadata: {
        ...daemon.metadata,
        annotations: { "cni.projectcalico.org/floatingIPs": '["172.16.80.200"]' },
      },
      spec: { selector, template },
    });
    const event = await whenEvent("Deployment", "misplaced", "VIPClaimMisplaced");
    assert.match(event?.message ?? "", /spec\.template\.metadata\.annotations/);
    assert.equal(event?.type, "Warning");
    await whenEvent("DaemonSet", "misplaced-too", "VIPClaimMisplaced");
    assert.equal(await api.get(floatingVips, { name: "192.0.2.53" }), undefined);
    await api.delete(deployments, { name: "misplaced", namespace: "default" });
    await api.delete(daemonSets, { name: "misplaced-too", namespace: "default" });
  });

  test("P-01: Calico's annotation, priority and preemption count", async () => {
    await startPod("three-a", "n1", { "cni.projectcalico.org/floatingIPs": '["192.0.2.54"]' });
    await whenHeldBy("192.0.2.54", "three-a");
    await startPod("three-b", "n2", {
      [addressesAnnotation]: "192.0.2.54",
      "vip.galaxy.k8s.io/priority": "9",
    });
    await whenVip("192.0.2.54", "to show both", (vip) => vip?.status?.candidates?.length === 2);
    await whenHeldBy("192.0.2.54", "three-a");
    await api.patch(
      pods,
      { name: "three-b", namespace: "default" },
      {
        metadata: { annotations: { "vip.galaxy.k8s.io/preempt": "always" } },
      },
    );
    const status = await whenHeldBy("192.0.2.54", "three-b");
    assert.equal(status.lastTransition?.reason, "Preempted");
    await removePods("three-a", "three-b");
  });

  test("P-06: a probe decides instead of Ready, as its node's agent reports it", async () => {
    const claim = { [addressesAnnotation]: "192.0.2.55", "vip.galaxy.k8s.io/probe": "tcp:80" };
    await startPod("four-a", "n1", claim);
    const waits = await whenVip(
      "192.0.2.55",
      "to wait for the probe",
      (vip) => vip?.status?.candidates?.[0]?.reason === "ProbeFailing",
    );
    assert.equal(waits?.status?.state, "Unheld");
    await setCondition("four-a", "default", "vip.galaxy.k8s.io/Probe", true);
    await setReady("four-a", false);
    await whenHeldBy("192.0.2.55", "four-a");
    await removePods("four-a");
  });

  test("P-06: a node that is not ready any more loses its addresses", async () => {
    await startPod("five-a", "n1", "192.0.2.56");
    await startPod("five-b", "n2", "192.0.2.56", { isReady: false });
    await whenHeldBy("192.0.2.56", "five-a");
    await setReady("five-b", true);
    const condition = (status: string) => [
      { type: "Ready", status, lastTransitionTime: new Date().toISOString() },
    ];
    const name = "n1";
    await api.patch(nodes, { name }, { status: { conditions: condition("Unknown") } }, "status");
    const status = await whenHeldBy("192.0.2.56", "five-b");
    assert.equal(status.lastTransition?.reason, "NodeNotReady");
    await api.patch(nodes, { name }, { status: { conditions: condition("True") } }, "status");
    await removePods("five-a", "five-b");
  });

  test("P-11, P-14: an agent that is gone loses its addresses when its lease is over, not before", async () => {
    await startPod("six-a", "n3", "192.0.2.57");
    await startPod("six-b", "n2", "192.0.2.57", { isReady: false });
    await whenHeldBy("192.0.2.57", "six-a");
    await setReady("six-b", true);
    agents.get("n3")?.stop();
    // At every moment at most one gate is open.
    let mostOpen = 0;
    const status = await waitUntil(
      "the other pod to hold it",
      async () => {
        mostOpen = Math.max(mostOpen, answering("192.0.2.57").length);
        return ((await api.get(floatingVips, { name: "192.0.2.57" })) as Vip | undefined)?.status;
      },
      (each) => each?.holder?.pod === "six-b" && each.state === "Held",
      { everyMs: 20 },
    );
    assert.equal(mostOpen, 1);
    assert.equal(status?.lastTransition?.reason, "AgentLost");
    assert.ok((status?.lastTransition?.detectMs ?? 0) > 0);
    await removePods("six-a", "six-b");
    agents.set("n3", await startAgent("n3"));
  });

  test("no float IP is ever a virtual address, and no virtual address a float IP", async () => {
    await api.create(aVipPool("floats", { ranges: ["10.49.70.2~10.49.70.9"] }));
    await startPod("seven-a", "n1", "10.49.70.2");
    await whenHeldBy("10.49.70.2", "seven-a");
    const record = await api.get(floatingIps, { name: "10.49.70.2" });
    assert.ok(record !== undefined, "the address is taken out of allocation to pods");
    await removePods("seven-a");
    await whenVip("10.49.70.2", "to be gone", (vip) => vip === undefined);
    await waitUntil(
      "the address to be free for pods again",
      () => api.get(floatingIps, { name: "10.49.70.2" }),
      (each) => each === undefined,
      { everyMs: 50 },
    );
    await api.delete(vipPools, { name: "floats" });
  });

  test("a slip in a VIPPool takes no address away", async () => {
    await startPod("eight-a", "n1", "192.0.2.58");
    const before = await whenHeldBy("192.0.2.58", "eight-a");
    await api.patch(vipPools, { name: "edge" }, { spec: { ranges: ["192.0.2.50-9"] } });
    await whenEvent("VIPPool", "edge", "VIPPoolInvalid");
    const broken = await whenPool(
      "edge",
      ({ conditions }) => isTrue(conditions, "Ready") === false,
    );
    assert.match(
      broken.conditions?.find(({ type }) => type === "Ready")?.message ?? "",
      /spec\.ranges "192\.0\.2\.50-9" is no range.*what it said before stays in force/,
    );
    assert.equal(broken.addresses, 124);
    assert.equal((await whenHeldBy("192.0.2.58", "eight-a")).epoch, before.epoch);
    const ranges = ["192.0.2.50~192.0.2.99", "2001:db8::50~2001:db8::99"];
    await api.patch(vipPools, { name: "edge" }, { spec: { ranges } });
    await whenPool("edge", ({ conditions }) => isTrue(conditions, "Ready") === true);
    await removePods("eight-a");
  });

  test("a VIPPool says how many of its addresses are used, and with which pool it shares some", async () => {
    await api.create(
      aVipPool("more", { ranges: ["192.0.2.98~192.0.2.101"], namespaces: ["default", "other"] }),
    );
    await startPod("ten-a", "n1", "192.0.2.98, 192.0.2.101, 198.51.100.9");
    await whenHeldBy("192.0.2.101", "ten-a");
    const more = await whenPool("more", ({ used }) => used === 2);
    assert.deepEqual([more.addresses, more.free, more.observedGeneration], [4, 2, 1]);
    assert.match(
      more.conditions?.find(({ type }) => type === "Overlapping")?.message ?? "",
      /^it shares 192\.0\.2\.98~192\.0\.2\.99 of VIPPool edge;/,
    );
    await whenPool("edge", ({ conditions }) => isTrue(conditions, "Overlapping") === true);
    await api.delete(vipPools, { name: "more" });
    await whenPool("edge", ({ conditions }) => isTrue(conditions, "Overlapping") === false);
  });

  test("kubectl shows pods, nodes and states of addresses, and use of pools", {
    skip: skipKubectl,
  }, async () => {
    const rows = async (kind: string) => {
      const { stdout } = await promisify(execFile)("kubectl", [
        `--kubeconfig=${plane.kubeconfigOf("admin")}`,
        "get",
        kind,
      ]);
      return stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
    };
    await whenHeldBy("192.0.2.98", "ten-a");
    const [titles, ...vips] = await rows("fvip");
    assert.deepEqual(titles, ["NAME", "ADDRESS", "STATE", "HOLDER", "NODE", "EPOCH", "AGE"]);
    const held = vips.find(([name]) => name === "192.0.2.98");
    assert.deepEqual(held?.slice(1, 6), ["192.0.2.98", "Held", "ten-a", "n1", "1"]);
    assert.match(held?.[6] ?? "", /^\d+[smh]/);
    // 192.0.2.101 has no pool any more and is let go; the other is counted.
    await whenPool("edge", ({ used }) => used === 1);
    const [poolTitles, edge] = await rows("vipp");
    assert.deepEqual(poolTitles, [
      "NAME",
      "RANGES",
      "MODE",
      "LOSS",
      "USED",
      "FREE",
      "READY",
      "AGE",
    ]);
    assert.deepEqual(edge?.slice(2, 7), ["L2", "Fence", "1", "123", "True"]);
    await removePods("ten-a");
  });

  test("another leader goes on: the holder stays with its epoch, and a pod deleted meanwhile loses its address", async () => {
    await startPod("nine-a", "n1", "192.0.2.59, 192.0.2.62");
    const before = await whenHeldBy("192.0.2.59", "nine-a");
    await ipam.stop("SIGKILL");
    await startPod("nine-b", "n2", "192.0.2.59");
    ipam = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), flags });
    await ipam.whenReady();
    await whenVip("192.0.2.59", "to show both", (vip) => vip?.status?.candidates?.length === 2);
    const after = await whenHeldBy("192.0.2.59", "nine-a");
    assert.equal(after.epoch, before.epoch, `moved: ${JSON.stringify(after.lastTransition)}`);
    await ipam.stop();
    await api.delete(pods, { name: "nine-a", namespace: "default" }, { gracePeriodSeconds: 0 });
    ipam = await startGalaxyIpam({ kubeconfig: plane.kubeconfigOf("galaxy-ipam"), flags });
    await ipam.whenReady();
    await whenHeldBy("192.0.2.59", "nine-b");
    await whenVip("192.0.2.62", "to be gone", (vip) => vip === undefined);
    await removePods("nine-b");
  });
});
